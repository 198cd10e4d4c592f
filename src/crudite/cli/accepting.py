"""Accepting connections beside siblings: whoever has more than its share looks away for a moment.

All workers take connections from the queue of one socket, and left to themselves, whoever wakes first takes them: of
200 WebSockets that came one after another, four workers on two cores took 14, 29, 64 and 93, and a worker that has
just come up gets no more than the others, however few it has. So each notes how many connections it has where the
others see it (`Shares`), and one that has some more than the least of them leaves the next ones to that one, for a
few milliseconds at most: nobody waits for a worker that is held up.

A queue for each worker (SO_REUSEPORT) would spread by chance, not by need, and what has come into the queue of a worker
that is held up, or dead, waits for it or is reset; here the others take it.
"""

import asyncio
import logging
import mmap
import socket
from collections.abc import Callable
from pathlib import Path

MOST_WORKERS = 512
_NOWHERE = -1
_LOOKS_AWAY = 0.005
_EXHAUSTED = 0.5
"""Seconds to wait when the machine has no descriptor or no memory for another connection."""
_AT_ONCE = 64

_log = logging.getLogger("crudite.workers")


class Shares:
    """How many connections each worker has: numbers in a file that all of them map into their memory."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), 4 * MOST_WORKERS)).cast("i")

    @classmethod
    def create(cls, path: Path) -> "Shares":
        """Makes the file, with nobody in it."""
        path.write_bytes(_NOWHERE.to_bytes(4, "little", signed=True) * MOST_WORKERS)
        return cls(path)

    def note(self, number: int, count: int) -> None:
        """Tells how many a worker has, which accepts more."""
        self._counts[number - 1] = count

    def forget(self, number: int) -> None:
        """Tells that a worker accepts no more."""
        self._counts[number - 1] = _NOWHERE

    def least(self) -> int:
        """How many the worker with the fewest has; 0 when nobody accepts."""
        return min((count for count in self._counts if count != _NOWHERE), default=0)


class Accepting:
    """Accepts from a listening socket until it is closed, as one of several workers. `protocol` makes what serves a
    connection, `count` says how many there are."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        shares: Shares,
        number: int,
    ) -> None:
        self._listening = listening
        self._protocol = protocol
        self._count = count
        self._shares = shares
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._away: asyncio.TimerHandle | None = None
        self._is_closed = False
        listening.setblocking(False)
        self._look()

    def note(self) -> None:
        """Tells the others how many connections there are."""
        if not self._is_closed:
            self._shares.note(self._number, self._count())

    def close(self) -> None:
        """Accepts no more."""
        if not self._is_closed:
            self._is_closed = True
            self._shares.forget(self._number)
            self._look_away(None)
            self._listening.close()  # when the last of all has, clients are refused and need not wait

    async def wait_closed(self) -> None:
        """Waits until what has been accepted is served."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _look(self) -> None:
        self._away = None
        self.note()
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _look_away(self, seconds: float | None) -> None:
        if self._away is not None:
            self._away.cancel()
        else:
            self._loop.remove_reader(self._listening.fileno())
        self._away = self._loop.call_later(seconds, self._look) if seconds is not None else None

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            count, least = self._count() + len(self._opening), self._shares.least()
            if count > least + 1 + least // 32:
                return self._look_away(_LOOKS_AWAY)
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return None
            except OSError as error:
                _log.error("no connection can be accepted: %s", error.strerror)
                return self._look_away(_EXHAUSTED)
            opening = self._loop.create_task(self._serve(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return None

    async def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.connect_accepted_socket(self._protocol, connection)
        self.note()
