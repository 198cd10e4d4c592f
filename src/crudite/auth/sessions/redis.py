"""Sessions in Redis or Valkey, `redis://host:6379`: one hash for each session, forgotten by the server when it expires,
and a set of those of each account."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from math import ceil
from typing import Any, Generic, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from crudite.auth.sessions.keeping import Kept, Part, V, merged
from crudite.buses.base import check_prefix
from crudite.clock import Clock
from crudite.errors import BusError, Conflict, DeclarationError, StoreError
from crudite.resources.records import Batch
from crudite.types import Key, Plain

T = TypeVar("T")

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_ANSWER = 2.0
_TRIES = 10
_TIMES = frozenset(f.name for f in fields(Kept) if f.name.endswith("_at"))
_DATA = frozenset(("account", "roles", "client", "values"))

_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 2 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""
"""Changes a session that is there: 1. It is not: 0. The field ARGV[1] does not hold ARGV[2] any more: 2. It is kept for
ARGV[3] milliseconds from now on."""


class Hashes(Generic[V]):
    """Keeps sessions of one kind in one Redis or Valkey server, under `?prefix=` (`crudite` when none is named) and a
    name of their own. It works inside `async with`. What the server does not answer within two seconds raises a
    StoreError.

    Raises DeclarationError for a URL that is none.
    """

    def __init__(self, url: str, clock: Clock, kind: type[V], name: str) -> None:
        self._url, self._prefix = _place(url)
        self._clock = clock
        self._kind = kind
        self._name = name
        self._client: Any = None

    async def __aenter__(self) -> Self:
        self._client = Redis.from_url(
            self._url, protocol=2, client_name="crudite", decode_responses=True, retry=Retry(NoBackoff(), 0),
            retry_on_error=[], socket_timeout=_ANSWER, socket_connect_timeout=_ANSWER,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        with suppress(RedisError, OSError):
            await client.aclose()

    async def find(self, id: str) -> V | None:
        """The session with a number; None when there is none, or not any more."""
        return _kept(self._kind, await self._answer(self._client.hgetall(self._session(id))))

    async def begin(self, session: V) -> None:
        """Keeps a new session. The server forgets those that have expired."""
        pipe = self._client.pipeline(transaction=True)
        self._put(pipe, session)
        await self._answer(pipe.execute())

    async def change(self, id: str, **values: Any) -> bool:
        """Changes some of what is kept of a session. Whether there (still) is such a session."""
        return await self._change(id, "", "", values) == 1

    async def remember(self, id: str, part: Part, patch: Mapping[str, Plain], most: int) -> Mapping[str, Plain] | None:
        """Merges values into those of a session: null takes one away. Returns all of them; None when there is no such
        session. Raises TooLarge for more than `most` bytes of JSON, Conflict when they keep changing."""
        for _ in range(_TRIES):
            held = await self._answer(self._client.hget(self._session(id), part))
            if held is None:
                return None
            values = merged(msgspec.json.decode(held), patch, most)
            match await self._change(id, part, held, {part: values}):
                case 0:
                    return None
                case 1:
                    return values
        raise Conflict("The values of the session keep changing; try again.")

    async def end(self, id: str) -> bool:
        """Ends a session. Whether there was one."""
        return bool(await self._answer(self._client.delete(self._session(id))))

    def _put(self, pipe: Any, session: V) -> None:
        key = self._session(session.id)
        pipe.hset(key, mapping=_texts({f.name: getattr(session, f.name) for f in fields(session)}))
        pipe.pexpire(key, self._lasts(session.expires_at))

    async def _change(self, id: str, part: str, held: str, values: Mapping[str, Any]) -> int:
        texts = [text for pair in _texts(values).items() for text in pair]
        lasts = self._lasts(values["expires_at"]) if "expires_at" in values else ""
        asked = self._client.eval(_CHANGE, 1, self._session(id), part, held, lasts, *texts)
        return int(await self._answer(asked))

    async def _answer(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except (TimeoutError, RedisError, OSError) as error:
            raise StoreError(f"the sessions cannot be had: {type(error).__name__}") from error

    def _session(self, id: str) -> str:
        return f"{self._prefix}:{self._name}:{id}"

    def _lasts(self, until: datetime) -> int:
        return max(ceil((until - self._clock()).total_seconds() * 1000), 1)


class RedisKeeper(Hashes[Kept]):
    """Keeps the sessions of accounts in one Redis or Valkey server (`Keeper`)."""

    record = None

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, clock, Kept, "session")

    async def end(self, id: str) -> bool:
        """Ends a session. Whether there was one."""
        kept = await self.find(id)
        if kept is None:
            return False
        pipe = self._client.pipeline(transaction=True)
        pipe.delete(self._session(id))
        pipe.srem(self._account(kept.account), id)
        return bool((await self._answer(pipe.execute()))[0])

    def include(self, batch: Batch, ended: Collection[str], renewed: Kept | None) -> None:
        """Nothing of it: another server has no part in the transaction."""

    async def of(self, account: Key) -> Sequence[Kept]:
        """The sessions of an account that have not expired, the oldest first."""
        ids = sorted(await self._answer(self._client.smembers(self._account(account))))
        if not ids:
            return []
        pipe = self._client.pipeline(transaction=False)
        for id in ids:
            pipe.hgetall(self._session(id))
        found = [_kept(Kept, texts) for texts in await self._answer(pipe.execute())]
        gone = [id for id, kept in zip(ids, found, strict=True) if kept is None]
        if gone:
            await self._answer(self._client.srem(self._account(account), *gone))
        return [kept for kept in found if kept is not None and kept.expires_at > self._clock()]

    def _put(self, pipe: Any, session: Kept) -> None:
        super()._put(pipe, session)
        account = self._account(session.account)
        pipe.sadd(account, session.id)
        pipe.pexpire(account, self._lasts(session.ends_at), gt=True)
        pipe.pexpire(account, self._lasts(session.ends_at), nx=True)

    def _account(self, key: Key) -> str:
        return f"{self._prefix}:sessions-of:{key}"


def _place(url: str) -> tuple[str, str]:
    """The URL for the driver, and the prefix. Raises DeclarationError, without what may hold a password."""
    try:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        prefix = check_prefix(asked.pop("prefix", "crudite"))
        if parts.scheme in _SCHEMES and parts.hostname and parts.port != 0:
            return urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], query=urlencode(asked))), prefix
    except (BusError, ValueError):
        pass
    raise DeclarationError(["Sessions(store=…): expected a URL such as redis://host:6379?prefix=name"])


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """What is kept, as texts; nothing for null, which is no text."""
    return {name: _text(name, value) for name, value in values.items() if value is not None}


def _text(name: str, value: Any) -> str:
    if name in _TIMES:
        return str(value.isoformat())
    return msgspec.json.encode(value).decode() if name in _DATA else str(value)


def _kept(kind: type[V], texts: Mapping[str, str]) -> V | None:
    if not texts:
        return None
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name in _TIMES:
            values[name] = datetime.fromisoformat(text)
        else:
            values[name] = msgspec.json.decode(text) if name in _DATA else text
    return kind(**values)
