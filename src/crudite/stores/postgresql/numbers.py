"""Numbers for records that are not there yet: taken from the sequence of their key."""

from collections.abc import Sequence

from crudite.query.sql import quote
from crudite.schema import ResourceSchema
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.types import Key

_TAKE = "SELECT nextval(pg_get_serial_sequence($1, $2)) FROM generate_series(1, $3::int)"
_dialect = PostgresqlDialect()


async def take(connection: Connection, schema: ResourceSchema, count: int) -> Sequence[Key]:
    """So many keys that nobody else is given."""
    found = await connection.fetch(_TAKE, quote(schema.table), schema.key, count)
    return [_dialect.load(schema.key_field.type, number) for (number,) in found]
