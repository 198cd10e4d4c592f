"""A client that takes nothing for a while: it stays connected, delays nobody, and holds what it should afterwards."""

import asyncio

import pytest

from crudite import App, Record, allow
from tests.faults.tabs import SocketTab, StreamTab, Tab
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

TIMES, SIZE = 350, 40_000  # more than the buffers of any system hold


class Todo(Record[int], rules=allow.everyone):
    title: str = ""


@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("speaks", [SocketTab, StreamTab], ids=["websocket", "sse"])
async def test_it_is_told_in_the_end_what_it_was_not_told_step_by_step(kind: Kind, speaks: type[Tab]) -> None:
    slow, fast = speaks(), SocketTab()
    async with App(Todo, store=fresh_store()) as app, running(app, kind) as port, asyncio.TaskGroup() as tasks:
        await app.records.create(Todo, id=1, title="before")
        living = [tasks.create_task(tab.stay(port)) for tab in (slow, fast)]
        for tab in (slow, fast):
            await tab.until(lambda tab=tab: tab.is_ready)
        slow.takes.clear()
        most = 0
        for number in range(TIMES):
            await app.records.update(Todo, 1, title=f"{number}" + "x" * SIZE)
            await fast.until(lambda number=number: fast.rows[1]["title"].startswith(f"{number}x"))
            most = max(most, *(connection.outbox.size for connection in app.engine.connections))
        await app.records.create(Todo, id=2, title="after")
        slow.takes.set()
        await fast.until(lambda: len(fast.rows) == 2)
        await slow.until(lambda: slow.rows == fast.rows)  # a stream tells of one record after the other
        for task in living:
            task.cancel()
    assert (slow.resets, app.engine.metrics.slow_closes, app.engine.metrics.resets.total()) == (0, 0, 0)
    assert app.engine.metrics.catch_ups > 0
    assert app.engine.limits.outbox // 4 < most <= app.engine.limits.outbox
    assert slow.taken < TIMES * SIZE
