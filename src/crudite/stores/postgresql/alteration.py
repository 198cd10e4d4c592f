"""The way of one table from what it was to a schema."""

from collections.abc import Collection, Sequence

import msgspec

from crudite.query.sql import quote
from crudite.schema import NO_DEFAULT, FieldSpec, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.postgresql import install
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.conversion import convert
from crudite.stores.postgresql.ddl import (
    Column,
    column_type,
    columns,
    create_indexes,
    create_table,
    key_name,
    stored_default,
    unique_groups,
)
from crudite.stores.steps import (
    OldField,
    cannot_become,
    count_repeated,
    needs_default,
    occurs_repeatedly,
    old_name,
)


class OldTable(msgspec.Struct, frozen=True):
    """A table as it was made, and the statements that made it."""

    resource: str
    fields: dict[str, OldField]
    statement: str
    indexes: dict[str, str]
    references: dict[str, str]


class Alteration:
    """Finds out what it takes to make one table another one, asking the data what would be lost."""

    def __init__(self, connection: Connection, schema: ResourceSchema, source: str, was: OldTable) -> None:
        self._connection = connection
        self._schema = schema
        self._source = source
        self._was = was
        self._old: dict[str, OldField] = {}
        self._rows = 0
        self._sources: dict[str, str] = {}
        self._done: list[str] = []
        self._loses: list[str] = []
        self._values: dict[str, str] = {}
        self._conversions: dict[str, str] = {}

    async def steps(self) -> list[Step]:
        """The steps for the table; instead of them, those that stand in the way."""
        schema, was = self._schema, self._was
        there = await install.columns(self._connection, self._source)
        indexes = await install.indexes(self._connection, self._source)
        wanted = create_indexes(schema)
        same_table = (
            was.statement == create_table(schema) and self._source == schema.table and set(there) == set(schema.fields)
        )
        made = {name: text for name, text in was.indexes.items() if name in indexes}
        outdated = [name for name, text in made.items() if wanted.get(name) != text]
        new = [text for name, text in wanted.items() if made.get(name) != text]
        if same_table and not outdated and not new:
            return []
        self._old = {name: was.fields.get(name, OldField("text")) for name in there}
        self._rows = await self._count("TRUE")
        blocked = [*await self._map_fields(), *await self._duplicates()]
        if blocked:
            return [Step(f"{schema.table}: {reason}", ()) for reason in blocked]
        dropped = [f"DROP INDEX {quote(name)}" for name in outdated]
        if same_table:
            what = f"renew {len(outdated) + len(new)} indexes"
            return [Step(f"{schema.table}: {what}", (*dropped, *new))]
        sql = [*dropped, *await self._alter(), *new]
        if self._source != schema.table:
            self._done.insert(0, f"rename the table from {self._source}")
        what = "; ".join(self._done) or "renew its checks and defaults"
        return [Step(f"{schema.table}: {what}", tuple(sql), ", ".join(self._loses))]

    async def _alter(self) -> list[str]:
        """The statements that change the table, between taking its checks away and giving them back."""
        schema, was_table = self._schema, self._source
        table = quote(schema.table)
        present = await install.constraints(self._connection, was_table)
        settled = self._settled(present)
        sql: list[str] = []
        if was_table != schema.table:
            sql.append(f"ALTER TABLE {quote(was_table)} RENAME TO {table}")
            old_key, new_key = quote(key_name(was_table)), quote(key_name(schema.table))
            sql.append(f"ALTER TABLE {table} RENAME CONSTRAINT {old_key} TO {new_key}")
        kept = set(self._sources.values())
        before = [f"DROP CONSTRAINT {quote(name)}" for name in self._old if name in present and name not in settled]
        before += [f"DROP COLUMN {quote(name)}" for name in self._old if name not in kept]
        loose = [name for name in self._old if name in kept and name not in settled]
        before += [f"ALTER {quote(name)} DROP DEFAULT" for name in loose if not self._was_numbered(name)]
        before += [f"ALTER {quote(name)} DROP IDENTITY" for name in loose if self._loses_number(name)]
        sql += [f"ALTER TABLE {table} {part}" for part in (*before, *self._conversions.values())]
        for name, source in self._sources.items():
            if name != source:
                sql.append(f"ALTER TABLE {table} RENAME COLUMN {quote(source)} TO {quote(name)}")
        for column in columns(schema):
            if column.name not in settled:
                sql += [f"ALTER TABLE {table} {part}" for part in self._column(column)]
        return sql

    def _settled(self, present: Collection[str]) -> set[str]:
        """The columns that are as they are wanted: touching them would read the whole table for nothing."""
        made = {line.strip().removesuffix(",") for line in self._was.statement.splitlines()}
        return {
            column.name
            for column in columns(self._schema)
            if self._sources.get(column.name) == column.name
            and column.name not in self._conversions
            and column.definition in made
            and (not column.check or column.name in present)
        }

    def _was_numbered(self, name: str) -> bool:
        return name == self._schema.key and self._old[name].kind in ("integer", "bigint")

    def _loses_number(self, name: str) -> bool:
        is_numbered = self._schema.key_field.type.kind in ("integer", "bigint")
        return self._was_numbered(name) and not is_numbered

    def _column(self, column: Column) -> list[str]:
        name = quote(column.name)
        if column.name not in self._sources:
            return [f"ADD COLUMN {column.definition}"]
        parts = []
        if column.name != self._schema.key:
            parts.append(f"ALTER {name} {'DROP' if column.nullable else 'SET'} NOT NULL")
        if column.default:
            parts.append(f"ALTER {name} SET DEFAULT ({column.default})")
        if column.check:
            parts.append(f"ADD CONSTRAINT {name} CHECK ({column.check})")
        return parts

    async def _map_fields(self) -> list[str]:
        """Decides what each new column is filled with; returns what stands in the way."""
        blocked = []
        for field in self._schema.fields.values():
            old = old_name(field, self._schema, self._old)
            if old is not None:
                self._sources[field.name] = old
            reason = self._added(field) if old is None else await self._converted(field, old)
            if reason:
                blocked.append(reason)
        for name in self._old:
            if name not in self._sources.values():
                self._done.append(f"remove {name}")
                self._lose(await self._count(f"{quote(name)} IS NOT NULL"), f"values of {name}")
        return blocked

    def _added(self, field: FieldSpec) -> str:
        self._done.append(f"add {field.name}")
        system = (self._schema.key, "version", "created_at", "updated_at")
        if field.default is NO_DEFAULT:
            lacks = not field.nullable and field.name not in system and self._rows
            return needs_default(field, self._rows) if lacks else ""
        self._values[field.name] = stored_default(field)
        return ""

    async def _converted(self, field: FieldSpec, name: str) -> str:
        column, old = quote(name), self._old[name]
        if name != field.name:
            self._done.append(f"rename {name} to {field.name}")
        value = column
        conversion = convert(column, old.type, field.type)
        misfits = await self._count(conversion.misfits(column))
        if old != OldField.of(field):
            self._done.append(f"make {field.name} {field.type.described}")
            value = f"CASE WHEN {conversion.fits} THEN {conversion.value} END"
            self._lose(misfits, f"values of {name}")
        if not field.nullable:
            nulls = await self._count(f"{column} IS NULL")
            if misfits and field.default is NO_DEFAULT:
                return cannot_become(field, name, misfits)
            if nulls and field.default is NO_DEFAULT:
                return needs_default(field, nulls)
            if nulls or misfits:
                value = f"coalesce({value}, {stored_default(field)})"
        if value != column:
            self._conversions[name] = f"ALTER {column} TYPE {column_type(field.type)} USING {value}"
        self._values[field.name] = value
        return ""

    async def _duplicates(self) -> Sequence[str]:
        """What stands in the way of the unique indexes."""
        found = []
        for group in unique_groups(self._schema).values():
            if group == (self._schema.key,):
                continue
            values = [self._values.get(name, "NULL") for name in group]
            if "NULL" in values:
                continue
            count: int = await self._connection.fetchval(count_repeated(self._source, values))
            if count:
                found.append(occurs_repeatedly(group, count))
        return found

    async def _count(self, condition: str) -> int:
        text = f"SELECT count(*) FROM {quote(self._source)} WHERE {condition}"
        count: int = await self._connection.fetchval(text)
        return count

    def _lose(self, count: int, what: str) -> None:
        if count:
            self._loses.append(f"{count} {what}")
