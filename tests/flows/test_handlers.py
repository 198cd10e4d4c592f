"""Handlers: plain functions with typed arguments, reached by name over every interface."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
import pytest

from crudite import (
    App,
    Conflict,
    Count,
    DeclarationError,
    OpenApi,
    Query,
    Record,
    Redirect,
    Request,
    Rest,
    Sse,
    WebSocket,
    allow,
    me,
)
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, faults, titles
from tests.services.stores import fresh_store


class Task(Record[int], rules={"read": allow.where(owner=me.id), "write": allow.everyone}):
    title: str
    owner: str = "ann"
    status: Literal["todo", "done"] = "todo"


def app_of(**options: Any) -> App:
    return App(Task, store=fresh_store(), auth=by_name, **options)


async def test_arguments_are_read_from_the_url_by_their_types() -> None:
    app = app_of()

    @app.read("echo")
    async def echo(
        request: Request,
        day: date,
        price: Decimal,
        key: UUID,
        tags: list[str],
        flag: bool = False,
        size: Literal["s", "m"] = "m",
        count: Annotated[int, pydantic.Field(ge=1)] = 1,
        note: str | None = None,
    ) -> dict[str, Any]:
        return {
            "day": day,
            "price": price,
            "key": key,
            "tags": tags,
            "flag": flag,
            "size": size,
            "count": count,
            "note": note,
        }

    key = "01890a5d-ac96-774b-bcce-b302099a8057"
    async with Client(app) as client:
        answer = await client.get(f"/echo?day=2026-11-20&price=1.50&key={key}&tags=a&tags=b&flag=true&count=3")
        assert (answer.status, answer.json) == (
            200,
            {
                "day": "2026-11-20",
                "price": "1.50",
                "key": key,
                "tags": ["a", "b"],
                "flag": True,
                "size": "m",
                "count": 3,
                "note": None,
            },
        )
        one = await client.get(f"/echo?day=2026-11-20&price=1&key={key}&tags=a")
        assert one.json["tags"] == ["a"]
        bad = await client.get("/echo?day=x&price=y&count=0&size=xl&other=1&tags=a")
        assert bad.status == 400
        assert [place for place, _ in faults(bad)] == ["count", "day", "key", "other", "price", "size"]


async def test_arguments_are_read_from_a_body_and_a_call() -> None:
    app = app_of()

    @app.create("greet")
    def greet(request: Request, name: str, times: int = 1) -> str:
        return " ".join(["hello", *[name] * times])

    @app.delete("forget")
    async def forget(request: Request, name: str) -> None:
        return None

    async with Client(app) as client, client.websocket() as socket:
        assert (await client.post("/greet", {"name": "ann", "times": 2})).json == "hello ann ann"
        assert (await client.post("/greet?times=2", {"name": "ann"})).json == "hello ann ann"
        assert await socket.call("greet", {"name": "bob"}) == {"data": "hello bob"}
        bad = await client.post("/greet", {"nam": "x", "times": "many"})
        assert (bad.status, faults(bad)) == (
            422,
            [("/nam", "unknown_argument"), ("/name", "missing"), ("/times", "int_parsing")],
        )
        assert faults(await client.post("/greet?name=x", {"name": "y"})) == [("name", "repeated")]
        assert (await client.post("/greet", [1])).status == 400
        assert (await client.get("/greet")).status == 405
        assert (await client.delete("/forget?name=x")).json is None
        with pytest.raises(Refusal) as refusal:
            await socket.call("greet", {"times": []})
        assert sorted(e["pointer"] for e in refusal.value.problem["errors"]) == ["/name", "/times"]


async def test_a_returned_query_is_asked_as_the_actor() -> None:
    app = app_of()

    @app.read("open")
    async def open_tasks(request: Request) -> Query[Task]:
        return Task.where(status="todo").order("-title")

    @app.read("open-count")
    async def open_count(request: Request) -> Count:
        return Task.where(status="todo").count()

    async with Client(app, token="ann") as ann:
        await ann.post("/tasks", [{"title": "a"}, {"title": "b"}, {"title": "c", "owner": "bob"}])
        await ann.post("/tasks", {"title": "d", "status": "done"})
        assert titles(await ann.get("/open")) == ["b", "a"]
        assert titles(await ann.acting("bob").get("/open")) == ["c"]
        assert (await ann.acting(None).get("/open")).status == 401
        assert (await ann.get("/open-count")).json == 2
        async with ann.live("open-count") as number, ann.live("open", over="websocket") as view:
            assert await number.until_value(lambda value: True) == 2
            await ann.patch("/tasks/1", {"status": "done"})
            assert await number.until_value(lambda value: value != 2) == 1
            assert titles(await view.until(lambda rows: len(rows) == 1)) == ["b"]
            await ann.patch("/tasks/3", {"title": "not hers"})
            await ann.settled()
            assert titles(view.records) == ["b"]


async def test_anything_else_is_an_answer_that_cannot_be_followed() -> None:
    class Point(pydantic.BaseModel):
        x: int

    app = app_of()

    @app.read("things")
    async def things(request: Request, kind: str) -> Any:
        made: dict[str, Any] = {
            "model": Point(x=1),
            "list": [date(2026, 1, 2), Decimal("1.0")],
            "none": None,
            "text": "ü",
            "records": await request.records.list(Task),
            "set": {1},
        }
        return made[kind]

    async with Client(app, token="ann") as ann:
        await ann.post("/tasks", {"title": "a"})
        assert (await ann.get("/things?kind=model")).json == {"x": 1}
        assert (await ann.get("/things?kind=list")).json == ["2026-01-02", "1.0"]
        assert (await ann.get("/things?kind=text")).json == "ü"
        assert titles((await ann.get("/things?kind=records")).json) == ["a"]
        none = await ann.get("/things?kind=none")
        assert (none.status, none.json) == (200, None)
        with pytest.raises(Refusal) as refusal:
            async with ann.stream("/things/subscribe?kind=text"):
                pass
        assert refusal.value.status == 400


async def test_what_the_application_provides_is_injected_by_its_type_once_made() -> None:
    class Mailer:
        def __init__(self) -> None:
            self.sent: list[str] = []

    made: list[Mailer] = []

    def make() -> Mailer:
        made.append(Mailer())
        return made[-1]

    app = app_of(provide={Mailer: make})

    @app.create("invite")
    async def invite(request: Request, mailer: Mailer, address: str) -> int:
        mailer.sent.append(address)
        return len(mailer.sent)

    async with Client(app) as client:
        assert (await client.post("/invite", {"address": "a@b.c"})).json == 1
        assert (await client.post("/invite", {"address": "a@b.c"})).json == 2
        assert faults(await client.post("/invite", {"address": "a", "mailer": 1})) == [("/mailer", "unknown_argument")]
    assert len(made) == 1


async def test_a_handler_may_write_as_the_actor_and_raise_problems() -> None:
    app = app_of()

    @app.create("finish")
    async def finish(request: Request, key: int) -> str:
        task = await request.records.read(Task, key)
        if task.status == "done":
            raise Conflict("It is done.")
        return (await request.records.update(Task, key, status="done")).title

    async with Client(app, token="ann") as ann:
        await ann.post("/tasks", {"title": "a"})
        assert (await ann.acting("bob").post("/finish", {"key": 1})).status == 404
        assert (await ann.post("/finish", {"key": 1})).json == "a"
        again = await ann.post("/finish", {"key": 1})
        assert (again.status, again.json["detail"]) == (409, "It is done.")


async def test_the_requests_batch_belongs_to_writes_and_not_to_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = app_of()

    @app.create("lose")
    async def lose(request: Request) -> None:
        request.batch.create(Task, title="lost")

    async with Client(app) as client:
        assert (await client.post("/lose", {})).status == 500
    assert "request.records.batch()" in caplog.text


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_handler_that_cannot_be_served_is_refused_when_it_is_declared() -> None:
    app = app_of()

    async def none() -> None: ...
    async def stars(request: Request, *names: str) -> None: ...
    async def fine(request: Request) -> None: ...

    for name, function in (("none", none), ("stars", stars), ("tasks", fine)):
        with pytest.raises(DeclarationError):
            app.read(name)(function)
    app.read("fine")(fine)
    with pytest.raises(DeclarationError):
        app.read("fine")(fine)


async def test_arguments_in_braces_are_read_from_the_path() -> None:
    app = app_of(interfaces=[Rest(), Sse(), WebSocket()])

    @app.read("people/{person}/roles")
    async def roles(request: Request, person: int, kind: str = "any") -> Any:
        return [person, kind]

    @app.create("people/{person}/roles/{role}")
    async def give(request: Request, person: int, role: str, until: date | None = None) -> str:
        return f"{person} {role} {until}"

    @app.create("tasks/{task}")
    async def poke(request: Request, task: int) -> int:
        return task

    @app.read("people/{person}/notes")
    async def notes(request: Request, person: str) -> Query[Task]:
        return Task.where(title=person)

    async with Client(app, token="ann") as client, client.websocket() as socket:
        assert (await client.get("/people/7/roles")).json == [7, "any"]
        assert (await client.get("/people/7/roles?kind=old")).json == [7, "old"]
        assert (
            await client.post("/people/7/roles/the%20boss", {"until": "2030-01-02"})
        ).json == "7 the boss 2030-01-02"
        assert await socket.call("people/{person}/roles", {"person": 7}) == {"data": [7, "any"]}
        assert (await client.post("/tasks/7", {})).json == 7
        unfit = await client.get("/people/ann/roles")
        assert (unfit.status, faults(unfit)) == (400, [("person", "int_parsing")])
        for twice in (
            await client.get("/people/7/roles?person=8"),
            await client.post("/people/7/roles/boss", {"person": 8}),
        ):
            assert (twice.status, faults(twice)) == (400, [("person", "repeated")])
        await client.post("/tasks", {"title": "ann"})
        name, args = "people/{person}/notes", {"person": "ann"}
        async with client.stream("/people/ann/notes/subscribe") as stream, client.live(name, args=args) as view:
            assert titles(await view.ready()) == ["ann"]
            assert (await stream.next()).data["title"] == "ann"
            assert (await stream.next()).kind == "ready"
            await client.post("/tasks", {"title": "bob"})
            await client.post("/tasks", {"title": "ann", "status": "done"})
            assert titles(await view.until(lambda rows: len(rows) == 2)) == ["ann", "ann"]
            assert (await stream.next()).data["status"] == "done"
        places = lambda operation: {one["name"]: one["in"] for one in operation["parameters"]}  # noqa: E731
        paths = OpenApi().document(app)["paths"]
        assert places(paths["/tasks/{key}"]["post"]) == {"key": "path"}  # and no second template of the same shape
        assert "/tasks/{task}" not in paths
        read, made = paths["/people/{person}/roles"]["get"], paths["/people/{person}/roles/{role}"]["post"]
        assert places(read) == {"person": "path", "kind": "query"}
        assert places(made) == {"person": "path", "role": "path"}
        assert list(made["requestBody"]["content"]["application/json"]["schema"]["properties"]) == ["until"]
        assert "/people/{person}/notes/subscribe" in paths


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("people/{persn}/roles", "takes no argument 'persn', which is in its name; did you mean 'person'?"),
        ("people/{request}", "takes no argument 'request', which is in its name."),
        ("people/{person}/{person}", "has {person} twice"),
        ("people/a{person}", "'a{person}' is no argument in braces"),
        ("people/{person", "'{person' is no argument in braces"),
    ],
)
@pytest.mark.only_on("sqlite", reason="nothing is asked")
def test_a_name_with_braces_that_are_no_argument_is_refused(name: str, text: str) -> None:
    app = app_of()

    async def roles(request: Request, person: int) -> int:
        return person

    with pytest.raises(DeclarationError) as refused:
        app.read(name)(roles)
    assert text in str(refused.value)


async def test_a_refused_handler_leaves_nothing_behind() -> None:
    app = app_of()

    async def fine(request: Request) -> None: ...

    with pytest.raises(DeclarationError):
        app.read("tasks")(fine)
    app.read("other")(fine)
    assert set(app.handlers) == {"other"}


async def test_a_redirect_leads_a_browser_elsewhere_and_tells_everybody_else_where() -> None:
    app = app_of()

    @app.read("start")
    async def start(request: Request) -> Redirect:
        return Redirect("/tasks?status=todo")

    async with Client(app) as client:
        answer = await client.get("/start")
        assert (answer.status, answer.headers["location"], answer.json) == (
            303,
            "/tasks?status=todo",
            {"location": "/tasks?status=todo"},
        )
        operation = OpenApi().document(app)["paths"]["/start"]["get"]
        assert "Location" in operation["responses"]["303"]["headers"]
        assert "200" not in operation["responses"]
        async with client.websocket() as socket:
            assert await socket.call("start") == {"data": {"location": "/tasks?status=todo"}}


@pytest.mark.only_on("sqlite", reason="it is refused before anything is asked")
@pytest.mark.parametrize("location", ["", "/a b", "/a\r\nset-cookie: sid=1", "/caf\u00e9"])
def test_a_redirect_to_what_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Redirect(location)


@pytest.mark.parametrize("asks", ["list", "query", "record", "name"])
async def test_a_class_that_the_application_was_not_given_is_named(asks: str, caplog: pytest.LogCaptureFixture) -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str = ""

    class Forgotten(Record[int], rules=allow.everyone):
        title: str = ""

    app = App(Task, store=fresh_store())

    @app.read("asked")
    async def asked(request: Request) -> Any:
        match asks:
            case "list":
                return await request.records.list(Forgotten)
            case "query":
                return Forgotten.where()
            case "record":
                return Forgotten(id=1)
        return await request.records.list("forgotten")  # type: ignore[call-overload]

    async with Client(app) as client:
        assert (await client.get("/asked")).status == 500
    name = "'forgotten'" if asks == "name" else "Forgotten"
    assert f"{name} is no resource of this application: App(…) was not given it" in caplog.text
