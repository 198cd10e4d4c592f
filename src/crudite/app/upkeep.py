"""Work that goes on beside requests for as long as an application runs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

from crudite.interfaces.base import Host
from crudite.interfaces.insight.workers import keep_posted
from crudite.live import Retention, keep_trimmed
from crudite.resources.expiring import keep_expired_away
from crudite.stores.base import Store


def upkeep(host: Host, store: Store, retention: Retention) -> Iterator[Coroutine[Any, Any, None]]:
    """What keeps the store small, and other workers in the picture; each until it is cancelled."""
    yield keep_trimmed(store, retention)
    yield keep_expired_away(store, host.definitions, host.clock, retention.every)
    if host.worker is not None:
        yield keep_posted(host, host.worker)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs some work beside the block, and ends it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
