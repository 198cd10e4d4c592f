"""API keys of accounts: `App(Account, …, auth=[Sessions(Account), ApiKeys(Account)])`."""

import hmac
import logging
import types
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, cast
from uuid import UUID

import msgspec

from crudite.auth.api_keys.owners import Owner, Owners
from crudite.auth.api_keys.scopes import covering, kind_of, narrowed, unknown, without_key
from crudite.auth.api_keys.texts import new_key, read_key
from crudite.auth.claims import refuse
from crudite.auth.identification import Home
from crudite.auth.living import expired
from crudite.auth.sessions import Sessions
from crudite.errors import Conflict, Fault, Forbidden, Invalid, Malformed, NotFound, Problem, StoreError
from crudite.messages import ActionName, Actor, Credentials, Response, Written
from crudite.query.plan import Mask, Selection
from crudite.query.tree import EVERYTHING, And, Filter
from crudite.resources.declaring.declare import Record, Resource, around, before
from crudite.resources.declaring.definition import Definitions
from crudite.resources.declaring.fields import Field, Ref
from crudite.resources.handlers import Handler
from crudite.resources.request import Request
from crudite.rules import allow, me
from crudite.stores.base import Store

_MATTERS = frozenset(("owner", "scopes", "roles", "expires_at"))
_PREFIX_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_log = logging.getLogger("crudite")


