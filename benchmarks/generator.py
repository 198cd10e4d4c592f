"""A load generator for machines without wrk: keep-alive connections, one request in flight on each.

Requests are bytes made beforehand; of a response only the status and the length are read. A server faster than
about 80,000 requests a second is beyond it.
"""

import itertools
import time
from collections.abc import Iterator

from benchmarks.swarm import Client, Swarm

SETTLING_SECONDS = 10.0


def message(method: str, path: str, body: bytes = b"") -> bytes:
    """An HTTP/1.1 request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


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


class Connection(Client):
    """One connection that asks again as soon as it is answered, until `until`; then it is ready."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        super().__init__()
        self.requests, self.until = requests, until
        self.latencies: list[float] = []
        self.errors = 0

    def opened(self) -> None:
        self.ask()

    def ask(self) -> None:
        self.sent = time.perf_counter()
        self.send(next(self.requests))

    def take(self, data: bytes) -> int:
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + length_of(data, head):
            return 0
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        self.errors += data[9] != 50  # a status of 200 to 299 begins with "2"
        if now < self.until:
            self.ask()
        else:
            self.is_ready = True
        # One request is in flight, so what has arrived is one response and nothing more.
        return len(data)

    def lost(self) -> None:
        self.errors += not self.is_ready
        self.is_ready = True


def run(
    port: int, connections: int, seconds: float, method: str, paths: list[str], body: bytes
) -> tuple[int, float, float, float, int]:
    """Load a port of this machine: requests answered, wall seconds, p50 and p99 in seconds, errors."""
    requests = itertools.cycle([message(method, path, body) for path in paths])
    start = time.perf_counter()
    opened = [Connection(requests, start + seconds) for _ in range(connections)]
    with Swarm(port) as swarm:
        swarm.open(opened, seconds + SETTLING_SECONDS)
    elapsed = time.perf_counter() - start
    latencies = sorted(itertools.chain.from_iterable(each.latencies for each in opened)) or [0.0]
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    return len(latencies), elapsed, p50, p99, sum(each.errors for each in opened)
