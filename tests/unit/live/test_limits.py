"""Limits are checked when they are made: whatever is wrong is named at once."""

from dataclasses import fields
from typing import Any

import pytest

from crudite import LiveLimits
from crudite.interfaces.base import Limits

MAY_BE_NONE = {"tick", "rerun_tick", "missed", "tail", "catch_all"}
NAMES = sorted(field.name for field in fields(LiveLimits) if field.name != "retry")


def test_everything_that_is_wrong_is_named_at_once_with_what_is_expected() -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the whole text is compared)
        LiveLimits(snapshot_reads=0, bulk=-1, events=10, sweep=0.0)
    assert str(raised.value) == (
        "LiveLimits: bulk must be a whole number above 0, not -1; "
        "snapshot_reads must be a whole number above 0, not 0; sweep must be seconds, more than 0, not 0.0"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_positive_or_none_where_that_means_something(name: str) -> None:
    for wrong in (-1, "1", None, float("nan"), float("inf"), True):
        with pytest.raises(ValueError, match=f"{name} must be"):
            LiveLimits(**{name: wrong})  # type: ignore[arg-type]
    given: dict[str, Any] = {name: 0}
    if name in MAY_BE_NONE:
        assert getattr(LiveLimits(**given), name) == 0
    else:
        with pytest.raises(ValueError, match=f"{name} must be"):
            LiveLimits(**given)


@pytest.mark.parametrize("pauses", [(0, 0), (0, 1), (2, 1), (-1, 1), (1,), (1, 2, 3), 1, (1, None), (1, float("nan"))])
def test_the_first_pause_is_positive_and_not_longer_than_the_longest(pauses: Any) -> None:
    with pytest.raises(ValueError, match="retry must be two times in seconds"):
        LiveLimits(retry=pauses)


def test_what_clients_may_ask_for_is_checked_too() -> None:
    with pytest.raises(ValueError, match="body must be a whole number above 0, not 0; arrivals must be"):
        Limits(body=0, arrivals=-1)
    assert Limits(body=1, message=1, connections=1, arrivals=1).arrivals == 1
