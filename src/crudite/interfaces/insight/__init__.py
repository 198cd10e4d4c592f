"""Insight: how live queries are served, figures for monitoring, and whether the application is well.

The first two are for insiders only (`insiders`); for anybody else there is nothing at those addresses. None of
these routes is in the API description: they are for those who run the application, not for its clients.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from crudite.errors import Problem
from crudite.ids import new_request_id
from crudite.interfaces.base import Endpoint, Host, Receive, Router, Scope, Send
from crudite.interfaces.http import send_problem, send_response
from crudite.interfaces.insiders import check_insider
from crudite.interfaces.insight.explaining import explain_handler, explain_list
from crudite.interfaces.insight.exposition import CONTENT_TYPE, render
from crudite.interfaces.insight.figures import figures
from crudite.interfaces.insight.health import why_not_ready
from crudite.interfaces.insight.workers import figures_of_all

Answer: TypeAlias = Callable[[Host, Scope, tuple[str, ...]], Awaitable[tuple[int, str, str]]]
"""What makes the answer to a request: its status, the type and the text of its body."""

_OWNER = "the insight into the application"


class Insight:
    """Serves `/live/explain/…`, `/metrics`, `/livez` and `/readyz` below `prefix`."""

    name = "insight"

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix.rstrip("/")

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the routes."""
        routes: dict[str, Answer] = {"/metrics": _metrics, "/livez": _livez, "/readyz": _readyz}
        for definition in host.definitions:
            routes[f"/live/explain/{definition.path}"] = _explaining(partial(explain_list, definition=definition))
        for handler in host.handlers.values():
            if handler.kind == "read":
                routes[f"/live/explain/{handler.name}"] = _explaining(partial(explain_handler, handler=handler))
        faults = []
        for path, answer in routes.items():
            taken = router.add(self.prefix + path, ["GET"], _endpoint(host, answer), _OWNER)
            if taken:
                faults.append(f"Insight and {taken} both answer {self.prefix}{path}; see Insight(prefix=…).")
        return faults


def _explaining(explain: Callable[[Host, Scope, tuple[str, ...]], Awaitable[str]]) -> Answer:
    async def answer(host: Host, scope: Scope, values: tuple[str, ...]) -> tuple[int, str, str]:
        await check_insider(host, scope)
        return 200, "application/json", await explain(host, scope, values)

    return answer


async def _metrics(host: Host, scope: Scope, _: tuple[str, ...]) -> tuple[int, str, str]:
    await check_insider(host, scope)
    told = figures(host) if host.worker is None else figures_of_all(host, host.worker)
    return 200, CONTENT_TYPE, render(told)


async def _livez(_: Host, __: Scope, ___: tuple[str, ...]) -> tuple[int, str, str]:
    return 200, _TEXT, "ok\n"


async def _readyz(host: Host, _: Scope, __: tuple[str, ...]) -> tuple[int, str, str]:
    reason = await why_not_ready(host)
    return (200, _TEXT, "ok\n") if reason is None else (503, _TEXT, f"{reason}\n")


_TEXT = "text/plain; charset=utf-8"


def _endpoint(host: Host, answer: Answer) -> Endpoint:
    """The endpoint that sends an answer."""

    async def endpoint(scope: Scope, receive: Receive, send: Send, values: tuple[str, ...]) -> None:
        try:
            status, kind, text = await answer(host, scope, values)
        except Problem as problem:
            return await send_problem(scope, send, problem, new_request_id())
        headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
        await send_response(send, status, headers, text.encode(), with_body=scope["method"] != "HEAD")

    return endpoint
