"""What Crudite is expected to reach beside others, and whether it did: the first table of every run."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from benchmarks.distinct import Crowd, Matching
from benchmarks.fanout import CRUDITE_SSE, CRUDITE_WS, Frame, Stream
from benchmarks.http_cases import TITLES, Figure
from benchmarks.lags import NO_BUS, Lag
from benchmarks.peers import UNLOGGED
from benchmarks.resuming import Resume
from benchmarks.stores import TWO_WORKERS

LEADS = {
    "read": {"fastapi+sqlalchemy": 40.0, "feathers": 7.0, "fastify": 2.5},
    "list": {"fastapi+sqlalchemy": 10.0, "feathers": 3.0, "fastify": 2.0},
    "create": {"fastapi+sqlalchemy": 30.0, "feathers": 6.0, "fastify": 3.0},
    "nested list of 100": {"fastapi+sqlmodel": 10.0, "feathers": 10.0},
    "read by key, PostgreSQL": {"fastapi+sqlalchemy+asyncpg": 10.0},
    "create, PostgreSQL": {"fastapi+sqlalchemy+asyncpg": 10.0},
}  # requests a second over each peer's
LAG_MS = 10.0
LOGGED = 0.7  # creates a second with the log, of those without it
BUSY = 0.9  # the share of two cores that two workers, their database and the load use
FRAME_LEADS = {"socket.io, socket.io": 2.0, "ws, websocket": 1.3, "python-socketio, socket.io": 5.0}
BARE_COST, SSE_LEAD, IDLE_KB = 1.3, 4.0, 10.0
STREAM_LEAD, STREAM_RATE, TRAIL_MS, GROWN_MB = 10.0, 500_000.0, 500.0, 64.0
MATCHING_COST, MATCHING_US = 2.0, 20.0
CROWD_RATE, CROWD_LATE_MS = 2_000.0, 100.0
RESUME_SECONDS = 15.0


@dataclass(frozen=True)
class Row:
    """One expectation: what, against whom, in words what was expected and measured; None where it was not."""

    what: str
    against: str
    expected: str
    measured: str
    holds: bool | None


def at_least(what: str, against: str, bound: float, value: float, unit: str = " x") -> Row:
    return Row(what, against, f">= {bound:,g}{unit}", shown(value, unit), None if math.isnan(value) else value >= bound)


def at_most(what: str, against: str, bound: float, value: float, unit: str = " x") -> Row:
    return Row(what, against, f"<= {bound:,g}{unit}", shown(value, unit), None if math.isnan(value) else value <= bound)


def shown(value: float, unit: str) -> str:
    if math.isnan(value):
        return "not measured"
    return f"{value:,.0f}{unit}" if value >= 1000 else f"{value:.2f}{unit}" if value < 10 else f"{value:.1f}{unit}"


def http(figures: Sequence[Figure]) -> Iterator[Row]:
    for each in figures:
        bound = LEADS[each.case].get(each.peer)  # both are of one store
        if bound:
            # The ratio of CPU stands beside it: it says more where strangers use the machine too.
            row = at_least(f"{TITLES.get(each.case, each.case)}, requests/s", each.peer, bound, each.lead)
            yield replace(row, measured=f"{row.measured} (CPU {shown(each.cpu_lead, ' x')})")


def logs(figures: Sequence[Figure]) -> Iterator[Row]:
    for each in figures:
        if each.peer == UNLOGGED.name:
            yield at_least(f"{each.case}, requests/s with the log", "without the log", LOGGED, each.lead)


def workers(figures: Sequence[Figure]) -> Iterator[Row]:
    """How near several come to a multiple of one is said by the share of the cores that all use together."""
    for each in figures:
        if each.peer == TWO_WORKERS.name:
            cores = each.rate * (each.cpu_us + each.database_us + each.load_us) / 1e6
            row = at_least(f"{each.case}, two workers: cores in use", "of 2", 2 * BUSY, cores, "")
            yield replace(row, measured=f"{row.measured} (requests/s {shown(1 / each.lead, ' x')} one's)")


def lags(found: Sequence[Lag]) -> Iterator[Row]:
    for each in found:
        if each.way != NO_BUS:
            yield at_most(f"sent until at the client, p50: {each.way}", "", LAG_MS, each.p50_ms, " ms")


Measured = TypeVar("Measured", Frame, Stream)


def ratio(found: Sequence[Measured], over: str, under: str, figure: Callable[[Measured], float]) -> float:
    """The median over the rounds of one way's figure by another's of the same round; nan where one is missing."""
    rounds = {each.round for each in found}
    by_way = {(each.way, each.round): figure(each) for each in found}
    pairs = [(by_way.get((over, each)), by_way.get((under, each))) for each in rounds]
    ratios = [a / b for a, b in pairs if a is not None and b]
    return statistics.median(ratios) if ratios else math.nan


def frames(found: Sequence[Frame]) -> Iterator[Row]:
    if not found:
        return
    us, count = str(CRUDITE_WS), found[0].subscribers
    what = f"a frame to {count:,} WebSockets"
    for peer, bound in FRAME_LEADS.items():
        yield at_least(f"{what}, CPU a delivery", peer, bound, ratio(found, peer, us, lambda each: each.cpu_us))
        yield at_least(f"{what}, time to the last", peer, bound, ratio(found, peer, us, lambda each: each.last_p50_ms))
    bare = "bare send(), websocket"
    yield at_most(f"{what}, CPU a delivery", bare, BARE_COST, ratio(found, us, bare, lambda each: each.cpu_us))
    yield at_most(f"{what}, time to the last", bare, BARE_COST, ratio(found, us, bare, lambda each: each.last_p50_ms))
    us, queue = str(CRUDITE_SSE), "starlette sse, sse"
    what = f"a frame to {count:,} event streams"
    yield at_least(f"{what}, CPU a delivery", queue, SSE_LEAD, ratio(found, queue, us, lambda each: each.cpu_us))
    yield at_least(f"{what}, time to the last", queue, SSE_LEAD, ratio(found, queue, us, lambda each: each.last_p50_ms))
    idle = [each.idle_kb for each in found if each.way == str(CRUDITE_WS)]
    kilobytes = statistics.median(idle) if idle else math.nan
    yield at_most(f"memory of one of {count:,} idle WebSockets, subscribed", "", IDLE_KB, kilobytes, " KB")


def streams(found: Sequence[Stream]) -> Iterator[Row]:
    ours = [each for each in found if each.way == str(CRUDITE_WS)]
    if not ours:
        return
    what = f"creates that {ours[0].subscribers:,} see, deliveries/s"
    yield at_least(what, "", STREAM_RATE, statistics.median(each.rate for each in ours), "")
    lead = ratio(found, str(CRUDITE_WS), "feathers, socket.io", lambda each: each.rate)
    yield at_least(what, "feathers, socket.io", STREAM_LEAD, lead)
    yield at_most("… sustained: the last client behind", "", TRAIL_MS, max(each.trail_ms for each in ours), " ms")
    yield at_most("… bounded: memory grown", "", GROWN_MB, max(each.grown_mb for each in ours), " MB")


def matchings(found: Sequence[Matching]) -> Iterator[Row]:
    if len(found) < 2:
        return
    few, many = found[0], found[-1]
    what = f"a change beside {many.queries:,} distinct queries"
    yield at_most(f"{what}, time", f"beside {few.queries}", MATCHING_COST, many.seen_p50_ms / few.seen_p50_ms)
    yield at_most(f"{what}, CPU", f"beside {few.queries}", MATCHING_COST, many.cpu_us / few.cpu_us)
    yield at_most(f"{what}, matching under load", "", MATCHING_US, many.matching_us, " µs")


def crowds(found: Sequence[Crowd]) -> Iterator[Row]:
    for each in found:
        what = f"{each.distinct:,} distinct + {each.shared:,} shared queries, {each.connections} connections"
        yield at_least(f"{what}: changes/s", "", CROWD_RATE * 0.99, each.rate, "")
        yield at_most("… commit to client, p99", "", CROWD_LATE_MS, each.late_p99_ms, " ms")


def resumes(found: Sequence[Resume]) -> Iterator[Row]:
    for each in found:
        what = f"{each.clients:,} clients resume after a kill -9"
        yield at_most(f"{what}, all up to date", "", RESUME_SECONDS, each.from_start_s, " s")
        yield at_least("… resumed, not begun anew", "", each.clients, each.resumed, "")
        snapshots = math.nan if each.snapshots is None else each.snapshots
        yield at_most("… queries of the store for their snapshots", "", 1, snapshots, "")
