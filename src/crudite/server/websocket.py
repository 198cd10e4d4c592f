"""WebSockets on our own runner: uvicorn's protocol on websockets' sans-I/O parser, which is also a sink.

Parsing, limits, pings and the handshake stay theirs. What is added is the way past them for whole text messages
(RFC 6455, section 5.2), which are framed once for all connections that get them, and less memory for a connection
that only waits. Compression is off: a message that is compressed belongs to one connection. A test fails when their
classes change.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from crudite.server.extension import EXTENSION, Writer

_TEXT = 0x81  # the final frame of a text message: a message has one frame here


def text_frames(messages: Sequence[bytes]) -> bytes:
    """Whole text messages as unmasked frames, one each."""
    framed: list[bytes] = []
    for message in messages:
        framed += (_head(len(message)), message)
    return b"".join(framed)


def _head(size: int) -> bytes:
    if size < 126:
        return bytes((_TEXT, size))
    if size < 1 << 16:
        return bytes((_TEXT, 126)) + size.to_bytes(2, "big")
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big")


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection, and its sink: what `uvicorn.Config(ws=WebSocketProtocol)` takes."""

    framing = staticmethod(text_frames)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.is_writable = True
        self.writer: Writer | None = None
        self.queue = _Inbox()  # type: ignore[assignment]

    def handle_connect(self, event: Request) -> None:
        """Starts the application, which is offered the sink."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]

    async def send(self, message: Any) -> None:
        """What the application sends the general way; behind its `accept` the handshake is over and forgotten."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.request, self.response

    def write(self, framed: bytes, /) -> None:
        """Hands framed messages to the transport; nothing once either side has closed."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(framed)

    def end(self, code: int, /) -> None:
        """Closes the WebSocket. A client that does not take what is left, or does not answer, is cut off in time."""
        if self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

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
    of its memory. There is one reader."""

    __slots__ = ("_messages", "_reader")

    def __init__(self) -> None:
        self._messages: deque[Any] | None = None
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, message: Any) -> None:
        """Adds a message."""
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages

    async def get(self) -> Any:
        """Takes the oldest message; waits for one."""
        while not self._messages:
            self._messages = None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._messages.popleft()
