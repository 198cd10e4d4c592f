"""Histories as what a copy carries from one database to another one: those that are kept, and those in the log.

Theory of operation. The changes keep their numbers, by which pages of a history go on, and the log's next number is
made to come after them. Where the file keeps histories of tables that are not copied, with numbers that might be the
same, all come after those. The log of the file is emptied: it ends with the copy, and numbers that it has left out
would be taken for rows that somebody took away.
"""

from collections.abc import Iterator, Sequence

import apsw

from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Remembered
from crudite.stores.sqlite import history
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.ddl import literal
from crudite.stores.sqlite.log import LAST

_COUNT = "SELECT count(*) FROM ({})"
_LAST = f"SELECT max({LAST}, coalesce((SELECT seq FROM sqlite_sequence WHERE name = '_changes'), 0))"
_ADD = """INSERT INTO _history (seq, tbl, pk, at, actor, interface, request, before, after)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def count(connection: apsw.Connection, schema: ResourceSchema) -> int:
    """How many changes of a resource's records are known."""
    if not _keeps(connection):
        return 0
    return int(rows(connection, _COUNT.format(history.every(schema)))[0][0])


def read(connection: apsw.Connection, schema: ResourceSchema) -> Iterator[Remembered]:
    """The changes of a resource's records, by the texts of their keys and by their numbers."""
    if not _keeps(connection):
        return
    names = "CAST(pk AS TEXT), seq, at, actor, interface, request, CAST(before AS BLOB), CAST(after AS BLOB)"
    for key, *past in connection.execute(f"SELECT {names} FROM ({history.every(schema)}) ORDER BY 1, 2"):
        yield Remembered(key, history.past_of(past))


def _keeps(connection: apsw.Connection) -> bool:
    """Whether the file is not from before there were histories."""
    return bool(rows(connection, "SELECT 1 FROM sqlite_schema WHERE name = '_history'"))


def clear(connection: apsw.Connection, catalog: Catalog) -> None:
    """Takes the histories of a catalog's records away, and the log; inside a transaction."""
    tables = ", ".join(literal(schema.table) for schema in catalog.values())
    last = rows(connection, _LAST)[0][0]
    connection.execute(f"DELETE FROM _changes WHERE tbl IN ({tables})")
    history.keep(connection, last)
    connection.execute(f"DELETE FROM _history WHERE tbl IN ({tables})")
    connection.execute("DELETE FROM _changes; DELETE FROM _commits")
    _set_last(connection, last)


def room(connection: apsw.Connection) -> int:
    """What is to be added to the numbers of changes, so that they are not those of others that are there."""
    others = rows(connection, "SELECT 1 FROM _history LIMIT 1")
    return int(rows(connection, _LAST)[0][0]) if others else 0


def add(connection: apsw.Connection, schema: ResourceSchema, changes: Sequence[Remembered], room: int) -> None:
    """Keeps changes of a resource's records; inside a transaction."""
    bound = (
        (past.number + room, schema.table, int(key) if schema.is_numbered else key, *past[1:]) for key, past in changes
    )
    connection.executemany(_ADD, bound)


def go_on(connection: apsw.Connection) -> None:
    """Lets the log number its changes after all that are kept; inside a transaction."""
    _set_last(connection, rows(connection, f"SELECT max(coalesce(max(seq), 0), ({_LAST})) FROM _history")[0][0])


def _set_last(connection: apsw.Connection, number: int) -> None:
    connection.execute("DELETE FROM sqlite_sequence WHERE name = '_changes'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('_changes', ?)", (number,))
