"""Running application code: coroutines in the event loop, plain functions in a thread."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook as declared: its function and how many of (record, request, old) it takes."""

    function: Callable[..., Any]
    takes: int
    is_async: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Hook":
        """The hook that a function is."""
        return cls(function, len(inspect.signature(function).parameters), inspect.iscoroutinefunction(function))


async def run_hook(hook: Hook, record: Any, request: Any, old: Any) -> None:
    """Calls a hook with as much of (record, request, old) as it takes."""
    arguments = (record, request, old)[: hook.takes]
    if hook.is_async:
        await hook.function(*arguments)
    else:
        await asyncio.to_thread(hook.function, *arguments)


async def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of application code: awaited when it is a coroutine function, or an object that is called like one,
    else from a thread."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)
