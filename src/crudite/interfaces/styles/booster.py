"""The style of booster 2: ids as text after writes, bare messages by field with 400, `$b.` parameters."""

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from crudite.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotFound,
    NotUnique,
    Problem,
)
from crudite.interfaces.base import Told
from crudite.interfaces.styles.embedding import MOST_EMBEDDED, Embedding, fault_of_path, leads
from crudite.interfaces.styles.field_messages import messages_of
from crudite.interfaces.styles.key_texts import with_numbers
from crudite.interfaces.styles.style import (
    JSON_TYPE,
    TEXT_TYPE,
    Asked,
    Body,
    Style,
    declared,
    unknown_resources,
)
from crudite.messages import Found, Listed, Written
from crudite.query.parse import MAX_NUMBER, RESERVED, WrittenQuery, parse_url
from crudite.query.resolve import MAX_INCLUDES
from crudite.resources.declaring.collect import SYSTEM_FIELDS
from crudite.resources.declaring.definition import Definition, Definitions

_PARENT = frozenset(("missing_parent", "other_parent"))
_OF_ITSELF = frozenset(("immutable", "invalid_parent", "read_only", "refused"))  # a parent like any other field
_RANGES = {"from": "gte", "to": "lte"}
_OPTIONS = frozenset(("sort", "cursor"))
_FLAGS = {"true": True, "false": False}
_NOTHING = b""
_LISTED = re.compile(r"\[[0-9]*\]$")
_NEVER_SHOWN = "Secret fields are never shown."


class _NotEmbedded(Forbidden):
    """A client asks for what may not be embedded."""


