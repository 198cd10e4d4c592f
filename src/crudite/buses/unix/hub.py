"""The hub: the one of the siblings that hands on what the others say.

It holds a lock on a file beside the socket; the kernel gives that up when the process ends, however it ends, and then
the next of the siblings that asks becomes the hub. The socket's file can be removed, or replaced together with the
lock, under a hub that lives: then nobody new finds it, so it looks from time to time and steps down.
"""

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from crudite.buses.unix.frames import encode, read
from crudite.buses.waiting import Message, Waiting


class Hub:
    """Listens at a path until it is closed. Made by `take_over`."""

    def __init__(self, path: Path, lock: int, listening: socket.socket) -> None:
        self._path = path
        self._lock = lock
        self._listening = listening
        self._identity = _identity(path)
        self._members: set[_Member] = set()
        self._server: asyncio.Server | None = None
        self._is_closed = False

    @classmethod
    async def take_over(cls, path: Path) -> Self | None:
        """The hub at this path; None while somebody else is it. Raises OSError where no socket can be made."""
        lock = _lock(path.with_name(path.name + ".lock"))
        if lock is None:
            return None
        try:
            hub = cls(path, lock, _bind(path))
        except BaseException:
            os.close(lock)
            raise
        await hub.start()
        return hub

    async def start(self) -> None:
        """Lets everybody in."""
        self._server = await asyncio.start_unix_server(self._welcome, sock=self._listening)

    @property
    def is_found(self) -> bool:
        """Whether whoever looks for the hub at its path finds this one."""
        return self._identity is not None and _identity(self._path) == self._identity

    async def close(self) -> None:
        """Lets everybody go; the next that asks is the hub."""
        self._is_closed = True
        if self.is_found:
            self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        members = tuple(self._members)
        for member in members:
            member.cut()
        os.close(self._lock)
        if members:
            await asyncio.wait([member.task for member in members])

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        member = _Member(reader, writer)
        if self._is_closed:  # accepted just before
            return member.cut()
        self._members.add(member)
        try:
            await member.serve(self._members)
        finally:
            self._members.discard(member)
            member.cut()


class _Member:
    """A sibling, as the hub knows it: what it listens to and what it has not been told yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._reader = reader
        self._writer = writer
        self._topics: set[str] = set()
        self._waiting = Waiting()
        self._questions = 0
        self._stirs = asyncio.Event()

    async def serve(self, members: "Iterable[_Member]") -> None:
        """Hears and tells until one of them is over."""
        telling = asyncio.create_task(self._tell())
        try:
            await self._hear(members)
        except (EOFError, OSError):
            pass  # it has gone
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    def cut(self) -> None:
        """Ends its connection."""
        self._writer.transport.abort()

    async def _hear(self, members: "Iterable[_Member]") -> None:
        while True:
            frame = await read(self._reader)
            match frame.kind:
                case b"m":
                    for member in members:
                        if member is not self:
                            member.put(Message(frame.topic, frame.payload))
                case b"+":
                    self._topics.add(frame.topic)
                case b"-":
                    self._topics.discard(frame.topic)
                case b"?":
                    self._questions += 1
                    self._stirs.set()

    def put(self, message: Message) -> None:
        """Tells it, if it listens."""
        if message.topic in self._topics:
            self._waiting.add(message)
            self._stirs.set()

    async def _tell(self) -> None:
        try:
            while True:
                await self._stirs.wait()
                self._stirs.clear()
                for message in self._waiting.take_all():
                    self._writer.write(encode(b"m", *message))
                self._writer.write(encode(b"!") * self._questions)
                self._questions = 0
                await self._writer.drain()
        except OSError:
            self.cut()


def _lock(path: Path) -> int | None:
    """A locked file; None while another has it locked."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(file)
        if (held.st_dev, held.st_ino) == _identity(path):
            return file
    except BlockingIOError:
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _bind(path: Path) -> socket.socket:
    """A socket at the path, for us alone."""
    path.unlink(missing_ok=True)  # of a hub that ended without cleaning up
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(128)  # not before: until now nobody could connect
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
