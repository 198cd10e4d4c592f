"""Counting in Redis or Valkey, `redis://host:6379`: exact for all processes, for one round trip each; those who ask
while one is under way go together on the next."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlunsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from crudite.buses.base import check_prefix, split
from crudite.errors import BusError, DeclarationError
from crudite.limiting.base import CountsAway, Digest
from crudite.limiting.rate import Rate, Verdict

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_ANSWER = 1.0
_TOGETHER = 500

_TAKE = """
local now = tonumber(ARGV[3])
local kept = 86400000
if not now then
  local time = redis.call('TIME')
  now, kept = time[1] + time[2] / 1000000, 0
end
local owed = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0)
local debt = math.min(owed, tonumber(ARGV[2]))
local after = debt + ARGV[1]
if after > ARGV[2] + 0.000002 then
  if owed > debt + 1 then
    redis.call('SET', KEYS[1], string.format('%.6f', now + debt), 'PX', math.ceil(debt * 1000) + kept)
  end
  return {0, string.format('%.6f', debt)}
end
redis.call('SET', KEYS[1], string.format('%.6f', now + after), 'PX', math.ceil(after * 1000) + kept)
return {1, string.format('%.6f', after)}
"""
"""Takes a time's worth (ARGV[1]) where the debt does not pass ARGV[2] then. Who owes more than that begins anew: the
clock has been set back. The server's counts, unless ARGV[3] tells the time: by that it cannot forget keys."""


_SHA = sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


class _Wish(NamedTuple):
    """Somebody who waits for a verdict."""

    key: str
    rate: Rate
    cost: int
    verdict: asyncio.Future[Verdict]


class RedisCounts:
    """Counts in one Redis or Valkey server, under `?prefix=` (`crudite` when none is named). The server's clock counts,
    or `seconds`. Raises DeclarationError for a URL that is none."""

    def __init__(self, url: str, seconds: Callable[[], float] | None = None) -> None:
        try:
            self._url, self._prefix = _read(url)
        except BusError as error:
            raise DeclarationError([f"rates_store: {str(error).removeprefix('the bus: ')}"]) from None
        self._seconds = seconds
        self._client: Any = None
        self._wishes: list[_Wish] = []
        self._asking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client = Redis.from_url(
            self._url, protocol=2, client_name="crudite", retry=Retry(NoBackoff(), 0), retry_on_error=[],
            socket_timeout=_ANSWER, socket_connect_timeout=_ANSWER,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the connection, behind those who ask."""
        if self._asking is not None:
            await asyncio.wait([self._asking])
        await self._client.aclose()

    async def take(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """Takes some of a rate."""
        rate.taken(0.0, cost)
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._wishes.append(_Wish(f"{self._prefix}:rates:{digest.hex()}", rate, cost, verdict))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await verdict

    async def _ask(self) -> None:
        try:
            while self._wishes:
                together, self._wishes = self._wishes[:_TOGETHER], self._wishes[_TOGETHER:]
                try:
                    told = await self._told(together)
                except (RedisError, OSError, TimeoutError) as error:
                    told = [error] * len(together)
                for wish, one in zip(together, told, strict=True):
                    _settle(wish, one)
        finally:
            self._asking = None

    async def _told(self, wishes: Sequence[_Wish]) -> Sequence[Any]:
        """What the server says to each, or why it does not."""
        told = await self._sent(wishes)
        missed = [at for at, one in enumerate(told) if isinstance(one, NoScriptError)]
        if missed:  # the server has been started anew, and has not run these
            await self._client.script_load(_TAKE)
            for at, one in zip(missed, await self._sent([wishes[at] for at in missed]), strict=True):
                told[at] = one
        return told

    async def _sent(self, wishes: Sequence[_Wish]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        now = "" if self._seconds is None else repr(self._seconds())
        for key, rate, cost, _ in wishes:
            pipe.evalsha(_SHA, 1, key, repr(rate.interval * cost), repr(rate.most), now)
        told: list[Any] = await pipe.execute(raise_on_error=False)
        return told


def _read(url: str) -> tuple[str, str]:
    """A URL as the driver takes it, and the prefix. Raises BusError, and shows no password."""
    parts, hosts = split(url)
    asked = dict(parse_qsl(parts.query))
    prefix = check_prefix(asked.pop("prefix", "crudite"))
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise BusError("expected a URL such as redis://host:6379?prefix=name")
    found = urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], query=urlencode(asked)))
    try:
        ConnectionPool.from_url(found).make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        raise BusError(f"redis://{hosts}: {error}") from error
    return found, prefix


def _settle(wish: _Wish, told: Any) -> None:
    if wish.verdict.done():  # nobody waits any more
        return
    if isinstance(told, Exception):
        away = CountsAway(f"Redis: {str(told) or type(told).__name__}")
        away.__cause__ = told
        wish.verdict.set_exception(away)
        return
    is_allowed, debt = told[0], float(told[1])
    verdict = Verdict.allowed(wish.rate, debt) if is_allowed else Verdict.refused(wish.rate, debt, wish.cost)
    wish.verdict.set_result(verdict)
