"""A PostgreSQL server that a test may stop, crash, copy and fail over: not the one that all tests share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.postgresql import Installation, free_port, install, server_folder

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_prepared_transactions": "400",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


@dataclass
class Server:
    """A server with its data in a folder, which it alone uses."""

    programs: Installation
    data: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Makes the data of a new server."""
        self.programs.run(
            "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
        options += f" -p {self.port} -k {self.data.parent}"
        self.programs.run("pg_ctl", "-D", self.data, "-w", "-l", f"{self.data}.log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `fast` in an orderly way, `immediate` as a crash."""
        self.programs.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def copy(self, name: str) -> "Server":
        """A server on a copy of the data, made while this one is stopped."""
        other = Server(self.programs, self.data.with_name(name), self.port)
        shutil.copytree(self.data, other.data)
        if self.programs.account:
            for path in (other.data, *other.data.rglob("*")):
                shutil.chown(path, self.programs.account)
        return other

    def follow(self, name: str) -> "Server":
        """A standby of this one, which must be running; it is not started yet."""
        other = Server(self.programs, self.data.with_name(name))
        self.programs.run("pg_basebackup", "-d", self.url, "-D", other.data, "-R", "-c", "fast", "--no-sync")
        return other

    def promote(self) -> None:
        """Makes a standby a primary, on a timeline of its own."""
        self.programs.run("pg_ctl", "-D", self.data, "-w", "promote")

    def move(self, source: str, target: str) -> None:
        """Dumps a database, and restores it as another one."""
        dump = self.data.parent / f"{source}.dump"
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self.programs.run("pg_dump", *where, "-Fc", "-f", dump, source)
        self.programs.run("createdb", *where, target)
        self.programs.run("pg_restore", *where, "-d", target, dump)


@contextmanager
def server() -> Iterator[Server]:
    """A new server that runs; it is stopped at the end if it still does, as are those that were made from it."""
    with server_folder() as folder:
        one = Server(install(folder), folder / "data")
        one.create()
        one.start()
        try:
            yield one
        finally:
            for running in folder.glob("*/postmaster.pid"):
                one.programs.run("pg_ctl", "-D", running.parent, "-w", "-m", "immediate", "stop")
