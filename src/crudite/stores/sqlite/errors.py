"""The one place where the driver's errors become ours."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw

from crudite.changes import RefusalKind, Refused, Write
from crudite.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly
from crudite.stores.sqlite.ddl import unique_indexes
from crudite.stores.steps import OTHER_SCHEMA

_TREE: Sequence[tuple[tuple[type[apsw.Error], ...], type[StoreError], str]] = (
    ((apsw.BusyError, apsw.LockedError), StoreLocked, "another program holds the database for too long"),
    ((apsw.FullError,), StoreFull, "no room is left for the database"),
    ((apsw.ReadOnlyError, apsw.PermissionsError), StoreReadOnly, "the database may not be written"),
    ((apsw.CorruptError, apsw.NotADBError), StoreCorrupt, "the file is not a database, or is damaged"),
    ((apsw.CantOpenError,), StoreError, "the database cannot be opened"),
    ((apsw.InterruptError,), StoreError, "the query took too long"),
)
_MISSING = re.compile("no such (column|table)|has no column named")


def store_error(error: apsw.Error, path: str) -> StoreError:
    """What the driver's error means for the database as a whole."""
    for kinds, ours, fact in _TREE:
        if isinstance(error, kinds):
            return ours(f"{path}: {fact} ({error})")
    if isinstance(error, apsw.SQLError) and _MISSING.search(str(error)):
        return StoreError(f"{path}: {OTHER_SCHEMA} ({error})")
    return StoreError(f"{path}: {error}")


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raises the driver's errors as StoreError."""
    try:
        yield
    except apsw.Error as error:
        raise store_error(error, path) from error


def refusal(error: apsw.ConstraintError, index: int, write: Write) -> Refused:
    """Why the database refused a write, as far as its error tells: not which foreign key it was."""
    code = getattr(error, "extendedresult", 0)
    if code == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        kind: RefusalKind = "referenced" if write.action == "delete" else "reference"
        return Refused(index, kind)
    detail = str(error).partition(": ")[2] or str(error)
    columns = [part.strip().rpartition(".") for part in detail.split(",")]
    own = ("", write.schema.table)  # a restore meets what is in the way of those that come along, too
    fields = tuple(name for table, _, name in columns if table in own and name in write.schema.fields)
    if code in (
        apsw.SQLITE_CONSTRAINT_UNIQUE,
        apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
        apsw.SQLITE_CONSTRAINT_ROWID,
    ):
        named = detail.removeprefix("index '").removesuffix("'")
        return Refused(index, "unique", unique_indexes(write.schema).get(named, fields))
    if code == apsw.SQLITE_CONSTRAINT_NOTNULL and not fields:  # another version of the application declares it
        return Refused(index, "check")
    return Refused(index, "check", fields, "" if fields else str(error))
