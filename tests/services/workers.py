"""A real `crudite run --workers N` in processes of its own, and clients that write to it and follow it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import websockets

from crudite.testing import View
from tests.services.http import client_at

CRUDITE = str(Path(sys.executable).with_name("crudite"))
PATIENCE = 60.0


class Parent:
    """The parent of several workers: what all of them say, and where they answer."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._heard = asyncio.Condition()

    async def read(self) -> None:
        """Reads what is said until all have ended."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._heard:
                self.lines.append(line.decode())
                self._heard.notify_all()

    def said(self, pattern: str, since: int = 0) -> list[re.Match[str]]:
        """The lines that match, after so many others."""
        return [found for line in self.lines[since:] if (found := re.search(pattern, line))]

    async def until(self, pattern: str, since: int = 0, times: int = 1) -> re.Match[str]:
        """Waits until so many lines match, after so many others; the last of them."""
        try:
            async with asyncio.timeout(PATIENCE), self._heard:
                await self._heard.wait_for(lambda: len(self.said(pattern, since)) >= times)
        except TimeoutError:
            raise TimeoutError(f"{pattern} was not said, but:\n{''.join(self.lines)}") from None
        return self.said(pattern, since)[times - 1]

    async def until_all_answer(self, count: int, since: int = 0) -> dict[int, int]:
        """Waits until workers 1 … `count` have said that they answer; the process of each."""
        for number in range(1, count + 1):
            await self.until(rf"worker {number} \(pid \d+\) answers", since)
        found = self.said(r"worker (\d+) \(pid (\d+)\) answers", since)
        return {int(one[1]): int(one[2]) for one in found}

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


@contextlib.asynccontextmanager
async def started(folder: Path, *arguments: str, terminal: int | None = None) -> AsyncIterator[Parent]:
    """Runs `crudite run` on a free port, maybe at a terminal; all that it started is gone when the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRUDITE_")}
    process = await asyncio.create_subprocess_exec(
        CRUDITE, "run", *arguments, "--port", "0", cwd=folder, env=environment, stdin=terminal, stdout=PIPE,
        stderr=STDOUT,
    )  # fmt: skip
    parent = Parent(process)
    reading = asyncio.create_task(parent.read())
    try:
        yield parent
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            process.send_signal(signal.SIGINT)  # now
        await asyncio.wait_for(reading, PATIENCE)  # the last worker has closed its end
        await process.wait()


@contextlib.asynccontextmanager
async def workers(folder: Path, count: int, *arguments: str) -> AsyncIterator[tuple[Parent, dict[int, int]]]:
    """Runs workers and waits until all of them answer: the parent, and their processes by number."""
    async with started(folder, "todo.py", "--workers", str(count), *arguments) as parent:
        parent.url = (await parent.until(r"at (http://127\.0\.0\.1:\d+)"))[1]
        yield parent, await parent.until_all_answer(count)


class Writers:
    """Clients that create records for as long as they are let. `acknowledged` are the keys that were answered with
    201, `failures` what came instead of an answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.acknowledged: list[str] = []
        self.failures: list[Exception] = []

    @contextlib.asynccontextmanager
    async def writing(self, clients: int = 6) -> AsyncIterator[None]:
        """Has them write while the block lasts. Half of them keep their connection, half take another each time."""
        tasks = [asyncio.create_task(self._write(name, name % 2 == 0)) for name in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError), outcome

    async def until(self, count: int) -> None:
        """Waits until so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(PATIENCE):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _write(self, name: int, keeps: bool) -> None:
        limits = httpx2.Limits(max_keepalive_connections=1 if keeps else 0)
        async with client_at(self._url, timeout=PATIENCE, limits=limits) as client:
            for n in range(1_000_000):
                try:
                    answer = await client.post("/todos", json={"id": f"{name}-{n}", "title": "x"})
                except httpx2.TransportError as error:
                    self.failures.append(error)
                    continue
                assert answer.status_code == 201, answer.text
                self.acknowledged.append(f"{name}-{n}")


class Page:
    """A page that shows all records over a WebSocket, and comes back with its cursor whenever it is cut off."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws", 1) + "/ws"
        self.view = View(PATIENCE)
        self.told: list[str] = []
        self.codes: list[int | None] = []
        self.refusals: list[Exception] = []
        self._frames: list[Any] = []

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator["Page"]:
        """Is there while the block lasts."""
        async with self.view.following(self._stay()):
            await self.view.ready()
            yield self

    async def _stay(self) -> None:
        while True:
            try:
                connection = await websockets.connect(self._url, compression=None, max_size=None)
            except (OSError, websockets.InvalidHandshake) as error:
                self.refusals.append(error)
                continue
            async with connection:
                await connection.send(json.dumps(self._subscribe()))
                self._frames.clear()
                with contextlib.suppress(websockets.ConnectionClosed):
                    while True:
                        heard = json.loads(await connection.recv())
                        for message in heard if isinstance(heard, list) else [heard]:
                            self._take(message)
            self.codes.append(connection.close_code)

    def _subscribe(self) -> Any:
        params = {"sub": "s", "resource": "todos"}
        if self.view.cursor is not None and self.view.key is not None:
            params |= {"cursor": self.view.cursor, "key": self.view.key}
        return {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}

    def _take(self, message: Any) -> None:
        if "result" in message:
            result = message["result"]
            self.view.key = result["key"]
            self.view.expect(result["sort"])
            if not result["resumed"]:
                self.view.void()
            return
        params = message["params"]
        self.told.append(message["method"])
        match message["method"]:
            case "snapshot":
                for record in params["records"]:
                    self.view.tell("added", record)
            case "frame":
                self._frames.append(params)
            case "commit":
                for frame in self._frames:
                    self.view.tell_frame(frame)
                self._frames.clear()
                self.view.cursor = params["cursor"]
            case "ready":
                self.view.cursor = params["cursor"]
                self.view.tell("ready", {})
            case "reset":
                self.view.void()


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """Has a process stand still while the block lasts."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Asks again until the condition holds; for what nothing tells."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_there(process: int) -> bool:
    """Whether a process, which is no child of ours, is still there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
