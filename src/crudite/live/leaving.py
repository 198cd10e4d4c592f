"""Leaving: the connections of a server that goes away end in steps, so that they come to the next one in steps."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TypeVar

STEP = 0.1
"""Seconds between two steps."""

_LONGEST = 10.0
_FEWEST = 10

T = TypeVar("T")


def steps(connections: Sequence[T], within: float) -> Iterator[Sequence[T]]:
    """The connections that end in one step after the other: 10 % of all of them a second, more where they would not
    end `within` so many seconds else, and no fewer than ten at once. Within 0 seconds all end in one step."""
    count = max(int(min(within, _LONGEST) / STEP), 1)
    size = max(ceil(len(connections) / count), _FEWEST if count > 1 else len(connections), 1)
    for start in range(0, len(connections), size):
        yield connections[start : start + size]
