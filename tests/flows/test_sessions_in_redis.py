"""Sessions in Redis: the same as in the application's store, but for the list, which is not live."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from crudite import App, DeclarationError, Request, Sessions
from crudite.resources.writing.passwords import Hashing
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import (
    ANN,
    DAY,
    HOUR,
    PASSWORD,
    QUICK,
    Account,
    Browser,
    Letters,
    Note,
    ann_in,
    app_for,
    sessions_of,
)
from tests.flows.worlds import titles
from tests.services.brokers import Broker
from tests.services.stores import kept_store
from tests.services.valkey import valkey, valkey_broker

__all__ = ["valkey", "valkey_broker"]

pytestmark = pytest.mark.only_on("sqlite", reason="the sessions are not in the store")


def _app(server: str, **told: Any) -> App:
    return app_for(**{"store_of_sessions": f"{server}?prefix=t{uuid4().hex[:12]}", **told})


async def test_signing_in_and_out(valkey: str) -> None:
    async with _app(valkey) as app:
        here, there = await ann_in(app), await ann_in(app, address="203.0.113.9")
        assert (await here.post("/notes", {"title": "hers"})).status == 201
        assert titles(await there.get("/notes")) == ["hers"]
        rows = (await here.get("/sessions")).json
        assert [row["address"] for row in rows] == ["198.51.100.7", "203.0.113.9"]
        assert (await here.post("/end-session", {"session": rows[1]["id"]})).status == 200
        assert await there.who() is None
        kept = dict(here.jar)
        assert (await here.post("/log-out")).status == 200
        here.jar = kept
        assert await here.who() is None
        assert (await here.get("/sessions")).status == 401
        browsers = [await ann_in(app) for _ in range(3)]
        assert (await browsers[0].post("/log-out-everywhere")).json == {"ended": 3}
        assert [await browser.who() for browser in browsers] == [None, None, None]


async def test_a_planted_or_a_made_up_session_signs_nobody_in(valkey: str) -> None:
    async with _app(valkey) as app:
        browser = await ann_in(app)
        planted = dict(browser.jar)
        assert (await browser.log_in()).status == 200
        thief = Browser(app)
        for jar in (planted, {"__Host-sid": planted["__Host-sid"][:-4] + "AAAA"}, {"__Host-sid": "crs_" + "A" * 64}):
            thief.jar = jar
            assert await thief.who() is None


async def test_sessions_end_in_time(valkey: str) -> None:
    clock = Clock()
    async with _app(valkey, clock=clock, idle=2 * HOUR, lasts=DAY, seen_every=timedelta(minutes=10)) as app:
        browser = await ann_in(app)
        for _ in range(23):
            clock.advance(HOUR)
            assert await browser.who() is not None
        clock.advance(HOUR)
        assert await browser.who() is None
        assert (await browser.log_in()).status == 200
        assert len((await browser.get("/sessions")).json) == 1


async def test_another_password_ends_all_others_and_renews_this_one(valkey: str) -> None:
    async with _app(valkey) as app:
        here, there = await ann_in(app), await ann_in(app)
        before = dict(here.jar)
        assert (await here.post("/change-password", {"old": PASSWORD, "new": "another horse"})).status == 200
        there.jar, stolen = before, there.jar
        assert await there.who() is None
        there.jar = stolen
        assert await there.who() is None
        assert await here.who() is not None
        assert len((await here.get("/sessions")).json) == 1


async def test_values(valkey: str) -> None:
    app = _app(valkey)
    sessions = sessions_of(app)

    @app.create("count")
    async def count(request: Request) -> int:
        seen = (await sessions.values(request)).get("seen", 0) + 1
        await sessions.remember(request, {"seen": seen})
        return seen

    async with app:
        browser = await ann_in(app)
        assert [(await browser.post("/count")).json for _ in range(3)] == [1, 2, 3]
        kept = [browser.request("PATCH", "/session/client", {"values": {f"v{n}": n}}) for n in range(4)]
        assert {answer.status for answer in await asyncio.gather(*kept)} == {200}
        await browser.request("PATCH", "/session/client", {"values": {"v0": None}})
        assert (await browser.get("/session")).json["client"] == {"v1": 1, "v2": 2, "v3": 3}
        large = await browser.request("PATCH", "/session/client", {"values": {"x": "y" * 20_000}})
        assert large.status == 413


async def test_living_connections_end_with_their_session_and_change_in_place(valkey: str) -> None:
    async with _app(valkey) as app:
        here, there = await ann_in(app), await ann_in(app)
        async with (
            Client(app).websocket() as own,
            there.client.websocket(headers=there.headers) as other,
        ):
            await own.call("log-in", ANN)
            assert titles((await other.call("notes.list"))["data"]) == []
            assert (
                await here.post("/end-session", {"session": (await there.get("/session")).json["id"]})
            ).status == 200
            assert await other.closed() == 4401
            await own.call("log-out")
            with pytest.raises(Refusal):
                await own.call("notes.list")
            assert own.code is None


async def test_when_the_server_is_away_nobody_is_taken_for_nobody(valkey_broker: Broker) -> None:
    async with _app(valkey_broker.url) as app:
        browser = await ann_in(app)
        valkey_broker.kill()
        for answer in (await browser.get("/notes"), await browser.get("/session"), await browser.log_in()):
            assert answer.status == 503
        assert (await Browser(app).get("/notes")).status == 401
        valkey_broker.start()
        assert (await browser.get("/session")).status == 200
        assert (await browser.log_in()).status == 200


@pytest.mark.parametrize("url", ["redis:", "http://example.org", "redis://h?prefix=%20"])
def test_what_is_no_place_for_sessions_is_refused(url: str) -> None:
    with pytest.raises(DeclarationError, match=r"Sessions\(store=…\)"):
        App(Account, Note, store="sqlite:///:memory:", auth=Sessions(Account, hashing=QUICK, store=url))


class Held:
    """Passwords are looked at as ever; who has shown one is held up, until he is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown, self.go = asyncio.Event(), asyncio.Event()
        verify = Hashing.verify

        async def held(hashing: Hashing, stored: str | None, plain: str) -> bool:
            is_right = await verify(hashing, stored, plain)
            self.shown.set()
            await self.go.wait()
            return is_right

        monkeypatch.setattr(Hashing, "verify", held)


