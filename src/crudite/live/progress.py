"""Where a lane stands in the log, and how to wait until it has come past what somebody has just seen.

Positions are not compared. Instead a *fence* is passed when a batch that was asked for after the fence was
set up has been worked through: such a batch's snapshot is younger than anything read before.
"""

import asyncio
from collections.abc import Callable

from crudite.changes import Mark, Position
from crudite.errors import Problem
from crudite.live.cursors import Cursors


class Progress:
    """A lane's position; `wake` makes the store give a batch soon."""

    def __init__(self, position: Position, cursors: Cursors, wake: Callable[[], None]) -> None:
        self._position = position
        self._cursors = cursors
        self._wake = wake
        self._cursor: str | None = None
        self._set_up: list[asyncio.Future[None]] = []
        self._asked: list[asyncio.Future[None]] = []
        self._stopped: Problem | None = None

    @property
    def position(self) -> Position:
        """Everything up to here is in the outboxes."""
        return self._position

    @property
    def cursor(self) -> str:
        """The position's cursor."""
        if self._cursor is None:
            self._cursor = self._cursors.seal(self._position.token)
        return self._cursor

    def covers(self, mark: Mark) -> bool:
        """Whether the frames of that commit are in the outboxes."""
        return self._position.covers(mark)

    def stands_at(self, token: bytes) -> bool:
        """Whether a token is that of the lane's own position."""
        return self._position.token == token

    def advance(self, position: Position) -> None:
        """The lane has worked through to here."""
        self._position = position
        self._cursor = None

    async def fence(self) -> None:
        """Returns when the lane stands at or after everything that was committed before the call."""
        if self._stopped is not None:
            raise self._stopped
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._set_up.append(passed)
        self._wake()
        await passed

    def stop(self, problem: Problem) -> None:
        """No fence will be passed any more: whoever waits for one is told why."""
        self._stopped = problem
        for passed in (*self._set_up, *self._asked):
            if not passed.done():
                passed.set_exception(problem)
        self._set_up, self._asked = [], []

    def ask(self) -> bool:
        """A batch is about to be asked for; returns whether somebody waits for it."""
        self._asked += self._set_up
        self._set_up = []
        return bool(self._asked)

    def pass_fences(self) -> None:
        """The batch that was asked for has been worked through."""
        for passed in self._asked:
            if not passed.done():
                passed.set_result(None)
        self._asked = []
