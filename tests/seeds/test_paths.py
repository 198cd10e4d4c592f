"""Where booster and wheelhouse-resource put resources, by the numbers of their promises."""

from typing import Any

import pytest

from crudite import (
    App,
    DeclarationError,
    Field,
    Next,
    Parent,
    Place,
    Record,
    Request,
    Response,
    Rest,
    Sse,
    allow,
    around,
)
from crudite.testing import Client
from tests.flows.worlds import client_for, faults, titles
from tests.services.stores import fresh_store


class Post(Record[int], rules=allow.everyone):
    title: str = Field(default="", min_length=0, max_length=20)


class Comment(Record[int], rules=allow.everyone):
    post: Parent[Post]
    title: str = ""


class Note(Record[int], rules=allow.everyone):
    comment: Parent[Comment]
    title: str = ""


async def planted(client: Client, *numbers: int) -> None:
    """Posts, each with a comment of its number."""
    for number in numbers:
        assert (await client.post("/posts", {"id": number, "title": f"p{number}"})).status == 201
        made = await client.post(f"/posts/{number}/comments", {"id": number, "title": f"c{number}"})
        assert made.status == 201


@pytest.mark.promises("B1", "B2", "B9", "B12", "B14")
async def test_an_application_is_made_of_resources_and_a_store_and_another_one_starts_afresh() -> None:
    async with client_for(Post) as one, client_for(Comment, Post) as two:
        await one.post("/posts", {"id": 1})
        assert (await two.get("/posts")).json == []
        assert (await one.get("/comments")).status == 404


@pytest.mark.promises("B13", "W10")
async def test_a_resource_has_the_standard_paths() -> None:
    async with client_for(Post) as client:
        assert (await client.post("/posts", {"id": 1, "title": "a"})).status == 201
        assert titles(await client.get("/posts")) == ["a"]
        assert (await client.get("/posts/1")).json["title"] == "a"
        assert (await client.put("/posts/1", {"title": "b"})).json["title"] == "b"
        assert (await client.patch("/posts/1", {"title": "c"})).json["title"] == "c"
        assert (await client.delete("/posts/1")).status == 204
        assert (await client.get("/posts/1")).status == 404


@pytest.mark.promises("W10")
async def test_an_encoded_key_in_a_path_is_decoded() -> None:
    class Page(Record[str], rules=allow.everyone):
        title: str = ""

    async with client_for(Page) as client:
        made = await client.post("/pages", {"id": "a b/ü%", "title": "odd"})
        assert (await client.get(made.headers["location"])).json["title"] == "odd"


@pytest.mark.promises("B5", "W6")
@pytest.mark.parametrize("prefix", ["/api", "/api/"])
async def test_a_base_path_goes_before_all_with_and_without_a_slash_at_its_end(prefix: str) -> None:
    async with client_for(Post, interfaces=[Rest(prefix)]) as client:
        assert (await client.post("/api/posts/?x=1", {"id": 1})).headers["location"] == "/api/posts/1"
        assert (await client.get("/api/posts/1/")).status == 200
        assert (await client.get("/posts")).status == 404


@pytest.mark.promises("B17", "B19", "B35", "W5", "W11")
async def test_the_path_of_a_resource_may_be_any_text_of_several_words() -> None:
    class Create(Record[int], rules=allow.everyone, places=["/api/creates/again"]):
        title: str = ""

    class User(Record[int], rules=allow.everyone, path="user"):
        title: str = ""

    async with client_for(Create, User) as client:
        assert (await client.post("/api/creates/again/", {"id": 1})).headers["location"] == "/api/creates/again/1"
        assert (await client.get("/api/creates/again/1")).status == 200
        assert (await client.post("/user", {"id": 1})).status == 201


@pytest.mark.promises("B15")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_name_that_no_path_can_have_is_refused() -> None:
    class Odd(Record[int], rules=allow.everyone, path="ca/"):
        pass

    with pytest.raises(DeclarationError, match="path='ca/' is not a single name in a URL"):
        App(Odd, store=fresh_store())


@pytest.mark.promises("B16")
async def test_every_path_takes_json_behind_a_dot() -> None:
    class Page(Record[str], rules=allow.everyone):
        pass

    async with client_for(Post, Comment, Page, interfaces=[Rest(), Rest("/old", style="booster")]) as client:
        await planted(client, 1)
        for path in ("/posts.json", "/posts/1.json", "/posts/1/comments.json", "/posts/1/comments/1.json"):
            assert (await client.get(path)).status == 200, path
            assert (await client.get(f"/old{path}")).status == 200, path
        await client.post("/pages", {"id": "a"})
        assert (await client.get("/pages/a.json")).status == 404
        assert (await client.get("/old/pages/a.json")).status == 200


