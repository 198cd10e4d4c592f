"""How many connections may begin and live at the same time, with a clock that the test owns."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from crudite import Limits, TooManyRequests, Unavailable
from crudite.interfaces.base import Admission


class Gate:
    """An admission whose clock stands until it is told to go on."""

    def __init__(self, **limits: int) -> None:
        self.now = 100.0
        self.admission = Admission(Limits(**limits), lambda: self.now)
        self._held: list[ExitStack] = []

    def enter(self, address: str = "10.0.0.1", kind: str = "websocket") -> ExitStack:
        """Begins a connection; leaving the stack ends it."""
        held = ExitStack()
        held.enter_context(self.admission.admit({"type": kind, "client": (address, 1)}))
        self._held.append(held)
        return held


def count(enter: Callable[[], object], times: int) -> tuple[int, list[int]]:
    """How many of so many attempts were admitted, and the milliseconds that the others were told to wait."""
    admitted, waits = 0, []
    for _ in range(times):
        try:
            enter()
            admitted += 1
        except Unavailable as problem:
            waits.append(problem.extra["retry_in"])
    return admitted, waits


def test_an_address_has_so_many_connections_at_once_and_gets_a_place_back_when_one_ends() -> None:
    gate = Gate(connections=2)
    gate.enter()
    second = gate.enter(kind="http")
    with pytest.raises(TooManyRequests, match="At most 2 connections"):
        gate.enter()
    gate.enter("10.0.0.2")
    assert gate.admission.living == {"websocket": 2, "http": 1}
    second.close()
    gate.enter()
    assert gate.admission.refused == {"address": 1}


def test_so_many_begin_in_a_second_whoever_they_are() -> None:
    gate = Gate(arrivals=10)
    addresses = iter(f"10.0.0.{n}" for n in range(12))
    assert count(lambda: gate.enter(next(addresses)), 12)[0] == 10
    gate.now += 0.5
    assert count(gate.enter, 12)[0] == 5
    gate.now += 60
    assert count(gate.enter, 12)[0] == 10
    assert gate.admission.refused == {"arrivals": 2 + 7 + 2}


def test_who_is_sent_away_is_told_a_time_within_which_all_can_be_admitted() -> None:
    gate = Gate(arrivals=100)
    assert count(gate.enter, 100) == (100, [])
    with pytest.raises(Unavailable) as refused:
        gate.enter()
    assert refused.value.headers["retry-after"] == "2"  # in whole seconds, never too early
    _, waits = count(gate.enter, 899)
    assert all(1000 <= wait <= 10_000 for wait in waits)
    assert max(waits) > 5000


def test_a_crowd_that_comes_back_as_told_is_admitted_soon() -> None:
    gate = Gate(arrivals=1000, connections=10_000)
    due = [(0.0, n) for n in range(10_000)]
    attempts = 0
    while due:
        due.sort(reverse=True)
        moment, one = due.pop()
        gate.now = 100.0 + moment
        attempts += 1
        try:
            gate.enter(str(one))
        except Unavailable as problem:
            due.append((moment + problem.extra["retry_in"] / 1000, one))
    assert gate.now - 100.0 < 20
    assert attempts < 40_000


def test_nobody_is_told_to_wait_for_more_than_a_minute_and_a_bit() -> None:
    gate = Gate(arrivals=1)
    assert max(count(gate.enter, 5000)[1]) <= 61_000
