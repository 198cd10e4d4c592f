"""Reads by key that go together give what each of them gives alone, whatever the query and the types in it."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite.query.plan import Mask, Plan, Selection
from crudite.query.sql import select
from crudite.query.tree import Condition
from crudite.stores.base import Row
from crudite.stores.postgresql.connections import REQUEST, parse
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.stores.postgresql.groups import Limits
from crudite.stores.postgresql.lookups import Lookups
from crudite.stores.postgresql.pool import Pool
from crudite.stores.settling import settle
from crudite.types import Key
from tests.contracts.test_query_postgresql import PostgresqlWorld, Server, server  # noqa: F401
from tests.unit.query.worlds import (
    OPERATORS,
    TEXT_OPERATORS,
    TYPES,
    filters,
    masks,
    values,
    worlds,
)

DIALECT = PostgresqlDialect()
NOWHERE: dict[str, Key] = {
    "text": "nowhere",
    "integer": 77,
    "bigint": "77",
    "uuid": "77777777-7777-7777-7777-777777777777",
}
SOME = settings(max_examples=settings().max_examples // 3)  # each asks many times
Question = tuple[Selection, Key]


class Asker:
    """Looks records up in the world, all at once."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._pool, self._lookups = self._runner.run(self._open(f"{url}?schema=world"))

    async def _open(self, url: str) -> tuple[Pool, Lookups]:
        pool = Pool(parse(url), REQUEST, 2)
        await pool.open()
        return pool, Lookups(pool, Limits(2, 1000, 30.0))

    async def _ask(self, questions: Sequence[Question]) -> list[Row | None]:
        futures = [asyncio.get_running_loop().create_future() for _ in questions]
        for (selection, key), future in zip(questions, futures, strict=True):
            self._lookups.ask(selection, key, partial(settle, future))
        return list(await asyncio.gather(*futures))

    def ask(self, questions: Sequence[Question]) -> list[tuple[int, str] | None]:
        """Version and JSON text of each, None of those that are not there."""
        rows = self._runner.run(self._ask(questions))
        return [None if row is None else (row.version, row.json) for row in rows]

    async def _close(self) -> None:
        await self._lookups.groups.close()
        await self._pool.close()

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()


@pytest.fixture(scope="module")
def asker(postgresql: str) -> Iterator[Asker]:
    asker = Asker(postgresql)
    yield asker
    asker.close()


def alone(world: PostgresqlWorld, question: Question) -> tuple[Any, ...] | None:
    """What a statement for one record gives."""
    selection, key = question
    statement = select(Plan(selection=selection, keys=(key,)), DIALECT)
    rows = world.asked(statement)
    return rows[0][1:3] if rows else None


def keys_of(world: PostgresqlWorld) -> list[Key]:
    """The keys of all records and one that is nobody's, some of them twice."""
    keys = [record["id"] for record in world.records["A"]]
    return [*keys, NOWHERE[world.catalog["A"].key_field.type.kind], *reversed(keys)]


@SOME
@given(st.data())
def test_records_that_are_asked_for_together_are_those_that_are_found_alone(
    server: Server,  # noqa: F811
    asker: Asker,
    data: st.DataObject,
) -> None:
    world = data.draw(worlds())
    schema = world.catalog["A"]
    selections = []
    for _ in range(data.draw(st.integers(1, 2))):
        filter = world.resolved("A", data.draw(filters(world, "A")))
        selections.append(Selection(schema, filter, data.draw(masks(world, "A"))))
    copy = PostgresqlWorld.of(world, server)
    questions = [(selection, key) for key in keys_of(copy) for selection in selections]
    assert asker.ask(questions) == [alone(copy, question) for question in questions]


@SOME
@given(st.data())
def test_each_constant_is_asked_about_with_its_own_key(
    server: Server,  # noqa: F811
    asker: Asker,
    data: st.DataObject,
) -> None:
    world = data.draw(worlds())
    schema = world.catalog["A"]
    name = data.draw(st.sampled_from([n for n in schema.fields if n in TYPES and TYPES[n].kind != "json"] or ["id"]))
    type = schema.fields[name].type
    operator = data.draw(st.sampled_from((*OPERATORS, *(TEXT_OPERATORS if type.kind == "text" else ()))))
    value = values(type)
    if operator in ("in", "nin"):
        value = st.lists(value, max_size=3)
    elif operator == "between":
        value = st.lists(value, min_size=2, max_size=2)
    mask = Mask(tuple(schema.fields))
    selections = [
        Selection(schema, world.resolved("A", Condition((name,), operator, one)), mask)
        for one in data.draw(st.lists(value, min_size=2, max_size=5))
    ]
    copy = PostgresqlWorld.of(world, server)
    questions = [(selection, key) for key in keys_of(copy) for selection in selections]
    assert asker.ask(questions) == [alone(copy, question) for question in questions]
