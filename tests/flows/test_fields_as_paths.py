"""One field of a record at a path of its own: `GET` and `PUT /posts/7/title`."""

from typing import Any

import pytest
from pydantic import BaseModel

from crudite import (
    App,
    DeclarationError,
    Field,
    Next,
    Parent,
    Password,
    Record,
    Request,
    Resource,
    Rest,
    allow,
    around,
    before,
)
from tests.flows.worlds import by_name, client_for, faults
from tests.services.stores import fresh_store


class Size(BaseModel):
    width: int
    height: int | None = None


class Post(Record[int], rules=allow.everyone):
    title: str = Field(min_length=2, max_length=20)
    size: Size | None = None
    tags: list[str] = Field(default=[])


async def test_a_field_is_read_and_set_at_its_own_path() -> None:
    async with client_for(Post) as client:
        await client.post("/posts", {"id": 7, "title": "old"})
        read = await client.get("/posts/7/title")
        assert (read.status, read.json) == (200, "old")
        etag = read.headers["etag"]
        assert (await client.get("/posts/7/title", headers={"if-none-match": etag})).status == 304
        written = await client.put("/posts/7/title", "new", headers={"if-match": etag})
        assert (written.status, written.json) == (200, "new")
        assert written.headers["etag"] == (await client.get("/posts/7")).headers["etag"]
        assert (await client.put("/posts/7/title", "late", headers={"if-match": etag})).status == 412
        for kind in ("text/plain", "text/html; charset=utf-8"):
            as_text = await client.request("PUT", "/posts/7/title", content=b"77", headers={"content-type": kind})
            assert (as_text.status, as_text.json) == (200, "77")
        assert faults(await client.put("/posts/7/title", 77)) == [("/title", "string_type")]
        assert (await client.request("PUT", "/posts/7/title", content=b'"x"x')).status == 400
        assert (
            await client.request("PUT", "/posts/7/title", content=b"<x/>", headers={"content-type": "a/b"})
        ).status == 415
        minimal = await client.put("/posts/7/tags", ["a"], headers={"prefer": "return=minimal"})
        assert (minimal.status, minimal.text) == (204, "")
        assert (await client.get("/posts/7/tags")).json == ["a"]
        assert (await client.get("/posts/7/size")).json is None


async def test_the_value_of_an_object_is_put_as_a_whole() -> None:
    async with client_for(Post) as client:
        await client.post("/posts", {"id": 7, "title": "old", "size": {"width": 1, "height": 2}})
        assert (await client.put("/posts/7/size", {"width": 3})).json == {"width": 3, "height": None}
        assert (await client.patch("/posts/7", {"size": {"height": 4}})).json["size"] == {"width": 3, "height": 4}
        assert (await client.put("/posts/7/size", {"height": 3})).status == 422


async def test_all_that_holds_for_updates_holds() -> None:
    class Note(Record[int], rules={"read": allow.everyone, "create": allow.everyone, "update": allow.signed_in}):
        title: str = Field(min_length=2)
        kind: str = Field(default="a", immutable=True)
        hidden: str = Field(default="h", read=allow.role("staff"))
        password: Password

        @before("update")
        async def shout(self) -> None:
            self.title = self.title.upper()

    async with client_for(Note, auth=by_name) as client:
        await client.post("/notes", {"id": 1, "title": "one", "password": "long enough"})
        ann = client.acting("ann")
        assert (await client.put("/notes/1/title", "two")).status == 401
        assert faults(await ann.put("/notes/1/title", "x")) == [("/title", "string_too_short")]
        assert (await ann.put("/notes/1/title", "two")).json == "TWO"
        assert faults(await ann.put("/notes/1/kind", "b")) == [("/kind", "immutable")]
        assert (await ann.get("/notes/1/hidden")).status == 404
        assert (await client.acting("bob:staff").get("/notes/1/hidden")).json == "h"
        assert (await ann.put("/notes/1/hidden", "i")).status == 204
        assert (await ann.put("/notes/1/password", "even longer than that")).status == 204
        assert (await ann.get("/notes/1/password")).status == 405
        assert (await ann.put("/notes/1/version", 3)).status == 405
        assert (await ann.get("/notes/1/version")).status == 200
        assert (await ann.get("/notes/1/nothing")).status == 404
        assert (await ann.get("/notes/2/title")).status == 404
        assert (await ann.put("/notes/2/title", "two")).status == 404
        assert faults(await ann.get("/notes/1/title?fields=kind")) == [("fields", "unknown_parameter")]


