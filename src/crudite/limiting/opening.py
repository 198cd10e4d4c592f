"""Where to count, by name."""

from collections.abc import Callable
from importlib import import_module

from crudite.buses.base import Bus
from crudite.errors import DeclarationError
from crudite.limiting.base import Counts
from crudite.limiting.memory import MemoryCounts
from crudite.limiting.sharing import SharedCounts
from crudite.limiting.stored import RATES, StoredCounts
from crudite.schema import Catalog
from crudite.stores.base import Store

_SERVERS = ("redis", "rediss", "valkey", "valkeys")


def open_counts(
    named: str, memory: MemoryCounts, bus: Bus, store: Store, seconds: Callable[[], float] | None
) -> Counts:
    """What counts: `shared` in the memory of every process, over the bus; `memory` in that of each alone; `store` in
    the application's database; or a server by its URL, `redis://host`. `seconds` is a clock that counts in place of
    their own.

    Raises DeclarationError for another name, and when the driver is not installed.
    """
    if named == "shared":
        return SharedCounts(memory, bus)
    if named == "memory":
        return memory
    if named == "store":
        return StoredCounts(store, seconds)
    if named.partition(":")[0] not in _SERVERS:
        raise DeclarationError(["rates_store is shared, memory, store or a URL such as redis://host."])
    try:
        adapter = import_module("crudite.limiting.redis")
    except ModuleNotFoundError as error:
        raise DeclarationError([f"{error.name} is not installed: pip install 'crudite[redis]'"]) from error
    counts: Counts = adapter.RedisCounts(named, seconds)
    return counts


def counted_in(where: str | Counts, catalog: Catalog) -> Catalog:
    """What the database of an application keeps that counts there: its catalog, or with a table more."""
    return Catalog({**catalog, RATES.name: RATES}) if where == "store" else catalog
