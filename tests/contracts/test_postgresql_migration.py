"""PostgreSQL's schema moves from one application to the next one beside others who use it, whole or not at all."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from crudite.errors import StoreError, StoreLocked, StoreOutdated
from crudite.query.plan import Plan
from crudite.schema import Catalog, FieldSpec, FieldType, Reference
from crudite.stores.postgresql import PostgresqlStore
from crudite.stores.postgresql.locks import holds
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    LOAN,
    SAMPLE,
    VISIT,
    catalog,
    create,
    key_of,
    listing,
    plain,
    schema,
    select,
    text,
    unit,
    update,
)
from tests.services.strangers import opened, stranger, until_waiting

PATIENCE = 30.0
TEXT, UUID = FieldType("text"), FieldType("uuid")
OLD = catalog(AUTHOR, BOOK, VISIT)
# everything that a migration can do: a table that goes, one that comes, one that is renamed; a column that goes, comes,
# is renamed and converted; references, unique values, indexes, words
NEXT = catalog(
    schema(
        "Writer",
        [text("full", renamed_from="name"), text("email", nullable=True), text("hash", default="", secret=True),
         text("note", default="", quiet=True), FieldSpec("born", FieldType("integer"), default=1900)],
        renamed_from="Author", search=("full",),
    ),
    schema(
        "Book",
        [text("title", unique=True), FieldSpec("year", TEXT, nullable=True, indexed=True),
         FieldSpec("author", UUID, nullable=True, reference=Reference("Writer", on_delete="clear"))],
    ),
    schema("Shelf", [text("name")]),
)  # fmt: skip


async def everything(connection: Any) -> dict[str, Any]:
    """The schema as the database describes it, and all records."""
    columns = await connection.fetch(
        "SELECT table_name, ordinal_position, column_name, data_type, collation_name, is_nullable, column_default, "
        "is_identity FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    found = {
        "columns": columns,
        "constraints": await connection.fetch(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
        ),
        "indexes": await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
        "triggers": await connection.fetch(
            "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), prosrc, tgenabled::text FROM "
            "pg_trigger t JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal ORDER BY 1, 2"
        ),
        "functions": await connection.fetch(
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
        ),
    }
    for table in sorted({row[0] for row in columns}):
        rows = await connection.fetch(f'SELECT * FROM "{table}" AS t ORDER BY t::text')
        found[f"rows of {table}"] = [tuple(row) for row in rows]
    return found


async def filled(url: str, catalog: Catalog = LIBRARY) -> None:
    """A library with a few records."""
    async with opened(url, catalog) as store:
        author = key_of(await store.write(unit(create(AUTHOR, name="a", email="e", hash="h"))))
        book = key_of(await store.write(unit(create(BOOK, title="t", year=7, author=author))))
        if "Loan" in catalog:
            await store.write(unit(create(LOAN, book=book, by=author)))
        await store.write(unit(create(VISIT, page="/")))


async def test_a_migration_that_fails_at_any_statement_leaves_everything_as_it_was(postgresql_database: str) -> None:
    await filled(postgresql_database, OLD)
    async with stranger(postgresql_database) as other:
        before = await everything(other)
        # a trigger on every statement that changes the schema; the sequence counts on when the transaction is undone
        await other.execute(
            "CREATE SCHEMA fault; CREATE SEQUENCE fault.count; CREATE TABLE fault.at (n int); INSERT INTO fault.at "
            "VALUES (0); CREATE FUNCTION fault.fail() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF "
            "nextval('fault.count') = (SELECT n FROM fault.at) THEN RAISE EXCEPTION 'planted'; END IF; END $$; "
            "CREATE EVENT TRIGGER fault ON ddl_command_end EXECUTE FUNCTION fault.fail()"
        )
        failures = 0
        while True:
            await other.execute(f"UPDATE fault.at SET n = {failures + 1}; SELECT setval('fault.count', 1, false)")
            try:
                steps = await PostgresqlStore(postgresql_database).migrate(NEXT, lose=True)
            except StoreError as error:
                if "planted" not in str(error):
                    raise
                failures += 1
                assert await everything(other) == before
            else:
                break
        assert failures >= sum(len(step.sql) for step in steps) > 15
        await other.execute("DROP EVENT TRIGGER fault")
    async with opened(postgresql_database, NEXT, migrate=False) as store:
        (writer,) = (await store.page(listing(NEXT["Writer"]))).records
        assert (plain(writer)["full"], plain(writer)["born"]) == ("a", 1900)
        (book,) = (await store.page(listing(NEXT["Book"]))).records
        assert plain(book)["year"] == "7"


async def test_one_process_migrates_and_the_others_find_nothing_to_do(
    postgresql_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(postgresql_database)
    caplog.set_level(logging.WARNING, "crudite.store")
    stores = [PostgresqlStore(postgresql_database) for _ in range(3)]
    async with stranger(postgresql_database) as other:
        await other.execute("BEGIN; LOCK TABLE authors IN ACCESS SHARE MODE")  # holds up whoever is first
        migrating = [asyncio.ensure_future(store.migrate(NEXT, lose=True)) for store in stores]
        await until_waiting(other, 3)
        assert "another process migrates the database" not in caplog.text
        async with asyncio.timeout(PATIENCE):
            while caplog.text.count("another process migrates the database; waiting for it") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await other.execute("COMMIT")
        taken = await asyncio.wait_for(asyncio.gather(*migrating), PATIENCE)
    assert sorted(bool(steps) for steps in taken) == [False, False, True]


async def test_a_migration_of_another_process_that_does_not_end_is_told(postgresql_database: str) -> None:
    async with stranger(postgresql_database) as other:
        await other.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('crudite migration'))")
        store = PostgresqlStore(postgresql_database + "?lock_timeout=20")
        with pytest.raises(StoreLocked, match=r"another process has been migrating the database for 0\.4 seconds"):
            await store.migrate(LIBRARY)
        await other.execute("ROLLBACK")
        assert await store.migrate(LIBRARY)


async def test_what_ends_slow_statements_of_requests_ends_no_migration(postgresql_database: str) -> None:
    async with stranger(postgresql_database) as other:
        await other.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('crudite migration'))")
        store = PostgresqlStore(postgresql_database + "?lock_timeout=20&Statement_timeout=10&transaction_timeout=10")
        with pytest.raises(StoreLocked, match="another process has been migrating"):
            await store.migrate(LIBRARY)


async def test_a_migration_never_queues_everybody_behind_it_and_comes_to_an_end(
    postgresql_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a table that a long reader has lets nobody else read it: so it does not wait for long."""
    await filled(postgresql_database)
    async with stranger(postgresql_database) as slow, opened(postgresql_database) as store:
        await slow.execute("BEGIN; SELECT count(*) FROM books")
        migration = PostgresqlStore(postgresql_database + "?lock_timeout=50")
        migrating = asyncio.ensure_future(migration.migrate(NEXT, lose=True))
        for _ in range(100):
            assert len((await store.page(listing(BOOK))).keys) == 1
        with pytest.raises(StoreLocked, match=r"15 times: held by process \d+ \(stranger, idle in transaction\) since"):
            await asyncio.wait_for(migrating, PATIENCE)
        assert "the migration waits for a lock, and tries again: held by process" in caplog.text
        assert await store.plan(LIBRARY) == []
        migrating = asyncio.ensure_future(migration.migrate(NEXT, lose=True))
        async with stranger(postgresql_database) as other:
            await until_waiting(other)
        await slow.execute("COMMIT")
        assert await asyncio.wait_for(migrating, PATIENCE)


