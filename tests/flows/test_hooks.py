"""Hooks: what an application does before, after and around an action, over every interface alike."""

import asyncio
from typing import Any

import pytest

from crudite import (
    App,
    Conflict,
    Field,
    Many,
    Next,
    NotFound,
    NotUnique,
    OpenApi,
    Parent,
    Record,
    Request,
    Resource,
    Response,
    Rest,
    WebSocket,
    after,
    allow,
    around,
    before,
    me,
)
from crudite.ids import uuid7
from crudite.testing import Client, Refusal, View
from tests.flows.worlds import by_name, client_for, titles
from tests.services.stores import fresh_store


async def test_before_sees_the_draft_and_the_stored_record_and_may_change_what_is_stored() -> None:
    class Task(Resource, rules=allow.everyone):
        title: str
        status: str = "todo"
        changes: int = 0

        @before("create", "update", "replace")
        async def tidy(self, request: Request, old: "Task | None") -> None:
            self.title = self.title.strip()
            self.changes = old.changes + 1 if old is not None else 0

    async with client_for(Task) as client:
        created = await client.post("/tasks", {"title": "  a "})
        at = created.headers["location"]
        updated = await client.patch(at, {"title": " b"})
        replaced = await client.put(at, {"title": "c "})

        assert (created.json["title"], created.json["changes"]) == ("a", 0)
        assert (updated.json["title"], updated.json["changes"]) == ("b", 1)
        assert (replaced.json["title"], replaced.json["changes"]) == ("c", 2)
        assert (await client.get(at)).json == replaced.json


async def test_before_may_refuse_and_then_nothing_has_changed() -> None:
    class Task(Resource, rules=allow.everyone):
        title: str
        status: str = "todo"

        @before("update")
        def no_reopen(self, request: Request, old: "Task") -> None:
            if old.status == "done" != self.status:
                raise Conflict("A done task stays done.")

        @before("delete")
        def keep(self) -> None:
            raise Conflict("Tasks are for ever.")

    async with client_for(Task) as client:
        at = (await client.post("/tasks", {"title": "a", "status": "done"})).headers["location"]

        refused = await client.patch(at, {"status": "todo"})
        assert (refused.status, refused.json["detail"]) == (409, "A done task stays done.")
        assert (await client.delete(at)).status == 409
        assert (await client.get(at)).json["status"] == "done"


async def test_what_a_hook_sets_is_validated() -> None:
    class Task(Resource, rules=allow.everyone):
        title: str = Field(max_length=3)

        @before("create")
        def lengthen(self) -> None:
            self.title += "xx"

    async with client_for(Task) as client:
        assert (await client.post("/tasks", {"title": "ab"})).status == 422
        assert (await client.get("/tasks")).json == []


async def test_writes_in_the_batch_of_a_hook_are_committed_with_the_write_or_not_at_all() -> None:
    class Note(Resource, rules=allow.nobody):
        text: str = Field(unique=True)

    class Task(Resource, rules=allow.everyone):
        title: str

        @before("create")
        def note(self, request: Request) -> None:
            request.batch.create(Note, text=f"created {self.title}")

    async with client_for(Task, Note) as client:
        assert (await client.post("/tasks", {"title": "a"})).status == 201
        assert (await client.post("/tasks", {"title": "a"})).status == 409
        assert (await client.post("/tasks", [{"title": "b"}, {"title": "b"}])).status == 409

        assert titles(await client.get("/tasks")) == ["a"]
        assert [note.text for note in await client.app.records.list(Note)] == ["created a"]


async def test_hooks_of_batched_writes_run_too() -> None:
    class Log(Resource, rules=allow.nobody):
        text: str

    class Note(Resource, rules=allow.nobody):
        text: str

        @before("create")
        def log(self, request: Request) -> None:
            request.batch.create(Log, text=f"note {self.text}")

    class Task(Resource, rules=allow.everyone):
        title: str

        @before("create")
        def note(self, request: Request) -> None:
            request.batch.create(Note, text=self.title)

    async with client_for(Task, Note, Log) as client:
        await client.post("/tasks", {"title": "a"})
        assert [log.text for log in await client.app.records.list(Log)] == ["note a"]


