"""A WebSocket that its server is about to close: the calls that have been begun are answered before the close."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import websockets

from crudite import App, Limits, Query, Record, Request, allow
from crudite.testing import Client
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

PATIENCE = 30.0
BOTH = ["ours", "plain"]


class Todo(Record[int], rules=allow.everyone):
    title: str = ""


@dataclass
class Doorman:
    """Lets handlers in, and out again when he is told to."""

    inside: int = 0
    written: list[Todo] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_through(self) -> None:
        self.inside += 1
        self.came.set()
        await self.opened.wait()

    async def until(self, inside: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.inside < inside:
                self.came.clear()
                await self.came.wait()


def application() -> tuple[App, Doorman]:
    """An application whose handlers wait at the doorman's."""
    app, doorman = App(Todo, store=fresh_store(), limits=Limits(message=1_000)), Doorman()

    @app.read("slow")
    async def slow(request: Request, text: str = "") -> str:
        await doorman.pass_through()
        return "done"

    @app.read("slow-todos")
    async def slow_todos(request: Request) -> Query[Todo]:
        await doorman.pass_through()
        return Todo.where()

    @app.create("slow-todo")
    async def slow_todo(request: Request) -> int:
        await doorman.pass_through()
        doorman.written.append(await app.records.create(Todo, title="written"))
        return doorman.written[-1].id

    return app, doorman


@asynccontextmanager
async def served(kind: Kind) -> AsyncIterator[tuple[App, Doorman, Any]]:
    """That application on a server, and a connection to it."""
    app, doorman = application()
    async with app, running(app, kind) as port, websockets.connect(f"ws://127.0.0.1:{port}/ws") as connection:
        await connection.send('{"jsonrpc":"2.0","id":"hello","method":"ping"}')
        assert json.loads(await connection.recv()) == {"jsonrpc": "2.0", "id": "hello", "result": {}}
        try:
            yield app, doorman, connection
        finally:
            doorman.opened.set()


def call(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


async def heard(connection: Any) -> list[Any]:
    """All messages up to the close, and its code."""
    async with asyncio.timeout(PATIENCE):
        messages = [json.loads(message) async for message in connection]
    return [*messages, connection.close_code]


@pytest.mark.parametrize("kind", BOTH)
async def test_a_call_under_way_is_answered_between_the_goodbye_and_the_close(kind: Kind) -> None:
    async with served(kind) as (app, doorman, connection):
        await connection.send(json.dumps(call(1, "slow")))
        await connection.send(json.dumps(call(2, "slow-todo")))
        await doorman.until(2)
        await app.say_goodbye()
        bye = json.loads(await asyncio.wait_for(connection.recv(), PATIENCE))
        assert bye["method"] == "bye"
        doorman.opened.set()
        *answers, code = await heard(connection)
        assert sorted((answer["id"], answer["result"]["data"]) for answer in answers) == [(1, "done"), (2, 1)]
        assert code == 1001
        assert [record.title for record in await app.records.list(Todo)] == ["written"]


@pytest.mark.parametrize("kind", BOTH)
async def test_a_batch_under_way_is_answered_whole(kind: Kind) -> None:
    async with served(kind) as (app, doorman, connection):
        calls = [call(1, "todos.create", data={"title": "a"}), call(2, "slow"), call(3, "ping")]
        await connection.send(json.dumps(calls))
        await doorman.until(1)
        await app.say_goodbye()
        doorman.opened.set()
        bye, answers, code = await heard(connection)
        assert (bye["method"], [answer["id"] for answer in answers], code) == ("bye", [1, 2, 3], 1001)
        assert answers[1]["result"] == {"data": "done"}


@pytest.mark.parametrize("kind", BOTH)
async def test_whoever_was_only_just_subscribing_is_told_that_nothing_is_live_any_more(kind: Kind) -> None:
    async with served(kind) as (app, doorman, connection):
        await connection.send(json.dumps(call(1, "subscribe", sub="s", read="slow-todos")))
        await doorman.until(1)
        await app.say_goodbye()
        doorman.opened.set()
        bye, answer, code = await heard(connection)
        assert (bye["method"], answer["id"], code) == ("bye", 1, 1001)
        assert answer["error"]["code"] == 503


@pytest.mark.parametrize("kind", BOTH)
async def test_who_waits_for_nothing_is_closed_at_once_and_what_comes_later_is_not_begun(kind: Kind) -> None:
    async with served(kind) as (app, doorman, idle):
        async with websockets.connect(f"ws://{idle.request.headers['host']}/ws") as busy:
            await busy.send(json.dumps(call(1, "slow")))
            await doorman.until(1)
            await app.say_goodbye()
            assert [message["method"] for message in (await heard(idle))[:-1]] == ["bye"]
            await busy.send(json.dumps(call(2, "slow-todo")))
            await (await busy.ping())
            doorman.opened.set()
            bye, answer, code = await heard(busy)
            assert (bye["method"], answer["id"], code) == ("bye", 1, 1001)
        assert await app.records.list(Todo) == []


async def test_a_message_that_is_too_large_ends_the_connection_behind_the_answers_to_those_before_it() -> None:
    app, doorman = application()
    async with Client(app) as client, client.websocket() as socket:
        answer = asyncio.create_task(socket.call("slow"))
        await doorman.until(1)
        socket.send(call(2, "slow", text="x" * 1_000))
        socket.send(call(3, "slow-todo"))
        doorman.opened.set()
        assert await answer == {"data": "done"}
        assert await socket.closed() == 1009
        assert await app.records.list(Todo) == []


@pytest.mark.parametrize("kind", BOTH)
async def test_a_client_that_leaves_before_its_answer_comes_leaves_nothing_behind(kind: Kind) -> None:
    async with served(kind) as (app, doorman, connection):
        await connection.send(json.dumps(call(1, "slow-todo")))
        await doorman.until(1)
        await app.say_goodbye()
        await connection.close()
        doorman.opened.set()
    assert [record.title for record in doorman.written] == ["written"]
    assert len(app.engine.connections) == 0
