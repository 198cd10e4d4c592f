"""The bus of one process, `local:`: whoever publishes reaches the subscribers of the same object, and nobody else."""

from typing import Self

from crudite.buses.base import Figures, check
from crudite.buses.subscribing import Subscribers, Subscription
from crudite.errors import BusError

_MOST = 1024 * 1024


class LocalBus:
    """What an application has that runs in one process. Raises BusError for a URL that names more than `local:`."""

    def __init__(self, url: str = "local:") -> None:
        if url not in ("local:", "local://"):
            raise BusError(f"expected local: and got {url!r}")
        self.figures = Figures()
        self._subscribers = Subscribers(self.figures)
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        self.figures.is_connected = True
        self.figures.connections += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        self.figures.is_connected = False
        self._subscribers.end()

    async def publish(self, topic: str, payload: bytes = b"") -> None:
        """Tells the subscribers of a topic."""
        check(topic, payload, _MOST)
        if self._is_open:
            self.figures.published += 1
            self._subscribers.tell(topic, payload)

    def subscribe(self, topic: str) -> Subscription:
        """What is published on a topic from now on; a wake-up first."""
        check(topic)
        subscription = self._subscribers.add(topic)
        subscription.put(b"")
        return subscription
