"""Our own runner and a plain server send the same bytes; ours bypasses the general machinery to do so."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from crudite import App, Resource, allow
from tests.services.http import client_at
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

BOTH: Sequence[Kind] = ("ours", "plain")
SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"sub": "s1", "resource": "todos"}}
LARGE = "x" * 70_000  # needs the longest form of a frame's length
MIDDLE = "y" * 200  # needs the middle one


@pytest.fixture(scope="module", params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both loops: their transports are of different makes."""
    return "asyncio", {"use_uvloop": request.param}


class Todo(Resource, rules=allow.everyone):
    title: str


@asynccontextmanager
async def served(kind: Kind) -> AsyncIterator[tuple[App, int, httpx2.AsyncClient]]:
    """An application on a server of that kind, its port, and a client for it."""
    async with (
        App(Todo, store=fresh_store()) as app,
        running(app, kind) as port,
        client_at(f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield app, port, client


async def until_true(condition: Callable[[], bool]) -> None:
    """For what nothing tells: what the kernel does with a socket, in its own time."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Raw:
    """A connection of which every byte is seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int, opening: bytes) -> "Raw":
        """Connects, and sends something."""
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.writer.write(opening)
        return raw

    async def until(self, sign: bytes, times: int = 1) -> bytes:
        """All bytes up to one that completes a sign, which is to come so many times."""
        seen = bytearray()
        counted = 0
        async with asyncio.timeout(30):
            while times > 0:
                more = await self.reader.read(1 << 20)
                assert more, f"ended before {sign!r} came {times} times more: {bytes(seen[-500:])!r}"
                seen += more
                times -= seen.count(sign, counted)
                counted = max(len(seen) - len(sign) + 1, counted, seen.rfind(sign) + 1)
        return bytes(seen)

    def close(self) -> None:
        """Leaves without a word."""
        self.writer.transport.abort()


def frame(payload: bytes, opcode: int = 0x1, *, final: bool = True) -> bytes:
    """What a client sends (RFC 6455, section 5.2), masked with zeros."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + bytes(4) + payload


def handshake(port: int) -> bytes:
    key = base64.b64encode(bytes(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n\r\n"
    ).encode()


async def websocket(port: int, *calls: Any) -> Raw:
    """A WebSocket of which every byte is seen, after its handshake and some calls."""
    raw = await Raw.to(port, handshake(port))
    head = await raw.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    for call in calls:
        raw.writer.write(frame(json.dumps(call).encode()))
    return raw


async def write_a_story(app: App, client: httpx2.AsyncClient) -> None:
    """Creates of several sizes, an update and a delete, each of them told alone; the last is titled `end`."""
    for title in ("a", "ü" * 100, MIDDLE, LARGE):
        answer = await client.post("/todos", json={"title": title})
        assert answer.status_code == 201
        await app.engine.settled()
    key = answer.json()["id"]
    assert (await client.patch(f"/todos/{key}", json={"title": "b"})).status_code == 200
    await app.engine.settled()
    assert (await client.delete(f"/todos/{key}")).status_code == 204
    await app.engine.settled()
    assert (await client.post("/todos", json={"title": "end"})).status_code == 201


async def test_websockets_get_the_same_bytes_from_both() -> None:
    async with served("ours") as (app, port, client), running(app, "plain") as plain:
        await client.post("/todos", json={"title": "there before"})
        sockets = [await websocket(each, SUBSCRIBE) for each in (port, plain)]
        opened = [await each.until(b'"method":"ready"') for each in sockets]
        await write_a_story(app, client)
        told = [await each.until(b'"title":"end"') for each in sockets]
        assert opened[0] == opened[1]
        assert told[0] == told[1]
        assert LARGE.encode() in told[0]
        for each in sockets:
            each.close()


async def test_event_streams_get_the_same_bytes_from_both() -> None:
    def head_and_events(seen: bytes) -> tuple[list[bytes], bytes]:
        head, _, body = seen.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")]
        whole = b""
        while body:
            size, _, rest = body.partition(b"\r\n")
            whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        retry, _, events = whole.partition(b"\n\n")
        assert retry.startswith(b"retry: ")
        return lines, events

    async with served("ours") as (app, port, client), running(app, "plain") as plain:
        await client.post("/todos", json={"title": "there before"})
        opening = b"GET /todos/subscribe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        streams = [await Raw.to(each, opening) for each in (port, plain)]
        seen = [await each.until(b"event: ready") for each in streams]
        await write_a_story(app, client)
        for at, each in enumerate(streams):
            seen[at] += await each.until(b'"title":"end"')
        assert head_and_events(seen[0]) == head_and_events(seen[1])
        for each in streams:
            each.close()


async def receive(connection: ClientConnection) -> Any:
    async with asyncio.timeout(20):
        return json.loads(await connection.recv())


@pytest.mark.parametrize("kind", BOTH)
async def test_a_snapshot_larger_than_all_buffers_arrives(kind: Kind) -> None:
    async with served(kind) as (_, port, client):
        for _ in range(60):
            await client.post("/todos", json={"title": "z" * 200_000})
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", max_size=None, max_queue=1) as connection:
            await connection.send(json.dumps(SUBSCRIBE))
            assert (await receive(connection))["id"] == 1
            count = 0
            while (told := await receive(connection))["method"] == "snapshot":
                count += len(told["params"]["records"])
            assert (count, told["method"]) == (60, "ready")


@pytest.mark.parametrize("kind", BOTH)
async def test_a_client_that_asks_and_does_not_read_is_closed_as_slow_and_holds_nobody_up(kind: Kind) -> None:
    async with served(kind) as (app, port, client):
        quick = await websocket(port, SUBSCRIBE)
        await quick.until(b'"method":"ready"')
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.connect(("127.0.0.1", port))
            narrow.sendall(handshake(port))
            assert (await asyncio.to_thread(narrow.recv, 4096)).startswith(b"HTTP/1.1 101 ")
            narrow.sendall(frame(json.dumps(SUBSCRIBE).encode()))
            await until_true(lambda: app.engine.metrics.live_subs == 2)
            reading = asyncio.create_task(quick.until(b'zzend"', 50))
            for _ in range(50):
                answer = await client.post("/todos", json={"title": "z" * 200_000 + "end"})
                assert answer.status_code == 201
            await reading
            assert app.engine.metrics.slow_closes == 0  # it would be told the rest in one go
            for number in range(2, 6):
                call = {"jsonrpc": "2.0", "id": number, "method": "todos.list", "params": {"query": {"limit": 5}}}
                narrow.sendall(frame(json.dumps(call).encode()))
            await until_true(lambda: app.engine.metrics.live_connections == 1)
            assert app.engine.metrics.slow_closes == 1
            seen = await asyncio.to_thread(end_of, narrow)
            assert seen.endswith(b"\x88\x02" + struct.pack(">H", 4408))
        quick.close()


def end_of(connection: socket.socket) -> bytes:
    """The last bytes before the server waits for an answer, or is gone."""
    seen = b""
    connection.settimeout(20)
    while not seen.endswith(b"\x88\x02" + struct.pack(">H", 4408)):
        more = connection.recv(1 << 20)
        if not more:
            break
        seen = (seen + more)[-100:]
    return seen


@pytest.mark.parametrize("kind", BOTH)
async def test_a_client_that_is_cut_off_in_the_middle_leaves_nothing_behind(kind: Kind) -> None:
    async with served(kind) as (app, port, client):
        staying = await websocket(port, SUBSCRIBE)
        await staying.until(b'"method":"ready"')
        for opening in (None, b"GET /todos/subscribe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"):
            leaving = await (websocket(port, SUBSCRIBE) if opening is None else Raw.to(port, opening))
            await leaving.until(b"ready")
            await client.post("/todos", json={"title": "on its way"})
            leaving.close()
        await client.post("/todos", json={"title": "later"})
        await staying.until(b'"title":"later"')
        await until_true(lambda: app.engine.metrics.live_connections == 1)
        staying.close()


@pytest.mark.parametrize("kind", BOTH)
async def test_what_clients_send_in_pieces_at_once_or_too_large_is_taken_alike(kind: Kind) -> None:
    create = {"jsonrpc": "2.0", "method": "todos.create"}
    async with served(kind) as (_, port, client):
        raw = await websocket(port)
        calls = [json.dumps({**create, "id": n, "params": {"data": {"title": str(n)}}}).encode() for n in range(20)]
        raw.writer.write(b"".join(frame(call) for call in calls))
        answers = await raw.until(b'"after":', 20)
        assert [answers.index(b'"id":%d,"result"' % n) for n in range(20)] == sorted(
            answers.index(b'"id":%d,"result"' % n) for n in range(20)
        )
        ping = b'{"jsonrpc":"2.0","id":99,"method":"ping"}'
        raw.writer.write(frame(ping[:10], final=False) + frame(b"are you there", 0x9) + frame(ping[10:], 0x0))
        assert b"\x8a\x0dare you there" in await raw.until(b'"id":99')
        assert len((await client.get("/todos")).json()) == 20
        raw.close()
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws", compression=None) as connection:
            await connection.send("x" * 1_000_001)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await receive(connection)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("kind", BOTH)
async def test_when_the_application_stops_clients_hear_goodbye_and_1001(kind: Kind) -> None:
    async with served(kind) as (app, port, _), websockets.connect(f"ws://127.0.0.1:{port}/ws") as connection:
        await connection.send(json.dumps(SUBSCRIBE))
        while (await receive(connection)).get("method") != "ready":
            pass
        await app.say_goodbye()
        assert (await receive(connection))["method"] == "bye"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await receive(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


@pytest.mark.only_on("sqlite", reason="PostgreSQL's store has tasks that come and go, and all are counted")
async def test_a_websocket_that_waits_has_no_task_on_our_own_runner() -> None:
    async with served("ours") as (app, port, client):
        before = len(asyncio.all_tasks())
        raws = [await websocket(port, SUBSCRIBE) for _ in range(20)]
        for raw in raws:
            await raw.until(b'"method":"ready"')
        assert app.engine.metrics.live_connections == 20
        assert len(asyncio.all_tasks()) == before
        await client.post("/todos", json={"title": "for all"})
        for raw in raws:
            await raw.until(b'"title":"for all"')
            raw.close()
        await until_true(lambda: not app.engine.metrics.live_connections)
