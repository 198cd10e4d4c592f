"""Turns at writing: processes that write to one file do so one after the other, in the order in which they came.

SQLite lets one write and the others try again after pauses that grow. Who has just committed begins again before any
pause is over, so that with several busy processes chance decides, and one may be unlucky for seconds. flock(2) serves
its waiters in order, and the kernel takes a lock back when its process dies.

It is a courtesy, and BEGIN IMMEDIATE stays the truth: whoever has waited for too long goes without his turn. The file
that is locked is the write-ahead log, which lies there as long as anybody has the database open, and on which SQLite
itself has no locks (they are on the `-shm` file beside it).
"""

import fcntl
import os
import threading

PATIENCE = 1.0
"""Seconds to wait for a turn. One that takes longer is of a process that was stopped in the middle of it."""


class Turn:
    """The turns of one process; of one thread in it."""

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._file = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._waiting: _Waiting | None = None
        self._is_ours = False

    def take(self) -> None:
        """Waits for our turn, but not for too long."""
        if self._waiting is None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._waiting = _Waiting(self._file)
            else:
                self._is_ours = True
                return
        self._is_ours = self._waiting.came(self._patience)
        if self._is_ours:
            self._waiting = None

    def give(self) -> None:
        """It is the next one's turn."""
        if self._is_ours:
            self._is_ours = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the file."""
        self.give()
        if self._waiting is None:  # else its thread has the file, until the process ends
            os.close(self._file)


class _Waiting:
    """A thread that waits for the lock, since nothing else can be waited for so and given up."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._has_come = False
        self._is_wanted = True
        threading.Thread(target=self._wait, name="crudite-turn", daemon=True).start()

    def came(self, seconds: float) -> bool:
        """Whether the lock comes within so long; if not, it is given back when it does."""
        with self._changed:
            self._is_wanted = True
            self._is_wanted = self._changed.wait_for(lambda: self._has_come, seconds)
            return self._is_wanted

    def _wait(self) -> None:
        while True:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._changed:
                if self._is_wanted:
                    self._has_come = True
                    self._changed.notify()
                    return
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._changed.wait_for(lambda: self._is_wanted)
