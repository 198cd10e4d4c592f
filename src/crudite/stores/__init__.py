"""The databases that keep records and the log of their changes: the port, and a package for each adapter."""

from importlib import import_module

from crudite.errors import StoreError
from crudite.stores.base import Store

_ADAPTERS = {
    "sqlite": ("crudite.stores.sqlite", "SqliteStore"),
    "postgresql": ("crudite.stores.postgresql", "PostgresqlStore"),
    "postgres": ("crudite.stores.postgresql", "PostgresqlStore"),
}


def open_store(url: str) -> Store:
    """The store for a URL such as `sqlite:///app.db` or `postgresql://host/name`; it is not connected yet.

    Raises StoreError for a URL that no adapter knows. An adapter and its driver are imported only here.
    """
    scheme = url.partition(":")[0]
    if scheme not in _ADAPTERS:
        raise StoreError(f"expected a URL that begins with one of {', '.join(_ADAPTERS)}, and got {url!r}")
    module, name = _ADAPTERS[scheme]
    store: Store = getattr(import_module(module), name)(url)
    return store
