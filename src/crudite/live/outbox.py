"""The outbox: what is due for one connection, bounded in bytes, handed over in as few turns as possible.

There are two ways out of it. A reader takes what has gathered (`messages`); or a sink is attached, and for as long
as the transport takes it frames go there at once, by no task, and what is said to one connection alone at the end of
the turn. Either way the order is the one in which things were put in.

It holds two kinds of parts: messages, which count against the limit while they wait, and streams (a snapshot,
made into messages only when they are taken), which do not: they share their records with the group, and a set
larger than the limit must still be able to arrive; only their number is bounded. For the same reason one message, of
whatever size, may always wait.

A client that takes less than happens is not told every step. When more than half of the limit waits, the frames at
the end are left out, and so are all that come; what else is put in waits. Once all before them has been taken, the
`catcher` tells in one go what they would have told (`catch_up`), and what waited follows:

                 more than half of the limit waits
    up to date ─────────────────────────────────────► behind
        ▲                                                │ all that is before the gap has been taken
        └──────────────── catch_up ◄─────────────────────┘
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

from crudite.live.parcels import Encoded, Parcel, Part
from crudite.server.extension import Framing, Sink

EndReason: TypeAlias = Literal["closed", "slow", "away"]
"""Why an outbox has ended: its owner closed it; too much was waiting; the server is going away."""

_log = logging.getLogger("crudite.live")
_PIECE = 64 * 1024


class Catcher(Protocol):
    """Who can tell a client in one go what it was not told step by step."""

    def can_catch_up(self) -> bool:
        """Whether that is possible now."""
        ...

    def fall_behind(self, since: str) -> None:
        """From a cursor of the exact lane on nothing is told; an empty one is that lane's present cursor."""
        ...

    def drained(self) -> None:
        """Everything before that has been taken. It may be said more than once."""
        ...


