"""A watch: whether a rule over one record holds for somebody, kept live by the engine that keeps everything else live.

It is a live query that shows the record's key while the rule holds. What the engine has to say of it comes as signs,
in the order of the commits: the batch that takes the record away takes the channel away.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from math import inf

from crudite.changes import ResetReason
from crudite.errors import Problem
from crudite.live import Engine, Frame, Holds, LaneName, Subscription
from crudite.messages import LiveQuery
from crudite.server.extension import Framing, Writer
from crudite.types import Plain

_SHOWN, _GONE, _READY, _VOID, _OVER = b"+", b"-", b"=", b"0", b"!"


class _Signs:
    """Turns facts into signs (`live.Format`)."""

    share: Hashable = "watch"
    heartbeat = inf
    is_torn = False
    has_lanes = True

    def address(self, name: str) -> Hashable:
        return None

    def frame(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        return [_SHOWN if frame.added else _GONE if frame.removed else b""]

    frame_alone = frame

    def resumed(self, frame: Frame | None, to: Subscription, before: str, after: str) -> Sequence[bytes]:
        return [*(self.frame(frame, to, before, after) if frame is not None else ()), _READY]

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        return b""

    def snapshot(self, to: Subscription, records: Sequence[str]) -> bytes:
        return _SHOWN if records else b""

    def value(self, to: Subscription, value: Plain) -> bytes:
        return b""

    def ready(self, to: Subscription, cursor: str) -> bytes:
        return _READY

    def reset(self, to: Subscription, reason: ResetReason) -> bytes:
        return _VOID

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        return _OVER

    def acks(self, calls: Sequence[Plain]) -> bytes:
        return b""

    def ping(self) -> bytes:
        return b""

    def bye(self, retry_in: int) -> bytes:
        return b""


_signs = _Signs()


def _joined(messages: Sequence[bytes], /) -> bytes:
    return b"".join(messages)


class Watch:
    """Watches one rule over one record, or, without a query, one that holds as long as it is not closed.

    `holds` is False also while it is not known. `on_lost` is called once, when it has held and does no more. It writes
    to nobody: it is where its connection writes to (`server.extension.Sink`).
    """

    def __init__(self, query: LiveQuery | None, on_lost: Callable[[], None]) -> None:
        self.framing: Framing = _joined
        self.is_writable = True
        self.is_lost = False
        self.identity = query.identity if query is not None else ""
        self.holds = False
        self.writer: Writer | None = None
        self._query = query
        self._on_lost = on_lost
        self._is_there = False
        self._is_closed = False
        self._close: Callable[[], None] = lambda: None
        self._decided: asyncio.Future[None] | None = None

    async def begin(self, engine: Engine, still: Holds) -> bool | None:
        """Begins, and returns whether the rule holds; None when it was closed before that was known, or `still` says
        that what the query was made for is not so any more. Raises Problem where nothing can be watched."""
        if self._is_closed or not still():
            return None
        if self._query is None:
            self.holds = True
            return True
        connection = engine.connect(_signs)
        self._close = connection.close
        self._decided = asyncio.get_running_loop().create_future()
        connection.outbox.attach(self, self._over)
        try:
            await connection.subscribe("", self._query, holds=still)
            if still():
                await self._decided
        except BaseException:
            self.close()
            raise
        if self._is_closed or not still():
            self.close()
            return None
        return self.holds

    def write(self, framed: bytes, /) -> None:
        """Takes signs in."""
        for at in range(len(framed)):
            self._take(framed[at : at + 1])

    def close(self) -> None:
        """It is not watched any more."""
        self._is_closed = True
        self.holds = False
        self._decide()
        self._close()

    def _take(self, sign: bytes) -> None:
        if self._is_closed:
            return
        if sign in (_SHOWN, _GONE, _VOID):
            self._is_there = sign == _SHOWN
        was_decided = self._decided is not None and self._decided.done()
        if sign == _READY or (was_decided and sign in (_SHOWN, _GONE)):
            self.holds = self._is_there
            self._decide()
        elif sign in (_VOID, _OVER):
            self.holds = False
        if was_decided and not self.holds and sign != _VOID:
            self._lose()
        elif sign == _OVER:
            self._decide()

    def _lose(self) -> None:
        self.close()
        self._on_lost()

    def _over(self) -> None:
        self.holds = False
        self._decide()

    def _decide(self) -> None:
        if self._decided is not None and not self._decided.done():
            self._decided.set_result(None)
