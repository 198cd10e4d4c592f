"""What is asked of the store that mirrors, beyond the port; which one it is, is decided here."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Protocol, TypeAlias

from crudite.changes import Unit
from crudite.errors import StoreError
from crudite.schema import ResourceSchema
from crudite.stores.base import Store, SupportsHistory
from crudite.types import Key, PlainRecord

Place: TypeAlias = tuple[ResourceSchema, Key]
"""Where a record is: its resource and its key."""

Found: TypeAlias = Mapping[Place, PlainRecord | None]
"""What was found in the database: records, and None for those that are not there."""

Images: TypeAlias = tuple[PlainRecord | None, PlainRecord | None]
"""A record before and after a unit, with secret fields; None where there is none."""

MIRROR_SETS = frozenset(("version", "created_at", "updated_at"))
"""The fields that are kept in the mirror alone."""


class Mirror(Store, SupportsHistory, Protocol):
    """A store of ours that holds what was last found in the database, with the log of its changes."""

    @property
    def path(self) -> str:
        """The file, while it is open."""
        ...

    async def take_over(self, found: Found) -> tuple[Sequence[Place], Sequence[tuple[Place, str]]]:
        """Makes records what was found of them. Which other records are in the way, by a value that must be unique:
        then nothing is done; and which ones cannot be kept, and why."""
        ...

    async def attempt(self, unit: Unit, places: Sequence[Place]) -> tuple[Sequence[Key], Mapping[Place, Images]]:
        """What a unit would do: the keys of what it writes, and what these and some places would be. Raises Refused as
        `write` does."""
        ...


def open_mirror(where: str) -> Mirror:
    """The mirror in a SQLite file, by its path or URL. Raises StoreError when the driver is not installed."""
    try:
        make: Callable[[str], Mirror] = import_module("crudite.stores.sqlite.mirror").Mirror
    except ModuleNotFoundError as error:
        raise StoreError(f"{error.name} is not installed: pip install 'crudite[sqlite]'") from error
    return make(where)
