"""Visitors: sessions of those who are not signed in, for the values that are kept for them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from crudite import App, Request
from crudite.auth.sessions.rows import VisitorSession
from crudite.limiting import Rate
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import ANN, DAY, HOUR, PASSWORD, Account, Browser, Note, ann_in, app_for, sessions_of
from tests.services.stores import foreign, kept_store
from tests.services.valkey import valkey, valkey_broker

__all__ = ["valkey", "valkey_broker"]


@pytest.fixture(params=["rows", "redis"])
def kept_in(request: pytest.FixtureRequest) -> str | None:
    """Where the sessions are kept: the URL of a server, None for the application's store."""
    if request.param == "rows":
        return None
    server: str = request.getfixturevalue("valkey")
    return f"{server}?prefix=t{id(request)}"


def _app(kept_in: str | None, **told: Any) -> App:
    return app_for(store_of_sessions=kept_in, visitors=True, **told)


async def _keep(browser: Browser, **values: Any) -> Any:
    return await browser.request("PATCH", "/session/client", {"values": values})


async def _client_values(browser: Browser) -> Any:
    return ((await browser.get("/session")).json or {}).get("client")


async def test_a_visitor_has_a_session_from_the_first_value_on_and_is_nobody_still(kept_in: str | None) -> None:
    async with _app(kept_in) as app:
        browser = Browser(app)
        assert (await browser.get("/session")).json is None
        assert (await _keep(browser, theme=None)).json == {}
        assert browser.jar == {}
        assert (await _keep(browser, theme="dark", size={"w": 1})).json == {"theme": "dark", "size": {"w": 1}}
        assert browser.given is not None
        name, *attributes = browser.given.split("; ")
        assert name.startswith("__Host-sid=crv_")
        assert sorted(attributes) == [
            "Expires=Mon, 01 Apr 2030 12:00:00 GMT", "HttpOnly", "Path=/", "SameSite=Lax", "Secure",
        ]  # fmt: skip
        assert (await _keep(browser, theme=None, seen=1)).json == {"size": {"w": 1}, "seen": 1}
        assert browser.given is None
        shown = (await browser.get("/session")).json
        assert (shown["account"], shown["roles"], shown["client"]) == (None, [], {"size": {"w": 1}, "seen": 1})
        for refused in (
            await browser.get("/notes"), await browser.get("/sessions"), await browser.post("/log-out-everywhere"),
            await browser.post("/change-password", {"old": PASSWORD, "new": "another horse"}),
            await browser.post("/end-session", {"session": shown["id"]}),
        ):  # fmt: skip
            assert refused.status == 401
        assert (await _keep(browser, x="y" * 20_000)).status == 413
        assert (await _keep(Browser(app), x="y" * 20_000)).status == 413
        assert await _client_values(Browser(app)) is None


async def test_who_reads_only_costs_no_row() -> None:
    app = _app(None)

    @app.read("counted")
    async def counted(request: Request) -> Any:
        return (await sessions_of(app).values(request)).get("seen", 0)

    async with app:
        for _ in range(3):
            browser = Browser(app)
            assert (await browser.get("/counted")).json == 0
            assert (await browser.get("/notes")).status == 401
            assert (await browser.post("/log-out")).status == 200
            assert browser.jar == {}
        assert await app.records.count(VisitorSession) == 0
        await _keep(browser, theme="dark")
        assert await app.records.count(VisitorSession) == 1
        assert (await browser.post("/log-out")).status == 200
        assert browser.jar == {}
        assert await app.records.count(VisitorSession) == 0


async def test_the_server_keeps_values_for_a_visitor_which_he_does_not_reach(kept_in: str | None) -> None:
    app = _app(kept_in)
    sessions = sessions_of(app)

    @app.create("count")
    async def count(request: Request) -> Any:
        seen = (await sessions.values(request)).get("seen", 0) + 1
        await sessions.remember(request, {"seen": seen})
        await sessions.remember(request, {"twice": True})
        return dict(await sessions.values(request)), request.actor.id, request.actor.session is not None

    async with app:
        browser = Browser(app)
        assert [(await browser.post("/count")).json for _ in range(3)] == [
            [{"seen": n, "twice": True}, None, True] for n in (1, 2, 3)
        ]
        await _keep(browser, seen=99)
        assert await _client_values(browser) == {"seen": 99}
        assert (await browser.post("/count")).json[0]["seen"] == 4


