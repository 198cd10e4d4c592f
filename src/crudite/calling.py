"""How a function of the application can be called."""

import inspect
from typing import Any


def takes(function: Any, count: int) -> bool:
    """Whether something can be called with so many arguments by position, and needs no other ones."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # one that is not written in Python may not tell
        return True
    return True
