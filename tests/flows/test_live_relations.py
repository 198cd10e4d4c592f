"""Laws of relations: what is included is what an oracle says of the records, live queries stay what a fresh answer is,
and of those who set the same link at the same time the whole of one holds."""

import asyncio
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest

from crudite import Field, Many, One, Parent, Record, Ref, allow
from crudite.testing import Client
from tests.flows.worlds import client_for

OPEN = allow.everyone
POSTS, TAGS = ("p1", "p2", "p3"), ("t1", "t2", "t3", "t4")


class Post(Record[str], rules=OPEN):
    title: str = ""
    tags: Many["Tag"] = Field(through="Tagging", settable=True)
    cover: One["Cover"] = Field(settable=True)
    notes: Many["Note"] = Field(settable=True)


class Tag(Record[str], rules={"read": allow.where(secret=False), "write": OPEN}):
    name: str = ""
    secret: bool = False
    posts: Many["Post"] = Field(through="Tagging")


class Tagging(Record[int], rules={"read": allow.where(draft=False), "write": OPEN}, unique=[("post", "tag", "copy")]):
    post: Ref[Post] | None = None
    tag: Ref[Tag] | None = None
    copy: int = 0
    draft: bool = False


class Cover(Record[str], rules={"read": allow.where(hidden=False), "write": OPEN}):
    post: Ref[Post | None] = Field(default=None, unique=True)
    hidden: bool = False


class Note(Record[int], rules=OPEN):
    post: Parent[Post]
    text: str = ""


def world() -> Client:
    return client_for(Post, Tag, Tagging, Cover, Note)


async def fill(client: Client) -> None:
    await client.post("/posts", [{"id": key} for key in POSTS])
    await client.post("/tags", [{"id": key, "name": key} for key in TAGS])
    await client.post("/covers", [{"id": key} for key in ("c1", "c2")])


async def write(client: Client, random: Random) -> None:
    """One write of any kind; some are refused."""
    post, tag, row = random.choice(POSTS), random.choice(TAGS), random.randrange(1, 12)
    some = random.sample(TAGS, random.randrange(len(TAGS) + 1))
    match random.randrange(11):
        case 0 | 1:
            await client.post("/taggings", {"post": post, "tag": tag, "copy": random.randrange(2)})
        case 2:
            await client.delete(f"/taggings/{row}")
        case 3:
            await client.patch(f"/taggings/{row}", {"draft": random.random() < 0.5})
        case 4:
            await client.patch(
                f"/taggings/{row}", {"tag": random.choice((None, tag)), "post": random.choice((None, post))}
            )
        case 5:
            await client.patch(f"/tags/{tag}", {"secret": random.random() < 0.4, "name": f"{row}"})
        case 6:
            await client.patch(f"/posts/{post}", {"tags": some, "title": f"{row}"})
        case 7:
            await client.patch(f"/posts/{post}", {"cover": random.choice((None, "c1", "c2"))})
        case 8:
            await client.patch(f"/covers/{random.choice(('c1', 'c2'))}", {"hidden": random.random() < 0.3})
        case 9:
            await client.put(f"/posts/{post}/notes", [{"text": f"{n}"} for n in range(random.randrange(4))])
        case 10:
            await client.put(f"/posts/{post}", {"title": f"{row}", "tags": some, "cover": None})


