"""Telling a story: the world it takes place in, on a database of its own and by so many processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from crudite import LiveLimits
from crudite.buses import open_bus
from crudite.stores import open_store
from crudite.testing import Faulty
from tests.model.buses import NoisyBus
from tests.model.held import Violation
from tests.model.places import Place, on_sqlite
from tests.model.steps import Step
from tests.model.story import Story
from tests.model.turns import turns
from tests.model.world import World, random_limits


@dataclass(frozen=True)
class Setting:
    """Where stories are told: on which kind of database, by how many processes."""

    place: Callable[[Random], AbstractAsyncContextManager[Place]] = on_sqlite
    processes: int = 1


async def tell(steps: Sequence[Step], seed: int, setting: Setting = Setting(), patience: float = 20.0) -> Counter[str]:
    """Takes the steps in a world of their own. Returns what was checked. Raises Violation, also when something does not
    come within `patience` seconds."""
    random = Random(seed)
    async with setting.place(random) as place, _world(place, random, setting.processes) as world:
        story = Story(world, place, seed, patience)
        try:
            for step in steps:
                await story.take(step)
        except Violation as violation:
            violation.add_note(f"seed {seed}\n{_under_way()}\n{await place.waiting()}")
            with suppress(Violation):
                await story.close()
            raise
        await story.close()
        return story.counts


def _under_way() -> str:
    """Where every task stands, from what it was begun with to what it waits for: whatever does not come in time is
    waited for somewhere."""
    return "\n".join(" > ".join(_standing(task.get_coro())) for task in asyncio.all_tasks())


def _standing(waiting: Any) -> Iterator[str]:
    while waiting is not None:
        for kind in ("cr", "ag", "gi"):
            if (frame := getattr(waiting, f"{kind}_frame", None)) is not None:
                yield f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                break
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)


@asynccontextmanager
async def _world(place: Place, random: Random, processes: int) -> AsyncIterator[World]:
    """So many applications on a database, which have a bus between them if they are several; running."""

    async def stumble(step: str, call: Any) -> None:
        await turns(random.choice((0, 0, 0, 1, 2, 5)))

    with TemporaryDirectory(prefix="crudite-model-bus-") as folder:
        hub = f"unix://{Path(folder) / 'bus'}" if processes > 1 else "local:"
        stores = [Faulty(open_store(place.url), stumble) for _ in range(processes)]
        buses = [NoisyBus(lambda: open_bus(hub), random) for _ in stores]
        limits = random_limits(random) if random.random() < 0.5 else LiveLimits()
        world = World(stores, buses, limits, random)
        async with AsyncExitStack() as stack:
            for app in world.apps:
                await stack.enter_async_context(app)
            yield world
