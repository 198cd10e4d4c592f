"""The steps from the database's schema to a catalog's, and taking them.

What a step would lose is counted in the data that is there: text that happens to hold only dates becomes a date
without a loss. An index of words is made anew when its table is. What the catalog does not declare stays where it is,
and is watched by the log's triggers as before, so that servers which still declare it go on beside this one; only
what would be in the way of new records is let go: a column that must be given, a reference, a unique index.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import apsw
import msgspec

from crudite.errors import StoreOutdated
from crudite.query.sql import quote
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Step
from crudite.stores.sqlite import history, install
from crudite.stores.sqlite.alteration import Alteration, let_go, remove
from crudite.stores.sqlite.connections import pragma, rows
from crudite.stores.sqlite.ddl import create_indexes, create_table
from crudite.stores.sqlite.install import MadeTable
from crudite.stores.sqlite.search import create_search, is_of_search, tables_of_search
from crudite.stores.steps import OldField, columns_of, refuse, tell_audited, tell_left


class Way(NamedTuple):
    """The steps to a catalog, and what the tables are made from when they are taken. Histories come last."""

    steps: list[Step]
    tables: dict[str, MadeTable]
    histories: list[Step]


def is_of(connection: apsw.Connection, catalog: Catalog) -> bool:
    """Whether it was this catalog that the file was brought to last, and not that of another version."""
    declared = {
        name: msgspec.structs.replace(was, fields=_declared(was), left=[])
        for name, was in install.made_tables(connection).items()
        if not was.is_left
    }
    return declared == {schema.table: _made(schema, None, {}) for schema in catalog.values()}


def plan(connection: apsw.Connection, catalog: Catalog, *, removing: bool = True) -> list[Step]:
    """The steps from what is there to the catalog; none when they agree. Only reads. Without `removing`, what nobody
    declares is left where it is, and not counted."""
    way = _find_way(connection, catalog, removing=removing)
    return [*way.steps, *way.histories]


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
        steps, tables, histories = _find_way(connection, catalog, removing=lose)
        refuse([step for step in steps if step.is_blocked or (step.loses and not lose)])
        before = install.made_tables(connection)
        if lose:
            tables = _without_left(tables)
        if steps or tables != before or not install.triggers_agree(connection, catalog):
            take(connection, catalog, steps, tables)
        for text in (text for step in histories for text in step.sql):
            connection.execute(text)
        connection.execute("COMMIT")
        tell_left(before, tables)
        tell_audited(_find_way(connection, catalog, removing=True).histories, catalog)
        return [*steps, *histories]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        pragma(connection, "legacy_alter_table = OFF")
        pragma(connection, "foreign_keys = ON")


def take(connection: apsw.Connection, catalog: Catalog, steps: Sequence[Step], tables: Mapping[str, MadeTable]) -> None:
    """Takes the steps, renews the triggers, remembers what the tables are made from; in a transaction without foreign
    keys."""
    text = "INSERT INTO _schema (id, description) VALUES (1, ?)"
    described = msgspec.json.encode(tables).decode()
    connection.execute(f"{text} ON CONFLICT DO UPDATE SET description = excluded.description", (described,))
    present = install.tables(connection)
    agreed = install.agree_for(connection, [schema for schema in catalog.values() if schema.table in present])
    if agreed and not steps:
        return  # what is left is noted, and what is there stays as it is
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


def _find_way(connection: apsw.Connection, catalog: Catalog, *, removing: bool) -> Way:
    present = install.tables(connection)
    old = {table: was for table, was in install.made_tables(connection).items() if table in present}
    steps: list[Step] = []
    made: list[Step] = []
    tables: dict[str, MadeTable] = {}
    sources = {schema.table: _source(schema, old, catalog) for schema in catalog.values()}
    used: set[str] = set()
    for schema in catalog.values():
        source = sources[schema.table]
        if source is None:
            made.append(_create(schema, catalog, schema.table in present and schema.table not in used))
            tables[schema.table] = _made(schema, None, {})
            continue
        used.add(source)
        alteration = Alteration(connection, schema, catalog, source, old[source], present[source])
        steps += alteration.steps(removing=removing)
        tables[schema.table] = _made(schema, old[source], alteration.left)
    left = {table: was for table, was in old.items() if table not in used}
    for table, was in left.items():
        steps += let_go(connection, table, present[table])
        if removing:
            steps.append(remove(connection, table, was, present))
        tables[table] = msgspec.structs.replace(was, is_left=True)
    histories = history.plan(connection, catalog, sources, removing=removing)
    return Way(steps + made + _search_steps(catalog, present, left), tables, histories)


def _made(schema: ResourceSchema, was: MadeTable | None, left: Mapping[str, OldField]) -> MadeTable:
    texts = msgspec.json.encode(sorted(install.wanted_triggers([schema]).values()))
    digest = blake2b(texts, digest_size=8).hexdigest()
    return MadeTable(schema.name, columns_of(schema, was, left), list(left), soft=schema.is_soft, triggers=digest)


def _declared(was: MadeTable) -> dict[str, OldField]:
    return {name: old for name, old in was.fields.items() if name not in was.left}


def _without_left(tables: Mapping[str, MadeTable]) -> dict[str, MadeTable]:
    return {
        name: msgspec.structs.replace(table, fields=_declared(table), left=[])
        for name, table in tables.items()
        if not table.is_left
    }


def _source(schema: ResourceSchema, old: Mapping[str, MadeTable], catalog: Catalog) -> str | None:
    """The table that becomes the schema's: of the same name, or of the resource that was renamed."""
    if schema.table in old:
        return schema.table
    for table, was in old.items():
        if table not in catalog.by_table and was.resource in (schema.name, schema.renamed_from):
            return table
    return None


def _create(schema: ResourceSchema, catalog: Catalog, taken: bool) -> Step:
    if taken:
        return Step(f"{schema.table}: a table of this name is there that Crudite did not make", ())
    sql = (create_table(schema, dict(catalog)), *create_indexes(schema).values())
    return Step(f"{schema.table}: make the table", sql)


def _search_steps(catalog: Catalog, present: Mapping[str, str], left: Iterable[str]) -> list[Step]:
    """Takes away the indexes of words that are not as they are wanted, and makes those that are; those of tables that
    are left stay as long as they."""
    kept = {name for table in left for name in tables_of_search(table)}
    there = {name: text for name, text in present.items() if is_of_search(name) and name not in kept}
    wanted = {name: text for schema in catalog.values() for name, text in create_search(schema).items()}
    sql = [f"DROP TABLE {quote(name)}" for name, text in there.items() if wanted.get(name) != text]
    sql += [text for name, text in wanted.items() if there.get(name) != text]
    return [Step(f"renew {len(sql)} tables of the words to search", tuple(sql))] if sql else []


def _is_stale(schema: ResourceSchema, steps: Sequence[Step]) -> bool:
    """Whether steps make the index of a resource's words, or the table that it stands beside."""
    taken = [text for step in steps for text in step.sql]
    renamed = f"RENAME TO {quote(schema.table)}"
    return not set(create_search(schema).values()).isdisjoint(taken) or any(text.endswith(renamed) for text in taken)
