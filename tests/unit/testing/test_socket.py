"""The WebSocket connection in memory, against a server that says whatever the description of the wire allows."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from crudite.testing import View
from crudite.testing.asgi import make_scope
from crudite.testing.socket import Socket
from crudite.testing.views import Refusal

PATIENCE = 5.0


class Server:
    """An application that says what a test has it say."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": "crudite.v1"})
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell(send))
            while (message := await receive())["type"] == "websocket.receive":
                self.calls.put_nowait(json.loads(message["text"]))
            telling.cancel()

    async def _tell(self, send: Any) -> None:
        while True:
            await send({"type": "websocket.send", "text": json.dumps(await self._told.get())})
            self._told.task_done()

    async def told(self, socket: Socket, *messages: Any) -> None:
        """Says something, and returns when it has been heard."""
        for message in messages:
            self._told.put_nowait(message)
        async with asyncio.timeout(PATIENCE):
            await self._told.join()
            await socket.exchange.consumed()

    async def subscribe(
        self, socket: Socket, name: str, group: str = "g", lane: str = "exact", resume: View | None = None
    ) -> View:
        """Answers a subscription, never as resumed, and says no more of it."""
        view = View(PATIENCE, resume)
        asking = asyncio.create_task(socket.subscribe(name, {"resource": "todos"}, view))
        async with asyncio.timeout(PATIENCE):
            call = await self.calls.get()
        given = {"sub": name, "group": group, "key": "k", "lane": lane, "resumed": False, "sort": BY_ID}
        await self.told(socket, {"jsonrpc": "2.0", "id": call["id"], "result": given})
        await asking
        return view


BY_ID = [{"field": "id", "descending": False, "type": "integer"}]


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Server, Socket]]:
    server = Server()
    async with Socket.opened(server, make_scope("websocket", "GET", "/ws", None, {}, ""), PATIENCE) as socket:
        yield server, socket


def tell(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def record(key: int, title: str) -> dict[str, Any]:
    return {"id": key, "title": title}


def snapshot(name: str, *records: dict[str, Any]) -> dict[str, Any]:
    return tell("snapshot", sub=name, records=list(records))


def frame(group: str, key: int, title: str) -> dict[str, Any]:
    """One that changes a record."""
    return tell("frame", group=group, changed=[{"key": key, "fields": {"title": title}}])


async def test_frames_between_a_reset_and_ready_are_not_meant_for_the_subscription() -> None:
    async with connected() as (server, socket):
        reset, other = await server.subscribe(socket, "reset"), await server.subscribe(socket, "other")
        for name in ("reset", "other"):
            await server.told(
                socket, snapshot(name, record(1, "a"), record(2, "b")), tell("ready", sub=name, cursor="1")
            )
        await server.told(socket, frame("g", 1, "voided"), tell("reset", sub="reset", reason="gap"))
        assert (reset.records, reset.cursor) == ([], None)

        await server.told(socket, frame("g", 2, "early"), tell("commit", cursor="2"))
        assert other.records == [record(1, "voided"), record(2, "early")]
        await server.told(socket, snapshot("reset", record(1, "new")), tell("frame", group="g", removed=[1], order=[]))
        assert (reset.records, reset.cursor) == ([record(1, "new")], None)  # no commit before `ready` is its own

        await server.told(socket, tell("ready", sub="reset", cursor="3"), tell("commit", cursor="4"))
        assert (reset.records, reset.cursor) == ([record(1, "new")], "4")
        assert [kind for kind, _ in reset.events] == ["added", "added", "ready", "reset", "added", "ready"]


async def test_a_name_that_is_taken_again_begins_anew() -> None:
    async with connected() as (server, socket):
        old, other = await server.subscribe(socket, "s"), await server.subscribe(socket, "other")
        for name in ("s", "other"):
            await server.told(socket, snapshot(name, record(1, "a")), tell("ready", sub=name, cursor="1"))
        await server.told(socket, frame("g", 1, "b"))
        new = await server.subscribe(socket, "s")
        await server.told(socket, tell("commit", cursor="2"), frame("g", 1, "c"))
        await server.told(socket, snapshot("s", record(1, "d")), tell("commit", cursor="3"))
        assert (new.records, new.cursor) == ([record(1, "d")], None)
        await server.told(socket, tell("ready", sub="s", cursor="4"))
        assert (new.records, new.cursor) == ([record(1, "d")], "4")
        assert (old.records, other.records) == ([record(1, "a")], [record(1, "c")])


async def test_what_a_subscription_missed_is_for_it_alone_and_comes_before_it_is_ready() -> None:
    async with connected() as (server, socket):
        other = await server.subscribe(socket, "other")
        resumed = await server.subscribe(socket, "s")
        await server.told(socket, snapshot("other"), tell("ready", sub="other", cursor="1"))
        missed = tell("frame", sub="s", added=[record(7, "missed")])
        await server.told(socket, [missed, tell("commit", cursor="2"), tell("ready", sub="s", cursor="2")])
        assert (resumed.records, resumed.cursor, other.records) == ([record(7, "missed")], "2", [])


async def test_what_was_held_is_void_from_the_answer_on_that_it_cannot_be_resumed() -> None:
    async with connected() as (server, socket):
        left = await server.subscribe(socket, "s")
        await server.told(socket, snapshot("s", record(1, "a")), tell("ready", sub="s", cursor="1"))
        view = await server.subscribe(socket, "s", resume=left)
        assert (view.records, view.cursor, view.resumed) == ([], None, False)
        assert (left.records, left.cursor) == ([record(1, "a")], "1")


async def test_a_view_that_has_no_cursor_hands_nothing_on() -> None:
    async with connected() as (server, socket):
        left = await server.subscribe(socket, "s")
        await server.told(socket, snapshot("s", record(1, "a")), tell("ready", sub="s", cursor="1"))
        await server.told(socket, tell("rights", sub="s", group="h", key="other", sort=BY_ID))
        view = View(PATIENCE, left)
        assert (view.records, view.cursor, view.resumed) == ([], None, False)


async def test_an_answer_that_comes_too_late_for_its_call_harms_nobody() -> None:
    async with connected() as (server, socket):
        asking = asyncio.create_task(socket.call("slow"))
        call = await server.calls.get()
        asking.cancel()
        await asyncio.wait([asking])
        await server.told(socket, {"jsonrpc": "2.0", "id": call["id"], "result": {}})
        view = await server.subscribe(socket, "s")
        await server.told(socket, snapshot("s", record(1, "a")), tell("ready", sub="s", cursor="1"))
        assert view.records == [record(1, "a")]


async def test_a_subscription_that_has_ended_hears_nothing_more_and_says_why() -> None:
    async with connected() as (server, socket):
        view = await server.subscribe(socket, "s")
        await server.told(socket, snapshot("s", record(1, "a")), tell("ready", sub="s", cursor="1"))
        problem = {"status": 403, "code": "forbidden", "title": "Forbidden"}
        await server.told(
            socket, frame("g", 1, "b"), tell("problem", sub="s", problem=problem), tell("commit", cursor="2")
        )
        assert (view.records, view.cursor) == ([record(1, "a")], "1")
        with pytest.raises(Refusal, match="403 forbidden"):
            await view.until(lambda rows: not rows)
