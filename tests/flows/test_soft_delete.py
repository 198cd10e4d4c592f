"""What is deleted and kept: it is not there, until somebody brings it back; what goes along; what stands in the way."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from crudite import (
    App,
    Conflict,
    DeclarationError,
    Email,
    Field,
    Invalid,
    Many,
    NotFound,
    NotUnique,
    OpenApi,
    Password,
    Place,
    PreconditionFailed,
    Record,
    Ref,
    Request,
    Resource,
    Retention,
    Sessions,
    after,
    allow,
    before,
    me,
)  # fmt: skip
from crudite.errors import StoreOutdated
from crudite.stores import open_store
from crudite.testing import Client, Clock, Faulty, Refusal
from crudite.testing.faults import Call
from tests.flows.people import QUICK, Browser
from tests.flows.worlds import by_name, client_for, faults, titles
from tests.services.stores import foreign, fresh_store, kept_store


class Post(Record[int], rules=allow.everyone, soft_delete=True, search=("title",)):
    title: str = Field(unique=True)
    comments: Many["Comment"]


class Comment(Record[int], rules=allow.everyone, soft_delete=True):
    title: str
    post: Ref[Post] = Field(on_delete="cascade")


class Note(Record[int], rules=allow.everyone):
    title: str
    post: Ref[Post] | None = Field(default=None, on_delete="clear")


class Pin(Record[int], rules=allow.everyone):
    title: str
    comment: Ref[Comment]


async def fill(client: Client) -> Any:
    """A post (1) with two comments (1, 2) and a note (1), and another post (2)."""
    records = client.app.records
    await records.create(Post, title="first")
    await records.create(Post, title="second")
    await records.create(Comment, title="a", post=1)
    await records.create(Comment, title="b", post=1)
    await records.create(Note, title="n", post=1)
    return records


async def test_what_is_deleted_is_in_no_list_no_read_no_search_no_count_and_on_no_path() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        assert titles(await client.get("/posts")) == ["second"]
        assert titles(await client.get("/posts?search=first")) == []
        assert (await client.get("/posts/1")).status == 404
        assert (await client.get("/posts/1,2")).status == 404
        assert (await client.get("/posts?count=exact")).headers["x-total-count"] == "1"
        assert titles(await client.get("/posts?comments.title=a")) == []
        assert titles(await client.get("/comments?post.title=first")) == []
        assert await records.count(Post) == 1
        assert (await client.patch("/posts/1", {"title": "x"})).status == 404
        assert (await client.delete("/posts/1")).status == 404


async def test_what_cascades_goes_and_comes_back_with_it_but_not_what_was_deleted_before() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Comment, 1)
        await records.delete(Post, 1)
        assert titles(await client.get("/comments")) == []
        await records.restore(Post, 1)
        assert titles(await client.get("/comments")) == ["b"]
        await records.restore(Comment, 1)
        assert titles(await client.get("/comments?sort=title")) == ["a", "b"]


async def test_a_reference_that_is_cleared_stays_null_when_the_record_comes_back() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        assert (await records.read(Note, 1)).post is None
        await records.restore(Post, 1)
        assert (await records.read(Note, 1)).post is None


async def test_what_points_at_a_record_that_would_go_along_refuses_the_whole() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.create(Pin, title="p", comment=2)
        refused = await client.delete("/posts/1")
        assert refused.status == 409
        assert [(e["code"], e["detail"]) for e in refused.json["errors"]] == [
            ("referenced", "1 record of Pin points here with comment.")
        ]
        assert titles(await client.get("/comments?sort=title")) == ["a", "b"]
        assert (await records.read(Note, 1)).post == 1


async def test_nothing_points_at_what_is_deleted() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        with pytest.raises(Invalid):
            await records.create(Comment, title="late", post=1)
        with pytest.raises(NotFound):
            await records.update(Comment, 1, post=2)
        with pytest.raises(Conflict, match="post of what would be restored points at a record that is deleted"):
            await records.restore(Comment, 1)


async def test_the_name_of_a_deleted_record_is_free_and_it_comes_back_only_when_it_still_is() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        again = await records.create(Post, title="first")
        with pytest.raises(NotUnique):
            await records.restore(Post, 1)
        await records.delete(Post, again.id)
        assert (await records.restore(Post, 1)).title == "first"
        with pytest.raises(Conflict, match="not deleted"):
            await records.restore(Post, 1)


async def test_for_good_is_for_good_and_takes_along_what_was_deleted_with_it() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        records = await fill(client)
        await records.delete(Post, 1)
        await records.delete(Post, 1, purge=True)
        assert titles(await client.get("/posts?deleted=with")) == ["second"]
        assert titles(await client.get("/comments?deleted=with")) == []
        with pytest.raises(NotFound):
            await records.restore(Post, 1)


async def test_who_may_restore_sees_what_is_deleted_and_when_and_brings_it_back_over_http() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        await fill(client)
        assert (await client.delete("/posts/1")).status == 204
        only = (await client.get("/posts?deleted=only")).json
        assert [row["title"] for row in only] == ["first"]
        assert only[0]["deleted_at"] is not None
        both = (await client.get("/posts?deleted=with&sort=id")).json
        assert [(row["title"], row["deleted_at"] is None) for row in both] == [("first", False), ("second", True)]
        assert "deleted_at" not in (await client.get("/posts/2")).json
        assert (await client.get("/posts/2?fields=deleted_at")).json == {"id": 2, "deleted_at": None}
        assert (await client.get("/posts/1?deleted=with")).json["title"] == "first"
        kept = await client.app.records.list(Post.where(title="first").deleted("only"))
        assert [(post.id, post.deleted_at is None) for post in kept] == [(1, False)]
        assert (await client.get("/comments?deleted=never")).status == 400
        for url in ("/posts?deleted=all", "/posts?deleted=", "/posts?deleted=only&deleted=all", "/posts?sort=deleted"):
            unknown = await client.get(url)
            assert (unknown.status, [fault["code"] for fault in unknown.json["errors"]]) == (400, ["unknown_field"])
            assert "deleted=only" in unknown.json["detail"]
            assert "deleted=with" in unknown.json["detail"]
        assert "deleted=only" not in (await client.get("/notes?deleted=all")).json["detail"]
        assert (await client.get("/notes?deleted=only")).status == 400
        back = await client.post("/posts/1/restore", None)
        assert (back.status, back.json["title"], back.headers["etag"]) == (200, "first", f'"v{back.json["version"]}"')
        assert (await client.post("/posts/1/restore", None)).status == 409
        assert (await client.post("/posts/9/restore", None)).status == 404
        assert (await client.post("/notes/1/restore", None)).status in (404, 405)


async def test_nobody_writes_when_a_record_was_deleted() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        await fill(client)
        for method in ("patch", "put"):
            refused = await getattr(client, method)("/posts/1", {"title": "x", "deleted_at": "2026-11-20T10:00:00Z"})
            assert (refused.status, faults(refused)) == (422, [("/deleted_at", "read_only")])
            shown = (await client.get("/posts/1?deleted=with&fields=title,deleted_at")).json
            assert shown["deleted_at"] is None
            assert (await getattr(client, method)("/posts/1", shown)).status == 200


async def test_a_socket_deletes_lists_and_restores() -> None:
    async with client_for(Post, Comment, Note, Pin) as client, client.websocket() as socket:
        await fill(client)
        await socket.call("posts.delete", {"key": 1})
        listed = await socket.call("posts.list", {"query": {"deleted": "only"}})
        assert titles(listed["data"]) == ["first"]
        assert (await socket.call("posts.restore", {"key": 1}))["data"]["title"] == "first"
        for method, params, status in (
            ("posts.restore", {"key": 1}, 409),
            ("notes.restore", {"key": 1}, 404),
            ("posts.delete", {"key": 1, "force": 1}, 400),
        ):
            with pytest.raises(Refusal) as refusal:
                await socket.call(method, params)
            assert refusal.value.status == status


async def test_what_is_deleted_leaves_live_queries_in_the_frame_of_its_commit_and_comes_back_in_one() -> None:
    async with (
        client_for(Post, Comment, Note, Pin) as client,
        client.live("posts") as posts,
        client.live("comments") as comments,
        client.live("posts", deleted="only") as deleted,
    ):
        records = await fill(client)
        await comments.until(lambda rows: len(rows) == 2)
        await records.delete(Post, 1)
        assert titles(await posts.until(lambda rows: len(rows) == 1)) == ["second"]
        assert await comments.until(lambda rows: not rows) == []
        assert titles(await deleted.until(bool)) == ["first"]
        await records.restore(Post, 1)
        assert len(await comments.until(lambda rows: len(rows) == 2)) == 2
        assert len(await posts.until(lambda rows: len(rows) == 2)) == 2
        assert await deleted.until(lambda rows: not rows) == []


async def test_what_is_deleted_gives_nobody_a_right_and_is_included_nowhere() -> None:
    class Room(Record[int], rules={"read": allow.where(members__who=me.id), "create": allow.nobody}):
        title: str
        members: Many["Member"]

    class Member(Record[int], rules=allow.everyone, soft_delete=True):
        who: str
        room: Ref[Room]

    class Diary(Record[int], rules={"read": allow.where(member__who=me.id)}):
        title: str
        member: Ref[Member] | None = Field(default=None, checked=False)

    async with client_for(Room, Member, Diary, auth=by_name) as client:
        records, ann = client.app.records, client.acting("ann")
        await records.create(Room, title="r")
        await records.create(Member, who="ann", room=1)
        await records.create(Diary, title="d", member=1)
        shown = (await ann.get("/rooms/1?include=members")).json["_included"]["members"]
        assert [row["who"] for row in shown] == ["ann"]
        assert titles(await ann.get("/diaries")) == ["d"]
        await records.create(Member, who="bob", room=1)
        await records.delete(Member, 2)
        shown = (await ann.get("/rooms/1?include=members")).json["_included"]["members"]
        assert [row["who"] for row in shown] == ["ann"]
        await records.delete(Member, 1)
        assert titles(await ann.get("/rooms")) == []
        assert titles(await ann.get("/diaries")) == []


async def test_rules_say_who_restores_and_who_deletes_for_good() -> None:
    class Page(
        Record[int],
        soft_delete=True,
        rules={
            "read": allow.everyone, "create": allow.everyone, "delete": allow.signed_in,
            "restore": allow.where(owner=me.id), "purge": allow.role("admin"),
        },
    ):  # fmt: skip
        title: str
        owner: str

    async with client_for(Page, auth=by_name) as client:
        ann, bob, admin = client.acting("ann"), client.acting("bob"), client.acting("root:admin")
        for owner in ("ann", "bob"):
            await client.app.records.create(Page, title=f"of {owner}", owner=owner)
        assert (await bob.delete("/pages/1?purge=true")).status == 403
        assert (await bob.delete("/pages/1")).status == 204
        assert (await bob.delete("/pages/2")).status == 204
        assert titles(await ann.get("/pages?deleted=only")) == ["of ann"]
        assert titles(await ann.get("/pages?deleted=with")) == ["of ann"]
        assert (await client.get("/pages?deleted=only")).status == 401
        assert (await ann.get("/pages/2?deleted=only")).status == 404
        assert (await bob.post("/pages/1/restore", None)).status == 404
        assert (await ann.post("/pages/1/restore", None)).status == 200
        assert (await admin.delete("/pages/1?purge=true")).status == 204
        assert (await ann.post("/pages/1/restore", None)).status == 404
        assert (await admin.delete("/pages/2?purge=true")).status == 204


async def test_who_may_not_list_records_is_not_listed_deleted_ones_either() -> None:
    class Page(
        Record[int],
        soft_delete=True,
        rules={"list": allow.where(listed=True), "read": allow.everyone, "write": allow.everyone},
        places=["/pages", Place("/shelf", rules={"list": allow.role("staff")})],
    ):
        title: str
        listed: bool = False

    async with client_for(Page, auth=by_name) as client:
        await client.post("/pages", [{"title": "known", "listed": True}, {"title": "by its address alone"}])
        for key in (1, 2):
            await client.delete(f"/pages/{key}")
        for asked in ("only", "with"):
            assert titles(await client.get(f"/pages?deleted={asked}")) == ["known"]
            assert (await client.get(f"/pages/2?deleted={asked}")).json["title"] == "by its address alone"
            assert (await client.get(f"/shelf?deleted={asked}")).status == 401
            assert titles(await client.acting("sue:staff").get(f"/shelf?deleted={asked}")) == ["known"]
        assert (await client.post("/pages/2/restore", None)).status == 200


async def test_a_restore_may_be_conditional_on_several_versions_as_any_write() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        await fill(client)
        await client.delete("/posts/1")
        tag = (await client.get("/posts/1?deleted=only")).headers["etag"]
        for headers in ({"if-match": '"v1", "v2"'}, {"if-none-match": tag}, {"if-none-match": "*"}):
            assert (await client.request("POST", "/posts/1/restore", headers=headers)).status == 412
        restored = await client.request("POST", "/posts/1/restore", headers={"if-match": f'"v1", {tag}'})
        assert restored.status == 200
        again = await client.request("POST", "/posts/1/restore", headers={"if-match": f'"v1", {tag}'})
        assert again.status == 412  # it is there, and of another version


async def test_a_delete_for_good_may_be_conditional_on_several_versions_as_far_as_its_asker_sees_what_is_deleted() -> (
    None
):
    class Page(Record[int], soft_delete=True, rules={
        "read": allow.everyone, "write": allow.everyone, "purge": allow.everyone, "restore": allow.role("sexton"),
    }):  # fmt: skip
        title: str = ""

    async with client_for(Page, auth=by_name) as client:
        sexton = client.acting("sue:sexton")
        for _ in range(3):
            await client.post("/pages", {})
        for key in (1, 2):
            await client.delete(f"/pages/{key}")
        tag, there = [(await sexton.get(f"/pages/{key}?deleted=with")).headers["etag"] for key in (1, 3)]
        for headers in ({"if-match": '"v8", "v9"'}, {"if-none-match": tag}, {"if-none-match": "*"}):
            assert (await sexton.delete("/pages/1?purge=true", headers=headers)).status == 412
        assert (await sexton.delete("/pages/1?purge=true", headers={"if-match": f'"v9", {tag}'})).status == 204
        assert (await sexton.get("/pages/1?deleted=with")).status == 404
        assert (await client.delete("/pages/2?purge=true", headers={"if-match": f'"v9", {tag}'})).status == 404
        assert (await client.delete("/pages/3?purge=true", headers={"if-match": f'"v9", {there}'})).status == 204


async def test_nobody_deletes_for_good_where_no_rule_says_so() -> None:
    async with client_for(Post, Comment, Note, Pin) as client:
        await fill(client)
        assert (await client.delete("/posts/2?purge=true")).status == 403


async def test_hooks_run_around_a_restore_as_around_other_writes() -> None:
    told: list[str] = []

    class Page(Record[int], rules=allow.everyone, soft_delete=True):
        title: str

        @before("restore")
        async def ask(self, request: Request) -> None:
            told.append(f"before {self.title} {self.deleted_at is None}")
            if self.title == "no":
                raise Conflict("Not this one.")

        @after("restore")
        async def tell(self, request: Request) -> None:
            told.append(f"after {self.title} {self.deleted_at is None}")

    async with client_for(Page) as client:
        for title in ("yes", "no"):
            await client.app.records.create(Page, title=title)
        await client.app.records.delete(Page, 1)
        await client.app.records.delete(Page, 2)
        assert (await client.post("/pages/1/restore", None)).status == 200
        assert (await client.post("/pages/2/restore", None)).status == 409
        assert told == ["before yes False", "after yes True", "before no False"]


async def test_the_history_goes_on_through_a_delete_and_a_restore() -> None:
    class Page(Record[int], soft_delete=True, rules={
        "read": allow.everyone, "write": allow.everyone, "history": allow.everyone,
    }):  # fmt: skip
        title: str

    async with client_for(Page) as client:
        records = client.app.records
        await records.create(Page, title="a")
        await records.delete(Page, 1)
        assert [one["action"] for one in (await client.get("/pages/1/history")).json] == ["deleted", "created"]
        await records.restore(Page, 1)
        told = (await client.get("/pages/1/history")).json
        assert [one["action"] for one in told] == ["restored", "deleted", "created"]


async def test_what_was_deleted_long_enough_ago_goes_for_good_by_itself_and_what_is_pointed_at_stays() -> None:
    class Album(Record[int], rules=allow.everyone, soft_delete=timedelta(days=30)):
        title: str

    class Song(Record[int], rules=allow.everyone, soft_delete=True):
        title: str
        album: Ref[Album]

    store, clock = kept_store(), Clock()
    async with client_for(Album, Song, store=store, clock=clock) as client:
        records = client.app.records
        for title in ("old", "held", "new"):
            await records.create(Album, title=title)
        await records.create(Song, title="s", album=2)
        await records.delete(Song, 1)
        await records.delete(Album, 1)
        await records.delete(Album, 2)
        clock.advance(timedelta(days=20))
        await records.delete(Album, 3)
    clock.now += timedelta(days=11)
    async with (
        client_for(Album, Song, store=store, clock=clock) as client,
        client.live("albums", deleted="only") as view,
    ):
        assert titles(await view.until(lambda rows: len(rows) == 2)) == ["held", "new"]
        assert titles(await client.get("/songs?deleted=only")) == ["s"]


@pytest.mark.only_on("sqlite", reason="which are looked at next is decided in front of every store")
async def test_however_many_have_to_stay_those_deleted_after_them_go_in_their_turn() -> None:
    class Album(Record[str], rules=allow.everyone, soft_delete=True):
        pass

    class Song(Record[str], rules=allow.everyone, soft_delete=timedelta(days=30)):
        album: Ref[Album] | None = Field(default=None, on_delete="cascade")

    class Mark(Record[str], rules=allow.everyone, soft_delete=True):
        song: Ref[Song]
        album: Ref[Album] = Field(on_delete="cascade")

    store, clock = kept_store(), Clock()
    async with client_for(Album, Song, Mark, store=store, clock=clock) as client:
        await client.post("/albums", [{"id": "songs"}, {"id": "marks"}])
        await client.post("/songs", [{"id": f"s{number}", "album": "songs"} for number in range(1000)])
        await client.post("/songs", {"id": "last"})
        marks = [{"id": f"m{number}", "song": f"s{number}", "album": "marks"} for number in range(1000)]
        assert (await client.post("/marks", marks)).status == 201
        for path in ("/albums/marks", "/albums/songs", "/songs/last"):
            assert (await client.delete(path)).status == 204
    clock.now += timedelta(days=31)
    often = Retention(every=timedelta(milliseconds=1))
    async with (
        client_for(Album, Song, Mark, store=store, clock=clock, retention=often) as client,
        client.live("songs", deleted="only", where={"id": "last"}) as view,
    ):
        await view.until(lambda rows: rows == [])
        assert (await client.get("/songs?deleted=only&count=exact")).headers["x-total-count"] == "1000"


@pytest.mark.only_on("sqlite", reason="a description asks no store")
async def test_the_description_says_what_can_be_done_with_deleted_records() -> None:
    document = OpenApi().document(App(Post, Comment, Note, Pin, store="sqlite:///:memory:"))
    assert document["paths"]["/posts/{key}/restore"]["post"]["operationId"] == "posts.restore"
    assert "/notes/{key}/restore" not in document["paths"]
    delete = document["paths"]["/posts/{key}"]["delete"]["parameters"]
    assert {"force", "purge"} <= {one.get("name") for one in delete}
    listed = document["paths"]["/posts"]["get"]["parameters"]
    assert {"$ref": "#/components/parameters/Post.deleted"} in listed
    assert "deleted_at" not in document["components"]["schemas"]["Post"].get("required", [])
    assert "deleted_at" not in document["components"]["schemas"]["PostCreate"]["properties"]
    assert document["components"]["schemas"]["PostUpdate"]["properties"]["deleted_at"]["readOnly"] is True


def before_it() -> type[Any]:
    """A resource as an application declares it."""

    class Page(Record[int], rules=allow.everyone):
        title: str = Field(unique=True)

    return Page


def with_it() -> type[Any]:
    """The same, as its next version does."""

    class Page(Record[int], rules=allow.everyone, soft_delete=True):
        title: str = Field(unique=True)

    return Page


async def test_what_is_there_stays_when_it_is_turned_on_and_what_is_deleted_stays_away_when_off() -> None:
    store, plain, soft = kept_store(), before_it(), with_it()
    async with client_for(plain, store=store) as client:
        await client.app.records.create(plain, title="a")
    async with client_for(soft, store=store) as client:
        assert titles(await client.get("/pages")) == ["a"]
        await client.app.records.delete(soft, 1)
        await client.app.records.create(soft, title="a")
        await client.app.records.delete(soft, 2)
        await client.app.records.create(soft, title="a")
    with pytest.raises(StoreOutdated, match="2 deleted records of Page"):
        async with client_for(plain, store=store):
            pass
    async with client_for(soft, store=store) as client:
        for key in (1, 2):
            with pytest.raises(NotUnique):
                await client.app.records.restore(soft, key)
        await client.app.store.migrate(client_for(plain).app.definitions.catalog, lose=True)
    async with client_for(plain, store=store) as client:
        assert [(row["id"], row["title"]) for row in (await client.get("/pages")).json] == [(3, "a")]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_what_cannot_be_is_refused_by_name_when_the_application_is_made() -> None:
    class Plain(Record[int], rules={"read": allow.everyone, "restore": allow.everyone}):
        title: str

    class Twice(Record[int], rules=allow.everyone, soft_delete=True):
        deleted_at: datetime | None = None

    class Never(Record[int], rules=allow.everyone, soft_delete=timedelta()):
        title: str

    class Kept(Record[int], rules=allow.everyone, soft_delete=True):
        title: str

    class Child(Record[int], rules=allow.everyone):
        kept: Ref[Kept] = Field(on_delete="cascade")
        other: Ref[Kept] = Field(on_delete="vanish")  # type: ignore[call-overload]

        @before("restore")
        async def ask(self) -> None:
            """Nothing is ever restored here."""

    with pytest.raises(DeclarationError) as error:
        App(Plain, Twice, Never, Kept, Child, store="sqlite:///:memory:")
    for said in (
        "Plain: rules have 'restore', which is about deleted records, and none are kept",
        "Twice.deleted_at: with soft_delete every record has this field",
        "Never: soft_delete is True, or a time to keep deleted records for",
        "Child.kept: Kept keeps deleted records, so what goes along with one is kept too",
        "Child.other: on_delete is 'restrict', 'cascade', 'clear' or 'force'",
        "Child.ask: there is no action 'restore'",
    ):
        assert said in str(error.value)


async def test_an_account_that_is_deleted_signs_nobody_in_and_ends_its_sessions() -> None:
    class Account(Resource, rules={"create": allow.everyone, "read": allow.where(id=me.id)}, soft_delete=True):
        email: Email = Field(unique=True)
        password: Password

    app = App(Account, store=fresh_store(), auth=Sessions(Account, hashing=QUICK))
    browser = Browser(app)
    async with browser.client:
        ann = await app.records.create(Account, email="ann@example.com", password="correct horse")
        assert (await browser.log_in("correct horse", "ann@example.com")).status == 200
        assert await browser.who() == str(ann.id)
        await app.records.delete(Account, ann.id)
        assert await browser.who() is None
        assert (await browser.log_in("correct horse", "ann@example.com")).status == 401
        await app.records.restore(Account, ann.id)
        assert await browser.who() is None
        assert (await browser.log_in("correct horse", "ann@example.com")).status == 200


class Tree(Record[int], rules=allow.everyone, soft_delete=True):
    title: str


class Bough(Record[int], rules=allow.everyone, soft_delete=True):
    title: str
    tree: Ref[Tree] = Field(on_delete="cascade")


class Twig(Record[int], rules=allow.everyone, soft_delete=True):
    title: str
    bough: Ref[Bough] = Field(on_delete="cascade")
    nest: Ref[Tree] | None = Field(default=None, on_delete="restrict")


class Memo(Record[int], rules=allow.everyone, soft_delete=True):
    text: str

    @before("update")
    def look(self) -> None:
        """It is decided on the record as it is stored."""


async def test_who_changes_what_is_restored_at_that_moment_is_not_told_that_he_may_not() -> None:
    restoring: list[int] = []

    async def on(step: str, call: Call) -> None:
        if step == "after lookup" and call.answer is None and restoring:
            await client.app.records.restore(Memo, restoring.pop())

    async with Client(App(Memo, store=Faulty(open_store(fresh_store()), on))) as client:
        await client.post("/memos", {"text": "First"})
        await client.delete("/memos/1")
        restoring.append(1)

        changed = await client.patch("/memos/1", {"text": "Second"})

        assert (changed.status, restoring) == (200, [])
        assert (await client.get("/memos/1")).json["text"] == "Second"


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_that_is_there_points_at_what_is_not_however_writes_race(seed: int) -> None:
    chance = random.Random(seed)
    async with client_for(Tree, Bough, Twig) as client, client.live("twigs") as view:
        records = client.app.records
        for n in range(1, 5):
            await records.create(Tree, title="t")
            await records.create(Bough, title="b", tree=n)

        def one() -> Callable[[], Awaitable[Any]]:
            tree, bough, twig = chance.randint(1, 4), chance.randint(1, 8), chance.randint(1, 8)
            return chance.choice([
                lambda: records.create(Bough, title="b", tree=tree),
                lambda: records.create(Twig, title="w", bough=bough, nest=chance.choice([None, tree])),
                lambda: records.update(Twig, twig, bough=bough),
                lambda: records.delete(Tree, tree),
                lambda: records.delete(Bough, bough),
                lambda: records.restore(Tree, tree),
                lambda: records.restore(Bough, bough),
                lambda: records.restore(Twig, twig),
            ])  # fmt: skip

        async def attempt(work: Callable[[], Awaitable[Any]]) -> None:
            with suppress(Conflict, Invalid, NotFound, PreconditionFailed):
                await work()

        for _ in range(8):
            await asyncio.gather(*(attempt(one()) for _ in range(8)))
        trees = {tree.id for tree in await records.list(Tree)}
        boughs, twigs = await records.list(Bough), await records.list(Twig)
        assert {bough.tree for bough in boughs} <= trees
        assert {twig.bough for twig in twigs} <= {bough.id for bough in boughs}
        assert {twig.nest for twig in twigs} - {None} <= trees
        await client.settled()
        assert sorted(row["id"] for row in view.records) == sorted(twig.id for twig in twigs)


@pytest.mark.only_on("sqlite", reason="PostgreSQL has no OR REPLACE")
async def test_another_program_that_replaces_what_collides_does_not_replace_what_is_deleted() -> None:
    store, cls = kept_store(), with_it()
    async with client_for(cls, store=store) as client, client.live("pages") as view:
        for _ in range(2):
            await client.app.records.create(cls, title="a")
            await client.app.records.delete(cls, (await client.app.records.list(cls))[0].id)
        await client.app.records.create(cls, title="a")
        await foreign(store, "INSERT OR REPLACE INTO pages (title) VALUES ('a')", "SELECT 1")
        assert [row["id"] for row in await view.until(lambda rows: [row["id"] for row in rows] == [4])] == [4]
        assert [row["id"] for row in (await client.get("/pages?deleted=only&sort=id")).json] == [1, 2]


class Shop(Record[str], rules=allow.everyone, soft_delete=True):
    name: str = Field(default="", unique=True)


class Till(Record[str], rules=allow.everyone, soft_delete=True, unique=[("floor", "number")]):
    shop: Ref[Shop] = Field(on_delete="cascade")
    name: str | None = Field(default=None, unique=True)
    floor: int = 0
    number: int


@pytest.mark.parametrize("same", [{"name": "A", "number": 2}, {"number": 1}], ids=["one field", "several"])
async def test_what_cannot_come_back_since_a_record_below_it_has_no_place_is_refused_without_a_word_of_that(
    same: dict[str, Any],
) -> None:
    async with Client(App(Shop, Till, store=fresh_store())) as client:
        await client.post("/shops", [{"id": "old", "name": "A"}, {"id": "new", "name": "B"}])
        await client.post("/tills", {"id": "1", "shop": "old", "name": "A", "number": 1})
        await client.delete("/shops/old")
        await client.post("/tills", {"id": "2", "shop": "new", **same})
        refused = await client.post("/shops/old/restore", None)
        assert (refused.status, refused.json["code"]) == (409, "not_unique")
        assert "of one that comes along with it" in refused.json["detail"]
        assert "errors" not in refused.json
        assert (await client.get("/shops/old")).status == 404
        await client.delete("/tills/2?purge=true")
        await client.delete("/tills/2")
        assert (await client.post("/shops/old/restore", None)).status == 200


async def test_a_record_that_does_not_come_back_is_not_blamed_for_a_value_of_its_like_below_it() -> None:
    class Member(Record[str], rules=allow.everyone, soft_delete=True):
        email: str = Field(unique=True)
        inviter: Ref["Member"] | None = Field(default=None, on_delete="cascade")

    async with Client(App(Member, store=fresh_store())) as client:
        await client.post("/members", [{"id": "a", "email": "a"}, {"id": "b", "email": "b", "inviter": "a"}])
        await client.delete("/members/a")
        await client.post("/members", {"id": "c", "email": "b"})
        refused = await client.post("/members/a/restore", None)
        assert (refused.status, "errors" in refused.json) == (409, False)
        assert "of one that comes along with it" in refused.json["detail"]
        await client.patch("/members/c", {"email": "a"})
        refused = await client.post("/members/a/restore", None)
        assert [one["pointer"] for one in refused.json["errors"]] == ["/email"]
