"""The PostgreSQL server of the measurements: as durable as it comes (fsync on, commits wait for the disk)."""

import asyncio
from types import TracebackType

import asyncpg

from benchmarks import machine
from benchmarks.cluster import Cluster


class Postgresql(Cluster):
    """A server for the length of a block, free to run on every core."""

    def __enter__(self) -> "Postgresql":
        for process in machine.tree(self.pid):
            machine.unpin(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """The process from which all others of the server come."""
        return int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def fresh(self, name: str) -> str:
        """The URL of a new, empty database."""
        asyncio.run(_execute(self.url, f"CREATE DATABASE {name}"))
        return self.url.removesuffix("/postgres") + f"/{name}"


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
