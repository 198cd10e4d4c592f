"""The kennel in examples/ answers the clients of wheelhouse-resource as they know it, and today's beside them."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crudite.testing import Client, Stream
from tests.flows.test_cli import serving
from tests.seeds.examples import EXAMPLES, answered, load, shape
from tests.services.http import client_at
from tests.services.stores import fresh_store

JSON = "application/json"
KEY = "a-token-of-the-keeper"

REX = {"id": 1, "name": "Rex", "age": 3, "good": True, "value": "yup", "readable": True}
IDA = {"id": 2, "name": "Ida", "age": 0, "good": True, "value": "", "readable": True}
HEAD = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
DENIED = {"code": 403, "message": "Permission denied."}


@pytest.fixture
async def visitor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A visitor of the kennel, in which there are Rex, whom anybody may change, Ida, and two whom no visitor sees."""
    monkeypatch.setenv("KENNEL_TOKEN", KEY)
    kennel = load("wheelhouse", monkeypatch, fresh_store())
    async with Client(kennel.app) as client:
        keeper = client.acting(KEY)
        for dog in (
            {"name": "Rex", "age": 3, "value": "yup", "chip": "c1"},
            {"name": "Ida"},
            {"name": "Shy", "readable": False, "value": "yup"},
            {"name": "Old", "age": 12, "value": "yup"},
        ):
            assert (await keeper.post("/api/dogs", dog)).status == 206
        yield client


def dog(stored: dict[str, Any]) -> dict[str, Any]:
    """A dog as a list shows it."""
    return {**stored, "label": f"{stored['name']} ({stored['age']})"}


def one(stored: dict[str, Any]) -> dict[str, Any]:
    """A dog as it is shown alone."""
    return {name: value for name, value in stored.items() if name != "readable"}


# Method, URL, body → status, type, body; of a visitor, in this order.
TABLE: list[tuple[str, str, Any, int, str | None, Any]] = [
    ("GET", "/api/dogs", None, 200, JSON, [dog(REX), dog(IDA)]),
    ("GET", "/api/dogs/", None, 200, JSON, [dog(REX), dog(IDA)]),
    ("GET", "/api/dogs?pick=name,age", None, 200, JSON, [{"name": "Rex", "age": 3}, {"name": "Ida", "age": 0}]),
    ("GET", "/api/dogs?pick=id,name&omit=name", None, 200, JSON, [{"id": 1}, {"id": 2}]),
    ("GET", "/api/dogs?whereKey=age&whereValue=3", None, 200, JSON, [dog(REX)]),
    ("GET", "/api/dogs?whereKey=name&whereValue=Ida", None, 200, JSON, [dog(IDA)]),
    ("GET", "/api/dogs?whereKey=good&whereValue=false", None, 200, JSON, []),
    ("GET", "/api/dogs?whereKey=name&whereValue=Ida&pick=age", None, 200, JSON, []),
    ("GET", "/api/dogs?whereKey=label&whereValue=Rex (3)&pick=label", None, 200, JSON, [{"label": "Rex (3)"}]),
    ("GET", "/api/dogs/1", None, 200, JSON, one(REX)),
    ("GET", "/api/dogs/1?omit=good,value,age", None, 200, JSON, {"id": 1, "name": "Rex"}),
    ("GET", "/api/dogs/3", None, 403, JSON, {"code": 403, "message": "No permission for 3"}),
    ("GET", "/api/dogs/4", None, 403, JSON, {"code": 403, "message": "No permission for 4"}),
    ("GET", "/api/dogs/9", None, 403, JSON, {"code": 403, "message": "No permission for 9"}),
    ("POST", "/api/dogs", {"name": "Bo"}, 403, JSON, DENIED),
    ("POST", "/api/dogs", {"name": "B", "value": "yup"}, 422, JSON,
     {"code": 422, "message": "name: String should have at least 2 characters."}),
    ("POST", "/api/dogs", {"name": "Bo", "value": "yup"}, 206, JSON, {"id": 5}),
    ("PUT", "/api/dogs/1", {"name": "REX"}, 403, JSON, DENIED),
    ("PUT", "/api/dogs/1", {"name": "R", "value": "yup"}, 422, JSON,
     {"code": 422, "message": "name: String should have at least 2 characters.", "model": 1}),
    ("PUT", "/api/dogs/1", {"name": "REX", "value": "yup"}, 206, JSON, {"id": 1}),
    ("GET", "/api/dogs/1", None, 200, JSON, {**one(REX), "name": "rex"}),
    ("PUT", "/api/dogs/2", {"age": 1, "value": "yup"}, 403, JSON, DENIED),
    ("PUT", "/api/dogs/9", {"age": 1, "value": "yup"}, 403, JSON, DENIED),
    ("DELETE", "/api/dogs/1", None, 403, JSON, DENIED),
    ("PATCH", "/api/dogs/1", {"age": 1}, 405, JSON, {"code": 405, "message": "PATCH is not done here."}),
    ("GET", "/api/cats", None, 404, JSON, {"code": 404, "message": "There is nothing at this address."}),
]  # fmt: skip


async def test_a_visitor_is_answered_as_he_was_status_type_and_body(visitor: Client) -> None:
    told = [(m, url, data, *shape(await visitor.request(m, url, **_sent(data)))) for m, url, data, *_ in TABLE]
    assert told == TABLE


