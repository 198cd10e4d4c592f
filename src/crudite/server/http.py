"""HTTP on our own runner: uvicorn's protocol on httptools, with the head and the body of an answer in one write.

Everything that uvicorn decides stays its decision (framing, keep-alive, pipelining, limits, logging). What it would
write in two system calls, each of which wakes the client, goes out in one, and a stream may write past it
(`server.extension`). uvicorn names the class of its request cycles in no place that could be overridden, so that a
cycle gets ours when it is started. A test fails when uvicorn's classes change.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from crudite.server.extension import EXTENSION, Writer
from crudite.server.guard import SLOW_BODY
from crudite.server.guarded import GuardedProtocol
from crudite.server.quick import Answer, Asked, Quick

# A path and a query of the characters that RFC 3986 has for them, brackets added; no fragment.
_FIRST_LINE = re.compile(rb"(GET|POST) (/[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]*) HTTP/1\.1\r\n")
_LONGEST_HEAD = 2_000
_LONGEST_BODY = 65_536
_MOST_HEADS = 1_000
_known_heads: dict[bytes, Asked] = {}
_first: tuple[Any, dict[int, bytes]] = (None, {})


def _first_lines(status: int, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """The status line and what uvicorn puts into every answer (the date); it makes a new list each second."""
    global _first
    if _first[0] is not default_headers:
        _first = (default_headers, {})
    lines = _first[1].get(status)
    if lines is None:
        parts = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in default_headers)]
        lines = _first[1][status] = b"".join(parts)
    return lines


def chunked(messages: Sequence[bytes]) -> bytes:
    """Parts of a body as one chunk (RFC 9112, section 7.1); nothing for nothing, which would end the body."""
    body = b"".join(messages)
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


class HttpProtocol(GuardedProtocol):
    """One connection: what `uvicorn.Config(http=HttpProtocol)` takes.

    A request is asked for its quick answer when it has come whole and alone, nothing else is going on, and its head
    is, byte for byte, one that the parser has taken before: then all that it says but for the first line is known.

    | state | what comes | what happens |
    |---|---|---|
    | idle | a whole request with a known head | asked; `waiting` if there is a quick answer, else uvicorn's |
    | idle | a known head, and its body not whole yet | kept until it is, by the bytes that come next |
    | idle | anything else | uvicorn's; a whole request's head is known from then on |
    | uvicorn's | anything, until its last answer is complete | uvicorn's |
    | waiting | bytes | held back, reading pauses |
    | waiting | the answer | written; `idle`, with what was held back |
    | waiting | None for an answer | the request is uvicorn's, with what was held back |
    | waiting | shutdown | the answer says `connection: close`, and the connection is closed behind it |

    What is borne of a client that is slow, or sends much, is another matter (`guarded`).
    """

    _sink: "BodySink | None" = None
    _quick: Quick | None = None
    _waiting: bytes = b""  # the request that waits for its quick answer
    _begun = b""  # a request whose body is not whole yet
    _held = b""
    _is_ending = False
    _answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        is_bare = not self.access_log and not self.root_path and self.limit_concurrency is None
        if is_bare:
            self._quick = getattr(self.config.app, "quick", None)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._waiting:
            self._held += data
            self.flow.pause_reading()
            return None
        if self._begun:
            data, self._begun = self._begun + data, b""
        quick = self._quick
        if quick is None or self._is_within or (self.cycle is not None and not self.cycle.response_complete):
            return super().data_received(data)
        line = _FIRST_LINE.match(data)
        behind = data.find(b"\r\n\r\n", line.end()) + 4 if line is not None else 3
        if line is None or behind < 4 or line.end() > self._longest_line or self.flow.write_paused:
            return super().data_received(data)
        head = data[line.end() : behind]
        asked = _known_heads.get(head)
        if asked is None:
            return self._learn(quick, head, data, behind)
        body, length = data[behind:], asked.length or 0
        if len(body) < length <= _LONGEST_BODY:
            self._begun = data
            return self._await(SLOW_BODY)
        self._waiting = data
        if self._patience is not None:
            self._calm()
        if len(body) != length or not quick.ask(line[1], line[2], body, asked, self._address, self):
            self._waiting = b""
            super().data_received(data)
        return None

    def _learn(self, quick: Quick, head: bytes, data: bytes, behind: int) -> None:
        """Lets the parser have a request, and keeps what it says of the head if that was all of it."""
        super().data_received(data)
        is_whole = not self._is_within and self.cycle is not None and not self.pipeline
        if not is_whole or not self.cycle.keep_alive or len(head) > _LONGEST_HEAD:
            return
        asked = quick.recognize(self.headers)
        if asked is not None and len(data) == behind + (asked.length or 0):
            if len(_known_heads) >= _MOST_HEADS:
                _known_heads.clear()
            _known_heads[head] = asked

    @property
    def _address(self) -> str | None:
        return self.server[0] if self.server is not None else None

    def respond(self, answer: Answer | None, /) -> None:
        """The answer to the request that waits; None when uvicorn is to have the request."""
        data, self._waiting = self._waiting, b""
        held, self._held = self._held, b""
        if self.transport.is_closing():
            return
        if answer is None:
            super().data_received(data)
            if self._is_ending:
                super().shutdown()
        else:
            self._write(answer)
        if held:
            self.flow.resume_reading()
            self.data_received(held)

    def _write(self, answer: Answer) -> None:
        head = answer.head
        if self._is_ending:
            head = head[:-2] + b"connection: close\r\n\r\n"
        first = _first_lines(answer.status, self.server_state.default_headers)
        self.transport.write(b"%b%b%b" % (first, head, answer.body))
        self.server_state.total_requests += 1
        if self._is_ending:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._await_next(self.timeout_keep_alive)

    def _await_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """The time for a next request has passed, if no quick answer has begun it anew: those leave the timer as it
        is, since setting one costs more than to look here."""
        self.timeout_keep_alive_task = None
        left = self.timeout_keep_alive - (self.loop.time() - self._answered_at)
        if self._waiting or self._begun or left > 0:
            self._await_next(left if left > 0 else self.timeout_keep_alive)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """The server ends: the connection is closed, behind the answer that it may wait for."""
        if self._waiting:
            self._is_ending = True
            return
        if self._begun:  # uvicorn waits for the rest of it
            begun, self._begun = self._begun, b""
            super().data_received(begun)
        super().shutdown()

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
            self._sink.lose()


class BodySink:
    """Where the body of one answer may be written past uvicorn (`server.extension.Sink`)."""

    __slots__ = ("_flow", "_transport", "is_lost", "writer")

    framing = staticmethod(chunked)

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport: asyncio.Transport | None = transport
        self._flow = flow
        self.is_lost = False
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
        """Takes no more: the body is over."""
        self._transport = self.writer = None

    def lose(self) -> None:
        """Takes no more: the client is gone."""
        self.is_lost = True
        writer = self.writer
        self.end()
        if writer is not None:
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