async def test_a_writer_in_the_middle_of_a_transaction_is_waited_for_and_not_lost(postgresql_database: str) -> None:
    await filled(postgresql_database)
    new = replace_fields(BOOK, text("shelf", default="top"))
    async with stranger(postgresql_database) as writer, stranger(postgresql_database) as other:
        await writer.execute("BEGIN; INSERT INTO books (title) VALUES ('u')")
        migrating = asyncio.ensure_future(PostgresqlStore(postgresql_database).migrate(new))
        await until_waiting(other)
        await writer.execute("UPDATE authors SET name = 'b'; COMMIT")
        await asyncio.wait_for(migrating, PATIENCE)
        assert await other.fetchval("SELECT count(*) FROM books WHERE shelf = 'top'") == 2
        assert await other.fetchval("SELECT name FROM authors") == "b"


def replace_fields(changed: Any, *fields: FieldSpec) -> Catalog:
    """The library, in which one resource has further fields."""
    names = list(changed.fields)
    own = [changed.fields[name] for name in names[1:-3]]
    system = [changed.fields[name] for name in (names[0], *names[-3:])]
    whole = {field.name: field for field in (system[0], *own, *fields, *system[1:])}
    return Catalog({**LIBRARY, changed.name: replace(changed, fields=whole)})


