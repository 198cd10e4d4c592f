"""A client that takes less than happens is told in one go what it was not told, and then holds what it should."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crudite.live import Connection
from tests.unit.live.test_invariant import Story, Turns, steps, subscribing
from tests.unit.live.world import Client, World, query, task, where, world

TODO = query(where(status="todo"))
COUNT = query(where(status="todo"), counts=True)
FIRST = query(where(status="todo"), sort=["-points"], limit=2)


class Halting(Client):
    """A client that takes nothing while it is halted."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.goes = asyncio.Event()
        self.goes.set()

    async def listen(self) -> None:
        try:
            async for messages in self.connection.messages():
                for message in messages:
                    self.apply(json.loads(message))
                self._heard.set()
                await self.goes.wait()
        except Exception as error:
            self._failure = error
            self._heard.set()


def halting(here: World) -> Halting:
    here.kind = Halting
    client = here.client()
    assert isinstance(client, Halting)
    return client


@asynccontextmanager
async def halted(*queries: Any, **limits: Any) -> AsyncIterator[tuple[World, Halting]]:
    """A client that has subscribed to queries (s0, s1, …) and takes nothing any more, but has room for little."""
    async with world(**{"outbox": 2_000, **limits}) as here:
        here.store.put(task(1, "one", status="todo", points=1), task(2, "two", status="todo", points=2))
        client = halting(here)
        for number, one in enumerate(queries):
            await client.subscribe(f"s{number}", one)
        await client.until(lambda: len(client.subs) == len(queries) and all(s.ready for s in client.subs.values()))
        client.goes.clear()
        client.log.clear()
        here.store.put(task(1, "taken", status="todo", points=1))  # what its reader has taken before it halts
        await client.until(lambda: bool(client.log))
        client.log.clear()
        yield here, client


async def flood(here: World) -> None:
    """More than any of these clients has room for, one frame after the other."""
    for number in range(30):
        here.store.put(task(1, "x" * 100 + str(number), status="todo", points=1))
        await here.settled()


async def go_on(here: World, client: Halting) -> None:
    client.goes.set()
    async with asyncio.timeout(5):
        await here.engine.settled()
    await client.until(lambda: True)


async def test_it_stays_connected_and_gets_the_net_of_what_it_was_not_told_with_one_commit() -> None:
    async with halted(TODO, FIRST) as (here, client):
        await flood(here)
        assert client.connection.ended is None
        assert client.connection.outbox.size <= 2_000
        here.store.remove(2)
        here.store.put(task(3, "three", status="todo", points=3))
        await here.settled()
        await go_on(here, client)
        assert client.kinds()[-3:] == ["frame", "frame", "commit"]
        assert [message.get("sub") for message in client.log[-3:]] == ["s0", "s1", None]
        assert len(client.log) < 30
        for name in ("s0", "s1"):
            assert client.subs[name].records == {
                1: task(1, "x" * 100 + "29", status="todo", points=1), 3: task(3, "three", status="todo", points=3)
            }  # fmt: skip
        assert here.engine.metrics.slow_closes == 0


async def test_frames_come_again_one_by_one_afterwards() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        await go_on(here, client)
        client.log.clear()
        here.store.put(task(1, "after", status="todo"))
        await here.settled()
        await client.until(lambda: bool(client.log))
        assert client.kinds() == ["frame", "commit"]
        assert client.log[0].get("sub") is None
        assert client.subs["s0"].records[1]["title"] == "after"


async def test_a_query_that_is_run_again_gets_its_set_anew() -> None:
    async with halted(COUNT, TODO) as (here, client):
        await flood(here)
        for number in range(10, 20):
            here.store.put(task(number, status="todo"))
            await here.settled()
        await go_on(here, client)
        await client.until(lambda: client.subs["s0"].ready)
        assert client.subs["s0"].value == 12
        assert len(client.subs["s1"].records) == 12
        assert {message["sub"]: message["reason"] for message in client.log if message["kind"] == "reset"} == {
            "s0": "too_many"
        }


