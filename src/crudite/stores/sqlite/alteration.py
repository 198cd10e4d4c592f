"""The way of one table from what it was to a schema, and of one that nobody declares any more.

A table that differs is made anew, filled and renamed, as SQLite's documentation advises (lang_altertable.html, section
7): one way for every change.
"""

from collections.abc import Collection, Iterator, Mapping

import apsw

from crudite.query.sql import quote
from crudite.schema import DELETED_AT, NO_DEFAULT, Catalog, FieldSpec, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.sqlite import install
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.conversion import convert
from crudite.stores.sqlite.ddl import create_indexes, define_columns, stored_default, table_options
from crudite.stores.sqlite.search import tables_of_search
from crudite.stores.sqlite.tables import Column, read_table, remake
from crudite.stores.steps import (
    OldField,
    OldTable,
    cannot_become,
    count_lost,
    count_records,
    count_repeated,
    let_deleted_go,
    needs_default,
    occurs_repeatedly,
    old_name,
    shows_deleted,
    tell_indexes,
    those_there,
)


class Alteration:
    """Finds out what it takes to make one table another one, asking the data what would be lost."""

    def __init__(
        self, connection: apsw.Connection, schema: ResourceSchema, catalog: Catalog, source: str, was: OldTable,
        statement: str,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._schema = schema
        self._source = source
        self._was = was
        self._table = read_table(connection, source, statement)
        self._wanted = define_columns(schema, dict(catalog))
        self._old = {name: was.fields.get(name, OldField("text")) for name in self._table.columns}
        self._sources = {field.name: old_name(field, schema, self._old) for field in schema.fields.values()}
        self._indexes = install.indexes(connection, source)
        used = set(self._sources.values())
        self._left = {name: column.loosened() for name, column in self._table.columns.items() if name not in used}
        self._done: list[str] = []
        self._loses: dict[str, int] = {}
        self._values: dict[str, str] = {}

    @property
    def left(self) -> dict[str, OldField]:
        """The columns that nobody declares, as they are if they stay."""
        unique = {names[0] for index in self._kept() if len(names := self._indexed(index)) == 1 and self._unique(index)}
        return {
            name: OldField(old.kind, old.places, old.choices, old.secret, old.quiet, name in unique)
            for name, old in self._old.items()
            if name in self._left
        }

    def steps(self, *, removing: bool) -> Iterator[Step]:
        """The steps for the table, instead of them those that stand in the way; and what takes away what is left, if
        that may be done, or must."""
        if shows_deleted(self._schema, self._was) and (deleted := self._count(f"{quote(DELETED_AT)} IS NOT NULL")):
            yield let_deleted_go(self._schema, self._source, deleted)
        is_same = self._source == self._schema.table and self._is_same()
        wanted = create_indexes(self._schema)
        new = {name: text for name, text in wanted.items() if self._indexes.get(name) != text}
        dropped = {name: text for name, text in self._indexes.items() if name not in self._kept()}
        dropped = {name: text for name, text in dropped.items() if wanted.get(name) != text}
        if not is_same or new or dropped:
            blocked = [*self._map_fields(), *self._duplicates()]
            if blocked:
                yield from (Step(f"{self._schema.table}: {reason}", ()) for reason in blocked)
            elif is_same:
                sql = (*[f"DROP INDEX {quote(name)}" for name in dropped], *new.values())
                yield Step(f"{self._schema.table}: {tell_indexes(dropped, new)}", sql)
            else:
                yield self._rebuild()
        must_go = any(not column.may_be_left_out for column in self._left.values())
        if self._left and (removing or must_go):
            yield self._remove(may_stay=not must_go)

    def _is_same(self) -> bool:
        """Whether the table keeps values as the schema does; a column's definition has no scale of decimals."""
        there, fields = self._table.columns, self._schema.fields
        return (
            not self._table.constraints
            and self._table.options == table_options(self._schema)
            and all(name in there and there[name].text == text for name, text in self._wanted.items())
            and all(there[name] == column for name, column in self._left.items())
            and all(field.type.places == self._old[name].places for name, field in fields.items())
        )

    def _kept(self) -> dict[str, str]:
        """The indexes that stay beside ours: other programs', and those of what is left that are in nobody's way."""
        return {name: text for name, text in self._indexes.items() if self._stays(name)}

    def _stays(self, index: str) -> bool:
        names, table = self._indexed(index), self._source
        if not index.startswith((f"{table} unique ", f"{table} by ")):
            return True
        left = [self._left[name] for name in names if name in self._left]
        return len(left) == len(names) and not (
            self._unique(index) and not any(column.is_null_by_default for column in left)
        )

    def _indexed(self, index: str) -> list[str]:
        return [row[2] for row in rows(self._connection, f"PRAGMA index_info({quote(index)})")]

    def _unique(self, index: str) -> bool:
        return self._indexes[index].startswith("CREATE UNIQUE")

    def _rebuild(self) -> Step:
        table, left = self._schema.table, {name: column.text for name, column in self._left.items()}
        same = {name: quote(name) for name, column in self._left.items() if not column.is_computed}
        columns = {**self._wanted, **left}
        if self._source != table:
            self._done.insert(0, f"rename the table from {self._source}")
        changed = [name for name, column in self._left.items() if column != self._table.columns[name]]
        self._done += [f"let go of {name}, which is not declared" for name in changed]
        values = {**self._values, **same}
        sql = remake(self._source, table, columns, table_options(self._schema), values, self._indexes_of(columns))
        what = "; ".join(self._done) or "renew its checks and defaults"
        return Step(f"{table}: {what}", sql, count_lost(self._loses))

    def _remove(self, *, may_stay: bool) -> Step:
        table = self._schema.table
        loses = count_lost({name: self._count(f"{quote(name)} IS NOT NULL") for name in self._left})
        same = {name: quote(name) for name in self._wanted}
        sql = remake(table, table, self._wanted, table_options(self._schema), same, self._indexes_of(self._wanted))
        return Step(f"{table}: remove {', '.join(self._left)}", sql, loses, may_stay=may_stay)

    def _indexes_of(self, columns: Collection[str]) -> list[str]:
        """The statements that make the indexes of the table when it has these columns, others' among them."""
        kept = self._kept() if self._source == self._schema.table else {}
        also = [text for name, text in kept.items() if set(self._indexed(name)) <= set(columns)]
        return [*create_indexes(self._schema).values(), *also]

    def _map_fields(self) -> list[str]:
        """Decides what each new column is filled with; returns what stands in the way."""
        blocked = []
        for field in self._schema.fields.values():
            old = self._sources[field.name]
            reason = self._added(field) if old is None else self._converted(field, old)
            if reason:
                blocked.append(reason)
        return blocked

    def _added(self, field: FieldSpec) -> str:
        self._done.append(f"add {field.name}")
        if field.default is NO_DEFAULT and not field.nullable and self._has_no_default(field):
            records = self._count("TRUE")
            return needs_default(field, records) if records else ""
        if field.default is not NO_DEFAULT:
            self._values[field.name] = stored_default(field)
        return ""

    def _has_no_default(self, field: FieldSpec) -> bool:
        return field.name not in (self._schema.key, "version", "created_at", "updated_at")

    def _converted(self, field: FieldSpec, name: str) -> str:
        column, old = quote(name), self._old[name]
        conversion = convert(column, old.type, field.type)
        if name != field.name:
            self._done.append(f"rename {name} to {field.name}")
        changes = not old.holds(field)
        if changes:
            self._done.append(f"make {field.name} {field.type.described}")
        value = conversion.value
        misfits = self._count(conversion.misfits(column))
        if changes:
            value = f"CASE WHEN {conversion.fits} THEN {conversion.value} END"
            if misfits:
                self._loses[name] = misfits
        if not field.nullable:
            if field.default is not NO_DEFAULT:
                value = f"coalesce({value}, {stored_default(field)})"
            elif misfits:
                return cannot_become(field, name, misfits)
            elif nulls := self._count(f"{column} IS NULL"):
                return needs_default(field, nulls)
        self._values[field.name] = value
        return ""

    def _duplicates(self) -> Iterator[str]:
        """What stands in the way of the unique indexes that are new."""
        among = those_there(self._schema, self._was)
        groups = [(f.name,) for f in self._schema.fields.values() if f.unique and f.name != self._schema.key]
        for group in dict.fromkeys([*groups, *self._schema.unique]):
            values = [self._values.get(name, "NULL") for name in group]
            count = _number(
                self._connection, count_repeated(self._source, values, among, alike=group in self._schema.alike)
            )
            if count:
                yield occurs_repeatedly(group, count)

    def _count(self, condition: str) -> int:
        return _number(self._connection, f"SELECT count(*) FROM {quote(self._source)} WHERE {condition}")


def let_go(connection: apsw.Connection, name: str, statement: str) -> Iterator[Step]:
    """The step that lets a table which nobody declares hold nobody up: the records that it points at can be deleted."""
    table = read_table(connection, name, statement)
    loosened = {column: there._replace(text=_pointless(there)) for column, there in table.columns.items()}
    if loosened != table.columns:
        columns = {column: there.text for column, there in loosened.items()}
        values = {column: quote(column) for column, there in loosened.items() if not there.is_computed}
        beside = "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL"
        after = [row[0] for row in rows(connection, f"{beside} ORDER BY rowid", (name,))]
        sql = remake(name, name, columns, table.options, values, after)
        yield Step(f"{name}: let go of what it points at, since it is not declared", sql)


def remove(connection: apsw.Connection, name: str, was: OldTable, present: Mapping[str, str]) -> Step:
    """The step that takes away a table which nobody declares, and its index of words."""
    tables = [name, *(one for one in tables_of_search(name) if one in present)]
    count = _number(connection, f"SELECT count(*) FROM {quote(name)}")
    sql = tuple(f"DROP TABLE {quote(one)}" for one in tables)
    return Step(f"{name}: remove the table", sql, count_records(was.resource, count), may_stay=True)


def _pointless(column: Column) -> str:
    """How a column is defined that points at nothing."""
    return column._replace(may_be_null=True).loosened().text


def _number(connection: apsw.Connection, text: str) -> int:
    number: int = rows(connection, text)[0][0]
    return number
