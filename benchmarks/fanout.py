"""One change to ten thousand subscribers, and creates that a thousand subscribers each see.

The first tells what an idle connection holds in memory, how soon the last client has a lone change, and what
each delivery costs the server; the second what is delivered when writers do not wait.
"""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.clients import CruditeClient, SocketIoClient, SseClient, Subscriber, Tally, WebSocketClient, Writer
from benchmarks.clients import creating as create
from benchmarks.machine import Window
from benchmarks.peers import (
    BARE,
    BROADCAST,
    CRUDITE,
    FEATHERS,
    PLAIN,
    PYTHON_SOCKETIO,
    SOCKETIO,
    STREAMING,
    WS,
    Peer,
)  # fmt: skip
from benchmarks.rows import body
from benchmarks.servers import BenchmarkError, Server, serving
from benchmarks.swarm import Swarm

OWNER = 1_000  # the query: the items of this owner, who has none at first
ITEM = create({**body(1), "owner": OWNER})
SUBSCRIPTION = {"sub": "s1", "resource": "items", "query": {"where": {"owner": OWNER}}}
WARMING = 5
WRITERS = 16
RESTING_SECONDS = 1.0  # before memory is read, so that what opening needed has been given back
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Way:
    """How the clients of one peer hear of a change."""

    peer: Peer
    name: str
    make: Callable[[Tally], Subscriber]

    def __str__(self) -> str:
        return f"{self.peer.name}, {self.name}"


CRUDITE_WS = Way(CRUDITE, "websocket", lambda tally: CruditeClient(tally, [SUBSCRIPTION]))
CRUDITE_SSE = Way(CRUDITE, "sse", lambda tally: SseClient(tally, f"/items/subscribe?owner={OWNER}"))
FRAME_WAYS = (
    CRUDITE_WS,
    Way(WS, "websocket", WebSocketClient),
    Way(SOCKETIO, "socket.io", SocketIoClient),
    Way(PYTHON_SOCKETIO, "socket.io", SocketIoClient),
    Way(BARE, "websocket", WebSocketClient),
    CRUDITE_SSE,
    Way(STREAMING, "sse", lambda tally: SseClient(tally, "/items/subscribe")),
    Way(PLAIN, "websocket", WebSocketClient),
)
STREAM_WAYS = (
    CRUDITE_WS,
    CRUDITE_SSE,
    Way(FEATHERS, "socket.io", SocketIoClient),
    Way(BROADCAST, "websocket", WebSocketClient),
)


@dataclass(frozen=True)
class Frame:
    """Lone changes to all subscribers of one way, in one round; nan where a peer sends nothing.

    `last_*_ms` counts from just before the write was sent until the last client had the event; `cpu_us` is the
    server's CPU for one delivery, the write included; `idle_kb` what one idle connection added to its memory.
    """

    way: str
    peer: str
    round: int
    subscribers: int
    idle_kb: float
    last_p50_ms: float
    last_p99_ms: float
    cpu_us: float
    foreign: float


@dataclass(frozen=True)
class Stream:
    """Creates by sixteen writers that do not wait for the subscribers, in one round.

    `trail_ms` tells how long after the last answer the last client had everything; `grown_mb` by how much the
    server's memory was larger, at most, than before.
    """

    way: str
    peer: str
    round: int
    subscribers: int
    creates: int
    rate: float
    cpu_us: float
    trail_ms: float
    grown_mb: float
    foreign: float


def frames(directory: Path, core: int | None, count: int, changes: int, number: int) -> Iterator[Callable[[], Frame]]:
    """One round of lone changes, each way on a fresh server, as calls that measure."""
    for way in FRAME_WAYS:
        yield partial(frame, way, directory / f"frame{number}" / way.name, core, count, changes, number)


