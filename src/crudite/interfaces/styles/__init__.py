"""How older systems spoke REST: each style is a table of choices, and today's is one of them."""

from difflib import get_close_matches

from crudite.interfaces.styles.booster import BOOSTER, Booster
from crudite.interfaces.styles.options import Rows, WheelhouseOptions, WheelhousePermissions
from crudite.interfaces.styles.style import DEFAULT, JSON_TYPE, Asked, Body, Shown, Style
from crudite.interfaces.styles.wheelhouse import WHEELHOUSE, Wheelhouse

_NAMED = {style.name: style for style in (DEFAULT, BOOSTER, WHEELHOUSE)}


def style_of(given: str | Style) -> Style:
    """A style, or the one with a name. Raises ValueError for an unknown name, with the nearest."""
    if isinstance(given, Style):
        return given
    found = _NAMED.get(given)
    if found is None:
        near = get_close_matches(given, list(_NAMED), 1)
        hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(map(repr, _NAMED))}."
        raise ValueError(f"there is no style {given!r}{hint}")
    return found


__all__ = [
    "BOOSTER",
    "DEFAULT",
    "JSON_TYPE",
    "WHEELHOUSE",
    "Asked",
    "Body",
    "Booster",
    "Rows",
    "Shown",
    "Style",
    "Wheelhouse",
    "WheelhouseOptions",
    "WheelhousePermissions",
    "style_of",
]
