"""Any database as a store, by six functions: its records are mirrored in a SQLite file of ours, which has the log."""

from crudite.stores.mirrored.database import Database
from crudite.stores.mirrored.store import Mirrored

__all__ = ["Database", "Mirrored"]
