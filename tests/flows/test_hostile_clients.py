"""What no honest client does to a server, each over a real socket: it is ended in time, and counted."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from crudite import App, Limits, Rate, Record, Request, allow
from crudite.testing import Client
from tests.services.runner import has_no_client, running, unsent
from tests.services.stores import fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="what is refused here never comes to a store")

PATIENCE = 20
SHORT = 0.2  # seconds; so little that a test need not wait, and no honest client is tested with it
HEAD = b"POST /todos HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
)
MASK = b"\0\0\0\0"


class Todo(Record[int], rules=allow.everyone):
    title: str


class Raw:
    """A connection of which every byte is seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def until(self, sign: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(sign)

    async def trickle(self, piece: bytes) -> None:
        """Sends a piece now and then, for as long as it can."""
        with suppress(ConnectionError):
            while True:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(SHORT / 10)

    async def upgraded(self) -> None:
        """Makes a WebSocket of it."""
        self.send(UPGRADE + b"sec-websocket-key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n\r\n")
        assert (await self.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")

    async def close_code(self) -> int:
        """The code with which the server closes a WebSocket; what comes before is passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                kind, size = await self.reader.readexactly(2)
                if size == 126:
                    size = struct.unpack("!H", await self.reader.readexactly(2))[0]
                payload = await self.reader.readexactly(size)
                if kind == 0x88:
                    return int.from_bytes(payload[:2])


@asynccontextmanager
async def served(**limits: Any) -> AsyncIterator[tuple[App, Callable[..., Any], int]]:
    """An application with some limits on our own server; how to connect to it, and its port."""
    writers: list[asyncio.StreamWriter] = []
    async with App(Todo, store=fresh_store(), limits=Limits(**limits)) as app, running(app, "ours") as port:

        async def connect(source: str = "127.0.0.1") -> Raw:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writers.append(writer)
            return Raw(reader, writer)

        try:
            yield app, connect, port
        finally:
            for writer in writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


async def test_who_connects_and_says_nothing_is_let_go_without_a_word() -> None:
    async with served(head_time=SHORT) as (app, connect, _):
        assert await (await connect()).rest() == b""
        assert app.admission.passed == {"head_time": 1}


@pytest.mark.parametrize("beginning", [b"GET /", b"GET /todos HTTP/1.1\r\nhost: lo", UPGRADE])
async def test_a_head_that_is_never_whole_is_given_up(beginning: bytes) -> None:
    async with served(head_time=SHORT) as (app, connect, _):
        raw = await connect()
        raw.send(beginning)
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")
        assert app.admission.passed == {"head_time": 1}


@pytest.mark.parametrize(("beginning", "piece"), [(b"GET /", b"x"), (UPGRADE, b"x"), (b"\r\n", b"\r\n")])
async def test_a_byte_now_and_then_does_not_help(beginning: bytes, piece: bytes) -> None:
    async with served(head_time=SHORT) as (app, connect, _):
        raw = await connect()
        raw.send(beginning)
        trickling = asyncio.create_task(raw.trickle(piece))
        await raw.rest()
        trickling.cancel()
        assert app.admission.passed == {"head_time": 1}


@pytest.mark.parametrize("lane", ["ordinary", "quick"])
async def test_a_body_that_is_never_whole_is_given_up(lane: str) -> None:
    async with served(body_time=SHORT) as (app, connect, _):
        raw = await connect()
        if lane == "quick":  # a head is known once a request that came whole has had it
            for title in (b'{"title":"1234567"} ', b'{"title":"7654321"} '):
                raw.send(HEAD + title)
                assert (await raw.until(b"}")).startswith(b"HTTP/1.1 201 ")
        raw.send(HEAD)
        raw.send(b"{")
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")
        assert app.admission.passed == {"body_time": 1}
        assert len(await app.records.list(Todo)) == (2 if lane == "quick" else 0)


async def test_a_body_that_goes_on_behind_its_refusal_is_given_up_too() -> None:
    async with served(body=100, body_time=SHORT) as (app, connect, _):
        raw = await connect()
        raw.send(HEAD.replace(b"length: 20", b"length: 99999999") + b"x" * 101)
        assert (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")
        trickling = asyncio.create_task(raw.trickle(b"x" * 100))
        await raw.rest()
        trickling.cancel()
        assert app.admission.passed == {"too_large": 1, "body_time": 1}


@pytest.mark.parametrize(
    ("head", "status", "limit"),
    [
        (b"GET /" + b"x" * 8_192 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", 414, "url"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a: b\r\n" * 100 + b"\r\n", 431, "headers"),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\na: " + b"x" * 32_768 + b"\r\n\r\n", 431, "head"),
        (
            b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a: " + b"x" * 700 + b"\r\n" + b"b: 1\r\n" * 99 + b"\r\n",
            431,
            "headers",
        ),
    ],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes, status: int, limit: str) -> None:
    async with served() as (app, connect, _):
        raw = await connect()
        raw.send(head)
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close\r\n" in answer
        assert app.admission.passed == {limit: 1}


async def test_a_known_head_does_not_let_a_long_target_through() -> None:
    async with served(url=100) as (app, connect, _):
        raw = await connect()
        for _ in range(3):
            raw.send(b"GET /todos?limit=3 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await raw.until(b"[]")).startswith(b"HTTP/1.1 200 ")
        raw.send(b"GET /todos?limit=3&title=" + b"x" * 100 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 414 ")
        assert app.admission.passed == {"url": 1}


@pytest.mark.parametrize("endless", [b"a: ", b"a", b""])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(endless: bytes) -> None:
    async with served() as (app, connect, _):
        raw = await connect()
        raw.send(b"GET /" + (b" HTTP/1.1\r\nhost: localhost\r\n" + endless if endless else b""))
        sent = 0
        with suppress(ConnectionError):
            while sent < 50_000_000:
                raw.send(b"x" * 65_536)
                sent += 65_536
                await raw.writer.drain()
        await raw.rest()
        assert sent < 50_000_000
        assert app.admission.passed == {"head": 1}


async def test_an_address_has_so_many_connections_and_others_have_theirs() -> None:
    async with served(sockets=5, connections=5) as (app, connect, _):
        held = [await connect("127.0.0.2") for _ in range(5)]
        for raw in held:
            raw.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await raw.until(b"ok\n")).startswith(b"HTTP/1.1 200 ")
        assert (await (await connect("127.0.0.2")).rest()).startswith(b"HTTP/1.1 503 ")
        assert app.admission.passed == {"sockets": 1}
        trusted = [await connect("127.0.0.1") for _ in range(7)]  # a proxy on this machine speaks for many
        other = await connect("127.0.0.3")
        for raw in (*trusted, other):
            raw.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await raw.until(b"ok\n")).startswith(b"HTTP/1.1 200 ")
        held[0].writer.close()
        await held[0].writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            while True:
                raw = await connect("127.0.0.2")
                raw.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                if (await raw.until(b"\r\n")).startswith(b"HTTP/1.1 200 "):
                    break


async def test_a_client_that_never_takes_its_answer_is_cut_off() -> None:
    async with served(take_time=SHORT) as (app, connect, port):

        @app.read("large")
        async def large(request: Request) -> str:
            return "x" * 30_000_000

        await app.stop()
        await app.start()
        raw = await connect()
        raw.writer.transport.pause_reading()
        raw.send(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await until_true(lambda: app.admission.passed == {"take_time": 1})
        await until_true(lambda: has_no_client(port))


async def test_a_client_on_a_thin_line_gets_all_of_its_large_answer() -> None:
    async with served(take_time=SHORT) as (app, connect, _):

        @app.read("large")
        async def large(request: Request) -> str:
            return "x" * 30_000_000

        await app.stop()
        await app.start()
        raw, loop = await connect(), asyncio.get_running_loop()
        raw.send(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        began, length = loop.time(), 0
        async with asyncio.timeout(PATIENCE):
            while length < 30_000_000:
                piece = await raw.reader.read(1 << 20)
                assert piece, "it was cut"
                length += len(piece)
                await asyncio.sleep(SHORT / 10)
        assert loop.time() - began > 2 * SHORT
        assert app.admission.passed == {}


async def test_a_socket_that_never_says_anything_is_closed_and_one_that_did_is_not() -> None:
    async with served(silence=SHORT) as (app, connect, _):
        silent, honest = await connect(), await connect()
        await honest.upgraded()
        honest.send(frame(0x81, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
        await honest.until(b'"result":{}}')
        await silent.upgraded()
        assert await silent.close_code() == 4408
        honest.send(frame(0x81, b'{"jsonrpc":"2.0","id":2,"method":"ping"}'))
        await honest.until(b'"result":{}}')
        assert app.admission.passed == {"silence": 1}


async def test_a_message_in_frames_that_never_ends_is_given_up() -> None:
    async with served(body_time=SHORT) as (app, connect, _):
        raw = await connect()
        await raw.upgraded()
        raw.send(frame(0x01, b"{"))
        trickling = asyncio.create_task(raw.trickle(frame(0x00, b" ")))
        assert await raw.close_code() == 1008
        trickling.cancel()
        assert app.admission.passed == {"body_time": 1}


async def test_a_message_of_frames_without_content_is_given_up() -> None:
    async with served() as (_, connect, _):
        raw = await connect()
        await raw.upgraded()
        raw.send(frame(0x01, b"") + frame(0x00, b"") * 20_000)
        assert await raw.close_code() == 1008


async def test_a_flood_of_pings_from_a_client_that_takes_nothing_does_not_pile_up() -> None:
    async with served() as (_, connect, port):
        raw = await connect()
        raw.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await raw.upgraded()
        raw.writer.transport.pause_reading()
        pings, sent = frame(0x89, b"x" * 125) * 1_000, 0
        async with asyncio.timeout(PATIENCE):
            while sent < 45_000:
                raw.send(pings)
                await raw.writer.drain()
                sent += 1_000
        other = await connect()
        await other.upgraded()
        other.send(frame(0x81, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
        await other.until(b'"result":{}}')
        assert unsent(port) < 200_000


async def test_a_flood_of_refused_calls_closes_the_socket() -> None:
    async with (
        App(Todo, store=fresh_store(), rates=[Rate("3/hour")], limits=Limits(refusals=10)) as app,
        running(app, "ours") as port,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        raw = Raw(reader, writer)
        await raw.upgraded()
        for number in range(50):
            raw.send(frame(0x81, json.dumps({"jsonrpc": "2.0", "id": number, "method": "todos.list"}).encode()))
        assert await raw.close_code() == 4429
        assert app.limiter.refused["3/hour"] < 40, "what comes behind that is not even begun"
        writer.close()
        await writer.wait_closed()


async def test_what_is_too_much_in_a_request_is_counted_by_its_limit() -> None:
    app = App(Todo, store=fresh_store(), limits=Limits(body=100, message=200))
    deep = '{"not":' * 30 + '{"id":1}' + "}" * 30
    async with Client(app) as client:
        assert (await client.post("/todos", {"title": "x" * 200})).status == 413
        assert (await client.get("/todos", params={"filter": deep})).status == 400
        async with client.websocket() as socket:
            socket.send("x" * 300)
            assert await socket.closed() == 1009
    assert app.admission.passed == {"too_large": 1, "too_deep": 1, "message": 1}


def frame(kind: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455, section 5.2), masked with nothing."""
    assert len(payload) < 126
    return bytes((kind, 0x80 | len(payload))) + MASK + payload


async def until_true(condition: Callable[[], bool]) -> None:
    """For what nothing tells."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
