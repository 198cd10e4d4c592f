"""How a live query is kept: exactly, from the images of changes alone, or by running it again."""

from collections.abc import Iterator

import msgspec

from crudite.messages import LiveQuery
from crudite.query.match import reads_others
from crudite.query.plan import Plan
from crudite.query.tree import EVERYTHING, And, Exists, Filter, Path, Test, leaves


def is_exact(query: LiveQuery) -> bool:
    """Whether the two images of a change tell all that it does to the set.

    So it is when membership and what is shown depend on nothing but the record itself: no window, no number,
    no path through other records, no moment in time, and no order that the shown records do not tell.
    """
    plan = query.plan
    is_whole = plan.limit is None and plan.start is None and not plan.offset
    if query.counts or query.rebind is not None or not is_whole:
        return False
    return not any(reads_others(filter) for filter in _filters(plan)) and not is_ordered(plan)


def is_ordered(plan: Plan) -> bool:
    """Whether the sort uses something that the shown records do not hold, so that the order must be told."""
    shown = plan.selection.mask.always
    return any(key.path.hops or key.path.field.name not in shown for key in plan.sort)


def membership(plan: Plan) -> Filter:
    """The filter of a plan with its keys, if it has any, as one more term."""
    if plan.keys is None:
        return plan.selection.filter
    key = plan.selection.schema.key_field
    return And((Test(Path((), key, (), key.type), "in", plan.keys), plan.selection.filter))


def own_part(filter: Filter) -> Filter:
    """What of a filter can be told from the record alone: no record that fails it is in the whole filter."""
    if not reads_others(filter):
        return filter
    if isinstance(filter, And):
        return And(tuple(own_part(term) for term in filter.terms))
    return EVERYTHING


def watched(query: LiveQuery) -> frozenset[str]:
    """The resources of which any change at all may change the result: those that the plan reads besides the
    records themselves (its own resource too, when a path leads back to it)."""
    plan = query.plan
    hops = {hop.target.name for key in plan.sort for hop in key.path.hops}
    own = {plan.selection.schema.name} if query.rebind is not None else set()
    return frozenset(own.union(hops, *(_resources(filter) for filter in _filters(plan))))


def bounded(plan: Plan, records: int) -> Plan:
    """The plan with a limit, its own if it has one."""
    return plan if plan.limit is not None else msgspec.structs.replace(plan, limit=records)


def _filters(plan: Plan) -> Iterator[Filter]:
    yield plan.selection.filter
    for _, filter in plan.selection.mask.sometimes:
        yield filter


def _resources(filter: Filter) -> set[str]:
    found: set[str] = set()
    for leaf in leaves(filter):
        if isinstance(leaf, Test):
            found.update(hop.target.name for hop in leaf.path.hops)
        if isinstance(leaf, Exists):
            found.update(hop.target.name for hop in leaf.hops)
            found.add(leaf.target.name)
    return found
