"""How a live query is served, as `/live/explain` tells: why, by which index, and with whom it shares."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from crudite import App, Count, Field, Query, Record, Ref, Request, allow, me, today
from crudite.testing import Client
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store


class Project(Record[int], rules=allow.everyone):
    name: str = ""
    owner: str = Field(default=me.id)


class Task(Record[int], rules=allow.everyone):
    title: str = ""
    done: bool = False
    size: int = 0
    due: date | None = None
    note: str = Field(default="", read=allow.role("boss"))
    project: Ref[Project] | None = None


class Diary(Record[int], rules=allow.where(owner=me.id)):
    owner: str = Field(default=me.id)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = App(Project, Task, Diary, store=fresh_store(), auth=by_name, staff=allow.role("staff"))

    @app.read("open-tasks")
    async def open_tasks(request: Request, size: int = 0) -> Query[Task]:
        return Task.where(done=False, size__gte=size)

    @app.read("open-tasks/{size}")
    async def open_tasks_of(request: Request, size: int) -> Query[Task]:
        return Task.where(done=False, size__gte=size)

    @app.read("task-count")
    async def task_count(request: Request) -> Count:
        return Task.where(done=False).count()

    @app.read("new")
    async def new(request: Request) -> Query[Task]:
        return Task.where(due__gte=today)

    @app.create("push")
    async def push(request: Request) -> None: ...

    async with Client(app).acting("ann:staff") as client:
        yield client


async def explained(client: Client, path: str) -> Any:
    """What `/live/explain` says of a list or handler."""
    answer = await client.get(f"/live/explain/{path}")
    assert answer.status == 200, answer
    return answer.json


@pytest.mark.parametrize(
    ("path", "tier", "why"),
    [
        ("tasks", "exact", "the images of a change"),
        ("tasks?project=7", "exact", "the images of a change"),
        ("tasks?project.owner=ann", "exact", "keys of other records"),
        ("tasks?limit=10", "window", "has a limit"),
        ("tasks?sort=project.name&limit=10", "rerun", "its sort by project.name"),
        ("tasks?sort=title&fields=done", "rerun", "do not show"),
        ("task-count", "rerun", "only the store can tell"),
        ("new", "rerun", "today"),
        ("open-tasks?size=3", "exact", "the images of a change"),
        ("open-tasks/3", "exact", "the images of a change"),
    ],
)
async def test_the_tier_follows_from_the_query_and_the_reason_names_what_forces_it(
    client: Client, path: str, tier: str, why: str
) -> None:
    told = await explained(client, path)
    assert told["tier"] == tier
    assert why.lower() in told["reason"].lower()


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("tasks?project=7", {"by": "equality", "field": "project", "values": 1}),
        ("tasks?size=1&size=2&size[lt]=9", {"by": "equality", "field": "size", "values": 2}),
        ("tasks?size[gt]=3&title[contains]=a", {"by": "range", "field": "size"}),
        ("tasks?title[contains]=a", {"by": "none"}),
        ("tasks", {"by": "none"}),
        ("diaries", {"by": "equality", "field": "owner", "values": 1}),
    ],
)
async def test_the_index_is_what_a_change_is_found_by(client: Client, path: str, index: Any) -> None:
    told = (await explained(client, path))["index"]
    assert told.pop("detail").endswith(".")
    assert told == index


async def test_a_query_without_an_index_counts_against_its_limit(client: Client) -> None:
    assert (await explained(client, "tasks?project=7"))["limits"] == {}
    async with client.live("tasks") as view:
        await view.ready()
        assert (await explained(client, "tasks?title[contains]=a"))["limits"] == {
            "catch_all": {"used": 1, "most": 10_000}
        }


async def test_the_group_tells_with_whom_the_query_shares(client: Client) -> None:
    assert (await explained(client, "tasks?done=false"))["group"] is None
    query = {"where": {"done": False}}
    async with (
        client.live("tasks", over="websocket", **query) as one,
        client.acting("bob").live("tasks", over="websocket", **query) as two,
        client.live("tasks", **query) as three,
    ):
        for view in (one, two, three):
            await view.ready()
        group = (await explained(client, "tasks?done=false"))["group"]
        assert (group["subscriptions"], group["connections"], group["encodings"]) == (3, 3, 2)
        assert (await explained(client, "tasks?done=true"))["group"] is None


async def test_the_question_is_asked_as_whoever_asks(client: Client) -> None:
    async with client.acting("bob").live("diaries") as view:
        await view.ready()
        assert (await explained(client, "diaries"))["group"] is None
        assert (await explained(client.acting("bob:staff"), "diaries"))["group"]["subscriptions"] == 1
    hidden = await client.get("/live/explain/tasks?note=x")
    assert hidden.status == (await client.get("/tasks?note=x")).status
    assert hidden.status >= 400


async def test_what_rests_on_other_records_names_them_and_the_keys_that_are_held(client: Client) -> None:
    for name, owner in (("a", "ann"), ("b", "ann"), ("c", "bob")):
        await client.post("/projects", {"name": name, "owner": owner})
    told = await explained(client, "tasks?project.owner=ann")
    assert (told["reads"], told["key_sets"]) == (["Project"], [])
    async with client.live("tasks", where={"project.owner": "ann"}) as view:
        await view.ready()
        told = await explained(client, "tasks?project.owner=ann")
        assert told["key_sets"] == [{"resource": "Project", "field": "id", "keys": 2}]


async def test_a_condition_that_is_decided_for_all_records_is_a_gate_that_says_whether_it_is_open(
    client: Client,
) -> None:
    await client.post("/projects", {"name": "a", "owner": "ann"})
    [project] = (await client.get("/projects")).json
    path, where = f"tasks?project={project['id']}&project.owner=", {"project": project["id"]}
    assert (await explained(client, f"{path}ann"))["gate"]["open"] is None
    async with (
        client.live("tasks", where={**where, "project.owner": "ann"}) as one,
        client.live("tasks", where={**where, "project.owner": "bob"}) as two,
    ):
        await one.ready()
        await two.ready()
        ann, bob = await explained(client, f"{path}ann"), await explained(client, f"{path}bob")
        assert (ann["gate"]["open"], ann["gate"]["subscriptions"]) == (True, 1)
        assert (bob["gate"]["open"], bob["gate"]["subscriptions"]) == (False, 1)
        assert ann["group"]["id"] == bob["group"]["id"]
        assert ann["key_sets"] == [{"resource": "Project", "field": "id", "keys": 1}]


async def test_what_cannot_be_subscribed_to_is_refused_with_the_same_problem(client: Client) -> None:
    for path in ("tasks?nothing=1", "tasks?offset=3", "open-tasks?size=x", "open-tasks/x"):
        told = await client.get(f"/live/explain/{path}")
        refused = await client.get(f"/{path}", headers={"accept": "text/event-stream"})
        assert (told.status, told.json["errors"]) == (refused.status, refused.json["errors"])
    assert (await client.get("/live/explain/push")).status == 404
    assert (await client.get("/live/explain/nothing")).status == 404


async def test_for_somebody_else_there_is_nothing_at_that_address(client: Client) -> None:
    assert (await client.acting("ann").get("/live/explain/tasks")).status == 404
    assert (await client.acting("ann").get("/live/explain/tasks?nothing=1")).status == 404
