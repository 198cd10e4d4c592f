"""An outbox whose client takes too little leaves out frames, from between two ticks on, and nothing else."""

from crudite.live.outbox import Outbox
from crudite.live.parcels import Parcel
from tests.unit.live.test_outbox import Wire, never


class Catcher:
    """Who can always tell what was left out; notes since when, and how often all has been taken."""

    def __init__(self, *, can: bool = True) -> None:
        self.can = can
        self.since: list[str] = []
        self.drains = 0

    def can_catch_up(self) -> bool:
        return self.can

    def fall_behind(self, since: str) -> None:
        self.since.append(since)

    def drained(self) -> None:
        self.drains += 1


def full(room: int = 1, *, can: bool = True) -> tuple[Outbox, Wire, Catcher]:
    """An outbox with room for 100 bytes and a transport that takes one more write."""
    outbox, wire, catcher = Outbox(100, never), Wire(room), Catcher(can=can)
    outbox.catcher = catcher
    outbox.attach(wire)
    return outbox, wire, catcher


def tick(number: int, size: int = 19) -> Parcel:
    return Parcel([str(number).encode() * size], since=f"c{number}")


def test_frames_beyond_half_of_the_limit_are_left_out_and_told_at_once() -> None:
    outbox, wire, catcher = full()
    for number in range(1, 6):
        outbox.put(tick(number))
    assert (outbox.is_behind, catcher.since, outbox.size) == (True, ["c2"], 0)
    outbox.put(tick(6))
    assert (outbox.size, catcher.drains) == (0, 0)
    wire.take(100)
    assert catcher.drains == 1
    outbox.catch_up([b"all of it", b"", b"and its commit"])
    outbox.put(tick(7, 3))
    assert wire.written == [b"1" * 19 + b"-", b"all of it-and its commit-", b"777-"]


def test_what_is_no_frame_is_kept_in_order_before_the_gap_and_behind_it() -> None:
    outbox, wire, catcher = full()
    outbox.put(tick(1))
    outbox.put(tick(2))
    outbox.put(Parcel([b"early"]))
    for number in (3, 4):
        outbox.put(tick(number))
    assert catcher.since == ["c3"]
    outbox.put(Parcel([b"late"]))
    wire.take(200)
    outbox.catch_up([b"the rest"])
    assert b"".join(wire.written) == b"1" * 19 + b"-" + b"2" * 19 + b"-early-the rest-late-"


def test_a_tick_that_has_been_begun_is_told_to_its_end() -> None:
    outbox, wire, catcher = full(room=0)
    opening = Parcel([b"o" * 70_000], since="c1", closes=False)
    outbox._limit = 200_000
    outbox.add(opening)
    outbox.add(Parcel([b"m" * 10], since="c1", closes=False))
    outbox.put(Parcel([b"z" * 10], since="c1"))
    wire.take(1)  # takes the first part of the tick only
    assert len(wire.written) == 1
    outbox.put(tick(2, 110_000))
    outbox.put(tick(3, 10))
    assert catcher.since == ["c2"]
    wire.take(100_000)
    assert wire.written[1] == b"m" * 10 + b"-" + b"z" * 10 + b"-"


def test_nothing_is_left_out_that_nobody_can_tell_later() -> None:
    outbox, _, catcher = full(can=False)
    for number in range(1, 6):
        outbox.put(tick(number))
    assert (outbox.is_behind, catcher.since, outbox.size) == (False, [], 80)


def test_one_frame_that_is_larger_than_half_of_the_limit_waits_as_it_is() -> None:
    outbox, _, catcher = full(room=0)
    outbox.put(tick(1, 90))
    assert (outbox.is_behind, catcher.since) == (False, [])


def test_at_the_end_what_waited_behind_the_gap_still_comes() -> None:
    outbox, wire, _ = full()
    for number in range(1, 6):
        outbox.put(tick(number))
    outbox.put(Parcel([b"bye"]))
    outbox.end("away")
    wire.take(100)
    assert wire.written == [b"1" * 19 + b"-", b"bye-"]
