"""Many different live queries on one resource: what a change costs when nearly all of them are not concerned."""

import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, time
from typing import Any

from benchmarks.clients import CruditeClient, Tally, Writer
from benchmarks.clients import creating as create
from benchmarks.fanout import arrive, quantile
from benchmarks.machine import Window
from benchmarks.peers import CRUDITE
from benchmarks.rows import body
from benchmarks.servers import Server, serving
from benchmarks.swarm import Swarm

FEW = 100
EACH = 100  # subscriptions on one connection
WARMING = 20
WRITERS = 16
WAIT_SECONDS = 60.0
JOINING_SECONDS = 600.0
MATCHING = re.compile(r"^crudite_live_match_seconds_total ([0-9.e+-]+)$", re.MULTILINE)
CHANGES = re.compile(r"^crudite_live_changes_total ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Matching:
    """Changes, each of which concerns one query, beside a number of other queries.

    Lone ones: `seen_p50_ms` from sending the write until the one subscriber has it; `cpu_us` the server's CPU for the
    whole of one change; `alone_us` what the server says that it spends on finding the query and making its frame (nan
    where it does not), with caches that have gone cold since the last one. `matching_us` is the same where writers do
    not wait.
    """

    queries: int
    seen_p50_ms: float
    seen_p99_ms: float
    cpu_us: float
    alone_us: float
    matching_us: float
    foreign: float


def matchings(directory: Path, core: int | None, many: int, changes: int) -> Iterator[Matching]:
    """The same changes beside few queries and beside many, on one server."""
    with serving(CRUDITE, directory / "matching", core, filled=False) as server, Swarm(server.port) as swarm:
        tally = Tally()
        swarm.open(asking(tally, range(FEW)))
        yield matching(swarm, server, tally, FEW, changes)
        swarm.open(asking(tally, range(FEW, many)), JOINING_SECONDS)
        yield matching(swarm, server, tally, many, changes)


def asking(tally: Tally, owners: range) -> Iterator[CruditeClient]:
    """Connections that together have one live query for each owner."""
    for first in range(owners.start, owners.stop, EACH):
        some = range(first, min(first + EACH, owners.stop))
        yield CruditeClient(tally, [of_owner(owner) for owner in some])


def of_owner(owner: int) -> dict[str, Any]:
    """What `subscribe` is called with for the items of an owner."""
    return {"sub": f"o{owner}", "resource": "items", "query": {"where": {"owner": owner}}}


def matching(swarm: Swarm, server: Server, tally: Tally, queries: int, changes: int) -> Matching:
    swarm.open([writer := Writer()])
    lone(swarm, writer, tally, queries, WARMING)
    before = told(server)
    with Window(server.pid) as window:
        times = lone(swarm, writer, tally, queries, changes)
    swarm.close(writer)
    alone = told(server)
    pour(swarm, tally, queries, changes * WRITERS)
    poured = told(server)
    return Matching(
        queries=queries,
        seen_p50_ms=statistics.median(times),
        seen_p99_ms=quantile(times, 0.99),
        cpu_us=window.server / changes * 1e6,
        alone_us=each(before, alone),
        matching_us=each(alone, poured),
        foreign=window.foreign,
    )


def lone(swarm: Swarm, writer: Writer, tally: Tally, queries: int, changes: int) -> list[float]:
    """For each change, spread over all queries, milliseconds until its subscriber has it."""
    times = []
    for number in range(changes):
        expected = tally.seen + 1
        writer.write(create({**body(number), "owner": number * 7919 % queries}))
        arrive(swarm, tally, expected)
        swarm.until(lambda: writer.is_ready, WAIT_SECONDS, lambda: "the write was not answered.")
        times.append((tally.last - writer.sent_at) * 1000)
    return times


def pour(swarm: Swarm, tally: Tally, queries: int, changes: int) -> None:
    """So many changes, spread over all queries, by writers that each write as soon as they are answered."""
    numbers = iter(range(changes))
    expected = tally.seen + changes

    def again(writer: Writer) -> None:
        number = next(numbers, None)
        if number is not None:
            writer.write(create({**body(number), "owner": number * 7919 % queries}))

    writers = [Writer(again) for _ in range(WRITERS)]
    swarm.open(writers)
    for writer in writers:
        again(writer)
    arrive(swarm, tally, expected)
    swarm.until(lambda: all(each.is_ready for each in writers), WAIT_SECONDS, lambda: "a write hangs.")
    for writer in writers:
        swarm.close(writer)


def each(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Microseconds of matching for one change between two looks; nan where the server does not tell."""
    spent, changed = (then - now for now, then in zip(before, after, strict=True))
    return (spent or math.nan) / changed * 1e6


def told(server: Server) -> tuple[float, float]:
    """Seconds of matching and changes so far, as the server's metrics tell; nan where they do not."""
    text = server.text("/metrics")
    spent, changed = MATCHING.search(text), CHANGES.search(text)
    return (float(spent[1]), float(changed[1])) if spent and changed else (math.nan, math.nan)


CONNECTIONS = 500
OFFERED = 2_000.0  # creates a second
DISTINCT, SHARED = 20, 100  # live queries of one connection
ROOMS = 1_000  # that shared queries are about: CONNECTIONS * SHARED / ROOMS subscribers each
SAMPLED = 8  # one connection in so many tells how late its events came
UPDATED = re.compile(rb'"updated_at":"([^"]*)Z"')


@dataclass(frozen=True)
class Crowd:
    """Creates at a steady rate, each seen by one distinct query and by all subscribers of one room.

    `late_*_ms` is from the record's `updated_at`, taken before its commit, until a client has it with its commit.
    """

    connections: int
    distinct: int
    shared: int
    offered: float
    rate: float
    deliveries: float
    late_p50_ms: float
    late_p99_ms: float
    server_cpu: float
    foreign: float


def crowd(directory: Path, core: int | None, connections: int, offered: float, seconds: float) -> Crowd:
    """Writers offer so many creates a second, whether or not the ones before have been answered in time."""
    rooms = ROOMS * connections // CONNECTIONS
    seats = connections * SHARED // rooms
    late: list[float] = []

    def note(payload: bytes) -> None:
        now = time()
        late.extend(now - stamp(text) for text in UPDATED.findall(payload))

    with serving(CRUDITE, directory / "crowd", core, filled=False) as server, Swarm(server.port) as swarm:
        tally = Tally()
        clients = [
            CruditeClient(tally, of_crowd(number, rooms), None if number % SAMPLED else note)
            for number in range(connections)
        ]
        swarm.open(clients, JOINING_SECONDS)
        swarm.open(writers := [Writer() for _ in range(WRITERS)])
        offer(swarm, writers, connections, rooms, offered, 1.0)
        swarm.rest(1.0)
        late.clear()
        before = tally.seen
        with Window(server.pid) as window:
            sent, elapsed = offer(swarm, writers, connections, rooms, offered, seconds)
            expected = before + sent * (1 + seats)
            arrive(swarm, tally, expected)
    return Crowd(
        connections=connections,
        distinct=connections * DISTINCT,
        shared=connections * SHARED,
        offered=offered,
        rate=sent / elapsed,
        deliveries=sent * (1 + seats) / window.seconds,
        late_p50_ms=quantile(late, 0.5) * 1000,
        late_p99_ms=quantile(late, 0.99) * 1000,
        server_cpu=window.server / window.seconds,
        foreign=window.foreign,
    )


def of_crowd(number: int, rooms: int) -> list[dict[str, Any]]:
    """The live queries of one connection: its own owners, and its seats in rooms (kept in `priority`)."""
    own = [of_owner(number * DISTINCT + each) for each in range(DISTINCT)]
    return own + [
        {"sub": f"r{room}", "resource": "items", "query": {"where": {"priority": room}}}
        for room in ((number * SHARED + each) % rooms for each in range(SHARED))
    ]


def offer(
    swarm: Swarm, writers: list[Writer], connections: int, rooms: int, rate: float, seconds: float
) -> tuple[int, float]:
    """Send creates at a rate for a while, each as soon as it is due and a writer is free: how many, in which time."""
    start, sent = perf_counter(), 0
    while (now := perf_counter()) < start + seconds:
        due = min(int((now - start) * rate), int(rate * seconds))
        for writer in writers:
            if sent < due and writer.is_ready:
                fields = {**body(sent), "owner": sent * 7919 % (connections * DISTINCT), "priority": sent * 31 % rooms}
                writer.write(create(fields))
                sent += 1
        swarm.turn(0.0005)
    swarm.until(lambda: all(each.is_ready for each in writers), WAIT_SECONDS, lambda: "a write hangs.")
    return sent, perf_counter() - start


def stamp(text: bytes) -> float:
    """Seconds since 1970 of a time as records have it."""
    return datetime.fromisoformat(text.decode()).replace(tzinfo=UTC).timestamp()
