"""What the file must hold for the store to work: its own tables, a living log, and our triggers."""

import secrets
from collections.abc import Collection, Iterable
from typing import Literal

import apsw
import msgspec

from crudite.errors import StoreCorrupt, StoreTooNew
from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.sqlite.connections import pragma, rows
from crudite.stores.sqlite.ddl import APPLICATION_ID, FORMAT, SYSTEM_TABLES
from crudite.stores.sqlite.log import LAST
from crudite.stores.sqlite.search import fill_search
from crudite.stores.sqlite.triggers import create_search_triggers, create_triggers
from crudite.stores.steps import OldTable, watched

# SQLite runs the newest trigger first. One of another program that changes the same row again must run after
# ours, or the log would end with the older image.
_LATER_TRIGGERS = """SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND rowid >
(SELECT min(rowid) FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'crudite *')
AND name NOT GLOB 'crudite *'"""


class MadeTable(OldTable, frozen=True):
    """A table as it was made, and a digest of the triggers that its resource alone would have."""

    triggers: str = ""


def made_tables(connection: apsw.Connection) -> dict[str, MadeTable]:
    """What the tables were made from, as it was saved last."""
    found = rows(connection, "SELECT description FROM _schema") if "_schema" in tables(connection) else []
    return msgspec.json.decode(found[0][0], type=dict[str, MadeTable]) if found else {}


def check_owner(connection: apsw.Connection, path: str) -> None:
    """Raises StoreCorrupt for another program's file and StoreTooNew for one of a later version of ours."""
    owner = pragma(connection, "application_id")
    if owner not in (0, APPLICATION_ID):
        raise StoreCorrupt(f"{path}: the file belongs to another program (its application_id is {owner})")
    version = pragma(connection, "user_version")
    if owner == APPLICATION_ID and version > FORMAT:
        raise StoreTooNew(f"{path}: the file has format {version}, this version of Crudite knows {FORMAT}")


def create_system_tables(connection: apsw.Connection) -> None:
    """Makes the store's own tables where they are missing, and the first log; inside a transaction."""
    present = tables(connection)
    for name, text in SYSTEM_TABLES.items():
        if name not in present:
            connection.execute(text)
    if not any(column[1] == "interface" for column in rows(connection, 'PRAGMA table_info("_commits")')):
        connection.execute('ALTER TABLE "_commits" ADD COLUMN interface TEXT')  # of the same format, but older
    if not rows(connection, "SELECT 1 FROM _secret"):
        connection.execute("INSERT INTO _secret (value) VALUES (?)", (secrets.token_bytes(32),))
    if not rows(connection, "SELECT 1 FROM _logs WHERE ended IS NULL"):
        _begin_log(connection)
    if pragma(connection, "application_id") != APPLICATION_ID:
        pragma(connection, f"application_id = {APPLICATION_ID}")
        pragma(connection, f"user_version = {FORMAT}")


def tables(connection: apsw.Connection) -> dict[str, str]:
    """The tables of the file and the statements that made them."""
    found = rows(connection, "SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
    return {row[0]: row[1] for row in found}


def indexes(connection: apsw.Connection, table: str) -> dict[str, str]:
    """The indexes of a table that were made by a statement, and those statements."""
    text = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    return {row[0]: row[1] for row in rows(connection, text, (table,))}


def end_log(connection: apsw.Connection, why: Literal["schema", "epoch"]) -> None:
    """Ends the log and begins another one: no position of the old one leads on. Inside a transaction."""
    connection.execute("UPDATE _logs SET ended = ? WHERE ended IS NULL", (why,))
    _begin_log(connection)


def _begin_log(connection: apsw.Connection) -> None:
    seq = rows(connection, f"SELECT {LAST}")[0][0]
    salt = rows(connection, "SELECT salt FROM _changes WHERE seq = ?", (seq,))
    bound = (secrets.randbits(62), seq, salt[0][0] if salt else secrets.randbits(62))
    connection.execute("INSERT INTO _logs (id, trim_seq, trim_salt) VALUES (?, ?, ?)", bound)


def triggers_agree(connection: apsw.Connection, catalog: Catalog) -> bool:
    """Whether the catalog's triggers are installed, word for word, and made after those of others."""
    return agree_for(connection, catalog.values())


def agree_for(connection: apsw.Connection, schemas: Collection[ResourceSchema]) -> bool:
    """Whether just the triggers of these resources are installed and run before those of others."""
    tables = {schema.table for schema in schemas}
    overtaken = any(table in tables for (table,) in rows(connection, _LATER_TRIGGERS))
    return not overtaken and installed_triggers(connection) == wanted_triggers(_watched(connection, schemas))


def install_triggers(connection: apsw.Connection, catalog: Catalog) -> None:
    """Puts the catalog's triggers in place of what is there. Inside a transaction."""
    drop_triggers(connection)
    for text in wanted_triggers(_watched(connection, catalog.values())).values():
        connection.execute(text)


def imaged(connection: apsw.Connection, catalog: Catalog) -> frozenset[str]:
    """The tables of which the log keeps just what the catalog declares, and nothing that only others do."""
    there = installed_triggers(connection).items()
    return frozenset(schema.table for schema in catalog.values() if create_triggers(schema).items() <= there)


def unwatched(connection: apsw.Connection, catalog: Catalog) -> list[ResourceSchema]:
    """The resources whose index of words was not kept by our triggers as they must be."""
    there = installed_triggers(connection).items()
    return [schema for schema in catalog.values() if not create_search_triggers(schema).items() <= there]


def fill(connection: apsw.Connection, schemas: Iterable[ResourceSchema]) -> None:
    """Makes the indexes of words anew from the records. Inside a transaction."""
    for schema in schemas:
        for text in fill_search(schema):
            connection.execute(text)


def drop_triggers(connection: apsw.Connection) -> None:
    """Takes our triggers away. Inside a transaction."""
    for name in installed_triggers(connection):
        connection.execute(f"DROP TRIGGER {quote(name)}")


def wanted_triggers(schemas: Iterable[ResourceSchema]) -> dict[str, str]:
    """The statements that make the triggers of resources, by trigger name."""
    return {name: text for schema in schemas for name, text in create_triggers(schema).items()}


def installed_triggers(connection: apsw.Connection) -> dict[str, str]:
    """Our triggers that are there, by name, but for those of tables that nobody declares any more: other servers may
    still do so."""
    left = {name for name, table in made_tables(connection).items() if table.is_left}
    text = "SELECT name, sql, tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'crudite *'"
    return {name: text for name, text, table in rows(connection, text) if table not in left}


def _watched(connection: apsw.Connection, schemas: Iterable[ResourceSchema]) -> list[ResourceSchema]:
    made = made_tables(connection)
    return [watched(schema, made.get(schema.table)) for schema in schemas]
