"""What the database must hold for the store to work: its own tables, a living log, and our triggers."""

import hashlib
import secrets
from typing import Literal

import msgspec

from crudite.errors import StoreReadOnly, StoreTooNew
from crudite.query.sql import quote
from crudite.schema import Catalog
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import FORMAT, SYSTEM_TABLES
from crudite.stores.postgresql.history import keep
from crudite.stores.postgresql.search import FUNCTION
from crudite.stores.postgresql.triggers import OURS, Trigger, create_triggers
from crudite.stores.steps import OldTable, watched

_TABLES = """SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"""
_COLUMNS = """SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0
AND NOT a.attisdropped ORDER BY a.attnum"""
_INDEXES = """SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::regclass"""
_CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conrelid = $1::text::regclass"
_OUR_TRIGGERS = f"""FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND NOT t.tgisinternal AND t.tgname ~ '{OURS}'"""
_TRIGGERS = f"""SELECT t.tgname, c.relname, p.prosrc,
CASE t.tgenabled WHEN 'O' THEN '' WHEN 'A' THEN 'ALWAYS' ELSE 'DISABLED' END {_OUR_TRIGGERS}"""
_SEARCHES = """SELECT count(*) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.proname = $1"""
# those that no trigger calls any more
_FUNCTIONS = f"""SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.proname ~ '{OURS}' AND p.prorettype = 'trigger'::regtype
AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid)"""

# the server (its system identifier and, after a failover, its timeline) and the database in it; a copy that
# was restored elsewhere has another home, and ids of transactions that mean nothing there
HOME = """(SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
left(pg_walfile_name(pg_current_wal_lsn()), 8),
(SELECT oid FROM pg_database WHERE datname = current_database())))"""
# what our triggers look like now: whoever touches one, be it only to switch it off and on again, moves its `xmin`
MARKS = f"""(SELECT coalesce(md5(string_agg(concat_ws(' ', t.oid, t.xmin, t.tgenabled, c.relname, md5(p.prosrc)), ','
ORDER BY t.oid)), '') {_OUR_TRIGGERS})"""
_BEGIN = f"""INSERT INTO "_logs" (home, triggers, wanted, trim_tx, trim_seq, trim_salt)
SELECT {HOME}, {MARKS}, wanted, trim_tx, trim_seq, trim_salt FROM "_logs" ORDER BY number DESC LIMIT 1"""
_MARK = f'UPDATE "_logs" SET triggers = {MARKS}, wanted = $1 WHERE ended IS NULL'


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


async def check_server(connection: Connection, shown: str) -> None:
    """Raises StoreReadOnly for a standby."""
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise StoreReadOnly(
            f"{shown}: the server is a standby, which takes no writes and shows commits in an order of its own; "
            "expected the primary (of several hosts in the URL, target_session_attrs=primary finds it)"
        )


async def check_format(connection: Connection, shown: str) -> None:
    """Raises StoreReadOnly for a standby, and StoreTooNew for a database of a later version of ours."""
    await check_server(connection, shown)
    version = await _format(connection, await tables(connection))
    if version > FORMAT:
        raise StoreTooNew(f"{shown}: the database has format {version}, this version of Crudite knows {FORMAT}")


async def create_system_tables(connection: Connection) -> None:
    """Makes the store's own tables where they are missing, and the first log; inside a transaction.

    Those of an earlier format are made anew: a new log begins.
    """
    present = await tables(connection)
    is_outdated = 0 < await _format(connection, present) < FORMAT
    if is_outdated:
        await connection.execute('DROP TABLE "_changes", "_commits"; DROP SEQUENCE IF EXISTS "_numbers"')
        await connection.execute(f"""ALTER TABLE "_logs" ADD COLUMN IF NOT EXISTS triggers text NOT NULL DEFAULT '',
ADD COLUMN IF NOT EXISTS wanted text NOT NULL DEFAULT ''; UPDATE "_schema" SET format = {FORMAT}""")
        present -= {"_changes", "_commits"}
    if missing := [text for name, text in SYSTEM_TABLES.items() if name not in present]:
        await connection.execute(";\n".join(missing))
    if "interfaces" not in await columns(connection, "_commits"):
        await connection.execute('ALTER TABLE "_commits" ADD COLUMN interfaces text[]')  # of this format, but older
    if not await connection.fetchval('SELECT count(*) FROM "_secret"'):
        await connection.execute('INSERT INTO "_secret" (value) VALUES ($1)', secrets.token_bytes(32))
    if is_outdated:
        await end_log(connection, "schema")
    elif not await connection.fetchval('SELECT count(*) FROM "_logs" WHERE ended IS NULL'):
        await connection.execute(f'INSERT INTO "_logs" (home) VALUES ({HOME})')
        await _enliven(connection)


async def _format(connection: Connection, present: set[str]) -> int:
    """The format of the database; 0 when it has none yet."""
    return await connection.fetchval('SELECT format FROM "_schema"') or 0 if "_schema" in present else 0


