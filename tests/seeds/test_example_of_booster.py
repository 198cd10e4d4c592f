"""The blog in examples/ answers the clients of booster as they know it, and today's beside them."""

import base64
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from crudite.testing import Client
from tests.flows.test_cli import serving
from tests.seeds.examples import EXAMPLES, answered, load, shape
from tests.services.http import client_at
from tests.services.stores import fresh_store

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
PASSWORD = "longerpwisgood"
JOHN = {"id": "1", "name": "john", "email": "john@smith.com", "roles": []}
LONG = "x" * 100
ONE = {"id": "2", "title": "One", "content": LONG, "status": "published", "author": "1"}
TWO = {"id": "3", "title": "Two", "content": "", "status": "published", "author": None}
AT_SEVEN = {"table": "1", "user": "1", "time": "2026-12-01T19:00:00.000000Z", "guests": 2}
Told = tuple[str, str, Any, int, str | None, Any]


@pytest.fixture
def blog(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the example, on an empty store."""
    return load("booster", monkeypatch, fresh_store())


@pytest.fixture
async def client(blog: ModuleType) -> AsyncIterator[Client]:
    """Nobody in particular, before a blog with a user and two posts."""
    async with Client(blog.app) as nobody:
        await nobody.post("/user", {**JOHN, "password": PASSWORD, "birthday": "1980-02-01"})
        for post in (ONE, TWO):
            assert (await nobody.post("/post", post)).status == 201
        yield nobody


def john(client: Client) -> Client:
    """The same client with the name and the password of a user."""
    return Client(client.app, headers=_basic())


async def told(client: Client, *table: Told) -> list[Told]:
    """What is answered to the requests of a table, as a table."""
    answers = []
    for method, url, data, *_ in table:
        answer = await client.request(method, url, **({} if data is None else {"data": data}))
        answers.append((method, url, data, *shape(answer)))
    return answers


def refused(message: Any) -> tuple[int, str, Any]:
    """A 400 with the message of each field."""
    return 400, JSON, message


NOTHING = (404, None, None)
NO_PARENT = (400, TEXT, "missingparentproperty")

POSTS: list[Told] = [
    ("GET", "/post", None, 200, JSON, [{**ONE, "content": "x" * 80}, TWO]),
    ("GET", "/post.json?title=One", None, 200, JSON, [{**ONE, "content": "x" * 80}]),
    ("GET", "/post?title=none", None, 200, JSON, []),
    ("GET", "/post/2", None, 200, JSON, ONE),
    ("GET", "/post/2.json", None, 200, JSON, ONE),
    ("GET", "/post/2,3", None, 200, JSON, [ONE, TWO]),
    ("GET", "/post/9,3", None, 200, JSON, TWO),
    ("GET", "/post/9", None, *NOTHING),
    ("POST", "/post", {"id": "4", "title": "New"}, 201, TEXT, "4"),
    ("POST", "/post", {}, *refused({"title": "required"})),
    ("POST", "/post", {"title": "  "}, *refused({"title": ["notblank", "minimum:3"]})),
    ("POST", "/post", {"title": "New", "other": 1}, *refused({"other": "unknownfield"})),
    ("POST", "/post", {"title": "New", "status": "lost"}, *refused({"status": "list:draft,published"})),
    ("POST", "/post", {"title": "New", "author": "9"}, *refused({"author": "invalid"})),
    ("PUT", "/post/4", {"title": "Newer"}, *NOTHING),
    ("PATCH", "/post/4", {"title": "Newer"}, 200, TEXT, "4"),
    ("PATCH", "/post/4?sendObject=true", {"status": "draft"}, 200, JSON,
     {**TWO, "id": "4", "title": "Newer", "status": "draft"}),
    ("PATCH", "/post/9", {"title": "Newer"}, *NOTHING),
    ("GET", "/post?status=draft", None, 200, JSON, [{**TWO, "id": "4", "title": "Newer", "status": "draft"}]),
    ("GET", "/post?title=Newer", None, 200, JSON, []),
    ("GET", "/post/4", None, 200, JSON, {**TWO, "id": "4", "title": "Newer", "status": "draft"}),
    ("GET", "/api/post/3", None, 200, JSON, TWO),
    ("PATCH", "/api/post/3", {"title": "Newer"}, *NOTHING),
    ("DELETE", "/post/4", None, 204, None, None),
    ("DELETE", "/post/4", None, *NOTHING),
]  # fmt: skip

COMMENTS: list[Told] = [
    ("POST", "/post/2/comment", {"id": "7", "post": "2", "content": "hi"}, 201, TEXT, "7"),
    ("POST", "/post/2/comment", {"post": "3", "content": "hi"}, *NO_PARENT),
    ("POST", "/post/2/comment", {"content": "hi"}, *NO_PARENT),
    ("PUT", "/post/2/comment/7", {"post": "3", "content": "ho"}, *NO_PARENT),
    ("PUT", "/post/2/comment/7", {"content": "ho"}, *NO_PARENT),
    ("PUT", "/post/2/comment/7", {"post": "2", "content": "ho"}, 200, TEXT, "7"),
    ("PATCH", "/post/2/comment/7", {"post": "3"}, *NO_PARENT),
    ("PATCH", "/post/2/comment/7", {"author": "ann"}, 200, TEXT, "7"),
    ("POST", "/post/2/comment", {"post": "2", "content": "see http://x.y"}, *refused({"content": "nolinks"})),
    ("GET", "/post/2/comment", None, 200, JSON, [{"id": "7", "post": "2", "author": "ann", "content": "ho"}]),
    ("GET", "/post/3/comment", None, 200, JSON, []),
    ("GET", "/post/2,3/comment", None, 200, JSON, [{"id": "7", "post": "2", "author": "ann", "content": "ho"}]),
    ("GET", "/post/3/comment/7", None, *NOTHING),
    ("GET", "/comment", None, 200, JSON, [{"id": "7", "post": "2", "author": "ann", "content": "ho"}]),
    ("GET", "/comment/7", None, *NOTHING),
    ("POST", "/comment", {"post": "2", "content": "hi"}, *NOTHING),
    ("POST", "/post/2/comment/7/note", {"id": "5", "text": "n"}, 201, TEXT, "5"),
    ("GET", "/post/2/comment/7/note/5", None, 200, JSON, {"id": "5", "comment": "7", "text": "n"}),
    ("GET", "/post/3/comment/7/note/5", None, *NOTHING),
    ("PUT", "/post/2/comment/7/note/5", {"text": "m"}, 200, TEXT, "5"),
    ("PUT", "/post/3/comment/7/note/5", {"text": "l"}, *NOTHING),
    ("DELETE", "/post/3/comment/7/note/5", None, *NOTHING),
    ("POST", "/post/2/user", {"id": "6", "name": "dif"}, 201, TEXT, "6"),
    ("GET", "/post/2/user/6", None, 200, JSON, {"id": "6", "post": "2", "name": "dif"}),
    ("POST", "/api/test", {"id": "8", "name": "t"}, 201, TEXT, "8"),
    ("GET", "/api/test/8", None, 200, JSON, {"id": "8", "name": "t"}),
    ("GET", "/test", None, *NOTHING),
    ("DELETE", "/post/2", None, 204, None, None),
    ("GET", "/comment", None, 200, JSON, []),
]

USERS: list[Told] = [
    ("GET", "/user/1", None, 200, JSON, JOHN),
    ("GET", "/user/1?$b.csview=private", None, 200, JSON, JOHN),
    ("GET", "/user/1?$b.csview=secret", None, 400, None, None),
    ("GET", "/user?$b.embed=posts", None, 200, JSON,
     [{**JOHN, "posts": [{"id": "2", "title": "One", "content": LONG, "status": "published", "author": "1"}]}]),
    ("GET", "/user/1?$b.embed=password", None, 403, JSON, {"embed": "invalid"}),
    ("POST", "/user", {"name": "ann", "email": "ann@x.org", "password": "poorpw"},
     *refused({"password": "password_too_short"})),
    ("POST", "/user", {"name": "a b", "email": "ann"},
     *refused({"name": "alphanumeric", "email": "email", "password": "required"})),
    ("POST", "/user", {"name": "john", "email": "ann@x.org", "password": PASSWORD}, 409, JSON, {"name": "notunique"}),
    ("POST", "/user", {"name": "ann", "email": "john@smith.com", "password": PASSWORD}, 409, JSON,
     {"email": "notunique"}),
    ("PATCH", "/user/1", {"email": "j@s.com"}, 401, TEXT, "unauthorized"),
]  # fmt: skip

HIS: list[Told] = [
    ("GET", "/user/1", None, 200, JSON, JOHN),
    ("GET", "/user/1?$b.csview=private", None, 200, JSON, {**JOHN, "birthday": "1980-02-01"}),
    ("PATCH", "/user/1", {"name": "jim"}, *refused({"name": "immutable"})),
    ("PUT", "/user/1", {}, *refused({"email": "required"})),
    ("PUT", "/user/1?sendObject=true", {"email": "j@s.com", "password": PASSWORD}, 200, JSON,
     {**JOHN, "email": "j@s.com"}),
    ("DELETE", "/user/1", None, 409, JSON, {"delete": "children"}),
]  # fmt: skip

TABLES: list[Told] = [
    ("POST", "/table", {"id": "1"}, 201, TEXT, "1"),
    ("POST", "/reservation", {**AT_SEVEN, "table": "9"}, *refused({"table": "No such table!"})),
    ("POST", "/reservation", {**AT_SEVEN, "guests": 5}, *refused({"table": "too_small"})),
    ("POST", "/reservation", {**AT_SEVEN, "id": "3"}, 201, TEXT, "3"),
    ("POST", "/reservation", AT_SEVEN, 409, JSON, {"table:time": "notunique"}),
    ("GET", "/reservation", None, 200, JSON, [{"id": "3", **AT_SEVEN}]),
    ("DELETE", "/table/1", None, 409, JSON, {"delete": "children"}),
    ("DELETE", "/table/1?force=true", None, 204, None, None),
    ("GET", "/reservation", None, 200, JSON, []),
]


@pytest.mark.parametrize("table", [POSTS, COMMENTS, USERS, TABLES], ids=["posts", "comments", "users", "tables"])
async def test_every_request_is_answered_as_it_was_status_type_and_body(client: Client, table: list[Told]) -> None:
    assert await told(client, *table) == table


async def test_answers_have_the_headers_of_old_and_those_that_an_old_client_passes_over(client: Client) -> None:
    async def heads(method: str, url: str, data: Any = None, **headers: str) -> dict[str, str]:
        answer = await client.request(method, url, data, headers=headers)
        return {name: value for name, value in answer.headers.items() if name not in ("etag", "crudite-after")}

    kept = {"cache-control": "private, no-cache", "vary": "Cookie, Authorization", "x-content-type-options": "nosniff"}
    asked = {"X-Booster-SendObject": "true"}
    told = {"content-type": TEXT, "content-length": "1", **kept}
    assert await heads("POST", "/post", {"id": "4", "title": "New"}) == {**told, "location": "/post/4"}
    assert await heads("PATCH", "/post/4", {"title": "Old"}) == told
    assert await heads("PATCH", "/post/4", {"title": "Old"}, **asked) == {
        **told, "content-type": JSON, "content-length": "72",
    }  # fmt: skip
    assert await heads("DELETE", "/post/4") == kept
    gone = {"content-length": "0", "cache-control": "no-store", "x-content-type-options": "nosniff"}
    assert await heads("GET", "/post/4") == gone
    assert await heads("POST", "/post", {}) == {**gone, "content-type": JSON, "content-length": "20"}


async def test_a_user_sees_and_changes_what_is_his_with_his_name_and_password(client: Client) -> None:
    assert await told(john(client), *HIS) == HIS
    wrong = Client(client.app, headers={"authorization": "Basic am9objp3cm9uZw=="})
    assert shape(await wrong.get("/user/1")) == (401, TEXT, "unauthorized")


async def test_a_validator_refuses_or_changes_what_is_stored_and_a_password_is_kept_as_a_hash(
    client: Client, blog: ModuleType
) -> None:
    assert (await john(client).patch("/user/1", {"email": "JOHN@Smith.com"})).status == 200
    assert (await client.get("/user/1")).json == JOHN
    found = await blog.User.with_password("john", PASSWORD)
    assert found.id == "1"
    assert await blog.User.with_password("john", "another one") is None
    assert await blog.User.with_password("ann", PASSWORD) is None
    with pytest.raises(AttributeError):
        _ = found.password


async def test_a_property_has_a_path_of_its_own_and_may_have_a_function_for_either_direction(client: Client) -> None:
    his = john(client)
    assert shape(await his.put("/user/1/email", "j@s.com")) == (200, TEXT, "1")
    sent = {"headers": {**_basic(), "content-type": "text/plain"}, "content": b"also@s.com"}
    assert (await client.request("PUT", "/user/1/email", **sent)).status == 200
    assert shape(await client.get("/user/1/email")) == (200, TEXT, "also@s.com")
    assert shape(await his.put("/user/1/password", "short")) == refused({"password": "password_too_short"})
    assert shape(await his.put("/user/1/name", "jim")) == refused({"name": "immutable"})
    assert shape(await his.put("/user/1/roles", ["editor"])) == (200, TEXT, "1")
    assert shape(await client.get("/user/1/roles")) == (200, JSON, ["user", "editor"])
    assert (await client.get("/user/1")).json["roles"] == ["editor"]
    for url in ("/user/1/password", "/user/1/birthday", "/user/1/nothing", "/user/9/email"):
        assert shape(await client.get(url)) == NOTHING
    for method in ("POST", "PATCH"):
        assert shape(await his.request(method, "/user/1/email", "x")) == NOTHING


async def test_another_resource_is_a_property_that_is_read_and_set_as_a_whole(client: Client) -> None:
    await client.post("/group", {"id": "10", "user": "1", "name": "staff"})
    assert (await client.get("/user/1/group")).json == [{"id": "10", "user": "1", "name": "staff"}]
    set_whole = await client.put("/user/1/group", [{"name": "staff"}, {"id": "11", "name": "board"}])
    assert shape(set_whole) == (200, JSON, ["10", "11"])
    both = [{"id": "10", "user": "1", "name": "staff"}, {"id": "11", "user": "1", "name": "board"}]
    assert (await client.get("/user/1/group")).json == both
    assert (await client.get("/user/1/group?name=board")).json == both[1:]
    assert (await client.put("/user/1/group", [{"name": "staff", "user": "2"}])).status == 400
    assert (await client.put("/user/1/group", [{"name": "board"}])).status == 200
    assert (await client.get("/group")).json == both[1:]
    assert shape(await client.put("/user/1/group", [])) == (200, JSON, [])
    assert shape(await client.get("/user/1/group")) == NOTHING
    assert shape(await client.get("/user/9/group")) == NOTHING


async def test_an_association_is_embedded_in_place_of_its_key(client: Client) -> None:
    await client.post("/tag", {"id": "a", "name": "news"})
    await client.post("/tagging", {"post": "2", "tag": "a"})
    embedded = {**ONE, "author": JOHN, "tags": [{"id": "a", "name": "news"}]}
    assert (await client.get("/post/2?$b.embed=author,tags")).json == embedded
    assert (await client.get("/post/3?$b.embed=author,tags")).json == {**TWO, "tags": []}
    twice = await client.post("/tagging", {"post": "2", "tag": "a"})
    assert shape(twice) == (409, JSON, {"post:tag": "notunique"})


async def test_a_model_without_routes_is_there_for_code_alone(client: Client, blog: ModuleType) -> None:
    await blog.app.records.create(blog.Activity(text="a post"))
    assert [one.text for one in await blog.app.records.list(blog.Activity)] == ["a post"]
    for path in ("/activity", "/activities", "/v2/activities"):
        assert (await client.get(path)).status == 404


async def test_letters_are_sent_by_what_the_application_was_given(
    blog: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = blog.Letters()
    monkeypatch.setattr(blog.Letters, "send", lambda _, to, text: letters.append((to, text)))
    async with Client(blog.app) as client:
        await client.post("/user", {**JOHN, "password": PASSWORD})
        await client.post("/user", {**JOHN, "password": "short"})
        await client.post("/post", TWO)
        await client.post("/post/3/comment", {"post": "3", "content": "hi"})
        await client.app.settled()
    assert sorted(letters) == [
        ("editor@example.org", "There is a new comment."),
        ("john@smith.com", "Welcome, john!"),
    ]


async def test_the_filter_of_all_keeps_the_blog_shut(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOG_IS_CLOSED", "yes")
    assert shape(await client.post("/post", {"title": "New"})) == (503, TEXT, "unavailable")
    assert (await client.get("/post/2")).status == 200


async def test_what_an_old_client_writes_is_live_beside_it_over_sse_and_websocket(client: Client) -> None:
    async with (
        client.stream("/v2/post/2/comment/subscribe") as stream,
        client.live("posts", over="websocket", where={"status": "published"}, fields=["title"]) as posts,
    ):
        assert [event.kind for event in await stream.until("ready")] == ["ready"]
        assert [row["title"] for row in await posts.ready()] == ["One", "Two"]
        await client.post("/post/3/comment", {"post": "3", "content": "elsewhere"})
        await client.post("/post/2/comment", {"id": "7", "post": "2", "content": "hi"})
        added = await stream.next()
        assert (added.kind, added.data["id"], added.data["content"]) == ("added", "7", "hi")
        await client.patch("/post/3", {"title": "Zwei"})
        assert await posts.until(lambda rows: rows[1]["title"] == "Zwei")
        await client.delete("/post/2")
        assert (await stream.next()).kind == "removed"
        assert [row["title"] for row in await posts.until(lambda rows: len(rows) == 1)] == ["Zwei"]
    created = await client.post("/v2/post", {"id": "4", "title": "New"})
    assert (created.status, created.json["title"], created.headers["location"]) == (201, "New", "/v2/post/4")
    assert shape(await client.get("/post/4")) == (200, JSON, {**TWO, "id": "4", "title": "New"})


@pytest.mark.only_on("sqlite", reason="a command is told with a file")
async def test_it_is_run_by_the_command_of_its_readme_and_answers_as_that_says(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "booster" / "app.py", tmp_path)
    async with serving(tmp_path, "run", "app.py") as running, client_at(running.url) as client:
        lines = await answered("booster", running.url)
        assert len(lines) == 5
        assert [(line, said) for line, _, said in lines] == [(line, expected) for line, expected, _ in lines]
        async with client.stream("GET", "/v2/post/1/comment/subscribe") as stream:
            events = stream.aiter_lines()
            while await anext(events) != "event: ready":
                pass
            await client.post("/post/1/comment", json={"post": "1", "content": "ho"})
            while await anext(events) != "event: added":
                pass
        assert await running.end() == 0


def _basic() -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"john:{PASSWORD}".encode()).decode()}
