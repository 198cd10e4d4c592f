"""Records are numbered before they are there as they are when they are written, whatever other programs have done to
what the numbers go on from."""

import pytest

from crudite import App, Field, Many, Record, Ref, allow
from crudite.testing import Client
from tests.services.stores import foreign, kept_store


class Tag(Record[str], rules=allow.everyone):
    pass


class Post(Record[int], rules=allow.everyone):
    tags: Many["Tag"] = Field(through="Tagging", settable=True)


class Tagging(Record[int], rules=allow.everyone):
    post: Ref[Post] = Field(on_delete="cascade")
    tag: Ref[Tag]


@pytest.mark.only_on("sqlite", reason="it is about SQLite's table of the last numbers, which anybody may write")
@pytest.mark.parametrize(
    "reset",
    ["DELETE FROM sqlite_sequence WHERE name = 'posts'", "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'posts'"],
)
async def test_the_number_of_a_record_that_is_there_is_not_given_out_though_others_have_set_the_numbers_back(
    reset: str,
) -> None:
    store = kept_store()
    async with Client(App(Tag, Post, Tagging, store=store)) as client:
        await client.post("/tags", {"id": "red"})
        await client.post("/posts", [{}, {}, {"tags": ["red"]}])
        assert [post["id"] for post in (await client.get("/posts")).json] == [1, 2, 3]
        await foreign(store, reset)
        with_tags = await client.post("/posts", {"tags": ["red"]})
        assert (with_tags.status, with_tags.json["id"]) == (201, 4)
        assert (await client.post("/posts", {})).json["id"] == 5
