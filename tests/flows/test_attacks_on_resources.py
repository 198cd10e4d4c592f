"""Attacks on what resources say of themselves: on validators, relations and fields, in combination."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from crudite import (
    App,
    DeclarationError,
    Field,
    Many,
    Mirrored,
    Parent,
    Password,
    Record,
    Ref,
    Request,
    allow,
    before,
    me,
    validators,
)  # fmt: skip
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, faults

PUBLIC = {"status": "public"}
meanwhile: list[Callable[[], Awaitable[Any]]] = []
"""What somebody else does while a write is being decided on, once."""


@pytest.fixture(autouse=True)
def nothing_happens() -> Iterator[None]:
    yield
    meanwhile.clear()


class Category(Record[str], path="categories", rules={"read": allow.where(hidden=False), "write": allow.everyone}):
    status: str = "draft"
    mood: str = "calm"
    hidden: bool = False


class Article(Record[str], rules=allow.everyone):
    category: Ref[Category] | None = None
    status: str = Field(default="draft", validate=validators.MatchesParent("category", check={"published": "public"}))
    mood: str = Field(default="calm", validate=validators.MatchesParent("category"))


@pytest.mark.parametrize("given", [{"status": "published"}, {"mood": "wild"}, {"status": "published", "mood": "wild"}])
async def test_a_validator_tells_nothing_of_a_record_that_its_asker_may_not_point_at(given: Any) -> None:
    async with client_for(Category, Article) as client:
        await client.app.records.create(Category, id="hidden", hidden=True)
        await client.post("/articles", {"id": "1"})
        for category in ("hidden", "nowhere"):
            for write, path in ((client.post, "/articles"), (client.patch, "/articles/1"), (client.put, "/articles/1")):
                body = {"category": category, **given} | ({"id": "2"} if path == "/articles" else {})
                refused = await write(path, body)
                assert (refused.status, faults(refused)) == (422, [("/category", "no_such_record")])


class Shelf(Record[str], rules=allow.everyone, path="shelves"):
    status: str = "draft"
    items: Many["Item"] = Field(settable=True)


class Item(Record[str], rules=allow.everyone):
    shelf: Parent[Shelf]
    status: str = Field(default="draft", validate=validators.MatchesParent("shelf", check={"published": "public"}))
    title: str = ""

    @before("update")
    def is_drafted(self, request: Request, old: "Item") -> None:
        if self.title == "anew":
            self.status = "draft"


async def test_a_record_gets_below_no_parent_that_it_could_not_have_been_written_below() -> None:
    async with client_for(Shelf, Item) as client:
        await client.post("/shelves", [{"id": "open", "status": "public"}, {"id": "closed"}, {"id": "new", **PUBLIC}])
        await client.post("/items", {"id": "1", "shelf": "open", "status": "published"})
        moved = await client.patch("/items/1", {"shelf": "closed"})
        assert (moved.status, faults(moved)) == (422, [("/status", "invalid_parent")])
        assert (await client.put("/items/1/shelf", "closed")).status == 422
        assert faults(await client.patch("/shelves/closed", {"items": ["1"]})) == [("/items/0", "invalid_parent")]
        assert faults(await client.put("/shelves/closed/items", ["1"])) == [("/0", "invalid_parent")]
        assert (await client.get("/items/1")).json["shelf"] == "open"

        await client.patch("/shelves/open", {"status": "draft"})  # asks nobody again, and who stays is not asked
        assert (await client.patch("/items/1", {"shelf": "open", "title": "stays"})).status == 200
        assert (await client.patch("/items/1", {"shelf": "new"})).status == 200
        assert (await client.patch("/items/1", {"shelf": "closed"})).status == 422
        assert (await client.patch("/items/1", {"shelf": "closed", "title": "anew"})).status == 200
        assert (await client.get("/items/1")).json["status"] == "draft"


class Card(Record[str], rules=allow.everyone):
    title: str = ""
    owner: str | None = None
    pin: str = Field(default="", immutable=True, visible="private")
    note: str = Field(default="", immutable=True, read=allow.where(owner=me.id))


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_nobody_guesses_a_value_that_he_does_not_see_and_nobody_can_change(method: str) -> None:
    async with client_for(Card, auth=by_name) as client:
        await client.app.records.create(Card, id="1", pin="1234", note="mine", owner="ann")
        for token in (None, "ann", "bob"):
            for name, value in (("pin", "1234"), ("pin", "4321"), ("note", "mine"), ("note", "other")):
                answer = await client.acting(token).request(method, "/cards/1", {name: value, "owner": "ann"})
                is_own = (token, name, value) == ("ann", "note", "mine")
                assert (answer.status, faults(answer)) == ((200, []) if is_own else (422, [(f"/{name}", "immutable")]))


class User(Record[str], rules=allow.everyone):
    groups: Many["Group"] = Field(settable=True)
    desks: Many["Desk"] = Field(settable=True)
    clubs: Many["Club"] = Field(through="Member", settable=True)


class Group(Record[str], rules=allow.everyone):
    user: Parent[User]
    name: str = ""

    @before("update", "replace", "create")
    async def is_slow(self) -> None:
        while meanwhile:
            await meanwhile.pop()()


class Desk(Record[str], rules=allow.everyone):
    user: Ref[User] | None = None


class Club(Record[str], rules=allow.everyone):
    name: str = ""


class Member(Record[int], unique=[("user", "club")], rules=allow.everyone):
    user: Ref[User]
    club: Ref[Club]

    @before("create")
    async def is_slow(self) -> None:
        while meanwhile:
            await meanwhile.pop()()


async def fill(client: Client) -> None:
    for path, records in {
        "users": [{"id": "ann"}, {"id": "bob"}],
        "groups": [{"id": "one", "user": "ann"}, {"id": "two", "user": "bob"}],
        "desks": [{"id": "one", "user": "ann"}, {"id": "two", "user": "bob"}],
        "clubs": [{"id": "chess"}, {"id": "go"}],
        "members": [{"user": "ann", "club": "chess"}],
    }.items():
        made = await client.post(f"/{path}", records)
        assert made.status == 201, made.json


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (Group, ("PUT", "/users/ann/groups", ["two"])),
        (Group, ("PATCH", "/users/ann", {"groups": ["two"]})),
        (Desk, ("PATCH", "/users/ann", {"desks": ["two"], "groups": ["one", "two"]})),
    ],
)
async def test_what_was_moved_elsewhere_meanwhile_is_not_taken_out_there(kind: Any, setting: Any) -> None:
    async with client_for(User, Group, Desk, Club, Member) as client:
        await fill(client)
        meanwhile.append(lambda: client.app.records.update(kind, "one", user="bob"))
        method, path, body = setting
        assert (await client.request(method, path, body)).status == 200
        listed = await client.get(f"/{kind.__name__.lower()}s")
        assert {row["id"]: row["user"] for row in listed.json} == {"one": "bob", "two": "ann"}


@pytest.mark.parametrize(("to", "left"), [({"user": "bob"}, "bob"), ({"club": "go"}, "ann")])
async def test_a_joining_record_that_was_moved_meanwhile_is_kept_where_it_joins_others(to: Any, left: str) -> None:
    async with client_for(User, Group, Desk, Club, Member) as client:
        await fill(client)
        await client.post("/clubs", {"id": "bridge"})
        meanwhile.append(lambda: client.app.records.update(Member, 1, **to))
        body = {"clubs": ["go", "bridge"]}
        assert (await client.patch("/users/ann", body)).status == 200
        listed = await client.get("/members?sort=id")
        rows = {row["id"]: (row["user"], row["club"]) for row in listed.json}
        assert rows[1] == (left, to.get("club", "chess"))
        assert {club for user, club in rows.values() if user == "ann"} == {"go", "bridge"}


class Office(Record[str], rules=allow.everyone):
    name: str = ""


class Room(Record[str], rules={"read": allow.where(locked=False), "write": allow.everyone}):
    office: Parent[Office]
    locked: bool = False
    chairs: Many["Chair"] = Field(settable=True)


class Chair(Record[str], rules=allow.everyone):
    room: Parent[Room]

    @before("delete", "create")
    async def is_slow(self) -> None:
        while meanwhile:
            await meanwhile.pop()()


@pytest.mark.parametrize("change", [{"office": "south"}, {"locked": True}])
@pytest.mark.parametrize("body", [[], [{"id": "new"}]])
async def test_a_whole_is_set_only_where_its_parent_still_stands(change: Any, body: Any) -> None:
    async with client_for(Office, Room, Chair) as client:
        await client.post("/offices", [{"id": "north"}, {"id": "south"}])
        await client.post("/rooms", {"id": "1", "office": "north"})
        await client.post("/chairs", {"id": "old", "room": "1"})
        meanwhile.append(lambda: client.app.records.update(Room, "1", **change))
        assert (await client.put("/offices/north/rooms/1/chairs", body)).status == 404
        assert [row["id"] for row in (await client.get("/chairs")).json] == ["old"]


@pytest.mark.only_on("sqlite", reason="what is declared asks no store")
def test_a_link_takes_no_rule_that_would_not_hold() -> None:
    field: Any = Field

    class Team(Record[str], rules=allow.everyone):
        people: Many["Player"] = field(settable=True, write=allow.role("admin"), visible="private")
        substitutes: Many["Player"] = field(by="team", title="Who waits")

    class Player(Record[str], rules=allow.everyone):
        team: Parent[Team]

    with pytest.raises(DeclarationError) as refused:
        App(Team, Player)
    assert str(refused.value) == (
        "Team.people: `visible` and `write` would do nothing for a link; say it of the field that points here, or in "
        "rules there."
    )


class Vault(Record[str], rules=allow.everyone):
    name: str = ""
    code: str | None = Field(default=None, visible="secret", unique=True)
    pin: Password | None = None


class Babbler:
    """A database that fails, and tells in its errors what it was given, as databases do."""

    async def get(self, table: str, key: Any) -> Any:
        return {"id": "old", "code": "mel'on"} if key == "old" else None

    async def find(self, table: str, search: dict[str, Any]) -> Any:
        return []

    async def create(self, table: str, record: dict[str, Any]) -> Any:
        raise RuntimeError(f"duplicate key: {record!r}, {json.dumps(record)}, {record['code']}")

    async def update(self, table: str, key: Any, record: dict[str, Any]) -> Any:
        return await self.create(table, record)

    async def patch(self, table: str, key: Any, values: dict[str, Any]) -> Any:
        raise TimeoutError(f"too slow: {values!r}")

    async def destroy(self, table: str, key: Any) -> Any:
        return None


@pytest.mark.only_on("sqlite", reason="the database is six functions")
async def test_what_a_database_says_when_it_fails_tells_the_log_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    async with Client(App(Vault, store=Mirrored(Babbler()))) as client:
        created = await client.post("/vaults", {"id": "1", "name": "attic", "code": 'melon "1"', "pin": "watermelon"})
        changed = await client.patch("/vaults/old", {"code": "melon 2", "name": "cellar"})
        assert (created.status, changed.status) == (503, 503)
    assert "duplicate key" in caplog.text
    assert "attic" in caplog.text
    assert "cellar" in caplog.text
    assert "melon" not in caplog.text
    assert "mel'on" not in caplog.text
    assert "argon2" not in caplog.text


class Track(Record[str], rules=allow.everyone):
    shelf: Parent[Shelf]
    length: float = 0.0


async def test_a_number_that_is_none_does_not_hide_another_parent_than_that_of_the_path() -> None:
    async with client_for(Shelf, Item, Track) as client:
        await client.post("/shelves", [{"id": "a"}, {"id": "b"}])
        await client.post("/tracks", {"id": "1", "shelf": "a"})
        for method, path in (("POST", "/shelves/a/tracks"), ("PATCH", "/shelves/a/tracks/1")):
            body = b'{"length": NaN, "length": 1, "shelf": "b"}'
            answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
            assert ("/shelf", "other_parent") in faults(answer)
        assert (await client.get("/shelves/b/tracks")).json == []
