"""Live queries that include other records, and live sums and groups: they stay what a fresh answer would be."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from crudite import App, Field, Many, Record, Ref, Request, allow, me, now
from crudite.testing import Client, Clock
from tests.flows.worlds import by_name, client_for
from tests.services.stores import fresh_store

OVER: Any = pytest.mark.parametrize("over", ["sse", "websocket"])


class Project(Record[str], rules={"read": allow.where(open=True), "write": allow.everyone}):
    name: str
    open: bool = True
    budget: int = Field(default=0, read=allow.role("boss"))
    tasks: Many["Task"]


class Team(Record[str], rules=allow.everyone):
    name: str


class Task(Record[int], rules=allow.everyone):
    title: str
    status: Literal["todo", "done"] = "todo"
    hours: int | None = None
    project: Ref[Project] | None = None
    parent: Ref["Task"] | None = None
    team: Ref[Team] | None = None


def world() -> Client:
    return client_for(Project, Team, Task, auth=by_name)


@OVER
async def test_a_change_of_an_included_record_changes_the_record_that_it_is_in(over: Any) -> None:
    async with world() as client:
        await client.post("/projects", {"id": "p1", "name": "House"})
        await client.post("/tasks", [{"title": "a", "project": "p1"}, {"title": "b"}])
        async with client.live("tasks", over=over, include=["project"], fields=["title"], sort=["title"]) as view:
            first, second = await view.ready()
            assert (first["_included"]["project"]["name"], second["_included"]) == ("House", {"project": None})
            await client.patch("/projects/p1", {"name": "Castle"})
            await view.until(lambda rows: rows[0]["_included"]["project"]["name"] == "Castle")
            assert [kind for kind, _ in view.events if kind in ("changed", "removed")] == ["changed"]
            await client.patch("/projects/p1", {"open": False})
            await view.until(lambda rows: rows[0]["_included"]["project"] is None)
            await client.patch("/tasks/2", {"parent": 1})
            await client.patch("/projects/p1", {"open": True, "name": "Boat"})
            rows = await view.until(lambda rows: rows[0]["_included"]["project"] is not None)
        assert rows == (await client.get("/tasks?include=project&fields=title&sort=title")).json


@OVER
async def test_what_may_not_be_read_of_an_included_record_changes_nothing(over: Any) -> None:
    async with world() as client:
        await client.post("/projects", {"id": "p1", "name": "House"})
        await client.post("/tasks", {"title": "a", "project": "p1"})
        async with (
            client.live("tasks", over=over, include=["project"]) as view,
            client.acting("eve:boss").live("tasks", over=over, include=["project"]) as boss,
        ):
            await view.ready()
            await boss.ready()
            await client.acting("eve:boss").patch("/projects/p1", {"budget": 7})
            await boss.until(lambda rows: rows[0]["_included"]["project"]["budget"] == 7)
            await client.patch("/projects/p1", {"name": "Castle"})
            await view.until(lambda rows: rows[0]["_included"]["project"]["name"] == "Castle")
            assert [kind for kind, _ in view.events if kind == "changed"] == ["changed"]
            assert "budget" not in view.records[0]["_included"]["project"]


@OVER
async def test_records_that_come_to_point_back_are_included(over: Any) -> None:
    async with world() as client:
        await client.post("/projects", [{"id": "p1", "name": "House"}, {"id": "p2", "name": "Boat"}])
        async with client.live("projects", over=over, include=["tasks"], where={"id": "p1"}) as view:
            await view.ready()
            for title in ("a", "b"):
                await client.post("/tasks", {"title": title, "project": "p1"})
            await view.until(lambda rows: [t["title"] for t in rows[0]["_included"]["tasks"]] == ["a", "b"])
            await client.patch("/tasks/1", {"project": "p2"})
            await view.until(lambda rows: [t["title"] for t in rows[0]["_included"]["tasks"]] == ["b"])
            await client.delete("/tasks/2")
            await view.until(lambda rows: rows[0]["_included"]["tasks"] == [])


@OVER
async def test_a_record_that_includes_its_like_follows_it(over: Any) -> None:
    async with world() as client:
        await client.post("/tasks", [{"title": "a"}, {"title": "b"}])
        await client.patch("/tasks/2", {"parent": 1})
        async with client.live("tasks", over=over, include=["parent"], where={"id": 2}) as view:
            await view.ready()
            await client.patch("/tasks/1", {"title": "aa"})
            await view.until(lambda rows: rows[0]["_included"]["parent"]["title"] == "aa")


@OVER
async def test_an_included_record_comes_and_goes_with_the_time_that_its_rule_speaks_of(over: Any) -> None:
    class Offer(Record[str], rules={"read": allow.where(starts__lte=now, ends__gt=now), "write": allow.everyone}):
        starts: datetime
        ends: datetime

    class Item(Record[int], rules=allow.everyone):
        offer: Ref[Offer] | None = None

    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC))
    async with client_for(Offer, Item, clock=clock) as client:
        await client.post("/offers", {"id": "o1", "starts": "2029-12-31T00:00:00Z", "ends": "2030-01-03T00:00:00Z"})
        await client.post("/items", {"offer": "o1"})
        await client.patch("/offers/o1", {"starts": "2030-01-02T00:00:00Z"})
        async with client.live("items", over=over, include=["offer"]) as view:
            assert (await view.ready())[0]["_included"] == {"offer": None}
            clock.advance(timedelta(days=1, seconds=1))
            await view.until(lambda rows: rows[0]["_included"]["offer"] is not None)
            clock.advance(timedelta(days=1))
            await view.until(lambda rows: rows[0]["_included"]["offer"] is None)


@OVER
async def test_a_sum_and_groups_come_again_when_they_are_others(over: Any) -> None:
    app = App(Project, Team, Task, store=fresh_store())

    @app.read("hours")
    async def hours(request: Request) -> Any:
        return Task.where(status="todo").sum("hours")

    @app.read("shortest")
    async def shortest(request: Request) -> Any:
        return Task.where().min("hours")

    @app.read("stats")
    async def stats(request: Request) -> Any:
        return Task.where().group("team.name").count().max("hours")

    async with (
        Client(app) as client,
        client.live("hours", over=over) as total,
        client.live("shortest", over=over) as least,
        client.live("stats", over=over) as groups,
    ):
        await total.ready()
        await least.ready()
        await groups.ready()
        assert (total.value, least.value, groups.value) == (0, None, [])
        await client.post("/tasks", [{"title": "a", "hours": 3}, {"title": "b", "hours": 4, "status": "done"}])
        assert await total.until_value(lambda value: value == 3) == 3
        assert await least.until_value(lambda value: value == 3) == 3
        assert await groups.until_value(bool) == [{"team.name": None, "count": 2, "max_hours": 4}]
        await client.post("/teams", {"id": "t1", "name": "Red"})
        await client.patch("/tasks/1", {"team": "t1"})
        await groups.until_value(lambda value: len(value) == 2)
        await client.patch("/teams/t1", {"name": "Blue"})
        rows = await groups.until_value(lambda value: value[1]["team.name"] == "Blue")
        assert rows == (await client.get("/stats")).json
        await client.delete("/tasks/1")
        await client.delete("/tasks/2")
        assert await least.until_value(lambda value: value is None) is None
        assert await total.until_value(lambda value: value == 0) == 0


async def test_a_sum_is_over_what_the_asker_may_read() -> None:
    class Note(Record[int], rules={"read": allow.where(owner=me.id), "write": allow.everyone}):
        owner: str
        size: int

    app = App(Note, store=fresh_store(), auth=by_name)

    @app.read("size")
    async def size(request: Request) -> Any:
        return Note.where().sum("size")

    async with Client(app) as client:
        ann, bob = client.acting("ann"), client.acting("bob")
        async with ann.live("size") as hers, bob.live("size") as his:
            await hers.ready()
            await his.ready()
            await client.post("/notes", [{"owner": "ann", "size": 3}, {"owner": "bob", "size": 4}])
            assert await hers.until_value(bool) == 3
            assert await his.until_value(bool) == 4
