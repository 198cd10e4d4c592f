"""An application that goes away says goodbye in steps; whoever is still there is served, and nobody new is accepted."""

import asyncio
import json
from contextlib import AsyncExitStack

from crudite import Record, allow
from crudite.testing.asgi import Exchange, make_scope
from tests.flows.worlds import client_for


class Note(Record[int], rules=allow.everyone):
    title: str = ""


async def test_some_are_told_goodbye_while_the_others_are_served_and_nobody_new_is_accepted() -> None:
    async with client_for(Note) as client, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(client.websocket()) for _ in range(15)]
        for socket in sockets:
            await socket.call("ping")
        leaving = asyncio.create_task(client.app.say_goodbye(5.0))
        async with asyncio.timeout(client.timeout):
            await asyncio.wait([asyncio.create_task(each.closed()) for each in sockets], return_when="FIRST_COMPLETED")
        left = [socket for socket in sockets if socket.code is None]
        assert 0 < len(left) < 15

        refused = await client.get("/notes/subscribe")
        assert (refused.status, refused.headers["retry-after"]) == (503, str(-(-refused.json["retry_in"] // 1000)))
        async with Exchange(client.app, make_scope("websocket", "GET", "/ws", None, {}, "")) as exchange:
            exchange.send({"type": "websocket.connect"})
            await exchange.take()
            bye, close = await exchange.take(), await exchange.take()
        assert bye is not None
        assert close is not None
        assert (json.loads(bye["text"])["method"], close["code"]) == ("bye", 1013)
        assert (await client.get("/notes")).json == []

        await leaving
        assert [await socket.closed() for socket in sockets] == [1001] * 15
        assert all(socket.notifications[-1]["params"]["retry_in"] >= 500 for socket in sockets)
        assert (await client.get("/notes")).json == []
