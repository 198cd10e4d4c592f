"""A pooler as PgBouncer is in transaction mode, in this process: before a real server, at the level of the wire.

A client gets a server for one transaction, and for the next one another server, whenever there is another: whatever
somebody leaves on one comes up at once. Like PgBouncer it refuses parameters that it cannot keep apart, passes requests
to cancel on, and closes a server whose client went away within a transaction. It asks for no password.
"""

import asyncio
import itertools
import secrets
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import NamedTuple, Self

_VERSION, _CANCEL, _TLS, _GSS = 196608, 80877102, 80877103, 80877104
# https://www.pgbouncer.org/config.html#ignore_startup_parameters: what it follows without being told to ignore it
_KEPT = {
    "user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name",
}  # fmt: skip


class Message(NamedTuple):
    """One message of the protocol: its letter, and what it says."""

    kind: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """As it travels."""
        return self.kind + struct.pack(">i", len(self.body) + 4) + self.body


async def read(reader: asyncio.StreamReader) -> Message:
    """The next message."""
    kind = await reader.readexactly(1)
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return Message(kind, await reader.readexactly(length - 4))


class Pooler:
    """Lends `size` servers of one database to any number of clients; `port` is its own.

    `transactions` counts how often a server was lent.
    """

    def __init__(self, target: int, size: int = 3) -> None:
        self._target = target
        self._size = size
        self._count = 0
        self._free: deque[_Server] = deque()
        self._is_free = asyncio.Condition()
        self._clients: dict[bytes, _Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self.transactions = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._listener.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._free:
            await server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack(">i", body[:4])
            if code not in (_TLS, _GSS):
                break
            writer.write(b"N")
        if code == _CANCEL:
            return await self._cancel(body[4:])
        parts = body[4:].split(b"\0")[:-2]
        asked = {name.decode().lower(): value for name, value in zip(parts[::2], parts[1::2], strict=True)}
        refused = asked.keys() - _KEPT
        if refused:
            text = f"unsupported startup parameter: {min(refused)}"
            body = b"".join(one.encode() + b"\0" for one in ("SFATAL", "C08P01", f"M{text}")) + b"\0"
            writer.write(Message(b"E", body).raw)
            return await writer.drain()
        await _Client(self, reader, writer, body).run(self._clients, next(self._numbers))

    async def _cancel(self, key: bytes) -> None:
        client = self._clients.get(key)
        if client is not None and client.server is not None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
            writer.write(struct.pack(">ii", 16, _CANCEL) + client.server.key)
            await reader.read()
            writer.close()

    async def lend(self, startup: bytes) -> "_Server":
        """The server that has been free for longest, or a new one."""
        async with self._is_free:
            await self._is_free.wait_for(lambda: self._free or self._count < self._size)
            self.transactions += 1
            if self._count < self._size:
                server = await _Server.connect(self._target, startup)
                self._count += 1
                return server
            return self._free.popleft()

    async def take_back(self, server: "_Server", *, is_whole: bool) -> None:
        """The server is free again, or closed when its client left it within a transaction."""
        async with self._is_free:
            if is_whole:
                self._free.append(server)
            else:
                self._count -= 1
                await server.close()
            self._is_free.notify()


class _Server:
    """A connection to the real server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""
        self.key = b""

    @classmethod
    async def connect(cls, target: int, startup: bytes) -> Self:
        server = cls(*await asyncio.open_connection("127.0.0.1", target))
        server.writer.write(struct.pack(">i", len(startup) + 4) + startup)
        while (message := await read(server.reader)).kind != b"Z":
            if message.kind == b"K":
                server.key = message.body
            elif message.kind in b"SR":
                server.greeting += message.raw
        return server

    async def close(self) -> None:
        self.writer.transport.abort()


class _Client:
    """A client's connection; `server` is what it has been lent now."""

    def __init__(
        self, pooler: Pooler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, startup: bytes
    ) -> None:
        self._pooler, self._reader, self._writer, self._startup = pooler, reader, writer, startup
        self.server: _Server | None = None

    async def run(self, clients: dict[bytes, "_Client"], number: int) -> None:
        """Serves the client until it leaves."""
        key = struct.pack(">i", number) + secrets.token_bytes(4)
        server = await self._pooler.lend(self._startup)
        greeting = server.greeting
        await self._pooler.take_back(server, is_whole=True)
        clients[key] = self
        self._writer.write(greeting + Message(b"K", key).raw + Message(b"Z", b"I").raw)
        said = asyncio.create_task(read(self._reader))
        try:
            while (await asyncio.shield(said)).kind != b"X":
                said = await self._transaction(said)
        finally:
            said.cancel()
            del clients[key]
            if self.server is not None:
                await self._pooler.take_back(self.server, is_whole=False)

    async def _transaction(self, said: asyncio.Task[Message]) -> asyncio.Task[Message]:
        """Passes on what is said until the server says that no transaction is left; what is said after that."""
        self.server = server = await self._pooler.lend(self._startup)
        asked = 0

        async def answer() -> None:
            answered = 0
            while True:
                message = await read(server.reader)
                self._writer.write(message.raw)
                if message.kind == b"Z":
                    answered += 1
                    if message.body == b"I" and answered == asked:
                        return

        answers = asyncio.create_task(answer())
        try:
            while not answers.done():
                if said.done():
                    message = said.result()
                    if message.kind == b"X":
                        raise asyncio.IncompleteReadError(b"", None)
                    asked += message.kind in (b"Q", b"S", b"F")
                    server.writer.write(message.raw)
                    said = asyncio.create_task(read(self._reader))
                await asyncio.wait((answers, said), return_when=asyncio.FIRST_COMPLETED)
            answers.result()
        finally:
            answers.cancel()
        self.server = None
        await self._pooler.take_back(server, is_whole=True)
        return said


@contextmanager
def pooler_before(target: int, size: int = 3) -> Iterator[Pooler]:
    """A pooler that runs in a thread of its own, for tests that each have a loop of their own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        pooler = asyncio.run_coroutine_threadsafe(Pooler(target, size).__aenter__(), loop).result()
        try:
            yield pooler
        finally:
            asyncio.run_coroutine_threadsafe(pooler.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
