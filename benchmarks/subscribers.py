"""Many subscribers in one process that only count: what a thousand browsers would do, without their price."""

import asyncio
import time
from abc import abstractmethod
from typing import cast

from benchmarks.servers import BenchmarkError

EVENT = b'"version":'  # once in every record that is added, and in the fields of every one that changes
WAIT_SECONDS = 60.0


class Tally:
    """What all subscribers together have applied, and when the last of an expected number was."""

    def __init__(self) -> None:
        self.seen = 0
        self.expected = 0
        self.last = 0.0
        self.fault: BaseException | None = None
        self.reached: asyncio.Future[None] | None = None

    def add(self, events: int) -> None:
        self.seen += events
        if self.seen >= self.expected and self.reached and not self.reached.done():
            self.last = time.perf_counter()
            self.reached.set_result(None)

    def fail(self, reason: str) -> None:
        self.fault = self.fault or BenchmarkError(reason)
        if self.reached and not self.reached.done():
            self.reached.set_exception(self.fault)

    async def until(self, expected: int) -> float:
        """The time (of perf_counter) at which `expected` events had been applied since the start.

        BenchmarkError when a subscriber fails, when more arrive than were expected, or after a minute.
        """
        if self.fault:
            raise self.fault
        if self.seen < expected:
            self.expected, self.reached = expected, asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self.reached, WAIT_SECONDS)
            except TimeoutError:
                raise BenchmarkError(f"{self.seen} of {expected} events arrived in time.") from None
        else:
            self.last = time.perf_counter()
        if self.seen != expected:
            raise BenchmarkError(f"{self.seen} events arrived, {expected} were expected.")
        return self.last


class Subscriber(asyncio.Protocol):
    """One connection: `ready` is done with its snapshot; `events` is what it has applied since."""

    def __init__(self, tally: Tally, opening: bytes) -> None:
        self.tally, self.opening = tally, opening
        self.events = 0
        self.closing = False
        self.buffer = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.opening)

    def data_received(self, data: bytes) -> None:
        held = self.buffer + data if self.buffer else data
        try:
            self.buffer = held[self.consume(held) :]
        except BenchmarkError as error:
            self.fail(str(error))

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.closing:
            self.fail("a subscriber was disconnected")

    def fail(self, reason: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(BenchmarkError(reason))
        self.tally.fail(reason)

    def applied(self, events: int) -> None:
        self.events += events
        self.tally.add(events)

    def close(self) -> None:
        self.closing = True
        self.transport.abort()

    @abstractmethod
    def consume(self, held: bytes) -> int:
        """Take in what is whole of the bytes held and say how many of them that was."""


class WebSocketSubscriber(Subscriber):
    """A WebSocket client (RFC 6455) that subscribes with one message; without one it hears a broadcast."""

    def __init__(self, tally: Tally, call: bytes | None) -> None:
        super().__init__(tally, HANDSHAKE)
        self.call = call
        self.upgraded = False
        self.held = 0

    def consume(self, held: bytes) -> int:
        at = 0
        if not self.upgraded:
            end = held.find(b"\r\n\r\n")
            if end < 0:
                return 0
            if not held.startswith(b"HTTP/1.1 101"):
                raise BenchmarkError(f"the WebSocket was refused: {held[:200]!r}")
            self.upgraded, at = True, end + 4
            if self.call is None:
                self.ready.set_result(None)
            else:
                self.transport.write(masked(1, self.call))
        return self.frames(held, at)

    def frames(self, held: bytes, at: int) -> int:
        """Hand on the whole frames from `at` on; the place after the last of them (RFC 6455, 5.2)."""
        end = len(held)
        while end - at >= 2:
            length, start = held[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(held[at + 2 : start], "big")
            if end < start + length:
                break
            self.message(held[at] & 15, held[start : start + length])
            at = start + length
        return at

    def message(self, opcode: int, payload: bytes) -> None:
        if opcode == 1 and self.call is None:
            self.applied(payload.count(EVENT))
        elif opcode == 1 and self.ready.done():
            self.event(payload)
        elif opcode == 1:
            self.before_ready(payload)
        elif opcode == 9:
            self.transport.write(masked(10, payload))
        elif opcode == 8:
            raise BenchmarkError(f"the server closed a WebSocket: {payload[2:]!r}")

    def before_ready(self, payload: bytes) -> None:
        if b'"error"' in payload[:40] or b'"method":"problem"' in payload:
            raise BenchmarkError(f"the subscription was refused: {payload!r}")
        if b'"method":"ready"' in payload:
            self.ready.set_result(None)

    def event(self, payload: bytes) -> None:
        """A frame is held until its commit, which may come in the same message: then only may a client show it."""
        is_frame, is_commit = b'"method":"frame"' in payload, b'"method":"commit"' in payload
        if is_frame:
            self.held += payload.count(EVENT)
        if is_commit and self.held:
            self.applied(self.held)
            self.held = 0
        if not is_frame and not is_commit and b'"method":"ping"' not in payload:
            raise BenchmarkError(f"an unexpected message: {payload[:200]!r}")


class SseSubscriber(Subscriber):
    """A client of server-sent events that counts `added` and `changed` after `ready`."""

    def __init__(self, tally: Tally, path: str) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        super().__init__(tally, head.encode("ascii"))

    def consume(self, held: bytes) -> int:
        # Whole lines only, so that no name of an event is cut in two.
        end = held.rfind(b"\n") + 1
        if not self.ready.done():
            if len(held) >= 12 and not held.startswith(b"HTTP/1.1 200"):
                raise BenchmarkError(f"the stream was refused: {held[:200]!r}")
            start = held.find(b"event: ready\n")
            if start < 0:
                return 0
            self.ready.set_result(None)
            held = held[start:]
        if b"event: reset\n" in held:
            raise BenchmarkError("the server reset a stream")
        events = held.count(b"event: changed\n") + held.count(b"event: added\n")
        if events:
            self.applied(events)
        return end


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: crudite.v1\r\n\r\n"
)


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame with the mask 0, which leaves the payload as it is (RFC 6455, 5.3)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload
