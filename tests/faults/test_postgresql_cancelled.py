"""Whoever is cancelled while he connects, prepares, reads or writes leaves no connection to the garbage collector."""

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from crudite import App, Record, allow
from crudite.schema import Catalog
from crudite.stores import open_store
from crudite.stores.postgresql.connections import REQUEST, connect, parse
from crudite.stores.postgresql.pool import Pool

_TURNS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 50, 100, 200, 400]


class Note(Record[int], rules=allow.everyone):
    title: str = ""


async def connecting(url: str) -> None:
    """One connection."""
    connection = await connect(parse(url), REQUEST)
    await connection.close()


async def preparing(url: str) -> None:
    """A pool, and a statement that is new to its connection."""
    pool = Pool(parse(url), REQUEST, 2)
    try:
        await pool.open()
        async with pool.use() as connection:
            await connection.fetch("SELECT 1 WHERE $1::int = 1", 1)
    finally:
        await pool.close()


async def following(url: str) -> None:
    """A store, and somebody who follows it."""
    store = open_store(url)
    await store.open(Catalog({}))
    try:
        async for _ in store.follow((await store.read([])).position):
            pass
    finally:
        await store.close()


async def applying(url: str) -> None:
    """An application that writes."""
    app = App(Note, store=url)
    async with app:
        await app.records.create(Note, title="a")


async def cut_off(work: Awaitable[None], turns: int, again: int | None) -> None:
    """Work that is cancelled after so many turns of the event loop, and perhaps once more after some others."""
    task = asyncio.ensure_future(work)
    for count in (turns, again):
        if count is not None:
            for _ in range(count):
                await asyncio.sleep(0)
            task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def are_left(url: str) -> int:
    """How many others are connected, when those that are on their way have gone."""
    admin = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(20):
            while count := await admin.fetchval(  # noqa: ASYNC110 (nobody tells)
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.01)
    finally:
        await admin.close()
    return int(count)


@contextmanager
def nothing_left_to_the_collector() -> Iterator[None]:
    """No connection and no socket that was opened in the block is found unclosed."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert [str(one.message) for one in told] == []


@pytest.mark.parametrize("again", [None, 0, 1, 2, 3], ids="again {}".format)
@pytest.mark.parametrize("work", [connecting, preparing, following, applying])
def test_who_is_cancelled_at_any_turn_leaves_no_connection(
    postgresql: str, work: Callable[[str], Awaitable[None]], again: int | None
) -> None:
    async def cancelled() -> None:
        for turns in _TURNS:
            await cut_off(work(f"{postgresql}?schema={work.__name__}"), turns, again)
        gc.collect()
        assert await are_left(postgresql) == 0

    with nothing_left_to_the_collector():
        asyncio.run(cancelled())


def test_who_is_cancelled_once_more_as_he_is_connected_leaves_no_connection(postgresql: str) -> None:
    async def cancelled() -> None:
        own = asyncio.all_tasks()
        task = asyncio.create_task(connecting(postgresql))
        while not (opening := asyncio.all_tasks() - own - {task}):  # noqa: ASYNC110 (it is a turn)
            await asyncio.sleep(0)
        opening.pop().add_done_callback(lambda _: task.cancel())
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        gc.collect()
        assert await are_left(postgresql) == 0

    with nothing_left_to_the_collector():
        asyncio.run(cancelled())
