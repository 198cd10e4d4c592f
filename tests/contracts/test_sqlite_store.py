"""SQLite keeps every promise of the store port."""

from pathlib import Path

from crudite.stores.base import Store
from crudite.stores.sqlite import SqliteStore
from crudite.testing.contracts import StoreContract


class TestSqliteStore(StoreContract):
    """The shipped contract suite, over a file."""

    def make_store(self, place: Path) -> Store:
        """A store in one file of the directory."""
        return SqliteStore(place / "data.db")
