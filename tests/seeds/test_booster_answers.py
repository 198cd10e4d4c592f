"""What booster answered is answered by its style: request → status, headers, body."""

import asyncio
from datetime import date
from typing import Any

import pytest

from crudite import (
    App,
    Booster,
    Conflict,
    DeclarationError,
    Fault,
    Field,
    Invalid,
    Many,
    OpenApi,
    Parent,
    Place,
    Rate,
    Record,
    Ref,
    Request,
    Response,
    Rest,
    Sse,
    WebSocket,
    allow,
    before,
    me,
    validators,
)
from crudite.cli.routes import routes_of
from crudite.pipeline import Next
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class User(Record[int], rules=allow.everyone):
    name: str = Field(unique=True)
    password: str = Field(default="", visible="secret")
    phone: str = Field(default="", read=allow.where(name=me.id))
    posts: Many["Post"]


class Post(Record[int], rules=allow.everyone, unique=[("title", "author")]):
    title: str = Field(validate=["alphanumeric", "minimum:3"])
    words: int = 0
    is_draft: bool = False
    slug: str = Field(default="", immutable=True)
    author: Ref[User] | None = None
    comments: Many["Comment"]


class Comment(Record[int], rules=allow.everyone):
    post: Parent[Post]
    text: str


def client(**options: Any) -> Client:
    """Somebody before an application that speaks as booster did, with posts about nothing."""
    interfaces = options.pop("interfaces", None) or [Rest(style=Booster(**options.pop("style", {})))]
    return client_for(User, Post, Comment, interfaces=interfaces, **options)


def shape(response: Any) -> tuple[int, str | None, Any]:
    """Status, type and body of an answer; of an empty one neither."""
    kind = response.headers.get("content-type")
    return response.status, kind, response.json if kind == JSON else response.body.decode() or None


async def posts(somebody: Client, *titles: str) -> None:
    """Creates posts, which have the ids 1, 2, …"""
    for title in titles:
        assert (await somebody.post("/posts", {"title": title})).status == 201


FIRST = {"id": 1, "title": "one", "words": 0, "is_draft": False, "slug": "", "author": None}
EMPTY = {"title": "required", "words": "integer"}
SHORT = {"title": "minimum:3"}
SECOND = {**FIRST, "id": 2, "title": "two"}

# What is asked of an application that has the posts "one" and "two", and what comes back.
TABLE: list[tuple[str, str, Any, int, str | None, Any]] = [
    # index
    ("GET", "/posts", None, 200, JSON, [FIRST, SECOND]),
    ("GET", "/posts?title=none", None, 200, JSON, []),
    ("GET", "/posts?title=two", None, 200, JSON, [SECOND]),
    ("GET", "/posts?$b.csview=secret", None, 400, None, None),
    ("GET", "/posts?$b.embed=author", None, 403, JSON, {"embed": "invalid"}),
    ("GET", "/nothing", None, 404, None, None),
    # show
    ("GET", "/posts/1", None, 200, JSON, FIRST),
    ("GET", "/posts/2,1", None, 200, JSON, [FIRST, SECOND]),
    ("GET", "/posts/9,2,x", None, 200, JSON, SECOND),
    ("GET", "/posts/8,9", None, 404, None, None),
    ("GET", "/posts/x,y", None, 404, None, None),
    ("GET", "/posts/9", None, 404, None, None),
    ("GET", "/posts/x", None, 404, None, None),
    ("GET", "/posts/1?$b.csview=secret", None, 400, None, None),
    ("GET", "/posts/1?$b.csview=anything", None, 200, JSON, FIRST),
    ("GET", "/posts/1?$b.embed=author", None, 403, JSON, {"embed": "invalid"}),
    # create
    ("POST", "/posts", {"title": "a!"}, 400, JSON, {"title": ["alphanumeric", "minimum:3"]}),
    ("POST", "/posts", {"title": "ab"}, 400, JSON, {"title": "minimum:3"}),
    ("POST", "/posts", {}, 400, JSON, {"title": "required"}),
    ("POST", "/posts", None, 400, JSON, {"title": "required"}),
    ("PUT", "/posts/1", None, 400, JSON, {"title": "required"}),
    ("POST", "/posts", {"title": "abc", "other": 1}, 400, JSON, {"other": "unknownfield"}),
    ("POST", "/posts", {"words": "3", "x": 1}, 400, JSON, {**EMPTY, "x": "unknownfield"}),
    ("POST", "/posts", [{"title": "ab"}, {"title": "abc"}, {}], 400, JSON, [SHORT, {"title": "required"}]),
    ("POST", "/posts", {"title": "abc", "author": 7}, 400, JSON, {"author": "invalid"}),
    # update and patch
    ("PUT", "/posts/9", {"title": "uno"}, 404, None, None),
    ("PATCH", "/posts/9", {"words": 3}, 404, None, None),
    ("PUT", "/posts/1", {"words": 3}, 400, JSON, {"title": "required"}),
    ("PATCH", "/posts/1", {"words": "3"}, 400, JSON, {"words": "integer"}),
    ("PATCH", "/posts/1", {"slug": "new"}, 400, JSON, {"slug": "immutable"}),
    ("PATCH", "/posts/1", {"other": 1}, 400, JSON, {"other": "unknownfield"}),
    ("PUT", "/posts/1,2", {"title": "uno"}, 404, None, None),
    ("PATCH", "/posts/1,2", {"words": 3}, 404, None, None),
    # destroy
    ("DELETE", "/posts/9", None, 404, None, None),
    ("DELETE", "/posts/1,2", None, 404, None, None),
    # what is ours looks like theirs
    ("POST", "/posts/1", {}, 404, None, None),
    ("POST", "/nothing", {}, 404, None, None),
]  # fmt: skip


WRITES: list[tuple[str, str, Any, int, str | None, Any]] = [
    ("POST", "/posts", {"title": "three"}, 201, TEXT, "3"),
    ("POST", "/posts", {"title": "abc", "slug": "s"}, 201, TEXT, "3"),
    ("PUT", "/posts/1", {"title": "uno"}, 200, TEXT, "1"),
    ("PATCH", "/posts/1", {"words": 3}, 200, TEXT, "1"),
    ("PATCH", "/posts/1", None, 200, TEXT, "1"),
    ("DELETE", "/posts/1", None, 204, None, None),
    ("DELETE", "/posts/1?force=maybe", None, 204, None, None),
]  # fmt: skip


