"""What booster asked of a database, six functions, is a store here: with everything that the others have."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from crudite import App, Conflict, Field, Many, Mirrored, Parent, Password, Record, Resource, Sessions, Unique, allow
from crudite.testing import Client

pytestmark = pytest.mark.only_on("sqlite", reason="the store is somebody's own")


class Shelf:
    """Dictionaries, with functions that are named and speak as booster's did; notes the calls that write."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, dict[str, Any]]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    async def get(self, table: str, key: Any) -> dict[str, Any] | None:
        return self._rows(table).get(key)

    async def find(self, table: str, search: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        return [row for row in self._rows(table).values() if search.items() <= row.items()] or None

    async def create(self, table: str, record: dict[str, Any]) -> Any:
        self.calls.append(("create", table, record))
        rows = self._rows(table)
        key = record.get("id", len(rows) + 1)
        rows[key] = {"id": key, **record}
        return key

    async def update(self, table: str, key: Any, record: dict[str, Any]) -> Any:
        self.calls.append(("update", table, key, dict(record)))
        if key not in self._rows(table):
            return None
        self._rows(table)[key] = record
        return key

    async def patch(self, table: str, key: Any, values: dict[str, Any]) -> Any:
        self.calls.append(("patch", table, key, values))
        if key not in self._rows(table):
            return None
        self._rows(table)[key].update(values)
        return key

    async def destroy(self, table: str, key: Any) -> Any:
        self.calls.append(("destroy", table, key))
        return key if self._rows(table).pop(key, None) else None

    def _rows(self, table: str) -> dict[Any, dict[str, Any]]:
        if self.failure is not None:
            raise self.failure
        return self.tables.setdefault(table, {})


@asynccontextmanager
async def client_over(shelf: Shelf, *resources: type[Record[Any]]) -> AsyncIterator[Client]:
    async with Client(App(*resources, store=shelf)) as client:
        yield client


class User(Record[int], rules=allow.everyone):
    name: str = Field(min_length=1)
    email: str | None = Field(default=None, unique=True)
    age: int = 0


@pytest.mark.promises("B128", "B130")
async def test_every_action_is_the_function_of_its_name_with_the_table_first_and_gives_the_key() -> None:
    shelf = Shelf()
    async with client_over(shelf, User) as client:
        made = await client.post("/users", {"name": "ann"})
        assert (made.status, made.json["id"]) == (201, 1)
        assert (await client.put("/users/1", {"name": "Ann", "email": "a", "age": 7})).status == 200
        assert (await client.patch("/users/1", {"age": 8})).json["age"] == 8
        assert (await client.delete("/users/1")).status == 204
        assert shelf.calls == [
            ("create", "users", {"name": "ann", "email": None, "age": 0}),
            ("update", "users", 1, {"id": 1, "name": "Ann", "email": "a", "age": 7}),
            ("patch", "users", 1, {"age": 8}),
            ("destroy", "users", 1),
        ]


@pytest.mark.promises("B129", "B41")
async def test_to_find_nothing_is_no_error_but_a_404_where_one_record_was_meant() -> None:
    async with client_over(Shelf(), User) as client:
        everything = await client.get("/users")
        assert (everything.status, everything.json) == (200, [])
        assert (await client.get("/users?name=ann")).json == []
        assert (await client.get("/users/7")).status == 404
        assert (await client.put("/users/7", {"name": "x"})).status == 404
        assert (await client.patch("/users/7", {"name": "x"})).status == 404
        assert (await client.delete("/users/7")).status == 404


@pytest.mark.promises("B112", "B113")
async def test_the_servers_own_code_gets_finds_creates_updates_and_destroys_through_the_same_rules() -> None:
    shelf = Shelf()
    async with client_over(shelf, User) as client:
        records = client.app.records
        ann = await records.create(User, name="ann", email="a")
        assert (ann.id, ann.name) == (1, "ann")
        assert (await records.read(User, 1)).name == "ann"
        assert [user.name for user in await records.list(User.where(email="a"))] == ["ann"]
        assert (await records.update(User, 1, age=9)).age == 9
        assert (await records.replace(User, 1, name="Ann")).email is None
        await records.delete(User, 1)
        assert shelf.tables == {"users": {}}


@pytest.mark.promises("B132")
async def test_sorting_and_limiting_are_no_affair_of_the_database() -> None:
    shelf = Shelf()
    shelf.tables["users"] = {n: {"id": n, "name": f"u{n}", "age": n % 4} for n in range(1, 11)}
    async with client_over(shelf, User) as client:
        page = await client.get("/users?sort=-age,name&limit=2&count=exact")
        assert [user["name"] for user in page.json] == ["u3", "u7"]
        assert page.headers["x-total-count"] == "10"
        address = page.headers["link"].partition(">")[0].removeprefix("<")
        assert [user["name"] for user in (await client.get(f"/users{address}")).json] == ["u10", "u2"]
        some = (await client.get("/users?age[gte]=2&name[in]=u2,u3,u4&fields=name")).json
        assert [user["name"] for user in some] == ["u2", "u3"]


@pytest.mark.promises("B133")
async def test_an_error_of_the_driver_is_the_servers_trouble_and_not_shown_to_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf()
    async with client_over(shelf, User) as client:
        await client.post("/users", {"name": "ann"})
        shelf.failure = OSError("password wrong for admin@10.0.0.7")
        for answer in (await client.get("/users"), await client.get("/users/1"), await client.patch("/users/1", {})):
            assert (answer.status, answer.json["code"]) == (503, "unavailable")
            assert "admin" not in answer.text
        assert "Shelf.find('users'): OSError: password wrong for admin@10.0.0.7" in caplog.text
        shelf.failure = None
        assert (await client.get("/users/1")).json["name"] == "ann"


async def test_values_are_validated_and_unique_against_what_others_have_put_into_the_database() -> None:
    shelf = Shelf()
    async with client_over(shelf, User) as client:
        shelf.tables["users"] = {5: {"id": 5, "name": "ann", "email": "a"}}
        refused = await client.post("/users", {"name": "", "age": "old"})
        assert refused.status == 422
        assert {error["pointer"] for error in refused.json["errors"]} == {"/name", "/age"}
        taken = await client.post("/users", {"name": "eve", "email": "a"})
        assert (taken.status, taken.json["code"]) == (409, "not_unique")
        assert shelf.calls == []


async def test_rules_references_and_includes_look_at_what_the_database_has_now() -> None:
    class Project(Resource, rules=allow.everyone):
        name: str
        is_open: bool = True
        tasks: Many["Task"]

    class Task(Resource, rules=allow.where(project__is_open=True)):
        title: str
        project: Parent[Project]

    shelf = Shelf()
    async with client_over(shelf, Project, Task) as client:
        project = (await client.post("/projects", {"name": "p"})).json["id"]
        task = (await client.post(f"/projects/{project}/tasks", {"title": "t"})).json["id"]
        assert [one["title"] for one in (await client.get(f"/projects/{project}/tasks")).json] == ["t"]
        shelf.tables["projects"][project].update(is_open=False, name="closed")
        assert (await client.get(f"/tasks/{task}")).status == 404
        assert (await client.patch(f"/tasks/{task}", {"title": "x"})).status == 404
        shelf.tables["projects"][project]["is_open"] = True
        shown = (await client.get(f"/tasks/{task}?include=project")).json
        assert shown["_included"]["project"]["name"] == "closed"
        assert (await client.delete(f"/projects/{project}")).status == 409


async def test_live_queries_tell_what_goes_through_and_what_is_found_on_the_way() -> None:
    shelf = Shelf()
    async with (
        client_over(shelf, User) as client,
        client.live("users", where={"age": {"gte": 18}}, sort="name") as view,
        client.live("users", over="websocket", where={"age": {"gte": 18}}, sort="name") as other,
    ):
        await view.ready()
        await other.ready()
        await client.post("/users", {"name": "ann", "age": 30})
        shelf.tables["users"][7] = {"id": 7, "name": "bob", "age": 40}
        await client.post("/users", {"name": "kid", "age": 3})
        assert (await client.get("/users/7")).json["name"] == "bob"
        for one in (view, other):
            await one.until(lambda records: [record["name"] for record in records] == ["ann", "bob"])
        del shelf.tables["users"][7]
        await client.patch("/users/1", {"age": 17})
        assert (await client.get("/users")).json[0]["age"] == 17
        for one in (view, other):
            await one.until(lambda records: records == [])


async def test_what_is_deleted_and_kept_is_a_moment_in_the_database_and_comes_back() -> None:
    class Post(Record[int], rules=allow.everyone, soft_delete=True):
        title: str = Field(unique=True)
        comments: Many["Comment"]

    class Comment(Record[int], rules=allow.everyone, soft_delete=True):
        post: Parent[Post] = Field(on_delete="cascade")
        text: str

    shelf = Shelf()
    async with client_over(shelf, Post, Comment) as client:
        await client.post("/posts", {"title": "a"})
        await client.post("/posts/1/comments", {"text": "c"})
        shelf.calls.clear()
        assert (await client.delete("/posts/1")).status == 204
        moment = shelf.tables["posts"][1]["deleted_at"]
        assert shelf.calls == [
            ("patch", "comments", 1, {"deleted_at": moment}), ("patch", "posts", 1, {"deleted_at": moment}),
        ]  # fmt: skip
        assert (await client.get("/posts")).json == []
        assert (await client.get("/comments")).json == []
        await client.post("/posts", {"title": "a"})
        with pytest.raises(Conflict):
            await client.app.records.restore(Post, 1)
        del shelf.tables["posts"][2]
        await client.app.records.restore(Post, 1)
        assert [post["id"] for post in (await client.get("/posts")).json] == [1]
        assert [comment["text"] for comment in (await client.get("/posts/1/comments")).json] == ["c"]
        assert shelf.tables["comments"][1]["deleted_at"] is None


class Closed(Shelf):
    """A database that does not let go of its first record."""

    async def destroy(self, table: str, key: Any) -> Any:
        if key == 1:
            raise Conflict("The books are closed.")
        return await super().destroy(table, key)


async def test_a_deleted_record_that_the_database_does_not_let_go_of_holds_up_no_other_one() -> None:
    class Post(Record[int], rules=allow.everyone, soft_delete=timedelta(days=30)):
        pass

    shelf = Closed()
    moments = {1: "2020-01-01T00:00:00.000000Z", 2: "2020-01-02T00:00:00.000000Z"}
    shelf.tables = {"posts": {key: {"id": key, "deleted_at": moment} for key, moment in moments.items()}}
    async with client_over(shelf, Post) as client, client.live("posts", deleted="only") as view:
        await view.until(lambda rows: [row["id"] for row in rows] == [1])
        assert list(shelf.tables["posts"]) == [1]


class Reusing(Shelf):
    """A database that gives a new record the key behind the highest that is there, as files with numbers would."""

    async def create(self, table: str, record: dict[str, Any]) -> Any:
        return await super().create(table, {"id": max(self._rows(table), default=0) + 1, **record})


async def test_a_new_record_may_get_the_key_of_one_that_goes_in_the_same_transaction() -> None:
    class Post(Record[str], rules=allow.everyone):
        tags: Many["Tag"] = Field(through="Tagging", settable=True)

    class Tag(Record[str], rules=allow.everyone):
        pass

    class Tagging(Record[int], rules=allow.everyone):
        post: Parent[Post]
        tag: Parent[Tag]

    shelf = Reusing()
    shelf.tables = {"posts": {"p": {"id": "p"}}, "tags": {tag: {"id": tag} for tag in "abc"}}
    async with client_over(shelf, Post, Tag, Tagging) as client, client.live("taggings") as view:
        assert (await client.patch("/posts/p", {"tags": ["a", "b"]})).status == 200
        assert (await client.patch("/posts/p", {"tags": ["a", "c"]})).status == 200
        assert [(one["id"], one["tag"]) for one in (await client.get("/taggings")).json] == [(1, "a"), (2, "c")]
        assert [(one["id"], one["tag"]) for one in shelf.tables["taggings"].values()] == [(1, "a"), (2, "c")]
        await view.until(lambda rows: [(one["id"], one["tag"]) for one in rows] == [(1, "a"), (2, "c")])


async def test_null_can_be_a_value_that_only_one_record_has() -> None:
    class Page(Record[int], rules=allow.everyone, unique=[Unique("title", "folder", nulls="alike")]):
        title: str
        folder: str | None = None

    shelf = Shelf()
    shelf.tables["pages"] = {1: {"id": 1, "title": "a", "folder": None}}
    async with client_over(shelf, Page) as client:
        assert (await client.post("/pages", {"title": "a"})).status == 409
        assert (await client.post("/pages", {"title": "a", "folder": "x"})).status == 201


async def test_accounts_can_be_anywhere_and_the_sessions_of_their_owners_in_the_mirror_alone() -> None:
    class Account(Record[int], rules={"read": allow.signed_in, "create": allow.everyone}):
        email: str = Field(unique=True)
        password: Password

    shelf = Shelf()
    app = App(Account, store=Mirrored(shelf, kept_here=["sessions"]), auth=Sessions(Account))
    async with Client(app) as client:
        signing = {"email": "ann@example.org", "password": "correct horse battery"}
        assert (await client.post("/accounts", signing)).status == 201
        assert shelf.tables["accounts"][1]["password"].startswith("$argon2")
        entered = await client.post("/log-in", signing)
        cookie = {"cookie": entered.headers["set-cookie"].partition(";")[0]}
        assert [one["id"] for one in (await client.get("/accounts", headers=cookie)).json] == [1]
        assert shelf.tables.keys() == {"accounts"}
        shelf.tables["accounts"].clear()
        assert (await client.get("/accounts", headers=cookie)).status == 401
