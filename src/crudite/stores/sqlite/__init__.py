"""The SQLite store."""

from crudite.stores.sqlite.dangling import Dangling
from crudite.stores.sqlite.log import SqlitePosition
from crudite.stores.sqlite.store import SqliteStore

__all__ = ["Dangling", "SqlitePosition", "SqliteStore"]
