"""The in-memory matcher: the same meaning as the SQL, on plain records.

A bound filter becomes one function of a record. Filters that look at other records need a `Related` to find
them in; those that do not can run on an image of the change log alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias

from crudite.query.plan import INCLUDED, MOST_INCLUDED, Include, Mask, SortKey, Through
from crudite.query.tree import And, Exists, Filter, Hop, Or, Path, Search, Test, leaves
from crudite.query.words import most_searched, words_of
from crudite.schema import INT64, FieldType, Link, ResourceSchema
from crudite.types import Key, Plain, PlainRecord

Matcher: TypeAlias = Callable[[PlainRecord], bool]

_Getter: TypeAlias = Callable[[PlainRecord], Any]

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_ABSENT: Final[Any] = object()


@dataclass(frozen=True, slots=True, eq=False)
class Computed(Filter):
    """A leaf that a function decides: for whoever knows more of other records than how to find them."""

    holds: Matcher


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


def searches(filter: Filter) -> bool:
    """Whether a resolved filter searches for words."""
    return any(isinstance(leaf, Search) for leaf in leaves(filter))


def others_read(filter: Filter) -> set[ResourceSchema]:
    """The resources whose records a resolved filter looks at on its way, besides the one that it is asked of."""
    found: set[ResourceSchema] = set()
    for leaf in leaves(filter):
        if isinstance(leaf, Test):
            found.update(hop.target for hop in leaf.path.hops)
        elif isinstance(leaf, Exists):
            found.update((*(hop.target for hop in leaf.hops), leaf.target))
    return found


def compile_matcher(filter: Filter, related: Related = NoRelated()) -> Matcher:  # noqa: B008 (it has no state)
    """The function that tells whether a plain record is in a bound filter. Raises TypeError if unbound."""
    match filter:
        case And(terms):
            return _all([compile_matcher(term, related) for term in terms])
        case Or(terms):
            return _any([compile_matcher(term, related) for term in terms])
        case Test():
            return _test(filter, related)
        case Exists():
            return _exists(filter, related)
        case Search():
            return _search(filter)
        case Computed():
            return filter.holds
    raise TypeError(f"expected a bound filter, got {filter!r}")


def compile_mask(mask: Mask, related: Related = NoRelated()) -> Callable[[PlainRecord], PlainRecord]:  # noqa: B008
    """The function that makes of a plain record what a mask shows of it."""
    always = mask.always
    sometimes = [(name, compile_matcher(filter, related)) for name, filter in mask.sometimes]
    includes = [(include.name, _include(include, related)) for include in mask.includes]

    def show(record: PlainRecord) -> PlainRecord:
        shown = {name: record[name] for name in always}
        for name, holds in sometimes:
            if holds(record):
                shown[name] = record[name]
        if includes:
            shown[INCLUDED] = {name: embed(record) for name, embed in includes}
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


def _include(include: Include, related: Related) -> _Getter:
    """What is included in a record: a record or null along a hop or a link to one, else a list of them."""
    selection = include.selection
    allowed, reached = compile_matcher(include.guard, related), _reached(include, related)
    matches, show = compile_matcher(selection.filter, related), compile_mask(selection.mask, related)
    key = selection.schema.key_field
    order = compile_sort((SortKey(Path((), key, (), key.type)),))

    def there(record: PlainRecord) -> list[PlainRecord]:
        return sorted(filter(matches, reached(record)), key=order) if allowed(record) else []

    match include.along:
        case Hop() | Link(is_one=True):
            return lambda record: next((show(one) for one in there(record)), None)
    return lambda record: [show(one) for one in there(record)[:MOST_INCLUDED]]


def _reached(include: Include, related: Related) -> Callable[[PlainRecord], Iterable[PlainRecord]]:
    """The records, each once, that the way of an include leads to."""
    schema = include.selection.schema

    def found(keys: Iterable[Key | None]) -> Iterable[PlainRecord]:
        records = (related.get(schema, key) for key in dict.fromkeys(keys) if key is not None)
        return (record for record in records if record is not None)

    match include.along:
        case Hop(field):
            return lambda record: found((record[field.name],))
        case Link() as link:
            return lambda record: related.pointing(schema, link.field, record[link.source_key])
        case Through(link, joining, to, filter):
            holds = compile_matcher(filter, related)

            def onward(record: PlainRecord) -> Iterable[PlainRecord]:
                pointing = related.pointing(joining, link.field, record[link.source_key])
                return found(one[to] for one in pointing if holds(one))

            return onward


def compile_order(sort: Sequence[SortKey]) -> Callable[[PlainRecord], Any]:
    """The function that tells where a plain record stands in a sort by its own fields: places compare with `<`, and
    are equal only for records whose sort values are."""
    keys = [(_value(key.path, NoRelated()), _ranked(key.path.type, key.descending)) for key in sort]
    return lambda record: tuple([ranked(value(record)) for value, ranked in keys])


def fold_ascii(text: str) -> str:
    """The text with A to Z in lower case, and nothing else changed."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


