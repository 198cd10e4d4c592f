"""How long a WebSocket client is borne with: without a first message, and with messages that rates refuse."""

import asyncio
from collections import Counter
from collections.abc import Callable

from crudite.errors import Problem, TooManyRequests
from crudite.interfaces.base import Limits

SILENT, TOO_MANY = 4408, 4429


class Patience:
    """Watches one client from its accept on. `end` closes the connection with a code, `passed` counts why."""

    __slots__ = ("_end", "_limits", "_passed", "_refused", "_timer")

    def __init__(self, limits: Limits, end: Callable[[int], None], passed: Counter[str]) -> None:
        self._limits = limits
        self._end = end
        self._passed = passed
        self._refused = 0
        self._timer: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(limits.silence, self._lose)

    def heard(self) -> None:
        """A message has come, or none comes any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def judge(self, problem: Problem | None) -> None:
        """Something has been answered, with a problem or without. A client that goes on and on though it is told when
        to come again is sent away: an honest one waits."""
        self._refused = self._refused + 1 if isinstance(problem, TooManyRequests) else 0
        if self._refused == self._limits.refusals:
            self._passed["refusals"] += 1
            self._end(TOO_MANY)

    def _lose(self) -> None:
        self._timer = None
        self._passed["silence"] += 1
        self._end(SILENT)
