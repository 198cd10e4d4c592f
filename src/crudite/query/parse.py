"""The spellings of a query: URL parameters, JSON, and Python keywords, all into one written query."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec

from crudite.errors import Fault, Malformed
from crudite.query.comparisons import UrlText
from crudite.query.faults import add_fault, shown
from crudite.query.plan import MOST_INCLUDED
from crudite.query.tree import EVERYTHING, OPERATORS, And, Condition, Filter, Not, Operator, Or

RESERVED = (
    "sort",
    "limit",
    "offset",
    "cursor",
    "after",
    "until",
    "fields",
    "omit",
    "count",
    "filter",
    "include",
    "search",
)
"""Names of URL parameters that are ours; such a field is asked for with its operator: `count[eq]=3`."""

DELETED = ("with", "only")
"""What `deleted` takes: deleted records together with those that are there, or nothing else."""

MAX_DEPTH = 20
"""How deep `or`, `and` and `not` may be nested."""

MAX_NUMBER = 999_999_999
"""The largest `limit` and `offset` that can be written; a resource has lower ones."""

_PARAMETER = re.compile(r"(?P<path>[^\[\]]+)\[(?P<operator>[A-Za-z]+)\]")
_JSON_OPTIONS = frozenset(RESERVED) - {"filter"} | {"deleted"}


@dataclass(frozen=True, slots=True)
class WrittenQuery:
    """A query as somebody wrote it, before any schema has been looked at.

    `fields` and `omit` are None when not given; `include` holds paths with dots; `filter` holds everything that was
    said about which records, but for the words of `search`, and for whether `deleted` ones are asked for.
    `most_included` is how many records a link to many includes.
    """

    filter: Filter = EVERYTHING
    sort: tuple[str, ...] = ()
    limit: int | None = None
    offset: int = 0
    cursor: str | None = None
    after: str | None = None
    until: str | None = None
    fields: tuple[str, ...] | None = None
    omit: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()
    most_included: int = MOST_INCLUDED
    count: bool = False
    search: str | None = None
    deleted: Literal["with", "only"] | None = None


EMPTY = WrittenQuery()


@dataclass
class _Reader:
    """What is common to URL and JSON: gathers the parts and the faults."""

    faults: list[Fault] = field(default_factory=list)
    conditions: list[Filter] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    def fault(self, code: str, detail: str, place: str) -> None:
        add_fault(self.faults, code, detail, place)

    def option(self, name: str, value: Any, place: str) -> None:
        """One of our own parameters; a number may be a text only where `value` is one from a URL."""
        match name:
            case "sort" | "fields" | "omit" | "include":
                self._names(name, value, place)
            case "limit" | "offset":
                self._number(name, value, place)
            case "cursor" | "after" | "until" | "search" if isinstance(value, str):
                self.found[name] = str(value)
            case "cursor" | "after" | "until" | "search":
                self.fault("bad_value", f"{name} takes a text, got {shown(value)}.", place)
            case "count" if isinstance(value, str) and value in ("exact", "none"):
                self.found[name] = value == "exact"
            case "deleted" if value in DELETED:
                self.found[name] = str(value)
            case "deleted":
                self.fault("bad_value", f"deleted takes with or only, got {shown(value)}.", place)
            case "count":
                self.fault("bad_value", f"count takes exact or none, got {shown(value)}.", place)

    def _names(self, name: str, value: Any, place: str) -> None:
        """`sort`, `fields`, `omit`, `include`: a comma-separated text or a list of texts."""
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, list | tuple) and all(isinstance(part, str) and part for part in parts):
            self.found[name] = tuple(str(part) for part in parts)
        else:
            detail = f"{name} takes names, separated by commas or in a list, got {shown(value)}."
            self.fault("bad_value", detail, place)

    def _number(self, name: str, value: Any, place: str) -> None:
        if isinstance(value, UrlText) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        lowest = 1 if name == "limit" else 0
        if type(value) is int and lowest <= value <= MAX_NUMBER:
            self.found[name] = value
        else:
            detail = f"{name} takes an integer from {lowest} to {MAX_NUMBER}, got {shown(value)}."
            self.fault("bad_value", detail, place)

    def check(self) -> None:
        if self.faults:
            raise Malformed(faults=self.faults)

    def query(self, place_of_omit: str) -> WrittenQuery:
        if "fields" in self.found and "omit" in self.found:
            self.fault("bad_value", "fields and omit do not go together.", place_of_omit)
        self.check()
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
            reader.option(name, UrlText(given[-1]), name)
        elif name == "deleted" and set(given) <= {*DELETED}:  # any other value is one of a field of that name
            reader.option(name, given[-1], name)
        else:
            reader.conditions.extend(_url_conditions(name, given))
    return reader.query("omit")


def parse_json(value: Any, prefix: str = "") -> WrittenQuery:
    """The query in a JSON object `{where, search, sort, limit, offset, cursor, after, until, fields, omit, include,
    count, deleted}`.

    `prefix` is the JSON Pointer of the object itself. Raises Malformed with every fault.
    """
    if not isinstance(value, Mapping):
        text = f"A query is a JSON object, got {shown(value)}."
        raise Malformed(faults=[Fault("bad_query", text, pointer=prefix)])
    reader = _Reader()
    for name, part in value.items():
        pointer = f"{prefix}/{_escape(name)}"
        if name == "where":
            reader.conditions.append(_json_filter(part, pointer, reader, 0))
        elif name not in _JSON_OPTIONS:
            reader.fault("unknown_parameter", f"A query has no {shown(name)}.", pointer)
        elif part is not None:
            reader.option(name, part, pointer)
    return reader.query(f"{prefix}/omit")


def parse_filter(value: Any, prefix: str = "") -> Filter:
    """The filter in a JSON object, `{"status": "todo", "due": {"lt": "2026-12-01"}, "or": [{…}]}`.

    Raises Malformed with every fault.
    """
    reader = _Reader()
    written = _json_filter(value, prefix, reader, 0)
    reader.check()
    return written


def where(terms: Sequence[Filter] = (), **conditions: Any) -> Filter:
    """The filter in Python keywords: `status="todo", due__lt=day, project__owner=me.id`.

    Names are joined by two underscores; the last one may be an operator.
    """
    return And((*terms, *(_keyword(name, value) for name, value in conditions.items())))


def _keyword(name: str, value: Any) -> Condition:
    path, operator = _split(_names(name))
    return Condition(path, operator, value)


def _split(names: tuple[str, ...]) -> tuple[tuple[str, ...], Operator]:
    if len(names) > 1 and names[-1] in OPERATORS:
        return names[:-1], cast(Operator, names[-1])
    return names, "eq"


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace("__", ".").split("."))


def _url_conditions(name: str, given: list[str]) -> list[Condition]:
    bracket = _PARAMETER.fullmatch(name)
    if bracket:
        path, operator = _names(bracket["path"]), cast(Operator, bracket["operator"])
    elif "[" in name or "]" in name:
        path, operator = (name,), "eq"
    else:
        path, operator = _split(_names(name))
    if operator == "eq" and len(given) > 1:
        return [Condition(path, "in", [UrlText(value) for value in given], name)]
    return [Condition(path, operator, UrlText(value), name) for value in given]


def _url_filter(text: str, reader: _Reader) -> None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        reader.fault("bad_filter", "filter takes a JSON object.", "filter")
        return
    reader.conditions.append(_json_filter(value, "filter", reader, 0))


def _json_filter(value: Any, place: str, reader: _Reader, depth: int) -> Filter:
    if not isinstance(value, Mapping):
        reader.fault("bad_filter", f"A filter is a JSON object, got {shown(value)}.", place)
        return EVERYTHING
    if depth > MAX_DEPTH:
        reader.fault("too_deep", f"A filter is nested at most {MAX_DEPTH} deep.", place)
        return EVERYTHING
    terms: list[Filter] = []
    for name, part in value.items():
        at = _below(place, name)
        if name in ("or", "and"):
            terms.append(_json_list(name, part, at, reader, depth))
        elif name == "not":
            terms.append(Not(_json_filter(part, at, reader, depth + 1)))
        elif isinstance(part, Mapping):
            terms.extend(_json_operators(_names(name), part, at, reader))
        elif isinstance(part, list):
            terms.append(Condition(_names(name), "in", part, at))
        else:
            terms.append(Condition(*_split(_names(name)), part, at))
    return And(tuple(terms))


def _json_list(name: str, value: Any, place: str, reader: _Reader, depth: int) -> Filter:
    if not isinstance(value, list):
        reader.fault("bad_filter", f"{name} takes a list of filters, got {shown(value)}.", place)
        return EVERYTHING
    places = [_below(place, str(index)) for index in range(len(value))]
    terms = tuple(_json_filter(part, at, reader, depth + 1) for part, at in zip(value, places, strict=True))
    return Or(terms) if name == "or" else And(terms)


def _json_operators(path: tuple[str, ...], value: Mapping[str, Any], at: str, reader: _Reader) -> list[Filter]:
    if not value:
        reader.fault("bad_filter", "An object here holds operators, and this one is empty.", at)
    return [Condition(path, cast(Operator, name), part, _below(at, name)) for name, part in value.items()]


def _below(place: str, name: str) -> str:
    """The pointer of a member; a filter in a URL has only the name of its parameter."""
    return place if place == "filter" else f"{place}/{_escape(name)}"


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
