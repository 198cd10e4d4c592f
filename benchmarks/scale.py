"""What one machine, ten and a hundred carry, computed from measured costs; and a simulation that backs the formula.

A process of the application spends its time on requests, on following the log (each process all of it), and on telling
its own clients. The database spends its own on writes, and on every process that follows. So what grows with the number
of machines is what is told and read; what does not is the log.

`python -m benchmarks.scale` prints the tables of docs/explanation/scale.md. Nothing is measured here.
"""

import heapq
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.report import table

BUSY = 0.6
"""How much of a core may be used: beyond, queues make everything late (see `simulate`)."""


@dataclass(frozen=True)
class Costs:
    """CPU seconds for one of each, of a process (`batch` to `write`) and of the database (`stored` to `followed`);
    bytes of memory of a process for a client with a live query."""

    batch: float
    """To fetch a batch from the log, however much is in it."""
    change: float
    """To take in one change: read it, find whom it concerns, make a frame."""
    told: float
    """To hand a frame to one client."""
    read: float
    """To answer a read by key."""
    write: float
    """To answer a create."""
    stored: float
    """The database: to store a record with its row of the log."""
    looked_up: float
    """The database: to look a record up by its key."""
    fetched: float
    """The database: to give one process a batch."""
    followed: float
    """The database: to give it one change."""
    memory: float = 20_000


# Measured as docs/explanation/scale.md says. On SQLite the database's work is done in the process that asks.
SQLITE = Costs(
    batch=100e-6, change=29e-6, told=8.4e-6, read=18e-6, write=40e-6,
    stored=18e-6, looked_up=0.0, fetched=0.0, followed=0.0,
)  # fmt: skip
POSTGRESQL = Costs(
    batch=400e-6, change=25e-6, told=8.4e-6, read=21e-6, write=68e-6,
    stored=66e-6, looked_up=8e-6, fetched=260e-6, followed=5e-6,
)  # fmt: skip


@dataclass(frozen=True)
class Life:
    """What the clients of an application do: each reads and writes so often a second, and sees the changes of so many
    others (itself included)."""

    name: str
    reads: float
    writes: float
    seen_by: float


LIVES = (
    Life("a board for each team of ten", reads=0.05, writes=0.02, seen_by=10),
    Life("rooms of a hundred that talk", reads=0.02, writes=0.02, seen_by=100),
    Life("lists of one's own", reads=0.1, writes=0.05, seen_by=2),
)


@dataclass(frozen=True)
class Fleet:
    """Machines with so many cores for workers, one worker a core; and the cores that the database has of its own,
    where it is no SQLite file in the same machine."""

    name: str
    machines: int
    cores: int
    costs: Costs
    database: int = 0
    memory: float = 12e9
    tick: float = 0.005
    """Seconds between two batches of the log at least: `LiveLimits.tick`."""

    @property
    def workers(self) -> int:
        return self.machines * self.cores


FLEETS = (
    Fleet("one process, SQLite", 1, 1, SQLITE),
    Fleet("one machine, 4 workers, SQLite", 1, 4, SQLITE),
    Fleet("one machine, 4 workers, PostgreSQL beside it", 1, 4, POSTGRESQL, 4),
    Fleet("10 machines, PostgreSQL with 16 cores", 10, 4, POSTGRESQL, 16),
    Fleet("100 machines, PostgreSQL with 64 cores", 100, 4, POSTGRESQL, 64),
)


def uses(fleet: Fleet, life: Life, clients: float) -> dict[str, float]:
    """Which share of each thing so many clients use: 1.0 is all of it."""
    costs, writes = fleet.costs, clients * life.writes
    batches = batches_of(writes, fleet.tick)
    following = batches * costs.batch + writes * costs.change
    telling = writes * life.seen_by * costs.told / fleet.workers
    asking = clients * (life.reads * costs.read + life.writes * costs.write) / fleet.workers
    found = {
        "following the log": following,
        "telling clients": telling,
        "answering requests": asking,
        "a worker": following + telling + asking,
        "memory": clients / fleet.machines * costs.memory / fleet.memory,
    }
    if fleet.database:
        stored = (writes * costs.stored + clients * life.reads * costs.looked_up) / fleet.database
        followed = fleet.workers * (batches * costs.fetched + writes * costs.followed) / fleet.database
        found |= {"storing and reading": stored, "giving the log": followed, "the database": stored + followed}
    else:
        found |= {"the writer": writes * costs.stored}  # one at a time, whichever process it is
    return found


def batches_of(writes: float, tick: float) -> float:
    """Batches a second of so many writes a second: as many as there are writes, but one in a tick at most."""
    return writes / (1 + writes * tick)


WHOLE = ("a worker", "the database", "the writer", "memory")
_PARTS = {
    "a worker": ("following the log", "telling clients", "answering requests"),
    "the database": ("storing and reading", "giving the log"),
}


