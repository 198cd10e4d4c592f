"""The model test finds what it is there to find: each fault that is planted into the engine breaks a promise soon."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest

from tests.model.held import Violation
from tests.model.places import on_postgresql
from tests.model.plants import PLANTS, Patch
from tests.model.plants_of_several import SEVERAL
from tests.model.shrink import shrink
from tests.model.steps import Step, story
from tests.model.telling import Setting, tell

_STORIES = 200
_LENGTH = 80
_PATIENCE = 10.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The faults are planted, and what is logged of them is not of interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch.setattr)

    with pytest.raises(Violation, match=r"holds|different states|failed under|client \d+: KeyError|does not end"):
        tell_stories(Setting())


@pytest.mark.parametrize("plant", SEVERAL, ids=lambda plant: plant.__name__)
def test_a_fault_that_two_processes_have_is_found(
    plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch, postgresql: str
) -> None:
    plant(monkeypatch.setattr)

    with pytest.raises(Violation, match=r"holds|different states|last state|was revoked|does not end"):
        tell_stories(Setting(on_postgresql(postgresql), processes=2), scenes=0.3)


def tell_stories(setting: Setting, scenes: float = 0.04) -> None:
    """Stories, until one of them breaks a promise."""
    for seed in range(_STORIES):
        told = story(Random(seed), _LENGTH, setting.processes, scenes)
        asyncio.run(tell(told, seed, setting, _PATIENCE))


def test_the_story_of_a_failure_is_made_short() -> None:
    """What breaks is two steps that do not stand together; all others are left out."""
    steps: list[Step] = [("turns", number) for number in range(50)]

    def play(some: Sequence[Step]) -> None:
        if ("turns", 7) in some and ("turns", 33) in some:
            raise Violation("both are there")

    kept, found = shrink(steps, play, 30)

    assert kept == [("turns", 7), ("turns", 33)]
    assert str(found) == "both are there"