async def end_log(connection: Connection, why: Literal["schema", "epoch"]) -> None:
    """Ends the log and begins another one: no position of the old one leads on. Inside a transaction.

    Rows that are there stay, and so does the mark of what was cut off: positions of the new log come after them.
    """
    await connection.execute('UPDATE "_logs" SET ended = $1 WHERE ended IS NULL', why)
    await connection.execute(_BEGIN)
    await _enliven(connection)


async def forget_log(connection: Connection) -> None:
    """Empties the log, whose ids of transactions are another server's, and begins another. Inside a transaction."""
    await keep(connection, "_changes")
    await connection.execute('TRUNCATE "_changes", "_commits"')
    await connection.execute("UPDATE \"_logs\" SET trim_tx = '0', trim_seq = 0 WHERE ended IS NULL")
    await end_log(connection, "epoch")


async def _enliven(connection: Connection) -> None:
    await connection.execute("""DELETE FROM "_alive";
INSERT INTO "_alive" (log) SELECT id FROM "_logs" WHERE ended IS NULL""")


async def triggers_agree(connection: Connection, catalog: Catalog) -> bool:
    """Whether the catalog's triggers are installed, word for word, and no others of ours."""
    wanted = {t.name: (t.table, t.body, t.mode) for t in await wanted_triggers(connection, catalog)}
    return await installed_triggers(connection) == wanted


async def installed_triggers(connection: Connection) -> dict[str, tuple[str, str, str]]:
    """Our triggers that are there, by name: their table, what they do, and in which mode they are switched on. Not
    those of tables that nobody declares any more: other servers may still do so."""
    left = {name for name, table in (await made_tables(connection)).items() if table.is_left}
    found = await connection.fetch(_TRIGGERS)
    return {name: (table, body, mode) for name, table, body, mode in found if table not in left}


async def wanted_triggers(connection: Connection, catalog: Catalog) -> list[Trigger]:
    """The triggers of a catalog's resources, which watch what is left in their tables too."""
    here, made = await place(connection) or "", await made_tables(connection)
    schemas = [watched(schema, made.get(schema.table)) for schema in catalog.values()]
    return [trigger for schema in schemas for trigger in create_triggers(schema, here)]


async def made_tables(connection: Connection) -> dict[str, OldTable]:
    """What the tables were made from, as it was saved last."""
    if not await connection.fetchval("SELECT to_regclass('\"_schema\"') IS NOT NULL"):
        return {}
    saved = await connection.fetchval('SELECT description FROM "_schema"')
    return msgspec.json.decode(saved, type=dict[str, OldTable]) if saved else {}


async def install_triggers(connection: Connection, catalog: Catalog) -> None:
    """Puts the catalog's triggers in place of what is there, and leaves alone what agrees. Inside a transaction."""
    wanted = await wanted_triggers(connection, catalog)
    tables = {trigger.name: trigger.table for trigger in wanted}
    for name, (table, _, _) in (await installed_triggers(connection)).items():
        if tables.get(name) != table:
            await connection.execute(f"DROP TRIGGER {quote(name)} ON {quote(table)}")
    for row in await connection.fetch(_FUNCTIONS):
        if row[0] not in tables:
            await connection.execute(f"DROP FUNCTION {quote(row[0])}()")
    await mend_triggers(connection, catalog)
    await connection.execute(_MARK, _digest(wanted))


async def mend_triggers(connection: Connection, catalog: Catalog) -> list[str]:
    """Puts back those of the catalog's triggers that are not as they should be; the names of their tables. Inside a
    transaction. A table that is gone has none."""
    installed, present = await installed_triggers(connection), await tables(connection)
    broken = [
        trigger
        for trigger in await wanted_triggers(connection, catalog)
        if trigger.table in present and installed.get(trigger.name) != (trigger.table, trigger.body, trigger.mode)
    ]
    if broken:
        await connection.execute(";\n".join(text for trigger in broken for text in trigger.statements))
    return sorted({trigger.table for trigger in broken})


async def owner(connection: Connection, catalog: Catalog) -> str:
    """What `_logs.wanted` is when the triggers in the database are those that the catalog wants."""
    return _digest(await wanted_triggers(connection, catalog))


async def drop_triggers(connection: Connection) -> None:
    """Takes our triggers away. Inside a transaction."""
    for name, (table, _, _) in (await installed_triggers(connection)).items():
        await connection.execute(f"DROP TRIGGER {quote(name)} ON {quote(table)}")
    for row in await connection.fetch(_FUNCTIONS):
        await connection.execute(f"DROP FUNCTION {quote(row[0])}()")


def _digest(triggers: list[Trigger]) -> str:
    texts = "\n".join(text for trigger in triggers for text in trigger.statements)
    return hashlib.blake2b(texts.encode(), digest_size=16).hexdigest()
