"""A network that fails on demand: a TCP proxy in this process that delays, holds up, cuts and half-closes."""

import asyncio
from contextlib import suppress
from typing import Self

_CHUNK = 64 * 1024


class Proxy:
    """Stands before a server of the loopback interface; `port` is its own. Without being told otherwise it is perfect.

    `delay` is how many seconds later every piece arrives, in both directions.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_closed = False
        self._pairs: set[_Pair] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.refuse()
        if self._pairs:
            await asyncio.wait([pair.task for pair in self._pairs])

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def cut(self) -> None:
        """All connections are reset; new ones are welcome."""
        for pair in tuple(self._pairs):
            pair.cut()

    def refuse(self) -> None:
        """All connections are reset, and every new one as soon as it is made: until `accept`."""
        self._is_closed = True
        self._flows.set()
        self.cut()

    def accept(self) -> None:
        """New connections are welcome again."""
        self._is_closed = False

    def hold(self) -> None:
        """Nothing arrives any more on either side, and nobody is told: the cable is out. Until `release`."""
        self._flows.clear()

    def release(self) -> None:
        """Everything arrives again, what was held up first."""
        self._flows.set()

    def half_close(self) -> None:
        """Clients are told that the server says no more; what they say still arrives."""
        for pair in self._pairs:
            pair.half_close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed:
            return writer.transport.abort()
        try:
            theirs = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return writer.transport.abort()
        pair = _Pair(self, writer, theirs[1])
        self._pairs.add(pair)
        try:
            await asyncio.gather(pair.carry(reader, theirs[1]), pair.carry(theirs[0], writer))
        finally:
            pair.cut()
            self._pairs.discard(pair)

    async def pass_on(self) -> None:
        """Returns when the network would deliver a piece that has come now."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flows.wait()


class _Pair:
    """One connection through the proxy: the client's half and the server's."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_half = False

    def cut(self) -> None:
        """Resets both halves."""
        self._client.transport.abort()
        self._server.transport.abort()

    def half_close(self) -> None:
        """The client reads an end, and may go on speaking."""
        self._is_half = True
        with suppress(OSError):
            self._client.write_eof()

    def _is_deaf(self, writer: asyncio.StreamWriter) -> bool:
        return writer.is_closing() or (self._is_half and writer is self._client)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes one direction on, its end included."""
        try:
            while piece := await reader.read(_CHUNK):
                await self._proxy.pass_on()
                if not self._is_deaf(writer):
                    writer.write(piece)
                    await writer.drain()
            if not self._is_deaf(writer):
                writer.write_eof()
        except OSError:
            self.cut()
