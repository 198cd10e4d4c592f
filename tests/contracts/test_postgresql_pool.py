"""PostgreSQL connections are had, shared, given back and lost without anybody being told of anything but an answer."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from crudite.errors import StoreError, StoreLocked
from crudite.postgresql.address import duration
from crudite.stores.base import Load, Row
from crudite.stores.postgresql.connections import REQUEST, parse
from crudite.stores.postgresql.pool import Pool
from crudite.testing.samples import BOOK, create, key_of, listing, plain, select, unit, update
from tests.services.strangers import opened, stranger

PID = "SELECT pg_backend_pid()"
SECONDS = 20.0


@asynccontextmanager
async def pooled(url: str, size: int = 10) -> AsyncIterator[Pool]:
    """An open pool, closed at the end."""
    pool = Pool(parse(url), REQUEST, size)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def pid(pool: Pool) -> int:
    """Which process of the server answers on the connection that is used next."""
    async with pool.use() as connection:
        return int(await connection.fetchval(PID))


async def until(pool: Pool, **figures: int) -> None:
    """Returns when the pool's load has these figures."""
    async with asyncio.timeout(SECONDS):
        while any(getattr(pool.load, name) != value for name, value in figures.items()):
            await turn()


async def turn() -> None:
    """One turn of the loop, for those who look again and again."""
    await asyncio.sleep(0)


# what a URL says


def test_everything_that_is_wrong_with_a_url_is_told_at_once_and_the_password_is_not(tmp_path: Any) -> None:
    wrong = "connections=0&waiting=-1&patience=soon&connect_timeout=0&poll=0&pooler=session&sslmode=yes&sslcert=/none/x"
    with pytest.raises(StoreError) as told:
        parse(f"postgresql://me:sesame@host:5433/name?{wrong}&channel_binding=require&work+mem=1&password=sesame")
    text = str(told.value)
    assert text.startswith("postgresql://host:5433/name: ")
    assert text.removeprefix("postgresql://host:5433/name: ").split("; ") == [
        "connections: expected a whole number from 1, and got '0'",
        "waiting: expected a whole number from 0, and got '-1'",
        "patience: expected a number of seconds above 0, and got 'soon'",
        "connect_timeout: expected a number of seconds above 0, and got '0'",
        "poll: expected a number of seconds above 0, and got '0'",
        "pooler: expected transaction, and got 'session'",
        "sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full, and got 'yes'",
        "sslcert: there is no file '/none/x'",
        "channel_binding: the driver has no such parameter",
        "work mem: expected the name of a setting",
    ]


@pytest.mark.parametrize("mode", ["", "&sslmode=prefer", "&sslmode=disable"])
def test_an_authority_that_nobody_would_ask_is_refused(tmp_path: Any, mode: str) -> None:
    root = tmp_path / "root.crt"
    root.touch()
    with pytest.raises(StoreError, match="nobody would look at it; expected sslmode=verify-full"):
        parse(f"postgresql://host/name?sslrootcert={root}{mode}")


@pytest.mark.parametrize(
    "rest",
    ["me:ses/ame@host/name", "me:ses#ame@host/name", "me:ses?ame@host/name", "me:1/ame@host/name", "me:1?ame@host/name",
     "me:ame@host:ses/name", "me:ame@one:1,two:ses/name"],
)  # fmt: skip
def test_a_url_that_a_password_cuts_off_is_refused_and_not_shown(rest: str) -> None:
    with pytest.raises(StoreError, match="%2F") as error:
        parse(f"postgresql://{rest}")
    assert not any(word in str(error.value) for word in ("ses", "ame@", "me:"))


@pytest.mark.parametrize("hosts", ["", "host", "host:", "[::1]:5433", "one:1,two:2", "me:p%2Fw%40@host"])
def test_hosts_as_libpq_has_them_are_taken(hosts: str) -> None:
    assert parse(f"postgresql://{hosts}/name").shown == f"postgresql://{hosts.rpartition('@')[2]}/name"


