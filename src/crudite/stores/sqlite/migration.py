"""The steps from the database's schema to a catalog's, and taking them.

A table whose statement differs is made anew, filled and renamed, as SQLite's documentation advises
(lang_altertable.html, section 7): one way for every change. What a step would lose is counted in the
data that is there: text that happens to hold only dates becomes a date without a loss. An index of words is made
anew when its table is.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import apsw
import msgspec

from crudite.errors import StoreOutdated
from crudite.query.sql import quote
from crudite.schema import NO_DEFAULT, Catalog, FieldSpec, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.sqlite import install
from crudite.stores.sqlite.connections import pragma, rows
from crudite.stores.sqlite.conversion import convert
from crudite.stores.sqlite.ddl import create_indexes, create_table, is_numbered, literal, stored_default
from crudite.stores.sqlite.search import create_search, is_of_search
from crudite.stores.steps import (
    OldField,
    cannot_become,
    count_repeated,
    needs_default,
    occurs_repeatedly,
    old_name,
    refuse,
)


class OldTable(msgspec.Struct, frozen=True):
    """A table as it was made, and a digest of the triggers that were."""

    resource: str
    fields: dict[str, OldField]
    triggers: str = ""


def describe(catalog: Catalog) -> str:
    """What the tables are made from, as JSON to be kept in the file."""
    tables = {schema.table: _describe(schema) for schema in catalog.values()}
    return msgspec.json.encode(tables).decode()


def _describe(schema: ResourceSchema) -> OldTable:
    fields = {field.name: OldField.of(field) for field in schema.fields.values()}
    texts = msgspec.json.encode(sorted(install.wanted_triggers([schema]).values()))
    return OldTable(schema.name, fields, blake2b(texts, digest_size=8).hexdigest())


def is_of(connection: apsw.Connection, catalog: Catalog) -> bool:
    """Whether it was this catalog that the file was brought to last, and not that of another version."""
    return _saved(connection) == describe(catalog)


def plan(connection: apsw.Connection, catalog: Catalog) -> list[Step]:
    """The steps from what is there to the catalog; none when they agree. Only reads."""
    present = install.tables(connection)
    old = _load(connection) if "_schema" in present else {}
    steps: list[Step] = []
    made: list[Step] = []
    used: set[str] = set()
    for schema in catalog.values():
        source = _source(schema, old, present, catalog)
        if source is None:
            made.append(_create(schema, catalog, schema.table in present and schema.table not in used))
            continue
        used.add(source)
        steps += _Table(connection, schema, catalog, source, old[source], present[source]).steps()
    for table in old:
        if table in present and table not in used:
            steps.append(_drop(connection, table, old[table]))
    return steps + made + _search_steps(catalog, present)


def migrate(connection: apsw.Connection, catalog: Catalog, *, lose: bool) -> list[Step]:
    """Takes the steps in one transaction and returns them; the connection must be in none.

    Raises StoreOutdated, having changed nothing, when a step would lose something without `lose`, or
    cannot be taken at all.
    """
    pragma(connection, "foreign_keys = OFF")
    pragma(connection, "legacy_alter_table = ON")
    try:
        connection.execute("BEGIN IMMEDIATE")
        install.create_system_tables(connection)
        steps = plan(connection, catalog)
        refuse([step for step in steps if step.is_blocked or (step.loses and not lose)])
        if steps or not is_of(connection, catalog) or not install.triggers_agree(connection, catalog):
            take(connection, catalog, steps)
        connection.execute("COMMIT")
        return steps
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        pragma(connection, "legacy_alter_table = OFF")
        pragma(connection, "foreign_keys = ON")


def take(connection: apsw.Connection, catalog: Catalog, steps: Sequence[Step]) -> None:
    """Takes the steps, renews the triggers, remembers the catalog; in a transaction without foreign keys."""
    tables = install.tables(connection)
    agreed = install.agree_for(connection, [schema for schema in catalog.values() if schema.table in tables])
    unwatched = install.unwatched(connection, catalog)
    install.drop_triggers(connection)
    dangling = len(rows(connection, "PRAGMA foreign_key_check")) if steps else 0
    for step in steps:
        for text in step.sql:
            connection.execute(text)
    wrong = rows(connection, "PRAGMA foreign_key_check") if steps else []
    if len(wrong) > dangling:
        names = ", ".join(sorted({f"{row[0]} to {row[2]}" for row in wrong}))
        raise StoreOutdated(f"{len(wrong)} references would point at nothing: {names}")
    install.install_triggers(connection, catalog)
    install.fill(connection, [schema for schema in catalog.values() if schema in unwatched or _is_stale(schema, steps)])
    made_anew = any("DROP TABLE" in text for step in steps for text in step.sql)
    if made_anew or not agreed:
        install.end_log(connection, "schema")  # the images have changed, or something that no log tells of
    text = "INSERT INTO _schema (id, description) VALUES (1, ?)"
    connection.execute(f"{text} ON CONFLICT DO UPDATE SET description = excluded.description", (describe(catalog),))


def _load(connection: apsw.Connection) -> dict[str, OldTable]:
    saved = _saved(connection)
    return msgspec.json.decode(saved, type=dict[str, OldTable]) if saved else {}


def _saved(connection: apsw.Connection) -> str:
    found = rows(connection, "SELECT description FROM _schema")
    return found[0][0] if found else ""


def _source(
    schema: ResourceSchema, old: Mapping[str, OldTable], present: Mapping[str, str], catalog: Catalog
) -> str | None:
    """The table that becomes the schema's: of the same name, or of the resource that was renamed."""
    if schema.table in old and schema.table in present:
        return schema.table
    for table, was in old.items():
        if table in present and table not in catalog.by_table and was.resource in (schema.name, schema.renamed_from):
            return table
    return None


