"""How the reading actions are performed: list, read, and the query behind a live one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from crudite.changes import Position
from crudite.errors import Fault, Forbidden, Malformed, NotFound, TooLarge, Unauthorized
from crudite.messages import ActionName, Actor, Found, Listed, LiveQuery
from crudite.query.aggregates import WrittenMeasure, aggregate_json, aggregate_text
from crudite.query.identity import identity_of_query, identity_of_sort
from crudite.query.match import others_read, reads_others
from crudite.query.parse import EMPTY, WrittenQuery
from crudite.query.plan import MOST_GROUPS, Mask, Plan, Selection, SortKey
from crudite.query.resolve import Resolver, join
from crudite.query.tree import EVERYTHING, NOTHING, And, Exists, Filter, Or, Path, Symbol, Test, is_judged
from crudite.resources.access import ActorAccess, Rulebook, Rules, at, clocks_of
from crudite.resources.definition import Definition
from crudite.resources.request import Nesting, Request
from crudite.rules import bind_clock
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Page, Store
from crudite.stores.sieve import look_up, read_page
from crudite.tokens import Sealer
from crudite.types import Key, Plain

MAX_OFFSET = 10_000
"""How many records a list can skip by `offset`; cursors go on from anywhere."""
MAX_KEYS = 200
"""How many records can be read by their keys at once."""


Asks: TypeAlias = tuple[Sequence[str], Sequence[WrittenMeasure]]
"""What is asked of all records of a query in place of them: the paths that group them, and what of each group."""


class Asked(NamedTuple):
    """What a list reads. `identity` is there when its answer can have an entity tag; `is_steady` says that the same
    request asks for the same at another moment."""

    plan: Plan
    identity: str | None
    is_steady: bool


class Reading:
    """Performs `list` and `read`, and prepares live queries."""

    def __init__(self, catalog: Catalog, rulebook: Rulebook, store: Store, sealer: Sealer) -> None:
        self._catalog = catalog
        self._rulebook = rulebook
        self._store = store
        self._sealer = sealer

    async def read(self, request: Request) -> Found:
        """One record by its key. Raises NotFound when there is none that the actor may read."""
        selection, is_shared = self.shown(request)
        row = await look_up(self._store, self._rulebook.now(selection), cast(Key, request.key))
        if row is None:
            raise NotFound(f"There is no {_definition(request).name} with the key {request.key!r}.")
        return Found(row.json, row.version, is_shared)

    def shown(self, request: Request) -> tuple[Selection, bool]:
        """What a read shows of its record, its clocks not bound, and whether all who may read it see the same of
        it. Raises Forbidden or Unauthorized, or Malformed for a query that does not fit."""
        rules = self._rules(request)
        selection = self._readable(rules, "read", request.actor)
        if request.query is not EMPTY or request.nesting is not None:
            selection = self._narrowed(request, _definition(request), selection)
        mask = selection.mask
        return selection, rules.show_the_same_to_all and not mask.sometimes and not mask.includes

    async def check_parents(self, request: Request, nesting: Nesting) -> None:
        """Raises NotFound for the first parent on a nested path that the actor may not read."""
        for parent, key in nesting.parents:
            selection = self._rulebook.of(parent.schema, system=request.is_system).selection(request.actor)
            if await look_up(self._store, self._rulebook.now(selection), key) is None:
                raise NotFound(f"There is no {parent.name} with the key {key!r}.")

    async def read_many(self, request: Request) -> Listed:
        """Several records by their keys, in the asked order. Raises NotFound naming every key that is not there."""
        definition = _definition(request)
        keys = tuple(dict.fromkeys(request.keys or ()))
        if len(keys) > MAX_KEYS:
            raise Malformed(f"At most {MAX_KEYS} records are read by their keys at once.")
        selection = self._narrowed(request, definition, self._readable(self._rules(request), "read", request.actor))
        page = await read_page(self._store, Plan(selection=self._rulebook.now(selection), keys=keys))
        found = dict(zip(page.keys, page.records, strict=True))
        missing = [key for key in keys if key not in found]
        if missing:
            raise NotFound(f"There is no {definition.name} with the key {', '.join(map(repr, missing))}.")
        return Listed([found[key] for key in keys])

    async def list(self, request: Request, *, trusted: bool = False) -> Listed:
        """A page of records. Raises Malformed when the query does not fit the resource.

        A `trusted` query was written by the application: it has no limit but its own.
        """
        asked = self.asked(request, trusted=trusted)
        if asked.identity is None:
            return self.listed(asked, await read_page(self._store, asked.plan))
        pages = await self._store.read([asked.plan])
        return self.listed(asked, pages.pages[0], self.etag(asked, pages.position))

    def asked(self, request: Request, *, trusted: bool = False) -> Asked:
        """What a list is to read, decided without reading. Raises as `list` does."""
        definition = _definition(request)
        query = request.query
        selection, sort, resolver = self._resolved(request, definition, "list")
        limit = query.limit if trusted else self._limit(definition, query, resolver)
        plan = Plan(
            selection=self._rulebook.now(selection), sort=sort, limit=limit, offset=query.offset, total=query.count,
            **self._places(query, selection, sort, resolver),
        )  # fmt: skip
        resolver.check()
        has_etag = not trusted and self._has_etag(selection)
        return Asked(plan, identity_of_query(selection, sort) if has_etag else None, not clocks_of(selection))

    def etag(self, asked: Asked, position: Position) -> str:
        """The entity tag of a list that has an identity, read at a position."""
        plan = asked.plan
        place = (plan.limit, plan.start, plan.until, plan.backwards, plan.offset, plan.total, position.token)
        return self._sealer.digest(f"{asked.identity} {place!r}")

    async def count(self, request: Request) -> int:
        """How many records the query has."""
        selection, _, resolver = self._resolved(request, _definition(request), "list")
        resolver.check()
        plan = Plan(selection=self._rulebook.now(selection), sort=(), limit=0, total=True)
        page = await read_page(self._store, plan)
        return page.total or 0

    async def aggregate(self, request: Request, asks: Asks) -> Plain:
        """What the records of the query come to: one value, or a list of groups. Raises Malformed for a field that
        the actor may not read in every record, TooLarge for more than MOST_GROUPS groups."""
        selection, _, resolver = self._resolved(request, _definition(request), "list")
        aggregate = resolver.aggregate(*asks)
        resolver.check()
        _check_told_by_store(selection)
        page = await self._store.page(Plan(selection=self._rulebook.now(selection), aggregate=aggregate))
        if page.more:
            raise TooLarge(f"An answer has at most {MOST_GROUPS} groups.")
        value: Plain = msgspec.json.decode(aggregate_json(aggregate, page.records))
        return value

    def live(
        self, request: Request, *, counts: bool = False, asks: Asks | None = None, trusted: bool = False
    ) -> LiveQuery:
        """The query of a subscription, as the actor may see it. Raises Malformed when it does not fit.

        With `counts` it is the number of records that is kept live, with `asks` what they come to.
        """
        definition = _definition(request)
        query = request.query
        selection, sort, resolver = self._resolved(request, definition, "list" if request.key is None else "read")
        if request.key is not None:
            own = definition.schema.key_field
            by_key = Test(Path((), own, (), own.type), "eq", request.key)
            selection = Selection(selection.schema, join((selection.filter, by_key), either=False), selection.mask)
        for name, given in (("offset", query.offset), ("cursor", query.cursor), ("count", query.count)):
            if given:
                resolver.faults.append(Fault("not_live", f"{name} does not go with a live query.", parameter=name))
        if query.limit is not None and query.limit > definition.max_limit and not trusted:
            resolver.faults.append(_too_many(definition))
        aggregate = None if asks is None else resolver.aggregate(*asks)
        if aggregate is not None:
            _check_told_by_store(selection)
        places = self._places(replace(query, cursor=None), selection, sort, resolver)
        for name in _unlogged(selection.mask):
            detail = f"{name} is declared with live=False, so it cannot be included in a live query."
            resolver.faults.append(Fault("not_live", detail, parameter="include"))
        for name in _unlogged_on_the_way(selection, sort):
            detail = f"{name} is declared with live=False: no condition, rule or sort of a live query can look at it."
            resolver.faults.append(Fault("not_live", detail))
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
        return self._live_at(plan, identity, is_value, self._rulebook.clock())

    def _live_at(self, plan: Plan, identity: str, counts: bool, moment: datetime) -> LiveQuery:
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
            rebind=lambda moment: self._live_at(plan, identity, counts, moment),
            boundary_plans=_boundaries(selection, moment),
            wakes_at_midnight="today" in clocks,
        )

    def _rules(self, request: Request) -> Rules:
        return self._rulebook.of(_definition(request).schema, system=request.is_system)

    def _readable(self, rules: Rules, action: ActionName, actor: Actor) -> Selection:
        selection = rules.selection(actor, action)
        if selection.filter == NOTHING:
            raise refusal(actor, action, rules.definition)
        return selection

    def _narrowed(self, request: Request, definition: Definition, selection: Selection) -> Selection:
        """A readable selection, with the request's own fields and nested path applied."""
        resolver = self._resolver(request, definition)
        scope = self._scope(request, definition, resolver)
        mask = self._mask(request.query, selection.mask, definition, resolver)
        resolver.check()
        if scope == EVERYTHING and mask is selection.mask:
            return selection
        return Selection(definition.schema, join((selection.filter, scope), either=False), mask)

    def _resolved(
        self, request: Request, definition: Definition, action: ActionName
    ) -> tuple[Selection, tuple[SortKey, ...], Resolver]:
        base = self._readable(self._rules(request), action, request.actor)
        resolver = self._resolver(request, definition)
        query = request.query
        asked = EVERYTHING if query.filter == EVERYTHING else resolver.filter(query.filter)
        if query.search is not None:
            asked = join((asked, resolver.search(query.search)), either=False)
        if request.nesting is not None:
            asked = join((asked, self._scope(request, definition, resolver)), either=False)
        mask = self._mask(query, base.mask, definition, resolver)
        sort = resolver.sort(query.sort)
        if is_judged(base.filter):
            resolver.faults += [_not_by(key) for key in sort if not key.path.is_field]
        if asked == EVERYTHING and mask is base.mask:
            return base, sort, resolver
        return Selection(definition.schema, join((base.filter, asked), either=False), mask), sort, resolver

    def _scope(self, request: Request, definition: Definition, resolver: Resolver) -> Filter:
        """The condition of the nested path, whose parents have been looked up; where a function decides about one of
        them, that is all that is asked about it."""
        if request.nesting is None:
            return EVERYTHING
        access = resolver.access
        if any(is_judged(access.records(parent.schema)) for parent, _ in request.nesting.parents):
            return self._rulebook.resolve(definition.schema, request.nesting.filter)
        return resolver.filter(request.nesting.filter)

    def _resolver(self, request: Request, definition: Definition) -> Resolver:
        access = ActorAccess(self._rulebook, request.actor, system=request.is_system)
        return Resolver(definition.schema, self._catalog, access)

    def _mask(self, query: WrittenQuery, mask: Mask, definition: Definition, resolver: Resolver) -> Mask:
        """The mask with what the query includes and without what it leaves out; the key is always in it."""
        if query.include:
            mask = replace(mask, includes=resolver.includes(query.include))
        if query.fields is None and query.omit is None:
            return mask
        key = definition.schema.key
        if query.fields is not None:
            wanted = {key, *resolver.names(query.fields, "fields")}
        else:
            left_out = set(resolver.names(query.omit or (), "omit")) - {key}
            wanted = set(definition.schema.fields) - left_out
        always = tuple(name for name in mask.always if name in wanted)
        return Mask(always, tuple(pair for pair in mask.sometimes if pair[0] in wanted), mask.includes)

    def _limit(self, definition: Definition, query: WrittenQuery, resolver: Resolver) -> int:
        if query.offset > MAX_OFFSET:
            detail = f"offset goes up to {MAX_OFFSET}; cursors go on from anywhere."
            resolver.faults.append(Fault("bad_value", detail, parameter="offset"))
        if query.limit is not None and query.limit > definition.max_limit:
            resolver.faults.append(_too_many(definition))
        return query.limit if query.limit is not None else definition.limit

    def _places(
        self, query: WrittenQuery, selection: Selection, sort: Sequence[SortKey], resolver: Resolver
    ) -> dict[str, Any]:
        """Where cursors say that the records start and end. A cursor of another query is a fault."""
        found: dict[str, Any] = {}
        for name in ("cursor", "after", "until"):
            given = getattr(query, name)
            place = self._place(given, selection, sort) if given is not None else None
            if given is not None and place is None:
                detail = f"{name} does not belong to this query; leave it away to have no such bound."
                resolver.faults.append(Fault("bad_cursor", detail, parameter=name))
            elif place is not None and name == "cursor":
                found.update(start=place[1], backwards=place[0])
            elif place is not None:
                found["start" if name == "after" else "until"] = place[1]
        if query.cursor is not None and (query.after is not None or query.until is not None):
            resolver.faults.append(Fault("bad_cursor", "cursor goes with neither after nor until.", parameter="cursor"))
        return found

    def _place(self, cursor: str, selection: Selection, sort: Sequence[SortKey]) -> tuple[bool, tuple[Any, ...]] | None:
        """What a cursor holds: whether it goes backwards, and the values of the sort keys there."""
        try:
            content = self._sealer.open(cursor) or b""
            digest, backwards, values = msgspec.msgpack.decode(content, type=tuple[str, bool, list[Any]])
        except msgspec.DecodeError:
            return None
        return (backwards, tuple(values)) if digest == self._page_digest(selection, sort) else None

    def listed(self, asked: Asked, page: Page, etag: str | None = None) -> Listed:
        """What the page of a list answers."""
        plan = asked.plan
        has_more, came_by_cursor = page.more, plan.start is not None
        goes_on = (has_more or plan.backwards) and page.last is not None
        goes_back = (has_more if plan.backwards else came_by_cursor) and page.first is not None
        return Listed(
            page.records,
            next=self._cursor(plan, page.last, False) if goes_on else None,
            prev=self._cursor(plan, page.first, True) if goes_back else None,
            first=not came_by_cursor and not plan.offset,
            total=page.total,
            etag=etag,
        )

    def _cursor(self, plan: Plan, values: tuple[Any, ...] | None, backwards: bool) -> str:
        digest = self._page_digest(plan.selection, plan.sort)
        return self._sealer.seal(msgspec.msgpack.encode((digest, backwards, values)))

    def _page_digest(self, selection: Selection, sort: Sequence[SortKey]) -> str:
        return self._sealer.digest(f"{selection.schema.name} {identity_of_sort(sort)}")[:12]

    def _has_etag(self, selection: Selection) -> bool:
        """Whether the log's head tells that a list is unchanged: every table it reads is logged, no clock runs, no
        function decides, and nothing is included."""
        if clocks_of(selection) or selection.mask.includes or is_judged(selection.filter):
            return False
        others = any(reads_others(filter) for _, filter in selection.filters())
        return selection.schema.logged and (not others or all(s.logged for s in self._catalog.values()))


