"""One server on other stores: PostgreSQL beside a peer, with the change log and without, one worker and two.

PostgreSQL may run on every core, beside the server and the load. Where workers are compared all three may.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import machine
from benchmarks.http_cases import TITLES, Sample, interleaved
from benchmarks.peers import ASYNCPG, CRUDITE, UNLOGGED, Peer
from benchmarks.postgresql import Postgresql
from benchmarks.servers import check_bodies, serving

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
WORKERS = 2
TWO_WORKERS = replace(CRUDITE, name=f"crudite, {WORKERS} workers", options=("--workers", str(WORKERS)))


def beside_peer(directory: Path, core: int | None, seconds: float, rounds: int) -> Iterator[Sample]:
    """Read by key and create on PostgreSQL."""
    return _compared((CRUDITE, ASYNCPG), POSTGRESQL, ("read", "create"), directory / "peer", core, seconds, rounds)


def with_log(directory: Path, core: int | None, seconds: float, rounds: int) -> Iterator[Sample]:
    """Creates of a record that is in the change log, and of one that is not."""
    for store in (SQLITE, POSTGRESQL):
        place = directory / f"log-{store}"
        yield from _compared((CRUDITE, UNLOGGED), store, ("create",), place, core, seconds, rounds)


def with_workers(directory: Path, seconds: float, rounds: int) -> Iterator[Sample]:
    """Reads by key, asked of one process and of several."""
    for store in (SQLITE, POSTGRESQL):
        place = directory / f"workers-{store}"
        with machine.unpinned():
            yield from _compared((CRUDITE, TWO_WORKERS), store, ("read",), place, None, seconds, rounds)


def _compared(
    peers: Sequence[Peer],
    store: str,
    names: Sequence[str],
    directory: Path,
    core: int | None,
    seconds: float,
    rounds: int,
) -> Iterator[Sample]:
    """Samples of some peers on one store, each on a database of its own; the case says which store that is."""
    with ExitStack() as running:
        database = running.enter_context(Postgresql()) if store == POSTGRESQL else None
        servers = []
        for number, peer in enumerate(peers):
            url = () if database is None else ("--store", database.fresh(f"peer{number}"))
            on_store = replace(peer, options=(*peer.options, *url))
            servers.append(running.enter_context(serving(on_store, directory, core)))
        for server in servers:
            check_bodies(server)
        pid = None if database is None else database.pid
        for each in interleaved(servers, names, seconds, rounds, directory, pid):
            yield replace(each, case=f"{TITLES[each.case]}, {store}")
