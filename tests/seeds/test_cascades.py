"""What booster said of changes that are carried on to the records that point here."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from crudite import (
    App,
    Cascade,
    DeclarationError,
    Field,
    FieldContext,
    Many,
    Record,
    Ref,
    Request,
    Resource,
    allow,
    before,
)
from crudite.testing import Client, View
from tests.flows.worlds import by_name, client_for, faults
from tests.services.stores import kept_store


class Shelf(Record[str], rules=allow.everyone):
    status: Literal["open", "shut", "lost"] = Field(default="open", cascade=Cascade("books", when=["shut", "lost"]))
    owner: str | None = Field(default="ann", cascade=Cascade("books", "labels"))
    books: Many["Book"]
    labels: Many["Label"]


class Book(Record[str], rules={"read": allow.everyone}):
    shelf: Ref[Shelf] | None = None
    status: str = Field(default="open", cascade=Cascade("pages"))
    owner: str | None = None
    pages: Many["Page"]


class Page(Record[str], rules={"read": allow.everyone}):
    book: Ref[Book]
    status: str = "open"


class Label(Record[str], rules={"read": allow.everyone}):
    shelf: Ref[Shelf]
    owner: str | None = None
    changes: int = 0

    @before("update")
    def count(self, request: Request, old: "Label") -> None:
        self.changes = old.changes + 1


async def library(client: Client) -> None:
    assert (await client.post("/shelfs", [{"id": "s"}, {"id": "t"}])).status == 201
    async with client.app.records.batch() as batch:
        for book, shelf in (("a", "s"), ("b", "s"), ("c", "t")):
            batch.create(Book, id=book, shelf=shelf)
            batch.create(Page, id=f"{book}1", book=book)
        batch.create(Label, id="l", shelf="s")


async def statuses(client: Client, path: str) -> dict[str, str]:
    return {one["id"]: one["status"] for one in (await client.get(path)).json}


@pytest.mark.promises("B119", "B120")
async def test_a_changed_field_is_carried_on_to_all_that_point_here_and_from_there_on() -> None:
    async with client_for(Shelf, Book, Page, Label) as client:
        await library(client)
        assert (await client.patch("/shelfs/s", {"status": "shut"})).status == 200
        assert await statuses(client, "/books") == {"a": "shut", "b": "shut", "c": "open"}
        assert await statuses(client, "/pages") == {"a1": "shut", "b1": "shut", "c1": "open"}

        assert (await client.patch("/shelfs/s", {"status": "open"})).status == 200  # that is not carried
        assert (await statuses(client, "/books"))["a"] == "shut"
        assert (await client.put("/shelfs/t", {"status": "lost", "owner": None})).status == 200
        assert (await statuses(client, "/books"))["c"] == (await statuses(client, "/pages"))["c1"] == "lost"
        assert (await client.get("/books/c")).json["owner"] is None  # null is carried like any value

        await client.patch("/shelfs/s", {"owner": "bob"})
        label = (await client.get("/labels/l")).json
        assert (label["owner"], label["changes"]) == ("bob", 1)  # the hooks of the others run
        await client.patch("/shelfs/s", {"owner": "bob"})
        assert (await client.get("/labels/l")).json["version"] == label["version"]  # nothing has changed


class Frames(View):
    """A view that remembers in which frames it was told."""

    def __init__(self) -> None:
        super().__init__(timeout=10)
        self.frames: list[Mapping[str, Any]] = []

    def tell_frame(self, frame: Mapping[str, Any]) -> None:
        """Notes the frame."""
        self.frames.append(frame)
        super().tell_frame(frame)


@pytest.mark.promises("B119", "B120")
async def test_all_that_is_carried_comes_in_one_frame() -> None:
    async with client_for(Shelf, Book, Page, Label) as client, client.websocket() as socket:
        await library(client)
        view = Frames()
        query = {"where": {"status": "open"}, "fields": ["id"], "sort": ["id"]}
        await socket.subscribe("books", {"resource": "books", "query": query}, view)
        assert [row["id"] for row in await view.ready()] == ["a", "b", "c"]
        view.frames.clear()
        await socket.call("shelfs.update", {"key": "s", "data": {"status": "lost"}})
        await view.until(lambda rows: [row["id"] for row in rows] == ["c"])

        assert [sorted(frame["removed"]) for frame in view.frames] == [["a", "b"]]


@pytest.mark.promises("B120")
async def test_what_the_others_refuse_refuses_the_whole_change() -> None:
    class Folder(Record[str], rules=allow.everyone):
        name: str = Field(default="", cascade=Cascade("files"))
        files: Many["File"]

    class File(Record[str], rules=allow.everyone):
        folder: Ref[Folder]
        name: str = Field(default="", max_length=3)

    async with client_for(Folder, File) as client:
        await client.post("/folders", {"id": "f"})
        await client.post("/files", {"id": "1", "folder": "f"})
        refused = await client.patch("/folders/f", {"name": "long"})
        assert (refused.status, faults(refused)) == (422, [("/name", "string_too_long")])
        assert (await client.get("/folders/f")).json["name"] == ""


@pytest.mark.promises("B120")
async def test_records_that_point_at_each_other_in_a_circle_come_to_an_end_and_too_many_are_refused() -> None:
    class Node(Record[str], rules=allow.everyone):
        up: Ref["Node"] | None = None
        colour: str = Field(default="red", cascade=Cascade("down"))
        down: Many["Node"]

    async with client_for(Node) as client:
        await client.post("/nodes", [{"id": "a"}, {"id": "b", "up": "a"}, {"id": "c", "up": "b"}])
        await client.patch("/nodes/a", {"up": "c"})
        assert (await client.patch("/nodes/b", {"colour": "blue"})).status == 200
        assert {one["colour"] for one in (await client.get("/nodes")).json} == {"blue"}

        for some in (range(600), range(600, 1001)):
            await client.post("/nodes", [{"id": f"n{n}", "up": "a", "colour": "red"} for n in some])
        refused = await client.patch("/nodes/a", {"colour": "green"})
        assert (refused.status, refused.json["code"]) == (409, "conflict")
        assert "more than 1,000 records" in refused.json["detail"]
        assert (await client.get("/nodes/a")).json["colour"] == "blue"


@pytest.mark.promises("B120")
@pytest.mark.parametrize(("meeting", "leaving", "going"), [("z", "a", "b"), ("a", "z", "b")])
async def test_a_record_that_leaves_while_a_change_is_carried_is_left_alone(
    meeting: str, leaving: str, going: str
) -> None:
    turns: list[str] = []

    class Team(Record[str], rules=allow.everyone):
        colour: str = Field(default="red", cascade=Cascade("players"))
        players: Many["Player"]

    class Player(Record[str], rules=allow.everyone):
        team: Ref[Team] | None
        colour: str = "red"

        @before("update")
        async def meet(self, request: Request) -> None:
            if self.id == meeting and not turns:
                turns.append("gone")
                await client.app.records.update(Player, leaving, team=None)
                await client.app.records.delete(Player, going)

    client = client_for(Team, Player)
    async with client:
        await client.post("/teams", {"id": "t"})
        await client.post("/players", [{"id": name, "team": "t"} for name in ("a", "b", "z")])
        assert (await client.patch("/teams/t", {"colour": "blue"})).status == 200
        found = {one["id"]: one["colour"] for one in (await client.get("/players")).json}
        assert (found, turns) == ({leaving: "red", meeting: "blue"}, ["gone"])


@pytest.mark.promises("B120")
async def test_two_changes_at_the_same_time_leave_everybody_with_the_last_one() -> None:
    store = kept_store()
    apps = [App(Shelf, Book, Page, Label, store=store) for _ in range(2)]
    async with Client(apps[0]) as one, Client(apps[1]) as two:
        await library(one)
        for round in range(5):
            both = [client.patch("/shelfs/s", {"owner": f"{n}{round}"}) for n, client in enumerate((one, two))]
            assert {answer.status for answer in await asyncio.gather(*both)} <= {200, 409}
            owner = (await one.get("/shelfs/s")).json["owner"]
            books = (await two.get("/books?shelf=s")).json
            assert {book["owner"] for book in books} == {owner}


@pytest.mark.promises("B120")
async def test_what_was_deleted_and_is_kept_is_neither_changed_nor_looked_at() -> None:
    class Box(Record[str], rules=allow.everyone, soft_delete=True):
        colour: str = Field(default="red", cascade=Cascade("items"))
        items: Many["Item"]

    class Item(Record[str], rules=allow.everyone, soft_delete=True):
        box: Ref[Box] | None = None
        colour: str = "red"
        seen: str | None = None

    async def look(value: str, context: FieldContext) -> str:
        return "gone" if await context.read(Item, value) is None else "there"

    class Looker(Record[str], rules=allow.everyone):
        item: str = Field(validate=look)

    async with client_for(Box, Item, Looker) as client:
        await client.post("/boxes", {"id": "b"})
        await client.post("/items", [{"id": "1", "box": "b"}, {"id": "2", "box": "b"}])
        assert (await client.delete("/items/1")).status == 204
        assert (await client.patch("/boxes/b", {"colour": "blue"})).status == 200
        found = {one["id"]: one["colour"] for one in (await client.get("/items?deleted=with")).json}
        assert found == {"1": "red", "2": "blue"}
        assert (await client.post("/lookers", {"id": "1", "item": "1"})).json["item"] == "gone"
        assert (await client.post("/lookers", {"id": "2", "item": "2"})).json["item"] == "there"


@pytest.mark.promises("B120")
async def test_a_change_is_carried_on_also_to_those_that_a_list_leaves_out_unless_asked() -> None:
    class Box(Record[str], rules=allow.everyone, path="boxes"):
        colour: str = Field(default="red", cascade=Cascade("items"))
        items: Many["Item"]

    class Item(Record[str], rules=allow.everyone):
        box: Ref[Box]
        colour: str = Field(default="red", default_filter="red")
        state: str = Field(default="new", default_filter="new")

    async with client_for(Box, Item) as client:
        await client.post("/boxes", {"id": "b"})
        await client.post("/items", [{"id": "1", "box": "b"}, {"id": "2", "box": "b", "state": "old"}])
        assert [one["id"] for one in (await client.get("/items")).json] == ["1"]
        assert (await client.patch("/boxes/b", {"colour": "blue"})).status == 200
        found = (await client.get("/items?colour=*&state=*")).json
        assert {one["id"]: one["colour"] for one in found} == {"1": "blue", "2": "blue"}


@pytest.mark.promises("B119")
async def test_who_may_change_the_first_record_needs_no_right_to_the_others() -> None:
    class Owner(Record[str], rules={"read": allow.everyone, "write": allow.signed_in}):
        active: bool = Field(default=True, cascade=Cascade("things", when=False))
        things: Many["Thing"]

    class Thing(Record[str], rules=allow.role("admin")):
        owner: Ref[Owner]
        active: bool = True

    async with client_for(Owner, Thing, auth=by_name) as client:
        await client.app.records.create(Owner, id="o")
        await client.app.records.create(Thing, id="t", owner="o")
        assert (await client.patch("/owners/o", {"active": False})).status == 401
        assert (await client.acting("ann").patch("/owners/o", {"active": False})).status == 200
        assert (await client.app.records.read(Thing, "t")).active is False


@pytest.mark.promises("B119")
async def test_that_there_is_no_value_any_more_is_carried_on_to_a_field_of_few_values() -> None:
    class Owner(Record[str], rules=allow.everyone):
        mood: Literal["good", "bad"] | None = Field(default="good", cascade=Cascade("things", when=None))
        things: Many["Thing"]

    class Thing(Record[str], rules=allow.everyone):
        owner: Ref[Owner]
        mood: Literal["good"] | None = "good"

    async with client_for(Owner, Thing) as client:
        await client.post("/owners", {"id": "o"})
        await client.post("/things", {"id": "t", "owner": "o"})
        await client.patch("/owners/o", {"mood": "bad"})
        assert (await client.get("/things/t")).json["mood"] == "good"
        await client.patch("/owners/o", {"mood": None})
        assert (await client.get("/things/t")).json["mood"] is None


@pytest.mark.promises("B119")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_cascade_that_leads_nowhere_is_refused() -> None:
    class Parent(Resource):
        a: str = Field(default="", cascade=Cascade("childs"))
        b: str = Field(default="", cascade=Cascade("children"))
        c: str = Field(default="", cascade=Cascade("children"))
        d: str = Field(default="", cascade=Cascade("children"))
        e: str | None = Field(default="", cascade=Cascade("children"))
        f: str = Field(default="", cascade=Cascade("children", when=1))
        g: Literal["x", "y"] = Field(default="x", cascade=Cascade("children"))
        h: str = Field(default="", visible="secret", cascade=Cascade("children"))
        i: str = Field(default="", read=allow.role("staff"), cascade=Cascade("children"))
        j: str = Field(default="", visible="private", cascade=Cascade("children"))
        k: str = Field(default="", cascade="children")  # type: ignore[arg-type]
        m: Ref["Parent"] | None = Field(default=None, cascade=Cascade("children"))
        children: Many["Child"] = Field(by="parent")

    class Child(Resource):
        parent: Ref[Parent]
        a: str = ""
        c: int = 0
        d: str = Field(default="", immutable=True)
        e: str = ""
        f: str = ""
        g: Literal["x"] = "x"
        h: str = Field(default="", visible="private")
        i: str = ""
        j: str = Field(default="", read=allow.role("boss"))
        m: Ref["Child"] | None = None

    with pytest.raises(DeclarationError) as caught:
        App(Parent, Child)

    assert caught.value.faults == (
        "Parent.a: the cascade is not valid: Parent has no link 'childs'; did you mean 'children'?",
        "Parent.b: the cascade is not valid: Child has no field b.",
        "Parent.c: the cascade is not valid: Child.c is no plain value of the same type.",
        "Parent.d: the cascade is not valid: Child.d is immutable.",
        "Parent.e: the cascade is not valid: Child.e is never null.",
        "Parent.f: the cascade is not valid: expected a text.",
        "Parent.g: the cascade is not valid: Child.g does not take all of its values.",
        "Parent.h: the cascade is not valid: Child.h is not secret, and would tell it.",
        "Parent.i: the cascade is not valid: Child.i is not private, and would tell it.",
        """Parent.k: the cascade is not valid: it names links, such as Cascade("comments"), got 'children'.""",
        "Parent.m: the cascade is not valid: Child.m points at Child, not at Parent.",
    )


class Cupboard(Record[str], rules=allow.everyone, path="cupboards"):
    state: str = Field(default="open", cascade=Cascade("tins"))
    tins: Many["Tin"] = Field(settable=True)


class Tin(Record[str], rules=allow.everyone, path="tins", soft_delete=True):
    cupboard: Ref[Cupboard] | None
    state: str = "open"


async def test_nothing_is_carried_to_what_the_same_transaction_takes_away() -> None:
    async with client_for(Cupboard, Tin) as client:
        await client.post("/cupboards", [{"id": "top"}, {"id": "low"}])
        await client.post("/tins", [{"id": name, "cupboard": "top"} for name in ("kept", "taken", "moved", "gone")])

        answer = await client.patch("/cupboards/top", {"state": "shut", "tins": ["kept", "moved", "gone"]})
        async with client.app.records.batch() as batch:
            batch.update(Tin, "moved", cupboard="low")
            batch.update(Cupboard, "top", state="lost")
            batch.delete(Tin, "gone")

        assert (answer.status, answer.json["state"]) == (200, "shut")
        found = {tin["id"]: (tin["cupboard"], tin["state"]) for tin in (await client.get("/tins?deleted=with")).json}
        assert found == {
            "kept": ("top", "lost"), "taken": (None, "open"), "moved": ("low", "shut"), "gone": ("top", "shut"),
        }  # fmt: skip
