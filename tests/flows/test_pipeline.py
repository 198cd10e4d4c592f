"""Middleware and error handlers: application code around every request, over every interface."""

from typing import Any

import pytest

from crudite import App, Conflict, Next, Problem, Record, Request, Response, TooManyRequests, allow
from crudite.messages import Found
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, titles
from tests.services.stores import fresh_store


class Todo(Record[int], rules=allow.everyone):
    title: str


class Note(Record[int], rules=allow.everyone):
    title: str


def app_of() -> App:
    return App(Todo, Note, store=fresh_store(), auth=by_name)


async def test_middleware_goes_around_every_request_in_the_order_of_registration() -> None:
    app, order = app_of(), list[str]()

    @app.use
    async def outer(request: Request, next: Next) -> Response:
        order.append(f"> {request.interface} {request.name}.{request.action} {request.actor.id}")
        response = await next()
        order.append("<")
        return response

    @app.use()
    async def inner(request: Request, next: Next) -> Response:
        order.append("inner")
        return await next()

    @app.read("hello")
    async def hello(request: Request) -> str:
        return "hello"

    async with Client(app, token="ann") as ann, ann.websocket() as socket:
        await ann.post("/todos", {"title": "a"})
        await ann.get("/todos/1")
        await ann.get("/hello")
        await socket.call("todos.list")
        async with ann.live("todos") as view:
            await view.ready()
    assert order == [
        "> rest todos.create ann",
        "inner",
        "<",
        "> rest todos.read ann",
        "inner",
        "<",
        "> rest hello.call ann",
        "inner",
        "<",
        "> websocket todos.list ann",
        "inner",
        "<",
        "> sse todos.list ann",
        "inner",
        "<",
    ]


async def test_middleware_may_be_for_some_names_and_actions_only() -> None:
    app, seen = app_of(), list[str]()

    def noting(mark: str) -> Any:
        async def step(request: Request, next: Next) -> Response:
            seen.append(f"{mark} {request.name}.{request.action}")
            return await next()

        return step

    app.use(noting("notes"), name="notes")
    app.use(noting("changes"), action=["update", "delete"])
    app.use(noting("both"), name=["todos", "notes"], action="delete")
    async with Client(app) as client:
        await client.post("/todos", {"title": "a"})
        await client.post("/notes", {"title": "a"})
        await client.patch("/todos/1", {"title": "b"})
        await client.delete("/notes/1")
    assert seen == [
        "notes notes.create",
        "changes todos.update",
        "notes notes.delete",
        "changes notes.delete",
        "both notes.delete",
    ]


async def test_middleware_may_refuse_and_change_what_is_asked() -> None:
    app = app_of()

    @app.use(action="list")
    async def limited(request: Request, next: Next) -> Response:
        if request.headers.get("x-many"):
            raise TooManyRequests("Slowly.", headers={"retry-after": "5"})
        return await next()

    async with Client(app) as client:
        refused = await client.get("/todos", headers={"x-many": "1"})
        assert (refused.status, refused.headers["retry-after"], refused.json["detail"]) == (
            429,
            "5",
            "Slowly.",
        )
        assert (await client.get("/todos")).status == 200


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        ("forgets", "is `return await next()` missing?"),
        ("twice", "called next() twice"),
        ("nonsense", "answered <Request list todos by nobody over rest> with Found("),
    ],
)
async def test_misused_next_is_told(misuse: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    app = app_of()

    @app.use
    async def step(request: Request, next: Next) -> Any:
        if misuse == "twice":
            await next()
            return await next()
        if misuse == "nonsense":
            return Found("{}", 1)
        await next()
        return None

    async with Client(app) as client:
        assert (await client.get("/todos")).status == 500
    assert told in caplog.text
    assert "step" in caplog.text


async def test_an_error_handler_makes_the_problem_of_what_application_code_raises() -> None:
    class OutOfStock(Exception):
        pass

    class Closed(OutOfStock):
        pass

    app = app_of()

    @app.read("buy")
    async def buy(request: Request, kind: int) -> None:
        raise [OutOfStock("all gone"), Closed("for today"), Conflict("as it is")][kind]

    @app.on_error(OutOfStock)
    async def explain(request: Request, error: OutOfStock) -> Problem:
        return Conflict(f"{request.name}: {error}", stock=0)

    async with Client(app) as client, client.websocket() as socket:
        first = await client.get("/buy?kind=0")
        assert (first.status, first.json["detail"], first.json["stock"]) == (409, "buy: all gone", 0)
        assert (await client.get("/buy?kind=1")).json["detail"] == "buy: for today"
        assert (await client.get("/buy?kind=2")).json["detail"] == "as it is"
        with pytest.raises(Refusal) as refusal:
            await socket.call("buy", {"kind": 0})
        assert refusal.value.problem["detail"] == "buy: all gone"


async def test_an_unforeseen_error_says_nothing_of_itself_and_can_be_found_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = app_of()

    @app.read("fail")
    async def fail(request: Request) -> None:
        raise ValueError("password=hunter2")

    async with Client(app) as client:
        failed = await client.get("/fail")
        assert (failed.status, failed.json["code"]) == (500, "unexpected")
        assert "hunter2" not in failed.text
    assert "hunter2" in caplog.text


async def test_an_error_handler_that_fails_is_our_fault_too(caplog: pytest.LogCaptureFixture) -> None:
    app = app_of()

    @app.read("fail")
    async def fail(request: Request) -> None:
        raise KeyError("x")

    @app.on_error(KeyError)
    def broken(request: Request, error: KeyError) -> Any:
        return "a text"

    async with Client(app) as client:
        assert (await client.get("/fail")).status == 500
        assert (await client.get("/todos")).status == 200


async def test_a_step_may_answer_in_place_of_the_action() -> None:
    from crudite.messages import Answered

    app = app_of()

    @app.read("slow")
    async def slow(request: Request) -> str:
        raise AssertionError("never called")

    @app.use(name="slow")
    async def cached(request: Request, next: Next) -> Response:
        return Answered("from the cache")

    async with Client(app) as client:
        assert (await client.get("/slow")).json == "from the cache"
        await client.post("/todos", {"title": "a"})
        assert titles(await client.get("/todos")) == ["a"]