async def test_writes_that_middleware_puts_into_the_batch_survive_a_second_try() -> None:
    class Note(Resource, rules=allow.nobody):
        text: str

    class Counter(Resource, rules=allow.everyone):
        count: int = 0
        slow: bool = False

        @before("update")
        async def meet(self, request: Request, old: "Counter") -> None:
            if self.slow and old.count == 0:
                await client.app.records.update(Counter, old.id, count=1)

    client = client_for(Counter, Note)

    @client.app.use
    async def audit(request: Request, next: Next) -> Response:
        if request.action == "update":
            request.batch.create(Note, text="updated")
        return await next()

    async with client:
        at = (await client.post("/counters", {})).headers["location"]
        updated = await client.patch(at, {"slow": True})
        assert (updated.status, updated.json["count"], updated.json["slow"]) == (200, 1, True)
        assert len(await client.app.records.list(Note)) == 1


async def test_after_runs_after_the_commit_and_cannot_undo_it() -> None:
    seen: list[Any] = []

    class Task(Resource, rules=allow.everyone):
        title: str

        @after("create", "update")
        async def tell(self, request: Request, old: "Task | None") -> None:
            seen.append((request.action, self.title, old and old.title))
            assert await request.records.read(Task, self.id) == self
            raise RuntimeError("too late")

        @after("delete")
        def gone(self) -> None:
            seen.append(("delete", self.title))

    async with client_for(Task) as client:
        created = await client.post("/tasks", {"title": "a"})
        at = created.headers["location"]
        updated = await client.patch(at, {"title": "b"})
        deleted = await client.delete(at)

    assert [created.status, updated.status, deleted.status] == [201, 200, 204]
    assert (created.json["title"], updated.json["title"]) == ("a", "b")
    assert seen == [("create", "a", None), ("update", "b", "a"), ("delete", "b")]


async def test_the_writer_is_shown_what_he_may_read_whatever_after_hooks_need() -> None:
    class Task(Resource, rules={"create": allow.everyone, "read": allow.where(title="open")}):
        title: str
        hidden: str = Field(default="x", read=allow.nobody)

        @after("create")
        def tell(self) -> None:
            seen.append(self.hidden)

    seen: list[str] = []
    async with client_for(Task) as client:
        shown = await client.post("/tasks", {"title": "open"})
        unseen = await client.post("/tasks", {"title": "shut"})

    assert shown.status == unseen.status == 201
    assert (shown.json["title"], "hidden" in shown.json, unseen.body) == ("open", False, b"")
    assert seen == ["x", "x"]


async def test_a_write_that_meets_another_is_decided_again_and_after_eight_times_is_a_conflict() -> None:
    tries: list[int] = []
    meets = 1

    class Counter(Resource, rules=allow.everyone):
        count: int = 0
        other: int = 0

        @before("update")
        async def add(self, request: Request, old: "Counter") -> None:
            if request.interface != "rest":
                return
            tries.append(old.other)
            self.count = old.count + 1
            if len(tries) <= meets:
                await client.app.records.update(Counter, old.id, other=old.other + 1)

    async with client_for(Counter) as client:
        at = (await client.post("/counters", {})).headers["location"]
        updated = await client.patch(at, {})
        assert (updated.status, updated.json["count"], updated.json["other"]) == (200, 1, 1)
        assert tries == [0, 1]

        tries.clear()
        meets = 99
        refused = await client.patch(at, {})
        assert (refused.status, len(tries)) == (409, 8)
        assert (await client.get(at)).json["count"] == 1


