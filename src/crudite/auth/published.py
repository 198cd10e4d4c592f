"""What others publish about themselves: fetched when it is needed, kept, and fetched again when it may have changed.

    nothing yet ─────────► fetched; whoever needs it waits
    older than `fresh` ──► one request fetches it again, the others go on with the old one
    cannot be had ───────► the old one is kept, up to KEPT; asked for again after PAUSE

There is no task of its own: a request that finds something to be done does it, so nothing outlives the application,
and a request that is broken off leaves the rest to the next one.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from crudite.auth.fetching import Address, Unreachable, fetch
from crudite.errors import Unavailable

T = TypeVar("T")

PAUSE = timedelta(seconds=10)
"""How long after one fetch there is none again, whatever comes."""
KEPT = timedelta(hours=24)
"""How long something is used while it cannot be had anew."""
SECONDS = 5.0
"""How long a fetch may take."""

_ZERO = timedelta()  # a clock that was set back makes ages negative
_log = logging.getLogger("crudite")


class Published(Generic[T]):
    """A document of at most `largest` bytes, as `understood` reads it, which raises ValueError for what is none; `what`
    it is for the log. `fetched` is when it came."""

    def __init__(
        self, address: Address, understood: Callable[[bytes], T], what: str, *, fresh: timedelta, largest: int
    ) -> None:
        self.fetched: datetime | None = None
        self._address = address
        self._understood = understood
        self._what = what
        self._fresh = fresh
        self._largest = largest
        self._value: T | None = None
        self._tried: datetime | None = None  # when it was asked for
        self._is_fetching = asyncio.Lock()

    @property
    def is_away(self) -> bool:
        """Whether it could not be had the last time that it was asked for."""
        return self._tried is not None and (self.fetched is None or self._tried > self.fetched)

    async def current(self, clock: Callable[[], datetime]) -> T | None:
        """It, where it may be used; else None."""
        age = self._age(clock)
        if age is None or not (_ZERO <= age < self._fresh or (self._is_fetching.locked() and age < KEPT)):
            await self.renew(clock)
            age = self._age(clock)
        return self._value if age is not None and age < KEPT else None

    async def renew(self, clock: Callable[[], datetime]) -> None:
        """Fetches it, unless that was done, or tried, a moment ago."""
        before = self._tried
        async with self._is_fetching:
            now = clock()
            if self._tried != before or (self._tried is not None and _ZERO <= now - self._tried < PAUSE):
                return
            try:
                answer = await fetch(self._address, limit=self._largest, seconds=SECONDS)
                if answer.status != 200:
                    raise Unreachable(f"{self._address} answers {answer.status}")
                self._value, self.fetched = self._understood(answer.body), now
            except (Unreachable, ValueError, RecursionError) as error:
                _log.warning("%s cannot be fetched: %s", self._what, error)
            self._tried = now

    def _age(self, clock: Callable[[], datetime]) -> timedelta | None:
        return None if self.fetched is None else clock() - self.fetched


def away(detail: str) -> Unavailable:
    """The problem of whoever needs now what cannot be had."""
    return Unavailable(detail, headers={"retry-after": str(int(PAUSE.total_seconds()))})
