"""A clock that a test owns: nothing happens before its time, and everything that is due happens."""

from datetime import UTC, date, datetime, timedelta

import pytest

from crudite import App, Count, Field, Record, Request, allow, now, today
from crudite.testing import Client, Clock

NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Offer(Record[int], rules={"read": allow.where(until__gt=now), "write": allow.everyone}):
    title: str
    until: datetime
    made: datetime = Field(default=now)
    day: date = Field(default=today)


def shop(clock: Clock) -> App:
    app = App(Offer, store="sqlite:///:memory:", clock=clock)

    @app.read("made-today")
    async def made_today(request: Request) -> Count:
        return Offer.where(day=today).count()

    return app


async def test_an_alarm_rings_when_its_moment_is_passed_in_order_and_once() -> None:
    clock, rung = Clock(NOON), list[tuple[str, datetime]]()
    clock.at(NOON + 2 * HOUR, lambda: rung.append(("second", clock.now)))
    clock.at(NOON + HOUR, lambda: rung.append(("first", clock.now)))
    clock.at(NOON + HOUR, lambda: rung.append(("never", clock.now))).cancel()

    clock.advance(HOUR - timedelta(seconds=1))
    assert rung == []
    clock.advance(5 * HOUR)

    assert rung == [("first", NOON + HOUR), ("second", NOON + 2 * HOUR)]
    assert clock() == NOON + 6 * HOUR - timedelta(seconds=1)


def test_time_has_a_zone_and_goes_forwards() -> None:
    with pytest.raises(ValueError, match="zone"):
        Clock(datetime(2030, 1, 1))  # noqa: DTZ001 (it is refused)
    with pytest.raises(ValueError, match="backwards"):
        Clock().advance(timedelta(seconds=-1))


async def test_rules_and_defaults_mean_the_time_of_the_applications_clock() -> None:
    clock = Clock(NOON)
    async with Client(shop(clock)) as client:
        made = await client.post("/offers", {"title": "tea", "until": "2030-05-17T13:00:00Z"})
        assert made.json["made"] == "2030-05-17T12:00:00.000000Z"
        assert [row["title"] for row in (await client.get("/offers")).json] == ["tea"]

        clock.advance(HOUR)
        assert (await client.get("/offers")).json == []
        assert (await client.get("/offers/1")).status == 404


async def test_a_live_query_over_now_loses_a_record_when_the_clock_passes_it() -> None:
    clock = Clock(NOON)
    async with Client(shop(clock)) as client:
        for title, hours in (("tea", 1), ("bread", 3)):
            await client.post("/offers", {"title": title, "until": (NOON + hours * HOUR).isoformat()})
        async with client.live("offers", sort="title") as view:
            assert len(await view.ready()) == 2
            clock.advance(HOUR / 2)
            await client.settled()
            assert [row["title"] for row in view.records] == ["bread", "tea"]

            clock.advance(HOUR)
            assert [row["title"] for row in await view.until(lambda rows: len(rows) < 2)] == ["bread"]
            clock.advance(9 * HOUR)
            assert await view.until(lambda rows: not rows) == []


async def test_a_live_number_over_today_starts_again_at_midnight() -> None:
    clock = Clock(NOON)
    async with Client(shop(clock)) as client:
        await client.post("/offers", {"title": "tea", "until": (NOON + 100 * HOUR).isoformat()})
        async with client.live("made-today") as view:
            assert await view.until_value(lambda value: value == 1) == 1
            clock.advance(12 * HOUR)
            assert await view.until_value(lambda value: value == 0) == 0