async def test_what_does_not_change_is_not_touched(postgresql_database: str) -> None:
    await filled(postgresql_database)
    new = replace_fields(SAMPLE, text("more", nullable=True), FieldSpec("size", FieldType("boolean"), default=False))
    (step,) = await PostgresqlStore(postgresql_database).plan(new)
    assert step.description == "samples: add more; add size"
    assert step.sql == (
        'ALTER TABLE "samples" ADD COLUMN "more" text COLLATE "C"',
        'ALTER TABLE "samples" ADD COLUMN "size" boolean NOT NULL DEFAULT (\'false\'::boolean)',
    )
    async with stranger(postgresql_database) as other:
        await other.execute("INSERT INTO samples (text) VALUES ('a')")
        files = "SELECT relfilenode FROM pg_class WHERE relname = 'samples'"
        before = await other.fetchval(files)
        async with opened(postgresql_database, new) as store:
            (record,) = (await store.page(listing(new["Sample"]))).records
            assert (plain(record)["more"], plain(record)["size"]) == (None, False)
        assert await other.fetchval(files) == before, "the table was written anew"


async def test_a_check_that_somebody_took_away_comes_back_with_the_next_change(postgresql_database: str) -> None:
    await filled(postgresql_database)
    async with stranger(postgresql_database) as other:
        await other.execute('ALTER TABLE samples DROP CONSTRAINT "choice"')
        await PostgresqlStore(postgresql_database).migrate(replace_fields(SAMPLE, text("more", nullable=True)))
        with pytest.raises(asyncpg.CheckViolationError):
            await other.execute("INSERT INTO samples (choice) VALUES ('blue')")


def thing(*fields: FieldSpec) -> Any:
    """A resource with many records."""
    return schema("Thing", fields, key="integer", logged=False)


