"""The model test finds what it is there to find: each fault that is planted into the engine breaks a promise soon."""

from collections.abc import Callable, Sequence

import pytest

from tests.model.held import Violation
from tests.model.planting import quiet, tell_stories
from tests.model.plants import PLANTS, TOLD_BY, Patch
from tests.model.shrink import shrink
from tests.model.steps import Step
from tests.model.telling import Setting

__all__ = ["quiet"]


_FOUND = r"holds|not held|different states|failed under|client \d+: KeyError|does not end"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch.setattr)

    with pytest.raises(Violation, match=_FOUND):
        tell_stories(Setting(), first=TOLD_BY.get(plant, 0))


def test_the_story_of_a_failure_is_made_short() -> None:
    """What breaks is two steps that do not stand together; all others are left out."""
    steps: list[Step] = [("turns", number) for number in range(50)]

    def play(some: Sequence[Step]) -> None:
        if ("turns", 7) in some and ("turns", 33) in some:
            raise Violation("both are there")

    kept, found = shrink(steps, play, 30)

    assert kept == [("turns", 7), ("turns", 33)]
    assert str(found) == "both are there"
