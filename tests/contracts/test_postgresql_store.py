"""PostgreSQL keeps every promise of the store port, also beside other programs and their transactions."""

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from crudite.changes import Refused, Reset
from crudite.errors import StoreError, StoreLocked, StoreOutdated, StoreTooNew
from crudite.query.plan import Need
from crudite.stores.base import Store
from crudite.stores.postgresql import PostgresqlStore
from crudite.stores.postgresql.store import _Wakeup
from crudite.testing.contracts import StoreContract
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    LOAN,
    SAMPLE,
    catalog,
    create,
    key_of,
    listing,
    schema,
    select,
    text,
    unit,
    update,
)
from crudite.testing.store_base import next_batch
from tests.services.strangers import all_since, here, opened, since, stranger, titles, until_waiting


class TestPostgresqlStore(StoreContract):
    """The shipped contract suite, each place a PostgreSQL schema of its own on a real server."""

    server = ""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, postgresql: str) -> None:
        cls.server = postgresql

    def make_store(self, place: Path) -> Store:
        """A store in the schema for a directory."""
        name = hashlib.blake2b(str(place).encode(), digest_size=8).hexdigest()
        return PostgresqlStore(f"{self.server}?schema=place_{name}", connections=4)


async def test_what_commits_late_is_told_late_and_not_lost(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as slow:
        start = await here(store)
        batches = store.follow(start)
        await slow.execute("BEGIN; INSERT INTO books (title) VALUES ('slow')")
        mark = (await store.write(unit(create(BOOK, title="quick")))).mark
        assert mark is not None
        batch = await next_batch(batches)
        assert titles(batch.changes) == ["quick"]
        assert batch.position.covers(mark)
        between = batch.position
        await slow.execute("COMMIT")
        batch = await next_batch(batches)
        assert titles(batch.changes) == ["slow"]
        assert not between.covers(batch.changes[0].mark)
        located = await store.locate(between.token)
        assert located == between
        assert await since(store, between) == ["slow"]
        assert await since(store, start) == ["slow", "quick"]  # in the order of their numbers
        await batches.aclose()  # type: ignore[attr-defined]


async def test_what_is_rolled_back_moves_no_position(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a")))
        before = await here(store)
        await other.execute("BEGIN; INSERT INTO books (title) VALUES ('b'); ROLLBACK")
        await other.execute("CREATE TABLE theirs (x int)")
        assert await here(store) == before


async def test_a_follower_ends_where_the_tables_are_whoever_writes_and_however(
    postgresql_database: str,
) -> None:
    """Readers that go by number, or by the oldest running transaction, lose or turn round changes here."""
    async with opened(postgresql_database) as store:
        start = await here(store)
        keys = [key_of(await store.write(unit(create(BOOK, title=str(n), year=0)))) for n in range(10)]
        writers = [_shuffle(postgresql_database, keys, random.Random(seed)) for seed in range(8)]
        done = asyncio.gather(*writers)
        held: dict[Any, dict[str, Any]] = {}
        batches = store.follow(start)
        position = start
        while not (done.done() and position == await here(store)):
            store.wake()
            batch = await next_batch(batches)
            position = batch.position
            for change in batch.changes:
                assert change.before == held.get(change.key), "each change begins where the last one ended"
                if change.after is None:
                    del held[change.key]
                else:
                    held[change.key] = change.after
            (page,) = await batch.fetch([listing(BOOK)])
            assert [msgspec.json.decode(r) for r in page.records] == [held[key] for key in sorted(held)]
        await done
        assert len(await all_since(store, start)) > 200
        await batches.aclose()  # type: ignore[attr-defined]


async def _shuffle(url: str, keys: list[Any], chance: random.Random) -> None:
    """Transactions of another program: two shared rows and a savepoint each, some long, some in vain."""
    step = "UPDATE books SET year = year + 1 WHERE id = $1::text::uuid"
    async with stranger(url) as connection:
        for n in range(30):
            first, second = sorted(chance.sample(keys, 2))
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(step, first)
            async with connection.transaction():
                await connection.execute("INSERT INTO books (title) VALUES ($1)", f"{n} {chance.random()}")
            if n % 7 == 0:
                await connection.execute("SELECT pg_sleep(0.02)")
            await connection.execute(step, second)
            await (transaction.rollback() if n % 5 == 0 else transaction.commit())


async def test_other_programs_need_name_only_their_own_columns(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("INSERT INTO samples (text) VALUES ('a')")
        (record,) = (await store.page(listing(SAMPLE))).records
        made = msgspec.json.decode(record)
        assert (made["text"], made["choice"], made["money"], made["tags"]) == ("a", "red", "0.50", [])
        assert made["id"][14] == "7"
        assert made["version"] > 1_700_000_000_000_000
        assert made["created_at"] == made["updated_at"]


async def test_the_log_tells_of_every_way_to_write(postgresql_database: str) -> None:
    a, b = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        for statement, expected in (
            (f"INSERT INTO books (id, title) VALUES ('{a}', '1')", [("created", a, "1")]),
            (f"UPDATE books SET title = '2' WHERE id = '{a}'", [("updated", a, "2")]),
            (f"UPDATE books SET title = title WHERE id = '{a}'", []),
            (f"INSERT INTO books (id, title) VALUES ('{a}', '3') ON CONFLICT (id) DO NOTHING", []),
            (f"INSERT INTO books (id, title) VALUES ('{a}', '3') ON CONFLICT (id) "
             "DO UPDATE SET title = excluded.title", [("updated", a, "3")]),
            (f"UPDATE books SET id = '{b}'", [("deleted", a, None), ("created", b, "3")]),
            (f"MERGE INTO books USING (VALUES ('{a}'::uuid)) AS v(id) ON books.id = v.id "
             "WHEN NOT MATCHED THEN INSERT (id, title) VALUES (v.id, '4')", [("created", a, "4")]),
            (f"DELETE FROM books WHERE id = '{b}'", [("deleted", b, None)]),
            ("TRUNCATE books CASCADE", [("deleted", a, None)]),
        ):  # fmt: skip
            start = await here(store)
            await other.execute(statement)
            changes = await all_since(store, start)
            told = [(c.kind, c.key, title) for c, title in zip(changes, titles(changes), strict=True)]
            assert told == expected, statement
        start = await here(store)
        await other.copy_records_to_table("books", records=[("5",), ("6",)], columns=["title"])
        assert await since(store, start) == ["5", "6"]


async def test_an_update_by_others_moves_the_version_once_unless_it_is_quiet(
    postgresql_database: str,
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        made = (await store.write(unit(create(AUTHOR, name="a")))).stored[0]
        start = await here(store)
        await other.execute("UPDATE authors SET name = 'b', note = 'n'")
        await other.execute("UPDATE authors SET note = 'm'")
        loud, quiet = await all_since(store, start)
        assert loud.after is not None
        assert quiet.after is not None
        assert (loud.after["version"], quiet.after["version"]) == (made.version + 1, made.version + 1)
        assert loud.after["updated_at"] > loud.after["created_at"]
        assert quiet.after["updated_at"] == loud.after["updated_at"]


async def test_images_do_not_depend_on_the_settings_of_who_writes(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        start = await here(store)
        await other.execute(
            "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -5; "
            "SET search_path = pg_catalog; INSERT INTO public.samples (float, datetime, date, time) VALUES "
            "(0.1234567890123456, '2026-11-20T23:00:00.5Z', '2026-11-20', '01:02:03')"
        )
        (change,) = await all_since(store, start)
        assert change.after is not None
        assert change.after["float"] == 0.1234567890123456
        assert change.after["datetime"] == "2026-11-20T23:00:00.500000Z"
        assert (change.after["date"], change.after["time"]) == ("2026-11-20", "01:02:03.000000")
        assert change.after_json == (await store.page(listing(SAMPLE))).records[0]


@pytest.mark.parametrize(
    "columns",
    ["text) VALUES (E'\\\\x00')", "float) VALUES ('Infinity')", "float) VALUES ('NaN')",
     "decimal) VALUES ('NaN')", "time) VALUES ('24:00')", "date) VALUES ('infinity')",
     "date) VALUES ('0044-03-15 BC')", "datetime) VALUES ('infinity')", "integer) VALUES (9007199254740992)",
     "choice) VALUES ('blue')", "json) VALUES ('{\"a\": \"\\u0000\"}')"],
)  # fmt: skip
async def test_others_cannot_store_what_could_not_be_read_back(postgresql_database: str, columns: str) -> None:
    async with opened(postgresql_database), stranger(postgresql_database) as other:
        with pytest.raises((asyncpg.DataError, asyncpg.CheckViolationError)):
            await other.execute(f"INSERT INTO samples ({columns}".replace("\\\\x00", "\\000"))


async def test_trimming_waits_for_transactions_that_began_before_the_cut(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as slow:
        await store.write(unit(create(BOOK, title="old")))
        await slow.execute("BEGIN; INSERT INTO books (title) VALUES ('slow')")
        await store.write(unit(create(BOOK, title="new")))
        between = await here(store)
        assert await store.trim(older_than=3600, larger_than=0) == 0
        assert await store.locate(between.token) == between
        await slow.execute("COMMIT")
        assert await since(store, between) == ["slow"]
        assert await store.trim(older_than=3600, larger_than=0) == 3
        assert await store.locate(between.token) == Reset("gap")


async def test_a_copy_in_another_home_begins_a_new_log(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
    async with stranger(postgresql_database) as other:
        await other.execute("UPDATE _logs SET home = 'another server'")
    async with opened(postgresql_database) as store:
        assert await store.locate(place) == Reset("epoch")
        start = await here(store)
        await store.write(unit(create(BOOK, title="b")))
        assert await since(store, start) == ["b"]


async def test_numbers_that_come_again_after_a_crash_are_recognised(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
        await other.execute("UPDATE _changes SET salt = salt + 1")
        assert await store.locate(place) == Reset("epoch")


@pytest.mark.parametrize(
    "deed",
    ['DROP TRIGGER "!crudite log books" ON books', 'ALTER TABLE books DISABLE TRIGGER "!crudite log books"'],
)
async def test_triggers_that_are_gone_come_back_and_end_the_log(postgresql_database: str, deed: str) -> None:
    async with opened(postgresql_database) as store:
        place = (await here(store)).token
    async with stranger(postgresql_database) as other:
        await other.execute(deed)
    async with opened(postgresql_database) as store:
        assert await store.locate(place) == Reset("schema")
        start = await here(store)
        await store.write(unit(create(BOOK, title="a")))
        assert await since(store, start) == ["a"]


async def test_what_a_write_needs_stays_until_its_commit(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        author = key_of(await store.write(unit(create(AUTHOR, name="a"))))
        need = Need("author", select(AUTHOR), author)
        write = msgspec.structs.replace(create(BOOK, title="t"), needs=(need,))
        await other.execute(f"BEGIN; DELETE FROM authors WHERE id = '{author}'")
        writing = asyncio.ensure_future(store.write(unit(write)))
        await until_waiting(other)
        await other.execute("COMMIT")
        with pytest.raises(Refused) as refused:
            await writing
        assert refused.value.kind == "need"


async def test_a_condition_holds_for_the_record_as_others_left_it(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        made = (await store.write(unit(create(BOOK, title="a")))).stored[0]
        await other.execute("BEGIN; UPDATE books SET title = 'b'")
        writing = asyncio.ensure_future(store.write(unit(update(BOOK, made.key, expect=made.version, year=1))))
        await until_waiting(other)
        await other.execute("COMMIT")
        with pytest.raises(Refused) as refused:
            await writing
        assert refused.value.kind == "version"


async def test_a_unit_that_lost_a_deadlock_is_run_again(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        one, two = [key_of(await store.write(unit(create(BOOK, title=t)))) for t in "ab"]
        await other.execute("SET deadlock_timeout = '1h'; BEGIN")  # so that it is the store that loses
        await other.execute(f"UPDATE books SET year = 1 WHERE id = '{two}'")
        both = unit(update(BOOK, one, title="c"), update(BOOK, two, title="d"))
        writing = asyncio.ensure_future(store.write(both))
        async with stranger(postgresql_database) as watching:
            await until_waiting(watching)
        await other.execute(f"UPDATE books SET year = 1 WHERE id = '{one}'; COMMIT")
        await writing
        records = [msgspec.json.decode(r) for r in (await store.page(listing(BOOK, "title"))).records]
        assert [(r["title"], r["year"]) for r in records] == [("c", 1), ("d", 1)]


async def test_a_read_that_lost_a_deadlock_to_who_empties_tables_is_run_again(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a")))
        await other.execute(f"SET deadlock_timeout = '1h'; BEGIN; TRUNCATE {SAMPLE.table}")
        reading = asyncio.ensure_future(store.read((listing(BOOK), listing(SAMPLE))))
        async with stranger(postgresql_database) as watching:
            await until_waiting(watching)
        await other.execute("TRUNCATE books CASCADE; COMMIT")
        _, pages = await reading
        assert [list(page.records) for page in pages] == [[], []]


async def test_a_lock_that_somebody_holds_too_long_is_an_error_of_ours(postgresql_database: str) -> None:
    async with (
        opened(postgresql_database + "?lock_timeout=50") as store,
        stranger(postgresql_database) as other,
    ):
        key = key_of(await store.write(unit(create(BOOK, title="a"))))
        await other.execute("BEGIN; UPDATE books SET title = 'b'")
        with pytest.raises(StoreLocked):
            await store.write(unit(update(BOOK, key, title="c")))
        await other.execute("ROLLBACK")
        await store.write(unit(update(BOOK, key, title="c")))


async def test_a_follower_goes_on_after_its_connection_was_ended(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        batches = store.follow(await here(store))
        await store.write(unit(create(BOOK, title="a")))
        batch = await next_batch(batches)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        with pytest.raises(StoreError):
            await batch.fetch([listing(BOOK)])
        await store.write(unit(create(BOOK, title="b")))
        assert titles(list((await next_batch(batches)).changes)) == ["b"]
        await batches.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("ticks", range(4))
async def test_who_is_woken_and_cancelled_at_the_same_time_is_cancelled(ticks: int) -> None:
    signal = _Wakeup()
    waiting = asyncio.ensure_future(signal.wait_for(60))
    await asyncio.sleep(0)
    signal.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_waiting = waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() == was_waiting


async def test_numbers_go_on_above_a_key_that_was_given(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        book = key_of(await store.write(unit(create(BOOK, title="a"))))
        for key in (7, 3):
            await store.write(unit(create(LOAN, key, book=book)))
        assert key_of(await store.write(unit(create(LOAN, book=book)))) == 8


async def test_a_read_by_key_and_the_first_page_use_the_primary_key(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("INSERT INTO books (title) SELECT n::text FROM generate_series(1, 5000) AS n; ANALYZE")
        explained = await other.fetch("EXPLAIN SELECT id FROM books AS t ORDER BY t.id LIMIT 50")
        assert "books key" in str(explained)
        page = await store.page(listing(BOOK, limit=2))
        assert page.keys == sorted(page.keys)


async def test_names_that_would_be_cut_off_and_newer_databases_are_refused(postgresql_database: str) -> None:
    store = PostgresqlStore(postgresql_database)
    with pytest.raises(StoreOutdated, match="63 bytes"):
        await store.open(catalog(schema("Long", [text("é" * 32)])))
    async with opened(postgresql_database), stranger(postgresql_database) as other:
        await other.execute("UPDATE _schema SET format = 1000")
    with pytest.raises(StoreTooNew):
        await store.open(LIBRARY)


async def test_a_server_that_is_not_there_is_an_error_that_hides_the_password() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/none") as error:
        await PostgresqlStore("postgresql://me:sesame@127.0.0.1:1/none").open(LIBRARY)
    assert "sesame" not in str(error.value)
