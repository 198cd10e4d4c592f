"""Rules written as Python functions: the same for lists, single reads, writes and streams, within a bound, without
leaks."""

import asyncio
import logging
import re
from contextlib import AsyncExitStack
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Literal

import pytest

from crudite import Actor, BigInt, Count, Credentials, Field, Many, Parent, Record, Ref, Request, allow, before, me
from crudite.errors import DeclarationError
from crudite.testing import Client, Refusal, View
from tests.flows.worlds import by_name, client_for, faults, titles


def is_friend(record: Any, actor: Actor) -> bool:
    """Who is named in the title may have it: no filter can say that of a text and a name."""
    return str(actor.id) in record.title.split()


class Letter(Record[int], rules={"read": allow.check(is_friend), "write": allow.everyone}):
    title: str = ""
    rank: int = 0


def letters(**options: Any) -> Client:
    return client_for(Letter, auth=by_name, **options)


async def fill(client: Client, *titles: str) -> None:
    for number, title in enumerate(titles, 1):
        await client.app.records.create(Letter, id=number, title=title, rank=-number)


async def walk(client: Client, url: str, rel: str) -> tuple[list[list[int]], str]:
    """The keys on every page from a URL on, following one link; and the URL of the last page."""
    pages: list[list[int]] = []
    while True:
        page = await client.get(url)
        assert page.status == 200, page
        pages.append([row["id"] for row in page.json])
        found = re.search(rf'<([^>]*)>; rel="{rel}"', page.headers.get("link", ""))
        if found is None:
            return pages, url
        url = url.partition("?")[0] + found[1]


async def test_lists_single_reads_and_counts_hold_what_the_function_permits() -> None:
    async with letters() as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        await fill(nobody, "ann", "bob", "ann bob", "eve")
        assert [row["id"] for row in (await ann.get("/letters?sort=id")).json] == [1, 3]
        assert [row["id"] for row in (await bob.get("/letters?sort=rank")).json] == [3, 2]
        assert (await nobody.get("/letters")).json == []
        assert (await ann.get("/letters/1")).json["title"] == "ann"
        hidden, missing = await ann.get("/letters/2"), await ann.get("/letters/9")
        assert hidden.status == missing.status == 404
        assert hidden.json["detail"].replace("2", "9") == missing.json["detail"]
        assert [row["id"] for row in (await ann.get("/letters/3,1")).json] == [3, 1]
        assert (await ann.get("/letters/1,2")).status == 404
        assert (await ann.get("/letters?count=exact&limit=1")).headers["x-total-count"] == "2"
        assert titles(await ann.get("/letters?title[ne]=ann")) == ["ann bob"]
        assert titles(await ann.get("/letters?title=bob")) == []


async def test_pages_go_through_all_that_is_permitted_in_both_directions() -> None:
    async with letters() as nobody:
        ann = nobody.acting("ann")
        await fill(nobody, *["ann" if number % 3 == 0 else "eve" for number in range(1, 31)])
        there, last = await walk(ann, "/letters?limit=3&sort=rank", "next")
        assert there == [[30, 27, 24], [21, 18, 15], [12, 9, 6], [3]]
        back, _ = await walk(ann, last, "prev")
        assert back == [[3], [12, 9, 6], [21, 18, 15], [30, 27, 24]]
        assert [row["id"] for row in (await ann.get("/letters?limit=2&offset=3&sort=id")).json] == [12, 15]
        await nobody.post("/letters", [{"id": number, "title": "eve"} for number in range(31, 51)])
        assert (await walk(ann, "/letters?limit=1&sort=id&id[gt]=26", "next"))[0] == [[27], [30]]


async def test_where_too_many_records_would_have_to_be_looked_at_there_is_no_answer_and_never_a_part_of_one() -> None:
    async with letters() as nobody:
        ann, eve = nobody.acting("ann"), nobody.acting("eve")
        await nobody.post("/letters", [{"id": n, "title": "eve"} for n in range(1, 1000)])
        await nobody.post("/letters", [{"id": 1000, "title": "ann"}])
        assert [row["id"] for row in (await ann.get("/letters?sort=id")).json] == [1000]
        await nobody.post("/letters", [{"id": 1001, "title": "ann"}])
        refused = await ann.get("/letters?sort=id")
        assert (refused.status, refused.json["code"]) == (413, "too_large")
        assert "1,000" in refused.json["detail"]
        assert [row["id"] for row in (await ann.get("/letters?sort=-id&limit=1")).json] == [1001]
        assert len((await eve.get("/letters?sort=id&limit=20")).json) == 20
        assert (await eve.get("/letters?sort=id&limit=20&count=exact")).status == 413
        assert [row["id"] for row in (await ann.get("/letters?id[gte]=900&sort=id")).json] == [1000, 1001]


