"""What `Field(validate=…)` says: predefined validators, which are part of a field's form, and the application's own."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crudite.validators import MatchesParent, Validator, named

OwnFunction: TypeAlias = Callable[..., Any] | Callable[..., Awaitable[Any]]
Validate: TypeAlias = str | Validator | MatchesParent | OwnFunction
"""A validator by name, as a value, or a function."""


@dataclass(frozen=True, slots=True)
class OwnValidator:
    """A function of the application: of a value, or of a value and its `FieldContext`."""

    function: OwnFunction
    takes_context: bool
    is_async: bool

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @classmethod
    def of(cls, function: OwnFunction) -> "OwnValidator":
        """The validator that a function is. Raises ValueError for one that takes neither one nor two arguments."""
        called = function if inspect.isroutine(function) else type(function).__call__
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
        takes = _taken(function)
        if takes not in (1, 2):
            name = getattr(function, "__name__", repr(function))
            raise ValueError(f"the validator {name} takes the value, or the value and its context")
        return cls(function, takes == 2, is_async)


Asked: TypeAlias = OwnValidator | MatchesParent
"""A validator that is asked when a record is about to be written."""


def read_validate(given: Validate | Iterable[Validate] | None) -> tuple[tuple[Validator, ...], tuple[Asked, ...]]:
    """The predefined validators that `Field(validate=…)` names, and what is asked of a record about to be written, both
    in order. Raises ValueError for what is no validator, with the nearest name."""
    predefined: list[Validator] = []
    asked: list[Asked] = []
    for one in _each(given):
        if isinstance(one, str):
            predefined.append(named(one))
        elif isinstance(one, Validator):
            predefined.append(one)
        elif isinstance(one, MatchesParent):
            asked.append(one)
        elif isinstance(one, type) and issubclass(one, Validator):
            raise ValueError(f"validate takes a validator, such as {one.__name__}(…), not its class")
        elif callable(one):
            asked.append(OwnValidator.of(one))
        else:
            raise ValueError(f"validate takes names, validators and functions, not {one!r}")
    return tuple(predefined), tuple(asked)


def _each(given: Any) -> Sequence[Any]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def _taken(function: OwnFunction) -> int | None:
    """How many arguments a function takes by position; those with a default do not count. None when it wants more by
    name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature, such as `str.strip`
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one for one in parameters if one.default is inspect.Parameter.empty]
    if any(one.kind is inspect.Parameter.KEYWORD_ONLY for one in needed):
        return None
    return sum(one.kind in positional for one in needed)
