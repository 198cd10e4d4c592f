"""A client in memory, for the tests of an application: no server, no socket, no sleep.

    async with Client(app) as client:
        await client.post("/todos", {"title": "Ship it"})
        async with client.live("todos", where={"done": False}) as view:
            await view.ready()
            assert [row["title"] for row in view.records] == ["Ship it"]

Waiting is for a value (`view.until`) or for everything that is committed to have arrived (`client.settled`);
whatever does not come within `timeout` seconds raises TimeoutError.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from crudite.app import App
from crudite.interfaces.sse import Sse
from crudite.interfaces.styles import DEFAULT
from crudite.interfaces.websocket import WebSocket
from crudite.testing.asgi import Exchange, Headers, Parameters, Response, fetch, make_scope
from crudite.testing.lines import Line
from crudite.testing.socket import Socket
from crudite.testing.streams import Stream
from crudite.testing.views import View

_MISSING: Any = object()


class Client:
    """Somebody who uses an application.

    `token` is sent as a bearer token, `headers` with every request; `timeout` is in seconds. Entering starts
    the application if nobody has, and leaving then stops it. Several clients may use one application.
    """

    def __init__(
        self, app: App, *, token: str | None = None, headers: Headers | None = None, timeout: float = 10.0
    ) -> None:
        self.app = app
        self.timeout = timeout
        self._headers = {
            **({"authorization": f"Bearer {token}"} if token is not None else {}),
            **(headers or {}),
        }
        self._has_started = False
        self._followed: set[Exchange] = set()

    async def __aenter__(self) -> Self:
        self._has_started = not self.app.is_running
        await self.app.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_started:
            await self.app.stop()

    def acting(self, token: str | None) -> "Client":
        """The same client for somebody else: with another bearer token, or None for nobody."""
        others = {name: value for name, value in self._headers.items() if name != "authorization"}
        return Client(self.app, token=token, headers=others, timeout=self.timeout)

    # REST

    async def request(
        self, method: str, url: str, data: Any = _MISSING, *, content: bytes | Sequence[bytes] = b"",
        params: Parameters | None = None, headers: Headers | None = None,
    ) -> Response:  # fmt: skip
        """Sends one request. `data` is sent as JSON; `content` as it is, in several parts if it is a list."""
        named = {**self._headers, **(headers or {})}
        if data is not _MISSING:
            content = msgspec.json.encode(data)
            named.setdefault("content-type", "application/json")
        async with asyncio.timeout(self.timeout):
            return await fetch(self.app, make_scope("http", method, url, params, named, ""), content)

    async def get(self, url: str, *, params: Parameters | None = None, headers: Headers | None = None) -> Response:
        """Reads."""
        return await self.request("GET", url, params=params, headers=headers)

    async def post(self, url: str, data: Any, *, headers: Headers | None = None) -> Response:
        """Creates a record, or several."""
        return await self.request("POST", url, data, headers=headers)

    async def put(self, url: str, data: Any, *, headers: Headers | None = None) -> Response:
        """Replaces a record."""
        return await self.request("PUT", url, data, headers=headers)

    async def patch(self, url: str, data: Any, *, headers: Headers | None = None) -> Response:
        """Updates a record."""
        return await self.request("PATCH", url, data, headers=headers)

    async def delete(self, url: str, *, headers: Headers | None = None) -> Response:
        """Deletes a record."""
        return await self.request("DELETE", url, headers=headers)

    # live

    @asynccontextmanager
    async def live(
        self, name: str, *, over: Literal["sse", "websocket"] = "sse", args: Mapping[str, Any] | None = None,
        resume: "View | None" = None, line: Line | None = None, **query: Any,
    ) -> AsyncIterator[View]:  # fmt: skip
        """A live view of a resource (its path), or of a reading handler (its name, with `args`).

        The query's parts are keywords: `where`, `sort`, `limit`, `fields`, `omit`. With `resume` the view
        goes on from where another one, of the same query, was cut off; that one's records are taken over. A `line`
        has the faults that it is told to have. Raises LookupError where the application has no such interface.
        """
        asked = (
            {"read": name, "args": dict(args or {})}
            if name in self.app.handlers
            else {"resource": name, "query": query}
        )
        view = View(self.timeout, resume)
        if over == "sse":
            cursor = resume.cursor if resume is not None else None
            async with (
                self.stream(
                    f"{self._streams_below()}/subscribe",
                    params={"queries": _json({"view": asked})},
                    last_event_id=cursor,
                    line=line,
                ) as stream,
                self._following(stream.exchange, view, stream.events_into(view)),
            ):
                yield view
        else:
            async with (
                self.websocket(self._socket_path(), line=line) as socket,
                self._following(socket.exchange, view, socket.subscribed(asked, view)),
            ):
                yield view

    @asynccontextmanager
    async def stream(
        self, url: str, *, params: Parameters | None = None, headers: Headers | None = None,
        last_event_id: str | None = None, line: Line | None = None,
    ) -> AsyncIterator[Stream]:  # fmt: skip
        """A stream of server-sent events. Raises the problem of a refusal as `Refusal`."""
        named = {**self._headers, "accept": "text/event-stream", **(headers or {})}
        if last_event_id is not None:
            named["last-event-id"] = last_event_id
        scope = make_scope("http", "GET", url, params, named, "")
        async with Exchange(self.app, scope, line) as exchange:
            exchange.send({"type": "http.request", "body": b"", "more_body": False})
            yield await Stream.opened(exchange, self.timeout)

    def websocket(
        self, url: str = "/ws", *, headers: Headers | None = None, line: Line | None = None
    ) -> AbstractAsyncContextManager[Socket]:
        """A WebSocket connection, for calls and subscriptions. Raises ConnectionRefusedError."""
        scope = make_scope("websocket", "GET", url, None, {**self._headers, **(headers or {})}, "")
        return Socket.opened(self.app, scope, self.timeout, line)

    def _streams_below(self) -> str:
        """The prefix of the streams of several queries, which are those of today's style alone."""
        for one in self.app.interfaces:
            if isinstance(one, Sse) and one.style is DEFAULT:
                return one.prefix
        raise LookupError("the application's interfaces have no Sse() of today's style, which client.live is told by")

    def _socket_path(self) -> str:
        for one in self.app.interfaces:
            if isinstance(one, WebSocket):
                return one.path
        raise LookupError('the application\'s interfaces have no WebSocket(), which client.live(over="websocket") asks')

    async def settled(self) -> None:
        """Returns when everything that was committed before the call has been handed to every connection, and
        the views of this client show it."""
        async with asyncio.timeout(self.timeout):
            await self.app.settled()
            for exchange in list(self._followed):
                await exchange.consumed()

    @asynccontextmanager
    async def _following(self, exchange: Exchange, view: View, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        self._followed.add(exchange)
        try:
            async with view.following(work):
                yield
        finally:
            self._followed.discard(exchange)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
