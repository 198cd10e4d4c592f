"""Several workers on one socket: they come and go, and clients see no gap. Real processes, signals and connections."""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.services.http import client_at
from tests.services.workers import PATIENCE, Page, Writers, eventually, is_there, started, stopped, workers

TODO = """
import asyncio
import logging
import os
import time

from crudite import App, Record, Request, allow

class Todo(Record[str], rules=allow.everyone, max_limit=1_000_000):
    title: str

app = App(Todo)

@app.read("who")
async def who(request: Request) -> int:
    return os.getpid()

@app.read("tell")
async def tell(request: Request) -> int:
    logging.warning("here")
    return os.getpid()

@app.read("slow")
async def slow(request: Request) -> str:
    await asyncio.sleep(1)
    return "done"

@app.read("endless")
async def endless(request: Request) -> None:
    await asyncio.Event().wait()

@app.read("held")
async def held(request: Request) -> str:
    time.sleep(600)
    return "done"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small application."""
    (tmp_path / "todo.py").write_text(TODO)
    return tmp_path


async def records(url: str) -> list[Any]:
    """All records, in the order of their keys."""
    async with client_at(url, timeout=PATIENCE) as client:
        answer = await client.get("/todos?limit=1000000&sort=id")
        found: list[Any] = answer.json()
        return found


async def who(url: str) -> int:
    """The process that answers a new connection."""
    async with client_at(url, timeout=PATIENCE) as client:
        process: int = (await client.get("/who")).json()
        return process


async def sockets(stack: contextlib.AsyncExitStack, url: str, count: int) -> Counter[int]:
    """Opens WebSockets, one after another; how many of them each process has."""
    found: Counter[int] = Counter()
    for _ in range(count):
        connection = await stack.enter_async_context(websockets.connect(url.replace("http", "ws") + "/ws"))
        await connection.send('{"jsonrpc":"2.0","id":1,"method":"who"}')
        found[json.loads(await connection.recv())["result"]["data"]] += 1
    return found


async def shows_all(page: Page, url: str) -> None:
    """The page holds what is stored, and nothing was lost or told anew on the way."""
    stored = await records(url)
    await page.view.until(lambda rows: len(rows) >= len(stored))
    assert sorted(page.view.records, key=lambda row: row["id"]) == stored
    assert "reset" not in page.told
    assert page.told.count("snapshot") <= 1


async def test_who_comes_goes_to_the_worker_with_the_fewest_connections_also_after_one_was_killed(
    folder: Path,
) -> None:
    async with workers(folder, 2) as (parent, processes), contextlib.AsyncExitStack() as stack:
        found = await sockets(stack, parent.url, 20)
        assert set(found) == set(processes.values())
        assert min(found.values()) >= 8
        assert len(parent.said("serves todo.py at .* 2 workers")) == 1
        os.kill(processes[1], signal.SIGKILL)
        fresh = int((await parent.until(r"worker 1 \(pid (\d+)\) answers", times=2))[1])
        assert (await sockets(stack, parent.url, 10))[fresh] >= 8


async def test_a_worker_that_is_killed_loses_nothing_that_was_acknowledged_and_another_takes_its_place(
    folder: Path,
) -> None:
    async with workers(folder, 2) as (parent, processes), contextlib.AsyncExitStack() as stack:
        writers = Writers(parent.url)
        pages = [await stack.enter_async_context(Page(parent.url).shown()) for _ in range(4)]
        async with writers.writing():
            await writers.until(50)
            os.kill(processes[2], signal.SIGKILL)
            await parent.until(r"worker 2 \(pid \d+\) was ended by SIGKILL; another one starts$")
            await writers.until(50)
            again = int((await parent.until(r"worker 2 \(pid (\d+)\) answers", times=2))[1])
            await writers.until(50)
            os.kill(again, signal.SIGKILL)
            await parent.until(r"worker 2 \(pid \d+\) was ended by SIGKILL; another one starts in 1 s$")
        assert writers.failures
        assert not any(isinstance(failure, httpx2.ConnectError) for failure in writers.failures)
        assert set(writers.acknowledged) <= {row["id"] for row in await records(parent.url)}
        for page in pages:
            await shows_all(page, parent.url)
            assert page.refusals == []
        assert 1006 in {code for page in pages for code in page.codes}


async def test_when_workers_are_replaced_nobody_is_refused_or_cut_off_and_every_page_goes_on(folder: Path) -> None:
    async with workers(folder, 2, "--grace", "5") as (parent, processes), contextlib.AsyncExitStack() as stack:
        writers = Writers(parent.url)
        pages = [await stack.enter_async_context(Page(parent.url).shown()) for _ in range(4)]
        async with writers.writing():
            await writers.until(50)
            since = len(parent.lines)
            parent.process.send_signal(signal.SIGHUP)
            successors = await parent.until_all_answer(2, since)
            await parent.until("all workers have been replaced", since)
            await writers.until(50)
        assert not any(is_there(process) for process in processes.values())
        assert all(is_there(process) for process in successors.values())
        assert writers.failures == []
        assert set(writers.acknowledged) <= {row["id"] for row in await records(parent.url)}
        for page in pages:
            await shows_all(page, parent.url)
            assert (page.refusals, set(page.codes), set(page.told) & {"bye"}) == ([], {1001}, {"bye"})


