"""The outbox: what is due for one connection, bounded in bytes, handed over in as few turns as possible.

Frames reach a thousand outboxes in one go, so that putting something in costs an append and, only if the
reader waits, one wake-up. It holds two kinds of parts: messages, which count against the limit, and streams
(a snapshot, made into messages only when the reader takes them), which do not: they share their records with
the group, and a set larger than the limit must still be able to arrive.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Literal, TypeAlias

from crudite.live.frames import Format, Frame, Subscription

EndReason: TypeAlias = Literal["closed", "slow", "away"]
"""Why an outbox has ended: its owner closed it; too much was waiting; the server is going away."""

Part: TypeAlias = bytes | Iterator[bytes]


class Encoded:
    """One frame as the bytes for one audience: as the last one before a commit, and otherwise."""

    __slots__ = ("_before", "_format", "_frame", "_opening", "_to", "closing", "size")

    def __init__(self, frame: Frame, format: Format, to: Subscription, before: str, after: str) -> None:
        self.closing: Sequence[bytes] = format.frame(frame, to, before, after)
        self.size = sum(map(len, self.closing))
        self._frame, self._format, self._to, self._before = frame, format, to, before
        self._opening: Sequence[bytes] | None = None

    @property
    def opening(self) -> Sequence[bytes]:
        """The messages when another frame of the same tick follows on the connection."""
        if self._opening is None:
            self._opening = self._format.frame(self._frame, self._to, self._before, None)
        return self._opening


class Outbox:
    """What waits for one connection. Over `limit` bytes it gives all up as `slow` and calls `on_slow`."""

    __slots__ = (
        "_given_up",
        "_limit",
        "_on_slow",
        "_parts",
        "_reader",
        "_size",
        "_waiting",
        "ended",
        "held",
        "touched",
    )

    def __init__(self, limit: int, on_slow: Callable[[], None]) -> None:
        self.ended: EndReason | None = None
        self.held: Encoded | None = None  # the frame of the tick at hand that may turn out to be the last
        self.touched = 0.0  # when it last had something put in, by the loop's clock
        self._limit = limit
        self._on_slow = on_slow
        self._given_up = False
        self._parts: list[Part] = []
        self._size = 0
        self._reader: asyncio.Future[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def put(self, messages: Sequence[bytes], size: int) -> None:
        """Adds messages of so many bytes together."""
        if self.ended is not None:
            return
        self._size += size
        if self._size > self._limit:
            self.drop("slow")
            self._on_slow()
            return
        self._parts.extend(messages)
        self._wake()

    def send(self, *messages: bytes) -> None:
        """Adds messages; empty ones are left out."""
        due = [message for message in messages if message]
        if due:
            self.put(due, sum(map(len, due)))

    def stream(self, messages: Iterator[bytes]) -> None:
        """Adds messages that are made when the reader takes them."""
        if self.ended is None:
            self._parts.append(messages)
            self._wake()

    def end(self, reason: EndReason) -> None:
        """Nothing more comes; what is there is still handed over."""
        if self.ended is None:
            self.ended = reason
            self._tell_drained()
            self._wake()

    def drop(self, reason: EndReason) -> None:
        """Nothing more comes, and what is there is given up."""
        self._given_up = True
        self._parts = []
        self.end(reason)

    async def drained(self) -> None:
        """Returns when the reader has sent all that was due and waits for more, or the outbox has ended."""
        is_idle = self._reader is not None and not self._reader.done() and not self._parts
        if self.ended is None and not is_idle:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def messages(self) -> AsyncIterator[Sequence[bytes]]:
        """Whatever is due, in order: every time all that has gathered. It ends after the outbox has ended."""
        while True:
            parts, self._parts, self._size = self._parts, [], 0
            gathered: list[bytes] = []
            for part in parts:
                if isinstance(part, bytes):
                    gathered.append(part)
                    continue
                for message in part:
                    yield [*gathered, message]
                    gathered = []
                    if self._given_up:
                        return
            if gathered:
                yield gathered
            if not self._parts and not await self._more():
                return

    async def _more(self) -> bool:
        if self.ended is not None:
            return False
        self._reader = asyncio.get_running_loop().create_future()
        self._tell_drained()
        try:
            await self._reader
        finally:
            self._reader = None
        return True

    def _tell_drained(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)
