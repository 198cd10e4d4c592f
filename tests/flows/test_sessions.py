"""Sessions: a cookie or a bearer token that says who somebody is, for as long as its row is there."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from crudite import (
    Actor,
    App,
    Credentials,
    DeclarationError,
    Email,
    Field,
    Password,
    Request,
    Resource,
    Sessions,
    allow,
    me,
)
from crudite.auth.api_keys import ApiKeys
from crudite.resources.writing.passwords import Hashing
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import ANN, DAY, HOUR, PASSWORD, QUICK, Account, Browser, Note, ann_in, app_for, sessions_of
from tests.flows.worlds import titles
from tests.services.stores import foreign, fresh_store, kept_store


async def test_who_knows_the_password_gets_a_cookie_that_only_the_server_reads() -> None:
    async with app_for() as app:
        ann = await app.records.create(Account, **ANN)
        browser = Browser(app)
        answer = await browser.log_in()
        assert (answer.status, answer.json["account"]) == (200, str(ann.id))
        assert "token" not in answer.json
        assert browser.given is not None
        name, *attributes = browser.given.split("; ")
        assert name.startswith("__Host-sid=crs_")
        assert sorted(attributes) == [
            "Expires=Mon, 01 Apr 2030 12:00:00 GMT", "HttpOnly", "Path=/", "SameSite=Lax", "Secure",
        ]  # fmt: skip
        assert (await browser.post("/notes", {"title": "hers"})).status == 201
        assert titles(await browser.get("/notes")) == ["hers"]
        assert (await Browser(app).get("/notes")).status == 401


async def test_nobody_learns_whether_the_name_or_the_password_was_wrong() -> None:
    async with app_for(only=allow.where(blocked=False)) as app:
        await app.records.create(Account, **ANN)
        await app.records.create(Account, email="eve@example.org", password=PASSWORD, blocked=True)
        browser = Browser(app)
        tries = [
            ("ann@example.org", "wrong horse"), ("nobody@example.org", PASSWORD), ("no address", PASSWORD),
            ("eve@example.org", PASSWORD), ("", ""), ("ann@example.org", "x" * 5000),
        ]  # fmt: skip
        answers = [await browser.log_in(password, email) for email, password in tries]
        said = {(a.status, a.json["detail"], a.json["code"]) for a in answers}
        assert said == {(401, "The name or the password is wrong.", "unauthorized")}
        assert browser.jar == {}


async def test_a_client_that_asks_gets_a_bearer_token_and_no_cookie() -> None:
    async with app_for() as app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        answer = await browser.log_in(bearer=True)
        assert browser.given is None
        token = answer.json["token"]
        assert token.startswith("crs_")
        shown = Client(app, token=token)
        assert (await shown.get("/session")).json["account"] == answer.json["account"]
        assert (await shown.post("/log-out", {})).status == 200
        refused = await shown.get("/notes")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


@pytest.mark.parametrize("called", ["tab 7", "\0", "9" * 400])
async def test_who_is_signed_in_another_way_has_no_session_here_whatever_his_is_called(called: str) -> None:
    async def elsewhere(credentials: Credentials) -> Actor | None:
        return Actor("ann", session=called) if credentials.token == "hers" else None

    async with App(Account, store=fresh_store(), auth=[Sessions(Account, hashing=QUICK), elsewhere]) as app:
        await app.records.create(Account, **ANN)
        client = Client(app, token="hers")
        assert (await client.get("/session")).json is None
        assert (await client.post("/change-password", {"old": PASSWORD, "new": "another horse"})).status == 401
        assert (await client.post("/log-out", {})).status == 200
        assert (await client.post("/log-in", ANN)).status == 200


async def test_who_is_signed_in_another_way_ends_no_session_whatever_his_is_called() -> None:
    called: list[tuple[str, str]] = []

    async def elsewhere(credentials: Credentials) -> Actor | None:
        return Actor(called[0][0], session=called[0][1]) if credentials.token == "hers" else None

    async with App(Account, store=fresh_store(), auth=[Sessions(Account, hashing=QUICK), elsewhere]) as app:
        ann = await ann_in(app)
        shown = (await ann.get("/session")).json
        program = Client(app, token="hers")
        for account in ("bob", shown["account"]):  # he calls it as a session of Ann's is called
            called[:] = [(account, shown["id"])]
            assert (await program.get("/session")).json is None
            assert (await program.post("/log-out", {})).status == 200
            assert (await program.post("/log-out-everywhere", {})).status == 401
            async with program.websocket() as socket:
                await socket.call("auth", {"token": "hers"})
                assert (await socket.call("session"))["data"] is None
                await socket.call("log-out")
            assert (await program.post("/log-in", {**ANN, "bearer": True})).status == 200
            assert await ann.who() == shown["account"]


async def test_a_session_that_a_client_brings_along_is_never_taken_over() -> None:
    async with app_for() as app:
        mallory = await ann_in(app)
        planted = dict(mallory.jar)
        victim = Browser(app)
        victim.jar = {**planted}
        assert (await victim.log_in()).status == 200
        assert victim.jar != planted
        mallory.jar = planted
        assert await mallory.who() is None  # it was ended, and not given more rights
        victim.jar = {"__Host-sid": "crs_" + "A" * 64}
        assert await victim.who() is None
        assert (await victim.log_in()).status == 200
        assert victim.jar["__Host-sid"] != "crs_" + "A" * 64


async def test_the_database_holds_nothing_that_signs_anybody_in(tmp_path: Path) -> None:
    store = kept_store()
    async with app_for(store=store) as app:
        browser = await ann_in(app)
        (session,) = await app.records.list(sessions_of(app).resources[0])
        assert not hasattr(session, "digest")
        (digest,) = await foreign(store, "SELECT digest FROM sessions")
        thief = Browser(app)
        guessed = browser.jar["__Host-sid"][:-40] + "A" * 40  # the number of the session, and another secret
        for stolen in (digest, f"crs_{digest}", str(session.id), f"crs_{session.id}", guessed):
            thief.jar = {"__Host-sid": stolen}
            assert await thief.who() is None
        token = browser.jar["__Host-sid"]
    _check_absent(tmp_path, token[-40:], PASSWORD)


def _check_absent(folder: Path, *texts: str) -> None:
    """None of the texts is in the files of SQLite: in no row, and not in the change log."""
    for file in folder.iterdir():
        found = file.read_bytes()
        assert not [text for text in texts if text.encode() in found]


async def test_a_session_ends_when_it_is_not_used_and_in_the_end_whatever_happens() -> None:
    clock = Clock()
    async with app_for(clock=clock, idle=2 * HOUR, lasts=DAY, seen_every=timedelta(minutes=10)) as app:
        browser = await ann_in(app)
        for _ in range(23):
            clock.advance(HOUR)
            assert await browser.who() is not None
        clock.advance(2 * HOUR)
        assert await browser.who() is None

        assert (await browser.log_in()).status == 200
        clock.advance(2 * HOUR)
        assert await browser.who() is None


async def test_the_use_of_a_session_is_written_down_now_and_then() -> None:
    clock = Clock()
    async with app_for(clock=clock, seen_every=timedelta(minutes=10)) as app:
        browser = await ann_in(app)
        rows = sessions_of(app).resources[0]

        async def version() -> int:
            return (await app.records.list(rows))[0].version

        first = await version()
        for _ in range(9):
            clock.advance(timedelta(minutes=1))
            assert await browser.who() is not None
        assert await version() == first
        clock.advance(timedelta(minutes=1))
        await browser.who()
        assert await version() != first


async def test_ones_own_sessions_are_listed_live_and_ended_one_by_one() -> None:
    async with app_for() as app:
        here, there = await ann_in(app), await ann_in(app, address="203.0.113.9", agent="Phone/2")
        await app.records.create(Account, email="bob@example.org", password=PASSWORD)
        bob = Browser(app)
        assert (await bob.log_in(PASSWORD, "bob@example.org")).status == 200
        async with here.client.stream("/sessions/subscribe", headers=here.headers) as stream:
            del stream
            rows = (await here.get("/sessions")).json
            assert [(row["address"], row["agent"]) for row in rows] == [
                ("198.51.100.7", "Browser/1.0"), ("203.0.113.9", "Phone/2"),
            ]  # fmt: skip
            assert {"digest", "stamp", "values"}.isdisjoint(rows[0])
            assert (await bob.request("DELETE", f"/sessions/{rows[1]['id']}")).status == 404
            assert (await bob.post("/end-session", {"session": rows[1]["id"]})).status == 404
            assert (await here.request("PATCH", f"/sessions/{rows[1]['id']}", {"address": "x"})).status == 403
            assert await there.who() is not None
            assert (await here.request("DELETE", f"/sessions/{rows[1]['id']}")).status == 204
        assert await there.who() is None
        assert await here.who() is not None
        again = await ann_in(app)
        assert (await here.post("/end-session", {"session": (await again.get("/session")).json["id"]})).status == 200
        assert await again.who() is None
        assert (await here.post("/end-session", {"session": (await here.get("/session")).json["id"]})).status == 200
        assert here.jar == {}


async def test_logging_out_ends_the_session_and_takes_the_cookie_away() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        kept = dict(browser.jar)
        assert (await browser.post("/log-out")).status == 200
        assert browser.jar == {}
        browser.jar = kept
        assert await browser.who() is None
        assert (await browser.post("/log-out")).status == 200
        assert browser.jar == {}


async def test_logging_out_everywhere_ends_all_sessions_of_the_account() -> None:
    async with app_for() as app:
        browsers = [await ann_in(app) for _ in range(3)]
        assert (await browsers[0].post("/log-out-everywhere")).json == {"ended": 3}
        assert [await browser.who() for browser in browsers] == [None, None, None]
        assert (await browsers[0].post("/log-out-everywhere")).status == 401


async def test_those_of_a_deleted_account_are_gone_with_it() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        account = await browser.who()
        await app.records.delete(Account, account)
        assert await browser.who() is None
        assert await app.records.count(sessions_of(app).resources[0]) == 0


async def test_roles_are_read_with_every_request() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        account = await browser.who()
        await app.records.create(Note, title="bob's", owner="bob")
        assert titles(await browser.get("/notes")) == []
        await app.records.update(Account, account, roles=["staff"])
        assert titles(await browser.get("/notes")) == ["bob's"]
        assert (await browser.get("/session")).json["roles"] == ["staff"]
        refused = await browser.request("PATCH", f"/accounts/{account}", {"roles": ["admin"]})
        assert refused.status == 403


async def test_whoever_the_application_shuts_out_is_out_at_once() -> None:
    async with app_for(only=allow.where(blocked=False)) as app:
        browser = await ann_in(app)
        await app.records.update(Account, await browser.who(), blocked=True)
        assert await browser.who() is None


async def test_a_password_is_changed_by_who_knows_the_old_one_and_all_other_sessions_end() -> None:
    async with app_for() as app:
        here, there = await ann_in(app), await ann_in(app)
        before = dict(here.jar)
        refused = await here.post("/change-password", {"old": "wrong horse", "new": "another horse"})
        assert refused.status == 403
        short = await here.post("/change-password", {"old": PASSWORD, "new": "short"})
        assert (short.status, short.json["errors"][0]["pointer"]) == (422, "/new")
        assert "short" not in short.text.replace("too_short", "")
        session = (await here.get("/session")).json["id"]
        assert (await here.post("/change-password", {"old": PASSWORD, "new": "another horse"})).status == 200
        assert (await here.get("/session")).json["id"] == session
        thief = Browser(app)
        thief.jar = before  # whoever had this very cookie has nothing any more
        assert await thief.who() is None
        assert await there.who() is None
        assert await here.who() is not None
        assert (await there.log_in()).status == 401
        assert (await there.log_in("another horse")).status == 200


async def test_a_password_is_not_changed_on_the_quiet() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        url = f"/accounts/{await browser.who()}"
        refused = await browser.request("PATCH", url, {"password": "another horse", "nick": "Annie"})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (403, "/password")
        assert (await browser.request("PATCH", url, {"nick": "Annie"})).status == 200
        async with browser.client.websocket(headers=browser.headers) as socket:
            with pytest.raises(Refusal) as refusal:
                await socket.call("accounts.update", {"key": url.split("/")[-1], "data": {"password": "another horse"}})
        assert refusal.value.status == 403


async def test_sessions_end_wherever_the_password_was_changed_from() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        await app.records.update(Account, await browser.who(), password="another horse")
        assert await browser.who() is None


async def test_a_hash_is_made_anew_with_other_numbers_and_nobody_notices() -> None:
    store = kept_store()
    async with app_for(store=store) as app:
        browser = await ann_in(app)
    query = "SELECT password FROM accounts"
    async with app_for(store=store, hashing=Hashing(passes=2, memory=16, lanes=1)) as app:
        assert (await foreign(store, query))[0].startswith("$argon2id$v=19$m=8,t=1,p=1$")
        here = Browser(app)
        here.jar = browser.jar
        assert await here.who() is not None
        again = Browser(app)
        assert (await again.log_in()).status == 200
        assert (await foreign(store, query))[0].startswith("$argon2id$v=19$m=16,t=2,p=1$")
        assert await here.who() is not None
        assert (await again.log_in()).status == 200


async def test_a_websocket_signs_in_and_out_in_place() -> None:
    async with app_for() as app:
        ann = await app.records.create(Account, **ANN)
        await app.records.create(Note, title="hers", owner=str(ann.id))
        client = Client(app)
        async with client.websocket() as socket:
            with pytest.raises(Refusal):
                await socket.call("notes.list")
            await socket.call("log-in", ANN)
            assert titles((await socket.call("notes.list"))["data"]) == ["hers"]
            first = (await socket.call("session"))["data"]["id"]
            await socket.call("log-in", ANN)
            assert (await socket.call("session"))["data"]["id"] != first
            assert await app.records.count(sessions_of(app).resources[0]) == 1
            await socket.call("log-out")
            with pytest.raises(Refusal):
                await socket.call("notes.list")
            assert socket.code is None


async def test_a_websocket_stays_open_though_its_session_has_ended_before_it_shows_another() -> None:
    app = app_for()
    sessions = sessions_of(app)

    @app.create("log-out")
    async def log_out(request: Request) -> None:
        await sessions.log_out(request)
        await app.settled()  # everybody has been asked by now who rests on the session

    async with app:
        await app.records.create(Account, **ANN)
        async with Client(app).websocket() as socket, Client(app).websocket() as other:
            token = (await socket.call("log-in", {**ANN, "bearer": True}))["data"]["token"]
            await other.call("auth", {"token": token})
            await socket.call("log-out")
            assert (await socket.call("session"))["data"] is None
            assert await other.closed() == 4401
            assert socket.code is None


async def test_a_call_that_ends_its_own_account_and_waits_until_all_are_told_is_answered() -> None:
    app = app_for()

    @app.create("leave")
    async def leave(request: Request) -> str:
        await app.records.delete(Account, request.actor.id)
        await app.settled()  # its own connection has been asked about, and waits for this call
        return "gone"

    async with app:
        await app.records.create(Account, **ANN)
        async with Client(app).websocket() as socket:
            await socket.call("log-in", {**ANN, "bearer": True})
            assert (await socket.call("leave"))["data"] == "gone"
            assert await socket.closed() == 4401


async def test_a_websocket_changes_the_password_only_for_who_can_show_the_new_token() -> None:
    async with app_for() as app:
        await app.records.create(Account, **ANN)
        async with Client(app).websocket() as socket:
            token = (await socket.call("log-in", {**ANN, "bearer": True}))["data"]["token"]
            change = {"old": PASSWORD, "new": "another horse"}
            with pytest.raises(Refusal) as refusal:
                await socket.call("change-password", change)
            assert refusal.value.status == 400
            other = (await socket.call("change-password", {**change, "bearer": True}))["data"]["token"]
            assert (await socket.call("session"))["data"] is not None
        assert (await Client(app, token=token).get("/notes")).status == 401
        assert (await Client(app, token=other).get("/notes")).status == 200


async def test_values_stay_in_the_session_and_the_client_reaches_only_its_own() -> None:
    app = app_for()
    sessions = sessions_of(app)

    @app.create("count")
    async def count(request: Request) -> int:
        seen = (await sessions.values(request)).get("seen", 0) + 1
        await sessions.remember(request, {"seen": seen})
        return seen

    async with app:
        browser = await ann_in(app)
        assert [(await browser.post("/count")).json for _ in range(3)] == [1, 2, 3]
        first = await browser.request("PATCH", "/session/client", {"values": {"theme": "dark", "size": {"w": 1}}})
        assert first.json == {"theme": "dark", "size": {"w": 1}}
        second = await browser.request("PATCH", "/session/client", {"values": {"theme": None, "seen": 99}})
        assert second.json == {"size": {"w": 1}, "seen": 99}
        assert (await browser.get("/session")).json["client"] == {"size": {"w": 1}, "seen": 99}
        assert (await browser.post("/count")).json == 4
        async with browser.client.websocket(headers=browser.headers) as socket:
            assert (await socket.call("session/client", {"values": {"on": "socket"}}))["data"]["on"] == "socket"
        assert (await browser.get("/session")).json["client"]["on"] == "socket"
        large = await browser.request("PATCH", "/session/client", {"values": {"x": "y" * 20_000}})
        assert large.status == 413
        assert (await Browser(app).request("PATCH", "/session/client", {"values": {"a": 1}})).status == 401


@pytest.mark.parametrize("place", ["client", "values"])
async def test_a_value_takes_the_place_of_the_one_before_whole_and_no_more_is_kept_than_is_counted(place: str) -> None:
    app = app_for()
    sessions = sessions_of(app)

    @app.create("keep")
    async def keep(request: Request, values: dict[str, Any]) -> Any:
        return await sessions.remember(request, values, client=place == "client")

    @app.read("kept")
    async def kept(request: Request) -> Any:
        return (await sessions.show(request) or {})["client"] if place == "client" else await sessions.values(request)

    async with app:
        browser = await ann_in(app)
        await browser.post("/keep", {"values": {"size": {"w": 1}, "on": True}})
        whole = {"size": {"h": {"min": None}}, "on": True}
        assert (await browser.post("/keep", {"values": {"size": {"h": {"min": None}}}})).json == whole
        assert (await browser.get("/kept")).json == whole
        for name in "abc":
            assert (await browser.post("/keep", {"values": {"size": {name: "y" * 9_000}}})).status == 200
        assert (await browser.get("/kept")).json == {"size": {"c": "y" * 9_000}, "on": True}
        assert (await browser.post("/keep", {"values": {"size": "\0"}})).status == 422


async def test_values_that_are_kept_at_the_same_time_are_all_kept() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        kept = [browser.request("PATCH", "/session/client", {"values": {f"v{n}": n}}) for n in range(4)]
        assert {answer.status for answer in await asyncio.gather(*kept)} == {200}
        assert (await browser.get("/session")).json["client"] == {"v0": 0, "v1": 1, "v2": 2, "v3": 3}


async def test_many_log_in_at_once_and_each_has_a_session_of_its_own() -> None:
    async with app_for() as app:
        await app.records.create(Account, **ANN)
        browsers = [Browser(app, address=f"198.51.100.{n}") for n in range(8)]
        answers = await asyncio.gather(*(browser.log_in() for browser in browsers))
        assert [answer.status for answer in answers] == [200] * 8
        assert len({browser.jar["__Host-sid"] for browser in browsers}) == 8
        assert [await browser.who() is not None for browser in browsers] == [True] * 8


async def test_expired_sessions_are_forgotten_when_others_begin() -> None:
    clock = Clock()
    async with app_for(clock=clock, idle=HOUR) as app:
        for _ in range(3):
            await ann_in(app)
        clock.advance(2 * HOUR)
        await ann_in(app)
        assert await app.records.count(sessions_of(app).resources[0]) == 1


async def test_other_processes_know_at_once() -> None:
    store = kept_store()
    async with app_for(store=store) as one, app_for(store=store) as other:
        here = await ann_in(one)
        there = Browser(other)
        there.jar = dict(here.jar)
        assert await there.who() is not None
        assert (await here.post("/log-out-everywhere")).status == 200
        assert await there.who() is None


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_accounts_that_would_not_be_safe_are_refused() -> None:
    class NoName(Resource, rules=allow.everyone):
        password: Password

    class Double(Resource, rules=allow.everyone):
        email: Email
        password: Password

    class Open(Resource, rules={"create": allow.everyone, "write": allow.where(id=me.id)}):
        name: str = Field(unique=True)
        password: Password
        roles: list[str] = Field(default_factory=list)

    class Closed(Resource, rules={"write": allow.role("admin")}):
        name: str = Field(unique=True)
        password: Password
        roles: list[str] = Field(default_factory=list)

    for resource, told, said in (
        (NoName, {}, "NoName: it needs an Email with Field(unique=True) to sign in with."),
        (Double, {}, "Double.email: what one signs in with is unique: Field(unique=True)."),
        (Open, {}, "Open.roles: whoever writes an account could give himself any role; say Field(write="),
        (Account, {"roles": "rolls"}, "Account has no field 'rolls'; did you mean 'roles'?"),
        (Account, {"must_verify": True}, "sign_up and must_verify need mail="),
        (Account, {"password": "nick"}, "Account.nick: it must be a Password."),
    ):
        with pytest.raises(DeclarationError) as refused:
            App(resource, store="sqlite:///:memory:", auth=Sessions(resource, hashing=QUICK, **told))
        assert said in str(refused.value)
    App(Closed, store="sqlite:///:memory:", auth=Sessions(Closed, hashing=QUICK))
    with pytest.raises(DeclarationError):
        App(Note, store=fresh_store(), auth=Sessions(Account))


async def test_who_gets_a_role_gets_another_token_with_the_next_answer() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        account = await browser.who()
        before = dict(browser.jar)
        await app.records.update(Account, account, roles=["staff"])
        assert (await browser.get("/notes")).status == 200
        assert browser.jar != before
        thief = Browser(app)
        thief.jar = before  # whoever had it before has none of the new rights
        assert await thief.who() is None
        after = dict(browser.jar)
        await app.records.update(Account, account, roles=[])
        assert (await browser.get("/notes")).status == 200
        assert browser.jar == after


async def test_a_role_that_is_taken_away_ends_what_it_showed() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        account = await browser.who()
        await app.records.create(Note, title="bob's", owner="bob")
        await app.records.update(Account, account, roles=["staff"])
        await browser.get("/notes")
        client = Client(app, headers=browser.headers)
        async with client.live("notes") as view:
            assert titles(await view.ready()) == ["bob's"]
            await app.records.update(Account, account, roles=[])
            await view.until(lambda rows: not rows)


async def test_living_connections_end_with_their_session_in_every_process() -> None:
    store = kept_store()
    async with app_for(store=store) as one, app_for(store=store) as other:
        here, there = await ann_in(one), await ann_in(one)
        session = (await there.get("/session")).json["id"]
        async with (
            Client(one, headers=there.headers).websocket() as near,
            Client(other, headers=there.headers).websocket() as far,
            Client(other, headers=here.headers).websocket() as own,
        ):
            for socket in (near, far, own):
                assert (await socket.call("notes.list"))["data"] == []
            assert (await here.request("DELETE", f"/sessions/{session}")).status == 204
            assert await near.closed() == 4401
            assert await far.closed() == 4401
            assert (await own.call("notes.list"))["data"] == []
            assert (await here.post("/log-out-everywhere")).status == 200
            assert await own.closed() == 4401


async def test_another_password_closes_the_connections_of_all_other_sessions() -> None:
    async with app_for() as app:
        here, there = await ann_in(app), await ann_in(app)
        async with Client(app, headers=there.headers).websocket() as socket:
            assert (await socket.call("notes.list"))["data"] == []
            assert (await here.post("/change-password", {"old": PASSWORD, "new": "another horse"})).status == 200
            assert await socket.closed() == 4401


async def test_a_connection_lives_as_long_as_it_is_used() -> None:
    clock = Clock()
    async with app_for(clock=clock, idle=HOUR, seen_every=timedelta(minutes=1)) as app:
        browser = await ann_in(app)
        async with Client(app, headers=browser.headers).websocket() as socket:
            for _ in range(6):
                assert (await socket.call("notes.list"))["data"] == []
                clock.advance(timedelta(minutes=30))
            clock.advance(timedelta(minutes=30))
            assert await socket.closed() == 4401


async def test_below_a_path_the_cookie_is_for_the_whole_host_and_one_of_ones_own_for_the_path() -> None:
    for name, path in (("__Host-sid", "/"), ("shop", "/shop")):
        async with app_for(cookie=name) as app:

            async def mounted(scope: Any, receive: Any, send: Any, app: App = app) -> None:
                await app({**scope, "root_path": "/shop", "path": f"/shop{scope['path']}"}, receive, send)

            await app.records.create(Account, **ANN)
            answer = await Client(cast(App, mounted)).post("/log-in", ANN)
            assert f"Path={path};" in answer.headers["set-cookie"]


async def test_whoever_may_not_stay_signed_in_cannot_use_keys_either() -> None:
    sessions = Sessions(Account, hashing=QUICK, only=allow.where(blocked=False))
    keys = ApiKeys(Account)
    app = App(Account, Note, store=fresh_store(), auth=[sessions, keys], clock=Clock())
    async with app:
        ann = await app.records.create(Account, **ANN)
        made = await keys.issue(ann.id, "nightly report")
        shown = Client(app, token=made.key)
        assert (await shown.get("/notes")).status == 200
        await app.records.update(Account, ann.id, blocked=True)
        assert (await shown.get("/notes")).status == 401
