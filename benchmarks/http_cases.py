"""Read by key, list of 100, create: every peer under the same load, in interleaved rounds."""

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.load import Case
from benchmarks.machine import Window
from benchmarks.peers import CRUDITE, FASTIFY, FEATHERS, SQLALCHEMY, TUNED, Peer
from benchmarks.rows import body
from benchmarks.servers import Server, Unavailable, check_bodies, serving

CASES = ("read", "list", "create")
TITLES = {"read": "read by key", "list": "list of 100", "create": "create"}
SPREAD = 13  # every 13th key: about 1,500 different ones over the whole table


@dataclass(frozen=True)
class Sample:
    """One peer, case and round: requests a second, latencies in ms, CPU in µs a request: of the server, of its
    database where that is a server too, of the load."""

    case: str
    peer: str
    round: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    database_us: float
    load_us: float
    foreign: float


def case(name: str, server: Server) -> Case:
    """The requests of a case for a server, whose keys are its own."""
    match name:
        case "read":
            return Case(name, "GET", [f"/items/{each}" for each in server.keys[::SPREAD]])
        case "list":
            return Case(name, "GET", [server.peer.list_path])
        case _:
            return Case(name, "POST", ["/items"], json.dumps(body(3), separators=(",", ":")).encode())


def measure(
    directory: Path, core: int | None, seconds: float, rounds: int, peers: tuple[Peer, ...]
) -> Iterator[Sample]:
    """Samples as they are taken: within a round the peers follow each other, so that drift hits all alike."""
    with ExitStack() as running:
        servers = []
        for peer in peers:
            try:
                servers.append(running.enter_context(serving(peer, directory, core)))
            except Unavailable as missing:
                print(f"  {missing}", file=sys.stderr)
        for server in servers:
            check_bodies(server)
        yield from interleaved(servers, CASES, seconds, rounds, directory)


def interleaved(
    servers: Sequence[Server],
    names: Sequence[str],
    seconds: float,
    rounds: int,
    directory: Path,
    database: int | None = None,
) -> Iterator[Sample]:
    """Samples of some cases, after a second of warming each. Creates come last, since they make the tables grow."""
    for name in names:
        for server in servers:
            load.put(server, case(name, server), min(seconds, 1), directory)
        for number in range(rounds):
            for server in servers:
                yield sample(server, case(name, server), number, seconds, directory, database)


def sample(
    server: Server, asked: Case, number: int, seconds: float, directory: Path, database: int | None = None
) -> Sample:
    """What one load of a case on a server came to."""
    with Window(server.pid, database) as window:
        done = load.put(server, asked, seconds, directory)
    return Sample(
        case=asked.name,
        peer=server.peer.name,
        round=number,
        rate=done.requests / done.seconds,
        p50_ms=done.p50 * 1000,
        p99_ms=done.p99 * 1000,
        cpu_us=window.server / done.requests * 1e6,
        database_us=window.database / done.requests * 1e6,
        load_us=window.load / done.requests * 1e6,
        foreign=window.foreign,
    )


@dataclass(frozen=True)
class Figure:
    """One peer under one case: medians over the rounds, the range of the rates, and Crudite's lead.

    `lead` is Crudite's rate over this peer's, taken round by round, and its median; `cpu_lead` the same
    for CPU a request (this peer's over Crudite's).
    """

    case: str
    peer: str
    lead: float
    cpu_lead: float
    rate: float
    rate_low: float
    rate_high: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    database_us: float
    load_us: float
    foreign: float


def figures(samples: list[Sample]) -> list[Figure]:
    """One figure for each case and peer, in the order in which they were measured."""
    names = list(dict.fromkeys((each.case, each.peer) for each in samples))
    return [figure(samples, case_name, peer) for case_name, peer in names]


def figure(samples: list[Sample], case_name: str, peer: str) -> Figure:
    ours = [each for each in samples if (each.case, each.peer) == (case_name, CRUDITE.name)]
    theirs = [each for each in samples if (each.case, each.peer) == (case_name, peer)]
    pairs = list(zip(ours, theirs, strict=bool(ours)))
    middle = {
        name: statistics.median(asdict(each)[name] for each in theirs)
        for name in ("rate", "p50_ms", "p99_ms", "cpu_us", "database_us", "load_us", "foreign")
    }
    return Figure(
        case=case_name,
        peer=peer,
        lead=statistics.median(a.rate / b.rate for a, b in pairs) if pairs else float("nan"),
        cpu_lead=statistics.median(b.cpu_us / a.cpu_us for a, b in pairs) if pairs else float("nan"),
        rate_low=min(each.rate for each in theirs),
        rate_high=max(each.rate for each in theirs),
        **middle,
    )


PEERS = (CRUDITE, SQLALCHEMY, TUNED, FEATHERS, FASTIFY)
