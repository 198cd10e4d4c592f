"""Histories as what a copy carries from one database to another one: those that are kept, and those in the log.

Theory of operation. The changes keep their numbers, by which pages of a history go on, and the log's next number is
made to come after them: in a turn that is written to the table of the current one. Where the database keeps histories
of tables that are not copied, with numbers that might be the same, all come after those.
"""

from collections.abc import AsyncIterator, Sequence

from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Remembered
from crudite.stores.postgresql import history
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import LAST_NUMBER, TURN_BITS, TURNS

_KEEPS = "SELECT to_regclass('\"_history\"') IS NOT NULL"
_ADD = """INSERT INTO "_history" (tbl, pk, seq, at, actor, interface, request, before, after)
SELECT $1, k, n, 'epoch'::timestamptz + at * interval '1 microsecond', a, i, r, b, c
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
$8::text[], $9::text[]) AS u (k, n, at, a, i, r, b, c)"""
_OTHERS = """SELECT EXISTS (SELECT FROM "_history")
OR EXISTS (SELECT FROM "_changes" WHERE tbl IN (SELECT tbl FROM "_audited"))"""


async def count(connection: Connection, schema: ResourceSchema) -> int:
    """How many changes of a resource's records are known."""
    if not await connection.fetchval(_KEEPS):
        return 0
    return int(await connection.fetchval(f"SELECT count(*) FROM ({history.every(schema)}) AS h"))


async def read(connection: Connection, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[Remembered]]:
    """The changes of a resource's records, by the texts of their keys and by their numbers, in groups. Inside a
    transaction."""
    if not await connection.fetchval(_KEEPS):
        return
    cursor = await connection.cursor(f'SELECT * FROM ({history.every(schema)}) AS h ORDER BY pk COLLATE "C", seq')
    while found := await cursor.fetch(size):
        yield [Remembered(key, history.past_of(past)) for key, *past in found]


async def clear(connection: Connection, catalog: Catalog) -> None:
    """Takes the histories of a catalog's records away, also those in the log; inside a transaction."""
    tables = [schema.table for schema in catalog.values()]
    # in this order: what is trimmed meanwhile goes from the first to the second
    for name in ("_changes", "_history"):
        await connection.execute(f'DELETE FROM "{name}" WHERE tbl = ANY($1::text[])', tables)


async def room(connection: Connection) -> int:
    """What is to be added to the numbers of changes, so that they are not those of others that are there."""
    return int(await connection.fetchval(f"SELECT CASE WHEN ({_OTHERS}) THEN {LAST_NUMBER} ELSE 0 END"))


async def add(connection: Connection, schema: ResourceSchema, changes: Sequence[Remembered], room: int) -> None:
    """Keeps changes of a resource's records, by one statement. Inside a transaction."""
    numbers = [past.number + room for _, past in changes]
    _, *others = zip(*(past for _, past in changes), strict=True)
    await connection.execute(_ADD, schema.table, [key for key, _ in changes], numbers, *others)


async def go_on(connection: Connection) -> None:
    """Lets the log number its changes after all that are kept. This is not taken back with the transaction: then some
    numbers are left out."""
    last, highest = await connection.fetchrow(f'SELECT {LAST_NUMBER}, (SELECT max(seq) FROM "_history")')
    if highest is None or highest < last:
        return
    turn = last >> TURN_BITS
    turn -= (turn - (highest >> TURN_BITS)) // TURNS * TURNS
    await connection.execute(f"SELECT setval('\"_numbers\"', {max(highest, turn << TURN_BITS)})")
