"""The bus on NATS, `nats://host:4222`: core subjects, at most once, as NATS gives them."""

from collections.abc import Collection, Sequence
from urllib.parse import parse_qsl

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import NoServersError

from crudite.buses.base import check_prefix, split
from crudite.buses.link import Ears, LinkedBus, Patience, Wire
from crudite.buses.waiting import Message
from crudite.errors import BusError

_MOST = 1024 * 1024 - 4096  # what a server takes that nobody has told otherwise, less what goes along
_SCHEMES = {"nats": "nats", "nats+tls": "tls"}


class NatsBus(LinkedBus):
    """Wake-ups through a NATS server or cluster.

    `url` is `nats://user:password@host:port`, further hosts of the cluster with commas between, `nats+tls://` for
    encryption. `?prefix=name` keeps applications apart that share a server; a topic is the subject `prefix.topic`,
    and the prefix is `crudite` when none is named. Raises BusError for another URL.
    """

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        parts, hosts = split(url)
        asked = dict(parse_qsl(parts.query))
        self._prefix = check_prefix(asked.pop("prefix", "crudite"))
        access = parts.netloc.rpartition("@")[0]
        if parts.scheme not in _SCHEMES or asked or not hosts or parts.path.strip("/"):
            raise BusError("expected a URL such as nats://host:4222 or nats+tls://host:4222?prefix=name")
        start = f"{_SCHEMES[parts.scheme]}://{access}@" if access else f"{_SCHEMES[parts.scheme]}://"
        self._servers = [start + host for host in hosts.split(",")]
        super().__init__(f"nats://{hosts}", _MOST, patience or Patience())

    async def connect(self, ears: Ears) -> Wire:
        """A connection to one of the servers."""
        client = Client()
        said: list[Exception] = []

        async def hear_error(error: Exception) -> None:
            said.append(error)

        async def hear_end() -> None:
            ears.lose(said[-1] if said else ConnectionError("the connection to the server is lost"))

        try:
            await client.connect(
                servers=self._servers, name="crudite", no_echo=True, allow_reconnect=False,
                max_reconnect_attempts=1, reconnect_time_wait=0, error_cb=hear_error, closed_cb=hear_end,
            )  # fmt: skip
        except NoServersError as error:
            raise said[-1] if said else error from error
        except BaseException:
            await client.close()
            raise
        return _Wire(client, self._prefix, ears)


class _Wire:
    """A connection to a server."""

    def __init__(self, client: Client, prefix: str, ears: Ears) -> None:
        self._client = client
        self._prefix = prefix
        self._ears = ears
        self._subscriptions: dict[str, Subscription] = {}

    async def listen(self, topics: Collection[str]) -> None:
        """Subscribes; an answer to a ping behind it says that it is done."""
        for topic in topics:
            self._subscriptions[topic] = await self._client.subscribe(f"{self._prefix}.{topic}", cb=self._hear)
        await self.check()

    async def forget(self, topics: Collection[str]) -> None:
        """Unsubscribes."""
        for topic in topics:
            await self._subscriptions.pop(topic).unsubscribe()

    async def send(self, messages: Sequence[Message]) -> None:
        """Publishes, each message on its own subject, and waits for a sign of the server: meanwhile others gather."""
        for topic, payload in messages:
            await self._client.publish(f"{self._prefix}.{topic}", payload)
        await self._client.flush()

    async def check(self) -> None:
        """Asks the server whether it is there; the answer comes after what was said before the question."""
        # The driver's ping overtakes what it has not written yet. Its answer shows that this is written meanwhile.
        await self._client.flush()
        await self._client.flush()

    async def close(self) -> None:
        """Ends the connection."""
        await self._client.close()

    async def _hear(self, message: Msg) -> None:
        self._ears.hear(message.subject.removeprefix(f"{self._prefix}."), message.data)
