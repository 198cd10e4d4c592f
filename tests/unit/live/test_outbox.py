"""An outbox hands over what is due in as few turns as possible, and never holds more than its limit."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from crudite.live.outbox import Outbox, hand_out
from crudite.live.parcels import Parcel
from crudite.server.extension import Writer


def never() -> None:
    raise AssertionError("this outbox is not slow")


async def test_all_that_has_gathered_comes_at_once() -> None:
    outbox = Outbox(100, never)
    outbox.send(b"one", b"", b"two")
    outbox.send(b"three")
    outbox.end("closed")
    assert [list(messages) async for messages in outbox.messages()] == [[b"one", b"two", b"three"]]


async def test_a_waiting_reader_is_woken_by_the_next_message() -> None:
    outbox = Outbox(100, never)
    reader = asyncio.ensure_future(anext(outbox.messages()))
    await asyncio.sleep(0)
    outbox.send(b"late")
    assert list(await reader) == [b"late"]


async def test_a_stream_is_made_while_the_reader_takes_it() -> None:
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"part %d" % number

    outbox = Outbox(11, never)
    outbox.send(b"before")
    outbox.stream(parts(), 9)
    outbox.send(b"after")
    outbox.end("away")
    messages = outbox.messages()
    assert list(await anext(messages)) == [b"before", b"part 0"]
    assert made == [0]
    assert [list(rest) async for rest in messages] == [[b"part 1"], [b"part 2"], [b"after"]]
    assert outbox.ended == "away"


async def test_so_many_sets_may_wait_and_no_more() -> None:
    told: list[str] = []
    outbox = Outbox(10, lambda: told.append("slow"))
    for _ in range(3):
        outbox.stream(iter([b"a whole set"]), 3)
    assert outbox.ended is None
    outbox.stream(iter([b"a whole set"]), 3)
    assert (outbox.ended, told) == ("slow", ["slow"])


async def test_over_the_limit_everything_is_given_up_as_slow() -> None:
    told: list[str] = []
    outbox = Outbox(10, lambda: told.append("slow"))
    outbox.send(b"12345")
    outbox.send(b"67890")
    assert outbox.ended is None
    outbox.send(b"!")
    outbox.send(b"more")
    assert (outbox.ended, told) == ("slow", ["slow"])
    assert [messages async for messages in outbox.messages()] == []


async def test_what_the_reader_has_taken_counts_no_more() -> None:
    outbox = Outbox(10, never)
    messages = outbox.messages()
    for _ in range(5):
        outbox.send(b"1234567")
        assert list(await anext(messages)) == [b"1234567"]


async def test_a_dropped_outbox_ends_in_the_middle_of_a_stream() -> None:
    outbox = Outbox(10, never)
    outbox.stream(iter([b"one", b"two"]), 9)
    messages = outbox.messages()
    assert list(await anext(messages)) == [b"one"]
    outbox.drop("closed")
    assert [rest async for rest in messages] == []


async def test_a_cancelled_reader_loses_nothing() -> None:
    outbox = Outbox(100, never)
    reader = asyncio.ensure_future(anext(outbox.messages()))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    outbox.send(b"kept")
    assert list(await anext(outbox.messages())) == [b"kept"]


async def test_one_message_may_be_larger_than_the_limit() -> None:
    outbox = Outbox(10, never)
    outbox.send(b"x" * 100)
    assert list(await anext(outbox.messages())) == [b"x" * 100]


async def test_what_waits_is_counted_in_bytes() -> None:
    outbox = Outbox(10, never)
    outbox.send(b"12345", b"67")
    assert outbox.size == 7
    await anext(outbox.messages())
    assert outbox.size == 0


# With a sink.


def dashed(messages: Sequence[bytes]) -> bytes:
    return b"".join(b"%b-" % message for message in messages)


class Wire:
    """A sink that takes so many bytes before it is full, as a transport does."""

    framing = staticmethod(dashed)

    def __init__(self, room: int) -> None:
        self.written: list[bytes] = []
        self.room = room
        self.is_lost = False
        self.writer: Writer | None = None

    @property
    def is_writable(self) -> bool:
        return self.room > 0

    def write(self, framed: bytes, /) -> None:
        self.written.append(framed)
        self.room -= len(framed)

    def take(self, size: int) -> None:
        """The client has taken so much."""
        self.room += size
        if self.writer is not None:
            self.writer.resume()


async def test_with_a_sink_messages_are_written_at_once_and_framed_once_for_all() -> None:
    framed: list[Sequence[bytes]] = []

    def counted(messages: Sequence[bytes]) -> bytes:
        framed.append(messages)
        return dashed(messages)

    parcel, wires = Parcel([b"one", b"two"]), [Wire(100), Wire(100)]
    for wire in wires:
        wire.framing = counted  # type: ignore[method-assign]
        outbox = Outbox(100, never)
        outbox.attach(wire)
        outbox.put(parcel)
    assert [wire.written for wire in wires] == [[b"one-two-"], [b"one-two-"]]
    assert framed == [[b"one", b"two"]]


async def test_what_was_there_before_the_sink_goes_first() -> None:
    outbox, wire = Outbox(100, never), Wire(100)
    outbox.send(b"early")
    outbox.stream(iter([b"s1", b"s2"]), 9)
    outbox.attach(wire)
    outbox.put(Parcel([b"late"]))
    assert wire.written == [b"early-", b"s1-", b"s2-", b"late-"]


async def test_the_frames_of_one_tick_are_one_write() -> None:
    outbox, wire = Outbox(100, never), Wire(100)
    outbox.attach(wire)
    outbox.add(Parcel([b"first"]))
    outbox.add(Parcel([b"second"]))
    assert wire.written == []
    outbox.put(Parcel([b"last"]))
    assert wire.written == [b"first-second-last-"]


async def test_what_a_full_transport_does_not_take_waits_in_order_and_goes_on_with_it() -> None:
    outbox, wire = Outbox(100, never), Wire(4)
    outbox.attach(wire)
    outbox.put(Parcel([b"one"]))
    outbox.put(Parcel([b"two"]))
    outbox.stream(iter([b"s1", b"s2"]), 9)
    outbox.put(Parcel([b"end"]))
    assert (wire.written, outbox.size) == ([b"one-"], 8)
    wire.take(1)
    assert wire.written == [b"one-", b"two-"]
    wire.take(4)
    assert wire.written == [b"one-", b"two-", b"s1-"]
    wire.take(100)
    assert (wire.written, outbox.size) == ([b"one-", b"two-", b"s1-", b"s2-", b"end-"], 0)


async def test_a_stream_is_made_as_far_as_the_transport_takes_it_and_counts_not_against_the_limit() -> None:
    made: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"x" * 50

    outbox, wire = Outbox(10, never), Wire(60)
    outbox.attach(wire)
    outbox.stream(parts(), 9)
    assert (made, [len(each) for each in wire.written]) == ([0, 1], [51, 51])
    wire.take(102)
    assert made == [0, 1, 2]


async def test_a_client_that_takes_nothing_is_slow_once_the_limit_is_passed() -> None:
    told: list[str] = []
    outbox, wire = Outbox(10, lambda: told.append("slow")), Wire(1)
    outbox.attach(wire, lambda: told.append("over"))
    outbox.put(Parcel([b"in the transport"]))
    outbox.put(Parcel([b"12345"]))
    assert outbox.ended is None
    outbox.put(Parcel([b"67890"]))
    assert (outbox.ended, told, wire.written) == ("slow", ["over", "slow"], [b"in the transport-"])
    wire.take(100)
    assert wire.written == [b"in the transport-"]


async def test_an_outbox_that_ends_is_over_when_the_transport_has_taken_the_rest() -> None:
    told: list[str] = []
    outbox, wire = Outbox(100, never), Wire(1)
    outbox.attach(wire, lambda: told.append("over"))
    outbox.put(Parcel([b"full"]))
    outbox.put(Parcel([b"rest"]))
    outbox.end("away")
    outbox.put(Parcel([b"too late"]))
    assert told == []
    wire.take(100)
    assert (told, wire.written, wire.writer) == (["over"], [b"full-", b"rest-"], None)


async def test_a_lost_connection_ends_its_outbox_and_gives_up_what_waits() -> None:
    told: list[str] = []
    outbox, wire = Outbox(100, never), Wire(1)
    outbox.attach(wire, lambda: told.append("over"))
    outbox.put(Parcel([b"full"]))
    outbox.put(Parcel([b"rest"]))
    assert wire.writer is not None
    wire.writer.lose()
    assert (outbox.ended, told, outbox.size) == ("closed", ["over"], 0)


async def test_a_sink_whose_client_is_gone_already_ends_the_outbox_at_once() -> None:
    told: list[str] = []
    outbox, wire = Outbox(100, never), Wire(1)
    outbox.send(b"for nobody")
    wire.is_lost = True
    outbox.attach(wire, lambda: told.append("over"))
    assert (outbox.ended, told, outbox.size, wire.written, wire.writer) == ("closed", ["over"], 0, [], None)
    assert [turn async for turn in outbox.turns()] == []


async def test_a_set_that_cannot_be_encoded_ends_its_own_outbox_only(caplog: pytest.LogCaptureFixture) -> None:
    def parts() -> Iterator[bytes]:
        yield b"good"
        raise ValueError("a record that is none")

    told: list[str] = []
    outbox, wire = Outbox(100, never), Wire(100)
    outbox.attach(wire, lambda: told.append("over"))
    outbox.stream(parts(), 9)
    assert (outbox.ended, told, wire.written) == ("closed", ["over"], [b"good-"])
    assert "a record that is none" in caplog.text


async def test_drained_with_a_sink_means_that_the_transport_has_all() -> None:
    outbox, wire = Outbox(100, never), Wire(1)
    outbox.attach(wire)
    await asyncio.wait_for(outbox.drained(), 5)
    outbox.put(Parcel([b"full"]))
    outbox.put(Parcel([b"rest"]))
    draining = asyncio.ensure_future(outbox.drained())
    await asyncio.sleep(0)
    assert not draining.done()
    wire.take(100)
    await asyncio.wait_for(draining, 5)


async def test_what_is_for_one_connection_alone_goes_as_one_when_the_turn_ends_or_with_the_next_frame() -> None:
    outbox, wire = Outbox(100, never), Wire(100)
    outbox.attach(wire)
    outbox.send(b"one")
    outbox.send(b"two")
    assert wire.written == []
    await asyncio.sleep(0)
    assert wire.written == [b"one-two-"]
    outbox.send(b"three")
    outbox.put(Parcel([b"frame"]))
    assert wire.written == [b"one-two-", b"three-frame-"]


async def test_many_answers_in_one_turn_do_not_make_a_client_slow_that_takes_them() -> None:
    outbox, wire = Outbox(10, never), Wire(1000)
    outbox.attach(wire)
    for _ in range(5):
        outbox.send(b"12345678")
    outbox.end("away")
    assert b"".join(wire.written) == b"12345678-" * 5


async def test_turns_come_with_what_is_for_this_connection_alone_and_end_with_the_outbox() -> None:
    outbox, wire = Outbox(100, never), Wire(100)
    outbox.attach(wire)
    turns = outbox.turns()
    await anext(turns)
    turn = asyncio.ensure_future(anext(turns))
    await asyncio.sleep(0)
    outbox.put(Parcel([b"a frame"]))
    await asyncio.sleep(0)
    assert not turn.done()
    outbox.send(b"an answer")
    await asyncio.wait_for(turn, 5)
    outbox.end("away")
    assert [turn async for turn in turns] == []


class BrokenWire(Wire):
    """A sink that cannot be written to."""

    def write(self, framed: bytes, /) -> None:
        raise RuntimeError("the handler is closed")


async def test_one_that_cannot_be_written_to_ends_alone() -> None:
    broken, whole = Outbox(100, never), Outbox(100, never)
    wire = Wire(100)
    broken.attach(BrokenWire(100))
    whole.attach(wire)
    hand_out(Parcel([b"frame"], since="c1"), [broken, whole], 1.0)
    await asyncio.sleep(0)
    assert (broken.ended, whole.ended) == ("closed", None)
    assert wire.written == [dashed([b"frame"])]
