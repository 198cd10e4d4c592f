"""The server is killed while a hundred clients write: what was acknowledged is there once."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from crudite.testing import View
from tests.services.http import client_at
from tests.services.stores import foreign, kept_store

CLIENTS = 100

PROGRAM = """
from crudite import App, Record, allow

class Todo(Record[str], rules=allow.everyone, max_limit=100_000):
    title: str
    count: int = 0

app = App(Todo, store={store!r})
"""


@contextlib.asynccontextmanager
async def serving(directory: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A uvicorn with the program, in a process of its own, once it answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "uvicorn",
        "program:app",
        "--port",
        str(port),
        "--log-level",
        "error",
        cwd=directory,
    )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, "it has ended instead"
                    await asyncio.sleep(0.02)  # another process's start cannot be awaited
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def write_until_killed(url: str, name: int, acknowledged: dict[str, int]) -> None:
    """Creates a record and counts it up, noting what was acknowledged, until the server is gone."""
    async with client_at(url, timeout=10) as client:
        with contextlib.suppress(httpx2.TransportError):
            for n in range(10_000):
                key = f"{name}-{n}"
                answer = await client.post("/todos", json={"id": key, "title": "x"})
                assert answer.status_code == 201
                acknowledged[key] = 0
                answer = await client.patch(f"/todos/{key}", json={"count": 1})
                assert answer.status_code == 200
                acknowledged[key] = 1


class Follower:
    """A subscriber like a browser's: comes back with the last id that it has seen."""

    def __init__(self, url: str) -> None:
        self.view = View(30.0)
        self.last_id: str | None = None
        self.kinds: list[str] = []
        self._url = url
        self.heard = asyncio.Event()

    async def follow(self) -> None:
        """Applies what comes until the connection ends."""
        headers = {"last-event-id": self.last_id} if self.last_id else {}
        async with client_at(self._url, timeout=None) as client:
            with contextlib.suppress(httpx2.TransportError):
                async with client.stream("GET", "/todos/subscribe", headers=headers) as stream:
                    left = ""
                    async for text in stream.aiter_text():
                        *blocks, left = (left + text).split("\n\n")
                        for block in blocks:
                            self._take(dict(line.split(": ", 1) for line in block.split("\n") if ": " in line))

    def _take(self, event: dict[str, str]) -> None:
        self.last_id = event.get("id", self.last_id)
        if "data" in event:
            self.kinds.append(event["event"])
            self.view.tell(event["event"], msgspec.json.decode(event["data"]))
        self.heard.set()

    async def until_equal(self, wanted: dict[str, Any]) -> None:
        """Waits until it holds exactly these records."""
        async with asyncio.timeout(30):
            while {row["id"]: row for row in self.view.records} != wanted:
                self.heard.clear()
                await self.heard.wait()


async def test_what_was_acknowledged_before_a_kill_is_there_once_and_subscribers_resume(
    tmp_path: Path,
) -> None:
    store = kept_store()
    (tmp_path / "program.py").write_text(PROGRAM.format(store=store))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    acknowledged: dict[str, int] = {}
    followers = [Follower(url) for _ in range(3)]

    async with serving(tmp_path, port) as process:
        following = [asyncio.create_task(follower.follow()) for follower in followers]
        writing = [asyncio.create_task(write_until_killed(url, n, acknowledged)) for n in range(CLIENTS)]
        async with asyncio.timeout(60):
            while len(acknowledged) < 5 * CLIENTS:
                await asyncio.wait([*writing], timeout=0.05)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.gather(*writing, *following)
    for follower in followers:
        follower.kinds.clear()

    async with serving(tmp_path, port), client_at(url, timeout=30) as client:
        following = [asyncio.create_task(follower.follow()) for follower in followers]
        await client.post("/todos", json={"id": "after", "title": "after"})
        stored = {row["id"]: row for row in (await client.get("/todos?limit=100000")).json()}
        for follower in followers:
            await follower.until_equal(stored)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    assert acknowledged.keys() <= stored.keys()
    assert all(stored[key]["count"] >= count for key, count in acknowledged.items())
    assert "reset" not in {kind for follower in followers for kind in follower.kinds}
    assert await log_agrees(store, stored)


async def log_agrees(store: str, stored: dict[str, Any]) -> bool:
    """Whether the log, replayed from its beginning, gives the table, and holds each creation once."""
    held: dict[str, Any] = {}
    created: list[str] = []
    for row in await foreign(
        store, "SELECT '[' || coalesce(before, 'null') || ',' || after || ']' FROM _changes ORDER BY seq"
    ):
        before, after = msgspec.json.decode(row)
        if before is None:
            created.append(after["id"])
        held[after["id"]] = after
    return held == stored and len(created) == len(set(created)) == len(stored)
