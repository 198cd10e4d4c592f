"""What live queries must stand on one node, as stories: a flood, revocation for a thousand, a restore, a migration."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from crudite import App, Many, Parent, Record, allow, me
from crudite.testing import Client, View
from tests.flows.worlds import by_name
from tests.services.stores import foreign, fresh_store, kept_store

OVER: tuple[Literal["sse", "websocket"], ...] = ("sse", "websocket")
PATIENCE = 60.0
MANY = 100_000
CROWD = 1_000


class Project(Record[str], rules=allow.everyone):
    title: str = ""
    members: Many["Member"]


class Member(Record[int], rules=allow.everyone):
    project: Parent[Project]
    user: str


class Task(Record[int], rules={"read": allow.where(project__members__user=me.id), "write": allow.everyone}):
    project: Parent[Project]
    points: int = 0


class Note(Record[int], rules=allow.everyone):
    title: str
    points: int = 0


class Other(Record[int], rules=allow.everyone):
    title: str


def at(store: str, *resources: type[Any]) -> Client:
    """A client for the resources in a store."""
    return Client(App(*resources, store=store, auth=by_name), timeout=PATIENCE)


def kinds(view: View) -> list[str]:
    """The kinds of all events so far."""
    return [kind for kind, _ in view.events]


async def crowd(stack: AsyncExitStack, client: Client, size: int, url: str, **query: Any) -> list[View]:
    """So many subscriptions, a hundred on a connection, all of them ready."""
    views = [View(PATIENCE) for _ in range(size)]
    sockets = [await stack.enter_async_context(client.websocket()) for _ in range(0, size, 100)]
    for number, view in enumerate(views):
        await sockets[number // 100].subscribe(f"s{number}", {"resource": url, "query": query}, view)
    for view in views:
        await view.ready()
    return views


async def heard_by(client: Client, views: list[View]) -> None:
    """Returns when everything that was committed has come to the views."""
    async with asyncio.timeout(PATIENCE):
        await client.app.engine.settled()
        for view in views:
            await view.until(lambda _, view=view: kinds(view)[-1:] == ["ready"])  # type: ignore[misc]


async def test_a_transaction_of_a_hundred_thousand_changes_resets_a_thousand_subscribers_and_starves_nobody() -> None:
    store = kept_store()
    async with at(store, Note, Other) as client, AsyncExitStack() as stack:
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
        await foreign(store, f"INSERT INTO notes (id, title) {numbers} SELECT i, 'note ' || i FROM n")
        subscribers = await crowd(stack, client, CROWD, "notes", where={"id": {"lte": 1_200}}, fields=["id", "points"])
        calm = (await crowd(stack, client, 1, "notes", where={"id": 7}, fields=["id", "points"]))[0]
        others = await stack.enter_async_context(client.live("others", over="websocket"))
        await others.ready()
        await foreign(store, "UPDATE notes SET points = 5")
        await client.post("/others", {"title": "beside the flood"})
        await others.until(lambda rows: [row["title"] for row in rows] == ["beside the flood"])
        assert "reset" not in kinds(others)
        await subscribers[-1].until(lambda rows: len(rows) == 1_200 and {row["points"] for row in rows} == {5})
        await heard_by(client, subscribers)
        for number, view in enumerate(subscribers):
            assert [kind for kind in kinds(view) if kind != "added"] == ["ready", "reset", "ready"]
            if number % 50 == 0:  # all of one connection got the same bytes
                assert [row["points"] for row in view.records] == [5] * 1_200
        await calm.until(lambda rows: rows == [{"id": 7, "points": 5}])
        await client.patch("/notes/7", {"points": 6})
        await calm.until(lambda rows: rows == [{"id": 7, "points": 6}])


async def test_a_membership_that_ends_takes_the_records_away_in_the_frame_of_its_commit_from_all_who_saw_them() -> None:
    async with at(fresh_store(), Project, Member, Task) as nobody, AsyncExitStack() as stack:
        records = nobody.app.records
        async with records.batch() as batch:
            batch.create(Project, id="p")
            batch.create(Member, id=1, project="p", user="bob")
            batch.create(Member, id=2, project="p", user="ann")
            for key in range(1, 4):
                batch.create(Task, id=key, project="p", points=key)
        bobs = await crowd(stack, nobody.acting("bob"), CROWD, "tasks")
        (ann,) = await crowd(stack, nobody.acting("ann"), 1, "tasks")
        async with records.batch() as batch:
            batch.delete(Member, 1)
            batch.create(Task, id=4, project="p", points=4)
            batch.update(Task, 1, points=100)
        for bob in bobs:
            await bob.until(lambda rows: rows == [])
        await ann.until(lambda rows: [row["points"] for row in rows] == [100, 2, 3, 4])
        await records.update(Task, 2, points=200)
        await ann.until(lambda rows: rows[1]["points"] == 200)
        for bob in bobs:
            assert bob.events[4:] == [("removed", {"key": key}) for key in (1, 2, 3)]


@pytest.mark.only_on("sqlite", reason="the file of a database is replaced")
async def test_whoever_is_live_when_an_older_backup_is_put_back_is_reset_and_holds_what_it_held(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "live.db", tmp_path / "old.db"
    async with at(f"sqlite:///{path}", Note) as client, AsyncExitStack() as stack:
        await client.post("/notes", [{"id": 1, "title": "kept"}, {"id": 2, "title": "deleted later"}])
        await foreign_backup(path, copy)
        await client.delete("/notes/2")
        await client.post("/notes", {"id": 3, "title": "lost"})
        queries: list[dict[str, Any]] = [{}, {"sort": ["-id"], "limit": 5}, {"where": {"title": {"ne": "x"}}}]
        views = [
            await stack.enter_async_context(client.live("notes", over=over, **query))
            for over in OVER
            for query in queries
        ]  # fmt: skip
        for view in views:
            assert {row["id"] for row in await view.ready()} == {1, 3}
        copy.replace(path)
        for view in views:
            await view.until(lambda rows: {row["id"] for row in rows} == {1, 2})
            resets = [data["reason"] for kind, data in view.events if kind == "reset"]
            assert resets == ["epoch"]


async def foreign_backup(path: Path, copy: Path) -> None:
    """A copy by SQLite's own way, made by another process."""
    script = f"import sqlite3; sqlite3.connect({str(path)!r}).execute(\"VACUUM INTO '{copy}'\")"
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await started.wait() == 0


