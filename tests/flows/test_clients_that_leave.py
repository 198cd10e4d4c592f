"""Clients that leave at odd moments: while they open, or while a call of theirs waits until they have caught up. They
are forgotten, on our own runner and on a plain server. So are those that speak no WebSocket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from crudite import Actor, App, Credentials, Limits, LiveLimits, Query, Record, Request, allow
from crudite.testing import Client
from tests.flows.test_runner import BOTH, Raw, frame, handshake, until_true, websocket
from tests.flows.test_trickling_readers import Trickle
from tests.services.http import client_at
from tests.services.runner import Kind, has_no_client, running
from tests.services.stores import fresh_store

CLOSE = b"\x03\xe8"  # 1000, as a close frame has it (RFC 6455, section 5.5.1)


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both loops: their transports are of different makes."""
    return "asyncio", {"use_uvloop": request.param}


class Todo(Record[int], rules=allow.everyone):
    title: str = ""


class Door:
    """Asks who somebody is, and answers only while it is open. So many have `knocked`."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.knocked = 0

    async def ask(self, credentials: Credentials) -> Actor | None:
        self.knocked += 1
        await self.is_open.wait()
        return None


def is_empty(app: App) -> bool:
    """Whether nothing is left of anybody."""
    counts = app.engine.metrics.live_connections, app.engine.metrics.live_subs, app.admission.living.total()
    return counts == (0, 0, 0)


@pytest.mark.parametrize("kind", BOTH)
async def test_one_that_leaves_while_its_stream_opens_is_forgotten(kind: Kind) -> None:
    door = Door()
    async with App(Todo, store=fresh_store(), auth=door.ask) as app, running(app, kind) as port:
        leaving = await Raw.to(port, b"GET /todos/subscribe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await until_true(lambda: door.knocked == 1)
        assert app.admission.living.total() == 1
        leaving.close()
        async with client_at(f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(3):  # each answer comes a turn of the server's loop later, which sees what came before
                await client.get("/nowhere")
        door.is_open.set()
        await until_true(lambda: is_empty(app))


async def until_behind(app: App) -> None:
    """Writes until the one client there is has fallen behind."""
    written = 0
    async with asyncio.timeout(30):
        while not any(connection.outbox.is_behind for connection in app.engine.connections):
            written += 1
            await app.records.update(Todo, 1, title=f"{written} " + "x" * 80_000)
            await app.engine.fence()


@asynccontextmanager
async def one_that_waits(kind: Kind) -> AsyncIterator[tuple[App, Trickle]]:
    """A WebSocket that takes nothing any more, has fallen behind, and has asked for one more live query."""
    asked = asyncio.Event()
    app = App(Todo, store=fresh_store(), limits=Limits(live=LiveLimits(outbox=200_000)))

    @app.read("mine")
    async def mine(request: Request) -> Query[Todo]:
        asked.set()
        return Todo.where(title="mine")

    async with app, running(app, kind) as port:
        await app.records.create(Todo, id=1)
        client = Trickle(port)
        try:
            client.write(handshake(port))
            await client.sip(4_096)
            client.write(
                frame(b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"sub":"a","resource":"todos"}}')
            )
            await until_true(lambda: app.engine.metrics.live_subs == 1)
            await until_behind(app)
            client.write(frame(b'{"jsonrpc":"2.0","id":2,"method":"subscribe","params":{"sub":"b","read":"mine"}}'))
            async with asyncio.timeout(30):
                await asked.wait()
            yield app, client
        finally:
            client.close()
            await until_true(
                lambda: has_no_client(port)
            )  # a plain server that ends meanwhile tells it goodbye, in vain


def hang_up(client: Trickle) -> None:
    client.close()


def say_goodbye(client: Trickle) -> None:
    client.write(frame(CLOSE, 0x8))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("leave", [hang_up, say_goodbye])
async def test_one_that_leaves_while_a_call_waits_until_it_has_caught_up_is_forgotten(
    kind: Kind, leave: Callable[[Trickle], None]
) -> None:
    async with one_that_waits(kind) as (app, client):
        assert any(connection.outbox.is_behind for connection in app.engine.connections)
        leave(client)
        await until_true(lambda: is_empty(app))


@pytest.mark.parametrize("sign", ["close", "no pong"])
async def test_a_client_that_is_over_and_takes_nothing_is_cut_off_in_time(sign: str) -> None:
    async with one_that_waits("ours") as (app, client):
        (connection,) = app.engine.connections
        protocol: Any = connection.outbox._sink
        protocol.close_timeout = 0.01
        if sign == "close":
            say_goodbye(client)
        else:
            protocol.keepalive_timeout()  # what its timer calls, twenty seconds later
        await until_true(lambda: protocol.disconnected)
        await until_true(lambda: is_empty(app))


@pytest.mark.parametrize("kind", BOTH)
async def test_what_a_websocket_has_asked_for_before_it_leaves_is_done(kind: Kind) -> None:
    async with App(Todo, store=fresh_store()) as app, running(app, kind) as port:
        leaving = await websocket(port)
        calls = [
            frame(b'{"jsonrpc":"2.0","method":"todos.create","params":{"data":{"title":"%d"}}}' % n) for n in range(3)
        ]
        leaving.writer.write(b"".join(calls) + frame(CLOSE, 0x8))
        await until_true(lambda: is_empty(app))
        leaving.close()
        titles: list[str] = []
        async with client_at(f"http://127.0.0.1:{port}", timeout=30) as client, asyncio.timeout(30):
            while len(titles) < 3:
                titles = [todo["title"] for todo in (await client.get("/todos")).json()]
        assert titles == ["0", "1", "2"]


async def test_a_text_that_is_none_closes_with_1007_and_is_nothing_to_report(caplog: pytest.LogCaptureFixture) -> None:
    async with App(Todo, store=fresh_store()) as app, running(app, "ours") as port:
        nonsense = await websocket(port)
        nonsense.writer.write(frame(b"\xff"))
        await nonsense.until(b"\x88\x02\x03\xef")  # 1007 (RFC 6455, section 7.4.1)
        await until_true(lambda: is_empty(app))
        nonsense.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_streams_that_open_have_places_of_their_address_and_give_them_back() -> None:
    door = Door()
    async with Client(App(Todo, store=fresh_store(), auth=door.ask, limits=Limits(connections=3))) as client:

        async def come_and_go() -> None:
            async with client.stream("/todos/subscribe"):
                pass

        living = client.app.admission.living
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(come_and_go())
            await until_true(lambda: door.knocked == 3)
            assert (await client.get("/todos/subscribe")).status == 429
            assert living == {"http": 3}
            door.is_open.set()
        assert living.total() == 0
        async with client.stream("/todos/subscribe"), client.websocket():
            assert living == {"http": 1, "websocket": 1}
            assert (await client.get("/todos/subscribe?nothing=1")).status == 400
            assert living.total() == 2
        assert living.total() == 0
