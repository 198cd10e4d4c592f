"""A server dies under two thousand clients, who all come back at once: the log tells what they missed, and no query is
run for any of them."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

from tests.faults.tabs import SocketTab, StreamTab, Tab, room_for, served
from tests.services.http import client_at
from tests.services.stores import kept_store

CLIENTS = 2_000

PROGRAM = """
from crudite import App, Limits, Record, allow

class Todo(Record[int], rules=allow.everyone, max_limit=100_000):
    title: str = ""

app = App(Todo, store={store!r}, limits=Limits(connections=10_000, arrivals=10_000))
"""


async def move(tab: Tab, old: int, new: "asyncio.Future[int]") -> None:
    """Lives on one server and, when that is gone and there is a new one, on that."""
    await tab.remain(old)
    await tab.remain(await new)


def figure(text: str, name: str) -> float:
    """One of the figures that a server shows."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


async def test_all_resume_after_a_kill_and_no_snapshot_is_read(tmp_path: Path) -> None:
    (tmp_path / "todos.py").write_text(PROGRAM.format(store=kept_store()))
    tabs = [kind() for kind in (SocketTab, StreamTab) * (CLIENTS // 2)]
    new: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        stack.enter_context(room_for(CLIENTS))
        async with served(tmp_path) as (process, port):
            living = [tasks.create_task(move(tab, port, new)) for tab in tabs]
            for tab in tabs:
                await tab.until(lambda tab=tab: tab.is_ready)
            async with client_at(f"http://127.0.0.1:{port}", timeout=60) as client:
                await client.post("/todos", json=[{"id": number, "title": "before"} for number in range(10)])
            process.kill()
        async with served(tmp_path) as (_, port):
            async with client_at(f"http://127.0.0.1:{port}", timeout=60) as client:
                await client.patch("/todos/1", json={"title": "while they were away"})
                await client.delete("/todos/2")
                new.set_result(port)
                for tab in tabs:
                    await tab.until(lambda tab=tab: tab.is_ready)
                await client.post("/todos", json={"id": 11, "title": "after"})
                stored = {row["id"]: row for row in (await client.get("/todos?limit=100000")).json()}
                for tab in tabs:
                    await tab.until(lambda tab=tab: 11 in tab.rows)
                figures = (await client.get("/metrics")).text
            for task in living:
                task.cancel()

    assert all(tab.rows == stored for tab in tabs)
    assert [(tab.resumed, tab.resets) for tab in tabs] == [(1, 0)] * CLIENTS
    assert figure(figures, "crudite_live_snapshots_total") == 0
    assert figure(figures, "crudite_live_resumes_total") == CLIENTS
