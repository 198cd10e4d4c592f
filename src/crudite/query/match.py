"""The in-memory matcher: the same meaning as the SQL, on plain records.

A bound filter becomes one function of a record. Filters that look at other records need a `Related` to find
them in; those that do not can run on an image of the change log alone.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import Any, Protocol, TypeAlias

from crudite.query.plan import Mask, SortKey
from crudite.query.tree import And, Exists, Filter, Or, Path, Symbol, Test, leaves
from crudite.schema import FieldType, ResourceSchema
from crudite.types import Key, Plain, PlainRecord

Matcher: TypeAlias = Callable[[PlainRecord], bool]

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Related(Protocol):
    """Where a matcher finds other records."""

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        """The record with a key, None when there is none."""
        ...

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> Iterable[PlainRecord]:
        """The records of a resource whose field holds a key."""
        ...


class NoRelated:
    """For filters that look at nothing but the record itself."""

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        """Raises LookupError: nothing else is known here."""
        raise LookupError(f"the filter reads {schema.name}, and only one record is at hand")

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> Iterable[PlainRecord]:
        """Raises LookupError: nothing else is known here."""
        raise LookupError(f"the filter reads {schema.name}, and only one record is at hand")


def reads_others(filter: Filter) -> bool:
    """Whether a resolved filter looks at other records than the one it is asked of."""
    return any(isinstance(leaf, Exists) or (isinstance(leaf, Test) and leaf.path.hops) for leaf in leaves(filter))


def compile_matcher(filter: Filter, related: Related = NoRelated()) -> Matcher:  # noqa: B008 (it has no state)
    """The function that tells whether a plain record is in a bound filter. Raises TypeError for an unbound one."""
    match filter:
        case And(terms):
            return _all([compile_matcher(term, related) for term in terms])
        case Or(terms):
            return _any([compile_matcher(term, related) for term in terms])
        case Test():
            return _test(filter, related)
        case Exists():
            return _exists(filter, related)
    raise TypeError(f"expected a bound filter, got {filter!r}")


def compile_mask(mask: Mask, related: Related = NoRelated()) -> Callable[[PlainRecord], PlainRecord]:  # noqa: B008
    """The function that makes of a plain record what a mask shows of it."""
    always = mask.always
    sometimes = [(name, compile_matcher(filter, related)) for name, filter in mask.sometimes]

    def show(record: PlainRecord) -> PlainRecord:
        shown = {name: record[name] for name in always}
        for name, holds in sometimes:
            if holds(record):
                shown[name] = record[name]
        return shown

    return show


def compile_sort(sort: Sequence[SortKey], related: Related = NoRelated()) -> Callable[[PlainRecord], Any]:  # noqa: B008
    """A key function for `sorted` that puts plain records into the order of a sort: null is the lowest."""
    values = [(_value(key.path, related), key.descending) for key in sort]

    def compare(left: PlainRecord, right: PlainRecord) -> int:
        for value, descending in values:
            a, b = value(left), value(right)
            if a == b:
                continue
            lower = a is None or (b is not None and a < b)
            return 1 if lower == descending else -1
        return 0

    return cmp_to_key(compare)


def fold_ascii(text: str) -> str:
    """The text with A to Z in lower case, and nothing else changed."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def _all(matchers: list[Matcher]) -> Matcher:
    if len(matchers) == 2:
        first, second = matchers
        return lambda record: first(record) and second(record)

    def every(record: PlainRecord) -> bool:
        for matches in matchers:
            if not matches(record):
                return False
        return True

    return every


def _any(matchers: list[Matcher]) -> Matcher:
    def some(record: PlainRecord) -> bool:
        for matches in matchers:
            if matches(record):
                return True
        return False

    return some


def _value(path: Path, related: Related) -> Callable[[PlainRecord], Any]:
    """The comparable value at a path; None where it leads nowhere."""
    name, inside, type = path.field.name, path.inside, path.type
    comparable = type.comparable
    if inside:
        last = _inside(name, inside, type)
    elif type.kind in ("bigint", "decimal"):
        last = lambda record: comparable(record[name])  # noqa: E731
    else:
        last = lambda record: record[name]  # noqa: E731
    return _along(path, related, last)