async def told(somebody: Client, method: str, url: str, data: Any) -> tuple[int, str | None, Any]:
    """What one request is answered with."""
    return shape(await somebody.request(method, url, **({} if data is None else {"data": data})))


@pytest.mark.promises("B13", "B38", "B40", "B41", "B44", "B48", "B81", "B88", "B89", "B126")
async def test_each_request_is_answered_with_the_status_type_and_body_that_it_was() -> None:
    async with client() as somebody:
        await posts(somebody, "one", "two")

        told_of = [(m, url, data, *await told(somebody, m, url, data)) for m, url, data, *_ in TABLE]
        assert told_of == TABLE
        assert (await somebody.get("/posts")).json == [FIRST, SECOND]


@pytest.mark.promises("B13", "B44")
@pytest.mark.parametrize(("method", "url", "data", "status", "kind", "body"), WRITES)
async def test_each_write_is_answered_with_the_id_as_text_or_with_nothing(
    method: str, url: str, data: Any, status: int, kind: str | None, body: Any
) -> None:
    async with client() as somebody:
        await posts(somebody, "one", "two")

        assert await told(somebody, method, url, data) == (status, kind, body)


@pytest.mark.promises("B16")
async def test_a_path_may_end_in_its_format() -> None:
    async with client() as somebody:
        assert shape(await somebody.post("/posts.json", {"title": "one"})) == (201, TEXT, "1")

        assert (await somebody.get("/posts.json")).json == [FIRST]
        assert (await somebody.get("/posts/1.json")).json == FIRST
        assert (await somebody.patch("/posts/1.json", {"words": 1})).status == 200
        assert (await somebody.post("/posts/1/comments.json", {"text": "hi"})).status == 201
        assert (await somebody.get("/posts/1/comments/1.json")).json == {"id": 1, "post": 1, "text": "hi"}
        assert (await somebody.delete("/posts/1/comments/1.json")).status == 204


# setting, header, parameter → is the object sent? All nineteen rows of booster's own table.
SENT: list[tuple[bool, str | None, str | None, bool]] = [
    (False, None, None, False),
    (False, None, "true", True),
    (False, "true", None, True),
    (False, "true", "true", True),
    (False, "false", "true", True),
    (False, "true", "false", False),
    (False, "false", None, False),
    (False, None, "false", False),
    (False, "false", "false", False),
    (True, None, None, True),
    (True, "false", None, False),
    (True, None, "false", False),
    (True, "false", "true", True),
    (True, "true", "false", False),
    (True, "true", "true", True),
    (True, "false", "false", False),
    (True, "true", None, True),
    (True, None, "true", True),
    (True, "maybe", "perhaps", True),
    (False, "maybe", "1", False),
]


@pytest.mark.promises("B6", "B45", "B46")
@pytest.mark.parametrize("setting", [False, True])
async def test_the_parameter_beats_the_header_which_beats_the_setting(setting: bool) -> None:
    async with client(style={"send_object": setting}) as somebody:
        await posts(somebody, "one")

        for header, parameter, is_sent in [row[1:] for row in SENT if row[0] is setting]:
            url = "/posts/1" if parameter is None else f"/posts/1?sendObject={parameter}"
            headers = {} if header is None else {"X-Booster-SendObject": header}
            for method, title in (("PUT", "uno"), ("PATCH", "eins")):
                answer = await somebody.request(method, url, {"title": title}, headers=headers)
                shown = (200, JSON, {**FIRST, "title": title}) if is_sent else (200, TEXT, "1")
                assert (header, parameter, *shape(answer)) == (header, parameter, *shown)


@pytest.mark.promises("B47", "B127")
async def test_the_object_that_is_sent_is_shown_as_a_read_would_show_it() -> None:
    async with client(style={"embed": {Post: ["author"]}}, auth=by_name) as somebody:
        ann = somebody.acting("ann")
        await ann.post("/users", {"name": "ann", "phone": "12", "password": "p"})
        await ann.post("/posts", {"title": "one", "author": 1, "words": 7})

        patched = await ann.patch("/posts/1?sendObject=true&$b.embed=author", {"title": "uno"})
        assert patched.json == {**FIRST, "title": "uno", "words": 7, "author": {"id": 1, "name": "ann"}}
        replaced = await ann.put("/posts/1?sendObject=true", {"title": "eins", "author": 1})
        assert replaced.json == {**FIRST, "title": "eins", "author": 1}
        private = await ann.patch("/users/1?sendObject=true&$b.csview=private", {"phone": "13"})
        assert private.json == {"id": 1, "name": "ann", "phone": "13"}


@pytest.mark.promises("B47")
@pytest.mark.parametrize("setting", [False, True])
async def test_what_may_not_be_shown_after_a_write_stops_the_write(setting: bool) -> None:
    async with client(style={"send_object": setting}) as somebody:
        await posts(somebody, "one")

        for method in ("PUT", "PATCH"):
            embedding = await somebody.request(method, "/posts/1?$b.embed=author", {"title": "uno"})
            assert shape(embedding) == (403, JSON, {"embed": "invalid"})
            secret = await somebody.request(method, "/posts/1?$b.csview=secret", {"title": "uno"})
            assert shape(secret) == (400, None, None)
        assert (await somebody.post("/posts?$b.embed=author", {"title": "two"})).status == 403
        assert (await somebody.delete("/posts/1?$b.embed=author")).status == 403
        assert (await somebody.get("/posts")).json == [FIRST]


