"""Including other records: what references and links lead to is shown inside a record, as far as it may be read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import App, Field, Many, OpenApi, Query, Record, Ref, Request, allow, me, now
from crudite.testing import Client, Clock, Refusal
from tests.flows.worlds import by_name, client_for, faults
from tests.services.stores import fresh_store


class Person(Record[str], rules={"read": allow.where(hidden=False), "write": allow.everyone}, path="people"):
    name: str
    hidden: bool = False
    salary: int = Field(default=0, read=allow.where(id=me.id))
    projects: Many["Project"]


class Project(Record[str], rules={"read": allow.where(open=True), "write": allow.everyone}):
    name: str
    open: bool = True
    owner: Ref[Person] | None = None
    tasks: Many["Task"]


class Task(Record[int], rules=allow.everyone):
    title: str
    project: Ref[Project] | None = None
    reviewer: Ref[Person] | None = Field(default=None, read=allow.signed_in)


ANN = {"id": "ann", "name": "Ann", "salary": 9}
BOB = {"id": "bob", "name": "Bob", "salary": 8}


def world() -> Client:
    return client_for(Person, Project, Task, auth=by_name)


async def fill(nobody: Client) -> None:
    client = nobody.acting("ann")
    for path, records in {
        "people": [ANN, BOB, {"id": "eve", "name": "Eve"}],
        "projects": [
            {"id": "p1", "name": "House", "owner": "ann"},
            {"id": "p2", "name": "Vault", "owner": "ann"},
            {"id": "p3", "name": "Boat", "owner": "eve"},
        ],
        "tasks": [
            {"title": "a", "project": "p1", "reviewer": "bob"},
            {"title": "b", "project": "p2"},
            {"title": "c", "project": "p3"},
            {"title": "d"},
        ],
    }.items():
        assert (await client.post(f"/{path}", records)).status == 201
    assert (await client.patch("/projects/p2", {"open": False})).status == 204
    assert (await client.patch("/people/eve", {"hidden": True})).status == 204


def shown(value: Any) -> Any:
    """What is shown, without what every record has."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {k: shown(v) for k, v in value.items() if k not in ("version", "created_at", "updated_at", "hidden", "open")}


async def test_a_reference_is_followed_to_what_may_be_read_and_is_null_elsewhere() -> None:
    async with world() as client:
        await fill(client)

        found = await client.get("/tasks?include=project,project.owner&fields=title,project&sort=title")

        ann = {"id": "ann", "name": "Ann"}
        house = {"id": "p1", "name": "House", "owner": "ann", "_included": {"owner": ann}}
        boat = {"id": "p3", "name": "Boat", "owner": "eve", "_included": {"owner": None}}
        assert shown(found.json) == [
            {"id": 1, "title": "a", "project": "p1", "_included": {"project": house}},
            {"id": 2, "title": "b", "project": "p2", "_included": {"project": None}},
            {"id": 3, "title": "c", "project": "p3", "_included": {"project": boat}},
            {"id": 4, "title": "d", "project": None, "_included": {"project": None}},
        ]


async def test_the_masks_of_the_asker_hold_for_included_records_and_for_the_reference() -> None:
    async with world() as client:
        await fill(client)
        ann, bob = client.acting("ann"), client.acting("bob")

        async def reviewer(who: Client) -> Any:
            return (await who.get("/tasks/1?include=reviewer")).json["_included"]["reviewer"]

        assert "salary" not in await reviewer(ann)
        assert (await reviewer(bob))["salary"] == 8
        refused = await client.get("/tasks/1?include=reviewer")
        assert (refused.status, faults(refused)) == (400, [("include", "unknown_field")])


async def test_a_link_to_many_is_a_list_of_what_may_be_read_in_the_order_of_keys() -> None:
    async with world() as client:
        await fill(client)

        found = await client.get("/people/ann?include=projects.owner")

        assert shown(found.json["_included"]) == {
            "projects": [
                {"id": "p1", "name": "House", "owner": "ann", "_included": {"owner": {"id": "ann", "name": "Ann"}}}
            ]
        }
        assert (await client.get("/people/bob?include=projects")).json["_included"] == {"projects": []}