async def test_functions_combine_with_filters_and_with_each_other() -> None:
    def is_even(record: Any, actor: Actor) -> bool:
        return bool(record.rank % 2 == 0)

    def is_high(record: Any, actor: Actor) -> bool:
        return bool(record.rank > 2)

    rule = (allow.check(is_even) & ~allow.check(is_high)) | allow.where(folder__owner=me.id) | allow.role("staff")

    class Folder(Record[int], rules=allow.everyone):
        owner: str

    class Sheet(Record[int], rules={"read": rule, "write": allow.everyone}):
        rank: int
        folder: Ref[Folder] | None = None

    async with client_for(Folder, Sheet, auth=by_name) as nobody:
        ann, clerk = nobody.acting("ann"), nobody.acting("bob:staff")
        await nobody.post("/folders", {"id": 1, "owner": "ann"})
        await nobody.post("/sheets", [{"id": n, "rank": n, "folder": 1 if n == 5 else None} for n in range(7)])
        assert [row["id"] for row in (await nobody.get("/sheets?sort=id")).json] == [0, 2]
        assert [row["id"] for row in (await ann.get("/sheets?sort=id")).json] == [0, 2, 5]
        assert len((await clerk.get("/sheets")).json) == 7


async def test_a_search_finds_only_what_the_function_permits() -> None:
    class Page(Record[int], rules={"read": allow.check(is_friend), "write": allow.everyone}, search=("title",)):
        title: str

    async with client_for(Page, auth=by_name) as nobody:
        ann, records = nobody.acting("ann"), nobody.app.records
        for number, title in enumerate(("ann tea", "eve tea", "ann milk")):
            await records.create(Page, id=number, title=title)
        assert titles(await ann.get("/pages?search=tea")) == ["ann tea"]
        async with ann.live("pages", search="tea") as view:
            assert titles(await view.ready()) == ["ann tea"]
            await records.update(Page, 1, title="eve ann tea")
            await view.until(lambda rows: len(rows) == 2)


async def test_a_function_that_fails_permits_nothing_not_even_when_negated(caplog: pytest.LogCaptureFixture) -> None:
    def broken(record: Any, actor: Actor) -> bool:
        return bool({}[record.title])

    def vague(record: Any, actor: Actor) -> Any:
        return "yes"

    class Good(Record[int], rules={"read": allow.check(broken) | allow.where(title="open"), "write": allow.everyone}):
        title: str

    class Bad(Record[int], rules={"read": ~allow.check(broken), "write": allow.everyone}):
        title: str

    class Ugly(Record[int], rules={"read": allow.check(vague), "write": allow.everyone}, path="uglies"):
        title: str

    async with client_for(Good, Bad, Ugly, staff=allow.everyone) as client:
        for path in ("/goods", "/bads", "/uglies"):
            await client.post(path, [{"id": 1, "title": "open"}, {"id": 2, "title": "shut"}])
        assert titles(await client.get("/goods")) == ["open"]
        assert (await client.get("/bads")).json == (await client.get("/uglies")).json == []
        told = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len([one for one in told if "broken" in one.getMessage()]) == 1
        assert len([one for one in told if "vague" in one.getMessage()]) == 1
        assert client.app.definitions.tally.failures >= 5


