"""Sessions as rows of the application's own store: listed, live, and ended one by one, at `/sessions`."""

import types
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any, Generic, cast
from uuid import UUID

import msgspec

from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.keeping import Kept, Part, V, merged
from crudite.changes import Refused, Unit, Write
from crudite.errors import Conflict, NotFound
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.resolve import Resolver
from crudite.query.tree import EVERYTHING
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Field, Ref
from crudite.resources.keys import plain_key
from crudite.resources.records import Batch
from crudite.rules import allow, me
from crudite.stores.base import Row
from crudite.types import Key, Plain

_FORGOTTEN_AT_ONCE = 20
_TRIES = 10


class SessionRow(Resource):
    """What is kept of a session, but for whose it is."""

    digest: str = Field(visible="secret")
    stamp: str = Field(visible="secret")
    roles: list[str] = Field(default_factory=list, visible="secret")
    seen_at: datetime
    renewed_at: datetime
    expires_at: datetime = Field(index=True)
    ends_at: datetime
    address: str | None = None
    agent: str | None = None
    client: dict[str, Any] = Field(default_factory=dict)
    values: dict[str, Any] = Field(default_factory=dict, visible="secret")


class VisitorSession(Resource, rules=allow.nobody, places=(), path="visitor-sessions", live=False):
    """What is kept of the session of a visitor. Nobody sees it but the server."""

    digest: str = Field(visible="secret")
    seen_at: datetime
    expires_at: datetime = Field(index=True)
    ends_at: datetime
    client: dict[str, Any] = Field(default_factory=dict, visible="secret")
    values: dict[str, Any] = Field(default_factory=dict, visible="secret")


def session_resource(account: type[Record[Any]]) -> type[Resource]:
    """The resource of the sessions of these accounts. Whoever is signed in sees and ends his own; nobody makes one but
    by signing in. Those of a deleted account go with it."""
    own = allow.where(account=me.id)

    def declare(names: dict[str, Any]) -> None:
        names["__module__"] = __name__
        names["__doc__"] = "One sign-in of an account."
        names["__annotations__"] = {"account": Ref[account]}  # type: ignore[valid-type]
        names["account"] = Field(immutable=True, on_delete="cascade")

    options = {"rules": {"read": own, "delete": own}, "path": "sessions"}
    return cast(type[Resource], types.new_class("Session", (SessionRow,), options, declare))


class Rows(Generic[V]):
    """Keeps sessions of one kind in the application's store (`Keeping`)."""

    def __init__(self, home: SessionHome, resource: type[Resource], kind: type[V]) -> None:
        self._home = home
        self._kind = kind
        self._resource: Any = resource
        self._definition = home.definitions[resource]
        schema = self._definition.schema
        self._all = Selection(schema, EVERYTHING, Mask(tuple(schema.fields)))

    async def find(self, id: str) -> V | None:
        """The session with a number; None when there is none, or not any more."""
        row = await self._row(id)
        return None if row is None else self._kept(row.json)

    async def begin(self, session: V) -> None:
        """Keeps a new session. Forgets some that have expired. Raises Invalid for values that cannot be stored."""
        names = {one.name for one in fields(session)} - {"id", "created_at"}
        values = {name: getattr(session, name) for name in names}
        await self._home.records.create(self._resource, id=UUID(session.id), **values)
        query = self._resource.where(expires_at__lt=session.created_at).order("expires_at").limit(_FORGOTTEN_AT_ONCE)
        for expired in await self._home.records.list(query):
            await self.end(str(expired.id))

    async def change(self, id: str, **values: Any) -> bool:
        """Changes some of what is kept of a session. Whether there (still) is such a session."""
        try:
            await self._home.records.update(self._resource, id, **values)
        except NotFound:
            return False
        return True

    async def end(self, id: str) -> bool:
        """Ends a session. Whether there was one."""
        with suppress(NotFound):
            await self._home.records.delete(self._resource, id)
            return True
        return False

    async def remember(self, id: str, part: Part, patch: Mapping[str, Plain], most: int) -> Mapping[str, Plain] | None:
        """Merges values into those of a session: null takes one away. Returns all of them; None when there is no such
        session. Raises TooLarge for more than `most` bytes of JSON, Invalid for what cannot be stored, Conflict when
        they keep changing."""
        for _ in range(_TRIES):
            row = await self._row(id)
            if row is None:
                return None
            values = merged(getattr(self._kept(row.json), part), patch, most)
            plain = self._definition.bodies["update"].parse_python({part: values})[part]
            write = Write(  # of the whole: an update would merge into what lies deeper, too
                action="update", schema=self._definition.schema, key=id,
                values={part: dict(cast(Any, plain))}, expect=row.version,
            )  # fmt: skip
            try:
                await self._home.store.write(Unit(writes=(write,)))
            except Refused:  # it has been changed meanwhile, or has ended
                continue
            return values
        raise Conflict("The values of the session keep changing; try again.")

    async def _row(self, id: str) -> Row | None:
        try:
            key = plain_key(self._definition, id)
        except NotFound:  # another way to authenticate calls its sessions what it likes
            return None
        return await self._home.store.lookup(self._all, key)

    def _kept(self, text: str) -> V:
        plain = msgspec.json.decode(text)
        row = self._definition.from_plain(plain)
        names = [one.name for one in fields(self._kind)]
        return self._kind(**{name: getattr(row, name) if name.endswith("_at") else plain[name] for name in names})


class RowKeeper(Rows[Kept]):
    """Keeps the sessions of accounts in the application's store (`Keeper`)."""

    def __init__(self, home: SessionHome, resource: type[Resource]) -> None:
        super().__init__(home, resource, Kept)
        self.record: type[Record[Any]] | None = resource

    def include(self, batch: Batch, ended: Collection[str], renewed: Kept | None) -> None:
        """Puts into a transaction the sessions that end with it, and one whose token is another one after it."""
        for id in ended:
            batch.delete(self._resource, id)
        if renewed is not None:
            batch.update(self._resource, renewed.id, digest=renewed.digest, renewed_at=renewed.renewed_at)

    async def of(self, account: Key) -> Sequence[Kept]:
        """The sessions of an account that have not expired, the oldest first."""
        resolver = Resolver(self._definition.schema, self._home.definitions.catalog)
        query = self._resource.where(account=account, expires_at__gt=self._home.clock())
        selection = Selection(self._all.schema, resolver.filter(query.written.filter), self._all.mask)
        page = await self._home.store.page(Plan(selection=selection, sort=resolver.sort(["id"])))
        return [self._kept(text) for text in page.records]
