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
# no record has ever been numbered, or another program has taken the number away
_BEGIN = "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 WHERE ?1 NOT IN (SELECT name FROM sqlite_sequence)"
_dialect = SqliteDialect()


def take(connection: apsw.Connection, schema: ResourceSchema, count: int) -> Sequence[Key]:
    """So many keys that nobody else is given, durably: above the last number and, as SQLite does it, above those of
    the records that are there. Raises StoreError when no more are left."""
    connection.execute("BEGIN IMMEDIATE")
    rows(connection, _BEGIN, (schema.table,))
    highest = f"max(seq, 0, coalesce((SELECT max({quote(schema.key)}) FROM {quote(schema.table)}), 0))"
    text = f"UPDATE sqlite_sequence SET seq = {highest} + ?1 WHERE name = ?2 AND {highest} <= ?3 - ?1 RETURNING seq"
    taken = rows(connection, text, (count, schema.table, _LAST))
    if not taken:
        raise StoreError(f"{schema.table} has no more numbers for its records")
    connection.execute("COMMIT")
    last: int = taken[0][0]
    return [_dialect.load(schema.key_field.type, number) for number in range(last - count + 1, last + 1)]
