"""Where resources stand in URLs: every action is held to the records above, and to what the place says."""

import asyncio
from typing import Any

import pytest

from crudite import (
    App,
    Channel,
    DeclarationError,
    Field,
    OpenApi,
    Parent,
    Place,
    Record,
    Ref,
    Resource,
    Rest,
    Sse,
    WebSocket,
    allow,
    before,
    me,
)
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, client_for, faults, titles
from tests.services.stores import fresh_store


class Project(Record[int], rules=allow.everyone):
    name: str = ""


class Task(Record[int], rules=allow.everyone):
    project: Parent[Project]
    title: str = ""


class Comment(
    Record[int],
    rules={"read": allow.everyone, "write": allow.everyone, "history": allow.everyone},
    places=[Place("/comments", only=("list", "read")), "/api/v2/projects/{project}/tasks/{task}/remarks"],
):
    task: Ref[Task]
    title: str = ""


async def grown(client: Client) -> None:
    """Two projects of one task each, with one comment."""
    for number in (1, 2):
        await client.post("/projects", {"id": number})
        await client.post("/tasks", {"id": number, "project": number})
        below = f"/api/v2/projects/{number}/tasks/{number}/remarks"
        made = await client.post(below, {"id": number, "title": f"c{number}"})
        assert made.status == 201, made.json
        assert made.headers["location"] == f"{below}/{number}"
        assert made.json["task"] == number


async def test_every_action_is_held_to_all_records_above() -> None:
    async with client_for(Project, Task, Comment) as client:
        await grown(client)
        right, wrong = "/api/v2/projects/1/tasks/1/remarks", "/api/v2/projects/2/tasks/1/remarks"
        assert titles(await client.get(right)) == ["c1"]
        assert (await client.get(f"{right}/1/history")).status == 200
        for path in (wrong, f"{wrong}/1", f"{wrong}/1/history", f"{right}/2", f"{wrong}/subscribe"):
            assert (await client.get(path)).status == 404, path
        for path in (f"{wrong}/1", f"{right}/2"):
            assert (await client.put(path, {"title": "x"})).status == 404
            assert (await client.patch(path, {"title": "x"})).status == 404
            assert (await client.delete(path)).status == 404
        assert (await client.post(wrong, {"title": "x"})).status == 404
        assert sorted(titles(await client.get("/comments"))) == ["c1", "c2"]


async def test_a_record_is_not_made_below_one_that_moves_away_meanwhile() -> None:
    moving = asyncio.Event()

    class Note(Resource, rules=allow.everyone, places=["/projects/{project}/tasks/{task}/notes"]):
        task: Ref[Task]

    class Slow(Note, places=["/projects/{project}/tasks/{task}/slow"]):
        @before("create")
        async def wait(self, request: Any) -> None:
            await request.records.update(Task, 1, project=2)
            moving.set()

    async with client_for(Project, Task, Slow) as client:
        for number in (1, 2):
            await client.post("/projects", {"id": number})
        await client.post("/tasks", {"id": 1, "project": 1})
        made = await client.post("/projects/1/tasks/1/slow", {})
        assert moving.is_set()
        assert made.status == 422
        assert faults(made) == [("/task", "no_such_record")]
        assert (await client.get("/projects/2/tasks/1/slow")).json == []


async def test_an_action_that_is_not_done_at_a_place_is_405_and_404_where_nothing_is() -> None:
    class Log(
        Record[int],
        rules=allow.everyone,
        places=[Place("/logs", only="create"), Place("/all", exclude=("create", "subscribe"))],
    ):
        title: str = ""

    async with client_for(Log) as client:
        assert (await client.post("/logs", {"id": 1, "title": "a"})).status == 201
        refused = await client.get("/logs")
        assert (refused.status, refused.headers["allow"]) == (405, "OPTIONS, POST")
        assert (await client.get("/logs/1")).status == 404
        assert (await client.get("/logs/subscribe")).status == 404
        assert titles(await client.get("/all")) == ["a"]
        refused = await client.post("/all", {"title": "b"})
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, QUERY")
        assert (await client.get("/all/subscribe")).status == 404


