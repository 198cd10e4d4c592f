"""What sessions need of their application."""

from collections.abc import Callable
from typing import Any, Protocol

from crudite.auth.identification import Home


class SessionHome(Home, Protocol):
    """An application, as its sessions know it."""

    def use(self, *, name: str, action: tuple[str, ...]) -> Callable[[Any], Any]:
        """Puts a step around some requests."""
        ...