async def stored(client: Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/{path}?limit=200")).json
    return found


async def expected(client: Client) -> list[dict[str, Any]]:
    """The posts with all that they include, put together from what can be read of each resource."""
    tags = {tag["id"]: tag for tag in await stored(client, "tags")}
    rows, covers, notes = [await stored(client, path) for path in ("taggings", "covers", "notes")]
    pairs = {(row["post"], row["tag"]) for row in rows}
    return [
        {
            **post,
            "_included": {
                "tags": [tags[key] for key in sorted(tags) if (post["id"], key) in pairs],
                "cover": next((cover for cover in covers if cover["post"] == post["id"]), None),
                "notes": [note for note in notes if note["post"] == post["id"]],
            },
        }
        for post in await stored(client, "posts")
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_after_random_writes_what_is_included_is_exact_in_answers_and_in_live_queries(seed: int) -> None:
    random = Random(seed)
    queries: list[dict[str, Any]] = [
        {"include": ["tags", "cover", "notes"], "sort": ["id"]},
        {"where": {"tags.name": {"gte": "3"}}, "sort": ["id"]},
        {"where": {"not": {"tags.name": {"gte": "3"}}, "tags": {"exists": True}}, "sort": ["id"]},
        {"where": {"cover": {"exists": False}}, "sort": ["id"]},
    ]
    async with world() as client, AsyncExitStack() as stack:
        await fill(client)
        opened = [client.live("posts", over="websocket", **query) for query in queries]
        opened.append(client.live("tags", over="sse", include=["posts.cover"], sort=["id"]))
        views = [await stack.enter_async_context(one) for one in opened]
        for view in views:
            await view.ready()
        for _ in range(4):
            for _ in range(12):
                await write(client, random)
            fresh = [(await client.request("QUERY", "/posts", query)).json for query in queries]
            fresh.append((await client.get("/tags?include=posts.cover&sort=id")).json)
            assert fresh[0] == await expected(client)
            for view, wanted in zip(views, fresh, strict=True):
                await view.until(lambda rows, wanted=wanted: rows == wanted)


async def test_of_those_who_set_the_same_link_at_the_same_time_the_whole_of_one_holds() -> None:
    async with world() as client:
        await fill(client)
        for turn in range(6):
            wanted = [["t1", "t2"], ["t3"], ["t2", "t4"]] if turn % 2 else [["t1"], ["t2", "t3"], ["t4"]]
            assert (await client.patch("/posts/p1", {"tags": []})).status == 200
            answers = await asyncio.gather(*(client.patch("/posts/p1", {"tags": some}) for some in wanted))
            done = [some for some, answer in zip(wanted, answers, strict=True) if answer.status == 200]
            assert done, turn
            assert {answer.status for answer in answers} <= {200, 409}
            included = (await client.get("/posts/p1?include=tags")).json["_included"]["tags"]
            assert [tag["id"] for tag in included] in done


async def test_of_those_who_set_the_same_whole_at_the_same_time_the_whole_of_one_holds() -> None:
    async with world() as client:
        await fill(client)
        for turn in range(6):
            wanted = [[f"{turn}a", f"{turn}b"], [f"{turn}c"], [f"{turn}b", f"{turn}d"]]
            bodies = [[{"text": text} for text in some] for some in wanted]
            answers = await asyncio.gather(*(client.put("/posts/p1/notes", body) for body in bodies))
            done = [some for some, answer in zip(wanted, answers, strict=True) if answer.status == 200]
            assert done, turn
            assert {answer.status for answer in answers} <= {200, 409}
            assert sorted(note["text"] for note in await stored(client, "notes")) in done


async def test_a_link_to_one_that_two_records_want_at_the_same_time_leads_to_it_from_one_of_them() -> None:
    async with world() as client:
        await fill(client)
        for _ in range(6):
            answers = await asyncio.gather(*(client.patch(f"/posts/{key}", {"cover": "c1"}) for key in POSTS))
            assert any(answer.status == 200 for answer in answers)
            found = (await client.get("/posts?include=cover")).json
            assert sum(post["_included"]["cover"] is not None for post in found) == 1


async def test_many_who_set_the_same_link_at_the_same_time_are_all_done_one_after_the_other() -> None:
    async with world() as client:
        await fill(client)
        for _ in range(3):
            tags = [[tag] for tag in ("t1", "t2", "t3", "t4")] * 2
            answers = await asyncio.gather(*(client.patch("/posts/p1", {"tags": some}) for some in tags))
            assert [answer.status for answer in answers] == [200] * 8
