"""Races of a live query on PostgreSQL: one write at each step that the engine takes, in turn. All of them are told on
SQLite, where a step takes a fraction of the time; only what the store does at a step differs."""

import pytest

from tests.faults.races import Scene, Write, writes_for
from tests.faults.test_races import Operation, is_followers, joining, operations, race

pytestmark = pytest.mark.only_on("postgresql", reason="all of them run on SQLite")


@pytest.mark.parametrize("query", ["a window", "a rule through other records"])
@operations
async def test_a_write_between_any_two_steps_arrives_exactly_once(query: str, operation: Operation) -> None:
    writes = list(writes_for(query).values())
    async with race(query, operation) as run:
        steps = await run.steps_taken()
        for number, step in enumerate(steps):
            write = writes[number % len(writes)]

            async def meanwhile(here: Scene, write: Write = write, tells: bool = not is_followers(step)) -> None:
                await here.write(write)
                if tells:
                    await here.told()

            await run.steps_taken((step, meanwhile))
        assert run.reached >= len(steps) // 2
        assert run.reached >= 2 or operation is joining  # who joins a group that holds its set needs no store
