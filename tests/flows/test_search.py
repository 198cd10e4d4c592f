"""Searching for words: in a URL, in JSON and in Python, in lists and in live queries, on both databases."""

from typing import Any

import pytest

from crudite import Actor, App, Count, Field, OpenApi, Query, Record, Request, allow, me
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, faults, titles
from tests.services.stores import fresh_store

OVER: Any = pytest.mark.parametrize("over", ["sse", "websocket"])


class Note(Record[int], rules=allow.where(owner=me.id) | allow.where(open=True), search=("title", "text")):
    title: str
    text: str | None = None
    owner: str = Field(default=me.id)
    open: bool = True
    author: str = ""


class Draft(Note):
    """Everything is inherited, what is searched too."""


class Plain(Record[int], rules=allow.everyone):
    search: str = ""


@pytest.fixture
def client() -> Client:
    """A client that speaks as ann."""
    app = App(Note, Draft, Plain, store=fresh_store(), auth=by_name, staff=allow.everyone)

    @app.read("found")
    async def found(request: Request, words: str) -> Query[Note]:
        return Note.where(open=True).search(words).order("title")

    @app.read("how-many")
    async def how_many(request: Request, words: str) -> Count:
        return Note.where().search(words).count()

    return Client(app).acting("ann")


async def fill(client: Client) -> None:
    """Four notes of ann, one of which is hers alone."""
    await client.post("/notes", [
        {"title": "Red apples", "text": "from the garden", "author": "Zoe"},
        {"title": "Green apples"},
        {"title": "Crème brûlée", "text": "with red apples"},
        {"title": "Red secret", "open": False},
    ])  # fmt: skip


async def test_a_search_is_asked_in_a_url_in_json_and_in_python(client: Client) -> None:
    async with client:
        await fill(client)
        assert titles(await client.get("/notes?search=red+apples&sort=title")) == ["Crème brûlée", "Red apples"]
        assert titles(await client.get("/notes?search=RED&title[startswith]=Red")) == ["Red apples", "Red secret"]
        body = {"search": "creme brul", "where": {"open": True}}
        assert titles(await client.request("QUERY", "/notes", body)) == ["Crème brûlée"]
        assert titles(await client.get("/found?words=app")) == ["Crème brûlée", "Green apples", "Red apples"]
        assert (await client.get("/how-many?words=app")).json == 3
        counted = await client.get("/notes?search=app&count=exact&limit=1")
        assert (counted.headers["x-total-count"], titles(counted)) == ("3", ["Red apples"])
        following = counted.headers["link"].split(";")[0].strip("<>")
        assert titles(await client.get(f"/notes{following}")) == ["Green apples"]


async def test_a_text_without_words_leaves_nothing_out(client: Client) -> None:
    async with client:
        await fill(client)
        for wanted in ("", "+", "*", '"-"'):
            assert len((await client.get(f"/notes?search={wanted}")).json) == 4


async def test_only_what_the_rules_show_is_found(client: Client) -> None:
    async with client:
        await fill(client)
        assert titles(await client.acting("bob").get("/notes?search=secret")) == []
        assert titles(await client.get("/notes?search=secret")) == ["Red secret"]
        assert titles(await client.get("/notes?search=zoe")) == []


async def test_a_rule_that_is_a_function_decides_what_is_found() -> None:
    class Letter(Record[int], rules={"read": allow.check(is_of), "write": allow.everyone}, search=("title",)):
        title: str
        of: str

    async with client_for(Letter, auth=by_name) as client:
        ann = client.acting("ann")
        await client.post("/letters", [{"title": "red one", "of": "ann"}, {"title": "red two", "of": "bob"}])
        assert titles(await ann.get("/letters?search=red")) == ["red one"]
        async with ann.live("letters", search="red") as view:
            assert titles(await view.ready()) == ["red one"]
            await client.post("/letters", [{"title": "red three", "of": "bob"}, {"title": "red four", "of": "ann"}])
            await view.until(lambda rows: titles(rows) == ["red one", "red four"])


def is_of(record: Any, actor: Actor) -> bool:
    """Whose letter it is."""
    return bool(record.of == actor.id)


async def test_what_is_inherited_is_searched_too(client: Client) -> None:
    async with client:
        await client.post("/drafts", [{"title": "one"}, {"title": "two"}])
        assert titles(await client.get("/drafts?search=two")) == ["two"]


