"""A store with faults that nobody asks for is a store as any other."""

from pathlib import Path

from crudite.stores.base import Store
from crudite.stores.sqlite import SqliteStore
from crudite.testing import Faulty
from crudite.testing.contracts import StoreContract


class TestFaultyStore(StoreContract):
    """The shipped contract suite, over the steps of the port: all but the property of values, which pass it unread."""

    test_every_value_comes_back_exactly_from_a_write_a_read_and_the_log = None  # type: ignore[assignment]

    def make_store(self, place: Path) -> Store:
        """A store in one file of the directory, that could have faults."""
        return Faulty(SqliteStore(place / "data.db"))
