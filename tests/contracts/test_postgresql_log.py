"""Whoever writes into a PostgreSQL database, and however, a reader of the log loses nothing and turns nothing round."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite.changes import Change, Position, Reset
from crudite.errors import StoreError
from crudite.query.plan import Aggregate, Measure, Plan
from crudite.stores.base import Page
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
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
from tests.services.strangers import cut, following, here, opened, since, stranger, titles, until, until_waiting

# ------------------------------------------------------------------ readers


class ByNumber:
    """What one would write first: the rows after the last number."""

    def __init__(self) -> None:
        self.last = 0
        self.told: list[str] = []

    async def read(self, connection: Any) -> None:
        """Takes what is new."""
        rows = await connection.fetch("SELECT seq, after FROM _changes WHERE seq > $1 ORDER BY seq", self.last)
        self.last = max([self.last, *(row["seq"] for row in rows)])
        self.told += [msgspec.json.decode(row["after"])["title"] for row in rows]


class ByOldestRunning:
    """What one would write next: what is before every running transaction, in the order of transactions."""

    def __init__(self) -> None:
        self.last = "0"
        self.told: list[str] = []

    async def read(self, connection: Any) -> None:
        """Takes what is new."""
        rows = await connection.fetch(
            "SELECT tx::text, after FROM _changes WHERE tx > $1::text::xid8 "
            "AND tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY tx, seq",
            self.last,
        )
        self.last = rows[-1]["tx"] if rows else self.last
        self.told += [msgspec.json.decode(row["after"])["title"] for row in rows]


async def test_a_reader_by_number_loses_and_one_by_the_oldest_transaction_turns_round_and_ours_does_neither(
    postgresql_database: str,
) -> None:
    async with opened(postgresql_database) as store, AsyncExitStack() as stack:
        slow = await stack.enter_async_context(stranger(postgresql_database))
        eye = await stack.enter_async_context(stranger(postgresql_database))
        shared = key_of(await store.write(unit(create(BOOK, title="0"))))
        naive, patient = ByNumber(), ByOldestRunning()
        batches = await stack.enter_async_context(following(store, await here(store)))
        for reader in (naive, patient):
            await reader.read(eye)
            assert reader.told == ["0"]

        await slow.execute("BEGIN; INSERT INTO books (title) VALUES ('slow')")
        await store.write(unit(update(BOOK, shared, title="10")))
        told = titles((await next_batch(batches)).changes)
        assert told == ["10"], "nobody waits for the slow one"
        for reader in (naive, patient):
            await reader.read(eye)

        await slow.execute(f"UPDATE books SET title = '20' WHERE id = '{shared}'; COMMIT")
        told += titles((await next_batch(batches)).changes)
        for reader in (naive, patient):
            await reader.read(eye)
        assert naive.told == ["0", "10", "20"], "it never hears of what took its number early"
        assert patient.told == ["0", "slow", "20", "10"], "it ends with what has been overwritten"
        assert told == ["10", "slow", "20"]


# ---------------------------------------------------------------- retention


# of two other programs: most of what they begin they end, or the log could never be cut
DEEDS_OF_OTHERS = st.tuples(st.sampled_from(["insert", "commit", "commit", "rollback"]), st.integers(0, 1))
STEPS = st.lists(
    DEEDS_OF_OTHERS | st.tuples(st.sampled_from(["write", "look", "look", "trim", "trim"]), st.just(0)),
    min_size=12,
    max_size=40,
)


def test_from_every_position_the_log_leads_to_all_that_was_committed_since_or_to_a_reset(postgresql: str) -> None:
    schema = f"s{uuid4().hex}"

    @given(steps=STEPS)
    @settings(max_examples=settings().max_examples // 2)
    def leads_on(steps: list[tuple[str, int]]) -> None:
        asyncio.run(_lead_on(postgresql, schema, steps))

    leads_on()


async def _lead_on(server: str, schema: str, steps: list[tuple[str, int]]) -> None:
    """Transactions that begin, write and end in any order, positions taken and the log cut anywhere between."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(f"{server}?schema={schema}"))
        others = [await stack.enter_async_context(stranger(server, schema)) for _ in range(2)]
        pending: list[list[str]] = [[], []]
        committed: list[str] = []
        looks: list[tuple[Position, int]] = []
        for n, (deed, who) in enumerate(steps):
            match deed:
                case "insert":
                    if not pending[who]:
                        await others[who].execute("BEGIN")
                    await others[who].execute("INSERT INTO books (title) VALUES ($1)", str(n))
                    pending[who].append(str(n))
                case "commit" | "rollback":
                    await others[who].execute(deed)
                    committed += pending[who] if deed == "commit" else []
                    pending[who] = []
                case "write":
                    await store.write(unit(create(BOOK, title=str(n))))
                    committed.append(str(n))
                case "look":
                    looks.append((await here(store), len(committed)))
                case _:
                    await cut(store)
        now = await here(store)
        for position, known in looks:
            located = await store.locate(position.token)
            if isinstance(located, Reset):
                assert located.reason == "gap"
                assert isinstance(await store.changes(position, now, 1000), Reset)
            else:
                assert sorted(await since(store, located)) == sorted(committed[known:])
        assert await store.locate(now.token) == now, "where the log ends one can always go on"


