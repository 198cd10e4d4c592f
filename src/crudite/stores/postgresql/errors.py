"""The one place where the driver's errors become ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg

from crudite.changes import RefusalKind, Refused, Write
from crudite.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly
from crudite.stores.postgresql.ddl import reference_name, unique_groups
from crudite.stores.steps import OTHER_SCHEMA

DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Whatever a call of the driver may raise."""
CONSTRAINTS = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""What a write raises that breaks a constraint, or holds what no column can."""
PASSING = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,
)
"""What goes away by doing the same again in a new transaction."""
STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""What was prepared does not fit the tables any more: somebody has changed them meanwhile."""
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,  # the driver, asked to use a connection that is closed
    asyncpg.InternalClientError,  # the driver, in the middle of the server's goodbye
    OSError,
)


def is_lost(error: BaseException | None) -> bool:
    """Whether the driver's error says that the connection has ended. What was asked last may have been done: a
    COMMIT must not be tried again, what came before it in a transaction may be."""
    return isinstance(error, _LOST) and not isinstance(error, (TimeoutError, *STALE))


class Unbegun(Exception):
    """The connection was lost before a transaction began on it: nothing is done, and another one may be tried."""

    def __init__(self, lost: Exception) -> None:
        super().__init__(str(lost))
        self.lost = lost


@contextmanager
def beginning() -> Iterator[None]:
    """Raises Unbegun when the connection is lost in the block, which begins a transaction."""
    try:
        yield
    except DRIVER as error:
        if is_lost(error):
            raise Unbegun(error) from error
        raise


_TREE: Sequence[tuple[tuple[str, ...], type[StoreError], str]] = (
    (("55P03", "40P01", "53300"), StoreLocked, "others hold the database for too long"),
    (("53100", "53200", "54000"), StoreFull, "no room is left for the database"),
    (("25006", "42501"), StoreReadOnly, "the database may not be written"),
    (("XX001", "XX002"), StoreCorrupt, "the database is damaged"),
    (("57014",), StoreError, "the query took too long"),
    (("42703", "42P01"), StoreError, OTHER_SCHEMA),
)


def store_error(error: Exception, where: str) -> StoreError:
    """What the driver's error means for the database as a whole."""
    if isinstance(error, TimeoutError):
        return StoreError(f"{where}: the server did not answer in time")
    code = getattr(error, "sqlstate", None)
    for codes, ours, fact in _TREE:
        if code in codes:
            return ours(f"{where}: {fact} ({error})")
    return StoreError(f"{where}: {error or type(error).__name__}")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raises the driver's errors as StoreError."""
    try:
        yield
    except DRIVER as error:
        raise store_error(error, where) from error


def refusal(error: asyncpg.PostgresError, index: int, write: Write) -> Refused:
    """Why the database refused a write."""
    schema = write.schema
    constraint = getattr(error, "constraint_name", None) or ""
    match error:
        case asyncpg.UniqueViolationError():
            groups = unique_groups(schema)
            return Refused(index, "unique", groups.get(constraint, ()))
        case asyncpg.ForeignKeyViolationError() | asyncpg.RestrictViolationError():
            fields = tuple(name for name in schema.fields if reference_name(name) == constraint)
            kind: RefusalKind = "referenced" if write.action == "delete" else "reference"
            return Refused(index, kind, fields if kind == "reference" else ())
        case asyncpg.NotNullViolationError():
            constraint = getattr(error, "column_name", None) or ""
            if constraint not in schema.fields:  # another version of the application declares it
                return Refused(index, "check")
    known = constraint in schema.fields
    return Refused(index, "check", (constraint,) if known else (), "" if known else str(error))
