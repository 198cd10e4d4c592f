"""Plays the day: writes what became known of each flight, as any client would.

It follows one record, the clock, which the page's buttons write too. While the clock runs, it moves
the clock on and writes the steps that fell due. When somebody moves the clock back, it makes every
flight what it was then. It keeps nothing: stop it, start it again, and it goes on where the clock is.
"""

import asyncio
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from timeline import Outcome, Step, before_the_day, on_the_wire, outcomes, timeline
from websockets.exceptions import WebSocketException
from wire import Failed, LiveSet, Wire

URL = "ws://127.0.0.1:8000/ws"
CLOCK = "new-york"
START = datetime.fromisoformat("2013-07-10T04:34:00-04:00")
SHORTEST_TICK = 0.25  # seconds
RETRY = 1.0  # seconds
PAGE = 200  # records

Json = dict[str, Any]


class Day:
    """All steps of all flights, to be asked by time."""

    def __init__(self, flown: Iterable[Outcome]) -> None:
        flown = list(flown)
        self._at_first = {outcome.id: before_the_day(outcome) for outcome in flown}
        self._steps = timeline(flown)
        self._times = [step.at for step in self._steps]
        self.end = self._times[-1]

    def between(self, after: datetime, until: datetime) -> list[Step]:
        """The steps after one time, up to and including another."""
        return self._steps[bisect_right(self._times, after) : bisect_right(self._times, until)]

    def at(self, time: datetime) -> dict[str, Json]:
        """Every flight as it was known at `time`."""
        known = {id: dict(data) for id, data in self._at_first.items()}
        for step in self._steps[: bisect_right(self._times, time)]:
            known[step.id].update(step.data)
        return known


def merged(steps: Iterable[Step], stopped: Collection[str]) -> dict[str, Json]:
    """One write for each flight. A flight that a person has cancelled only leaves the board."""
    writes: dict[str, Json] = {}
    for step in steps:
        if step.id not in stopped or "on_board" in step.data:
            writes.setdefault(step.id, {}).update(step.data)
    return writes


def differing(records: Iterable[Json], known: dict[str, Json]) -> dict[str, Json]:
    """The writes that make each record what is known of it."""
    writes = {}
    for record in records:
        wanted = known.get(record["id"], {})
        if any(record[name] != value for name, value in wanted.items()):
            writes[record["id"]] = wanted
    return writes


def next_tick(clock: Json, end: datetime) -> tuple[float, datetime]:
    """How many seconds to wait, and what time it is then."""
    speed = clock["minutes_per_second"]
    seconds = max(SHORTEST_TICK, 1 / speed)
    return seconds, min(end, time_of(clock) + timedelta(minutes=seconds * speed))


async def play(wire: Wire, day: Day) -> None:
    """Follow the clock until the connection breaks, which raises ConnectionError."""
    clocks = await wire.subscribe("clocks", {"where": {"id": CLOCK}})
    if CLOCK not in clocks.records:
        await restore(wire, day, START)
        await wire.call("clocks.create", data={"id": CLOCK, "at": on_the_wire(START)})
        await clocks.change()
    by_hand = {"where": {"status": "cancelled", "on_board": True}, "fields": ["id"], "limit": PAGE}
    cancelled = await wire.subscribe("flights", by_hand)
    played = time_of(clocks.records[CLOCK])
    while True:
        clock = clocks.records[CLOCK]
        now = time_of(clock)
        if now < played:
            await restore(wire, day, now)
        await write(wire, merged(day.between(played, now), cancelled.records))
        played = now
        if not clock["running"] or now >= day.end:
            await clocks.change()
            continue
        seconds, then = next_tick(clock, day.end)
        await asyncio.sleep(seconds)
        if clocks.records[CLOCK]["version"] == clock["version"]:
            # The flights first: where the clock stands, everything before it is written.
            await write(wire, merged(day.between(now, then), cancelled.records))
            played = then if await move(wire, clocks, clock["version"], then) else now


def time_of(clock: Json) -> datetime:
    return datetime.fromisoformat(clock["at"])


async def move(wire: Wire, clocks: LiveSet, version: int, then: datetime) -> bool:
    """Move the clock on, unless somebody has set it meanwhile: then they are right, and nothing moves."""
    try:
        await wire.call("clocks.update", key=CLOCK, data={"at": on_the_wire(then)}, version=version)
        moved = True
    except Failed as failed:
        if failed.status not in (409, 412):
            raise
        moved = False
    while clocks.records[CLOCK]["version"] <= version:
        await clocks.change()
    return moved


async def restore(wire: Wire, day: Day, now: datetime) -> None:
    """Make every flight what it was at a time, whatever was done to it since."""
    await write(wire, differing(await everything(wire), day.at(now)))


async def everything(wire: Wire) -> list[Json]:
    """All flights, page by page."""
    records: list[Json] = []
    query: Json = {"limit": PAGE}
    while True:
        page = await wire.call("flights.list", query=query)
        records += page["data"]
        if not page["next"]:
            return records
        query = {"limit": PAGE, "cursor": page["next"]}


async def write(wire: Wire, writes: dict[str, Json]) -> None:
    """Update many flights. What is refused is said and left: a person may have deleted the flight."""
    calls = [{"key": key, "data": data} for key, data in writes.items()]
    for key, answer in zip(writes, await wire.batch("flights.update", calls), strict=True):
        if isinstance(answer, Failed):
            print(f"replay: {key}: {answer}", file=sys.stderr)
        elif isinstance(answer, BaseException):
            raise answer


async def main(url: str) -> None:
    day = Day(outcomes())
    while True:
        try:
            async with Wire(url) as wire:
                await play(wire, day)
        except (OSError, WebSocketException):  # the server is not there (yet): ask again
            await asyncio.sleep(RETRY)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:] or [URL]))
