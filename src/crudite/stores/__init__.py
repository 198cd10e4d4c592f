"""The databases that keep records and the log of their changes: the port, and a package for each adapter."""

from importlib import import_module
from typing import Any

from crudite.errors import StoreError
from crudite.stores.base import Store
from crudite.stores.copying import CopyEnd

_ADAPTERS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}


def open_store(url: str) -> Store:
    """The store for a URL such as `sqlite:///app.db` or `postgresql://host/name`; it is not connected yet.

    Raises StoreError for a URL that no adapter knows, and when its driver is not installed. An adapter and its
    driver are imported only here.
    """
    store: Store = _find(url, "{}", "{}Store")(url)
    return store


def open_end(url: str) -> CopyEnd:
    """The end of a copy for a store's URL, not connected yet. Raises StoreError as `open_store` does."""
    end: CopyEnd = _find(url, "{}.copying", "{}End")(url)
    return end


def _find(url: str, module: str, name: str) -> Any:
    scheme = url.partition(":")[0]
    if scheme not in _ADAPTERS:  # what follows may hold a password
        known = ", ".join(_ADAPTERS)
        raise StoreError(
            f"the store: expected a URL that begins with one of {known}, such as sqlite:///app.db, and got {scheme!r}"
        )
    adapter = _ADAPTERS[scheme]
    try:
        return getattr(import_module(f"{__name__}.{module.format(adapter)}"), name.format(adapter.capitalize()))
    except ModuleNotFoundError as error:
        raise StoreError(f"{error.name} is not installed: pip install 'crudite[{adapter}]'") from error