@pytest.mark.promises("B16")
@pytest.mark.parametrize("prefix", ["", "/old"])
@pytest.mark.parametrize("key", ["a.json", "b.json.json", "c,d.json", "e/f g.json", ".json", "h.xml", "i"])
async def test_the_location_of_a_new_record_leads_to_it_whatever_its_key_ends_in(prefix: str, key: str) -> None:
    class Page(Record[str], rules=allow.everyone):
        pass

    async with client_for(Page, interfaces=[Rest(), Rest("/old", style="booster")]) as client:
        for path in (f"{prefix}/pages", f"{prefix}/pages.json"):
            location = (await client.post(path, {"id": key})).headers["location"]
            assert (await client.get(location)).json["id"] == key
            await client.delete(location)
            assert (await client.get("/pages")).json == []


@pytest.mark.promises("B20", "B21", "B24")
async def test_the_records_above_decide_about_every_action_at_any_depth() -> None:
    async with client_for(Note, Comment, Post) as client:
        await planted(client, 1, 2)
        made = await client.post("/posts/1/comments/1/notes", {"id": 1, "title": "n"})
        assert made.json["comment"] == 1
        assert titles(await client.get("/posts/1/comments/1/notes")) == ["n"]
        assert (await client.get("/posts/1/comments/1/notes/1")).status == 200
        for wrong in ("/posts/2/comments/1/notes", "/posts/1/comments/2/notes"):
            assert (await client.put(f"{wrong}/1", {"title": "x"})).status == 404
            assert (await client.patch(f"{wrong}/1", {"title": "x"})).status == 404
            assert (await client.delete(f"{wrong}/1")).status == 404
            assert (await client.get(f"{wrong}/1")).status == 404
        assert (await client.get("/posts/2/comments/1/notes")).status == 404
        assert (await client.post("/posts/2/comments/1/notes", {})).status == 404


@pytest.mark.promises("B22")
async def test_several_records_above_give_the_children_of_all() -> None:
    async with client_for(Post, Comment) as client:
        await planted(client, 1, 2, 3)
        assert titles(await client.get("/posts/1,3/comments")) == ["c1", "c3"]


@pytest.mark.promises("B18", "B23")
async def test_a_parent_with_several_paths_gives_its_children_all_of_them() -> None:
    class Blog(Record[int], rules=allow.everyone, places=["/blogs", "/base/weblogs"]):
        pass

    class Entry(Record[int], rules=allow.everyone, path="entries"):
        blog: Parent[Blog]
        title: str = ""

    async with client_for(Blog, Entry) as client:
        await client.post("/blogs", {"id": 1})
        await client.post("/base/weblogs/1/entries", {"id": 1, "title": "e"})
        assert titles(await client.get("/blogs/1/entries")) == ["e"]


@pytest.mark.promises("B25", "B27", "B28", "B30")
async def test_a_body_below_a_parent_gets_it_from_the_path() -> None:
    async with client_for(Post, Comment) as client:
        await planted(client, 1)
        assert (await client.post("/posts/1/comments", {"id": 2})).json["post"] == 1
        assert (await client.post("/posts/1/comments", {"id": 3, "post": 1})).status == 201
        assert (await client.put("/posts/1/comments/2", {"title": "b"})).json["post"] == 1
        assert (await client.patch("/posts/1/comments/2", {"title": "c"})).status == 200


@pytest.mark.promises("B26", "B27")
async def test_a_body_must_name_the_parent_of_its_path_where_the_place_says_so() -> None:
    class Reply(Record[int], rules=allow.everyone, places=[Place("/posts/{post}/replies", parent="required")]):
        post: Parent[Post]
        title: str = ""

    async with client_for(Post, Reply) as client:
        for number in (0, 1, 2):
            await client.post("/posts", {"id": number})
        missing, other = [("/post", "missing_parent")], [("/post", "other_parent")]
        assert faults(await client.post("/posts/1/replies", {})) == missing
        assert faults(await client.post("/posts/1/replies", {"post": 2})) == other
        assert (await client.post("/posts/1/replies", {"id": 1, "post": 1})).status == 201
        assert (await client.post("/posts/0/replies", {"id": 2, "post": 0})).status == 201
        assert faults(await client.put("/posts/1/replies/1", {"title": "a"})) == missing
        assert faults(await client.patch("/posts/1/replies/1", {"post": 2})) == other
        assert (await client.patch("/posts/1/replies/1", {"title": "a"})).status == 200


@pytest.mark.promises("B29")
async def test_an_immutable_parent_need_not_be_said_in_a_replace() -> None:
    class Reply(Record[int], rules=allow.everyone):
        post: Parent[Post] = Field(immutable=True)
        title: str = ""

    async with client_for(Post, Reply) as client:
        await client.post("/posts", {"id": 1})
        await client.post("/posts/1/replies", {"id": 1})
        assert (await client.put("/posts/1/replies/1", {"title": "a"})).json == (await client.get("/replies/1")).json
        assert (await client.put("/posts/1/replies/1", {"title": "b", "post": 1})).status == 200
        assert (await client.put("/posts/1/replies/1", {"title": "b", "post": 2})).status == 422


@pytest.mark.promises("B31")
async def test_a_resource_may_stand_at_the_root() -> None:
    class Remark(Record[int], rules=allow.everyone, places=["/"]):
        title: str = ""

    async with client_for(Remark, Post) as client:
        assert (await client.post("/", {"id": 1, "title": "r"})).headers["location"] == "/1"
        assert titles(await client.get("/")) == ["r"]
        assert (await client.get("/1")).json["title"] == "r"
        assert (await client.get("/posts")).json == []