async def test_the_keeper_may_do_everything_and_sees_everybody(visitor: Client) -> None:
    keeper = visitor.acting(KEY)
    assert [row["id"] for row in (await keeper.get("/api/dogs")).json] == [1, 2, 3, 4]
    assert (await keeper.get("/api/dogs/1")).json == {**one(REX), "chip": "c1"}
    assert shape(await visitor.put("/api/dogs/1", {"value": "yup", "chip": "mine"})) == (403, JSON, DENIED)
    assert shape(await keeper.put("/api/dogs/2", {"age": 1})) == (206, JSON, {"id": 2})
    assert shape(await keeper.delete("/api/dogs/4")) == (204, None, None)
    gone = (404, JSON, {"code": 404, "message": "Model 4 does not exist."})
    assert [shape(await keeper.get("/api/dogs/4")), shape(await keeper.delete("/api/dogs/4"))] == [gone, gone]


async def test_the_hook_adds_what_it_has_read_elsewhere_last_of_all(visitor: Client) -> None:
    keeper = visitor.acting(KEY)
    await keeper.post("/board", {"id": "notice", "text": "closed on Monday"})
    shown = [{"id": 1, "notice": "closed on Monday"}, {"id": 2, "notice": "closed on Monday"}]
    assert (await visitor.get("/api/dogs?pick=id")).json == shown


async def test_the_kennel_takes_no_more_dogs_of_visitors_than_there_is_room_for(visitor: Client) -> None:
    keeper = visitor.acting(KEY)
    await keeper.post("/api/dogs", [{"name": f"Dog {number}"} for number in range(16)])
    assert shape(await visitor.post("/api/dogs", {"name": "Bo", "value": "yup"})) == (206, JSON, {"id": 21})
    assert shape(await visitor.post("/api/dogs", {"name": "Bo", "value": "yup"})) == (403, JSON, DENIED)


async def test_a_stream_of_the_collection_tells_what_is_added_changed_and_removed(visitor: Client) -> None:
    keeper = visitor.acting(KEY)
    async with visitor.stream("/api/dogs/subscribe") as stream, visitor.stream("/api/dogs/1/subscribe") as single:
        assert dict(stream.headers).items() >= HEAD.items()
        await visitor.settled()
        await visitor.post("/api/dogs", {"name": "Bo", "value": "yup"})
        assert await _next(stream) == ("add", dog({**REX, "id": 5, "name": "Bo", "age": 0}))
        await keeper.put("/api/dogs/3", {"age": 1})  # nobody but the keeper is told
        await visitor.put("/api/dogs/1", {"age": 4, "value": "yup"})
        rex = {**REX, "name": "rex", "age": 4}
        assert await _next(stream) == ("change", dog(rex))
        assert await _next(single) == ("change", one(rex))
        await keeper.delete("/api/dogs/1")
        assert await _next(stream) == ("remove", {"id": 1})
        assert await _next(single) == ("destroy", {"id": 1})
    assert shape(await visitor.get("/api/dogs/3/subscribe")) == (403, JSON, DENIED)


async def test_what_is_written_over_one_way_is_live_over_the_other_under_the_same_rules(visitor: Client) -> None:
    async with (
        visitor.stream("/api/dogs/subscribe?pick=id,name") as old,
        visitor.live("dogs", where={"age": 0}) as new,
        visitor.live("dogs", over="websocket", fields=["id"]) as socket,
    ):
        assert [row["name"] for row in await new.ready()] == ["Ida"]
        assert [row["id"] for row in await socket.ready()] == [1, 2, 4]
        await visitor.settled()
        await visitor.post("/api/dogs", {"name": "Bo", "value": "yup"})
        assert [row["name"] for row in await new.until(lambda rows: len(rows) == 2)] == ["Ida", "Bo"]
        await visitor.post("/dogs", {"name": "Cy", "age": 1, "value": "yup"})
        assert len(await socket.until(lambda rows: len(rows) == 5)) == 5
        assert await _next(old) == ("add", {"id": 5, "name": "Bo"})
        assert await _next(old) == ("add", {"id": 6, "name": "Cy"})
    refused = await visitor.post("/dogs", {"name": "Di"})
    assert (refused.status, refused.headers["content-type"]) == (403, "application/problem+json")
    assert (await visitor.get("/dogs/3")).status == 404
    assert (await visitor.delete("/dogs/1")).status == 401
    assert (await visitor.acting(KEY).delete("/dogs/1")).status == 204


@pytest.mark.only_on("sqlite", reason="a command is told with a file")
async def test_it_is_run_by_the_command_of_its_readme_and_answers_as_that_says(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "wheelhouse" / "app.py", tmp_path)
    async with serving(tmp_path, "run", "app.py") as running, client_at(running.url) as client:
        lines = await answered("wheelhouse", running.url)
        assert len(lines) == 4
        assert [(line, told) for line, _, told in lines] == [(line, expected) for line, expected, _ in lines]
        async with client.stream("GET", "/api/dogs/subscribe") as stream:
            events = stream.aiter_lines()
            assert await anext(events) == ":ok"
            await client.put("/api/dogs/1", json={"age": 2, "value": "yup"})
            assert await _event(events) == "event: change"
        assert await running.end() == 0


async def _next(stream: Stream) -> tuple[str, Any]:
    event = await stream.next()
    assert event.id == ""
    return event.kind, event.data


async def _event(lines: AsyncIterator[str]) -> str:
    while not (line := await anext(lines)).startswith("event: "):
        pass
    return line


def _sent(data: Any) -> dict[str, Any]:
    return {} if data is None else {"data": data}
