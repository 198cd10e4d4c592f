"""What booster's controllers and models and wheelhouse's resources did around an action, in hooks and middleware."""

from typing import Any

import pytest

from crudite import (
    App,
    Conflict,
    Field,
    Forbidden,
    Next,
    NotFound,
    Parent,
    Password,
    Problem,
    Record,
    Request,
    Response,
    after,
    allow,
    around,
    before,
    me,
)
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, titles
from tests.services.stores import fresh_store


@pytest.mark.promises("B60", "B61", "W9", "W18")
async def test_one_action_is_another_one_is_switched_off_and_the_rest_are_as_ever() -> None:
    class Post(Record[int], rules=["list", "read", "create", "update"]):
        title: str

        @around("list")
        @classmethod
        async def newest_only(cls, request: Request, next: Next) -> Response:
            response = await next()
            return response.with_data(response.data[-1:])

    async with client_for(Post) as client:
        for title in ("a", "b"):
            await client.post("/posts", {"title": title})
        assert titles(await client.get("/posts")) == ["b"]
        assert (await client.get("/posts/1")).json["title"] == "a"
        assert (await client.delete("/posts/1")).status == 403  # what no rule is given for, nobody may


@pytest.mark.promises("B7", "B62", "B63", "B64", "W48")
async def test_global_filters_run_before_those_of_the_resource_and_those_for_all_before_those_for_one() -> None:
    order: list[str] = []

    class Post(Record[int], rules=allow.everyone):
        title: str

        @around("list")
        @classmethod
        async def one(cls, request: Request, next: Next) -> Response:
            order.append("resource: list")
            return await next()

        @around()
        @classmethod
        async def every(cls, request: Request, next: Next) -> Response:
            order.append("resource: all")
            return await next()

    class Comment(Record[int], rules=allow.everyone, path="comments"):
        text: str

    app = App(Post, Comment, store=fresh_store())

    @app.use
    async def all_requests(request: Request, next: Next) -> Response:
        order.append(f"all: {request.name}")
        return await next()

    @app.use(action="list")
    async def lists(request: Request, next: Next) -> Response:
        order.append("all lists")
        return await next()

    async with Client(app) as client, client.websocket() as socket:
        await client.get("/posts")
        assert order == ["all: posts", "all lists", "resource: all", "resource: list"]
        order.clear()
        await socket.call("posts.list")
        assert order == ["all: posts", "all lists", "resource: all", "resource: list"]
        order.clear()
        await client.get("/comments")
        assert order == ["all: comments", "all lists"]


@pytest.mark.promises("B62", "B106", "B109")
async def test_a_filter_goes_on_fails_answers_itself_or_narrows_what_is_asked() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str

        @around()
        @classmethod
        async def gate(cls, request: Request, next: Next) -> Any:
            match request.headers.get("x-gate"):
                case "fail":
                    raise Forbidden("Not through here.")
                case "answer" if request.action == "read":
                    return {"title": "from the gate"}
            if request.action == "list" and request.headers.get("x-gate") == "narrow":
                return [{"title": one.title} for one in await request.records.list(Post.where(title="b"))]
            return await next()

    app = App(Post, store=fresh_store())
    async with Client(app) as client:
        for title in ("a", "b"):
            await client.post("/posts", {"title": title})
        assert titles(await client.get("/posts")) == ["a", "b"]
        refused = await client.get("/posts", headers={"x-gate": "fail"})
        assert (refused.status, refused.json["detail"]) == (403, "Not through here.")
        assert (await client.get("/posts/1", headers={"x-gate": "answer"})).json == {"title": "from the gate"}
        assert (await client.get("/posts", headers={"x-gate": "narrow"})).json == [{"title": "b"}]


@pytest.mark.promises("B65", "B66", "B67", "B107")
async def test_a_post_processor_sees_the_answer_or_the_problem_and_may_replace_either() -> None:
    seen: list[tuple[Any, ...]] = []

    class Post(Record[int], rules=allow.everyone):
        title: str

        @around()
        @classmethod
        async def every(cls, request: Request, next: Next) -> Response:
            try:
                response = await next()
            except Problem as problem:
                seen.append((request.action, problem.status))
                if request.headers.get("x-kind"):
                    raise Conflict("Something else.") from problem
                raise
            seen.append((request.action, response.status, response.data and response.data["title"]))
            if request.headers.get("x-late"):
                raise Conflict("Too late to say no, but it is said.")
            return response.with_data({"shown": response.data["title"]}) if request.action == "read" else response

    async with client_for(Post) as client:
        assert (await client.post("/posts", {"title": "a"})).status == 201
        assert (await client.get("/posts/1")).json == {"shown": "a"}
        assert (await client.get("/posts/2")).status == 404
        assert (await client.get("/posts/2", headers={"x-kind": "1"})).status == 409
        assert (await client.get("/posts/1", headers={"x-late": "1"})).status == 409
        assert (await client.delete("/posts/1")).status == 204
    assert seen == [
        ("create", 201, "a"), ("read", 200, "a"), ("read", 404), ("read", 404), ("read", 200, "a"),
        ("delete", 204, None),
    ]  # fmt: skip


