"""Counting in the memory of every process, each telling the others over the bus what it has taken.

A verdict waits for nobody: it is made by what is known here, and what was taken is told within milliseconds, for all
keys together. So two processes that are asked at the same moment may both give the last one away: before they have
heard of each other, each allows up to a whole burst. What was given too much is owed, since everybody adds what the
others have taken to what is owed here, and over a longer time the rate is kept. A message that is lost (a bus loses
some when it is away) is what one process took in a few milliseconds.

A message is the name of its sender, then for each key its digest and how many seconds' worth was taken: nobody needs to
know a rate, or what time it is elsewhere.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from struct import Struct
from typing import Self

from crudite.buses.base import Bus
from crudite.limiting.base import DIGEST_SIZE, Digest
from crudite.limiting.memory import MemoryCounts
from crudite.limiting.rate import Rate, Verdict

TOPIC = "rates"
_PAUSE = 0.005
_NAME = 8
_ONE = Struct(f"<{DIGEST_SIZE}sd")
_AT_ONCE = 280  # the smallest payload that a bus carries has room for them
_LONGEST = 10 * 86_400.0  # of a rate that takes longer, several are told


class SharedCounts:
    """Counts in `memory`, together with all who count on the same bus. Entered with the bus open."""

    def __init__(self, memory: MemoryCounts, bus: Bus) -> None:
        self._memory = memory
        self._bus = bus
        self._name = os.urandom(_NAME)
        self._untold: dict[Digest, float] = {}
        self._has_news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.heard = 0
        """Of how many takings of others it has heard."""

    async def __aenter__(self) -> Self:
        heard = self._bus.subscribe(TOPIC)

        async def listen() -> None:
            async for payload in heard:
                self._hear(payload)

        self._tasks = [asyncio.create_task(self._tell()), asyncio.create_task(listen())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tells what is untold, and listens no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._publish()

    async def take(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """Takes some of a rate, and has the others told."""
        verdict = self._memory.take_now(digest, rate, cost)
        if verdict.is_allowed:
            self._untold[digest] = self._untold.get(digest, 0.0) + rate.interval * cost
            self._has_news.set()
        return verdict

    async def _tell(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            await self._publish()
            await asyncio.sleep(_PAUSE)

    async def _publish(self) -> None:
        untold, self._untold = _told(self._untold), {}
        while some := list(islice(untold, _AT_ONCE)):
            await self._bus.publish(TOPIC, self._name + b"".join([_ONE.pack(*one) for one in some]))

    def _hear(self, payload: bytes) -> None:
        if payload.startswith(self._name):
            return
        for digest, seconds in _read(payload):
            self._memory.owe(digest, seconds)
            self.heard += 1


def _told(untold: Mapping[Digest, float]) -> Iterator[tuple[Digest, float]]:
    """What a message may tell of what was taken, together as much."""
    for digest, seconds in untold.items():
        while seconds > _LONGEST / 2:
            seconds -= _LONGEST / 2
            yield digest, _LONGEST / 2
        yield digest, seconds


def _read(payload: bytes) -> Iterator[tuple[Digest, float]]:
    """What a message tells; nothing, where it is none of ours."""
    told = payload[_NAME:]
    if len(told) % _ONE.size == 0:
        for digest, seconds in _ONE.iter_unpack(told):
            if 0.0 < seconds < _LONGEST:  # what is no number is not, either
                yield digest, seconds
