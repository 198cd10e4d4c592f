"""Where a story happens: an empty store, and another program that writes into it without knowing of us."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Protocol
from uuid import uuid4

import apsw
import asyncpg
import msgspec


class Place(Protocol):
    """An empty store by its URL, and how others write there. `keys_hold` says whether foreign keys bind them."""

    url: str
    keys_hold: ClassVar[bool]

    async def write(self, made: Sequence[Any], random: Random) -> None:
        """Writes as another program, in one transaction."""
        ...


class SqlitePlace:
    """A file."""

    keys_hold = False

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}?synchronous=OFF"
        self._path = path

    async def write(self, made: Sequence[Any], random: Random) -> None:
        """Writes, now and then with REPLACE, from a connection that keeps no foreign keys."""
        # The same SQLite library: closing the file by another one would take this process's locks away.
        with closing(apsw.Connection(str(self._path))) as db:
            db.set_busy_timeout(20_000)
            db.execute("BEGIN IMMEDIATE")
            for action, resource, key, values in made:
                self._execute(db, action, resource, key, values, replaces=random.random() < 0.3)
            db.execute("COMMIT")

    def _execute(
        self, db: apsw.Connection, action: str, resource: str, key: str, values: Any, *, replaces: bool
    ) -> None:
        if action == "delete":
            db.execute(f'DELETE FROM "{resource}" WHERE id = ?', (key,))
            return
        names = list(values)
        if action == "create":
            verb = "INSERT OR REPLACE" if replaces else "INSERT"
            columns = ", ".join(f'"{name}"' for name in ("id", *names))
            places = ", ".join("?" * (len(names) + 1))
            db.execute(f'{verb} INTO "{resource}" ({columns}) VALUES ({places})', (key, *values.values()))
            return
        sets = ", ".join(f'"{name}" = ?' for name in names)
        db.execute(f'UPDATE "{resource}" SET {sets} WHERE id = ?', (*values.values(), key))


class PostgresqlPlace:
    """A schema of a server."""

    keys_hold = True

    def __init__(self, server: str, schema: str) -> None:
        self.url = f"{server}?schema={schema}"
        self._server = server
        self._schema = schema

    async def write(self, made: Sequence[Any], random: Random) -> None:
        """Writes, from a connection of its own, now and then with a savepoint that is rolled back."""
        db = await asyncpg.connect(self._server, server_settings={"search_path": self._schema})
        try:
            async with db.transaction():
                for action, resource, key, values in made:
                    if random.random() < 0.3:
                        in_vain = db.transaction()
                        await in_vain.start()
                        await self._execute(db, action, resource, key, values)
                        await in_vain.rollback()
                    await self._execute(db, action, resource, key, values)
        finally:
            await db.close()

    async def _execute(self, db: Any, action: str, resource: str, key: str, values: Any) -> None:
        if action == "delete":
            await db.execute(f'DELETE FROM "{resource}" WHERE id = $1', key)
            return
        row = msgspec.json.encode({"id": key, **values}).decode()
        columns = ", ".join(f'"{name}"' for name in ("id", *values))
        given = f'SELECT {columns} FROM jsonb_populate_record(NULL::"{resource}", $1::text::jsonb)'
        if action == "create":
            await db.execute(f'INSERT INTO "{resource}" ({columns}) {given}', row)
        else:
            await db.execute(f'UPDATE "{resource}" SET ({columns}) = ({given}) WHERE id = $2', row, key)


@asynccontextmanager
async def place(server: str | None) -> AsyncIterator[Place]:
    """A place for one story, which is gone after it: a file, or a schema of a PostgreSQL server by its URL."""
    if server is None:
        with tempfile.TemporaryDirectory(prefix="crudite-model-") as folder:
            yield SqlitePlace(Path(folder) / "model.db")
        return
    schema = f"model_{uuid4().hex}"
    try:
        yield PostgresqlPlace(server, schema)
    finally:
        admin = await asyncpg.connect(server)
        try:
            await admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        finally:
            await admin.close()


__all__ = ["Place", "place"]
