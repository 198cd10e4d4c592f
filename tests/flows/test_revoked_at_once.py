"""Rights that end or change while something is under way: nothing is told, or becomes live, under the old ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import pytest

from crudite import Actor, App, Credentials, Many, Parent, Record, Ref, Request, Unauthorized, allow, me
from crudite.auth import FAREWELL
from crudite.stores import open_store
from crudite.testing import Client, Clock, Refusal, View
from crudite.testing.faults import Faulty
from tests.flows.test_runner import BOTH, Raw, frame, handshake, until_true
from tests.flows.worlds import titles
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

HOUR = timedelta(hours=1)
How = Literal["revoked", "expired"]
HOWS: tuple[How, ...] = ("revoked", "expired")


class Team(Record[str], rules={"read": allow.everyone}):
    members: Many["Member"]


class Member(Record[str], rules={"read": allow.everyone}):
    team: Parent[Team]
    user: str


class Task(Record[str], rules={"read": allow.where(team__members__user=me.id)}):
    team: Ref[Team] | None = None
    title: str = ""


class Note(Record[int], rules={"read": allow.role("staff") | allow.where(open=True)}):
    title: str = ""
    open: bool = False


class Signed:
    """Ann's session, and how it ends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.is_good = True
        self.ends = self.clock() + HOUR

    def __call__(self, credentials: Credentials) -> Actor | None:
        if credentials.token is None:
            return None
        if not self.is_good:
            raise Unauthorized("Signed out.")
        return Actor(id="ann", expires=self.ends, roles=frozenset({"staff"}))

    async def end(self, app: App, how: How) -> None:
        if how == "revoked":
            self.is_good = False
            await app.revoke(account="ann")
        else:
            self.clock.advance(HOUR)


class World:
    """Ann's application, whose rule for tasks rests on who is in a team; a call waits until `go_on`."""

    def __init__(self) -> None:
        self.signed, self.go_on = Signed(), asyncio.Event()
        self.store = Faulty(open_store(fresh_store()))
        self.app = App(Team, Member, Task, store=self.store, auth=self.signed, clock=self.signed.clock)

        @self.app.read("wait")
        async def wait(request: Request) -> str:
            await asyncio.wait_for(self.go_on.wait(), 10)
            return "done"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client(self.app) as client:
            await client.app.records.create(Team, id="p")
            await client.app.records.create(Member, id="m", team="p", user="ann")
            await client.app.records.create(Task, id="t", team="p", title="secret")
            yield client.acting("ann")


@pytest.mark.parametrize("how", HOWS)
async def test_a_subscription_under_way_is_refused_and_nothing_of_it_is_told(how: How) -> None:
    world = World()
    async with world.client() as client, client.websocket() as socket:
        await socket.call("tasks.list")
        waiting = asyncio.ensure_future(socket.call("wait"))  # so that the connection is still there
        with world.store.gate("before fetch") as gate:  # the set of teams by which the rule judges is being loaded
            subscribing = asyncio.ensure_future(socket.call("subscribe", {"sub": "s", "resource": "tasks"}))
            await gate.reached()
            await world.signed.end(world.app, how)
        with pytest.raises(Refusal) as refusal:
            await subscribing
        assert refusal.value.status == 401
        await world.app.records.create(Task, id="t2", team="p", title="secret")
        await world.app.settled()
        assert world.app.engine.metrics.live_subs == 0
        world.go_on.set()
        assert await waiting == {"data": "done"}
        assert await socket.closed() == 4401
        assert "secret" not in json.dumps(socket.notifications)


@pytest.mark.parametrize("how", HOWS)
async def test_a_stream_that_opens_is_refused(how: How) -> None:
    world = World()
    async with world.client() as client:
        with world.store.gate("before fetch") as gate:
            opening = asyncio.ensure_future(client.get("/tasks/subscribe"))
            await gate.reached()
            await world.signed.end(world.app, how)
        refused = await asyncio.wait_for(opening, 10)
        assert (refused.status, refused.json["code"]) == (401, "unauthorized")
        assert not world.app.engine.connections


