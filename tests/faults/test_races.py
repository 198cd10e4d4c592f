"""Every race of a live query, enumerated: the engine is stopped at each step that it takes, and then something is
committed. It must arrive exactly once, and at every commit a client must hold what a request would have shown."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from crudite import App
from crudite.testing import Client
from tests.faults.races import QUERIES, Scene, StepAt, Steps, Task, Watched, Write, running, scene, several, writes_for

Work: TypeAlias = Callable[[], Awaitable[Any]]
Operation: TypeAlias = Callable[[Scene], Awaitable[Work]]
"""Prepares a scene; returns the work in which the engine is to be stopped."""


async def subscribing(here: Scene) -> Work:
    """The first subscription of its group."""
    socket = await here.connect()

    async def work() -> None:
        await (await here.subscribe(socket)).ready()

    return work


async def joining(here: Scene) -> Work:
    """A subscription to a group that somebody belongs to already."""
    await (await here.subscribe(await here.connect())).ready()
    return await subscribing(here)


async def resuming(here: Scene) -> Work:
    """A subscription that goes on from where it was cut off, while the engine works at what was missed."""
    view = await cut_off(here)
    socket = await here.connect()

    async def work() -> None:
        await here.write(missed)
        await (await here.subscribe(socket, resume=view)).ready()
        await here.settled()

    return work


async def resuming_from_the_log(here: Scene) -> Work:
    """A subscription that goes on from where it was cut off, after the engine has forgotten what was missed."""
    view = await cut_off(here)
    await here.write(missed)
    here.steps.is_log_lost = True
    await here.settled()
    socket = await here.connect()

    async def work() -> None:
        await (await here.subscribe(socket, resume=view)).ready()

    return work


async def cut_off(here: Scene) -> Watched:
    """What somebody holds whose connection is lost."""
    async with here.nobody.acting(here.asked.actor).websocket() as cut:
        view = await here.subscribe(cut)
        await view.ready()
    here.views.remove(view)
    return view


async def missed(app: App) -> None:
    """A transaction of two writes."""
    async with app.records.batch() as batch:
        batch.create(Task, id=20, project="p", points=4)
        batch.update(Task, 2, title="two")


async def following(here: Scene) -> Work:
    """A subscription that has its set gets a frame."""
    await (await here.subscribe(await here.connect())).ready()

    async def work() -> None:
        await here.write(lambda app: app.records.create(Task, id=20, project="p", points=90))
        await here.settled()

    return work


async def losing_the_log(here: Scene) -> Work:
    """A subscription that has its set is reset."""
    await (await here.subscribe(await here.connect())).ready()

    async def work() -> None:
        here.steps.is_log_lost = True
        await here.settled()

    return work


SHARE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 3
"""At each step every write is tried, or every third one, in turn with the others at the next steps."""

OPERATIONS: list[Operation] = [subscribing, joining, resuming, resuming_from_the_log, following, losing_the_log]
races = pytest.mark.parametrize("query", QUERIES)
operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)


def is_followers(step: StepAt) -> bool:
    """Whether it is a step of the one who follows the log: while he stands still, nothing is told to anybody."""
    return step[0].endswith(("batch", "fetch"))


Meanwhile: TypeAlias = Callable[[Scene], Awaitable[Any]]
"""What happens while the engine stands still."""


@dataclass
class Race:
    """An operation for a query, run again and again with something else happening in the middle of it."""

    nobody: Client
    steps: Steps
    query: str
    operation: Operation
    reached: int = 0

    async def steps_taken(self, *stops: tuple[StepAt, Meanwhile]) -> list[StepAt]:
        """Runs the operation once, with stops one after the other, and checks; returns its steps after the last."""
        async with scene(self.nobody, self.steps, QUERIES[self.query]) as here:
            work = await self.operation(here)
            self.steps.watch(stops[0][0] if stops else None)
            working = asyncio.ensure_future(work())
            for number, (_, meanwhile) in enumerate(stops, start=1):
                self.reached += await self.steps.reached(working)
                await meanwhile(here)
                self.steps.release(stops[number][0] if number < len(stops) else None)
            await working
            taken = list(self.steps.taken)
            await here.check()
        return taken[taken.index(stops[-1][0]) + 1 :] if stops and stops[-1][0] in taken else taken


@asynccontextmanager
async def race(query: str, operation: Operation) -> AsyncIterator[Race]:
    """The races of an operation for a query."""
    async with running() as (nobody, steps):
        yield Race(nobody, steps, query, operation)


@races
@operations
async def test_a_write_between_any_two_steps_arrives_exactly_once(query: str, operation: Operation) -> None:
    async with race(query, operation) as run:
        steps = await run.steps_taken()
        for number, step in enumerate(steps):
            for write in list(writes_for(query).values())[number % SHARE :: SHARE]:

                async def writes(here: Scene, write: Write = write) -> None:
                    await here.write(write)

                async def writes_and_tells(here: Scene, write: Write = write) -> None:
                    await here.write(write)
                    await here.told()

                await run.steps_taken((step, writes))
                if not is_followers(step):
                    await run.steps_taken((step, writes_and_tells))
        assert run.reached >= 2 * len(steps)
        assert run.reached >= 10 or operation is joining  # who joins a group that holds its set needs no store


@races
@pytest.mark.parametrize("operation", [subscribing, resuming_from_the_log], ids=lambda one: one.__name__)
async def test_two_writes_between_any_two_pairs_of_steps_arrive_exactly_once(query: str, operation: Operation) -> None:
    async def first(here: Scene) -> None:
        await here.write(several)

    async def second(here: Scene) -> None:
        await here.write(lambda app: app.records.update(Task, 1, done=False, points=1, project="q"))

    async with race(query, operation) as run:
        for step in await run.steps_taken():
            for later in await run.steps_taken((step, first)):
                if later != step:
                    await run.steps_taken((step, first), (later, second))
        assert run.reached > 10


async def come(here: Scene, query: str, coming: Coroutine[Any, Any, Any]) -> None:
    """Somebody comes and is answered, then something is written and the engine goes on. Where the answer has to wait
    for whoever stands still (a resume, a rule whose keys are being read), somebody has only begun to come."""
    must_wait = "rule" in query or not all(view.is_answered for view in here.views)
    answer = asyncio.ensure_future(coming)
    if not must_wait:
        await answer
    await here.write(several)
    here.steps.release()
    await answer


@races
@operations
async def test_somebody_who_joins_between_any_two_steps_misses_and_doubles_nothing(
    query: str, operation: Operation
) -> None:
    async def joins_and_writes(here: Scene) -> None:
        socket = await here.connect()
        await come(here, query, here.subscribe(socket))

    async with race(query, operation) as run:
        steps = await run.steps_taken()
        for step in steps:
            await run.steps_taken((step, joins_and_writes))
        assert run.reached >= len(steps) // 2


@races
@operations
async def test_somebody_who_leaves_and_comes_again_between_any_two_steps_gets_one_set(
    query: str, operation: Operation
) -> None:
    async def comes_again(here: Scene) -> None:
        for view in list(here.views):
            await here.unsubscribe(view)
            await here.subscribe(view.socket)

    async def leaves_and_writes(here: Scene) -> None:
        await come(here, query, comes_again(here))

    async with race(query, operation) as run:
        steps = await run.steps_taken()
        for step in steps:
            await run.steps_taken((step, leaves_and_writes))
        assert run.reached >= len(steps) // 2