class ApiKeyRow(Resource):
    """What is kept of a key, but for whose it is."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] | None = Field(default=None, immutable=True)
    roles: list[str] | None = Field(default=None, immutable=True)
    expires_at: datetime | None = Field(default=None, immutable=True)
    used_at: datetime | None = Field(default=None, write=allow.nobody)
    ending: str = Field(default="", write=allow.nobody)
    digest: str = Field(default="", visible="secret", write=allow.nobody)


@dataclass(frozen=True, slots=True)
class Issued:
    """A key that has been made: its record, and its text, which nobody can tell again."""

    record: Any
    key: str = field(repr=False)


class KeysHome(Home, Protocol):
    """An application, as its API keys know it."""

    definitions: Definitions
    store: Store
    handlers: dict[str, Handler]

    def use(self, *, action: str) -> Callable[[Any], Any]:
        """Puts a step around the requests of an action."""
        ...


class ApiKeys:
    """Knows who shows an API key, and keeps the keys at `/api-keys`, where their owners make and delete them.

    The answer to a create holds `key`, once; only its hash is kept. A key counts until it is deleted or its
    `expires_at` has come, and it may do what its owner may at that moment: with his `roles`, or only those of them that
    it names, and within its `scopes`, such as `["tasks:read"]`, where it names some. Keys do not manage keys.

    - `account`: the resource of the owners; without it, owners are the `Actor.id` that another way has found out.
    - `roles`, `claims`, `only`: the account's fields and the condition, as for `Sessions`, whose condition holds for
      keys as well, as does its `must_verify`.
    - `path`: where the keys are; `prefix`: with what their texts begin.
    - `lasts`: how long a key lasts at most, and unless it says less; None is for ever.
    - `most`: how many keys an owner has at most that he makes himself; the server may make more. Of those who make keys
      at the same moment no process sees those of another one.
    - `seen_every`: how often at most `used_at` is written down.
    """

    def __init__(
        self,
        account: type[Record[Any]] | None = None,
        *,
        roles: str | None = None,
        claims: Sequence[str] = (),
        only: Filter | None = None,
        path: str = "api-keys",
        prefix: str = "crd",
        lasts: timedelta | None = timedelta(days=365),
        most: int = 100,
        seen_every: timedelta = timedelta(minutes=10),
    ) -> None:
        if not prefix or not set(prefix) <= _PREFIX_CHARACTERS:
            raise ValueError(f"prefix is made of letters and digits, got {prefix!r}")
        if account is None and (roles is not None or claims or only is not None):
            raise ValueError("roles, claims and only are about accounts: ApiKeys(Account, …)")
        self.account = account
        self._roles, self._claims = roles, tuple(claims)
        self._only = only
        self._prefix = prefix
        self.lasts = lasts
        self._most = most
        self._seen_every = seen_every
        self._owners: Owners | None = None
        self._noting: set[UUID] = set()
        self._made: dict[int, dict[str, str]] = {}  # by request: what its answer is to tell
        self._making: dict[int, list[str]] = {}  # by request: for whom it makes one, each time
        self.record = _resource(self, account, path)

    # what an application asks of it (auth.Authenticator)

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """The keys."""
        return (self.record,)

    def join(self, home: Home) -> None:
        """It belongs to an application now."""
        self._home = lent = cast(KeysHome, home)
        schema = lent.definitions[self.record].schema
        self._every = Selection(schema, EVERYTHING, Mask(tuple(schema.fields)))
        lent.definitions[self.record].memo[ApiKeys] = self
        self._found_owners()  # so that what is wrong is told at once
        lent.use(action="call")(self._guard_call)

    def narrow(self, path: str, action: ActionName) -> Filter:
        """What holds, beside the rule of a resource, for an action on it."""
        return narrowed(path, action)

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Who shows a key; None for what is none. Raises Unauthorized for one that does not count."""
        token = credentials.token
        if token is None or not token.startswith(f"{self._prefix}_"):
            return None
        shown = read_key(self._prefix, token)
        row = None if shown is None else await self._home.store.lookup(self._every, shown.id)
        if shown is None or row is None:
            refuse("there is no such key")
        kept = self._home.definitions[self.record].from_plain(msgspec.json.decode(row.json))
        if not hmac.compare_digest(shown.digest, kept.digest):
            refuse("it has another secret")
        now = self._home.clock()
        if kept.expires_at is not None and kept.expires_at <= now:
            raise expired()
        owner = await self._owner(kept)
        if owner is None:
            refuse("its owner may not use it")
        await self._seen(kept, now)
        return self._actor(shown.id, kept, owner)

    async def issue(
        self,
        owner: Any,
        name: str,
        *,
        scopes: Collection[str] | None = None,
        roles: Collection[str] | None = None,
        expires_at: datetime | None = None,
    ) -> Issued:
        """Makes a key for an owner, as the server itself. Raises Invalid for scopes and times that cannot be."""
        made = new_key(self._prefix)
        values: dict[str, Any] = {
            "id": UUID(made.id), "name": name, "owner": owner, "expires_at": expires_at, "digest": made.digest,
            "ending": made.text[-4:],
            "scopes": None if scopes is None else list(scopes), "roles": None if roles is None else list(roles),
        }  # fmt: skip
        return Issued(await self._home.records.create(self.record, **values), made.text)

    # whose a key is

    def _found_owners(self) -> Owners | None:
        if self.account is None:
            return None
        sessions: Sessions | None = self._home.definitions[self.account].memo.get(Sessions)
        asked = (self._only, None if sessions is None else sessions.only)
        conditions = tuple(one for one in asked if one is not None)
        return Owners(
            self.account, self._home.store, self._home.definitions, self._home.clock,
            roles=self._roles, claims=self._claims, only=And(conditions) if conditions else None,
            proof=None if sessions is None else sessions.proof,
        )  # fmt: skip

    async def _owner(self, kept: Any) -> Owner | None:
        if self.account is None:
            return Owner(kept.owner, frozenset(kept.roles or ()), {})
        if self._owners is None:
            self._owners = self._found_owners()
            assert self._owners is not None
        plain = self._home.definitions[self.record].to_plain(kept)["owner"]
        owner = await self._owners.read(cast(Any, plain))
        if owner is None or kept.roles is None:
            return owner
        return replace(owner, roles=owner.roles.intersection(kept.roles))

    def _actor(self, id: str, kept: Any, owner: Owner) -> Actor:
        claims = {**owner.claims, "api_key": id, **({} if kept.scopes is None else {"scopes": list(kept.scopes)})}
        rests_on: list[Any] = [(self.record, id, _MATTERS)]
        if self.account is not None and self._owners is not None:
            rests_on.append((self.account, owner.key, self._owners.matters))
        return Actor(owner.key, owner.roles, claims, kept.expires_at, session=id, rests_on=tuple(rests_on))

    async def _seen(self, kept: Any, now: datetime) -> None:
        """Writes down that a key is used. That it is used must not fail for that."""
        if kept.used_at is not None and timedelta() <= now - kept.used_at < self._seen_every:
            return
        if kept.id in self._noting:  # many who come at once with one key are one use
            return
        self._noting.add(kept.id)
        try:
            await self._home.records.update(self.record, kept.id, used_at=now)
        except NotFound:
            refuse("it has been deleted a moment ago")
        except (StoreError, Problem) as error:
            _log.warning("the use of an API key is not written down: %s", error)
        finally:
            self._noting.discard(kept.id)

    # what is done with keys

    async def _guard_call(self, request: Request, next: Callable[[], Awaitable[Response]]) -> Response:
        """Lets a key call only those handlers that its scopes name."""
        if not covering(request.name, kind_of(self._home.handlers[request.name]))(request.actor):
            raise Forbidden(f"This key has no scope for {request.name}.")
        return await next()

    async def check_room(self, draft: Any, request: Request) -> None:
        """Raises Conflict when the owner of a key that is being made has as many as he may have, those that are being
        made at this moment among them. A key for somebody else is for the rules to refuse."""
        owner = str(draft.owner)
        if request.is_system or owner != str(request.actor.id):
            return
        ahead = sum(owners.count(owner) for owners in self._making.values())  # before it is asked who is there
        self._making.get(id(request), []).append(owner)
        kept = await self._home.records.count(self.record.where(owner=draft.owner))
        if kept + ahead >= self._most:
            raise Conflict(f"An owner has at most {self._most} keys; delete one that is not used any more.")

    def check(self, draft: Any, request: Request) -> None:
        """Completes a key that is being made. Raises Invalid for what cannot be one."""
        now, faults = self._home.clock(), []
        latest = None if self.lasts is None else now + self.lasts
        if draft.expires_at is None:
            draft.expires_at = latest
        elif draft.expires_at <= now:
            faults.append(Fault("too_early", "A key expires in the future.", pointer="/expires_at"))
        elif latest is not None and draft.expires_at > latest:
            faults.append(Fault("too_late", f"A key lasts {self.lasts} at most.", pointer="/expires_at"))
        paths, handlers = self._home.definitions.by_path, self._home.handlers
        for place in unknown(draft.scopes or (), paths, handlers):
            detail = "A scope is the path of a resource or the name of a handler, or *, alone or with :read or :write."
            faults.append(Fault("no_such_scope", detail, pointer=f"/scopes/{place}"))
        if draft.scopes == []:
            faults.append(Fault("no_scope", "A key without any scope is of no use; null is all.", pointer="/scopes"))
        if faults:
            raise Invalid(faults=faults)
        if not draft.digest:
            if id(request) not in self._made or request.is_system:
                raise TypeError("a key that is made here would be told to nobody: use ApiKeys.issue(…)")
            made = new_key(self._prefix, str(draft.id))
            draft.digest, draft.ending = made.digest, made.text[-4:]
            self._made[id(request)][str(draft.id)] = made.text

    @contextmanager
    def telling(self, request: Request) -> Iterator[dict[str, str]]:
        """The texts of the keys that a request makes, by their numbers."""
        self._making[id(request)] = []
        try:
            yield self._made.setdefault(id(request), {})
        finally:
            del self._made[id(request)], self._making[id(request)]


