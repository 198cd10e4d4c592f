"""A clock that stands still until a test moves it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

from crudite.clock import Alarm
from crudite.clock import Clock as AnyClock


class Clock(AnyClock):
    """A clock that a test owns: `App(..., clock=clock)`, then `clock.advance(timedelta(days=1))`.

    It begins at `now`, a time with a zone. What the application has to do at a certain time (live queries over
    `now` and `today`, credentials that expire) it does when the clock passes that time, and not before.
    """

    def __init__(self, now: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC)) -> None:
        if now.tzinfo is None:
            raise ValueError("expected a time with a zone, such as datetime(2030, 1, 1, tzinfo=UTC)")
        super().__init__(lambda: self.now)
        self.now = now
        """What time it is. A test that sets it, in place of `advance`, makes nothing happen."""
        self._made = 0
        self._due: list[tuple[datetime, int, _Due]] = []

    def at(self, moment: datetime, call: Callable[[], None]) -> Alarm:
        """Calls once when the clock is moved to the moment or past it; soon, if it is there already."""
        alarm = _Due(call)
        if moment <= self.now:
            asyncio.get_running_loop().call_soon(alarm.ring)
            return alarm
        self._made += 1
        heappush(self._due, (moment, self._made, alarm))
        return alarm

    def advance(self, by: timedelta) -> None:
        """Moves on by so much. What falls due on the way is done in order, each at its own time.

        Live queries are then run again in the background: `await app.settled()` waits for what comes of it.
        Raises ValueError for a negative time.
        """
        if by < timedelta():
            raise ValueError(f"time goes forwards, and {by} is backwards")
        end = self.now + by
        while self._due and self._due[0][0] <= end:
            moment, _, alarm = heappop(self._due)
            self.now = moment
            alarm.ring()
        self.now = end


class _Due:
    """An alarm of a clock that a test moves."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """The call does not come any more."""
        self._call = None

    def ring(self) -> None:
        """Calls, if it is still to."""
        call, self._call = self._call, None
        if call is not None:
            call()


__all__ = ["Clock"]
