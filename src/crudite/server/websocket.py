"""WebSockets on our own runner: uvicorn's protocol on websockets' sans-I/O parser, which is also a sink.

Parsing, limits, pings and the handshake stay theirs. What is added is the way past them for whole text messages
(RFC 6455, section 5.2), which are framed once for all connections that get them, and less memory for a connection
that only waits: no task, no scope, no headers. Compression is off: a message that is compressed belongs to one
connection. A test fails when their classes change.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from crudite.server.extension import EXTENSION, Writer
from crudite.server.guard import SLOW_BODY, Guard

Read: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

UVICORNS = (
    "app", "app_state", "asgi_version", "client", "close_sent", "close_timeout", "close_timer", "config", "conn",
    "connections", "curr_msg_data_type", "default_headers", "disconnected", "frames", "handshake_complete",
    "handshake_initiated", "initial_response", "last_ping_rtt", "logger", "loop", "pending_ping_payload",
    "ping_interval", "ping_sent_at", "ping_timeout", "ping_timer", "pong_timer", "queue", "read_paused", "request",
    "response", "root_path", "scheme", "scope", "server", "tasks", "transport", "writable",
)  # fmt: skip
"""The names of all that uvicorn's class keeps of a connection."""

_POLICY = 1008
_MOST_FRAMES = 10_000
_TEXT = 0x81  # the final frame of a text message: a message has one frame here


def text_frames(messages: Sequence[bytes]) -> bytes:
    """Whole text messages as unmasked frames, one each."""
    framed: list[bytes] = []
    for message in messages:
        framed += (_head(len(message)), message)
    return b"".join(framed)


def _is_text(parts: Sequence[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True


def _head(size: int) -> bytes:
    if size < 126:
        return bytes((_TEXT, size))
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big")


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection, and its sink: what `uvicorn.Config(ws=WebSocketProtocol)` takes."""

    framing = staticmethod(text_frames)

    # Everything lies in the object itself: with ten thousand connections each dict is a cache miss for every frame, and
    # a kilobyte.
    __slots__ = ("_is_reading", "_out", "_patience", "_read", "is_lost", "is_writable", "writer", *UVICORNS)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.is_lost = False
        self.is_writable = True
        self.writer: Writer | None = None
        self._read: Read | None = None
        self._is_reading = False
        self._patience: asyncio.TimerHandle | None = None
        self.queue = _Inbox(self)  # type: ignore[assignment]
        self.writable = _Gate()  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._out = self.transport

    def handle_connect(self, event: Request) -> None:
        """Starts the application, which is offered the sink."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]

    async def run_asgi(self) -> None:
        """Calls the application. As uvicorn does it, but a connection that was adopted stays open when that returns."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            self._read = None
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self._read = None
        if self._read is None:
            self.send_500_response()  # which is nothing once the handshake is complete
            if self.close_timer is None:
                self.transport.close()
        else:
            self._forget_handshake()

    def adopt(self, read: Read, /) -> None:
        """The connection outlives the application's call; `read` is run when something has come."""
        self._read = read
        self.on_received()

    @property
    def has_received(self) -> bool:
        """Whether something waits to be received."""
        return not self.queue.empty()

    def create_task(self, work: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Begins work for this connection, which the server waits for before it stops."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def write(self, framed: bytes, /) -> None:
        """Hands framed messages to the transport; nothing once either side has closed."""
        if not self.is_lost and not self._out.is_closing():
            self._out.write(framed)

    def end(self, code: int, /) -> None:
        """Closes the WebSocket. A client that does not take what is left, or does not answer, is cut off in time."""
        if self.is_lost or self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def send_receive_event_to_app(self) -> None:
        """A whole message has come. A text that is none closes with 1007 (RFC 6455, section 8.1), which is no error of
        ours to report."""
        self._calm()
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_text(self.frames):
            self.frames = []
            self.conn.send_close(1007)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_text(self, event: Frame) -> None:
        """A text message begins, and may end with the same frame."""
        self._await_rest(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """A binary message begins."""
        self._await_rest(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """A message goes on. Frames cost memory even when they are empty, which no limit of bytes sees."""
        if len(self.frames) >= _MOST_FRAMES:
            self._lose_patience()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answers, unless the client takes nothing: answers would pile up."""
        if self.is_writable:
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def _await_rest(self, event: Frame) -> None:
        guard: Guard | None = getattr(self.config.app, "guard", None)
        if not event.fin and guard is not None:
            self._patience = self.loop.call_later(guard.bounds.body_time, self._lose_patience)

    def _lose_patience(self) -> None:
        self._calm()
        guard: Guard | None = getattr(self.config.app, "guard", None)
        if guard is not None:
            guard.note(SLOW_BODY)
        self.frames = []
        self.end(_POLICY)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def handle_close(self, event: Frame) -> None:
        """The client closes."""
        super().handle_close(event)
        self._cut_off_in_time()

    def handle_parser_exception(self) -> None:
        """What the client sent is no WebSocket."""
        super().handle_parser_exception()
        self._cut_off_in_time()

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping in time."""
        super().keepalive_timeout()
        self._cut_off_in_time()

    def _cut_off_in_time(self) -> None:
        """A transport that is closing waits for a client that takes nothing; ours does not for ever."""
        if self.transport.is_closing() and self.close_timer is None:
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def on_disconnect(self) -> None:
        """Nothing that is written arrives any more: whoever writes hears it now, not behind all that was received."""
        self._calm()
        self.is_lost = True
        if self.writer is not None:
            self.writer.lose()

    def on_received(self) -> None:
        """Something waits to be received: whoever reads it begins, if he does not read already."""
        if self._read is not None and self.has_received and not self._is_reading:
            self._is_reading = True
            self.create_task(self._read()).add_done_callback(self._on_read)

    def _on_read(self, task: asyncio.Task[None]) -> None:
        self._is_reading = False
        if self.disconnected and not self.has_received:
            self._read = None  # nothing comes any more; and it knows the session, which knows this
        self.on_received()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.logger.error("Exception in ASGI application\n", exc_info=task.exception())
            self.end(1011)

    def _forget_handshake(self) -> None:
        self.request.headers.clear()  # the parser keeps the request itself
        self.response.headers.clear()
        del self.request, self.response, self.scope

    def pause_writing(self) -> None:
        """The transport's write buffer is full."""
        super().pause_writing()
        self.is_writable = False

    def resume_writing(self) -> None:
        """The transport's write buffer has room."""
        super().resume_writing()
        self.is_writable = True
        if self.writer is not None:
            self.writer.resume()


class _Inbox:
    """What came from the client until the application takes it; of `asyncio.Queue` only what uvicorn uses, in a tenth
    of its memory. There is one reader; its owner is told when there is something for it."""

    __slots__ = ("_messages", "_owner", "_reader")

    def __init__(self, owner: WebSocketProtocol) -> None:
        self._messages: deque[Any] | None = None
        self._owner = owner
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, message: Any) -> None:
        """Adds a message."""
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if message["type"] == "websocket.disconnect":
            self._owner.on_disconnect()
        self._owner.on_received()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages

    async def get(self) -> Any:
        """Takes the oldest message; waits for one."""
        while not self._messages:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._messages.popleft()
        if not self._messages:
            self._messages = None
        return message


class _Gate:
    """Open, or closed until it is set; of `asyncio.Event` only what uvicorn uses, in a tenth of its memory."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Opens it."""
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_result(None)

    def clear(self) -> None:
        """Closes it."""
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Returns when it is open."""
        while self._opened is not None:
            await asyncio.shield(self._opened)