async def test_locks_that_hold_up_many_are_named_before_they_are_taken(
    postgresql_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    number, owner = FieldType("integer"), schema("Owner", [text("x")], key="integer", logged=False)
    few = thing(FieldSpec("n", number), text("kind", default="a"), FieldSpec("owner", number, nullable=True))
    more = thing(
        FieldSpec("n", TEXT),
        FieldSpec("kind", FieldType("text", choices=("a", "b")), default="a", indexed=True),
        FieldSpec("owner", number, nullable=True, reference=Reference("Owner")),
    )
    old, new = catalog(owner, few), catalog(owner, more)
    async with opened(postgresql_database, old), stranger(postgresql_database) as other:
        await other.execute("INSERT INTO things (n) SELECT n FROM generate_series(1, 99999) AS n")
        assert not any(step.holds_up for step in await PostgresqlStore(postgresql_database).plan(new))
        await other.execute("INSERT INTO things (n) VALUES (0)")
    table, references = await PostgresqlStore(postgresql_database).plan(new)
    assert table.description == "things: make n a text; make kind one of 'a', 'b'"
    assert table.holds_up == (
        "takes an ACCESS EXCLUSIVE lock on things: reads and writes wait while 100,000 records are written anew",
        "takes an ACCESS EXCLUSIVE lock on things: reads and writes wait while 100,000 records are read",
        "takes a SHARE lock on things: writes wait while 100,000 records are put into an index",
    )
    assert references.holds_up == (
        "takes a SHARE ROW EXCLUSIVE lock on things: writes wait while 100,000 records are looked up",
    )
    await PostgresqlStore(postgresql_database).migrate(new)
    assert caplog.text.count("takes a SHARE lock on things") == 1


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ('ALTER TABLE "a""b" ALTER "x" TYPE text USING "x"::text', [('a"b', "reads and writes", "written anew")]),
        ('ALTER TABLE "a" ALTER "x" SET NOT NULL', [("a", "reads and writes", "read")]),
        ('ALTER TABLE "a" ADD CONSTRAINT "x" CHECK ("x" > 0)', [("a", "reads and writes", "read")]),
        ('ALTER TABLE "a" ADD COLUMN "x" bigint CONSTRAINT "x" CHECK ("x" > 0)', [("a", "reads and writes", "read")]),
        ('ALTER TABLE "a" ADD COLUMN "x" bigint DEFAULT (clock_timestamp())',
         [("a", "reads and writes", "written anew")]),
        ('ALTER TABLE "a" ADD COLUMN "x" text DEFAULT (\'\')', []),
        ('ALTER TABLE "a" ALTER "x" DROP NOT NULL', []),
        ('ALTER TABLE "a" RENAME TO "b"', []),
        ('DROP INDEX "a by x"', []),
        ('CREATE UNIQUE INDEX "a by x" ON "a" ("x")', [("a", "writes", "put into an index")]),
        ('ALTER TABLE "a" ADD CONSTRAINT "r" FOREIGN KEY ("x") REFERENCES "a" ("id")', [("a", "writes", "looked up")]),
        ('ALTER TABLE "a" ADD CONSTRAINT "r" FOREIGN KEY ("x") REFERENCES "b" ("id")',
         [("a", "writes", "looked up"), ("b", "writes", "looked up")]),
    ],
)  # fmt: skip
def test_each_statement_says_whom_it_holds_up(statement: str, told: list[tuple[str, str, str]]) -> None:
    assert [(hold.table, hold.who, hold.what) for hold in holds(statement)] == told


async def test_columns_have_the_types_of_the_database(postgresql_database: str) -> None:
    async with opened(postgresql_database), stranger(postgresql_database) as other:
        rows = await other.fetch(
            "SELECT column_name, data_type, numeric_precision, numeric_scale, collation_name, is_nullable "
            "FROM information_schema.columns WHERE table_name = 'samples'"
        )
        found = {row[0]: tuple(row)[1:] for row in rows}
        assert found == {
            "id": ("uuid", None, None, None, "NO"),
            "text": ("text", None, None, "C", "YES"),
            "integer": ("bigint", 64, 0, None, "YES"),
            "bigint": ("bigint", 64, 0, None, "YES"),
            "float": ("double precision", 53, None, None, "YES"),
            "decimal": ("numeric", 18, 4, None, "YES"),
            "money": ("numeric", 18, 2, None, "NO"),
            "boolean": ("boolean", None, None, None, "YES"),
            "date": ("date", None, None, None, "YES"),
            "time": ("time without time zone", None, None, None, "YES"),
            "datetime": ("timestamp with time zone", None, None, None, "YES"),
            "uuid": ("uuid", None, None, None, "YES"),
            "choice": ("text", None, None, "C", "NO"),
            "json": ("jsonb", None, None, None, "YES"),
            "tags": ("jsonb", None, None, None, "NO"),
            "version": ("bigint", 64, 0, None, "NO"),
            "created_at": ("timestamp with time zone", None, None, None, "NO"),
            "updated_at": ("timestamp with time zone", None, None, None, "NO"),
        }
        rules = await other.fetch(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE "
            "contype = 'f' OR (contype = 'c' AND conname = 'choice') ORDER BY 1, 2"
        )
        assert [tuple(row) for row in rules] == [
            ("books", "author reference", "FOREIGN KEY (author) REFERENCES authors(id)"),
            ("loans", "book reference", "FOREIGN KEY (book) REFERENCES books(id) ON DELETE CASCADE"),
            ("loans", "by reference", "FOREIGN KEY (by) REFERENCES authors(id) ON DELETE SET NULL"),
            (
                "samples", "choice",
                "CHECK ((choice = ANY (ARRAY[('red'::text COLLATE \"C\"), ('green'::text COLLATE \"C\")])))",
            ),
        ]  # fmt: skip
        unique = (
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%' "
            "AND tablename !~ '^_' ORDER BY 1"
        )
        assert [row[0] for row in await other.fetch(unique)] == [
            "authors key", "authors unique email", "books key", "books unique author title", "loans key",
            "samples key", "visits key",
        ]  # fmt: skip


