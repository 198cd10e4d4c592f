"""Running application code: coroutines in the event loop, plain functions in a thread."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook as declared: its function, how many of (record, request, old) it takes, and what else it is given by name:
    the types that the application provides."""

    function: Callable[..., Any]
    takes: int
    is_async: bool
    injected: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[..., Any], injected: Mapping[str, Any]) -> "Hook":
        """The hook that a function is. Raises ValueError with the name of a parameter that nothing is given for."""
        own = [one for name, one in inspect.signature(function).parameters.items() if name not in injected]
        stray = [one.name for index, one in enumerate(own) if index > 2 or one.kind is KEYWORD]
        if stray:
            raise ValueError(stray[0])
        return cls(function, len(own), inspect.iscoroutinefunction(function), injected)

    def provided(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """What it is given by name, of all that the application provides."""
        return {name: values[kind] for name, kind in self.injected.items()} if self.injected else {}


async def run_hook(hook: Hook, record: Any, request: Any, old: Any, provided: Mapping[Any, Any]) -> None:
    """Calls a hook with as much of (record, request, old) as it takes, and with what it is given by name."""
    arguments, named = (record, request, old)[: hook.takes], hook.provided(provided)
    if hook.is_async:
        await hook.function(*arguments, **named)
    else:
        await asyncio.to_thread(hook.function, *arguments, **named)


async def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of application code: awaited when it `is_async`, else from a thread."""
    if is_async(function):
        return await function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether application code is to be awaited: a coroutine function, or an object that is called like one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
