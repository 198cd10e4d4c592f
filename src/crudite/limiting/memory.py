"""Counting in the memory of this process."""

from collections.abc import Callable
from typing import Self

from crudite.limiting.base import Digest
from crudite.limiting.rate import Rate, Verdict

MOST_KEYS = 100_000
"""Some twenty megabytes of them."""


class MemoryCounts:
    """Counts by itself; what it knows is gone with the process. `seconds` tells the time.

    It knows up to `most` keys. Beyond, those go that owe the least: who is refused owes the most.
    """

    def __init__(self, seconds: Callable[[], float], most: int = MOST_KEYS) -> None:
        self._seconds = seconds
        self._most = most
        self._free_at: dict[Digest, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing: what has been counted is kept."""

    def __len__(self) -> int:
        """How many keys are known."""
        return len(self._free_at)

    async def take(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """Takes some of a rate."""
        return self.take_now(digest, rate, cost)

    def take_now(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """The same, at once."""
        now = self._seconds()
        debt = max(self._free_at.get(digest, now) - now, 0.0)
        after = rate.taken(debt, cost)
        if after is None:
            return Verdict.refused(rate, debt, cost)
        self._set(digest, now + after, now)
        return Verdict.allowed(rate, after)

    def owe(self, digest: Digest, seconds: float) -> None:
        """Somebody else has taken so many seconds' worth already, whether it was left here or not."""
        now = self._seconds()
        self._set(digest, max(self._free_at.get(digest, now), now) + seconds, now)

    def _set(self, digest: Digest, free_at: float, now: float) -> None:
        self._free_at[digest] = free_at
        if len(self._free_at) > self._most:
            owing = sorted((at, key) for key, at in self._free_at.items() if at > now)
            self._free_at = {key: at for at, key in owing[-(self._most * 9 // 10) :]}
