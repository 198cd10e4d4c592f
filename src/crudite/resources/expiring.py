"""Deleted records are let go of for good when the time is over for which their resource keeps them."""

import asyncio
import logging
import math
from datetime import timedelta
from typing import TypeAlias

import msgspec

from crudite.changes import Refused, Unit, Write
from crudite.clock import Clock
from crudite.errors import Problem, StoreError
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.tree import Path, Test
from crudite.resources.declaring.definition import Definitions
from crudite.schema import DELETED_AT, ResourceSchema, format_datetime
from crudite.stores.base import Store
from crudite.types import Plain

Place: TypeAlias = tuple[Plain, ...]
"""The values by which a page goes on after a record (`Plan.start`)."""
MOST_AT_ONCE = 1_000
"""How many deleted records of one resource are looked at each time, at most."""
_PAGE = 100
_log = logging.getLogger("crudite")


async def keep_expired_away(store: Store, definitions: Definitions, clock: Clock, every: timedelta) -> None:
    """Lets go of deleted records again and again, until it is cancelled. A store that cannot is asked again later.

    Each time goes on where the one before has ended: so many that have to stay do not hold up those behind them.
    """
    expiring: dict[ResourceSchema, Place | None] = {
        one.schema: None for one in definitions if one.schema.soft_delete not in (None, math.inf)
    }
    while expiring:
        for schema, start in expiring.items():
            try:
                gone, expiring[schema] = await let_expired_go(store, schema, clock, start)
                if gone:
                    _log.info("%d deleted records of %s were kept for long enough", gone, schema.name)
            except StoreError as error:
                _log.warning("deleted records of %s could not be let go of: %s", schema.name, error)
        await asyncio.sleep(every.total_seconds())


async def let_expired_go(
    store: Store, schema: ResourceSchema, clock: Clock, start: Place | None
) -> tuple[int, Place | None]:
    """Deletes for good what was deleted too long ago, the oldest after `start` first, and what points at it by a
    reference that cascades. How many records of the resource went, and where to go on; None for at the oldest. One that
    others still point at, or of which the database's owner does not let go, stays until that is over."""
    field, key = schema.fields[DELETED_AT], schema.key_field
    by_age = Path((), field, (), field.type)
    latest = format_datetime(clock() - timedelta(seconds=schema.soft_delete or 0))
    old = Test(by_age, "lt", latest)
    plan = Plan(
        selection=Selection(schema, old, Mask((schema.key,))), limit=_PAGE,
        sort=(SortKey(by_age), SortKey(Path((), key, (), key.type))),
    )  # fmt: skip
    gone = 0
    for _ in range(MOST_AT_ONCE // _PAGE):
        page = await store.page(msgspec.structs.replace(plan, start=start))
        for one in page.keys:
            write = Write(action="delete", schema=schema, key=one, where=old)
            try:
                await store.write(Unit(writes=(write,)))
                gone += 1
            except (Refused, Problem):
                continue  # others point at it, or it has come back, or gone along with another one
        start = page.last if page.more else None
        if start is None:
            break
    return gone, start