@pytest.mark.promises("B39", "B40", "B81")
async def test_private_fields_are_shown_on_demand_to_whom_their_rule_shows_them_and_secret_ones_never() -> None:
    async with client(auth=by_name) as somebody:
        await somebody.post("/users", {"name": "ann", "phone": "12", "password": "p"})
        ann, bob = somebody.acting("ann"), somebody.acting("bob")

        assert (await ann.get("/users/1")).json == {"id": 1, "name": "ann"}
        assert (await ann.get("/users/1?$b.csview=public")).json == {"id": 1, "name": "ann"}
        assert (await ann.get("/users/1?$b.csview=private")).json == {"id": 1, "name": "ann", "phone": "12"}
        assert (await ann.get("/users?$b.csview=private")).json == [{"id": 1, "name": "ann", "phone": "12"}]
        assert (await bob.get("/users/1?$b.csview=private")).json == {"id": 1, "name": "ann"}
        assert (await ann.get("/users?password=p")).json == {"password": "unknownfield"}


@pytest.mark.promises("B101", "B44")
async def test_a_value_that_another_record_has_is_a_conflict_that_names_its_fields() -> None:
    async with client() as somebody:
        await somebody.post("/users", {"name": "ann"})
        await somebody.post("/users", {"name": "bob"})
        await somebody.post("/posts", {"title": "one", "author": 1})
        await somebody.post("/posts", {"title": "two", "author": 1})

        taken = (409, JSON, {"name": "notunique"})
        assert shape(await somebody.post("/users", {"name": "ann"})) == taken
        assert shape(await somebody.put("/users/2", {"name": "ann"})) == taken
        assert shape(await somebody.patch("/users/2", {"name": "ann"})) == taken
        together = (409, JSON, {"title:author": "notunique"})
        assert shape(await somebody.post("/posts", {"title": "one", "author": 1})) == together
        assert shape(await somebody.patch("/posts/2", {"title": "one"})) == together


@pytest.mark.promises("B103")
async def test_a_value_that_another_record_has_may_be_passed_over_in_silence() -> None:
    async with client(style={"silent": [User]}) as somebody:
        await somebody.post("/users", {"name": "ann"})
        await somebody.post("/users", {"name": "bob"})

        assert shape(await somebody.post("/users", {"name": "ann"})) == (201, None, None)
        assert shape(await somebody.put("/users/2", {"name": "ann"})) == (200, TEXT, "2")
        assert shape(await somebody.patch("/users/2", {"name": "ann"})) == (200, TEXT, "2")
        assert [user["name"] for user in (await somebody.get("/users")).json] == ["ann", "bob"]


@pytest.mark.promises("B57", "B103")
async def test_a_whole_with_a_value_that_another_record_has_may_be_passed_over_too() -> None:
    class Table(Record[int], rules=allow.everyone):
        rows: Many["Row"] = Field(settable=True)

    class Row(Record[int], rules=allow.everyone):
        table: Parent[Table]
        name: str = Field(unique=True)

    style = Booster(silent=[Row])
    async with client_for(Table, Row, interfaces=[Rest(style=style)]) as somebody:
        await somebody.post("/tables", {})
        assert shape(await somebody.put("/tables/1/rows", [{"name": "a"}])) == (200, JSON, [1])

        assert shape(await somebody.put("/tables/1/rows", [{"name": "b"}, {"name": "b"}])) == (200, None, None)
        assert [row["name"] for row in (await somebody.get("/rows")).json] == ["a"]


class Shop(Record[int], rules=allow.everyone):
    name: str


class Sale(Record[int], rules=allow.everyone):
    shop: Ref[Shop] = Field(on_delete="force")