async def test_other_credentials_are_refused_by_a_connection_whose_own_have_ended() -> None:
    world, asked, answer = World(), asyncio.Event(), asyncio.Event()

    async def authenticate(credentials: Credentials) -> Actor | None:
        if credentials.token == "bob":
            asked.set()
            await answer.wait()
            return Actor(id="bob")
        return world.signed(credentials)

    app = App(Note, store=fresh_store(), auth=authenticate, clock=world.signed.clock)
    async with Client(app) as client, client.acting("ann").websocket() as socket:
        await socket.call("notes.list")
        showing = asyncio.ensure_future(socket.call("auth", {"token": "bob"}))
        await asyncio.wait_for(asked.wait(), 10)
        await world.signed.end(app, "expired")
        answer.set()
        with pytest.raises(Refusal, match="401"):
            await showing
        assert await socket.closed() == 4401


class Slow:
    """Finds out at once who somebody is, but says so only when it is let."""

    def __init__(self) -> None:
        self.roles = frozenset({"staff"})
        self.holds = False
        self.held: list[asyncio.Event] = []

    async def answer(self, credentials: Credentials) -> Actor | None:
        found = Actor(id="ann", roles=self.roles)
        if self.holds:
            self.held.append(asyncio.Event())
            await self.held[-1].wait()
        return found

    def let_go(self) -> None:
        for one in self.held:
            one.set()


async def fill(app: App) -> None:
    await app.records.create(Note, id=1, title="hidden")
    await app.records.create(Note, id=2, title="open", open=True)


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_of_two_revocations_at_once_the_later_question_decides(over: Literal["websocket", "sse"]) -> None:
    slow = Slow()
    app = App(Note, store=fresh_store(), auth=slow.answer)
    async with Client(app) as client, client.acting("t").live("notes", over=over) as view:
        await fill(app)
        await view.until(lambda rows: len(rows) == 2)
        slow.holds = True
        first = asyncio.ensure_future(app.revoke(account="ann"))
        await until_true(lambda: bool(slow.held))
        slow.holds, slow.roles = False, frozenset()
        await app.revoke(account="ann")
        assert titles(await view.until(lambda rows: len(rows) == 1)) == ["open"]

        slow.let_go()
        await first
        await app.records.create(Note, id=3, title="hidden, too")
        await app.records.create(Note, id=4, title="also open", open=True)
        assert titles(await view.until(lambda rows: any(row["id"] == 4 for row in rows))) == ["open", "also open"]
        assert "hidden, too" not in str(view.events)


@pytest.mark.parametrize("is_stale", [True, False])
async def test_who_a_subscription_has_found_somebody_to_be_since_counts_for_all_others(is_stale: bool) -> None:
    slow = Slow()
    app = App(Note, store=fresh_store(), auth=slow.answer)
    async with Client(app) as client, client.acting("t").websocket() as socket:
        await fill(app)
        first, second = View(5.0), View(5.0)
        await socket.subscribe("first", {"resource": "notes"}, first)
        assert titles(await first.ready()) == ["hidden", "open"]
        if not is_stale:
            slow.roles = frozenset()
        slow.holds = True
        revoking = asyncio.ensure_future(app.revoke(account="ann"))
        await until_true(lambda: bool(slow.held))
        slow.holds, slow.roles = False, frozenset()
        await socket.subscribe("second", {"resource": "notes"}, second)
        assert titles(await second.ready()) == ["open"]
        slow.let_go()
        await revoking
        await app.records.create(Note, id=3, title="also open", open=True)
        for view in (first, second):
            assert titles(await view.until(lambda rows: any(row["id"] == 3 for row in rows))) == ["open", "also open"]


async def test_a_refusal_that_is_older_than_another_answer_does_not_count() -> None:
    refusals: list[asyncio.Event] = []
    is_refused = False

    async def authenticate(credentials: Credentials) -> Actor | None:
        if is_refused:
            refusals.append(asyncio.Event())
            await refusals[-1].wait()
            raise Unauthorized("Signed out.")
        return Actor(id="ann", roles=frozenset({"staff"}))

    app = App(Note, store=fresh_store(), auth=authenticate)
    async with Client(app) as client, client.acting("t").live("notes", over="websocket") as view:
        await fill(app)
        await view.until(lambda rows: len(rows) == 2)
        is_refused = True
        first = asyncio.ensure_future(app.revoke(account="ann"))
        await until_true(lambda: bool(refusals))
        is_refused = False
        await app.revoke(account="ann")
        refusals[0].set()
        await first
        await app.records.create(Note, id=3)
        await view.until(lambda rows: len(rows) == 3)