async def test_a_write_needs_the_function_for_the_record_as_it_is_and_as_it_would_be() -> None:
    def owns(record: Any, actor: Actor) -> bool:
        return actor.id in record.owners

    class Box(Record[int], rules={"read": allow.everyone, "write": allow.check(owns)}, path="boxes"):
        owners: list[str]
        title: str = ""

    async with client_for(Box, auth=by_name) as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        assert (await ann.post("/boxes", {"id": 1, "owners": ["bob"]})).status == 403
        assert (await ann.post("/boxes", {"id": 1, "owners": ["ann"]})).status == 201
        assert (await ann.post("/boxes", [{"id": 2, "owners": ["ann"]}, {"id": 3, "owners": []}])).status == 403
        for write, args in ((bob.patch, ({"title": "x"},)), (bob.put, ({"owners": ["bob"]},)), (bob.delete, ())):
            assert (await write("/boxes/1", *args)).status == 403
        assert (await ann.patch("/boxes/1", {"owners": ["bob"]})).status == 403
        assert (await ann.put("/boxes/1", {"owners": ["bob"]})).status == 403
        changed = await ann.patch("/boxes/1", {"owners": ["ann", "bob"], "title": "ours"})
        assert (changed.status, changed.json["title"]) == (200, "ours")
        version = changed.json["version"]
        for tag, status in ((f"v{version - 1}", 412), (f"v{version + 9}", 412), (f"v{version}", 200)):
            assert (await bob.patch("/boxes/1", {"title": "b"}, headers={"if-match": f'"{tag}"'})).status == status
        assert (await bob.delete("/boxes/1")).status == 204
        assert (await nobody.get("/boxes")).json == []


async def test_a_write_is_decided_again_when_the_record_has_changed_since_the_function_saw_it() -> None:
    looked, go_on = asyncio.Event(), asyncio.Event()

    def is_open(record: Any, actor: Actor) -> bool:
        return bool(record.open)

    class Door(Record[int], rules={"read": allow.everyone, "write": allow.check(is_open)}):
        open: bool = True
        title: str = ""

        @before("update")
        async def wait(self, request: Request) -> None:
            if not request.is_system:
                looked.set()
                await go_on.wait()

    async with client_for(Door) as client:
        await client.post("/doors", {"id": 1})
        writing = asyncio.create_task(client.patch("/doors/1", {"title": "x"}))
        await asyncio.wait_for(looked.wait(), 5)
        await client.app.records.update(Door, 1, open=False)
        go_on.set()
        assert (await asyncio.wait_for(writing, 5)).status == 403
        assert (await client.get("/doors/1")).json["title"] == ""


async def test_who_may_not_read_a_record_is_told_of_none_whatever_he_does() -> None:
    class Note(Record[int], rules={"read": allow.check(is_friend), "write": allow.check(is_friend)}):
        title: str

    async with client_for(Note, auth=by_name) as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        await ann.post("/notes", {"id": 1, "title": "ann"})
        for write, args in ((bob.patch, ({"title": "bob"},)), (bob.put, ({"title": "bob"},)), (bob.delete, ())):
            assert (await write("/notes/1", *args)).status == (await write("/notes/9", *args)).status == 404
        assert (await bob.patch("/notes/1", {"title": "bob"}, headers={"if-match": '"v7"'})).status == 404
        assert (await ann.get("/notes/1")).json["title"] == "ann"


async def test_a_writer_is_shown_the_result_only_where_the_function_permits_it() -> None:
    async with letters() as nobody:
        ann = nobody.acting("ann")
        shown = await ann.post("/letters", {"id": 1, "title": "ann"})
        assert (shown.status, shown.json["title"]) == (201, "ann")
        hidden = await ann.post("/letters", {"id": 2, "title": "eve"})
        assert (hidden.status, hidden.body) == (201, b"")
        many = await ann.post("/letters", [{"id": 3, "title": "eve"}, {"id": 4, "title": "ann"}])
        assert [row["id"] for row in many.json] == [4]
        gone = await ann.patch("/letters/1", {"title": "bob"})
        assert (gone.status, gone.body) == (204, b"")


async def test_pointing_at_and_writing_below_a_record_needs_the_function_too() -> None:
    class Album(Record[int], rules={"read": allow.check(is_friend), "write": allow.everyone}):
        title: str
        songs: Many["Song"]

    class Song(Record[int], rules=allow.everyone):
        album: Parent[Album]
        title: str = ""

    async with client_for(Album, Song, auth=by_name) as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        await nobody.post("/albums", {"id": 1, "title": "ann"})
        refused, missing = await bob.post("/songs", {"id": 1, "album": 1}), await bob.post("/songs", {"album": 9})
        assert refused.status == missing.status == 422
        assert faults(refused) == faults(missing) == [("/album", "no_such_record")]
        assert (await ann.post("/songs", {"id": 1, "album": 1, "title": "ann"})).status == 201
        assert (await bob.get("/albums/1/songs")).status == (await bob.get("/albums/9/songs")).status == 404
        assert titles(await ann.get("/albums/1/songs")) == ["ann"]


