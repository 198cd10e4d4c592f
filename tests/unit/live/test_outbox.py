"""An outbox hands over what is due in as few turns as possible, and never holds more than its limit."""

import asyncio
from collections.abc import Iterator

from crudite.live.outbox import Outbox


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
    outbox.stream(parts())
    outbox.send(b"after")
    outbox.end("away")
    messages = outbox.messages()
    assert list(await anext(messages)) == [b"before", b"part 0"]
    assert made == [0]
    assert [list(rest) async for rest in messages] == [[b"part 1"], [b"part 2"], [b"after"]]
    assert outbox.ended == "away"


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
    outbox.stream(iter([b"one", b"two"]))
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
