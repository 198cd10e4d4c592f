"""A function of the application that decides about an action, and what of the request it takes."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from crudite import calling
from crudite.resources.hooks import call, is_async
from crudite.resources.request import Request

Takes: TypeAlias = tuple[str, ...]

_FORMS: Mapping[str, Sequence[Takes]] = {
    "read": (("request", "records"), ("request", "record"), ("request",)),
    "create": (("request", "records", "body"), ("request", "body")),
    "update": (("request", "record", "body"), ("request", "body")),
    "delete": (("request", "record", "body"), ("request", "body")),
}
"""What a function for each word may take, the usual first. The others of two are known by the name of their last
parameter: nobody is to get a body where he looks for a record."""


class Decision(NamedTuple):
    """A function that decides, and what it takes."""

    function: Callable[..., Any]
    takes: Takes

    @classmethod
    def of(cls, word: str, function: Any) -> "Decision | None":
        """The decision about what a word means; None for what cannot be called so."""
        named = _required(function)
        for takes in _FORMS[word][1:]:
            if len(named) == len(takes) > 1 and named[-1] == takes[-1]:
                return cls(function, takes)
        return next((cls(function, takes) for takes in _by_number(word) if calling.takes(function, len(takes))), None)

    async def __call__(self, request: Request, **given: Any) -> Any:
        """What it decides, given what it takes of all that there is."""
        return await call(self.function, request, *(given[name] for name in self.takes[1:]))

    async def of_each(self, request: Request, rows: Sequence[Any]) -> Sequence[Any]:
        """What it decides about each of some records."""
        if is_async(self.function):
            return [await self.function(request, dict(row)) for row in rows]
        return await call(lambda: [self.function(request, dict(row)) for row in rows])  # type: ignore[no-any-return]


def forms(word: str) -> str:
    """What a function for a word may take, for somebody who reads of it."""
    return " or ".join(f"({', '.join(takes)})" for takes in _FORMS[word])


def _by_number(word: str) -> Sequence[Takes]:
    """What can be told by the number of arguments alone."""
    usual, *others = _FORMS[word]
    return usual, *(takes for takes in others if len(takes) == 1)


def _required(function: Any) -> Sequence[str]:
    """The names of the parameters that must be given by place."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in parameters if one.kind in by_place and one.default is one.empty]
