"""The random model test in the bounds of a test run; `python -m tests.model` goes on for as long as one likes."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.model.steps import story
from tests.model.story import tell

_STORIES = 24
_LENGTH = 120


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are asked for, and what is logged of them is not of interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


_ON_POSTGRESQL = 4


@pytest.mark.parametrize("part", range(4))
def test_at_each_of_its_cursors_every_client_holds_what_the_model_says(part: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(part * _STORIES // 4, (part + 1) * _STORIES // 4):
        counts.update(asyncio.run(tell(story(Random(seed), _LENGTH), seed)))
    _check(counts)


def test_every_client_holds_what_the_model_says_on_postgresql_too(postgresql: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(_ON_POSTGRESQL):
        counts.update(asyncio.run(tell(story(Random(seed), _LENGTH), seed, server=postgresql)))
    _check(counts)


def _check(counts: Counter[str]) -> None:
    """Enough has been looked at."""
    assert min(counts["writes"], counts["positions"], counts["settled"]) > 0
    assert counts["sets"] > counts["positions"] > 100
