"""What the database must hold for the store to work: its own tables, a living log, and our triggers."""

import secrets
from typing import Literal

from crudite.errors import StoreTooNew
from crudite.query.sql import quote
from crudite.schema import Catalog
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import FORMAT, SYSTEM_TABLES
from crudite.stores.postgresql.log import read_head
from crudite.stores.postgresql.search import FUNCTION
from crudite.stores.postgresql.triggers import Trigger, create_triggers

# the server (its system identifier and, after a failover, its timeline) and the database in it; a copy that
# was restored elsewhere has another home, and ids of transactions that mean nothing there
_HOME = """SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
left(pg_walfile_name(pg_current_wal_lsn()), 8),
(SELECT oid FROM pg_database WHERE datname = current_database()))"""
_TABLES = """SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"""
_COLUMNS = """SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0
AND NOT a.attisdropped ORDER BY a.attnum"""
_INDEXES = """SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::regclass"""
_CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conrelid = $1::text::regclass"
_TRIGGERS = """SELECT t.tgname, c.relname, p.prosrc, t.tgenabled = 'O' AS works
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND NOT t.tgisinternal AND t.tgname LIKE 'crudite %'"""
_SEARCHES = """SELECT count(*) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.proname = $1"""
_FUNCTIONS = """SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.proname LIKE 'crudite %' AND p.prorettype = 'trigger'::regtype"""


async def place(connection: Connection) -> str | None:
    """The schema of the database in which our tables are; None when it is not there yet."""
    name: str | None = await connection.fetchval("SELECT current_schema()")
    return name


async def tables(connection: Connection) -> set[str]:
    """The names of the tables that are there."""
    return {row[0] for row in await connection.fetch(_TABLES)}


async def columns(connection: Connection, table: str) -> list[str]:
    """The names of a table's columns."""
    return [row[0] for row in await connection.fetch(_COLUMNS, quote(table))]


async def indexes(connection: Connection, table: str) -> set[str]:
    """The names of a table's indexes."""
    return {row[0] for row in await connection.fetch(_INDEXES, quote(table))}


async def constraints(connection: Connection, table: str) -> set[str]:
    """The names of a table's constraints."""
    return {row[0] for row in await connection.fetch(_CONSTRAINTS, quote(table))}


async def searches(connection: Connection) -> bool:
    """Whether the function that finds the words of a text is there."""
    return bool(await connection.fetchval(_SEARCHES, FUNCTION))


async def check_format(connection: Connection, shown: str) -> None:
    """Raises StoreTooNew for a database of a later version of ours."""
    if "_schema" not in await tables(connection):
        return
    version = await connection.fetchval('SELECT format FROM "_schema"')
    if version is not None and version > FORMAT:
        raise StoreTooNew(f"{shown}: the database has format {version}, this version of Crudite knows {FORMAT}")


async def create_system_tables(connection: Connection) -> None:
    """Makes the store's own tables where they are missing, and the first log; inside a transaction."""
    present = await tables(connection)
    for name, text in SYSTEM_TABLES.items():
        if name not in present:
            await connection.execute(text)
    if not await connection.fetchval('SELECT count(*) FROM "_secret"'):
        await connection.execute('INSERT INTO "_secret" (value) VALUES ($1)', secrets.token_bytes(32))
    if not await connection.fetchval('SELECT count(*) FROM "_logs" WHERE ended IS NULL'):
        await _begin_log(connection)


async def stay_home(connection: Connection) -> None:
    """Begins a new log when the current one was written by another server or in another database."""
    async with connection.transaction():
        home = await connection.fetchval(_HOME)
        was = await connection.fetchval('SELECT home FROM "_logs" WHERE ended IS NULL')
        if was != home:
            await connection.execute('LOCK TABLE "_logs" IN EXCLUSIVE MODE')
            was = await connection.fetchval('SELECT home FROM "_logs" WHERE ended IS NULL')
            if was != home:
                await end_log(connection, "epoch")


async def end_log(connection: Connection, why: Literal["schema", "epoch"]) -> None:
    """Ends the log and begins another one: no position of the old one leads on. Inside a transaction.

    Whoever writes is waited for, so that nothing of the old log comes after the new one's beginning.
    """
    await connection.execute('LOCK TABLE "_changes" IN SHARE ROW EXCLUSIVE MODE')
    if why == "epoch":  # the ids of its transactions are another server's
        await connection.execute('DELETE FROM "_changes"')
        await connection.execute('DELETE FROM "_commits"')
        await connection.execute('UPDATE "_logs" SET ended = $1 WHERE ended IS NULL', why)
        await _begin_log(connection)
        return
    last = (await read_head(connection)).position
    await connection.execute('UPDATE "_logs" SET ended = $1 WHERE ended IS NULL', why)
    await _begin_log(connection)
    mark = 'UPDATE "_logs" SET trim_tx = $1::text::xid8, trim_seq = $2, trim_salt = $3 WHERE ended IS NULL'
    await connection.execute(mark, str(last.tx), last.seq, last.salt)


async def _begin_log(connection: Connection) -> None:
    home = await connection.fetchval(_HOME)
    await connection.execute('INSERT INTO "_logs" (home) VALUES ($1)', home)


async def triggers_agree(connection: Connection, catalog: Catalog) -> bool:
    """Whether the catalog's triggers are installed, word for word, and no others of ours."""
    wanted = {t.name: (t.table, t.body, True) for t in await _wanted(connection, catalog)}
    return await installed_triggers(connection) == wanted


async def installed_triggers(connection: Connection) -> dict[str, tuple[str, str, bool]]:
    """Our triggers that are there, by name: their table, what they do, and whether they are switched on."""
    return {row[0]: (row[1], row[2], row[3]) for row in await connection.fetch(_TRIGGERS)}


async def install_triggers(connection: Connection, catalog: Catalog) -> None:
    """Puts the catalog's triggers in place of what is there. Inside a transaction."""
    await drop_triggers(connection)
    for trigger in await _wanted(connection, catalog):
        for text in trigger.statements:
            await connection.execute(text)


async def drop_triggers(connection: Connection) -> None:
    """Takes our triggers away. Inside a transaction."""
    for name, (table, _, _) in (await installed_triggers(connection)).items():
        await connection.execute(f"DROP TRIGGER {quote(name)} ON {quote(table)}")
    for row in await connection.fetch(_FUNCTIONS):
        await connection.execute(f"DROP FUNCTION {quote(row[0])}()")


async def _wanted(connection: Connection, catalog: Catalog) -> list[Trigger]:
    here = await place(connection) or ""
    return [trigger for schema in catalog.values() for trigger in create_triggers(schema, here)]
