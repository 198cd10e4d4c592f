"""The contract of a store, as tests: an adapter that passes them keeps the port's promises.

An outside adapter proves itself in six lines:

    from crudite.testing.contracts import StoreContract
    from mystore import MyStore

    class TestMyStore(StoreContract):
        def make_store(self, place):
            return MyStore(place / "data")

`make_store` returns a store that is not open; two made for one place (a directory that the test owns) are the
same database. A test's name is the promise. What a store may do beyond the port, such as `SupportsAsk`, is tried when
it has that, and else skipped by its name.
"""

from crudite.testing.store_history import HistoryContract
from crudite.testing.store_log import LogContract
from crudite.testing.store_place import PlaceContract
from crudite.testing.store_powers import PowersContract
from crudite.testing.store_reading import ReadingContract
from crudite.testing.store_records import RecordContract
from crudite.testing.store_schema import SchemaContract
from crudite.testing.store_search import SearchContract


class StoreContract(
    PlaceContract,
    RecordContract,
    ReadingContract,
    LogContract,
    HistoryContract,
    SchemaContract,
    SearchContract,
    PowersContract,
):
    """All promises of the store port, and of what a store may do beyond it. Needs pytest, anyio's pytest plugin and
    hypothesis."""


__all__ = ["StoreContract"]
