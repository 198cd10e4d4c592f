"""Inside FastAPI and Starlette, and on the servers that people run."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import httpx2
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import Mount

from crudite import App, Record, allow
from crudite.testing.asgi import Exchange, fetch, make_scope
from tests.flows.worlds import client_for
from tests.services.http import client_at
from tests.services.stores import fresh_store, kept_store


class Todo(Record[str], rules=allow.everyone):
    title: str


def app_of() -> App:
    return App(Todo, store=fresh_store())


def fastapi_of(app: App) -> Any:
    outer = fastapi.FastAPI(lifespan=app.lifespan)

    @outer.get("/own")
    async def own() -> int:
        return await app.records.count(Todo)

    outer.mount("/api", app)
    return outer


def starlette_of(app: App) -> Any:
    return Starlette(routes=[Mount("/api", app)], lifespan=app.lifespan)


@contextlib.asynccontextmanager
async def living(outer: Any) -> AsyncIterator[None]:
    """Runs the lifespan of an ASGI application."""
    async with Exchange(outer, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}) as exchange:
        exchange.send({"type": "lifespan.startup"})
        assert await exchange.take() == {"type": "lifespan.startup.complete"}
        yield
        exchange.send({"type": "lifespan.shutdown"})
        assert await exchange.take() == {"type": "lifespan.shutdown.complete"}


async def ask(outer: Any, method: str, url: str, body: bytes = b"", root: str = "") -> Any:
    return await fetch(outer, make_scope("http", method, url, None, {"content-type": "application/json"}, root), body)


@pytest.mark.parametrize("made_of", [fastapi_of, starlette_of])
async def test_it_lives_below_a_path_of_another_application(made_of: Any) -> None:
    app = app_of()
    outer = made_of(app)
    async with living(outer):
        assert app.is_running
        created = await ask(outer, "POST", "/api/todos", b'{"id":"a/b","title":"x"}')
        assert created.status == 201
        assert created.headers["location"] == "/api/todos/a%2Fb"
        assert (await ask(outer, "GET", created.headers["location"])).json["title"] == "x"
        await ask(outer, "POST", "/api/todos", b'{"id":"c","title":"y"}')
        page = await ask(outer, "GET", "/api/todos?limit=1")
        following = page.headers["link"].split(">")[0].removeprefix("<")
        assert following.startswith("?")
        assert [row["id"] for row in (await ask(outer, "GET", "/api/todos" + following)).json] == ["c"]
        assert (await ask(outer, "GET", "/todos")).status == 404
        assert (await ask(outer, "GET", "/api/nope")).json["code"] == "not_found"
        if made_of is fastapi_of:
            assert (await ask(outer, "GET", "/own")).json == 2
    assert not app.is_running


@pytest.mark.parametrize("made_of", [fastapi_of, starlette_of])
async def test_streams_and_sockets_work_below_a_path_too(made_of: Any) -> None:
    outer = made_of(app_of())
    async with living(outer):
        scope = make_scope("http", "GET", "/api/todos/subscribe", None, {}, "")
        async with Exchange(outer, scope) as exchange:
            exchange.send({"type": "http.request", "body": b"", "more_body": False})
            assert (await exchange.take() or {})["status"] == 200
        async with Exchange(outer, make_scope("websocket", "GET", "/api/ws", None, {}, "")) as exchange:
            exchange.send({"type": "websocket.connect"})
            assert (await exchange.take() or {})["type"] == "websocket.accept"


async def test_a_root_path_that_the_server_knows_is_in_links() -> None:
    app = app_of()
    async with app:
        created = await ask(app, "POST", "/todos", b'{"id":"a","title":"x"}', root="/behind/proxy")
        assert (created.status, created.headers["location"]) == (201, "/behind/proxy/todos/a")
        assert (await ask(app, "GET", "/todos/a", root="/behind")).status == 200
        assert (await ask(app, "GET", "/todos/a", root="/to")).status == 200


async def test_without_a_lifespan_the_first_request_starts_it_once() -> None:
    app = app_of()
    answers = await asyncio.gather(*(ask(app, "GET", "/todos") for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    await app.stop()


async def test_it_can_be_stopped_and_started_again() -> None:
    client = client_for(Todo)
    for name in "ab":
        async with client:
            assert (await client.post("/todos", {"id": name, "title": "x"})).status == 201
            async with client.live("todos") as view:
                await view.ready()


async def test_a_failing_start_is_told_to_the_server_and_leaves_nothing_open() -> None:
    @contextlib.asynccontextmanager
    async def broken(app: App) -> AsyncIterator[None]:
        raise OSError("no such queue")
        yield

    app = App(Todo, store=fresh_store(), lifespan=broken)
    async with Exchange(app, {"type": "lifespan", "asgi": {"version": "3.0"}}) as exchange:
        exchange.send({"type": "lifespan.startup"})
        answer = await exchange.take() or {}
        assert (answer["type"], answer["message"]) == ("lifespan.startup.failed", "no such queue")
    assert not app.is_running


@contextlib.asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """The address of a uvicorn that serves the application in this process."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **options))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
async def test_it_runs_on_uvicorn(http: str, ws: str) -> None:
    if ws == "wsproto":
        pytest.importorskip("wsproto")
    async with (
        served(app_of(), http=http, ws=ws) as address,
        client_at(f"http://{address}") as client,
    ):
        created = await client.post("/todos", json={"id": "ü/b", "title": "x"})
        assert created.status_code == 201
        assert (await client.get(created.headers["location"])).json()["title"] == "x"
        assert (await client.get("/todos", headers={"host": "evil.example"})).status_code == 400
        async with client.stream("GET", "/todos/subscribe") as stream:
            lines = stream.aiter_lines()
            assert [line async for line in until_data(lines, '"x"')]
            await client.post("/todos", json={"id": "c", "title": "y"})
            assert [line async for line in until_data(lines, '"y"')]
        async with websockets.connect(f"ws://{address}/ws", subprotocols=["crudite.v1"]) as connection:  # type: ignore[list-item]
            assert connection.subprotocol == "crudite.v1"
            await connection.send('{"jsonrpc":"2.0","id":1,"method":"todos.read","params":{"key":"c"}}')
            assert '"title":"y"' in str(await connection.recv())
        async with websockets.connect(f"ws://{address}/ws", origin="https://evil.example") as refused:  # type: ignore[arg-type]
            await refused.wait_closed()
            assert refused.close_code == 1008


async def until_data(lines: AsyncIterator[str], text: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if text in line:
            return


@pytest.mark.parametrize("name", ["hypercorn", "granian"])
async def test_it_runs_on_other_servers(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    (tmp_path / "todo_app.py").write_text(
        "from crudite import App, Record, allow\n"
        "class Todo(Record[str], rules=allow.everyone):\n    title: str\n"
        f"app = App(Todo, store={kept_store()!r})\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "hypercorn": ["--bind", f"127.0.0.1:{port}", "todo_app:app"],
        "granian": ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "todo_app:app"],
    }[name]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", name, *options, cwd=tmp_path)
    try:
        async with asyncio.timeout(30), client_at(f"http://127.0.0.1:{port}") as client:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    created = await client.post("/todos", json={"id": "a/b", "title": "x"})
                    break
            assert created.status_code == 201
            assert (await client.get(created.headers["location"])).json()["title"] == "x"
            async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as connection:
                await connection.send('{"jsonrpc":"2.0","id":1,"method":"ping"}')
                assert str(await connection.recv()) == '{"jsonrpc":"2.0","id":1,"result":{}}'
    finally:
        process.terminate()
        await process.wait()
