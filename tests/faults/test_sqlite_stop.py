"""Whoever follows the log can be stopped at any moment, also while a thread reads for him."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from crudite.query.plan import Plan, everything
from crudite.stores.sqlite import SqliteStore, follow
from crudite.testing.samples import AUTHOR, LIBRARY, create, unit
from crudite.testing.store_base import PATIENCE, next_batch

pytestmark = pytest.mark.anyio


LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


class LongRead:
    """Makes one of the follower's ways to read take as long as it may, when it is used on a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        began = self._began = asyncio.Event()
        loop, read = asyncio.get_running_loop(), getattr(follow, name)

        def long_read(execute: Any, *args: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                loop.call_soon_threadsafe(began.set)
                execute(LONG).fetchall()
            return read(execute, *args)

        monkeypatch.setattr(follow, name, long_read)

    async def has_begun(self) -> None:
        """Returns when it is under way."""
        await asyncio.wait_for(self._began.wait(), PATIENCE)


async def test_a_follower_that_is_stopped_while_it_reads_many_changes_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    start = (await store.read([])).position
    await store.write(unit(*[create(AUTHOR, name=str(n)) for n in range(3000)]))
    reading = LongRead(monkeypatch, "read_some")
    batches = store.follow(start)
    task = asyncio.create_task(next_batch(batches))
    await reading.has_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    assert len((await next_batch(store.follow(start))).changes) == 3000
    await asyncio.wait_for(store.close(), PATIENCE)


async def test_a_reader_in_a_batch_that_is_stopped_leaves_the_follower_able_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    start = (await store.read([])).position
    await store.write(unit(*[create(AUTHOR, name=str(n)) for n in range(3000)]))
    batches = store.follow(start)
    batch = await next_batch(batches)
    reading = LongRead(monkeypatch, "read_page")
    task = asyncio.create_task(batch.fetch([Plan(selection=everything(AUTHOR))]))
    await reading.has_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.write(unit(create(AUTHOR, name="later")))
    assert len((await next_batch(batches)).changes) == 1
    await asyncio.wait_for(store.close(), PATIENCE)
