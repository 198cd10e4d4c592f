"""The application behind the browser tests: tasks by rank, a live number, and a gate that holds writes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from crudite import App, Count, Field, Request, Resource, allow


class Task(Resource, rules=allow.everyone):
    title: str = Field(min_length=1, max_length=20)
    rank: int = Field(ge=0)


app = App(Task)
app.files("/", Path(__file__).parent / "static")
gate = asyncio.Event()
gate.set()


@app.read("count")
async def count(request: Request) -> Count:
    return Task.where().count()


@app.create("gate")
async def move_gate(request: Request, open: bool) -> bool:
    if open:
        gate.set()
    else:
        gate.clear()
    return open


@app.use(name="tasks", action=("create", "update", "delete"))
async def wait_at_gate(request: Request, next: Callable[[], Awaitable[Any]]) -> Any:
    await gate.wait()
    return await next()