async def test_a_nested_path_leads_through_a_record_that_the_function_permits_and_through_no_other() -> None:
    class Team(Record[str], rules=allow.everyone):
        albums: Many["Album"]

    class Album(Record[int], rules={"read": allow.check(is_friend), "write": allow.everyone}):
        team: Parent[Team]
        title: str
        songs: Many["Song"]

    class Song(Record[int], rules=allow.everyone):
        album: Parent[Album]
        title: str = ""

    async with client_for(Team, Album, Song, auth=by_name) as nobody:
        ann, records = nobody.acting("ann"), nobody.app.records
        for team in ("t", "u"):
            await records.create(Team, id=team)
        for key, title in ((1, "ann"), (2, "eve")):
            await records.create(Album, id=key, team="t", title=title)
            await records.create(Song, id=key, album=key, title=title)
        assert titles(await ann.get("/teams/t/albums/1/songs")) == ["ann"]
        assert (await ann.get("/teams/t/albums/1/songs/1")).json["title"] == "ann"
        assert (await ann.get("/teams/t/albums/1/songs/2")).status == 404
        for path in ("t/albums/2", "t/albums/9", "u/albums/1"):
            assert (await ann.get(f"/teams/{path}/songs")).status == 404
        assert (await ann.patch("/teams/t/albums/1/songs/1", {"title": "x"})).status == 200
        assert (await ann.patch("/teams/u/albums/1/songs/1", {"title": "y"})).status == 404


async def test_pages_go_on_from_values_of_every_kind() -> None:
    class Thing(
        Record[int], rules={"read": allow.check(lambda thing, actor: thing.id % 3 > 0), "write": allow.everyone}
    ):
        text: str | None
        number: float
        price: Decimal = Field(decimal_places=2)
        big: BigInt
        day: date | None
        at: datetime
        done: bool

    async with client_for(Thing) as client:
        await client.post("/things", [
            {
                "id": n, "text": None if n % 4 == 0 else f"é{n % 5}", "number": n / 3, "price": f"{n % 7}.10",
                "big": str(2**60 + n % 6), "day": None if n % 5 == 0 else f"2026-11-{n:02}",
                "at": f"2026-11-21T10:00:{n % 9:02}.5Z", "done": n % 2 == 0,
            }
            for n in range(1, 25)
        ])  # fmt: skip
        for field in ("text", "number", "price", "big", "day", "at", "done", "created_at", "version", "id"):
            for sort in (field, f"-{field}"):
                whole = [row["id"] for row in (await client.get(f"/things?sort={sort}")).json]
                there, last = await walk(client, f"/things?sort={sort}&limit=5", "next")
                back, _ = await walk(client, last, "prev")
                assert list(chain(*there)) == list(chain(*reversed(back))) == whole
                assert sorted(whole) == [n for n in range(1, 25) if n % 3]


async def test_nothing_about_records_that_a_function_hides_is_told_through_others() -> None:
    class Author(Record[int], rules={"read": allow.check(is_friend), "write": allow.everyone}):
        title: str
        books: Many["Book"]
        shelf: Ref["Shelf"] | None = None

    class Book(Record[int], rules=allow.everyone):
        author: Ref[Author]
        title: str = ""

    class Shelf(Record[int], rules=allow.everyone, path="shelves"):
        authors: Many[Author]

    async with client_for(Author, Book, Shelf, auth=by_name) as nobody:
        ann = nobody.acting("ann")
        await nobody.app.records.create(Author, id=1, title="eve")
        await nobody.app.records.create(Book, id=1, author=1, title="b")
        for query, place in (
            ("author.title=eve", "author.title"), ("author.title[ne]=ann", "author.title[ne]"),
            ("sort=author.title", "sort"),
        ):  # fmt: skip
            assert faults(await ann.get(f"/books?{query}")) == [(place, "unreadable_path")]
        assert faults(await ann.get("/books?include=author")) == [("include", "bad_include")]
        assert faults(await ann.get("/shelves?include=authors")) == [("include", "bad_include")]
        assert faults(await ann.get("/shelves?authors[exists]=true")) == [("authors[exists]", "unreadable_path")]
        assert (await ann.get("/books?author=1")).json[0]["author"] == 1
        assert faults(await ann.get("/authors?sort=shelf.id")) == [("sort", "bad_sort")]


