"""`around` hooks: an application's own way to perform an action, with the action itself as `next()`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from crudite.messages import Response, Written
from crudite.resources.answering import response_of
from crudite.resources.declaring.definition import Definitions
from crudite.resources.hooks import Hook, call
from crudite.resources.request import Request

WriteAll = Callable[[Sequence[Request]], Awaitable[list[Written]]]


def hooks_around(request: Request) -> Sequence[Hook]:
    """The `around` hooks of a request's action, outermost first, without those that it is asked from within: what a
    hook asks for itself would go round for ever."""
    if request.definition is None or not request.definition.hooks:
        return ()
    hooks = request.definition.hooks.get(("around", cast(Any, request.action)), ())
    return [hook for hook in hooks if hook not in request.inside] if request.inside else hooks


async def perform_around(
    hooks: Sequence[Hook], request: Request, perform: Callable[[], Awaitable[Response]], definitions: Definitions
) -> Response:
    """The response of the outermost hook, for which `next()` is the rest of them and at last the action.

    A hook may return data of its own in place of a response. Raises TypeError when that does not go with the request,
    RuntimeError when it calls `next()` twice.
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
        return await perform_around(inner, request, perform, definitions)

    arguments = (request.resource, request, proceed)[3 - hook.takes :]
    outside = request.inside
    request.inside = (*outside, hook)
    try:
        given = await call(hook.function, *arguments, **hook.provided(definitions.provided))
    finally:
        request.inside = outside
    return response_of(given, request, definitions, _name(hook))


async def write_around(requests: Sequence[Request], write_all: WriteAll, definitions: Definitions) -> list[Written]:
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

        response = await perform_around(hooks_around(request), request, perform, definitions)
        assert isinstance(response, Written)
        if request not in performed:
            await descend(index + 1)
        written[id(request)] = response

    await descend(0)
    return [written[id(request)] for request in requests]


def _name(hook: Hook) -> str:
    return f"the hook {hook.function.__qualname__}"
