"""What a soak loads: a server of one process or several, on SQLite or PostgreSQL, and how all of that dies."""

import os
import random
import re
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, Literal, TypeAlias

from benchmarks import machine
from benchmarks.cluster import Cluster
from benchmarks.peers import Peer
from benchmarks.servers import REPOSITORY, BenchmarkError, free_port, start
from benchmarks.strangers import OWNER

StoreKind: TypeAlias = Literal["sqlite", "postgresql"]
SOAKED = Peer("crudite", "crudite", "crudite_soak.py")
PATIENCE = 60.0
ANSWERS = re.compile(r"worker (\d+) \(pid (\d+)\) answers")


class Soaked:
    """The server, its database, and on PostgreSQL the strangers who write to that, too.

    `deaths` counts what has died and how, `life` how often memory has begun anew.
    """

    def __init__(self, place: Path, core: int | None, store: StoreKind, workers: int, chance: random.Random) -> None:
        self.deaths: Counter[str] = Counter()
        self.life = 0
        self.workers = workers
        self._core, self._random = core, chance
        self._cluster = Cluster() if store == "postgresql" else None
        self._strangers: subprocess.Popen[str] | None = None
        try:
            self.server = start(SOAKED, place / "crudite.db", free_port(), core, options=self._options)
            if self._cluster:
                self._strangers = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.strangers", self._cluster.url],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
                )  # fmt: skip
        except BaseException:
            self.stop()
            raise

    @property
    def _options(self) -> Sequence[str]:
        several = ["--workers", str(self.workers)] if self.workers > 1 else []
        return [*several, "--store", self._cluster.url] if self._cluster else several

    def processes(self) -> list[int]:
        """The server's process, and those of its workers."""
        latest = {found[1]: int(found[2]) for found in ANSWERS.finditer(self.server.log())}
        return [self.server.pid, *latest.values()]

    def resident_bytes(self) -> int:
        """The memory of all of them."""
        return sum(machine.resident_bytes(process) for process in self.processes())

    def die(self) -> bool:
        """One time in three the database, where it is a server; else a worker, where there are several, or all of
        the server. Whatever it was is started again. Whether every connection ends by that."""
        if self._cluster and self._random.random() < 1 / 3:
            self._let_database_die(self._cluster)
            return False
        self.life += 1
        if self.workers > 1 and self._random.random() < 0.5:
            os.kill(self._random.choice(self.processes()[1:]), SIGKILL)
            self.deaths["worker killed"] += 1
            return False
        number = SIGTERM if self._random.random() < 1 / 3 else SIGKILL
        self.deaths["server ended" if number == SIGTERM else "server killed"] += 1
        processes = self.processes()
        self.server.stop(number)
        self._wait_until_gone(processes)
        server = self.server
        self.server = start(SOAKED, server.database, server.port, self._core, options=self._options)
        return True

    def _let_database_die(self, cluster: Cluster) -> None:
        if self._random.random() < 0.5:
            cluster.stop()
            self.deaths["database ended"] += 1
        else:
            cluster.kill()
            self.deaths["database killed"] += 1
        cluster.start()

    def _wait_until_gone(self, processes: Sequence[int]) -> None:
        """Workers take their leave when their parent has gone; the port is free after that."""
        deadline = time.monotonic() + PATIENCE
        while left := [process for process in processes if machine.is_there(process)]:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"processes {left} outlive their parent; the server: {self.server.said()}")
            time.sleep(0.05)

    def rest(self) -> None:
        """Nobody else writes any more, until `go_on`."""
        if self._strangers:
            self._counted = tuple(map(int, self._ask(self._strangers).split()))

    def go_on(self) -> None:
        """Others write again."""
        if self._strangers and self._strangers.stdin:
            self._strangers.stdin.write("go on\n")
            self._strangers.stdin.flush()

    def faults(self, records: Sequence[dict[str, Any]]) -> list[str]:
        """What the store has lost or made up of the strangers' writes."""
        if not self._strangers:
            return []
        (least, most), ours = self._counted, [each for each in records if each["owner"] == OWNER]
        counted = sum(each["priority"] for each in ours if each["title"] == "shared")
        found = [] if least <= counted <= most else [f"strangers counted up {least} to {most} times, not {counted}"]
        return found + [f"a stranger's write was undone, and is there: {e}" for e in ours if e["title"] == "not kept"]

    def _ask(self, strangers: "subprocess.Popen[str]") -> str:
        assert strangers.stdin
        assert strangers.stdout
        strangers.stdin.write("rest\n")
        strangers.stdin.flush()
        if not select.select([strangers.stdout], [], [], PATIENCE)[0]:
            raise BenchmarkError("a write of the strangers hangs.")
        return strangers.stdout.readline()

    def stop(self) -> None:
        """Ends all."""
        if self._strangers:
            self._strangers.kill()
            self._strangers.wait()
        if hasattr(self, "server"):
            self.server.stop()
        if self._cluster:
            self._cluster.remove()
