"""Too many at once: what a stream, a WebSocket and a plain request are told."""

import asyncio
import json
from collections.abc import AsyncIterator

from crudite import Limits, Record, allow
from crudite.testing.asgi import Exchange, Message, make_scope
from tests.flows.worlds import client_for


class Note(Record[int], rules=allow.everyone):
    title: str = ""


async def test_a_stream_too_many_is_told_when_to_come_back_and_plain_requests_are_answered() -> None:
    async with client_for(Note, limits=Limits(arrivals=1)) as client, client.stream("/notes/subscribe"):
        refused = await client.get("/notes/subscribe")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "2"
        assert 1000 <= refused.json["retry_in"] <= 2000
        assert (await client.get("/notes")).json == []


async def test_a_websocket_too_many_is_told_when_to_come_back_before_it_is_closed() -> None:
    async with client_for(Note, limits=Limits(arrivals=1)) as client, client.websocket():
        scope = make_scope("websocket", "GET", "/ws", None, {}, "")
        async with Exchange(client.app, scope) as exchange:
            exchange.send({"type": "websocket.connect"})
            async with asyncio.timeout(client.timeout):
                messages = [message async for message in taken(exchange)]
    assert [message["type"] for message in messages] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert messages[0]["subprotocol"] == "crudite.v1"  # or browsers hear of no message and no code
    bye = json.loads(messages[1]["text"])
    assert bye["method"] == "bye"
    assert 1000 <= bye["params"]["retry_in"] <= 2000
    assert (messages[2]["code"], messages[2]["reason"]) == (1013, "try again later")


async def taken(exchange: Exchange) -> AsyncIterator[Message]:
    """All that the application sends until it has finished."""
    while (message := await exchange.take()) is not None:
        yield message
