"""Live queries: what of a request can be kept live, and what its plan is at each moment."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

import msgspec

from crudite.errors import Fault, Malformed
from crudite.messages import ActionName, LiveQuery
from crudite.query.aggregates import aggregate_text
from crudite.query.identity import identity_of_query
from crudite.query.match import others_read
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.resolve import join
from crudite.query.tree import And, Exists, Filter, Or, Path, Symbol, Test
from crudite.resources.access import Rulebook, at, clocks_of
from crudite.resources.asking import Asks, check_limit, check_told_by_store, definition_of, resolved
from crudite.resources.cursors import PageCursors
from crudite.resources.request import Request
from crudite.rules import bind_clock
from crudite.schema import ResourceSchema
from crudite.tokens import Sealer
from crudite.types import Key


class LiveQueries:
    """Prepares the live queries of one application."""

    def __init__(self, rulebook: Rulebook, sealer: Sealer) -> None:
        self._rulebook = rulebook
        self._cursors = PageCursors(sealer)

    def of(
        self, request: Request, *, counts: bool = False, asks: Asks | None = None, trusted: bool = False
    ) -> LiveQuery:
        """The query of a subscription, as the actor may see it. Raises Malformed when it does not fit.

        With `counts` it is the number of records that is kept live, with `asks` what they come to.
        """
        definition = definition_of(request)
        query = request.query
        action: ActionName = "list" if request.key is None else "read"
        selection, sort, resolver = resolved(request, self._rulebook, action, trusted=trusted)
        if request.key is not None:
            own = definition.schema.key_field
            by_key = Test(Path((), own, (), own.type), "eq", request.key)
            selection = Selection(selection.schema, join((selection.filter, by_key), either=False), selection.mask)
        for name, given in (("offset", query.offset), ("cursor", query.cursor), ("count", query.count)):
            if given:
                resolver.faults.append(Fault("not_live", f"{name} does not go with a live query.", parameter=name))
        if not trusted:
            check_limit(query, definition, resolver)
        aggregate = None if asks is None else resolver.aggregate(*asks)
        if aggregate is not None:
            check_told_by_store(selection)
        places = self._cursors.places(replace(query, cursor=None), selection, sort, resolver)
        resolver.faults += _untold(selection, sort)
        resolver.check()
        if not definition.schema.logged:
            raise Malformed(f"{definition.name} is declared with live=False, so it cannot be subscribed to.")
        is_value = counts or aggregate is not None
        plan = Plan(
            selection=selection, sort=() if is_value else sort, limit=query.limit, total=counts, aggregate=aggregate,
            **({} if is_value else places),
        )  # fmt: skip
        asked = f"{query.limit} {places} {counts} {aggregate and aggregate_text(aggregate)}"
        identity = f"{identity_of_query(selection, sort)} {asked}"
        return _live_at(plan, identity, is_value, self._rulebook.clock())

    def of_one(self, schema: ResourceSchema, condition: Filter, key: Key) -> LiveQuery:
        """Whether a condition, which is folded for whoever asks, holds for one record: a query that shows its key for
        as long as that is so. Raises Malformed where nobody would be told."""
        own = Path((), schema.key_field, (), schema.key_field.type)
        selection = Selection(schema, join((condition, Test(own, "eq", key)), either=False), Mask((schema.key,)))
        sort = (SortKey(own),)
        if faults := list(_untold(selection, sort)):
            raise Malformed(faults=faults)
        identity = f"{identity_of_query(selection, sort)} of one"
        return _live_at(Plan(selection=selection, sort=sort), identity, False, self._rulebook.clock())


def _live_at(plan: Plan, identity: str, counts: bool, moment: datetime) -> LiveQuery:
    """The live query of a plan, whose clocks are not bound, at a moment."""
    selection = plan.selection
    clocks = clocks_of(selection)
    bound = msgspec.structs.replace(plan, selection=at(selection, lambda: moment))
    if not clocks:
        return LiveQuery(bound, identity, counts)
    return LiveQuery(
        bound,
        identity,
        counts,
        rebind=lambda moment: _live_at(plan, identity, counts, moment),
        boundary_plans=_boundaries(selection, moment),
        wakes_at_midnight="today" in clocks,
    )


def _boundaries(selection: Selection, moment: datetime) -> tuple[Plan, ...]:
    """For each comparison with `now`: the plan whose first record is the next to pass it."""
    plans = []
    for schema, test in chain(*(_compared_with_now(schema, filter) for schema, filter in selection.filters())):
        later = Selection(schema, bind_clock(Test(test.path, "gte", test.value), moment), Mask((schema.key,)))
        plans.append(Plan(selection=later, sort=(SortKey(test.path),), limit=1))
    return tuple(plans)


def _compared_with_now(schema: ResourceSchema, filter: Filter) -> Iterator[tuple[ResourceSchema, Test]]:
    match filter:
        case And(terms) | Or(terms):
            for term in terms:
                yield from _compared_with_now(schema, term)
        case Exists():
            yield from _compared_with_now(filter.target, filter.filter)
        case Test() if isinstance(filter.value, Symbol) and filter.value.name == "now":
            yield schema, filter


def _untold(selection: Selection, sort: Sequence[SortKey]) -> Iterator[Fault]:
    """A fault for each resource that a query depends on and whose changes nobody is told."""
    for name in _unlogged(selection.mask):
        detail = f"{name} is declared with live=False, so it cannot be included in a live query."
        yield Fault("not_live", detail, parameter="include")
    for name in _unlogged_on_the_way(selection, sort):
        detail = f"{name} is declared with live=False: no condition, rule or sort of a live query can look at it."
        yield Fault("not_live", detail)


def _unlogged(mask: Mask) -> Sequence[str]:
    """The resources of included records whose changes are in no log."""
    included = {schema for way in mask.ways() for schema in way[-1].schemas}
    return sorted(schema.name for schema in included if not schema.logged)


def _unlogged_on_the_way(selection: Selection, sort: Sequence[SortKey]) -> Sequence[str]:
    """The resources that conditions, rules and the sort look at and whose changes are in no log: what they decide
    could change, and nobody would be told."""
    read = {hop.target for key in sort for hop in key.path.hops}
    read.update(*(others_read(filter) for _, filter in selection.filters()))
    return sorted(schema.name for schema in read if not schema.logged)
