"""Another process brings the schema to that of the application's next version, under subscriptions that are open."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import pytest

from crudite import App, Record, allow
from crudite.testing import Client, View
from crudite.testing.socket import Socket
from tests.services.stores import kept_store

PATIENCE = 30.0
OVER: tuple[Literal["sse", "websocket"], ...] = ("sse", "websocket")
QUERIES: tuple[dict[str, Any], ...] = (
    {},
    {"where": {"points": {"gt": 1}}},
    {"sort": ["-points"], "limit": 2},
    {"search": "apple"},
)

WIDER = """
class Note(Record[int], rules=allow.everyone, search=("title",)):
    title: str = ""
    points: int = 0
    colour: str = "red"

class Visit(Record[int], rules=allow.everyone):
    note: int = 0
"""

HIDING = """
class Note(Record[int], rules=allow.everyone, search=("title",)):
    title: str = ""
    points: int = Field(default=0, read=allow.signed_in)
"""

NARROWER = """
class Note(Record[int], rules=allow.everyone, search=("title",)):
    title: str = ""
"""

LIVING = """
import asyncio, sys
from crudite import App, Field, Record, allow
{resources}
async def main():
    app = App(Note, store=sys.argv[1])
    await app.store.migrate(app.definitions.catalog, lose=True)
    async with app:
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, key, *values = line.split()
            given = dict(zip(values[::2], map(int, values[1::2])))
            if what == "create":
                await app.records.create(Note, id=int(key), title="apple", **given)
            else:
                await app.records.update(Note, int(key), **given)
            await app.settled()
            print("done", flush=True)

asyncio.run(main())
"""


class Note(Record[int], rules=allow.everyone, search=("title",)):
    title: str = ""
    points: int = 0


@asynccontextmanager
async def next_version(store: str, resources: str) -> AsyncIterator[Process]:
    """A process in which the next version of the application has migrated and runs, and does what it is told."""
    program = LIVING.format(resources=resources)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, store, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def perform(process: Process, line: str) -> str:
    """Has the other process do something; what it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()


def resets(view: View) -> list[str]:
    """The reasons of all resets so far."""
    return [data["reason"] for kind, data in view.events if kind == "reset"]


@asynccontextmanager
async def open_subscriptions(store: str) -> AsyncIterator[tuple[Client, list[tuple[View, dict[str, Any]]]]]:
    """The application of today with four notes, and every query live over both interfaces."""
    async with Client(App(Note, store=store), timeout=PATIENCE) as client, AsyncExitStack() as stack:
        await client.post("/notes", [{"id": n, "title": f"apple {n}", "points": n} for n in range(1, 5)])
        views = [
            (await stack.enter_async_context(client.live("notes", over=over, **query)), query)
            for over in OVER
            for query in QUERIES
        ]  # fmt: skip
        for view, _ in views:
            await view.ready()
        yield client, views


async def same_as_fresh(client: Client, views: list[tuple[View, dict[str, Any]]]) -> None:
    """Waits until every view holds what a request with its query shows."""
    for view, query in views:
        answer = await client.post("/notes/query", query)
        assert answer.status == 200, answer
        await view.until(lambda rows, wanted=answer.json: rows == wanted)  # type: ignore[misc]


@pytest.mark.parametrize("resources", [WIDER, HIDING], ids=["more fields", "a field that not all may read"])
async def test_whoever_is_live_is_reset_once_and_goes_on_beside_the_next_version(resources: str) -> None:
    store = kept_store()
    async with open_subscriptions(store) as (client, views):
        async with next_version(store, resources) as other:
            for number in range(10, 15):
                assert await perform(other, f"create {number} points {number}") == "done"
                await same_as_fresh(client, views)
                await client.patch("/notes/2", {"points": 10 * number})
                await same_as_fresh(client, views)
                assert await perform(other, f"update {number} points {20 * number}") == "done"
                await same_as_fresh(client, views)
        await client.delete("/notes/1")
        await same_as_fresh(client, views)
        assert [resets(view) for view, _ in views] == [["schema"]] * len(views)


async def test_what_is_held_is_void_where_the_next_version_has_taken_a_field_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = kept_store()
    async with open_subscriptions(store) as (client, _), client.websocket() as socket:
        for number, query in enumerate(QUERIES):
            await socket.subscribe(f"s{number}", {"resource": "notes", "query": query}, View(PATIENCE))
        async with client.stream("/notes/subscribe") as stream:
            await stream.until("ready")
            async with next_version(store, NARROWER) as other:
                assert await perform(other, "create 10") == "done"
            assert [(event.kind, event.data) for event in await stream.until("reset")] == [
                ("reset", {"reason": "schema"})
            ]
        async with asyncio.timeout(PATIENCE):
            while len(told := told_resets(socket)) < len(QUERIES):
                await socket.call("ping")
        assert told == {f"s{number}": "schema" for number in range(len(QUERIES))}
        answer = await client.get("/notes")
        assert (answer.status, "schema" in str(answer.json)) == (503, False)
        assert "the schema is not what this process declares: maybe another version" in caplog.text


def told_resets(socket: Socket) -> dict[str, str]:
    """Why each subscription of a connection was reset."""
    resets = [message["params"] for message in socket.notifications if message["method"] == "reset"]
    return {reset["sub"]: reset["reason"] for reset in resets}
