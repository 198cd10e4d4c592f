"""HTTP on our own runner: uvicorn's protocol on httptools, with the head and the body of an answer in one write.

Everything that uvicorn decides stays its decision (framing, keep-alive, pipelining, limits, logging). What it would
write in two system calls, each of which wakes the client, goes out in one, and a stream may write past it
(`server.extension`). uvicorn names the class of its request cycles in no place that could be overridden, so that a
cycle gets ours when it is started. A test fails when uvicorn's classes change.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crudite.server.extension import EXTENSION, Writer


def chunked(messages: Sequence[bytes]) -> bytes:
    """Parts of a body as one chunk (RFC 9112, section 7.1); nothing for nothing, which would end the body."""
    body = b"".join(messages)
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


class HttpProtocol(HttpToolsProtocol):
    """One connection: what `uvicorn.Config(http=HttpProtocol)` takes."""

    _sink: "BodySink | None" = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        sink = self._sink = BodySink(self.transport, self.flow)
        cycle.scope["extensions"] = {EXTENSION: cast(Any, sink)}
        cycle.__class__ = JoiningCycle
        cast(JoiningCycle, cycle).sink = sink
        super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        """The transport takes more again."""
        super().resume_writing()
        if self._sink is not None and self._sink.writer is not None:
            self._sink.writer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        if self._sink is not None:
            self._sink.end()


class BodySink:
    """Where the body of one answer may be written past uvicorn (`server.extension.Sink`)."""

    __slots__ = ("_flow", "_transport", "writer")

    framing = staticmethod(chunked)

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport: asyncio.Transport | None = transport
        self._flow = flow
        self.writer: Writer | None = None

    @property
    def is_writable(self) -> bool:
        """Whether the transport's write buffer is below its high-water mark."""
        return not self._flow.write_paused

    def write(self, framed: bytes, /) -> None:
        """Hands framed parts to the transport; nothing when the body is over or the client gone."""
        if framed and self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed)

    def end(self) -> None:
        """Takes no more: the body is over, or its connection."""
        is_lost = self._transport is not None and self._transport.is_closing()
        self._transport = None
        writer, self.writer = self.writer, None
        if is_lost and writer is not None:
            writer.lose()


class JoiningCycle(RequestResponseCycle):
    """One request and its answer. The head of an answer that comes in one piece is held back until the body comes
    (which ASGI allows), and goes out with it."""

    sink: BodySink
    _head: Any = None

    async def send(self, message: Any) -> None:
        """What the application answers."""
        is_first = not self.response_started and self._head is None
        if is_first and message["type"] == "http.response.start" and _has_length(message["headers"]):
            self._head = message
            return
        if self._head is None:
            await super().send(message)
        else:
            await self._send_joined(message)
        if self.response_complete:
            self.sink.end()

    async def _send_joined(self, message: Any) -> None:
        head, self._head = self._head, None
        joined = _Joined(self.transport)
        self.transport = cast(asyncio.Transport, joined)
        try:
            await super().send(head)
            await super().send(message)
        finally:
            self.transport = joined.transport
            joined.flush()

    async def send_500_response(self) -> None:
        """What uvicorn answers for an application that failed; a head that was held back is void then."""
        self._head = None
        await super().send_500_response()


class _Joined:
    """A transport that keeps what is written to it, and writes it at once."""

    __slots__ = ("_is_closing", "_parts", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._parts: list[bytes] = []
        self._is_closing = False

    def write(self, data: bytes) -> None:
        """Keeps some bytes."""
        self._parts.append(data)

    def close(self) -> None:
        """Closes the transport behind them."""
        self._is_closing = True

    def is_closing(self) -> bool:
        """Whether it will be closed, or is."""
        return self._is_closing or self.transport.is_closing()

    def flush(self) -> None:
        """Writes what has been kept; after an error, what came before it."""
        if self._parts:
            self.transport.write(b"".join(self._parts))
        if self._is_closing:
            self.transport.close()


def _has_length(headers: Any) -> bool:
    return any(name == b"content-length" for name, _ in headers)
