"""Places in the change log, and reading what lies between two of them.

Theory of operation. A sequence number says nothing about the order of commits: a transaction may take number
7, and commit after number 9 has been read. What does is PostgreSQL's snapshot: which transactions were over
when it was taken. A position is a snapshot, reduced to what matters for the log: the last transaction (by its
id) that has rows in it, and those before it that were still running. What lies between two positions is what
the one sees and the other does not ("two snapshots and a difference", as in PgQ), in the order of sequence
numbers: whoever changes a row after another one waits for his commit, has the higher number and comes later.

The reduction makes positions comparable: two snapshots between which nothing was logged give the same one.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from crudite.changes import Change, ChangeKind, Mark, Reset
from crudite.schema import Catalog, FieldType
from crudite.stores.base import Signal, Stretch
from crudite.stores.postgresql.connections import Connection
from crudite.types import Key

_TOKEN = struct.Struct(">qQqq")
MOST_BYTES = 2048
"""The longest token, in bytes: it travels in headers and addresses, a third longer."""
_TOO_MANY = b"\0"

_HEAD = """SELECT l.id, l.trim_tx::text, l.trim_seq, l.trim_salt, c.tx::text, c.seq, c.salt,
pg_current_snapshot()::text FROM "_logs" AS l LEFT JOIN
(SELECT tx, seq, salt FROM "_changes" ORDER BY tx DESC, seq DESC LIMIT 1) AS c ON TRUE
WHERE l.ended IS NULL"""
_SALT = 'SELECT salt FROM "_changes" WHERE tx = $1::text::xid8 AND seq = $2'
_SIGNAL = 'INSERT INTO "_changes" (tbl, pk, after) VALUES ($1, $2, $3)'
SIGNALS = "_signals"
"""What stands for a table in the rows of the log that are signals: their topic is the key, their payload the image."""
_ENDED = 'SELECT ended FROM "_logs" WHERE id = $1 AND ended IS NOT NULL'
# The two halves overlap nowhere: what was running then has an id below the last one. Bounds are selected, and there are
# two of them, so that the server plans once, for any values, and for few rows: by way of the index.
_ALL = "seq, tx, tbl, pk, before, after, salt"
_BETWEEN = f"""FROM (
SELECT {_ALL} FROM "_changes" WHERE tx > (SELECT $1::text::xid8) AND tx <= (SELECT $2::text::xid8)
UNION ALL
SELECT c.* FROM unnest((SELECT $3::text[]::xid8[])) AS r(tx) CROSS JOIN LATERAL (
SELECT {_ALL} FROM "_changes" AS c WHERE c.tx BETWEEN r.tx AND r.tx OFFSET 0) AS c
) AS c WHERE tx <> ALL((SELECT $4::text[]::xid8[])::xid8[])"""
_ROWS = f"SELECT * {_BETWEEN} ORDER BY seq LIMIT $5::int"
_ROWS_BUT = f"SELECT * {_BETWEEN} AND tbl <> ALL($5::text[]) ORDER BY seq"
_LARGE_ONES = f"SELECT tbl {_BETWEEN} GROUP BY tbl HAVING count(*) > $5"
# first what there is to know of the log, then what is in it
_NEWS = f"""SELECT 0::bigint AS seq, NULL::xid8 AS tx, NULL AS tbl, NULL AS pk, NULL AS before, NULL AS after,
NULL::bigint AS salt, ARRAY[pg_current_snapshot()::text, id::text, trim_tx::text, trim_seq::text, trim_salt::text,
(SELECT salt::text FROM "_changes" WHERE tx = (SELECT $1::text::xid8) AND seq = (SELECT $6::bigint))] AS state
FROM "_logs" WHERE ended IS NULL
UNION ALL (SELECT *, NULL {_BETWEEN} ORDER BY seq LIMIT $5::int) ORDER BY seq"""
_LAST = str((1 << 63) - 1)
"""An id that comes after those of all transactions."""


@dataclass(frozen=True, slots=True)
class PostgresqlPosition:
    """A place in the log: its id, the last transaction in it that is covered, the number and the salt of that
    one's last row, and the earlier transactions that are not covered, because they were running.

    The salt is random for each row. Ids and numbers that come again, after a crash without synchronous
    commits or an older copy was put back, are recognised by it.
    """

    log: int
    tx: int
    seq: int
    salt: int
    running: tuple[int, ...] = ()

    @property
    def token(self) -> bytes:
        """The position as bytes: 32, and one to three for each running transaction as a rule, by how far its id lies
        from the next one's. Where so many run that it would be too long, a digest of them: nothing can go on from it.
        """
        place, names, after = _TOKEN.pack(self.log, self.tx, self.seq, self.salt), bytearray(), self.tx
        for one in reversed(self.running):
            names += _pack(after - one)
            after = one
        if len(place) + len(names) > MOST_BYTES:
            return place + _TOO_MANY + blake2b(names, digest_size=8).digest()
        return place + names

    def covers(self, mark: Mark) -> bool:
        """Whether the commit with that mark is at or before this position."""
        tx = int(mark)
        return tx <= self.tx and tx not in self.running


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, and where it was last cut."""

    position: PostgresqlPosition
    trimmed: PostgresqlPosition


