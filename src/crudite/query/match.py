"""The in-memory matcher: the same meaning as the SQL, on plain records.

A bound filter becomes one function of a record. Filters that look at other records need a `Related` to find
them in; those that do not can run on an image of the change log alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from crudite.query.order import compile_sort
from crudite.query.plan import INCLUDED, Include, Mask, SortKey, Through
from crudite.query.tree import And, Exists, Filter, Hop, Or, Path, Search, Test, leaves
from crudite.query.values import Getter, NoRelated, Related, along, is_there, reading, value_at
from crudite.query.words import most_searched, words_of
from crudite.schema import Link, ResourceSchema
from crudite.types import Key, Plain, PlainRecord

Matcher: TypeAlias = Callable[[PlainRecord], bool]

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True, eq=False)
class Computed(Filter):
    """A leaf that a function decides: for whoever knows more of other records than how to find them."""

    holds: Matcher


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


def _include(include: Include, related: Related) -> Getter:
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
    return lambda record: [show(one) for one in there(record)[: include.most]]


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


def fold_ascii(text: str) -> str:
    """The text with A to Z in lower case, and nothing else changed."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


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
        present = along(path.hops, related, lambda record: is_there(record[name], inside))
        return lambda record: bool(present(record))
    value = value_at(path, related)
    if operator == "isnull":
        return lambda record: value(record) is None
    comparable = test.compared.comparable
    if path.type.item is not None:
        return _holds(value, reading(path.type.item), test.value)
    if operator == "in":
        members = frozenset(comparable(one) for one in test.value)
        return lambda record: value(record) in members  # null is never one of them
    if operator == "eq" and path.is_own and not path.inside and path.type.kind not in ("bigint", "decimal"):
        name, wanted = path.field.name, test.value
        return lambda record: bool(record[name] == wanted)
    return _comparison(operator, value, comparable(test.value))


def _holds(value: Getter, read: Callable[[Plain], Plain], wanted: Any) -> Matcher:
    def has(record: PlainRecord) -> bool:
        found = value(record)
        return found is not None and any(read(one) == wanted for one in found)

    return has


def _comparison(operator: str, value: Getter, wanted: Any) -> Matcher:
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

    found = along(exists.hops, related, pointed_at)
    if exists.negated:
        return lambda record: not found(record)
    return lambda record: bool(found(record))
