"""A PostgreSQL database as an end of a copy: read in one snapshot, or filled in one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from crudite.errors import StoreError
from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Remembered
from crudite.stores.postgresql import carrying, install, log
from crudite.stores.postgresql.connections import Address, Connection, migrating, parse
from crudite.stores.postgresql.ddl import create_references
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.types import Plain

_IDENTITY = """SELECT concat_ws(' ', 'postgresql', (SELECT system_identifier FROM pg_control_system()),
(SELECT oid FROM pg_database WHERE datname = current_database()), current_schema())"""
_dialect = PostgresqlDialect()


class PostgresqlEnd:
    """The database of a PostgreSQL store's URL."""

    def __init__(self, url: str) -> None:
        self._address = parse(url)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self._address.shown

    async def identity(self) -> str:
        """The server, the database and the schema in it."""
        async with migrating(self._address) as connection:
            found: str = await connection.fetchval(_IDENTITY)
            return found

    @asynccontextmanager
    async def export(self, catalog: Catalog) -> AsyncIterator["_Export"]:
        """A transaction that reads: nobody waits for it but whoever wants to change the schema."""
        async with (
            migrating(self._address) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            head = await log.read_head(connection)
            secret = await connection.fetchval('SELECT value FROM "_secret"')
            yield _Export(self._address, connection, head.position, secret)

    @asynccontextmanager
    async def fill(self, catalog: Catalog) -> AsyncIterator["_Filling"]:
        """A transaction without triggers and foreign keys; whoever reads or writes the tables waits for it."""
        try:
            async with migrating(self._address) as connection, connection.transaction():
                tables = ", ".join(quote(schema.table) for schema in catalog.values())
                if tables:  # not waited for as long as others could not bear to wait behind
                    await connection.execute("SET LOCAL lock_timeout = '2s'")
                    await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                    await connection.execute("SET LOCAL lock_timeout TO DEFAULT")
                await install.drop_triggers(connection)
                references = await _let_go(connection, catalog)
                yield _Filling(connection, catalog)
                for text in references:
                    await connection.execute(text)
                await install.install_triggers(connection, catalog)
                await carrying.go_on(connection)
                await install.end_log(connection, "epoch")
        except StoreError as error:
            if isinstance(error.__cause__, asyncpg.ForeignKeyViolationError):
                detail = f"{error.__cause__} {getattr(error.__cause__, 'detail', None) or ''}".rstrip()
                raise StoreError(f"{self.shown}: references would point at nothing: {detail}") from error
            raise


class _Export:
    """A snapshot of the database."""

    def __init__(
        self, address: Address, connection: Connection, position: log.PostgresqlPosition, secret: bytes
    ) -> None:
        self.secret = secret
        self._address = address
        self._connection = connection
        self._position = position

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        return await _count(self._connection, schema)

    async def records(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[tuple[Plain, ...]]]:
        """All records of a resource by key, in groups."""
        names, key = ", ".join(map(quote, schema.fields)), quote(schema.key)
        start, end = f"SELECT {names} FROM {quote(schema.table)}", f"ORDER BY {key} LIMIT {size}"
        later = f"{start} WHERE {key} > {_dialect.parameter(1, schema.key_field.type)} {end}"
        types, load = [field.type for field in schema.fields.values()], _dialect.load
        found = await self._connection.fetch(f"{start} {end}")
        while found:
            group = [tuple([load(type, value) for type, value in zip(types, row, strict=True)]) for row in found]
            yield group
            last = _dialect.store(schema.key_field.type, group[-1][0])
            found = await self._connection.fetch(later, last) if len(found) == size else []

    async def number(self, schema: ResourceSchema) -> int:
        """The highest number that was given."""
        name = "SELECT pg_get_serial_sequence($1, $2)"
        sequence = await self._connection.fetchval(name, quote(schema.table), schema.key)
        text = f"SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}"
        return int(await self._connection.fetchval(text))

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        return await carrying.count(self._connection, schema)

    async def changes(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[Remembered]]:
        """All changes in the histories of a resource's records by key, in groups."""
        async for changes in carrying.read(self._connection, schema, size):
            yield changes

    async def has_moved(self) -> bool:
        """Whether the log has gone on since the snapshot."""
        async with migrating(self._address) as connection:
            return (await log.read_head(connection)).position != self._position


class _Filling:
    """A transaction that fills the database."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._room = 0

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        return await _count(self._connection, schema)

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        return await carrying.count(self._connection, schema)

    async def clear(self) -> None:
        """Takes all records away, at once, and their histories."""
        tables = ", ".join(quote(schema.table) for schema in self._catalog.values())
        if tables:
            await self._connection.execute(f"TRUNCATE {tables}")
        await carrying.clear(self._connection, self._catalog)
        self._room = await carrying.room(self._connection)

    async def add(self, schema: ResourceSchema, records: Sequence[tuple[Plain, ...]]) -> None:
        """Writes new records, by one statement: a list of values for each column."""
        fields = list(schema.fields.values())
        names = ", ".join(map(quote, schema.fields))
        lists = ", ".join(_dialect.parameter(n, field.type, True) for n, field in enumerate(fields, 1))
        text = f"INSERT INTO {quote(schema.table)} ({names}) SELECT * FROM unnest({lists})"
        store = _dialect.store
        values = [
            [store(field.type, value) for value in column]
            for field, column in zip(fields, zip(*records, strict=True), strict=True)
        ]
        await self._connection.execute(text, *values)

    async def remember(self, schema: ResourceSchema, changes: Sequence[Remembered]) -> None:
        """Keeps changes."""
        await carrying.add(self._connection, schema, changes, self._room)

    async def go_on_after(self, schema: ResourceSchema, number: int) -> None:
        """Lets the column's numbers go on; unlike `setval`, not when the transaction fails."""
        column = f"ALTER {quote(schema.key)} RESTART WITH {number + 1}"
        await self._connection.execute(f"ALTER TABLE {quote(schema.table)} {column}")

    async def seal_with(self, secret: bytes) -> None:
        """Puts the secret in place of the database's own."""
        await self._connection.execute('UPDATE "_secret" SET value = $1', secret)


async def _count(connection: Connection, schema: ResourceSchema) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {quote(schema.table)}"))


async def _let_go(connection: Connection, catalog: Catalog) -> list[str]:
    """Takes all foreign keys of the catalog away; returns the statements that make them again."""
    made: list[str] = []
    for schema in catalog.values():
        for name, text in create_references(schema, dict(catalog)).items():
            await connection.execute(f"ALTER TABLE {quote(schema.table)} DROP CONSTRAINT {quote(name)}")
            made.append(text)
    return made
