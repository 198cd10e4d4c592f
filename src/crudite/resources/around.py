"""`around` hooks: an application's own way to perform an action, with the action itself as `next()`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from crudite.messages import Live, Response, Written
from crudite.resources.hooks import Hook, call
from crudite.resources.request import Request

WriteAll = Callable[[Sequence[Request]], Awaitable[list[Written]]]


def hooks_around(request: Request) -> Sequence[Hook]:
    """The `around` hooks of a request's action, outermost first."""
    if request.definition is None or not request.definition.hooks:
        return ()
    return request.definition.hooks.get(("around", cast(Any, request.action)), ())


async def perform_around(
    hooks: Sequence[Hook], request: Request, perform: Callable[[], Awaitable[Response]]
) -> Response:
    """The response of the outermost hook, for which `next()` is the rest of them and at last the action.

    Raises TypeError when a hook returns no response or one that does not go with the request, RuntimeError
    when it calls `next()` twice.
    """
    if not hooks:
        return await perform()
    hook, *inner = hooks
    called = False

    async def proceed() -> Response:
        nonlocal called
        if called:
            raise RuntimeError(f"{_name(hook)} called next() twice")
        called = True
        return await perform_around(inner, request, perform)

    arguments = (request.resource, request, proceed)[3 - hook.takes :]
    response = await call(hook.function, *arguments)
    if not isinstance(response, Response) or isinstance(response, Live) != request.is_live:
        raise TypeError(f"{_name(hook)} returned {response!r}; is `return await next()` missing?")
    return response


async def write_around(requests: Sequence[Request], write_all: WriteAll) -> list[Written]:
    """Performs writes in one transaction, each within its own hooks: those of the first are the outermost.

    A write whose hook does not call `next()` is left out of the transaction, and its hook's response counts.
    """
    performed: list[Request] = []
    written: dict[int, Written] = {}

    async def descend(index: int) -> None:
        if index == len(requests):
            results = await write_all(performed) if performed else []
            written.update(zip(map(id, performed), results, strict=True))
            return
        request = requests[index]

        async def perform() -> Response:
            performed.append(request)
            await descend(index + 1)
            return written[id(request)]

        response = await perform_around(hooks_around(request), request, perform)
        if not isinstance(response, Written):
            raise TypeError(f"{request!r} was answered with {response!r}, which is not what a write did")
        if request not in performed:
            await descend(index + 1)
        written[id(request)] = response

    await descend(0)
    return [written[id(request)] for request in requests]


def _name(hook: Hook) -> str:
    return f"the hook {hook.function.__qualname__}"
