"""From written filters and sorts to resolved ones: names become paths, values become plain, `not` goes to the leaves.

Every fault is collected before anything is raised. On behalf of an asker the resolver also applies what he may
see: a field that he may never read is as unknown; a condition on one that he may read in some records holds only
there; a path through other records sees only those that he may read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Protocol, cast

from crudite.errors import Fault, Malformed
from crudite.query.plan import SortKey
from crudite.query.tree import (
    EVERYTHING,
    NOTHING,
    OPERATORS,
    And,
    Condition,
    Exists,
    Filter,
    Given,
    Hop,
    Not,
    Or,
    Path,
    Symbol,
    Test,
    TestOperator,
)
from crudite.schema import Catalog, FieldSpec, FieldType, Link, ResourceSchema

MAX_NODES = 200
"""The largest number of conditions in one filter."""
MAX_LIST = 1000
"""The largest number of values in one `in` or `nin`."""
MAX_PATH = 6
"""The largest number of names in one path."""

_TEXT_OPERATORS = {"contains", "icontains", "startswith", "istartswith", "endswith"}
_INSIDE_JSON = {"text", "integer", "float", "boolean", "date", "uuid"}
_CLOCKS = {"now": "datetime", "today": "date"}


class UrlText(str):
    """A value from a URL, to be read by the type of its field."""

    __slots__ = ()


class Access(Protocol):
    """What one asker may read, as bound filters."""

    def records(self, schema: ResourceSchema) -> Filter:
        """The records of a resource that he may read."""
        ...

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        """The records in which he may read a field, apart from `records`; NOTHING: never."""
        ...


class FullAccess:
    """Everything but secret fields may be read: for rules, and for the server's own queries."""

    def records(self, schema: ResourceSchema) -> Filter:
        """Every record."""
        return EVERYTHING

    def field(self, schema: ResourceSchema, name: str) -> Filter:
        """Every record, but for a secret field none."""
        return NOTHING if schema.fields[name].secret else EVERYTHING