def _create(schema: ResourceSchema, catalog: Catalog, taken: bool) -> Step:
    if taken:
        return Step(f"{schema.table}: a table of this name is there that Crudite did not make", ())
    sql = (create_table(schema, dict(catalog)), *create_indexes(schema).values())
    return Step(f"{schema.table}: make the table", sql)


def _drop(connection: apsw.Connection, table: str, was: OldTable) -> Step:
    count = _number(connection, f"SELECT count(*) FROM {quote(table)}")
    loses = f"{count} records of {was.resource}" if count else ""
    return Step(f"{table}: remove the table", (f"DROP TABLE {quote(table)}",), loses)


def _search_steps(catalog: Catalog, present: Mapping[str, str]) -> list[Step]:
    """Takes away the indexes of words that are not as they are wanted, and makes those that are."""
    there = {name: text for name, text in present.items() if is_of_search(name)}
    wanted = {name: text for schema in catalog.values() for name, text in create_search(schema).items()}
    sql = [f"DROP TABLE {quote(name)}" for name, text in there.items() if wanted.get(name) != text]
    sql += [text for name, text in wanted.items() if there.get(name) != text]
    return [Step(f"renew {len(sql)} tables of the words to search", tuple(sql))] if sql else []


def _is_stale(schema: ResourceSchema, steps: Sequence[Step]) -> bool:
    """Whether steps make the index of a resource's words, or the table that it stands beside."""
    taken = [text for step in steps for text in step.sql]
    renamed = f"RENAME TO {quote(schema.table)}"
    return not set(create_search(schema).values()).isdisjoint(taken) or any(text.endswith(renamed) for text in taken)


def _number(connection: apsw.Connection, text: str) -> int:
    number: int = rows(connection, text)[0][0]
    return number