async def test_a_process_goes_on_while_another_one_brings_the_schema_forward(postgresql_database: str) -> None:
    """A rolling deploy: what the old process has prepared is for tables that have changed, and nobody hears of it."""
    new = replace_fields(BOOK, text("shelf", default="top"), FieldSpec("pages", FieldType("integer"), nullable=True))
    async with opened(postgresql_database) as old, opened(postgresql_database) as busy:
        key = key_of(await old.write(unit(create(BOOK, title="a", year=1))))
        selection, plans = select(BOOK), [listing(BOOK), Plan(selection=select(BOOK), keys=(key,))]

        async def work(store: PostgresqlStore, n: int) -> None:
            assert (await store.lookup(selection, key)) is not None
            assert (await store.page(listing(BOOK))).keys
            assert [len(page.keys) for page in (await store.read(plans)).pages][1] == 1
            await store.write(unit(update(BOOK, key, year=n)))
            await store.write(unit(create(BOOK, title=f"{store is busy} {n}")))

        for n in range(8):  # often enough for the driver and the server to prepare and cache
            await work(old, n)
        ended = asyncio.Event()

        async def keep_busy() -> int:
            n = 100
            while not ended.is_set():
                n += 1
                await work(busy, n)
            return n

        working = asyncio.ensure_future(keep_busy())
        migrated = await PostgresqlStore(postgresql_database).migrate(new)
        assert len(migrated) == 1
        back = await PostgresqlStore(postgresql_database).migrate(LIBRARY, lose=True)
        assert len(back) == 1
        await PostgresqlStore(postgresql_database).migrate(new)
        for n in range(8, 12):
            await work(old, n)
        ended.set()
        assert await working > 100
        async with opened(postgresql_database, new) as fresh:
            record = plain((await fresh.page(listing(new["Book"], limit=1))).records[0])
            assert (record["shelf"], record["pages"]) == ("top", None)


async def test_an_index_and_a_reference_hold_up_no_reader_and_other_tables_are_left_alone(
    postgresql_database: str,
) -> None:
    await filled(postgresql_database)
    fields = {**BOOK.fields, "title": replace(BOOK.fields["title"], indexed=True)}
    new = Catalog({**LIBRARY, "Book": replace(BOOK, fields=fields)})
    async with stranger(postgresql_database) as reader, stranger(postgresql_database) as writer:
        await reader.execute("BEGIN; SELECT count(*) FROM books")
        await writer.execute("BEGIN; UPDATE authors SET name = 'b'; SELECT count(*) FROM loans")
        (step,) = await asyncio.wait_for(PostgresqlStore(postgresql_database).migrate(new), PATIENCE)
        assert step.description == "books: make an index on title"
        await writer.execute("COMMIT")
        await reader.execute("COMMIT")
        assert await reader.fetchval("SELECT name FROM authors") == "b"


async def test_what_must_not_be_taken_changes_nothing_and_waits_for_nobody(postgresql_database: str) -> None:
    await filled(postgresql_database)
    async with stranger(postgresql_database) as other:
        before = await everything(other)
        await other.execute("BEGIN; LOCK TABLE authors, books IN ROW EXCLUSIVE MODE")
        losing = catalog(AUTHOR, schema("Book", [FieldSpec("title", FieldType("date"), nullable=True)]))
        with pytest.raises(StoreOutdated, match="1 values of title"):
            await asyncio.wait_for(PostgresqlStore(postgresql_database).migrate(losing), PATIENCE)
        await other.execute("ROLLBACK")
        assert await everything(other) == before