class Outbox:
    """What waits for one connection. Over `limit` bytes it gives all up as `slow` and calls `on_slow`."""

    __slots__ = (
        "_framing",
        "_given_up",
        "_is_cut",
        "_later",
        "_limit",
        "_on_over",
        "_on_slow",
        "_parts",
        "_reader",
        "_sink",
        "_size",
        "_waiting",
        "catcher",
        "ended",
        "held",
        "touched",
    )

    def __init__(self, limit: int, on_slow: Callable[[], None]) -> None:
        self.ended: EndReason | None = None
        self.held: Encoded | None = None  # the frame of the tick at hand that may turn out to be the last
        self.catcher: Catcher | None = None
        self.touched = 0.0  # when it last had something put in, by the loop's clock
        self._limit = limit
        self._on_slow = on_slow
        self._on_over: Callable[[], None] = lambda: None
        self._given_up = False
        self._parts: list[Part] | tuple[Part, ...] = ()  # a list only while something waits, which it seldom does
        self._later: list[Part] | None = None  # what follows once the client has been caught up; None: it is up to date
        self._size = 0  # of the messages in both
        self._is_cut = False  # whether what was taken last may end in the middle of a tick
        self._sink: Sink | None = None
        self._framing: Framing
        self._reader: asyncio.Future[None] | None = None
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    @property
    def size(self) -> int:
        """How many bytes of messages wait here; what the transport has taken, or a reader, is not among them."""
        return self._size

    def put(self, parcel: Parcel) -> None:
        """Adds messages that are to go now, with all that was added before."""
        sink = self._sink
        if sink is None or self._parts or self._later is not None or not sink.is_writable:
            self.add(parcel)
            self._wake()
        elif self.ended is None:
            sink.write(parcel.framed(self._framing))

    def add(self, parcel: Parcel) -> None:
        """Adds messages that more will follow in the same tick, so that all of them go as one."""
        if self.ended is not None or (self._later is not None and parcel.since is not None):
            return
        size = self._weight(parcel)
        if self._size and self._size + size > self._limit:
            self._wake()  # a sink may take what waits only for the end of the turn
        if self._size and self._size + size > self._limit:
            self.drop("slow")
            self._on_slow()
            return
        self._size += size
        self._append(parcel)
        if parcel.since is not None and parcel.closes and self._size > max(size, self._limit // 2):
            self._fall_behind()

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

    def stream(self, messages: Iterator[bytes], most: int) -> None:
        """Adds messages that are made when they are taken. Each such part holds a whole set: where `most` of them wait
        already, the client takes too little, and all is given up as `slow`."""
        if self.ended is not None:
            return
        waiting = sum(not isinstance(part, Parcel) for part in (*self._parts, *(self._later or ())))
        if waiting >= most:
            self.drop("slow")
            self._on_slow()
            return
        self._append(messages)
        self._wake()

    @property
    def is_behind(self) -> bool:
        """Whether frames are left out until the client has been caught up."""
        return self._later is not None

    def catch_up(self, messages: Sequence[bytes]) -> None:
        """These messages tell what was left out. They may be more than the limit: they are what a set has come to."""
        if self._later is not None:
            later, self._later = self._later, None
            caught_up = Parcel([message for message in messages if message], is_free=True)
            self._parts = [*self._parts, caught_up, *later]
            self._wake()

    def end(self, reason: EndReason) -> None:
        """Nothing more comes; what is there is still handed over."""
        if self.ended is None:
            self.ended = reason
            self._parts = [*self._parts, *(self._later or ())]
            self._later = None
            self._tell_drained()
            self._wake()

    def drop(self, reason: EndReason) -> None:
        """Nothing more comes, and what is there is given up."""
        self._given_up = True
        self._parts, self._later, self._size = (), None, 0
        self.end(reason)
        self._wake()

    def fail(self) -> None:
        """It could not be written to, in the middle of a walk over many: only this one is to end, and behind that."""
        _log.exception("what is due could not be handed over")
        asyncio.get_running_loop().call_soon(self.drop, "closed")

    async def drained(self) -> None:
        """Returns when all that was due has been handed over (by a reader that waits for more, or to the
        transport), or the outbox has ended."""
        is_taken = self._sink is not None or (self._reader is not None and not self._reader.done())
        if self.ended is None and (self._parts or self._later is not None or not is_taken):
            await self._told_drained()

    async def up_to_date(self) -> None:
        """Returns when nothing is left out (any more), or the outbox has ended."""
        while self._later is not None:
            await self._told_drained()

    # To a sink.

    def attach(self, sink: Sink, on_over: Callable[[], None] = lambda: None) -> None:
        """From now on everything goes to the sink. `on_over` is called once: the outbox has ended, and what was due
        has been written or given up; at once when the connection is lost already."""
        self._sink, self._on_over = sink, on_over
        self._framing = sink.framing
        self._size = sum(self._weight(part) for part in self._parts if isinstance(part, Parcel))
        sink.writer = self
        if sink.is_lost:
            self.lose()
        else:
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
                sink.write(piece)
        if self._parts:
            return
        if self._later is not None:
            if sink.is_writable:
                self._ask_to_be_caught_up()
            return
        self._tell_drained()
        if self.ended is not None and self._sink is not None:
            self._sink = sink.writer = None
            self._stir()
            self._on_over()

    def _piece(self, framing: Framing) -> bytes:
        """Takes what is next: the next message of a stream, or the messages in front, up to about 64 KiB."""
        first = self._parts[0]
        if not isinstance(first, Parcel):
            self._is_cut = False
            message = self._next(first)
            return framing((message,)) if message else b""
        pieces: list[bytes] = []
        size = 0
        for part in self._parts:
            if not isinstance(part, Parcel) or size >= _PIECE:
                break
            piece = part.framed(framing)
            pieces.append(piece)
            size += len(piece)
            self._size -= self._weight(part)
            self._is_cut = not part.closes
        self._parts = self._parts[len(pieces) :] or ()
        return b"".join(pieces)

    def _next(self, stream: Iterator[bytes]) -> bytes | None:
        try:
            message = next(stream, None)
        except Exception:  # whoever writes now may be in the middle of a walk over outboxes: only this one is to end
            _log.exception("a set could not be encoded")
            self.drop("closed")
            return None
        if message is None:
            self._parts = self._parts[1:] or ()
        return message

    # To a reader.

    async def messages(self) -> AsyncIterator[Sequence[bytes]]:
        """Whatever is due, in order: every time all that has gathered. It ends after the outbox has ended."""
        while True:
            parts, self._parts = self._parts, ()
            self._size -= sum(self._weight(part) for part in parts if isinstance(part, Parcel))
            gathered: list[bytes] = []
            for part in parts:
                if isinstance(part, Parcel):
                    gathered += part.messages
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
        if self._later is None:
            self._tell_drained()
        else:
            self._ask_to_be_caught_up()
        if not self._parts:
            await self._stirred()
        return True

    async def _stirred(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    # Falling behind.

    def _append(self, part: Part) -> None:
        if self._later is not None:
            self._later.append(part)
        elif isinstance(self._parts, list):
            self._parts.append(part)
        else:
            self._parts = [part]

    def _weight(self, parcel: Parcel) -> int:
        if parcel.is_free:
            return 0
        return parcel.size if self._sink is None else len(parcel.framed(self._framing))

    def _fall_behind(self) -> None:
        """Leaves out the frames at the end, if they are enough; what is before them still goes."""
        if self.catcher is None or not self.catcher.can_catch_up():
            return
        self._wake()  # a sink may take what waits only for the end of the turn
        if self._size <= self._limit // 2:
            return
        left_out: list[Parcel] = []
        for part in reversed(self._parts):
            if not isinstance(part, Parcel) or part.since is None:
                break
            left_out.append(part)
        left_out.reverse()
        if self._is_cut and len(left_out) == len(self._parts):  # the rest of a tick that the client has begun to get
            left_out = left_out[1 + next(at for at, parcel in enumerate(left_out) if parcel.closes) :]
        if not left_out:
            return
        self._parts = self._parts[: -len(left_out)] or ()
        self._size -= sum(map(self._weight, left_out))
        self._later = []
        self.catcher.fall_behind(next((parcel.since for parcel in left_out if parcel.since), ""))

    def _ask_to_be_caught_up(self) -> None:
        assert self.catcher is not None
        self.catcher.drained()

    def _wake(self) -> None:
        """Whoever takes what is here goes on."""
        if self._sink is not None:
            self._write(self._sink)
        else:
            self._stir()

    def _stir(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _told_drained(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting += (waiting,)
        await waiting

    def _tell_drained(self) -> None:
        told, self._waiting = self._waiting, ()
        for waiting in told:
            if not waiting.done():
                waiting.set_result(None)


def hand_out(parcel: Parcel, outboxes: Iterable[Outbox], now: float) -> None:
    """Puts one parcel into many outboxes: `Outbox.put`, at half its price where the transport takes it at once."""
    for outbox in outboxes:
        sink = outbox._sink  # noqa: SLF001
        try:
            if sink is None or outbox._parts or outbox._later is not None or not sink.is_writable:  # noqa: SLF001
                outbox.put(parcel)
            elif outbox.ended is None:
                sink.write(parcel.framed(outbox._framing))  # noqa: SLF001
        except Exception:
            outbox.fail()
        outbox.touched = now