async def test_around_wraps_the_action_and_may_take_its_place() -> None:
    order: list[str] = []

    class Task(Resource, rules=allow.everyone):
        title: str

        @around("create")
        @classmethod
        async def first(cls, request: Request, next: Next) -> Response:
            order.append(f"in {cls.__name__} {request.action}")
            response = await next()
            order.append("out")
            return response

        @around("create")
        @classmethod
        async def second(cls, request: Request, next: Next) -> Response:
            order.append("in second")
            return await next()

        @before("create")
        def before(self) -> None:
            order.append("before")

        @around("read")
        @classmethod
        async def hide(cls, request: Request, next: Next) -> Response:
            raise NotFound("Nothing to see.")

    async with client_for(Task) as client:
        created = await client.post("/tasks", {"title": "a"})
        assert created.status == 201
        assert order == ["in Task create", "in second", "before", "out"]
        assert (await client.get(created.headers["location"])).json["detail"] == "Nothing to see."
        with pytest.raises(NotFound):
            await client.app.records.read(Task, created.json["id"])


async def test_around_goes_with_each_write_of_a_batch() -> None:
    seen: list[str] = []

    class Task(Resource, rules=allow.everyone):
        title: str

        @around("create", "update")
        @classmethod
        async def tell(cls, request: Request, next: Next) -> Response:
            seen.append(request.action)
            response = await next()
            seen.append(f"{request.action} done")
            return response

    async with client_for(Task) as client:
        records = client.app.records
        one = await records.create(Task, title="a")
        seen.clear()
        async with records.batch() as batch:
            batch.create(Task, title="b")
            batch.update(Task, one.id, title="c")
            batch.delete(Task, one.id)
        assert seen == ["create", "update", "update done", "create done"]
        assert [task and task.title for task in batch.results] == ["b", "c", None]


async def test_around_goes_with_each_write_of_a_batch_of_any_length() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("create")
        @classmethod
        async def tell(cls, request: Request, next: Next) -> Any:
            if request.data["title"] == "left out":
                return {"id": 1000, "title": "left out"}
            return (await next()).with_data({"id": 1000, "title": "told"})

        @around("create")
        @classmethod
        async def goes_along(cls, request: Request, next: Next) -> Response:
            return await next()

    async with client_for(Task) as client:
        async with client.app.records.batch() as batch:
            for number in range(1, 401):
                batch.create(Task, id=number, title=str(number))
            for _ in range(400):
                batch.create(Task, title="left out")
        assert [task.title for task in batch.results] == ["told"] * 400 + ["left out"] * 400
        assert await client.app.records.count(Task) == 400


async def test_a_long_batch_that_is_cancelled_ends_in_all_of_its_hooks_and_writes_nothing() -> None:
    waiting, ended = asyncio.Event(), list[int]()

    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("create")
        @classmethod
        async def tell(cls, request: Request, next: Next) -> Response:
            try:
                if request.data["id"] == 1100:
                    waiting.set()
                    await asyncio.Event().wait()
                return await next()
            finally:
                ended.append(request.data["id"])

    async with client_for(Task) as client:

        async def write_all() -> None:
            async with client.app.records.batch() as batch:
                for number in range(1, 1101):
                    batch.create(Task, id=number, title="a")

        writing = asyncio.create_task(write_all())
        async with asyncio.timeout(30):
            await waiting.wait()
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
        assert ended == list(range(1100, 0, -1))
        assert await client.app.records.count(Task) == 0


async def test_a_batch_that_fails_raises_its_problem_whatever_a_hook_answers_for_its_own_write() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str = Field(unique=True)

        @around("update")
        @classmethod
        async def forgive(cls, request: Request, next: Next) -> Any:
            try:
                return await next()
            except Conflict:
                return {"id": 1, "title": "forgiven"}

    async with client_for(Task) as client:
        records = client.app.records
        await records.create(Task, id=1, title="a")
        await records.create(Task, id=2, title="b")
        assert (await records.update(Task, 1, title="b")).title == "forgiven"

        async def write_three() -> None:
            async with records.batch() as batch:
                batch.create(Task, id=3, title="c")
                batch.update(Task, 1, title="d")
                batch.create(Task, id=4, title="b")

        with pytest.raises(NotUnique):
            await write_three()
        assert titles(await client.get("/tasks")) == ["a", "b"]


