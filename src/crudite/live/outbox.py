"""The outbox: what is due for one connection, bounded in bytes, handed over in as few turns as possible.

There are two ways out of it. A reader takes what has gathered (`messages`); or a sink is attached, and for as long
as the transport takes it frames go there at once, by no task, and what is said to one connection alone at the end of
the turn. Either way the order is the one in which things were put in.

It holds two kinds of parts: messages, which count against the limit while they wait, and streams (a snapshot,
made into messages only when they are taken), which do not: they share their records with the group, and a set
larger than the limit must still be able to arrive. For the same reason one message, of whatever size, may
always wait.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Literal, TypeAlias

from crudite.live.frames import Format, Frame, Subscription
from crudite.server.extension import Framing, Sink

EndReason: TypeAlias = Literal["closed", "slow", "away"]
"""Why an outbox has ended: its owner closed it; too much was waiting; the server is going away."""

Part: TypeAlias = bytes | Iterator[bytes]

_log = logging.getLogger("crudite.live")
_PIECE = 64 * 1024


class Parcel:
    """Messages that go together, and their bytes on the wire, made once for all outboxes that get it."""

    __slots__ = ("_framed", "messages", "size")

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.messages = messages
        self.size = sum(map(len, messages))
        self._framed: dict[Framing, bytes] = {}

    def framed(self, framing: Framing) -> bytes:
        """The bytes on the wire of one kind of stream."""
        made = self._framed.get(framing)
        if made is None:
            made = self._framed[framing] = framing(self.messages) if self.size else b""
        return made


class Encoded:
    """One frame as the bytes for one audience: as the last one before a commit, and otherwise."""

    __slots__ = ("_make", "_opening", "closing")

    def __init__(
        self, frame: Frame, format: Format, to: Subscription, before: str, after: str, *, is_alone: bool
    ) -> None:
        make = format.frame_alone if is_alone else format.frame
        self.closing = Parcel(make(frame, to, before, after))
        self._make = partial(make, frame, to, before, None)
        self._opening: Parcel | None = None

    @property
    def opening(self) -> Parcel:
        """The messages when another frame of the same tick follows on the connection."""
        if self._opening is None:
            self._opening = Parcel(self._make())
        return self._opening


class Outbox:
    """What waits for one connection. Over `limit` bytes it gives all up as `slow` and calls `on_slow`."""

    __slots__ = (
        "_framing",
        "_given_up",
        "_hand_over",
        "_limit",
        "_on_over",
        "_on_slow",
        "_parts",
        "_reader",
        "_sink",
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
        self._on_over: Callable[[], None] = lambda: None
        self._given_up = False
        self._parts: list[Part] = []  # with a sink, its messages are framed already
        self._size = 0  # of the messages among them
        self._sink: Sink | None = None
        self._framing: Framing
        self._hand_over: Callable[[bytes], None]
        self._reader: asyncio.Future[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def size(self) -> int:
        """How many bytes of messages wait here; what the transport has taken, or a reader, is not among them."""
        return self._size

    def put(self, parcel: Parcel) -> None:
        """Adds messages that are to go now, with all that was added before."""
        sink = self._sink
        if sink is None or self._parts or not sink.is_writable:
            self.add(parcel)
            self._wake()
        elif self.ended is None:
            self._hand_over(parcel.framed(self._framing))

    def add(self, parcel: Parcel) -> None:
        """Adds messages that more will follow in the same tick, so that all of them go as one."""
        if self.ended is not None:
            return
        sink = self._sink
        due = parcel.messages if sink is None else (parcel.framed(self._framing),)
        size = parcel.size if sink is None else len(due[0])
        if self._size and self._size + size > self._limit:
            self._wake()  # a sink may take what waits only for the end of the turn
        if self._size and self._size + size > self._limit:
            self.drop("slow")
            self._on_slow()
            return
        self._size += size
        self._parts.extend(due)

    def send(self, *messages: bytes) -> None:
        """Adds messages for this connection alone; empty ones are left out. A sink gets them with all else of the same
        turn of the loop: each write wakes the client, whose next call would come in between."""
        due = [message for message in messages if message]
        if not due:
            return
        if self._sink is None:
            self.put(Parcel(due))
            return
        if not self._parts:
            asyncio.get_running_loop().call_soon(self._wake)
        self.add(Parcel(due))
        self._stir()

    def stream(self, messages: Iterator[bytes]) -> None:
        """Adds messages that are made when they are taken."""
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
        self._parts, self._size = [], 0
        self.end(reason)
        self._wake()

    async def drained(self) -> None:
        """Returns when all that was due has been handed over (by a reader that waits for more, or to the
        transport), or the outbox has ended."""
        is_taken = self._sink is not None or (self._reader is not None and not self._reader.done())
        if self.ended is None and (self._parts or not is_taken):
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    # To a sink.

    def attach(self, sink: Sink, on_over: Callable[[], None] = lambda: None) -> None:
        """From now on everything goes to the sink. `on_over` is called once: the outbox has ended, and what was due
        has been written or given up."""
        self._parts = [sink.framing((part,)) if isinstance(part, bytes) else part for part in self._parts]
        self._size = sum(len(part) for part in self._parts if isinstance(part, bytes))
        self._sink, self._on_over = sink, on_over
        self._framing, self._hand_over = sink.framing, sink.write  # looked up once, not for every frame
        sink.writer = self
        self._wake()

    async def turns(self) -> AsyncIterator[None]:
        """Comes at once, and whenever something was put in for this connection alone, not for many as frames are; it
        ends when the outbox has ended and all that was due has been written or given up. For one reader."""
        while self._sink is not None:
            yield
            if self._sink is not None:
                await self._stirred()

    def resume(self) -> None:
        """The transport takes more again."""
        self._wake()

    def lose(self) -> None:
        """The connection is lost."""
        self.drop("closed")

    def _write(self, sink: Sink) -> None:
        while self._parts and sink.is_writable:
            piece = self._piece(self._framing)
            if piece:
                self._hand_over(piece)
        if self._parts:
            return
        self._tell_drained()
        if self.ended is not None and self._sink is not None:
            self._sink = sink.writer = None
            self._stir()
            self._on_over()

    def _piece(self, framing: Framing) -> bytes:
        """Takes what is next: the next message of a stream, or the messages in front, up to about 64 KiB."""
        first = self._parts[0]
        if not isinstance(first, bytes):
            message = self._next(first)
            return framing((message,)) if message else b""
        pieces: list[bytes] = []
        size = 0
        for part in self._parts:
            if not isinstance(part, bytes) or size >= _PIECE:
                break
            pieces.append(part)
            size += len(part)
        del self._parts[: len(pieces)]
        self._size -= size
        return b"".join(pieces)

    def _next(self, stream: Iterator[bytes]) -> bytes | None:
        try:
            message = next(stream, None)
        except Exception:  # whoever writes now may be in the middle of a walk over outboxes: only this one is to end
            _log.exception("a set could not be encoded")
            self.drop("closed")
            return None
        if message is None:
            del self._parts[0]
        return message

    # To a reader.

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
        self._tell_drained()
        await self._stirred()
        return True

    async def _stirred(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        """Whoever takes what is here goes on."""
        if self._sink is not None:
            self._write(self._sink)
        else:
            self._stir()

    def _stir(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _tell_drained(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
