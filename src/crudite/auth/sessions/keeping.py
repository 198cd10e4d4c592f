"""The port of those who keep sessions: in the application's store, or in Redis."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from crudite.errors import TooLarge
from crudite.resources.declare import Record
from crudite.resources.records import Batch
from crudite.types import Key, Plain

Part: TypeAlias = Literal["client", "values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One session as it is kept.

    `digest` is the hash of its token's secret, `stamp` that of the account's password (`stamp_of`) with which it was
    begun, `roles` those for which the token was given. It counts until `expires_at`, which moves on with use, but not
    beyond `ends_at`. `client` are the values that the client may read and write, `values` those that only the server
    does.
    """

    id: str
    account: Key
    digest: str = field(repr=False)
    stamp: str = field(repr=False)
    roles: Sequence[str] = ()
    created_at: datetime
    seen_at: datetime
    renewed_at: datetime
    expires_at: datetime
    ends_at: datetime
    address: str | None = None
    agent: str | None = None
    client: Mapping[str, Plain] = field(default_factory=dict)
    values: Mapping[str, Plain] = field(default_factory=dict, repr=False)


class Keeper(Protocol):
    """Keeps sessions. What it has answered is done, for every process. It may raise a StoreError.

    `record` is the resource whose rows they are, None for what is kept elsewhere: then living connections do not see by
    themselves that a session has ended.
    """

    record: type[Record[Any]] | None

    async def find(self, id: str) -> Kept | None:
        """The session with a number; None when there is none, or not any more."""
        ...

    async def begin(self, session: Kept) -> None:
        """Keeps a new session. Forgets some that have expired."""
        ...

    async def change(self, id: str, **values: Any) -> bool:
        """Changes some of what is kept of a session. Whether there (still) is such a session."""
        ...

    async def end(self, id: str) -> bool:
        """Ends a session. Whether there was one."""
        ...

    async def remember(self, id: str, part: Part, patch: Mapping[str, Plain], most: int) -> Mapping[str, Plain] | None:
        """Merges values into those of a session: null takes one away. Who does so at the same time does not undo it.
        Returns all of them; None when there is no such session. Raises TooLarge for more than `most` bytes of JSON."""
        ...

    def include(self, batch: Batch, ended: Collection[str], renewed: Kept | None) -> None:
        """Puts into a transaction what it can: sessions that end with it, and one whose token is another one after it.
        What cannot be part of it is for the caller to do behind it, in any case."""
        ...

    async def of(self, account: Key) -> Sequence[Kept]:
        """The sessions of an account that have not expired, the oldest first."""
        ...


def merged(held: Mapping[str, Plain], patch: Mapping[str, Plain], most: int) -> dict[str, Plain]:
    """The values of a session with others put in or, for null, taken out. Raises TooLarge for more than `most` bytes of
    JSON."""
    values = {name: value for name, value in {**held, **patch}.items() if value is not None}
    if len(msgspec.json.encode(values)) > most:
        raise TooLarge(f"A session holds at most {most} bytes of values.")
    return values