def frame(way: Way, directory: Path, core: int | None, count: int, changes: int, number: int) -> Frame:
    with serving(way.peer, directory, core, filled=False) as server, Swarm(server.port) as swarm:
        tally, writer = Tally(), Writer()
        swarm.open([way.make(Tally())])  # so that what the first connection loads is not counted
        before = machine.resident_bytes(server.pid)
        swarm.open(way.make(tally) for _ in range(count))
        swarm.rest(RESTING_SECONDS)
        idle = (machine.resident_bytes(server.pid) - before) / count / 1024
        if way.peer is PLAIN:
            return Frame(str(way), way.peer.name, number, count, idle, math.nan, math.nan, math.nan, 0.0)
        swarm.open([writer])  # only now: who says nothing for so long is closed
        lone_changes(swarm, writer, tally, count, WARMING)
        tally.check(str(way))
        with Window(server.pid) as window:
            times = lone_changes(swarm, writer, tally, count, changes)
    return Frame(
        way=str(way),
        peer=way.peer.name,
        round=number,
        subscribers=count,
        idle_kb=idle,
        last_p50_ms=statistics.median(times),
        last_p99_ms=quantile(times, 0.99),
        cpu_us=window.server / (changes * count) * 1e6,
        foreign=window.foreign,
    )


def lone_changes(swarm: Swarm, writer: Writer, tally: Tally, count: int, changes: int) -> list[float]:
    """For each change, milliseconds from sending the write until the last client has it."""
    times = []
    for _ in range(changes):
        expected = tally.seen + count
        writer.write(ITEM)
        arrive(swarm, tally, expected)
        swarm.until(lambda: writer.is_ready, WAIT_SECONDS, lambda: "the write was not answered.")
        times.append((tally.last - writer.sent_at) * 1000)
    return times


def arrive(swarm: Swarm, tally: Tally, expected: int) -> None:
    """Wait until so many events have been applied in all; BenchmarkError when there are fewer, or more."""
    swarm.until(lambda: tally.seen >= expected, WAIT_SECONDS, lambda: f"{tally.seen} of {expected} events arrived.")
    if tally.seen != expected:
        raise BenchmarkError(f"{tally.seen} events arrived, {expected} were expected.")


def streams(
    directory: Path, core: int | None, count: int, seconds: float, number: int
) -> Iterator[Callable[[], Stream]]:
    """One round of creates, each way on a fresh server, as calls that measure."""
    for way in STREAM_WAYS:
        yield partial(stream, way, directory / f"stream{number}" / way.name, core, count, seconds, number)


def stream(way: Way, directory: Path, core: int | None, count: int, seconds: float, number: int) -> Stream:
    with serving(way.peer, directory, core, filled=False) as server, Swarm(server.port) as swarm:
        tally = Tally()
        subscribers = [way.make(tally) for _ in range(count)]
        swarm.open(subscribers)
        swarm.open([warming := Writer()])
        lone_changes(swarm, warming, tally, count, WARMING)
        swarm.close(warming)
        tally.check(str(way))
        with Window(server.pid) as window:
            creates, trail, grown = create_for(swarm, server, tally, count, seconds)
        uneven = {each.events for each in subscribers} - {WARMING + creates}
        if uneven:
            raise BenchmarkError(f"{way}: some subscribers have {uneven} events instead of {WARMING + creates}.")
    return Stream(
        way=str(way),
        peer=way.peer.name,
        round=number,
        subscribers=count,
        creates=creates,
        rate=creates * count / window.seconds,
        cpu_us=window.server / (creates * count) * 1e6,
        trail_ms=trail * 1000,
        grown_mb=grown / 1e6,
        foreign=window.foreign,
    )


def create_for(swarm: Swarm, server: Server, tally: Tally, count: int, seconds: float) -> tuple[int, float, float]:
    """How many creates were answered, seconds from the last answer to the last client, bytes of memory grown."""
    before, base = tally.seen, machine.resident_bytes(server.pid)
    sizes: list[int] = []
    until = 0.0

    def again(writer: Writer) -> None:
        if writer.answered_at < until:
            writer.write(ITEM)
        if writer.answers % 32 == 0:
            sizes.append(machine.resident_bytes(server.pid))

    writers = [Writer(again) for _ in range(WRITERS)]
    swarm.open(writers)
    for writer in writers:
        writer.write(ITEM)
    until = writers[0].sent_at + seconds

    def answers() -> int:
        return sum(each.answers for each in writers)

    swarm.until(lambda: all(each.is_ready for each in writers), seconds + WAIT_SECONDS, lambda: "a write hangs.")
    answered = max(each.answered_at for each in writers)
    arrive(swarm, tally, before + answers() * count)
    sizes.append(machine.resident_bytes(server.pid))
    return answers(), max(0.0, tally.last - answered), max(0, max(sizes) - base)


def quantile(values: list[float], share: float) -> float:
    """The value that a share of all values is not above."""
    return sorted(values)[int(len(values) * share)]
