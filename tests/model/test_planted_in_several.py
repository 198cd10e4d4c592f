"""The model test finds what goes wrong between two processes, too. A file of its own: files are told side by side."""

from collections.abc import Callable

import pytest

from tests.model.held import Violation
from tests.model.places import on_postgresql
from tests.model.planting import quiet, tell_stories
from tests.model.plants import Patch
from tests.model.plants_of_several import SEVERAL, TOLD_BY
from tests.model.telling import Setting

__all__ = ["quiet"]


@pytest.mark.parametrize("plant", SEVERAL, ids=lambda plant: plant.__name__)
def test_a_fault_that_two_processes_have_is_found(
    plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch, postgresql: str
) -> None:
    plant(monkeypatch.setattr)

    with pytest.raises(
        Violation, match=r"holds|not held|no commit|different states|last state|was revoked|does not end"
    ):
        tell_stories(Setting(on_postgresql(postgresql), processes=2), scenes=0.3, first=TOLD_BY.get(plant, 0))