def refusal(actor: Actor, action: str, definition: Definition) -> Forbidden | Unauthorized:
    """The problem for an actor who may not do that with any record."""
    if definition.rules[cast(ActionName, action)] == NOTHING:
        return Forbidden(f"Nobody may {action} {definition.path}: {definition.name} has no rule that lets somebody.")
    if not actor.is_known:
        return Unauthorized(f"Sign in to {action} {definition.path}.", headers={"www-authenticate": "Bearer"})
    return Forbidden(f"You may not {action} {definition.path}.")


def plain_key(definition: Definition, key: Any) -> Key:
    """A key as plain data, from Python or plain. Raises NotFound for what can be no key of the resource."""
    try:
        plain: Key = definition.schema.key_field.type.check(key)
    except ValueError:
        raise NotFound(f"There is no {definition.name} with the key {key!r}.") from None
    return plain


def _definition(request: Request) -> Definition:
    if request.definition is None:
        raise TypeError(f"{request!r} is not about a resource")
    return request.definition


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


def _unlogged(mask: Mask) -> Sequence[str]:
    """The resources of included records whose changes are in no log."""
    included = {way[-1].selection.schema for way in mask.ways()}
    return sorted(schema.name for schema in included if not schema.logged)


def _unlogged_on_the_way(selection: Selection, sort: Sequence[SortKey]) -> Sequence[str]:
    """The resources that conditions, rules and the sort look at and whose changes are in no log: what they decide
    could change, and nobody would be told."""
    read = {hop.target for key in sort for hop in key.path.hops}
    read.update(*(others_read(filter) for _, filter in selection.filters()))
    return sorted(schema.name for schema in read if not schema.logged)


def _not_by(key: SortKey) -> Fault:
    detail = (
        f"{'.'.join(key.path.names)} cannot be sorted by: where a function decides, plain fields of the records can."
    )
    return Fault("bad_sort", detail, parameter="sort")


def _check_told_by_store(selection: Selection) -> None:
    """Raises Malformed where a function decides which records there are, so that the store cannot tell what they
    come to."""
    if is_judged(selection.filter):
        name = selection.schema.name
        raise Malformed(f"A function decides which records of {name} may be seen: they can be counted, no more.")


def _too_many(definition: Definition) -> Fault:
    return Fault("bad_value", f"limit goes up to {definition.max_limit}.", parameter="limit")
