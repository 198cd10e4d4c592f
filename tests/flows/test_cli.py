"""The command line as a person meets it: real processes, real ports, real signals."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from playwright.async_api import Page, expect

from tests.services.http import client_at

pytestmark = pytest.mark.only_on("sqlite", reason="commands are told with files")

CRUDITE = str(Path(sys.executable).with_name("crudite"))
PATIENCE = 60.0

TODO = """
import asyncio
import time

from crudite import App, Field, Request, Resource, allow

class Todo(Resource, rules=allow.everyone):
    title: str = Field(min_length=1)

class Note(Resource):
    text: str

app = App(Todo, Note)

@app.read("slow")
async def slow(request: Request) -> str:
    await asyncio.sleep(1)
    return "done"

@app.read("held")
async def held(request: Request) -> str:
    time.sleep(0.5)
    return "done"
"""


class Running:
    """A server in a process of its own: what it says, and where it answers."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""

    async def until(self, pattern: str) -> str:
        """Reads what it says until a line that matches."""
        assert self.process.stdout is not None
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode()
            assert line, "it has ended, having said:\n" + "".join(self.said)
            self.said.append(line)
            if re.search(pattern, line):
                return line

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; the exit code."""
        self.process.send_signal(number)
        rest, _ = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        self.said.append(rest.decode())
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def serving(folder: Path, *arguments: str) -> AsyncIterator[Running]:
    """Runs a serving command on a free port and waits until it answers."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRUDITE_")}
    process = await asyncio.create_subprocess_exec(
        CRUDITE, *arguments, "--port", "0", cwd=folder, env=environment, stdout=PIPE, stderr=STDOUT
    )
    running = Running(process)
    try:
        line = await running.until(r"http://127\.0\.0\.1:\d+")
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None
        running.url = found.group()
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Asks again until the condition holds, as often as the answers come."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small application."""
    (tmp_path / "todo.py").write_text(TODO)
    return tmp_path


async def test_run_serves_until_a_signal_and_ends_with_success(folder: Path) -> None:
    async with (
        serving(folder, "run", "todo.py") as running,
        client_at(running.url) as client,
    ):
        created = await client.post("/todos", json={"title": "x"})
        assert created.status_code == 201
        assert [todo["title"] for todo in (await client.get("/todos")).json()] == ["x"]
        assert await running.end() == 0
    assert "todo.py" in running.said[0]
    assert "todo.db" in running.said[0]
    assert "Nobody may use Note" in "".join(running.said)
    assert "Traceback" not in "".join(running.said)
    assert (folder / "todo.db").exists()


async def test_ctrl_c_ends_it_with_success_too(folder: Path) -> None:
    async with serving(folder, "run", "todo.py") as running:
        assert await running.end(signal.SIGINT) == 0


async def test_a_stream_ends_at_once_and_a_request_under_way_is_answered(folder: Path) -> None:
    async with (
        serving(folder, "run", "todo.py", "--grace", "0") as running,
        client_at(running.url) as client,
    ):
        under_way = asyncio.create_task(client.get("/slow", timeout=PATIENCE))
        async with client.stream("GET", "/todos/subscribe") as stream:
            lines = stream.aiter_lines()
            while await anext(lines) != "event: ready":
                pass
            running.process.terminate()
            rest = [line async for line in lines]
        assert any(line.startswith("retry: ") for line in rest)
        assert not under_way.done()
        assert (await under_way).json() == "done"
        assert await asyncio.wait_for(running.process.wait(), PATIENCE) == 0


async def test_a_socket_hears_goodbye_before_it_is_closed(folder: Path) -> None:
    async with serving(folder, "run", "todo.py") as running:
        url = running.url.replace("http", "ws") + "/ws"
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol("crudite.v1")]) as socket:
            await socket.send('{"jsonrpc": "2.0", "id": 1, "method": "ping"}')
            await socket.recv()
            running.process.terminate()
            heard = [json.loads(message) async for message in socket]
            assert heard[-1]["method"] == "bye"
            assert socket.close_code == 1001
        assert await asyncio.wait_for(running.process.wait(), PATIENCE) == 0


async def test_only_the_names_that_are_given_are_answered_to(folder: Path) -> None:
    names = ("shop.example", "evil.example", "localhost")
    async with (
        serving(folder, "run", "todo.py", "--host-name", "shop.example") as running,
        client_at(running.url) as client,
    ):
        statuses = [(await client.get("/todos", headers={"host": name})).status_code for name in names]
    assert statuses == [200, 400, 200]