async def test_what_the_class_excludes_is_done_nowhere_and_over_no_interface() -> None:
    class Log(Record[int], rules=allow.everyone, exclude="delete"):
        title: str = ""

    async with client_for(Log) as client, client.websocket() as socket:
        await client.post("/logs", {"id": 1})
        assert (await client.delete("/logs/1")).status == 405
        with pytest.raises(Refusal, match=r"logs\.delete cannot be called"):
            await socket.call("logs.delete", {"key": 1})
        assert (await socket.call("logs.read", {"key": 1}))["data"]["id"] == 1


async def test_rules_of_a_place_narrow_those_of_the_resource() -> None:
    class Post(
        Record[int],
        rules={"read": allow.signed_in, "write": allow.where(owner=me.id)},
        places=[
            "/posts",
            Place("/mine", rules=allow.where(owner=me.id)),
            Place("/staff", rules={"write": allow.role("staff")}),
        ],
    ):
        title: str = ""
        owner: str = Field(default=me.id)

    async with client_for(Post, auth=by_name) as client:
        ann, bob, nobody = client.acting("ann:staff"), client.acting("bob"), client
        await ann.post("/posts", {"id": 1, "title": "a"})
        await bob.post("/posts", {"id": 2, "title": "b"})
        assert titles(await bob.get("/mine")) == ["b"]
        assert (await bob.get("/mine/1")).status == 404
        async with bob.stream("/mine/1/subscribe") as stream:
            assert [one.kind for one in await stream.until("ready")] == ["ready"]
        assert (await nobody.get("/mine")).status == 401
        assert titles(await bob.get("/staff")) == ["a", "b"]
        assert (await bob.patch("/staff/2", {"title": "x"})).status == 403
        assert (await ann.patch("/staff/2", {"title": "x"})).status == 403
        assert (await ann.patch("/staff/1", {"title": "x"})).status == 200


async def test_what_no_place_lets_somebody_do_nothing_else_does() -> None:
    class Post(
        Record[int],
        rules=allow.everyone,
        places=[
            Place("/posts", rules={"write": allow.role("staff")}),
            Place("/own", rules={"write": allow.role("chief")}),
        ],
    ):
        title: str = ""

    async with client_for(Post, auth=by_name) as client:
        for role, status in (("staff", 201), ("chief", 403), ("guest", 403)):
            assert (await client.acting(f"ann:{role}").post("/posts", {"title": role})).status == status
        for role in ("staff", "chief"):
            async with client.acting(f"ann:{role}").websocket() as socket:
                assert (await socket.call("posts.create", {"data": {"title": role}}))["data"]["title"] == role
        async with client.acting("ann:guest").websocket() as socket:
            with pytest.raises(Refusal, match="may not"):
                await socket.call("posts.create", {"data": {"title": "no"}})


async def test_a_live_query_at_a_place_moves_with_what_decides_there() -> None:
    async with client_for(Project, Task, Comment) as client:
        await grown(client)
        async with client.stream("/api/v2/projects/1/tasks/1/remarks/subscribe") as stream:
            assert [one.data.get("title") for one in await stream.until("ready")] == ["c1", None]
            await client.patch("/tasks/1", {"project": 2})
            assert (await stream.next()).kind == "removed"


