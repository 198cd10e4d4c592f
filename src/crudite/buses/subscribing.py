"""The subscribers of one bus object: who listens to which topic, and what each has not read yet."""

from asyncio import Event
from collections.abc import AsyncIterator, Callable, Collection

from crudite.buses.base import Figures
from crudite.buses.waiting import Message, Waiting


class Subscription(AsyncIterator[bytes]):
    """What is published on one topic, as `Bus.subscribe` returns it."""

    def __init__(self, topic: str, figures: Figures, leave: "Callable[[Subscription], None]") -> None:
        self.topic = topic
        self._figures = figures
        self._leave = leave
        self._waiting = Waiting()
        self._stirs = Event()
        self._is_over = False

    def put(self, payload: bytes) -> None:
        """Tells the reader."""
        before = self._waiting.dropped
        self._waiting.add(Message(self.topic, payload))
        self._figures.dropped += self._waiting.dropped - before
        self._stirs.set()

    def end(self) -> None:
        """Nothing comes any more; what waits is not told."""
        self._is_over = True
        self._stirs.set()

    async def __anext__(self) -> bytes:
        while not self._is_over:
            if self._waiting:
                return self._waiting.take().payload
            self._stirs.clear()
            await self._stirs.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends it; a reader that waits is let go."""
        self.end()
        self._leave(self)


class Subscribers:
    """All subscriptions of a bus object. `on_change` is called when a topic gets its first or loses its last one."""

    def __init__(self, figures: Figures, on_change: Callable[[], None] = lambda: None) -> None:
        self._figures = figures
        self._on_change = on_change
        self._by_topic: dict[str, list[Subscription]] = {}
        self._is_over = False

    @property
    def topics(self) -> Collection[str]:
        """The topics that somebody listens to."""
        return self._by_topic.keys()

    def add(self, topic: str) -> Subscription:
        """A new subscription."""
        subscription = Subscription(topic, self._figures, self._remove)
        if self._is_over:
            subscription.end()
        else:
            self._by_topic.setdefault(topic, []).append(subscription)
            self._on_change()
        return subscription

    def tell(self, topic: str, payload: bytes) -> None:
        """Hands a payload to all who listen to its topic."""
        for subscription in self._by_topic.get(topic, ()):
            subscription.put(payload)

    def end(self) -> None:
        """Ends all subscriptions, and those that are still asked for."""
        self._is_over = True
        for subscriptions in self._by_topic.values():
            for subscription in subscriptions:
                subscription.end()
        self._by_topic.clear()

    def _remove(self, subscription: Subscription) -> None:
        others = [one for one in self._by_topic.get(subscription.topic, ()) if one is not subscription]
        if others:
            self._by_topic[subscription.topic] = others
        elif self._by_topic.pop(subscription.topic, None):
            self._on_change()