class Mailer(list[str]):
    """What the application is given at its start."""


@pytest.mark.promises("B4", "B10", "B11", "B70")
async def test_the_parameters_of_the_application_and_its_resources_reach_hooks_and_handlers() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str

        @after("create")
        def mail(self, request: Request, mailer: Mailer) -> None:
            mailer.append(self.title)

    sent = Mailer()
    app = App(Post, store=fresh_store(), provide={Mailer: lambda: sent})

    @app.read("summary")
    async def summary(request: Request, mailer: Mailer) -> dict[str, Any]:
        return {"mailed": list(mailer), "posts": len(await request.records.list(Post))}

    async with Client(app) as client:
        await client.post("/posts", {"title": "a"})
        assert (await client.get("/summary")).json == {"mailed": ["a"], "posts": 1}


@pytest.mark.promises("B12")
async def test_a_body_is_read_without_anything_that_has_to_be_installed() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str

    async with client_for(Post) as client:
        assert (await client.post("/posts", {"title": "a"})).json["title"] == "a"


@pytest.mark.promises("B105", "B108", "B111")
async def test_before_a_record_is_saved_it_may_be_refused_changed_or_joined_by_others() -> None:
    order: list[str] = []

    class Log(Record[int], rules=allow.everyone, path="logs"):
        text: str

    class Post(Record[int], rules=allow.everyone):
        title: str

        @around("create", "update", "replace", "delete")
        @classmethod
        async def filter(cls, request: Request, next: Next) -> Response:
            order.append(f"filter {request.action}")
            response = await next()
            order.append(f"post {request.action}")
            return response

        @before("create", "update", "replace")
        async def presave(self, request: Request) -> None:
            order.append("presave")
            if self.title == "bad":
                raise Conflict("Not this one.")
            self.title = self.title.strip()
            request.batch.create(Log, text=f"{request.action} {self.title}")

    async with client_for(Post, Log) as client:
        assert (await client.post("/posts", {"title": " a "})).json["title"] == "a"
        assert (await client.patch("/posts/1", {"title": "bad"})).status == 409
        assert (await client.patch("/posts/1", {"title": " b"})).json["title"] == "b"
        assert (await client.put("/posts/1", {"title": "c "})).json["title"] == "c"
        assert (await client.delete("/posts/1")).status == 204
        assert [log["text"] for log in (await client.get("/logs")).json] == ["create a", "update b", "replace c"]
    assert order == [
        "filter create", "presave", "post create",
        "filter update", "presave",
        "filter update", "presave", "post update",
        "filter replace", "presave", "post replace",
        "filter delete", "post delete",
    ]  # fmt: skip


@pytest.mark.promises("B110")
async def test_a_resource_has_functions_of_its_own() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str

        @classmethod
        async def titled(cls, records: Any, title: str) -> "Post | None":
            return next(iter(await records.list(cls.where(title=title).limit(1))), None)

        def shout(self) -> str:
            return self.title.upper()

    async with client_for(Post) as client:
        await client.post("/posts", {"title": "a"})
        found = await Post.titled(client.app.records, "a")
        assert found is not None
        assert found.shout() == "A"
        assert await Post.titled(client.app.records, "b") is None


