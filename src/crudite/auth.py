"""Who is asking: from credentials to an actor, by a function of the application's own."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from crudite.errors import Unauthorized
from crudite.messages import ANONYMOUS, Actor, Credentials
from crudite.resources.hooks import call

Authenticate: TypeAlias = Callable[[Credentials], Actor | Awaitable[Actor | None] | None]
"""Finds out who shows these credentials: None for nobody in particular. Raises Unauthorized for bad ones."""


class Identification:
    """Turns credentials into an actor through the application's `authenticate` function, if it has one."""

    def __init__(self, authenticate: Authenticate | None) -> None:
        self._authenticate = authenticate
        self._is_async = inspect.iscoroutinefunction(authenticate)

    @property
    def is_needed(self) -> bool:
        """Whether anybody can be told from anybody else."""
        return self._authenticate is not None

    async def __call__(self, credentials: Credentials) -> Actor:
        """The actor who shows these credentials. Raises Unauthorized when they are bad."""
        if self._authenticate is None:
            return ANONYMOUS
        found = await call(self._authenticate, credentials)
        if found is None:
            return ANONYMOUS
        if not isinstance(found, Actor):
            raise Unauthorized("The credentials could not be understood.")
        return found
