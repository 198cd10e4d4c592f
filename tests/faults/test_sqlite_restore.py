"""A file takes the database's place under a running store: it is opened as it is, the old one is whole."""

# A test may block its own event loop.
# ruff: noqa: ASYNC110, ASYNC240

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from crudite.changes import Reset
from crudite.errors import StoreError
from crudite.stores.sqlite import SqliteStore
from crudite.stores.sqlite import store as store_module
from crudite.stores.sqlite.connections import Replaced
from crudite.testing.samples import AUTHOR, LIBRARY, create, unit
from crudite.testing.store_base import PATIENCE, next_batch
from tests.faults.sqlite_files import needs_sqlite3, run_apsw, run_sqlite3, states

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "data.db"


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a write finds that the file is another one."""
    monkeypatch.setattr(store_module, "_LOOKS_BETWEEN_STATS", 1_000_000)


async def add(store: SqliteStore, names: str, count: int) -> None:
    """Makes so many authors, each in a transaction of its own and on pages of its own."""
    for n in range(count):
        await store.write(unit(create(AUTHOR, name=f"{names} {n} {'.' * 500}")))


async def names(store: SqliteStore) -> set[str]:
    """What `add` has made and is there."""
    return {author["name"].rstrip(". ") for author in (await states(store, LIBRARY))["Author"].values()}


def back_up(path: Path, copy: Path) -> None:
    """A copy as it is after a backup."""
    run_apsw(
        path,
        f"VACUUM INTO '{copy}'",
    )
    run_apsw(copy, "PRAGMA journal_mode = WAL")


async def store_with_an_older_copy(path: Path) -> SqliteStore:
    """A store whose write-ahead log has begun again since `old.db` was made, so that what the log lacks is
    only in the file."""
    store = SqliteStore(path)
    await store.open(LIBRARY)
    await add(store, "kept", 3)
    back_up(path, path.with_name("old.db"))
    await add(store, "later", 300)
    run_apsw(path, "PRAGMA wal_checkpoint(RESTART)")
    await add(store, "last", 30)
    return store


async def until(is_so: Callable[[], bool]) -> None:
    """Returns when something has become true."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0)


