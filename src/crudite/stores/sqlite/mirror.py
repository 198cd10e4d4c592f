"""A SQLite store that mirrors records whose truth is elsewhere: it takes over what was found there, and tries units.

What was found elsewhere is written as another program would write it, with foreign keys off: the order in which
records are found is nobody's. The triggers log it, so subscribers hear of it.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import apsw
import msgspec

from crudite.changes import Unit
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.sql import quote
from crudite.query.tree import EVERYTHING
from crudite.schema import DELETED_AT, ResourceSchema
from crudite.stores.sqlite.connections import Execute
from crudite.stores.sqlite.ddl import unique_groups
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.reads import read_page
from crudite.stores.sqlite.statements import Clock, Performer
from crudite.stores.sqlite.store import SqliteStore
from crudite.types import Key, PlainRecord

Place: TypeAlias = tuple[ResourceSchema, Key]
Images: TypeAlias = tuple[PlainRecord | None, PlainRecord | None]

_dialect = SqliteDialect()


class Mirror(SqliteStore):
    """A mirror of records that are kept elsewhere."""

    _silent = 0

    async def take_over(
        self, found: Mapping[Place, PlainRecord | None]
    ) -> tuple[Sequence[Place], Sequence[tuple[Place, str]]]:
        """Makes records what was found of them, None for those that are gone: all fields but those that the store
        itself sets.

        Nothing is done when records that were not looked for stand in the way, by a value that must be unique: these
        are the first value. The second are those that cannot be kept, with the reason.
        """
        return await self._open_session().writer.run(lambda connection: _take_over(connection, found))

    async def attempt(self, unit: Unit, places: Sequence[Place]) -> tuple[Sequence[Key], Mapping[Place, Images]]:
        """What a unit would do: the keys of what it writes, and what it and these places would be before and after it,
        with secret fields. Raises Refused as `write` does; in any case nothing changes."""

        def work(connection: apsw.Connection) -> tuple[Sequence[Key], Mapping[Place, Images]]:
            self._silent += 1
            return _attempt(connection, unit, places)

        return await self._open_session().writer.run(work)

    def _has_committed(self) -> None:
        if self._silent:  # an attempt has been answered, which is no commit
            self._silent -= 1
        else:
            super()._has_committed()


def _attempt(
    connection: apsw.Connection, unit: Unit, places: Sequence[Place]
) -> tuple[Sequence[Key], Mapping[Place, Images]]:
    execute: Execute = connection.cursor().execute
    performer = Performer(execute, Clock(0))
    connection.execute("BEGIN IMMEDIATE")
    try:
        known = dict.fromkeys(places)
        known.update(dict.fromkeys([(write.schema, write.key) for write in unit.writes if write.key is not None]))
        before = {place: _stored(execute, place) for place in known}
        keys = [performer.perform(index, write).key for index, write in enumerate(unit.writes)]
        made = [(write.schema, key) for write, key in zip(unit.writes, keys, strict=True)]
        return keys, {place: (before.get(place), _stored(execute, place)) for place in dict.fromkeys((*known, *made))}
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _take_over(
    connection: apsw.Connection, found: Mapping[Place, PlainRecord | None]
) -> tuple[Sequence[Place], Sequence[tuple[Place, str]]]:
    execute: Execute = connection.cursor().execute
    execute("PRAGMA foreign_keys = OFF").fetchall()
    try:
        connection.execute("BEGIN IMMEDIATE")
        for (schema, key), record in found.items():
            if record is None:
                bound = (_dialect.store(schema.key_field.type, key),)
                execute(f"DELETE FROM {quote(schema.table)} WHERE {quote(schema.key)} = ?", bound).fetchall()
        there = {place: record for place, record in found.items() if record is not None}
        in_the_way = [other for place, record in there.items() for other in _collisions(execute, place, record)]
        unknown = [place for place in dict.fromkeys(in_the_way) if place not in found]
        if unknown:
            return unknown, ()
        unfit = _put_all(execute, there)
        connection.execute("COMMIT")
        return (), unfit
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        execute("PRAGMA foreign_keys = ON").fetchall()


def _put_all(execute: Execute, found: Mapping[Place, PlainRecord]) -> list[tuple[Place, str]]:
    unfit: list[tuple[Place, str]] = []
    done: set[Place] = set()
    for place, record in found.items():
        if any(other in done for other in _collisions(execute, place, record)):
            unfit.append((place, "another record has a value that must be unique"))
            continue
        try:  # what is in the way is made anew in its turn
            _put(execute, place, record)
            done.add(place)
        except apsw.ConstraintError as error:
            unfit.append((place, str(error)))
    return unfit


def _put(execute: Execute, place: Place, record: PlainRecord) -> None:
    schema, key = place
    table, key_name = quote(schema.table), quote(schema.key)
    names = [name for name in record if name != schema.key]
    bound = [_dialect.store(schema.fields[name].type, record[name]) for name in names]
    bound.append(_dialect.store(schema.key_field.type, key))
    if execute(f"SELECT 1 FROM {table} WHERE {key_name} = ?", bound[-1:]).fetchall():
        values = ", ".join(f"{quote(name)} = ?" for name in names)
        execute(f"UPDATE OR REPLACE {table} SET {values} WHERE {key_name} = ?", bound).fetchall()
    else:
        columns, marks = ", ".join(map(quote, (*names, schema.key))), ", ".join("?" * len(bound))
        execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", bound).fetchall()


def _collisions(execute: Execute, place: Place, record: PlainRecord) -> list[Place]:
    """The other records that have a value of this one that must be unique."""
    schema, key = place
    found: list[Place] = []
    if schema.is_soft and record[DELETED_AT] is not None:  # whoever is not there holds nothing
        return found
    there = f" AND {quote(DELETED_AT)} IS NULL" if schema.is_soft else ""
    for group in unique_groups(schema)[1:]:
        if group not in schema.alike and any(record[name] is None for name in group):
            continue
        names = (*group, schema.key)
        bound = [_dialect.store(schema.fields[name].type, {**record, schema.key: key}[name]) for name in names]
        condition = " AND ".join(f"{quote(name)} IS ?" for name in group) + there
        text = f"SELECT {quote(schema.key)} FROM {quote(schema.table)} WHERE {condition} AND {quote(schema.key)} <> ?"
        found += [(schema, _dialect.load(schema.key_field.type, row[0])) for row in execute(text, bound).fetchall()]
    return found


def _stored(execute: Execute, place: Place) -> PlainRecord | None:
    schema, key = place
    plan = Plan(selection=Selection(schema, EVERYTHING, Mask(tuple(schema.fields))), keys=(key,))
    records = read_page(execute, plan).records
    record: PlainRecord | None = msgspec.json.decode(records[0]) if records else None
    return record
