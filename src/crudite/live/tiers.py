"""How a live query is kept: from the images of changes, as a window of keys, or by running it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from crudite.messages import LiveQuery
from crudite.query.match import Computed, others_read, reads_others, searches
from crudite.query.order import compile_order
from crudite.query.plan import Plan
from crudite.query.tree import EVERYTHING, And, Filter, Path, Test, is_judged
from crudite.schema import ResourceSchema
from crudite.types import PlainRecord

TierName: TypeAlias = Literal["exact", "window", "rerun"]


@dataclass(frozen=True, slots=True)
class Tier:
    """`exact`: the images of a change tell all. `window`: so they do with the keys at hand. `rerun`: the query is
    run again when something that it reads has changed. `reason` says why, as a sentence."""

    name: TierName
    reason: str


def tier_of(query: LiveQuery) -> Tier:
    """How a live query is kept, as far as the query alone decides it."""
    plan = query.plan
    if is_judged(plan.selection.filter):
        return Tier("rerun", "A rule is a function, which is asked of each record anew.")
    if query.counts:
        return Tier("rerun", "It is a value over records, which only the store can tell.")
    if query.rebind is not None:
        return Tier("rerun", "It speaks of now or today, so that it changes with time alone.")
    if any(map(searches, filters(plan))):
        return Tier("rerun", "It searches for words, which the store finds.")
    if plan.selection.mask.includes:
        return Tier("rerun", "It includes other records.")
    foreign = [".".join(key.path.names) for key in plan.sort if not key.path.is_field]
    is_range = plan.start is not None or plan.until is not None
    if foreign and (is_range or plan.limit is not None):
        what, by = "a limit" if plan.limit is not None else "bounds", ", ".join(foreign)
        return Tier("rerun", f"It has {what}, and its sort by {by} reads more than the records' own fields.")
    if plan.limit is not None:
        return Tier("window", "It has a limit: the keys of the first records are kept, with some more behind them.")
    if is_ordered(plan):
        return Tier("rerun", "Its sort uses something that the records do not show, so their order must be told.")
    if any(map(reads_others, filters(plan))):
        return Tier("exact", "The images of a change, and sets of the keys of other records, tell what it does.")
    return Tier("exact", "The images of a change tell what it does.")


def is_ordered(plan: Plan) -> bool:
    """Whether the sort uses something that the shown records do not hold, so that the order must be told."""
    shown = plan.selection.mask.always
    return any(key.path.hops or key.path.field.name not in shown for key in plan.sort)


def membership(plan: Plan) -> Filter:
    """The filter of a plan with its keys and its bounds, if it has any, as further terms."""
    terms = [plan.selection.filter]
    if plan.keys is not None:
        key = plan.selection.schema.key_field
        terms.insert(0, Test(Path((), key, (), key.type), "in", plan.keys))
    if plan.start is not None or plan.until is not None:
        terms.append(_between(plan))
    return And(tuple(terms)) if len(terms) > 1 else terms[0]


def _between(plan: Plan) -> Filter:
    """That a record stands after the start and not after the end of a plan."""
    order = compile_order(plan.sort)
    names = [key.path.field.name for key in plan.sort]
    start, until = (
        order(dict(zip(names, place, strict=True))) if place is not None else None for place in (plan.start, plan.until)
    )

    def holds(record: PlainRecord) -> bool:
        place = order(record)
        return (start is None or start < place) and (until is None or not until < place)

    return Computed(holds)


def own_part(filter: Filter) -> Filter:
    """What of a filter can be told from the record alone: no record that fails it is in the whole filter."""
    if not (reads_others(filter) or is_judged(filter)):
        return filter
    if isinstance(filter, And):
        return And(tuple(own_part(term) for term in filter.terms))
    return EVERYTHING


def others(query: LiveQuery) -> frozenset[ResourceSchema]:
    """The resources that a query reads besides the records themselves (its own resource too, when a path leads back
    to it): any change of theirs may change the result."""
    plan = query.plan
    found = {hop.target for key in plan.sort for hop in key.path.hops}
    if plan.aggregate is not None:
        found |= {hop.target for path in plan.aggregate.paths for hop in path.hops}
    found.update(*(way[-1].schemas for way in plan.selection.mask.ways()))
    return frozenset(found.union(*(others_read(filter) for filter in filters(plan))))


def filters(plan: Plan) -> Iterator[Filter]:
    """Every condition of a plan: which records, and in which of them what is shown."""
    return (filter for _, filter in plan.selection.filters())


def bounded(plan: Plan, records: int) -> Plan:
    """The plan with a limit, its own if it has one."""
    return plan if plan.limit is not None else msgspec.structs.replace(plan, limit=records)