async def test_of_a_link_to_many_the_first_hundred_are_included() -> None:
    async with world() as client:
        await fill(client)
        await client.post("/tasks", [{"title": f"{n}", "project": "p1"} for n in range(120)])

        found = (await client.get("/projects/p1?include=tasks")).json["_included"]["tasks"]

        assert [task["id"] for task in found] == [1, *range(5, 104)]


async def test_one_record_several_and_a_query_in_json_include_the_same() -> None:
    async with world() as client:
        await fill(client)
        house = (await client.get("/projects/p1")).json

        one = await client.get("/tasks/1?include=project&fields=title")
        several = await client.get("/tasks/2,1?include=project&fields=title")
        queried = await client.request("QUERY", "/tasks", {"include": ["project"], "fields": ["title"], "limit": 1})

        assert one.json == {"id": 1, "title": "a", "_included": {"project": house}}
        assert several.json == [{"id": 2, "title": "b", "_included": {"project": None}}, one.json]
        assert queried.json == [one.json]


async def test_over_a_websocket_lists_and_records_include_too() -> None:
    async with world() as client, client.websocket() as socket:
        await fill(client)
        query = {"include": ["project"], "fields": ["title"]}

        one = await socket.call("tasks.read", {"key": 1, "query": query})
        page = await socket.call("tasks.list", {"query": {**query, "limit": 1}})

        assert one["data"]["_included"]["project"]["name"] == "House"
        assert page["data"] == [one["data"]]
        with pytest.raises(Refusal) as refusal:
            await socket.call("tasks.list", {"query": {"include": ["title"]}})
        assert refusal.value.problem["errors"][0]["code"] == "bad_include"


async def test_a_handler_returns_a_query_that_includes() -> None:
    app = App(Person, Project, Task, store=fresh_store(), auth=by_name)

    @app.read("houses")
    async def houses(request: Request) -> Query[Task]:
        return Task.where(project__name="House").include("project", "project__owner").fields("title")

    async with Client(app) as client:
        await fill(client)
        [record] = (await client.get("/houses")).json
        assert shown(record["_included"]["project"]["_included"]) == {"owner": {"id": "ann", "name": "Ann"}}


async def test_a_rule_that_speaks_of_now_holds_for_included_records_as_time_passes() -> None:
    class Offer(Record[str], rules={"read": allow.where(starts__lte=now), "write": allow.everyone}):
        starts: datetime

    class Item(Record[int], rules=allow.everyone):
        offer: Ref[Offer] | None = None

    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC))
    async with client_for(Offer, Item, clock=clock) as client:
        await client.post("/offers", {"id": "o1", "starts": "2029-12-31T00:00:00Z"})
        await client.post("/items", {"offer": "o1"})
        await client.patch("/offers/o1", {"starts": "2030-01-02T00:00:00Z"})
        assert (await client.get("/items/1?include=offer")).json["_included"] == {"offer": None}
        clock.advance(timedelta(days=2))
        assert (await client.get("/items?include=offer")).json[0]["_included"]["offer"]["id"] == "o1"


async def test_what_is_in_no_log_cannot_be_included_in_a_live_query() -> None:
    class Page(Record[str], rules=allow.everyone, live=False):
        name: str

    class Visit(Record[int], rules=allow.everyone):
        page: Ref[Page]

    async with client_for(Page, Visit) as client:
        assert (await client.get("/visits?include=page")).status == 200
        refused = await client.get("/visits/subscribe?include=page")
        assert (refused.status, faults(refused)) == (400, [("include", "not_live")])


async def test_what_was_read_with_what_it_includes_can_be_sent_back_and_changes_nothing_of_that() -> None:
    async with world() as client:
        await fill(client)
        ann = client.acting("ann")
        for send, name in ((ann.put, "Hut"), (ann.patch, "Shed")):
            found = (await ann.get("/projects/p1?include=owner.projects,tasks")).json
            found["_included"]["owner"]["name"] = "Ann\u0000e"  # not even one that no field could hold
            found["_included"]["tasks"].clear()
            changed = await send("/projects/p1", {**found, "name": name})
            assert (changed.status, changed.json["name"], "_included" in changed.json) == (200, name, False)
            stored = (await ann.get("/projects/p1?include=owner,tasks")).json["_included"]
            assert (stored["owner"]["name"], [task["title"] for task in stored["tasks"]]) == ("Ann", ["a"])

        [task] = (await ann.get("/tasks?project=p1&include=project")).json
        assert (await ann.put("/tasks/1", {**task, "title": "z"})).json["title"] == "z"


