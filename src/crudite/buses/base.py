"""The bus port: wake-ups between processes. `crudite.testing.buses` gives it its meaning."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable
from urllib.parse import SplitResult, urlsplit

from crudite.errors import BusError, PayloadTooLarge

_TOPIC = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_LONGEST_TOPIC = 40
_LONGEST_PREFIX = 20
_NO_HOST = "the bus: expected a port that is a number, and %2F, %3F, %23, %40 for / ? # @ in a password"
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9]+)?")


class Bus(Protocol):
    """Carries wake-ups, and small messages, to whoever subscribes to a topic: here and in other processes.

    It promises little: each message arrives at most once at each subscription, in any order, or not at all. So what
    must not be lost does not travel here; it stands in the change log, and the bus says that it is time to look.

    An empty payload is a wake-up: several that wait for the same subscriber are one. Other payloads wait in a queue;
    beyond its size the oldest are dropped, and a wake-up stands for them. A subscriber is also woken when its
    subscription has become able to receive, at the start and whenever the broker was away meanwhile. So a wake-up
    always means: something may have happened that you were not told.

    It works inside `async with`, once, in one event loop. Entering does not wait for the broker.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None:
        """Subscriptions end. What was published is still sent, if the broker takes it within a second."""
        ...

    async def publish(self, topic: str, payload: bytes = b"") -> None:
        """Tells the subscribers of a topic; those of this object have it already when this returns.

        It waits for nobody, and a broker that is away is no error. Raises PayloadTooLarge, and ValueError for a name
        that is no topic: up to 40 of `a-z 0-9 _ -`, in words with dots between them. Outside `async with` it
        tells nobody.
        """
        ...

    def subscribe(self, topic: str) -> AsyncIterator[bytes]:
        """What is published on a topic from now on, one payload after the other; for one reader.

        The first is a wake-up, when others are heard. It ends with the bus, or by `aclose()`.
        Raises ValueError for a name that is no topic.
        """
        ...


@dataclass(slots=True)
class Figures:
    """What a bus has done since it was made. All but `is_connected` are counters."""

    is_connected: bool = False
    connections: int = 0
    """How often the broker was reached; one is normal."""
    failures: int = 0
    """How often it was lost or could not be reached."""
    published: int = 0
    """Calls of publish."""
    sent: int = 0
    """Messages that left for the broker; less than were published, for wake-ups coalesce."""
    received: int = 0
    """Messages from others."""
    dropped: int = 0
    """Payloads that waited too long, for the broker or for a subscriber, or were lost with a connection."""


@runtime_checkable
class SupportsFigures(Protocol):
    """A bus that counts what it does."""

    @property
    def figures(self) -> Figures:
        """The counts; always the same object."""
        ...


def check(topic: str, payload: bytes = b"", most: int = 0) -> None:
    """Raises ValueError for a name that is no topic, and PayloadTooLarge for more than `most` bytes."""
    if len(topic) > _LONGEST_TOPIC or not _TOPIC.fullmatch(topic):
        raise ValueError(f"expected a topic of a-z, 0-9, _ and -, with dots between words, and got {topic!r}")
    if len(payload) > most:
        raise PayloadTooLarge(len(payload), most)


def check_prefix(prefix: str) -> str:
    """The prefix, which keeps apart who shares a broker. Raises BusError for one that is no topic, or too long."""
    if len(prefix) > _LONGEST_PREFIX or not _TOPIC.fullmatch(prefix):
        raise BusError(f"expected a prefix of up to {_LONGEST_PREFIX} of a-z, 0-9, _ and -, and got {prefix!r}")
    return prefix


def split(url: str) -> tuple[SplitResult, str]:
    """The parts of a URL, and its hosts without who connects. Raises BusError, and shows none of it, when a host is
    none or has a port that is no number, or something like a host comes later: so it is with a password that holds
    `/`, `?` or `#`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BusError(_NO_HOST) from None
    hosts = parts.netloc.rpartition("@")[2]
    if "@" in parts.path + parts.fragment or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise BusError(_NO_HOST)
    return parts, hosts
