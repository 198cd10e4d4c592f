"""Servers that go, connections that are ended in the middle, networks that fail: who asks hears of it, and asks on."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from crudite.errors import StoreError
from crudite.stores.base import Row
from crudite.stores.postgresql import PostgresqlStore
from crudite.stores.postgresql.connections import REQUEST, parse
from crudite.stores.postgresql.pool import Pool
from crudite.testing.samples import BOOK, create, key_of, listing, plain, select, unit, update
from tests.services.cluster import Cluster, cluster
from tests.services.proxy import Proxy
from tests.services.strangers import opened, stranger, until_waiting

SECONDS = 60.0
END = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
END_OTHERS = f"{END} AND pid <> pg_backend_pid() AND backend_type = 'client backend'"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server of these tests' own."""
    with cluster() as running:
        yield running


@asynccontextmanager
async def through(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A network to the server of a URL, and the URL by that way."""
    head, _, name = url.rpartition("/")
    start, _, port = head.rpartition(":")
    async with Proxy(int(port)) as proxy:
        yield proxy, f"{start}:{proxy.port}/{name}"


async def rest() -> None:
    """A moment, between looking and looking again."""
    await asyncio.sleep(0.01)


async def until_well(store: PostgresqlStore) -> None:
    """Returns when the store answers again."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await store.page(listing(BOOK))
            except StoreError:
                await rest()
            else:
                return


# the server


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_server_that_goes_and_comes_back_under_load_loses_nothing_acknowledged(
    server: Cluster, how: Literal["fast", "immediate"]
) -> None:
    acknowledged: set[str] = set()
    strange: list[BaseException] = []
    is_over = asyncio.Event()

    async def write(name: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                await store.write(unit(create(BOOK, title=f"{name} {number}")))
                acknowledged.add(f"{name} {number}")
            except StoreError:
                await rest()
            except Exception as error:
                strange.append(error)

    async def look() -> None:
        while not is_over.is_set():
            try:
                await store.read([listing(BOOK, limit=1)])
            except StoreError:
                await rest()
            except Exception as error:
                strange.append(error)

    async def reach(count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(acknowledged) < count:
                await rest()

    async with opened(f"{server.url}?connections=6&schema={how}") as store, asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(write(f"{how} {number}"))
            tasks.create_task(look())
        for _ in range(2):
            await reach(len(acknowledged) + 50)
            await asyncio.to_thread(server.stop, how)
            opened_before, failed_before = store.load.opened, store.load.failed
            await asyncio.to_thread(server.start)
            await until_well(store)
            assert store.load.opened - opened_before <= 12
            assert store.load.failed - failed_before <= 100  # sixteen ask for it a hundred times a second
            await reach(len(acknowledged) + 50)
        is_over.set()
    async with opened(f"{server.url}?schema={how}") as store:
        titles = [plain(record)["title"] for record in (await store.page(listing(BOOK))).records]
    assert strange == []
    assert len(titles) == len(set(titles))
    assert acknowledged <= set(titles)


async def test_while_no_connection_can_be_made_one_is_tried_at_a_time_and_all_others_hear_why(
    postgresql_database: str,
) -> None:
    async with through(postgresql_database) as (proxy, url):
        pool = Pool(parse(url), REQUEST, 5)
        await pool.open()
        proxy.refuse()
        results: list[Any] = []
        for _ in range(20):
            results += await asyncio.gather(*[_ask(pool) for _ in range(50)], return_exceptions=True)
        assert {type(result) for result in results} == {StoreError}
        assert pool.load.failed <= 10  # five at once when it was not known yet
        assert pool.load.open == pool.load.waiting == 0
        proxy.accept()
        await until_answered(pool)
        assert await asyncio.gather(*[_ask(pool) for _ in range(50)]) == [1] * 50
        await pool.close()


async def until_answered(pool: Pool) -> None:
    """Returns when the server answers on a pool's connection."""
    async with asyncio.timeout(SECONDS):
        while isinstance((await asyncio.gather(_ask(pool), return_exceptions=True))[0], StoreError):
            await rest()


async def _ask(pool: Pool) -> int:
    async with pool.use() as connection:
        return int(await connection.fetchval("SELECT 1"))


async def test_who_can_wait_for_a_connection_in_use_waits_though_no_more_can_be_opened(
    postgresql_database: str,
) -> None:
    async with stranger(postgresql_database) as other:
        role = f"few_{postgresql_database[-8:]}"
        await other.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        pool = Pool(parse(postgresql_database.replace("postgres@", f"{role}@")), REQUEST, 5)
        await pool.open()
        assert await asyncio.gather(*[_ask(pool) for _ in range(20)]) == [1] * 20
        assert pool.load.open == 1
        assert pool.load.failed >= 1
        await pool.close()
        await other.execute(f"DROP ROLE {role}")


# connections that are ended


async def test_connections_that_were_ended_while_idle_are_not_handed_out(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        for _ in range(3):
            await asyncio.gather(*[store.page(listing(BOOK)) for _ in range(10)])
            await other.execute(END_OTHERS)
            assert isinstance(await store.lookup(select(BOOK), key), Row)
            await other.execute(END_OTHERS)
            await store.write(unit(create(BOOK, title="b")))
        assert store.load.failed == 0


async def test_a_read_whose_connection_is_ended_in_the_middle_is_read_again(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        for read in (lambda: store.lookup(select(BOOK), key), lambda: store.read([listing(BOOK)]),
                     lambda: store.page(listing(BOOK, total=True))):  # fmt: skip
            await other.execute("BEGIN; LOCK TABLE books")
            reading = asyncio.create_task(read())
            await until_waiting(other)
            await other.execute(END_OTHERS)
            await other.execute("COMMIT")
            assert await reading


async def test_a_write_whose_connection_is_ended_is_not_done_and_not_told_to_be(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("BEGIN; LOCK TABLE books")
        writing = asyncio.create_task(store.write(unit(create(BOOK, title="a"))))
        await until_waiting(other)
        await other.execute(END_OTHERS)
        await other.execute("COMMIT")
        with pytest.raises(StoreError):
            await writing
        assert not (await store.page(listing(BOOK))).keys
        await store.write(unit(create(BOOK, title="b")))
        assert (await store.page(listing(BOOK, total=True))).total == 1


@pytest.mark.parametrize("alone", [False, True], ids=["a create", "an update"])
async def test_a_write_whose_connection_is_lost_before_its_transaction_began_is_done(
    postgresql_database: str, alone: bool
) -> None:
    async with through(postgresql_database) as (proxy, url), opened(url) as store:
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        proxy.hold()
        writing = asyncio.create_task(
            store.write(unit(update(BOOK, key, title="b") if alone else create(BOOK, title="b")))
        )
        async with asyncio.timeout(SECONDS):
            while not store.load.used:
                await rest()
        proxy.cut()
        proxy.release()
        await writing
        assert [json.loads(one)["title"] for one in (await store.page(listing(BOOK))).records] == (
            ["b"] if alone else ["a", "b"]
        )


# networks


async def test_connections_that_are_cut_or_half_closed_are_replaced(postgresql_database: str) -> None:
    async with through(postgresql_database) as (proxy, url), opened(f"{url}?connections=4") as store:
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        for harm in (proxy.cut, proxy.half_close):
            for _ in range(3):
                await asyncio.gather(*[store.page(listing(BOOK)) for _ in range(8)])
                harm()
                assert isinstance(await store.lookup(select(BOOK), key), Row)


async def test_reads_on_connections_that_are_cut_again_and_again_end(postgresql_database: str) -> None:
    async with through(postgresql_database) as (proxy, url), opened(f"{url}?connections=4") as store:
        await store.write(unit(create(BOOK, title="a")))
        ends: set[str] = set()
        for _ in range(30):
            reading = [asyncio.create_task(store.page(listing(BOOK))) for _ in range(8)]
            await asyncio.sleep(0)
            proxy.cut()
            async with asyncio.timeout(SECONDS):
                for result in await asyncio.gather(*reading, return_exceptions=True):
                    ends.add("told" if isinstance(result, StoreError) else str(len(result.keys)))
        assert ends <= {"told", "1"}
        await until_well(store)
        assert (store.load.used, store.load.waiting) == (0, 0)


async def test_nobody_waits_for_ever_on_a_line_that_is_dead(postgresql_database: str) -> None:
    async with through(postgresql_database) as (proxy, url):
        pool = Pool(parse(f"{url}?statement_timeout=100&patience=0.2"), REQUEST, 2)
        await pool.open()
        proxy.hold()
        async with asyncio.timeout(SECONDS):
            results = await asyncio.gather(*[_ask(pool) for _ in range(4)], return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["StoreError", *["StoreLocked"] * 3]
        proxy.release()
        await until_answered(pool)
        await pool.close()
