"""The judge of the times of log-ins finds those that tell, and no others."""

import random

import pytest

from benchmarks.guessing import advantage, allowed, measure
from crudite import Hashing


def test_times_that_tell_are_found_and_others_are_not() -> None:
    dice = random.Random(7)
    times = [[dice.gauss(0.1, 0.01) for _ in range(300)] for _ in range(2)]
    assert advantage(*times) < allowed(300)
    assert advantage([time + 0.01 for time in times[0]], times[1]) > allowed(300)
    assert advantage([0.0005] * 300, times[1]) == 0.5
    assert advantage([1.0, 2.0], [1.0, 2.0]) == 0
    assert allowed(500) == pytest.approx(0.05 + 3 * 0.018266, abs=0.0001)


async def test_as_many_are_measured_of_each() -> None:
    known, unknown = await measure(2, "sqlite:///:memory:", Hashing(passes=1, memory=8, lanes=1))
    assert len(known) == len(unknown) == 2
    assert min(*known, *unknown) > 0
