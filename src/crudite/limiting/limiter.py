"""The limiter of an application: takes of rates, wherever that is counted, and never fails.

Where the counts are kept elsewhere (Redis, the database) and that is away, each process counts by itself until it is
back. To let everybody pass would open the door to whoever can make it fail; to refuse everybody would let a cache that
is down take the application with it, log-in first. As it is, a client may come as often as there are processes, for as
long as that lasts.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from time import monotonic

from crudite.limiting.base import DIGEST_SIZE, Counts, CountsAway, Digest
from crudite.limiting.memory import MemoryCounts
from crudite.limiting.rate import Rate, Verdict

_PAUSE = 1.0
"""Seconds for which counts that are away are not asked again: nobody is to wait for them each time."""

_log = logging.getLogger("crudite")


class Limiter:
    """Takes of rates under keys: `await limiter.take("login:7", Rate("5/minute"))`. In memory until it is told where
    else to count (`counting`); `seconds` is the clock of that."""

    def __init__(self, seconds: Callable[[], float] = monotonic) -> None:
        self.memory = MemoryCounts(seconds)
        """What this process counts by itself."""
        self.allowed: Counter[str] = Counter()
        """How often something was allowed, by the names of rates."""
        self.refused: Counter[str] = Counter()
        """How often it was refused."""
        self.failures = 0
        """How often the counts could not be asked."""
        self._counts: Counts = self.memory
        self._asks_again_at = 0.0
        self._is_away = False

    @asynccontextmanager
    async def counting(self, counts: Counts) -> AsyncIterator[None]:
        """Counts there for as long as the block lasts."""
        async with counts:
            self._counts = counts
            try:
                yield
            finally:
                self._counts = self.memory

    async def take(self, key: str, rate: Rate, cost: int = 1) -> Verdict:
        """Takes `cost` of a rate under a key, if that is left. Keys of different rates do not meet. Raises ValueError
        for a cost that is never left."""
        verdict = await self._taken(_digest(key, rate), rate, cost)
        (self.allowed if verdict.is_allowed else self.refused)[rate.name] += 1
        return verdict

    async def _taken(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        counts = self._counts
        if counts is self.memory or monotonic() < self._asks_again_at:
            return self.memory.take_now(digest, rate, cost)
        try:
            verdict = await counts.take(digest, rate, cost)
        except CountsAway as error:
            self._lose(error)
            return self.memory.take_now(digest, rate, cost)
        if self._is_away:
            self._is_away = False
            _log.warning("rates are counted together again")
        return verdict

    def _lose(self, error: CountsAway) -> None:
        self.failures += 1
        self._asks_again_at = monotonic() + _PAUSE
        if not self._is_away:
            self._is_away = True
            _log.warning("rates cannot be counted together, each process counts by itself for now: %s", error)


def _digest(key: str, rate: Rate) -> Digest:
    return blake2b(f"{rate.name}\0{key}".encode(errors="surrogatepass"), digest_size=DIGEST_SIZE).digest()