def note_with_colour() -> type[Record[int]]:
    """The notes of the next version of the application."""

    class Note(Record[int], rules=allow.everyone):
        title: str
        points: int = 0
        colour: str = "red"

    return Note


async def test_after_a_migration_whoever_comes_back_starts_anew_with_the_new_fields() -> None:
    store = kept_store()
    async with at(store, Note) as client:
        await client.post("/notes", {"id": 1, "title": "a"})
        async with client.live("notes", over="websocket") as before, client.live("notes", over="sse") as streamed:
            await before.ready()
            await streamed.ready()

    reasons: list[list[str]] = []
    async with at(store, note_with_colour()) as client:
        for over, held in zip(OVER, (streamed, before), strict=True):
            async with client.live("notes", over=over, resume=held) as after:
                rows = await after.ready()
            assert [(row["id"], row["colour"]) for row in rows] == [(1, "red")]
            reasons.append([data["reason"] for kind, data in after.events if kind == "reset"])
    assert reasons == [["schema"], ["schema"]]


async def test_a_stream_and_a_socket_cut_at_the_same_commit_hold_the_same_after_they_have_resumed() -> None:
    async with at(fresh_store(), Note) as client:
        await client.post("/notes", [{"id": key, "title": f"{key}", "points": key} for key in range(1, 6)])
        for cut in range(5):
            async with AsyncExitStack() as stack:
                held = [
                    await stack.enter_async_context(client.live("notes", over=over, where={"points": {"gt": 1}}))
                    for over in OVER
                ]
                for view in held:
                    await view.ready()
                for step in range(cut):
                    await client.patch(f"/notes/{step + 1}", {"points": 10 * cut + step})
                await client.settled()
            await client.patch("/notes/5", {"points": 100 + cut})
            await client.patch("/notes/4", {"points": cut})
            for over, view in zip(OVER, held, strict=True):
                async with client.live("notes", over=over, where={"points": {"gt": 1}}, resume=view) as again:
                    wanted = (await client.get("/notes?points[gt]=1")).json
                    await again.until(lambda rows, wanted=wanted: rows == wanted)  # type: ignore[misc]
                    assert "reset" not in kinds(again)
