"""Deleted records are let go of for good when the time is over for which their resource keeps them."""

import asyncio
import logging
import math
from datetime import timedelta

import msgspec

from crudite.changes import Refused, Unit, Write
from crudite.clock import Clock
from crudite.errors import StoreError
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.tree import Path, Test
from crudite.resources.declaring.definition import Definitions
from crudite.schema import DELETED_AT, ResourceSchema, format_datetime
from crudite.stores.base import Store

MOST_AT_ONCE = 1_000
"""How many deleted records of one resource are looked at each time, at most."""
_PAGE = 100
_log = logging.getLogger("crudite")


async def keep_expired_away(store: Store, definitions: Definitions, clock: Clock, every: timedelta) -> None:
    """Lets go of deleted records again and again, until it is cancelled. A store that cannot is asked again later."""
    expiring = [one.schema for one in definitions if one.schema.soft_delete not in (None, math.inf)]
    while expiring:
        for schema in expiring:
            try:
                gone = await let_expired_go(store, schema, clock)
                if gone:
                    _log.info("%d deleted records of %s were kept for long enough", gone, schema.name)
            except StoreError as error:
                _log.warning("deleted records of %s could not be let go of: %s", schema.name, error)
        await asyncio.sleep(every.total_seconds())


async def let_expired_go(store: Store, schema: ResourceSchema, clock: Clock) -> int:
    """Deletes for good what was deleted too long ago, the oldest first, and what points at it by a reference that
    cascades; how many records of the resource went. One that others still point at stays until they are gone."""
    field, key = schema.fields[DELETED_AT], schema.key_field
    by_age = Path((), field, (), field.type)
    latest = format_datetime(clock() - timedelta(seconds=schema.soft_delete or 0))
    old = Test(by_age, "lt", latest)
    plan = Plan(
        selection=Selection(schema, old, Mask((schema.key,))), limit=_PAGE,
        sort=(SortKey(by_age), SortKey(Path((), key, (), key.type))),
    )  # fmt: skip
    gone, start = 0, None
    for _ in range(MOST_AT_ONCE // _PAGE):
        page = await store.page(msgspec.structs.replace(plan, start=start))
        for one in page.keys:
            write = Write(action="delete", schema=schema, key=one, where=old)
            try:
                await store.write(Unit(writes=(write,)))
                gone += 1
            except Refused:
                continue  # others point at it, or it has come back, or gone along with another one
        start = page.last
        if not page.more:
            break
    return gone
