"""The barrier of the client in memory: it waits for those who still hear something, and for nobody else."""

import asyncio

import pytest

from crudite import App, Record, allow
from crudite.testing import Client
from crudite.testing.views import Refusal


class Todo(Record[int], rules=allow.everyone):
    title: str


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_it_does_not_wait_for_a_view_that_the_server_has_ended(over: str) -> None:
    app = App(Todo, store="sqlite:///:memory:", auth=lambda credentials: None)
    async with Client(app, timeout=5) as client, client.live("todos", over=over) as view:  # type: ignore[arg-type]
        await view.ready()
        await app.say_goodbye()
        with pytest.raises((ConnectionResetError, Refusal)):
            await view.until(lambda rows: bool(rows))
        async with asyncio.timeout(5):
            for exchange in client._followed:
                await exchange.consumed()
