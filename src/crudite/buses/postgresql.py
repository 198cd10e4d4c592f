"""The bus that PostgreSQL has built in, `postgresql://host/name`: LISTEN and NOTIFY, on a connection of its own."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from itertools import count
from typing import Any

from crudite.buses.base import check_prefix
from crudite.buses.link import Ears, LinkedBus, Patience, Wire
from crudite.buses.waiting import Message
from crudite.errors import BusError
from crudite.postgresql import connecting
from crudite.postgresql.address import Address, WrongAddress, parse
from crudite.postgresql.connecting import Connection

_MOST = 5_990  # in base 64, with its number, the 7,999 bytes that NOTIFY takes
_PAUSE = 0.005
_SETTINGS = {
    "application_name": "crudite bus",
    "synchronous_commit": "off",  # a notification is told, never kept
}
_NOTIFY = "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS message(channel, payload)"


class PostgresqlBus(LinkedBus):
    """Wake-ups through a PostgreSQL server; not through a pooler that gives connections away between transactions.

    A transaction that notifies takes a lock of the whole server while it commits. So it is never a writer's: what is
    published meanwhile goes together, in a transaction of its own, at most every 5 ms.

    `url` is libpq's form. `?prefix=name` keeps applications apart that share a database; a topic is the channel
    `prefix.topic`, and the prefix is `?schema=…`, or `crudite` where that is not named either. The URL of a store may
    be used as it is. Raises BusError for another URL.
    """

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        self._address = _parse(url)
        self._prefix = check_prefix(self._address.also.get("prefix") or self._address.schema or "crudite")
        super().__init__(self._address.shown, _MOST, patience or Patience(), pause=_PAUSE)

    async def connect(self, ears: Ears) -> Wire:
        """A connection to the server."""
        settings = self._address.session(_SETTINGS)
        connection = await connecting.connect(self._address, settings, self._patience.answer)
        return _Wire(connection, self._prefix, ears)


def _parse(url: str) -> Address:
    try:
        address = parse(url, also=("prefix",))
    except WrongAddress as error:
        raise BusError(f"the bus: {error}") from error
    if address.pooler is not None:
        raise BusError("a pooler lends its connections, and who listens needs one for good: name the server itself")
    return address


class _Wire:
    """A connection to the server.

    A server merges equal notifications of one transaction; so each payload gets a number.
    """

    def __init__(self, connection: Connection, prefix: str, ears: Ears) -> None:
        self._connection = connection
        self._prefix = prefix
        self._ears = ears
        self._pid = connection.get_server_pid()
        self._numbers = count()
        connection.add_termination_listener(self._lose)

    async def listen(self, topics: Collection[str]) -> None:
        """LISTEN, for each topic."""
        for topic in topics:
            await self._connection.add_listener(f"{self._prefix}.{topic}", self._hear)

    async def forget(self, topics: Collection[str]) -> None:
        """UNLISTEN, for each topic."""
        for topic in topics:
            await self._connection.remove_listener(f"{self._prefix}.{topic}", self._hear)

    async def send(self, messages: Sequence[Message]) -> None:
        """NOTIFY, for all messages in one transaction."""
        channels = [f"{self._prefix}.{message.topic}" for message in messages]
        await self._connection.execute(_NOTIFY, channels, [self._encode(message.payload) for message in messages])

    async def check(self) -> None:
        """Asks the server."""
        await self._connection.execute("SELECT 1")

    async def close(self) -> None:
        """Ends the connection, without waiting for the server."""
        self._connection.remove_termination_listener(self._lose)
        self._connection.terminate()

    def _lose(self, _: Any) -> None:
        self._ears.lose(ConnectionError("the connection to the server is lost"))

    def _hear(self, _: Any, pid: int, channel: str, text: str) -> None:
        if pid != self._pid:
            self._ears.hear(channel.removeprefix(f"{self._prefix}."), _decode(text))

    def _encode(self, payload: bytes) -> str:
        return f"{next(self._numbers) % 1000}:{b64encode(payload).decode()}" if payload else ""


def _decode(text: str) -> bytes:
    """The payload of a notification; what was not encoded here, but by hand perhaps, is a wake-up."""
    try:
        return b64decode(text.partition(":")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
