"""Who is asking: from credentials to an actor, by functions of the application's own or ways that are made already."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from crudite.auth.living import INVALID, Living, expired
from crudite.clock import Clock
from crudite.errors import Unauthorized
from crudite.limiting import Limiter
from crudite.messages import ANONYMOUS, ActionName, Actor, Credentials
from crudite.query.tree import Filter
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Definitions
from crudite.resources.hooks import call
from crudite.resources.records import Records
from crudite.stores.base import Store

F = TypeVar("F", bound=Callable[..., Any])

Authenticate: TypeAlias = Callable[[Credentials], Actor | Awaitable[Actor | None] | None]
"""Finds out who shows these credentials: None for nobody in particular. Raises Unauthorized for bad ones."""


class Home(Protocol):
    """What an application lends to a way of authenticating."""

    clock: Clock
    definitions: Definitions
    store: Store
    limiter: Limiter

    @property
    def mode(self) -> str:
        """`dev` while somebody works on the application, else `run`."""
        ...

    @property
    def records(self) -> Records:
        """The records API, acting as the server itself."""
        ...

    def offer(self, name: str, kind: Any) -> Callable[[F], F]:
        """Registers a handler, of the kind `read`, `create`, `update` or `delete`, unless the application declares one
        of that name."""
        ...

    async def revoke(self, *, account: str | int | None = None, session: str | None = None) -> None:
        """Has living connections judged anew, in all processes."""
        ...


@runtime_checkable
class Authenticator(Protocol):
    """A way to tell who is asking that keeps records or offers handlers: `Sessions(Account)`. It is an `Authenticate`
    function, too. One that is an asynchronous context manager is entered when the store is open, and left before it
    is closed."""

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """What it keeps, beside the resources that the application names."""
        ...

    def join(self, home: Home) -> None:
        """It belongs to an application now: once, while that is made."""
        ...

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Who shows these credentials; None when they are none of its own. Raises Unauthorized for bad ones."""
        ...


@runtime_checkable
class Narrowing(Protocol):
    """A way to authenticate whose actors may do less than the rules say: those that show a key with scopes."""

    def narrow(self, path: str, action: ActionName) -> Filter:
        """What must hold, beside its own rule, for an action on the resource at a path: a condition on the actor."""
        ...


@runtime_checkable
class Redeeming(Protocol):
    """A way to authenticate that gives tickets, each of which stands once for what was shown for it."""

    async def redeem(self, ticket: str) -> Credentials | None:
        """What was shown for a ticket, which is used up by that; None for one that does not count."""
        ...


class Identification:
    """Turns credentials into an actor, by the first of the ways to authenticate that knows them.

    A token that none of several ways takes for its own is refused. `clock` tells the time that expires credentials.
    `living` are the connections that live on an answer.
    """

    def __init__(self, ways: Sequence[Authenticate], clock: Clock) -> None:
        self._ways = tuple(ways)
        self._clock = clock
        self.living = Living(self, clock)

    @property
    def ways(self) -> Sequence[Authenticate]:
        """The ways to authenticate, in their order."""
        return self._ways

    @property
    def is_needed(self) -> bool:
        """Whether anybody can be told from anybody else."""
        return bool(self._ways)

    async def redeem(self, ticket: str) -> Credentials | None:
        """What was shown for a ticket, by the first way that has given it; None for one that does not count."""
        for way in self._ways:
            if isinstance(way, Redeeming) and (found := await way.redeem(ticket)) is not None:
                return found
        return None

    async def __call__(self, credentials: Credentials) -> Actor:
        """The actor who shows these credentials. Raises Unauthorized when they are bad, or have expired."""
        if not self._ways:
            return ANONYMOUS
        with self.living.waited_for():
            found = await self._find(credentials)
        if found is None:
            return ANONYMOUS
        if not isinstance(found, Actor):
            raise Unauthorized("The credentials could not be understood.")
        if found.expires is not None and found.expires <= self._clock():
            raise expired()
        return found

    async def _find(self, credentials: Credentials) -> Any:
        visitor = None
        for way in self._ways:
            found = await call(way, credentials)
            if isinstance(found, Actor) and not found.is_known:
                visitor = visitor or found  # somebody's session without an account: others may know who it is
            elif found is not None:
                return found
        if visitor is not None:
            return visitor
        if credentials.token is not None and any(isinstance(way, Authenticator) for way in self._ways):
            raise Unauthorized("Nobody knows this token.", headers=INVALID)
        return None
