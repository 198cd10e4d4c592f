"""Retention: how far back the change log reaches, and the task that keeps it so."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from crudite.errors import StoreError
from crudite.stores.base import Store

_log = logging.getLogger("crudite.live")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the change log is kept: whoever was away for longer starts again with a new snapshot.

    `age`: older changes go. `size`: beyond so many bytes the oldest go. `every`: how often it is looked after.
    """

    age: timedelta = timedelta(days=1)
    size: int = 256_000_000
    every: timedelta = timedelta(minutes=10)


async def keep_trimmed(store: Store, retention: Retention) -> None:
    """Shortens a store's log again and again, until it is cancelled. A store that cannot is asked again later."""
    while True:
        try:
            removed = await store.trim(older_than=retention.age.total_seconds(), larger_than=retention.size)
            if removed:
                _log.info("%d rows of the change log were older or more than is kept", removed)
        except StoreError as error:
            _log.warning("the change log could not be trimmed: %s", error)
        await asyncio.sleep(retention.every.total_seconds())
