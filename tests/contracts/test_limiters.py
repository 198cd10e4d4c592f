"""Whatever counts rates keeps the promises of the port, each on the real thing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from crudite.buses import open_bus
from crudite.errors import DeclarationError
from crudite.limiting import Counts, CountsAway, Limiter, MemoryCounts, Rate
from crudite.limiting.redis import RedisCounts
from crudite.limiting.sharing import SharedCounts
from crudite.limiting.stored import RATES, StoredCounts
from crudite.schema import Catalog
from crudite.stores import open_store
from crudite.testing.counts import CountsContract, LooseCountsContract, Seconds
from tests.services.brokers import Broker

KEY = b"somebody...."


class TestMemoryCounts(LooseCountsContract):
    """In one process."""

    @asynccontextmanager
    async def entered(self, place: Path, seconds: Callable[[], float]) -> AsyncIterator[Counts]:
        """The same object for one place: another one would be another process, and know nothing."""
        yield self._by_place.setdefault(place, MemoryCounts(seconds))

    @pytest.fixture(autouse=True)
    def _places(self) -> Iterator[None]:
        self._by_place: dict[Path, MemoryCounts] = {}
        return iter([None])


class Shared(LooseCountsContract):
    """In the memory of every process, over a bus."""

    def url(self, place: Path) -> str:
        """The bus of a place."""
        raise NotImplementedError

    @asynccontextmanager
    async def entered(self, place: Path, seconds: Callable[[], float]) -> AsyncIterator[Counts]:
        """A process with its own memory."""
        async with open_bus(self.url(place)) as bus, SharedCounts(MemoryCounts(seconds), bus) as counts:
            yield counts

    async def heard(self, counts: Counts) -> bool:
        """Whether it has heard of anything."""
        assert isinstance(counts, SharedCounts)
        return counts.heard > 0


class TestSharedOverUnixBus(Shared):
    """Workers on one machine."""

    def url(self, place: Path) -> str:
        """A socket where the path is short enough for one."""
        return f"unix://{self.root / hashlib.sha256(str(place).encode()).hexdigest()[:8]}"

    @pytest.fixture(autouse=True)
    def _root(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        self.root = tmp_path_factory.mktemp("rates")
        return iter([None])


class TestSharedOverRedisBus(Shared):
    """Machines."""

    def url(self, place: Path) -> str:
        """A prefix of its own."""
        return f"{self.server}?prefix={hashlib.sha256(str(place).encode()).hexdigest()[:12]}"

    @pytest.fixture(autouse=True)
    def _server(self, valkey: str) -> None:
        self.server = valkey


async def test_processes_tell_each_other_of_what_takes_weeks_to_come_back() -> None:
    clock, rate = Seconds(), Rate("3/30 days")
    async with open_bus("local:") as bus, SharedCounts(MemoryCounts(clock), bus) as one:
        memory = MemoryCounts(clock)
        async with SharedCounts(memory, bus), asyncio.timeout(20):
            await one.take(KEY, rate, 2)
            while not len(memory):  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # nothing tells a process that it has heard
            verdict = memory.take_now(KEY, rate, 2)
            assert (verdict.is_allowed, verdict.remaining, verdict.reset) == (False, 1, 20 * 86_400)


class ByTheTimeOfDay(CountsContract):
    """Where the count outlives processes, it is by a clock that can be set."""

    async def test_a_clock_that_is_set_back_shuts_nobody_out_for_longer_than_the_rate_says(
        self, tmp_path: Path
    ) -> None:
        clock, rate = Seconds(), Rate("60/minute")
        async with self.entered(tmp_path, clock) as counts:
            assert (await counts.take(KEY, rate, 60)).is_allowed
            clock.now -= 86_400
            refused = await counts.take(KEY, rate, 1)
            assert (refused.is_allowed, refused.remaining, refused.reset) == (False, 0, 60)
            clock.now += 1
            assert not (await counts.take(KEY, rate, 60)).is_allowed
            clock.now += 59
            assert (await counts.take(KEY, rate, 60)).is_allowed


class TestRedisCounts(ByTheTimeOfDay):
    """On Valkey, which speaks as Redis does."""

    def make_counts(self, place: Path, seconds: Callable[[], float]) -> Counts:
        """A prefix of its own."""
        return RedisCounts(f"{self.server}?prefix={hashlib.sha256(str(place).encode()).hexdigest()[:12]}", seconds)

    @pytest.fixture(autouse=True)
    def _server(self, valkey: str) -> None:
        self.server = valkey


class Stored(ByTheTimeOfDay):
    """In the application's database."""

    url: str

    @asynccontextmanager
    async def entered(self, place: Path, seconds: Callable[[], float]) -> AsyncIterator[Counts]:
        """A process with a store of its own on the same database."""
        store = open_store(self.url)
        await store.open(Catalog({RATES.name: RATES}))
        try:
            async with StoredCounts(store, seconds) as counts:
                yield counts
        finally:
            await store.close()


