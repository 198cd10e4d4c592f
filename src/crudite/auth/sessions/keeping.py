"""The port of those who keep sessions: in the application's store, or in Redis."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from crudite.auth.sessions.settings import Settings
from crudite.errors import StoreError, TooLarge
from crudite.resources.declaring.declare import Record
from crudite.resources.records import Batch
from crudite.types import Key, Plain

Part: TypeAlias = Literal["client", "values"]
Values: TypeAlias = Mapping[str, Plain]

MOST_VALUES = 16_384
"""Bytes of JSON that the values of one part of a session may take."""

_log = logging.getLogger("crudite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One session as it is kept: all that there is of a visitor's.

    `digest` is the hash of its token's secret. It counts until `expires_at`, which moves on with use, but not beyond
    `ends_at`. `client` are the values that the client may read and write, `values` those that only the server does.
    """

    id: str
    digest: str = field(repr=False)
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    ends_at: datetime
    client: Values = field(default_factory=dict)
    values: Values = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Visit):
    """One session of an account as it is kept. `stamp` is that of the account's password (`stamp_of`) with which it was
    begun, `roles` those for which the token was given."""

    account: Key
    stamp: str = field(repr=False)
    roles: Sequence[str] = ()
    renewed_at: datetime
    address: str | None = None
    agent: str | None = None


V = TypeVar("V", bound=Visit)


class Keeping(Protocol[V]):
    """Keeps sessions of one kind. What it has answered is done, for every process. It may raise a StoreError."""

    async def find(self, id: str) -> V | None:
        """The session with a number; None when there is none, or not any more."""
        ...

    async def begin(self, session: V) -> None:
        """Keeps a new session. Forgets some that have expired."""
        ...

    async def change(self, id: str, **values: Any) -> bool:
        """Changes some of what is kept of a session. Whether there (still) is such a session."""
        ...

    async def end(self, id: str) -> bool:
        """Ends a session. Whether there was one."""
        ...

    async def remember(self, id: str, part: Part, patch: Values, most: int) -> Values | None:
        """Merges values into those of a session: null takes one away. Who does so at the same time does not undo it.
        Returns all of them; None when there is no such session. Raises TooLarge for more than `most` bytes of JSON."""
        ...


class Keeper(Keeping[Kept], Protocol):
    """Keeps the sessions of accounts.

    `record` is the resource whose rows they are, None for what is kept elsewhere: then living connections do not see by
    themselves that a session has ended.
    """

    record: type[Record[Any]] | None

    def include(self, batch: Batch, ended: Collection[str], renewed: Kept | None) -> None:
        """Puts into a transaction what it can: sessions that end with it, and one whose token is another one after it.
        What cannot be part of it is for the caller to do behind it, in any case."""
        ...

    async def of(self, account: Key) -> Sequence[Kept]:
        """The sessions of an account that have not expired, the oldest first."""
        ...


async def seen(keeper: Keeping[V], session: V, now: datetime, settings: Settings) -> V:
    """The session, of which the use is written down, now and then."""
    if now - session.seen_at < settings.seen_every:
        return session
    used: dict[str, Any] = {"seen_at": now, "expires_at": min(now + settings.idle, session.ends_at)}
    try:
        await keeper.change(session.id, **used)
    except StoreError as error:  # a store that cannot be written can still be read
        _log.warning("the use of a session could not be written down: %s", error)
        return session
    return replace(session, **used)


def merged(held: Values, patch: Values, most: int) -> dict[str, Plain]:
    """The values of a session with others put in or, for null, taken out. Raises TooLarge for more than `most` bytes of
    JSON."""
    values = {name: value for name, value in {**held, **patch}.items() if value is not None}
    if len(msgspec.json.encode(values)) > most:
        raise TooLarge(f"A session holds at most {most} bytes of values.")
    return values
