"""Accounts: lost passwords, addresses, signing up, and those who guess."""

import asyncio
from datetime import timedelta

import pytest

from crudite import App, Email, Field, Mail, Password, Request, Resource, Sessions, allow, me
from crudite.limiting import Rate
from crudite.resources.writing.passwords import Hashing
from crudite.testing import Client, Clock
from tests.flows.people import (
    ANN,
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
from tests.services.stores import fresh_store

URL = "https://shop.example"


async def _asked(app: App, browser: Browser, email: str = ANN["email"]) -> None:
    assert (await browser.post("/forgot-password", {"email": email})).json == {}
    await sessions_of(app).mailed()


async def test_a_lost_password_is_replaced_by_a_link_that_works_once_and_ends_all_sessions() -> None:
    letters = Letters()
    async with app_for(mail=letters, url=URL) as app:
        signed_in = await ann_in(app)
        browser = Browser(app)
        await _asked(app, browser)
        await _asked(app, browser)
        mail = letters.sent[0]
        assert (mail.kind, mail.to, mail.subject) == ("reset", "ann@example.org", "Choose another password")
        assert mail.link == f"{URL}/reset-password#{mail.token}"
        assert mail.link in mail.text
        assert mail.token not in repr(mail)
        short = await browser.post("/reset-password", {"token": mail.token, "password": "short"})
        assert (short.status, short.json["errors"][0]["pointer"]) == (422, "/password")
        done = await browser.post("/reset-password", {"token": mail.token, "password": "another horse"})
        assert done.status == 200
        assert await signed_in.who() is None
        await sessions_of(app).mailed()
        assert [letter.kind for letter in letters.sent] == ["reset", "reset", "changed"]
        for letter in letters.sent[:2]:  # the one that was used, and the other
            again = await browser.post("/reset-password", {"token": letter.token, "password": "thieving horse"})
            assert (again.status, again.json["code"]) == (403, "forbidden")
        assert (await browser.log_in()).status == 401
        assert (await browser.log_in("another horse")).status == 200


async def test_of_many_who_use_a_link_at_once_one_does() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        await app.records.create(Account, **ANN)
        browsers = [Browser(app) for _ in range(4)]
        await _asked(app, browsers[0])
        token = letters.token()
        used = [
            browser.post("/reset-password", {"token": token, "password": f"horse number {n}"})
            for n, browser in enumerate(browsers)
        ]
        answers = [answer.status for answer in await asyncio.gather(*used)]
        assert sorted(answers) == [200, 403, 403, 403]
        assert (await browsers[0].log_in(f"horse number {answers.index(200)}")).status == 200


async def test_a_link_expires_and_none_can_be_made_up() -> None:
    clock, letters = Clock(), Letters()
    async with app_for(mail=letters, clock=clock, link_lasts=timedelta(minutes=10)) as app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        await _asked(app, browser)
        clock.advance(timedelta(minutes=10))
        for token in (letters.token(), "", "crl_", "crl_" + "A" * 64, letters.token()[:-4] + "AAAA", "crl_" + "é" * 64):
            refused = await browser.post("/reset-password", {"token": token, "password": "another horse"})
            assert refused.status == 403, token
        await _asked(app, browser)
        assert (await browser.post("/verify-address", {"token": letters.token()})).status == 403
        assert (await browser.get("/one-use-links")).status == 404


async def test_the_answer_does_not_tell_who_has_an_account_and_comes_before_the_mail() -> None:
    gate, sent = asyncio.Event(), list[Mail]()

    async def slowly(mail: Mail) -> None:
        async with asyncio.timeout(5):
            await gate.wait()
        sent.append(mail)

    async with app_for(mail=slowly) as app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        answers = [
            await browser.post("/forgot-password", {"email": email})
            for email in ("ann@example.org", "nobody@example.org", "no address")
        ]
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"{}")}
        gate.set()
        await sessions_of(app).mailed()
        assert [mail.to for mail in sent] == ["ann@example.org"]


async def test_strangers_cannot_fill_a_mailbox() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        await app.records.create(Account, **ANN)
        for n in range(9):
            await _asked(app, Browser(app, address=f"198.51.100.{n}"))
        assert len(letters.sent) == 5


async def test_mail_that_cannot_be_sent_is_told_to_the_log_without_its_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = []

    async def fails(mail: Mail) -> None:
        tokens.append(mail.token)
        raise OSError(f"the server is away: {mail!r}")

    async with app_for(mail=fails) as app:
        await app.records.create(Account, **ANN)
        await _asked(app, Browser(app))
    assert "a mail could not be sent" in caplog.text
    assert tokens[0] is not None
    assert tokens[0] not in caplog.text


