"""Read your writes: a request that names the mark of a write is answered from after its commit."""

from urllib.parse import quote

import pytest

from crudite import App, Count, Record, Request, allow
from crudite.interfaces import marks
from crudite.stores import open_store
from crudite.testing import Client, Faulty, Refusal, View
from tests.flows.worlds import client_for, titles
from tests.services.stores import fresh_store


class Todo(Record[int], rules=allow.everyone):
    title: str = ""
    done: bool = False


async def written(client: Client, title: str = "ship") -> str:
    """The mark of a new record."""
    return (await client.post("/todos", {"title": title})).headers["crudite-after"]


async def test_a_read_after_a_mark_is_answered_with_the_write() -> None:
    async with client_for(Todo) as client:
        mark = await written(client)
        for path in ("/todos", "/todos?title=ship&limit=5"):
            sign = "&" if "?" in path else "?"
            assert titles(await client.get(f"{path}{sign}min_cursor={quote(mark)}")) == ["ship"]
            assert titles(await client.get(path, headers={"Crudite-After": mark})) == ["ship"]
        assert (await client.get(f"/todos/1?min_cursor={mark}")).json["title"] == "ship"
        assert titles(await client.request("QUERY", f"/todos?min_cursor={mark}", {"where": {"title": "ship"}})) == [
            "ship"
        ]


async def test_the_links_of_a_page_do_not_name_the_mark_again() -> None:
    async with client_for(Todo) as client:
        await written(client, "a")
        mark = await written(client, "b")
        page = await client.get(f"/todos?min_cursor={mark}&limit=1&sort=title")
        assert "limit=1&sort=title&cursor=" in page.headers["link"]
        assert "min_cursor" not in page.headers["link"]


@pytest.mark.parametrize("mark", ["", "nonsense", "1.5", "9" * 101, "0x10", "é"])
async def test_what_is_no_mark_is_malformed(mark: str) -> None:
    async with client_for(Todo) as client:
        by_parameter = await client.get(f"/todos?min_cursor={quote(mark)}")
        assert by_parameter.status == 400
        assert [fault["parameter"] for fault in by_parameter.json["errors"]] == ["min_cursor"]
        by_header = await client.get("/todos", headers={"crudite-after": mark})
        assert by_header.status == 400
        assert [fault["parameter"] for fault in by_header.json["errors"]] == ["Crudite-After"]


@pytest.mark.only_on("sqlite", reason="marks of PostgreSQL count the transactions of all databases of a server")
async def test_the_mark_of_another_log_is_a_conflict() -> None:
    async with client_for(Todo) as other:
        for _ in range(3):
            mark = await written(other)
    async with client_for(Todo) as client:
        await written(client)
        answer = await client.get(f"/todos?min_cursor={mark}")
        assert (answer.status, answer.json["code"]) == (409, "conflict")
        assert (await client.get(f"/todos/subscribe?min_cursor={mark}")).status == 409


@pytest.mark.only_on("sqlite", reason="PostgreSQL's store hears of its own writes without being woken")
async def test_a_stream_after_a_mark_begins_with_the_write_however_far_the_engine_is() -> None:
    store = Faulty(open_store(fresh_store()), wakes=lambda: 0)  # nobody tells the engine of a write
    async with client_for(Todo, store=store) as client:
        mark = await written(client)
        async with client.stream(f"/todos/subscribe?min_cursor={mark}") as stream:
            assert (await stream.next()).data["title"] == "ship"


async def test_when_the_engine_does_not_come_past_the_mark_the_client_is_told_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_PATIENCE", 0.01)
    store = Faulty(open_store(fresh_store()))
    async with client_for(Todo, store=store) as client:
        await client.settled()
        with store.gate("after batch"):
            mark = await written(client)
            answer = await client.get(f"/todos?min_cursor={mark}")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert titles(await client.get(f"/todos?min_cursor={mark}")) == ["ship"]


async def test_calls_over_a_websocket_name_marks_too() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        mark = (await socket.call("todos.create", {"data": {"title": "ship"}}))["after"]
        assert titles((await socket.call("todos.list", {"min_cursor": mark}))["data"]) == ["ship"]
        assert titles((await socket.call("todos.list", {"min_cursor": None}))["data"]) == ["ship"]
        assert (await socket.call("todos.read", {"key": 1, "min_cursor": mark}))["data"]["title"] == "ship"
        view = View(client.timeout)
        await socket.subscribe("s1", {"resource": "todos", "min_cursor": mark}, view)
        await view.ready()
        assert titles(view.records) == ["ship"]
        for given, status in (("nonsense", 400), (7, 400), ("999999999", 409)):
            with pytest.raises(Refusal) as refused:
                await socket.call("todos.list", {"min_cursor": given})
            assert refused.value.status == status
        with pytest.raises(Refusal, match="create takes no 'min_cursor'"):
            await socket.call("todos.create", {"data": {}, "min_cursor": mark})


async def test_a_live_number_after_a_mark_counts_the_write() -> None:
    app = App(Todo, store=fresh_store())

    @app.read("open-count")
    async def open_count(request: Request) -> Count:
        return Todo.where(done=False).count()

    async with Client(app) as client, client.live("open-count") as first:
        await first.ready()
        for number in range(1, 20):
            mark = await written(client)
            async with client.stream(f"/open-count/subscribe?min_cursor={mark}") as stream:
                assert (await stream.next()).data["value"] == number
