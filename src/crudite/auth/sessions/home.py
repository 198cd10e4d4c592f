"""What sessions need of their application."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from crudite.auth.identification import Home


class SessionHome(Home, Protocol):
    """An application, as its sessions know it."""

    def use(self, *, name: str | Sequence[str] = (), action: str | Sequence[str] = ()) -> Callable[[Any], Any]:
        """Puts a step around every request, or those of some names and actions."""
        ...