async def test_an_address_is_verified_by_who_reads_its_mail() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        account = await browser.who()
        assert (await browser.post("/send-verification")).status == 200
        await sessions_of(app).mailed()
        assert letters.sent[-1].kind == "verify"
        token = letters.token()
        assert (await Browser(app).post("/verify-address", {"token": token})).json == {"account": account}
        assert (await app.records.read(Account, account)).verified == "ann@example.org"
        assert (await Browser(app).post("/verify-address", {"token": token})).status == 403

        await browser.post("/send-verification")
        await sessions_of(app).mailed()
        assert (await browser.post("/change-email", {"email": "anna@example.org", "password": PASSWORD})).status == 200
        assert (await Browser(app).post("/verify-address", {"token": letters.token()})).status == 403


async def test_where_addresses_must_be_verified_nobody_signs_in_before() -> None:
    letters = Letters()
    async with app_for(mail=letters, must_verify=True, sign_up=True) as app:
        browser = Browser(app)
        assert (await browser.post("/sign-up", {"account": ANN})).json == {}
        await sessions_of(app).mailed()
        refused = await browser.log_in()
        assert (refused.status, refused.json["reason"]) == (403, "not_verified")
        assert (await browser.log_in("wrong horse")).status == 401
        assert (await browser.post("/verify-address", {"token": letters.token()})).status == 200
        assert (await browser.log_in()).status == 200
        account = await browser.who()
        await app.records.update(Account, account, email="anna@example.org")
        assert await browser.who() is None


async def test_signing_up_does_not_tell_who_has_an_account() -> None:
    letters = Letters()
    async with app_for(mail=letters, sign_up=True, url=URL) as app:
        browser = Browser(app)
        first = await browser.post("/sign-up", {"account": {**ANN, "nick": "Ann"}})
        await sessions_of(app).mailed()
        second = await browser.post("/sign-up", {"account": {**ANN, "password": "thieving horse"}})
        await sessions_of(app).mailed()
        assert (first.status, first.body) == (second.status, second.body) == (200, b"{}")
        assert [(mail.kind, mail.to) for mail in letters.sent] == [
            ("verify", "ann@example.org"), ("taken", "ann@example.org"),
        ]  # fmt: skip
        assert [one.nick for one in await app.records.list(Account)] == ["Ann"]
        assert (await browser.log_in()).status == 200
        for wrong, status in (
            ({**ANN, "email": "x"}, 422), ({"email": "b@example.org"}, 422),
            ({**ANN, "email": "b@example.org", "roles": ["admin"]}, 403),
            ({**ANN, "email": "b@example.org", "verified": "b@example.org"}, 403),
        ):  # fmt: skip
            assert (await browser.post("/sign-up", {"account": wrong})).status == status
        assert await app.records.count(Account) == 1


class Member(Resource, rules={"read": allow.where(id=me.id)}, unique=[("team", "number"), ("email", "team")]):
    """Accounts with more than a name that nobody else has."""

    email: Email = Field(unique=True)
    password: Password
    nick: str | None = Field(default=None, unique=True)
    team: str = "red"
    number: int | None = None
    verified: str | None = Field(default=None, write=allow.nobody)


async def test_who_signs_up_is_told_what_is_taken_but_for_the_name() -> None:
    letters = Letters()
    sessions = Sessions(Member, hashing=QUICK, mail=letters, sign_up=True)
    async with App(Member, store=fresh_store(), auth=sessions, clock=Clock()) as app:
        browser = Browser(app)

        async def sign_up(email: str, **more: object) -> tuple[int, list[str]]:
            answer = await browser.post("/sign-up", {"account": {"email": email, "password": PASSWORD, **more}})
            await sessions.mailed()
            return answer.status, [fault["pointer"] for fault in answer.json.get("errors", [])]

        assert await sign_up("ann@example.org", nick="Ann", number=7) == (200, [])
        assert await sign_up("bob@example.org", nick="Ann") == (409, ["/nick"])
        assert await sign_up("bob@example.org", number=7) == (409, ["/team", "/number"])
        assert await sign_up("ann@example.org", nick="Ann") == (409, ["/nick"])  # it is the same for a name that is
        assert await sign_up("ann@example.org") == (200, [])
        assert await sign_up("bob@example.org") == (200, [])
        assert await sign_up("cid@example.org", number=7, team="blue") == (200, [])
        key = str((await app.records.list(Member.where(nick="Ann")))[0].id)
        assert await sign_up("dan@example.org", id=key) == (409, ["/id"])
        assert await app.records.count(Member) == 3
        assert [mail.kind for mail in letters.sent] == ["verify", "taken", "verify", "verify"]


