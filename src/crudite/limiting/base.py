"""The port of those who count: how much of a rate has been used under a key."""

from typing import Protocol, Self, TypeAlias

from crudite.errors import CruditeError
from crudite.limiting.rate import Rate, Verdict

Digest: TypeAlias = bytes
"""Stands for a key: what is counted says nothing of whom."""

DIGEST_SIZE = 12


class CountsAway(CruditeError):
    """Where it is counted cannot be asked now."""


class Counts(Protocol):
    """Counts what is taken of rates. `crudite.testing.counts` gives it its meaning.

    It works inside `async with`, once, in one event loop.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def take(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """Takes `cost` of a rate under a digest, if that is left: all of it, or nothing. Atomic: who asks at the same
        time gets what is left behind it. Raises CountsAway; then it may have been taken."""
        ...
