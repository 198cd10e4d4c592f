"""Behind a pooler that lends a server for one transaction at a time, PostgreSQL keeps the store port's promises."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from crudite.errors import StoreError
from crudite.stores.base import Store
from crudite.stores.postgresql import PostgresqlStore
from crudite.stores.postgresql.connections import REQUEST, connect, parse
from crudite.testing.contracts import StoreContract
from crudite.testing.samples import BOOK, LIBRARY, create, listing, unit
from tests.services.pooler import Pooler, pooler_before

MANY = 40


def behind(pooler: Pooler, url: str) -> str:
    """The same database, asked through the pooler."""
    head, _, name = url.rpartition("/")
    return f"{head.rpartition(':')[0]}:{pooler.port}/{name}"


def port_of(url: str) -> int:
    """The port of a server."""
    return int(url.rpartition("/")[0].rpartition(":")[2])


@pytest.fixture
def pooler(postgresql: str) -> Iterator[Pooler]:
    """A pooler with three servers before the real one."""
    with pooler_before(port_of(postgresql)) as pooler:
        yield pooler


class TestStoreBehindAPooler(StoreContract):
    """The shipped contract suite, each place a PostgreSQL schema of its own, through a pooler with four servers.

    All but the property of values, which opens sixty stores: values pass a pooler as they pass a wire.
    """

    url = ""
    test_every_value_comes_back_exactly_from_a_write_a_read_and_the_log = None  # type: ignore[assignment]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _pooler(cls, postgresql: str) -> Iterator[None]:
        with pooler_before(port_of(postgresql), 4) as pooler:
            cls.url = behind(pooler, postgresql)
            yield

    def make_store(self, place: Path) -> Store:
        """A store in the schema for a directory."""
        name = hashlib.blake2b(b"pooled" + bytes(place), digest_size=8).hexdigest()
        return PostgresqlStore(f"{self.url}?schema=place_{name}&pooler=transaction", connections=4)


async def test_the_pooler_of_these_tests_gives_the_next_transaction_another_server_and_refuses_settings(
    postgresql_database: str, pooler: Pooler
) -> None:
    url = behind(pooler, postgresql_database)
    connection = await asyncpg.connect(url, statement_cache_size=0)
    assert len({await connection.fetchval("SELECT pg_backend_pid()") for _ in range(3)}) > 1
    await connection.execute("SET work_mem = '7MB'")
    assert {await connection.fetchval("SHOW work_mem") for _ in range(3)} == {"4MB", "7MB"}
    await connection.close()
    with pytest.raises(asyncpg.PostgresError, match="unsupported startup parameter: jit"):
        await asyncpg.connect(url, server_settings={"jit": "off"})
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT 1") == 1
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):  # the next server knows nothing of it
        await connection.fetchval("SELECT 1")
    await connection.close()


async def test_who_does_not_say_that_there_is_a_pooler_is_told_what_it_refuses(
    postgresql_database: str, pooler: Pooler
) -> None:
    with pytest.raises(StoreError, match="unsupported startup parameter"):
        await PostgresqlStore(behind(pooler, postgresql_database)).open(LIBRARY)


async def test_settings_hold_in_every_transaction_and_in_nobody_elses(postgresql_database: str, pooler: Pooler) -> None:
    url = behind(pooler, postgresql_database)
    ours = await connect(parse(f"{url}?schema=Ours&work_mem=7MB&pooler=transaction"), REQUEST)
    theirs = await asyncpg.connect(url, statement_cache_size=0)
    shown = "SELECT current_setting('search_path'), current_setting('work_mem'), current_setting('statement_timeout')"
    for _ in range(MANY):
        assert tuple(await ours.fetchrow(shown)) == ('"Ours"', "7MB", "5s")
        async with ours.transaction(isolation="repeatable_read", readonly=True):
            assert tuple((await ours.fetch(shown))[0]) == ('"Ours"', "7MB", "5s")
        for _ in range(2):  # or they would always be lent the third server
            assert tuple(await theirs.fetchrow(shown)) == ('"$user", public', "4MB", "0")
    assert await ours.fetchval("SELECT $1::int", 1) == 1
    assert await ours.execute("SELECT 1; SELECT $$;$$") == "SELECT 1"
    await ours.close()
    await theirs.close()


async def test_many_share_a_few_servers_each_transaction_whole(postgresql_database: str, pooler: Pooler) -> None:
    stores = [PostgresqlStore(f"{behind(pooler, postgresql_database)}?pooler=transaction") for _ in range(3)]
    for store in stores:
        await store.open(LIBRARY)
    await asyncio.gather(*[
        stores[number % 3].write(unit(create(BOOK, title=f"{number} a"), create(BOOK, title=f"{number} b")))
        for number in range(MANY)
    ])  # fmt: skip
    pages = await asyncio.gather(*[stores[number % 3].page(listing(BOOK, total=True)) for number in range(MANY)])
    assert [(page.total, len(page.keys)) for page in pages] == [(2 * MANY, 2 * MANY)] * MANY
    for store in stores:
        await store.close()


async def test_a_statement_that_is_cancelled_ends_on_the_server_that_was_lent(
    postgresql_database: str, pooler: Pooler
) -> None:
    connection = await connect(parse(f"{behind(pooler, postgresql_database)}?pooler=transaction"), {})
    other = await asyncpg.connect(postgresql_database)
    sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'"
    while await other.fetchval(f"{count} AND pid <> pg_backend_pid()") == 0:
        pass  # asking is waiting
    sleeping.cancel()
    await asyncio.wait([sleeping])
    async with asyncio.timeout(20):
        while await other.fetchval(f"{count} AND pid <> pg_backend_pid()"):
            pass
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await other.close()