async def test_a_new_worker_that_does_not_come_up_leaves_the_old_ones_and_places_come_and_go(folder: Path) -> None:
    async with workers(folder, 2, "--grace", "1") as (parent, processes):
        (folder / "todo.py").write_text("app = Ap()\n")
        parent.process.send_signal(signal.SIGHUP)
        await parent.until("NameError")
        await parent.until(r"ended with exit code 1 before it answered; the others stay as they are")
        assert {await who(parent.url) for _ in range(10)} <= set(processes.values())
        async with client_at(parent.url, timeout=PATIENCE) as client:
            told = (await client.get("/tell")).json()
        here = await parent.until(r"\[worker (\d), pid (\d+)\] root: here")
        assert processes[int(here[1])] == int(here[2]) == told

        (folder / "todo.py").write_text(TODO)
        parent.process.send_signal(signal.SIGTTIN)
        third = int((await parent.until(r"worker 3 \(pid (\d+)\) answers"))[1])
        parent.process.send_signal(signal.SIGTTOU)

        async def has_gone() -> bool:
            return not is_there(third)

        await eventually(has_gone)
        assert all(is_there(process) for process in processes.values())
        assert not parent.said(r"worker 3 .* another one starts")


async def test_when_the_parent_is_killed_the_workers_take_their_leave(folder: Path) -> None:
    async with workers(folder, 2, "--grace", "5") as (parent, processes), contextlib.AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(websockets.connect(parent.url.replace("http", "ws") + "/ws"))
            for _ in range(4)
        ]
        client = await stack.enter_async_context(client_at(parent.url, timeout=PATIENCE))
        for connection in connections:
            await connection.send('{"jsonrpc":"2.0","id":1,"method":"ping"}')
            await connection.recv()
        slow = asyncio.create_task(client.get("/slow"))
        await client.get("/who")  # behind the slow one, which has been begun
        parent.process.kill()
        for connection in connections:
            heard = [json.loads(message) async for message in connection]
            assert (heard[-1]["method"], connection.close_code) == ("bye", 1001)
        assert (await slow).json() == "done"

        async def have_gone() -> bool:
            return not any(is_there(process) for process in processes.values())

        await eventually(have_gone)
        with pytest.raises(httpx2.ConnectError):
            await client.get("/who")


async def test_on_sigterm_all_workers_take_their_leave(folder: Path) -> None:
    async with workers(folder, 2, "--grace", "2") as (parent, processes), contextlib.AsyncExitStack() as stack:
        writers = Writers(parent.url)
        pages = [await stack.enter_async_context(Page(parent.url).shown()) for _ in range(2)]
        async with writers.writing(2):
            await writers.until(10)
            parent.process.terminate()
            assert await parent.ended() == 0
        assert not any(is_there(process) for process in processes.values())
        assert all(page.told[-1] == "bye" and page.codes[0] == 1001 for page in pages)
        assert not parent.said("Traceback|Error|ERROR")


async def test_whoever_comes_late_is_refused_and_a_second_ctrl_c_ends_all_at_once(folder: Path) -> None:
    async with (
        workers(folder, 2, "--grace", "500") as (parent, processes),
        client_at(parent.url, timeout=PATIENCE) as client,
    ):
        endless = asyncio.create_task(client.get("/endless"))
        await client.get("/who")  # behind the endless one, which has been begun
        parent.process.send_signal(signal.SIGINT)

        async def is_leaving() -> bool:
            with contextlib.suppress(httpx2.ReadError, httpx2.RemoteProtocolError):  # on a connection that was idle
                answer = await client.get("/readyz")
                return (answer.status_code, answer.headers.get("connection")) == (503, "close")
            return False

        async def refuses() -> bool:
            with contextlib.suppress(httpx2.ReadError, httpx2.RemoteProtocolError):
                try:
                    await client.get("/who")
                except httpx2.ConnectError:
                    return True
            return False

        await eventually(is_leaving)
        await eventually(refuses)
        assert not endless.done()
        parent.process.send_signal(signal.SIGINT)
        assert await parent.ended() == 0
        assert not any(is_there(process) for process in processes.values())
        assert (await endless).status_code == 500


async def test_a_terminal_that_goes_away_ends_all_and_replaces_nobody(folder: Path) -> None:
    screen, terminal = os.openpty()
    async with started(folder, "todo.py", "--workers", "2", "--grace", "1", terminal=terminal) as parent:
        os.close(terminal)
        await parent.until_all_answer(2)
        os.close(screen)
        parent.process.send_signal(signal.SIGHUP)
        assert await parent.ended() == 0
    assert len(parent.said("answers")) == 2


async def test_a_worker_that_hangs_says_where_and_is_replaced_one_that_is_stopped_is_waited_for(folder: Path) -> None:
    async with (
        workers(folder, 2, "--hung-after", "1") as (parent, processes),
        client_at(parent.url, timeout=PATIENCE) as client,
    ):
        with stopped(processes[1]):
            with pytest.raises(httpx2.TransportError):
                await client.get("/held")
            await parent.until(r"worker 2 \(pid \d+\) has given no sign of life for 1 s; it is killed")
            await parent.until(r"todo.py.* in held")
            await parent.until(r"worker 2 \(pid \d+\) answers", times=2)
        assert is_there(processes[1])
        assert not parent.said("worker 1 .* is killed")


async def test_a_first_worker_that_cannot_start_is_told_once_and_its_exit_code_is_the_parents(folder: Path) -> None:
    (folder / "todo.py").write_text(TODO.replace("app = App", "app = Ap"))
    async with started(folder, "todo.py", "--workers", "3") as parent:
        assert await parent.ended() == 1
    assert len(parent.said("NameError")) == 1
    assert not parent.said("another one starts")


async def test_a_database_in_memory_is_refused(folder: Path) -> None:
    async with started(folder, "todo.py", "--workers", "2", "--store", "sqlite:///:memory:") as parent:
        assert await parent.ended() == 1
    assert [line.strip() for line in parent.lines] == [
        "Error: a database in memory lives in one process.",
        "Give a file by --store (or to Mirrored: mirror=), or run one worker.",
    ]