def test_a_url_says_where_how_many_and_how_long() -> None:
    address = parse(
        "postgresql://me:sesame@one,two:5433/name?schema=Ours&connections=3&waiting=0&patience=0.5&connect_timeout=2"
        "&pooler=transaction&work_mem=64MB&my.own=1&sslmode=require&target_session_attrs=primary"
    )
    assert address.url == "postgresql://me:sesame@one,two:5433/name?sslmode=require&target_session_attrs=primary"
    assert address.shown == "postgresql://one,two:5433/name"
    assert (address.schema, address.connections, address.waiting) == ("Ours", 3, 0)
    assert (address.patience, address.reach, address.pooler) == (0.5, 2.0, "transaction")
    assert address.session({"work_mem": "4MB", "jit": "on"}) == {
        "application_name": "crudite", "jit": "on", "work_mem": "64MB", "my.own": "1", "search_path": '"Ours"',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("250", 0.25), ("1min", 60.0), ("1.5 s", 1.5), ("2h", 7200.0), ("500us", 0.0005), ("1d", 86400.0),
     ("0", None), ("soon", None), ("5 parsecs", None), ("", None)],
)  # fmt: skip
def test_durations_are_read_as_postgresql_reads_them(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


async def test_the_settings_of_a_url_hold_on_every_connection(postgresql_database: str) -> None:
    async with pooled(f"{postgresql_database}?work_mem=7MB&application_name=ours") as pool, pool.use() as connection:
        assert await connection.fetchval("SHOW work_mem") == "7MB"
        assert await connection.fetchval("SHOW application_name") == "ours"
        assert await connection.fetchval("SHOW statement_timeout") == "5s"


async def test_a_url_says_how_many_connections_a_store_has(postgresql_database: str) -> None:
    async with opened(f"{postgresql_database}?connections=3") as store:
        assert store.load.size == 3


# who gets which connection


async def test_the_one_that_came_back_last_is_used_next_and_no_more_are_opened_than_needed(
    postgresql_database: str,
) -> None:
    async with pooled(postgresql_database) as pool:
        assert len({await pid(pool) for _ in range(20)}) == 1
        assert pool.load.opened == 1
        first = pool.take()
        second, third = await pool.acquire(), await pool.acquire()
        for connection in (second, first, third):
            pool.release(connection)
        assert (pool.load.open, pool.load.used) == (3, 0)
        assert [pool.take() for _ in range(4)] == [third, first, second, None]
        for connection in (first, second, third):
            pool.release(connection)


async def test_no_more_than_the_most_are_open_and_who_came_first_is_first(postgresql_database: str) -> None:
    order: list[int] = []

    async def one(number: int) -> None:
        async with pool.use() as connection:
            await connection.fetchval(PID)
            order.append(number)

    async with pooled(postgresql_database, 1) as pool, stranger(postgresql_database) as other:
        held = pool.take()
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(one(number))
            await until(pool, waiting=20)
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crudite' AND datname = $1"
            assert await other.fetchval(count, postgresql_database.rpartition("/")[2]) == 1
            assert (pool.load.open, pool.load.used) == (1, 1)
            pool.release(held)
        assert order == list(range(20))
        assert pool.load == Load(size=1, open=1, used=0, waiting=0, opened=1, failed=0, refused=0)


async def test_who_comes_when_enough_wait_is_told_so_at_once(postgresql_database: str) -> None:
    async with pooled(f"{postgresql_database}?waiting=2", 1) as pool:
        held = pool.take()
        two = [asyncio.create_task(pid(pool)) for _ in range(2)]
        await until(pool, waiting=2)
        with pytest.raises(StoreLocked, match=r": 2 wait for one of 1 connections$"):
            await pid(pool)
        assert pool.load.refused == 1
        pool.release(held)
        assert len(set(await asyncio.gather(*two))) == 1


async def test_who_waits_for_too_long_is_told_how_long_and_among_how_many(postgresql_database: str) -> None:
    async with pooled(f"{postgresql_database}?patience=0.05", 1) as pool:
        held = pool.take()
        results = await asyncio.gather(pid(pool), pid(pool), return_exceptions=True)
        assert [type(result) for result in results] == [StoreLocked, StoreLocked]
        assert "none of 1 connections was free within 0.05 seconds, 2 waited" in str(results[0])
        assert (pool.load.waiting, pool.load.refused) == (0, 2)
        pool.release(held)
        assert await pid(pool)


async def test_a_store_that_is_closed_has_no_connections_and_one_in_use_is_waited_for(postgresql_database: str) -> None:
    async with pooled(postgresql_database, 2) as pool:
        held = await pool.acquire()
        slow = asyncio.create_task(held.fetchval("SELECT 1 FROM pg_sleep(0.1)"))
        waiting = asyncio.create_task(pid(pool))
        also = asyncio.create_task(pid(pool))
        await until(pool, used=2)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="closed"):
            await pool.acquire()
        assert await waiting
        assert await also
        assert await slow == 1
        assert not closing.done()
        pool.release(held)
        await closing
        assert (pool.load.open, held.is_closed()) == (0, True)


