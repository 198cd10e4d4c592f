"""Channels over each bus that is a server: two applications, and a bus that goes away and comes back."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from crudite import App, Limits
from crudite.buses.link import LinkedBus, Patience
from crudite.buses.nats import NatsBus
from crudite.buses.postgresql import PostgresqlBus
from crudite.buses.redis import RedisBus
from crudite.testing import Client
from crudite.testing.socket import Socket
from tests.flows.test_presence import LASTING, LOBBY, QUICK, Room, joined, of, until, who
from tests.services.proxy import Proxy
from tests.services.stores import kept_store

SOON = Patience(answer=2.0, pulse=0.1, retry=(0.01, 0.1))
ADAPTERS: dict[str, Callable[..., LinkedBus]] = {"nats": NatsBus, "valkey": RedisBus, "postgresql": PostgresqlBus}

Two = Callable[..., Any]


@pytest.fixture(params=ADAPTERS)
def two(request: pytest.FixtureRequest) -> Two:
    """Clients of two processes on a store, each with a way of its own to a server that is their bus."""
    server: str = request.getfixturevalue(request.param)
    before, _, rest = server.rpartition(":")
    port, slash, name = rest.partition("/")
    after = f"{slash}{name}?prefix={uuid4().hex[:8]}"

    @asynccontextmanager
    async def two(limits: Any = QUICK) -> AsyncIterator[tuple[Client, Client, Proxy]]:
        store = kept_store()
        async with AsyncExitStack() as stack:
            clients, proxies = list[Client](), list[Proxy]()
            for _ in range(2):
                proxy = await stack.enter_async_context(Proxy(int(port)))
                bus = ADAPTERS[request.param](f"{before}:{proxy.port}{after}", patience=SOON)
                app = App(Room, store=store, auth=who, bus=bus, channels=[LOBBY], limits=Limits(channels=limits))
                clients.append(await stack.enter_async_context(Client(app)))
                proxies.append(proxy)
            yield clients[0], clients[1], proxies[1]

    return two


async def next_event(socket: Socket) -> tuple[str, Any]:
    """The next event; what is told of who is there is passed over."""
    while (told := await socket.told())[0] != "event":
        pass
    return told[1]["event"], told[1]["data"]


async def test_what_one_process_tells_is_heard_at_the_other_and_each_knows_who_is_there(two: Two) -> None:
    async with (
        two(LASTING) as (one, other, _),
        one.acting("ann").websocket() as ann,
        other.acting("bob").websocket() as bob,
    ):
        here, there = await joined(ann, "ann"), await joined(bob, "bob", state={"mood": "fine"})
        members = await until(ann, "ann", "bob", known=of(here))
        assert members[there["member"]]["state"] == {"mood": "fine"}
        await until(bob, "ann", "bob", known=of(there))
        await one.app.emit("lobby", "bell", {"by": "the server ß"})
        await ann.call("publish", {"channel": "lobby", "event": "typing", "data": [1]})
        assert [await next_event(bob) for _ in range(2)] == [("bell", {"by": "the server ß"}), ("typing", [1])]
        assert (await other.acting("bob").post("/channels/lobby", {"event": "hum"})).status == 204
        large = "x" * (LASTING.event - 2)
        await other.app.emit("lobby", "large", large)
        heard = [await next_event(ann) for _ in range(4)]
        assert heard[-2:] == [("hum", None), ("large", large)]
        await bob.call("leave", {"channel": "lobby"})
        await until(ann, "ann", known=members)


@pytest.mark.parametrize("fault", ["cut", "silent"])
async def test_who_is_beyond_a_bus_that_is_away_is_not_there_and_comes_back_with_it(two: Two, fault: str) -> None:
    async with (
        two() as (one, other, proxy),
        one.acting("ann").websocket() as ann,
        other.acting("bob").websocket() as bob,
    ):
        here, there = await joined(ann, "ann"), await joined(bob, "bob")
        at_one = await until(ann, "ann", "bob", known=of(here))
        at_other = await until(bob, "ann", "bob", known=of(there))
        (proxy.refuse if fault == "cut" else proxy.hold)()
        at_one = await until(ann, "ann", known=at_one)
        at_other = await until(bob, "bob", known=at_other)
        await other.app.emit("lobby", "here", 1)  # within a process nothing is lost
        assert await next_event(bob) == ("here", 1)
        (proxy.accept if fault == "cut" else proxy.release)()
        await until(ann, "ann", "bob", known=at_one)
        await until(bob, "ann", "bob", known=at_other)
        await one.app.emit("lobby", "there", 2)
        while (told := await next_event(bob)) != ("there", 2):  # what was held up may come first
            assert told == ("here", 1)
