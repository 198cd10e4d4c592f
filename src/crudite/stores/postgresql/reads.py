"""Reading pages and single records on a connection.

A table that is emptied (TRUNCATE) or rewritten (ALTER TABLE) has a new file, in which an older snapshot finds nothing,
while the log at that snapshot still has all of it. Reading takes a lock that keeps this from happening until the
transaction ends, so whoever asks afterwards whether it has happened knows. A page of records of one table need not ask.
"""

from collections.abc import Sequence
from typing import Any

from crudite.errors import StoreError
from crudite.query.aggregates import aggregate_records, aggregate_statement
from crudite.query.match import reads_others
from crudite.query.plan import MOST_GROUPS, Aggregate, Plan, Selection
from crudite.query.sql import Statement, count, select
from crudite.schema import Catalog
from crudite.stores.base import Page
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.types import Plain

_dialect = PostgresqlDialect()

# the row is as the snapshot has it, the function as it is now
_EMPTIED = """SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace
AND relname = ANY($1::text[]) AND pg_relation_filenode(oid) IS DISTINCT FROM relfilenode)"""


class Emptied(StoreError):
    """A table has been emptied or rewritten since the snapshot: what was there cannot be read any more."""


async def fetch(connection: Connection, statement: Statement) -> list[Any]:
    """The rows of a statement."""
    rows: list[Any] = await connection.fetch(statement.text, *statement.parameters)
    return rows


async def read_page(connection: Connection, plan: Plan) -> Page:
    """One page of a plan; the caller holds a snapshot when the plan asks for the total."""
    if plan.aggregate is not None:
        return await _read_aggregate(connection, plan.selection, plan.aggregate)
    rows = await fetch(connection, select(plan, _dialect))
    total = None
    if plan.total:
        total = (await fetch(connection, count(plan.selection, _dialect)))[0][0]
    more = plan.keys is None and plan.limit is not None and len(rows) > plan.limit
    if more:
        rows.pop()
    if plan.backwards:
        rows.reverse()
    if not rows:
        return Page((), (), (), None, None, more, total)
    load, kind = _dialect.load, plan.selection.schema.key_field.type
    keys = [load(kind, row[0]) for row in rows]
    first, last = _sort_values(plan, rows[0]), _sort_values(plan, rows[-1])
    return Page(keys, [row[1] for row in rows], [row[2] for row in rows], first, last, more, total)


async def read_pages(connection: Connection, plans: Sequence[Plan], catalog: Catalog) -> tuple[Page, ...]:
    """The pages of several plans, one after the other, in the snapshot that is held. Raises Emptied."""
    pages = tuple([await read_page(connection, plan) for plan in plans])
    if all(page.keys and _is_of_one_table(plan) for plan, page in zip(plans, pages, strict=True)):
        return pages
    if await connection.fetchval(_EMPTIED, list(catalog.by_table)):
        raise Emptied("a table has been emptied or rewritten by another program while it was read")
    return pages


def _is_of_one_table(plan: Plan) -> bool:
    return (
        plan.aggregate is None
        and not plan.selection.mask.includes
        and not any(key.path.hops for key in plan.sort)
        and not any(reads_others(filter) for _, filter in plan.selection.filters())
    )


async def _read_aggregate(connection: Connection, selection: Selection, aggregate: Aggregate) -> Page:
    rows = await fetch(connection, aggregate_statement(selection, aggregate, _dialect))
    records = aggregate_records(aggregate, rows[:MOST_GROUPS], _dialect)
    return Page((), (), records, more=len(rows) > MOST_GROUPS)


def _sort_values(plan: Plan, row: Any) -> tuple[Plain, ...]:
    load = _dialect.load
    return tuple([load(key.path.kept, row[3 + n]) for n, key in enumerate(plan.sort)])