async def test_closing_does_not_wait_for_ever(postgresql_database: str) -> None:
    pool = Pool(parse(f"{postgresql_database}?patience=60"), REQUEST, 1)
    await pool.open()
    held, waiting = pool.take(), asyncio.create_task(pid(pool))
    await until(pool, waiting=1)
    await pool.close(0.05)
    assert held is not None
    assert held.is_closed()
    with pytest.raises(StoreError, match="closed"):
        await waiting
    pool.release(held)
    assert pool.load.open == 0


# cancelling


@pytest.mark.parametrize("ticks", range(4))
async def test_who_is_cancelled_when_a_connection_comes_to_him_does_not_keep_it(
    postgresql_database: str, ticks: int
) -> None:
    async with pooled(postgresql_database, 1) as pool:
        held = pool.take()
        waiting = asyncio.create_task(pid(pool))
        await until(pool, waiting=1)
        pool.release(held)
        for _ in range(ticks):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await pid(pool)
        assert pool.load.opened == 1


async def test_a_connection_in_the_middle_of_the_servers_goodbye_is_used_no_more_and_reads_are_done_again(
    postgresql_database: str,
) -> None:
    async with pooled(postgresql_database, 1) as pool:
        seen: list[int] = []

        async def read(connection: Any) -> str:
            seen.append(await connection.fetchval(PID))
            if len(seen) < 3:
                raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")
            return "read"

        assert await pool.read(read) == "read"
        assert len(set(seen)) == 3


async def test_lookups_and_creates_that_wait_are_counted_and_too_many_are_refused(postgresql_database: str) -> None:
    async with (
        opened(f"{postgresql_database}?connections=1&waiting=2") as store,
        stranger(postgresql_database) as other,
    ):
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        for ask in (lambda: store.lookup(select(BOOK), key), lambda: store.write(unit(create(BOOK, title="b")))):
            before = store.load.refused
            await other.execute("BEGIN; LOCK TABLE books")
            tasks = [asyncio.create_task(ask())]
            while not store.load.used:
                await turn()
            tasks += [asyncio.create_task(ask()) for _ in range(3)]
            await turn()
            assert (store.load.waiting, store.load.refused - before) == (2, 1)
            with pytest.raises(StoreLocked, match="2 wait for one of 1 connections"):
                await tasks.pop()
            await other.execute("COMMIT")
            await asyncio.gather(*tasks)
        assert (await store.page(listing(BOOK, total=True))).total == 4


async def test_what_a_cancelled_use_was_waiting_for_ends_and_its_connection_goes_on(postgresql_database: str) -> None:
    async def sleep() -> None:
        async with pool.use() as connection:
            await connection.execute("SELECT pg_sleep(60)")

    async with pooled(postgresql_database, 1) as pool, stranger(postgresql_database) as other:
        first = await pid(pool)
        task = asyncio.create_task(sleep())
        state = "SELECT state FROM pg_stat_activity WHERE pid = $1"
        while await other.fetchval(state, first) != "active":
            pass  # asking is waiting
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await pid(pool) == first
        assert await other.fetchval(state, first) == "idle"
        assert pool.load.opened == 1


