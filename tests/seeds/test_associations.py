"""What booster said of associations, of embedding, and of a resource as the property of another."""

from typing import Any

import pytest

from crudite import App, Booster, DeclarationError, Field, Many, One, Parent, Record, Ref, Request, Rest, allow, before
from crudite.testing import Client
from tests.flows.worlds import client_for, faults
from tests.services.stores import fresh_store

OPEN = allow.everyone


class Author(Record[str], rules=OPEN):
    name: str = ""


class Post(Record[str], rules=OPEN):
    title: str = ""
    author: Ref[Author] | None = None
    meta: One["Meta"] = Field(settable=True)
    comments: Many["Comment"] = Field(settable=True)
    tags: Many["Tag"] = Field(through="Tagging", settable=True)
    tag_list: Many["Tagging"]


class Meta(Record[str], rules=OPEN, path="meta"):
    post: Ref[Post | None] = Field(default=None, unique=True)


class Comment(Record[str], rules=OPEN):
    post: Ref[Post | None] = Field(default=None)


class Tag(Record[str], rules=OPEN):
    posts: Many["Post"] = Field(through="Tagging")


class Tagging(Record[int], rules=OPEN):
    post: Ref[Post]
    tag: Ref[Tag]


EVERY = (Author, Post, Meta, Comment, Tag, Tagging)


def world(*, embed: Any = False) -> Client:
    return client_for(*EVERY, interfaces=[Rest(), Rest("/old", style=Booster(embed=embed))])


async def fill(client: Client) -> None:
    for path, keys in {"authors": "ab", "posts": "pq", "meta": "mn", "comments": "cd", "tags": "st"}.items():
        assert (await client.post(f"/{path}", [{"id": key} for key in keys])).status == 201


async def included(client: Client, *names: str, post: str = "p") -> dict[str, Any]:
    """What a post includes: keys in place of records."""

    def keys(found: Any) -> Any:
        return [one["id"] for one in found] if isinstance(found, list) else found and found["id"]

    shown = (await client.get(f"/posts/{post}?include={','.join(names)}")).json["_included"]
    return {name: keys(found) for name, found in shown.items()}


ALL = ("author", "meta", "comments", "tags")


@pytest.mark.promises("B121")
async def test_a_record_belongs_to_one_has_one_has_many_and_has_many_through_another() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/posts/p", {"author": "a"})
        await client.patch("/meta/m", {"post": "p"})
        await client.patch("/comments/c", {"post": "p"})
        await client.post("/taggings", {"post": "p", "tag": "t"})
        assert await included(client, *ALL) == {"author": "a", "meta": "m", "comments": ["c"], "tags": ["t"]}
        assert [tag["id"] for tag in (await client.get("/tags?posts.author=a")).json] == ["t"]


@pytest.mark.promises("B121")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_both_sides_of_an_association_must_be_declared() -> None:
    class Left(Record[str], rules=OPEN):
        rights: Many["Right"]

    class Right(Record[str], rules=OPEN):
        pass

    with pytest.raises(DeclarationError, match=r"Left\.rights: no field of Right points here"):
        App(Left, Right, store=fresh_store())


@pytest.mark.promises("B122")
async def test_only_what_belongs_to_another_is_stored_with_the_record() -> None:
    async with world() as client:
        await fill(client)
        made = await client.post("/posts", {"id": "x", "author": "a", "meta": "m", "comments": ["c"], "tags": ["s"]})
        assert made.json.keys() == {"id", "title", "author", "version", "created_at", "updated_at"}
        assert (await client.get("/meta/m")).json["post"] == "x"
        assert (await client.get("/comments/c")).json["post"] == "x"
        assert [(row["post"], row["tag"]) for row in (await client.get("/taggings")).json] == [("x", "s")]


@pytest.mark.promises("B123")
async def test_what_is_associated_must_be_there_and_may_be_empty() -> None:
    async with world() as client:
        await fill(client)
        refused = await client.patch("/posts/p", {"meta": "?", "comments": ["c", "?"], "tags": ["?", "t"]})
        of_author = await client.patch("/posts/p", {"author": "?"})
        assert (refused.status, faults(refused)) == (422, [
            ("/comments/1", "no_such_record"), ("/meta", "no_such_record"), ("/tags/0", "no_such_record"),
        ])  # fmt: skip
        assert (of_author.status, faults(of_author)) == (422, [("/author", "no_such_record")])
        empty = {"author": None, "meta": None, "comments": [], "tags": []}
        assert (await client.patch("/posts/p", empty)).status == 200
        assert await included(client, *ALL) == empty


