"""Clients that change from one process to another at any time: one truth everywhere, and nobody sees a gap."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fleet import Fleet, fleet
from tests.faults.tabs import SocketTab, StreamTab, Tab
from tests.services.stores import kept_store

PROGRAM = """
from crudite import App, Limits, Record, Request, allow

class Todo(Record[int], rules=allow.everyone, max_limit=100_000):
    room: int
    n: int = 0

app = App(Todo, bus="unix:///{bus}", limits=Limits(arrivals=100_000))

@app.create("both")
async def both(request: Request, one: int, n: int, other: int, m: int) -> None:
    async with request.records.batch() as batch:
        batch.update(Todo, one, n=n)
        batch.update(Todo, other, n=m)
"""
RECORDS = 4
CLIENTS: tuple[type[Tab], ...] = (SocketTab, StreamTab, SocketTab)

places = st.integers(0, 1)
records = st.integers(0, RECORDS - 1)
Step: TypeAlias = (
    tuple[Literal["write"], int, int] | tuple[Literal["both"], int, int, int] | tuple[Literal["hop"], int, int]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), places, records),
        st.tuples(st.just("both"), places, records, records).filter(lambda step: step[2] != step[3]),
        st.tuples(st.just("hop"), st.integers(0, len(CLIENTS) - 1), places),
    ),
    min_size=5,
    max_size=40,
)
rooms = itertools.count()

FAULTS = {
    "whoever comes back has missed nothing": """
from crudite.live.tail import Tail

Tail.since = lambda self, token: []
""",
    "each process has cursors of its own": """
import os
from crudite.live.cursors import Cursors

