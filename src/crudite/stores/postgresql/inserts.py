"""Creates that wait together, as one statement in one transaction with their log rows.

Theory of operation. A group is one transaction: the INSERT of all its records, which also notes who asked for each of
them, COMMIT. Nobody hears of an outcome before the COMMIT.

| what happens | what becomes of the units |
|---|---|
| a value is there already (ON CONFLICT DO NOTHING) | that one is run alone, to be told why; the others are committed |
| another constraint, a deadlock, a lock that is held for longer than a moment | nothing is done: both halves again |
| COMMIT is refused (a deferred constraint of another program's) | the same |
| COMMIT has no answer | StoreError to all: their fate is unknown, and none is run again |
| two have one key, or a trigger of another program's gives a record another one | nothing is done: both halves again |
| one that is alone could not be inserted | it is performed as any other unit |

A unit of many creates is inserted alike, whole, in a transaction of its own; if it cannot be, its writes are performed
one after the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from crudite.changes import Commit, Refused, Stored, Unit, Write
from crudite.errors import StoreError
from crudite.ids import uuid7
from crudite.query.sql import compiled, quote, record_json
from crudite.schema import ResourceSchema
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import LAST_NUMBER
from crudite.stores.postgresql.dialect import PostgresqlDialect, literal, plain_text
from crudite.stores.postgresql.errors import CONSTRAINTS, DRIVER, PASSING, beginning
from crudite.stores.postgresql.groups import Apart
from crudite.stores.postgresql.statements import encoded, is_plain
from crudite.stores.settling import Outcome
from crudite.types import Key

# whoever waits for somebody's lock does so alone; shorter than it takes to look for a deadlock
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '100ms'"
_WITHOUT_CONFLICTS = (
    asyncpg.ObjectNotInPrerequisiteStateError,  # a constraint that is deferred knows no ON CONFLICT,
    asyncpg.FeatureNotSupportedError,  # nor does a table with rules
)
_SPOILT = (
    *CONSTRAINTS,
    *PASSING,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    *_WITHOUT_CONFLICTS,
)
_dialect = PostgresqlDialect()


class Shape(NamedTuple):
    """What is alike of creates that go together: the fields that are given, and what is returned."""

    schema: ResourceSchema
    names: tuple[str, ...]
    shown: tuple[str, ...] | None


class Insert(NamedTuple):
    """A unit that is one plain create, with what the driver takes for its values."""

    unit: Unit
    shape: Shape
    values: Sequence[Any]


def is_insert(unit: Unit) -> bool:
    """Whether a unit is a create that may go together with others: one of which nothing is left to do afterwards."""
    return len(unit.writes) == 1 and _goes_along(unit.writes[0])


def _goes_along(write: Write) -> bool:
    if write.action != "create" or write.needs or write.check_after is not None:
        return False
    if write.returning is not None and not is_plain(write.returning):
        return False
    if write.schema.is_numbered:  # a key that is given moves the numbers on
        return bool(write.values) and write.key is None and write.schema.key not in write.values
    return True


def as_insert(unit: Unit) -> Insert | None:
    """What is to be inserted; None for what cannot be inserted with others, or at all."""
    return _as_insert(unit, unit.writes[0]) if is_insert(unit) else None


def as_inserts(unit: Unit) -> Sequence[Insert]:
    """The creates of a unit that has several, all of one shape, none of which may refer to another; else nothing."""
    writes = unit.writes
    if len(writes) < 2 or not all(_goes_along(write) for write in writes):
        return ()
    inserts = [insert for write in writes if (insert := _as_insert(unit, write)) is not None]
    if len(inserts) < len(writes) or len({insert.shape for insert in inserts}) > 1:
        return ()
    schema, names, _ = inserts[0].shape
    references = (schema.fields[name].reference for name in names)
    return () if any(one is not None and one.target == schema.name for one in references) else inserts


def _as_insert(unit: Unit, write: Write) -> Insert | None:
    schema, values = write.schema, dict(write.values)
    if not schema.is_numbered:
        values[schema.key] = _given_key(write) or uuid7()
    shown = None if write.returning is None else write.returning.mask.always
    try:
        bound = [encoded(0, schema.fields[name], value) for name, value in values.items()]
    except Refused:  # it is told when the unit is performed
        return None
    return Insert(unit, Shape(schema, tuple(values), shown), bound)


def _given_key(write: Write) -> Key | None:
    key: Key | None = write.key if write.key is not None else write.values.get(write.schema.key)
    return key


async def insert_whole(connection: Connection, inserts: Sequence[Insert]) -> Sequence[Stored]:
    """What is stored for the creates of one unit. Raises Apart when one of them cannot be made: which, and why, is told
    by making one after the other. The transaction must then be given up."""
    try:
        stored, _ = await _insert_rows(connection, inserts, is_noted=False)
    except (*CONSTRAINTS, *_WITHOUT_CONFLICTS) as error:
        raise Apart from error
    whole = [one for one in stored if one is not None]
    if len(whole) < len(inserts):
        raise Apart
    return whole


async def insert_all(connection: Connection, inserts: Sequence[Insert], where: str) -> Sequence[Outcome]:
    """What became of creates of one shape. Raises Apart when one of them spoils it for the others, and Unbegun."""
    try:
        with beginning():
            await connection.execute(_BEGIN)
        stored, mark = await _insert_rows(connection, inserts, is_noted=inserts[0].shape.schema.logged)
        await _end(connection, where)
    except (Apart, *_SPOILT) as error:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise Apart from error
    return [Apart() if one is None else Commit(mark, (one,)) for one in stored]


async def _insert_rows(
    connection: Connection, inserts: Sequence[Insert], is_noted: bool
) -> tuple[Sequence[Stored | None], str | None]:
    """What is stored for each, None for those that are in conflict with what is there; and the mark of all that are,
    None without one. It is noted who asked for each, or left to be noted."""
    shape = inserts[0].shape
    text = compiled(("postgresql inserts", is_noted, *shape), lambda: _text(shape, is_noted))
    kind = shape.schema.key_field.type
    stored: list[Stored | None] = [None] * len(inserts)
    columns = [list(column) for column in zip(*[one.values for one in inserts], strict=True)]
    if is_noted:
        units = [one.unit for one in inserts]
        columns += [[u.actor for u in units], [u.request for u in units], [u.interface for u in units]]
    made = await connection.fetch(text, *columns)
    if len({row["key"] for row in made}) != len(made) or any(row["place"] is None for row in made):
        raise Apart  # it is not known whose record is whose
    for place, key, version, json, _ in made:
        stored[place - 1] = Stored(_dialect.load(kind, key), version, json)
    return stored, made[0]["mark"] if made else None


async def _end(connection: Connection, where: str) -> None:
    try:
        await connection.execute("COMMIT")
    except _SPOILT:
        raise
    except DRIVER as error:
        raise StoreError(f"{where}: whether it was committed is not known ({error})") from error


def _text(shape: Shape, is_noted: bool) -> str:
    """Rows of (place from 1, key, version, JSON text, mark) for the records that are inserted, of all places that have
    the key; the place is NULL where nobody gave it. The mark is NULL where it is not noted who asked."""
    schema, names = shape.schema, shape.names
    key, table = quote(schema.key), quote(schema.table)
    # selected, so that the plan does not depend on how many they are: else few would be planned for each time
    arrays = [f"(SELECT {_dialect.parameter(n, schema.fields[name].type, True)})" for n, name in enumerate(names, 1)]
    given = {quote(name): f"c{n}" for n, name in enumerate(names, 1)}
    who = ["actor", "request", "interface"] if is_noted else []
    arrays += [f"(SELECT ${n}::text[])" for n in range(len(names) + 1, len(names) + len(who) + 1)]
    asked = f"unnest({', '.join(arrays)}) WITH ORDINALITY AS u({', '.join([*given.values(), *who, 'place'])})"
    number = ""
    if key not in given:
        number = f"nextval(pg_get_serial_sequence({literal(table)}, {literal(schema.key)})) AS c0, "
        given[key] = "c0"
    json = "NULL::text" if shape.shown is None else record_json(schema, shape.shown, "t", _dialect)
    noted, mark = "", "NULL::text"
    if is_noted:
        lists = ", ".join(f"array_agg({one})" for one in (plain_text("key", schema.key_field.type), *who))
        noted = ', noted AS (INSERT INTO "_commits" (number, keys, actors, requests, interfaces) '
        noted, mark = (
            f"{noted}SELECT {LAST_NUMBER}, {lists} FROM told HAVING count(*) > 0)",
            "pg_current_xact_id()::text",
        )
    return (
        f"WITH given AS MATERIALIZED (SELECT {number}u.* FROM {asked}), "
        f"made AS (INSERT INTO {table} AS t ({', '.join(given)}) SELECT {', '.join(given.values())} FROM given "
        f'ON CONFLICT DO NOTHING RETURNING t.{key} AS key, t."version" AS version, {json} AS json), '
        f"told AS MATERIALIZED (SELECT {', '.join(['place', 'key', 'version', 'json', *who])} "
        f"FROM made LEFT JOIN given ON given.{given[key]} = made.key){noted} "
        f"SELECT place, key, version, json, {mark} AS mark FROM told"
    )
