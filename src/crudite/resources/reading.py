"""How the reading actions are performed: list, read, and what the records of a query come to."""

from typing import NamedTuple, cast

import msgspec

from crudite.changes import Position
from crudite.errors import Fault, Malformed, TooLarge
from crudite.messages import Actor, Found, Listed
from crudite.query.aggregates import aggregate_json
from crudite.query.identity import identity_of_query
from crudite.query.match import reads_others
from crudite.query.parse import EMPTY, WrittenQuery
from crudite.query.plan import MOST_GROUPS, Plan, Selection
from crudite.query.resolve import Resolver
from crudite.query.simplify import join
from crudite.query.tree import Filter, is_judged
from crudite.resources.access import Rulebook, clocks_of
from crudite.resources.asking import (
    Asks,
    above_now,
    check_limit,
    check_told_by_store,
    definition_of,
    narrowed,
    readable_now,
    resolved,
    rules_of,
)
from crudite.resources.cursors import PageCursors
from crudite.resources.declaring.definition import Definition
from crudite.resources.keys import no_record
from crudite.resources.request import Nesting, Request
from crudite.stores.base import Page, Store
from crudite.stores.sieve import look_up, read_page
from crudite.tokens import Sealer
from crudite.types import Key, Plain

MAX_OFFSET = 10_000
"""How many records a list can skip by `offset`; cursors go on from anywhere."""
MAX_KEYS = 200
"""How many records can be read by their keys at once."""


class Asked(NamedTuple):
    """What a list reads. `identity` is there when its answer can have an entity tag; `is_steady` says that the same
    request asks for the same at another moment."""

    plan: Plan
    identity: str | None
    is_steady: bool


