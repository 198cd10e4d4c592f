"""What is deleted and kept: it is not there, until somebody brings it back; what goes along; what stands in the way."""

from typing import Any

import pytest

from crudite import Conflict, Field, Invalid, Many, NotFound, NotUnique, Record, Ref, allow
from crudite.testing import Client
from tests.flows.worlds import client_for, titles


class Post(Record[int], rules=allow.everyone, soft_delete=True, search=("title",)):
    title: str = Field(unique=True)
    comments: Many["Comment"]


class Comment(Record[int], rules=allow.everyone, soft_delete=True):
    title: str
    post: Ref[Post] = Field(on_delete="cascade")


class Note(Record[int], rules=allow.everyone):
    title: str
    post: Ref[Post] | None = Field(default=None, on_delete="clear")


class Pin(Record[int], rules=allow.everyone):
    title: str
    comment: Ref[Comment]


async def fill(client: Client) -> Any:
    """A post (1) with two comments (1, 2) and a note (1), and another post (2)."""
    records = client.app.records
    await records.create(Post, title="first")
    await records.create(Post, title="second")
    await records.create(Comment, title="a", post=1)
    await records.create(Comment, title="b", post=1)
    await records.create(Note, title="n", post=1)
    return records


async def test_what_is_deleted_is_in_no_list_no_read_no_search_no_count_and_on_no_path() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        assert titles(await client.get("/posts")) == ["second"]
        assert titles(await client.get("/posts?search=first")) == []
        assert (await client.get("/posts/1")).status == 404
        assert (await client.get("/posts/1,2")).status == 404
        assert (await client.get("/posts?count=exact")).headers["x-total-count"] == "1"
        assert titles(await client.get("/posts?comments.title=a")) == []
        assert titles(await client.get("/comments?post.title=first")) == []
        assert await records.count(Post) == 1
        assert (await client.patch("/posts/1", {"title": "x"})).status == 404
        assert (await client.delete("/posts/1")).status == 404


async def test_what_cascades_goes_and_comes_back_with_it_but_not_what_was_deleted_before() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Comment, 1)
        await records.delete(Post, 1)
        assert titles(await client.get("/comments")) == []
        await records.restore(Post, 1)
        assert titles(await client.get("/comments")) == ["b"]
        await records.restore(Comment, 1)
        assert titles(await client.get("/comments?sort=title")) == ["a", "b"]


async def test_a_reference_that_is_cleared_stays_null_when_the_record_comes_back() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        assert (await records.read(Note, 1)).post is None
        await records.restore(Post, 1)
        assert (await records.read(Note, 1)).post is None


async def test_what_points_at_a_record_that_would_go_along_refuses_the_whole() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.create(Pin, title="p", comment=2)
        refused = await client.delete("/posts/1")
        assert refused.status == 409
        assert [(e["code"], e["detail"]) for e in refused.json["errors"]] == [
            ("referenced", "1 record of Pin points here with comment.")
        ]
        assert titles(await client.get("/comments?sort=title")) == ["a", "b"]
        assert (await records.read(Note, 1)).post == 1


async def test_nothing_points_at_what_is_deleted() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        with pytest.raises(Invalid):
            await records.create(Comment, title="late", post=1)
        with pytest.raises(NotFound):
            await records.update(Comment, 1, post=2)
        with pytest.raises(Conflict, match="post of what would be restored points at a record that is deleted"):
            await records.restore(Comment, 1)


async def test_the_name_of_a_deleted_record_is_free_and_it_comes_back_only_when_it_still_is() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        again = await records.create(Post, title="first")
        with pytest.raises(NotUnique):
            await records.restore(Post, 1)
        await records.delete(Post, again.id)
        assert (await records.restore(Post, 1)).title == "first"
        with pytest.raises(Conflict, match="not deleted"):
            await records.restore(Post, 1)


async def test_for_good_is_for_good_and_takes_along_what_was_deleted_with_it() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        await records.delete(Post, 1, purge=True)
        assert titles(await client.get("/posts?deleted=with")) == ["second"]
        assert titles(await client.get("/comments?deleted=with")) == []
        with pytest.raises(NotFound):
            await records.restore(Post, 1)
