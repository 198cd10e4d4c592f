"""A server is told to end under two hundred clients, who go on at the next one, step by step and without a gap."""

import asyncio
import contextlib
from pathlib import Path

from tests.faults.tabs import SocketTab, StreamTab, Tab, served
from tests.services.http import client_at
from tests.services.stores import kept_store

CLIENTS = 200

PROGRAM = """
from crudite import App, Record, allow

class Todo(Record[int], rules=allow.everyone, max_limit=100_000):
    title: str = ""

app = App(Todo, store={store!r})
"""


async def move(tab: Tab, old: int, new: int) -> None:
    """Lives on one server and, when that is gone, on the next."""
    await tab.remain(old)
    await tab.remain(new)


async def test_all_move_to_the_next_server_in_steps_and_miss_nothing(tmp_path: Path) -> None:
    (tmp_path / "todos.py").write_text(PROGRAM.format(store=kept_store()))
    written = 0
    gone: list[int] = []  # for each goodbye, in order, how much had been written by then
    tabs = [kind(lambda _: gone.append(written)) for kind in (SocketTab, StreamTab) * (CLIENTS // 2)]

    async with served(tmp_path) as (old, old_port), served(tmp_path) as (_, new_port), asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(move(tab, old_port, new_port)) for tab in tabs]
        for tab in tabs:
            await tab.until(lambda tab=tab: tab.is_ready)

        async with client_at(f"http://127.0.0.1:{new_port}", timeout=30) as client:
            old.terminate()
            while old.returncode is None:
                written += 1
                answer = await client.post("/todos", json={"id": written, "title": f"t{written}"})
                assert answer.status_code == 201
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(old.wait()), 0.01)
            assert old.returncode == 0
            stored = {row["id"]: row for row in (await client.get("/todos?limit=100000")).json()}
        for tab in tabs:
            await tab.until(lambda tab=tab: tab.is_ready and tab.rows.keys() >= stored.keys())
        for task in living:
            task.cancel()

    assert [tab.byes for tab in tabs] == [1] * CLIENTS
    assert min(gone) > 1  # at first it only said that it was not ready
    assert len(set(gone)) >= 10  # there was time to write between its steps
    assert max(map(gone.count, gone)) <= CLIENTS // 4
    assert [(tab.resumed, tab.resets) for tab in tabs] == [(1, 0)] * CLIENTS
    assert all(tab.rows == stored for tab in tabs)
