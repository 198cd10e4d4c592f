"""Bounds of settings: what each must be, so that everything that is wrong is named at once."""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """What a setting must be, in words, and whether a value is so."""

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and -inf < value < inf)


def _are_pauses(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_finite, value)) and 0 < value[0] <= value[1]


SOME = Bound("a whole number above 0", lambda value: _is_whole(value) and value > 0)
MAYBE_NONE = Bound("a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
SECONDS = Bound("seconds, more than 0", lambda value: _is_finite(value) and value > 0)
MAYBE_NO_SECONDS = Bound("seconds, 0 or more", lambda value: _is_finite(value) and value >= 0)
PAUSES = Bound("two times in seconds, the first above 0 and the second not below it", _are_pauses)


def check(settings: object, bounds: Mapping[str, Bound]) -> None:
    """Raises ValueError that names every setting which is not within its bound, what was expected and what came."""
    given = {name: getattr(settings, name) for name in bounds}
    wrong = [
        f"{name} must be {bound.expected}, not {given[name]!r}"
        for name, bound in bounds.items()
        if not bound.holds(given[name])
    ]
    if wrong:
        raise ValueError(f"{type(settings).__name__}: {'; '.join(wrong)}")
