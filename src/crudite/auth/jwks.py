"""The keys that an issuer publishes (RFC 7517): fetched when they are needed, kept, and fetched again when they change.

    no keys yet ────────────────► fetched; whoever needs them waits. Not to be had: nobody can be told apart (503)
    older than FRESH ───────────► one request fetches them again, the others go on with the old ones
    a token names another key ──► fetched again, but not sooner than PAUSE after the last time
    the issuer is away ─────────► the old ones are kept, up to KEPT; asked again after PAUSE

There is no task of its own: a request that finds something to be done does it, so nothing outlives the application,
and a request that is broken off leaves the rest to the next one.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from crudite.auth.fetching import Address, Unreachable, fetch
from crudite.auth.signatures import UnknownKey, VerifyingKey, opened, read_published_keys
from crudite.errors import Unavailable

FRESH = timedelta(minutes=10)
"""How long keys are used before they are fetched again."""
PAUSE = timedelta(seconds=10)
"""How long after one fetch there is none again, whatever tokens come."""
KEPT = timedelta(hours=24)
"""How long keys are used while their issuer cannot be asked."""
SECONDS = 5.0
"""How long a fetch may take."""
LARGEST = 256 * 1024
"""The most bytes of a set of keys."""

_ZERO = timedelta()  # a clock that was set back makes ages negative
_log = logging.getLogger("crudite")


class PublishedKeys:
    """The keys at an address."""

    def __init__(self, url: str, algorithms: Collection[str] | None) -> None:
        self._address = Address.of(url)
        self._algorithms = algorithms
        self._keys: Sequence[VerifyingKey] = ()
        self._fetched: datetime | None = None  # when the keys came
        self._tried: datetime | None = None  # when they were asked for
        self._is_fetching = asyncio.Lock()

    async def opened(self, token: str, typ: str | None, clock: Callable[[], datetime]) -> dict[str, Any]:
        """The claims of a token that the issuer signed. Raises BadToken; Unavailable when nobody knows."""
        await self._refresh(clock)
        try:
            return opened(token, self._keys, typ)
        except UnknownKey:
            before = self._fetched
            await self._fetch_again(clock)
            if self._fetched == before:
                if self._tried is not None and (before is None or self._tried > before):
                    raise self._away() from None  # it may well be a new key
                raise
            return opened(token, self._keys, typ)

    async def _refresh(self, clock: Callable[[], datetime]) -> None:
        """Has keys that may be used. Raises Unavailable when there are none."""
        age = self._age(clock)
        if age is not None and (_ZERO <= age < FRESH or (self._is_fetching.locked() and age < KEPT)):
            return
        await self._fetch_again(clock)
        age = self._age(clock)
        if age is None or age >= KEPT:
            raise self._away()

    def _age(self, clock: Callable[[], datetime]) -> timedelta | None:
        return None if self._fetched is None else clock() - self._fetched

    async def _fetch_again(self, clock: Callable[[], datetime]) -> None:
        """Fetches the keys, unless that was done, or tried, a moment ago."""
        before = self._tried
        async with self._is_fetching:
            now = clock()
            if self._tried != before or (self._tried is not None and _ZERO <= now - self._tried < PAUSE):
                return
            try:
                answer = await fetch(self._address, limit=LARGEST, seconds=SECONDS)
                if answer.status != 200:
                    raise Unreachable(f"{self._address} answers {answer.status}")
                keys = read_published_keys(answer.body, self._algorithms)
            except (Unreachable, ValueError, RecursionError) as error:
                _log.warning("the keys of tokens cannot be fetched: %s", error)
            else:
                self._keys, self._fetched = keys, now
            self._tried = now

    def _away(self) -> Unavailable:
        seconds = str(int(PAUSE.total_seconds()))
        return Unavailable("Tokens cannot be checked now.", headers={"retry-after": seconds})