@pytest.mark.promises("B124")
async def test_what_an_association_led_to_before_does_not_stay() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/posts/p", {"meta": "m", "comments": ["c"], "tags": ["s", "t"]})
        await client.patch("/posts/p", {"meta": "n", "comments": ["d"], "tags": ["t"]})
        assert await included(client, "meta", "comments", "tags") == {"meta": "n", "comments": ["d"], "tags": ["t"]}
        assert (await client.get("/meta/m")).json["post"] is None
        assert (await client.get("/comments/c")).json["post"] is None
        for write in (client.patch, client.put):  # what is left away stays
            assert (await write("/posts/p", {"title": "only"})).status == 200
            held = await included(client, "meta", "comments", "tags")
            assert held == {"meta": "n", "comments": ["d"], "tags": ["t"]}
        await client.patch("/posts/q", {"meta": "n"})
        assert await included(client, "meta") == {"meta": None}


@pytest.mark.promises("B125", "B8")
async def test_what_is_embedded_stands_in_place_of_keys_and_to_any_depth() -> None:
    async with world(embed=True) as client:
        await fill(client)
        await client.patch("/posts/p", {"author": "a", "meta": "m", "tags": ["s", "t"]})

        found = (await client.get("/old/posts/p?$b.embed=author,meta,tags,comments")).json

        assert found["author"] == {"id": "a", "name": ""}
        assert found["meta"] == {"id": "m", "post": "p"}
        assert (found["tags"], found["comments"]) == ([{"id": "s"}, {"id": "t"}], [])
        deep = (await client.get("/old/meta/m?$b.embed=post.author")).json
        assert deep["post"]["author"] == {"id": "a", "name": ""}
        assert (await client.get("/old/posts/q?$b.embed=author")).json.get("author") is None


@pytest.mark.promises("B125", "B126", "B127")
@pytest.mark.parametrize(
    "path",
    [
        "comments.post.tags",
        "meta.post.meta.post.meta.post.author",
        "author,meta,comments,tags,tag_list,meta.post,meta.post.author,meta.post.tags,comments.post,tag_list.post,tag_list.tag",
    ],
)
async def test_what_is_more_than_can_be_embedded_is_refused_before_anything_is_written(path: str) -> None:
    async with world(embed=True) as client:
        await fill(client)
        for method, url in (("GET", "/old/posts"), ("GET", "/old/posts/p"), ("PATCH", "/old/posts/p"),
                            ("PUT", "/old/posts/p"), ("PUT", "/old/posts/p/title"), ("POST", "/old/posts"),
                            ("DELETE", "/old/posts/p")):  # fmt: skip
            data = {} if method == "GET" else {"data": "new" if url.endswith("title") else {"title": "new"}}
            refused = await client.request(method, f"{url}?sendObject=true&$b.embed={path}", **data)
            assert (method, url, refused.status, refused.json) == (method, url, 403, {"embed": "invalid"})
        assert [post["title"] for post in (await client.get("/posts")).json] == ["", ""]


@pytest.mark.promises("B125", "B127")
async def test_a_list_of_too_many_is_not_embedded_in_part_and_a_write_that_is_done_is_answered_as_done() -> None:
    async with world(embed=True) as client:
        await fill(client)
        await client.post("/comments", [{"id": str(number), "post": "p"} for number in range(100)])
        assert len((await client.get("/old/posts/p?$b.embed=comments")).json["comments"]) == 100
        await client.post("/comments", {"id": "one more", "post": "p"})

        for url in ("/old/posts/p?$b.embed=comments", "/old/posts?$b.embed=comments"):
            refused = await client.get(url)
            assert (refused.status, refused.text) == (413, "toolarge")
        done = await client.patch("/old/posts/p?sendObject=true&$b.embed=comments", {"title": "new"})
        assert (done.status, done.text) == (200, "p")
        assert (await client.get("/old/posts/p/title")).text == "new"
        assert len((await client.get("/posts/p?include=comments")).json["_included"]["comments"]) == 100


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.promises("B125", "B126")
def test_a_path_that_can_never_be_embedded_is_refused_with_the_style() -> None:
    paths = ["meta.post.tags", "comments.post.tags", "autor", "meta.post.meta.post.meta.post.meta"]
    with pytest.raises(DeclarationError) as refused:
        App(*EVERY, store="sqlite:///:memory:", interfaces=[Rest(style=Booster(embed={Post: paths}))])
    style = "The booster style embeds "
    assert [str(fault).replace(style, "") for fault in refused.value.faults] == [
        "'comments.post.tags' of Post, where comments and tags lead to many records each, and a path follows one such "
        "link at most.",
        "'autor' of Post, which leads to no other records; did you mean 'author'?",
        "'meta.post.meta.post.meta.post.meta' of Post, which has 7 names, and a path has at most 6.",
    ]


