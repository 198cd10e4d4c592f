"""Server-sent events: a snapshot and a stream without gap or overlap, resumed from wherever it was cut."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import App, Count, Field, Parent, Query, Record, Request, Resource, allow, now
from crudite.live import Engine
from crudite.testing import Client, Event, Refusal, Stream, View
from crudite.testing.asgi import make_scope
from tests.flows.worlds import by_name, client_for, titles
from tests.services.stores import fresh_store


class Todo(Record[int], rules=allow.everyone):
    title: str
    done: bool = False


async def test_a_stream_begins_with_the_snapshot_and_its_id_is_real_from_ready_on() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": "b"}, {"title": "a"}])
        async with client.stream("/todos/subscribe?sort=title") as stream:
            events = await stream.until("ready")

            assert [(e.kind, e.data.get("title")) for e in events] == [
                ("added", "a"),
                ("added", "b"),
                ("ready", None),
            ]
            assert [e.id == "0" for e in events] == [True, True, False]
            assert events[-1].data == {
                "sort": [
                    {"field": "title", "descending": False, "type": "text"},
                    {"field": "id", "descending": False, "type": "integer"},
                ]
            }
            assert stream.retry is not None
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["cache-control"] == "no-store"
            assert stream.headers["x-accel-buffering"] == "no"
            assert stream.headers["x-content-type-options"] == "nosniff"

            await client.patch("/todos/1", {"done": True})
            changed = await stream.next()
            version = (await client.get("/todos/1")).json
            assert changed.kind == "changed"
            assert changed.data == {
                "key": 1,
                "fields": {"done": True, "version": version["version"], "updated_at": version["updated_at"]},
            }
            await client.delete("/todos/2")
            assert (await stream.next()).data == {"key": 2}


async def test_records_enter_and_leave_a_filtered_and_limited_set() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t} for t in "bdf"])
        async with client.live("todos", where={"done": False}, sort="title", limit=2) as view:
            assert titles(await view.ready()) == ["b", "d"]
            await client.post("/todos", {"title": "a"})
            assert titles(await view.until(lambda rows: titles(rows)[0] == "a")) == ["a", "b"]
            await client.patch("/todos/4", {"done": True})
            assert titles(await view.until(lambda rows: "d" in titles(rows))) == ["b", "d"]
            await client.patch("/todos/1", {"title": "z"})
            assert titles(await view.until(lambda rows: "b" not in titles(rows))) == ["d", "f"]


async def test_one_record_can_be_followed_and_its_end_is_told() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": "a"}, {"title": "b"}])
        async with client.stream("/todos/1/subscribe") as stream:
            assert [e.data.get("id") for e in await stream.until("ready")] == [1, None]
            await client.patch("/todos/2", {"done": True})
            await client.delete("/todos/1")
            assert (await stream.next()).data == {"key": 1}


async def test_a_request_that_accepts_an_event_stream_gets_one_from_the_resource_itself() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", {"title": "a"})
        for url in ("/todos", "/todos/1"):
            async with client.stream(url) as stream:
                assert [e.kind for e in await stream.until("ready")] == ["added", "ready"]


async def test_a_stream_that_cannot_be_is_refused_with_every_fault() -> None:
    class Mute(Resource, rules=allow.everyone, live=False):
        title: str

    async with client_for(Todo, Mute) as client:

        async def refused(url: str) -> dict[str, Any]:
            with pytest.raises(Refusal) as refusal:
                async with client.stream(url):
                    pass
            return refusal.value.problem

        problem = await refused("/todos/subscribe?nope=1&offset=3&count=exact")
        assert problem["status"] == 400
        assert [e["parameter"] for e in problem["errors"]] == ["nope", "offset", "count"]
        assert (await refused("/mutes/subscribe"))["status"] == 400
        assert (await refused("/todos/x/subscribe"))["status"] == 404
        assert (await refused("/subscribe"))["status"] == 400
        assert (await refused("/subscribe?queries={}"))["status"] == 400
        assert (await refused('/subscribe?queries={"a":{"resource":"todo"}}'))["status"] == 404
        many = ",".join(f'"{n}":{{"resource":"todos"}}' for n in range(101))
        assert (await refused(f"/subscribe?queries={{{many}}}"))["status"] == 429


async def test_several_queries_share_a_stream_and_every_event_names_its_query() -> None:
    app = App(Todo, store=fresh_store())

    @app.read("open-count")
    async def open_count(request: Request) -> Count:
        return Todo.where(done=False).count()

    async with Client(app) as client:
        await client.post("/todos", {"title": "a"})
        queries = '{"all":{"resource":"todos"},"open":{"read":"open-count"}}'
        async with client.stream("/subscribe", params={"queries": queries}) as stream:
            events = await stream.until("ready") + await stream.until("ready")
            told = {(e.data["query"], e.kind) for e in events}
            assert told == {("all", "added"), ("all", "ready"), ("open", "value"), ("open", "ready")}
            added = next(e for e in events if e.kind == "added")
            assert added.data["record"]["title"] == "a"

            await client.patch("/todos/1", {"done": True})
            two = {e.data["query"]: e for e in (await stream.next(), await stream.next())}
            assert two["open"].data == {"query": "open", "value": 0}
            assert two["all"].data["fields"]["done"] is True


async def test_a_handlers_query_is_live() -> None:
    app = App(Todo, store=fresh_store())

    @app.read("starting")
    async def starting(request: Request, with_text: str, limit: int = 20) -> Query[Todo]:
        return Todo.where(title__startswith=with_text).order("-title").limit(limit)

    async with Client(app) as client:
        await client.post("/todos", [{"title": t} for t in ("ab", "ac", "b")])
        assert titles(await client.get("/starting?with_text=a&limit=1")) == ["ac"]
        async with client.stream("/starting/subscribe?with_text=a") as stream:
            assert [e.data.get("title") for e in await stream.until("ready")] == ["ac", "ab", None]
            await client.post("/todos", [{"title": "bb"}, {"title": "ad"}])
            assert (await stream.next()).data["title"] == "ad"
        with pytest.raises(Refusal) as refusal:
            async with client.stream("/starting/subscribe?limit=x"):
                pass
        assert [e["parameter"] for e in refusal.value.problem["errors"]] == ["with_text", "limit"]


async def test_a_nested_stream_holds_the_children_of_its_parent() -> None:
    class Project(Record[int], rules=allow.everyone):
        title: str

    class Task(Record[int], rules=allow.everyone):
        project: Parent[Project]
        title: str

    async with client_for(Project, Task) as client:
        await client.post("/projects", [{"title": "P"}, {"title": "Q"}])
        await client.post("/projects/1/tasks", {"title": "a"})
        await client.post("/projects/2/tasks", {"title": "b"})
        async with client.stream("/projects/1/tasks/subscribe?sort=title") as stream:
            assert [e.data.get("title") for e in await stream.until("ready")] == ["a", None]
            await client.post("/projects/2/tasks", {"title": "c"})
            await client.patch("/tasks/2", {"project": 1})
            assert (await stream.next()).data["title"] == "b"
        with pytest.raises(Refusal):
            async with client.stream("/projects/9/tasks/subscribe"):
                pass


async def test_identical_queries_share_a_group_and_different_actors_that_see_the_same_too() -> None:
    async with client_for(Todo, auth=by_name) as client:
        async with (
            client.live("todos", where={"done": False}) as one,
            client.acting("ann").live("todos", where={"done": {"eq": False}}, over="websocket") as two,
            client.live("todos") as other,
        ):
            for view in (one, two, other):
                await view.ready()
            assert client.app.engine.metrics.live_subs == 3
            assert client.app.engine.metrics.live_groups == 2
        await client.settled()
        assert client.app.engine.metrics.live_subs == 0
        assert client.app.engine.metrics.live_groups == 0


async def test_a_query_about_now_changes_as_time_passes() -> None:
    class Offer(Resource, rules=allow.everyone):
        title: str
        ends: datetime

    app = App(Offer, store=fresh_store())

    @app.read("running")
    async def running(request: Request) -> Query[Offer]:
        return Offer.where(ends__gt=now)

    async with Client(app) as client:
        for title, left in (("soon", 0.3), ("later", 3600)):
            ends = datetime.now(UTC) + timedelta(seconds=left)
            await client.post("/offers", {"title": title, "ends": ends.isoformat()})
        async with client.live("running") as view:
            assert sorted(titles(await view.ready())) in (["later", "soon"], ["later"])
            assert titles(await view.until(lambda rows: len(rows) == 1)) == ["later"]


async def story(client: Client) -> list[Event]:
    """Everything that a whole stream says while todos come, change and go; several in some transactions."""
    events: list[Event] = []

    async def heard(stream: Stream, count: int) -> None:
        events.extend([await stream.next() for _ in range(count)])

    await client.post("/todos", [{"title": "a"}, {"title": "b"}])
    async with client.stream("/todos/subscribe?done=false&sort=-title") as stream:
        events += await stream.until("ready")
        await client.post("/todos", [{"title": "c"}, {"title": "d"}, {"title": "e"}])
        await heard(stream, 3)
        await client.patch("/todos/1", {"done": True})
        await heard(stream, 1)
        async with client.app.records.batch() as batch:
            batch.update(Todo, 2, title="bb")
            batch.delete(Todo, 3)
            batch.create(Todo, title="f")
            batch.update(Todo, 1, done=False)
        await heard(stream, 4)
        await client.patch("/todos/4", {"title": "dd"})
        await heard(stream, 1)
    return events


def hold(view: View, events: list[Event]) -> View:
    """The view after these events."""
    for event in events:
        view.tell(event.kind, event.data)
    return view


async def test_a_stream_cut_after_any_event_resumes_to_the_exact_state() -> None:
    url = "/todos/subscribe?done=false&sort=-title"
    async with client_for(Todo) as client:
        events = await story(client)
        wanted = (await client.get("/todos?done=false&sort=-title")).json
        for cut in range(1, len(events) + 1):
            view = hold(View(1.0), events[:cut])
            async with client.stream(url, last_event_id=events[cut - 1].id) as stream:
                rest = await stream.until("ready")
            assert hold(view, rest).records == wanted, cut
            is_in_snapshot = cut < 3
            assert (rest[0].kind == "reset") == is_in_snapshot
            for again in range(len(rest)):  # cut a second time, within what was missed
                twice = hold(hold(View(1.0), events[:cut]), rest[:again])
                last_id = (events[:cut] + rest[:again])[-1].id
                async with client.stream(url, last_event_id=last_id) as stream:
                    assert hold(twice, await stream.until("ready")).records == wanted, (cut, again)


async def test_the_cursor_may_be_given_in_the_url_and_a_foreign_one_starts_anew() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", {"title": "a"})
        async with client.stream("/todos/subscribe") as stream:
            cursor = (await stream.until("ready"))[-1].id
        await client.post("/todos", {"title": "b"})
        await client.settled()
        for name in ("cursor", "last_event_id"):
            async with client.stream("/todos/subscribe", params={name: cursor}) as stream:
                assert [e.data.get("title") for e in await stream.until("ready")] == ["b", None]
        async with client.stream("/todos/subscribe?done=false", params={"cursor": cursor}) as stream:
            assert [e.kind for e in await stream.until("ready")] == ["reset", "added", "added", "ready"]
        for forged in ("x", "x~y", "~", "☃"):
            async with client.stream("/todos/subscribe", params={"cursor": forged}) as stream:
                assert [e.kind for e in await stream.until("ready")] == ["reset", "added", "added", "ready"]


async def test_a_cursor_of_wider_rights_does_not_resume_with_narrower_ones() -> None:
    class Memo(Record[int], rules={"read": allow.role("staff") | allow.where(public=True), "write": allow.everyone}):
        title: str
        public: bool = False

    async with client_for(Memo, auth=by_name) as client:
        await client.post("/memos", [{"title": "secret"}, {"title": "open", "public": True}])
        async with client.acting("ann:staff").stream("/memos/subscribe") as stream:
            events = await stream.until("ready")
        async with client.acting("ann").stream("/memos/subscribe", last_event_id=events[-1].id) as stream:
            after = await stream.until("ready")
        assert (after[0].kind, after[0].data) == ("reset", {"reason": "rights"})
        assert [e.data["title"] for e in after if e.kind == "added"] == ["open"]


async def test_a_write_between_any_two_steps_of_a_subscription_arrives_exactly_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steps are the awaits of the store: a write is committed just before and just after each of them."""
    for step in range(6):
        async with client_for(Todo) as client:
            await client.post("/todos", {"title": "first"})
            store, count = client.app.store, 0

            async def interrupting(*args: Any, inner: Any, step: int = step, **named: Any) -> Any:
                nonlocal count
                for place in ("before", "after"):
                    if place == "after":
                        answer = await inner(*args, **named)
                    if count == step:
                        await client.app.records.create(Todo, title="between")
                    count += 1
                return answer

            for name in ("read", "locate"):
                inner = getattr(store, name)
                monkeypatch.setattr(
                    store,
                    name,
                    lambda *a, inner=inner, **n: interrupting(*a, inner=inner, **n),
                    raising=False,
                )
            async with client.live("todos", sort="title") as view:
                await view.ready()
                if step >= count:
                    await client.app.records.create(Todo, title="between")
                    count = 99
                assert titles(await view.until(lambda rows: len(rows) == 2)) == ["between", "first"]
                await client.settled()
                added = [data["title"] for kind, data in view.events if kind == "added"]
                assert sorted(added) == ["between", "first"], step
            monkeypatch.undo()


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    async with client_for(Todo) as client:
        engine: Engine = client.app.engine
        for _ in range(3):
            async with client.stream("/todos/subscribe") as stream:
                await stream.until("ready")
                await client.post("/todos", {"title": "x"})  # the frame is on its way as the client goes
        await client.settled()
        assert (engine.metrics.live_connections, engine.metrics.live_groups) == (0, 0)
        assert (await client.get("/todos")).status == 200


