"""The spellings of a query: URL parameters, JSON, and Python keywords, all into one written query."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from crudite.errors import Fault, Malformed
from crudite.query.resolve import UrlText
from crudite.query.tree import OPERATORS, And, Condition, Filter, Not, Operator, Or

RESERVED = ("sort", "limit", "offset", "cursor", "fields", "omit", "count", "filter", "include", "search")
"""Names of URL parameters that are ours; a field of such a name is asked for with its operator: `count[eq]=3`."""

MAX_DEPTH = 20
"""How deep `or` and `not` may be nested."""

_PARAMETER = re.compile(r"(?P<path>[^\[\]]+)\[(?P<operator>[A-Za-z]*)\]")


@dataclass(frozen=True, slots=True)
class WrittenQuery:
    """A query as somebody wrote it, before any schema has been looked at.

    `fields` and `omit` are None when not given; `filter` holds everything that was said about which records.
    """

    filter: Filter = And()
    sort: tuple[str, ...] = ()
    limit: int | None = None
    offset: int = 0
    cursor: str | None = None
    fields: tuple[str, ...] | None = None
    omit: tuple[str, ...] | None = None
    count: bool = False


EMPTY = WrittenQuery()


@dataclass
class _Reader:
    """What is common to URL and JSON: gathers the parts and the faults."""

    faults: list[Fault] = field(default_factory=list)
    conditions: list[Filter] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    def fault(self, code: str, detail: str, place: str) -> None:
        where = {"pointer": place} if place.startswith("/") else {"parameter": place}
        self.faults.append(Fault(code, detail, **where))

    def place(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def names(self, name: str, value: Any) -> None:
        """`sort`, `fields`, `omit`: a comma-separated text or a list of texts."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
            self.fault("bad_value", f"{name} takes names, separated by commas or in a list.", self.place(name))
        else:
            self.found[name] = tuple(str(part) for part in parts)

    def number(self, name: str, value: Any, lowest: int) -> None:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            self.fault("bad_value", f"{name} takes an integer of at least {lowest}.", self.place(name))
        else:
            self.found[name] = value

    def option(self, name: str, value: Any) -> None:
        """One of our own parameters."""
        match name:
            case "sort" | "fields" | "omit":
                self.names(name, value)
            case "limit":
                self.number(name, value, 1)
            case "offset":
                self.number(name, value, 0)
            case "cursor":
                if not isinstance(value, str):
                    self.fault("bad_value", "cursor takes a text.", self.place(name))
                self.found[name] = value
            case "count":
                if value not in ("exact", "none"):
                    self.fault("bad_value", "count takes exact or none.", self.place(name))
                self.found[name] = value == "exact"
            case _:
                self.fault("unknown_parameter", f"{name} is not supported.", self.place(name))

    def query(self) -> WrittenQuery:
        if "fields" in self.found and "omit" in self.found:
            self.fault("bad_value", "fields and omit do not go together.", self.place("omit"))
        if self.faults:
            raise Malformed(faults=self.faults)
        return WrittenQuery(filter=And(tuple(self.conditions)), **self.found)


def parse_url(parameters: Iterable[tuple[str, str]]) -> WrittenQuery:
    """The query in a URL's parameters, given as decoded names and values in order.

    `status=todo&due[lt]=2026-12-01&project.owner=7&sort=-due,title`; `due__lt=` is read as `due[lt]=`; a
    repeated name without an operator is membership; `filter=` holds JSON. Raises Malformed with every fault.
    """
    reader = _Reader()
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        values.setdefault(name, []).append(value)
    for name, given in values.items():
        if name == "filter":
            for text in given:
                _url_filter(text, reader)
        elif name in RESERVED:
            if len(given) > 1:
                reader.fault("repeated", f"{name} is given {len(given)} times.", name)
            reader.option(name, given[-1])
        else:
            reader.conditions.extend(_url_conditions(name, given))
    return reader.query()


def parse_json(value: Any, prefix: str = "") -> WrittenQuery:
    """The query in a JSON object `{where, sort, limit, offset, cursor, fields, omit, count}`.

    `prefix` is the JSON Pointer of the object itself. Raises Malformed with every fault.
    """
    reader = _Reader(prefix=prefix or "")
    if not isinstance(value, Mapping):
        raise Malformed(faults=[Fault("bad_query", "A query is a JSON object.", pointer=prefix or "")])
    reader.prefix = prefix if prefix else ""
    for name, part in value.items():
        pointer = f"{prefix}/{_escape(name)}"
        if name == "where":
            reader.conditions.append(_json_filter(part, pointer, reader, 0))
        elif name in ("sort", "limit", "offset", "cursor", "fields", "omit", "count"):
            _json_option(name, part, pointer, reader)
        else:
            reader.fault("unknown_parameter", f"A query has no {name!r}.", pointer)
    return reader.query()