def _resource(keys: ApiKeys, account: type[Record[Any]] | None, path: str) -> type[ApiKeyRow]:
    """The resource of the keys."""
    own = allow.where(owner=me.id) & allow.when(without_key)

    async def complete(draft: Any, request: Request) -> None:
        await keys.check_room(draft, request)
        keys.check(draft, request)

    async def tell(request: Request, next: Callable[[], Awaitable[Response]]) -> Response:
        if request.is_minimal:
            raise Malformed("The answer is the only place where a key is told, so it cannot be left out.")
        with keys.telling(request) as made:
            written = cast(Written, await next())
            texts = [
                msgspec.json.encode(
                    {**({} if text is None else msgspec.json.decode(text)), "id": key, "key": made[key]}
                )
                for key, text in zip(cast(Sequence[str], written.keys), written.records, strict=True)
                if key in made
            ]
            return replace(written, records=[text.decode() for text in texts] if texts else written.records)

    def declare(names: dict[str, Any]) -> None:
        names["__module__"] = __name__
        names["__doc__"] = "A key with which a program acts for its owner."
        names["__annotations__"] = {"owner": str if account is None else Ref[account]}  # type: ignore[valid-type]
        names["owner"] = Field(default=me.id, immutable=True, on_delete="restrict" if account is None else "cascade")
        if account is None:  # nobody knows the roles of the owner, so he does not hand them out
            names["__annotations__"]["roles"] = list[str] | None
            names["roles"] = Field(default=None, immutable=True, write=allow.nobody)
        names["complete"] = before("create")(complete)
        names["tell"] = around("create")(tell)

    rules = {"read": own, "create": own, "update": own, "replace": allow.nobody, "delete": own}
    return cast(type[ApiKeyRow], types.new_class("ApiKey", (ApiKeyRow,), {"rules": rules, "path": path}, declare))