@pytest.mark.parametrize("url", ["/todos/subscribe", "/ws"])
async def test_a_client_that_vanishes_in_the_middle_of_a_frame_costs_nothing(url: str) -> None:
    """Servers raise OSError when they send to somebody who is gone."""
    async with client_for(Todo) as client:
        await client.post("/todos", {"title": "a"})
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        sent: list[Any] = []
        ready = asyncio.Event()

        async def send(message: Any) -> None:
            text = str(message)
            if "ready" in text:
                ready.set()
            if "last words" in text:
                raise BrokenPipeError
            sent.append(message)

        kind = "websocket" if url == "/ws" else "http"
        if kind == "websocket":
            call = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "subscribe",
                "params": {"sub": "s", "resource": "todos"},
            }
            inbox.put_nowait({"type": "websocket.connect"})
            inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(call)})
        else:
            inbox.put_nowait({"type": "http.request", "body": b""})
        serving = asyncio.create_task(client.app(make_scope(kind, "GET", url, None, {}, ""), inbox.get, send))
        async with client.live("todos") as other:
            await asyncio.wait_for(ready.wait(), 10)
            await client.post("/todos", {"title": "last words"})
            await asyncio.wait_for(serving, 10)
            await client.post("/todos", {"title": "later"})
            await other.until(lambda rows: len(rows) == 3)
        assert "later" not in str(sent)
        assert (client.app.engine.metrics.live_connections, client.app.engine.metrics.live_subs) == (0, 0)


