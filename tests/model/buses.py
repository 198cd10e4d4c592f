"""A bus that loses, doubles and delays: a real one behind it, which each life of an application opens anew."""

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Self

from crudite.buses.base import Bus
from tests.model.turns import turns


class NoisyBus:
    """Publishes each message not at all, once, twice, or later, and none while it `is_silent`; and works again after a
    stop, as a URL does."""

    def __init__(self, make: Callable[[], Bus], random: Random) -> None:
        self.is_silent = False
        self._make = make
        self._random = random
        self._bus: Bus = make()
        self._late: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._bus = self._make()
        await self._bus.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._bus.__aexit__(*error)

    async def publish(self, topic: str, payload: bytes = b"") -> None:
        """Publishes, or not."""
        for delay in () if self.is_silent else self._random.choice(((), (0,), (0,), (0, 0), (3, 40), (100,))):
            if delay:
                task = asyncio.create_task(self._publish_late(delay, topic, payload))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            else:
                await self._bus.publish(topic, payload)

    async def _publish_late(self, delay: int, topic: str, payload: bytes) -> None:
        await turns(delay)
        await self._bus.publish(topic, payload)

    def subscribe(self, topic: str) -> AsyncIterator[bytes]:
        """What arrives."""
        return self._bus.subscribe(topic)