@dataclass(frozen=True)
class Booster(Style):
    """Speaks REST as booster did: `Rest(style=Booster(send_object=True))`, or `Rest(style="booster")` with nothing set.

    - `send_object`: PUT and PATCH answer with the record in place of its id, unless the parameter `sendObject` or,
      behind that, the header `X-Booster-SendObject` says otherwise.
    - `embed`: what `$b.embed` may ask for: everything (`True`), or of which resource what: `{Post: ["author"]}`, with
      `author.team` where the team of the author may be embedded too, or `{Post: True}`.
    - `silent`: resources that answer a value which another record has already as if all were well, and change nothing
      (`uniqueerror: false`).
    - `most`: how many records a list holds; a list of more is refused with 413.
    """

    name: ClassVar[str] = "booster"
    cuts_text_keys: ClassVar[bool] = True
    gathers_found: ClassVar[bool] = True
    takes_any_accept: ClassVar[bool] = True
    misses_empty_sets: ClassVar[bool] = True
    passes_over: ClassVar[bool] = True
    paths: ClassVar[frozenset[str]] = frozenset(("field", "whole"))

    send_object: bool = False
    embed: bool | Mapping[type[Any], bool | Sequence[str]] = False
    silent: Collection[type[Any]] = field(default=())
    most: int | None = 1_000

    def faults(self, definitions: Definitions) -> list[str]:
        embed: Mapping[Any, Any] = self.embed if isinstance(self.embed, Mapping) else {}
        silent = self.silent if isinstance(self.silent, Collection) and not isinstance(self.silent, str) else ()
        faults = unknown_resources([*embed, *silent], definitions, self.name)
        if silent is not self.silent:
            faults.append("The booster style's silent takes a list of classes.")
        if embed is not self.embed and not isinstance(self.embed, bool):
            faults.append('The booster style\'s embed takes True, or what of which class: {Post: ["author"]}.')
        for cls, paths in embed.items():
            if isinstance(paths, bool) or not isinstance(cls, type) or cls not in definitions:
                continue
            if isinstance(paths, str) or not isinstance(paths, Sequence):
                faults.append(f"What the booster style embeds of {cls.__name__} is a list of names, or True.")
                continue
            faults += [
                f"The booster style embeds {path!r} of {cls.__name__}, {fault}"
                for path in paths
                if (fault := fault_of_path(path, definitions[cls], definitions)) is not None
            ]
        return faults

    def listing(self, asked: Asked) -> WrittenQuery:
        names = asked.definition.schema.fields
        given = [*_searches(asked)]
        query = parse_url([_searched(name, value, names) for name, value in given if name in names or name != "count"])
        counts = [value for name, value in given if name == "count" and name not in names]
        shown = self.reading(asked)
        limit = self._limit(counts[-1]) if counts else None
        query = replace(query, include=shown.include, most_included=shown.most_included)
        return replace(query, limit=limit, fields=shown.fields, omit=shown.omit)

    def reading(self, asked: Asked) -> WrittenQuery:
        query = WrittenQuery(include=self._embedded(asked), most_included=MOST_EMBEDDED + 1)  # one more tells of others
        if _shows_private(asked):  # of which nobody can say whether there are any for him
            return replace(query, omit=SYSTEM_FIELDS)
        return replace(query, fields=_public(asked.definition))

    def shows(self, asked: Asked) -> Collection[str]:
        return declared(asked.definition) if _shows_private(asked) else _public(asked.definition)

    def arguments(self, parameters: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
        if ("$b.csview", "secret") in parameters:  # before anything is done
            raise Malformed(_NEVER_SHOWN)
        return [(name, value) for name, value in parameters if not name.startswith("$b.")]

    def field(self, asked: Asked, name: str) -> None:
        self._embedded(asked)  # nothing is, but asking for what may not be is refused on every path
        if not _shows_private(asked) and name in asked.definition.field_read:
            raise NotFound(f"There is no {name} to see.")

    def value(self, asked: Asked, found: Found) -> Body:
        if found.data is None:
            raise NotFound("There is no value.")
        return _sent(found)

    def given(self, asked: Asked, body: bytes) -> bytes:
        if _sets_whole(asked):  # one of it may stand alone
            body = _as_list(body)
        return with_numbers(body or b"{}", asked.definition, asked.definitions)

    def shown(self, asked: Asked, query: WrittenQuery, response: Found | Listed) -> str:
        if not query.include:
            return response.json
        embedding = Embedding(asked.definitions, shows_private=_shows_private(asked))
        return msgspec.json.encode(embedding.of(msgspec.json.decode(response.json), asked.definition)).decode()

    def reread(self, asked: Asked) -> WrittenQuery | None:
        query = self.reading(asked)  # what may not be embedded is refused before anything is written
        return query if self._sends_object(asked) else None

    def written(self, asked: Asked, written: Written) -> Body:
        if written.action == "delete":
            return Body(None)
        if written.is_replaced and (written.keys or self._sends_object(asked)):
            return _sent(written)
        if written.many:
            return Body(msgspec.json.encode(written.keys).decode())
        key = _key_written(asked, written)
        return _sent(written) if key is None else Body(str(key), TEXT_TYPE)

    def problem(self, problem: Problem, request_id: str, root: str, asked: Asked | None = None) -> Told:
        if isinstance(problem, NotUnique) and asked is not None and asked.definition.cls in self.silent:
            if asked.text is None:  # of what was not stored nobody knows the id
                return Told(201 if asked.method == "POST" else 200, None, _NOTHING)
            return Told(200, TEXT_TYPE, asked.text.encode())
        if isinstance(problem, NotFound | MethodNotAllowed):
            return Told(404, None, _NOTHING)
        if isinstance(problem, _NotEmbedded) or any(fault.code == "bad_include" for fault in problem.faults):
            return _told(403, {"embed": "invalid"})
        if isinstance(problem, NotUnique):
            return _told(409, dict.fromkeys(map(_combination, problem.faults), "notunique"))
        if isinstance(problem, Conflict) and any(fault.code == "referenced" for fault in problem.faults):
            return _told(409, {"delete": "children"})
        status = 400 if isinstance(problem, Invalid) else problem.status
        if (name := _other_parent(problem.faults, asked)) is not None:
            return Told(status, TEXT_TYPE, _parent_missed(name, asked))
        if messages := messages_of(problem.faults, None if asked is None else asked.definition):
            return _told(status, messages)
        if isinstance(problem, Invalid) and problem.detail and all(one.pointer is None for one in problem.faults):
            return Told(status, TEXT_TYPE, problem.detail.encode())  # a refusal in the application's own words
        if isinstance(problem, Malformed | Invalid):
            return Told(status, None, _NOTHING)
        return Told(status, TEXT_TYPE, problem.code.replace("_", "").encode())

    def _limit(self, text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= (self.most or MAX_NUMBER):
            return int(text)
        detail = f"count takes an integer from 1 to {self.most or MAX_NUMBER}."
        raise Malformed(faults=[Fault("bad_value", detail, parameter="count")])

    def _sends_object(self, asked: Asked) -> bool:
        if asked.method not in ("PUT", "PATCH"):
            return False
        for said in (asked.parameter("sendObject"), asked.headers.get("x-booster-sendobject")):
            if said in _FLAGS:
                return _FLAGS[said]
        return self.send_object

    def _embedded(self, asked: Asked) -> tuple[str, ...]:
        """What is to be embedded, as paths to include. Raises Forbidden for what may not be."""
        written = [value.split(",") for name, value in asked.parameters if _plain(name) == "$b.embed"]
        paths = list(dict.fromkeys(path for given in written for path in given if path.strip()))
        allowed = self.embed if isinstance(self.embed, bool) else self.embed.get(asked.definition.cls, False)
        if paths and not (allowed is True or (allowed is not False and set(paths) <= set(allowed))):
            raise _NotEmbedded("That may not be embedded.")
        leading = [path for path in paths if leads(path, asked.definition, asked.definitions)]
        if len(leading) > MAX_INCLUDES or any(
            fault_of_path(path, asked.definition, asked.definitions) for path in leading
        ):
            raise _NotEmbedded("That is more than can be embedded.")
        return tuple(leading)


def _searches(asked: Asked) -> Iterator[tuple[str, str]]:
    """The parameters that say which records are asked for. `$b.clear` takes off the default filter of its field."""
    defaults = asked.definition.default_filters
    for written, value in asked.parameters:
        name = _plain(written)
        if name.startswith("$b.") or name == "sendObject":
            continue
        if value != "$b.clear":
            yield name, value
        elif name in defaults:
            clear = defaults[name].clear
            yield name, clear if isinstance(clear, str) else msgspec.json.encode(clear).decode()


def _plain(name: str) -> str:
    """The name of a parameter without the brackets, empty or with a place, that mark it as one of several values."""
    return _LISTED.sub("", name)


def _searched(name: str, value: str, names: Container[str]) -> tuple[str, str]:
    """A parameter of a search in our words: a field that is called as one of our parameters is meant, but for `sort`
    and `cursor` where there is no such field."""
    path, bracket, operator = name.partition("[")
    if bracket and operator[:-1] in _RANGES:
        return f"{path}[{_RANGES[operator[:-1]]}]", value
    is_field = name in names or name not in _OPTIONS
    return (f"{name}[eq]" if is_field and name in RESERVED else name), value


def _shows_private(asked: Asked) -> bool:
    """Whether private fields are asked for too. Raises Malformed for secret ones."""
    view = asked.parameter("$b.csview")
    if view == "secret":
        raise Malformed(_NEVER_SHOWN)
    return view == "private"


def _public(definition: Definition) -> tuple[str, ...]:
    """The fields that are shown to everybody who may read a record."""
    fields = definition.schema.fields
    return tuple(name for name in declared(definition) if name not in definition.field_read and not fields[name].secret)


def _sets_whole(asked: Asked | None) -> bool:
    """Whether all records below a parent are set."""
    return asked is not None and asked.method == "PUT" and asked.text is None


def _other_parent(faults: Iterable[Fault], asked: Asked | None) -> str | None:
    """The field of a body that names another parent than the path, or none, or what is no key of one; None where no
    body does."""
    for fault in faults:
        name = (fault.pointer or "").rpartition("/")[2]
        is_parent = asked is not None and asked.parent == name
        if fault.code in _PARENT or (is_parent and fault.rule is None and fault.code not in _OF_ITSELF):
            return name
    return None


def _parent_missed(name: str, asked: Asked | None) -> bytes:
    return f"field {name} in records must equal path value".encode() if _sets_whole(asked) else b"missingparentproperty"


def _as_list(body: bytes) -> bytes:
    """The body by which a whole is set, as a list: of the one record that it may be, of none where it is empty. What is
    no JSON stays as it is: whoever parses it says so."""
    if not body.strip():
        return b"[]"
    try:
        one = bytes(msgspec.json.decode(body, type=msgspec.Raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    return b"[" + one + b"]" if one.strip()[:1] in (b"{", b'"') else body


def _combination(fault: Fault) -> str:
    """The field whose value another record has, or the fields whose values together."""
    return fault.rule or (fault.pointer or "").rpartition("/")[2]


def _sent(response: Found | Written) -> Body:
    """What a response shows: a text as it is, all else as JSON."""
    return Body(response.data, TEXT_TYPE) if isinstance(response.data, str) else Body(response.json)


def _key_written(asked: Asked, written: Written) -> Any:
    """The key of the record that was written; where application code has answered in place of that, the one that its
    answer has, or else the one in the path. None when there is none of these."""
    if written.keys:
        return written.keys[0]
    name, data = asked.definition.schema.key, written.data
    if isinstance(data, dict) and data.get(name) is not None:
        return data[name]
    return None if asked.text is None else asked.definition.schema.key_field.type.parse(asked.text)


def _told(status: int, body: Any) -> Told:
    return Told(status, JSON_TYPE, msgspec.json.encode(body))


BOOSTER = Booster()