@dataclass
class Resolver:
    """Resolves filters and sorts of one resource; `faults` gathers what is wrong with them."""

    schema: ResourceSchema
    catalog: Catalog
    access: Access = field(default_factory=FullAccess)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def filter(self, written: Filter) -> Filter:
        """The resolved filter. What is wrong with it is in `faults`; then the result means nothing."""
        return self._filter(written, self.schema, False)

    def sort(self, written: Iterable[str], place: str = "sort") -> tuple[SortKey, ...]:
        """The resolved sort keys, ending with the key of the resource, in the last direction.

        A written key is a path with dots, with `-` in front for descending.
        """
        keys: list[SortKey] = []
        for text in written:
            names = tuple(text.removeprefix("-").split("."))
            found = self._path(names, self.schema, place)
            if isinstance(found, _Found) and self._sortable(found, text, place):
                keys.append(SortKey(found.path, text.startswith("-")))
            elif isinstance(found, _ToMany):
                self._fault("bad_sort", f"{text!r} leads to many records and does not sort.", place)
        names_seen = [key.path.names for key in keys]
        if (self.schema.key,) in names_seen:
            return tuple(keys[: names_seen.index((self.schema.key,)) + 1])
        own_key = self.schema.key_field
        descending = keys[-1].descending if keys else False
        return (*keys, SortKey(Path((), own_key, (), own_key.type), descending))

    def names(self, written: Iterable[str], place: str) -> tuple[str, ...]:
        """The field names among `written` that exist and may be seen; a fault for each that does not."""
        return tuple(name for name in written if self._field(name, self.schema, place) is not None)

    def check(self) -> None:
        """Raises Malformed with every fault that was found, if any was."""
        if self.faults:
            raise Malformed(faults=self.faults)

    def _fault(self, code: str, detail: str, place: str) -> None:
        where = {"pointer": place} if place.startswith("/") else {"parameter": place} if place else {}
        self.faults.append(Fault(code, detail, **where))

    def _filter(self, written: Filter, schema: ResourceSchema, negated: bool) -> Filter:
        match written:
            case Not(term):
                return self._filter(term, schema, not negated)
            case And(terms):
                return join(self._together(terms, schema, negated), either=negated)
            case Or(terms):
                return join([self._filter(term, schema, negated) for term in terms], either=not negated)
            case Condition():
                return join(self._together((written,), schema, negated), either=negated)
            case Given():
                return replace(written, negated=written.negated != negated)
            case Test() | Exists():
                return replace(written, negated=written.negated != negated)
        raise TypeError(f"expected a filter, got {written!r}")

    def _together(self, terms: Sequence[Filter], schema: ResourceSchema, negated: bool) -> list[Filter]:
        """The terms of one And: conditions along the same to-many path become one Exists."""
        resolved: list[Filter] = []
        many: dict[tuple[str, ...], tuple[_ToMany, list[Filter]]] = {}
        for term in terms:
            if not isinstance(term, Condition):
                resolved.append(self._filter(term, schema, negated))
                continue
            self.nodes += 1
            if self.nodes == MAX_NODES + 1:
                self._fault("too_many_conditions", f"A filter holds at most {MAX_NODES} conditions.", term.place)
            if self.nodes > MAX_NODES:
                continue
            found = self._path(term.path, schema, term.place)
            if isinstance(found, _ToMany):
                rest = replace(term, path=found.rest) if found.rest else None
                group = many.setdefault(term.path[: len(term.path) - len(found.rest)], (found, []))[1]
                resolved.extend(self._absence(found, term, negated) if rest is None else ())
                if rest is not None:
                    group.append(rest)
            elif isinstance(found, _Found):
                resolved.append(guard(found.guards, self._test(found, term, negated)))
        for found, conditions in many.values():
            if conditions:
                inner = self._filter(And(tuple(conditions)), found.target, False)
                resolved.append(self._exists(found, inner, negated))
        return resolved

    def _absence(self, found: "_ToMany", term: Condition, negated: bool) -> list[Filter]:
        wanted = self._boolean(term)
        if wanted is None or term.operator not in ("exists", "isnull"):
            text = "A path that ends in many records takes exists or isnull only."
            self._fault("bad_operator", text, term.place)
            return []
        return [self._exists(found, EVERYTHING, negated != (wanted != (term.operator == "exists")))]

    def _exists(self, found: "_ToMany", inner: Filter, negated: bool) -> Filter:
        visible = And((self.access.records(found.target), inner))
        return guard(found.guards, Exists(found.hops, found.link, found.target, simplify(visible), negated))

    def _test(self, found: "_Found", term: Condition, negated: bool) -> Filter:
        if not self._operator_fits(found.path, term):
            return NOTHING
        match term.operator:
            case "ne":
                return self._equal(found.path, term, term.value, not negated)
            case "eq":
                return self._equal(found.path, term, term.value, negated)
            case "in":
                return self._member(found.path, term, negated)
            case "nin":
                return self._member(found.path, term, not negated)
            case "between":
                return self._between(found.path, term, negated)
            case "isnull" | "exists":
                return self._null(found.path, term, negated)
        value = self._value(found.path.type, term, term.value)
        if term.operator == "contains" and found.path.type.item is not None:
            value = self._value(found.path.type.item, term, term.value)
        return Test(found.path, cast(TestOperator, term.operator), value, negated)

    def _operator_fits(self, path: Path, term: Condition) -> bool:
        if term.operator not in OPERATORS:
            near = _nearest(term.operator, OPERATORS)
            self._fault("unknown_operator", f"There is no operator {term.operator!r}{near}.", term.place)
            return False
        if term.operator in ("isnull", "exists"):
            return True
        name = ".".join(path.names)
        if path.type.item is not None:
            if term.operator != "contains":
                self._fault("bad_operator", f"{name!r} is a list: it takes contains, isnull and exists.", term.place)
            return term.operator == "contains"
        if path.type.kind == "json":
            what = "holds JSON: compare a declared value inside it, or use isnull or exists"
            self._fault("bad_operator", f"{name!r} {what}.", term.place)
            return False
        if path.inside and path.type.kind not in _INSIDE_JSON:
            self._fault("bad_operator", f"{name!r} cannot be compared inside JSON.", term.place)
            return False
        if term.operator in _TEXT_OPERATORS and path.type.kind != "text":
            self._fault("bad_operator", f"{term.operator} needs a text, and {name!r} is not one.", term.place)
            return False
        return True

    def _equal(self, path: Path, term: Condition, value: Any, negated: bool) -> Filter:
        if value is None:
            return Test(path, "isnull", True, negated)
        return Test(path, "eq", self._value(path.type, term, value), negated)

    def _member(self, path: Path, term: Condition, negated: bool) -> Filter:
        if isinstance(term.value, Symbol):
            return Test(path, "in", term.value, negated)
        values = term.value.split(",") if isinstance(term.value, UrlText) else term.value
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            self._fault("bad_value", f"{term.operator} takes a list.", term.place)
            return NOTHING
        values = [UrlText(v) if isinstance(term.value, UrlText) else v for v in values]
        if len(values) > MAX_LIST:
            self._fault("too_many_values", f"{term.operator} takes at most {MAX_LIST} values.", term.place)
            return NOTHING
        plain = [self._value(path.type, term, value) for value in values if value is not None]
        unique = tuple(dict.fromkeys(plain))
        tests: list[Filter]
        if path.type.kind == "float":  # a list travels as JSON text, which would round; single values do not
            tests = [Test(path, "eq", value, negated) for value in unique]
        else:
            tests = [Test(path, "in", unique, negated)]
        if None in values:
            tests.append(Test(path, "isnull", True, negated))
        return join(tests, either=not negated)

    def _between(self, path: Path, term: Condition, negated: bool) -> Filter:
        values = term.value.split(",") if isinstance(term.value, UrlText) else term.value
        if not isinstance(values, list | tuple) or len(values) != 2 or None in values:
            self._fault("bad_value", "between takes two values, the lowest and the highest.", term.place)
            return NOTHING
        low, high = (self._value(path.type, term, UrlText(v) if isinstance(term.value, UrlText) else v) for v in values)
        return join([Test(path, "gte", low, negated), Test(path, "lte", high, negated)], either=negated)

    def _null(self, path: Path, term: Condition, negated: bool) -> Filter:
        wanted = self._boolean(term)
        if wanted is None:
            self._fault("bad_value", f"{term.operator} takes true or false.", term.place)
            return NOTHING
        if term.operator == "exists" and path.inside:
            return Test(path, "exists", True, negated != (not wanted))
        return Test(path, "isnull", True, negated != (wanted != (term.operator == "isnull")))

    def _boolean(self, term: Condition) -> bool | None:
        if isinstance(term.value, UrlText):
            return {"true": True, "false": False}.get(term.value)
        return term.value if isinstance(term.value, bool) else None

    def _value(self, type: FieldType, term: Condition, value: Any) -> Any:
        if isinstance(value, Symbol):
            if _CLOCKS.get(value.name, type.kind) != type.kind:
                self._fault("bad_value", f"{value.name} does not go with {type.described}.", term.place)
            return value
        if value is None:
            self._fault("bad_value", f"{term.operator} does not take null.", term.place)
            return None
        try:
            return type.parse(value) if isinstance(value, UrlText) else type.check(value)
        except ValueError as fault:
            came = "" if isinstance(value, dict | list) else f", got {str(value)[:80]!r}"
            self._fault("bad_value", f"{'.'.join(term.path)}: {fault}{came}.", term.place)
            return None

    def _sortable(self, found: "_Found", text: str, place: str) -> bool:
        if found.guards:
            self._fault("bad_sort", f"{text!r} cannot be sorted by: it may not be read in every record.", place)
        elif found.path.type.kind == "json" or (found.path.inside and found.path.type.kind not in _INSIDE_JSON):
            self._fault("bad_sort", f"{text!r} has no order.", place)
        else:
            return True
        return False

    def _field(self, name: str, schema: ResourceSchema, place: str) -> FieldSpec | None:
        spec = schema.fields.get(name)
        if spec is not None and self.access.field(schema, name) != NOTHING:
            return spec
        seen = [n for n in (*schema.fields, *schema.links) if n in schema.links or self._seen(schema, n)]
        self._fault("unknown_field", f"{schema.name} has no field {name!r}{_nearest(name, seen)}", place)
        return None

    def _seen(self, schema: ResourceSchema, name: str) -> bool:
        return self.access.field(schema, name) != NOTHING

    def _path(self, names: tuple[str, ...], schema: ResourceSchema, place: str) -> "_Found | _ToMany | None":
        if len(names) > MAX_PATH:
            self._fault("path_too_long", f"A path has at most {MAX_PATH} names.", place)
            return None
        hops: list[Hop] = []
        guards: list[Filter] = []
        for index, name in enumerate(names):
            rest = names[index + 1 :]
            if name in schema.links:
                link = schema.links[name]
                return _ToMany(tuple(hops), tuple(guards), link, self.catalog[link.target], rest)
            spec = self._field(name, schema, place)
            if spec is None:
                return None
            guards.append(reroot(self.access.field(schema, name), tuple(hops)))
            if not rest or spec.reference is None:
                return self._leaf(spec, rest, hops, guards, place)
            schema = self.catalog[spec.reference.target]
            hops.append(Hop(spec, schema))
            guards.append(reroot(self.access.records(schema), tuple(hops)))
        raise AssertionError("a path has at least one name")

    def _leaf(
        self, spec: FieldSpec, rest: tuple[str, ...], hops: list[Hop], guards: list[Filter], place: str
    ) -> "_Found | None":
        type = spec.type
        for name in rest:
            inner = type.members.get(name) if type.members is not None else type.values
            if inner is None:
                where = f"{spec.name!r} has no declared value {'.'.join(rest)!r} inside"
                near = _nearest(name, type.members or ())
                self._fault("unknown_field", f"{where}{near}.", place)
                return None
            type = inner
        real = tuple(g for g in guards if g != EVERYTHING)
        return _Found(Path(tuple(hops), spec, rest, type), real)


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    guards: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class _ToMany:
    hops: tuple[Hop, ...]
    guards: tuple[Filter, ...]
    link: Link
    target: ResourceSchema
    rest: tuple[str, ...]