make = Cursors.__init__
Cursors.__init__ = lambda self, secret: make(self, secret + os.urandom(8))
""",
}
NOTICED = {
    "whoever comes back has missed nothing": "is neither before nor after",
    "each process has cursors of its own": "had to begin anew",
}


@pytest.fixture
async def servers(tmp_path: Path, kind_of_store: str) -> AsyncIterator[Fleet]:
    """Two servers of one application."""
    async with fleet(tmp_path, kept_store(), servers=2, program=PROGRAM.format(bus=tmp_path / "bus")) as two:
        yield two


@dataclass
class Room:
    """Some records, and the clients that watch them. `seen` are the sets that anybody has shown: the numbers of the
    records, of each client in the order in which it showed them."""

    ports: list[int]
    number: int = field(default_factory=lambda: next(rooms))
    told: list[int] = field(default_factory=lambda: [0] * RECORDS)
    locks: list[asyncio.Lock] = field(default_factory=lambda: [asyncio.Lock() for _ in range(RECORDS)])
    seen: list[list[tuple[int, ...]]] = field(default_factory=lambda: [[] for _ in CLIENTS])
    stays: list[asyncio.Task[None]] = field(default_factory=list)

    def key(self, record: int) -> int:
        """The key of one of its records."""
        return self.number * RECORDS + record + 1

    def watch(self, client: int) -> Tab:
        """A client that notes what it shows."""

        def note(tab: Tab) -> None:
            shown = tuple(tab.rows[self.key(record)]["n"] for record in range(RECORDS))
            self.seen[client].append(shown)

        tab = CLIENTS[client](query={"room": self.number})
        tab.on_whole = note
        return tab

    async def open(self, http: httpx2.AsyncClient) -> None:
        """Its records are there, and all numbers are 0."""
        created = [{"id": self.key(record), "room": self.number} for record in range(RECORDS)]
        answer = await http.post(f"http://127.0.0.1:{self.ports[0]}/todos", json=created)
        assert answer.status_code == 201, answer.text

    async def write(self, http: httpx2.AsyncClient, server: int, *which: int) -> None:
        """The numbers of one record, or of two in one transaction, grow by one, of each by one writer at a time."""
        for record in sorted(which):
            await self.locks[record].acquire()
        try:
            numbers = [self.told[record] + 1 for record in which]
            url, keys = f"http://127.0.0.1:{self.ports[server]}", [self.key(record) for record in which]
            if len(which) == 1:
                answer = await http.patch(f"{url}/todos/{keys[0]}", json={"n": numbers[0]})
            else:
                body = {"one": keys[0], "n": numbers[0], "other": keys[1], "m": numbers[1]}
                answer = await http.post(f"{url}/both", json=body)
            assert answer.is_success, answer.text
            for record, number in zip(which, numbers, strict=True):
                self.told[record] = number
        finally:
            for record in which:
                self.locks[record].release()


async def live(room: Room, http: httpx2.AsyncClient, story: list[Step]) -> list[Tab]:
    """Tells a story in a room: writes run beside each other, and clients hop meanwhile. The clients in the end."""
    await room.open(http)
    tabs = [room.watch(client) for client in range(len(CLIENTS))]
    async with asyncio.TaskGroup() as tasks:
        stays = [tasks.create_task(tab.stay(room.ports[n % 2])) for n, tab in enumerate(tabs)]
        for tab in tabs:
            await tab.until(lambda tab=tab: tab.is_ready)  # type: ignore[misc]
        writing = []
        for step in story:
            if step[0] == "hop":
                _, client, server = step
                stays[client].cancel()
                await asyncio.wait([stays[client]])
                stays[client] = tasks.create_task(tabs[client].stay(room.ports[server]))
            else:
                writing.append(tasks.create_task(room.write(http, *step[1:])))
                await asyncio.sleep(0)
        await asyncio.gather(*writing)
        for tab in tabs:
            await tab.until(
                lambda tab=tab: tab.is_ready and [row["n"] for _, row in sorted(tab.rows.items())] == room.told  # type: ignore[misc]
            )
        for stay in stays:
            stay.cancel()
    return tabs


@given(story=steps)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_all_processes_tell_the_same_in_the_same_order_and_whoever_hops_between_them_sees_no_gap(
    servers: Fleet, story: list[Any]
) -> None:
    room = Room(servers.ports)
    async with httpx2.AsyncClient(timeout=60) as http:
        tabs = await live(room, http, story)
    check(room, tabs)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.only_on("sqlite", reason="the fault is one of the live engine")
async def test_a_gap_would_be_noticed(tmp_path: Path, fault: str) -> None:
    program = PROGRAM.format(bus=tmp_path / "bus") + FAULTS[fault]
    async with fleet(tmp_path, kept_store(), servers=2, program=program) as two:
        room = Room(two.ports)
        async with httpx2.AsyncClient(timeout=60) as http:
            tabs = await be_away(room, http)

    with pytest.raises(AssertionError, match=NOTICED[fault]):
        check(room, tabs)


async def be_away(room: Room, http: httpx2.AsyncClient) -> list[Tab]:
    """Somebody is away while one record is written, and sees at the other server what happens to the next."""
    await room.open(http)
    left, other = room.watch(0), room.watch(1)
    first, second = room.key(0), room.key(1)
    async with asyncio.TaskGroup() as tasks:
        stays = [tasks.create_task(left.stay(room.ports[0])), tasks.create_task(other.stay(room.ports[1]))]
        await left.until(lambda: left.is_ready)
        await other.until(lambda: other.is_ready)
        stays[0].cancel()
        await asyncio.wait([stays[0]])
        await room.write(http, 0, 0)
        await other.until(lambda: other.rows[first]["n"] == 1)
        stays[0] = tasks.create_task(left.stay(room.ports[1]))
        await left.until(lambda: left.is_ready)
        await room.write(http, 1, 1)
        await left.until(lambda: left.rows[second]["n"] == 1)
        for stay in stays:
            stay.cancel()
    return [left, other]


def check(room: Room, tabs: Sequence[Tab]) -> None:
    """Nobody was told to begin anew, and all that was shown is one history."""
    assert [tab.resets for tab in tabs] == [0] * len(tabs), "somebody had to begin anew"
    # of any two sets that anybody was shown, one is the other one later: all saw the same commits in the same order
    shown = sorted(set(itertools.chain(*room.seen)), key=sum)
    for earlier, later in itertools.pairwise(shown):
        follows = all(a <= b for a, b in zip(earlier, later, strict=True))
        assert follows, f"{earlier} is neither before nor after {later}"
    for sets in room.seen:
        assert sets == sorted(sets, key=sum)
