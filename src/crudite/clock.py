"""Clocks: what time it is, and being told when a time has come."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

_LONGEST_WAIT = 3600.0


class Alarm(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """It does not come any more."""
        ...


class Clock:
    """The clock of an application: what `now` means, and when something is due.

    `tell` gives the time, with a zone; by default it is the machine's.
    """

    def __init__(self, tell: Callable[[], datetime] | None = None) -> None:
        self._tell = tell or _utc_now

    @classmethod
    def of(cls, clock: "Callable[[], datetime] | None") -> "Clock":
        """The clock itself, or one that tells what a function does, or the machine's."""
        return clock if isinstance(clock, Clock) else cls(clock)

    def __call__(self) -> datetime:
        """What time it is."""
        return self._tell()

    def at(self, moment: datetime, call: Callable[[], None]) -> Alarm:
        """Calls once, from the event loop, when the moment has come: soon, if it has already."""
        return _Waiting(self, moment, call)


class _Waiting:
    """An alarm of the event loop."""

    def __init__(self, clock: Clock, moment: datetime, call: Callable[[], None]) -> None:
        self._clock = clock
        self._moment = moment
        self._call = call
        self._wait()

    def cancel(self) -> None:
        """The call does not come any more."""
        self._timer.cancel()

    def _wait(self) -> None:
        # A long wait is cut short: clocks are set, and then the moment is another one away.
        left = (self._moment - self._clock()).total_seconds()
        self._timer = asyncio.get_running_loop().call_later(min(max(left, 0.0), _LONGEST_WAIT), self._look)

    def _look(self) -> None:
        if self._clock() >= self._moment:
            self._call()
        else:
            self._wait()


def _utc_now() -> datetime:
    return datetime.now(UTC)


__all__ = ["Alarm", "Clock"]
