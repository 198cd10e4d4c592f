"""A SQLite file as an end of a copy: read in one snapshot, or filled in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar

import apsw

from crudite.errors import StoreCorrupt, StoreError
from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Remembered
from crudite.stores.sqlite import carrying, install
from crudite.stores.sqlite.connections import connect, identity, make_writer, pragma, rows
from crudite.stores.sqlite.ddl import tuple_free
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.errors import translated
from crudite.stores.sqlite.store import SqliteStore
from crudite.types import Plain

_Result = TypeVar("_Result")
_dialect = SqliteDialect()


class SqliteEnd:
    """The file of a SQLite store's URL."""

    def __init__(self, url: str) -> None:
        store = SqliteStore(url)
        self._path, self.shown = store.path, store.shown
        if not store.is_shared:
            raise StoreError("a database in memory cannot be copied: it goes with the process that has it")

    async def identity(self) -> str:
        """The file's device and inode."""
        return f"sqlite {identity(self._path)}"

    @asynccontextmanager
    async def export(self, catalog: Catalog) -> AsyncIterator["_Export"]:
        """A read transaction: the write-ahead log of the file grows meanwhile, and nobody waits."""
        with translated(self._path):
            connection, watching = connect(self._path), connect(self._path)
            try:
                pragma(connection, "query_only = ON")
                version = pragma(watching, "data_version")
                connection.execute("BEGIN")
                yield _Export(connection, watching, version)
            finally:
                connection.close(True)
                watching.close(True)

    @asynccontextmanager
    async def fill(self, catalog: Catalog) -> AsyncIterator["_Filling"]:
        """A transaction in which no trigger runs; other writers wait for it, as long as they do."""
        with translated(self._path):
            connection = connect(self._path)
            try:
                make_writer(connection, "FULL")
                pragma(connection, "foreign_keys = OFF")
                connection.execute("BEGIN IMMEDIATE")
                install.drop_triggers(connection)
                yield _Filling(connection, catalog)
                await _run(_finish, connection, catalog, self._path)
            finally:
                connection.close(True)


class _Export:
    """A snapshot of the file."""

    def __init__(self, connection: apsw.Connection, watching: apsw.Connection, version: int) -> None:
        self._connection = connection
        self._watching = watching
        self._version = version
        self.secret: bytes = rows(connection, "SELECT value FROM _secret")[0][0]

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        return await _run(_count, self._connection, schema)

    async def records(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[tuple[Plain, ...]]]:
        """All records of a resource by key, in groups."""
        names, key = ", ".join(map(quote, schema.fields)), quote(schema.key)
        first = f"SELECT {names} FROM {quote(schema.table)} ORDER BY {key} LIMIT {size}"
        later = f"SELECT {names} FROM {quote(schema.table)} WHERE {key} > ? ORDER BY {key} LIMIT {size}"
        found = await _run(self._fetch, schema, first, ())
        while found:
            yield found
            last = _dialect.store(schema.key_field.type, found[-1][0])
            found = await _run(self._fetch, schema, later, (last,)) if len(found) == size else []

    async def number(self, schema: ResourceSchema) -> int:
        """The highest number that was given."""
        found = rows(self._connection, "SELECT seq FROM sqlite_sequence WHERE name = ?", (schema.table,))
        return int(found[0][0]) if found else 0

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        return await _run(carrying.count, self._connection, schema)

    async def changes(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[Remembered]]:
        """All changes in the histories of a resource's records by key, in groups."""
        changes = carrying.read(self._connection, schema)
        while found := await _run(lambda: list(islice(changes, size))):
            yield found

    async def has_moved(self) -> bool:
        """Whether anybody has committed anything since the snapshot."""
        return bool(pragma(self._watching, "data_version") != self._version)

    def _fetch(self, schema: ResourceSchema, text: str, bound: tuple[object, ...]) -> list[tuple[Plain, ...]]:
        types, load = [field.type for field in schema.fields.values()], _dialect.load
        try:
            found = rows(self._connection, text, bound)
            return [tuple([load(type, value) for type, value in zip(types, row, strict=True)]) for row in found]
        except ValueError as error:  # what is no UTF-8, or no JSON
            raise StoreCorrupt(f"a record of {schema.name} cannot be read: {error}") from error


class _Filling:
    """A transaction that fills the file."""

    def __init__(self, connection: apsw.Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._room = 0

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        return await _run(_count, self._connection, schema)

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        return await _run(carrying.count, self._connection, schema)

    async def clear(self) -> None:
        """Takes all records away, and their histories."""
        for schema in self._catalog.values():
            await _run(rows, self._connection, f"DELETE FROM {quote(schema.table)}")
        await _run(carrying.clear, self._connection, self._catalog)
        self._room = carrying.room(self._connection)

    async def add(self, schema: ResourceSchema, records: Sequence[tuple[Plain, ...]]) -> None:
        """Writes new records."""
        await _run(self._add, schema, records)

    async def remember(self, schema: ResourceSchema, changes: Sequence[Remembered]) -> None:
        """Keeps changes."""
        await _run(carrying.add, self._connection, schema, changes, self._room)

    async def go_on_after(self, schema: ResourceSchema, number: int) -> None:
        """Sets the last number, which is kept by the file for tables with AUTOINCREMENT."""
        self._connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (schema.table,))
        self._connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (schema.table, number))

    async def seal_with(self, secret: bytes) -> None:
        """Puts the secret in place of the file's own."""
        self._connection.execute("UPDATE _secret SET value = ?", (secret,))

    def _add(self, schema: ResourceSchema, records: Sequence[tuple[Plain, ...]]) -> None:
        types, store = [field.type for field in schema.fields.values()], _dialect.store
        names, places = ", ".join(map(quote, schema.fields)), ", ".join("?" * len(types))
        text = f"INSERT INTO {quote(schema.table)} ({names}) VALUES ({places})"
        bound = ([store(type, tuple_free(value)) for type, value in zip(types, one, strict=True)] for one in records)
        self._connection.executemany(text, bound)


def _count(connection: apsw.Connection, schema: ResourceSchema) -> int:
    return int(rows(connection, f"SELECT count(*) FROM {quote(schema.table)}")[0][0])


def _finish(connection: apsw.Connection, catalog: Catalog, path: str) -> None:
    """Looks at the references, gives the triggers and the indexes of words back, begins a new log, and commits."""
    dangling = rows(connection, 'SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2')
    if dangling:
        listed = ", ".join(f"{many} of {table} to {parent}" for table, parent, many in dangling)
        raise StoreError(f"{path}: references would point at nothing: {listed}")
    install.install_triggers(connection, catalog)
    install.fill(connection, catalog.values())
    carrying.go_on(connection)
    install.end_log(connection, "epoch")
    connection.execute("COMMIT")


async def _run(work: Callable[..., _Result], *arguments: object) -> _Result:
    """Does something in a thread; whoever is cancelled waits for its end, since the connection is in use until then."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
