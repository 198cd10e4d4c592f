"""Reads by key that wait together, as one statement for each shape of selection."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from crudite.query.plan import Selection
from crudite.query.shapes import mask_shape_of, shape_of
from crudite.query.sql import SqlWriter, Statement, compiled, encode, lookup, quote
from crudite.schema import FieldType
from crudite.stores.base import Row
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.dialect import PostgresqlDialect
from crudite.stores.postgresql.errors import PASSING, is_lost
from crudite.stores.postgresql.groups import Apart, Groups, Limits, Settle
from crudite.stores.postgresql.pool import Pool
from crudite.types import Key

_MOST_TOGETHER = 256
_MARK = "postgresql lookups"
_dialect = PostgresqlDialect()


class _SpreadDialect(PostgresqlDialect):
    """The constants of many queries of one shape: each parameter is a column of what is asked for."""

    def parameter(self, number: int, type: FieldType, is_list: bool = False) -> str:
        """The column in which the constant of each query is."""
        return f'asked."p{number}"'


class _Form(NamedTuple):
    """How the records of a selection are looked up.

    What has the same `shape` goes together; `own` are the constants that are bound for each key, `shared` those that
    are bound once, because lists in lists cannot be bound. `alone` is the statement for one key, which takes less.
    """

    shape: Any
    text: str
    own: tuple[Any, ...]
    shared: tuple[Any, ...]
    alone: Statement


class _Asked(NamedTuple):
    form: _Form
    values: tuple[Any, ...]


class Lookups:
    """Looks records up by key, in as many statements at a time as the limits say."""

    def __init__(self, pool: Pool, limits: Limits) -> None:
        self._pool = pool
        self.groups = Groups(self._run, pool.shown, limits, most=_MOST_TOGETHER, abreast=limits.workers)

    def ask(self, selection: Selection, key: Key, settle: Settle) -> None:
        """Looks a record up and calls `settle` with its Row, with None when there is none, or with a StoreError."""
        form = _form(selection)
        bound = _dialect.store(selection.schema.key_field.type, key)
        self.groups.put(form.shape, _Asked(form, (bound, *form.own)), settle)

    async def _run(self, asked: Sequence[_Asked], is_apart: bool) -> Sequence[Row | None]:
        return await self._pool.read(_look_up, asked)


async def _look_up(connection: Connection, asked: Sequence[_Asked]) -> Sequence[Row | None]:
    """The records that are asked for, in order. Raises Apart when one of several cannot be looked up."""
    form, columns = asked[0].form, zip(*[one.values for one in asked], strict=True)
    try:
        if len(asked) == 1:
            row = await connection.fetchrow(form.alone.text, *form.alone.parameters, asked[0].values[0])
            return [None if row is None else Row(*row)]
        found = await connection.fetch(form.text, *map(list, columns), *form.shared)
    except asyncpg.PostgresError as error:
        if len(asked) == 1 or isinstance(error, PASSING) or is_lost(error):
            raise
        raise Apart from error
    rows: list[Row | None] = [None] * len(asked)
    for place, version, json in found:
        rows[place - 1] = Row(version, json)
    return rows


def _form(selection: Selection) -> _Form:
    form: _Form | None = selection.memo.get(_MARK)
    if form is None:
        form = selection.memo[_MARK] = _make_form(selection)
    return form


def _make_form(selection: Selection) -> _Form:
    filter_shape, constants = shape_of(selection.filter)
    mask_shape, more = mask_shape_of(selection.mask)
    constants += more
    bound = encode(constants, _dialect)
    is_spread = not any(isinstance(one, list) for one in bound)
    types = [type for type, _ in constants] if is_spread else []
    mark = (_MARK, selection.schema, filter_shape, mask_shape, is_spread)
    text = compiled(mark, lambda: _text(selection, types, is_spread))
    alone = lookup(selection, _dialect)
    return _Form(text, text, bound, (), alone) if is_spread else _Form(selection, text, (), bound, alone)


def _text(selection: Selection, types: Sequence[FieldType], is_spread: bool) -> str:
    """Rows of (place from 1, version, JSON text) for those that are found.

    OFFSET 0 has each key looked up as it is alone. Joined with all keys at once, a rule through a relation may make
    the server read the whole of the other table. The arrays are selected so that plans do not depend on how long they
    are: else a short one would be planned for anew each time.
    """
    schema, writer = selection.schema, SqlWriter(_SpreadDialect()) if is_spread else SqlWriter(_dialect, 2)
    where, json = writer.filter(selection.filter), writer.mask(selection, "t")
    arrays = [
        f"(SELECT {_dialect.parameter(n, type, True)})" for n, type in enumerate([schema.key_field.type, *types], 1)
    ]
    names = ["key", *[f'"p{n}"' for n in range(1, len(types) + 1)], "place"]
    return (
        f"SELECT asked.place, found.* "
        f"FROM unnest({', '.join(arrays)}) WITH ORDINALITY AS asked({', '.join(names)}) "
        f'CROSS JOIN LATERAL (SELECT t."version", {json} FROM {quote(schema.table)} AS t '
        f"WHERE {where} AND t.{quote(schema.key)} = asked.key OFFSET 0) AS found"
    )
