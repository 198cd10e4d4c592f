"""Histories in PostgreSQL beside transactions that go on while the log turns from table to table."""

import asyncio

import asyncpg

from crudite.ids import uuid7
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing.samples import create, unit, update
from crudite.testing.store_history import AUDITED, WITH, WITHOUT, names, who
from tests.services.strangers import here, opened, stranger

_NEXT = "SELECT setval('_numbers', ((SELECT last_value >> 40 FROM _numbers) + 1) << 40)"

_VALID = """SELECT count(*) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indisvalid AND c.relname LIKE 'changes\\__ history authors'"""
_SIZE = "SELECT sum(pg_table_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = '_changes'::regclass"


async def test_who_asked_is_known_of_changes_on_both_sides_of_a_turn_of_the_log(postgresql_database: str) -> None:
    async with opened(postgresql_database, WITH) as store, stranger(postgresql_database) as other:
        key = uuid7()
        await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0", interface="rest"))
        async with other.transaction():  # as a transaction of ours does it, whose note comes before its last change
            await other.execute("UPDATE authors SET name = '1' WHERE id = $1", key)
            await other.execute("""INSERT INTO _commits (number, actors, requests, interfaces)
SELECT last_value, ARRAY['bob'], ARRAY['r1'], ARRAY['websocket'] FROM _numbers""")
            await other.execute(_NEXT)
            await other.execute("UPDATE authors SET name = '2' WHERE id = $1", key)
        before = await store.history(AUDITED, key, before=None, limit=10)
        assert [(who(past)[0], names(past)[1]) for past in before] == [("bob", "2"), ("bob", "1"), ("ann", "0")]
        size = await other.fetchval(_SIZE)
        for room, gone in ((size - 1, 2), (0, 1)):  # the first table of the log, then the second one
            assert await store.trim(older_than=3600, larger_than=room) == gone
            assert await store.history(AUDITED, key, before=None, limit=10) == before


async def test_whoever_reads_while_the_log_is_emptied_finds_each_change_once(postgresql_database: str) -> None:
    async with opened(postgresql_database, WITH) as store, stranger(postgresql_database) as other:
        key = uuid7()
        await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0", interface="rest"))
        before = await store.history(AUDITED, key, before=None, limit=10)
        await other.execute(_NEXT)
        async with other.transaction(isolation="repeatable_read"):
            await other.execute("LOCK TABLE _changes IN ACCESS SHARE MODE")  # somebody reads the log
            assert await store.trim(older_than=3600, larger_than=0) == 0
            assert await store.history(AUDITED, key, before=None, limit=10) == before
            assert list(await store.kept()) == []
        assert await store.trim(older_than=3600, larger_than=0) == 1
        assert await store.history(AUDITED, key, before=None, limit=10) == before


async def test_a_database_from_before_there_were_histories_is_brought_to_them_and_its_log_goes_on(
    postgresql_database: str,
) -> None:
    key = uuid7()
    async with opened(postgresql_database) as store:
        await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0"))
        position = await here(store)
    async with stranger(postgresql_database) as other:
        assert isinstance(other, asyncpg.Connection)
        await other.execute("DROP TABLE _history, _audited; ALTER TABLE _commits DROP COLUMN interfaces")
    async with opened(postgresql_database, WITH) as store:
        assert await store.locate(position.token) == position
        await store.write(unit(update(AUDITED, key, name="1"), actor="bob", request="r1", interface="rest"))
        found = await store.history(AUDITED, key, before=None, limit=10)
        assert [who(past) for past in found] == [("bob", "r1", "rest"), ("ann", "r0", None)]


async def test_a_large_table_of_the_log_is_kept_whole_by_short_statements(postgresql_database: str) -> None:
    async with opened(postgresql_database, WITH) as store, stranger(postgresql_database) as other:
        keys = [uuid7() for _ in range(3)]
        for key in keys:
            await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0", interface="rest"))
        await other.execute("""INSERT INTO authors (id, name)
SELECT gen_random_uuid(), repeat('x', 900) FROM generate_series(1, 6000)""")
        assert await other.fetchval("SELECT pg_relation_size('_changes_0') / 8192") > 700  # more than is kept at once
        for key in keys:
            await store.write(unit(update(AUDITED, key, name="1"), actor="bob", request="r1", interface="rest"))
        before = [await store.history(AUDITED, key, before=None, limit=10) for key in keys]
        assert await store.trim(older_than=3600, larger_than=0) == 6006
        assert [await store.history(AUDITED, key, before=None, limit=10) for key in keys] == before
        assert [(kept.table, kept.changes) for kept in await store.kept()] == [("authors", 6006)]


async def test_the_index_for_a_history_is_made_while_others_write(postgresql_database: str) -> None:
    async with (
        opened(postgresql_database, WITHOUT) as store,
        stranger(postgresql_database) as busy,
        stranger(postgresql_database) as watching,
    ):
        await store.write(unit(create(AUDITED, uuid7(), name="0")))
        await busy.execute("BEGIN; INSERT INTO authors (name) VALUES ('1')")
        opening = asyncio.create_task(PostgresqlStore(postgresql_database).migrate(WITH))
        async with asyncio.timeout(10):
            while not await watching.fetchval("SELECT count(*) FROM pg_stat_progress_create_index"):
                assert not opening.done()
                await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await store.write(unit(create(AUDITED, uuid7(), name="2")))  # who comes later waits for nobody
            assert not opening.done()
            assert list(await PostgresqlStore(postgresql_database).migrate(WITH)) != []  # nor for who makes it
        await busy.execute("COMMIT")
        steps = await opening
        assert [step.description.partition(",")[0] for step in steps] == [
            "authors: keep its history for ever", "authors: make an index on the log for its history",
        ]  # fmt: skip
        assert all("CONCURRENTLY" in text for text in steps[1].sql)
        assert await watching.fetchval(_VALID) == 4
        assert await store.plan(WITH) == []


async def test_an_index_that_was_broken_off_is_made_anew(postgresql_database: str) -> None:
    async with opened(postgresql_database, WITH) as store, stranger(postgresql_database) as other:
        key = uuid7()
        await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0", interface="rest"))
        await other.execute("""UPDATE pg_index SET indisvalid = FALSE
WHERE indexrelid = '"changes_1 history authors"'::regclass""")
        assert await other.fetchval(_VALID) == 3
        assert len(await store.history(AUDITED, key, before=None, limit=10)) == 1
        (step,) = await store.plan(WITH)
        assert step.description == "authors: make an index on the log for its history"
        assert len(step.sql) == 2
    async with opened(postgresql_database, WITH) as store, stranger(postgresql_database) as other:
        assert await other.fetchval(_VALID) == 4
        assert await store.plan(WITH) == []
        await store.migrate(WITHOUT, lose=True)
        assert await other.fetchval(_VALID) == 0