async def test_a_search_that_cannot_be_asked_is_refused_by_name(client: Client) -> None:
    async with client:
        assert faults(await client.get("/plains?search=x")) == [("search", "unknown_parameter")]
        assert (await client.get("/plains?search[eq]=x")).json == []
        assert faults(await client.get(f"/notes?search={'x' * 251}")) == [("search", "bad_value")]
        assert faults(await client.get("/notes?search=a&search=b")) == [("search", "repeated")]
        assert faults(await client.request("QUERY", "/notes", {"search": 7})) == [("/search", "bad_value")]
        unstorable = await client.get("/notes?search=a%00b")
        assert (unstorable.status, faults(unstorable)) == (422, [("search", "bad_text")])
        assert (await client.get(f"/notes?search={'x' * 250}")).json == []


@OVER
async def test_a_live_search_follows_the_words(client: Client, over: Any) -> None:
    async with client:
        await fill(client)
        async with client.live("notes", over=over, search="red app", sort=["title"]) as view:
            assert titles(await view.ready()) == ["Crème brûlée", "Red apples"]
            await client.post("/notes", {"title": "A red apple tree"})
            await view.until(lambda rows: len(rows) == 3)
            await client.patch("/notes/1", {"title": "Blue apples"})
            await view.until(lambda rows: titles(rows) == ["A red apple tree", "Crème brûlée"])
            await client.patch("/notes/3", {"author": "Bob"})
            await view.until(lambda rows: rows[1]["author"] == "Bob")
            await client.delete("/notes/5")
            assert titles(await view.until(lambda rows: len(rows) == 1)) == ["Crème brûlée"]


async def test_a_live_search_shows_nobody_what_the_rules_do_not(client: Client) -> None:
    async with (
        client,
        client.acting("bob").live("notes", search="plan") as of_bob,
        client.live("how-many", args={"words": "plan"}) as number,
    ):
        assert await of_bob.ready() == []
        await number.until_value(lambda value: value == 0)
        await client.post("/notes", {"title": "The plan", "open": False})
        await number.until_value(lambda value: value == 1)
        await client.post("/notes", {"title": "A plan"})
        assert titles(await of_bob.until(lambda rows: len(rows) > 0)) == ["A plan"]
        await client.patch("/notes/2", {"open": False})
        assert await of_bob.until(lambda rows: not rows) == []


async def test_a_write_without_the_words_runs_no_live_search_again(client: Client) -> None:
    async with client:
        await fill(client)
        async with client.live("notes", search="red") as view:
            await view.ready()
            before = await reruns(client)
            await client.post("/notes", [{"title": "Blue"}, {"title": "Bored"}])
            await client.settled()
            assert await reruns(client) == before
            await client.patch("/notes/2", {"text": "not so red"})
            await view.until(lambda rows: len(rows) == 4)
            assert await reruns(client) > before


async def reruns(client: Client) -> int:
    """How often live queries were run again so far."""
    text = (await client.get("/metrics")).body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("crudite_live_reruns_total")]
    return int(line.split()[1])


async def test_live_searches_for_different_words_do_not_meet(client: Client) -> None:
    async with client:
        await fill(client)
        async with client.live("notes", search="red") as red, client.live("notes", search="green") as green:
            assert len(await red.ready()) == 3
            assert titles(await green.ready()) == ["Green apples"]
            await client.patch("/notes/1", {"title": "Green too"})
            await red.until(lambda rows: len(rows) == 2)
            await green.until(lambda rows: len(rows) == 2)


async def test_a_live_search_with_a_limit_holds_the_first(client: Client) -> None:
    async with client:
        await fill(client)
        async with client.live("notes", search="apples", sort=["title"], limit=2) as view:
            assert titles(await view.ready()) == ["Crème brûlée", "Green apples"]
            await client.delete("/notes/3")
            await view.until(lambda rows: titles(rows) == ["Green apples", "Red apples"])


async def test_how_a_live_search_is_kept_is_told(client: Client) -> None:
    async with client:
        told = (await client.get("/live/explain/notes?search=red")).json
        assert told["tier"] == "rerun"
        assert told["reason"] == "It searches for words, which the store finds."


def test_the_description_offers_a_search_where_there_is_one() -> None:
    described = OpenApi().document(App(Note, Plain, store=fresh_store()))
    parameters, schemas = described["components"]["parameters"], described["components"]["schemas"]

    assert parameters["Note.search"]["schema"] == {"type": "string", "maxLength": 250}
    assert "`title` or `text`" in parameters["Note.search"]["description"]
    listing = described["paths"]["/notes"]["get"]["parameters"]
    assert {"$ref": "#/components/parameters/Note.search"} in listing
    assert "search" in schemas["NoteQuery"]["properties"]
    assert "search" not in schemas["PlainQuery"]["properties"]
    assert "Plain.search" not in parameters
