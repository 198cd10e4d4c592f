"""While a client is behind, nothing is told to it or made for it, whatever happens; it hears of that afterwards."""

import asyncio
import json
from typing import Any

from crudite.changes import Reset
from crudite.errors import StoreError
from crudite.live.parcels import Parcel
from tests.unit.live.test_catching_up import COUNT, FIRST, TODO, flood, go_on, halted
from tests.unit.live.world import Client, World, announced, query, task, where

DONE = query(where(status="done"))


def waiting(client: Client) -> list[str]:
    """The kinds of the messages that wait for it, in front of the gap and behind it."""
    outbox = client.connection.outbox
    assert outbox.is_behind
    parcels = [part for part in (*outbox._parts, *(outbox._later or ())) if isinstance(part, Parcel)]
    assert len(parcels) == len(outbox._parts) + len(outbox._later or ()), "a set waits"
    return [json.loads(message)["kind"] for parcel in parcels for message in parcel.messages]


def reasons(client: Client) -> dict[str, str]:
    return {message["sub"]: message["reason"] for message in client.log if message["kind"] == "reset"}


async def look(here: World, client: Client) -> tuple[list[str], int, int, int]:
    """All that could have been told to the client, or made for it."""
    await here.settled()
    metrics = here.engine.metrics
    return waiting(client), metrics.frames, metrics.deliveries, client.connection.outbox.size


async def test_no_frame_no_set_and_no_cursor_is_put_in_for_it() -> None:
    async with halted(TODO, FIRST, COUNT) as (here, client):
        await flood(here)
        before = await look(here, client)
        for number in range(10, 20):
            here.store.put(task(number, "more", status="todo", points=number))
            assert await look(here, client) == before
        here.store.remove(11, 12)
        assert await look(here, client) == before
        here.engine.sweep(asyncio.get_running_loop().time() + 10_000)  # when everybody is to have a fresh cursor
        kinds, *others = await look(here, client)
        assert (kinds, others[:2]) == ([*before[0], "ping"], list(before[1:3]))
        await go_on(here, client)
        await client.until(lambda: client.subs["s2"].ready)
        assert len(client.subs["s0"].records) == client.subs["s2"].value == 10
        assert list(client.subs["s1"].records) == [19, 18]


async def test_others_of_its_groups_get_every_frame_meanwhile() -> None:
    async with halted(TODO) as (here, client):
        quick = Client(here.engine.connect(client.connection.format))
        listening = asyncio.create_task(quick.listen())
        await quick.subscribe("s0", TODO)
        await quick.until(lambda: quick.subs["s0"].ready)
        await flood(here)
        before = await look(here, client)
        quick.log.clear()
        for number in range(10):
            here.store.put(task(1, f"{number}", status="todo"))
            await here.settled()
        await quick.until(lambda: quick.kinds().count("commit") == 10)
        assert [m["changed"][0][1]["title"] for m in quick.log if m["kind"] == "frame"] == [str(n) for n in range(10)]
        assert waiting(client) == before[0]
        listening.cancel()


async def test_a_log_that_is_lost_meanwhile_means_the_set_anew_and_once() -> None:
    async with halted(TODO, FIRST) as (here, client):
        await flood(here)
        before = await look(here, client)
        here.store.tables["task"][7] = task(7, "in no log", status="todo", points=7)
        here.store.pending_reset = Reset("schema")
        here.store.wake()
        await here.settled()
        assert (await look(here, client))[0] == before[0]
        await go_on(here, client)
        await client.until(lambda: all(held.ready for held in client.subs.values()))
        assert client.kinds().count("reset") == 2
        assert sorted(client.subs["s0"].records) == [1, 2, 7]
        assert list(client.subs["s1"].records) == [7, 2]


async def test_too_much_at_once_meanwhile_is_told_once() -> None:
    async with halted(TODO, DONE, events=5) as (here, client):
        await flood(here)
        before = await look(here, client)
        here.store.put(*(task(number, "many", status="todo") for number in range(20, 40)))
        assert (await look(here, client))[0] == before[0]
        await go_on(here, client)
        await client.until(lambda: client.subs["s0"].ready)
        assert reasons(client) == {"s0": "too_many"}
        assert len(client.subs["s0"].records) == 22
        assert client.subs["s1"].records == {}


async def test_a_query_that_ends_meanwhile_says_so_behind_what_was_told_of_the_others() -> None:
    async with halted(TODO, query(sort=["team.name"], limit=7)) as (here, client):
        await flood(here)
        here.store.failure = StoreError("this one takes too long")
        here.store.fetch_fails = lambda plans: any(plan.limit == 7 for plan in plans)
        here.store.put(task(3, "c", status="todo"))
        assert (await look(here, client))[0][-1:] == ["problem"]
        await go_on(here, client)
        await client.until(lambda: "problem" in client.kinds())
        assert client.kinds()[-3:] == ["frame", "commit", "problem"]
        assert sorted(client.subs["s0"].records) == [1, 2, 3]


async def test_what_it_gives_up_meanwhile_is_not_told() -> None:
    async with halted(TODO, FIRST) as (here, client):
        await flood(here)
        client.connection.unsubscribe("s1")
        before = await look(here, client)
        here.store.put(task(3, "c", status="todo", points=3))
        assert await look(here, client) == before
        await go_on(here, client)
        assert [message.get("sub") for message in client.log[-2:]] == ["s0", None]
        assert sorted(client.subs["s0"].records) == [1, 2, 3]
        assert 3 not in client.subs["s1"].records


async def test_other_rights_take_effect_only_when_everything_has_been_told() -> None:
    async with halted(TODO) as (here, client):
        await flood(here)
        before = await look(here, client)
        moving: asyncio.Future[Any] = asyncio.ensure_future(
            client.connection.move("s0", DONE, announce=lambda subscribed: announced(subscribed))
        )
        here.store.put(task(5, "done", status="done"))
        assert await look(here, client) == before
        assert not moving.done()
        await go_on(here, client)
        await asyncio.wait_for(moving, 5)
        await client.until(lambda: sorted(client.subs["s0"].records) == [5])
        kinds = client.kinds()
        assert kinds.index("subscribed") > kinds.index("commit")


async def test_who_takes_no_set_is_not_given_one_after_the_other() -> None:
    async with halted(TODO, events=5) as (here, client):
        for _ in range(6):
            for status in ("todo", "done"):
                here.store.put(*(task(number, "many", status=status) for number in range(20, 40)))
                await here.settled()
        assert client.connection.ended == "slow"
        assert len(here.engine.connections) == 0
