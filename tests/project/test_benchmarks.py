"""The judges of the benchmarks judge: what is lost, late, grown or missed is found."""

import math

import pytest

from benchmarks.expected import at_least, at_most, frames
from benchmarks.fanout import Frame
from benchmarks.scale import FLEETS, LIVES, Fleet, Life, late_at, most, uses
from benchmarks.soak import Check, Ledger, lag_faults, memory_faults
from benchmarks.views import Query, View


def check(life: int, memory: float, late: float = 0.02) -> Check:
    return Check(at=0, life=life, memory_mb=memory, late_p99=late)


def test_a_store_that_lost_or_made_up_a_record_is_found() -> None:
    assert Ledger({"a": "one", "b": "two"}).faults({"a": "one"}) == ["b should have the title 'two' and has None"]
    assert Ledger({}).faults({"c": "three"}) == ["c should have the title None and has 'three'"]


def test_a_write_in_doubt_may_have_happened_or_not_but_nothing_else() -> None:
    def ledger() -> Ledger:
        return Ledger({"a": "one", "b": "two"}, doubted={"a": "new", "b": None}, doubted_new={"three"})

    assert ledger().faults({"a": "one", "b": "two"}) == []
    assert ledger().faults({"a": "new", "c": "three"}) == []
    assert ledger().faults({"a": "other", "b": "two"}) == ["a should have the title 'one' and has 'other'"]


def test_memory_that_grows_by_more_than_caches_take_is_found() -> None:
    assert memory_faults([check(0, 100), check(0, 300), check(1, 120)]) == []
    assert memory_faults([check(0, 100), check(1, 120), check(1, 350)]) == ["memory grew from 100 to 350 MB by life 2"]


def test_memory_that_still_grows_in_the_second_half_of_a_long_life_is_found() -> None:
    assert memory_faults([check(0, 100 + min(each, 10)) for each in range(30)]) == []
    assert memory_faults([check(0, 100 + 4 * each) for each in range(30)]) == [
        "memory grew from 160 to 216 MB in the second half of life 1"
    ]


def test_events_that_become_later_are_found() -> None:
    assert lag_faults([check(0, 100, late) for late in (0.02, 0.09, 0.1)]) == []
    assert lag_faults([check(0, 100, late) for late in (0.02, 0.09, 0.2)]) == [
        "events were 20 ms late (p99) in the first third and 200 ms in the last"
    ]


def test_a_view_shows_a_frame_when_it_is_applied() -> None:
    view = View(Query({}, ""), {"a": {"id": "a", "n": 1, "m": 1}, "b": {"id": "b"}})
    view.held.append(
        {"added": [{"id": "c"}], "changed": [{"key": "a", "fields": {"n": 2}, "absent": ["m"]}], "removed": ["b"]}
    )
    assert view.records["a"]["n"] == 1
    view.apply()
    assert view.records == {"a": {"id": "a", "n": 2}, "c": {"id": "c"}}


def test_an_expectation_holds_fails_or_was_not_measured() -> None:
    assert [at_least("", "", 2, value).holds for value in (2.0, 1.9, math.nan)] == [True, False, None]
    assert [at_most("", "", 2, value).holds for value in (2.0, 2.1, math.nan)] == [True, False, None]


def test_ratios_are_taken_within_a_round_and_their_median_counts() -> None:
    def frame(way: str, number: int, cpu: float) -> Frame:
        return Frame(way, "", number, 10, 8.0, last_p50_ms=cpu, last_p99_ms=cpu, cpu_us=cpu, foreign=0)

    found = [frame("crudite, websocket", number, cpu) for number, cpu in enumerate((1, 2, 10))]
    found += [frame("ws, websocket", number, cpu) for number, cpu in enumerate((3, 4, 15))]
    rows = {(row.what, row.against): row for row in frames(found)}
    row = rows["a frame to 10 WebSockets, CPU a delivery", "ws, websocket"]
    assert (row.expected, row.measured, row.holds) == (">= 1.3 x", "2.00 x", True)
    assert rows["a frame to 10 WebSockets, CPU a delivery", "socket.io, socket.io"].holds is None


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@pytest.mark.parametrize("fleet", FLEETS, ids=lambda fleet: fleet.name)
def test_a_worker_that_is_simulated_is_as_busy_as_the_formula_says(fleet: Fleet, life: Life) -> None:
    clients, _ = most(fleet, life, 0.5)
    assert late_at(fleet, life, 0.5).busy == pytest.approx(uses(fleet, life, clients)["a worker"], abs=0.05)
