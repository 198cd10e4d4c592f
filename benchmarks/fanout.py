"""One change to many subscribers of one query: how soon the last one has it, and what each delivery costs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import generator, machine
from benchmarks.machine import Window
from benchmarks.peers import BROADCAST, CRUDITE, Peer
from benchmarks.rows import Body, body
from benchmarks.servers import BenchmarkError, Server, serving
from benchmarks.subscribers import SseSubscriber, Subscriber, Tally, WebSocketSubscriber

OWNER = 7  # the query: the items of this owner, one row in 200
SUBSCRIBE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscribe",
    "params": {"sub": "s1", "resource": "items", "query": {"where": {"owner": OWNER}}},
}
AT_ONCE = 50  # subscribers that connect at the same time
WRITERS = 4
WARMING_CHANGES = 5


@dataclass(frozen=True)
class Delivery:
    """One way to subscribe: milliseconds to the last client for lone changes, then a stream of creates.

    `write_*` counts from just before the write was sent, `commit_*` from when its answer, which follows
    the commit, had arrived (below zero where the last client was served first). `cpu_us` is the
    server's CPU for one delivery of a lone change, its write included; `stream_*` tell the same for
    creates by four writers as fast as they are answered, `trail_ms` how long after the last answer the
    last client had everything.
    """

    peer: str
    way: str
    subscribers: int
    changes: int
    write_p50_ms: float
    write_p99_ms: float
    commit_p50_ms: float
    commit_p99_ms: float
    cpu_us: float
    stream_creates: int
    stream_rate: float
    stream_cpu_us: float
    trail_ms: float
    foreign: float


class Writer(generator.Responses):
    """A connection that sends one write at a time and waits for its answer."""

    async def call(self, request: bytes) -> float:
        """The time at which the answer had arrived; BenchmarkError unless it is a success."""
        self.answer: asyncio.Future[tuple[int, float, bytes]] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        status, arrived, response = await asyncio.wait_for(self.answer, 30)
        if not 200 <= status < 300:
            raise BenchmarkError(f"a write was answered {response[:400]!r}")
        return arrived

    def answered(self, status: int, response: bytes) -> None:
        self.answer.set_result((status, time.perf_counter(), response))


Make = Callable[[Tally], Subscriber]
WAYS: tuple[tuple[Peer, str, Make], ...] = (
    (CRUDITE, "websocket", lambda tally: WebSocketSubscriber(tally, json.dumps(SUBSCRIBE).encode())),
    (CRUDITE, "sse", lambda tally: SseSubscriber(tally, f"/items/subscribe?owner={OWNER}")),
    (BROADCAST, "websocket", lambda tally: WebSocketSubscriber(tally, None)),
)


def measure(directory: Path, core: int | None, count: int, changes: int, seconds: float) -> Iterator[Delivery]:
    """Each way to subscribe in turn, on a fresh server each."""
    machine.allow_connections()
    for peer, way, make in WAYS:
        place = directory / way / peer.name
        place.mkdir(parents=True)
        with (
            serving(peer, place, core) as server,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            yield runner.run(deliveries(server, way, make, count, changes, seconds))


async def deliveries(server: Server, way: str, make: Make, count: int, changes: int, seconds: float) -> Delivery:
    """Lone changes one after the other, then creates by several writers, to `count` subscribers."""
    tally = Tally()
    async with subscribed(server, lambda: make(tally), count) as all_of_them, writers(server) as writing:
        key = server.keys[OWNER]
        await lone_changes(writing[0], tally, key, count, WARMING_CHANGES, "warming")
        with Window(server.pid) as window:
            times = await lone_changes(writing[0], tally, key, count, changes, "change")
        with Window(server.pid) as stream:
            creates, trail = await creating(writing, tally, count, seconds)
        uneven = {each.events for each in all_of_them} - {WARMING_CHANGES + changes + creates}
        if uneven:
            raise BenchmarkError(f"{server.peer.name}, {way}: some subscribers have {uneven} events.")
    since_write, since_commit = ([pair[place] * 1000 for pair in times] for place in (0, 1))
    return Delivery(
        peer=server.peer.name,
        way=way,
        subscribers=count,
        changes=changes,
        write_p50_ms=quantile(since_write, 0.5),
        write_p99_ms=quantile(since_write, 0.99),
        commit_p50_ms=quantile(since_commit, 0.5),
        commit_p99_ms=quantile(since_commit, 0.99),
        cpu_us=window.server / (changes * count) * 1e6,
        stream_creates=creates,
        stream_rate=creates * count / stream.seconds,
        stream_cpu_us=stream.server / (creates * count) * 1e6,
        trail_ms=trail * 1000,
        foreign=max(window.foreign, stream.foreign),
    )


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@asynccontextmanager
async def subscribed(server: Server, make: Callable[[], Subscriber], count: int) -> AsyncIterator[list[Subscriber]]:
    """`count` subscribers whose snapshots are complete."""
    loop = asyncio.get_running_loop()
    opened: list[Subscriber] = []
    try:
        for first in range(0, count, AT_ONCE):
            number = min(AT_ONCE, count - first)
            joining = [loop.create_connection(make, "127.0.0.1", server.port) for _ in range(number)]
            new = [protocol for _, protocol in await asyncio.gather(*joining)]
            opened += new
            await asyncio.wait_for(asyncio.gather(*(each.ready for each in new)), 60)
        yield opened
    finally:
        for each in opened:
            each.close()


@asynccontextmanager
async def writers(server: Server) -> AsyncIterator[list[Writer]]:
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(Writer, "127.0.0.1", server.port))[1] for _ in range(WRITERS)]
    try:
        yield opened
    finally:
        for each in opened:
            each.transport.abort()


async def lone_changes(
    writer: Writer, tally: Tally, key: str, count: int, changes: int, word: str
) -> list[tuple[float, float]]:
    """For each change: seconds to the last client from sending the write, and from its answer."""
    times = []
    for number in range(changes):
        data = json.dumps({"title": f"{word} {number}"}).encode()
        request = generator.message("PATCH", f"/items/{key}", data)
        expected = tally.seen + count
        sent = time.perf_counter()
        arrival = asyncio.ensure_future(tally.until(expected))
        answered = await writer.call(request)
        last = await arrival
        times.append((last - sent, last - answered))
    return times


async def creating(writing: list[Writer], tally: Tally, count: int, seconds: float) -> tuple[int, float]:
    """How many creates were answered, and seconds from the last answer to the last client."""
    data: Body = {**body(1), "owner": OWNER}
    request = generator.message("POST", "/items", json.dumps(data).encode())
    start, before = time.perf_counter(), tally.seen

    async def write(writer: Writer) -> tuple[int, float]:
        done, answered = 0, start
        while answered < start + seconds:
            answered = await writer.call(request)
            done += 1
        return done, answered

    written = await asyncio.gather(*(write(each) for each in writing))
    creates, answered = sum(done for done, _ in written), max(at for _, at in written)
    last = await tally.until(before + creates * count)
    return creates, max(0.0, last - answered)