async def eventually(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """The result of an attempt that is repeated as long as the store is not open."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await attempt()
            except StoreError:
                await asyncio.sleep(0)


def is_whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with a file."""
    return run_apsw(path, "PRAGMA integrity_check") == "ok"


@pytest.mark.usefixtures("unwatched")
async def test_an_older_copy_that_is_put_back_holds_what_it_held(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    batches = store.follow((await store.read([])).position)
    await add(store, "last of all", 1)
    await next_batch(batches)
    path.with_name("old.db").replace(path)
    with pytest.raises(StoreError, match="another file"):
        await add(store, "lost", 1)
    assert (await next_batch(batches)).reset == Reset("epoch")
    await eventually(lambda: add(store, "new", 1))
    assert await names(store) == {"kept 0", "kept 1", "kept 2", "new 0"}
    await batches.aclose()
    await store.close()
    assert is_whole(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["data.db"]


async def test_an_older_copy_is_found_without_a_write(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    old = store._session
    path.with_name("old.db").replace(path)
    await until(lambda: store._session is not None and store._session is not old)
    assert await names(store) == {"kept 0", "kept 1", "kept 2"}
    await store.close()
    assert is_whole(path)


@pytest.mark.usefixtures("unwatched")
async def test_a_store_that_is_closed_before_it_has_noticed_leaves_the_older_copy_alone(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    path.with_name("old.db").replace(path)
    await store.close()
    await (store := SqliteStore(path)).open(LIBRARY)
    assert await names(store) == {"kept 0", "kept 1", "kept 2"}
    await store.close()
    assert is_whole(path)


@pytest.mark.usefixtures("unwatched")
async def test_what_the_store_begins_before_it_has_noticed_leaves_the_older_copy_alone(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    place = (await store.read([])).position
    path.with_name("old.db").replace(path)
    batches = store.follow(place)  # would open the file that is there
    first = asyncio.ensure_future(next_batch(batches))
    with pytest.raises(Replaced):
        store._open_session().follower(1_000)
    await store._open_session()._copy()
    with pytest.raises(StoreError, match="another file"):
        await add(store, "lost", 1)
    assert (await first).reset == Reset("epoch")
    assert await names(store) == {"kept 0", "kept 1", "kept 2"}
    await batches.aclose()
    await store.close()
    assert is_whole(path)


async def test_a_file_that_is_moved_away_takes_along_all_that_was_acknowledged(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    away = path.with_name("away.db")
    path.replace(away)
    await until(lambda: store._session is None)
    await until(lambda: not path.with_name("data.db-wal").exists())
    with pytest.raises(StoreError):
        await add(store, "lost", 1)
    path.with_name("old.db").replace(path)
    await eventually(lambda: add(store, "new", 1))
    assert await names(store) == {"kept 0", "kept 1", "kept 2", "new 0"}
    await store.close()
    assert is_whole(path)
    assert is_whole(away)
    assert run_apsw(away, "SELECT count(*) FROM authors") == "333"


async def test_a_file_that_comes_back_is_as_it_went(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    away = path.with_name("away.db")
    path.replace(away)
    await until(lambda: store._session is None)
    await until(lambda: not path.with_name("data.db-wal").exists())
    away.replace(path)
    await eventually(lambda: add(store, "new", 1))
    assert len(await names(store)) == 334
    await store.close()


@pytest.mark.usefixtures("unwatched")
async def test_a_file_that_brings_its_own_write_ahead_log_keeps_it(path: Path, tmp_path: Path) -> None:
    other_path = tmp_path / "elsewhere.db"
    await (other := SqliteStore(other_path)).open(LIBRARY)
    await add(other, "theirs", 4)
    shutil.copy(other_path, tmp_path / "other.db")
    shutil.copy(f"{other_path}-wal", tmp_path / "other.db-wal")
    await other.close()
    store = await store_with_an_older_copy(path)
    (tmp_path / "other.db-wal").replace(f"{path}-wal")
    (tmp_path / "other.db").replace(path)
    with pytest.raises(StoreError, match="another file"):
        await add(store, "lost", 1)
    await eventually(lambda: add(store, "new", 1))
    assert await names(store) == {"theirs 0", "theirs 1", "theirs 2", "theirs 3", "new 0"}
    await store.close()
    assert is_whole(path)


async def test_a_file_that_is_moved_while_groups_are_committed_holds_what_was_acknowledged(
    path: Path,
) -> None:
    store = await store_with_an_older_copy(path)
    away = path.with_name("away.db")
    writes = [asyncio.ensure_future(add(store, f"group {n}", 1)) for n in range(1500)]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    path.replace(away)
    path.with_name("old.db").replace(path)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    acknowledged = {f"group {n} 0" for n, outcome in enumerate(outcomes) if outcome is None}
    await eventually(lambda: add(store, "new", 1))
    there = await names(store)
    await store.close()
    gone = {name.rstrip(". ") for name in run_apsw(away, "SELECT name FROM authors").splitlines()}
    assert acknowledged
    assert acknowledged <= gone | there
    assert is_whole(path)
    assert is_whole(away)


@needs_sqlite3
async def test_a_copy_that_is_restored_into_the_file_is_a_reset_and_stays_whole(path: Path) -> None:
    store = await store_with_an_older_copy(path)
    place = (await store.read([])).position
    batches = store.follow(place)
    await add(store, "last of all", 1)
    await next_batch(batches)
    run_sqlite3(path, f".restore '{path.with_name('old.db')}'\nSELECT 1")
    assert (await next_batch(batches)).reset == Reset("epoch")
    await add(store, "new", 1)
    assert await names(store) == {"kept 0", "kept 1", "kept 2", "new 0"}
    assert await store.locate(place.token) == Reset("epoch")
    await batches.aclose()
    await store.close()
    assert is_whole(path)