async def test_who_still_knew_the_password_does_not_change_it_after_a_reset(
    valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = Letters()
    async with _app(valkey, mail=letters) as app:
        thief = await ann_in(app)
        await thief.post("/forgot-password", {"email": ANN["email"]})
        await sessions_of(app).mailed()
        held = Held(monkeypatch)
        changing = asyncio.create_task(thief.post("/change-password", {"old": PASSWORD, "new": "thieving horse"}))
        await held.shown.wait()
        reset = await Browser(app).post("/reset-password", {"token": letters.token(), "password": "owner's horse"})
        held.go.set()
        assert (reset.status, (await changing).status) == (200, 401)
        assert (await Browser(app).log_in("owner's horse")).status == 200
        assert await thief.who() is None


async def test_an_account_that_is_written_meanwhile_gets_its_new_password(
    valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _app(valkey) as app:
        browser = await ann_in(app)
        key = await browser.who()
        held = Held(monkeypatch)
        changing = asyncio.create_task(browser.post("/change-password", {"old": PASSWORD, "new": "better horse"}))
        await held.shown.wait()
        await app.records.update(Account, key, nick="Annie")
        held.go.set()
        assert (await changing).status == 200
        assert (await Browser(app).log_in("better horse")).status == 200


async def test_two_applications_on_one_server_are_kept_apart_by_their_prefixes(valkey: str) -> None:
    apart = uuid4().hex[:12]
    async with (
        app_for(store_of_sessions=f"{valkey}?prefix={apart}-shop", visitors=True) as shop,
        app_for(store_of_sessions=f"{valkey}?prefix={apart}-wiki", visitors=True) as wiki,
        app_for(store_of_sessions=f"{valkey}?prefix={apart}-shop", visitors=True, store=kept_store()) as twin,
    ):
        browser, visitor = await ann_in(shop), Browser(shop)
        await visitor.request("PATCH", "/session/client", {"values": {"theme": "dark"}})
        seen = []
        for app in (shop, wiki):
            there, guest = Browser(app), Browser(app)
            there.jar, guest.jar = dict(browser.jar), dict(visitor.jar)
            seen.append((await there.who() is not None, (await guest.get("/session")).json is not None))
        assert seen == [(True, True), (False, False)]
        there = Browser(twin)
        there.jar = dict(visitor.jar)
        assert (await there.get("/session")).json["client"] == {"theme": "dark"}
