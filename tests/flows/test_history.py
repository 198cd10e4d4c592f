"""Who changed what, when, and through which interface: the history of a record, under its own rule."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from crudite import (
    Actor,
    App,
    Credentials,
    DeclarationError,
    Field,
    OpenApi,
    Parent,
    Record,
    Request,
    allow,
    before,
    me,
)
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, client_for
from tests.services.stores import foreign, fresh_store, kept_store

ROLES = {"ann": "", "bob": "", "eve": "auditor", "joe": "hr"}


class Post(
    Record[int],
    rules={
        "read": allow.everyone, "create": allow.everyone, "write": allow.signed_in,
        "history": allow.role("auditor") | allow.where(owner=me.id),
    },
):  # fmt: skip
    title: str
    owner: str = ""
    bonus: int = Field(default=0, read=allow.role("hr"))
    fee: int = Field(default=0, read=allow.where(owner=me.id))
    pin: str = Field(default="", visible="secret")
    note: str = Field(default="", visible="private")


class Line(Record[int], rules={"read": allow.everyone, "write": allow.everyone, "history": allow.everyone}):
    post: Parent[Post] = Field(on_delete="cascade")
    text: str


class Plain(Record[int], rules=allow.everyone):
    text: str

    @before("create")
    def also(self, request: Request) -> None:
        request.batch.create(Line, post=int(self.text), text="along with it")


async def authenticate(credentials: Credentials) -> Actor | None:
    name = credentials.token
    return None if name is None else Actor(id=name, roles=frozenset({ROLES[name]}))


@asynccontextmanager
async def serving(store: str | None = None) -> AsyncIterator[tuple[Client, Client, Client]]:
    """Ann, Bob, and Eve, who may see every history."""
    app = App(Post, Line, Plain, store=store or fresh_store(), auth=authenticate)
    async with Client(app) as client:
        yield client.acting("ann"), client.acting("bob"), client.acting("eve")


def told(past: dict[str, Any]) -> tuple[Any, ...]:
    """What a change says, but for when and in which request."""
    return past["action"], past["actor"], past["interface"], past["changes"]


async def trim(client: Client) -> None:
    for _ in range(3):
        await client.app.store.trim(older_than=-1, larger_than=0)


async def test_a_history_tells_who_changed_what_through_which_interface_and_outlives_the_log() -> None:
    async with serving() as (ann, bob, eve):
        headers = {"x-request-id": "first"}
        made = await ann.post("/posts", {"title": "a", "owner": "ann", "pin": "s3cret"}, headers=headers)
        assert made.status == 201
        async with bob.websocket() as socket:
            await socket.call("posts.update", {"key": 1, "data": {"title": "b"}})
        await eve.app.records.update(Post, 1, title="c")
        expected = [
            ("updated", None, "python", {"title": ["b", "c"]}),
            ("updated", "bob", "websocket", {"title": ["a", "b"]}),
            ("created", "ann", "rest", {"title": [None, "a"], "owner": [None, "ann"]}),
        ]
        for _ in range(2):
            found = await eve.get("/posts/1/history")
            assert found.status == 200
            assert [told(past) for past in found.json] == expected
            assert found.json[2]["request"] == "first"
            versions = [past["version"] for past in found.json]
            assert versions == sorted(versions, reverse=True)
            assert all(datetime.fromisoformat(past["at"]).tzinfo is not None for past in found.json)
            assert "s3cret" not in found.text
            await trim(eve)
        async with eve.websocket() as socket:
            page = await socket.call("posts.history", {"key": 1, "query": {"limit": 2}})
            assert [told(past) for past in page["data"]] == expected[:2]
            rest = await socket.call("posts.history", {"key": 1, "query": {"limit": 2, "cursor": page["next"]}})
            assert [told(past) for past in rest["data"]] == expected[2:]
            assert rest["next"] is None


async def test_only_whom_its_rule_lets_sees_a_history_and_only_fields_that_he_may_read() -> None:
    async with serving() as (ann, bob, eve):
        await ann.post("/posts", {"title": "a", "owner": "ann", "bonus": 7, "fee": 5, "note": "n"})
        assert (await ann.acting(None).get("/posts/1/history")).status == 401
        assert (await bob.get("/posts/1/history")).status == 404
        assert (await bob.get("/posts/2/history")).status == 404
        (hers,) = (await ann.get("/posts/1/history")).json
        assert hers["changes"] == {"title": [None, "a"], "owner": [None, "ann"], "fee": [None, 5]}
        (whole,) = (await eve.get("/posts/1/history")).json
        assert whole["changes"] == {"title": [None, "a"], "owner": [None, "ann"]}
        await ann.patch("/posts/1", {"note": "m"})  # which nobody may read: that it changed is not told either
        assert len((await eve.get("/posts/1/history")).json) == 1
        await ann.patch("/posts/1", {"pin": "0000"})  # a new version, of which everybody knows
        (latest, _) = (await eve.get("/posts/1/history")).json
        assert told(latest) == ("updated", "ann", "rest", {})
        assert (await eve.get("/plains/1/history")).status == 404
        async with eve.websocket() as socket:
            with pytest.raises(Refusal) as refused:
                await socket.call("plains.history", {"key": 1})
            assert refused.value.status == 404


async def test_a_deleted_record_has_its_history_for_those_whose_right_does_not_need_it() -> None:
    async with serving() as (ann, _, eve):
        await ann.post("/posts", {"title": "a", "owner": "ann", "fee": 5})
        assert (await ann.delete("/posts/1")).status == 204
        for _ in range(2):
            found = (await eve.get("/posts/1/history")).json
            assert [told(past) for past in found] == [
                ("deleted", "ann", "rest", {"title": ["a", None], "owner": ["ann", None]}),
                ("created", "ann", "rest", {"title": [None, "a"], "owner": [None, "ann"]}),
            ]
            assert (await ann.get("/posts/1/history")).status == 404
            await trim(eve)


async def test_who_takes_a_key_that_has_become_free_is_shown_nothing_of_what_its_record_was() -> None:
    class Page(
        Record[str],
        rules={"read": allow.everyone, "write": allow.signed_in, "history": allow.role("auditor", "hr")
               | allow.where(owner=me.id)},
    ):  # fmt: skip
        owner: str
        text: str
        fee: int = Field(default=0, read=allow.where(owner=me.id))

    async with Client(App(Page, store=fresh_store(), auth=authenticate)) as client:
        ann, bob, eve = client.acting("ann"), client.acting("bob"), client.acting("eve")
        await ann.post("/pages", {"id": "p", "owner": "ann", "text": "mine", "fee": 7})
        await ann.patch("/pages/p", {"text": "still mine", "fee": 8})
        assert len((await ann.get("/pages/p/history")).json) == 2
        await ann.delete("/pages/p")
        for owner, taker in (("bob", bob), ("eve", eve)):
            made = await taker.post("/pages", {"id": "p", "owner": owner, "text": "taken", "fee": 1})
            assert made.status == 201
            await trim(client)
            latest, *former = (await taker.get("/pages/p/history")).json
            assert told(latest)[3] == {"owner": [None, owner], "text": [None, "taken"], "fee": [None, 1]}
            if taker is bob:
                assert former == []
                await bob.delete("/pages/p")
        assert [told(past)[3] for past in former] == [
            {"owner": ["bob", None], "text": ["taken", None]},
            {"owner": [None, "bob"], "text": [None, "taken"]},
            {"owner": ["ann", None], "text": ["still mine", None]},
            {"text": ["mine", "still mine"]},
            {"owner": [None, "ann"], "text": [None, "mine"]},
        ]


async def test_what_comes_of_a_request_besides_is_his_who_asked() -> None:
    async with serving() as (ann, bob, eve):
        await ann.post("/posts", {"title": "a", "owner": "ann"})
        await bob.post("/plains", {"text": "1"})
        (made,) = (await eve.get("/posts/1/lines/1/history")).json
        assert told(made) == ("created", "bob", "rest", {"post": [None, 1], "text": [None, "along with it"]})
        await ann.delete("/posts/1")
        found = (await eve.get("/lines/1/history")).json
        assert told(found[0]) == ("deleted", "ann", "rest", {"post": [1, None], "text": ["along with it", None]})
        assert (await eve.get("/posts/1/lines/1/history")).status == 404


async def test_what_other_programs_write_is_said_to_come_from_outside() -> None:
    store = kept_store()
    async with serving(store) as (ann, _, eve):
        await ann.post("/posts", {"title": "a", "owner": "ann"})
        await foreign(store, "UPDATE posts SET title = 'b' WHERE id = 1")
        for _ in range(2):
            latest = (await eve.get("/posts/1/history")).json[0]
            assert (*told(latest), latest["request"]) == ("updated", None, "outside", {"title": ["a", "b"]}, None)
            await trim(eve)


async def test_a_history_is_paged_and_takes_nothing_else() -> None:
    async with serving() as (ann, _, eve):
        for key in (1, 2):
            await ann.post("/posts", {"title": "0", "owner": "ann"})
            for n in range(1, 5):
                await ann.patch(f"/posts/{key}", {"title": str(n)})
        titles, url = list[str](), "/posts/1/history?limit=2"
        while url:
            page = await eve.get(url)
            titles += [past["changes"]["title"][1] for past in page.json]
            link = page.headers.get("link", "")
            url = f"/posts/1/history{link[1 : link.index('>')]}" if 'rel="next"' in link else ""
            if len(titles) == 2:
                cursor = url.partition("cursor=")[2]
        assert titles == ["4", "3", "2", "1", "0"]
        for wrong in (f"2/history?cursor={cursor}", "1/history?cursor=x", "1/history?title=a", "1/history?limit=9999"):
            assert (await eve.get(f"/posts/{wrong}")).status == 400, wrong


async def test_every_commit_of_many_at_once_is_in_the_history_with_his_name() -> None:
    async with serving() as (ann, bob, eve):
        await ann.post("/posts", {"title": "0", "owner": "ann"})

        async def change(client: Client, n: int) -> None:
            assert (await client.patch("/posts/1", {"title": str(n)}, headers={"x-request-id": f"r{n}"})).status == 200

        await asyncio.gather(*(change((ann, bob)[n % 2], n) for n in range(1, 21)))
        found = (await eve.get("/posts/1/history")).json
        assert len(found) == 21
        for past in found[:-1]:
            n = int(past["changes"]["title"][1])
            assert (past["actor"], past["request"]) == (("ann", "bob")[n % 2], f"r{n}")
        chain = [past["changes"]["title"] for past in found]
        assert all(later[0] == earlier[1] for later, earlier in pairwise(chain))


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
async def test_a_declaration_without_a_rule_or_without_a_log_is_refused() -> None:
    class Unseen(Record[int], rules=allow.everyone, history=timedelta(days=1)):
        text: str

    class Unlogged(Record[int], rules={"history": allow.everyone}, live=False):
        text: str

    class Timeless(Record[int], rules={"history": allow.everyone}, history=timedelta()):
        text: str

    for cls, part in ((Unseen, "rules must say who"), (Unlogged, "logs no changes"), (Timeless, "timedelta(days=365)")):
        with pytest.raises(DeclarationError, match=part.replace("(", r"\(").replace(")", r"\)")):
            App(cls, store=fresh_store())


@pytest.mark.only_on("sqlite", reason="a description asks no store")
async def test_the_description_has_histories_where_they_are_kept() -> None:
    app = App(Post, Line, Plain, store=fresh_store(), auth=authenticate)
    paths = OpenApi().document(app)["paths"]
    assert [path for path in paths if path.endswith("history")] == [
        "/posts/{key}/history", "/lines/{key}/history", "/posts/{post}/lines/{key}/history",
    ]  # fmt: skip
    assert paths["/posts/{key}/history"]["get"]["operationId"] == "posts.history"


async def test_who_may_not_see_a_history_is_told_so_in_a_sentence() -> None:
    class Task(Record[int], rules={"read": allow.everyone, "create": allow.everyone, "history": allow.role("staff")}):
        title: str = ""

    async with client_for(Task, auth=by_name) as nobody:
        await nobody.post("/tasks", {})
        unknown = await nobody.get("/tasks/1/history")
        assert (unknown.status, unknown.json["detail"]) == (401, "Sign in to see the history of tasks.")
        refused = await nobody.acting("ann").get("/tasks/1/history")
        assert (refused.status, refused.json["detail"]) == (403, "You may not see the history of tasks.")
