"""The ASGI entrance (ASGI 3.0): from a scope to the endpoint that answers it, or to what is said where none does."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from urllib.parse import unquote

from crudite.errors import MethodNotAllowed, NotFound, Problem
from crudite.ids import new_request_id
from crudite.interfaces.base import Endpoint, Receive, Router, Scope, Send
from crudite.interfaces.files import Files
from crudite.interfaces.hosts import Hosts
from crudite.interfaces.http import read_headers, send_problem, send_response, told_as_problem


def find_endpoint(scope: Scope, router: Router, hosts: Hosts) -> tuple[Endpoint, tuple[str, ...]] | Problem:
    """The endpoint of a request and the values of its route's parameters; the problem of one that has none."""
    headers = read_headers(scope)
    refused = hosts.refuse(scope, headers)
    if refused is not None:
        return refused
    segments, kind = _segments(scope), scope["type"]
    method = "WEBSOCKET" if kind == "websocket" else "GET" if scope["method"] == "HEAD" else scope["method"]
    found = router.find(segments, method)
    if found is not None:
        endpoints, parameters = found
        if method == "GET" and "STREAM" in endpoints and _accepts_stream(headers):
            return endpoints["STREAM"], parameters
        return endpoints[method], parameters
    others = router.find(segments)
    if others is None or kind == "websocket":
        return NotFound("There is nothing at this address.")
    return _not_allowed(others[0], scope["method"])


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    problem: Problem,
    directories: Sequence[tuple[str, Files]],
    router: Router,
) -> None:
    """Answers a request that has no endpoint: with a file of one of the directories, each below a path; with the
    methods that there are; else with the problem, as it is told there. A WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    if isinstance(problem, NotFound) and scope["method"] in ("GET", "HEAD"):
        for prefix, files in directories:
            if await files.serve(prefix, _path(scope).strip("/"), scope, send):
                return None
    if isinstance(problem, MethodNotAllowed) and scope["method"] == "OPTIONS":
        headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        return await send_response(send, 204, headers)
    request_id = read_headers(scope).get("x-request-id", "")[:64] or new_request_id()
    tell = router.teller(_segments(scope)) or told_as_problem
    await send_problem(scope, send, problem, request_id, tell=tell)


async def serve_lifespan(
    receive: Receive, send: Send, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> None:
    """Starts and stops an application as its server says; a failure to start is told to the server."""
    await receive()
    try:
        await start()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def _segments(scope: Scope) -> list[str]:
    """The segments of that path, decoded one by one, so that a slash may be inside one."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%2" not in raw:
        return [segment for segment in _path(scope).split("/") if segment]
    path = raw.partition(b"?")[0].decode("latin-1")
    above = len([segment for segment in scope.get("root_path", "").split("/") if segment])
    segments = [unquote(segment) for segment in path.split("/") if segment]
    return segments[above:] if _path(scope) != scope["path"] else segments


def _accepts_stream(headers: Mapping[str, str]) -> bool:
    return "text/event-stream" in headers.get("accept", "")


def _not_allowed(endpoints: Iterable[str], method: str) -> MethodNotAllowed:
    methods = [name for name in endpoints if name not in ("WEBSOCKET", "STREAM")]
    allowed = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
    return MethodNotAllowed(f"{method} is not done here.", allowed=allowed)
