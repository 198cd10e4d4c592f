"""One write at a time, as SQL inside a transaction: what it checks, does and returns.

Another transaction may change a record between two statements of this one, so conditions on the written
record are in its statement that writes it, and what a write needs is locked until the commit. When one
found nothing to write, and no condition is broken afterwards, the record has changed meanwhile: run it again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from crudite.changes import Refused, Stored, Unit, Write
from crudite.ids import uuid7
from crudite.query.plan import Mask, Need, Plan, Selection
from crudite.query.sql import condition, quote, record_json, select
from crudite.query.tree import EVERYTHING, Filter
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.along import go_along
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.ddl import LAST_NUMBER
from crudite.stores.postgresql.dialect import PostgresqlDialect, literal
from crudite.stores.postgresql.errors import CONSTRAINTS, refusal
from crudite.stores.postgresql.reads import fetch
from crudite.stores.seen import differing
from crudite.types import Key

_dialect = PostgresqlDialect()
_MOST_TRIES = 5

# only for what the log tells of
_NOTE_COMMIT = f"""INSERT INTO "_commits" (number, actors, requests, interfaces)
SELECT {LAST_NUMBER}, ARRAY[$1::text], ARRAY[$2::text], ARRAY[$3::text]
WHERE EXISTS (SELECT FROM "_changes" WHERE tx = pg_current_xact_id()) RETURNING tx::text"""


async def note_commit(connection: Connection, unit: Unit) -> str | None:
    """Notes who asked for the changes of the running transaction; its mark, None when nothing was logged."""
    mark: str | None = await connection.fetchval(_NOTE_COMMIT, unit.actor, unit.request, unit.interface)
    return mark


async def perform(connection: Connection, index: int, write: Write) -> Stored:
    """Makes write number `index` of its unit. Raises Refused; the transaction must then be given up."""
    if write.along is not None:
        return await _perform_along(connection, index, write)
    try:
        await _check_needs(connection, index, write)
        if write.seen:
            await _check_seen(connection, index, write)
        match write.action:
            case "create":
                stored = await _create(connection, index, write)
            case "update":
                stored = await _update(connection, index, write)
            case "delete":
                stored = await _delete(connection, index, write)
    except CONSTRAINTS as error:
        raise refusal(error, index, write) from error
    if write.check_after is not None and not await _holds(connection, write.schema, stored.key, write.check_after):
        raise Refused(index, "after")
    if write.returning is not None and write.action != "delete" and not is_plain(write.returning):
        return await _returning(connection, stored, write.returning)
    return stored


async def _perform_along(connection: Connection, index: int, write: Write) -> Stored:
    """Makes a write that takes other records along."""
    asking = go_along(index, write, _dialect, locks=True)
    answer: Any = None
    try:
        while True:
            asked = asking.send(answer)
            if isinstance(asked, Write):
                answer = await perform(connection, index, asked)
            else:
                answer = await connection.fetch(asked.text, *asked.parameters)
    except StopIteration as done:
        stored: Stored = done.value
        return stored
    except CONSTRAINTS as error:
        raise refusal(error, index, write) from error


async def _create(connection: Connection, index: int, write: Write) -> Stored:
    schema, values, key = write.schema, dict(write.values), write.key
    if key is None and not schema.is_numbered:
        key = uuid7()
    if key is not None:
        values[schema.key] = key
    bound, marks = _bind(index, schema, values)
    columns = f"({', '.join(map(quote, values))}) VALUES ({', '.join(marks)})" if values else "DEFAULT VALUES"
    text = f"INSERT INTO {quote(schema.table)} AS t {columns} RETURNING {_columns(write)}"
    row = await connection.fetchrow(text, *bound)
    if row is None:
        raise Refused(index, "check", (), "a trigger of the database has left it out")
    if key is not None and schema.is_numbered:
        await _pass_by(connection, schema, key)
    return _outcome(schema, row)


async def _pass_by(connection: Connection, schema: ResourceSchema, key: Key) -> None:
    """Later numbers are above a key that was given."""
    name = f"pg_get_serial_sequence({literal(quote(schema.table))}, {literal(schema.key)})::regclass"
    text = f"SELECT setval(s, $1::bigint) FROM (SELECT {name} AS s) AS q"
    text += " WHERE $1::bigint > coalesce(pg_sequence_last_value(s), 0)"
    await connection.execute(text, int(key))


async def _update(connection: Connection, index: int, write: Write) -> Stored:
    schema = write.schema
    bound, marks = _bind(index, schema, write.values)
    sets = [f"{quote(name)} = {mark}" for name, mark in zip(write.values, marks, strict=True)]
    if any(not schema.fields[name].quiet for name in write.values):
        sets += ['"updated_at" = now()', '"version" = t."version" + 1']
    text = f"UPDATE {quote(schema.table)} AS t SET {', '.join(sets) or 'version = t.version'}"
    return await _write_where(connection, index, write, text, bound)


async def _delete(connection: Connection, index: int, write: Write) -> Stored:
    return await _write_where(connection, index, write, f"DELETE FROM {quote(write.schema.table)} AS t", [])


async def _write_where(connection: Connection, index: int, write: Write, text: str, bound: list[Any]) -> Stored:
    text += f"{_where(write, bound)} RETURNING {_columns(write)}"
    for _ in range(_MOST_TRIES):
        row = await connection.fetchrow(text, *bound)
        if row is not None:
            return _outcome(write.schema, row)
        miss = await _found_miss(connection, index, write)
        if miss is not None:
            raise miss
    raise Refused(index, "version", (), "it changes all the time")


def _where(write: Write, bound: list[Any]) -> str:
    """The WHERE of an update or delete, its parameters appended to `bound`."""
    schema = write.schema
    bound.append(_stored(schema, _key(write)))
    text = f" WHERE t.{quote(schema.key)} = {_dialect.parameter(len(bound), schema.key_field.type)}"
    if write.expect is not None:
        bound.append(write.expect)
        text += f' AND t."version" = ${len(bound)}::bigint'
    for filter in _conditions(write):
        statement = condition(filter, _dialect, "t", len(bound) + 1)
        text += f" AND ({statement.text})"
        bound += statement.parameters
    return text


def _bind(index: int, schema: ResourceSchema, values: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """What the driver takes for values, and their parameters. Raises Refused for what no column holds."""
    bound, marks = [], []
    for name, value in values.items():
        field = schema.fields[name]
        bound.append(encoded(index, field, value))
        marks.append(_dialect.parameter(len(bound), field.type))
    return bound, marks


def encoded(index: int, field: FieldSpec, value: Any) -> Any:
    """What the driver takes for a field's value. Raises Refused for one that no column holds."""
    try:
        return _dialect.store(field.type, list(value) if isinstance(value, tuple) else value)
    except (ValueError, ArithmeticError) as error:
        raise Refused(index, "check", (field.name,), str(error)) from error


