"""A sibling: it asks for the hub, is it itself where there is none, and speaks with it."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from crudite.buses.link import Ears, LinkedBus, Patience, Wire
from crudite.buses.unix.frames import MOST_PAYLOAD, encode, read
from crudite.buses.unix.hub import Hub
from crudite.buses.waiting import Message
from crudite.errors import BusError

_LONGEST_PATH = 103  # what fits into an address on every system; Linux has room for 107
_PATIENCE = Patience(pulse=1.0, retry=(0.02, 1.0))


class UnixBus(LinkedBus):
    """Wake-ups between the processes of one user on one machine, without anything to install.

    `url` is `unix:///path/of/a/socket`, in a directory that exists and is ours to write; the socket is made with the
    rights 0600, and beside it a file to lock, `….lock`. Raises BusError for another URL, and on entering where
    there is no such directory.
    """

    def __init__(self, url: str, *, patience: Patience = _PATIENCE) -> None:
        parts = urlsplit(url)
        self._path = Path(unquote(parts.path))
        if parts.scheme != "unix" or parts.netloc or parts.query or not self._path.is_absolute():
            raise BusError(f"expected a URL such as unix:///run/app/bus and got {url!r}")
        if len(bytes(self._path)) > _LONGEST_PATH:
            raise BusError(f"expected a path of at most {_LONGEST_PATH} bytes for a socket and got {self._path}")
        super().__init__(f"unix://{self._path}", MOST_PAYLOAD, patience)
        self._hub: Hub | None = None

    async def __aenter__(self) -> Self:
        if not self._path.parent.is_dir():
            raise BusError(f"{self._path.parent} is no directory, so the bus cannot have its socket there")
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        if self._hub is not None:
            await self._hub.close()

    async def connect(self, ears: Ears) -> Wire:
        """A connection to the hub, which is in this process where there was none."""
        if self._hub is not None and not self._hub.is_found:
            hub, self._hub = self._hub, None
            await hub.close()
        if self._hub is None:
            self._hub = await Hub.take_over(self._path)
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        return _Wire(reader, writer, ears, self._hub)


class _Wire:
    """A connection to the hub."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ears: Ears, hub: Hub | None) -> None:
        self._reader = reader
        self._writer = writer
        self._ears = ears
        self._hub = hub
        self._answers: asyncio.Queue[None] = asyncio.Queue()
        self._hearing = asyncio.create_task(self._hear())

    async def listen(self, topics: Collection[str]) -> None:
        """Subscribes; the answer to the question behind it says that it is done."""
        self._writer.writelines([encode(b"+", topic) for topic in topics])
        await self._ask()

    async def forget(self, topics: Collection[str]) -> None:
        """Unsubscribes."""
        self._writer.writelines([encode(b"-", topic) for topic in topics])

    async def send(self, messages: Sequence[Message]) -> None:
        """Publishes."""
        self._writer.writelines([encode(b"m", *message) for message in messages])
        await self._writer.drain()

    async def check(self) -> None:
        """Asks the hub; where it is our own, also whether others find it."""
        if self._hub is not None and not self._hub.is_found:
            raise ConnectionError("the socket is gone, or another one is in its place")
        await self._ask()

    async def close(self) -> None:
        """Ends the connection."""
        self._hearing.cancel()
        self._writer.transport.abort()
        await asyncio.wait([self._hearing])

    async def _ask(self) -> None:
        self._writer.write(encode(b"?"))
        await self._answers.get()

    async def _hear(self) -> None:
        try:
            while True:
                frame = await read(self._reader)
                if frame.kind == b"m":
                    self._ears.hear(frame.topic, frame.payload)
                else:
                    self._answers.put_nowait(None)
        except (EOFError, OSError):
            self._ears.lose(ConnectionError("who was the hub has gone"))
