"""What sessions need of their application."""

from collections.abc import Callable
from typing import Any, Protocol

from crudite.auth.identification import Home
from crudite.limiting import Limiter
from crudite.resources.definition import Definitions
from crudite.stores.base import Store


class SessionHome(Home, Protocol):
    """An application, as its sessions know it."""

    definitions: Definitions
    store: Store
    limiter: Limiter

    def use(self, *, name: str, action: tuple[str, ...]) -> Callable[[Any], Any]:
        """Puts a step around some requests."""
        ...
