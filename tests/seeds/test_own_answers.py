"""What hooks answer in place of a write, or show in place of what was written, is told in the style of booster, too."""

from typing import Any

import pytest

from crudite import Next, Record, Request, Response, Rest, allow, around
from crudite.testing import Client
from tests.flows.worlds import client_for

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Doctored(Record[int], path="doctored", rules=allow.everyone):
    name: str
    title: str = ""

    @around("create", "replace", "update", "delete")
    @classmethod
    async def answer(cls, request: Request, next: Next) -> Any:
        match request.headers.get("x-hook"):
            case "record":
                return {"id": 7, "name": "mine"}
            case "other":
                return {"activation": "sent"}
            case "text":
                return "sent"
            case "changed":
                response: Response = await next()
                sent = {"activation": "sent"}
                shown: Any = [sent for _ in response.data] if isinstance(response.data, list) else sent
                return response.with_data(shown)
            case _:
                return await next()

    @around("update", field="title")
    @classmethod
    async def retitle(cls, request: Request, next: Next) -> Any:
        match request.headers.get("x-hook"):
            case "record":
                return {"id": 7, "title": "mine"}
            case "other":
                return {"activation": "sent"}
            case "changed":
                return (await next()).with_data("sent")
            case _:
                return await next()


def client() -> Client:
    return client_for(Doctored, interfaces=[Rest(style="booster")])


def told(response: Any) -> tuple[int, str | None, Any]:
    kind = response.headers.get("content-type")
    return response.status, kind, response.json if kind == JSON else response.body.decode() or None


@pytest.mark.promises("B60", "B64")
async def test_the_style_of_booster_answers_a_write_that_a_hook_does_itself_with_the_id_that_it_gives() -> None:
    async with client() as somebody:
        await somebody.post("/doctored", {"name": "one"})
        for hook, created, replaced in (
            ("record", (201, TEXT, "7"), (200, TEXT, "7")),
            ("other", (201, JSON, {"activation": "sent"}), (200, TEXT, "1")),
            ("text", (201, TEXT, "sent"), (200, TEXT, "1")),
        ):
            headers = {"x-hook": hook}
            assert told(await somebody.post("/doctored", {"name": "new"}, headers=headers)) == created
            assert told(await somebody.put("/doctored/1", {"name": "new"}, headers=headers)) == replaced
            assert told(await somebody.patch("/doctored/1", {"name": "new"}, headers=headers)) == replaced
            assert told(await somebody.put("/doctored/1/name", "new", headers=headers)) == (200, TEXT, "1")
            assert told(await somebody.delete("/doctored/1", headers=headers)) == (204, None, None)
        assert (await somebody.get("/doctored")).json == [{"id": 1, "name": "one", "title": ""}]


@pytest.mark.promises("B45", "B66")
async def test_the_style_of_booster_shows_what_a_hook_shows_in_place_of_what_was_written() -> None:
    async with client() as somebody:
        headers = {"x-hook": "changed"}
        shown = {"activation": "sent"}
        assert told(await somebody.post("/doctored", {"name": "one"}, headers=headers)) == (201, JSON, shown)
        assert told(await somebody.post("/doctored", [{"name": "two"}], headers=headers)) == (201, JSON, [shown])
        assert told(await somebody.put("/doctored/1", {"name": "two"}, headers=headers)) == (200, JSON, shown)
        assert told(await somebody.patch("/doctored/1", {"name": "two"}, headers=headers)) == (200, JSON, shown)
        assert told(await somebody.delete("/doctored/2", headers=headers)) == (204, None, None)
        wanted = "/doctored/1?sendObject=true"
        assert told(await somebody.put(wanted, {"name": "four"}, headers=headers)) == (200, JSON, shown)
        mine = {"id": 7, "name": "mine"}
        assert told(await somebody.put(wanted, {}, headers={"x-hook": "record"})) == (200, JSON, mine)
        assert (await somebody.get("/doctored")).json == [{"id": 1, "name": "four", "title": ""}]


@pytest.mark.promises("B54")
async def test_a_property_that_is_no_field_is_a_handler_below_the_record() -> None:
    somebody = client()

    @somebody.app.read("doctored/{doctored}/roles")
    async def roles(request: Request, doctored: int) -> list[str]:
        return ["admin", (await request.records.read(Doctored, doctored)).name]

    async with somebody:
        await somebody.post("/doctored", {"name": "one"})
        assert told(await somebody.get("/doctored/1/roles")) == (200, JSON, ["admin", "one"])
        assert told(await somebody.get("/doctored/2/roles")) == (404, None, None)
        assert told(await somebody.get("/doctored/1/name")) == (200, TEXT, "one")


@pytest.mark.promises("B54", "B66")
async def test_the_style_of_booster_tells_of_a_field_what_the_hook_around_it_does() -> None:
    async with client() as somebody:
        await somebody.post("/doctored", {"name": "one"})
        for hook, told_of_it in (
            ("record", (200, TEXT, "7")),
            ("other", (200, TEXT, "1")),
            ("changed", (200, TEXT, "sent")),
        ):
            headers = {"x-hook": hook}
            assert told(await somebody.put("/doctored/1/title", "new", headers=headers)) == told_of_it
        wanted = "/doctored/1/name?sendObject=true"
        read = {"id": 1, "name": "new", "title": "new"}
        assert told(await somebody.put(wanted, "new", headers={"x-hook": "changed"})) == (200, JSON, read)


@pytest.mark.promises("B62", "B65")
async def test_the_one_for_all_begins_first_and_ends_first_where_it_is_declared_last_and_names_its_actions() -> None:
    told: list[str] = []

    class Note(Record[int], path="note", rules=allow.everyone):
        name: str

        @around("create")
        @classmethod
        async def of_create(cls, request: Request, next: Next) -> Response:
            told.append("filter.create")
            response: Response = await next()
            told.append("post.create")
            return response

        @around()
        @classmethod
        async def of_all(cls, request: Request, next: Next) -> Response:
            told.append("filter.all")
            return await next()

        @around("list", "read", "create", "replace", "update", "delete")
        @classmethod
        async def behind_all(cls, request: Request, next: Next) -> Response:
            response: Response = await next()
            told.append("post.all")
            return response

    async with client_for(Note, interfaces=[Rest(style="booster")]) as somebody:
        assert (await somebody.post("/note", {"name": "a"})).text == "1"
    assert told == ["filter.all", "filter.create", "post.all", "post.create"]