@pytest.mark.promises("B126")
async def test_what_may_not_be_included_is_refused_and_all_else_is_for_the_rules() -> None:
    class Team(Record[str], rules=OPEN):
        boss: Ref["Player"] | None = Field(default=None, include=False)
        players: Many["Player"] = Field(include=False)
        fans: Many["Fan"]

    class Player(Record[str], rules=OPEN):
        team: Ref[Team] | None = None

    class Fan(Record[str], rules={"read": allow.role("staff"), "write": OPEN}):
        team: Ref[Team]

    async with client_for(Team, Player, Fan) as client:
        await client.post("/teams", {"id": "t"})
        await client.post("/players", {"id": "p", "team": "t"})
        for name in ("boss", "players"):
            refused = await client.get(f"/teams/t?include={name}")
            assert (refused.status, faults(refused)) == (400, [("include", "bad_include")])
        assert faults(await client.get("/players/p?include=team.players")) == [("include", "bad_include")]
        assert (await client.get("/players/p?include=team")).json["_included"]["team"]["id"] == "t"
        assert (await client.get("/teams/t?include=fans")).json["_included"] == {"fans": []}


@pytest.mark.promises("B127")
async def test_lists_and_single_records_embed_alike() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/posts/p", {"tags": ["s"]})
        one = (await client.get("/posts/p?include=tags")).json
        assert (await client.get("/posts?include=tags&id=p")).json == [one]


class User(Record[int], rules=OPEN):
    groups: Many["Group"] = Field(settable=True)


class Group(Record[int], rules=OPEN):
    user: Parent[User]
    name: str

    @before("create")
    def refuse(self, request: Request) -> None:
        self.name = self.name.strip()


def users() -> Client:
    return client_for(User, Group, interfaces=[Rest(), Rest("/old", style="booster")])


async def groups(client: Client, user: int, query: str = "") -> list[tuple[int, str]]:
    return [(group["id"], group["name"]) for group in (await client.get(f"/users/{user}/groups{query}")).json]


@pytest.mark.promises("B56", "B58")
async def test_another_resource_is_a_property_that_can_be_filtered() -> None:
    async with users() as client:
        await client.post("/users", [{}, {}])
        await client.post("/groups", [{"user": 1, "name": "a"}, {"user": 1, "name": "b"}, {"user": 2, "name": "a"}])
        assert await groups(client, 1) == [(1, "a"), (2, "b")]
        assert await groups(client, 1, "?name=b") == [(2, "b")]
        assert (await client.get("/users/9/groups")).status == 404


@pytest.mark.promises("B57", "B59")
async def test_another_resource_is_set_as_a_whole_and_what_is_equal_keeps_its_key() -> None:
    async with users() as client:
        await client.post("/users", [{}, {}])
        await client.post("/groups", [{"user": 1, "name": "a"}, {"user": 1, "name": "b"}, {"user": 2, "name": "a"}])

        answer = await client.put("/users/1/groups", [{"name": "b"}, {"name": " c "}])

        assert answer.status == 200
        assert await groups(client, 1) == [(2, "b"), (4, "c")]
        assert await groups(client, 2) == [(3, "a")]
        other = await client.put("/users/1/groups", [{"name": "b", "user": 2}])
        assert (other.status, faults(other)) == (422, [("/0/user", "other_parent")])
        assert (await client.put("/users/1/groups", [])).json == []
