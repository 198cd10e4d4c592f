"""Histories: the changes of audited records, in the log and, when that is trimmed, in a table of their own.

Theory of operation. `_audited` names the tables whose changes are kept. Trimming moves their rows to `_history` in the
transaction that takes them out of the log, together with who asked for them, which `_commits` forgets then. A partial
index on the log for each of them finds the changes of a record; what nobody audits is in none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apsw

from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import OUTSIDE, Kept, Past, Step
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.ddl import MILLISECONDS, literal
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.steps import AuditChange, audit_changes

_MOST_AT_ONCE = 2000
_INDEX = "crudite history "
_LAST = 2**63 - 1
_dialect = SqliteDialect()

# the first commit that does not end before a change is the one that made it, unless it begins after it
_IN_LOG = f"""SELECT c.seq AS seq, coalesce(m.at, c.ts * 1000000) AS at, m.actor AS actor,
CASE WHEN m.last IS NULL THEN {literal(OUTSIDE)} ELSE m.interface END AS interface, m.request AS request,
c.before AS before, c.after AS after{{further}} FROM _changes AS c LEFT JOIN _commits AS m
ON m.last = (SELECT min(last) FROM _commits WHERE last >= c.seq) AND m.first <= c.seq
WHERE (c.before IS NOT NULL OR c.after IS NOT NULL) AND"""
_KEEP = f"""INSERT OR IGNORE INTO _history (seq, at, actor, interface, request, before, after, tbl, pk)
{_IN_LOG.format(further=", c.tbl, c.pk")}"""
_READ = f"""SELECT seq, at, actor, interface, request, CAST(before AS BLOB), CAST(after AS BLOB) FROM (
SELECT seq, at, actor, interface, request, before, after FROM _history WHERE tbl = {{table}} AND pk = ?1 AND seq < ?2
UNION ALL {_IN_LOG.format(further="")} c.tbl = {{table}} AND c.pk = ?1 AND c.seq < ?2
ORDER BY 1 DESC LIMIT ?3) ORDER BY seq DESC"""
_MEASURE = """SELECT tbl, count(*), sum(64 + length(CAST(coalesce(before, '') AS BLOB))
+ length(CAST(coalesce(after, '') AS BLOB))), min(at) FROM _history GROUP BY tbl ORDER BY tbl"""
_PRUNE = f"""DELETE FROM _history WHERE seq IN (SELECT seq FROM _history
WHERE tbl = ? AND at <= ({MILLISECONDS} + 1) * 1000 - ? * 1000000 LIMIT {_MOST_AT_ONCE})"""


def plan(
    connection: apsw.Connection, catalog: Catalog, sources: Mapping[str, str | None], *, removing: bool
) -> list[Step]:
    """The steps in which the tables of a catalog begin to be audited and, with `removing`, end to be. Only reads.
    `sources` says which table becomes one of the catalog's."""
    is_there = rows(connection, "SELECT 1 FROM sqlite_schema WHERE name = '_audited'")
    audited = dict(rows(connection, "SELECT tbl, seconds FROM _audited")) if is_there else {}
    changes = audit_changes(catalog, audited, sources, removing=removing)
    return [change.step(*_further(change)) for change in changes]


def _further(change: AuditChange) -> Iterator[str]:
    """What belongs to a change beside what `_audited` says."""
    table, source = literal(change.table), literal(change.source)
    if change.source is not None:
        yield f"{_KEEP} c.tbl = {source}"
        yield f"UPDATE _history SET tbl = {table} WHERE tbl = {source}"
        yield f"DROP INDEX IF EXISTS {quote(_INDEX + change.source)}"
    if change.ends:
        yield f"DROP INDEX IF EXISTS {quote(_INDEX + change.table)}"
    elif change.begins or change.source is not None:
        yield f"CREATE INDEX IF NOT EXISTS {quote(_INDEX + change.table)} ON _changes (pk, seq) WHERE tbl = {table}"


def keep(connection: apsw.Connection, until: int) -> int:
    """Keeps what is audited among the log's rows up to a number, before they go; how many. Inside a transaction."""
    if not rows(connection, "SELECT 1 FROM _audited LIMIT 1"):
        return 0
    connection.execute(f"{_KEEP} c.seq <= ? AND c.tbl IN (SELECT tbl FROM _audited)", (until,))
    return connection.changes()


def read(
    connection: apsw.Connection, schema: ResourceSchema, key: Any, before: int | None, limit: int
) -> Sequence[Past]:
    """The changes of one record, in the log and kept, the latest first."""
    bound = (_dialect.store(schema.key_field.type, key), _LAST if before is None else before, limit)
    return [past_of(row) for row in rows(connection, _READ.format(table=literal(schema.table)), bound)]


def every(schema: ResourceSchema) -> str:
    """The SELECT of all changes of a resource's records, in the log, if it is audited, and kept."""
    table = literal(schema.table)
    in_log = _IN_LOG.format(further=", c.pk AS pk")
    return f"""SELECT pk, seq, at, actor, interface, request, before, after FROM _history WHERE tbl = {table} UNION ALL
SELECT pk, seq, at, actor, interface, request, before, after FROM (
{in_log} c.tbl = {table} AND c.tbl IN (SELECT tbl FROM _audited))"""


def past_of(row: Sequence[Any]) -> Past:
    """A change from what was read of it, with its images as bytes."""
    return Past._make((*row[:5], _text(row[5]), _text(row[6])))


def _text(image: bytes | None) -> str | None:
    return None if image is None else image.decode(errors="replace")


def measure(connection: apsw.Connection) -> Sequence[Kept]:
    """What is kept beyond the log, by tables."""
    return [Kept(*row) for row in rows(connection, _MEASURE)]


def limited(connection: apsw.Connection) -> Sequence[tuple[str, float]]:
    """The tables whose changes are not kept for ever, and for how many seconds they are."""
    return [(row[0], row[1]) for row in rows(connection, "SELECT tbl, seconds FROM _audited WHERE seconds IS NOT NULL")]


def prune(connection: apsw.Connection, table: str, older_than: float) -> int:
    """Lets go of some of what is kept of a table and older than so many seconds; how many changes went."""
    connection.execute(_PRUNE, (table, older_than))
    return connection.changes()
