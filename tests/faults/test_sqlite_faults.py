"""What may happen to the file, the disk and the process, and what is promised then."""

# A test may block its own event loop.
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from crudite.changes import Commit, Refused, Reset
from crudite.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
)
from crudite.query.plan import Plan, everything
from crudite.stores.sqlite import SqliteStore, connections, follow, reads
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    SAMPLE,
    create,
    delete,
    key_of,
    listing,
    unit,
    update,
    where,
)
from crudite.testing.store_base import PATIENCE, next_batch
from tests.faults import sqlite_victim
from tests.faults.sqlite_files import log_must_replay, log_since, run_apsw, states

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "data.db"


async def eventually(attempt: Callable[[], Awaitable[Any]], *errors: type[Exception]) -> Any:
    """The result of an attempt that is repeated as long as it raises one of the errors."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await attempt()
            except errors:
                await asyncio.sleep(0)


async def test_a_killed_process_leaves_all_that_it_acknowledged_and_a_log_that_agrees(path: Path) -> None:
    async with asyncio.timeout(60):
        for _ in range(3):
            victim = subprocess.Popen(
                [sys.executable, sqlite_victim.__file__, str(path)], stdout=subprocess.PIPE, text=True
            )
            assert victim.stdout is not None
            acknowledged = [victim.stdout.readline().strip() for _ in range(400)]
            victim.kill()
            acknowledged += victim.stdout.read().splitlines()[:-1]  # the last line may be a part of one
            victim.wait()
            victim.stdout.close()
            store = SqliteStore(path)
            await store.open(LIBRARY)
            books = (await states(store, LIBRARY))["Book"].values()
            titles = {book["title"] for book in books}
            assert {f"{title}{mark}" for title in acknowledged for mark in ("", "'")} <= titles
            assert {title.rstrip("'") for title in titles} == {title for title in titles if "'" not in title}
            assert len(await all_changes(store)) == len(books)
            assert run_apsw(path, "SELECT count(*) FROM _commits") == str(len(books) // 2)
            await store.write(unit(*[delete(BOOK, book["id"]) for book in books]))
            await store.trim(older_than=-10, larger_than=0)
            run_apsw(path, "DELETE FROM _commits")
            await store.close()


async def all_changes(store: SqliteStore) -> Any:
    """All changes since the log was cut."""
    until = (await store.read([])).position
    text = "SELECT id, trim_seq, trim_salt FROM _logs WHERE ended IS NULL"
    log, seq, salt = run_apsw(Path(store.path), text).split("|")
    start = await store.locate(b"".join(int(n).to_bytes(8, signed=True) for n in (log, seq, salt)))
    assert not isinstance(start, Reset)
    return await store.changes(start, until, 1_000_000)


async def test_a_file_that_somebody_holds_is_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BUSY_MILLISECONDS", 20)
    store = SqliteStore(path)
    await store.open(LIBRARY)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked):
        await store.write(unit(create(AUTHOR, name="a")))
    other.execute("COMMIT")
    other.close()
    await store.write(unit(create(AUTHOR, name="a")))
    await store.close()


async def test_a_full_database_takes_what_fits_and_goes_on_when_there_is_room(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    session = store._open_session()
    pages = await session.writer.run(lambda c: c.execute("PRAGMA page_count").fetchall()[0][0])
    await session.writer.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 10}").fetchall())
    units = [unit(create(AUTHOR, name="x" * (100 if n % 2 else 100_000))) for n in range(10)]
    outcomes = await asyncio.gather(*map(store.write, units), return_exceptions=True)
    assert [type(o) for o in outcomes] == [StoreFull, Commit] * 5
    assert len((await store.page(listing(AUTHOR))).keys) == 5
    await session.writer.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
    await store.write(units[0])
    await store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_file_is_said_to_be_so(path: Path) -> None:
    await (store := SqliteStore(path)).open(LIBRARY)
    await store.close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    with pytest.raises(StoreReadOnly):
        await SqliteStore(path).open(LIBRARY)
    path.parent.chmod(0o700)


async def test_writes_to_a_database_that_became_read_only_are_refused_as_such(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    writer = store._open_session().writer
    await writer.run(lambda c: c.execute("PRAGMA query_only = ON").fetchall())
    with pytest.raises(StoreReadOnly):
        await store.write(unit(create(AUTHOR, name="a")))
    await writer.run(lambda c: c.execute("PRAGMA query_only = OFF").fetchall())
    await store.close()


async def test_a_file_that_is_no_database_is_corrupt(path: Path) -> None:
    path.write_bytes(b"This is a text and not a database. " * 100)
    with pytest.raises(StoreCorrupt):
        await SqliteStore(path).open(LIBRARY)


async def test_a_damaged_page_is_found_by_who_reads_it_and_by_the_check(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    for n in range(200):
        await store.write(unit(create(AUTHOR, name=f"{n}" * 200)))
    await store.close()
    data = bytearray(path.read_bytes())
    root = int(run_apsw(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'authors'"))
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    store = SqliteStore(path)
    await store.open(LIBRARY)
    with pytest.raises(StoreCorrupt):
        await store.page(listing(AUTHOR))
    assert await store.damage() != []
    await store.close()


async def test_a_file_of_a_newer_program_is_left_alone(path: Path) -> None:
    await (store := SqliteStore(path)).open(LIBRARY)
    await store.close()
    run_apsw(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew):
        await SqliteStore(path).open(LIBRARY)


async def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    run_apsw(path, "PRAGMA application_id = 1234", "CREATE TABLE t (a)")
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt):
        await SqliteStore(path).open(LIBRARY)
    assert path.read_bytes() == before


async def test_a_table_that_crudite_did_not_make_is_never_touched(path: Path) -> None:
    run_apsw(path, "CREATE TABLE authors (a)", "CREATE TABLE mine (a)", "INSERT INTO mine VALUES (7)")
    with pytest.raises(StoreError, match="authors: a table of this name is there"):
        await SqliteStore(path).open(LIBRARY)
    run_apsw(path, "DROP TABLE authors")
    await (store := SqliteStore(path)).open(LIBRARY)
    await store.close()
    assert run_apsw(path, "SELECT a FROM mine") == "7"


async def test_writes_into_a_replaced_file_are_not_acknowledged_and_the_new_file_is_opened(
    path: Path,
) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    old = key_of(await store.write(unit(create(AUTHOR, name="old"))))
    place = (await store.read([])).position
    batches = store.follow(place)
    await store.write(unit(update(AUTHOR, old, name="older")))
    await next_batch(batches)
    await (other := SqliteStore(path.with_name("other.db"))).open(LIBRARY)
    await other.write(unit(create(AUTHOR, name="new")))
    await other.close()
    path.with_name("other.db").replace(path)
    for side in ("-wal", "-shm"):
        path.with_name(f"data.db{side}").unlink(missing_ok=True)
    with pytest.raises(StoreError, match="another file"):
        await store.write(unit(create(AUTHOR, name="lost")))
    batch = await next_batch(batches)
    assert batch.reset == Reset("epoch")
    await eventually(lambda: store.write(unit(create(AUTHOR, name="next"))), StoreError)
    names = [author["name"] for author in (await states(store, LIBRARY))["Author"].values()]
    assert sorted(names) == ["new", "next"]
    assert await store.locate(place.token) == Reset("epoch")
    await batches.aclose()
    await store.close()


async def test_a_missing_file_is_not_made_anew_behind_the_servers_back(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    path.unlink()
    with pytest.raises(StoreError, match="another file"):
        await store.write(unit(create(AUTHOR, name="lost")))
    async with asyncio.timeout(PATIENCE):
        while store._session is not None:  # until it has looked for the file
            await asyncio.sleep(0)
    with pytest.raises(StoreError):
        await store.write(unit(create(AUTHOR, name="lost")))
    assert not path.exists()
    await store.close()


async def test_positions_after_an_older_copy_was_put_back_are_a_reset(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    await store.write(unit(create(AUTHOR, name="a")))
    await store.close()
    copy = path.read_bytes()
    await (store := SqliteStore(path)).open(LIBRARY)
    kept = (await store.read([])).position.token
    await store.write(unit(create(AUTHOR, name="b")))
    lost = (await store.read([])).position.token
    await store.close()
    path.write_bytes(copy)
    await (store := SqliteStore(path)).open(LIBRARY)
    assert not isinstance(await store.locate(kept), Reset)
    assert await store.locate(lost) == Reset("epoch")
    await store.write(unit(create(AUTHOR, name="c")))  # it has the number that "b" had
    assert await store.locate(lost) == Reset("epoch")
    await store.close()


@pytest.mark.parametrize("own_write_first", [True, False])
async def test_dropped_triggers_come_back_and_everybody_is_reset(path: Path, own_write_first: bool) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    place = (await store.read([])).position
    batches = store.follow(place)
    await store.write(unit(create(AUTHOR, name="a")))
    await next_batch(batches)
    run_apsw(path, 'DROP TRIGGER "crudite authors insert"', "INSERT INTO authors (name) VALUES ('unheard')")
    if own_write_first:
        await store.write(unit(create(AUTHOR, name="b")))
    batch = await next_batch(batches)
    assert batch.reset == Reset("schema")
    assert await store.locate(place.token) == Reset("schema")
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    run_apsw(path, "INSERT INTO authors (name) VALUES ('heard')")
    assert len(await log_must_replay(store, LIBRARY, start, before)) == 1
    await batches.aclose()
    await store.close()


async def test_a_table_that_another_program_made_anew_gets_its_triggers_back(path: Path) -> None:
    await (store := SqliteStore(path)).open(LIBRARY)
    place = (await store.read([])).position.token
    statement = run_apsw(path, "SELECT sql FROM sqlite_schema WHERE name = 'visits'")
    books = run_apsw(path, "SELECT sql FROM sqlite_schema WHERE name = 'books'")
    await store.close()
    assert statement.startswith("CREATE TABLE")
    run_apsw(
        path,
        books.replace('"books"', '"fresh"', 1),
        "DROP TABLE books",
        "ALTER TABLE fresh RENAME TO books",
        'CREATE UNIQUE INDEX "books unique author title" ON "books" ("author", "title")',
        'CREATE INDEX "books by year" ON "books" ("year")',
        'CREATE INDEX "books by author" ON "books" ("author")',
    )
    await (store := SqliteStore(path)).open(LIBRARY)
    assert await store.locate(place) == Reset("schema")
    start = (await store.read([])).position
    await store.write(unit(create(BOOK, title="a")))
    assert len(await log_since(store, start)) == 1
    await store.close()


@pytest.mark.parametrize("raised", ["ROLLBACK", "ABORT", "FAIL"])
async def test_whoever_waits_with_a_write_that_takes_the_transaction_along_is_written_all_the_same(
    path: Path, raised: str
) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    run_apsw(
        path,
        "CREATE TRIGGER veto BEFORE INSERT ON authors WHEN NEW.name = 'bad' "
        f"BEGIN SELECT RAISE({raised}, 'not that one'); END",
    )
    units = [unit(create(AUTHOR, name="bad" if n % 5 == 3 else str(n))) for n in range(20)]
    units.append(unit(create(AUTHOR, name="first"), create(AUTHOR, name="bad")))
    outcomes = await asyncio.gather(*map(store.write, units), return_exceptions=True)
    refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Refused)]
    assert refused == [3, 8, 13, 18, 20]
    assert all(outcomes[n].kind == "check" for n in refused)  # type: ignore[union-attr]
    names = [a["name"] for a in (await states(store, LIBRARY))["Author"].values()]
    assert sorted(names) == sorted(str(n) for n in range(20) if n % 5 != 3)
    assert len(await all_changes(store)) == 16
    await store.close()


async def test_whoever_waits_with_a_write_that_the_commit_refuses_is_written_all_the_same(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    keys = [key_of(await store.write(unit(create(AUTHOR, name=str(n))))) for n in range(10)]
    run_apsw(
        path,
        "CREATE TABLE bills (author REFERENCES authors DEFERRABLE INITIALLY DEFERRED)",
        f"INSERT INTO bills VALUES ('{keys[3]}'), ('{keys[7]}')",
    )
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    units = [unit(delete(AUTHOR, key)) for key in keys]
    outcomes = await asyncio.gather(*map(store.write, units), return_exceptions=True)
    refused = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Refused)]
    assert refused == [3, 7]
    assert [outcomes[n].kind for n in refused] == ["referenced", "referenced"]  # type: ignore[union-attr]
    names = [a["name"] for a in (await states(store, LIBRARY))["Author"].values()]
    assert sorted(names) == ["3", "7"]
    assert len(await log_must_replay(store, LIBRARY, start, before)) == 8
    await store.close()


async def test_a_commit_for_which_there_is_no_room_is_tried_once(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    writer = store._open_session().writer
    tried: list[str] = []

    def fails(text: str, *bound: Any) -> Any:
        if text == "COMMIT":
            tried.append(text)
            raise apsw.FullError("database or disk is full")
        return execute(text, *bound)

    execute, writer._execute = writer._execute, fails
    units = [unit(create(AUTHOR, name=str(n))) for n in range(5)]
    outcomes = await asyncio.gather(*map(store.write, units), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreFull] * 5
    assert len(tried) <= 2  # the writer may take the first before the others have come
    writer._execute = execute
    await store.write(units[0])
    assert len((await store.page(listing(AUTHOR))).keys) == 1
    await store.close()


async def test_cancelled_writers_leave_a_log_that_agrees(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    tasks = [asyncio.ensure_future(store.write(unit(create(AUTHOR, name=str(n))))) for n in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await store.write(unit(create(AUTHOR, name="last")))
    await log_must_replay(store, LIBRARY, start, before)
    stored = {a["name"] for a in (await states(store, LIBRARY))["Author"].values()}
    assert {str(n) for n, outcome in enumerate(outcomes) if isinstance(outcome, Commit)} <= stored
    await store.close()


async def test_a_long_query_is_ended_and_the_store_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    await store.write(unit(*[create(SAMPLE, text=str(n)) for n in range(3000)]))
    monkeypatch.setattr(connections.Deadline.start, "__defaults__", (0.0,))
    with pytest.raises(StoreError, match="too long"):
        await store.page(listing(SAMPLE, "text", filter=where(SAMPLE, "text", "9", "contains")))
    monkeypatch.undo()
    page = await store.page(listing(SAMPLE, "text", filter=where(SAMPLE, "text", "9", "contains")))
    assert len(page.keys) == 813
    await store.close()


async def test_a_search_that_turns_out_long_moves_off_the_event_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "_SECONDS_INLINE", 0.0)
    store = SqliteStore(path)
    await store.open(LIBRARY)
    await store.write(unit(*[create(BOOK, title=f"{n}", year=7) for n in range(3000)]))
    filter = where(BOOK, "year", 7) & where(BOOK, "title", "no such", "endswith")
    plan = listing(BOOK, filter=filter, limit=10)
    inline = store._open_session().inline
    assert inline.is_cheap(plan)
    assert (await store.page(plan)).keys == ()
    assert not inline.is_cheap(plan)
    await store.close()


async def test_a_batch_whose_snapshot_nobody_reads_lets_it_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "READ_SECONDS", 0.0)
    store = SqliteStore(path)
    await store.open(LIBRARY)
    batches = store.follow((await store.read([])).position)
    await store.write(unit(create(BOOK, title="a")))
    batch = await next_batch(batches)
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, passed.set)  # after the snapshot's own, which was set before
    await passed.wait()

    with pytest.raises(StoreError, match="let go"):
        await batch.fetch([listing(BOOK)])
    await batches.aclose()
    await store.close()


@pytest.mark.parametrize("processes", [1, 3])
async def test_the_write_ahead_log_does_not_grow_with_the_work(path: Path, processes: int) -> None:
    stores = [SqliteStore(path, synchronous="OFF") for _ in range(processes)]
    sizes = [0]

    async def work(store: SqliteStore) -> None:
        """Never quiet, and never far ahead of the thread that copies: that may be long in getting its turn."""
        for _ in range(30):
            await asyncio.gather(*[store.write(unit(create(AUTHOR, name="x" * 2000))) for _ in range(250 // processes)])
            while store._open_session()._copying:
                await store.write(unit(create(AUTHOR, name="x")))
                await asyncio.sleep(0.005)
            sizes.append(path.with_name("data.db-wal").stat().st_size)

    for store in stores:
        await store.open(LIBRARY)
    await asyncio.gather(*map(work, stores))
    assert max(sizes) < 40_000_000
    for store in stores:
        await store.close()


async def test_the_standard_library_reads_and_writes_the_file_too(path: Path) -> None:
    store = SqliteStore(path)
    await store.open(LIBRARY)
    made = (await store.write(unit(create(SAMPLE, text="ä", float=0.1, boolean=True)))).stored[0]
    with sqlite3.connect(path) as connection:
        row = connection.execute("SELECT text, float, boolean, version FROM samples").fetchone()
        assert row == ("ä", 0.1, 1, made.version)
        connection.execute("UPDATE samples SET float = 0.2")
    connection.close()
    page = await store.page(Plan(selection=everything(SAMPLE), keys=(made.key,)))
    assert page.versions == [made.version + 1]
    await store.close()