async def test_what_around_asks_for_itself_goes_past_it_and_through_the_hooks_further_in() -> None:
    order: list[str] = []

    class Post(Record[int], rules=allow.everyone):
        title: str

        @around("list", "read")
        @classmethod
        async def outer(cls, request: Request, next: Next) -> Any:
            order.append(f"outer {request.action}")
            if request.action == "read":
                return await next()
            await request.records.list(Post)
            await request.records.read(Post, 1)
            response = await next()
            await request.records.list(Post)
            return response

        @around("list")
        @classmethod
        async def inner(cls, request: Request, next: Next) -> Any:
            order.append("inner list")
            return [{"title": one.title.upper()} for one in await request.records.list(Post.where(title="b"))]

    async with client_for(Post) as client:
        for title in ("a", "b"):
            await client.post("/posts", {"title": title})
        assert (await client.get("/posts")).status == 200
        assert order == ["outer list", "inner list", "inner list", "inner list"]
        order.clear()
        assert [post.title for post in await client.app.records.list(Post)] == ["B"]
        assert (await client.get("/posts/1")).json["title"] == "a"
        assert order == ["outer list", "inner list", "inner list", "inner list", "outer read"]


async def test_around_that_forgets_to_return_the_response_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Task(Resource, rules=allow.everyone):
        title: str

        @around("list")
        @classmethod
        async def forget(cls, request: Request, next: Next) -> None:
            await next()

    async with client_for(Task) as client:
        assert (await client.get("/tasks")).status == 500
    assert "is `return await next()` missing?" in caplog.text


async def test_writes_that_nothing_would_make_are_refused_where_they_are_put_into_the_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Note(Record[int], rules=allow.everyone):
        text: str

    class Task(Record[int], rules=allow.everyone):
        title: str

        @after("create")
        async def tell(self, request: Request) -> None:
            request.batch.create(Note, text="after the commit")

        @around("update")
        @classmethod
        async def noted(cls, request: Request, next: Next) -> Response:
            request.batch.create(Note, text="in time")
            response = await next()
            if request.headers.get("x-late"):
                request.batch.create(Note, text="late")
            return response

        @around("read")
        @classmethod
        async def seen(cls, request: Request, next: Next) -> Response:
            request.batch.create(Note, text="seen")
            return await next()

    async with client_for(Task, Note) as client:
        assert (await client.post("/tasks", {"title": "a"})).status == 201
        assert "request.batch takes no writes, for its transaction has been committed" in caplog.text
        assert (await client.patch("/tasks/1", {"title": "b"})).status == 200
        assert (await client.patch("/tasks/1", {"title": "c"}, headers={"x-late": "yes"})).status == 500
        caplog.clear()
        assert (await client.get("/tasks/1")).status == 500
        assert "request.batch takes no writes, for a read writes nothing: write by request.records" in caplog.text
        assert [note["text"] for note in (await client.get("/notes")).json] == ["in time", "in time"]


async def test_who_may_read_a_record_by_what_its_hook_adds_is_shown_it() -> None:
    class Team(Record[str], rules={"read": allow.where(members__user=me.id), "create": allow.signed_in}):
        members: Many["Member"]

        @before("create")
        async def join(self, request: Request) -> None:
            if self.id != "closed":
                request.batch.create(Member, team=self.id, user=request.actor.id)

    class Member(Record[int], rules={"read": allow.where(user=me.id)}):
        team: Parent[Team]
        user: str

    async with client_for(Team, Member, auth=by_name) as nobody:
        ann = nobody.acting("ann")
        made = await ann.post("/teams", {"id": "red"})
        assert (made.status, made.json["id"], made.json) == (201, "red", (await ann.get("/teams/red")).json)
        several = await ann.post("/teams", [{"id": "blue"}, {"id": "closed"}])
        assert (several.status, [team["id"] for team in several.json]) == (201, ["blue"])
        minimal = await ann.post("/teams", {"id": "green"}, headers={"prefer": "return=minimal"})
        assert (minimal.status, minimal.body) == (201, b"")


