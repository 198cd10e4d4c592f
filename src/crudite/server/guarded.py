"""HTTP from clients that may be slow, or send too much: uvicorn's protocol with a guard.

What has begun must be whole in time. One timer serves for that, and it runs only while something is not whole: a
request that comes in one piece costs none. It is never set anew for the same: a byte now and then does not help.

| what is awaited | from | to | refused with |
|---|---|---|---|
| the first byte | the connection | that | nothing is said: browsers connect ahead |
| a head | its first byte | its last | 408 |
| a body | the head's last byte | its own last | 408, unless an answer has begun |
| that the client takes something | a full write buffer | there is room, or 64 KiB went | the connection is cut |

Between two requests uvicorn's own time for that holds.
"""

import asyncio
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from crudite.server.guard import (
    LARGE_HEAD,
    LONG_URL,
    MANY_HEADERS,
    MANY_SOCKETS,
    OTHER_TARGET,
    SILENT,
    SLOW_BODY,
    SLOW_HEAD,
    TAKES_NOTHING,
    Guard,
    Refusal,
)

_SOME = 65_536


_MOST_FRAMING = 8
"""For each byte of a body, so many may be its chunks': one of a single byte takes five."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection, with the guard that its application has, if it has one."""

    _is_within = False  # the parser is inside of a message
    _is_handed_on = False  # another protocol has the connection
    _guard: Guard | None = None
    _place: str | None = ""  # among those of its address
    _longest_line = 1 << 62
    _is_in_head = False
    _head_size = 0  # what has come of a head, but for where it began
    _framing = 0  # what has come beside a body, less what its chunks may cost
    _awaited: Refusal | None = None  # what it is refused for, if it goes on to wait
    _patience: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _refusal: Refusal | None = None  # what the parser was stopped for

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        guard = self._guard = getattr(self.config.app, "guard", None)
        if guard is not None:
            address = self.client[0] if self.client is not None else None
            self._place = guard.enter(address, self.config.forwarded_allow_ips)
            if self._place is None:
                return self._refuse(MANY_SOCKETS)
            self._longest_line = guard.bounds.url + len(b"POST  HTTP/1.1\r\n")
            self._await(SILENT)
        return None

    def on_message_begin(self) -> None:
        """The parser has seen the first byte of a request."""
        self._is_within = self._is_in_head = True
        self._head_size = self._framing = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser has seen a header; or a field behind the body, which is none (RFC 9110, section 6.5.1): whoever
        stands before us has looked at headers only."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """The parser has seen a part of a body."""
        self._framing -= _MOST_FRAMING * len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """The parser has seen all headers of a request."""
        self._is_in_head = False
        if self._guard is not None:
            self._refusal = _refusal(self.url, self.headers, self._guard)
            if self._refusal is not None:
                raise _Refused
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser has seen the last byte of a request."""
        self._is_within = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Lets the parser have some bytes, and waits for the rest."""
        was_in_head = self._is_in_head
        super().data_received(data)
        guard = self._guard
        if guard is None or self._is_handed_on or self.transport.is_closing():
            return None
        if was_in_head and self._is_in_head:
            self._head_size += len(data)
            if self._head_size > guard.bounds.head:
                return self._refuse(LARGE_HEAD)
        elif self._is_within and not self._is_in_head:
            self._framing += len(data)
            if self._framing > guard.bounds.head:  # extensions of chunks, fields behind them
                return self._refuse(LARGE_HEAD)
        if self._is_within:
            self._await(SLOW_HEAD if self._is_in_head else SLOW_BODY)
        elif self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self._await(SILENT)
        elif self._patience is not None:
            self._calm()
        return None

    def _await(self, refusal: Refusal) -> None:
        """Refuses in time, if it goes on to wait for the same."""
        if self._guard is None or (self._patience is not None and self._awaited is refusal):
            return
        self._calm()
        self._awaited = refusal
        bounds = self._guard.bounds
        seconds = bounds.body_time if refusal is SLOW_BODY else bounds.head_time
        self._patience = self.loop.call_later(seconds, self._lose_patience)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        refusal, self._patience = self._awaited, None
        assert refusal is not None
        if self.flow.read_paused:  # it is we who take nothing
            self._await(refusal)
        elif not self.transport.is_closing():
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Says why, unless something else is being said, and closes."""
        if self._guard is not None:
            self._guard.note(refusal)
        self._calm()
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not is_answering and refusal.answer:
            self.transport.write(refusal.answer)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """The parser has been stopped."""
        if self._refusal is not None:
            self._refuse(self._refusal)
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The transport's write buffer is full."""
        super().pause_writing()
        if self._guard is not None and self._taking is None:
            self._await_taking(self._guard)

    def _await_taking(self, guard: Guard) -> None:
        """Cuts the connection, unless the client takes some of what waits for it: a large answer over a thin line is
        no attack."""
        left = self.transport.get_write_buffer_size()

        def look() -> None:
            if left - self.transport.get_write_buffer_size() >= _SOME:
                return self._await_taking(guard)
            guard.note(TAKES_NOTHING)
            return self.transport.abort()

        self._taking = self.loop.call_later(guard.bounds.take_time, look)

    def handle_websocket_upgrade(self) -> None:
        """The connection is somebody else's from here on."""
        self._let_go()
        self._is_handed_on = True
        super().handle_websocket_upgrade()

    def _let_go(self) -> None:
        self._calm()
        if self._taking is not None:
            self._taking.cancel()
        place, self._place = self._place, None
        if self._guard is not None and place is not None:
            self._guard.leave(place)

    def resume_writing(self) -> None:
        """The transport takes more again."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._let_go()


class _Refused(Exception):
    """Stops the parser."""


def _is_sent_here(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a target that is no path names the same host as the headers do (RFC 9112, section 3.2): whoever stands
    before us may go by the one, and we by the other."""
    if url == b"*":
        return True
    hosts = [value for name, value in headers if name == b"host"]
    named = url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
    return len(hosts) == 1 and hosts[0].lower() == named.lower()


def _refusal(url: bytes, headers: Sequence[tuple[bytes, bytes]], guard: Guard) -> Refusal | None:
    """Why a head is not taken; None for one that is."""
    bounds = guard.bounds
    if not url.startswith(b"/") and not _is_sent_here(url, headers):
        return OTHER_TARGET
    if len(url) > bounds.url:
        return LONG_URL
    if len(headers) > bounds.headers:
        return MANY_HEADERS
    if len(url) + sum([len(name) + len(value) + 4 for name, value in headers]) > bounds.head:
        return LARGE_HEAD
    return None