async def test_several_records_above_are_read_below_together_and_written_below_one_by_one() -> None:
    async with client_for(Project, Task) as client:
        for number in (1, 2, 3):
            await client.post("/projects", {"id": number})
            await client.post(f"/projects/{number}/tasks", {"id": number, "title": f"t{number}"})
        assert titles(await client.get("/projects/3,1/tasks")) == ["t1", "t3"]
        assert (await client.get("/projects/1,3/tasks/3")).json["title"] == "t3"
        assert (await client.get("/projects/1,3/tasks/2")).status == 404
        assert (await client.get("/projects/1,9/tasks")).status == 404
        assert (await client.post("/projects/1,3/tasks", {"title": "x"})).status == 405
        assert (await client.patch("/projects/1,3/tasks/3", {"title": "x"})).status == 405
        assert (await client.get(f"/projects/{','.join(map(str, range(1, 300)))}/tasks")).status == 400
        async with client.stream("/projects/1,3/tasks/subscribe?sort=title") as stream:
            assert [one.data.get("title") for one in await stream.until("ready")] == ["t1", "t3", None]
            await client.post("/projects/2/tasks", {"title": "other"})
            await client.post("/projects/3/tasks", {"title": "more"})
            assert (await stream.next()).data["title"] == "more"


async def test_a_comma_in_a_key_above_is_written_as_2c() -> None:
    class Shelf(Record[str], rules=allow.everyone, path="shelves"):
        pass

    class Book(Resource, rules=allow.everyone):
        shelf: Parent[Shelf]
        title: str

    async with client_for(Shelf, Book) as client:
        for key in ("a,b", "a", "b"):
            await client.post("/shelves", {"id": key})
            await client.post("/books", {"shelf": key, "title": key})
        assert titles(await client.get("/shelves/a%2Cb/books")) == ["a,b"]
        assert titles(await client.get("/shelves/a,b/books?sort=title")) == ["a", "b"]


async def test_the_parent_of_a_body_is_filled_in_or_must_be_the_same() -> None:
    async with client_for(Project, Task) as client:
        for number in (1, 2):
            await client.post("/projects", {"id": number})
        assert (await client.post("/projects/1/tasks", {"id": 1})).json["project"] == 1
        assert (await client.post("/projects/1/tasks", {"id": 2, "project": 1})).status == 201
        for answer in (
            await client.post("/projects/1/tasks", {"project": 2, "title": 5}),
            await client.put("/projects/1/tasks/1", {"project": 2, "title": 5}),
            await client.patch("/projects/1/tasks/1", {"project": 2, "title": 5}),
        ):
            assert answer.status == 422
            assert faults(answer) == [("/project", "other_parent"), ("/title", "string_type")]
            assert answer.json["errors"][0]["detail"] == "The path names 1, and project is 2."
        assert (await client.put("/projects/1/tasks/1", {"title": "a"})).json["project"] == 1
        assert (await client.patch("/projects/1/tasks/1", {"title": "b"})).json["title"] == "b"
        assert faults(await client.post("/projects/1/tasks", {"project": "1"})) == [("/project", "int_type")]


async def test_a_place_may_want_the_parent_to_be_said() -> None:
    class Note(Record[int], rules=allow.everyone, places=[Place("/projects/{project}/notes", parent="required")]):
        project: Parent[Project]
        title: str = ""

    async with client_for(Project, Note) as client:
        await client.post("/projects", {"id": 1})
        for answer in (await client.post("/projects/1/notes", {"title": 5}),):
            assert faults(answer) == [("/project", "missing_parent"), ("/title", "string_type")]
        assert (await client.post("/projects/1/notes", {"id": 1, "project": 1})).status == 201
        assert faults(await client.put("/projects/1/notes/1", {})) == [("/project", "missing_parent")]
        assert (await client.patch("/projects/1/notes/1", {"title": "a"})).status == 200


async def test_a_resource_at_the_root_leaves_the_paths_of_others_alone() -> None:
    class Page(Record[str], rules=allow.everyone, places=["/"]):
        title: str = ""

    async with client_for(Page, Project) as client:
        assert (await client.post("/", {"id": "about", "title": "us"})).headers["location"] == "/about"
        assert titles(await client.get("/")) == ["us"]
        assert (await client.get("/about")).json["title"] == "us"
        assert (await client.patch("/about", {"title": "them"})).status == 200
        assert (await client.get("/projects")).json == []
        assert (await client.get("/none")).status == 404


