"""All clients lose their server, and come back to a new one that knows none of them: how soon do all have all?"""

import re
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from time import perf_counter

from benchmarks import machine
from benchmarks.clients import CruditeClient, Tally, Writer
from benchmarks.fanout import OWNER, SUBSCRIPTION, WARMING, lone_changes
from benchmarks.machine import Window
from benchmarks.peers import CRUDITE
from benchmarks.rows import body
from benchmarks.servers import BenchmarkError, free_port, start
from benchmarks.swarm import Swarm

MISSED = 20  # changes that are made before the clients come back
WAIT_SECONDS = 300.0
SNAPSHOTS = re.compile(r"^crudite_live_snapshots_total ([0-9.e+-]+)$", re.MULTILINE)


class Returning(CruditeClient):
    """A client that outlives its server."""

    def lost(self) -> None:
        self.is_ready = False

    def ended(self, payload: bytes) -> None:
        pass


@dataclass(frozen=True)
class Resume:
    """After a kill -9: seconds from starting the server again, and from when it answered, until the last client
    had what it missed; how many were resumed, and began anew; how many snapshots were read for them (None
    where the server does not tell); the server's CPU for each client."""

    clients: int
    missed: int
    from_start_s: float
    from_answering_s: float
    resumed: int
    reset: int
    snapshots: int | None
    cpu_us: float
    foreign: float


def resume(directory: Path, core: int | None, count: int) -> Resume:
    """Kill a server with `count` clients, start it again on its database, change something, let all come back."""
    place = directory / "resume"
    place.mkdir(parents=True)
    database, port = place / "crudite.db", free_port()
    machine.allow_connections()
    server = start(CRUDITE, database, port, core)
    tally = Tally()
    clients = [Returning(tally, [SUBSCRIPTION]) for _ in range(count)]
    try:
        with Swarm(port) as swarm:
            swarm.open(clients)
            swarm.open([writer := Writer()])
            lone_changes(swarm, writer, tally, count, WARMING)
            swarm.close(writer)
            server.stop(SIGKILL)
            swarm.until(lambda: all(each.closed for each in clients), WAIT_SECONDS, lambda: "a connection survived.")
            killed = perf_counter()
            server = start(CRUDITE, database, port, core)
            answering = perf_counter()
            for _ in range(MISSED):
                status, _ = server.call("POST", "/items", {**body(1), "owner": OWNER})
                if status != 201:
                    raise BenchmarkError(f"a create was answered {status}.")
            with Window(server.pid) as window:
                swarm.open(clients, WAIT_SECONDS)
            done = perf_counter()
            expected = {WARMING + MISSED}
            found = {each.events for each in clients if not each.resets}
            if found - expected:
                raise BenchmarkError(f"some clients have {found - expected} events instead of {expected}.")
            swarm.open([writer])
            lone_changes(swarm, writer, tally, count, 1)
            snapshots = SNAPSHOTS.search(server.text("/metrics"))
    finally:
        server.stop()
    return Resume(
        clients=count,
        missed=MISSED,
        from_start_s=done - killed,
        from_answering_s=done - answering,
        resumed=sum(each.resumed for each in clients),
        reset=sum(each.resets for each in clients),
        snapshots=int(float(snapshots[1])) if snapshots else None,
        cpu_us=window.server / count * 1e6,
        foreign=window.foreign,
    )
