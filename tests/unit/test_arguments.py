"""What `App(…)`, its decorators and handlers are given wrongly is told when it is given, with what was expected."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from crudite import App, Conflict, DeclarationError, Next, Record, Request, Response, Rest, Sessions, allow
from crudite.testing import Client


class Task(Record[int], rules=allow.everyone):
    title: str = ""


class Mailer: ...


def faults_of(make: Callable[[], Any]) -> list[str]:
    with pytest.raises(DeclarationError) as refused:
        make()
    return list(refused.value.faults)


def new_app(**given: Any) -> App:
    return App(Task, **{"store": "sqlite:///:memory:", **given})


def nobody() -> None: ...


def test_all_that_is_wrong_is_told_at_once_and_no_text_of_it() -> None:
    wrong: dict[str, Any] = {
        "store": 3, "auth": "s3cret", "interfaces": [Rest], "provide": {Mailer: 3}, "lifespan": nobody,
        "hosts": "example.org", "clock": "now", "rates": ["5/second"], "channels": ["rooms"],
    }  # fmt: skip

    assert faults_of(lambda: App(*[Task(), [Task]], **wrong)) == [  # type: ignore[arg-type, list-item]
        "App(…) takes classes, one after the other, such as App(Task, Person), not Task(title='').",
        "App(…) takes classes, one after the other, such as App(Task, Person), not "
        "[<class 'tests.unit.test_arguments.Task'>].",
        "store= is a URL such as 'sqlite:///todo.db', or a store, not 3.",
        "auth= is a function that takes the credentials, or ways to authenticate such as Sessions(Account), "
        "not a text.",
        "interfaces= is a list of interfaces, such as [Rest(), WebSocket()], not "
        "[<class 'crudite.interfaces.rest.Rest'>].",
        "provide= makes the class Mailer by a function without arguments, not by 3.",
        "lifespan= is a function that takes the application, not the function nobody.",
        "hosts= is a list, such as ['example.org'], not a text.",
        "clock= is a function without arguments that returns a time with a zone, not a text.",
        "rates= is a list, such as [Rate(\"100/minute\")], not ['5/second'].",
        "channels= is a list, such as [Channel(\"rooms/{room}\", of=Room)], not ['rooms'].",
    ]


@pytest.mark.parametrize(
    ("given", "not_"),
    [
        ({"auth": nobody}, "not the function nobody."),
        ({"auth": [Sessions]}, "not the class Sessions."),
        ({"interfaces": Rest()}, "not <crudite.interfaces.rest.Rest object"),
        ({"provide": [Mailer]}, "not [<class 'tests.unit.test_arguments.Mailer'>]."),
    ],
)
def test_what_is_nearly_right_is_told(given: dict[str, Any], not_: str) -> None:
    (fault,) = faults_of(lambda: new_app(**given))

    assert fault.startswith(f"{next(iter(given))}= is a ")
    assert not_ in fault


def test_decorators_say_how_they_are_written() -> None:
    app = new_app()

    async def step(request: Request) -> Any: ...

    assert faults_of(lambda: app.read(nobody)) == [  # type: ignore[arg-type]
        "@app.read is written with a name, such as @app.read('overdue')."
    ]
    assert faults_of(lambda: app.on_error(nobody)) == [  # type: ignore[arg-type]
        "@app.on_error is written with a class of exceptions, not with the function nobody."
    ]
    assert faults_of(lambda: app.on_error(ValueError)(lambda error: Conflict("no"))) == [
        "@app.on_error: a function takes (request, error), unlike the function <lambda>."
    ]
    assert faults_of(lambda: app.use(step)) == [  # type: ignore[call-overload]
        "@app.use: a step takes (request, next), unlike the function step."
    ]
    assert faults_of(lambda: app.use(action=("create", "updte"))) == [
        "@app.use: there is no action 'updte'; did you mean 'update'?"
    ]


def test_a_handler_that_cannot_be_served_is_told() -> None:
    app = new_app()

    async def each(request: Request) -> AsyncIterator[int]:
        yield 1

    async def mail(request: Request, mailer: Mailer, of: Task) -> None: ...

    async def unknown(request: Request, of: "Nothing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert faults_of(lambda: app.read("a")(each)) == [
        "The handler 'a' says `yield`; it returns its answer, or a query."
    ]
    assert faults_of(lambda: app.read("b")(mail)) == [
        "The handler 'b': 'mailer' can be no argument, since Mailer has no form in JSON. What the application gives it "
        "says App(provide=…).",
        "The handler 'b': 'of' can be no argument, since Task has no form in JSON. What the application gives it says "
        "App(provide=…).",
    ]
    assert faults_of(lambda: app.read("c")(unknown)) == ["The handler 'c': there is no 'Nothing'."]


async def test_a_step_for_a_name_that_nothing_has_is_told_at_the_start_when_all_is_declared() -> None:
    app = new_app()

    @app.use(name=("overdue", "task"))
    async def guard(request: Request, next: Next) -> Response:
        return await next()

    @app.read("overdue")
    async def overdue(request: Request) -> int:
        return 1

    with pytest.raises(DeclarationError) as refused:
        await app.start()
    assert list(refused.value.faults) == [
        "@app.use: no resource and no handler is called 'task'; did you mean 'tasks'?"
    ]


async def test_a_step_that_waits_for_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    app = new_app()

    @app.use  # type: ignore[arg-type]
    def step(request: Request, next: Next) -> Any:
        return {"shown": 1}

    async with Client(app) as client:
        assert (await client.get("/tasks")).status == 500
    assert "is `async` missing?" in caplog.text