def most(fleet: Fleet, life: Life, busy: float = BUSY) -> tuple[float, str]:
    """How many clients a fleet carries, and what is used up first."""
    low, high = 0.0, 1e9
    for _ in range(100):
        middle = (low + high) / 2
        used = uses(fleet, life, middle)
        low, high = (middle, high) if max(used[name] for name in WHOLE if name in used) <= busy else (low, middle)
    used = uses(fleet, life, low)
    first = max((name for name in WHOLE if name in used), key=lambda name: used[name])
    return low, max(_PARTS.get(first, (first,)), key=lambda name: used[name])


# The simulation: one worker, commits that come by chance, and how late its clients are told.


@dataclass(frozen=True)
class Late:
    """How busy a worker was, and how long after their commits its clients had the changes (seconds)."""

    busy: float
    p50: float
    p99: float


def simulate(
    costs: Costs, writes: float, told: float, asked: float, tick: float, seconds: float = 60.0, seed: int = 1
) -> Late:
    """One worker under `writes` commits a second anywhere, each told to `told` of its own clients, and `asked` seconds
    of CPU a second for requests, which come one by one between the batches as they do in an event loop."""
    chance = random.Random(seed)
    commits = _arrivals(chance, writes, seconds)
    requests = _arrivals(chance, asked / costs.read, seconds) if asked else iter(())
    waiting: list[float] = []
    lags: list[float] = []
    now = worked = 0.0
    next_batch = 0.0
    coming = heapq.merge(((at, True) for at in commits), ((at, False) for at in requests))
    events = list(coming)
    index = 0
    while index < len(events) or waiting:
        if not waiting and index < len(events):
            now = max(now, events[index][0])
        while index < len(events) and events[index][0] <= now:  # the loop's turn: what has come is begun
            at, is_commit = events[index]
            index += 1
            if is_commit:
                waiting.append(at)
            else:
                now += costs.read
                worked += costs.read
        if waiting and now >= next_batch:
            next_batch = now + tick
            spent = costs.batch + len(waiting) * (costs.change + told * costs.told)
            now += spent
            worked += spent
            lags += [now - at for at in waiting]
            waiting.clear()
        elif waiting:
            now = min(next_batch, events[index][0]) if index < len(events) else next_batch
    cuts = statistics.quantiles(lags, n=100)
    return Late(worked / max(now, seconds), cuts[49], cuts[98])


def _arrivals(chance: random.Random, rate: float, seconds: float) -> Iterator[float]:
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def late_at(fleet: Fleet, life: Life, busy: float) -> Late:
    """How late clients are told when a fleet's fullest part is so busy."""
    clients, _ = most(fleet, life, busy)
    costs, writes = fleet.costs, clients * life.writes
    asking = uses(fleet, life, clients)["answering requests"]
    seconds = min(60.0, 60_000 / max(writes, 1))
    return simulate(costs, writes, life.seen_by / fleet.workers, asking, fleet.tick, seconds)


# The tables.

_TICKS = (0.005, 0.05, 0.25)


def carried() -> str:
    """What each fleet carries, for each life."""
    lines = [["fleet", *(f"{life.name}: clients (writes/s)" for life in LIVES), "used up first"]]
    for fleet in FLEETS:
        found = [most(fleet, life) for life in LIVES]
        cells = [
            f"{_round(n):,.0f} ({_round(n * life.writes):,.0f})" for (n, _), life in zip(found, LIVES, strict=True)
        ]
        lines.append([fleet.name, *cells, "; ".join(dict.fromkeys(name for _, name in found))])
    return table(lines)


def lateness() -> str:
    """How late a worker's clients are told, by how busy it is."""
    lines = [["busy", *(f"{fleet.name}: p50, p99 ms" for fleet in FLEETS)]]
    for busy in (0.3, 0.6, 0.8, 0.9, 0.97):
        told = [late_at(fleet, LIVES[0], busy) for fleet in FLEETS]
        lines.append([f"{busy:.0%}", *(f"{one.p50 * 1e3:.1f}, {one.p99 * 1e3:.1f}" for one in told)])
    return table(lines)


def remedies() -> str:
    """What a longer tick gains, where the log is the bottleneck: it comes in fewer, larger batches."""
    lines = [["clients, by the tick", *(f"{tick * 1000:g} ms" for tick in _TICKS)]]
    for fleet in FLEETS[3:]:
        for life in LIVES:
            found = [most(replace(fleet, tick=tick), life) for tick in _TICKS]
            lines.append(
                [f"{fleet.machines} machines: {life.name}", *(f"{_round(n):,.0f} ({name})" for n, name in found)]
            )
    return table(lines)


def _round(number: float) -> float:
    """To two digits: more would claim more than is known."""
    return float(f"{number:.2g}")


if __name__ == "__main__":
    print(carried(), lateness(), remedies(), sep="\n\n")
