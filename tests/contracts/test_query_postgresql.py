"""PostgreSQL and the matcher mean the same by every query: the same records, in order, on the same pages.

The worlds are those that SQLite is asked about; their records are copied into a schema of one database, and
the matcher is given PostgreSQL's own JSON of them.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.query.dialect import Dialect
from crudite.query.match import compile_mask
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.sql import Statement, condition, count, quote, record_json, select
from crudite.query.tree import EVERYTHING, And, Filter
from crudite.schema import ResourceSchema
from crudite.stores.postgresql.ddl import column_type
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.types import Key, PlainRecord
from tests.contracts.test_query_sqlite import awkward_world, both_ways, compared, in_order
from tests.contracts.test_query_vectors import CASES, asked, make_world
from tests.unit.query.worlds import (
    OPERATORS,
    TEXT_OPERATORS,
    TYPES,
    World,
    aggregated,
    aggregates,
    awkward,
    filters,
    masks,
    sorts,
    worlds,
)

DIALECT = PostgresqlDialect()


class Server:
    """A connection that is asked from tests without an event loop."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(self._connect(url))

    async def _connect(self, url: str) -> Any:
        return await asyncpg.connect(url, statement_cache_size=0)

    async def _script(self, text: str) -> None:
        await self._connection.execute(text)

    async def _rows(self, text: str, *bound: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._connection.fetch(text, *bound)]

    async def _many(self, text: str, rows: Sequence[Any]) -> None:
        await self._connection.executemany(text, rows)

    def script(self, text: str) -> None:
        self._runner.run(self._script(text))

    def rows(self, text: str, *bound: Any) -> list[tuple[Any, ...]]:
        return self._runner.run(self._rows(text, *bound))

    def many(self, text: str, rows: Sequence[Any]) -> None:
        self._runner.run(self._many(text, rows))

    async def _close(self) -> None:
        await self._connection.close()

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()


@pytest.fixture(scope="module")
def server(postgresql: str) -> Iterator[Server]:
    """A connection to the server's own database; every world is a temporary schema of it."""
    server = Server(postgresql)
    yield server
    server.close()


@dataclass(eq=False)
class PostgresqlWorld(World):
    """The records of a world in PostgreSQL."""

    dialect: ClassVar[Dialect] = DIALECT
    server: Server = field(kw_only=True)

    @classmethod
    def of(cls, world: World, server: Server) -> "PostgresqlWorld":
        """A copy of a world, in place of the one before."""
        server.script("DROP SCHEMA IF EXISTS world CASCADE; CREATE SCHEMA world; SET search_path = world")
        for schema in world.catalog.values():
            columns = [f"{quote(f.name)} {column_type(f.type)}" for f in schema.fields.values()]
            server.script(f"CREATE TABLE {quote(schema.table)} ({', '.join(columns)}, PRIMARY KEY (id))")
            marks = [DIALECT.parameter(n, f.type) for n, f in enumerate(schema.fields.values(), 1)]
            rows = [cls._row(schema, record) for record in world.records.get(schema.name, ())]
            server.many(f"INSERT INTO {quote(schema.table)} VALUES ({', '.join(marks)})", rows)
        copy = cls(world.catalog, world.database, server=server)
        for schema in world.catalog.values():
            json = record_json(schema, list(schema.fields), "t", DIALECT)
            found = server.rows(f"SELECT {json} FROM {quote(schema.table)} AS t")
            copy.records[schema.name] = [msgspec.json.decode(text) for (text,) in found]
        return copy

    @staticmethod
    def _row(schema: ResourceSchema, record: PlainRecord) -> list[Any]:
        return [DIALECT.store(f.type, record[f.name]) for f in schema.fields.values()]

    def asked(self, statement: Statement) -> list[tuple[Any, ...]]:
        return self.server.rows(statement.text, *statement.parameters)

    def rows(self, plan: Plan) -> list[tuple[Any, ...]]:
        statement = select(plan, DIALECT)
        return self.server.rows(statement.text, *statement.parameters)

    def selected(self, name: str, filter: Filter, sort: Sequence[SortKey] = ()) -> list[Key]:
        schema = self.catalog[name]
        selection = Selection(schema, filter, Mask((schema.key,)))
        rows = self.rows(Plan(selection=selection, sort=tuple(sort)))
        return [DIALECT.load(schema.key_field.type, row[0]) for row in rows]

    def paged(self, filter: Filter, sort: Sequence[SortKey], size: int, *, backwards: bool) -> list[Key]:
        """The keys of all pages, each one started where the last one ended."""
        schema = self.catalog["A"]
        selection = Selection(schema, filter, Mask((schema.key,)))
        keys: list[Key] = []
        start: tuple[Any, ...] | None = None
        while True:
            plan = Plan(selection=selection, sort=tuple(sort), limit=size, start=start, backwards=backwards)
            rows = self.rows(plan)
            assert len(rows) <= size + 1, "one more than the limit says that there is more"
            keys += [DIALECT.load(schema.key_field.type, row[0]) for row in rows[:size]]
            if len(rows) <= size:
                return keys
            last = rows[size - 1][3:]
            values = [DIALECT.load(k.path.kept, value) for k, value in zip(sort, last, strict=True)]
            start = tuple(msgspec.json.decode(msgspec.json.encode(values)))  # as a cursor keeps it


def drawn(data: st.DataObject, server: Server, **more: int) -> PostgresqlWorld:
    """A random world, in PostgreSQL."""
    return PostgresqlWorld.of(data.draw(worlds(**more)), server)


