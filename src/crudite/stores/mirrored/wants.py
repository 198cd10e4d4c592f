"""What has to be asked of a database before the mirror can answer a plan: searches, and records by their keys.

A search is a hint, the equalities that every record in question fulfils. Whatever else a filter says, and the order,
the pages and the numbers, are the mirror's to tell.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from crudite.query.plan import Plan, Selection
from crudite.query.tree import And, Exists, Filter, Path, Test, leaves
from crudite.schema import ResourceSchema
from crudite.stores.mirrored.mirror import MIRROR_SETS
from crudite.types import Key, Plain

_MOST_KEYS = 100


class Search(NamedTuple):
    """All records of a resource that have these values."""

    schema: ResourceSchema
    values: Mapping[str, Plain]


class ByKey(NamedTuple):
    """The records of a resource that have these keys."""

    schema: ResourceSchema
    keys: tuple[Key, ...]


Want = Search | ByKey


def wants_of_plan(plan: Plan) -> Iterator[Want]:
    """What a plan is answered from, but for what is included in its records."""
    selection = plan.selection
    if plan.keys is not None:
        yield ByKey(selection.schema, plan.keys)
    else:
        yield wanted(selection.schema, selection.filter)
    yield from wants_of_selection(selection)
    yield from _ways(key.path for key in plan.sort)
    if plan.aggregate is not None:
        yield from _ways(plan.aggregate.paths)


def wants_of_selection(selection: Selection) -> Iterator[Want]:
    """What a selection's filters look at besides the records that they are asked of."""
    for _, filter in selection.filters():
        yield from wants_of_filter(filter)


def wants_of_filter(filter: Filter) -> Iterator[Want]:
    """What a filter looks at besides the record that it is asked of."""
    for leaf in leaves(filter):
        if isinstance(leaf, Exists):
            yield from (Search(hop.target, {}) for hop in leaf.hops)
            yield wanted(leaf.target, leaf.filter)
        elif isinstance(leaf, Test) and leaf.path.hops:
            yield from (Search(hop.target, {}) for hop in leaf.path.hops[:-1])
            own = Path((), leaf.path.field, leaf.path.inside, leaf.path.type)
            there = Test(own, leaf.operator, leaf.value)  # the opposite is known, too, once these are
            yield wanted(leaf.path.hops[-1].target, there)


def wanted(schema: ResourceSchema, filter: Filter) -> Want:
    """All records of a resource that a filter may hold for."""
    values: dict[str, Plain] = {}
    for test in _necessary(filter):
        name = test.path.field.name
        if not test.path.is_field or test.negated or name in MIRROR_SETS:
            continue
        value: Any = test.value
        if name == schema.key and test.operator == "in" and len(value) <= _MOST_KEYS:
            return ByKey(schema, tuple(value))
        if test.operator == "eq":
            if name == schema.key:
                return ByKey(schema, (value,))
            values.setdefault(name, value)
    return Search(schema, values)


def without_repeats(wants: Iterable[Want]) -> list[Want]:
    """The same, each but once, and nothing of a resource beside all of it."""
    kept: list[Want] = []
    for want in wants:
        if want not in kept:
            kept.append(want)
    whole = {want.schema for want in kept if isinstance(want, Search) and not want.values}
    return [want for want in kept if want.schema not in whole or (isinstance(want, Search) and not want.values)]


def _necessary(filter: Filter) -> Iterator[Test]:
    """The tests of a record itself that hold for every record of a filter."""
    if isinstance(filter, Test):
        yield filter
    elif isinstance(filter, And):
        for term in filter.terms:
            yield from _necessary(term)


def _ways(paths: Iterable[Path]) -> Iterator[Want]:
    for path in paths:
        yield from (Search(hop.target, {}) for hop in path.hops)