async def test_what_is_included_is_no_part_of_a_new_record_nor_of_one_that_includes_nothing() -> None:
    class Plain(Record[str], rules=allow.everyone):
        pass

    async with client_for(Plain, Person, Project, Task, auth=by_name) as client:
        await fill(client)
        await client.post("/plains", {"id": "a"})
        new = {"id": "n", "name": "New"}
        for send, path, body in (
            (client.post, "/projects", new), (client.patch, "/plains/a", {}), (client.put, "/plains/a", {}),
        ):  # fmt: skip
            refused = await send(path, {**body, "_included": {}})
            assert (refused.status, faults(refused)) == (422, [("/_included", "unknown_field")])
        refused = await client.patch("/projects/p1", {"_included": 5})
        assert (refused.status, [pointer for pointer, _ in faults(refused)]) == (422, ["/_included"])


async def test_records_in_python_refuse_to_include() -> None:
    app = App(Person, Project, Task, store=fresh_store(), auth=by_name)
    async with Client(app):
        with pytest.raises(TypeError, match="include shapes what a handler answers"):
            await app.records.list(Task.where().include("project"))


async def test_what_an_answer_includes_is_never_taken_for_unchanged() -> None:
    async with world() as client:
        await fill(client)
        one = await client.get("/tasks/1?include=project")
        many = await client.get("/tasks?include=project")
        assert "etag" not in many.headers
        await client.patch("/projects/p1", {"name": "Castle"})

        again = await client.get("/tasks/1?include=project", headers={"if-none-match": one.headers["etag"]})

        assert (again.status, again.json["_included"]["project"]["name"]) == (200, "Castle")


@pytest.mark.parametrize(
    ("path", "code", "detail"),
    [
        ("projekt", "unknown_field", "Task has no field 'projekt'; did you mean 'project'?"),
        ("title", "bad_include", "'title' of Task leads to no other records."),
        ("project.name", "bad_include", "'name' of Project leads to no other records."),
        ("project.tasks.project.tasks", "bad_include",
         "'tasks' of Project leads to many records within many: one link is followed in a path."),
        ("project.owner.projects.owner.projects.owner.projects", "path_too_long",
         "A path has at most 6 names, and 'project.owner.projects.owner.projects.owner.projects' has 7."),
        (",".join(["project"] * 11), "too_many_names", "At most 10 names go here, got 11."),
    ],
)  # fmt: skip
async def test_a_path_that_leads_nowhere_is_a_fault(path: str, code: str, detail: str) -> None:
    async with world() as client:
        refused = await client.get(f"/tasks?include={path}&sort=nope")
        assert refused.status == 400
        first, second = sorted(refused.json["errors"], key=lambda fault: fault["parameter"])
        assert first == {"parameter": "include", "code": code, "detail": detail}
        assert second["parameter"] == "sort"


@pytest.mark.only_on("sqlite", reason="a description asks no store")
def test_the_description_tells_what_can_be_included() -> None:
    document = OpenApi().document(App(Person, Project, Task, store=fresh_store()))
    schemas, parameters = document["components"]["schemas"], document["components"]["parameters"]
    included = schemas["Project"]["properties"]["_included"]["properties"]
    person, task = {"$ref": "#/components/schemas/Person"}, {"$ref": "#/components/schemas/Task"}
    assert included == {
        "owner": {"anyOf": [person, {"type": "null"}]},
        "tasks": {"type": "array", "items": task, "maxItems": 100},
    }
    assert parameters["Project.include"]["schema"]["items"]["pattern"] == r"^(owner|tasks)(\.[A-Za-z0-9_]+)*$"
    assert "_included" in schemas["ProjectPart"]["properties"]
    for path in ("/projects", "/projects/{key}", "/projects/subscribe"):
        assert {"$ref": "#/components/parameters/Project.include"} in document["paths"][path]["get"]["parameters"]
