"""Histories in SQLite files that were made before there were any."""

import sqlite3
from contextlib import closing
from pathlib import Path

from crudite.ids import uuid7
from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import LIBRARY, create, unit, update
from crudite.testing.store_history import AUDITED, WITH, trimmed, who


async def test_a_file_from_before_there_were_histories_is_brought_to_them_and_its_log_goes_on(tmp_path: Path) -> None:
    key, path = uuid7(), tmp_path / "data.db"
    store = SqliteStore(path)
    await store.open(LIBRARY)
    await store.write(unit(create(AUDITED, key, name="0"), actor="ann", request="r0"))
    position = (await store.read(())).position
    await store.close()
    with closing(sqlite3.connect(path)) as file:
        file.executescript("DROP TABLE _history; DROP TABLE _audited; ALTER TABLE _commits DROP COLUMN interface")
    store = SqliteStore(path)
    await store.open(WITH)
    assert await store.locate(position.token) == position
    await store.write(unit(update(AUDITED, key, name="1"), actor="bob", request="r1", interface="rest"))
    for _ in range(2):
        found = await store.history(AUDITED, key, before=None, limit=10)
        assert [who(past) for past in found] == [("bob", "r1", "rest"), ("ann", "r0", None)]
        await trimmed(store)
    await store.close()