async def test_who_logs_in_takes_what_the_client_kept_along_and_what_the_server_hands_on(kept_in: str | None) -> None:
    app = _app(kept_in)
    sessions = sessions_of(app)

    @app.create("fill")
    async def fill(request: Request, cart: list[int]) -> None:
        await sessions.remember(request, {"cart": cart, "is_human": True})

    @app.create("log-in")
    async def log_in(request: Request, email: str, password: str) -> object:
        cart = (await sessions.values(request)).get("cart")
        return await sessions.log_in(request, email, password, values={"cart": cart})

    @app.read("kept")
    async def kept(request: Request) -> Any:
        return await sessions.values(request)

    async with app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        await browser.post("/fill", {"cart": [7]})
        await _keep(browser, theme="dark")
        before = dict(browser.jar)
        assert (await browser.log_in("wrong horse")).status == 401
        assert browser.jar == before
        assert (await browser.log_in()).status == 200
        assert browser.jar["__Host-sid"].startswith("crs_")
        assert await browser.who() is not None
        assert await _client_values(browser) == {"theme": "dark"}
        assert (await browser.get("/kept")).json == {"cart": [7]}
        planted = Browser(app)
        planted.jar = before  # whoever has given him the cookie has nothing of what came after
        assert (await planted.get("/session")).json is None
        assert (await planted.get("/kept")).json == {}
        assert (await browser.post("/log-out")).status == 200
        assert (await browser.get("/session")).json is None


async def test_a_cookie_that_is_brought_along_is_never_taken_over(kept_in: str | None) -> None:
    async with _app(kept_in) as app:
        browser = Browser(app)
        await _keep(browser, theme="dark")
        good = browser.jar["__Host-sid"]
        for made_up in ("crv_" + "A" * 64, f"{good[:-4]}AAAA", good.replace("crv_", "crs_")):
            thief = Browser(app)
            thief.jar = {"__Host-sid": made_up}
            assert (await thief.get("/session")).json is None
            assert (await _keep(thief, theme="light")).status == 200
            assert thief.jar["__Host-sid"] not in (made_up, good)
        assert await _client_values(browser) == {"theme": "dark"}
        ann = await ann_in(app)
        ann.jar = {"__Host-sid": ann.jar["__Host-sid"].replace("crs_", "crv_")}
        assert (await ann.get("/session")).json is None


async def test_it_ends_when_it_is_not_used_and_in_the_end_whatever_happens(kept_in: str | None) -> None:
    clock = Clock()
    often = timedelta(minutes=10)
    async with _app(kept_in, clock=clock, idle=2 * HOUR, lasts=DAY, seen_every=often) as app:
        browser = Browser(app)
        await _keep(browser, theme="dark")
        for _ in range(23):
            clock.advance(HOUR)
            assert await _client_values(browser) == {"theme": "dark"}
        clock.advance(HOUR)
        assert await _client_values(browser) is None
        assert (await _keep(browser, theme="light")).status == 200
        clock.advance(2 * HOUR)
        assert await _client_values(browser) is None


async def test_so_many_begin_from_one_address(kept_in: str | None) -> None:
    async with _app(kept_in, visitor_rate=Rate("3/hour", name="visitors")) as app:
        first = Browser(app)
        assert [(await _keep(one, a=1)).status for one in (first, Browser(app), Browser(app), Browser(app))] == [
            200, 200, 200, 429,
        ]  # fmt: skip
        assert (await _keep(first, a=2)).status == 200
        assert (await _keep(Browser(app, address="203.0.113.9"), a=1)).status == 200
        assert (await ann_in(app)).jar != {}