async def test_children_stand_below_every_place_of_their_parents() -> None:
    class Blog(Record[int], rules=allow.everyone, places=["/blogs", "/old/weblogs"]):
        pass

    class Post(Record[int], rules=allow.everyone, only_nested=True):
        blog: Parent[Blog]
        title: str = ""

    async with client_for(Blog, Post) as client:
        await client.post("/blogs", {"id": 1})
        await client.post("/blogs/1/posts", {"id": 1, "title": "a"})
        assert titles(await client.get("/old/weblogs/1/posts")) == ["a"]
        assert (await client.get("/posts")).status == 404


async def test_below_a_place_its_rules_decide_about_the_record_above() -> None:
    class Blog(
        Record[int], rules=allow.everyone, places=["/blogs", Place("/staff/blogs", rules={"read": allow.role("staff")})]
    ):
        pass

    class Post(Record[int], rules=allow.everyone):
        blog: Parent[Blog]
        title: str = ""

    async with client_for(Blog, Post, auth=by_name) as client:
        await client.post("/blogs", {"id": 1})
        await client.post("/blogs/1/posts", {"id": 1, "title": "a"})
        assert titles(await client.acting("ann:staff").get("/staff/blogs/1/posts")) == ["a"]
        assert (await client.acting("bob").get("/staff/blogs/1/posts")).status == 404
        assert titles(await client.acting("bob").get("/blogs/1/posts")) == ["a"]


@pytest.mark.only_on("sqlite", reason="a description asks no store")
def test_the_description_tells_of_what_is_done_at_each_place() -> None:
    class Remark(
        Record[int],
        rules=allow.everyone,
        places=[
            "/",
            Place("/remarks", only="list", exclude="subscribe"),
            Place("/projects/{project}/tasks/{task}/remarks", only="create"),
            Place("/tasks/{task}/said", only="create", parent="required"),
        ],
    ):
        task: Ref[Task]

    app = App(Project, Task, Remark, store=fresh_store(), interfaces=[Rest("/v1"), Sse("/v1")])
    paths = OpenApi().document(app)["paths"]
    assert paths["/v1/remarks"].keys() == {"get"}
    assert "/v1/remarks/{key}" not in paths
    assert "/v1/remarks/subscribe" not in paths
    assert paths["/v1"].keys() == {"get", "post"}
    assert paths["/v1/{key}"].keys() == {"get", "put", "patch", "delete"}
    assert paths["/v1/{key}/subscribe"].keys() == {"get"}
    nested = paths["/v1/projects/{project}/tasks/{task}/remarks"]["post"]
    assert (nested["operationId"], nested["tags"]) == ("projects.tasks.remarks.create", ["Remark"])
    assert "RemarkCreateInTask" in str(nested["requestBody"])
    assert "RemarkCreateInTask" not in str(paths["/v1/tasks/{task}/said"]["post"]["requestBody"])


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_channel_of_what_no_client_gets_at_is_refused() -> None:
    class Hidden(Resource, rules=allow.everyone, places=()):
        pass

    with pytest.raises(DeclarationError, match="which no client gets at"):
        App(Hidden, store=fresh_store(), channels=[Channel("hidden", of=Hidden)])


async def test_what_is_not_listed_anywhere_cannot_be_subscribed_to() -> None:
    class Log(Record[int], rules=allow.everyone, exclude="subscribe"):
        pass

    async with client_for(Log) as client, client.websocket() as socket:
        assert (await socket.call("logs.list"))["data"] == []
        with pytest.raises(Refusal, match="logs cannot be subscribed to"):
            await socket.call("subscribe", {"sub": "s", "resource": "logs"})
        assert (await client.get("/logs/subscribe")).status == 404