async def test_who_is_revoked_while_it_shows_something_that_is_refused_is_closed_and_not_nobody() -> None:
    refusals: list[asyncio.Event] = []

    async def authenticate(credentials: Credentials) -> Actor | None:
        if is_good:
            return Actor(id="ann")
        refusals.append(asyncio.Event())
        await refusals[-1].wait()
        raise Unauthorized("Signed out.")

    is_good = True
    app = App(Note, store=fresh_store(), auth=authenticate)
    async with Client(app) as client, client.acting("t").websocket() as socket:
        await socket.call("notes.list")
        is_good = False
        showing = asyncio.ensure_future(socket.call("auth", {"token": "another"}))
        await until_true(lambda: len(refusals) == 1)
        revoking = asyncio.ensure_future(app.revoke(account="ann"))
        await until_true(lambda: len(refusals) == 2)
        refusals[1].set()
        for _ in range(20):  # the revocation has found out that it is refused, and waits for the call
            await asyncio.sleep(0)
        refusals[0].set()
        with pytest.raises(Refusal, match="401"):
            await showing
        await revoking
        assert await socket.closed() == 4401


RECORDS, SIZE = 200, 200_000  # more than the buffers of any system hold


class Large(Record[int], rules=allow.signed_in):
    text: str = ""


@asynccontextmanager
async def one_that_takes_nothing(kind: Kind, opening: bytes, *calls: Any) -> AsyncIterator[tuple[App, Signed, Raw]]:
    """A client that has begun to get a large set, of which it takes nothing."""
    signed, go_on = Signed(), asyncio.Event()
    app = App(Large, store=fresh_store(), auth=signed, clock=signed.clock)

    @app.read("wait")
    async def wait(request: Request) -> str:
        await go_on.wait()
        return "done"

    async with app, running(app, kind) as port:
        for _ in range(RECORDS):
            await app.records.create(Large, text="x" * SIZE)
        client = await Raw.to(port, opening.replace(b"host:", b"authorization: Bearer t\r\nhost:"))
        try:
            if calls:
                await client.until(b"\r\n\r\n")
            for call in calls:
                client.writer.write(frame(json.dumps(call).encode()))
            await until_true(lambda: app.engine.metrics.snapshots == 1)
            yield app, signed, client
        finally:
            go_on.set()
            client.close()


SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"sub": "s", "resource": "larges"}}
STREAM = b"GET /larges/subscribe HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_what_waits_for_a_slow_client_is_given_up(kind: Kind, over: str) -> None:
    calls = [SUBSCRIBE] if over == "websocket" else []
    async with one_that_takes_nothing(kind, STREAM if over == "sse" else handshake(0), *calls) as (app, signed, client):
        await signed.end(app, "revoked")
        await until_true(lambda: not app.engine.connections)
        got = await client.until(b"Signed out.")
        assert b'"ready"' not in got
        assert b"event: ready" not in got
        assert got.count(b"x" * SIZE) < RECORDS // 2


WAIT = {"jsonrpc": "2.0", "id": 0, "method": "wait", "params": {}}


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_neither_a_client_that_takes_nothing_nor_a_call_is_waited_for_longer_than_a_while(over: str) -> None:
    calls = [WAIT, SUBSCRIBE] if over == "websocket" else []
    async with one_that_takes_nothing("ours", STREAM if over == "sse" else handshake(0), *calls) as (app, signed, _):
        await signed.end(app, "revoked")
        await until_true(lambda: not app.engine.connections)
        signed.clock.advance(FAREWELL - timedelta(seconds=1))
        assert app.admission.living.total() == 1
        signed.clock.advance(timedelta(seconds=1))
        await until_true(lambda: not app.admission.living.total())