async def read_head(connection: Connection) -> Head:
    """The head of the log in the current snapshot; for an empty log, where it was cut."""
    row = await connection.fetchrow(_HEAD)
    log, trim_tx, trim_seq, trim_salt, tx, seq, salt, snapshot = row
    trimmed = PostgresqlPosition(log, int(trim_tx), trim_seq, trim_salt)
    last = trimmed if tx is None else PostgresqlPosition(log, int(tx), seq, salt)
    if _place(last) < _place(trimmed):  # rows of what is cut off may still lie about
        last = trimmed
    return Head(_head(log, _place(last), last.salt, snapshot), trimmed)


def _head(log: int, place: tuple[int, int], salt: int, snapshot: str) -> PostgresqlPosition:
    """The position of a snapshot, by the last row that it sees."""
    running = tuple(sorted(one for one in _running(snapshot) if one <= place[0]))
    return PostgresqlPosition(log, *place, salt, running)


def _running(snapshot: str) -> list[int]:
    listed = snapshot.split(":")[2]  # xmin:xmax:xip,xip,…
    return [int(one) for one in listed.split(",")] if listed else []


def parse_token(token: bytes) -> PostgresqlPosition | Reset:
    """The position in a token; a Reset when there is none, or it was too long."""
    if len(token) < _TOKEN.size:
        return Reset("epoch")
    log, tx, seq, salt = _TOKEN.unpack(token[: _TOKEN.size])
    running, names, after = list[int](), token[_TOKEN.size :], tx
    if names[:1] == _TOO_MANY:  # no distance is 0
        return Reset("too_many")
    if names and names[-1] >> 7:
        return Reset("epoch")
    for distance in _unpack(names):
        running.append(after := after - distance)
    return PostgresqlPosition(log, tx, seq, salt, tuple(reversed(running)))