@pytest.mark.promises("B110")
async def test_a_password_is_tried_without_anybody_seeing_what_is_kept_of_it() -> None:
    class Person(Record[int], rules={"read": allow.where(id=me.id), "create": allow.everyone}, path="people"):
        name: str
        password: Password
        pin: Password | None = Field(default=None, min_length=4)

    app = App(Person, store=fresh_store(), auth=by_name)

    @app.create("try")
    async def attempt(request: Request, key: int, password: str) -> bool:
        return await request.records.verify(Person, key, password=password)

    async with Client(app) as client:
        created = await client.post("/people", {"name": "Ann", "password": "correct horse", "pin": "1234"})
        assert created.status == 201
        verify = client.app.records.verify
        assert await verify(Person, 1, password="correct horse") is True
        assert await verify(Person, 1, password="correct horse", pin="1234") is True
        assert await verify(Person, 1, password="correct horse", pin="4321") is False
        assert await verify(Person, 1, password="wrong horse!") is False
        assert await verify(Person, 2, password="correct horse") is False
        await client.app.records.replace(Person, 1, name="Anne")
        assert await verify(Person, 1, password="correct horse", pin="1234") is True
        with pytest.raises(TypeError, match="Person has no Password called name"):
            await verify(Person, 1, name="Ann")
        with pytest.raises(TypeError, match="verify needs a password: password or pin of Person"):
            await verify(Person, 1)  # else nothing at all would be the right password of everybody
        bob = {"authorization": "Bearer bob"}  # may not read that record, so nothing is right
        assert (await client.post("/try", {"key": 1, "password": "correct horse"}, headers=bob)).json is False
        assert (await client.post("/try", {"key": 1, "password": "correct horse"})).json is False


@pytest.mark.promises("B112", "B113", "B82", "B83")
async def test_a_resource_is_used_from_python_with_the_same_words_as_from_outside() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str
        note: str | None = None

    async with client_for(Post) as client:
        records = client.app.records
        made = await records.create(Post, title="a")
        assert (made.id, (await records.read(Post, made.id)).title) == (1, "a")
        assert [one.title for one in await records.list(Post.where(title="a"))] == ["a"]
        assert (await records.replace(Post, 1, title="b", note="n")).title == "b"
        assert (await records.update(Post, 1, title="c")).note == "n"
        await records.delete(Post, 1)
        with pytest.raises(NotFound):
            await records.read(Post, 1)


@pytest.mark.promises("W12", "W13", "W50")
async def test_who_may_do_what_is_a_list_or_depends_on_who_asks() -> None:
    class Note(Record[int], rules=["list", "read"]):
        text: str

    class Post(Record[int], rules={"read": allow.everyone, "write": allow.when(lambda actor: actor.id == "ann")}):
        title: str

    class Shut(Record[int]):
        title: str

    async with client_for(Note, Post, Shut, auth=by_name) as client:
        assert (await client.get("/notes")).status == 200
        assert (await client.post("/notes", {"text": "a"}, headers={"authorization": "Bearer bob"})).status == 403
        assert (await client.post("/posts", {"title": "a"}, headers={"authorization": "Bearer ann"})).status == 201
        assert (await client.post("/posts", {"title": "a"}, headers={"authorization": "Bearer bob"})).status == 403
        assert (await client.get("/shuts")).status == 403


@pytest.mark.promises("W14", "W15", "W16", "W17", "W19")
async def test_a_function_says_for_each_record_who_may_see_and_change_it_everywhere() -> None:
    def is_his(post: Any, actor: Any) -> bool:
        return bool(post.owner == actor.id)

    class Post(Record[int], rules=allow.check(is_his)):
        title: str
        owner: str

    async with client_for(Post, auth=by_name) as client:
        ann, bob = ({"authorization": f"Bearer {name}"} for name in ("ann", "bob"))
        assert (await client.post("/posts", {"title": "a", "owner": "ann"}, headers=ann)).status == 201
        assert (await client.post("/posts", {"title": "b", "owner": "ann"}, headers=bob)).status == 403
        assert titles(await client.get("/posts", headers=ann)) == ["a"]
        assert (await client.get("/posts", headers=bob)).json == []
        assert (await client.get("/posts/1", headers=bob)).status == 404
        assert (await client.patch("/posts/1", {"title": "c"}, headers=bob)).status == 404
        assert (await client.delete("/posts/1", headers=bob)).status == 404
        assert (await client.delete("/posts/1", headers=ann)).status == 204


@pytest.mark.promises("B68")
async def test_hooks_of_a_resource_take_nothing_away_from_what_nesting_does() -> None:
    class Post(Record[int], rules=allow.everyone):
        title: str

    class Comment(Record[int], rules=allow.everyone):
        post: Parent[Post]
        text: str

        @around()
        @classmethod
        async def every(cls, request: Request, next: Next) -> Response:
            return await next()

    async with client_for(Post, Comment) as client:
        for title in ("a", "b"):
            await client.post("/posts", {"title": title})
            await client.post(f"/posts/{1 if title == 'a' else 2}/comments", {"text": title})
        assert [one["text"] for one in (await client.get("/posts/2/comments")).json] == ["b"]
        assert (await client.get("/posts/2/comments/1")).status == 404
        assert (await client.get("/comments?include=post")).json[0]["post"] == 1
