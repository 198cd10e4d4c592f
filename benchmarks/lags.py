"""How soon after it was sent a lone write is at a client: of the same process, or of another one over each bus."""

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import brokers
from benchmarks.clients import CruditeClient, Tally, Writer
from benchmarks.fanout import ITEM, SUBSCRIPTION, WAIT_SECONDS, arrive, quantile
from benchmarks.machine import Window
from benchmarks.peers import CRUDITE
from benchmarks.postgresql import Postgresql
from benchmarks.servers import serving
from benchmarks.swarm import Swarm

WARMING = 10
IDLE_SECONDS = 0.03  # between two writes
ONE, NO_BUS = "one process", "two processes, no bus"


@dataclass(frozen=True)
class Lag:
    """Milliseconds from sending a create until the subscriber has it with its commit, on PostgreSQL."""

    way: str
    changes: int
    p50_ms: float
    p99_ms: float
    foreign: float


def lags(directory: Path, core: int | None, changes: int) -> Iterator[Callable[[], Lag]]:
    """Each way on a fresh database, as calls that measure."""
    ways: dict[str, Callable[[str], AbstractContextManager[str]]] = {
        ONE: lambda _: nullcontext(""),
        NO_BUS: lambda _: nullcontext(""),
        "two processes, over a Unix socket": lambda _: nullcontext(f"unix://{directory}/bus"),
        "two processes, over PostgreSQL": nullcontext,
        "two processes, over NATS": lambda _: brokers.nats(),
        "two processes, over Valkey": lambda _: brokers.valkey(),
    }
    with Postgresql() as database:
        for number, (way, bus) in enumerate(ways.items()):
            yield partial(_lag, way, bus, database, f"way{number}", directory, core, changes)


def _lag(
    way: str,
    bus: Callable[[str], AbstractContextManager[str]],
    database: Postgresql,
    name: str,
    directory: Path,
    core: int | None,
    changes: int,
) -> Lag:
    url = database.fresh(name)
    with ExitStack() as running:
        running.enter_context(_told("CRUDITE_BUS", running.enter_context(bus(url))))
        peer = replace(CRUDITE, options=("--store", url))
        servers = [
            running.enter_context(serving(peer, directory / f"{name}-{number}", core, filled=False))
            for number in range(1 if way == ONE else 2)
        ]
        written, heard = [running.enter_context(Swarm(server.port)) for server in (servers[0], servers[-1])]
        tally = Tally()
        heard.open([CruditeClient(tally, [SUBSCRIPTION])])
        written.open([writer := Writer()])
        _lone(written, heard, writer, tally, WARMING)
        with Window(os.getpid(), database.pid) as window:
            times = _lone(written, heard, writer, tally, changes)
    return Lag(way, changes, statistics.median(times), quantile(times, 0.99), window.foreign)


def _lone(written: Swarm, heard: Swarm, writer: Writer, tally: Tally, changes: int) -> list[float]:
    """For each of so many changes, milliseconds until the subscriber has it."""
    times = []
    for _ in range(changes):
        writer.write(ITEM)
        arrive(heard, tally, tally.seen + 1)
        written.until(lambda: writer.is_ready, WAIT_SECONDS, lambda: "the write was not answered.")
        times.append((tally.last - writer.sent_at) * 1000)
        heard.rest(IDLE_SECONDS)
    return times


@contextmanager
def _told(name: str, value: str) -> Iterator[None]:
    """A variable in the environment of what is started, unless it is empty."""
    if value:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