@pytest.mark.parametrize("by", ["hook", "step"])
async def test_what_is_raised_around_a_write_that_was_made_is_answered_and_the_write_stands(by: str) -> None:
    async def late(request: Request, next: Next) -> Response:
        await next()
        raise Conflict("Too late.")

    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("create")
        @classmethod
        async def refuse(cls, request: Request, next: Next) -> Response:
            return await (late(request, next) if by == "hook" else next())

    async with client_for(Task) as client:
        if by == "step":
            client.app.use(action="create")(late)
        refused = await client.post("/tasks", {"title": "a"})
        assert (refused.status, refused.json["detail"]) == (409, "Too late.")
        assert titles(await client.get("/tasks")) == ["a"]


async def test_around_that_forgets_to_wait_for_the_response_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    class Task(Resource, rules=allow.everyone):
        title: str

        @around("list")
        @classmethod
        async def forget(cls, request: Request, next: Next) -> Any:
            return next()

        @around("read")
        @classmethod
        async def inside(cls, request: Request, next: Next) -> Any:
            return {"found": next()}

    async with client_for(Task) as client:
        assert (await client.get("/tasks")).status == 500
        assert "is `return await next()` missing?" in caplog.text
        caplog.clear()
        assert (await client.get(f"/tasks/{uuid7()}")).status == 500
    assert "is `await` missing?" in caplog.text


@pytest.mark.parametrize("over", ["rest", "websocket", "python"])
async def test_hooks_run_in_one_order_over_every_interface(over: str) -> None:
    order: list[str] = []

    class Task(Resource, rules=allow.everyone):
        title: str

        @around("create", "update", "delete", "read", "list", "replace")
        @classmethod
        async def around(cls, request: Request, next: Next) -> Response:
            order.append("around")
            return await next()

        @before("create", "update", "delete", "replace")
        async def one(self) -> None:
            order.append("before 1")

        @before("create", "update", "delete", "replace")
        def two(self) -> None:
            order.append("before 2")

        @after("create", "update", "delete", "replace")
        def three(self) -> None:
            order.append("after")

    app = App(Task, store=fresh_store())
    async with Client(app) as client, client.websocket() as socket:

        async def do(action: str, key: Any = None, data: Any = None) -> Any:
            if over == "rest":
                methods = {"create": "POST", "update": "PATCH", "replace": "PUT", "delete": "DELETE"}
                url = f"/tasks/{key}" if key else "/tasks"
                args = (data,) if data else ()
                answer = await client.request(methods.get(action, "GET"), url, *args)
                return answer.json if answer.body else None
            if over == "websocket":
                params = {k: v for k, v in {"key": key, "data": data}.items() if v is not None}
                return (await socket.call(f"tasks.{action}", params)).get("data")
            records = app.records
            if action in ("list", "create"):
                made = await getattr(records, action)(Task, **(data or {}))
                return {"id": made.id} if data else made
            return await getattr(records, action)(Task, key, **(data or {}))

        key = (await do("create", data={"title": "a"}))["id"]
        for action, data in (("update", {"title": "b"}), ("replace", {"title": "c"}), ("delete", None)):
            if action == "delete":
                await do("read", key)
                await do("list")
            await do(action, key, data)

    written = ["around", "before 1", "before 2", "after"]
    assert order == [*written, *written, *written, "around", "around", *written]


async def test_a_hook_may_use_the_records_as_the_actor() -> None:
    class Limit(Resource, rules={"read": allow.signed_in}):
        most: int

    class Task(Resource, rules=allow.everyone):
        title: str

        @before("create")
        async def limited(self, request: Request) -> None:
            limits = await request.records.list(Limit)
            count = await request.records.count(Task)
            if limits and count >= limits[0].most:
                raise Conflict("Enough.")

    async with client_for(Task, Limit, auth=by_name) as client:
        await client.app.records.create(Limit, most=1)
        ann = client.acting("ann")
        assert (await ann.post("/tasks", {"title": "a"})).status == 201
        assert (await ann.post("/tasks", {"title": "b"})).status == 409
        assert (await client.post("/tasks", {"title": "b"})).status == 401  # nobody may read the limit