class TestStoredInSqlite(Stored):
    """A file that several processes have open."""

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path / 'rates.db'}?synchronous=OFF"


class TestStoredInPostgresql(Stored):
    """A server."""

    @pytest.fixture(autouse=True)
    async def _schema(self, postgresql: str) -> AsyncIterator[None]:
        name = f"rates_{uuid4().hex}"
        self.url = f"{postgresql}?schema={name}"
        yield
        admin = await asyncpg.connect(postgresql)
        await admin.execute(f"SET client_min_messages = warning; DROP SCHEMA IF EXISTS {name} CASCADE")
        await admin.close()


async def test_what_owes_nothing_any_more_is_swept_from_the_database(tmp_path: Path) -> None:
    clock, store = Seconds(), open_store(f"sqlite:///{tmp_path / 'rates.db'}")
    await store.open(Catalog({RATES.name: RATES}))
    async with StoredCounts(store, clock) as counts:
        for key in (b"one", b"two"):
            await counts.take(key, Rate("60/minute"), 60)
        clock.now += 30
        await counts.take(b"three", Rate("60/minute"), 60)
        assert await counts.sweep() == 0
        clock.now += 30
        assert await counts.sweep() == 2
        assert await counts.sweep() == 0
        assert not (await counts.take(b"three", Rate("60/minute"), 60)).is_allowed
    await store.close()


async def test_a_server_counts_by_its_own_clock_and_forgets_what_owes_nothing(valkey: str) -> None:
    rate = Rate("100/second")
    async with RedisCounts(f"{valkey}?prefix={uuid4().hex[:12]}") as counts:
        first = await counts.take(KEY, rate, 100)
        assert (first.is_allowed, first.remaining) == (True, 0)
        async with asyncio.timeout(20):
            while not (verdict := await counts.take(KEY, rate, 50)).is_allowed:
                assert 0 < verdict.retry_after <= 0.5
                await asyncio.sleep(verdict.retry_after)
        assert counts._client is not None
        ttl = await counts._client.pttl(f"{counts._prefix}:rates:{KEY.hex()}")
        assert 0 < ttl <= 1_001


async def test_a_server_that_is_away_is_said_to_be(valkey_broker: Broker) -> None:
    async with RedisCounts(valkey_broker.url) as counts:
        await counts.take(KEY, Rate("5/minute"), 1)
        valkey_broker.kill()
        with pytest.raises(CountsAway):
            await counts.take(KEY, Rate("5/minute"), 1)


async def test_while_the_server_is_away_a_process_counts_by_itself_and_says_so_once(
    valkey_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    limiter, rate = Limiter(Seconds()), Rate("3/minute")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(limiter.counting(RedisCounts(valkey_broker.url)))
        assert [(await limiter.take("ann", rate)).is_allowed for _ in range(4)] == [True, True, True, False]
        valkey_broker.kill()
        assert [(await limiter.take("ann", rate)).is_allowed for _ in range(4)] == [True, True, True, False]
        assert [r.message for r in caplog.records if "by itself" in r.message] != []
        assert limiter.failures == 1, "who is away is not asked each time"
    assert len([r for r in caplog.records if "by itself" in r.message]) == 1
    assert (limiter.allowed, limiter.refused) == ({"3/minute": 6}, {"3/minute": 2})


@pytest.mark.parametrize("url", ["redis://", "redis://host:port", "redis://host?prefix=A B", "http://host", "nothing"])
def test_a_place_to_count_that_cannot_be_is_refused_at_once(url: str) -> None:
    from crudite import App

    with pytest.raises(DeclarationError, match="rates_store"):
        App(rates_store=url, store="sqlite:///:memory:")
