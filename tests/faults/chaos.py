"""What may go wrong around several processes, and all of it in any order, under load.

usage: python -m tests.faults.chaos [--minutes 30] [--seed 1]     faults at random for so long, round after round
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from tests.faults.fleet import Load, load, program, rest
from tests.services import nats
from tests.services.brokers import Broker, broker
from tests.services.cluster import Cluster, cluster
from tests.services.proxy import Proxy
from tests.services.workers import PATIENCE, eventually

_END_OTHERS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"""


def on(server: Cluster, port: int | None = None) -> str:
    """The URL of an empty schema on a server, maybe by way of another port."""
    return f"postgresql://postgres@127.0.0.1:{port or server.port}/postgres?schema=faults_{uuid4().hex}"


def by_way_of(broker: Broker, way: Proxy) -> str:
    """The URL of a broker behind a proxy."""
    return broker.url.replace(f":{broker.port}", f":{way.port}")


async def ended(server: Cluster) -> None:
    """The sessions of everybody are ended."""
    admin = await _session(server)
    await admin.execute(_END_OTHERS)
    await admin.close(timeout=5)


async def crashed(server: Cluster) -> None:
    """The process of one session is killed: the server ends all others, and recovers by itself."""
    victim, witness = await _session(server), await _session(server)
    os.kill(await victim.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
    victim.terminate()

    async def has_noticed() -> bool:
        return bool(witness.is_closed())

    await eventually(has_noticed)


async def _session(server: Cluster) -> Any:
    """A session, as soon as there can be one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                return await asyncpg.connect(server.url)
            await rest()


async def restarted(server: Cluster) -> None:
    """It is stopped in an orderly way, and started again."""
    await asyncio.to_thread(server.stop, "fast")
    await asyncio.to_thread(server.start)


async def killed(server: Cluster) -> None:
    """The server itself is killed, and started as soon as what it leaves behind has gone."""
    os.kill(int((server.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    await started(server)


async def started(server: Cluster) -> None:
    """Returns when it runs."""

    async def starts() -> bool:
        with suppress(RuntimeError):
            await asyncio.to_thread(server.start)
            return True
        return False

    await eventually(starts)


@dataclass
class Chaos:
    """A fleet under load, and all that it needs, to be broken by chance."""

    running: Load
    database: Cluster
    broker: Broker
    way: Proxy
    line: Proxy
    chance: random.Random

    async def strike(self) -> str:
        """One fault of any kind; its name. It may not be over yet."""
        faults: Sequence[Callable[[], Awaitable[None]]] = (
            self.server_killed, self.broker_killed, self.cut, self.half_closed, self.dead, self.refused, self.slow,
            *(self._of_database(fault) for fault in (ended, crashed, restarted, killed)),
        )  # fmt: skip
        fault = self.chance.choice(faults)
        await fault()
        return fault.__name__

    def _of_database(self, fault: Callable[[Cluster], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def strike() -> None:
            await fault(self.database)

        strike.__name__ = f"database_{fault.__name__}"
        return strike

    async def server_killed(self) -> None:
        """One server is killed, and another takes its place: one that finds no database would not start."""
        session = await _session(self.database)
        await session.close(timeout=5)
        await self.running.fleet.replace(self.chance.choice(self.running.fleet.there))

    async def broker_killed(self) -> None:
        """The broker is killed, and started again."""
        self.broker.kill()
        await self.running.until(5)
        await asyncio.to_thread(self.broker.start)

    async def cut(self) -> None:
        """All connections to the database or to the broker are reset."""
        self._network().cut()

    async def half_closed(self) -> None:
        """The database, or the broker, says no more."""
        self._network().half_close()

    async def dead(self) -> None:
        """Nothing comes from or to the database for a while, and nobody is told."""
        self.way.hold()
        await self.running.until_held_up()
        self.way.release()

    async def refused(self) -> None:
        """Nobody reaches the database, or the broker, for a while."""
        network = self._network()
        network.refuse()
        await (self.running.until_refused(10) if network is self.way else self.running.until(10))
        network.accept()

    async def slow(self) -> None:
        """Every way to the database is long, from now on, or short again."""
        self.way.delay = 0.0 if self.way.delay else 0.01

    def _network(self) -> Proxy:
        return self.chance.choice((self.way, self.line))


async def break_at_random(folder: Path, database: Cluster, broker: Broker, seed: int, faults: int) -> list[str]:
    """So many faults, some of them before the last one is over; all holds in the end. What has happened, in order."""
    chance = random.Random(seed)
    happened = []
    async with Proxy(database.port) as way, Proxy(broker.port) as line:
        text = program(by_way_of(broker, line))
        async with load(folder, on(database, way.port), servers=2, program=text, seed=seed) as running:
            chaos = Chaos(running, database, broker, way, line, chance)
            try:
                for _ in range(faults):
                    happened.append(await chaos.strike())
                    if chance.random() < 0.5:
                        await running.holds()
            except BaseException as error:
                error.add_note(f"seed {seed}: {', '.join(happened)}")
                raise
    return happened


def main() -> int:
    """Rounds of faults until the time is over, each with the next seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    ends, seed = time.monotonic() + asked.minutes * 60, asked.seed
    with cluster() as database, broker("nats", nats.command) as wakes:
        while time.monotonic() < ends:
            with tempfile.TemporaryDirectory(prefix="chaos-") as name:
                happened = asyncio.run(break_at_random(Path(name), database, wakes, seed, 20))
            sys.stdout.write(f"seed {seed}: all holds after {', '.join(happened)}\n")
            sys.stdout.flush()
            seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
