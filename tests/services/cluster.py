"""A PostgreSQL server of a test's own, that can be stopped, killed and started again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.services.postgresql import Installation, free_port, install, server_folder

Stop = Literal["fast", "immediate"]


@dataclass(frozen=True)
class Cluster:
    """A server that runs in a folder; `url` is that of its database."""

    installation: Installation
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where it is, for its superuser without a password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Starts it; when that has crashed before, it recovers first."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c max_connections=40"
        self.installation.run(
            "pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "data" / "log", "-o", options, "start"
        )

    def stop(self, how: Stop = "fast") -> None:
        """Stops it: `fast` ends every session, `immediate` is a crash."""
        self.installation.run("pg_ctl", "-D", self.folder / "data", "-w", "-m", how, "stop")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running server with synchronous commits, gone afterwards."""
    with server_folder() as folder:
        one = Cluster(install(folder), folder, free_port())
        one.installation.run(
            "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        )  # fmt: skip
        one.start()
        try:
            yield one
        finally:
            one.stop("immediate")
