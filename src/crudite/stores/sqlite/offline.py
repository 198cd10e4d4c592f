"""What can be done to a file without opening it as a store: plan and take a migration, look for damage."""

from collections.abc import Sequence

import apsw

from crudite.schema import Catalog
from crudite.stores.base import Step
from crudite.stores.sqlite import install, migration
from crudite.stores.sqlite.connections import Synchronous, connect, identity, make_writer, rows
from crudite.stores.sqlite.errors import translated


def plan_file(path: str, catalog: Catalog) -> Sequence[Step]:
    """The steps from the schema of a file, which need not be there, to a catalog's. Raises StoreError."""
    with translated(path):
        connection = connect(path) if identity(path) is not None else connect(":memory:", create=True)
        try:
            install.check_owner(connection, path)
            return migration.plan(connection, catalog)
        finally:
            connection.close(True)


def migrate_file(path: str, catalog: Catalog, synchronous: Synchronous, *, lose: bool) -> Sequence[Step]:
    """Takes the steps in one transaction and returns them. Raises StoreError."""
    with translated(path):
        connection = connect(path, create=True)
        try:
            install.check_owner(connection, path)
            make_writer(connection, synchronous)
            return migration.migrate(connection, catalog, lose=lose)
        finally:
            connection.close(True)


def find_damage(path: str) -> Sequence[str]:
    """What SQLite finds wrong with the file, in its words; nothing when it is whole. Raises StoreError."""
    with translated(path):
        connection = connect(path)
        try:
            return [text for (text,) in rows(connection, "PRAGMA integrity_check") if text != "ok"]
        except apsw.CorruptError as error:
            return [str(error)]
        finally:
            connection.close(True)
