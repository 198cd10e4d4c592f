"""An ASGI application driven in memory: requests, streams and WebSockets without a socket between."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from crudite.testing.lines import Line, Message

Headers: TypeAlias = Mapping[str, str]
Parameters: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, str]]

HOST = "testserver"
"""The host name that requests are sent to, unless their `host` header says otherwise."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer: `headers` by lower-case name, `body` as it came."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body, decoded from JSON. Raises ValueError when it is none."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.body[:300]!r}>"


class Exchange:
    """One connection with an ASGI application: `async with Exchange(app, scope) as exchange`, over a line that may
    have faults.

    What is sent waits for the application to receive it, what the application sends waits to be taken.
    Leaving the block tells the application that the client has gone away, and waits until it has finished; an
    exception that it raised comes out there, or earlier where its next message is awaited.
    """

    def __init__(self, app: Any, scope: Message, line: Line | None = None) -> None:
        self.line = line or Line()
        self.line.on_cut(self._lose)
        self._app = app
        self._scope = scope
        self._kind = "websocket" if scope["type"] == "websocket" else "http"
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._in_hand = False
        self._is_over = False
        self._is_finished = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.send({"type": f"{self._kind}.disconnect", "code": 1001})
        self.line.release()
        if error is None:
            await self._task
        else:
            await asyncio.gather(self._task, return_exceptions=True)

    def send(self, message: Message) -> None:
        """Gives the application a message."""
        self._inbox.put_nowait(message)

    async def take(self) -> Message | None:
        """The application's next message; None when it has finished. Raises what the application raised."""
        self._put_down()
        if self._is_over:
            return None
        message = await self._outbox.get()
        self._in_hand = True
        if message is None:
            self._is_over = True
            self._put_down()
            await asyncio.shield(self._task)  # who gives up waiting does not take the application's part away
        return message

    async def consumed(self) -> None:
        """Returns when every message so far has been taken, and the next one is being waited for; or when nothing more
        is to be taken."""
        if not self._is_over:
            await self._outbox.join()

    def finish(self) -> None:
        """Nothing more is to be taken: its last message has come."""
        self._is_over = True
        self._put_down()
        while not self._outbox.empty():
            self._outbox.get_nowait()
            self._outbox.task_done()

    def _lose(self) -> None:
        self.send({"type": f"{self._kind}.disconnect", "code": 1006})
        self._finish()

    def _finish(self) -> None:
        """Nothing more comes: said once, however it came to its end."""
        if not self._is_finished:
            self._is_finished = True
            self._outbox.put_nowait(None)

    def _put_down(self) -> None:
        if self._in_hand:
            self._in_hand = False
            self._outbox.task_done()

    async def _run(self) -> None:
        async def send(message: Message) -> None:
            for arrived in await self.line.carry(message):
                self._outbox.put_nowait(arrived)

        try:
            await self._app(self._scope, self._inbox.get, send)
        finally:
            self._finish()


async def fetch(app: Any, scope: Message, body: bytes | Sequence[bytes]) -> Response:
    """Sends one request and gathers the whole answer."""
    parts = [body] if isinstance(body, bytes) else list(body)
    async with Exchange(app, scope) as exchange:
        for index, part in enumerate(parts):
            exchange.send({"type": "http.request", "body": part, "more_body": index + 1 < len(parts)})
        start = await exchange.take()
        if start is None:
            raise RuntimeError("the application finished without an answer")
        body = b"".join([part async for part in parts_of(exchange)])
    return Response(start["status"], received_headers(start), body)


async def parts_of(exchange: Exchange) -> AsyncIterator[bytes]:
    """The parts of the body of an answer that has been started, until its end."""
    while (message := await exchange.take()) is not None:
        yield message.get("body", b"")
        if not message.get("more_body", False):
            exchange.finish()
            return


def received_headers(message: Message) -> Headers:
    """The headers of an answer, by lower-case name; repeated ones joined by commas."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in message.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def make_scope(
    kind: str, method: str, url: str, params: Parameters | None, headers: Headers, root_path: str
) -> Message:
    """The ASGI scope of a request (ASGI 3.0, HTTP and WebSocket 2.4)."""
    split = urlsplit(url)
    path, query = split.path or "/", split.query
    if params:
        query += ("&" if query else "") + urlencode(params, doseq=True)
    named = {"host": HOST, **{name.lower(): value for name, value in headers.items()}}
    scope: Message = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": root_path + unquote(path),
        "raw_path": quote(root_path + path, safe="/%~!$&'()*+,;=:@-._").encode(),
        "query_string": query.encode(),
        "root_path": root_path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        "client": ("testclient", 50000),
        "server": (HOST, 80),
    }
    return {**scope, "subprotocols": ["crudite.v1"]} if kind == "websocket" else {**scope, "method": method}