async def test_a_failing_hook_is_our_fault_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Task(Resource, rules=allow.everyone):
        title: str

        @before("create")
        def fail(self) -> None:
            raise RuntimeError("the secret is swordfish")

    async with client_for(Task) as client, client.websocket() as socket:
        answer = await client.post("/tasks", {"title": "a"})
        with pytest.raises(Refusal) as refusal:
            await socket.call("tasks.create", {"data": {"title": "a"}})
        assert (answer.status, refusal.value.status) == (500, 500)
        assert "swordfish" not in answer.text + str(refusal.value.problem)
        assert (await client.get("/tasks")).json == []
    assert "the secret is swordfish" in caplog.text


async def test_what_an_action_gave_may_be_shown_otherwise_over_every_interface() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("list", "read", "create")
        @classmethod
        async def shout(cls, request: Request, next: Next) -> Response:
            response = await next()
            if isinstance(response.data, list):
                return response.with_data([{**row, "title": row["title"].upper()} for row in response.data])
            return response.with_data({**response.data, "title": response.data["title"].upper(), "loud": True})

    async with client_for(Task) as client, client.websocket() as socket:
        created = await client.post("/tasks", {"title": "a"})
        assert (created.status, created.json["title"], created.json["loud"]) == (201, "A", True)
        assert (created.headers["location"], created.headers["etag"][:2]) == ("/tasks/1", '"v')
        assert titles(await client.get("/tasks")) == ["A"]
        assert (await client.get("/tasks/1")).json["title"] == "A"
        assert (await socket.call("tasks.read", {"key": 1}))["data"]["title"] == "A"
        assert (await client.app.records.read(Task, 1)).title == "A"
        assert (await client.get("/tasks/1,1")).status == 200


async def test_around_may_answer_with_plain_data_and_without_the_action() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("list")
        @classmethod
        async def made_up(cls, request: Request, next: Next) -> Any:
            return [{"title": "a"}, {"title": "b"}]

        @around("read")
        @classmethod
        async def one(cls, request: Request, next: Next) -> Any:
            return {"title": f"number {request.key}"}

        @around("create", "delete")
        @classmethod
        def none(cls, request: Request, next: Next) -> Any:
            return {"did": request.action}

    async with client_for(Task) as client, client.websocket() as socket:
        assert titles(await client.get("/tasks")) == ["a", "b"]
        read = await client.get("/tasks/7")
        assert (read.status, read.json, "etag" in read.headers) == (200, {"title": "number 7"}, False)
        created = await client.post("/tasks", {"title": "c"})
        assert (created.status, created.json, "location" in created.headers) == (201, {"did": "create"}, False)
        assert (await client.delete("/tasks/7")).status == 204
        assert (await socket.call("tasks.read", {"key": 8}))["data"] == {"title": "number 8"}
        assert (await socket.call("tasks.create", {"data": {"title": "c"}}))["data"] == {"did": "create"}


@pytest.mark.parametrize("own", [{"count": 1, "rows": []}, "hello", 7, True])
async def test_a_list_may_be_answered_with_anything_in_every_style(own: Any) -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("list", "read")
        @classmethod
        async def answer(cls, request: Request, next: Next) -> Any:
            return own if request.headers.get("x-hook") == "bare" else (await next()).with_data(own)

    interfaces = [
        Rest(),
        Rest("/old", style="booster"),
        Rest("/wheel", style="wheelhouse"),
        WebSocket(),
        OpenApi(public=True),
    ]
    async with client_for(Task, interfaces=interfaces) as client, client.websocket() as socket:
        for title in "ab":
            await client.post("/tasks", {"title": title})
        for path in ("/tasks", "/tasks/1,2", "/old/tasks", "/old/tasks/1,2", "/wheel/tasks"):
            for headers in ({}, {"x-hook": "bare"}):
                answer = await client.get(path, headers=headers)
                kind = answer.headers["content-type"]
                assert (answer.status, kind, answer.json, "etag" in answer.headers) == (
                    200,
                    "application/json",
                    own,
                    False,
                )
        assert (await socket.call("tasks.list"))["data"] == own
        with pytest.raises(TypeError, match="shows something else than records"):
            await client.app.records.list(Task)
        assert (await client.get("/openapi.json")).status == 200


