"""Links that are set and go through records that are kept when they are deleted."""

from crudite import Field, Many, Record, Ref, allow
from crudite.testing import Client
from tests.flows.worlds import client_for


class Post(Record[int], rules=allow.everyone, soft_delete=True):
    tags: Many["Tag"] = Field(through="Tagging", settable=True)


class Tag(Record[str], rules=allow.everyone):
    pass


class Tagging(Record[int], unique=[("post", "tag")], rules=allow.everyone, soft_delete=True):
    post: Ref[Post] = Field(on_delete="cascade")
    tag: Ref[Tag]


async def tags_of(client: Client, post: int) -> list[str]:
    found = (await client.get(f"/posts/{post}?include=tags")).json
    return [tag["id"] for tag in found["_included"]["tags"]]


async def test_what_is_taken_out_of_a_link_is_kept_and_does_not_stand_in_the_way_of_the_same_again() -> None:
    async with client_for(Post, Tag, Tagging) as client:
        await client.post("/tags", [{"id": "blue"}, {"id": "red"}])
        assert (await client.post("/posts", {"id": 1, "tags": ["red", "blue"]})).status == 201
        assert (await client.patch("/posts/1", {"tags": ["blue"]})).status == 200
        assert await tags_of(client, 1) == ["blue"]
        assert [row["tag"] for row in (await client.get("/taggings?deleted=only")).json] == ["red"]
        assert (await client.patch("/posts/1", {"tags": ["blue", "red"]})).status == 200
        assert await tags_of(client, 1) == ["blue", "red"]


async def test_a_link_goes_and_comes_back_with_the_record_that_has_it() -> None:
    async with client_for(Post, Tag, Tagging) as client:
        await client.post("/tags", [{"id": "blue"}, {"id": "red"}])
        await client.post("/posts", {"id": 1, "tags": ["red", "blue"]})
        await client.patch("/posts/1", {"tags": ["blue"]})
        assert (await client.delete("/posts/1")).status == 204
        assert (await client.get("/taggings")).json == []
        assert (await client.post("/posts/1/restore", None)).status == 200
        assert await tags_of(client, 1) == ["blue"]