async def _check_needs(connection: Connection, index: int, write: Write) -> None:
    for need in write.needs:
        if not await _is_there(connection, need):
            if write.action != "create" and (miss := await _found_miss(connection, index, write)):
                raise miss
            raise Refused(index, "need", (need.field,))


async def _check_seen(connection: Connection, index: int, write: Write) -> None:
    lock = " FOR UPDATE OF t" if write.action == "delete" else " FOR NO KEY UPDATE OF t"  # as the write itself does
    await _holds(connection, write.schema, _key(write), EVERYTHING, lock)
    if changed := await _differing(connection, write.schema, _key(write), write.seen):
        raise await _found_miss(connection, index, write) or Refused(index, "version", changed)


async def _is_there(connection: Connection, need: Need) -> bool:
    """Whether the needed record is there; it then stays as it is until the commit."""
    schema = need.selection.schema
    is_there = await _holds(connection, schema, need.key, need.selection.filter, " FOR SHARE OF t")
    return is_there and not await _differing(connection, schema, need.key, need.seen)


async def _differing(
    connection: Connection, schema: ResourceSchema, key: Key, seen: Mapping[str, Any]
) -> tuple[str, ...]:
    """The fields of a record, which is locked, that are not as they were seen."""
    if not seen:
        return ()
    shown = Selection(schema, EVERYTHING, Mask(tuple(seen)))
    return differing(seen, (await _returning(connection, Stored(key, 0), shown)).json)


async def _holds(connection: Connection, schema: ResourceSchema, key: Key, filter: Filter, lock: str = "") -> bool:
    statement = condition(filter, _dialect, "t", 2)
    own = f"t.{quote(schema.key)} = {_dialect.parameter(1, schema.key_field.type)}"
    text = f"SELECT 1 FROM {quote(schema.table)} AS t WHERE {own} AND ({statement.text}){lock}"
    found = await connection.fetchval(text, _stored(schema, key), *statement.parameters)
    return found is not None


async def _found_miss(connection: Connection, index: int, write: Write) -> Refused | None:
    """Which condition does not hold for the stored record; the rule first, so that it hides the rest."""
    schema, key = write.schema, _key(write)
    if not await _holds(connection, schema, key, EVERYTHING):
        return Refused(index, "missing")
    if write.where is not None and not await _holds(connection, schema, key, write.where):
        return Refused(index, "where")
    for guard in write.guards:
        if not await _holds(connection, schema, key, guard.filter):
            return Refused(index, "guard", guard.fields)
    parameter = _dialect.parameter(1, schema.key_field.type)
    text = f'SELECT "version" FROM {quote(schema.table)} WHERE {quote(schema.key)} = {parameter}'
    version = await connection.fetchval(text, _stored(schema, key))
    return Refused(index, "version", (), f"it is {version}") if write.expect not in (None, version) else None


async def _returning(connection: Connection, stored: Stored, selection: Selection) -> Stored:
    rows = await fetch(connection, select(Plan(selection=selection, keys=(stored.key,)), _dialect))
    return Stored(stored.key, stored.version, rows[0][2] if rows else None)


def _columns(write: Write) -> str:
    schema, json = write.schema, "NULL::text"
    if write.returning is not None and is_plain(write.returning):
        json = record_json(schema, write.returning.mask.always, "t", _dialect)
    return f't.{quote(schema.key)}, t."version", {json}'


def _conditions(write: Write) -> Sequence[Filter]:
    guards = [guard.filter for guard in write.guards]
    return guards if write.where is None else [write.where, *guards]


def is_plain(selection: Selection) -> bool:
    """Whether RETURNING can give what a selection shows: it holds every record and hides no field of some."""
    return selection.filter == EVERYTHING and not selection.mask.sometimes


def _key(write: Write) -> Key:
    if write.key is None:
        raise ValueError(f"a write that does {write.action} needs a key")
    return write.key


def _stored(schema: ResourceSchema, key: Key) -> Any:
    return _dialect.store(schema.key_field.type, key)


def _outcome(schema: ResourceSchema, row: Any) -> Stored:
    return Stored(_dialect.load(schema.key_field.type, row[0]), row[1], row[2])
