"""Creates that are committed together read what the log has of them together; and when it has more than theirs."""

import asyncio
import json
from pathlib import Path

import apsw
import pytest

from crudite.changes import Commit, Refused
from crudite.ids import uuid7
from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import AUTHOR, BOOK, LIBRARY, create, unit, update
from tests.faults.sqlite_files import log_must_replay, states

pytestmark = pytest.mark.anyio

MANY = 50


async def written(store: SqliteStore, names: list[str]) -> list[Commit | BaseException]:
    """What became of an author with each of the names, all asked for in one turn of the loop."""
    return await asyncio.gather(
        *(store.write(unit(create(AUTHOR, uuid7(), name=name))) for name in names), return_exceptions=True
    )


def names_of(outcomes: list[Commit | BaseException]) -> list[str]:
    return [json.loads(one.stored[0].json or "")["name"] for one in outcomes if isinstance(one, Commit)]


async def test_each_of_many_creates_hears_of_its_own_record_and_mark(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "group.db")
    await store.open(LIBRARY)
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    names = [f"author {number}" for number in range(MANY)]
    outcomes = await written(store, names)
    assert names_of(outcomes) == names
    marks = [int(one.mark or 0) for one in outcomes if isinstance(one, Commit)]
    assert marks == sorted(set(marks))
    await log_must_replay(store, LIBRARY, start, before)
    await store.close()


async def test_creates_that_are_refused_or_stand_between_other_writes_change_nothing_for_the_others(
    tmp_path: Path,
) -> None:
    store = SqliteStore(tmp_path / "group.db")
    await store.open(LIBRARY)
    first = await store.write(unit(create(AUTHOR, uuid7(), name="first")))
    key = str(first.stored[0].key)
    outcomes = await asyncio.gather(
        store.write(unit(create(AUTHOR, uuid7(), name="a"))),
        store.write(unit(create(AUTHOR, key, name="twice"))),
        store.write(unit(create(AUTHOR, uuid7(), name="b"))),
        store.write(unit(update(AUTHOR, key, name="changed"))),
        store.write(unit(create(AUTHOR, uuid7(), name="c"), create(AUTHOR, uuid7(), name="d"))),
        store.write(unit(create(AUTHOR, uuid7(), name="e"))),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], Refused)
    assert outcomes[1].kind == "unique"
    assert names_of(outcomes) == ["a", "b", "changed", "c", "e"]
    await store.close()


async def test_of_many_creates_alike_only_those_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "group.db")
    await store.open(LIBRARY)
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    taken = uuid7()
    keys = [taken if number in (7, 40) else uuid7() for number in range(MANY)]
    outcomes = await asyncio.gather(
        *(store.write(unit(create(AUTHOR, key, name=f"author {n}"))) for n, key in enumerate(keys)),
        return_exceptions=True,
    )
    refused = [(n, one.kind) for n, one in enumerate(outcomes) if isinstance(one, Refused)]
    assert refused == [(40, "unique")]
    assert names_of(outcomes) == [f"author {number}" for number in range(MANY) if number != 40]
    await log_must_replay(store, LIBRARY, start, before)
    await store.close()


async def test_a_trigger_of_somebody_else_s_that_writes_too_mixes_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "group.db"
    store = SqliteStore(path)
    await store.open(LIBRARY)
    other = apsw.Connection(str(path))
    other.execute(
        "CREATE TRIGGER more AFTER INSERT ON authors BEGIN INSERT INTO books (title) VALUES ('by ' || NEW.name); END"
    )
    other.close()
    await written(store, ["before"])  # the schema has changed, so that a new log begins
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    for _ in range(2):
        names = [f"author {number}" for number in range(MANY)]
        assert names_of(await written(store, names)) == names
    assert len((await states(store, LIBRARY))[BOOK.name]) == 2 * MANY + 1
    await log_must_replay(store, LIBRARY, start, before)
    await store.close()