class Reading:
    """Performs `list` and `read`."""

    def __init__(self, rulebook: Rulebook, store: Store, sealer: Sealer) -> None:
        self._rulebook = rulebook
        self._store = store
        self._sealer = sealer
        self._cursors = PageCursors(sealer)

    async def read(self, request: Request) -> Found:
        """One record by its key. Raises NotFound when there is none that the actor may read."""
        selection, is_shared = self.shown(request)
        row = await look_up(self._store, self._rulebook.now(selection), cast(Key, request.key))
        if row is None:
            raise no_record(definition_of(request), request.key)
        return Found(row.json, row.version, is_shared)

    def shown(self, request: Request) -> tuple[Selection, bool]:
        """What a read shows of its record, its clocks not bound, and whether all who may read it see the same of
        it. Raises Forbidden or Unauthorized, or Malformed for a query that does not fit."""
        rules = rules_of(request, self._rulebook)
        selection = readable_now(request, self._rulebook, "read")
        if request.query is not EMPTY or request.nesting is not None:
            selection = narrowed(request, self._rulebook, selection)
        mask = selection.mask
        return selection, rules.show_the_same_to_all and not mask.sometimes and not mask.includes

    async def check_parents(self, request: Request, nesting: Nesting) -> None:
        """Raises NotFound for the first record on a nested path that the actor may not read, or that does not belong to
        those above it."""
        for above in nesting.parents:
            selection = above_now(request, self._rulebook, above)
            if len(above.keys) == 1:
                missing = [key for key in above.keys if await look_up(self._store, selection, key) is None]
            else:
                page = await read_page(self._store, Plan(selection=selection, keys=above.keys))
                missing = [key for key in above.keys if key not in page.keys]
            if missing:
                raise no_record(above.definition, *missing)

    def seen(self, definition: Definition, actor: Actor, condition: Filter) -> tuple[Selection, str]:
        """What an actor may read of the records for which a folded condition holds, its clocks not bound; and a text
        that is equal only for those who see the same."""
        readable = self._rulebook.of(definition.schema).selection(actor)
        selection = Selection(definition.schema, join((readable.filter, condition), either=False), readable.mask)
        return selection, identity_of_query(selection, ())

    async def glance(self, selection: Selection, key: Key) -> str | None:
        """The JSON text of one record as a selection shows it now; None where it does not."""
        row = await look_up(self._store, self._rulebook.now(selection), key)
        return None if row is None else row.json

    async def read_many(self, request: Request) -> Listed:
        """Several records by their keys, in the asked order. Raises NotFound naming every key that is not there; where
        the request takes what is found, only when none is."""
        keys = tuple(dict.fromkeys(request.keys or ()))
        if len(keys) > MAX_KEYS:
            raise Malformed(f"At most {MAX_KEYS} records are read by their keys at once.")
        selection, _ = self.shown(request)
        page = await read_page(self._store, Plan(selection=self._rulebook.now(selection), keys=keys))
        found = dict(zip(page.keys, page.records, strict=True))
        missing = [key for key in keys if key not in found]
        if missing and not (request.takes_found and found):
            raise no_record(definition_of(request), *missing)
        return Listed([found[key] for key in (sorted(found) if request.takes_found else keys)])

    async def list(self, request: Request, *, trusted: bool = False) -> Listed:
        """A page of records. Raises Malformed when the query does not fit the resource.

        A `trusted` query was written by the application: it has no limit but its own.
        """
        asked = self.asked(request, trusted=trusted)
        if asked.identity is None:
            listed = self.listed(asked, await read_page(self._store, asked.plan))
        else:
            pages = await self._store.read([asked.plan])
            listed = self.listed(asked, pages.pages[0], self.etag(asked, pages.position))
        if request.most is not None and request.query.limit is None and listed.next is not None:
            raise TooLarge(f"A list holds at most {request.most} records here, and this one has more.")
        return listed

    def asked(self, request: Request, *, trusted: bool = False) -> Asked:
        """What a list is to read, decided without reading. Raises as `list` does."""
        query = request.query
        selection, sort, resolver = resolved(request, self._rulebook, "list", trusted=trusted)
        limit = query.limit if trusted else _limit(request, query, resolver)
        plan = Plan(
            selection=self._rulebook.now(selection), sort=sort, limit=limit, offset=query.offset, total=query.count,
            **self._cursors.places(query, selection, sort, resolver),
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
        selection, _, resolver = resolved(request, self._rulebook, "list", trusted=True)
        resolver.check()
        plan = Plan(selection=self._rulebook.now(selection), sort=(), limit=0, total=True)
        page = await read_page(self._store, plan)
        return page.total or 0

    async def aggregate(self, request: Request, asks: Asks) -> Plain:
        """What the records of the query come to: one value, or a list of groups. Raises Malformed for a field that
        the actor may not read in every record, TooLarge for more than MOST_GROUPS groups."""
        selection, _, resolver = resolved(request, self._rulebook, "list", trusted=True)
        aggregate = resolver.aggregate(*asks)
        resolver.check()
        check_told_by_store(selection)
        page = await self._store.page(Plan(selection=self._rulebook.now(selection), aggregate=aggregate))
        if page.more:
            raise TooLarge(f"An answer has at most {MOST_GROUPS} groups.")
        value: Plain = msgspec.json.decode(aggregate_json(aggregate, page.records))
        return value

    def listed(self, asked: Asked, page: Page, etag: str | None = None) -> Listed:
        """What the page of a list answers."""
        plan = asked.plan
        has_more, came_by_cursor = page.more, plan.start is not None
        goes_on = (has_more or plan.backwards) and page.last is not None
        goes_back = (has_more if plan.backwards else came_by_cursor) and page.first is not None
        return Listed(
            page.records,
            next=self._cursors.at(plan, page.last, backwards=False) if goes_on else None,
            prev=self._cursors.at(plan, page.first, backwards=True) if goes_back else None,
            first=not came_by_cursor and not plan.offset,
            total=page.total,
            etag=etag,
        )

    def _has_etag(self, selection: Selection) -> bool:
        """Whether the log's head tells that a list is unchanged: every table it reads is logged, no clock runs, no
        function decides, and nothing is included."""
        if clocks_of(selection) or selection.mask.includes or is_judged(selection.filter):
            return False
        others = any(reads_others(filter) for _, filter in selection.filters())
        definitions = self._rulebook.definitions
        return selection.schema.logged and (not others or all(one.schema.logged for one in definitions))


def _limit(request: Request, query: WrittenQuery, resolver: Resolver) -> int:
    if query.offset > MAX_OFFSET:
        detail = f"offset goes up to {MAX_OFFSET}; cursors go on from anywhere."
        resolver.faults.append(Fault("bad_value", detail, parameter="offset"))
    definition = definition_of(request)
    if query.limit is None:
        return request.most or definition.limit
    if request.most is None or query.limit > request.most:
        check_limit(query, definition, resolver)
    return query.limit
