"""The bus on Redis or Valkey, `redis://host:6379`: plain publish and subscribe."""

import asyncio
import os
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlunsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from crudite.buses.base import check_prefix, split
from crudite.buses.link import Ears, LinkedBus, Patience, Wire
from crudite.buses.waiting import Message
from crudite.errors import BusError

_MOST = 1024 * 1024
_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_OURS = frozenset({"protocol", "decode_responses"})
_SENDER = 8


class RedisBus(LinkedBus):
    """Wake-ups through one Redis or Valkey server.

    `url` is `redis://user:password@host:port`, `rediss://` for encryption; `valkey://` and `valkeys://` mean the same.
    `?prefix=name` keeps applications apart that share a server (its numbered databases do not); a topic is the
    channel `prefix:topic`, and the prefix is `crudite` when none is named. Raises BusError for another URL.
    """

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        parts, hosts = split(url)
        asked = dict(parse_qsl(parts.query))
        self._prefix = check_prefix(asked.pop("prefix", "crudite"))
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise BusError("expected a URL such as redis://host:6379 or rediss://host:6379?prefix=name")
        self._url = urlunsplit(parts._replace(scheme=_SCHEMES[parts.scheme], query=urlencode(asked)))
        _check(self._url, asked, f"redis://{hosts}")
        super().__init__(f"redis://{hosts}", _MOST, patience or Patience())

    async def connect(self, ears: Ears) -> Wire:
        """Two connections to the server: one that hears, and one that speaks."""
        client = Redis.from_url(
            self._url, protocol=2, client_name="crudite", retry=Retry(NoBackoff(), 0), retry_on_error=[],
            socket_connect_timeout=self._patience.answer, health_check_interval=0,
        )  # fmt: skip
        wire = _Wire(client, self._prefix, ears)
        try:
            await wire.open()
        except BaseException:
            await wire.close()
            raise
        return wire


def _check(url: str, asked: Collection[str], shown: str) -> None:
    """Raises BusError for what the driver would refuse at each attempt to connect, or what is not for a URL to say."""
    if ours := _OURS.intersection(asked):
        raise BusError(f"{shown}: {', '.join(sorted(ours))}: how the bus talks to the server is its own affair")
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        raise BusError(f"{shown}: {error}") from error


class _Wire:
    """The connections to a server.

    The server tells us our own messages too; so each begins with the name of its sender.
    """

    def __init__(self, client: Any, prefix: str, ears: Ears) -> None:
        self._client = client
        self._prefix = prefix
        self._ears = ears
        self._name = os.urandom(_SENDER)
        self._pubsub = client.pubsub()
        self._answers: asyncio.Queue[None] = asyncio.Queue()
        self._hearing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connects."""
        await self._client.ping()
        await self._pubsub.subscribe(f"{self._prefix}:")  # no topic: the connection is now one that hears
        self._hearing = asyncio.create_task(self._hear())

    async def listen(self, topics: Collection[str]) -> None:
        """Subscribes; an answer to a ping behind it says that it is done."""
        await self._pubsub.subscribe(*(f"{self._prefix}:{topic}" for topic in topics))
        await self._ask()

    async def forget(self, topics: Collection[str]) -> None:
        """Unsubscribes."""
        await self._pubsub.unsubscribe(*(f"{self._prefix}:{topic}" for topic in topics))

    async def send(self, messages: Sequence[Message]) -> None:
        """Publishes, with one trip to the server."""
        pipe = self._client.pipeline(transaction=False)
        for topic, payload in messages:
            pipe.publish(f"{self._prefix}:{topic}", self._name + payload)
        await pipe.execute()

    async def check(self) -> None:
        """Asks the server on both connections."""
        await self._client.ping()
        await self._ask()

    async def close(self) -> None:
        """Ends the connections."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        await self._pubsub.aclose()
        await self._client.aclose()

    async def _ask(self) -> None:
        await self._pubsub.ping()
        await self._answers.get()

    async def _hear(self) -> None:
        try:
            while True:
                message = await self._pubsub.get_message(timeout=None)
                if message is None:
                    continue
                if message["type"] == "pong":
                    self._answers.put_nowait(None)
                elif message["type"] == "message":
                    self._take(message["channel"].decode(), message["data"])
        except (RedisError, OSError) as error:
            self._ears.lose(error)

    def _take(self, channel: str, data: bytes) -> None:
        sender, payload = data[:_SENDER], data[_SENDER:]
        if sender != self._name:
            # Without a sender it is from somebody else, by hand perhaps: a wake-up.
            self._ears.hear(channel.removeprefix(f"{self._prefix}:"), payload)