def guard(guards: Iterable[Filter], filter: Filter) -> Filter:
    """The filter, holding only where all of the guards hold."""
    return simplify(And((*guards, filter)))


def join(terms: Iterable[Filter], *, either: bool) -> Filter:
    """All of the terms, or with `either` any of them, simplified."""
    return simplify(Or(tuple(terms)) if either else And(tuple(terms)))


def simplify(filter: Filter) -> Filter:
    """A resolved filter without nested And in And, Or in Or, single terms, and constants that decide.

    Flattening is safe here: what belongs to one related record is already inside one Exists.
    """
    if not isinstance(filter, And | Or):
        return filter
    kind, decides = (And, NOTHING) if isinstance(filter, And) else (Or, EVERYTHING)
    terms: list[Filter] = []
    for term in map(simplify, filter.terms):
        if term == decides:
            return decides
        terms.extend(term.terms if isinstance(term, kind) else (term,))
    unique = tuple(dict.fromkeys(terms)) if all(_is_hashable(t) for t in terms) else tuple(terms)
    return unique[0] if len(unique) == 1 else kind(unique)


def reroot(filter: Filter, hops: tuple[Hop, ...]) -> Filter:
    """A resolved filter on the record that the hops lead to, as a filter on the record that they start from."""
    match filter:
        case And(terms):
            return And(tuple(reroot(term, hops) for term in terms))
        case Or(terms):
            return Or(tuple(reroot(term, hops) for term in terms))
        case Test(path):
            return replace(filter, path=replace(path, hops=(*hops, *path.hops)))
        case Exists(inner):
            return replace(filter, hops=(*hops, *inner))
    return filter


def _is_hashable(filter: Filter) -> bool:
    return not isinstance(filter, Given) and not (isinstance(filter, Test) and isinstance(filter.value, Symbol))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