def _along(path: Path, related: Related, last: Callable[[PlainRecord], Any]) -> Callable[[PlainRecord], Any]:
    if not path.hops:
        return last

    def follow(record: PlainRecord) -> Any:
        at: PlainRecord | None = record
        for hop in path.hops:
            key = at[hop.field.name]
            at = None if key is None else related.get(hop.target, key)
            if at is None:
                return None
        return last(at)

    return follow


def _inside(name: str, inside: tuple[str, ...], type: FieldType) -> Callable[[PlainRecord], Any]:
    def read(record: PlainRecord) -> Plain:
        value = _dig(record[name], inside)
        return value if _is_a(value, type) else None

    return read


def _dig(value: Plain, inside: tuple[str, ...]) -> Plain:
    for name in inside:
        if not isinstance(value, dict):
            return _NOTHING
        value = value.get(name, _NOTHING)
    return value


_NOTHING: Any = object()


def _is_a(value: Plain, type: FieldType) -> bool:
    """Whether a value inside JSON is stored as the declared type: true, 1 and "1" are three values."""
    match type.kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _test(test: Test, related: Related) -> Matcher:
    if isinstance(test.value, Symbol):
        raise TypeError(f"the filter is not bound: {test.value!r} has no value yet")
    holds = _positive(test, related)
    if test.negated:
        return lambda record: not holds(record)
    return holds


def _positive(test: Test, related: Related) -> Matcher:
    path, operator = test.path, test.operator
    if operator == "exists":
        name, inside = path.field.name, path.inside
        present = _along(path, related, lambda record: _dig(record[name], inside) is not _NOTHING)
        return lambda record: bool(present(record))
    if operator == "contains" and path.type.item is not None:
        return _holds(test, related)
    value = _value(path, related)
    if operator == "isnull":
        if path.type.kind == "json" and path.inside:
            raw = _along(path, related, lambda record: _dig(record[path.field.name], path.inside))
            return lambda record: raw(record) in (None, _NOTHING)
        return lambda record: value(record) is None
    comparable = path.type.comparable
    if operator == "in":
        members = frozenset(comparable(one) for one in test.value)
        return lambda record: (found := value(record)) is not None and found in members
    return _comparison(operator, value, comparable(test.value))


def _holds(test: Test, related: Related) -> Matcher:
    path, item = test.path, test.path.type.item
    assert item is not None
    name, inside, wanted = path.field.name, path.inside, test.value

    def has(record: PlainRecord) -> bool:
        found = _dig(record[name], inside)
        return isinstance(found, list) and any(_is_a(one, item) and one == wanted for one in found)

    along = _along(path, related, has)
    return lambda record: bool(along(record))


def _comparison(operator: str, value: Callable[[PlainRecord], Any], wanted: Any) -> Matcher:
    match operator:
        case "eq":
            return lambda record: bool(value(record) == wanted)
        case "lt":
            return lambda record: (found := value(record)) is not None and found < wanted
        case "lte":
            return lambda record: (found := value(record)) is not None and found <= wanted
        case "gt":
            return lambda record: (found := value(record)) is not None and found > wanted
        case "gte":
            return lambda record: (found := value(record)) is not None and found >= wanted
        case "contains":
            return lambda record: (found := value(record)) is not None and wanted in found
        case "icontains":
            folded = fold_ascii(wanted)
            return lambda record: (found := value(record)) is not None and folded in fold_ascii(found)
        case "startswith":
            return lambda record: (found := value(record)) is not None and found.startswith(wanted)
        case "istartswith":
            folded = fold_ascii(wanted)
            return lambda record: (found := value(record)) is not None and fold_ascii(found).startswith(folded)
        case "endswith":
            return lambda record: (found := value(record)) is not None and found.endswith(wanted)
    raise TypeError(f"no operator {operator!r}")


def _exists(exists: Exists, related: Related) -> Matcher:
    inner = compile_matcher(exists.filter, related)
    link, target, hops = exists.link, exists.target, exists.hops

    def found(record: PlainRecord) -> bool:
        at: PlainRecord | None = record
        for hop in hops:
            key = at[hop.field.name]
            at = None if key is None else related.get(hop.target, key)
            if at is None:
                return False
        return any(map(inner, related.pointing(target, link.field, at[link.source_key])))

    if exists.negated:
        return lambda record: not found(record)
    return found
