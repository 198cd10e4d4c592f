"""Finding references that point at nothing, which programs that leave foreign keys off can write."""

from typing import NamedTuple

import apsw

from crudite.query.sql import quote
from crudite.schema import Catalog
from crudite.stores.sqlite.connections import rows
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.types import Key

_MOST = 1000
_dialect = SqliteDialect()


class Dangling(NamedTuple):
    """A record of a resource whose field holds the key of a record that is not there."""

    resource: str
    key: Key
    field: str
    target: str
    target_key: Key


def find_dangling(connection: apsw.Connection, catalog: Catalog) -> list[Dangling]:
    """The references in all the catalog's tables that point at nothing, at most 1000 of them."""
    found: list[Dangling] = []
    for schema in catalog.values():
        for field in schema.fields.values():
            target = catalog.get(field.reference.target) if field.reference is not None else None
            if target is None or len(found) >= _MOST:
                continue
            column, key = f"t.{quote(field.name)}", quote(schema.key)
            there = f"SELECT 1 FROM {quote(target.table)} AS r WHERE r.{quote(target.key)} = {column}"
            text = f"SELECT t.{key}, {column} FROM {quote(schema.table)} AS t"
            text += f" WHERE {column} IS NOT NULL AND NOT EXISTS ({there}) LIMIT {_MOST - len(found)}"
            for own, other in rows(connection, text):
                load, type = _dialect.load, schema.key_field.type
                found.append(Dangling(schema.name, load(type, own), field.name, target.name, load(field.type, other)))
    return found
