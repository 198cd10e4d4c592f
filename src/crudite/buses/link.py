"""Keeping one connection to a broker: what every bus does that has one, whatever the broker.

The state is one task and one event. Every turn of the task looks at what there is to do (topics to listen to or to
forget, messages to send, a check that is due), does it, and waits for the event; publishing, subscribing and the loss
of the connection set it. So nothing is done twice at the same time, and what comes meanwhile is done together in the
next turn: that is how wake-ups coalesce.

    away ──connected──> listening to all topics, everybody woken ──lost, or no answer──> away, after a pause
"""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from crudite.buses.base import Figures, check
from crudite.buses.subscribing import Subscribers, Subscription
from crudite.buses.waiting import Message, Waiting

_log = logging.getLogger("crudite.buses")
_LAST_WORDS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a bus waits for what, in seconds.

    `answer`: for anything that the broker is asked. `pulse`: between two checks that it is still there.
    `retry`: before the first and at most before the later attempts to reach it; each pause is up to twice the last.
    """

    answer: float = 5.0
    pulse: float = 5.0
    retry: tuple[float, float] = (0.05, 5.0)


class Wire(Protocol):
    """One connection to a broker. Any exception that a method raises ends it."""

    async def listen(self, topics: Collection[str]) -> None:
        """Returns when all that is published on these topics from now on will arrive."""
        ...

    async def forget(self, topics: Collection[str]) -> None:
        """What is published on these topics need not arrive any more."""
        ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Publishes to all others: not to this connection."""
        ...

    async def check(self) -> None:
        """Returns when the broker has answered, both ways."""
        ...

    async def close(self) -> None:
        """Ends the connection, also one that is lost."""
        ...


@dataclass(frozen=True, slots=True)
class Ears:
    """What a wire tells its bus. Both may be called at any time in the bus's event loop."""

    hear: Callable[[str, bytes], None]
    """A payload from others, on a topic."""
    lose: Callable[[Exception], None]
    """The connection is over."""


class LinkedBus(ABC):
    """A bus whose messages go through a broker; a subclass says how it is reached.

    `shown` is its address for the log, without a password; `most` the largest payload in bytes; `pause` the
    seconds between two sendings, in which what is published gathers.
    """

    def __init__(self, shown: str, most: int, patience: Patience, pause: float = 0.0) -> None:
        self.figures = Figures()
        self._shown = shown
        self._most = most
        self._patience = patience
        self._pause = pause
        self._stirs = asyncio.Event()
        self._subscribers = Subscribers(self.figures, self._stirs.set)
        self._waiting = Waiting()
        self._listening: set[str] = set()
        self._told: set[str] = set()
        self._loss: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    @abstractmethod
    async def connect(self, ears: Ears) -> Wire:
        """A new connection. Raises any exception when there is none."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"the bus {self._shown}")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "it was entered"
        task, self._task = self._task, None
        self._subscribers.end()
        self._is_over = True
        self._stirs.set()
        try:
            await asyncio.wait([task], timeout=_LAST_WORDS if self.figures.is_connected else 0.0)
        finally:
            task.cancel()
        while not task.done():
            await asyncio.wait([task], timeout=_LAST_WORDS / 10)
            task.cancel()  # once is not enough where a driver takes it for a failure of the connection

    async def publish(self, topic: str, payload: bytes = b"") -> None:
        """Tells the subscribers of this object now and all others soon."""
        check(topic, payload, self._most)
        if self._task is None:
            return
        self.figures.published += 1
        self._subscribers.tell(topic, payload)
        before = self._waiting.dropped
        self._waiting.add(Message(topic, payload))
        self.figures.dropped += self._waiting.dropped - before
        self._stirs.set()

    def subscribe(self, topic: str) -> Subscription:
        """What is published on a topic from now on; a wake-up first, as soon as others are heard."""
        check(topic)
        subscription = self._subscribers.add(topic)
        if topic in self._listening:
            subscription.put(b"")
        return subscription

    # the task

    async def _run(self) -> None:
        first, longest = self._patience.retry
        pause, is_known = first, False
        while not self._is_over:
            before, since = self.figures.connections, asyncio.get_running_loop().time()
            try:
                await self._serve()
            except Exception as error:
                is_new = self.figures.connections > before
                if is_new and asyncio.get_running_loop().time() - since > pause:
                    pause = first  # not for a broker that takes us and at once loses us again
                self.figures.failures += 1
                level = logging.WARNING if is_new or not is_known else logging.DEBUG
                _log.log(level, "the bus %s is away, others hear late of what happens: %s", self._shown, _said(error))
                is_known = True
            if self._is_over:
                return
            # Apart from each other, for all who lost the same broker come back to it.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (it spreads load)
            pause = min(pause * 2, longest)

    async def _serve(self) -> None:
        """One connection from its beginning to its loss, which it raises."""
        self._loss = None
        async with asyncio.timeout(self._patience.answer):
            wire = await self.connect(Ears(self._hear, self._lose))
        try:
            await self._welcome(wire)
            await self._work(wire)
        finally:
            self.figures.is_connected = False
            self._listening.clear()
            await self._part(wire)

    async def _welcome(self, wire: Wire) -> None:
        await self._listen(wire)
        if self.figures.connections:
            _log.info("the bus %s is there again", self._shown)
        self.figures.connections += 1
        self.figures.is_connected = True
        # What was sent may have been lost with the connection; others who kept theirs do not know it.
        for topic in self._told:
            self._waiting.add(Message(topic))
        self._told.clear()

    async def _work(self, wire: Wire) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._patience.pulse
        while True:
            self._stirs.clear()
            if self._loss is not None:
                raise self._loss
            if self._subscribers.topics != self._listening:
                await self._listen(wire)
            if self._waiting:
                await self._send(wire)
            if self._is_over:
                return
            if loop.time() >= due:
                async with asyncio.timeout(self._patience.answer):
                    await wire.check()
                due = loop.time() + self._patience.pulse
            if not self._stirs.is_set():
                timer = loop.call_at(due, self._stirs.set)
                try:
                    await self._stirs.wait()
                finally:
                    timer.cancel()

    async def _listen(self, wire: Wire) -> None:
        topics = set(self._subscribers.topics)
        more, less = topics - self._listening, self._listening - topics
        async with asyncio.timeout(self._patience.answer):
            if more:
                await wire.listen(more)
            if less:
                await wire.forget(less)
        self._listening = topics
        for topic in more:
            self._subscribers.tell(topic, b"")

    async def _send(self, wire: Wire) -> None:
        messages = self._waiting.take_all()
        self._told.update(message.topic for message in messages)
        try:
            async with asyncio.timeout(self._patience.answer):
                await wire.send(messages)
        except Exception:
            # Perhaps they have arrived, so they are not sent again: at most once.
            self.figures.dropped += sum(1 for message in messages if message.payload)
            raise
        self.figures.sent += len(messages)
        if self._pause:
            await asyncio.sleep(self._pause)

    async def _part(self, wire: Wire) -> None:
        try:
            async with asyncio.timeout(self._patience.answer):
                await wire.close()
        except Exception as error:
            _log.debug("the connection to the bus %s did not end well: %s", self._shown, _said(error))

    def _hear(self, topic: str, payload: bytes) -> None:
        self.figures.received += 1
        self._subscribers.tell(topic, payload)

    def _lose(self, error: Exception) -> None:
        self._loss = self._loss or error
        self._stirs.set()


def _said(error: Exception) -> str:
    return str(error) or ("no answer" if isinstance(error, TimeoutError) else type(error).__name__)
