"""How a WebSocket connection ends: what is still said, by which way, when it is closed and with which code.

It is refused for a message that is too large, or for what goes beyond `Patience`.

As long as nothing ends, a call that comes is begun and all that is said goes through the outbox. What has begun to end
may end in another way yet: the client can leave at any time, and credentials can cease to hold.

    live ──── the client does too much ────► refused ─────┐
     │ │                                                  ├── the credentials hold no longer ──► revoked
     │ ├───── the server goes away ────────► away ────────┘                                       ▲
     │ ├───── too little is taken ─────────► slow                                                 │
     │ └───── the client leaves ───────────► gone, from anywhere                                  │
     └──────────────────────────────────────── the credentials hold no longer ────────────────────┘

    state    a call that comes     what waits in the outbox    answers to calls under way       code
    ───────  ────────────────────  ──────────────────────────  ───────────────────────────────  ────────────
    refused  is not begun          is sent                     wait there, too                  the refusal's
    away     is not begun          is sent                     past the outbox, behind it       1001
    slow     is not begun          is given up                 are not sent                     4408
    revoked  is not begun          is given up, in this turn   past the outbox                  4401
    gone     is, if it came first  is given up                 are not sent                     none

The connection is closed behind the last of what is sent. For answers it waits; of a revoked one `cut` ends that.
There is no variable for the state: the outbox knows why it has ended, and the rest is here.
"""

import asyncio
from collections.abc import Sequence

from crudite.interfaces.base import Send
from crudite.interfaces.websocket.format import Text
from crudite.live import Connection
from crudite.server.extension import WebSocketSink

_END_CODES = {"slow": 4408, "away": 1001, "closed": 1000}
_CREDENTIALS = 4401


class Farewell:
    """What goes out of one connection, to its end. It is written by the outbox where there is a `sink`, which `over` is
    to be told of; by `send_all` where there is none. `is_gone`: the client has left."""

    __slots__ = (
        "_code",
        "_connection",
        "_idle",
        "_is_cut",
        "_is_over",
        "_late",
        "_quiet",
        "_sink",
        "_under_way",
        "is_gone",
    )

    def __init__(self, connection: Connection, sink: WebSocketSink | None) -> None:
        self.is_gone = False
        self._connection = connection
        self._sink = sink
        self._under_way = 0
        self._code = 0  # with which it is closed, where the outbox does not say that
        self._late: tuple[bytes, ...] = ()  # what is said when the outbox takes nothing any more
        self._is_cut = False  # whether nothing is waited for any more
        self._is_over = False  # whether the outbox is
        self._idle: asyncio.Future[None] | None = None
        self._quiet: asyncio.Future[None] | None = None

    @property
    def begins_calls(self) -> bool:
        """Whether what comes is begun: what came before the client left is, too."""
        return self._connection.ended in (None, "closed") and not self._code

    def begun(self) -> None:
        """A call is under way, or a message that may hold some."""
        self._under_way += 1

    def done(self) -> None:
        """It is not any longer; its answer has been said."""
        self._under_way -= 1
        self._end_if_idle()
        if not self._under_way:
            self._go_on()
            if self._quiet is not None:
                self._quiet.set_result(None)
                self._quiet = None

    async def quiet(self) -> None:
        """Returns when no call is under way."""
        if self._under_way:
            if self._quiet is None:
                self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._quiet)

    def say(self, made: bytes) -> None:
        """Sends a message: through the outbox, in order with all others, or past it where that is right by now."""
        if self._speaks_late:
            self._late += (made,)
            self._go_on()
        else:
            self._connection.send(made)

    # What ends it.

    def refuse(self, code: int) -> None:
        """The client has sent what it may not: closes with a code, behind the answers to what it has asked already."""
        self._code = code
        self._end_if_idle()

    def revoke(self, told: bytes) -> None:
        """The credentials hold no longer, which the client is told by a message. Nothing is kept live from now on, and
        what waits is given up."""
        self._code = _CREDENTIALS
        self.say(told)
        self._connection.wind_up()

    def cut(self) -> None:
        """Closes, whatever is under way."""
        self._is_cut = True
        self._go_on()

    def lose(self) -> None:
        """The client has left."""
        self.is_gone = True
        self._connection.close()

    def over(self) -> None:
        """The outbox is over: it has ended, and the sink has what was due."""
        self._is_over = True
        self._end_sink()

    # What is sent.

    async def send_all(self, send: Send) -> None:
        """Sends all there is to say, as it comes, and closes behind it."""
        async for parts in self._connection.messages():
            await self._send_some(parts, send)
        while self._late or self._is_awaited:
            late, self._late = self._late, ()
            for part in late:
                await self._send_one(part, send)
            if not self._late and self._is_awaited:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
        if not self.is_gone:
            await send({"type": "websocket.close", "code": self._end_code})

    async def _send_some(self, parts: Sequence[bytes], send: Send) -> None:
        for part in parts:
            if self._code == _CREDENTIALS and self._connection.ended is not None:
                return  # what has been taken waits no less than what is in the outbox
            await self._send_one(part, send)

    async def _send_one(self, part: bytes, send: Send) -> None:
        if not self.is_gone:
            text = part.text if isinstance(part, Text) else part.decode()
            await send({"type": "websocket.send", "text": text})

    def _end_sink(self) -> None:
        """Closes behind the last answer, once the outbox is over."""
        if self._sink is None or not self._is_over:
            return
        late, self._late = self._late, ()
        if late:
            self._sink.write(self._sink.framing(late))
        if not self._is_awaited:
            self._sink.end(self._end_code)

    # What it waits for.

    @property
    def _speaks_late(self) -> bool:
        """Whether answers go past the outbox."""
        return self._connection.ended == "away" or self._code == _CREDENTIALS

    @property
    def _is_awaited(self) -> bool:
        """Whether calls are under way whose answers still come, though the outbox has ended."""
        return self._speaks_late and self._under_way > 0 and not self._is_cut

    @property
    def _end_code(self) -> int:
        return self._code or _END_CODES[self._connection.ended or "closed"]

    def _end_if_idle(self) -> None:
        """Whoever is refused gets the answers to what it has asked already, so the outbox ends behind those."""
        if self._code and not self._under_way:
            self._connection.outbox.end("closed")

    def _go_on(self) -> None:
        """There is something to say past the outbox, or nothing to wait for any more."""
        self._end_sink()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