async def test_handlers_list_and_count_what_the_function_permits_and_nothing_else_is_told_of_it() -> None:
    app = letters().app

    @app.read("titles")
    async def mine(request: Request) -> list[str]:
        return [letter.title for letter in await request.records.list(Letter.where().order("-id"))]

    @app.read("number")
    async def number(request: Request) -> Count:
        return Letter.where(rank__lt=0).count()

    @app.read("total")
    async def total(request: Request) -> Any:
        return Letter.where().sum("rank")

    async with Client(app) as nobody:
        ann = nobody.acting("ann")
        await fill(nobody, "ann", "eve", "ann eve")
        assert (await ann.get("/titles")).json == ["ann eve", "ann"]
        assert len(await app.records.list(Letter)) == 3
        assert (await ann.get("/number")).json == 2
        refused = await ann.get("/total")
        assert (refused.status, "they can be counted, no more" in refused.json["detail"]) == (400, True)
        with pytest.raises(Refusal):
            async with ann.live("total"):
                pass
        async with ann.live("number") as view:
            assert await view.until_value(lambda value: value is not None) == 2
            await app.records.update(Letter, 2, title="ann")
            assert await view.until_value(lambda value: value != 2) == 3


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_a_stream_shows_what_the_function_permits_and_takes_away_what_it_does_not(
    over: Literal["sse", "websocket"],
) -> None:
    async with letters() as nobody:
        ann, records = nobody.acting("ann"), nobody.app.records
        await fill(nobody, "ann", "eve")
        async with (
            ann.live("letters", over=over) as view, ann.live("letters", over=over, limit=1, sort=["rank"]) as window,
        ):  # fmt: skip
            assert titles(await view.ready()) == titles(await window.ready()) == ["ann"]
            await records.update(Letter, 2, title="eve ann")
            await view.until(lambda rows: titles(rows) == ["ann", "eve ann"])
            await window.until(lambda rows: titles(rows) == ["eve ann"])
            await records.update(Letter, 1, title="eve")
            await view.until(lambda rows: titles(rows) == ["eve ann"])
            await records.delete(Letter, 2)
            await view.until(lambda rows: rows == [])
            await window.until(lambda rows: rows == [])
            assert "removed" in [kind for kind, _ in view.events]
            assert all("'eve'" not in repr(data) for _, data in (*view.events, *window.events))


async def test_a_stream_of_one_record_ends_with_the_right_to_it() -> None:
    async with letters() as nobody:
        ann, records = nobody.acting("ann"), nobody.app.records
        await fill(nobody, "ann", "eve")
        async with ann.stream("/letters/1/subscribe") as stream, ann.stream("/letters/2/subscribe") as none:
            view, empty = View(10), View(10)
            async with (
                view.following(stream.events_into(view)), empty.following(none.events_into(empty)),
            ):  # fmt: skip
                assert (titles(await view.ready()), await empty.ready()) == (["ann"], [])
                await records.update(Letter, 1, title="eve")
                await view.until(lambda rows: rows == [])
                await records.update(Letter, 2, title="ann")
                await empty.until(lambda rows: titles(rows) == ["ann"])


async def test_each_actor_is_asked_for_by_all_that_is_known_of_him() -> None:
    def is_for(record: Any, actor: Actor) -> bool:
        return bool(record.title == f"{actor.id} {sorted(actor.roles)} {actor.claims['team']!r}" and not actor.session)

    class Post(Record[int], rules={"read": allow.check(is_for), "write": allow.everyone}):
        title: str

    def by_token(credentials: Credentials) -> Actor:
        role, _, team = (credentials.token or "").partition(":")
        return Actor("ann", frozenset({role}), {"team": {"1": 1, "true": True}[team]}, session=role)

    async with client_for(Post, auth=by_token, staff=allow.everyone) as nobody:
        tokens = ("a:1", "a:true", "b:1")
        seen = [f"ann ['{token[0]}'] {team}" for token, team in zip(tokens, ("1", "True", "1"), strict=True)]
        for number, title in enumerate(seen):
            await nobody.app.records.create(Post, id=number, title=title)
        clients = [nobody.acting(token) for token in tokens]
        async with AsyncExitStack() as stack:
            views = [await stack.enter_async_context(client.live("posts")) for client in clients]
            assert [titles(await view.ready()) for view in views] == [[title] for title in seen]
        assert [titles(await client.get("/posts")) for client in clients] == [[title] for title in seen]