class _Table:
    """The way of one table from what it was to a schema."""

    def __init__(
        self,
        connection: apsw.Connection,
        schema: ResourceSchema,
        catalog: Catalog,
        source: str,
        was: OldTable,
        statement: str,
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._source = source
        self._wanted = create_table(schema, dict(catalog))
        self._statement = statement
        columns = [row[1] for row in rows(connection, f"PRAGMA table_info({quote(source)})")]
        self._old = {name: was.fields.get(name, OldField("text")) for name in columns}
        self._rows = _number(connection, f"SELECT count(*) FROM {quote(source)}")
        self._done: list[str] = []
        self._loses: list[str] = []
        self._values: dict[str, str] = {}

    def steps(self) -> Iterator[Step]:
        """The steps for the table; first those that stand in the way."""
        same_table = self._source == self._schema.table and self._is_same()
        present, wanted = install.indexes(self._connection, self._source), create_indexes(self._schema)
        if same_table and present == wanted:
            return
        blocked = [*self._map_fields(), *self._duplicates(present)]
        if blocked:
            yield from (Step(f"{self._schema.table}: {reason}", ()) for reason in blocked)
        elif same_table:
            yield self._reindex(present, wanted)
        else:
            yield self._rebuild()

    def _is_same(self) -> bool:
        """Whether the table keeps values as the schema does; its statement has no scale of decimals."""
        fields = self._schema.fields
        scales = {name: old.places for name, old in self._old.items()}
        return _body(self._statement) == _body(self._wanted) and all(
            field.type.places == scales.get(name) for name, field in fields.items()
        )

    def _reindex(self, present: Mapping[str, str], wanted: Mapping[str, str]) -> Step:
        old = [name for name, text in present.items() if wanted.get(name) != text and _is_ours(name, self._source)]
        new = {name: text for name, text in wanted.items() if present.get(name) != text}
        sql = (*[f"DROP INDEX {quote(name)}" for name in old], *new.values())
        what = [*[f"drop the index {quote(name)}" for name in old], *[f"make the index {quote(name)}" for name in new]]
        return Step(f"{self._schema.table}: {'; '.join(what)}", sql)

    def _rebuild(self) -> Step:
        schema, fresh = self._schema, f"_new {self._schema.table}"
        names, values = ", ".join(map(quote, self._values)), ", ".join(self._values.values())
        sql = [
            self._wanted.replace(f"CREATE TABLE {quote(schema.table)}", f"CREATE TABLE {quote(fresh)}", 1),
            f"INSERT INTO {quote(fresh)} ({names}) SELECT {values} FROM {quote(self._source)}",
        ]
        if is_numbered(schema):
            new, old = literal(fresh), literal(self._source)
            sql.append(f"DELETE FROM sqlite_sequence WHERE name = {new}")
            text = f"INSERT INTO sqlite_sequence (name, seq) SELECT {new}, seq FROM sqlite_sequence"
            sql.append(f"{text} WHERE name = {old}")
        sql.append(f"DROP TABLE {quote(self._source)}")
        sql.append(f"ALTER TABLE {quote(fresh)} RENAME TO {quote(schema.table)}")
        sql += create_indexes(schema).values()
        if self._source != schema.table:
            self._done.insert(0, f"rename the table from {self._source}")
        what = "; ".join(self._done) or "renew its checks and defaults"
        return Step(f"{schema.table}: {what}", tuple(sql), ", ".join(self._loses))

    def _map_fields(self) -> list[str]:
        """Decides what each new column is filled with; returns what stands in the way."""
        blocked = []
        used = set()
        for field in self._schema.fields.values():
            old = old_name(field, self._schema, self._old)
            if old is not None:
                used.add(old)
            reason = self._added(field) if old is None else self._converted(field, old)
            if reason:
                blocked.append(reason)
        for name in self._old:
            if name not in used:
                self._done.append(f"remove {name}")
                self._lose(self._count(f"{quote(name)} IS NOT NULL"), f"values of {name}")
        return blocked

    def _added(self, field: FieldSpec) -> str:
        self._done.append(f"add {field.name}")
        if field.default is NO_DEFAULT and not field.nullable and self._has_no_default(field):
            return needs_default(field, self._rows) if self._rows else ""
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
        changes = old != OldField.of(field)
        if changes:
            self._done.append(f"make {field.name} {field.type.described}")
        value = conversion.value
        misfits = self._count(conversion.misfits(column))
        if changes:
            value = f"CASE WHEN {conversion.fits} THEN {conversion.value} END"
            self._lose(misfits, f"values of {name}")
        if not field.nullable:
            if field.default is not NO_DEFAULT:
                value = f"coalesce({value}, {stored_default(field)})"
            elif misfits:
                return cannot_become(field, name, misfits)
            elif nulls := self._count(f"{column} IS NULL"):
                return needs_default(field, nulls)
        self._values[field.name] = value
        return ""

    def _duplicates(self, present: Mapping[str, str]) -> Iterator[str]:
        """What stands in the way of the unique indexes that are new."""
        groups = [(f.name,) for f in self._schema.fields.values() if f.unique and f.name != self._schema.key]
        for group in dict.fromkeys([*groups, *self._schema.unique]):
            values = [self._values.get(name, "NULL") for name in group]
            count = _number(self._connection, count_repeated(self._source, values))
            if count:
                yield occurs_repeatedly(group, count)

    def _count(self, condition: str) -> int:
        return _number(self._connection, f"SELECT count(*) FROM {quote(self._source)} WHERE {condition}")

    def _lose(self, count: int, what: str) -> None:
        if count:
            self._loses.append(f"{count} {what}")


def _is_ours(index: str, table: str) -> bool:
    return index.startswith((f"{table} unique ", f"{table} by "))


def _body(statement: str) -> str:
    return statement.partition("(")[2]