async def test_a_resource_without_places_is_reached_by_code_alone() -> None:
    class Secret(Record[int], rules=allow.everyone, places=()):
        text: str

    class Todo(Record[int], rules=allow.where(secret__text="open")):
        secret: Ref[Secret]

    app = App(Secret, Todo, store=fresh_store(), interfaces=[Rest(), Sse(), WebSocket(), OpenApi(public=True)])
    async with Client(app) as client, client.websocket() as socket:
        await app.records.create(Secret, id=1, text="open")
        await app.records.create(Secret, id=2, text="shut")
        assert (await client.post("/todos", {"id": 1, "secret": 1})).status == 201
        assert (await client.post("/todos", {"id": 2, "secret": 2})).status == 403
        for path in ("/secrets", "/secrets/1", "/secrets/subscribe"):
            assert (await client.get(path)).status == 404, path
        for method, params in (("secrets.list", {}), ("subscribe", {"sub": "s", "resource": "secrets"})):
            with pytest.raises(Refusal, match="no resource 'secrets'"):
                await socket.call(method, params)
        described = (await client.get("/openapi.json")).text
        assert not [told for told in ("/secrets", "SecretCreate", "SecretQuery", "secrets.list") if told in described]


async def test_formats_may_stand_behind_a_path() -> None:
    class Page(Record[str], rules=allow.everyone):
        title: str = ""

    class Openapi(Record[int], rules=allow.everyone, path="openapi"):
        pass

    async with client_for(Project, Task, Page, Openapi, interfaces=[Rest(), OpenApi(public=True)]) as client:
        made = await client.post("/projects.json", {"id": 1})
        assert (made.status, made.headers["location"]) == (201, "/projects/1")
        assert len((await client.get("/projects.json")).json) == 1
        assert (await client.get("/projects/1.json")).json["id"] == 1
        assert [one["id"] for one in (await client.get("/projects/1,1.json")).json] == [1]
        assert (await client.get("/projects/1/tasks.json")).json == []
        assert (await client.get("/projects.xml")).status == 404
        assert (await client.get("/projects/1.xml")).status == 404
        await client.post("/pages", {"id": "a.json", "title": "dotted"})
        assert (await client.get("/pages/a.json")).json["title"] == "dotted"
        assert (await client.get("/openapi.json")).json["openapi"] == "3.1.1"


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_wrong_place_is_refused_with_the_nearest_name() -> None:
    class Remark(
        Resource,
        rules=allow.everyone,
        only="lst",
        places=[
            Place("/tasks/{tsk}/remarks"),
            Place("/tasks/{title}/remarks"),
            Place("/tasks/{task}/{project}/remarks"),
            Place("remarks"),
            Place("/re marks"),
            Place("/none", only="read", exclude=("read",)),
            Place("/wrong", exclude="updat", rules={"reed": allow.everyone}, parent="required"),
        ],
    ):
        task: Ref[Task]
        title: str

    class Twice(Resource, rules=allow.everyone, places=["/twice", "/twice/"]):
        pass

    with pytest.raises(DeclarationError) as refused:
        App(Project, Task, Remark, Twice, store=fresh_store())
    assert refused.value.faults == (
        "Remark: only names 'lst', which is no action; did you mean 'list'?",
        "Remark: the place '/none' cannot be reached: no action is left there.",
        "Remark: the place '/wrong': exclude names 'updat', which is no action; did you mean 'update'?",
        "Remark: the place '/wrong': rules have no 'reed'; did you mean 'read'?",
        "Remark: the place '/tasks/{tsk}/remarks' names 'tsk', no field of Remark; did you mean 'task'?",
        "Remark: the place '/tasks/{title}/remarks' names 'title', which points at no record.",
        "Remark: the place '/tasks/{task}/{project}/remarks' names 'project', no field of Remark.",
        "Remark: the place 'remarks' does not begin with a slash.",
        "Remark: the place '/re marks': 're marks' is no word of a URL, nor a field in braces.",
        "Remark: the place '/wrong' names no parent, so a body need not either.",
        "Twice: two of its places are /twice.",
    )


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_two_resources_at_one_place_are_refused() -> None:
    class Here(Resource, rules=allow.everyone, places=["/tasks"]):
        pass

    with pytest.raises(DeclarationError, match="Task and Here both answer /tasks; give one of them another place"):
        App(Here, Project, Task, store=fresh_store(), interfaces=[Rest(), Sse(), WebSocket()])