async def test_a_websocket_has_the_values_of_the_browser_or_its_own(kept_in: str | None) -> None:
    async with _app(kept_in) as app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        await _keep(browser, theme="dark")
        async with browser.client.websocket(headers=browser.headers) as socket:
            assert (await socket.call("session"))["data"]["client"] == {"theme": "dark"}
            kept = await socket.call("session/client", {"values": {"on": "socket"}})
            assert kept["data"] == {"theme": "dark", "on": "socket"}
            with pytest.raises(Refusal) as refusal:
                await socket.call("notes.list")
            assert refusal.value.status == 401
        assert await _client_values(browser) == {"theme": "dark", "on": "socket"}
        async with Client(app).websocket() as socket:
            assert (await socket.call("session"))["data"] is None
            await socket.call("session/client", {"values": {"a": 1}})
            await socket.call("session/client", {"values": {"b": 2}})
            assert (await socket.call("session"))["data"]["client"] == {"a": 1, "b": 2}
            await socket.call("log-in", ANN)
            assert (await socket.call("session"))["data"]["client"] == {"a": 1, "b": 2}
            assert (await socket.call("notes.list"))["data"] == []
            await socket.call("log-out")
            assert (await socket.call("session"))["data"] is None
            assert socket.code is None


async def test_a_living_connection_outlives_the_session_of_a_visitor(kept_in: str | None) -> None:
    clock = Clock()
    async with _app(kept_in, clock=clock, idle=HOUR, seen_every=timedelta(minutes=1)) as app:
        browser = Browser(app)
        await _keep(browser, theme="dark")
        async with browser.client.websocket(headers=browser.headers) as socket:
            assert (await socket.call("session"))["data"]["client"] == {"theme": "dark"}
            clock.advance(2 * HOUR)
            assert (await socket.call("session"))["data"] is None
            await socket.call("session/client", {"values": {"theme": "light"}})
            assert (await socket.call("session"))["data"]["client"] == {"theme": "light"}
            assert socket.code is None


async def test_values_that_are_kept_at_the_same_time_are_all_kept(kept_in: str | None) -> None:
    async with _app(kept_in) as app:
        browser = Browser(app)
        await _keep(browser, first=True)
        answers = await asyncio.gather(*(_keep(browser, **{f"v{n}": n}) for n in range(4)))
        assert {answer.status for answer in answers} == {200}
        assert await _client_values(browser) == {"first": True, "v0": 0, "v1": 1, "v2": 2, "v3": 3}


async def test_another_process_knows_the_visitor_and_the_database_has_only_a_hash_of_his_token() -> None:
    store = kept_store()
    async with _app(None, store=store) as one, _app(None, store=store) as other:
        here, there = Browser(one), Browser(other)
        await _keep(here, theme="dark")
        there.jar = dict(here.jar)
        assert await _client_values(there) == {"theme": "dark"}
        (digest,) = await foreign(store, "SELECT digest FROM visitor_sessions")
        assert digest not in here.jar["__Host-sid"]
        for refused in (await here.get("/visitor-sessions"), await (await ann_in(one)).get("/visitor-sessions")):
            assert refused.status == 404


async def test_expired_ones_are_forgotten_when_others_begin() -> None:
    clock = Clock()
    async with _app(None, clock=clock, idle=HOUR) as app:
        for _ in range(3):
            await _keep(Browser(app), a=1)
        clock.advance(2 * HOUR)
        await _keep(Browser(app), a=1)
        assert await app.records.count(VisitorSession) == 1


async def test_a_rule_that_asks_for_somebody_signed_in_refuses_a_visitor() -> None:
    async with _app(None) as app:
        browser = Browser(app)
        await _keep(browser, a=1)
        assert (await browser.get("/accounts")).status == 401
        assert (await browser.post("/notes", {"title": "mine"})).status == 401
        assert await app.records.count(Note) == 0
        assert (await (await ann_in(app)).get("/accounts")).status == 200


async def test_without_visitors_nothing_is_kept_for_who_is_not_signed_in() -> None:
    async with app_for() as app:
        assert (await _keep(Browser(app), a=1)).status == 401
        assert (await Browser(app).get("/visitor-sessions")).status == 404
