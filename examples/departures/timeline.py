"""What became known of each flight, and when: a pure function of the outcomes file."""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

DATA = Path(__file__).parent / "data"

# The source says how late a flight left, not when its passengers were told. These are our guesses.
GATE_KNOWN = timedelta(minutes=75)
DELAY_KNOWN = timedelta(minutes=30)
BOARDING = timedelta(minutes=25)
LEAVES_BOARD = timedelta(minutes=5)
CANCELLED_STAYS = timedelta(minutes=10)
LATE = 15  # minutes; the Bureau of Transportation Statistics calls a flight late from here on
GATES = {"EWR": ("A", 40), "JFK": ("B", 48), "LGA": ("D", 30)}


class Step(NamedTuple):
    """At `at`, the fields of `data` became known of the flight `id`."""

    at: datetime
    id: str
    data: dict[str, Any]


class Outcome(NamedTuple):
    """What really happened: `delay` in minutes against `scheduled`; None when the flight was cancelled."""

    id: str
    origin: str
    scheduled: datetime
    delay: int | None


def outcomes(folder: Path = DATA) -> list[Outcome]:
    """The outcomes file, each with the airport that the schedule names."""
    with (folder / "flights.csv").open(newline="") as file:
        origins = {row["id"]: row["origin"] for row in csv.DictReader(file)}
    with (folder / "outcomes.csv").open(newline="") as file:
        return [
            Outcome(
                row["id"],
                origins[row["id"]],
                datetime.fromisoformat(row["scheduled"]),
                int(row["delay"]) if row["delay"] else None,
            )
            for row in csv.DictReader(file)
        ]


def before_the_day(outcome: Outcome) -> dict[str, Any]:
    """Every field that a step or a person may write, as the import left it."""
    return {
        "status": "scheduled",
        "expected": on_the_wire(outcome.scheduled),
        "departed": None,
        "gate": "",
        "remark": "",
        "on_board": True,
    }


def on_the_wire(time: datetime) -> str:
    """A datetime as a Crudite application sends it: UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def timeline(flown: Iterable[Outcome]) -> list[Step]:
    """All steps of all flights, the earliest first."""
    return sorted((step for outcome in flown for step in steps(outcome)), key=lambda step: step.at)


def steps(outcome: Outcome) -> Iterator[Step]:
    """The story of one flight, in order."""
    id, scheduled = outcome.id, outcome.scheduled
    yield Step(scheduled - GATE_KNOWN, id, {"gate": _gate(outcome)})
    if outcome.delay is None:
        yield Step(scheduled - timedelta(minutes=20 + crc32(id.encode()) % 50), id, {"status": "cancelled"})
        yield Step(scheduled + CANCELLED_STAYS, id, {"on_board": False})
        return
    departed = scheduled + timedelta(minutes=outcome.delay)
    boarding = min(scheduled, departed) - BOARDING
    for at, minutes in _announcements(scheduled, outcome.delay):
        expected = on_the_wire(scheduled + timedelta(minutes=minutes))
        yield Step(at, id, {"status": "delayed", "expected": expected})
        boarding = max(at + timedelta(minutes=1), departed - BOARDING)
    yield Step(boarding, id, {"status": "boarding"})
    left = on_the_wire(departed)
    yield Step(departed, id, {"status": "departed", "departed": left, "expected": left})
    yield Step(departed + LEAVES_BOARD, id, {"on_board": False})


def _announcements(scheduled: datetime, delay: int) -> Iterator[tuple[datetime, int]]:
    # A long delay comes out bit by bit: half an hour at first, then 45 minutes more each time.
    if delay < LATE:
        return
    told = min(delay, 30)
    yield scheduled - DELAY_KNOWN, told
    while told < delay:
        at = scheduled + timedelta(minutes=told - 15)
        told = min(delay, told + 45)
        yield at, told


def _gate(outcome: Outcome) -> str:
    # The source has no gates. These are made up, and the same at every replay.
    letter, count = GATES[outcome.origin]
    return f"{letter}{1 + crc32(outcome.id.encode()) % count}"
