"""The barrier of the client in memory: it waits for those who still hear something, and for nobody else."""

import asyncio
from typing import Literal

import pytest

from crudite import App, LiveLimits, Record, allow
from crudite.interfaces.base import Limits
from crudite.stores import open_store
from crudite.testing import Client, Faulty, View
from crudite.testing.faults import Call
from crudite.testing.views import Refusal

MEMORY = "sqlite:///:memory:"
SMALL = Limits(live=LiveLimits(events=1))
OVER = pytest.mark.parametrize("over", ["sse", "websocket"])


class Todo(Record[int], rules=allow.everyone):
    title: str


class Other(Record[int], rules=allow.everyone):
    title: str = ""


def reads_todos(call: Call) -> bool:
    return any(plan.selection.schema.name == "Todo" for plan in call.arguments[0])


async def go_on(client: Client, others: View) -> None:
    """The engine goes on, past everything so far, and tells others."""
    for _ in range(2):
        known = len(others.records)
        await client.app.records.create(Other)
        await others.until(lambda rows, known=known: len(rows) > known)  # type: ignore[misc]


async def create_two(app: App) -> None:
    async with app.records.batch() as batch:
        batch.create(Todo, title="a")
        batch.create(Todo, title="b")


@OVER
async def test_it_does_not_wait_for_a_view_that_the_server_has_ended(over: Literal["sse", "websocket"]) -> None:
    app = App(Todo, store=MEMORY, auth=lambda credentials: None)
    async with Client(app, timeout=5) as client, client.live("todos", over=over) as view:
        await view.ready()
        await app.say_goodbye()
        with pytest.raises((ConnectionResetError, Refusal)):
            await view.until(lambda rows: bool(rows))
        async with asyncio.timeout(5):
            for exchange in client._followed:
                await exchange.consumed()


@OVER
async def test_it_waits_for_the_set_that_follows_a_reset(over: Literal["sse", "websocket"]) -> None:
    store = Faulty(open_store(MEMORY))
    async with (
        Client(App(Todo, Other, store=store, limits=SMALL)) as client,
        client.live("others") as others,
        client.live("todos", over=over) as view,
    ):
        await others.ready()
        await view.ready()
        with store.gate("after read", reads_todos) as gate:
            await create_two(client.app)
            settling = asyncio.create_task(client.settled())
            await gate.reached()
            await go_on(client, others)
            assert not settling.done()
        await settling
        assert [row["title"] for row in view.records] == ["a", "b"]
        assert [kind for kind, _ in view.events] == ["ready", "reset", "added", "added", "ready"]


async def test_it_waits_for_a_set_that_is_being_read_but_not_for_one_that_is_asked_for_later() -> None:
    store = Faulty(open_store(MEMORY))
    async with (
        Client(App(Todo, Other, store=store)) as client,
        client.live("others") as others,
        client.websocket() as socket,
    ):
        await others.ready()
        await client.app.records.create(Todo, title="a")
        view = View(client.timeout)
        with store.gate("after read", reads_todos) as gate:
            early = asyncio.create_task(client.settled())
            await go_on(client, others)
            await socket.subscribe("s", {"resource": "todos"}, view)
            await early
            settling = asyncio.create_task(client.settled())
            await gate.reached()
            await go_on(client, others)
            assert not settling.done()
        await settling
        await socket.exchange.consumed()
        assert [row["title"] for row in view.records] == ["a"]
