"""Channels of records where steps of the application, such as those of sessions, stand around every request."""

from typing import Any

import pytest

from crudite import App, Channel, Next, Record, Request, Response, Sessions, allow
from crudite.testing import Client
from tests.flows.people import QUICK, Account
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store


class Room(Record[int], rules=allow.everyone):
    pass


def app_with_sessions() -> App:
    rooms = Channel("rooms/{room}", of=Room, rules={"publish": allow.signed_in})
    auth: Any = [Sessions(Account, hashing=QUICK), by_name]
    return App(Account, Room, store=fresh_store(), auth=auth, channels=[rooms])


def app_with_a_step() -> App:
    rooms = Channel("rooms/{room}", of=Room, rules={"publish": allow.signed_in})
    app = App(Room, store=fresh_store(), auth=by_name, channels=[rooms])

    @app.use
    async def step(request: Request, next: Next) -> Response:
        return await next()

    return app


@pytest.mark.parametrize("make", [app_with_sessions, app_with_a_step])
async def test_a_channel_of_records_is_joined_and_published_in(make: Any) -> None:
    async with Client(make(), headers={"authorization": "Bearer ann"}) as client:
        await client.post("/rooms", {"id": 7})
        async with client.websocket() as socket:
            await socket.call("join", {"channel": "rooms/7"})
            assert (await client.post("/channels/rooms/7", {"event": "bell", "data": 1})).status == 204
            kind, told = await socket.told()
            assert (kind, told["event"], told["data"], told["from"]["id"]) == ("event", "bell", 1, "ann")
            assert (await client.post("/channels/rooms/8", {"event": "bell"})).status == 404
