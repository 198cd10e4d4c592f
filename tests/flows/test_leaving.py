"""A served application that is told to end: it says that it is not ready, and finishes what has begun."""

import asyncio
from pathlib import Path

import pytest

from tests.flows.test_cli import PATIENCE, eventually, serving
from tests.services.http import client_at

pytestmark = pytest.mark.only_on("sqlite", reason="what a process does when it is told to end asks no store")

WAITING = """
import asyncio
from crudite import App, Record, Request, allow


class Todo(Record[int], rules=allow.everyone):
    title: str = ""


app = App(Todo)
begun, finished = asyncio.Event(), asyncio.Event()


@app.read("wait")
async def wait(request: Request) -> str:
    begun.set()
    await finished.wait()
    return "done"


@app.read("begun")
async def has_begun(request: Request) -> bool:
    return begun.is_set()


@app.create("finish")
async def finish(request: Request) -> None:
    finished.set()
"""


async def test_whoever_is_told_to_end_is_not_ready_and_finishes_what_has_begun(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    async with serving(tmp_path, "run", "waiting.py") as server, client_at(server.url) as other:
        async with client_at(server.url) as client, asyncio.TaskGroup() as tasks:
            begun = tasks.create_task(other.get("/wait", timeout=PATIENCE))

            async def has_begun() -> bool:
                return bool((await client.get("/begun")).json())

            async def is_leaving() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await eventually(has_begun)
            assert (await client.get("/readyz")).text == "ok\n"
            server.process.terminate()
            await eventually(is_leaving)
            assert (await client.get("/readyz")).text == "The application is going away.\n"
            assert (await client.get("/livez")).status_code == 200
            assert (await client.post("/finish", json={})).status_code in (200, 204)
        assert (begun.result().status_code, begun.result().json()) == (200, "done")
        assert await asyncio.wait_for(server.process.wait(), PATIENCE) == 0
