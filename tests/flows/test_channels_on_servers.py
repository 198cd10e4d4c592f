"""Channels over real sockets, on our own runner and on a plain server; and clients that take nothing."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
import websockets

from crudite import App, Channel, ChannelLimits, Limits, Record, allow
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

TIMES, SIZE = 300, 60_000  # more than the buffers of any system hold


class Room(Record[int], rules={"read": allow.where(open=True)}):
    open: bool = True


ROOMS = Channel("rooms/{room}", of=Room, rules={"publish": allow.everyone})


async def call(socket: Any, method: str, **params: Any) -> Any:
    """The answer to a call; what comes before it is passed over."""
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
    while (answer := json.loads(await asyncio.wait_for(socket.recv(), 30))).get("id") != method:
        pass
    return answer["result"]


async def notified(socket: Any, method: str) -> Any:
    while (told := json.loads(await asyncio.wait_for(socket.recv(), 30))).get("method") != method:
        pass
    return told["params"]


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_what_is_published_is_heard_over_sockets_and_streams_until_the_right_to_it_ends(kind: Kind) -> None:
    async with App(Room, store=fresh_store(), channels=[ROOMS]) as app, running(app, kind) as port:
        await app.records.create(Room, id=7)
        async with (
            websockets.connect(f"ws://127.0.0.1:{port}/ws") as socket,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
            client.stream("GET", "/channels/rooms/7", headers={"accept": "text/event-stream"}) as stream,
        ):
            assert stream.status_code == 200
            await call(socket, "join", channel="rooms/7")
            await call(socket, "publish", channel="rooms/7", event="typing", data=[1])
            assert (await client.post("/channels/rooms/7", json={"event": "bell", "data": 2})).status_code == 204
            assert (await notified(socket, "event"))["data"] == 2
            await app.records.update(Room, 7, open=False)
            assert (await notified(socket, "problem"))["problem"]["status"] == 404
            text = "".join([part async for part in stream.aiter_text()])
            kinds = [line for line in text.splitlines() if line.startswith("event:")]
            assert kinds == ["event: event", "event: event", "event: problem"]


@pytest.mark.only_on("sqlite", reason="the store plays no part")
@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_a_client_that_takes_nothing_misses_events_and_delays_nobody(kind: Kind) -> None:
    limits = Limits(channels=ChannelLimits(event=SIZE + 100))
    async with App(Room, store=fresh_store(), channels=[ROOMS], limits=limits) as app, running(app, kind) as port:
        await app.records.create(Room, id=7)
        async with (
            websockets.connect(f"ws://127.0.0.1:{port}/ws") as fast,
            websockets.connect(
                f"ws://127.0.0.1:{port}/ws", max_queue=1, ping_interval=None, compression=None, close_timeout=0.1
            ) as slow,
        ):
            for socket in (fast, slow):
                await call(socket, "join", channel="rooms/7")
            most = 0
            for number in range(TIMES):
                await app.emit("rooms/7", "e", f"{number} " + "x" * SIZE)
                assert (await notified(fast, "event"))["data"].startswith(f"{number} ")
                most = max(most, *(connection.outbox.size for connection in app.engine.connections))
            assert app.hub.figures.dropped > 0
            assert most <= app.engine.limits.outbox // 4 + SIZE + 1000
            heard = [int((await notified(slow, "event"))["data"].split()[0]) for _ in range(3)]
            assert heard == [0, 1, 2]  # what it has been handed comes in its order
            assert app.engine.metrics.slow_closes == 0
