"""Places in the change log, and reading what lies between two of them."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from crudite.changes import Change, ChangeKind, Mark, Reset
from crudite.schema import Catalog
from crudite.stores.base import Signal, Stretch
from crudite.stores.sqlite.connections import Execute, rows
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.history import keep

_dialect = SqliteDialect()
_TOKEN = struct.Struct(">qqq")

# The last row's number, and for an empty log the one that SQLite remembers; not that one first, since a
# statement that fails with OR FAIL leaves rows that it has not counted there.
LAST = """coalesce((SELECT max(seq) FROM _changes),
(SELECT seq FROM sqlite_sequence WHERE name = '_changes'), 0)"""
_HEAD = f"""SELECT l.id, h.seq, c.salt, l.trim_seq, l.trim_salt FROM _logs AS l
JOIN (SELECT {LAST} AS seq) AS h LEFT JOIN _changes AS c ON c.seq = h.seq
WHERE l.ended IS NULL ORDER BY l.number DESC LIMIT 1"""
_ROW = "SELECT salt FROM _changes WHERE seq = ?"
_ROWS = "SELECT seq, tbl, pk, before, after FROM _changes WHERE {} seq > ? AND seq <= ? ORDER BY seq"
SIGNALS = "_signals"
"""What stands for a table in the rows of the log that are signals: their topic is the key, their payload the image."""
_COUNTS = "SELECT tbl, count(*) FROM _changes WHERE seq > ? AND seq <= ? GROUP BY tbl"
_ROWS_AS_BYTES = """SELECT seq, tbl, CASE typeof(pk) WHEN 'text' THEN CAST(pk AS BLOB) ELSE pk END,
CAST(before AS BLOB), CAST(after AS BLOB) FROM _changes WHERE {} seq > ? AND seq <= ? ORDER BY seq"""
_ENDED = "SELECT ended FROM _logs WHERE id = ?"


@dataclass(frozen=True, slots=True)
class SqlitePosition:
    """A place in the log: the log's id, the number of the last row covered, and that row's salt.

    The salt is random for each row. A number that comes again after an older copy of the file was put back is
    recognised by it.
    """

    log: int
    seq: int
    salt: int

    @property
    def token(self) -> bytes:
        """The position as 24 bytes."""
        return _TOKEN.pack(self.log, self.seq, self.salt)

    def covers(self, mark: Mark) -> bool:
        """Whether the commit with that mark is at or before this position."""
        return int(mark) <= self.seq


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, and where it was last cut."""

    position: SqlitePosition
    trimmed: SqlitePosition


def read_head(execute: Execute) -> Head:
    """The head of the log in the current snapshot; for an empty log, where it was cut."""
    log, seq, salt, trim_seq, trim_salt = execute(_HEAD).fetchall()[0]
    if salt is None:
        salt = trim_salt if seq == trim_seq else 0
    return Head(SqlitePosition(log, seq, salt), SqlitePosition(log, trim_seq, trim_salt))


def read_position(execute: Execute) -> SqlitePosition:
    """The position of the current snapshot."""
    return read_head(execute).position


def add_signal(connection: apsw.Connection, signal: Signal) -> None:
    """Writes a signal into the log, in a transaction of its own."""
    text = "INSERT INTO _changes (tbl, pk, after) VALUES (?, ?, ?)"  # one statement is one transaction
    connection.execute(text, (SIGNALS, *signal))


def locate(execute: Execute, token: bytes) -> SqlitePosition | Reset:
    """The position of a token, if the log still leads on from there."""
    if len(token) != _TOKEN.size:
        return Reset("epoch")
    position = SqlitePosition(*_TOKEN.unpack(token))
    return check(execute, position, read_head(execute)) or position


def check(execute: Execute, position: SqlitePosition, head: Head) -> Reset | None:
    """Why the log does not lead on from a position; None when it does."""
    if position.log != head.position.log:
        ended = execute(_ENDED, (position.log,)).fetchall()
        return Reset("schema") if ended and ended[0][0] == "schema" else Reset("epoch")
    if position in (head.position, head.trimmed):
        return None
    found = execute(_ROW, (position.seq,)).fetchall()
    if found:
        return None if found[0][0] == position.salt else Reset("epoch")
    return Reset("epoch") if position.seq >= head.position.seq else Reset("gap")


def read_changes(
    execute: Execute, catalog: Catalog, since: SqlitePosition, until: SqlitePosition, limit: int
) -> Sequence[Change] | Reset:
    """The changes between two positions of one log, both checked before; `too_many` when there are more.

    Text that is not UTF-8 keeps its bytes as lone surrogates: parsing an image with such raises Undecodable.
    """
    expected = until.seq - since.seq
    if expected <= 0:
        return ()
    if expected > limit:
        return Reset("too_many")
    found = _stretch(execute, catalog, since, until)
    return found if isinstance(found, Reset) else found.changes