async def test_answers_and_acks_come_behind_what_they_speak_of() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        mark = here.store.put(task(1, "mine", status="todo"))
        client.connection.expect(mark, 7)
        await here.settled()
        client.connection.send(b'{"kind":"answer"}')
        await go_on(here, client)
        assert client.kinds()[-4:] == ["frame", "commit", "acks", "answer"]
        assert client.subs["s0"].records[1]["title"] == "mine"


async def test_a_subscription_begins_only_when_everything_has_been_told() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        beginning = asyncio.ensure_future(client.subscribe("late", TODO))
        await here.settled()
        assert not beginning.done()
        await go_on(here, client)
        await asyncio.wait_for(beginning, 5)
        await client.until(lambda: client.subs["late"].ready)
        assert client.subs["late"].records == client.subs["s0"].records


async def test_more_than_is_held_of_the_log_means_the_set_anew() -> None:
    async with halted(TODO, tail=500) as (here, client):
        await flood(here)
        await go_on(here, client)
        await client.until(lambda: client.subs["s0"].ready)
        assert [message["reason"] for message in client.log if message["kind"] == "reset"] == ["gap"]
        assert client.subs["s0"].records[1]["title"] == "x" * 100 + "29"


async def test_what_is_not_yet_told_when_the_server_goes_away_can_be_resumed_from() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        await here.engine.__aexit__(None, None, None)
        client.goes.set()
        await client.until(lambda: "bye" in client.kinds())
        token = here.engine._cursors.open(client.subs["s0"].cursor or "")
        told = here.store.history[int((token or b"").split(b":")[1])]["task"]
        assert client.subs["s0"].records == told != here.store.tables["task"]


async def test_answers_alone_still_close_a_client_that_takes_none() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        for _ in range(30):
            client.connection.send(b'{"kind":"answer"}' + b" " * 100)
        assert client.connection.ended == "slow"


@dataclass(frozen=True)
class Halt:
    """A client takes nothing from here on."""

    number: int


@dataclass(frozen=True)
class Go:
    """It takes what there is, and goes on."""

    number: int


class Halts(Story):
    """A story whose clients have room for little, and halt."""

    def __init__(self, here: World) -> None:
        here.kind = Halting
        super().__init__(here)

    async def take(self, step: Any) -> None:
        match step:
            case Halt(number):
                self._halting(number).goes.clear()
            case Go(number):
                self._halting(number).goes.set()
            case _:
                await super().take(step)

    def is_complete(self, client: Client) -> bool:
        """Whether it has all its sets."""
        return all(held.ready for held in client.subs.values())

    def _halting(self, number: int) -> Halting:
        client = self.clients[number]
        assert isinstance(client, Halting)
        return client


pauses = st.one_of(st.builds(Halt, st.integers(0, 1)), st.builds(Go, st.integers(0, 1)))
stories = st.tuples(
    st.lists(subscribing, min_size=1, max_size=4),
    st.lists(st.one_of(steps, steps, pauses), min_size=10, max_size=50),
)


@given(st.integers(0, 10_000), st.integers(100, 3_000), stories)
def test_whenever_it_halts_each_set_is_a_fresh_query_at_each_of_its_cursors(
    seed: int, room: int, story: tuple[list[Any], list[Any]]
) -> None:
    async def tell() -> None:
        async with world(seed, outbox=room) as here:
            told = Halts(here)
            here.store.put(task(1, "a", status="todo"), task(2, "b", team=1))
            for step in [*story[0], Turns(20), *story[1], Go(0), Go(1)]:
                await told.take(step)
            await asyncio.gather(*told.subscribing, return_exceptions=True)
            here.store.put(task(3, "the last", status="todo", points=1))
            await here.settled()
            for client in told.clients:
                async with asyncio.timeout(5):
                    await client.connection.outbox.drained()
                await client.until(lambda client=client: client.connection.ended or told.is_complete(client))
                if client.connection.ended is not None:
                    continue  # it was too slow for what was said to it alone
                for held in client.subs.values():
                    told.compare(held)

    asyncio.run(tell())
