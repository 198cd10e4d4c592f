"""Histories: the changes of audited records, in the log and, when that is trimmed, in a table of their own.

Theory of operation. `_audited` names the tables whose changes are kept. Before a table of the log is emptied, their
rows are copied to `_history` in the same transaction, together with who asked for them, which `_commits` forgets then:
whoever reads both in one snapshot finds each change once. A partial index on the log for each audited table finds the
changes of a record; what nobody audits is in none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import OUTSIDE, Kept, Past, Step
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import LAST_NUMBER, TURNS, short, turn_table
from crudite.stores.postgresql.dialect import literal
from crudite.stores.steps import AuditChange, audit_changes
from crudite.types import Key

_MOST_AT_ONCE = 5000
_BLOCKS_AT_ONCE = 500
_LAST = 2**63 - 1

_FROM_LOG = f"""SELECT c.seq, coalesce(m.at, c.ts) AS at, m.actors[m.place] AS actor,
CASE WHEN m.at IS NULL THEN {literal(OUTSIDE)} ELSE m.interfaces[m.place] END AS interface,
m.requests[m.place] AS request, c.before, c.after{{further}} FROM {{part}} AS c LEFT JOIN LATERAL (
SELECT n.*, CASE WHEN n.keys IS NULL THEN 1 ELSE array_position(n.keys, c.pk) END AS place FROM "_commits" AS n
WHERE n.tx = c.tx LIMIT 1) AS m ON TRUE WHERE"""
# OFFSET: they are looked up one by one, however large the table has become
_KEEP = f"""INSERT INTO "_history" (seq, at, actor, interface, request, before, after, tbl, pk)
{_FROM_LOG.format(further=", {table}, c.pk", part="{part}")} NOT EXISTS (
SELECT FROM "_history" AS h WHERE h.seq = c.seq OFFSET 0) AND"""
_AUDITED = 'c.tbl IN (SELECT tbl FROM "_audited")'
_BLOCKS = "c.ctid >= $1::text::tid AND c.ctid < $2::text::tid"
_EXTENT = """SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
(pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint + 1)::int"""
# a transaction that began to write before the log turned, and went on in the next table
_KEEP_COMMITS = f"""INSERT INTO "_commits" (tx, number, keys, actors, requests, interfaces, at)
SELECT tx, {LAST_NUMBER}, keys, actors, requests, interfaces, at FROM {{commits}} AS n
WHERE EXISTS (SELECT FROM "_audited") AND n.tx >= (SELECT least({{firsts}}))
AND EXISTS (SELECT FROM "_changes" AS c WHERE c.tx = n.tx AND c.tableoid <> $1::text::regclass)"""
_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"
_READ = f"""SELECT seq, {_MICROSECONDS.format("at")}, actor, interface, request, before, after FROM (
(SELECT seq, at, actor, interface, request, before, after FROM "_history"
WHERE tbl = {{table}} AND pk = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3)
UNION ALL
({_FROM_LOG.format(further="", part='"_changes"')} c.tbl = {{table}} AND c.pk = $1 AND c.seq < $2
ORDER BY c.seq DESC LIMIT $3)) AS h ORDER BY seq DESC LIMIT $3"""
_MEASURE = f"""SELECT tbl, count(*), sum(64 + coalesce(octet_length(before), 0) + coalesce(octet_length(after), 0)),
{_MICROSECONDS.format("min(at)")} FROM "_history" GROUP BY tbl ORDER BY tbl COLLATE "C" """
_PRUNE = f"""WITH gone AS (DELETE FROM "_history" WHERE seq IN (SELECT seq FROM "_history"
WHERE tbl = $1 AND at < now() - make_interval(secs => $2) LIMIT {_MOST_AT_ONCE}) RETURNING 1)
SELECT count(*) FROM gone"""


async def plan(
    connection: Connection, catalog: Catalog, sources: Mapping[str, str | None], *, removing: bool
) -> list[Step]:
    """The steps in which the tables of a catalog begin to be audited and, with `removing`, end to be. Only reads.
    `sources` says which table becomes one of the catalog's."""
    is_there = await connection.fetchval("SELECT to_regclass('\"_audited\"') IS NOT NULL")
    audited = dict(await connection.fetch('SELECT tbl, seconds FROM "_audited"')) if is_there else {}
    changes = audit_changes(catalog, audited, sources, removing=removing)
    return [change.step(*_further(change)) for change in changes]


