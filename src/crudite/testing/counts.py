"""The contract of those who count rates, as tests: an adapter that passes them keeps the port's promises.

    from crudite.testing.counts import CountsContract
    from mycounts import MyCounts

    class TestMyCounts(CountsContract):
        def make_counts(self, place, seconds):
            return MyCounts("my://host", prefix=place.name, seconds=seconds)

`make_counts` returns counts that were not entered; those made for one place (a directory that the test owns) count
together, by the clock `seconds`. Where each is exact, but they hear of each other a moment later, it is the
`LooseCountsContract`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from crudite.limiting import Counts, Rate

_ONE, _OTHER = b"somebody....", b"somebody else"[:12]


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.25

    def __call__(self) -> float:
        return self.now


class LooseCountsContract:
    """What all counts promise."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Crudite speaks asyncio only."""
        return "asyncio"

    def make_counts(self, place: Path, seconds: Callable[[], float]) -> Counts:
        """Counts that were not entered; those for one place count together."""
        raise TypeError("a subclass of the contract says how its counts are made")

    @asynccontextmanager
    async def entered(self, place: Path, seconds: Callable[[], float]) -> AsyncIterator[Counts]:
        """Counts for as long as the block lasts. Override it where more is needed for that."""
        async with self.make_counts(place, seconds) as counts:
            yield counts

    async def test_a_burst_is_allowed_and_what_is_left_is_told(self, tmp_path: Path) -> None:
        clock, rate = Seconds(), Rate("60/minute", burst=3)
        async with self.entered(tmp_path, clock) as counts:
            verdicts = [await counts.take(_ONE, rate, 1) for _ in range(4)]
        assert [(v.is_allowed, v.remaining) for v in verdicts] == [(True, 2), (True, 1), (True, 0), (False, 0)]
        assert [round(v.reset, 3) for v in verdicts] == [1.0, 2.0, 3.0, 3.0]
        assert [round(v.retry_after, 3) for v in verdicts] == [0.0, 0.0, 0.0, 1.0]
        assert {v.rate for v in verdicts} == {rate}

    async def test_who_comes_when_told_to_is_allowed_and_not_before(self, tmp_path: Path) -> None:
        clock, rate = Seconds(), Rate("6/minute")
        async with self.entered(tmp_path, clock) as counts:
            await counts.take(_ONE, rate, 6)
            told = (await counts.take(_ONE, rate, 2)).retry_after
            clock.now += told - 0.01
            assert not (await counts.take(_ONE, rate, 2)).is_allowed
            clock.now += 0.01
            assert (await counts.take(_ONE, rate, 2)).is_allowed
            assert not (await counts.take(_ONE, rate, 1)).is_allowed

    async def test_several_are_taken_whole_or_not_at_all(self, tmp_path: Path) -> None:
        rate = Rate("10/minute")
        async with self.entered(tmp_path, Seconds()) as counts:
            assert (await counts.take(_ONE, rate, 7)).remaining == 3
            assert (await counts.take(_ONE, rate, 4)).remaining == 3
            assert (await counts.take(_ONE, rate, 3)).remaining == 0

    async def test_more_than_there_can_ever_be_is_an_error(self, tmp_path: Path) -> None:
        async with self.entered(tmp_path, Seconds()) as counts:
            for cost in (0, 11):
                with pytest.raises(ValueError, match="1 to 10"):
                    await counts.take(_ONE, Rate("10/minute"), cost)

    async def test_keys_do_not_meet(self, tmp_path: Path) -> None:
        rate = Rate("1/hour")
        async with self.entered(tmp_path, Seconds()) as counts:
            assert (await counts.take(_ONE, rate, 1)).is_allowed
            assert (await counts.take(_OTHER, rate, 1)).is_allowed
            assert not (await counts.take(_ONE, rate, 1)).is_allowed

    async def test_all_is_there_again_after_its_time(self, tmp_path: Path) -> None:
        clock, rate = Seconds(), Rate("100/hour")
        async with self.entered(tmp_path, clock) as counts:
            await counts.take(_ONE, rate, 100)
            clock.now += 3600
            assert (await counts.take(_ONE, rate, 1)).remaining == 99

    async def test_of_many_who_ask_at_the_same_time_as_many_are_allowed_as_there_were(self, tmp_path: Path) -> None:
        rate = Rate("10/hour")
        async with self.entered(tmp_path, Seconds()) as counts:
            verdicts = await asyncio.gather(*(counts.take(_ONE, rate, 1) for _ in range(40)))
        assert sorted(v.remaining for v in verdicts if v.is_allowed) == [*range(10)]

    async def test_what_one_process_has_taken_another_one_finds(self, tmp_path: Path) -> None:
        clock, rate = Seconds(), Rate("20/hour")
        async with self.entered(tmp_path, clock) as one, self.entered(tmp_path, clock) as other:
            await one.take(_ONE, rate, 19)
            async with asyncio.timeout(20):
                while (await other.take(_OTHER, rate, 1)).is_allowed and not await self.heard(other):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # nothing tells a process that it has heard
            assert (await other.take(_ONE, rate, 1)).remaining == 0
            assert not (await other.take(_ONE, rate, 1)).is_allowed

    async def heard(self, counts: Counts) -> bool:
        """Whether counts know what others have taken before. Override it where that comes a moment later."""
        return True


class CountsContract(LooseCountsContract):
    """What exact counts promise."""

    async def test_processes_that_ask_at_the_same_time_share_what_there_was(self, tmp_path: Path) -> None:
        clock, rate = Seconds(), Rate("20/hour")
        async with AsyncExitStack() as stack:
            several = [await stack.enter_async_context(self.entered(tmp_path, clock)) for _ in range(4)]
            verdicts = await asyncio.gather(*(several[n % 4].take(_ONE, rate, 1) for n in range(60)))
        assert sum(v.is_allowed for v in verdicts) == 20


__all__ = ["CountsContract", "LooseCountsContract", "Seconds"]