async def test_an_account_is_replaced_without_its_password_which_stays() -> None:
    async with app_for() as app:
        ann = await ann_in(app)
        own = (await ann.get("/accounts")).json[0]
        at = f"/accounts/{own['id']}"
        replaced = await ann.request("PUT", at, {"email": ANN["email"], "nick": "Annie"})
        assert (replaced.status, replaced.json["nick"]) == (200, "Annie")
        refused = await ann.request("PUT", at, {"email": ANN["email"], "password": "another horse"})
        assert refused.status == 403  # that asks for the old one
        assert (await Browser(app).log_in()).status == 200


class Guest(Resource, rules={"read": allow.where(id=me.id), "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True)
    password: Password | None = None
    verified: str | None = Field(default=None, write=allow.nobody)


async def test_who_signs_in_elsewhere_alone_has_no_password_and_nobody_logs_in_with_one() -> None:
    letters = Letters()
    sessions = Sessions(Guest, hashing=QUICK, mail=letters, sign_up=True)
    async with App(Guest, store=fresh_store(), auth=sessions, clock=Clock()) as app:
        await app.records.create(Guest, email=ANN["email"])
        browser = Browser(app)
        for password in (PASSWORD, "", None):
            answer = await browser.post("/log-in", {"email": ANN["email"], "password": password})
            assert answer.status in (401, 422)
        await browser.post("/forgot-password", {"email": ANN["email"]})
        await sessions.mailed()
        chosen = await browser.post("/reset-password", {"token": letters.token(), "password": PASSWORD})
        assert chosen.status == 200
        assert (await browser.post("/log-in", ANN)).status == 200
        for without in ({}, {"password": None}):
            refused = await browser.post("/sign-up", {"account": {"email": "eve@example.org", **without}})
            assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/password")
        assert await app.records.count(Guest) == 1


async def test_signing_up_is_an_ordinary_create_elsewhere() -> None:
    async with app_for() as app:
        browser = Browser(app)
        assert (await browser.post("/sign-up", {"account": ANN})).status == 404
        assert (await browser.post("/accounts", ANN)).status == 201
        taken = await browser.post("/accounts", ANN)
        assert (taken.status, taken.json["code"]) == (409, "not_unique")
        assert (await browser.log_in()).status == 200
        assert (await browser.post("/forgot-password", {"email": ANN["email"]})).status == 404


async def test_guessing_is_slowed_down_and_its_victim_still_gets_in() -> None:
    clock = Clock()
    async with app_for(account_rate=Rate("5/5 minutes", name="log-in"), clock=clock) as app:
        owner = await ann_in(app, address="203.0.113.1")
        for n in range(4):
            assert (await Browser(app, address=f"198.51.100.{n}").log_in("wrong horse")).status == 401
        refused = await Browser(app, address="198.51.100.9").log_in("wrong horse")
        assert refused.status == 429
        assert refused.headers["retry-after"] == "60"
        right = await Browser(app, address="198.51.100.9").log_in()
        assert right.status == 429  # whoever guesses does not learn that he was right
        at_home = Browser(app, address="203.0.113.1")
        assert (await at_home.log_in()).status == 200
        assert await owner.who() is not None
        clock.advance(timedelta(minutes=1))
        assert (await Browser(app, address="198.51.100.9").log_in()).status == 200


async def test_names_that_nobody_has_are_slowed_down_alike() -> None:
    async with app_for(account_rate=Rate("3/5 minutes", name="log-in")) as app:
        await app.records.create(Account, **ANN)
        said = {
            email: [(await Browser(app).log_in("wrong horse", email)).status for _ in range(5)]
            for email in ("ann@example.org", "nobody@example.org", "no address")
        }
        assert set(map(tuple, said.values())) == {(401, 401, 401, 429, 429)}


async def test_one_address_cannot_try_many_accounts() -> None:
    async with app_for(address_rate=Rate("4/5 minutes", name="log-in")) as app:
        tries = [await Browser(app).log_in(PASSWORD, f"user{n}@example.org") for n in range(6)]
        assert [answer.status for answer in tries] == [401, 401, 401, 401, 429, 429]
        assert (await Browser(app, address="203.0.113.1").log_in()).status == 401


async def test_too_many_passwords_at_once_are_sent_away_and_nothing_else_is() -> None:
    hashing = Hashing(passes=3, memory=32_768, lanes=1, side_by_side=1, waiting=1)
    async with app_for(hashing=hashing) as app:
        tries = [
            asyncio.create_task(Browser(app, address=f"198.51.100.{n}").log_in(PASSWORD, f"user{n}@example.org"))
            for n in range(8)
        ]
        done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        assert (await Browser(app).get("/session")).json is None
        answers = await asyncio.gather(*tries)
        assert {answer.status for answer in answers} == {401, 503}
        refused = next(answer for answer in answers if answer.status == 503)
        assert int(refused.headers["retry-after"]) > 0
        assert done


async def test_a_handler_of_ones_own_takes_the_place_of_one_that_is_offered_and_calls_it() -> None:
    sessions = Sessions(Account, hashing=QUICK)
    app = App(Account, Note, store=fresh_store(), auth=sessions, clock=Clock())

    @app.create("log-in")
    async def log_in(request: Request, email: str, password: str, code: str) -> object:
        if code != "1234":
            return {"code": "wrong"}
        return await sessions.log_in(request, email, password)

    @app.create("enter-by-badge")
    async def enter_by_badge(request: Request, badge: str) -> object:
        (found,) = await app.records.list(Account.where(nick=badge))
        return await sessions.enter(request, str(found.id))

    @app.create("sudo")
    async def sudo(request: Request) -> object:
        return await sessions.renew(request)

    async with app:
        ann = await app.records.create(Account, **ANN, nick="B-17")
        browser = Browser(app)
        assert (await browser.log_in(code="0")).json == {"code": "wrong"}
        assert await browser.who() is None
        assert (await browser.log_in(code="1234")).status == 200
        assert await browser.who() == str(ann.id)
        other = Browser(app)
        assert (await other.post("/enter-by-badge", {"badge": "B-17"})).status == 200
        assert await other.who() == str(ann.id)
        before = dict(other.jar)
        assert (await other.post("/sudo")).status == 200
        assert await other.who() == str(ann.id)
        other.jar = before
        assert await other.who() is None


async def test_under_dev_the_cookie_works_over_http_and_mail_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRUDITE_MODE", "dev")
    async with app_for() as app:
        browser = await ann_in(app)
        assert list(browser.jar) == ["sid"]
        await _asked(app, Browser(app))
        shown = capsys.readouterr().err
        assert "Mail to ann@example.org: Choose another password" in shown
        assert "Your code: crl_" in shown


async def test_a_cookie_of_ones_own_and_two_applications_on_one_host() -> None:
    async with app_for(cookie="sid") as app:
        browser = await ann_in(app)
        assert list(browser.jar) == ["sid"]
        assert await browser.who() is not None
        browser.jar = {"__Host-sid": browser.jar["sid"]}
        assert await browser.who() is None


async def test_rules_may_speak_of_what_the_account_says() -> None:
    async with app_for(claims=["nick"]) as app:
        browser = await ann_in(app)
        account = await browser.who()

        @app.read("nick")
        async def nick(request: Request) -> object:
            return request.actor.claims["nick"]

        await app.records.update(Account, account, nick="Annie")
        client = Client(app, headers=browser.headers)
        async with client.websocket() as socket:
            assert (await socket.call("nick"))["data"] == "Annie"


@pytest.mark.only_on("sqlite", reason="what cannot be asks no store")
def test_times_and_addresses_that_cannot_be_are_refused() -> None:
    for told in (
        {"idle": timedelta()}, {"lasts": -HOUR}, {"seen_every": 20 * 24 * HOUR}, {"url": "shop.example"},
        {"url": "javascript://x"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(told))):
            Sessions(Account, **told)
    assert Sessions(Account, only=allow.where(blocked=False)).account is Account


@pytest.mark.only_on("sqlite", reason="what is said at the start asks no store")
@pytest.mark.parametrize(("worker", "times"), [(None, 1), ("1", 1), ("2", 0)])
async def test_that_nobody_sends_mail_is_said_once_when_it_starts(
    worker: str | None, times: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if worker is not None:
        monkeypatch.setenv("CRUDITE_WORKER", worker)
    caplog.set_level("INFO", "crudite")
    async with app_for() as app:
        assert (await Browser(app).post("/forgot-password", {"email": ANN["email"]})).status == 404
    async with app_for(mail=Letters()):
        pass
    assert caplog.text.count("nobody sends mail") == times
