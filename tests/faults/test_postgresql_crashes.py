"""A PostgreSQL server that crashes, is copied, restored, or fails over: nobody goes on from what is not there any more.

And transactions in two phases, many and for long, for which a server has to be set up.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from crudite.changes import Reset
from crudite.errors import StoreError, StoreReadOnly
from crudite.live.cursors import Cursors
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import BOOK, LIBRARY, create, key_of, listing, unit
from crudite.testing.store_base import next_batch
from tests.faults.postgresql_servers import Server, server
from tests.services.strangers import following, here, opened, since, stranger


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server of this file's own."""
    with server() as one:
        yield one


@pytest.fixture
async def database(own: Server) -> AsyncIterator[str]:
    """The URL of a new database on it."""
    name = f"test_{uuid4().hex}"
    async with stranger(own.url) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
        yield own.url.removesuffix("/postgres") + f"/{name}"


WRITERS = 24


async def test_nothing_is_lost_or_turned_round_among_many_writers_and_one_that_is_idle(
    database: str,
) -> None:
    async with opened(database) as store, stranger(database) as idle:
        keys = sorted([key_of(await store.write(unit(create(BOOK, title="0", year=0)))) for _ in range(20)], key=str)
        held: dict[Any, Any] = {}
        count = 0
        start = await here(store)
        (page,) = (await store.read([listing(BOOK)])).pages
        held = {record["id"]: record for record in map(msgspec.json.decode, page.records)}
        await idle.execute("BEGIN; INSERT INTO books (title, year) VALUES ('idle', 0)")  # until all others are over
        writing = asyncio.gather(*(_write(database, keys, random.Random(n)) for n in range(WRITERS)))
        async with following(store, start) as batches:
            position = start
            while not (writing.done() and position == await here(store)):
                store.wake()
                batch = await next_batch(batches)
                position = batch.position
                count += _apply(held, batch.changes)
            assert writing.exception() is None
            assert "idle" not in {record["title"] for record in held.values()}
            await idle.execute("COMMIT")
            count += _apply(held, (await next_batch(batches)).changes)
            assert "idle" in {record["title"] for record in held.values()}
        (page,) = (await store.read([listing(BOOK)])).pages
        assert {record["id"]: record for record in map(msgspec.json.decode, page.records)} == held
        assert count == await idle.fetchval("SELECT count(*) FROM _changes") - 20
        assert count > 2 * WRITERS


def _apply(held: dict[Any, Any], changes: Any) -> int:
    for change in changes:
        assert change.before == held.get(change.key), "each change begins where the one before it ended"
        if change.after is None:
            del held[change.key]
        else:
            held[change.key] = change.after
    return len(changes)


async def _write(url: str, keys: list[Any], chance: random.Random) -> None:
    """Transactions of two shared records each: savepoints, some in vain, some in two phases, some whole in vain."""
    step = "UPDATE books SET year = year + 1 WHERE id = $1::text::uuid"
    async with stranger(url) as connection:
        for n in range(6):
            first, second = sorted(chance.sample(keys, 2), key=str)
            await connection.execute("BEGIN")
            await connection.execute(step, first)
            await connection.execute("SAVEPOINT a; INSERT INTO books (title) VALUES ('kept'); RELEASE a")
            await connection.execute("SAVEPOINT b; INSERT INTO books (title) VALUES ('not kept'); ROLLBACK TO b")
            await connection.execute(step, second)
            match n % 3:
                case 0:
                    await connection.execute("COMMIT")
                case 1:
                    await connection.execute("ROLLBACK")
                case 2:
                    name = uuid4().hex
                    await connection.execute(f"PREPARE TRANSACTION '{name}'")
                    await connection.execute(f"COMMIT PREPARED '{name}'")