@pytest.mark.parametrize("leave", ["error", "cancel", "nothing"])
async def test_a_transaction_that_a_use_leaves_behind_is_rolled_back(postgresql_database: str, leave: str) -> None:
    async def use() -> None:
        async with pool.use() as connection:
            await connection.execute("BEGIN; CREATE TABLE left_behind (x int)")
            if leave == "error":
                await connection.execute("SELECT 1 / 0")
            elif leave == "cancel":
                begun.set()
                await asyncio.Event().wait()

    async with pooled(postgresql_database, 1) as pool:
        begun, task = asyncio.Event(), asyncio.create_task(use())
        if leave == "cancel":
            await begun.wait()
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or (task.exception() is None) == (leave == "nothing")
        async with pool.use() as connection:
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT to_regclass('left_behind')") is None
            async with connection.transaction():  # the driver has none in mind either
                assert await connection.fetchval("SELECT 1") == 1
        assert pool.load.opened == 1


async def test_uses_that_are_cancelled_anywhere_leave_every_connection_whole(postgresql_database: str) -> None:
    chance = random.Random(7)
    async with opened(f"{postgresql_database}?connections=3") as store, stranger(postgresql_database) as other:
        key = key_of(await store.write(unit(create(BOOK, title="a", year=0))))
        written = 0

        async def one() -> None:
            nonlocal written
            match chance.randrange(4):
                case 0:
                    await store.read([listing(BOOK)])
                case 1:
                    await store.page(listing(BOOK, total=True))
                case 2:
                    await store.lookup(select(BOOK), key)
                case _:
                    await store.write(unit(update(BOOK, key, title=str(chance.random()))))
                    written += 1

        for _ in range(60):
            tasks = [asyncio.create_task(one()) for _ in range(6)]
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            await asyncio.wait(tasks, timeout=chance.random() * 0.01)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert not [task for task in tasks if not task.cancelled() and task.exception()]
        assert written
        async with asyncio.timeout(SECONDS):
            while store.load.used or store.load.waiting:
                await turn()
            while await other.fetchval(_BUSY):
                pass
        assert store.load.open <= 3
        assert isinstance(await store.lookup(select(BOOK), key), Row)


_BUSY = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND backend_type = 'client backend' AND state <> 'idle'"""


# what is prepared


async def test_a_statement_is_prepared_once_for_each_shape(postgresql_database: str) -> None:
    async with pooled(postgresql_database, 1) as pool, pool.use() as connection:
        for number in range(50):
            assert await connection.fetchval("SELECT $1::int + 1", number) == number + 1
        names = await connection.fetch("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%+ 1'")
        assert len(names) == 1


async def test_hot_statements_stay_prepared_while_hundreds_of_others_come_and_go(postgresql_database: str) -> None:
    hot = "SELECT $1::int AS hot"
    async with pooled(postgresql_database, 1) as pool, pool.use() as connection:
        await connection.fetchval(hot, 1)
        prepared = "SELECT prepare_time FROM pg_prepared_statements WHERE statement = $1"
        first = await connection.fetchval(prepared, hot)
        for number in range(500):
            await connection.fetchval(f"SELECT $1::int AS cold_{number}", 1)
            await connection.fetchval(hot, 1)
        assert await connection.fetchval(prepared, hot) == first
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") <= 401


@pytest.mark.parametrize("total", [False, True])
async def test_reads_go_on_when_another_program_changes_the_type_of_a_column(
    postgresql_database: str, total: bool
) -> None:
    """What was prepared fails (`cached plan must not change result type`), and so is all of its transaction."""
    async with opened(f"{postgresql_database}?connections=3") as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a", year=1999)))
        plan = listing(BOOK, "year", total=total)
        three = await asyncio.gather(*[store.page(plan) for _ in range(3)])
        assert [plain(page.records[0])["year"] for page in three] == [1999] * 3
        await other.execute("ALTER TABLE books ALTER COLUMN year TYPE numeric")
        three = await asyncio.gather(*[store.page(plan) for _ in range(3)])
        assert [plain(page.records[0])["year"] for page in three] == [1999] * 3


async def test_connections_that_are_out_of_date_are_closed_when_they_come_back(postgresql_database: str) -> None:
    async with pooled(postgresql_database, 2) as pool:
        held, idle = await pool.acquire(), await pool.acquire()
        pool.release(idle)
        before = await held.fetchval(PID)
        pool.expire()
        assert pool.load.open == 1
        assert await held.fetchval("SELECT 1") == 1
        pool.release(held)
        assert pool.load.open == 0
        assert await pid(pool) != before
