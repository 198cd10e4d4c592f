"""A stream that is told again tells what differs, however its bytes come."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite import App, Record, Request, Wheelhouse, WheelhouseOptions, WheelhousePermissions, allow
from crudite.errors import TooLarge
from crudite.interfaces.sse.retelling import Retelling
from crudite.interfaces.styles import Asked

Row = dict[str, Any]


class Dog(Record[int], rules=allow.everyone):
    name: str


APP = App(Dog, store="sqlite:///:memory:")


def retelling(options: WheelhouseOptions | None = None, *, key: str | None = None, most: int = 1000) -> Retelling:
    """What tells of dogs in the words of wheelhouse-resource."""
    style = Wheelhouse(resources={} if options is None else {Dog: options}, most=most)
    definition = APP.definitions[Dog]
    asked = Asked(APP.definitions, definition, "GET", (), {}, key)
    return Retelling(style, asked, lambda: Request("list", "dogs", definition=definition))


def event(kind: str, data: Any) -> bytes:
    """One event of our own stream."""
    return f"event: {kind}\nid: 7~abc\ndata: {json.dumps(data)}\n\n".encode()


def added(key: int, name: str) -> bytes:
    return event("added", {"id": key, "name": name})


def changed(key: int, name: str) -> bytes:
    return event("changed", {"key": key, "fields": {"name": name}})


def removed(key: int) -> bytes:
    return event("removed", {"key": key})


READY = event("ready", {"sort": []})
RESET = event("reset", {"reason": "rights"})


def read(told: bytes) -> list[tuple[str, Any]]:
    """The events that were told: kind and data."""
    events = []
    for block in filter(None, told.decode().split("\n\n")):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(lines) == {"event", "data"}
        events.append((lines["event"], json.loads(lines["data"])))
    return events


async def told(given: Retelling, *parts: bytes) -> list[tuple[str, Any]]:
    return read(await given.retell(parts))


async def test_what_comes_right_behind_the_snapshot_is_told_though_it_comes_with_it() -> None:
    stream = retelling()

    got = await told(stream, added(1, "Rex"), READY, changed(1, "Max"), added(2, "Ida"), removed(1))
    assert got == [("remove", {"id": 1}), ("add", {"id": 2, "name": "Ida"})]


async def test_a_stream_that_began_empty_tells_of_the_first_record() -> None:
    stream = retelling()

    assert await told(stream, READY) == []
    assert await told(stream, added(1, "Rex")) == [("add", {"id": 1, "name": "Rex"})]


async def test_after_a_reset_the_difference_is_told_and_nothing_before_it_is_known() -> None:
    stream = retelling()
    await told(stream, added(1, "Rex"), added(2, "Ida"), added(3, "Bo"), READY)

    assert await told(stream, RESET, added(2, "Ida")) == []
    assert await told(stream, added(3, "Ben"), added(4, "Cy"), READY) == [
        ("remove", {"id": 1}),
        ("change", {"id": 3, "name": "Ben"}),
        ("add", {"id": 4, "name": "Cy"}),
    ]


async def test_comments_and_when_to_come_back_go_through_as_they_are() -> None:
    stream = retelling()

    assert await stream.retell([b"retry: 300\n\n"]) == b"retry: 300\n\n"
    assert await stream.retell([b":\n"]) == b":\n"
    assert await stream.retell([b":\n", READY, b":\n"]) == b":\n:\n"
    assert await stream.retell([b"id: 8~abc\n\n"]) == b""


async def test_more_records_than_functions_are_given_end_it() -> None:
    stream = retelling(WheelhouseOptions(permissions=lambda request: ["read"]), most=1)
    await told(stream, added(1, "Rex"), READY)

    with pytest.raises(TooLarge):
        await told(stream, added(2, "Ida"))


STEPS = st.lists(
    st.tuples(st.sampled_from(("set", "remove", "reset")), st.integers(1, 4), st.sampled_from(("good", "bad", "best"))),
    max_size=12,
)


def our_stream(first: dict[int, str], steps: Sequence[tuple[str, int, str]]) -> tuple[bytes, dict[int, str]]:
    """Our own stream of a set that goes through some steps, and how it ends."""
    held = dict(first)
    sent = [added(key, name) for key, name in held.items()] + [READY]
    for step, key, name in steps:
        if step == "reset":
            sent += [RESET, *(added(one, kept) for one, kept in held.items()), READY]
        elif step == "remove" and held.pop(key, None) is not None:
            sent.append(removed(key))
        elif step == "set":
            sent.append((changed if key in held else added)(key, name))
            held[key] = name
    return b"".join(sent), held


def seen(names: dict[int, str], *, only_good: bool) -> dict[int, Row]:
    """What of a set may be read."""
    return {key: {"id": key, "name": name} for key, name in names.items() if name != "bad" or not only_good}


SETS = st.dictionaries(st.integers(1, 4), st.sampled_from(("good", "bad")))
CUTS = st.lists(st.integers(0, 3000))


@given(SETS, STEPS, CUTS, st.booleans())
def test_what_is_told_leads_from_the_first_set_to_the_last(
    first: dict[int, str], steps: list[tuple[str, int, str]], cuts: list[int], only_good: bool
) -> None:
    may = WheelhousePermissions(read=lambda request, rows: [row for row in rows if row["name"] != "bad"])
    stream = retelling(WheelhouseOptions(permissions=may) if only_good else None)
    sent, last = our_stream(first, steps)
    places = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})

    async def follow() -> bytes:
        return b"".join([await stream.retell([sent[a:b]]) for a, b in pairwise(places)])

    shown = seen(first, only_good=only_good)
    for kind, data in read(asyncio.run(follow())):
        if kind == "remove":
            del shown[data["id"]]
        else:
            assert (data["id"] in shown) is (kind == "change")
            shown[data["id"]] = data
    assert shown == seen(last, only_good=only_good)
