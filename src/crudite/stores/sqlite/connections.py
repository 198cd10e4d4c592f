"""How connections to the file are opened, and what each of them may do."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import apsw

from crudite.errors import StoreError

Execute: TypeAlias = Callable[..., Any]
"""A cursor's `execute`: SQL text and what is bound to its parameters. Use `fetchall` of the answer: a
statement that is not stepped to its end keeps its snapshot."""

File: TypeAlias = tuple[int, int]
"""What tells the file at a path from another one that takes its place: device and inode."""

Synchronous = Literal["OFF", "NORMAL", "FULL", "EXTRA"]

BUSY_MILLISECONDS = 5000
READ_SECONDS = 5.0
_OPCODES_BETWEEN_LOOKS = 10_000


class Replaced(StoreError):
    """Another file lies at the database's path, or none: what was committed went into the old one."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: another file has taken the database's place")


def connect(path: str, *, create: bool = False, file: File | None = None) -> apsw.Connection:
    """A connection with our settings. Never creates the file unless told to.

    Raises apsw.Error, and Replaced when it is not `file` that lies there: the write-ahead log of
    ours would be replayed onto another one.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(path, flags=flags, statementcachesize=400)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    if file is not None and file != identity(path):
        connection.close(True)  # it has read nothing yet, and so has not seen the log
        raise Replaced(path)
    return connection


def make_writer(connection: apsw.Connection, synchronous: Synchronous) -> None:
    """Makes a connection the one that writes. It leaves checkpoints to others: no request waits for one."""
    pragma(connection, "journal_mode = WAL")
    pragma(connection, f"synchronous = {synchronous}")
    pragma(connection, "foreign_keys = ON")
    pragma(connection, "recursive_triggers = OFF")
    pragma(connection, "cache_size = -32000")
    connection.wal_autocheckpoint(0)


def connect_reader(path: str, file: File) -> apsw.Connection:
    """A connection that only reads."""
    connection = connect(path, file=file)
    pragma(connection, "query_only = ON")
    pragma(connection, "cache_size = -16000")
    connection.wal_autocheckpoint(0)
    return connection


def pragma(connection: apsw.Connection, text: str) -> Any:
    """Runs a PRAGMA to its end and returns the first value it gives, if any."""
    found = rows(connection, f"PRAGMA {text}")
    return found[0][0] if found else None


def rows(connection: apsw.Connection, text: str, bound: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    return connection.execute(text, bound).fetchall()


class Deadline:
    """Interrupts a connection's statements when a moment has passed; `start` sets it anew.

    A statement that has not worked for two looks yet is let be: time passes also for a process that the system does
    not let run, and a short statement is none the longer for that.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._end = float("inf")
        self._looks = 0
        connection.set_progress_handler(self._is_over, _OPCODES_BETWEEN_LOOKS)

    def start(self, seconds: float = READ_SECONDS) -> None:
        """Gives the statements from now on so many seconds."""
        self._end = time.monotonic() + seconds
        self._looks = 0

    def stop(self) -> None:
        """Gives them all the time that they want."""
        self._end = float("inf")

    def _is_over(self) -> bool:
        self._looks += 1
        return self._looks > 1 and time.monotonic() > self._end


def checkpoint(connection: apsw.Connection, *, whole: bool = False) -> tuple[int, int]:
    """Copies what it can of the write-ahead log into the file, without waiting for anybody; all of it with
    `whole`, or BusyError after a while.

    Returns how many pages the log has and how many of them have been copied.
    """
    mode = apsw.SQLITE_CHECKPOINT_FULL if whole else apsw.SQLITE_CHECKPOINT_PASSIVE
    return connection.wal_checkpoint(mode=mode)


def identity(path: str) -> File | None:
    """Which file lies at a path; None when there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (asked after every commit; a Path costs four times as much)
    except OSError:
        return None
    return status.st_dev, status.st_ino
