"""The core promise: after every commit, what a client holds is a fresh query's result at that position.

Random writes, random queries, subscribing and being cut at random moments, on a store in memory whose every
step takes a random number of turns. The oracle runs each query on the tables as they were at the cursor.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crudite.messages import LiveQuery
from crudite.types import PlainRecord
from tests.unit.live.test_matching import filters, records
from tests.unit.live.world import TASK, TEAM, Client, Held, World, query, run, task, where, world

FIELDS = [("id", "title", "points", "version"), ("id", "team"), ("id", "status", "price")]


@dataclass(frozen=True)
class Put:
    """One transaction of records and deletions."""

    records: tuple[PlainRecord, ...]
    removed: tuple[int, ...] = ()


@dataclass(frozen=True)
class OpenTeam:
    team: int
    open: bool


@dataclass(frozen=True)
class Subscribe:
    client: int
    live: LiveQuery


@dataclass(frozen=True)
class Cut:
    client: int


@dataclass(frozen=True)
class Turns:
    count: int


def exact(written: Any, fields: tuple[str, ...]) -> LiveQuery:
    return query(written, fields=fields, sometimes=(("data", where(status="todo")),))


lives: st.SearchStrategy[LiveQuery] = st.one_of(
    st.builds(exact, filters, st.sampled_from(FIELDS)),
    st.builds(exact, filters, st.sampled_from(FIELDS)),
    st.builds(lambda keys: query(keys=tuple(keys)), st.sets(st.integers(1, 4), min_size=1)),
    st.builds(lambda written, limit: query(written, sort=["-points"], limit=limit), filters, st.integers(1, 3)),
    st.builds(lambda written: query(written, counts=True), filters),
    st.builds(lambda written: query(written & where(team__open=True)), filters),
    st.just(query(where(team__tasks__status="done"), fields=("id",))),
    st.just(query(~where(team__tasks__status="done"), fields=("id", "team"))),
    st.just(query(where(team__isnull=True) | where(team__name="2"), fields=("id", "team"))),
    st.just(query(~where(team__open=True) & where(status="todo"), fields=("id", "points"))),
    st.just(query(fields=("id", "status"), sometimes=(("title", where(team__open=True)),))),
    st.just(query(where(team__tasks__team__open=True), fields=("id",), sort=["-points"], limit=2)),
    st.builds(
        lambda limit: query(
            where(team__open=True),
            fields=("id", "points"),
            sometimes=(("title", where(team__name="1")),),
            sort=["-points"],
            limit=limit,
        ),
        st.integers(1, 3),
    ),
    st.builds(
        lambda start, until: query(fields=("id", "points"), sort=["-points"], start=start, until=until),
        st.sampled_from([None, (2, 3), (None, 2)]),
        st.sampled_from([None, (1, 1), (None, 3)]),
    ),
    st.builds(
        lambda start, limit: query(
            where(team__open=True), fields=("id", "points"), sort=["points"], start=start, until=(2, 4), limit=limit
        ),
        st.sampled_from([None, (None, 1), (1, 2)]),
        st.integers(1, 2),
    ),
    st.builds(
        lambda team, rule, limit: query(
            where(team=team) & rule, fields=("id", "team", "points"), sort=["-points"], limit=limit
        ),
        st.integers(1, 2),
        st.sampled_from(
            [
                where(team__open=True),
                where(team__name="1"),
                ~where(team__open=True),
                where(team__open=True) | where(team__tasks__status="done"),
            ]
        ),
        st.sampled_from([None, None, 2]),
    ),
    st.just(query(where(tasks__status="done"), fields=("id", "open"), schema=TEAM)),
    st.just(query(where(tasks__points__gt=1), fields=("id",), sometimes=(("name", where(open=True)),), schema=TEAM)),
    st.just(query(fields=("id",), sort=["team.name", "points"])),
)
puts = st.builds(
    Put,
    st.lists(records, min_size=1, max_size=3, unique_by=lambda record: record["id"]).map(tuple),
    st.lists(st.integers(1, 4), max_size=2).map(tuple),
)
subscribing = st.builds(Subscribe, st.integers(0, 1), lives)
turns = st.builds(Turns, st.integers(0, 40))
steps = st.one_of(
    puts,
    puts,
    puts,
    st.builds(OpenTeam, st.integers(1, 2), st.booleans()),
    subscribing,
    st.builds(Cut, st.integers(0, 1)),
    turns,
    turns,
)
stories = st.tuples(st.lists(subscribing, min_size=1, max_size=3), st.lists(steps, min_size=8, max_size=30))


class Story:
    """Two clients that live through the steps, with an oracle looking over their shoulders."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.asked: dict[str, LiveQuery] = {}
        self.clients = [self.watched(here.client()), self.watched(here.client())]
        self.subscribing: list[asyncio.Task[Any]] = []

    def watched(self, client: Client) -> Client:
        client.at_commit = self.compare
        return client

    def compare(self, held: Held) -> None:
        [live] = [self.asked[name] for client in self.clients for name, one in client.subs.items() if one is held]
        token = self.here.engine._cursors.open(held.cursor or "")
        assert token is not None
        page = run(live.plan, self.here.store.history[int(token.split(b":")[1])])
        if live.counts:
            assert held.value == len(page.keys)
            return
        expected = [json.loads(text) for text in page.records]
        assert sorted(held.records.values(), key=lambda r: r["id"]) == sorted(expected, key=lambda r: r["id"])
        if held.order is not None:
            assert held.order == list(page.keys)

    async def take(self, step: Any) -> None:
        store = self.here.store
        match step:
            case Put(put, removed):
                gone = [key for key in removed if key in store.tables["task"]]
                store.commit(*((TASK, r["id"], r) for r in put), *((TASK, key, None) for key in dict.fromkeys(gone)))
            case OpenTeam(team, is_open):
                record = {"id": team, "name": f"{3 - team}", "open": is_open, "version": 1}
                store.commit((TEAM, team, record))
            case Subscribe(number, live):
                name = f"s{len(self.asked)}"
                self.asked[name] = live
                client = self.clients[number]
                self.subscribing.append(asyncio.ensure_future(client.subscribe(name, live)))
            case Cut(number):
                await self.cut(number)
            case Turns(count):
                for _ in range(count):
                    await asyncio.sleep(0)

    async def cut(self, number: int) -> None:
        """The client loses its connection wherever it stands, and comes back with what it holds."""
        old = self.clients[number]
        old.connection.close()
        await asyncio.sleep(0)
        new = self.clients[number] = self.watched(self.here.client())
        for name in list(old.subs):
            held = old.subs[name]
            resume = {"cursor": held.cursor, "key": held.key} if held.ready else {}
            if held.ready:
                new.subs[name] = Held(held.group, held.key, held.records, held.value, held.order)
            self.subscribing.append(asyncio.ensure_future(new.subscribe(name, self.asked[name], **resume)))


@given(st.integers(0, 10_000), stories)
def test_every_subscription_equals_a_fresh_query_at_each_of_its_cursors(
    seed: int, story: tuple[list[Any], list[Any]]
) -> None:
    async def tell() -> None:
        async with world(seed) as here:
            told = Story(here)
            here.store.put(task(1, "a", status="todo"), task(2, "b", team=1))
            for step in [*story[0], Turns(20), *story[1]]:
                await told.take(step)
            await asyncio.gather(*told.subscribing, return_exceptions=True)
            for client in told.clients:
                await client.until(lambda client=client: all(held.ready for held in client.subs.values()))
            await here.settled()
            here.store.put(task(3, "the last", status="todo", points=1))
            await here.settled()
            for client in told.clients:
                await asyncio.sleep(0)
                await client.until(lambda: True)
                for held in client.subs.values():
                    told.compare(held)

    asyncio.run(tell())
