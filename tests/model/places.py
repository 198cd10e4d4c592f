"""Where a story happens: an empty store, and other programs that write into it without knowing of us."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from uuid import uuid4

import apsw
import asyncpg
import msgspec

from crudite.changes import Unit
from crudite.stores.base import Store, SupportsLoad

How: TypeAlias = Literal["plain", "rollback", "copy"]
"""How another program writes: plainly; but rolls back in the end; with COPY, where there is such a thing."""


class Made(NamedTuple):
    """One write: `create`, `update` or `delete` of a record; `is_undone` when a savepoint takes it back."""

    action: str
    resource: str
    key: str
    values: dict[str, Any] | None = None
    is_undone: bool = False


class Place(Protocol):
    """One database, and another program that writes into it."""

    url: str
    """What an application opens."""
    keys_hold: bool
    """Whether foreign keys bind whoever writes."""
    has_many_writers: bool
    """Whether a transaction may stay open while others write."""

    async def write(self, how: How, made: Sequence[Made]) -> None:
        """One transaction, with a savepoint around what is undone."""
        ...

    async def empty(self, resource: str) -> None:
        """Takes all records away in one go; where references are kept, those of the tables that point there, too."""
        ...

    async def begin(self, slot: int, made: Sequence[Made], *, is_prepared: bool) -> None:
        """A transaction that stays open, prepared for the second phase of its commit or not."""
        ...

    async def end(self, slot: int, *, commits: bool) -> None:
        """Ends it."""
        ...

    async def decided(self, store: Store) -> None:
        """Waits until nothing is under way any more that one of ours has taken, whoever has stopped waiting for it."""
        ...

    async def waiting(self) -> str:
        """What the database says of who waits for whom, for a report."""
        ...


class SqlitePlace:
    """A file. Other programs keep no foreign keys."""

    keys_hold = False
    has_many_writers = False

    def __init__(self, path: Path, random: Random) -> None:
        self.url = f"sqlite:///{path}?synchronous=OFF"
        self._path = path
        self._random = random

    async def write(self, how: How, made: Sequence[Made]) -> None:
        """One transaction."""
        replaces = [self._random.random() < 0.3 for _ in made]
        await asyncio.to_thread(self._write, how, made, replaces)

    def _write(self, how: How, made: Sequence[Made], replaces: Sequence[bool]) -> None:
        # The same SQLite library: closing the file by another one would take this process's locks away.
        with closing(apsw.Connection(str(self._path))) as db:
            db.set_busy_timeout(20_000)
            db.execute("BEGIN IMMEDIATE")
            for one, replaced in zip(made, replaces, strict=True):
                if one.is_undone:
                    db.execute("SAVEPOINT undone")
                _execute(db, one, replaces=replaced)
                if one.is_undone:
                    db.execute("ROLLBACK TO undone")
            db.execute("ROLLBACK" if how == "rollback" else "COMMIT")

    async def empty(self, resource: str) -> None:
        """Deletes all."""
        await asyncio.to_thread(self._empty, resource)

    def _empty(self, resource: str) -> None:
        with closing(apsw.Connection(str(self._path))) as db:
            db.set_busy_timeout(20_000)
            db.execute(f'DELETE FROM "{resource}"')

    async def begin(self, slot: int, made: Sequence[Made], *, is_prepared: bool) -> None:
        """There is one writer."""
        raise NotImplementedError

    async def end(self, slot: int, *, commits: bool) -> None:
        """There is one writer."""
        raise NotImplementedError

    async def decided(self, store: Store) -> None:
        """One comes after the other."""
        await store.write(Unit(writes=()))

    async def waiting(self) -> str:
        """It says nothing."""
        return ""


def _execute(db: apsw.Connection, one: Made, *, replaces: bool) -> None:
    if one.action == "delete":
        db.execute(f'DELETE FROM "{one.resource}" WHERE id = ?', (one.key,))
        return
    values = one.values or {}
    if one.action == "create":
        verb = "INSERT OR REPLACE" if replaces else "INSERT"
        columns = ", ".join(f'"{name}"' for name in ("id", *values))
        places = ", ".join("?" * (len(values) + 1))
        db.execute(f'{verb} INTO "{one.resource}" ({columns}) VALUES ({places})', (one.key, *values.values()))
        return
    sets = ", ".join(f'"{name}" = ?' for name in values)
    db.execute(f'UPDATE "{one.resource}" SET {sets} WHERE id = ?', (*values.values(), one.key))


class PostgresqlPlace:
    """A schema of its own in a database."""

    keys_hold = True
    has_many_writers = True

    def __init__(self, server: str, name: str) -> None:
        self.url = f"{server}?schema={name}"
        self._server = server
        self._name = name
        self._open: dict[int, asyncpg.Connection[Any] | str] = {}
        self._plain: asyncpg.Connection[Any] | None = None

    async def write(self, how: How, made: Sequence[Made]) -> None:
        """One transaction."""
        if self._plain is None:
            self._plain = await self._connect()
        await self._perform(self._plain, made, copies=how == "copy")
        await self._plain.execute("ROLLBACK" if how == "rollback" else "COMMIT")

    async def empty(self, resource: str) -> None:
        """Truncates the table, and those that point to it; again, when that lost a deadlock to one who reads them."""
        if self._plain is None:
            self._plain = await self._connect()
        while True:
            with suppress(asyncpg.DeadlockDetectedError):
                await self._plain.execute(f'TRUNCATE "{resource}" CASCADE')
                break

    async def begin(self, slot: int, made: Sequence[Made], *, is_prepared: bool) -> None:
        """A transaction on a connection of its own, or prepared, on none."""
        db = await self._connect()
        await self._perform(db, made)
        self._open[slot] = db
        if is_prepared:
            name = f"{self._name} {slot}"
            await db.execute(f"PREPARE TRANSACTION '{name}'")
            await db.close()
            self._open[slot] = name

    async def end(self, slot: int, *, commits: bool) -> None:
        """Ends it."""
        word, found = "COMMIT" if commits else "ROLLBACK", self._open.pop(slot)
        if isinstance(found, str):
            db = await self._connect()
            await db.execute(f"{word} PREPARED '{found}'")
        else:
            db = found
            await db.execute(word)
        await db.close()

    async def decided(self, store: Store) -> None:
        """Nothing waits for a connection, nor uses one."""
        assert isinstance(store, SupportsLoad)
        quiet = 0
        while quiet < 20:  # between its turn and its connection a write is nowhere to be seen
            await asyncio.sleep(0)
            quiet = 0 if store.load.used or store.load.waiting else quiet + 1

    async def waiting(self) -> str:
        """The sessions of this database that do something, and by which they are blocked."""
        db = await self._connect()
        rows = await db.fetch(
            "SELECT pid, pg_blocking_pids(pid) AS behind, state, wait_event_type, wait_event, "
            "now() - state_change AS since, query FROM pg_stat_activity "
            "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        await db.close()
        return "\n".join(" ".join(str(value) for value in row.values()) for row in rows)

    async def close(self) -> None:
        """Nothing of it is left."""
        for slot in list(self._open):
            await self.end(slot, commits=False)
        if self._plain is not None:
            await self._plain.close()

    async def _connect(self) -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(self._server, server_settings={"search_path": self._name})

    async def _perform(self, db: "asyncpg.Connection[Any]", made: Sequence[Made], *, copies: bool = False) -> None:
        await db.execute("BEGIN")
        for one in made:
            if one.is_undone:
                await db.execute("SAVEPOINT undone")
            if copies and one.action == "create":
                await _copy(db, one)
            else:
                await _perform(db, one)
            if one.is_undone:
                await db.execute("ROLLBACK TO undone")


async def _perform(db: "asyncpg.Connection[Any]", one: Made) -> None:
    if one.action == "delete":
        await db.execute(f'DELETE FROM "{one.resource}" WHERE id = $1', one.key)
        return
    values = one.values or {}
    row = msgspec.json.encode({"id": one.key, **values}).decode()
    columns = ", ".join(f'"{name}"' for name in ("id", *values))
    given = f'SELECT {columns} FROM jsonb_populate_record(NULL::"{one.resource}", $1::text::jsonb)'
    if one.action == "create":
        await db.execute(f'INSERT INTO "{one.resource}" ({columns}) {given}', row)
    else:
        sets = ", ".join(f'"{name}" = r."{name}"' for name in values)  # not the key, or who refers to it would wait
        given = f'jsonb_populate_record(NULL::"{one.resource}", $1::text::jsonb) AS r'
        await db.execute(f'UPDATE "{one.resource}" AS t SET {sets} FROM {given} WHERE t.id = r.id', row)


async def _copy(db: "asyncpg.Connection[Any]", one: Made) -> None:
    row = {"id": one.key, **(one.values or {})}
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([r"\N" if v is None else _text(v) for v in row.values()])
    source = io.BytesIO(line.getvalue().replace(r'"\N"', r"\N").encode())
    await db.copy_to_table(one.resource, source=source, columns=list(row), format="csv", null=r"\N")


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@asynccontextmanager
async def on_sqlite(random: Random) -> AsyncIterator[Place]:
    """A file in a directory of its own."""
    with TemporaryDirectory(prefix="crudite-model-") as folder:
        yield SqlitePlace(Path(folder) / "model.db", random)


def on_postgresql(server: str) -> Callable[[Random], AbstractAsyncContextManager[Place]]:
    """Schemas of their own in the database with that URL."""

    @asynccontextmanager
    async def here(_: Random) -> AsyncIterator[Place]:
        name = f"model_{uuid4().hex}"
        place = PostgresqlPlace(server, name)
        try:
            yield place
        finally:
            await place.close()
            db = await asyncpg.connect(server)
            await db.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            await db.close()

    return here