@pytest.mark.promises("B116")
async def test_force_deletes_what_stands_in_the_way() -> None:
    async with client_for(Shop, Sale, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/shops", {"name": "a"})
        await somebody.post("/sales", {"shop": 1})

        assert shape(await somebody.delete("/shops/1")) == (409, JSON, {"delete": "children"})
        assert shape(await somebody.delete("/shops/1?force=true")) == (204, None, None)
        assert shape(await somebody.get("/shops/1")) == (404, None, None)


@pytest.mark.promises("B116")
async def test_a_record_that_others_still_point_at_is_not_destroyed() -> None:
    async with client() as somebody:
        await posts(somebody, "one")
        await somebody.post("/posts/1/comments", {"text": "hi"})

        assert shape(await somebody.delete("/posts/1")) == (409, JSON, {"delete": "children"})


class Locked(Record[int], rules=allow.everyone):
    title: str

    @before("delete")
    async def refuse(self) -> None:
        raise Conflict("It stays.")


async def test_what_a_hook_says_of_a_delete_is_not_taken_for_children() -> None:
    async with client_for(Locked, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/lockeds", {"title": "a"})

        assert shape(await somebody.delete("/lockeds/1")) == (409, TEXT, "conflict")


class Reservation(Record[int], rules=allow.everyone):
    table: str
    guests: int = 2

    @before("create", "replace", "update")
    async def presave(self) -> None:
        if self.table == "none":
            raise Invalid("No such täble!")
        if self.table == "gone":
            raise Invalid(faults=[Fault("refused", "It is gone.")])
        if self.guests > 4:
            raise Invalid("Too many.", faults=[Fault("refused", "At most 4.", pointer="/guests")])


@pytest.mark.promises("B105", "B106")
async def test_a_hook_that_refuses_is_told_in_its_own_words() -> None:
    async with client_for(Reservation, interfaces=[Rest(style="booster")]) as somebody:
        assert (await somebody.post("/reservations", {"table": "a"})).status == 201

        for method, url in (("POST", "/reservations"), ("PUT", "/reservations/1"), ("PATCH", "/reservations/1")):
            assert await told(somebody, method, url, {"table": "none"}) == (400, TEXT, "No such täble!")
            assert await told(somebody, method, url, {"table": "gone"}) == (400, TEXT, "It is gone.")
            many = {"table": "a", "guests": 5}
            assert await told(somebody, method, url, many) == (400, JSON, {"guests": "At most 4."})
        assert await told(somebody, "POST", "/reservations", 3) == (400, None, None)


def odd(value: int) -> int:
    """Refuses even numbers with a word, and negative ones without."""
    if value < 0:
        raise ValueError
    if value % 2 == 0:
        raise ValueError("even")
    return value


class Shelf(Record[int], rules=allow.everyone, path="shelves"):
    status: str
    books: Many["Book"]


class Book(Record[int], rules=allow.everyone):
    shelf: Ref[Shelf]
    status: str = Field(validate=validators.MatchesParent("shelf"))
    pages: int = Field(default=1, validate=odd)


@pytest.mark.promises("B88", "B94")
async def test_a_validator_of_ones_own_is_told_in_its_words_and_one_against_a_parent_as_that() -> None:
    async with client_for(Shelf, Book, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/shelves", {"status": "public"})

        book = {"shelf": 1, "status": "public"}
        assert shape(await somebody.post("/books", {**book, "pages": 2})) == (400, JSON, {"pages": "even"})
        assert shape(await somebody.post("/books", {**book, "pages": -1})) == (400, JSON, {"pages": "invalid"})
        other = await somebody.post("/books", {**book, "status": "private"})
        assert shape(other) == (400, JSON, {"status": "invalidparent"})


class Sheet(Record[int], rules=allow.everyone, path="sheets"):
    email: str = Field(default="a@b.org", validate="email")
    seats: int = Field(default=1, validate="integer")
    price: float = 0.0
    is_open: bool = True
    day: date | None = None
    numbers: list[int] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)
    flags: list[bool] = Field(default_factory=list)
    anything: Any = Field(default=1, validate="integer")


@pytest.mark.promises("B88", "B89")
async def test_a_value_of_another_type_is_told_by_the_validator_that_is_called_as_the_type() -> None:
    async with client_for(Sheet, interfaces=[Rest(style="booster")]) as somebody:
        for given, told in (
            ({"id": "x", "email": "no", "seats": "1"}, {"id": "integer", "email": "email", "seats": "integer"}),
            ({"email": 5, "seats": 1.5, "price": "1"}, {"email": "string", "seats": "integer", "price": "number"}),
            ({"seats": None, "is_open": "yes", "day": 7}, {"seats": "integer", "is_open": "boolean", "day": "invalid"}),
            ({"numbers": 1, "flags": 1}, {"numbers": "integerArray", "flags": "array"}),
            ({"numbers": ["a", 1], "words": [1, 2]}, {"numbers": "integerArray", "words": "stringArray"}),
            ({"flags": [1], "anything": "x"}, {"flags": "invalid", "anything": "integer"}),
        ):  # fmt: skip
            assert shape(await somebody.post("/sheets", given)) == (400, JSON, told)
        many = [{"seats": 1}, {"seats": "x"}, {"words": 1}]
        assert (await somebody.post("/sheets", many)).json == [{"seats": "integer"}, {"words": "stringArray"}]


@pytest.mark.promises("B26")
async def test_a_parent_in_the_body_that_is_not_the_one_in_the_path_is_told_as_text() -> None:
    async with client() as somebody:
        await posts(somebody, "one", "two")

        answer = await somebody.post("/posts/1/comments", {"text": "hi", "post": 2})
        assert shape(answer) == (400, TEXT, "missingparentproperty")


@pytest.mark.promises("B30", "B91")
async def test_a_key_that_is_a_number_may_be_sent_as_the_text_of_it_and_no_other_number_may() -> None:
    async with client(interfaces=[Rest(style="booster"), Rest("/new")]) as somebody:
        await posts(somebody, "one", "two")
        await somebody.post("/users", {"name": "ann"})

        assert shape(await somebody.post("/comments", {"post": "1", "text": "hi"})) == (201, TEXT, "1")
        assert shape(await somebody.post("/posts/2/comments", {"post": "2", "text": "ho"})) == (201, TEXT, "2")
        other = await somebody.post("/posts/2/comments", {"post": "1", "text": "ho"})
        assert shape(other) == (400, TEXT, "missingparentproperty")
        many = [{"post": "1", "text": "é"}, {"text": "b", "post": 2}]
        assert shape(await somebody.post("/comments", many)) == (201, JSON, [3, 4])
        told_of = [(one["post"], one["text"]) for one in (await somebody.get("/comments")).json]
        assert told_of == [(1, "hi"), (2, "ho"), (1, "é"), (2, "b")]

        assert shape(await somebody.post("/posts", {"id": "7", "title": "seven"})) == (201, TEXT, "7")
        assert shape(await somebody.put("/posts/7", {"id": "7", "title": "sieben", "author": "1"})) == (200, TEXT, "7")
        assert shape(await somebody.patch("/posts/7", {"id": "8"})) == (400, JSON, {"id": "immutable"})
        assert (await somebody.get("/posts/7")).json == {**FIRST, "id": 7, "title": "sieben", "author": 1}
        for wrong in ("x", "", "1.0", "9" * 30, ["1"], "9"):
            answer = await somebody.patch("/posts/7", {"author": wrong})
            assert (wrong, *shape(answer)) == (wrong, 400, JSON, {"author": "invalid"})
        assert shape(await somebody.patch("/posts/7", {"words": "3"})) == (400, JSON, {"words": "integer"})
        assert shape(await somebody.patch("/posts/7", {"author": None})) == (200, TEXT, "7")
        plain = {"content-type": "text/plain"}
        assert shape(await somebody.request("PUT", "/posts/7/author", content=b"1", headers=plain)) == (200, TEXT, "7")
        assert (await somebody.get("/posts/7/author")).json == 1
        assert shape(await somebody.put("/posts/7/author", "2")) == (400, JSON, {"author": "invalid"})
        assert (await somebody.post("/new/comments", {"post": "1", "text": "hi"})).status == 422


@pytest.mark.promises("B125", "B126")
async def test_what_may_be_embedded_stands_in_place_of_the_key_and_as_deep_as_it_is_asked_for() -> None:
    async with client(style={"embed": True}, auth=by_name) as somebody:
        await somebody.post("/users", {"name": "ann", "phone": "12"})
        await somebody.post("/posts", {"title": "one", "author": 1})
        await somebody.post("/posts", {"title": "two"})
        await somebody.post("/posts/1/comments", {"text": "hi"})

        ann = {"id": 1, "name": "ann"}
        one, hi = {**FIRST, "author": 1}, {"id": 1, "post": 1, "text": "hi"}
        embedded = await somebody.get("/posts?$b.embed=author")
        assert embedded.json == [{**one, "author": ann}, SECOND]
        both = await somebody.get("/posts/1?$b.embed=author,comments")
        assert both.json == {**one, "author": ann, "comments": [hi]}
        assert (await somebody.get("/posts/1?$b.embed=author&$b.embed=comments")).json["comments"] == [hi]
        assert (await somebody.get("/posts/2?$b.embed=comments")).json == {**SECOND, "comments": []}
        assert (await somebody.get("/comments/1?$b.embed=post.author")).json == {**hi, "post": {**one, "author": ann}}
        assert (await somebody.get("/posts/1?$b.embed=nothing,title")).json == one
        private = await somebody.acting("ann").get("/posts/1?$b.embed=author&$b.csview=private")
        assert private.json["author"] == {"id": 1, "name": "ann", "phone": "12"}


@pytest.mark.promises("B126")
async def test_only_what_is_listed_may_be_embedded_and_deep_names_as_they_stand() -> None:
    async with client(style={"embed": {Comment: ["post"], Post: True}}) as somebody:
        await posts(somebody, "one")
        await somebody.post("/posts/1/comments", {"text": "hi"})

        assert (await somebody.get("/comments/1?$b.embed=post")).json["post"] == FIRST
        assert (await somebody.get("/posts?$b.embed=author")).status == 200
        for refused in ("post.author", "post,post.author", "nothing"):
            answer = await somebody.get(f"/comments?$b.embed={refused}")
            assert shape(answer) == (403, JSON, {"embed": "invalid"})
        assert (await somebody.get("/users?$b.embed=posts")).status == 403


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
async def test_options_for_what_is_not_there_are_refused_all_at_once() -> None:
    class Other(Record[int], rules=allow.everyone):
        title: str

    style = Booster(embed={Post: ["auther", "author.nothing"], Other: True}, silent=[Other])
    with pytest.raises(DeclarationError) as refused:
        App(User, Post, Comment, store="sqlite:///:memory:", interfaces=[Rest(style=style)])
    assert refused.value.faults == (
        "The booster style has options for Other, which is none of the application's resources: Comment, Post, User.",
        "The booster style embeds 'auther' of Post, which leads to no other records; did you mean 'author'?",
        "The booster style embeds 'author.nothing' of Post, which leads to no other records; did you mean 'author'?",
    )
    with pytest.raises(ValueError, match=r"there is no style 'boster'; did you mean 'booster'\?"):
        Rest(style="boster")


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.parametrize(
    ("options", "faults"),
    [
        (
            {"embed": {"post": True, "zzz": ["author"]}, "silent": ["comments", "post"]},
            (
                "The booster style has options for 'post', which is to be a class; did you mean Post?",
                "The booster style has options for 'zzz', which is to be a class such as Comment.",
                "The booster style has options for 'comments', which is to be a class; did you mean Comment?",
            ),
        ),
        ({"silent": "post"}, ("The booster style's silent takes a list of classes.",)),
        ({"silent": Post}, ("The booster style's silent takes a list of classes.",)),
        (
            {"embed": ["author"]},
            ('The booster style\'s embed takes True, or what of which class: {Post: ["author"]}.',),
        ),
        ({"embed": {Post: "author"}}, ("What the booster style embeds of Post is a list of names, or True.",)),
    ],
)
def test_a_name_in_place_of_a_class_is_refused_with_the_class_that_is_meant(options: Any, faults: Any) -> None:
    with pytest.raises(DeclarationError) as refused:
        App(User, Post, Comment, store="sqlite:///:memory:", interfaces=[Rest(style=Booster(**options))])
    assert refused.value.faults == faults


@pytest.mark.promises("B41", "B42", "B132")
async def test_a_list_is_searched_sorted_and_counted_by_its_parameters() -> None:
    async with client() as somebody:
        for words, title in ((5, "one"), (15, "two"), (25, "three")):
            await somebody.post("/posts", {"title": title, "words": words, "is_draft": words == 5})

        async def found(query: str) -> list[str]:
            return [post["title"] for post in (await somebody.get(f"/posts?{query}")).json]

        assert await found("words=15") == ["two"]
        assert await found("is_draft=true") == ["one"]
        assert await found("words[lt]=15") == ["one"]
        assert await found("words[gte]=15&words[lt]=25") == ["two"]
        assert await found("words[from]=15&words[to]=25") == ["two", "three"]
        assert await found("title=one&title=three") == ["one", "three"]
        assert await found("sort=-words&count=2") == ["three", "two"]
        assert shape(await somebody.get("/posts?words=many")) == (400, JSON, {"words": "invalid"})
        assert shape(await somebody.get("/posts?words[from]=many")) == (400, JSON, {"words": "invalid"})
        for query in ("nothing=1", "nothing[to]=1"):
            assert shape(await somebody.get(f"/posts?{query}")) == (400, JSON, {"nothing": "unknownfield"})
        assert shape(await somebody.get("/posts?include=author")) == (400, JSON, {"include": "unknownfield"})


@pytest.mark.promises("B41", "B125")
async def test_a_name_that_is_written_as_that_of_a_list_is_the_same_name() -> None:
    async with client(style={"embed": True}) as somebody:
        await somebody.post("/users", {"name": "ann"})
        await posts(somebody, "one", "two", "three")
        await somebody.patch("/posts/2", {"author": "1"})

        for query in ("title[]=one&title[]=two", "title[0]=one&title[1]=two", "title=one&title=two"):
            assert [post["id"] for post in (await somebody.get(f"/posts?{query}")).json] == [1, 2]
        embedded = await somebody.get("/posts/2?$b.embed[]=author&$b.embed[]=comments")
        assert embedded.json == {**SECOND, "author": {"id": 1, "name": "ann"}, "comments": []}
        assert (await somebody.get("/posts?title[x]=one")).status == 400
    async with client() as somebody:
        await posts(somebody, "one")
        assert (await somebody.get("/posts/1?$b.embed[]=author")).status == 403


class Tally(Record[int], rules=allow.everyone, path="tallies"):
    count: int
    sort: str = ""
    limit: int = 0


async def test_a_field_that_is_called_as_a_parameter_is_searched_by() -> None:
    async with client_for(Tally, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/tallies", [{"count": 1, "sort": "a"}, {"count": 2, "sort": "b", "limit": 3}])

        for query in ("count=2", "sort=b", "limit=3"):
            assert [tally["id"] for tally in (await somebody.get(f"/tallies?{query}")).json] == [2]


async def test_a_list_holds_every_record_and_one_of_too_many_is_refused() -> None:
    async with client(style={"most": 60}) as somebody:
        created = await somebody.post("/posts", [{"title": f"abc{n}"} for n in range(60)])
        assert shape(created) == (201, JSON, list(range(1, 61)))
        assert len((await somebody.get("/posts")).json) == 60
        await somebody.post("/posts", {"title": "more"})

        assert shape(await somebody.get("/posts")) == (413, TEXT, "toolarge")
        first = await somebody.get("/posts?count=55")
        assert len(first.json) == 55
        rest = await somebody.get(f"/posts{first.headers['link'].split('>')[0][1:]}")
        assert [post["id"] for post in rest.json] == [56, 57, 58, 59, 60, 61]
        assert len((await somebody.get("/posts?count=60")).json) == 60
        for wrong in ("61", "0", "many"):
            assert shape(await somebody.get(f"/posts?count={wrong}")) == (400, JSON, {"count": "invalid"})


async def test_what_is_answered_can_be_sent_back_as_it_is() -> None:
    async with client() as somebody:
        await posts(somebody, "one")

        record = (await somebody.get("/posts/1")).json
        del record["slug"]
        assert shape(await somebody.put("/posts/1", record)) == (200, TEXT, "1")


@pytest.mark.promises("B12")
async def test_refusals_of_ours_have_the_shape_of_theirs() -> None:
    async with client(auth=by_name) as somebody:
        await posts(somebody, "one")

        plain = {"content-type": "application/xml"}
        unsupported = await somebody.request("POST", "/posts", content=b"<a/>", headers=plain)
        assert shape(unsupported) == (415, TEXT, "unsupportedmediatype")
        broken = await somebody.request("POST", "/posts", content=b"{", headers={"content-type": JSON})
        assert shape(broken) == (400, None, None)
        assert shape(await somebody.post("/posts", 3)) == (400, None, None)
        forged = {"cookie": "a=b", "sec-fetch-site": "cross-site", "origin": "https://elsewhere.example"}
        assert shape(await somebody.post("/posts", {}, headers=forged)) == (403, TEXT, "forbidden")
        stale = await somebody.request("PATCH", "/posts/1", {"words": 2}, headers={"if-match": '"v0"'})
        assert shape(stale) == (412, TEXT, "preconditionfailed")
        refused = await somebody.acting("bad").get("/posts")
        assert shape(refused) == (401, TEXT, "unauthorized")
        assert (await somebody.get("/posts", headers={"accept": "text/html"})).json == [FIRST]


@pytest.mark.promises("B13")
async def test_an_address_that_is_not_there_is_told_in_the_style_of_where_it_would_be() -> None:
    async with client(interfaces=[Rest(), Rest(prefix="/old", style="booster"), WebSocket()]) as somebody:
        created = await somebody.post("/old/posts", {"title": "one"})
        assert shape(created) == (201, TEXT, "1")
        assert created.headers["location"] == "/old/posts/1"

        assert (await somebody.get("/posts/1")).json["title"] == "one"
        assert (await somebody.get("/posts/7")).json["code"] == "not_found"
        assert (await somebody.get("/nothing")).json["code"] == "not_found"
        assert (await somebody.post("/posts/1", {})).json["code"] == "method_not_allowed"
        for url in ("/old/posts/7", "/old/nothing", "/old"):
            assert shape(await somebody.get(url)) == (404, None, None)
        assert shape(await somebody.post("/old/posts/1", {})) == (404, None, None)


# What the path of a field is answered with, of a post "one" of 3 words and a user with a phone.
FIELDS: list[tuple[str, str, Any, int, str | None, Any]] = [
    ("GET", "/posts/1/title", None, 200, TEXT, "one"),
    ("GET", "/posts/1/words", None, 200, JSON, 3),
    ("GET", "/posts/1/is_draft", None, 200, JSON, False),
    ("GET", "/posts/1/author", None, 404, None, None),
    ("GET", "/posts/1/nothing", None, 404, None, None),
    ("GET", "/posts/9/title", None, 404, None, None),
    ("GET", "/posts/1/title?$b.csview=secret", None, 400, None, None),
    ("GET", "/users/1/phone", None, 404, None, None),
    ("GET", "/users/1/phone?$b.csview=private", None, 200, TEXT, "12"),
    ("GET", "/users/1/password?$b.csview=private", None, 404, None, None),
    ("PUT", "/posts/1/title", "ab", 400, JSON, {"title": "minimum:3"}),
    ("PUT", "/posts/9/title", "uno", 404, None, None),
    ("PUT", "/posts/1/nothing", 1, 404, None, None),
    ("POST", "/posts/1/title", "uno", 404, None, None),
    ("PATCH", "/posts/1/title", "uno", 404, None, None),
    ("PUT", "/users/2/name", "ann", 409, JSON, {"name": "notunique"}),
    ("PUT", "/posts/1/title", "uno", 200, TEXT, "1"),
    ("PUT", "/posts/1/title?sendObject=true", "eins", 200, JSON, {**FIRST, "title": "eins", "words": 3}),
]


@pytest.mark.promises("B49", "B50", "B51")
async def test_the_path_of_a_field_is_answered_as_it_was() -> None:
    async with client(auth=by_name) as somebody:
        ann = somebody.acting("ann")
        await ann.post("/users", {"name": "ann", "phone": "12"})
        await ann.post("/users", {"name": "bob"})
        await ann.post("/posts", {"title": "one", "words": 3})

        assert [(m, url, data, *await told(ann, m, url, data)) for m, url, data, *_ in FIELDS] == FIELDS
        plain = {"content-type": "text/plain"}
        assert shape(await ann.request("PUT", "/posts/1/title", content=b"plain", headers=plain)) == (200, TEXT, "1")
        assert (await ann.get("/posts/1/title")).text == "plain"


class Group(Record[int], rules=allow.everyone):
    name: str
    seats: Many["Seat"] = Field(by="group", settable=True)


class Seat(Record[int], rules=allow.everyone):
    group: Parent[Group]
    name: str


@pytest.mark.promises("B56", "B57", "X6")
async def test_a_set_that_is_set_as_a_whole_is_answered_with_ids_and_is_not_there_when_it_is_empty() -> None:
    async with client_for(Group, Seat, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/groups", {"name": "a"})

        assert shape(await somebody.get("/groups/1/seats")) == (404, None, None)
        assert shape(await somebody.put("/groups/1/seats", [{"name": "x"}, {"name": "y"}])) == (200, JSON, [1, 2])
        shown = [{"id": 1, "group": 1, "name": "x"}, {"id": 2, "group": 1, "name": "y"}]
        assert shape(await somebody.get("/groups/1/seats")) == (200, JSON, shown)
        assert shape(await somebody.get("/groups/1/seats?name=z")) == (404, None, None)
        assert shape(await somebody.get("/seats?name=z")) == (200, JSON, [])


@pytest.mark.promises("B57")
async def test_a_whole_may_be_set_to_a_single_record_without_a_list_around_it_and_to_nothing() -> None:
    async with client_for(Group, Seat, interfaces=[Rest(style="booster"), Rest("/new")]) as somebody:
        await somebody.post("/groups", {"name": "a"})

        assert shape(await somebody.put("/groups/1/seats", {"name": "x"})) == (200, JSON, [1])
        assert shape(await somebody.put("/groups/1/seats", "1")) == (200, JSON, [1])
        assert shape(await somebody.put("/groups/1/seats", {"nome": "x"})) == (
            400,
            JSON,
            [{"nome": "unknownfield", "name": "required"}],
        )
        for wrong in (b"{", b'{"name":"x"},{"name":"y"}]', b"7"):
            headers = {"content-type": "application/json"}
            answer = await somebody.request("PUT", "/groups/1/seats", content=wrong, headers=headers)
            assert (wrong, *shape(answer)) == (wrong, 400, None, None)
        assert (await somebody.put("/new/groups/1/seats", {"name": "x"})).status == 422
        assert [seat["id"] for seat in (await somebody.get("/groups/1/seats")).json] == [1]
        assert shape(await somebody.request("PUT", "/groups/1/seats")) == (200, JSON, [])
        assert (await somebody.get("/seats")).json == []


class Page(Record[str], rules=allow.everyone):
    id: str


class Line(
    Record[int],
    rules=allow.everyone,
    places=["/lines", "/pages/{page}/lines", Place("/strict/{page}/lines", parent="required")],
):
    page: Parent[Page] = Field(immutable=True)
    text: str = ""


@pytest.mark.promises("B26", "B29", "B30")
@pytest.mark.parametrize("place", ["/pages/1/lines", "/strict/1/lines"])
async def test_what_is_no_key_of_a_parent_is_another_one_than_the_path_has(place: str) -> None:
    async with client_for(Page, Line, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/pages", [{"id": "1"}, {"id": "2"}])
        await somebody.post("/lines", {"page": "1"})

        for wrong in (1, 0, "", "2", None, ["1"], True):
            for method, url in (("POST", place), ("PUT", f"{place}/1"), ("PATCH", f"{place}/1")):
                refused = await somebody.request(method, url, {"page": wrong})
                assert (wrong, *shape(refused)) == (wrong, 400, TEXT, "missingparentproperty")
        assert shape(await somebody.post("/lines", {"page": 1})) == (400, JSON, {"page": "invalid"})
        assert shape(await somebody.patch("/lines/1", {"page": "2"})) == (400, JSON, {"page": "immutable"})
        assert shape(await somebody.put("/pages/1/lines/1", {"text": "a"})) == (200, TEXT, "1")
        assert (await somebody.get("/lines")).json == [{"id": 1, "page": "1", "text": "a"}]


@pytest.mark.promises("B57", "B126")
async def test_what_may_not_be_embedded_or_shown_is_refused_at_the_paths_of_fields_and_wholes_too() -> None:
    async with client_for(Group, Seat, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/groups", {"name": "a"})
        await somebody.put("/groups/1/seats", [{"name": "x"}])

        for method, url in (("GET", "/groups/1/name"), ("PUT", "/groups/1/name"), ("PUT", "/groups/1/seats")):
            data = {} if method == "GET" else {"data": "b" if url.endswith("name") else []}
            embedding = await somebody.request(method, f"{url}?$b.embed=seats", **data)
            assert (url, *shape(embedding)) == (url, 403, JSON, {"embed": "invalid"})
            secret = await somebody.request(method, f"{url}?$b.csview=secret", **data)
            assert (url, *shape(secret)) == (url, 400, None, None)
        assert (await somebody.get("/groups/1/name")).text == "a"
        assert [seat["name"] for seat in (await somebody.get("/groups/1/seats")).json] == ["x"]


@pytest.mark.promises("B57")
async def test_a_whole_of_which_one_names_another_parent_is_told_which_field_must_equal_the_path() -> None:
    async with client_for(Group, Seat, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/groups", [{"name": "a"}, {"name": "b"}])

        refused = await somebody.put("/groups/1/seats", [{"name": "x"}, {"name": "y", "group": "2"}])
        assert shape(refused) == (400, TEXT, "field group in records must equal path value")
        for wrong in (None, "", "x", []):
            refused = await somebody.put("/groups/1/seats", [{"name": "x", "group": wrong}])
            assert shape(refused) == (400, TEXT, "field group in records must equal path value")
        one = await somebody.post("/groups/1/seats", {"name": "y", "group": "2"})
        assert shape(one) == (400, TEXT, "missingparentproperty")
        assert (await somebody.get("/seats")).json == []


async def test_what_is_set_as_a_whole_may_name_records_by_the_texts_of_their_keys() -> None:
    async with client_for(Group, Seat, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/groups", [{"name": "a"}, {"name": "b"}])
        await somebody.put("/groups/1/seats", [{"name": "x"}, {"name": "y"}])

        assert shape(await somebody.put("/groups/2/seats", ["2", {"name": "z"}])) == (200, JSON, [2, 3])
        assert shape(await somebody.put("/groups/2/seats", [{"id": "2", "name": "w"}, "3"])) == (200, JSON, [2, 3])
        assert [seat["name"] for seat in (await somebody.get("/groups/2/seats")).json] == ["w", "z"]
        assert (await somebody.put("/groups/2/seats", ["7"])).status == 400
        assert shape(await somebody.patch("/groups/1", {"seats": ["3", 2]})) == (200, TEXT, "1")
        assert [seat["id"] for seat in (await somebody.get("/groups/1/seats")).json] == [2, 3]


class Task(Record[int], rules=allow.everyone):
    title: str
    status: str = Field(default="open", default_filter="open", clear_filter="all")
    level: int | None = Field(default=None, default_filter=None)


@pytest.mark.promises("B43")
async def test_a_default_filter_is_taken_off_by_its_own_word_and_by_the_one_for_all_and_holds_for_no_show() -> None:
    async with client_for(Task, interfaces=[Rest(style="booster")]) as somebody:
        await somebody.post("/tasks", [{"title": "a"}, {"title": "b", "status": "done"}, {"title": "c", "level": 1}])

        async def found(query: str) -> list[int]:
            return [task["id"] for task in (await somebody.get(f"/tasks{query}")).json]

        assert await found("") == [1]
        assert await found("?status=done") == [2]
        assert await found("?status=all") == await found("?status=$b.clear") == [1, 2]
        assert await found("?level=$b.clear") == [1, 3]
        assert await found("?status=$b.clear&level=$b.clear&title=$b.clear") == [1, 2, 3]
        assert await found("/1,2,3") == [1, 2, 3]
        assert (await somebody.get("/tasks/3")).json["title"] == "c"


async def test_who_comes_too_often_is_told_so_in_the_same_shape() -> None:
    async with client(rates=[Rate("2/minute", by="address")]) as somebody:
        await posts(somebody, "one", "two")

        refused = await somebody.get("/posts")
        assert shape(refused) == (429, TEXT, "toomanyrequests")
        assert int(refused.headers["retry-after"]) > 0


async def test_of_two_that_want_one_value_at_once_one_is_told_that_it_is_taken() -> None:
    async with client() as somebody:
        answers = await asyncio.gather(*(somebody.post("/users", {"name": "ann"}) for _ in range(8)))

        told = sorted((shape(answer) for answer in answers), key=lambda one: one[0])
        assert told == [(201, TEXT, "1"), *[(409, JSON, {"name": "notunique"})] * 7]


@pytest.mark.only_on("sqlite", reason="a description asks no store")
async def test_the_description_is_of_the_style_of_today_alone() -> None:
    old = [Rest(prefix="/old", style="booster"), Rest(prefix="/older", style="wheelhouse")]
    streams = Sse(prefix="/older", style="wheelhouse")
    app = App(User, Post, Comment, store="sqlite:///:memory:", interfaces=[Rest(), Sse(), *old, streams, OpenApi()])
    async with app:
        paths = OpenApi().document(app)["paths"]
        assert "/posts/{key}" in paths, sorted(paths)
        assert [path for path in paths if path.startswith("/old")] == []


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_routes_are_told_with_their_style_and_what_it_does_there() -> None:
    interfaces = [Rest(style="booster"), Rest(prefix="/older", style="wheelhouse")]
    app = App(User, Post, Comment, store="sqlite:///:memory:", interfaces=interfaces)

    told = {(one.method, one.path, one.owner, one.action, one.rule) for one in routes_of(app) if one.method == "PUT"}
    assert ("PUT", "/posts/{key}", "Post (booster)", "replace", "everyone") in told
    assert ("PUT", "/older/posts/{key}", "Post (wheelhouse)", "update", "everyone") in told


@pytest.mark.promises("B48", "B65")
async def test_several_ids_are_a_read_and_what_stands_around_lists_is_not_asked() -> None:
    somebody = client()

    @somebody.app.use(name="posts", action="list")
    async def refuse(request: Request, next: Next) -> Response:
        raise Conflict("No lists today.")

    async with somebody:
        await posts(somebody, "one", "two")
        assert (await somebody.get("/posts")).status == 409
        assert (await somebody.get("/posts/2,1,7")).json == [FIRST, SECOND]


@pytest.mark.promises("B65", "B66")
async def test_what_comes_behind_an_action_sees_its_answer_and_may_change_it_replace_it_or_fail() -> None:
    somebody = client()
    app = somebody.app
    seen: list[str] = []

    @app.use(name="posts")
    async def all_of_them(request: Request, next: Next) -> Response:
        response = await next()
        seen.append(f"all {request.action} {response.status}")
        return response

    @app.use(name="posts", action="read")
    async def reading(request: Request, next: Next) -> Any:
        response = await next()
        shown: Any = response.data
        seen.append(f"read {shown['title']}")
        match request.key:
            case 1:
                return response.with_data({**shown, "words": 7})
            case 2:
                return {"instead": "of it"}
            case 3:
                raise Conflict("Not that one.")
        return response

    async with somebody:
        await posts(somebody, "one", "two", "three", "four")
        seen.clear()
        assert shape(await somebody.get("/posts/1")) == (200, JSON, {**FIRST, "words": 7})
        assert shape(await somebody.get("/posts/2")) == (200, JSON, {"instead": "of it"})
        assert shape(await somebody.get("/posts/3")) == (409, TEXT, "conflict")
        assert shape(await somebody.get("/posts/4")) == (200, JSON, {**FIRST, "id": 4, "title": "four"})
        assert shape(await somebody.delete("/posts/4")) == (204, None, None)
    assert seen == [
        "read one", "all read 200", "read two", "all read 200", "read three", "read four", "all read 200",
        "all delete 204",
    ]  # fmt: skip
