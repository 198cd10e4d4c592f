"""One at a time: the lock of all who change what the mirror has, in this process and in those that share its file."""

import asyncio
import fcntl
import os
from types import TracebackType

from crudite.errors import StoreError, StoreLocked

_MOST_WAITING = 1000


class Exclusion:
    """A lock, `async with`, that others wait for at most `patience` seconds. `path` is a file that processes lock
    together (flock(2)): the system takes a lock back when its process dies."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._file: int | None = None

    def open(self, path: str) -> None:
        """From now on other processes wait, too, that open the same file."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: the file that processes take turns by cannot be opened: {error}") from error

    def close(self) -> None:
        """Lets go of the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    async def __aenter__(self) -> None:
        if self._waiting >= _MOST_WAITING:
            raise StoreLocked(f"{_MOST_WAITING} requests wait for the database already")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._lock.acquire()
                try:
                    await self._take_turn()
                except BaseException:
                    self._lock.release()
                    raise
        except TimeoutError:
            raise StoreLocked(f"others have used the database for {self._patience:g} seconds") from None
        finally:
            self._waiting -= 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._lock.release()

    async def _take_turn(self) -> None:
        pause = 0.001
        while self._file is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(pause)  # a thread that waits for the lock could not be called back
                pause = min(2 * pause, 0.005)
            except OSError as error:  # a file system that knows no locks, or has none left
                raise StoreError(f"the file that processes take turns by cannot be locked: {error}") from error
            else:
                return
