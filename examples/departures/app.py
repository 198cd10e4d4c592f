"""A live departures board: four resources and four live numbers."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from crudite import App, Count, Field, Query, Record, Ref, Request, allow, before

# Everyone may do everything, so that a visitor can edit a row. A real board would say
# rules={"read": allow.everyone, "write": allow.role("operations")}.


class Airline(Record[str], rules=allow.everyone):
    """`id` is the two-letter code."""

    name: str


class Airport(Record[str], rules=allow.everyone):
    """`id` is the three-letter code."""

    city: str
    name: str
    latitude: float
    longitude: float
    timezone: str


class Flight(Record[str], rules=allow.everyone):
    """What is known of a flight by now. `delay` is in minutes and follows from the two times."""

    airline: Ref[Airline]
    number: int
    tail: str = ""
    origin: Ref[Airport]
    dest: str  # no Ref: four airports of the Caribbean fly here and have no row
    scheduled: datetime
    expected: datetime
    departed: datetime | None = None
    delay: int = 0
    status: Literal["scheduled", "boarding", "delayed", "departed", "cancelled"] = "scheduled"
    gate: str = Field(default="", max_length=5)
    remark: str = Field(default="", max_length=80)
    on_board: bool = True  # a flight leaves the board some minutes after it has left the ground

    @before("update")
    async def measure_delay(self, request: Request, old: "Flight") -> None:
        self.delay = round((self.expected - self.scheduled).total_seconds() / 60)


class Clock(Record[str], rules=allow.everyone):
    """The time of the replayed day; the page's buttons write it and replay.py follows it."""

    at: datetime
    minutes_per_second: int = Field(default=5, ge=1, le=60)
    running: bool = True


app = App(Airline, Airport, Flight, Clock)


def flights(origin: str | None, airline: str | None) -> Query[Flight]:
    query = Flight.where()
    if origin:
        query = query.where(origin=origin)
    return query.where(airline=airline) if airline else query


@app.read("on-board-count")
async def on_board_count(request: Request, origin: str | None = None, airline: str | None = None) -> Count:
    return flights(origin, airline).where(on_board=True).count()


@app.read("delayed-count")
async def delayed_count(request: Request, origin: str | None = None, airline: str | None = None) -> Count:
    return flights(origin, airline).where(status="delayed").count()


@app.read("departed-count")
async def departed_count(request: Request, origin: str | None = None, airline: str | None = None) -> Count:
    return flights(origin, airline).where(status="departed").count()


@app.read("cancelled-count")
async def cancelled_count(request: Request, origin: str | None = None, airline: str | None = None) -> Count:
    return flights(origin, airline).where(status="cancelled").count()


app.files("/", Path(__file__).parent / "static")
