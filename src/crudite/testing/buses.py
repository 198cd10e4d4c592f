"""The contract of a bus, as tests: an adapter that passes them keeps the port's promises.

An outside adapter proves itself in six lines:

    from crudite.testing.buses import BusContract
    from mybus import MyBus

    class TestMyBus(BusContract):
        def make_bus(self, place):
            return MyBus("my://host", prefix=place.name)

`make_bus` returns a bus that was not entered; those made for one place (a directory that the test owns) hear each
other, and nobody else. One that has no others, within one process, is tried by `LonelyBusContract`. A test's name
is the promise.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite.buses.base import Bus
from crudite.errors import PayloadTooLarge

PATIENCE = 20.0
"""Seconds that a test waits for what must come."""
_MANY = 5_000
_BOUND = 2_000


class LonelyBusContract:
    """What a bus promises within one process."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Crudite speaks asyncio only."""
        return "asyncio"

    def make_bus(self, place: Path) -> Bus:
        """A bus that was not entered; those for one place hear each other."""
        raise TypeError("a subclass of the contract says how its bus is made")

    async def test_a_subscriber_is_woken_first_and_then_told(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = bus.subscribe("news")
            assert await next_of(heard) == b""
            await bus.publish("news", b"one")
            assert await next_of(heard) == b"one"

    async def test_every_subscriber_of_a_topic_is_told_and_none_of_another(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            first, second, other = [await woken(bus, topic) for topic in ("a.b", "a.b", "a")]
            await bus.publish("a.b", b"1")
            await bus.publish("a", b"2")
            assert [await next_of(one) for one in (first, second, other)] == [b"1", b"1", b"2"]

    async def test_its_own_subscribers_are_told_before_publish_returns(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = await woken(bus, "news")
            await bus.publish("news", b"one")
            reading = asyncio.ensure_future(anext(heard))
            await asyncio.sleep(0)
            assert reading.done()
            assert reading.result() == b"one"

    async def test_wake_ups_that_wait_are_one(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = await woken(bus, "news")
            for _ in range(_MANY):
                await bus.publish("news")
            await bus.publish("news", b"end")
            assert await until(heard, b"end") == [b"", b"end"]

    async def test_who_does_not_read_keeps_the_newest_and_is_told_that_some_are_missing(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = await woken(bus, "news")
            for n in range(_MANY):
                await bus.publish("news", b"%d" % n)
            got = await until(heard, b"%d" % (_MANY - 1))
            assert b"" in got
            assert len(got) <= _BOUND

    async def test_a_reader_that_gives_up_waiting_misses_nothing_later(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = await woken(bus, "news")
            waiting = asyncio.ensure_future(anext(heard))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await bus.publish("news", b"one")
            assert await next_of(heard) == b"one"

    async def test_what_is_published_to_nobody_waits_for_nobody(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            await bus.publish("news", b"old")
            heard = await woken(bus, "news")
            await bus.publish("news", b"new")
            assert await next_of(heard) == b"new"

    async def test_a_subscription_that_is_closed_ends_and_the_others_go_on(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            closed, other = await woken(bus, "news"), await woken(bus, "news")
            reading = asyncio.ensure_future(anext(closed, None))
            await asyncio.sleep(0)
            await closed.aclose()  # type: ignore[attr-defined]
            assert await asyncio.wait_for(reading, PATIENCE) is None
            await bus.publish("news", b"one")
            assert await next_of(other) == b"one"
            assert await anext(closed, None) is None
            again = await woken(bus, "news")
            await bus.publish("news", b"two")
            assert [await next_of(again), await next_of(other)] == [b"two", b"two"]

    async def test_subscriptions_end_with_the_bus_and_publishing_then_tells_nobody(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            heard = await woken(bus, "news")
            reading = asyncio.ensure_future(anext(heard, None))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, PATIENCE) is None
        await bus.publish("news", b"late")
        assert [one async for one in bus.subscribe("news")] == []

    async def test_a_payload_that_is_too_large_is_an_error_that_says_so(self, tmp_path: Path) -> None:
        async with self.make_bus(tmp_path) as bus:
            with pytest.raises(PayloadTooLarge, match=r"at most [\d,]+ bytes .* 33,554,432"):
                await bus.publish("news", bytes(1 << 25))

    @pytest.mark.parametrize("topic", ["", "A", "a b", "a..b", ".", "*", "a.>", "ä", "a" * 41])
    async def test_a_name_that_is_no_topic_is_an_error(self, tmp_path: Path, topic: str) -> None:
        async with self.make_bus(tmp_path) as bus:
            with pytest.raises(ValueError, match="topic"):
                await bus.publish(topic)
            with pytest.raises(ValueError, match="topic"):
                bus.subscribe(topic)


class BusContract(LonelyBusContract):
    """All promises of the bus port. Needs pytest, anyio's pytest plugin and hypothesis."""

    @asynccontextmanager
    async def buses(self, place: Path, number: int) -> AsyncIterator[list[Bus]]:
        """So many of one place, entered."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.make_bus(place)) for _ in range(number)]

    async def test_all_others_are_told_and_each_once(self, tmp_path: Path) -> None:
        async with self.buses(tmp_path, 4) as buses:
            heard = [await woken(bus, "news") for bus in buses]
            for bus, name in zip(buses, (b"a", b"b", b"c", b"d"), strict=True):
                await bus.publish("news", name)
            got = [sorted([await next_of(one) for _ in buses]) for one in heard]
            assert got == [[b"a", b"b", b"c", b"d"]] * 4
            await buses[0].publish("news", b"end")
            assert [await next_of(one) for one in heard] == [b"end"] * 4

    async def test_another_place_is_another_bus(self, tmp_path: Path) -> None:
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        ours.mkdir()
        theirs.mkdir()
        async with self.buses(ours, 2) as (here, there), self.make_bus(theirs) as elsewhere:
            heard = await woken(there, "news")
            await woken(elsewhere, "news")
            await elsewhere.publish("news", b"theirs")
            await here.publish("news", b"ours")
            assert await next_of(heard) == b"ours"

    async def test_who_was_woken_hears_from_then_on(self, tmp_path: Path) -> None:
        for _ in range(30):  # a driver that says a moment too early that it listens does so now and then
            async with self.make_bus(tmp_path) as here:
                await woken(here, "other")  # what it publishes leaves at once
                async with self.make_bus(tmp_path) as there:
                    heard = await woken(there, "news")
                    await here.publish("news", b"one")
                    assert await next_of(heard) == b"one"

    async def test_who_subscribes_again_is_told_again(self, tmp_path: Path) -> None:
        async with self.buses(tmp_path, 2) as (here, there):
            for n in range(10):
                heard = await woken(there, "news")
                await here.publish("news", b"%d" % n)
                assert await next_of(heard) == b"%d" % n
                await heard.aclose()  # type: ignore[attr-defined]

    async def test_equal_payloads_are_two(self, tmp_path: Path) -> None:
        async with self.buses(tmp_path, 2) as (here, there):
            heard = await woken(there, "news")
            for payload in (b"tick", b"tick", b"end"):
                await here.publish("news", payload)
            assert sorted(await until_all(heard, 3)) == [b"end", b"tick", b"tick"]

    async def test_a_thousand_wake_ups_travel_as_a_few(self, tmp_path: Path) -> None:
        async with self.buses(tmp_path, 2) as (here, there):
            heard, end = await woken(there, "news"), await woken(there, "end")
            for _ in range(1000):
                await here.publish("news")
            assert await next_of(heard) == b""
            await here.publish("end", b"end")
            assert await next_of(end) == b"end"
            await heard.aclose()  # type: ignore[attr-defined]

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(payloads=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
    async def test_payloads_arrive_as_the_bytes_that_they_were(self, tmp_path: Path, payloads: list[bytes]) -> None:
        async with self.buses(tmp_path, 2) as (here, there):
            heard = await woken(there, "news")
            for payload in payloads:
                await here.publish("news", payload)
            assert sorted(await until_all(heard, len(payloads))) == sorted(payloads)

    async def test_a_payload_of_four_thousand_bytes_fits_everywhere(self, tmp_path: Path) -> None:
        payload = bytes(range(250)) * 16
        async with self.buses(tmp_path, 2) as (here, there):
            heard = await woken(there, "news")
            await here.publish("news", payload)
            assert await next_of(heard) == payload

    async def test_a_storm_from_all_sides_is_heard_whole_by_who_reads(self, tmp_path: Path) -> None:
        async with self.buses(tmp_path, 3) as buses:
            heard = [await woken(bus, "news") for bus in buses]

            async def storm(bus: Bus, name: bytes) -> None:
                for n in range(200):
                    await bus.publish("news", b"%s %d" % (name, n))
                    await asyncio.sleep(0)

            storms = asyncio.gather(*(storm(bus, name) for bus, name in zip(buses, (b"a", b"b", b"c"), strict=True)))
            got = await asyncio.gather(*(until_all(one, 600) for one in heard))
            await storms
            expected = sorted(b"%s %d" % (name, n) for name in (b"a", b"b", b"c") for n in range(200))
            assert [sorted(one) for one in got] == [expected] * 3


async def next_of(heard: AsyncIterator[bytes]) -> bytes:
    """The next payload; fails when none comes."""
    return await asyncio.wait_for(anext(heard), PATIENCE)


async def woken(bus: Bus, topic: str) -> AsyncIterator[bytes]:
    """A subscription that is able to receive."""
    heard = bus.subscribe(topic)
    assert await next_of(heard) == b""
    return heard


async def until(heard: AsyncIterator[bytes], last: bytes) -> list[bytes]:
    """All payloads up to a certain one."""
    async with asyncio.timeout(PATIENCE):
        got = [await anext(heard)]
        while got[-1] != last:
            got.append(await anext(heard))
    return got


async def until_all(heard: AsyncIterator[bytes], number: int) -> list[bytes]:
    """So many payloads, wake-ups not counted."""
    got: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        while len(got) < number:
            payload = await anext(heard)
            got += [payload] if payload else []
    return got