async def test_a_position_among_hundreds_of_open_transactions_is_short_and_leads_on(database: str) -> None:
    async with opened(database) as store, stranger(database) as other:
        for n in range(300):
            await other.execute(f"BEGIN; INSERT INTO books (title) VALUES ('{n}'); PREPARE TRANSACTION '{n}'")
        try:
            await store.write(unit(create(BOOK, title="last")))
            token = (await here(store)).token
            assert len(token) <= 32 + 2 * 300
            assert len(Cursors(bytes(16)).seal(token)) < 1024
            position = await store.locate(token)
            assert not isinstance(position, Reset)
            assert await since(store, position) == []
            await other.execute("COMMIT PREPARED '7'")
            await other.execute("COMMIT PREPARED '211'")
            assert await since(store, position) == ["7", "211"]
        finally:
            for name in await other.fetch("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
                await other.execute(f"ROLLBACK PREPARED '{name[0]}'")


async def test_after_a_crash_that_lost_what_was_told_there_is_a_reset(database: str) -> None:
    """Of two commits the one with the higher number was safe on the disk: its row alone would tell nothing."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(database))
        lost = await stack.enter_async_context(stranger(database))
        kept = await stack.enter_async_context(stranger(database))
        await store.write(unit(create(BOOK, title="before")))
        (writer,) = await kept.fetchrow("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
        os.kill(writer, signal.SIGSTOP)  # it would make lasting what is asked to be so later
        stack.callback(_go_on, writer)
        await lost.execute("SET synchronous_commit = off; BEGIN; INSERT INTO books (title) VALUES ('lost')")
        await kept.execute("INSERT INTO books (title) VALUES ('kept')")
        await lost.execute("COMMIT")
        place = await here(store)
        assert len((await store.page(listing(BOOK))).keys) == 3
        async with following(store, place) as batches:
            waiting = asyncio.ensure_future(next_batch(batches))
            while not waiting.done():
                await asyncio.sleep(0)
                store.wake()
            os.kill(writer, signal.SIGKILL)  # the server crashes, recovers and goes on by itself
            with suppress(StoreError):  # until it has come to that; it may be back before anybody asks it
                while (await next_batch(batches)).reset is None:
                    store.wake()
        await _answers(database)
    async with opened(database) as store:
        (page,) = (await store.read([listing(BOOK)])).pages
        assert [msgspec.json.decode(record)["title"] for record in page.records] == ["before", "kept"]
        async with following(store, place) as batches:
            assert (await next_batch(batches)).reset == Reset("epoch")
        assert await store.locate(place.token) == Reset("epoch")
        start = await here(store)
        await store.write(unit(create(BOOK, title="after")))
        assert await since(store, start) == ["after"]


def _go_on(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


async def _answers(url: str) -> None:
    """Returns when the server takes connections again."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with stranger(url):
                    return
            except (asyncpg.PostgresError, OSError):
                await asyncio.sleep(0.05)


async def test_a_dump_that_is_restored_elsewhere_has_another_log(own: Server, database: str) -> None:
    name = database.rpartition("/")[2]
    async with opened(database) as store:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
    own.move(name, f"{name}_too")
    async with opened(f"{database}_too") as store:
        assert await store.locate(place) == Reset("epoch")
        start = await here(store)
        await store.write(unit(create(BOOK, title="b")))
        assert await since(store, start) == ["b"]
        assert len((await store.page(listing(BOOK))).keys) == 2


async def test_a_standby_is_refused_and_whoever_comes_to_it_after_a_failover_gets_a_reset(
    own: Server, database: str
) -> None:
    async with opened(database) as store:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
    standby = own.follow("standby")
    standby.start()
    try:
        there = f"{standby.url.removesuffix('/postgres')}/{database.rpartition('/')[2]}"
        with pytest.raises(StoreReadOnly, match=r"the server is a standby.*target_session_attrs=primary"):
            await PostgresqlStore(there).open(LIBRARY)
        standby.promote()
        async with opened(there) as store:
            assert await store.locate(place) == Reset("epoch")
            start = await here(store)
            await store.write(unit(create(BOOK, title="b")))
            assert await since(store, start) == ["b"]
    finally:
        standby.stop("immediate")


async def test_an_older_copy_that_is_put_back_takes_those_who_were_beyond_it_back_to_the_start(
    own: Server, database: str
) -> None:
    async with opened(database) as store:
        await store.write(unit(create(BOOK, title="a")))
        early = (await here(store)).token
    own.stop()
    copy = own.copy("copy")
    own.start()
    async with opened(database) as store:
        await store.write(unit(create(BOOK, title="b")))
        late = (await here(store)).token
    own.stop()
    copy.start()
    try:
        async with opened(database) as store:
            for title in ("c", "d", "e"):  # they have the numbers, and the transactions, of what was there
                await store.write(unit(create(BOOK, title=title)))
            assert await store.locate(late) == Reset("epoch")
            position = await store.locate(early)
            assert not isinstance(position, Reset)
            assert await since(store, position) == ["c", "d", "e"]
    finally:
        copy.stop("immediate")
        own.start()