async def test_who_begins_to_read_while_the_log_is_emptied_gets_a_gap_and_never_a_part(
    postgresql_database: str,
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        start = await here(store)
        await store.write(unit(create(BOOK, title="a")))
        await other.execute("SELECT setval('_numbers', 1::bigint << 40)")  # the next table's turn
        await store.write(unit(create(BOOK, title="b")))
        end = await here(store)
        # what trimming does, stopped before its commit
        await other.execute("""BEGIN; LOCK TABLE _changes_0 IN ACCESS EXCLUSIVE MODE;
UPDATE _logs SET (trim_tx, trim_seq, trim_salt) = (SELECT tx, seq, salt FROM _changes_0);
TRUNCATE _changes_0""")
        reading = asyncio.ensure_future(store.changes(start, end, 10))
        locating = asyncio.ensure_future(store.locate(start.token))
        await until_waiting(other)
        await other.execute("COMMIT")
        assert await reading == Reset("gap")
        assert await locating == Reset("gap")


async def test_the_log_is_not_emptied_under_a_reader_and_nobody_waits_for_him(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        start = await here(store)
        await store.write(unit(create(BOOK, title="a")))
        async with following(store, start) as batches:
            batch = await next_batch(batches)
            assert titles(batch.changes) == ["a"]
            assert await cut(store) == 0  # the batch holds its snapshot
            await store.write(unit(create(BOOK, title="b")))
            (page,) = await batch.fetch([listing(BOOK)])
            assert len(page.keys) == 1
            assert titles((await next_batch(batches)).changes) == ["b"]
        assert await cut(store) == 2


async def test_what_is_trimmed_leaves_no_room_taken_and_the_log_goes_round_and_round(postgresql_database: str) -> None:
    size = "SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent IN ('_changes'::regclass, "
    size += "'_commits'::regclass)"
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        for turn in range(9):
            before = await here(store)
            for n in range(3):
                await store.write(unit(create(BOOK, title=f"{turn} {n}")))
            assert await since(store, before) == [f"{turn} {n}" for n in range(3)]
            assert await other.fetchval("SELECT max(seq) >> 40 FROM _changes") == turn
            end = await here(store)
            assert await cut(store) == 3
            assert await other.fetchval(size) == 0
            assert await here(store) == end
            assert await store.locate(before.token) == Reset("gap")


async def test_by_size_the_oldest_tables_go_one_at_a_time(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store:
        looks, gone = [await here(store)], []
        for n in range(6):
            await store.write(unit(create(SAMPLE, text=random.Random(n).randbytes(125_000).hex())))
            looks.append(await here(store))
            gone.append(await store.trim(older_than=3600, larger_than=700_000))
        assert gone == [0, 0, 1, 1, 1, 1]
        found = [await store.locate(look.token) for look in looks]
        assert found == [*[Reset("gap")] * 4, *looks[4:]]


async def test_by_age_a_table_goes_when_its_last_row_is_too_old(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        start = await here(store)
        await store.write(unit(create(BOOK, title="old")))
        await other.execute("UPDATE _changes SET ts = ts - interval '2 hours'")
        assert await store.trim(older_than=3 * 3600, larger_than=10**9) == 0
        between = await here(store)
        await store.write(unit(create(BOOK, title="young")))
        assert await store.trim(older_than=3600, larger_than=10**9) == 1
        assert await store.locate(start.token) == Reset("gap")
        assert await since(store, between) == ["young"]


FORMER = {
    "first": """DROP TABLE _changes, _commits, _alive; DROP SEQUENCE _numbers;
ALTER TABLE _logs DROP triggers, DROP wanted; UPDATE _schema SET format = 1;
CREATE TABLE _changes (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
tx xid8 NOT NULL DEFAULT pg_current_xact_id(), salt bigint NOT NULL DEFAULT 1,
ts timestamptz NOT NULL DEFAULT clock_timestamp(), tbl text NOT NULL, pk text NOT NULL, before text, after text);
CREATE TABLE _commits (tx xid8 NOT NULL PRIMARY KEY, first bigint NOT NULL, last bigint NOT NULL, actor text,
request text, at timestamptz NOT NULL DEFAULT now())""",
    "second": """DROP TABLE _commits; UPDATE _schema SET format = 2;
CREATE TABLE _commits (tx xid8 NOT NULL, first bigint NOT NULL, last bigint NOT NULL, actor text,
request text, at timestamptz NOT NULL DEFAULT now()) PARTITION BY LIST (((first >> 40) % 4));
CREATE TABLE _commits_0 PARTITION OF _commits FOR VALUES IN (0)""",
}


@pytest.mark.parametrize("back", FORMER.values(), ids=FORMER)
async def test_a_database_of_a_former_format_is_brought_to_this_one_and_its_log_ends(
    postgresql_database: str, back: str
) -> None:
    async with opened(postgresql_database) as store:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
    async with stranger(postgresql_database) as other:
        await other.execute(back)
        await other.execute("INSERT INTO books (title) VALUES ('b')")
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        assert await store.locate(place) == Reset("schema")
        start = await here(store)
        await store.write(unit(create(BOOK, title="c")))
        assert await since(store, start) == ["c"]
        assert await other.fetchval("SELECT format FROM _schema") == 3
        assert len((await store.page(listing(BOOK))).keys) == 3


# ----------------------------------------------------------------- triggers


DEEDS = {
    "dropped": 'DROP TRIGGER "!crudite log books" ON books',
    "switched off": 'ALTER TABLE books DISABLE TRIGGER "!crudite log books"',
    "another one": 'CREATE OR REPLACE FUNCTION "!crudite log books"() RETURNS trigger LANGUAGE plpgsql '
    "AS 'BEGIN RETURN NULL; END'",
    "off and on again around a load": "BEGIN; ALTER TABLE books DISABLE TRIGGER ALL; "
    "INSERT INTO books (title) VALUES ('unseen'); ALTER TABLE books ENABLE TRIGGER ALL; COMMIT",
    "a table made anew": "BEGIN; CREATE TABLE anew (LIKE books INCLUDING ALL); DROP TABLE books CASCADE; "
    "ALTER TABLE anew RENAME TO books; COMMIT",
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_triggers_that_are_touched_are_put_back_while_the_application_runs(
    postgresql_database: str, deed: str
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a")))
        place = (await here(store)).token
        async with following(store, await here(store)) as batches:
            await other.execute(deed)
            assert (await next_batch(batches)).reset == Reset("schema")
            assert await store.locate(place) == Reset("schema")
            await other.execute("INSERT INTO books (title) VALUES ('b')")
            assert titles((await next_batch(batches)).changes) == ["b"]


async def test_what_others_do_to_what_is_theirs_resets_nobody(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        place = await here(store)
        await other.execute("""CREATE TABLE theirs (x int); CREATE INDEX theirs_too ON books (year);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER theirs AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE books DISABLE TRIGGER theirs; GRANT SELECT ON books TO PUBLIC; ANALYZE books""")
        await other.execute("VACUUM FULL pg_trigger")
        async with opened(postgresql_database) as fresh, following(fresh, place) as batches:
            await other.execute("INSERT INTO books (title) VALUES ('b')")
            batch = await next_batch(batches)
            assert (batch.reset, titles(batch.changes)) == (None, ["b"])


async def test_two_versions_of_the_application_do_not_take_the_triggers_from_each_other(
    postgresql_database: str,
) -> None:
    wider = schema("Author", [*list(AUTHOR.fields.values())[1:-3], text("city", default="")])
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(stranger(postgresql_database))
        old = await stack.enter_async_context(opened(postgresql_database))
        new = await stack.enter_async_context(
            opened(postgresql_database, catalog(*{**LIBRARY, "Author": wider}.values()))
        )
        logs = await other.fetchval("SELECT count(*) FROM _logs")
        for n in range(3):
            for store in (old, new):
                async with following(store, await here(store)) as batches:  # who begins to follow looks at once
                    await other.execute(f"INSERT INTO books (title) VALUES ('{n}')")
                    batch = await next_batch(batches)
                    assert (batch.reset, titles(batch.changes)) == (None, [f"{n}"])
        assert await other.fetchval("SELECT count(*) FROM _logs") == logs

        async with following(old, await here(old)) as olds, following(new, await here(new)) as news:
            await other.execute(DEEDS["dropped"])
            assert (await next_batch(olds)).reset == Reset("schema")
            assert (await next_batch(news)).reset == Reset("schema")
            await _is_there(other, "!crudite log books")
        for store in (old, new):
            async with following(store, await here(store)) as batches:
                await other.execute(f"INSERT INTO authors (name, note) VALUES ('ann', '{store is old}')")
                batch = await next_batch(batches)
                assert batch.reset is None
                assert [change.after and change.after["city"] for change in batch.changes] == [""]


async def _is_there(connection: Any, trigger: str) -> None:
    """Returns when a trigger is there."""
    async with asyncio.timeout(10):
        while not await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = $1", trigger):
            pass  # asking is waiting


async def test_a_trigger_of_another_program_that_changes_the_record_again_comes_after_in_the_log(
    postgresql_database: str,
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await other.execute("""CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE books SET title = 'again' WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION again();
CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
NEW.year := coalesce(OLD.year, 0) + 7; RETURN NEW; END $$;
CREATE TRIGGER z BEFORE UPDATE ON books FOR EACH ROW EXECUTE FUNCTION louder()""")
        start = await here(store)
        key = key_of(await store.write(unit(create(BOOK, title="first"))))
        assert await since(store, start) == ["first", "again"]
        start = await here(store)
        await other.execute("UPDATE books SET author = author")  # only the other trigger changes anything
        changes = await store.changes(start, await here(store), 10)
        assert not isinstance(changes, Reset)
        (change,) = changes
        assert isinstance(change, Change)
        assert change.key == key
        assert change.before is not None
        assert change.after is not None
        assert change.after["version"] == change.before["version"] + 1


async def test_what_is_replicated_from_elsewhere_is_in_the_log(postgresql_database: str) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        start = await here(store)
        await other.execute("SET session_replication_role = replica; INSERT INTO books (title) VALUES ('copied')")
        assert await since(store, start) == ["copied"]


# ------------------------------------------- tables that are emptied or rewritten


COUNTED = Plan(selection=select(BOOK), aggregate=Aggregate((Measure("count"),)))
ANEW = {
    "emptied": "TRUNCATE books CASCADE",
    "rewritten": "ALTER TABLE books ADD theirs uuid DEFAULT gen_random_uuid()",
}


def books_in(page: Page) -> int:
    """How many records a page has, or what it has counted."""
    return len(page.keys) if page.keys or not page.records else int(page.records[0])


@pytest.mark.parametrize("deed", ANEW.values(), ids=ANEW)
@pytest.mark.parametrize("plan", [listing(BOOK), COUNTED], ids=["listed", "counted"])
async def test_what_is_read_at_a_batch_is_not_nothing_because_the_table_has_become_another_one(
    postgresql_database: str, deed: str, plan: Plan
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        start = await here(store)
        await store.write(unit(create(BOOK, title="a")))
        async with following(store, start) as batches:
            batch = await next_batch(batches)
            await other.execute(deed)
            with pytest.raises(StoreError, match="emptied or rewritten"):
                await batch.fetch([plan])
        left = await other.fetchval("SELECT count(*)::int FROM books")
        async with following(store, batch.position) as batches:  # begun again, as whoever follows does
            await store.write(unit(create(AUTHOR, name="b")))
            batch = await next_batch(batches)
            assert [change.kind for change in batch.changes] == [*["deleted"] * (1 - left), "created"]
            (page,) = await batch.fetch([plan])
            assert books_in(page) == left


@pytest.mark.parametrize("deed", ANEW.values(), ids=ANEW)
async def test_a_page_and_its_position_agree_when_the_table_becomes_another_one_before_it_is_read(
    postgresql_database: str, deed: str
) -> None:
    async with opened(postgresql_database) as store, stranger(postgresql_database) as other:
        await store.write(unit(create(BOOK, title="a")))
        async with other.transaction():
            await other.execute(deed)
            reading = asyncio.ensure_future(store.read([listing(BOOK)]))
            async with stranger(postgresql_database) as eye:
                await until_waiting(eye)
        position, (page,) = await reading
        assert books_in(page) == await other.fetchval("SELECT count(*) FROM books")
        assert await since(store, position) == []


# --------------------------------------------------------- looking for news


async def test_a_url_says_how_often_the_log_is_looked_at_if_nothing_wakes_who_follows(postgresql_database: str) -> None:
    ours = "FROM pg_stat_activity WHERE application_name = 'crudite' AND datname = current_database()"
    last_asked = f"SELECT max(state_change) {ours}"
    async with (
        opened(f"{postgresql_database}?poll=3600") as store,
        stranger(postgresql_database) as other,
        following(store, await here(store)) as batches,
    ):
        coming = asyncio.ensure_future(next_batch(batches))
        await until(other, f"SELECT count(*) = 2 {ours} AND query LIKE 'SELECT l.id%' AND state = 'idle'")
        await other.execute("INSERT INTO books (title) VALUES ('a')")
        before = await other.fetchval(last_asked)
        for _ in range(300):  # by default it would look a few times meanwhile
            assert await other.fetchval(last_asked) == before
        store.look()
        assert titles((await coming).changes) == ["a"]
