"""A load generator for machines without wrk: keep-alive connections, one request in flight on each.

Requests are bytes made beforehand; of a response only the status and the length are read. It spends
about 15 µs for a request, so that a server faster than about 50,000 requests a second is beyond it.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import cast

import uvloop

SETTLING_SECONDS = 10.0


def message(method: str, path: str, body: bytes = b"") -> bytes:
    """An HTTP/1.1 request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


class Responses(asyncio.Protocol):
    """Cuts what arrives into responses of known length and hands the status of each to `answered`."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        held = self.held + data if self.held else data
        head = held.find(b"\r\n\r\n")
        if head < 0 or len(held) < head + 4 + length_of(held, head):
            self.held = held
            return
        # One request is in flight, so what has arrived is one response and nothing more.
        self.held = b""
        self.answered(int(held[9:12]), held)

    def answered(self, status: int, response: bytes) -> None:
        raise NotImplementedError


def length_of(held: bytes, head: int) -> int:
    """The body's length that a response's head tells; ValueError where it tells none (chunked)."""
    start = held.find(b"ontent-", 0, head)
    while start >= 0:
        if held[start + 7 : start + 15].lower() == b"length: ":
            end = held.find(b"\r\n", start)
            return int(held[start + 15 : end])
        start = held.find(b"ontent-", start + 7, head)
    if held[9:12] in (b"204", b"304"):
        return 0
    raise ValueError("a response without Content-Length")


class Connection(Responses):
    """One connection that asks again as soon as it is answered, until `until`."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        super().__init__()
        self.requests, self.until = requests, until
        self.latencies: list[float] = []
        self.errors = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))

    def answered(self, status: int, _response: bytes) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        self.errors += not 200 <= status < 300
        if now < self.until:
            self.ask()
        else:
            self.ended.set_result(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.ended.done():
            self.errors += 1
            self.ended.set_result(None)


async def measure(
    port: int, connections: int, seconds: float, requests: Iterator[bytes]
) -> tuple[int, float, float, float, int]:
    """Requests answered, wall seconds, p50 and p99 in seconds, errors."""
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    opened = [
        (await loop.create_connection(lambda: Connection(requests, until), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    start = time.perf_counter()
    for connection in opened:
        connection.until = start + seconds
        connection.ask()
    _, late = await asyncio.wait([each.ended for each in opened], timeout=seconds + SETTLING_SECONDS)
    elapsed = time.perf_counter() - start
    for connection in opened:
        connection.transport.abort()
    latencies = sorted(itertools.chain.from_iterable(each.latencies for each in opened)) or [0.0]
    errors = sum(each.errors for each in opened) + len(late)
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return len(latencies), elapsed, p50, p99, errors


def run(
    port: int, connections: int, seconds: float, method: str, paths: list[str], body: bytes
) -> tuple[int, float, float, float, int]:
    """Load a port of this machine; see `measure` for what comes back."""
    requests = itertools.cycle([message(method, path, body) for path in paths])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(port, connections, seconds, requests))
