"""How the faults of a query are gathered and worded: what was expected, what came, the nearest name."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

from crudite.errors import Fault, Invalid, Malformed
from crudite.schema import refuse_unstorable_text

MOST_FAULTS = 100
"""How many faults of one query are told; what comes after them is not."""

BAD_TEXT = "bad_text"
"""The code of a text that no store can keep."""

Complain: TypeAlias = Callable[[str, str], None]
"""Takes the code and the detail of a fault whose place is known."""

_LONGEST_SHOWN = 80


def add_fault(faults: list[Fault], code: str, detail: str, place: str) -> None:
    """Adds a fault; its place is a JSON Pointer, the name of a URL parameter, or empty."""
    if len(faults) >= MOST_FAULTS:
        return
    if place.startswith("/"):
        faults.append(Fault(code, detail, pointer=place))
    else:
        faults.append(Fault(code, detail, parameter=place or None))


def raise_faults(faults: list[Fault]) -> None:
    """Raises Malformed with all of the faults, Invalid when all are texts that cannot be kept."""
    if faults:
        kind = Invalid if all(fault.code == BAD_TEXT for fault in faults) else Malformed
        raise kind(faults=faults)


def shown(value: Any) -> str:
    """What came, as it can be put into a fault: short, on one line, unprintable characters escaped."""
    if isinstance(value, str):
        return repr(value[:_LONGEST_SHOWN]) + ("…" if len(value) > _LONGEST_SHOWN else "")
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**_LONGEST_SHOWN:  # Python refuses to write 5,000 digits
        return f"an integer of more than {_LONGEST_SHOWN} digits"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple | set | frozenset) else repr(value)[:_LONGEST_SHOWN]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known one most like it, or just the full stop."""
    near = get_close_matches(name, list(known), 1) if len(name) <= _LONGEST_SHOWN else []
    return f"; did you mean {near[0]!r}?" if near else "."


def is_unstorable(text: Any) -> bool:
    """Whether a value is a text with U+0000 or a lone surrogate, which no store can keep."""
    if not isinstance(text, str):
        return False
    try:
        refuse_unstorable_text(text)
    except ValueError:
        return True
    return False
