"""A shorter story that breaks the same promise: delta debugging (Zeller and Hildebrandt, 2002) within a time limit."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from tests.model.held import Violation
from tests.model.steps import Step

_TRIES = 3


def shrink(
    steps: Sequence[Step], play: Callable[[Sequence[Step]], None], seconds: float
) -> tuple[list[Step], Violation | None]:
    """Leaves out whatever is not needed for `play` to raise Violation; what is left, and what it raises.

    What threads do is not decided by a seed, so a candidate that holds is played again before it is believed.
    """
    end = monotonic() + seconds
    kept, found = list(steps), None
    size = max(len(kept) // 2, 1)
    while monotonic() < end:
        start = 0
        while start < len(kept) and monotonic() < end:
            candidate = kept[:start] + kept[start + size :]
            violation = _broken(candidate, play)
            if violation is not None:
                kept, found = candidate, violation
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return kept, found


def _broken(steps: Sequence[Step], play: Callable[[Sequence[Step]], None]) -> Violation | None:
    for _ in range(_TRIES):
        try:
            play(steps)
        except Violation as violation:
            return violation
        except (Exception, asyncio.CancelledError):
            return None  # another failure is another story
    return None
