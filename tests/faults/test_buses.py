"""What a bus does when the way to the others fails: nobody waits for it, and nobody stays unaware for long."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from crudite.buses.link import LinkedBus, Patience
from crudite.buses.nats import NatsBus
from crudite.buses.postgresql import PostgresqlBus
from crudite.buses.redis import RedisBus
from crudite.testing.buses import PATIENCE, next_of, until, until_all, woken
from tests.services.brokers import Broker
from tests.services.proxy import Proxy

SOON = Patience(answer=2.0, pulse=0.1, retry=(0.01, 0.1))
ADAPTERS: dict[str, Callable[..., LinkedBus]] = {"nats": NatsBus, "valkey": RedisBus, "postgresql": PostgresqlBus}


class Net:
    """Buses on one server, each behind a proxy of its own."""

    def __init__(self, kind: str, server: str, stack: AsyncExitStack) -> None:
        self._make = ADAPTERS[kind]
        self._before, _, rest = server.rpartition(":")
        port, slash, name = rest.partition("/")
        self._port = int(port)
        self._after = f"{slash}{name}?prefix={uuid4().hex[:8]}"
        self._stack = stack

    async def bus(self) -> tuple[LinkedBus, Proxy]:
        """A bus that was entered, and what it goes through."""
        proxy = await self._stack.enter_async_context(Proxy(self._port))
        bus = self._make(f"{self._before}:{proxy.port}{self._after}", patience=SOON)
        return await self._stack.enter_async_context(bus), proxy


@pytest.fixture(params=ADAPTERS)
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    """For each kind of server."""
    async with AsyncExitStack() as stack:
        yield Net(request.param, request.getfixturevalue(request.param), stack)


@pytest.fixture(params=["nats", "valkey"])
def broker(request: pytest.FixtureRequest) -> tuple[Broker, Callable[[], LinkedBus]]:
    """A server to kill, and how a bus on it is made."""
    server: Broker = request.getfixturevalue(f"{request.param}_broker")
    return server, lambda: ADAPTERS[request.param](server.url, patience=SOON)


async def wake_up(heard: AsyncIterator[bytes]) -> None:
    """Waits until the reader is told that something may be missing."""
    assert b"" in await until(heard, b"")


async def is_away(bus: LinkedBus) -> None:
    """Waits until the bus knows."""
    await _until(lambda: not bus.figures.is_connected)


async def _until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_true():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def test_a_killed_broker_holds_up_nobody_and_all_are_woken_when_it_is_back(
    broker: tuple[Broker, Callable[[], LinkedBus]], caplog: pytest.LogCaptureFixture
) -> None:
    server, make = broker
    async with make() as here, make() as there:
        ours, theirs = await woken(here, "news"), await woken(there, "news")
        server.kill()
        await is_away(here)
        await is_away(there)
        caplog.clear()
        await here.publish("news", b"meanwhile")
        assert await next_of(ours) == b"meanwhile"
        for _ in range(10_000):
            await here.publish("other")
        await _until(lambda: here.figures.failures > 3 and there.figures.failures > 3)
        assert [r for r in caplog.records if r.name == "crudite.buses" and r.levelno >= logging.WARNING] == []
        server.start()
        await wake_up(theirs)
        await wake_up(ours)
        await there.publish("news", b"after")
        assert (await until(ours, b"after"))[-1] == b"after"
        assert here.figures.connections == 2
        assert here.figures.sent < 100


async def test_a_bus_begins_without_its_broker_and_says_so_once(
    broker: tuple[Broker, Callable[[], LinkedBus]], caplog: pytest.LogCaptureFixture
) -> None:
    server, make = broker
    server.kill()
    async with make() as here, make() as there:
        heard = there.subscribe("news")
        await here.publish("news", b"early")
        await _until(lambda: here.figures.failures > 3 and there.figures.failures > 3)
        loud = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name == "crudite.buses"]
        assert len(loud) == 2
        assert server.url.partition("://")[2] in loud[0]
        server.start()
        await wake_up(heard)
        await _until(lambda: here.figures.is_connected)
        await here.publish("news", b"late")
        await until(heard, b"late")


async def test_a_connection_that_is_well_is_kept_however_often_it_is_asked(net: Net) -> None:
    (here, _), (there, _) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    end = asyncio.get_running_loop().time() + 3 * SOON.pulse
    while asyncio.get_running_loop().time() < end:
        await here.publish("news", b"one")
        await until(heard, b"one")
    assert [(bus.figures.connections, bus.figures.failures) for bus in (here, there)] == [(1, 0), (1, 0)]


async def test_a_cut_connection_is_made_again_and_its_subscribers_are_woken(net: Net) -> None:
    (here, _), (there, line) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    line.cut()
    await wake_up(heard)
    await here.publish("news", b"one")
    await until(heard, b"one")


async def test_what_is_published_while_the_way_is_closed_reaches_those_who_are_there(net: Net) -> None:
    (here, line), (there, _) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    await _until(lambda: here.figures.is_connected)
    line.refuse()
    line.cut()
    await is_away(here)
    await here.publish("news", b"meanwhile")
    line.accept()
    await until(heard, b"meanwhile")


async def test_who_publishes_over_a_connection_that_breaks_wakes_the_others_later(net: Net) -> None:
    (here, line), (there, _) = await net.bus(), await net.bus()
    heard, _ours = await woken(there, "news"), await woken(here, "news")
    line.hold()
    await here.publish("news", b"lost, perhaps")
    await _until(lambda: here.figures.failures > 0)
    line.refuse()
    line.release()
    line.accept()
    await wake_up(heard)


async def test_a_connection_that_is_dead_without_saying_so_is_noticed(net: Net) -> None:
    (here, _), (there, line) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    line.hold()
    await here.publish("news", b"one")
    await _until(lambda: there.figures.failures > 0)
    line.cut()
    line.release()
    await wake_up(heard)
    await here.publish("news", b"two")
    await until(heard, b"two")


async def test_a_server_that_says_no_more_is_left(net: Net) -> None:
    (here, _), (there, line) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    line.half_close()
    await wake_up(heard)
    await here.publish("news", b"one")
    await until(heard, b"one")


async def test_over_a_slow_line_wake_ups_gather(net: Net) -> None:
    (here, line), (there, _) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    await _until(lambda: here.figures.is_connected)
    line.delay = 0.05
    for _ in range(500):
        await here.publish("news")
        await asyncio.sleep(0)
    await here.publish("news", b"end")
    got = await until_all(heard, 1)
    assert got == [b"end"]
    assert here.figures.sent < 500


async def test_who_does_not_read_is_bounded_and_slows_down_nobody(net: Net) -> None:
    (here, _), (there, _) = await net.bus(), await net.bus()
    slow, quick = await woken(there, "news"), await woken(there, "end")
    for n in range(3_000):
        await here.publish("news", b"%d" % n)
        if n % 100 == 0:
            await asyncio.sleep(0)
    await _until(lambda: here.figures.sent > 0)
    await here.publish("end", b"end")
    await until(quick, b"end")
    await _until(lambda: there.figures.received + here.figures.dropped >= 3_000)
    first = await next_of(slow)
    assert first == b""
    assert there.figures.dropped + here.figures.dropped >= 2_000
    await until(slow, b"2999")


# a driver whose connection is lost while it writes leaves the writer to the garbage collector, which warns
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_whoever_looks_at_each_wake_up_knows_the_newest_in_the_end(net: Net) -> None:
    """Both lines fail at random; then they are whole, nothing is published any more, and nobody is left behind."""
    chance = random.Random(7)
    (here, ours), (there, theirs) = await net.bus(), await net.bus()
    heard = await woken(there, "news")
    newest, seen = 0, 0

    async def look() -> None:
        nonlocal seen
        async for _ in heard:
            seen = newest

    looking = asyncio.create_task(look())
    for _ in range(60):
        line = chance.choice([ours, theirs])
        chance.choice([line.cut, line.hold, line.release, line.half_close, line.release])()
        for _ in range(chance.randrange(5)):
            newest += 1
            await here.publish("news")
            await asyncio.sleep(chance.random() / 100)
    ours.release()
    theirs.release()
    await _until(lambda: seen == newest)
    await here.publish("news")
    looking.cancel()
    await asyncio.wait([looking])


async def test_the_url_of_a_store_is_one_of_a_bus(postgresql_database: str) -> None:
    url = f"{postgresql_database}?schema=shop&connections=4&patience=2&statement_timeout=5s"
    async with PostgresqlBus(url) as here, PostgresqlBus(postgresql_database + "?prefix=shop") as there:
        heard = await woken(there, "news")
        await here.publish("news", b"one")
        assert await next_of(heard) == b"one"


async def test_postgresql_may_end_the_connection(postgresql_database: str) -> None:
    @asynccontextmanager
    async def entered() -> AsyncIterator[PostgresqlBus]:
        async with PostgresqlBus(postgresql_database, patience=SOON) as bus:
            yield bus

    async with entered() as here, entered() as there:
        heard = await woken(there, "news")
        await _until(lambda: here.figures.is_connected)
        admin = await asyncpg.connect(postgresql_database)
        try:
            ended = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'crudite bus'"
            )
            assert await admin.fetchval(f"{ended} AND datname = current_database()") == 2
            await wake_up(heard)
            await here.publish("news", b"one")
            await until(heard, b"one")
            await admin.execute('NOTIFY "crudite.news"; NOTIFY "crudite.news", \'by hand\'')
            await wake_up(heard)
        finally:
            await admin.close()
