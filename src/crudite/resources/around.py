"""`around` hooks: an application's own way to perform an action, with the action itself as `next()`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
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

    A write whose hook does not call `next()` is left out of the transaction, and its hook's response counts. When the
    transaction fails, a hook may answer in its place for its own write, but not for the others: they raise the problem.
    """
    performed: list[Request] = []
    written: dict[int, Written] = {}
    problems: list[Exception] = []

    async def descend(index: int) -> None:
        while index < len(requests) and not hooks_around(requests[index]):
            performed.append(requests[index])
            index += 1
        if index == len(requests):
            await write()
            return
        request, is_reached = requests[index], False

        async def perform() -> Response:
            nonlocal is_reached
            is_reached = True
            performed.append(request)
            await below(index)
            return result(request)

        response = await perform_around(hooks_around(request), request, perform, definitions)
        assert isinstance(response, Written)
        if not is_reached:
            await below(index)
        written[id(request)] = response

    async def below(index: int) -> None:
        if index + 1 == len(requests):
            await write()
        else:
            await _off_the_stack(descend(index + 1))

    async def write() -> None:
        try:
            results = await write_all(performed) if performed else []
        except Exception as problem:
            problems.append(problem)
            raise
        written.update(zip(map(id, performed), results, strict=True))

    def result(request: Request) -> Written:
        if id(request) not in written:
            raise problems[0]
        return written[id(request)]

    await descend(0)
    return [result(request) for request in requests]


async def _off_the_stack(rest: Coroutine[Any, Any, None]) -> None:
    """Awaits in a task: the hooks of a long batch stand within each other deeper than one stack can hold. So it is a
    future that is awaited and not the task, whose `cancel` would call that of the next one."""
    task = asyncio.create_task(rest)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
    task.result()


def _name(hook: Hook) -> str:
    return f"the hook {hook.function.__qualname__}"