def parse_filter(value: Any, prefix: str = "") -> Filter:
    """The filter in a JSON object, `{"status": "todo", "due": {"lt": "2026-12-01"}, "or": [{…}]}`.

    Raises Malformed with every fault.
    """
    reader = _Reader()
    written = _json_filter(value, prefix, reader, 0)
    if reader.faults:
        raise Malformed(faults=reader.faults)
    return written


def where(terms: Sequence[Filter] = (), **conditions: Any) -> Filter:
    """The filter in Python keywords: `status="todo", due__lt=day, project__owner=me.id`.

    Names are joined by two underscores; the last one may be an operator.
    """
    return And((*terms, *(_keyword(name, value) for name, value in conditions.items())))


def _keyword(name: str, value: Any) -> Condition:
    path, operator = _split(name.split("__"))
    if isinstance(value, (set, frozenset)):
        value = list(value)
    return Condition(path, operator, value)


def _split(names: list[str]) -> tuple[tuple[str, ...], Operator]:
    if len(names) > 1 and names[-1] in OPERATORS:
        return tuple(names[:-1]), cast(Operator, names[-1])
    return tuple(names), "eq"


def _url_conditions(name: str, given: list[str]) -> list[Condition]:
    bracket = _PARAMETER.fullmatch(name)
    if bracket:
        path, operator = _names(bracket["path"]), cast(Operator, bracket["operator"])
    elif "[" in name or "]" in name:
        path, operator = (name,), "eq"
    else:
        path, operator = _split(list(_names(name)))
    if operator == "eq" and len(given) > 1:
        return [Condition(path, "in", [UrlText(value) for value in given], name)]
    return [Condition(path, operator, UrlText(value), name) for value in given]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for dotted in text.split(".") for part in dotted.split("__"))


def _url_filter(text: str, reader: _Reader) -> None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        reader.fault("bad_filter", "filter takes a JSON object.", "filter")
        return
    reader.conditions.append(_json_filter(value, "filter", reader, 0))


def _json_option(name: str, value: Any, pointer: str, reader: _Reader) -> None:
    if value is None:
        return
    if isinstance(value, str) and name in ("limit", "offset"):
        reader.fault("bad_value", f"{name} takes an integer.", pointer)
    else:
        reader.prefix = pointer.rsplit("/", 1)[0]
        before = len(reader.faults)
        reader.option(name, value)
        reader.faults[before:] = [
            Fault(fault.code, fault.detail, pointer=pointer) for fault in reader.faults[before:]
        ]


def _json_filter(value: Any, place: str, reader: _Reader, depth: int) -> Filter:
    if not isinstance(value, Mapping):
        reader.fault("bad_filter", "A filter is a JSON object.", place)
        return And()
    if depth > MAX_DEPTH:
        reader.fault("too_deep", f"A filter is nested at most {MAX_DEPTH} deep.", place)
        return And()
    terms: list[Filter] = []
    for name, part in value.items():
        at = f"{place}/{_escape(name)}" if place.startswith("/") or not place else place
        if name in ("or", "and"):
            terms.append(_json_list(name, part, at, reader, depth))
        elif name == "not":
            terms.append(Not(_json_filter(part, at, reader, depth + 1)))
        elif isinstance(part, Mapping):
            terms.extend(_json_operators(_names(name), part, at, reader))
        elif isinstance(part, list):
            terms.append(Condition(_names(name), "in", part, at))
        else:
            path, operator = _split(list(_names(name)))
            terms.append(Condition(path, operator, part, at))
    return And(tuple(terms))


def _json_list(name: str, value: Any, place: str, reader: _Reader, depth: int) -> Filter:
    if not isinstance(value, list):
        reader.fault("bad_filter", f"{name} takes a list of filters.", place)
        return And()
    inner = [f"{place}/{index}" if place.startswith("/") else place for index in range(len(value))]
    terms = tuple(_json_filter(part, at, reader, depth + 1) for part, at in zip(value, inner, strict=True))
    return Or(terms) if name == "or" else And(terms)


def _json_operators(path: tuple[str, ...], value: Mapping[str, Any], place: str, reader: _Reader) -> list[Filter]:
    if not value:
        reader.fault("bad_filter", "An object here holds operators, and this one is empty.", place)
    at = {name: f"{place}/{_escape(name)}" if place.startswith("/") else place for name in value}
    return [Condition(path, cast(Operator, name), part, at[name]) for name, part in value.items()]


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