async def test_a_nested_resource_of_that_name_wins() -> None:
    class Album(Record[int], rules=allow.everyone):
        photos: int = 0
        subscribe: str = "s"

    class Photo(Record[int], rules=allow.everyone, only=("list", "create")):
        album: Parent[Album]

    async with client_for(Photo, Album) as client:
        await client.post("/albums", {"id": 1, "photos": 5})
        await client.post("/albums/1/photos", {"id": 1})
        assert [one["id"] for one in (await client.get("/albums/1/photos")).json] == [1]
        assert (await client.put("/albums/1/photos", 6)).status == 405
        async with client.stream("/albums/1/subscribe") as stream:
            assert (await stream.next()).data["photos"] == 5


async def test_a_field_is_held_to_the_records_above() -> None:
    class Task(Record[int], rules=allow.everyone):
        post: Parent[Post]
        done: bool = False

    async with client_for(Post, Task) as client:
        for number in (1, 2):
            await client.post("/posts", {"id": number, "title": "post"})
            await client.post(f"/posts/{number}/tasks", {"id": number})
        assert (await client.put("/posts/1/tasks/1/done", True)).json is True
        assert (await client.get("/posts/1/tasks/2/done")).status == 404
        assert (await client.put("/posts/1/tasks/2/done", True)).status == 404
        assert faults(await client.put("/posts/1/tasks/1/post", 2)) == [("/post", "other_parent")]


async def test_each_direction_of_a_field_has_hooks_of_its_own() -> None:
    class User(Record[int], rules=allow.everyone):
        roles: list[str] = Field(default=[])
        name: str = "ann"

        @around("read", field="roles")
        async def read_roles(self, request: Request, next: Next) -> Any:
            shown = (await next()).data
            assert isinstance(shown, list)
            return sorted(shown)

        @around("update", field="name")
        async def set_name(self, request: Request, next: Next) -> Any:
            return (await next()).with_data("hidden")

        @around("read", field="name")
        async def made_up(self, request: Request, next: Next) -> Any:
            return "made up"

    async with client_for(User) as client:
        await client.post("/users", {"id": 1, "roles": ["b", "a"]})
        read = await client.get("/users/1/roles")
        assert read.json == ["a", "b"]
        assert (await client.put("/users/1/roles", ["d", "c"])).json == ["d", "c"]
        assert (await client.get("/users/1")).json["roles"] == ["d", "c"]
        assert (await client.put("/users/1/name", "bob")).json == "hidden"
        assert (await client.get("/users/1/name")).json == "made up"
        assert (await client.get("/users/1")).json["name"] == "bob"


async def test_a_style_that_never_had_such_paths_has_none_past_what_it_leaves_out() -> None:
    async with client_for(Post, interfaces=[Rest(), Rest("/old", style="wheelhouse")]) as client:
        await client.post("/posts", {"id": 7, "title": "old"})
        assert (await client.get("/posts/7/title")).json == "old"
        assert (await client.get("/old/posts/7")).status == 200
        assert (await client.get("/old/posts/7/title")).status == 404


async def test_either_direction_can_be_switched_off() -> None:
    class Frozen(Record[int], rules=allow.everyone, exclude="update_field", path="frozen"):
        title: str = "a"

    class Plain(Record[int], rules=allow.everyone, only=("list", "read", "create"), path="plain"):
        title: str = "a"

    async with client_for(Frozen, Plain) as client:
        await client.post("/frozen", {"id": 1})
        await client.post("/plain", {"id": 1})
        assert (await client.put("/frozen/1/title", "b")).status == 405
        assert (await client.patch("/frozen/1", {"title": "b"})).status == 200
        assert (await client.get("/frozen/1/title")).json == "b"
        assert (await client.get("/plain/1/title")).json == "a"
        assert (await client.put("/plain/1/title", "b")).status == 405


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_hook_around_no_field_is_refused() -> None:
    class Page(Resource, rules=allow.everyone):
        title: str

        @around("read", field="titel")
        async def one(self, request: Request, next: Next) -> Any: ...

        @around("delete", field="title")
        async def two(self, request: Request, next: Next) -> Any: ...

    with pytest.raises(DeclarationError) as refused:
        App(Page, store=fresh_store())
    assert refused.value.faults == (
        "Page.one: @around(…, field='titel') names no field; did you mean 'title'?",
        "Page.two: @around(…, field='title') is for 'read' and 'update', not for 'delete'.",
    )