def read_some(
    execute: Execute, catalog: Catalog, since: SqlitePosition, until: SqlitePosition, most: int
) -> Stretch | Reset:
    """The same without a limit, but of resources with more than `most` changes only the names."""
    expected = until.seq - since.seq
    if expected <= most:
        return _stretch(execute, catalog, since, until) if expected > 0 else Stretch(())
    counts = dict(execute(_COUNTS, (since.seq, until.seq)).fetchall())
    if sum(counts.values()) != expected:
        return Reset("gap")
    large = [table for table, count in counts.items() if count > most and table != SIGNALS]
    marks = ", ".join("?" * len(large))
    rows = _rows(execute, f"tbl NOT IN ({marks}) AND", (*large, since.seq, until.seq))
    schemas = [catalog.by_table[table] for table in large if table in catalog.by_table]
    return Stretch(_changes(catalog, rows), frozenset(schema.name for schema in schemas), _signals(rows))


def _stretch(execute: Execute, catalog: Catalog, since: SqlitePosition, until: SqlitePosition) -> Stretch | Reset:
    rows = _rows(execute, "", (since.seq, until.seq))
    if len(rows) != until.seq - since.seq:  # numbers are never left out: somebody took rows away
        return Reset("gap")
    return Stretch(_changes(catalog, rows), signals=_signals(rows))


def _signals(rows: Sequence[tuple[Any, ...]]) -> list[Signal]:
    return [Signal(topic, payload) for _, table, topic, _, payload in rows if table == SIGNALS]


def _rows(execute: Execute, further: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of the log between two numbers, as bytes where text is not UTF-8."""
    try:
        found: list[tuple[Any, ...]] = execute(_ROWS.format(further), parameters).fetchall()
        return found
    except UnicodeDecodeError:
        rows = execute(_ROWS_AS_BYTES.format(further), parameters).fetchall()
        return [tuple(map(_escaped, row)) for row in rows]


def _changes(catalog: Catalog, found: Sequence[tuple[Any, ...]]) -> list[Change]:
    return [change for row in _chained(found) if (change := _change(catalog, row)) is not None]


def _escaped(value: Any) -> Any:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def _chained(found: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows, where one that follows another of the same record takes up what that one left.

    SQLite itself breaks the chain when a REPLACE clears, by a foreign key, the very row that is being
    updated: the images of the update are older than the clearing.
    """
    known: dict[tuple[str, Any], str | None] = {}
    for seq, table, key, before, after in found:
        place = (table, key)
        before = known.get(place, before)
        known[place] = after
        if before is not None or after is not None:
            yield seq, table, key, before, after


def _change(catalog: Catalog, row: tuple[Any, ...]) -> Change | None:
    seq, table, key, before, after = row
    schema = catalog.by_table.get(table)
    if schema is None:  # its resource has been removed from the application
        return None
    kind: ChangeKind = "created" if before is None else "deleted" if after is None else "updated"
    return Change(schema, _dialect.load(schema.key_field.type, key), kind, before, after, str(seq))


_CUT_BY_AGE = "SELECT seq - 1 FROM _changes WHERE ts >= unixepoch() - ? ORDER BY seq LIMIT 1"
_SIZES = """SELECT seq,
64 + length(CAST(coalesce(before, '') AS BLOB)) + length(CAST(coalesce(after, '') AS BLOB))
FROM _changes ORDER BY seq DESC"""


def find_cut(connection: apsw.Connection, older_than: float, larger_than: int) -> int:
    """The number of the last row that is older than so many seconds or beyond so many bytes from the head."""
    execute: Execute = connection.execute
    kept = rows(connection, _CUT_BY_AGE, (older_than,))
    by_age: int = kept[0][0] if kept else read_position(execute).seq
    size = 0
    for seq, weight in execute(_SIZES):
        if seq <= by_age:
            break
        size += weight
        if size > larger_than:
            return int(seq)
    return by_age


def cut(connection: apsw.Connection, until: int, most: int = 2000) -> tuple[int, int]:
    """Removes the oldest rows up to a number, at most so many, and marks the last one; how many went, and how many of
    them are kept for histories.

    The caller holds a write transaction.
    """
    oldest = rows(connection, "SELECT seq, salt FROM _changes WHERE seq <= ? ORDER BY seq LIMIT ?", (until, most))
    if not oldest:
        return 0, 0
    connection.execute("UPDATE _logs SET trim_seq = ?, trim_salt = ? WHERE ended IS NULL", oldest[-1])
    text = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = '_changes'"  # or a number would come again
    connection.execute(text, oldest[-1][:1])
    kept = keep(connection, oldest[-1][0])
    connection.execute("DELETE FROM _changes WHERE seq <= ?", oldest[-1][:1])
    connection.execute("DELETE FROM _commits WHERE last <= ?", oldest[-1][:1])
    connection.execute("DELETE FROM _notes")
    return len(oldest), kept