@pytest.mark.parametrize("own", [{"count": 2}, "ab", 7])
async def test_what_was_written_of_several_may_be_shown_as_one_thing(own: Any) -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("create")
        @classmethod
        async def answer(cls, request: Request, next: Next) -> Response:
            return (await next()).with_data(own)

    interfaces = [Rest(), Rest("/old", style="booster"), WebSocket()]
    async with client_for(Task, interfaces=interfaces) as client, client.websocket() as socket:
        many = [{"title": "a"}, {"title": "b"}]
        made = await client.post("/tasks", many)
        assert (made.status, made.json, "etag" in made.headers, "location" in made.headers) == (201, own, False, False)
        assert (await socket.call("tasks.create", {"data": many}))["data"] == own
        old = await client.post("/old/tasks", many)
        assert (old.status, old.text if isinstance(own, str) else old.json) == (201, own)
        assert titles(await client.get("/tasks")) == ["a", "b"] * 3


async def test_of_several_records_a_hook_may_show_none() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @around("read")
        @classmethod
        async def none(cls, request: Request, next: Next) -> Response:
            return (await next()).with_data([])

    async with client_for(Task, interfaces=[Rest(style="booster")]) as client:
        for title in "ab":
            await client.post("/tasks", {"title": title})
        assert (await client.get("/tasks/1,2")).json == []


async def test_what_goes_round_an_action_cannot_change_what_a_live_query_shows() -> None:
    class Task(Resource, rules=allow.everyone):
        title: str

        @around("list")
        @classmethod
        async def none(cls, request: Request, next: Next) -> Any:
            return (await next()).with_data([])

    async with client_for(Task) as client, client.websocket() as socket:
        assert (await client.get("/tasks")).json == []
        with pytest.raises(Refusal) as refused:
            await socket.subscribe("s1", {"resource": "tasks"}, View(5.0))
        assert refused.value.status == 500


async def test_hooks_for_every_action_run_before_those_for_one() -> None:
    order: list[str] = []

    class Task(Record[int], rules=allow.everyone):
        title: str

        @before("create")
        def one(self) -> None:
            order.append("before create")

        @before()
        def every(self, request: Request) -> None:
            order.append(f"before all: {request.action}")

        @around("list")
        @classmethod
        async def around_one(cls, request: Request, next: Next) -> Response:
            order.append("around list")
            return await next()

        @around()
        @classmethod
        async def around_every(cls, request: Request, next: Next) -> Response:
            order.append(f"around all: {request.action}")
            return await next()

    async with client_for(Task) as client:
        await client.post("/tasks", {"title": "a"})
        await client.get("/tasks")
        await client.delete("/tasks/1")
    assert order == [
        "around all: create", "before all: create", "before create",
        "around all: list", "around list",
        "around all: delete", "before all: delete",
    ]  # fmt: skip


class Outbox(list[str]):
    """What hooks are given."""


async def test_hooks_are_given_by_type_what_the_application_provides() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str

        @before("create")
        def stamp(self, outbox: Outbox) -> None:
            outbox.append(f"before {self.title}")

        @after("create", "update")
        async def tell(self, request: Request, old: "Task | None", outbox: "Outbox") -> None:
            outbox.append(f"after {request.action} {self.title}")

        @around("delete")
        @classmethod
        async def ask(cls, request: Request, next: Next, *, outbox: Outbox) -> Response:
            outbox.append("around delete")
            return await next()

    kept = Outbox()
    async with client_for(Task, provide={Outbox: lambda: kept}) as client:
        await client.post("/tasks", {"title": "a"})
        await client.patch("/tasks/1", {"title": "b"})
        await client.delete("/tasks/1")
    assert kept == ["before a", "after create a", "after update b", "around delete"]
