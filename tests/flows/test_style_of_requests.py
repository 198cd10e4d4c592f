"""Steps and hooks know in which style a request is spoken, over every interface."""

from typing import Any

from crudite import (
    Next,
    Record,
    Request,
    Response,
    Rest,
    Sse,
    WebSocket,
    Wheelhouse,
    WheelhouseOptions,
    WheelhousePermissions,
    allow,
    around,
)
from tests.flows.worlds import client_for

heard: list[tuple[str, str, str]] = []


def note(where: str, request: Request) -> None:
    heard.append((where, request.interface, request.style))


class Dog(Record[int], rules=allow.everyone):
    name: str

    @around("list")
    @classmethod
    async def listed(cls, request: Request, next: Next) -> Response:
        note("hook", request)
        return await next()


def anybody(request: Request, records: Any, body: Any) -> bool:
    return True


def anyone(request: Request, records: Any) -> Any:
    return records


async def test_a_step_knows_the_style_of_what_is_asked_over_every_interface() -> None:
    old = Wheelhouse(resources={Dog: WheelhouseOptions(permissions=WheelhousePermissions(create=anybody, read=anyone))})
    today = [Rest(), Sse(), WebSocket()]
    client = client_for(
        Dog, interfaces=[*today, Rest("/old", style="booster"), Rest("/older", style=old), Sse("/older", style=old)]
    )
    app = client.app

    @app.use
    async def noted(request: Request, next: Next) -> Response:
        note("step", request)
        return await next()

    @app.read("names")
    async def names(request: Request) -> list[str]:
        return [request.style, *(dog.name for dog in await request.records.list(Dog))]

    async with client:
        heard.clear()
        for prefix in ("", "/old", "/older"):
            assert (await client.post(f"{prefix}/dogs", {"name": "Rex"})).status in (201, 206)
        assert heard == [
            ("step", "rest", "default"),
            ("step", "rest", "booster"),
            ("step", "rest", "wheelhouse"),
            ("hook", "rest", "wheelhouse"),  # the records by which its function decides
        ]
        for prefix, style in (("", "default"), ("/old", "booster"), ("/older", "wheelhouse")):
            heard.clear()
            assert (await client.get(f"{prefix}/names")).json == [style, "Rex", "Rex", "Rex"]
            assert heard == [("step", "rest", style), ("hook", "rest", "default")]  # asked for by the handler
        heard.clear()
        async with client.live("dogs") as dogs, client.live("dogs", over="websocket") as others:
            await dogs.ready()
            await others.ready()
        async with client.stream("/older/dogs/subscribe") as stream:
            await client.settled()
            await client.post("/older/dogs", {"name": "Ida"})
            assert (await stream.next()).kind == "add"
        assert {one for one in heard if one[1] != "rest"} == {
            (where, interface, style)
            for where in ("step", "hook")
            for interface, style in (("sse", "default"), ("websocket", "default"), ("sse", "wheelhouse"))
        }
