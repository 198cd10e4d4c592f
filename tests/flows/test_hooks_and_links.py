"""What hooks put into the batch of a request that sets links or a whole, and links that hooks set themselves."""

from crudite import Field, Many, Parent, Record, Ref, Request, allow, before
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
