"""The line between a client and an application: wherever it is cut, and whatever comes late or twice, views go on."""

from typing import Literal

import pytest

from crudite import App, Record, allow
from crudite.testing import Client, Line

Over = Literal["sse", "websocket"]


class Todo(Record[int], rules=allow.everyone):
    title: str


def client_for() -> Client:
    return Client(App(Todo, store="sqlite:///:memory:"))


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_a_view_goes_on_from_where_its_line_was_cut(over: Over) -> None:
    async with client_for() as client:
        line = Line()
        async with client.live("todos", over=over, line=line) as view:
            await view.ready()
            line.cut()
            await client.post("/todos", {"title": "missed"})
            with pytest.raises(ConnectionResetError):
                await view.until(lambda rows: len(rows) == 1)
        assert view.records == []

        async with client.live("todos", over=over, resume=view) as later:
            assert [row["title"] for row in await later.ready()] == ["missed"]
            assert later.resumed


@pytest.mark.parametrize("bytes", range(1, 1500, 37))
async def test_a_stream_cut_after_any_number_of_bytes_ends_in_the_same_records(bytes: int) -> None:
    async with client_for() as client:
        await client.post("/todos", [{"title": "a"}, {"title": "b"}])
        line = Line()
        line.cut_after(bytes=bytes)
        async with client.live("todos", line=line) as view:
            await client.patch("/todos/1", {"title": "c"})
            await client.delete("/todos/2")
            await client.settled()
        async with client.live("todos", resume=view if view.cursor else None) as later:
            await later.ready()
            await client.settled()
            assert [row["title"] for row in later.records] == ["c"]


async def test_a_line_is_cut_after_so_many_events() -> None:
    async with client_for() as client:
        await client.post("/todos", [{"title": "a"}, {"title": "b"}])
        line = Line()
        line.cut_after(events=2)
        async with client.stream("/todos/subscribe", line=line) as stream:
            assert (await stream.next()).data["title"] == "a"  # the first block of a stream is its `retry:`
            with pytest.raises(EOFError):
                await stream.next()


async def test_a_connection_is_cut_after_so_many_messages() -> None:
    async with client_for() as client:
        line = Line()
        async with client.websocket(line=line) as socket:
            line.cut_after(messages=1)
            assert await socket.call("ping") == {}
            assert await socket.closed() is None


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_what_is_held_up_comes_late_and_whole(over: Over) -> None:
    async with client_for() as client:
        line = Line()
        async with client.live("todos", over=over, line=line) as slow, client.live("todos") as quick:
            await slow.ready()
            await quick.ready()
            line.hold()
            for title in ("a", "b", "c"):
                await client.post("/todos", {"title": title})
            await quick.until(lambda rows: len(rows) == 3)
            assert slow.records == []

            line.release()
            assert [row["title"] for row in await slow.until(lambda rows: len(rows) == 3)] == ["a", "b", "c"]


async def test_messages_that_come_twice_do_no_harm() -> None:
    async with client_for() as client:
        line = Line()
        line.copies = 2
        async with client.live("todos", over="websocket", line=line) as view:
            await view.ready()
            await client.post("/todos", [{"title": "a"}, {"title": "b"}])
            await client.patch("/todos/1", {"title": "c"})
            await client.delete("/todos/2")
            assert [row["title"] for row in await view.until(lambda rows: len(rows) == 1)] == ["c"]
