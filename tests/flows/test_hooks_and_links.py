"""What hooks put into the batch of a request that sets links or a whole, and links that hooks set themselves."""

import pytest

from crudite import Conflict, Field, FieldContext, Many, Parent, Record, Ref, Request, allow, before
from crudite.testing import Client
from tests.flows.worlds import client_for, faults

OPEN = allow.everyone


class Line(Record[int], rules=OPEN):
    text: str


class Shelf(Record[str], rules=OPEN, path="shelves"):
    books: Many["Book"] = Field(settable=True)


class Book(Record[str], rules=OPEN):
    shelf: Parent[Shelf]
    tags: Many["Tag"] = Field(through="Tagging", settable=True)

    @before("create", "update", "replace", "delete")
    def tell(self, request: Request) -> None:
        request.batch.create(Line, text=f"{request.action} {self.id}")


class Tag(Record[str], rules=OPEN):
    pass


class Tagging(Record[int], rules=OPEN):
    book: Ref[Book] = Field(on_delete="cascade")
    tag: Ref[Tag] = Field(on_delete="cascade")

    @before("create")
    def tell(self, request: Request) -> None:
        request.batch.create(Line, text=f"tag {self.book} {self.tag}")


class Order(Record[str], rules=OPEN):
    tags: list[str]

    @before("create")
    def deliver(self, request: Request) -> None:
        request.batch.create(Book, id=self.id, shelf="top", tags=self.tags)


def library() -> Client:
    return client_for(Line, Shelf, Book, Tag, Tagging, Order)


async def fill(client: Client) -> None:
    await client.post("/shelves", [{"id": "top"}, {"id": "low"}])
    await client.post("/tags", [{"id": "red"}, {"id": "blue"}])


async def lines(client: Client) -> list[str]:
    return [line["text"] for line in (await client.get("/lines")).json]


async def pairs(client: Client) -> list[tuple[str, str]]:
    return sorted((row["book"], row["tag"]) for row in (await client.get("/taggings")).json)


async def test_what_hooks_put_into_the_batch_is_written_where_a_whole_is_set() -> None:
    async with library() as client:
        await fill(client)
        await client.post("/shelves/low/books", {"id": "moved"})
        await client.post("/shelves/top/books", [{"id": "kept"}, {"id": "gone"}])

        answer = await client.put("/shelves/top/books", ["kept", "moved", {"id": "new"}])

        assert (answer.status, [book["id"] for book in answer.json]) == (200, ["kept", "moved", "new"])
        told = await lines(client)
        assert told[:3] == ["create moved", "create kept", "create gone"]
        assert sorted(told[3:]) == ["create new", "delete gone", "update moved"]


async def test_what_a_hook_puts_into_the_batch_may_set_links_as_a_request_may() -> None:
    async with library() as client:
        await fill(client)

        assert (await client.post("/orders", {"id": "b", "tags": ["red", "blue"]})).status == 201

        assert await pairs(client) == [("b", "blue"), ("b", "red")]
        assert sorted(await lines(client)) == ["create b", "tag b blue", "tag b red"]
        wrong = await client.post("/orders", {"id": "c", "tags": ["green"]})
        assert (wrong.status, faults(wrong)) == (422, [("/tags/0", "no_such_record")])
        assert (await client.get("/books/c")).status == 404


async def test_links_of_the_records_of_a_whole_are_set_and_what_is_wrong_is_named_by_its_place() -> None:
    async with library() as client:
        await fill(client)

        wrong = await client.put("/shelves/top/books", [{"id": "a"}, {"id": "b", "tags": ["red", "green"]}])
        assert (wrong.status, faults(wrong)) == (422, [("/1/tags/1", "no_such_record")])

        await client.put("/shelves/top/books", [{"id": "a", "tags": ["red"]}, {"id": "b", "tags": ["red", "blue"]}])
        assert await pairs(client) == [("a", "red"), ("b", "blue"), ("b", "red")]


class Room(Record[str], rules=OPEN):
    beds: int = 2
    guests: int = 0
    stays: Many["Stay"] = Field(settable=True)

    @before("update")
    def count(self, request: Request, old: "Room") -> None:
        if self.guests < old.guests:
            request.batch.create(Line, text=f"fewer in {self.id}")


async def fits(value: int, context: FieldContext) -> int:
    room = await context.read(Room, context.record.room)
    if room is not None and value > room.beds:
        raise ValueError(f"{room.id} has {room.beds} beds.")
    return value


class Stay(Record[str], rules=OPEN):
    room: Parent[Room]
    guests: int = Field(default=1, validate=fits)
    note: str = Field(default="", visible="private", write=allow.role("staff"))

    @before("create", "delete")
    def tell(self, request: Request) -> None:
        if self.id == "counted":
            request.batch.update(Room, self.room, guests=self.guests if request.action == "create" else 0)


async def test_a_whole_is_set_though_what_is_decided_for_it_looks_at_the_parent_and_writes_it() -> None:
    async with client_for(Line, Room, Stay) as client:
        await client.post("/rooms", {"id": "blue"})
        seen = (await client.get("/rooms/blue")).json

        full = await client.put("/rooms/blue/stays", [{"id": "counted", "guests": 2}, {"id": "other", "guests": 1}])
        made = (await client.get("/rooms/blue")).json
        wrong = await client.put("/rooms/blue/stays", [{"id": "other", "guests": 3}])
        left = await client.put("/rooms/blue/stays", ["other"])

        assert (full.status, made["guests"], made["version"] > seen["version"]) == (200, 2, True)
        assert (wrong.status, faults(wrong)) == (422, [("/0/guests", "refused")])
        assert (left.status, [stay["id"] for stay in left.json]) == (200, ["other"])
        assert (await client.get("/rooms/blue")).json["guests"] == 0
        assert await lines(client) == ["fewer in blue"]


async def test_what_is_decided_on_a_record_that_the_same_transaction_has_changed_is_said_to_be_that() -> None:
    async with client_for(Line, Room, Stay) as client:
        await client.post("/rooms", {"id": "blue"})
        records = client.app.records

        async def write(first: dict[str, int], second: dict[str, int] | None = None) -> None:
            async with records.batch() as batch:
                batch.update(Room, "blue", **first)
                if second is None:
                    batch.create(Stay, id="a", room="blue", guests=2)
                else:
                    batch.update(Room, "blue", **second)

        with pytest.raises(Conflict, match="after a change of it in one transaction"):
            await write({"guests": 1}, {"guests": 2})
        with pytest.raises(Conflict, match="after a change of it in one transaction"):
            await write({"beds": 1})

        assert [room.beds for room in await records.list(Room)] == [2]
        assert await records.list(Stay) == []


async def test_a_whole_that_is_sent_back_changes_nothing_of_what_its_sender_neither_sees_nor_writes() -> None:
    async with client_for(Line, Room, Stay) as client:
        await client.post("/rooms", {"id": "blue"})
        await client.app.records.create(Stay, id="a", room="blue", note="a friend of the house")
        await client.app.records.create(Stay, id="b", room="blue", guests=2)
        read = (await client.get("/rooms/blue/stays")).json

        assert (await client.put("/rooms/blue/stays", read)).json == read
        assert (await client.put("/rooms/blue/stays", [{"id": "a", "room": "blue", "guests": 1}, "b"])).json == read