@given(data=st.data())
def test_postgresql_finds_exactly_the_records_that_the_matcher_accepts_in_the_same_order(
    data: st.DataObject, server: Server
) -> None:
    world = drawn(data, server)
    for _ in range(3):
        filter = world.resolved("A", data.draw(filters(world, "A")))
        sort = data.draw(sorts(world, "A"))
        assert world.selected("A", filter, sort) == world.matched("A", filter, sort)


@given(data=st.data())
def test_pages_laid_end_to_end_are_the_whole_list_forwards_and_backwards(data: st.DataObject, server: Server) -> None:
    world = drawn(data, server, most_records=7)
    filter = world.resolved("A", data.draw(filters(world, "A", most_hops=1)))
    sort = data.draw(sorts(world, "A"))
    size = data.draw(st.integers(1, 3))
    whole = world.matched("A", filter, sort)
    assert world.paged(filter, sort, size, backwards=False) == whole
    assert world.paged(filter, sort, size, backwards=True) == whole[::-1]


@given(data=st.data())
def test_what_a_mask_shows_is_the_same_in_postgresql_and_in_memory(data: st.DataObject, server: Server) -> None:
    world = drawn(data, server, most_fields=8)
    schema = world.catalog["A"]
    mask = data.draw(masks(world, "A"))
    show = compile_mask(mask, world)
    filter = world.resolved("A", data.draw(st.just(EVERYTHING) | filters(world, "A")))
    rows = world.rows(Plan(selection=Selection(schema, filter, mask), sort=world.resolver("A").sort(())))
    found = {DIALECT.load(schema.key_field.type, row[0]): in_order(msgspec.json.decode(row[2])) for row in rows}
    kept = world.matched("A", filter)
    assert found == {r["id"]: in_order(show(r)) for r in world.records["A"] if r["id"] in kept}


@given(data=st.data())
def test_what_records_come_to_is_what_python_adds_up(data: st.DataObject, server: Server) -> None:
    world = drawn(data, server)
    for _ in range(3):
        filter = world.resolved("A", data.draw(st.just(EVERYTHING) | filters(world, "A")))
        aggregate = data.draw(aggregates(world, "A"))
        assert aggregated(world, "A", filter, aggregate) == world.comes_to("A", filter, aggregate)


@given(data=st.data())
def test_a_condition_a_count_and_reading_by_keys_agree_with_the_selected_rows(
    data: st.DataObject, server: Server
) -> None:
    world = drawn(data, server)
    schema = world.catalog["A"]
    filter = world.resolved("A", data.draw(filters(world, "A")))
    found = world.matched("A", filter)
    selection = Selection(schema, filter, Mask((schema.key,)))
    counting = count(selection, DIALECT)
    assert server.rows(counting.text, *counting.parameters) == [(len(found),)]
    where = condition(filter, DIALECT, alias="x", first=2)
    text = f"SELECT count(*) FROM {quote(schema.table)} AS x WHERE $1::text = 'first' AND {where.text}"
    assert server.rows(text, "first", *where.parameters) == [(len(found),)]
    some = tuple(record["id"] for record in world.records["A"][::2])
    rows = world.rows(Plan(selection=selection, keys=some))
    assert {DIALECT.load(schema.key_field.type, row[0]) for row in rows} == set(some) & set(found)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_operator_agrees_on_every_pair_of_awkward_values(name: str, server: Server) -> None:
    lite, paths = awkward_world(name)
    world = PostgresqlWorld.of(lite, server)
    for path in paths:
        asked_for = compared(TYPES[name], path[1:])
        operators = ("isnull", "exists")
        if asked_for.item is not None:
            operators = (*operators, "contains")
        elif asked_for.kind != "json":
            operators = (*operators, *OPERATORS, *(TEXT_OPERATORS if asked_for.kind == "text" else ()))
        for operator in operators:
            for value in awkward(asked_for.item or asked_for) or [True]:
                for filter in both_ways(world, path, operator, value):
                    assert world.selected("A", filter) == world.matched("A", filter), (path, operator, value)


@pytest.mark.parametrize("name", sorted(name for name, type in TYPES.items() if type.kind != "json"))
@pytest.mark.parametrize("sign", ["", "-"])
def test_awkward_values_sort_the_same_and_page_from_any_of_them(name: str, sign: str, server: Server) -> None:
    world = PostgresqlWorld.of(awkward_world(name)[0], server)
    sort = world.resolver("A").sort([sign + name])
    whole = world.matched("A", And(), sort)
    assert world.selected("A", And(), sort) == whole
    assert world.paged(And(), sort, 1, backwards=False) == whole
    assert world.paged(And(), sort, 1, backwards=True) == whole[::-1]


@pytest.mark.parametrize("path", ["meta.n", "meta.r", "meta.t", "meta.b", "meta.d", "meta.u"])
def test_whatever_lies_in_json_sorts_the_same(path: str, server: Server) -> None:
    world = PostgresqlWorld.of(awkward_world("meta")[0], server)
    for written in (path, f"-{path}"):
        sort = world.resolver("A").sort([written])
        whole = world.matched("A", And(), sort)
        assert world.selected("A", And(), sort) == whole
        assert world.paged(And(), sort, 3, backwards=False) == whole


@pytest.mark.parametrize("case", CASES)
def test_the_conformance_vectors_hold(case: dict[str, Any], server: Server) -> None:
    world = PostgresqlWorld.of(make_world(), server)
    assert world.selected(case["of"], *asked(case)) == case["expect"]
