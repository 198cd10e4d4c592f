"""The random model test in the bounds of a test run; `python -m tests.model` goes on for as long as one likes."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

import pytest

from tests.model.places import on_postgresql, on_sqlite
from tests.model.steps import story
from tests.model.telling import Setting, tell

_STORIES = 24
_LENGTH = 120
_ON_POSTGRESQL = 4
_OF_TWO = 3


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are asked for, and what is logged of them is not of interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest) -> Setting:
    """Two processes on one database."""
    is_file = request.param == "sqlite"
    return Setting(on_sqlite if is_file else on_postgresql(request.getfixturevalue("postgresql")), processes=2)


@pytest.mark.parametrize("part", range(4))
def test_at_each_of_its_cursors_every_client_holds_what_the_model_says(part: int) -> None:
    _tell(range(part * _STORIES // 4, (part + 1) * _STORIES // 4), Setting())


def test_every_client_holds_what_the_model_says_on_postgresql_too(postgresql: str) -> None:
    counts = _tell(range(_ON_POSTGRESQL), Setting(on_postgresql(postgresql)))

    assert counts["held open"] > 0


def test_so_does_every_client_that_goes_from_one_process_to_another(two: Setting) -> None:
    counts = _tell(range(_OF_TWO), two)

    assert counts["moved"] > 0


def _tell(seeds: Iterable[int], setting: Setting) -> Counter[str]:
    """Tells stories, of which none breaks a promise and all together look at enough."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts.update(asyncio.run(tell(story(Random(seed), _LENGTH, setting.processes), seed, setting)))
    assert min(counts["writes"], counts["positions"], counts["settled"], counts["judged anew"]) > 0
    assert counts["sets"] > counts["positions"] > 100
    return counts
