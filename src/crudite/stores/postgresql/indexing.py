"""The indexes on the log by which histories are found: made without holding anybody up.

Theory of operation. They only make reading quick, so they need not come in the transaction of a migration: they are
made after it, concurrently, by one process at a time, while others go on without. One that was broken off is there and
not valid; it is taken away and made again by whoever starts next. Where the log is empty, as in a new database, they
are made at once.
"""

import logging
from collections.abc import Sequence

import asyncpg

from crudite.query.sql import quote
from crudite.schema import Catalog
from crudite.stores.base import Step
from crudite.stores.postgresql.connections import Connection, LentSession
from crudite.stores.postgresql.dialect import literal
from crudite.stores.postgresql.history import indexes_of

_log = logging.getLogger("crudite.store")

_STATE = """SELECT current_schema(), to_regclass('"_changes"') IS NOT NULL"""
_INDEXES = """SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '"_changes"'::regclass)"""
_IS_EMPTY = 'SELECT NOT EXISTS (SELECT FROM "_changes")'
_TURN = "hashtext('crudite indexes ' || current_schema())"


async def plan(connection: Connection, catalog: Catalog) -> Sequence[Step]:
    """The steps that make those of the catalog's indexes which are not there, or not whole. Only reads."""
    found = await _missing(connection, catalog)
    return [Step(f"{table}: make an index on the log for its history", tuple(sql)) for table, sql in found.items()]


async def make_at_once(connection: Connection, catalog: Catalog) -> None:
    """Makes those that are not there, if the log is empty; inside a transaction."""
    found = await _missing(connection, catalog)
    if found and await connection.fetchval(_IS_EMPTY):
        for text in (text for sql in found.values() for text in sql):
            await connection.execute(text.replace(" CONCURRENTLY", "", 1))


async def make(connection: Connection, catalog: Catalog) -> None:
    """Makes those that are not there, unless another process is doing so; the connection is in no transaction. When
    others do not let it, the log says so, and they are left to the next who tries."""
    if not await _missing(connection, catalog):
        return
    # who lends connections for a transaction keeps no lock beyond it: there, two that meet may have to try again
    is_lent = type(connection) is LentSession  # to the driver, every connection is an instance of each class
    if not is_lent and not await connection.fetchval(f"SELECT pg_try_advisory_lock({_TURN})"):
        return
    try:
        for text in (text for sql in (await _missing(connection, catalog)).values() for text in sql):
            await (asyncpg.Connection.execute(connection, text) if is_lent else connection.execute(text))
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError) as error:
        _log.warning("no index for histories could be made, which are slow to read until the next start: %s", error)
    finally:
        if not is_lent:
            await connection.fetchval(f"SELECT pg_advisory_unlock({_TURN})")


async def _missing(connection: Connection, catalog: Catalog) -> dict[str, list[str]]:
    """The statements that make what is not there, by the table whose history it is for."""
    audited = [schema.table for schema in catalog.values() if schema.history is not None]
    if not audited:
        return {}
    place, is_there = await connection.fetchrow(_STATE)
    there = dict(await connection.fetch(_INDEXES)) if is_there else {}
    missing = dict[str, list[str]]()
    for table in audited:
        for part, name in indexes_of(table).items():
            if not there.get(name, False):
                sql = missing.setdefault(table, [])
                if name in there:
                    sql.append(f"DROP INDEX CONCURRENTLY IF EXISTS {quote(place)}.{quote(name)}")
                on = quote(part) if place is None else f"{quote(place)}.{quote(part)}"
                where = f"(pk, seq) WHERE tbl = {literal(table)}"
                sql.append(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {quote(name)} ON {on} {where}")
    return missing
