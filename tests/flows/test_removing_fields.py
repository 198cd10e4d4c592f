"""A field, a reference and a whole resource are removed from an application that is served by workers, under load."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from tests.services.http import client_at
from tests.services.stores import foreign, kept_store
from tests.services.workers import PATIENCE, Page, workers

OLD = """
from crudite import App, Field, Record, Ref, allow

class Team(Record[str], rules=allow.everyone):
    name: str = ""

class Visit(Record[int], rules=allow.everyone):
    page: str = "/"

class Todo(Record[str], rules=allow.everyone, max_limit=1_000_000):
    title: str
    prio: int = Field(default=3, index=True)
    note: str | None = Field(default=None, unique=True)
    team: Ref[Team] | None = None

app = App(Todo, Team, Visit)
"""

NEW = """
from crudite import App, Record, allow

class Team(Record[str], rules=allow.everyone):
    name: str = ""

class Todo(Record[str], rules=allow.everyone, max_limit=1_000_000):
    title: str

app = App(Todo, Team)
"""

SERVED = {"id", "title", "version", "created_at", "updated_at"}


class Load:
    """Clients that create, change, read and list records. `failures` is what was not answered as it should be, `shown`
    the fields that records were shown with, `done` how many rounds went well."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count()
        self.failures: list[str] = []
        self.shown: set[frozenset[str]] = set()
        self.done = 0

    @contextlib.asynccontextmanager
    async def running(self, clients: int = 4) -> AsyncIterator[None]:
        """Has them go on while the block lasts. Half of them keep their connection."""
        tasks = [asyncio.create_task(self._go_on(name % 2 == 0)) for name in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError), outcome

    async def until(self, rounds: int) -> None:
        """Waits until so many more rounds are done."""
        wanted = self.done + rounds
        async with asyncio.timeout(PATIENCE):
            while self.done < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _go_on(self, keeps: bool) -> None:
        limits = httpx2.Limits(max_keepalive_connections=1 if keeps else 0)
        async with client_at(self._url, timeout=PATIENCE, limits=limits) as client:
            while True:
                key = f"t{next(self._numbers)}"
                await self._ask(client, 201, "POST", "/todos", {"id": key, "title": "x"})
                await self._ask(client, 200, "PATCH", f"/todos/{key}", {"title": "y"})
                await self._ask(client, 200, "GET", f"/todos/{key}")
                await self._ask(client, 200, "GET", "/todos?limit=3&sort=-id")
                self.done += 1

    async def _ask(self, client: httpx2.AsyncClient, wanted: int, method: str, path: str, given: Any = None) -> None:
        try:
            answer = await client.request(method, path, json=given)
        except httpx2.TransportError as error:
            self.failures.append(f"{method} {path}: {error!r}")
            return
        if answer.status_code != wanted:
            self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return
        found = answer.json()
        self.shown.update(frozenset(record) for record in (found if isinstance(found, list) else [found]))


async def test_fields_and_a_resource_go_with_a_rolling_restart_and_no_request_fails(tmp_path: Path) -> None:
    store = kept_store()
    (tmp_path / "todo.py").write_text(OLD)
    async with (
        workers(tmp_path, 2, "--grace", "1", "--store", store) as (parent, _),
        contextlib.AsyncExitStack() as stack,
    ):
        load = Load(parent.url)
        pages = [await stack.enter_async_context(Page(parent.url).shown()) for _ in range(2)]
        async with load.running():
            await load.until(20)
            assert all(shown > SERVED for shown in load.shown)
            (tmp_path / "todo.py").write_text(NEW)
            since = len(parent.lines)
            parent.process.send_signal(signal.SIGHUP)
            await parent.until("all workers have been replaced", since)
            load.shown.clear()
            await load.until(20)
        assert load.failures == []
        assert load.shown == {frozenset(SERVED)}
        for left in ("column todos.prio", "column todos.note", "column todos.team", "table visits"):
            assert len(parent.said(f"{left} is not declared: `crudite db migrate --lose` takes it away")) == 1
        assert await foreign(store, "SELECT count(*) FROM todos WHERE prio = 3") == await foreign(
            store, "SELECT count(*) FROM todos"
        )
        async with client_at(parent.url, timeout=PATIENCE) as client:
            stored = (await client.get("/todos?limit=1000000&sort=id")).json()
        for page in pages:
            await page.view.until(lambda rows: sorted(rows, key=lambda row: row["id"]) == stored)
            assert page.refusals == []