def _further(change: AuditChange) -> Iterator[str]:
    """What belongs to a change beside what `_audited` says."""
    if change.source is not None:
        table, source = literal(change.table), literal(change.source)
        yield f"{_KEEP.format(part=quote('_changes'), table=table)} c.tbl = {source}"
        yield f'UPDATE "_history" SET tbl = {table} WHERE tbl = {source}'
    gone = change.table if change.ends else change.source
    if gone is not None:
        yield from (f"DROP INDEX IF EXISTS {quote(name)}" for name in indexes_of(gone).values())


def indexes_of(table: str) -> dict[str, str]:
    """The names of the indexes by which the changes of a table's records are found, by the table of the log."""
    parts = (turn_table("_changes", turn) for turn in range(TURNS))
    return {part: short(f"{part[1:]} history {table}") for part in parts}


async def keep_most(connection: Connection, part: str) -> tuple[str, int]:
    """Keeps what is audited in a table of the log, by statements none of which takes long. Inside a transaction.
    Returns the first transaction of which there may be more by now, and how many changes it keeps."""
    first, blocks = await connection.fetchrow(_EXTENT, quote(part))
    kept = 0
    if await _is_on(connection):
        text = _KEEP.format(part=quote(part), table="c.tbl")
        for block in range(0, blocks, _BLOCKS_AT_ONCE):
            until = f"({block + _BLOCKS_AT_ONCE},0)"
            kept += _count(await connection.execute(f"{text} {_AUDITED} AND {_BLOCKS}", f"({block},0)", until))
    return str(first), kept


async def keep(connection: Connection, part: str, since: str = "0") -> int:
    """Keeps what is audited in a table of the log and not kept yet, from a transaction on, before the table is emptied;
    how many changes. Inside a transaction."""
    if not await _is_on(connection):
        return 0
    text = _KEEP.format(part=quote(part), table="c.tbl")
    return _count(await connection.execute(f"{text} {_AUDITED} AND c.tx >= (SELECT $1::text::xid8)", since))


def _count(status: str) -> int:
    """How many rows a statement says that it has written."""
    return int(status.rpartition(" ")[2])


async def _is_on(connection: Connection) -> bool:
    return bool(await connection.fetchval('SELECT EXISTS (SELECT FROM "_audited")'))


async def keep_commits(connection: Connection, part: str, commits: str) -> None:
    """Carries on who asked for what, where changes of the same transactions are in another table of the log than the
    one that is to be emptied with its `commits`. Inside a transaction."""
    others = {turn_table("_changes", turn) for turn in range(TURNS)} - {part}
    firsts = ", ".join(f"(SELECT min(tx) FROM {quote(other)})" for other in sorted(others))
    await connection.execute(_KEEP_COMMITS.format(commits=quote(commits), firsts=firsts), quote(part))


async def read(connection: Connection, asked: tuple[ResourceSchema, Key, int | None, int]) -> Sequence[Past]:
    """The changes of one record, in the log and kept, the latest first; in a snapshot that holds the log."""
    schema, key, before, limit = asked
    text = _READ.format(table=literal(schema.table))
    return [Past(*row) for row in await connection.fetch(text, str(key), _LAST if before is None else before, limit)]


def every(schema: ResourceSchema) -> str:
    """The SELECT of all changes of a resource's records, in the log, if it is audited, and kept."""
    table = literal(schema.table)
    kept = 'SELECT pk, seq, at, actor, interface, request, before, after FROM "_history" WHERE tbl ='
    in_log = _FROM_LOG.format(further=", c.pk", part='"_changes"')
    return f"""SELECT pk, seq, {_MICROSECONDS.format("at")} AS at, actor, interface, request, before, after FROM (
{kept} {table} UNION ALL
SELECT pk, seq, at, actor, interface, request, before, after FROM (
{in_log} c.tbl = {table} AND {_AUDITED}) AS l) AS h"""


def past_of(row: Sequence[Any]) -> Past:
    """A change from what was read of it."""
    return Past(*row)


async def measure(connection: Connection) -> Sequence[Kept]:
    """What is kept beyond the log, by tables."""
    return [Kept(table, count, int(size), oldest) for table, count, size, oldest in await connection.fetch(_MEASURE)]


async def limited(connection: Connection) -> Sequence[tuple[str, float]]:
    """The tables whose changes are not kept for ever, and for how many seconds they are."""
    found = await connection.fetch('SELECT tbl, seconds FROM "_audited" WHERE seconds IS NOT NULL')
    return [(row[0], row[1]) for row in found]


async def prune(connection: Connection, table: str, older_than: float) -> int:
    """Lets go of what is kept of a table and older than so many seconds, a part at a time; how many changes went."""
    removed = 0
    while count := await connection.fetchval(_PRUNE, table, older_than):
        removed += count
    return removed
