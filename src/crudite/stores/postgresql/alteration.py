"""The way of one table from what it was to a schema."""

from collections.abc import Collection, Mapping, Sequence

from crudite.query.sql import quote
from crudite.schema import DELETED_AT, NO_DEFAULT, FieldSpec, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.postgresql import install
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.conversion import convert
from crudite.stores.postgresql.ddl import (
    NULLS_ALIKE,
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
    OldTable,
    cannot_become,
    columns_of,
    count_lost,
    count_repeated,
    indexed,
    let_deleted_go,
    needs_default,
    occurs_repeatedly,
    old_name,
    shows_deleted,
    tell_indexes,
    those_there,
)

_GIVEN = """SELECT a.attname, a.attnotnull, a.atthasdef OR a.attidentity <> '' AS has_default FROM pg_attribute AS a
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped"""


class MadeTable(OldTable, frozen=True, kw_only=True):
    """A table as it was made, and the statements that made it."""

    statement: str
    indexes: dict[str, str]
    references: dict[str, str]


class Alteration:
    """Finds out what it takes to make one table another one, asking the data what would be lost."""

    def __init__(self, connection: Connection, schema: ResourceSchema, source: str, was: MadeTable) -> None:
        self._connection = connection
        self._schema = schema
        self._source = source
        self._was = was
        self._old: dict[str, OldField] = {}
        self._left: list[str] = []
        self._loosened: list[str] = []
        self._kept: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._done: list[str] = []
        self._loses: dict[str, int] = {}
        self._values: dict[str, str] = {}
        self._conversions: dict[str, str] = {}

    @property
    def left(self) -> dict[str, OldField]:
        """The columns that nobody declares, as they are if they stay; known when the steps are."""
        return {name: self._old[name] for name in self._left}

    def made(self, references: dict[str, str], left: Mapping[str, OldField]) -> MadeTable:
        """The table as it is made when the steps are taken, with what is left in it."""
        statement, was = create_table(self._schema), _lines(self._was.statement)
        same = tuple(f"{quote(name)} " for name in left if name not in self._loosened)
        kept = sorted(line for line in was if line.startswith(same))
        indexes = {**create_indexes(self._schema), **(self._kept if left else {})}
        return MadeTable(
            self._schema.name, columns_of(self._schema, self._was, left), list(left),
            statement="\n".join((statement, *kept)), indexes=indexes, references=references,
            soft=self._schema.is_soft,
        )  # fmt: skip

    async def steps(self, *, removing: bool) -> list[Step]:
        """The steps for the table, instead of them those that stand in the way; and what takes away what is left, if
        that may be done."""
        schema, was = self._schema, self._was
        given = {row[0]: row for row in await self._connection.fetch(_GIVEN, quote(self._source))}
        self._old = {name: was.fields.get(name, OldField("text")) for name in given}
        found = {field.name: old_name(field, schema, self._old) for field in schema.fields.values()}
        self._sources = {name: source for name, source in found.items() if source is not None}
        self._left = [name for name in given if name not in self._sources.values()]
        self._loosened = [name for name in self._left if given[name]["attnotnull"] and not given[name]["has_default"]]
        indexes = await install.indexes(self._connection, self._source)
        wanted = create_indexes(schema)
        made = {name: text for name, text in was.indexes.items() if name in indexes}
        null = [name for name in self._left if not given[name]["has_default"]]
        self._kept = self._in_nobodys_way({name: text for name, text in made.items() if name not in wanted}, null)
        outdated = {name: text for name, text in made.items() if wanted.get(name) != text and name not in self._kept}
        new = {name: text for name, text in wanted.items() if made.get(name) != text}
        same_table = (
            self._source == schema.table
            and all(self._sources.get(name) == name for name in schema.fields)
            and {column.definition for column in columns(schema)} <= _lines(was.statement)
            and not self._loosened
        )
        steps = []
        if shows_deleted(schema, was) and (deleted := await self._count(f"{quote(DELETED_AT)} IS NOT NULL")):
            steps.append(let_deleted_go(schema, self._source, deleted))
        if not same_table or outdated or new:
            steps += await self._change(same_table, outdated, new)
        if self._left and removing:
            steps.append(await self._remove())
        return steps

    async def _change(self, same_table: bool, outdated: Mapping[str, str], new: Mapping[str, str]) -> list[Step]:
        schema = self._schema
        blocked = [*await self._map_fields(), *await self._duplicates()]
        if blocked:
            return [Step(f"{schema.table}: {reason}", ()) for reason in blocked]
        dropped = [f"DROP INDEX {quote(name)}" for name in outdated]
        if same_table:
            return [Step(f"{schema.table}: {tell_indexes(outdated, new)}", (*dropped, *new.values()))]
        sql = [*dropped, *await self._alter(), *new.values()]
        if self._source != schema.table:
            self._done.insert(0, f"rename the table from {self._source}")
        self._done += [f"let go of {name}, which is not declared" for name in self._loosened]
        what = "; ".join(self._done) or "renew its checks and defaults"
        return [Step(f"{schema.table}: {what}", tuple(sql), count_lost(self._loses))]

    async def _remove(self) -> Step:
        table = self._schema.table
        counts = {name: await self._count(f"{quote(name)} IS NOT NULL") for name in self._left}
        sql = tuple(f"ALTER TABLE {quote(table)} DROP COLUMN {quote(name)}" for name in self._left)
        return Step(f"{table}: remove {', '.join(self._left)}", sql, count_lost(counts), may_stay=True)

    def _in_nobodys_way(self, indexes: Mapping[str, str], null: Sequence[str]) -> dict[str, str]:
        """Those indexes that stand on what is left alone, and let rows be written without it: which is `null` then."""
        found = {}
        for name, text in indexes.items():
            is_unique, on = indexed(text)
            stands = bool(on) and set(on) <= set(self._left)
            lets_in = not is_unique or not (NULLS_ALIKE in text or set(on).isdisjoint(null))
            if stands and lets_in:
                found[name] = text
        return found

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
        loose = [name for name in self._old if name in kept and name not in settled]
        before = [f"DROP CONSTRAINT {quote(name)}" for name in loose if name in present]
        nullable = [source for name, source in self._sources.items() if schema.fields[name].nullable]
        before += [f"ALTER {quote(name)} DROP NOT NULL" for name in (*self._loosened, *nullable) if name not in settled]
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
        made = _lines(self._was.statement)
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
        return self._was_numbered(name) and not self._schema.is_numbered

    def _column(self, column: Column) -> list[str]:
        name = quote(column.name)
        if column.name not in self._sources:
            return [f"ADD COLUMN {column.definition}"]
        parts = []
        if not column.nullable and column.name != self._schema.key:
            parts.append(f"ALTER {name} SET NOT NULL")
        if column.default:
            parts.append(f"ALTER {name} SET DEFAULT ({column.default})")
        if column.check:
            parts.append(f"ADD CONSTRAINT {name} CHECK ({column.check})")
        return parts

    async def _map_fields(self) -> list[str]:
        """Decides what each new column is filled with; returns what stands in the way."""
        blocked = []
        for field in self._schema.fields.values():
            old = self._sources.get(field.name)
            reason = await (self._added(field) if old is None else self._converted(field, old))
            if reason:
                blocked.append(reason)
        return blocked

    async def _added(self, field: FieldSpec) -> str:
        self._done.append(f"add {field.name}")
        system = (self._schema.key, "version", "created_at", "updated_at")
        if field.default is NO_DEFAULT:
            lacking = 0 if field.nullable or field.name in system else await self._count("TRUE")
            return needs_default(field, lacking) if lacking else ""
        self._values[field.name] = stored_default(field)
        return ""

    async def _converted(self, field: FieldSpec, name: str) -> str:
        column, old = quote(name), self._old[name]
        if name != field.name:
            self._done.append(f"rename {name} to {field.name}")
        value = column
        conversion = convert(column, old.type, field.type)
        misfits = await self._count(conversion.misfits(column))
        if not old.holds(field):
            self._done.append(f"make {field.name} {field.type.described}")
            value = f"CASE WHEN {conversion.fits} THEN {conversion.value} END"
            if misfits:
                self._loses[name] = misfits
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
        among = those_there(self._schema, self._was)
        for group in unique_groups(self._schema).values():
            if group == (self._schema.key,):
                continue
            values = [self._values.get(name, "NULL") for name in group]
            alike = group in self._schema.alike
            if "NULL" in values and not alike:
                continue
            count: int = await self._connection.fetchval(count_repeated(self._source, values, among, alike=alike))
            if count:
                found.append(occurs_repeatedly(group, count))
        return found

    async def _count(self, condition: str) -> int:
        text = f"SELECT count(*) FROM {quote(self._source)} WHERE {condition}"
        count: int = await self._connection.fetchval(text)
        return count


def _lines(statement: str) -> set[str]:
    """What the lines of a statement define."""
    return {line.strip().removesuffix(",") for line in statement.splitlines()}
