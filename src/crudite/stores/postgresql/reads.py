"""Reading pages and single records on a connection."""

from collections.abc import Sequence
from typing import Any

from crudite.query.aggregates import aggregate_records, aggregate_statement
from crudite.query.plan import MOST_GROUPS, Aggregate, Plan, Selection
from crudite.query.sql import Statement, count, select
from crudite.stores.base import Page
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.types import Plain

_dialect = PostgresqlDialect()


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


async def read_pages(connection: Connection, plans: Sequence[Plan]) -> tuple[Page, ...]:
    """The pages of several plans, one after the other."""
    return tuple([await read_page(connection, plan) for plan in plans])


async def _read_aggregate(connection: Connection, selection: Selection, aggregate: Aggregate) -> Page:
    rows = await fetch(connection, aggregate_statement(selection, aggregate, _dialect))
    records = aggregate_records(aggregate, rows[:MOST_GROUPS], _dialect)
    return Page((), (), records, more=len(rows) > MOST_GROUPS)


def _sort_values(plan: Plan, row: Any) -> tuple[Plain, ...]:
    load = _dialect.load
    return tuple([load(key.path.kept, row[3 + n]) for n, key in enumerate(plan.sort)])
