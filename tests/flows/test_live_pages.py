"""A list in pages that stay live: ranges between cursors, without a hole or a repeat between two of them."""

from random import Random
from typing import Any

import pytest

from crudite import App, Record, allow
from crudite.testing import Client, Refusal
from tests.services.stores import fresh_store


class Note(Record[int], rules=allow.everyone):
    rank: int | None = None
    text: str = ""


async def cursors(client: Client, sort: str, size: int) -> list[str]:
    """The cursors at which the pages of a list meet."""
    found: list[str] = []
    async with client.websocket() as socket:
        query: dict[str, Any] = {"sort": [sort], "limit": size}
        while True:
            page = await socket.call("notes.list", {"query": query})
            if page["next"] is None:
                return found
            found.append(page["next"])
            query = {**query, "cursor": page["next"]}


@pytest.mark.parametrize("sort", ["rank", "-rank"])
@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_pages_between_cursors_stay_whole_whatever_is_written(sort: str, over: Any) -> None:
    random = Random(7)
    async with Client(App(Note, store=fresh_store())) as client:
        await client.post("/notes", [{"rank": random.choice([None, 1, 2, 3])} for _ in range(20)])
        first, second = (await cursors(client, sort, 6))[:2]
        async with (
            client.live("notes", over=over, sort=[sort], until=first) as top,
            client.live("notes", over=over, sort=[sort], after=first, until=second) as middle,
            client.live("notes", over=over, sort=[sort], after=second) as rest,
        ):
            for view in (top, middle, rest):
                await view.ready()
            assert [len(view.records) for view in (top, middle, rest)] == [6, 6, 8]
            for _ in range(30):
                keys = [note["id"] for note in (await client.get("/notes?limit=200")).json]
                match random.randrange(3):
                    case 0:
                        await client.post("/notes", {"rank": random.choice([None, 0, 1, 2, 3, 4])})
                    case 1:
                        await client.patch(f"/notes/{random.choice(keys)}", {"rank": random.choice([None, 1, 2, 3])})
                    case 2:
                        await client.delete(f"/notes/{random.choice(keys)}")
            await client.settled()
            wanted = (await client.get(f"/notes?sort={sort}&limit=200")).json
            assert [*top.records, *middle.records, *rest.records] == wanted


async def test_a_window_can_begin_at_a_cursor() -> None:
    async with Client(App(Note, store=fresh_store())) as client:
        await client.post("/notes", [{"rank": rank} for rank in range(9)])
        [first, *_] = await cursors(client, "rank", 3)
        async with client.live("notes", sort=["rank"], after=first, limit=2) as view:
            assert [note["rank"] for note in await view.ready()] == [3, 4]
            await client.post("/notes", {"rank": 1})
            await client.delete("/notes/4")
            assert [note["rank"] for note in await view.until(lambda notes: notes[0]["rank"] == 4)] == [4, 5]


async def test_a_list_takes_the_bounds_too_and_says_what_is_wrong_with_them() -> None:
    async with Client(App(Note, store=fresh_store())) as client:
        await client.post("/notes", [{"rank": rank} for rank in range(7)])
        first, second = await cursors(client, "rank", 3)
        between = await client.get("/notes", params={"sort": "rank", "after": first, "until": second})
        assert [note["rank"] for note in between.json] == [3, 4, 5]
        wrong = await client.get(
            "/notes", params={"sort": "text", "after": first, "until": "nonsense", "cursor": second}
        )
        assert wrong.status == 400
        assert {(fault["parameter"], fault["code"]) for fault in wrong.json["errors"]} == {
            ("after", "bad_cursor"), ("until", "bad_cursor"), ("cursor", "bad_cursor"),
        }  # fmt: skip
        with pytest.raises(Refusal) as refused:
            async with client.live("notes", until="nonsense") as view:
                await view.ready()
        assert refused.value.problem["errors"][0]["parameter"] == "until"
