"""The one shape of every step, `async (request, next) -> response`, and the order in which steps run.

    credentials → rates → actor → rates → middleware → rules → validation → hooks → action → response

Addresses are counted before anybody is asked who shows the credentials, actors behind that. The last four are inside
the action (`resources.actions`). Every interface sends every request through here, and
whatever goes wrong comes out as one Problem.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias

from crudite.auth import Identification
from crudite.errors import Problem, StoreError, Unauthorized, Unavailable, Unexpected
from crudite.limiting import AUTH, Rate, Rates
from crudite.messages import Credentials, Response
from crudite.resources.answering import response_of
from crudite.resources.declaring.definition import Definitions
from crudite.resources.hooks import call
from crudite.resources.request import Request

Next: TypeAlias = Callable[[], Awaitable[Response]]
Step: TypeAlias = Callable[[Request, Next], Awaitable[Response]]
Performs: TypeAlias = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("crudite")


@dataclass(frozen=True, slots=True)
class Middleware:
    """A step of the application's, for all requests or for those of some names and actions."""

    step: Step
    names: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()

    def is_for(self, name: str, action: str) -> bool:
        """Whether requests of a name and an action go through this step."""
        return (not self.names or name in self.names) and (not self.actions or action in self.actions)


class Pipeline:
    """Brings requests through all steps; one for each application."""

    def __init__(
        self,
        identify: Identification,
        rates: Rates,
        middleware: Sequence[Middleware],
        error_handlers: Sequence[tuple[type[Exception], Callable[..., Any]]],
        perform: Performs,
        definitions: Definitions,
    ) -> None:
        self._identify = identify
        self._rates = rates
        self._middleware = middleware
        self._error_handlers = error_handlers
        self._perform = perform
        self._definitions = definitions

    def is_bare(self, name: str, action: str) -> bool:
        """Whether nothing of the application's stands before an action over REST: nobody is asked who he is, nothing is
        counted, no step."""
        if self._identify.is_needed or self._rates.are_for(name, action):
            return False
        return not (self._middleware and any(m.is_for(name, action) for m in self._middleware))

    def explains(self, kind: type[Exception]) -> bool:
        """Whether the application has a word of its own for exceptions of a kind, or for some of them."""
        return any(issubclass(kind, one) or issubclass(one, kind) for one, _ in self._error_handlers)

    async def __call__(self, request: Request) -> Response:
        """The response to a request. Raises nothing but a Problem."""
        try:
            rates = self._rates.of(request)
            if rates:
                await self._count(request, rates)
            elif self._identify.is_needed and not request.actor.is_known:
                request.actor = await self._identify(request.credentials)
            name, action = request.name, request.action
            steps = [m.step for m in self._middleware if m.is_for(name, action)] if self._middleware else ()
            if not steps:
                return await self._perform(request)
            return await _run(steps, 0, request, self._perform, self._definitions)
        except Problem:
            raise
        except Exception as error:
            raise await self._problem(error, request) from error

    async def count_auth(self, credentials: Credentials, interface: str) -> None:
        """Counts that a living connection shows other credentials, by its address. Raises TooManyRequests."""
        request = Request("call", AUTH, credentials=credentials, interface=interface)
        await self._rates.count(request, [rate for rate in self._rates.of(request) if not callable(rate.by)])

    async def _count(self, request: Request, rates: Sequence[Rate]) -> None:
        """Finds out who asks, and counts the request: for its address first, which costs the least. One whose
        credentials are refused counts for its address too: nobody is to guess without end."""
        count = self._rates.count
        await count(request, [rate for rate in rates if rate.by == "address"])
        try:
            if self._identify.is_needed and not request.actor.is_known:
                request.actor = await self._identify(request.credentials)
        except Unauthorized:
            await count(request, [rate for rate in rates if rate.by == "actor"])
            raise
        await count(request, [rate for rate in rates if rate.by != "address"])

    async def _problem(self, error: Exception, request: Request) -> Problem:
        for kind, handler in self._error_handlers:
            if isinstance(error, kind):
                return await _handled(handler, request, error)
        if isinstance(error, StoreError):
            return unavailable(error, request)
        _log.exception("%r failed", request, exc_info=error)
        return Unexpected("Something went wrong here; the server's log has the details.")


def unavailable(error: StoreError, asked: object) -> Unavailable:
    """The problem of whoever asked the store in vain; the log says who, and why."""
    _log.warning("%r: %s", asked, error)
    return Unavailable("The database cannot do that now.", headers={"retry-after": "2"})


async def _handled(handler: Callable[..., Any], request: Request, error: Exception) -> Problem:
    """The problem that an error handler makes, or raises. Whatever else comes of it is a fault of ours."""
    try:
        made = await call(handler, request, error)
        if isinstance(made, Problem):
            return made
        raise TypeError(f"an error handler returns a Problem, got {made!r}") from error
    except Problem as problem:
        return problem
    except Exception as worse:
        _log.exception("the error handler of %r failed", request, exc_info=worse)
        return Unexpected("Something went wrong here; the server's log has the details.")


async def _run(
    steps: Sequence[Step], index: int, request: Request, perform: Performs, definitions: Definitions
) -> Response:
    """Runs the step at an index around those after it, and tells a step that misuses `next`."""
    if index == len(steps):
        return await perform(request)
    called = False

    async def proceed() -> Response:
        nonlocal called
        if called:
            raise RuntimeError(f"{_name(steps[index])} called next() twice")
        called = True
        return await _run(steps, index + 1, request, perform, definitions)

    given = steps[index](request, proceed)
    if not isawaitable(given):  # a plain function, which has not waited for the others
        raise TypeError(f"{_name(steps[index])} returned {given!r}; is `async` missing?")
    return response_of(await given, request, definitions, _name(steps[index]))


def _name(step: Step) -> str:
    return f"the middleware {getattr(step, '__qualname__', repr(step))}"