def _pack(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first; each byte but the last has its highest bit set (LEB128)."""
    packed = bytearray()
    while number >> 7:
        packed.append(number & 127 | 128)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _unpack(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 127) << shift
        shift += 7
        if not byte >> 7:
            yield number
            number = shift = 0


async def check(connection: Connection, position: PostgresqlPosition, head: Head) -> Reset | None:
    """Why the log does not lead on from a position; None when it does."""
    now, trimmed = head.position, head.trimmed
    if position.log != now.log:
        ended = await connection.fetchval(_ENDED, position.log)
        return Reset("schema" if ended == "schema" else "epoch")
    if position in (now, trimmed):
        return None
    if position.tx > now.tx:
        return Reset("epoch")
    if _is_cut(position, trimmed):
        return Reset("gap")
    salt = await connection.fetchval(_SALT, str(position.tx), position.seq)
    return None if _leads_on(position, trimmed, salt) else Reset("epoch")


def _is_cut(position: PostgresqlPosition, trimmed: PostgresqlPosition) -> bool:
    """Whether something after a position may be cut off: also what was running then, and has ended since."""
    return _place(position) < _place(trimmed) or any(one <= trimmed.tx for one in position.running)


def _leads_on(position: PostgresqlPosition, trimmed: PostgresqlPosition, salt: int | None) -> bool:
    """Whether a position's row, which has this salt now, is the one that it was; None for a row that is gone."""
    if _is_cut(position, trimmed):
        return False
    return position.salt == (trimmed.salt if _place(position) == _place(trimmed) else salt)


def _place(position: PostgresqlPosition) -> tuple[int, int]:
    return position.tx, position.seq


async def read_changes(
    connection: Connection,
    catalog: Catalog,
    since: PostgresqlPosition,
    until: PostgresqlPosition,
    limit: int,
) -> Sequence[Change] | Reset:
    """The changes between two positions of one log, both checked before; `too_many` when there are more."""
    found = await _read(connection, since, until, limit)
    return found if isinstance(found, Reset) else _changes(catalog, found)


async def read_news(
    connection: Connection, catalog: Catalog, since: PostgresqlPosition, most: int
) -> tuple[PostgresqlPosition, Stretch | Reset]:
    """The head of the log in the current snapshot, and what leads there from a position: without a limit, but of
    resources with more than `most` changes only the names."""
    running, but = _texts(since.running), list[str]()
    first, *rows = await connection.fetch(_NEWS, str(since.tx), _LAST, running, but, most + 1, since.seq)
    snapshot, log, tx, seq, cut, salt = first["state"]
    trimmed = PostgresqlPosition(int(log), int(tx), int(seq), int(cut))
    there = None if salt is None else int(salt)
    if since.log == trimmed.log and len(rows) <= most and _leads_on(since, trimmed, there):
        place, salt = max([(_place(since), since.salt), *(((row["tx"], row["seq"]), row["salt"]) for row in rows)])
        return _head(since.log, place, salt, snapshot), Stretch(_changes(catalog, rows), signals=_signals(rows))
    head = await read_head(connection)
    reset = await check(connection, since, head)
    return head.position, reset or await _read_bulk(connection, catalog, since, head.position, most)


async def _read_bulk(
    connection: Connection, catalog: Catalog, since: PostgresqlPosition, until: PostgresqlPosition, most: int
) -> Stretch:
    bounds = _bounds(since, until)
    large = [row[0] for row in await connection.fetch(_LARGE_ONES, *bounds, most) if row[0] != SIGNALS]
    rows = await connection.fetch(_ROWS_BUT, *bounds, large)
    schemas = [catalog.by_table[table] for table in large if table in catalog.by_table]
    return Stretch(_changes(catalog, rows), frozenset(schema.name for schema in schemas), _signals(rows))


async def add_signal(connection: Connection, signal: Signal) -> None:
    """Writes a signal into the log, in a transaction of its own."""
    await connection.execute(_SIGNAL, SIGNALS, *signal)


async def _read(
    connection: Connection, since: PostgresqlPosition, until: PostgresqlPosition, limit: int
) -> Sequence[Any] | Reset:
    found: Sequence[Any] = await connection.fetch(_ROWS, *_bounds(since, until), limit + 1) if since != until else ()
    return Reset("too_many") if len(found) > limit else found


def _signals(rows: Sequence[Any]) -> list[Signal]:
    return [Signal(row["pk"], row["after"]) for row in rows if row["tbl"] == SIGNALS]


def _bounds(since: PostgresqlPosition, until: PostgresqlPosition) -> tuple[str, str, list[str], list[str]]:
    return str(since.tx), str(until.tx), _texts(since.running), _texts(until.running)


def _changes(catalog: Catalog, found: Sequence[Any]) -> list[Change]:
    return [change for row in found if (change := _change(catalog, row)) is not None]


def _texts(running: Sequence[int]) -> list[str]:
    return [str(one) for one in running]


def _change(catalog: Catalog, row: Any) -> Change | None:
    tx, table, key, before, after = row[1:6]
    schema = catalog.by_table.get(table)
    if schema is None:  # its resource has been removed from the application
        return None
    kind: ChangeKind = "created" if before is None else "deleted" if after is None else "updated"
    return Change(schema, load_key(schema.key_field.type, key), kind, before, after, str(tx))


def load_key(type: FieldType, text: str) -> Key:
    """The plain key from how the log has it."""
    return int(text) if type.kind == "integer" else text
