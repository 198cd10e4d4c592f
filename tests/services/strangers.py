"""Other programs and readers at a PostgreSQL store: what its tests share."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from crudite.changes import Change, Position, Reset
from crudite.schema import Catalog
from crudite.stores.base import Batch, Store
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import LIBRARY

_PATIENCE = 60.0


@asynccontextmanager
async def opened(url: str, catalog: Catalog = LIBRARY, *, migrate: bool = True) -> AsyncIterator[PostgresqlStore]:
    """An open store, of the samples where nothing else is said; closed at the end."""
    store = PostgresqlStore(url)
    await store.open(catalog, migrate=migrate)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def stranger(url: str, schema: str = "public") -> AsyncIterator[Any]:
    """A connection of another program, called "stranger", whose warnings are not ours."""
    settings = {"search_path": schema, "client_min_messages": "error", "application_name": "stranger"}
    connection = await asyncpg.connect(url, server_settings=settings)
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


async def all_since(store: Store, start: Position) -> list[Change]:
    """All changes from a position to now."""
    changes = await store.changes(start, await here(store), 100_000)
    assert not isinstance(changes, Reset), changes
    return list(changes)


async def since(store: Store, start: Position) -> list[Any]:
    """The titles of what was written from a position to now."""
    return titles(await all_since(store, start))


def titles(changes: Iterable[Change]) -> list[Any]:
    """The titles of what was written; None of what was deleted."""
    return [None if change.after is None else change.after["title"] for change in changes]


async def until(connection: Any, question: str) -> None:
    """Returns when the answer is true."""
    async with asyncio.timeout(_PATIENCE):
        while not await connection.fetchval(question):
            pass  # asking is waiting


async def until_waiting(connection: Any, count: int = 1) -> None:
    """Returns when so many sessions wait for a lock."""
    await until(connection, f"SELECT count(*) >= {count} FROM pg_locks WHERE NOT granted")
