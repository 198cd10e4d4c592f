"""Retention: the log goes round in tables, and those that are too old, or too much, are emptied.

Theory of operation. A row's number says in which turn it was written, and each turn has a table of its own. To turn
is to let the sequence of numbers jump to the next turn, for which no writer has to wait. A table of a past turn is
emptied by TRUNCATE, which leaves nothing behind to be cleaned up, when nobody can have rows in it that are not
committed yet, and no transaction is running that began before the last one in it: the mark of the cut says that
everything up to that one is gone, wherever its rows are.

TRUNCATE is seen by snapshots that are older than it. Whoever reads the log in a snapshot therefore takes a lock
first, which keeps the log from being emptied as long as the snapshot is held.
"""

from typing import Any, NamedTuple

import asyncpg

from crudite.query.sql import quote
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import TURN_BITS, TURNS, turn_table
from crudite.stores.postgresql.history import keep, keep_commits, keep_most

_LOCK = 'SELECT trim_tx::text, trim_seq FROM "_logs" WHERE ended IS NULL FOR UPDATE SKIP LOCKED'
# readers wait behind whoever waits for them: not for long
_NOT_LONG = "SET LOCAL lock_timeout = '100ms'"
_TURN = f'SELECT last_value >> {TURN_BITS} FROM "_numbers"'
_NEXT = f"SELECT setval('\"_numbers\"', ($1::bigint << {TURN_BITS}))"
_STATE = """SELECT pg_table_size($1::text::regclass),
(SELECT ts < now() - make_interval(secs => $2) FROM {part} ORDER BY tx, seq LIMIT 1),
(SELECT ts < now() - make_interval(secs => $3) FROM {part} ORDER BY tx DESC, seq DESC LIMIT 1)"""
# the last transaction in a table, and its last row in any of them, when all up to it are over
_LAST = """SELECT tx::text, seq, salt FROM "_changes" WHERE tx = (SELECT tx FROM {part} ORDER BY tx DESC LIMIT 1)
AND tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY seq DESC LIMIT 1"""
_MARK = """UPDATE "_logs" SET trim_tx = $1::text::xid8, trim_seq = $2, trim_salt = $3
WHERE ended IS NULL AND (trim_tx, trim_seq) < ($1::text::xid8, $2)"""


class _Part(NamedTuple):
    """A turn's table: its size in bytes, whether its first row is half as old as is kept, its last row older."""

    name: str
    commits: str
    size: int
    is_old: bool
    is_outdated: bool
    is_empty: bool


async def trim(connection: Connection, older_than: float, larger_than: int) -> tuple[int, int]:
    """Shortens the log by whole tables, and returns how many rows went, and how many of them are kept for histories;
    the connection is in no transaction.

    A table goes when its last row is older than so many seconds, or all of them have more bytes. While another
    process does the same nothing is done here.
    """
    gone = kept = 0
    for _ in range(2):  # what the first round turned away from may go in the second
        async with connection.transaction():
            if await connection.fetchrow(_LOCK) is not None:
                counts = await _shorten(connection, older_than, larger_than)
                gone, kept = gone + counts[0], kept + counts[1]
    return gone, kept


async def _shorten(connection: Connection, older_than: float, larger_than: int) -> tuple[int, int]:
    """Empties what is to go, and turns when it is time; inside a transaction."""
    await connection.execute(_NOT_LONG)
    turn = await connection.fetchval(_TURN)
    parts = [await _look(connection, turn + 1 + n, older_than) for n in range(TURNS)]
    *past, current = parts  # the oldest is where the next turn will be
    size, gone, kept = sum(part.size for part in parts), 0, 0
    for part in past:
        if part.is_empty:
            continue
        counts = await _empty(connection, part) if part.is_outdated or size > larger_than else None
        if counts is None:
            break
        gone, kept = gone + counts[0], kept + counts[1]
        size -= part.size
    is_full = not current.is_empty and (current.is_old or current.size > larger_than / (TURNS - 1))
    if is_full and (await _look(connection, turn + 1, older_than)).is_empty:
        await connection.execute(_NEXT, turn + 1)
    return gone, kept


async def _look(connection: Connection, turn: int, older_than: float) -> _Part:
    name = turn_table("_changes", turn)
    text = _STATE.format(part=quote(name))
    size, is_old, is_outdated = await connection.fetchrow(text, quote(name), older_than / 2, older_than)
    return _Part(name, turn_table("_commits", turn), size, bool(is_old), bool(is_outdated), is_old is None)


async def _empty(connection: Connection, part: _Part) -> tuple[int, int] | None:
    """How many rows a table had that is empty now, and how many of them are kept; None when somebody stands in the
    way."""
    both = f"{quote(part.name)}, {quote(part.commits)}"
    find_last = _LAST.format(part=quote(part.name))
    if await connection.fetchrow(find_last) is None:
        return None
    try:
        async with connection.transaction():  # a savepoint
            since, kept = await keep_most(connection, part.name)  # while nobody has to wait
            await connection.execute(f"LOCK TABLE {both} IN ACCESS EXCLUSIVE MODE")
            last: Any = await connection.fetchrow(find_last)
            if last is None:
                raise _InUse
            kept += await keep(connection, part.name, since)
            await keep_commits(connection, part.name, part.commits)
            count: int = await connection.fetchval(f"SELECT count(*) FROM {quote(part.name)}")
            await connection.execute(_MARK, *last)
            await connection.execute(f"TRUNCATE {both}")
    except (asyncpg.LockNotAvailableError, _InUse):
        return None
    return count, kept


class _InUse(Exception):
    """Somebody has begun to write into a table that was to be emptied."""