class _Reversed:
    """A value that compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]


def _ranked(type: FieldType, descending: bool) -> Callable[[Any], tuple[Any, ...]]:
    """Of a comparable value what compares as it stands in a sort: null is the lowest value."""
    if not descending:
        return lambda value: (False,) if value is None else (True, value)
    if type.kind in ("integer", "float", "bigint", "decimal", "boolean"):
        return lambda value: (True,) if value is None else (False, -value)
    return lambda value: (True,) if value is None else (False, _Reversed(value))


def _all(matchers: list[Matcher]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]
    if len(matchers) == 2:
        first, second = matchers
        return lambda record: first(record) and second(record)

    def every(record: PlainRecord) -> bool:
        for matches in matchers:  # noqa: SIM110 (all() with a generator takes twice as long)
            if not matches(record):
                return False
        return True

    return every


def _any(matchers: list[Matcher]) -> Matcher:
    def some(record: PlainRecord) -> bool:
        for matches in matchers:  # noqa: SIM110 (any() with a generator takes twice as long)
            if matches(record):
                return True
        return False

    return some


def _value(path: Path, related: Related) -> _Getter:
    """The comparable value at a path; None where it leads nowhere."""
    name, inside, type, comparable = path.field.name, path.inside, path.type, path.type.comparable
    own: _Getter
    if inside or type.kind == "json":
        own = _inside(name, inside, type)
    elif type.kind in ("bigint", "decimal"):
        own = lambda record: comparable(record[name])  # noqa: E731
    else:
        own = itemgetter(name)
    return _along(path.hops, related, own)


def _along(hops: tuple[Hop, ...], related: Related, own: _Getter) -> _Getter:
    """What `own` says of the record that the hops lead to; None where they lead nowhere."""
    if not hops:
        return own
    steps = [(hop.field.name, hop.target) for hop in hops]

    def follow(record: PlainRecord) -> Any:
        for name, target in steps:
            key = record[name]
            there = None if key is None else related.get(target, key)
            if there is None:
                return None
            record = there
        return own(record)

    return follow


def _inside(name: str, inside: tuple[str, ...], type: FieldType) -> _Getter:
    read = _reading(type)
    return lambda record: read(_dig(record[name], inside))


def _reading(type: FieldType) -> Callable[[Plain], Plain]:
    """What is compared of a value inside JSON; None where it is of another type."""
    fits, is_number = _fits(type), type.kind in ("integer", "float")

    def read(value: Plain) -> Plain:
        if not fits(value):
            return None
        return _as_float(value) if is_number and not -INT64 - 1 <= value <= INT64 else value

    return read


def _as_float(value: int | float) -> float | None:
    """What a database reads where an integer in JSON has more than 64 bits; None beyond the largest float."""
    try:
        return float(value)
    except OverflowError:
        return None


def _dig(value: Plain, inside: tuple[str, ...]) -> Plain:
    for name in inside:
        if not isinstance(value, dict):
            return _ABSENT
        value = value.get(name, _ABSENT)
    return value


def _fits(type: FieldType) -> Callable[[Plain], bool]:
    """Whether a value inside JSON is stored as the declared type: true, 1 and "1" are three values."""
    match type.kind:
        case "boolean":
            return lambda value: isinstance(value, bool)
        case "integer":
            return lambda value: isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
        case "json" if type.item is not None:
            return lambda value: isinstance(value, list)
        case "json" if type.members is not None or type.values is not None:
            return lambda value: isinstance(value, dict)
        case "json":
            return lambda value: value is not None and value is not _ABSENT
    return lambda value: isinstance(value, str)


def _test(test: Test, related: Related) -> Matcher:
    if test.symbol is not None:
        raise TypeError(f"the filter is not bound: {test.value!r} has no value yet")
    holds = _positive(test, related)
    if test.negated:
        return lambda record: not holds(record)
    return holds


def _positive(test: Test, related: Related) -> Matcher:
    path, operator = test.path, test.operator
    if operator == "exists":
        name, inside = path.field.name, path.inside
        present = _along(path.hops, related, lambda record: _dig(record[name], inside) is not _ABSENT)
        return lambda record: bool(present(record))
    value = _value(path, related)
    if operator == "isnull":
        return lambda record: value(record) is None
    comparable = test.compared.comparable
    if path.type.item is not None:
        return _holds(value, _reading(path.type.item), test.value)
    if operator == "in":
        members = frozenset(comparable(one) for one in test.value)
        return lambda record: value(record) in members  # null is never one of them
    if operator == "eq" and path.is_own and not path.inside and path.type.kind not in ("bigint", "decimal"):
        name, wanted = path.field.name, test.value
        return lambda record: bool(record[name] == wanted)
    return _comparison(operator, value, comparable(test.value))


def _holds(value: _Getter, read: Callable[[Plain], Plain], wanted: Any) -> Matcher:
    def has(record: PlainRecord) -> bool:
        found = value(record)
        return found is not None and any(read(one) == wanted for one in found)

    return has


def _comparison(operator: str, value: _Getter, wanted: Any) -> Matcher:
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
        case "startswith":
            return lambda record: (found := value(record)) is not None and found.startswith(wanted)
        case "endswith":
            return lambda record: (found := value(record)) is not None and found.endswith(wanted)
        case "icontains":
            folded = fold_ascii(wanted)
            return lambda record: (found := value(record)) is not None and folded in fold_ascii(found)
        case "istartswith":
            folded = fold_ascii(wanted)
            return lambda record: (found := value(record)) is not None and fold_ascii(found).startswith(folded)
    raise TypeError(f"no operator {operator!r}")


def _search(search: Search) -> Matcher:
    names, words = search.schema.search, search.words.split(" ")
    wanted, beginning, most = frozenset(words[:-1]), words[-1], most_searched(len(search.schema.search))

    def holds(record: PlainRecord) -> bool:
        text = " ".join([record[name][:most] for name in names if record[name] is not None])
        if text.isascii():  # most records end here, without being taken apart
            text = text.lower()
            if not all(word in text for word in words):
                return False
        there = frozenset(words_of(text))
        return wanted <= there and any(word.startswith(beginning) for word in there)

    return holds


def _exists(exists: Exists, related: Related) -> Matcher:
    inner = compile_matcher(exists.filter, related)
    target, field, source_key = exists.target, exists.link.field, exists.link.source_key

    def pointed_at(record: PlainRecord) -> bool:
        return any(map(inner, related.pointing(target, field, record[source_key])))

    found = _along(exists.hops, related, pointed_at)
    if exists.negated:
        return lambda record: not found(record)
    return lambda record: bool(found(record))
