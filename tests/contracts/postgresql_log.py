"""Other programs and readers at a PostgreSQL store: what tests of its log share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from crudite.changes import Position, Reset
from crudite.schema import Catalog
from crudite.stores.base import Batch, Store
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import LIBRARY


@asynccontextmanager
async def opened(url: str, resources: Catalog = LIBRARY) -> AsyncIterator[PostgresqlStore]:
    """An open store of the samples, closed at the end."""
    store = PostgresqlStore(url)
    await store.open(resources)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def stranger(url: str, schema: str = "public") -> AsyncIterator[Any]:
    """A connection of another program, whose warnings are not ours."""
    connection = await asyncpg.connect(url, server_settings={"search_path": schema, "client_min_messages": "error"})
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def following(store: Store, start: Position) -> AsyncIterator[AsyncIterator[Batch]]:
    """The batches after a position."""
    batches = store.follow(start)
    try:
        yield batches
    finally:
        await batches.aclose()  # type: ignore[attr-defined]


async def here(store: Store) -> Position:
    """The position now."""
    return (await store.read([])).position


async def cut(store: Store) -> int:
    """Trims the log of everything; how many rows went."""
    return await store.trim(older_than=3600, larger_than=0)


async def since(store: Store, start: Position) -> list[Any]:
    """The titles of what was written from a position to now."""
    changes = await store.changes(start, await here(store), 100_000)
    assert not isinstance(changes, Reset), changes
    return titles(changes)


def titles(changes: Any) -> list[Any]:
    """The titles of what was written."""
    return [None if change.after is None else change.after["title"] for change in changes]


async def is_waiting(connection: Any) -> None:
    """Returns when some session waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass  # asking is waiting