async def test_when_the_application_stops_streams_end_with_a_time_to_come_back() -> None:
    async with client_for(Todo, Todo2) as client:
        async with client.stream("/todos/subscribe") as stream:
            await stream.until("ready")
            stream.retry = None
            await client.app.say_goodbye()
            with pytest.raises(EOFError):
                await stream.next()
            assert stream.retry is not None
        assert (await client.get("/todos")).status == 200


class Todo2(Resource, rules=allow.everyone):
    title: str = Field(default="")


async def test_a_stream_ends_with_the_problem_that_ended_its_last_query() -> None:
    async with client_for(Todo) as client:
        object.__setattr__(client.app.engine.limits, "records", 2)
        await client.post("/todos", [{"title": "a"}, {"title": "b"}, {"title": "c"}])

        async with client.stream("/todos/subscribe") as stream:
            events = await stream.until("problem")
            with pytest.raises(EOFError):
                await stream.next()

    assert events[-1].data["problem"]["code"] == "too_large"


async def test_arguments_of_one_of_several_queries_are_json_and_their_faults_are_pointed_at() -> None:
    async with client_for(Todo) as client:

        @client.app.read("first")
        async def first(request: Request, limit: int) -> Query[Todo]:
            return Todo.where().limit(limit)

        asked = {"few": {"read": "first", "args": {"limit": "many"}}}
        with pytest.raises(Refusal) as refused:
            async with client.stream("/subscribe", params={"queries": json.dumps(asked)}):
                raise AssertionError("the arguments are not valid")

    assert refused.value.status == 422
    assert [fault["pointer"] for fault in refused.value.problem["errors"]] == ["/args/limit"]