async def test_a_reference_is_decided_again_when_what_it_points_at_has_changed_meanwhile() -> None:
    looked, go_on = asyncio.Event(), asyncio.Event()

    class Album(Record[int], rules={"read": allow.check(is_friend)}):
        title: str

    class Song(Record[int], rules=allow.everyone):
        album: Ref[Album]
        title: str = ""

        @before("create")
        async def wait(self, request: Request) -> None:
            if self.title == "slow":
                looked.set()
                await go_on.wait()

    async with client_for(Album, Song, auth=by_name) as nobody:
        ann, records = nobody.acting("ann"), nobody.app.records
        await records.create(Album, id=1, title="ann")
        for title, status in (("eve", 422), ("ann and eve", 201)):
            looked.clear()
            go_on.clear()
            key = (await records.create(Album, id=status, title="ann")).id
            songs = [{"id": status, "album": key}, {"id": status + 1, "album": 1, "title": "slow"}]
            writing = asyncio.create_task(ann.post("/songs", songs))
            await asyncio.wait_for(looked.wait(), 5)
            await records.update(Album, key, title=title)
            go_on.set()
            assert (await asyncio.wait_for(writing, 5)).status == status


async def test_a_stream_asks_the_function_once_of_a_record_as_it_is() -> None:
    asked: list[tuple[int, str]] = []

    def told(record: Any, actor: Actor) -> bool:
        asked.append((record.id, record.title))
        return True

    class Memo(Record[int], rules={"read": allow.check(told), "write": allow.everyone}):
        title: str

    async with client_for(Memo, auth=by_name, staff=allow.everyone) as client:
        await client.app.records.create(Memo, id=1, title="a")
        async with client.live("memos") as view, client.live("memos") as other:
            assert titles(await view.ready()) == titles(await other.ready()) == ["a"]
            await client.app.records.create(Memo, id=2, title="b")
            await view.until(lambda rows: len(rows) == 2)
            await client.app.records.update(Memo, 2, title="c")
            await view.until(lambda rows: titles(rows) == ["a", "c"])
            assert asked == [(1, "a"), (2, "b"), (2, "c")]
            explained = (await client.get("/live/explain/memos")).json
            assert (explained["tier"], explained["reason"]) == (
                "rerun", "A rule is a function, which is asked of each record anew.",
            )  # fmt: skip
            assert explained["group"]["subscriptions"] == 2
        assert "crudite_rule_functions_total 3" in (await client.get("/metrics")).text


async def test_a_stream_is_explained_where_its_own_condition_has_decided_a_part_of_the_rule_too() -> None:
    class Folder(Record[int], rules=allow.everyone):
        owner: str

    rule = allow.check(lambda sheet, actor: True) & allow.where(folder__owner="ann")

    class Sheet(Record[int], rules={"read": rule, "write": allow.everyone}):
        folder: Ref[Folder]

    client = client_for(Folder, Sheet, staff=allow.everyone)
    async with client, client.live("sheets", where={"folder": 1}) as view:
        assert await view.ready() == []
        explained = (await client.get("/live/explain/sheets?folder=1")).json
        assert (explained["tier"], explained["group"]["subscriptions"]) == ("rerun", 1)


async def test_a_stream_that_would_ask_of_too_many_records_ends_with_a_problem() -> None:
    async with letters() as nobody:
        eve = nobody.acting("eve")
        await nobody.post("/letters", [{"id": n, "title": "eve"} for n in range(1, 1001)])
        async with eve.live("letters") as view:
            assert len(await view.ready()) == 1000
            await nobody.post("/letters", {"id": 1001, "title": "eve"})
            with pytest.raises(Refusal) as refused:
                await view.until(lambda rows: len(rows) > 1000)
            assert refused.value.problem["code"] == "too_large"


async def test_what_a_function_may_be_and_where_is_checked_when_it_is_declared() -> None:
    async def later(record: Any, actor: Actor) -> bool:
        return True

    with pytest.raises(TypeError, match="plain function"):
        allow.check(later)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="does not take two"):
        allow.check(lambda record: True)  # type: ignore[arg-type, misc]

    many = allow.nobody
    for _ in range(4):
        many = many | allow.check(lambda record, actor: True)

    class Form(Record[int], rules={"read": many}):
        secret: str = Field(default="", read=allow.check(is_friend))

    with pytest.raises(DeclarationError) as raised:
        client_for(Form)
    assert "secret, read: allow.check decides about whole records, not about fields" in str(raised.value)
    assert "a rule combines at most 3 functions" in str(raised.value)
