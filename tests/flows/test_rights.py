"""Rights that change on a living WebSocket: what differs is told in one frame, and nothing else is."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite import (
    Actor,
    App,
    Count,
    Credentials,
    Field,
    Limits,
    LiveLimits,
    Many,
    Parent,
    Query,
    Record,
    Request,
    allow,
    me,
)
from crudite.stores import open_store
from crudite.testing import Client, Faulty
from crudite.testing.socket import Socket
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store

ASKED: dict[str, dict[str, Any]] = {
    "all": {"resource": "notes"},
    "few": {"resource": "notes", "query": {"sort": ["-rank"], "limit": 2}},
    "titles": {"resource": "notes", "query": {"fields": ["title"]}},
    "open": {"resource": "notes", "query": {"where": {"open": True}}},
    "teams": {"resource": "teams"},
    "count": {"read": "how-many"},
    "mine": {"read": "mine"},
    "memos": {"resource": "memos"},
}


class Team(Record[int], rules={"read": allow.role("staff") | allow.where(members__user=me.id)}):
    title: str
    members: Many["Member"]


class Member(Record[int], rules=allow.nobody):
    team: Parent[Team]
    user: str


class Note(
    Record[int],
    rules={"read": allow.where(owner=me.id) | allow.where(open=True) | allow.role("staff")},
):
    title: str
    owner: str = ""
    open: bool = False
    rank: int = 0
    price: int = Field(default=0, read=allow.role("staff"))


class Memo(Record[int], rules={"read": allow.role("staff")}):
    title: str


def make_app(**options: Any) -> App:
    app = App(Note, Memo, Team, Member, **{"store": fresh_store(), "auth": by_name, **options})

    @app.read("how-many")
    async def how_many(request: Request) -> Count:
        return Note.where(open=False).count()

    @app.read("mine")
    async def mine(request: Request) -> Query[Note]:
        return Note.where(owner=request.actor.id or "")

    return app


class Page:
    """What a page holds by what docs/reference/wire.md says, worked out anew from all that came."""

    def __init__(self, client: Client, socket: Socket) -> None:
        self._client = client
        self._socket = socket
        self._places: dict[str, tuple[str, str]] = {}  # the group and the lane of each subscription
        self._looked = 0

    async def subscribe(self, *names: str) -> None:
        """Subscribes to some of ASKED."""
        for name in names:
            answer = await self._socket.call("subscribe", {"sub": name, **ASKED[name]})
            self._places[name] = answer["group"], answer["lane"]

    async def settled(self) -> dict[str, Any]:
        """Waits until all that is committed and told has come; what each subscription holds then, by key or as its
        value, and None for one that has ended."""
        await self._client.app.settled()
        async with asyncio.timeout(10):
            while True:
                await self._socket.call("ping")
                held, ready = self._hold()
                if all(one is None or name in ready for name, one in held.items()):
                    return held

    def told(self) -> list[tuple[str, Any]]:
        """What has come since the last look, but for what only marks positions."""
        new = self._socket.notifications[self._looked :]
        self._looked = len(self._socket.notifications)
        return [
            (one["method"], one["params"]) for one in new if one["method"] not in ("commit", "ready", "ping", "acks")
        ]

    def _hold(self) -> tuple[dict[str, Any], set[str]]:
        sets: dict[str, Any] = {name: {} for name in self._places}
        places, ready = dict(self._places), set[str]()
        waiting: list[tuple[str, Mapping[str, Any]]] = []
        for one in self._socket.notifications:
            method, params = one["method"], one.get("params", {})
            sub = params.get("sub", "")
            match method:
                case "rights":
                    places[sub] = params["group"], params["lane"]
                case "reset":
                    ready.discard(sub)
                    waiting = [(name, frame) for name, frame in waiting if name != sub]
                    sets[sub] = {}
                case "snapshot":
                    _apply(sets, sub, {"added": params["records"]} if "records" in params else params)
                case "ready":
                    ready.add(sub)
                case "frame":
                    to = [sub] if sub else [name for name in ready if places[name][0] == params["group"]]
                    waiting += [(name, params) for name in to]
                case "commit":
                    lane = params.get("lane", "exact")
                    due = [one for one in waiting if places[one[0]][1] == lane]
                    waiting = [one for one in waiting if places[one[0]][1] != lane]
                    for name, frame in due:
                        _apply(sets, name, frame)
                case "problem":
                    sets[sub] = None
        return sets, ready


def _apply(sets: dict[str, Any], name: str, frame: Mapping[str, Any]) -> None:
    if "value" in frame:
        sets[name] = frame["value"]
        return
    held = sets.setdefault(name, {})
    for key in frame.get("removed", ()):
        held.pop(key, None)
    for record in frame.get("added", ()):
        held[record["id"]] = record
    for changed in frame.get("changed", ()):
        held[changed["key"]].update(changed["fields"])
        for field in changed.get("absent", ()):
            held[changed["key"]].pop(field, None)


async def fill(client: Client) -> None:
    records = client.app.records
    for title, owner, is_open, rank in (("hers", "ann", False, 1), ("open", "bob", True, 2), ("his", "bob", False, 3)):
        await records.create(Note, title=title, owner=owner, open=is_open, rank=rank, price=10 * rank)
    for title, user in (("red", "ann"), ("blue", "bob")):
        team = await records.create(Team, title=title)
        await records.create(Member, team=team.id, user=user)
    await records.create(Memo, title="memo")


async def begin(client: Client, socket: Socket, token: str, *names: str) -> Page:
    page = Page(client, socket)
    await socket.call("auth", {"token": token})
    await page.subscribe(*names)
    await page.settled()
    page.told()
    return page


async def test_a_narrower_token_removes_what_it_may_not_see_in_one_frame() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff", "all", "open", "mine")

        await socket.call("auth", {"token": "ann"})
        await page.settled()
        told = [
            (method, {k: v for k, v in params.items() if k not in ("key", "group", "lane")})
            for method, params in page.told()
        ]
        sort = [{"field": "id", "descending": False, "type": "integer"}]
        gone: list[dict[str, Any]] = [{"key": key, "fields": {}, "absent": ["price"]} for key in (1, 2)]
        assert told == [
            ("rights", {"sub": "all", "sort": sort}),
            ("frame", {"sub": "all", "changed": gone, "removed": [3]}),
            ("rights", {"sub": "open", "sort": sort}),
            ("frame", {"sub": "open", "changed": gone[1:]}),
            ("rights", {"sub": "mine", "sort": sort}),
            ("frame", {"sub": "mine", "changed": gone[:1]}),
        ]
        await client.app.records.create(Note, title="unseen", owner="bob")
        await client.app.records.update(Note, 1, title="Hers", price=99)
        await page.settled()
        assert [row["title"] for row in (await page.settled())["all"].values()] == ["Hers", "open"]
        assert "unseen" not in str(socket.notifications)
        assert "price" not in str(page.told())


async def test_once_auth_is_answered_nothing_comes_under_the_old_rights() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff", "all", "few", "teams")

        answered = asyncio.ensure_future(socket.call("auth", {"token": "ann"}))
        while not answered.done():
            await client.app.records.create(Note, title="under way", owner="bob", rank=9)
        page.told()
        for rank in range(5):
            await client.app.records.create(Note, title="his", owner="bob", rank=rank)
        await page.settled()
        assert page.told() == []


async def test_a_wider_token_adds_what_it_may_see_and_shows_more_of_what_is_held() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann", "all")

        await socket.call("auth", {"token": "ann:staff"})
        await page.settled()
        [(_, rights), (_, frame)] = page.told()
        assert rights["group"] != frame.get("group")
        assert [row["title"] for row in frame["added"]] == ["his"]
        assert frame["changed"] == [{"key": 1, "fields": {"price": 10}}, {"key": 2, "fields": {"price": 20}}]
        assert (await page.settled())["all"][3]["price"] == 30


async def test_a_subscription_that_other_rights_do_not_change_hears_nothing() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann", "all", "teams", "count", "few")
        await socket.call("auth", {"token": "ann:guest"})
        await page.settled()
        assert page.told() == []


async def test_where_the_new_rights_allow_nothing_all_is_removed_and_a_problem_ends_it() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff", "memos")

        await socket.call("auth", {"token": "ann"})
        await page.settled()
        [(_, rights), (_, frame), (method, ended)] = page.told()
        assert (rights["sub"], frame) == ("memos", {"sub": "memos", "removed": [1]})
        assert (method, ended["sub"], ended["problem"]["status"]) == ("problem", "memos", 403)
        await client.app.records.create(Memo, title="secret")
        await page.settled()
        assert page.told() == []
        await socket.call("subscribe", {"sub": "memos", "resource": "notes"})


async def test_rules_through_relations_windows_and_numbers_follow_the_new_rights() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff", "teams", "few", "count")
        assert [(await page.settled())["count"], sorted((await page.settled())["teams"])] == [2, [1, 2]]

        await socket.call("auth", {"token": "bob"})
        held = await page.settled()
        assert (sorted(held["teams"]), sorted(held["few"]), held["count"]) == ([2], [2, 3], 1)
        await client.app.records.create(Member, team=1, user="bob")
        await client.app.records.create(Note, title="new", owner="bob", rank=9)
        held = await page.settled()
        assert (sorted(held["teams"]), sorted(held["few"]), held["count"]) == ([1, 2], [3, 4], 2)


async def test_the_same_account_with_other_roles_is_moved_by_a_revocation() -> None:
    roles = {"ann": frozenset({"staff"})}

    def authenticate(credentials: Credentials) -> Actor | None:
        return Actor(id="ann", roles=roles["ann"]) if credentials.token else None

    async with Client(make_app(auth=authenticate)) as client, client.acting("t").websocket() as socket:
        await fill(client)
        page = Page(client, socket)
        await page.subscribe("all", "few")
        await page.settled()
        roles["ann"] = frozenset()
        await client.app.revoke(account="ann")
        await page.settled()
        assert (sorted((await page.settled())["all"]), sorted((await page.settled())["few"])) == ([1, 2], [1, 2])
        assert "reset" not in [method for method, params in page.told() if params.get("sub") == "all"]


async def test_what_was_moved_is_resumed_with_its_new_key() -> None:
    async with Client(make_app()) as client:
        await fill(client)
        async with client.websocket() as socket:
            page = await begin(client, socket, "ann:staff", "all")
            await socket.call("auth", {"token": "ann"})
            await page.settled()
            key, cursor = page.told()[0][1]["key"], socket.notifications[-1]["params"]["cursor"]
        await client.app.records.create(Note, title="meanwhile", owner="ann")
        await client.settled()
        async with client.acting("ann").websocket() as socket:
            given = await socket.call("subscribe", {"sub": "s", **ASKED["all"], "cursor": cursor, "key": key})
            await socket.call("ping")
            assert given["resumed"]
            [frame] = [one["params"] for one in socket.notifications if one["method"] == "frame"]
            assert [row["title"] for row in frame["added"]] == ["meanwhile"]


async def test_changes_that_come_while_it_is_moved_are_told_once() -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff", "all", "few", "teams")

        async def write() -> None:
            for rank in range(20):
                await client.app.records.create(Note, title=f"t{rank}", owner="ann", rank=rank)
                await client.app.records.update(Note, 1, open=rank % 2 == 0)

        async def change() -> None:
            for token in ("ann", "ann:staff", "bob", "ann:staff", "ann"):
                await socket.call("auth", {"token": token})

        await asyncio.gather(write(), change())
        await page.settled()
        fresh = {row["id"]: row for row in (await client.acting("ann").get("/notes?limit=100")).json}
        assert (await page.settled())["all"] == fresh
        added = [row["id"] for method, params in page.told() if method == "frame" for row in params.get("added", ())]
        assert added


async def test_a_set_that_was_being_read_under_the_old_rights_is_not_told_any_more() -> None:
    store = Faulty(open_store(fresh_store()))
    async with Client(make_app(store=store)) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann:staff")
        with store.gate("before read") as gate:
            await page.subscribe("all")
            await gate.reached()
            await socket.call("auth", {"token": "bob"})
        held = await page.settled()
        assert sorted(held["all"]) == [2, 3]
        [shown] = [params["records"] for method, params in page.told() if method == "snapshot"]
        assert {row["id"]: row for row in shown} == held["all"]


async def test_who_is_moved_after_a_reset_gets_the_whole_set() -> None:
    store = Faulty(open_store(fresh_store()))
    limits = Limits(live=LiveLimits(events=2))
    async with Client(make_app(store=store, limits=limits)) as client, client.websocket() as socket:
        await fill(client)
        page = await begin(client, socket, "ann", "titles")
        with store.gate("after batch") as gate:
            async with client.app.records.batch() as batch:
                for number in range(3):
                    batch.create(Note, title=f"more {number}", owner="ann")
            await gate.reached()
            moving = asyncio.ensure_future(socket.call("auth", {"token": "ann:staff"}))
            for _ in range(50):  # as far as it comes, which is to where it waits for the batch
                await asyncio.sleep(0)
        await moving
        held = (await page.settled())["titles"]
        titles = {key: row["title"] for key, row in held.items()}
        assert titles == {1: "hers", 2: "open", 3: "his", 4: "more 0", 5: "more 1", 6: "more 2"}


@pytest.mark.parametrize("names", [("teams",), ("teams", "all")])
async def test_all_queries_of_a_stream_are_void_before_one_of_them_begins_again(names: tuple[str, ...]) -> None:
    roles = {"ann": frozenset({"staff"})}

    def authenticate(credentials: Credentials) -> Actor | None:
        return Actor(id="ann", roles=roles["ann"]) if credentials.token else None

    store = Faulty(open_store(fresh_store()))
    queries = {"queries": json.dumps({name: ASKED[name] for name in names})}
    async with Client(make_app(store=store, auth=authenticate)) as client:
        await fill(client)
        async with client.acting("t").stream("/subscribe", params=queries) as stream:
            for _ in names:
                await stream.until("ready")
            roles["ann"] = frozenset()
            with store.gate("after batch") as gate:
                await client.app.records.create(Note, title="hidden", owner="bob")
                await gate.reached()
                revoking = asyncio.ensure_future(client.app.revoke(account="ann"))
                told = await stream.until("reset")  # a set of keys is loaded only behind the gate
            await revoking
            events = [*told, *[event for _ in names for event in await stream.until("ready")]]
            kinds = [(event.kind, event.data["query"]) for event in events]
            assert kinds[: len(names)] == [("reset", name) for name in names]
            assert "hidden" not in [event.data["record"]["title"] for event in events if event.kind == "added"]
            await client.app.records.create(Member, team=2, user="ann")
            assert [event.data["record"]["title"] for event in await stream.until("added")] == ["blue"]


TOKENS = st.sampled_from([None, "ann", "bob", "ann:staff", "bob:staff", "eve"])
STEPS = st.one_of(
    st.tuples(st.just("auth"), TOKENS),
    st.tuples(st.just("create"), st.tuples(st.sampled_from(["ann", "bob", ""]), st.booleans(), st.integers(0, 5))),
    st.tuples(st.just("update"), st.tuples(st.integers(1, 5), st.sampled_from(["ann", "bob"]), st.booleans())),
    st.tuples(st.just("delete"), st.integers(1, 5)),
    st.tuples(st.just("member"), st.tuples(st.integers(1, 2), st.sampled_from(["ann", "bob", "eve"]))),
    st.tuples(st.just("settle"), st.none()),
)


async def _do(client: Client, step: str, given: Any) -> None:
    records = client.app.records
    keys = [row.id for row in await records.list(Note)]
    match step:
        case "create":
            await records.create(Note, title="n", owner=given[0], open=given[1], rank=given[2], price=given[2])
        case "update" if given[0] in keys:
            await records.update(Note, given[0], owner=given[1], open=given[2])
        case "delete" if given in keys:
            await records.delete(Note, given)
        case "member":
            await records.create(Member, team=given[0], user=given[1])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=12))
async def test_after_any_changes_of_rights_and_records_a_page_holds_what_a_fresh_one_would(steps: list[Any]) -> None:
    async with Client(make_app()) as client, client.websocket() as socket:
        await fill(client)
        page, token = await begin(client, socket, "ann:staff", "all", "few", "open", "teams", "count"), "ann:staff"
        for step, given in steps:
            if step == "settle":
                await page.settled()
            elif step == "auth":
                await socket.call("auth", {"token": given})
                token = given
            else:
                await _do(client, step, given)
        held = await page.settled()
        reader = client.acting(token)
        for name, url in (
            ("all", "/notes?limit=100"),
            ("few", "/notes?sort=-rank&limit=2"),
            ("open", "/notes?open=true"),
            ("teams", "/teams"),
        ):
            answer = await reader.get(url)
            if answer.status != 200:
                assert held[name] is None, name
            elif held[name] is not None:
                assert held[name] == {row["id"]: row for row in answer.json}, name
        if held["count"] is not None:
            assert held["count"] == (await reader.get("/how-many")).json
