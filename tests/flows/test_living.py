"""Living connections while who is behind them changes: credentials that expire, are renewed, or are revoked."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import Actor, App, Credentials, Record, Request, Unauthorized, allow, me
from crudite.testing import Client, Clock, Event, Refusal, Stream, View
from tests.flows.worlds import client_for, titles
from tests.services.stores import fresh_store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Note(
    Record[int],
    rules={"read": allow.where(owner=me.id) | allow.where(open=True) | allow.role("staff"), "create": allow.everyone},
):
    title: str
    owner: str
    open: bool = False


class Memo(Record[int], rules={"read": allow.role("staff"), "create": allow.everyone}):
    title: str


class Sessions:
    """Who is signed in with which token; what a test changes counts from the next question on."""

    def __init__(self, **actors: Actor) -> None:
        self.actors = dict(actors)
        self.asked = 0

    def __call__(self, credentials: Credentials) -> Actor | None:
        self.asked += 1
        token = credentials.token or credentials.cookies.get("session")
        if token is None:
            return None
        if token not in self.actors:
            raise Unauthorized("There is no such session.")
        return self.actors[token]


def ann(*roles: str, expires: datetime | None = None, session: str | None = None) -> Actor:
    return Actor(id="ann", roles=frozenset(roles), expires=expires, session=session)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


async def fill(client: Client) -> None:
    for title, owner, is_open in (("hers", "ann", False), ("open", "bob", True), ("his", "bob", False)):
        await client.app.records.create(Note, title=title, owner=owner, open=is_open)


def told(socket: Any, method: str) -> list[dict[str, Any]]:
    return [one.get("params", {}) for one in socket.notifications if one["method"] == method]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_moment_of_expiry_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Actor(id="ann", expires=NOON.replace(tzinfo=None))


async def test_a_request_with_expired_credentials_is_refused(clock: Clock) -> None:
    sessions = Sessions(t=ann(expires=NOON + timedelta(minutes=5)))
    async with client_for(Note, auth=sessions, clock=clock) as client:
        await fill(client)
        clock.advance(timedelta(minutes=4, seconds=59))
        assert titles(await client.acting("t").get("/notes")) == ["hers", "open"]
        clock.advance(timedelta(seconds=1))
        refused = await client.acting("t").get("/notes")

    assert (refused.status, refused.json["detail"]) == (401, "The credentials have expired.")
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_websocket_is_warned_before_its_credentials_expire_and_then_closed_to_be_resumed(clock: Clock) -> None:
    sessions = Sessions(old=ann(expires=NOON + timedelta(minutes=5)), new=ann())
    async with client_for(Note, auth=sessions, clock=clock) as client:
        await fill(client)
        view = View(5.0)
        async with client.acting("old").websocket() as socket:
            await socket.subscribe("s", {"resource": "notes"}, view)
            await view.ready()
            clock.advance(timedelta(minutes=3, seconds=59))
            await socket.call("ping")
            assert told(socket, "auth_expiring") == []
            clock.advance(timedelta(seconds=1))
            await socket.call("ping")
            assert told(socket, "auth_expiring") == [{"in": 60}]
            clock.advance(timedelta(seconds=60))
            assert await socket.closed() == 4401
            assert told(socket, "problem")[0]["problem"]["detail"] == "The credentials have expired."
        await client.app.records.create(Note, title="meanwhile", owner="ann")
        await client.settled()

        again = View(5.0, view)
        async with client.acting("new").websocket() as socket:
            await socket.subscribe("s", {"resource": "notes"}, again)
            assert titles(await again.ready()) == ["hers", "open", "meanwhile"]
        assert again.resumed


async def test_credentials_that_hold_for_less_than_the_warning_are_warned_of_at_once(clock: Clock) -> None:
    sessions = Sessions(t=ann(expires=NOON + timedelta(seconds=7.5)))
    async with client_for(Note, auth=sessions, clock=clock) as client, client.websocket() as socket:
        await socket.call("auth", {"token": "t"})
        await socket.call("ping")
        await socket.call("ping")
        assert told(socket, "auth_expiring") == [{"in": 8}]


async def test_auth_in_place_renews_what_would_expire(clock: Clock) -> None:
    sessions = Sessions(
        old=ann(expires=NOON + timedelta(minutes=5)),
        new=ann(expires=NOON + timedelta(hours=1)),
        late=ann(expires=NOON),
    )
    async with client_for(Note, auth=sessions, clock=clock) as client, client.websocket() as socket:
        await fill(client)
        view = View(5.0)
        await socket.call("auth", {"token": "old"})
        await socket.subscribe("s", {"resource": "notes"}, view)
        await view.ready()
        clock.advance(timedelta(minutes=4))
        with pytest.raises(Refusal) as refusal:
            await socket.call("auth", {"token": "late"})
        assert (refusal.value.status, refusal.value.problem["detail"]) == (401, "The credentials have expired.")
        await socket.call("auth", {"token": "new"})
        clock.advance(timedelta(minutes=50))
        await client.app.records.create(Note, title="later", owner="ann")
        assert titles(await view.until(lambda rows: len(rows) == 3)) == ["hers", "open", "later"]
        assert told(socket, "auth_expiring") == [{"in": 60}]
        clock.advance(timedelta(minutes=6))
        assert await socket.closed() == 4401


async def test_who_has_left_the_credentials_behind_is_not_bound_to_their_expiry(clock: Clock) -> None:
    sessions = Sessions(t=ann(expires=NOON + timedelta(minutes=5)))
    async with client_for(Note, auth=sessions, clock=clock) as client, client.websocket() as socket:
        await socket.call("auth", {"token": "t"})
        await socket.call("auth", {"token": None})
        clock.advance(timedelta(hours=1))
        await socket.call("ping")
        assert told(socket, "auth_expiring") == []


async def test_an_event_stream_ends_with_its_credentials_says_why_and_can_be_resumed(clock: Clock) -> None:
    sessions = Sessions(s1=ann(expires=NOON + timedelta(minutes=5)))
    cookie = {"cookie": "session=s1"}
    async with client_for(Note, auth=sessions, clock=clock) as client:
        await fill(client)
        async with client.stream("/notes/subscribe", headers=cookie) as stream:
            await stream.until("ready")
            held = stream.last_id
            clock.advance(timedelta(minutes=5))
            event = await stream.next()
            assert (event.kind, event.data["problem"]["status"], stream.last_id) == ("problem", 401, held)
            with pytest.raises(EOFError):
                await stream.next()
        with pytest.raises(Refusal) as refusal:
            async with client.stream("/notes/subscribe", headers=cookie, last_event_id=held):
                pass
        assert refusal.value.status == 401

        sessions.actors["s1"] = ann(expires=NOON + timedelta(hours=1))
        await client.app.records.create(Note, title="meanwhile", owner="ann")
        await client.settled()
        async with client.stream("/notes/subscribe", headers=cookie, last_event_id=held) as stream:
            assert [event.kind for event in await stream.until("ready")] == ["added", "ready"]


async def test_revoking_takes_an_account_or_a_session() -> None:
    async with client_for(Note) as client:
        with pytest.raises(TypeError):
            await client.app.revoke()
        with pytest.raises(TypeError):
            await client.app.revoke(account="ann", session="s1")


async def test_a_revoked_session_is_closed_everywhere_and_no_other() -> None:
    sessions = Sessions(s1=ann(session="1"), s2=ann(session="2"))
    async with client_for(Note, auth=sessions) as client:
        await fill(client)
        first, second = client.acting("s1"), client.acting("s2")
        async with (
            first.websocket() as gone, second.websocket() as kept,
            first.stream("/notes/subscribe") as ended, second.stream("/notes/subscribe") as going,
        ):  # fmt: skip
            lost, view = View(5.0), View(5.0)
            await gone.subscribe("s", {"resource": "notes"}, lost)
            await kept.subscribe("s", {"resource": "notes"}, view)
            await lost.ready()
            await view.ready()
            await ended.until("ready")
            await going.until("ready")

            del sessions.actors["s1"]
            asked = sessions.asked
            await client.app.revoke(session="1")
            assert sessions.asked == asked + 2
            await client.app.records.create(Note, title="later", owner="ann")

            assert await gone.closed() == 4401
            assert told(gone, "problem")[0]["problem"]["detail"] == "There is no such session."
            assert [event.kind async for event in _rest(ended)] == ["problem"]
            assert titles(await view.until(lambda rows: len(rows) == 3)) == ["hers", "open", "later"]
            assert (await going.next()).data["title"] == "later"
            assert "later" not in str(gone.notifications)


async def test_a_revoked_account_is_closed_in_all_its_sessions() -> None:
    sessions = Sessions(s1=ann(session="1"), s2=ann(session="2"), s3=Actor(id="bob"))
    async with (
        client_for(Note, auth=sessions) as client, client.acting("s1").websocket() as one,
        client.acting("s2").websocket() as two, client.acting("s3").websocket() as other,
    ):  # fmt: skip
        for socket in (one, two, other):
            await socket.call("notes.list")
        sessions.actors = {"s3": Actor(id="bob"), "s2": Actor(id="eve")}
        asked = sessions.asked
        await client.app.revoke(account="ann")
        assert sessions.asked == asked + 2
        assert (await one.closed(), await two.closed()) == (4401, 4401)
        assert told(two, "problem")[0]["problem"]["detail"] == "The credentials have been revoked."
        await other.call("notes.list")


async def test_whoever_nobody_can_ask_about_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions(s1=ann())

    async def authenticate(credentials: Credentials) -> Actor | None:
        if sessions.asked:
            raise ConnectionError("no database")
        return sessions(credentials)

    async with client_for(Note, auth=authenticate) as client, client.acting("s1").websocket() as socket:
        await socket.subscribe("s", {"resource": "notes"}, View(5.0))
        await client.app.revoke(account="ann")
        assert await socket.closed() == 4401
    assert "could not be asked about" in caplog.text


async def test_a_revocation_leaves_alone_who_has_shown_nothing_yet() -> None:
    sessions = Sessions(s1=ann())

    def authenticate(credentials: Credentials) -> Actor | None:
        if credentials.token is None:
            raise Unauthorized("Sign in.")
        return sessions(credentials)

    async with client_for(Note, auth=authenticate) as client, client.websocket() as socket:
        await client.app.revoke(account="ann")
        assert await socket.call("auth", {"token": "s1"}) == {"actor": {"id": "ann", "roles": []}}


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_revocation_reaches_who_is_only_just_subscribing(is_known: bool) -> None:
    sessions = Sessions(s1=ann("staff"))
    asked_again = asyncio.Event()
    revoking: list[asyncio.Future[None]] = []

    async def authenticate(credentials: Credentials) -> Actor | None:
        if revoking:
            asked_again.set()
        return sessions(credentials)

    app = App(Note, store=fresh_store(), auth=authenticate)

    @app.use
    async def ends_the_session(request: Request, next: Any) -> Any:
        if request.is_live and not revoking:
            del sessions.actors["s1"]
            revoking.append(asyncio.ensure_future(app.revoke(account="ann")))
            await asyncio.wait_for(asked_again.wait(), 5)
        return await next()

    async with Client(app) as client, client.acting("s1").websocket() as socket:
        view = View(5.0)
        if is_known:
            await socket.call("notes.list")
            with pytest.raises(Refusal) as refusal:
                await socket.subscribe("s", {"resource": "notes"}, view)
            assert await socket.closed() == 4401
        else:
            await socket.subscribe("s", {"resource": "notes"}, view)
            with pytest.raises(Refusal) as refusal:
                await view.until(lambda rows: False)
        assert refusal.value.status == 401
        await revoking.pop()


@pytest.mark.parametrize("is_good", [False, True])
async def test_a_revocation_judges_who_is_showing_other_credentials_by_those(is_good: bool) -> None:
    sessions = Sessions(s1=ann(), s2=Actor(id="bob"))
    found, asked_again, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def authenticate(credentials: Credentials) -> Actor | None:
        actor = sessions(credentials)
        if credentials.token == "s2":
            found.set()
            await gate.wait()
        elif found.is_set():
            asked_again.set()
        return actor

    async with client_for(Note, auth=authenticate) as client, client.acting("s1").websocket() as socket:
        view = View(5.0)
        await socket.subscribe("s", {"resource": "notes"}, view)
        await view.ready()
        showing = asyncio.ensure_future(socket.call("auth", {"token": "s2"}))
        await found.wait()
        if not is_good:
            del sessions.actors["s2"]
        revoking = asyncio.ensure_future(client.app.revoke(account="bob"))
        await asyncio.wait_for(asked_again.wait(), 5)  # about the credentials that still count
        gate.set()
        assert (await showing)["actor"]["id"] == "bob"
        await revoking
        if is_good:
            await socket.call("ping")
            assert [one["sub"] for one in told(socket, "rights")] == ["s"]  # moved once, and never back
        else:
            assert await socket.closed() == 4401


async def test_a_call_that_ends_its_own_session_is_answered_and_nothing_is_live_from_then_on() -> None:
    sessions = Sessions(s1=ann(session="1"))
    app = App(Note, store=fresh_store(), auth=sessions)

    @app.create("sign-out")
    async def sign_out(request: Request) -> str:
        sessions.actors.clear()
        await app.revoke(session="1")
        await app.records.create(Note, title="late", owner="ann")
        await app.settled()
        return "done"

    async with Client(app) as client, client.acting("s1").websocket() as socket:
        view = View(5.0)
        await socket.subscribe("s", {"resource": "notes"}, view)
        await view.ready()
        assert await socket.call("sign-out") == {"data": "done"}
        assert await socket.closed() == 4401
        assert "late" not in str(socket.notifications)


async def test_who_showed_a_bad_token_is_still_who_he_was_and_can_be_revoked() -> None:
    sessions = Sessions(s1=ann())
    async with client_for(Note, auth=sessions) as client, client.acting("s1").websocket() as socket:
        await socket.call("notes.list")
        with pytest.raises(Refusal):
            await socket.call("auth", {"token": "bad"})
        del sessions.actors["s1"]
        await client.app.revoke(account="ann")
        assert await socket.closed() == 4401


async def test_an_event_stream_begins_again_where_its_rights_have_changed() -> None:
    sessions = Sessions(s1=ann("staff"))
    async with client_for(Note, Memo, auth=sessions) as client:
        await fill(client)
        async with client.acting("s1").live("notes") as view:
            assert titles(await view.ready()) == ["hers", "open", "his"]
            sessions.actors["s1"] = ann()
            await client.app.revoke(account="ann")
            assert titles(await view.until(lambda rows: len(rows) == 2)) == ["hers", "open"]
            assert [data["reason"] for kind, data in view.events if kind == "reset"] == ["rights"]
            await client.app.records.create(Note, title="unseen", owner="bob")
            await client.app.records.create(Note, title="seen", owner="ann")
            assert titles(await view.until(lambda rows: len(rows) == 3)) == ["hers", "open", "seen"]
            events = len(view.events)
            await client.app.revoke(account="ann")
            await client.settled()
            assert len(view.events) == events
        async with client.acting("s1").live("notes", resume=view) as again:
            await again.ready()
            assert again.resumed


async def test_a_query_of_an_event_stream_that_other_rights_refuse_ends_and_the_others_go_on() -> None:
    sessions = Sessions(s1=ann("staff"))
    both = {"queries": '{"memos": {"resource": "memos"}, "notes": {"resource": "notes"}}'}
    async with client_for(Note, Memo, auth=sessions) as client:
        await fill(client)
        await client.app.records.create(Memo, title="m")
        async with client.acting("s1").stream("/subscribe", params=both) as stream:
            await stream.until("ready")
            await stream.until("ready")
            held = stream.last_id
            sessions.actors["s1"] = ann()
            await client.app.revoke(account="ann")
            events = await stream.until("ready")
            seen = [(event.kind, event.data["query"]) for event in events]
            assert seen[:3] == [("reset", "memos"), ("problem", "memos"), ("reset", "notes")]
            assert [event.data["record"]["title"] for event in events[3:-1]] == ["hers", "open"]
            assert {event.id for event in events[:-1]} == {"0"}
            assert stream.last_id not in ("0", held)


async def _rest(stream: Stream) -> AsyncIterator[Event]:
    while True:
        try:
            yield await stream.next()
        except EOFError:
            return
