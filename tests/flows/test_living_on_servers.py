"""Credentials that end, on our own runner and on a plain server: the last word arrives, then the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import websockets

from crudite import Actor, App, Credentials, Record, Unauthorized, allow
from crudite.testing import Clock
from tests.services.http import client_at
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store


class Todo(Record[int], rules=allow.signed_in):
    title: str


@asynccontextmanager
async def served(kind: Kind) -> AsyncIterator[tuple[App, Clock, set[str], int]]:
    """A served application, its clock, the tokens that are good, and its port."""
    clock, good = Clock(), {"t"}
    ends = clock() + timedelta(hours=1)

    def authenticate(credentials: Credentials) -> Actor | None:
        if credentials.token not in good:
            raise Unauthorized("Signed out.")
        return Actor(id="ann", expires=ends)

    async with App(Todo, store=fresh_store(), auth=authenticate, clock=clock) as app, running(app, kind) as port:
        yield app, clock, good, port


async def told(connection: Any) -> list[Any]:
    """All messages up to the close, and its code."""
    methods: list[Any] = []

    async def read() -> None:
        while True:
            got = json.loads(await connection.recv())
            methods.extend(one.get("method") for one in (got if isinstance(got, list) else [got]))

    with pytest.raises(websockets.ConnectionClosed) as closed:
        await asyncio.wait_for(read(), 30)
    assert closed.value.rcvd is not None
    return [*methods, closed.value.rcvd.code]


@asynccontextmanager
async def signed_in(port: int) -> AsyncIterator[Any]:
    """A WebSocket that has asked for something already."""
    bearer = {"authorization": "Bearer t"}
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws", additional_headers=bearer) as connection:
        await connection.send('{"jsonrpc":"2.0","id":1,"method":"todos.list"}')
        assert json.loads(await connection.recv())["result"]["data"] == []
        yield connection


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_a_websocket_is_told_and_closed(kind: Kind) -> None:
    async with served(kind) as (_, clock, _, port), signed_in(port) as connection:
        clock.advance(timedelta(hours=1))
        assert await told(connection) == ["auth_expiring", "problem", 4401]
    async with served(kind) as (app, _, good, port), signed_in(port) as connection:
        good.clear()
        await app.revoke(account="ann")
        assert await told(connection) == ["problem", 4401]


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_an_event_stream_is_told_and_ended(kind: Kind) -> None:
    headers = {"authorization": "Bearer t", "accept": "text/event-stream"}
    async with (
        served(kind) as (app, _, good, port),
        client_at(f"http://127.0.0.1:{port}", timeout=30) as client,
        client.stream("GET", "/todos", headers=headers) as stream,
    ):
        lines = []
        async for line in stream.aiter_lines():
            lines.append(line)
            if line == "event: ready":
                good.clear()
                await app.revoke(account="ann")
        assert [line for line in lines if line.startswith("event")] == ["event: ready", "event: problem"]
        assert json.loads(lines[-2].removeprefix("data: "))["problem"]["detail"] == "Signed out."
