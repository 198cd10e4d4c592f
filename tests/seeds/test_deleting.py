"""What a delete does to the records that point at what is deleted: booster's four policies, in one transaction."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from crudite import (
    App,
    Conflict,
    Field,
    Invalid,
    Many,
    Next,
    NotFound,
    PreconditionFailed,
    Record,
    Ref,
    Request,
    Response,
    allow,
    around,
    before,
)  # fmt: skip
from crudite.testing import Client, Refusal
from tests.flows.worlds import client_for, titles
from tests.services.stores import fresh_store


class Post(Record[int], rules=allow.everyone):
    title: str
    comments: Many["Comment"]


class Comment(Record[int], rules=allow.everyone):
    title: str
    post: Ref[Post] = Field(on_delete="cascade")


class Vote(Record[int], rules=allow.everyone):
    title: str
    comment: Ref[Comment] = Field(on_delete="force")


class Mark(Record[int], rules=allow.everyone):
    title: str
    vote: Ref[Vote] = Field(on_delete="restrict")


class Note(Record[int], rules=allow.everyone):
    title: str
    post: Ref[Post] | None = Field(default=None, on_delete="clear")


class Trace(Record[int], rules=allow.everyone):
    title: str
    post: Ref[Post] = Field(checked=False)


ALL = (Post, Comment, Vote, Mark, Note, Trace)


async def tree(client: Client) -> Any:
    """A post with two comments, a vote on the first of them, a note and a trace."""
    records = client.app.records
    await records.create(Post, title="p")
    for title in ("a", "b"):
        await records.create(Comment, title=title, post=1)
    await records.create(Note, title="n", post=1)
    await records.create(Trace, title="t", post=1)
    return records


@pytest.mark.promises("B115", "B116")
async def test_a_reference_that_restricts_refuses_with_409_and_says_how_many_of_which_are_in_the_way() -> None:
    async with client_for(*ALL) as client:
        records = await tree(client)
        await records.create(Vote, title="v", comment=1)
        for title in ("m", "o"):
            await records.create(Mark, title=title, vote=1)
        refused = await client.delete("/votes/1?force=true")
        assert (refused.status, refused.json["code"]) == (409, "conflict")
        assert refused.json["errors"] == [{"code": "referenced", "detail": "2 records of Mark point here with vote."}]
        assert "m" not in refused.json["detail"].split()
        assert titles(await client.get("/votes")) == ["v"]


async def test_what_is_in_the_way_is_told_once_where_records_point_at_each_other_in_a_circle() -> None:
    class Node(Record[str], rules=allow.everyone):
        up: Ref["Node"] | None = Field(default=None, on_delete="cascade")

    class Pin(Record[str], rules=allow.everyone):
        node: Ref[Node]

    async with client_for(Node, Pin) as client:
        await client.post("/nodes", {"id": "a"})
        await client.post("/nodes", {"id": "b", "up": "a"})
        await client.patch("/nodes/a", {"up": "b"})
        await client.post("/pins", {"id": "p", "node": "b"})
        refused = await client.delete("/nodes/a")
        assert refused.json["errors"] == [{"code": "referenced", "detail": "1 record of Pin points here with node."}]


async def test_what_goes_along_is_in_nobodys_way_wherever_it_points() -> None:
    class Board(Record[str], rules=allow.everyone):
        shown: Ref["Card"] | None = None

    class Label(Record[str], rules=allow.everyone):
        board: Ref[Board] = Field(on_delete="cascade")

    class Column(Record[str], rules=allow.everyone):
        owner: Ref[Board]
        board: Ref[Board] = Field(on_delete="cascade")

    class Card(Record[str], rules=allow.everyone):
        label: Ref[Label] | None = None
        seal: Ref[Label] | None = Field(default=None, on_delete="force")
        column: Ref[Column] = Field(on_delete="cascade")

    async with client_for(Board, Label, Column, Card) as client:
        await client.post("/boards", [{"id": "b"}, {"id": "c"}])
        await client.post("/labels", [{"id": "b", "board": "b"}, {"id": "c", "board": "c"}])
        await client.post("/columns", [{"id": one, "board": one, "owner": one} for one in "bc"])
        await client.post("/cards", [{"id": one, "column": one, "label": one, "seal": one} for one in "bc"])
        await client.patch("/boards/b", {"shown": "b"})
        await client.patch("/cards/c", {"label": "b"})
        refused = await client.delete("/boards/b")
        assert refused.json["errors"] == [{"code": "referenced", "detail": "1 record of Card points here with label."}]
        await client.patch("/cards/c", {"label": "c"})
        async with client.live("cards") as view:
            await view.ready()
            assert (await client.delete("/boards/b")).status == 204
            await view.until(lambda cards: [card["id"] for card in cards] == ["c"])
        for path in ("/boards", "/labels", "/columns", "/cards"):
            assert [row["id"] for row in (await client.get(path)).json] == ["c"]


@pytest.mark.parametrize("version", [None, "the same"])
async def test_records_in_a_circle_go_together_when_it_is_forced(version: str | None) -> None:
    seen: list[Any] = []

    class Team(Record[str], rules=allow.everyone):
        leader: Ref["Person"] | None = None
        deputy: Ref["Person"] | None = Field(default=None, visible="private")

        @before("delete")
        def look(self) -> None:
            seen.append(self.deputy)

    class Person(Record[str], rules=allow.everyone):
        team: Ref[Team] = Field(on_delete="force")
        boss: Ref["Person"] | None = Field(default=None, on_delete="force")

    class Key(Record[str], rules=allow.everyone):
        person: Ref[Person]

    async with client_for(Team, Person, Key) as client:
        await client.post("/teams", [{"id": "t"}, {"id": "u"}])
        await client.post("/persons", [{"id": "a", "team": "t"}, {"id": "b", "team": "t", "boss": "a"}])
        await client.patch("/persons/a", {"boss": "b"})
        await client.patch("/teams/t", {"leader": "a"})
        await client.app.records.update(Team, "t", deputy="b")
        await client.patch("/teams/u", {"leader": "b"})
        refused = await client.delete("/teams/t?force=true")
        assert refused.json["errors"] == [{"code": "referenced", "detail": "1 record of Team points here with leader."}]
        await client.patch("/teams/u", {"leader": None})
        await client.post("/keys", {"id": "k", "person": "b"})
        refused = await client.delete("/teams/t?force=true")
        assert refused.json["errors"] == [{"code": "referenced", "detail": "1 record of Key points here with person."}]
        assert (await client.get("/teams/t")).json["leader"] == "a"
        await client.delete("/keys/k")
        held = (await client.get("/teams/t")).headers["etag"]
        missed = await client.delete("/teams/t?force=true", headers={"if-match": '"v1"'})
        assert missed.status == 412
        named = {"if-match": held} if version else None
        assert (await client.delete("/teams/t?force=true", headers=named)).status == 204
        assert ((await client.get("/persons")).json, (await client.get("/teams/t")).status) == ([], 404)
        assert seen[-1] == "b"


@pytest.mark.parametrize("policy", ["cascade", "clear"])
@pytest.mark.parametrize("is_forced", [False, True])
async def test_what_goes_along_neither_takes_the_record_with_it_nor_changes_it(policy: Any, is_forced: bool) -> None:
    class Team(Record[str], rules=allow.everyone):
        leader: Ref["Person"] | None = Field(default=None, on_delete=policy)

    class Person(Record[str], rules=allow.everyone):
        team: Ref[Team] = Field(on_delete="cascade")

    class Key(Record[str], rules=allow.everyone):
        person: Ref[Person] = Field(on_delete="cascade")
        team: Ref[Team] = Field(on_delete="force" if is_forced else "restrict")

    async with client_for(Team, Person, Key) as client:
        for key in "tu":
            await client.post("/teams", {"id": key})
            await client.post("/persons", {"id": key, "team": key})
            await client.patch(f"/teams/{key}", {"leader": key})
            await client.post("/keys", {"id": key, "person": key, "team": key})
        held = (await client.get("/teams/t")).headers["etag"]
        forced = "?force=true" if is_forced else ""
        assert (await client.delete(f"/teams/t{forced}", headers={"if-match": held})).status == 204
        for path in ("/teams", "/persons", "/keys"):
            assert [row["id"] for row in (await client.get(path)).json] == ["u"]


@pytest.mark.parametrize("is_forced", [False, True])
async def test_who_may_not_delete_a_record_is_not_told_what_is_in_the_way(is_forced: bool) -> None:
    rules: Any = {"read": allow.where(shown=True), "create": allow.everyone, "delete": allow.where(free=True)}

    class Box(Record[str], rules=rules):
        shown: bool = True
        free: bool = False

    class Bag(Record[str], rules=allow.everyone):
        box: Ref[Box] = Field(on_delete="cascade")

    class Can(Record[str], rules=allow.everyone):
        bag: Ref[Bag] = Field(on_delete="cascade")
        box: Ref[Box] = Field(on_delete="force" if is_forced else "restrict")

    class Pin(Record[str], rules=allow.nobody):
        bag: Ref[Bag]

    async with client_for(Box, Bag, Can, Pin) as client:
        await client.post("/boxes", [{"id": "s"}, {"id": "f", "free": True}])
        await client.app.records.create(Box, id="h", shown=False)
        for key in "sfh":
            await client.app.records.create(Bag, id=key, box=key)
            await client.app.records.create(Can, id=key, bag=key, box=key)
            await client.app.records.create(Pin, id=key, bag=key)
        forced = "?force=true" if is_forced else ""
        told = [await client.delete(f"/boxes/{key}{forced}") for key in "sfh"]
        assert [one.status for one in told] == [403, 409, 404]
        old = await client.delete(f"/boxes/f{forced}", headers={"if-match": '"v1"'})
        assert old.status == 412


@pytest.mark.promises("B116")
async def test_references_that_are_cleared_or_unchecked_stand_in_nobodys_way() -> None:
    async with client_for(*ALL) as client:
        records = await tree(client)
        assert (await client.delete("/posts/1")).status == 204
        assert (await records.read(Note, 1)).post is None
        assert (await records.read(Trace, 1)).post == 1


@pytest.mark.promises("B116")
async def test_a_delete_that_must_be_forced_is_refused_until_it_is_and_then_leaves_no_orphan() -> None:
    async with client_for(*ALL) as client:
        records = await tree(client)
        await records.create(Vote, title="v", comment=1)
        refused = await client.delete("/posts/1")
        assert refused.json["errors"] == [
            {"code": "referenced", "detail": "1 record of Vote points here with comment; force=true deletes them too."}
        ]
        assert (await client.delete("/posts/1?force=false")).status == 409
        assert (await client.delete("/posts/1?force=yes")).status == 400
        assert titles(await client.get("/comments")) == ["a", "b"]
        assert (await client.delete("/posts/1?force=true")).status == 204
        for path in ("posts", "comments", "votes"):
            assert titles(await client.get(f"/{path}")) == []


@pytest.mark.promises("B116")
async def test_a_delete_is_forced_over_every_interface() -> None:
    async with client_for(*ALL) as client, client.websocket() as socket:
        records = await tree(client)
        for title in ("v", "w"):
            await records.create(Vote, title=title, comment=1 if title == "v" else 2)
        with pytest.raises(Refusal) as refusal:
            await socket.call("comments.delete", {"key": 1})
        assert (refusal.value.status, refusal.value.problem["errors"][0]["code"]) == (409, "referenced")
        await socket.call("comments.delete", {"key": 1, "force": True})
        with pytest.raises(Conflict):
            await records.delete(Comment, 2)
        await records.delete(Comment, 2, force=True)
        assert titles(await client.get("/votes")) == []


@pytest.mark.promises("B116", "B117")
async def test_what_cascades_goes_first_and_one_refusal_below_refuses_the_whole() -> None:
    async with client_for(*ALL) as client:
        records = await tree(client)
        await records.create(Vote, title="v", comment=2)
        await records.create(Mark, title="m", vote=1)
        async with client.live("posts", include=["comments"]) as view:
            before = await view.ready()
            for url in ("/posts/1", "/posts/1?force=true"):
                assert (await client.delete(url)).status == 409
            assert titles(await client.get("/comments")) == ["a", "b"]
            assert (await records.read(Note, 1)).post == 1
            await records.delete(Mark, 1)
            assert view.records == before
            assert (await client.delete("/posts/1?force=true")).status == 204
            assert await view.until(lambda rows: not rows) == []
        assert titles(await client.get("/comments")) == []


@pytest.mark.promises("B117")
async def test_several_references_to_one_resource_have_each_their_own_policy() -> None:
    class Person(Record[int], rules=allow.everyone):
        title: str

    class Task(Record[int], rules=allow.everyone):
        title: str
        owner: Ref[Person] = Field(on_delete="cascade")
        helper: Ref[Person] | None = Field(default=None, on_delete="clear")
        judge: Ref[Person] | None = None

    async with client_for(Person, Task) as client:
        records = client.app.records
        for title in ("ann", "bob", "cyd"):
            await records.create(Person, title=title)
        await records.create(Task, title="t", owner=1, helper=2, judge=3)
        assert (await client.delete("/persons/3")).status == 409
        assert (await client.delete("/persons/2")).status == 204
        assert (await records.read(Task, 1)).helper is None
        assert (await client.delete("/persons/1")).status == 204
        assert titles(await client.get("/tasks")) == []


@pytest.mark.promises("B118")
async def test_a_delete_that_is_replaced_by_something_else_answers_204_and_removes_nothing() -> None:
    order: list[str] = []

    class Draft(Record[int], rules=allow.everyone):
        title: str
        state: str = "open"

        @around("delete")
        @classmethod
        async def close(cls, request: Request, next: Next) -> Any:
            await request.records.update(cls, request.key, state="closed")
            return {}

    app = App(Draft, store=fresh_store())

    @app.use(action="delete")
    async def tell(request: Request, next: Next) -> Response:
        order.append("before")
        response = await next()
        order.append("after")
        return response

    async with Client(app) as client:
        await app.records.create(Draft, title="d")
        assert (await client.delete("/drafts/1")).status == 204
        assert (await client.get("/drafts/1")).json["state"] == "closed"
        assert order == ["before", "after"]


@pytest.mark.promises("B44", "X13")
async def test_deleting_what_is_not_there_is_404_and_what_is_pointed_at_409() -> None:
    async with client_for(*ALL) as client:
        records = await tree(client)
        await records.create(Vote, title="v", comment=1)
        await records.create(Mark, title="m", vote=1)
        assert (await client.delete("/posts/99")).status == 404
        assert (await client.delete("/votes/1")).status == 409


async def test_a_cascade_is_the_right_of_who_may_delete_and_asks_neither_rules_nor_hooks_below() -> None:
    asked: list[str] = []

    class Album(Record[int], rules=allow.everyone):
        title: str

    class Song(Record[int], rules={"read": allow.everyone, "create": allow.everyone}):
        title: str
        album: Ref[Album] = Field(on_delete="cascade")

        @before("delete")
        async def ask(self) -> None:
            asked.append(self.title)

    async with client_for(Album, Song) as client:
        await client.app.records.create(Album, title="x")
        await client.app.records.create(Song, title="y", album=1)
        assert (await client.delete("/songs/1")).status == 403
        assert (await client.delete("/albums/1")).status == 204
        assert (titles(await client.get("/songs")), asked) == ([], [])


class Root(Record[int], rules=allow.everyone):
    title: str


class Branch(Record[int], rules=allow.everyone):
    title: str
    root: Ref[Root] = Field(on_delete="cascade")
    beside: Ref["Branch"] | None = Field(default=None, on_delete="force")


class Leaf(Record[int], rules=allow.everyone):
    title: str
    branch: Ref[Branch] = Field(on_delete="force")
    root: Ref[Root] | None = None


async def race(*works: Callable[[], Awaitable[Any]]) -> None:
    """Does all at once; what is refused is refused."""

    async def attempt(work: Callable[[], Awaitable[Any]]) -> None:
        with suppress(Conflict, Invalid, NotFound, PreconditionFailed):
            await work()

    await asyncio.gather(*map(attempt, works))


@pytest.mark.promises("B116", "B117")
@pytest.mark.parametrize("seed", range(4))
async def test_no_orphan_is_ever_left_while_children_are_made_as_their_parents_go(seed: int) -> None:
    chance = random.Random(seed)
    async with Client(App(Root, Branch, Leaf, store=fresh_store())) as client, client.live("leafs") as view:
        records = client.app.records
        for _ in range(8):
            await records.create(Root, title="r")
        for n in range(1, 17):
            await records.create(Branch, title="b", root=(n - 1) // 2 + 1)

        def one() -> Callable[[], Awaitable[Any]]:
            branch, root, forced = chance.randint(1, 24), chance.randint(1, 8), chance.random() < 0.7
            return chance.choice([
                lambda: records.create(Leaf, title="l", branch=branch, root=chance.choice([None, root])),
                lambda: records.create(Branch, title="b", root=root, beside=chance.choice([None, branch])),
                lambda: records.delete(Root, root, force=forced),
                lambda: records.delete(Branch, branch, force=forced),
                lambda: records.update(Leaf, chance.randint(1, 10), branch=branch),
            ])  # fmt: skip

        for _ in range(6):
            await race(*(one() for _ in range(8)))
        roots, branches = await records.list(Root), await records.list(Branch)
        leaves = await records.list(Leaf)
        assert {b.root for b in branches} <= {r.id for r in roots}
        assert {b.beside for b in branches} - {None} <= {b.id for b in branches}
        assert {leaf.branch for leaf in leaves} <= {b.id for b in branches}
        assert {leaf.root for leaf in leaves} - {None} <= {r.id for r in roots}
        await client.settled()
        assert sorted(row["id"] for row in view.records) == sorted(leaf.id for leaf in leaves)