@pytest.mark.promises("B32", "B33", "B34")
async def test_a_resource_at_several_places_has_actions_and_rules_of_each() -> None:
    class Remark(
        Record[int],
        rules=allow.everyone,
        places=[
            Place("/remarks", only=("list", "read")),
            Place("/posts/{post}/remarks", exclude="delete", parent="required"),
            Place("/new-remarks", only="create"),
        ],
    ):
        post: Parent[Post]
        title: str = ""

    async with client_for(Post, Remark) as client:
        for number in (1, 2):
            await client.post("/posts", {"id": number})
            made = await client.post(f"/posts/{number}/remarks", {"id": number, "post": number, "title": f"r{number}"})
            assert made.status == 201
        assert (await client.post("/new-remarks", {"id": 3, "post": 1, "title": "r3"})).status == 201
        assert titles(await client.get("/remarks")) == ["r1", "r2", "r3"]
        assert titles(await client.get("/posts/1/remarks")) == ["r1", "r3"]
        for refused in (
            await client.post("/remarks", {}),
            await client.put("/remarks/1", {}),
            await client.delete("/remarks/1"),
            await client.delete("/posts/1/remarks/1"),
            await client.get("/new-remarks"),
            await client.put("/remarks/1/title", "x"),
        ):
            assert refused.status == 405
        assert (await client.get("/new-remarks/1")).status == 404
        assert (await client.get("/remarks/1/title")).json == "r1"
        assert (await client.put("/posts/1/remarks/1/title", "x")).json == "x"


@pytest.mark.promises("B36")
async def test_a_resource_without_routes_is_there_for_code() -> None:
    class Model(Record[int], rules=allow.everyone, places=()):
        title: str

    app = App(Model, Post, store=fresh_store())
    async with Client(app) as client:
        await app.records.create(Model, id=1, title="m")
        assert (await app.records.read(Model, 1)).title == "m"
        assert (await client.get("/models")).status == 404


@pytest.mark.promises("B50", "B51", "B52")
async def test_a_field_is_a_path_unless_a_nested_resource_has_its_name() -> None:
    class Album(Record[int], rules=allow.everyone):
        title: str = Field(default="", max_length=5)
        photos: int = 3
        kind: str = Field(default="a", immutable=True)

    class Photo(Record[int], rules=allow.everyone):
        album: Parent[Album]

    async with client_for(Album, Photo) as client:
        await client.post("/albums", {"id": 1, "title": "old"})
        assert (await client.get("/albums/1/title")).json == "old"
        assert (await client.put("/albums/1/title", "new")).json == "new"
        plain = {"content-type": "text/plain"}
        assert (await client.request("PUT", "/albums/1/title", content=b"text", headers=plain)).json == "text"
        assert faults(await client.put("/albums/1/title", "too long")) == [("/title", "string_too_long")]
        assert faults(await client.put("/albums/1/kind", "b")) == [("/kind", "immutable")]
        assert (await client.get("/albums/1/photos")).json == []


@pytest.mark.promises("B53")
async def test_reading_and_setting_fields_can_be_switched_off() -> None:
    class Album(Record[int], rules=allow.everyone, exclude=("read_field", "update_field")):
        title: str = "a"

    async with client_for(Album) as client:
        await client.post("/albums", {"id": 1})
        assert (await client.get("/albums/1/title")).status == 404
        assert (await client.put("/albums/1/title", "b")).status == 404


@pytest.mark.promises("B54", "B55")
async def test_a_field_has_a_hook_for_either_direction_behind_what_stands_around_all() -> None:
    seen: list[str] = []

    class User(Record[int], rules=allow.everyone):
        roles: list[str] = Field(default=[])

        @around("read", field="roles")
        async def get_roles(self, request: Request, next: Next) -> Any:
            seen.append("get")
            shown = (await next()).data
            assert isinstance(shown, list)
            return ["overridden", *shown]

    app = App(User, store=fresh_store())

    @app.use
    async def all(request: Request, next: Next) -> Response:
        seen.append("all")
        return await next()

    async with Client(app) as client:
        await client.post("/users", {"id": 1, "roles": ["a"]})
        seen.clear()
        assert (await client.get("/users/1/roles")).json == ["overridden", "a"]
        assert seen == ["all", "get"]
        assert (await client.put("/users/1/roles", ["b"])).json == ["b"]


@pytest.mark.promises("W8")
async def test_what_is_declared_before_the_application_starts_counts() -> None:
    app = App(Post, store=fresh_store())

    @app.read("late")
    async def late(request: Request) -> str:
        return "there"

    async with Client(app) as client:
        assert (await client.get("/late")).json == "there"


@pytest.mark.promises("W47")
async def test_no_record_has_a_key_that_its_stream_would_hide() -> None:
    class Page(Record[str], rules=allow.everyone):
        pass

    async with client_for(Page, interfaces=[Rest(), Sse()]) as client:
        assert faults(await client.post("/pages", {"id": "subscribe"})) == [("/id", "unreachable_key")]