async def test_a_port_that_is_taken_is_told_in_two_lines(folder: Path) -> None:
    async with serving(folder, "run", "todo.py") as running:
        port = running.url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            CRUDITE, "run", "todo.py", "--port", port, cwd=folder, stdout=PIPE, stderr=STDOUT
        )
        said, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
    assert second.returncode == 1
    assert said.decode().splitlines() == [
        f"Error: port {port} is in use by another program.",
        f"Take another one: --port {int(port) + 1}",
    ]


async def test_dev_says_where_everything_is_and_opens_what_has_no_rules(folder: Path) -> None:
    async with (
        serving(folder, "dev", "todo.py") as running,
        client_at(running.url) as client,
    ):
        await running.until("Ctrl-C")
        said = "".join(running.said)
        for place in ("/todos", "/todos/subscribe", "/ws", "/crudite.js", "/docs", "todo.db"):
            assert place in said
        assert (await client.post("/notes", json={"text": "x"})).status_code == 201
        assert await running.end() == 0


async def test_dev_serves_a_changed_file_with_its_new_schema_and_ends_streams(folder: Path) -> None:
    async with (
        serving(folder, "dev", "todo.py") as running,
        client_at(running.url) as client,
    ):
        await client.post("/todos", json={"title": "x"})
        async with client.stream("GET", "/todos/subscribe") as stream:
            lines = stream.aiter_lines()
            while await anext(lines) != "event: ready":
                pass
            changed = TODO.replace("class Note", "    done: bool = False\n\nclass Note", 1)
            (folder / "todo.py").write_text(changed)
            async for _ in lines:
                pass
        await running.until("Schema: todos: add done")
        await running.until("Restarted")
        assert (await client.get("/todos")).json()[0]["done"] is False
        assert await running.end() == 0


async def test_dev_waits_for_a_broken_file_to_be_mended(folder: Path) -> None:
    async with (
        serving(folder, "dev", "todo.py") as running,
        client_at(running.url) as client,
    ):
        (folder / "todo.py").write_text("app = Ap()\n")
        await running.until("NameError")
        await running.until("Waiting for a change")
        (folder / "todo.py").write_text(TODO)
        await running.until("Restarted")
        assert (await client.get("/todos")).status_code == 200


async def test_dev_names_what_held_the_event_loop(folder: Path) -> None:
    async with serving(folder, "dev", "todo.py", "--no-reload") as running:
        async with client_at(running.url) as client:
            assert (await client.get("/held")).status_code == 200
        assert "held (todo.py:" in await running.until("The event loop was held")


async def test_the_page_of_a_new_project_is_live(tmp_path: Path, page: Page) -> None:
    made = await asyncio.create_subprocess_exec(CRUDITE, "new", "board", cwd=tmp_path, stdout=PIPE)
    await asyncio.wait_for(made.communicate(), PATIENCE)
    async with (
        serving(tmp_path / "board", "dev") as running,
        client_at(running.url) as client,
    ):
        errors: list[Any] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        await page.goto(running.url)
        await page.get_by_label("A new todo").fill("Water the plants")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("listitem")).to_have_text(["Water the plants×"])
        await eventually(lambda: _titles(client, ["Water the plants"]))
        await client.post("/todos", json={"title": "From elsewhere"})
        await expect(page.get_by_role("listitem")).to_have_count(2)
        await page.get_by_role("checkbox", name="From elsewhere").check()
        await page.get_by_role("button", name="Remove Water the plants").click()
        await eventually(lambda: _titles(client, ["From elsewhere"]))
        assert (await client.get("/todos")).json()[0]["done"] is True
        assert errors == []


async def test_the_tests_of_a_new_project_pass(tmp_path: Path) -> None:
    made = await asyncio.create_subprocess_exec(CRUDITE, "new", "board", cwd=tmp_path, stdout=PIPE)
    await asyncio.wait_for(made.communicate(), PATIENCE)
    tests = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        cwd=tmp_path / "board",
        stdout=PIPE,
        stderr=STDOUT,
    )
    said, _ = await asyncio.wait_for(tests.communicate(), PATIENCE)
    assert tests.returncode == 0, said.decode()
    assert "2 passed" in said.decode()


async def _titles(client: httpx2.AsyncClient, titles: list[str]) -> bool:
    return [todo["title"] for todo in (await client.get("/todos")).json()] == titles
