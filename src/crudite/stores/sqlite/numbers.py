"""Numbers for records that are not there yet: taken from those that SQLite goes on from (AUTOINCREMENT)."""

from collections.abc import Sequence

import apsw

from crudite.errors import StoreError
from crudite.query.sql import quote
from crudite.schema import ResourceSchema
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.types import Key

_LAST = 2**63 - 1
_dialect = SqliteDialect()


def take(connection: apsw.Connection, schema: ResourceSchema, count: int) -> Sequence[Key]:
    """So many keys that nobody else is given, durably. Raises StoreError when no more are left."""
    connection.execute("BEGIN IMMEDIATE")
    found = rows(connection, "SELECT seq FROM sqlite_sequence WHERE name = ?", (schema.table,))
    if not found:  # no record has ever been numbered
        highest = f"SELECT ?, coalesce(max({quote(schema.key)}), 0) FROM {quote(schema.table)}"
        connection.execute(f"INSERT INTO sqlite_sequence (name, seq) {highest}", (schema.table,))
    text = "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = ?2 AND seq <= ?3 - ?1 RETURNING seq"
    taken = rows(connection, text, (count, schema.table, _LAST))
    if not taken:
        raise StoreError(f"{schema.table} has no more numbers for its records")
    connection.execute("COMMIT")
    last: int = taken[0][0]
    return [_dialect.load(schema.key_field.type, number) for number in range(last - count + 1, last + 1)]
