"""Attacks on accounts by somebody outside, who has read the guides: each is tried here, and fails."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from crudite import ApiKeys, App, Email, Field, Mail, Many, Parent, Password, Record, Ref, Resource, Sessions, allow, me
from crudite.auth.sessions import links
from crudite.limiting import Rate
from crudite.resources.writing.passwords import Hashing
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import ANN, PASSWORD, QUICK, Account, Browser, Letters, Note, ann_in, app_for, sessions_of
from tests.services.stores import foreign, fresh_store, kept_store


class Closed(Resource, path="members", rules={"read": allow.where(id=me.id)}):
    """Accounts that nobody writes but the server, so that no field of them needs a rule of its own."""

    email: Email = Field(unique=True)
    password: Password
    nick: str = ""
    roles: list[str] = Field(default_factory=list)
    verified: str | None = None
    rank: int = 0
    approved: bool = True


@pytest.mark.parametrize(
    "more",
    [{"roles": ["admin"]}, {"verified": ANN["email"]}, {"rank": 7}, {"approved": True}],
    ids=["roles", "verified", "claim", "condition"],
)
async def test_nobody_gives_himself_rights_when_he_signs_up(more: dict[str, object]) -> None:
    sessions = Sessions(
        Closed, hashing=QUICK, mail=Letters(), sign_up=True, claims=["rank"], only=allow.where(approved=True)
    )
    async with App(Closed, store=fresh_store(), auth=sessions, clock=Clock()) as app:
        browser = Browser(app)
        refused = await browser.post("/sign-up", {"account": {**ANN, **more}})
        await sessions.mailed()
        assert refused.status == 403
        assert await app.records.count(Closed) == 0
        assert (await browser.post("/sign-up", {"account": {**ANN, "nick": "Ann"}})).status == 200
        await sessions.mailed()
        assert (await browser.log_in()).status == 200
        assert (await browser.get("/session")).json["roles"] == []


async def test_a_link_that_lies_in_a_mailbox_is_void_when_that_is_not_the_owners_any_more() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        await browser.post("/forgot-password", {"email": ANN["email"]})
        await sessions_of(app).mailed()
        await browser.post("/change-email", {"email": "anna@example.org", "password": PASSWORD})
        used = await Browser(app).post("/reset-password", {"token": letters.token(), "password": "thieving horse"})
        assert used.status == 403
        assert (await Browser(app).log_in(email="anna@example.org")).status == 200


async def test_a_link_is_void_when_the_password_has_been_changed_since() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        await browser.post("/forgot-password", {"email": ANN["email"]})
        await sessions_of(app).mailed()
        token = letters.token()
        assert (await browser.post("/change-password", {"old": PASSWORD, "new": "better horse"})).status == 200
        used = await Browser(app).post("/reset-password", {"token": token, "password": "thieving horse"})
        assert used.status == 403
        assert (await Browser(app).log_in("better horse")).status == 200


async def test_one_account_does_not_send_mail_to_the_whole_world() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        for n in range(8):
            moving = {"email": f"victim{n}@example.org", "password": PASSWORD}
            assert (await browser.post("/change-email", moving)).status == 200
            assert (await browser.post("/send-verification")).status == 200
            await sessions_of(app).mailed()
        assert len(letters.sent) == 5


async def test_who_has_stolen_a_session_does_not_get_the_account_by_its_address() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        account = await browser.who()
        for body in ({"email": "thief@example.org"}, {"email": "thief@example.org", "nick": "ann"}):
            answer = await browser.request("PATCH", f"/accounts/{account}", body)
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (403, "/email")
        guessed = await browser.post("/change-email", {"email": "thief@example.org", "password": "wrong horse"})
        assert guessed.status == 403
        assert (
            await browser.request("PATCH", f"/accounts/{account}", {"email": ANN["email"], "nick": "Annie"})
        ).status == 200
        assert (await Browser(app).log_in()).status == 200


class Team(Resource, rules=allow.everyone):
    people: Many["Person"] = Field(settable=True)


class Person(
    Resource, path="people", rules={"read": allow.signed_in, "create": allow.everyone, "write": allow.where(id=me.id)}
):
    """Accounts that can be set as a whole, below a team."""

    team: Parent[Team]
    email: Email = Field(unique=True)
    password: Password | None = None
    verified: str | None = Field(default=None, write=allow.nobody)


async def test_what_a_thief_may_not_change_he_does_not_change_by_setting_a_whole_either() -> None:
    rate = Rate("20/5 minutes", name="tries")
    auth = Sessions(Person, hashing=QUICK, mail=Letters(), address_rate=rate)
    app = App(Team, Person, store=fresh_store(), auth=auth, clock=Clock())
    async with app:
        team = (await app.records.create(Team)).id
        ann = await app.records.create(Person, team=team, **ANN)
        browser, url = Browser(app), f"/teams/{team}/people"
        assert (await browser.log_in()).status == 200
        for key in (str(ann.id), str(ann.id).upper(), ann.id.hex, ann.id.urn):
            for field, value in (("email", "thief@example.org"), ("password", "thieving horse")):
                answer = await browser.request("PUT", url, [{"id": key, "email": ANN["email"], field: value}])
                assert (answer.status, answer.json["errors"][0]["pointer"]) == (403, f"/0/{field}")
        async with browser.client.websocket(headers=browser.headers) as socket:
            call = {"below": {"team": str(team)}, "data": [{"id": str(ann.id), **ANN}]}
            with pytest.raises(Refusal, match="change-password"):
                await socket.call("people.set", call)
        bob = {"email": "bob@example.org", "password": PASSWORD}
        answer = await browser.request("PUT", url, [{"id": str(ann.id), "email": "Ann@Example.org"}, bob])
        assert (answer.status, [one["email"] for one in answer.json]) == (200, ["ann@example.org", "bob@example.org"])
        assert (await Browser(app).log_in()).status == 200

        many = [{"email": f"{n}@example.org"} for n in range(10)]
        said = [(await browser.request("PUT", url, [str(ann.id), *many])).status for _ in range(2)]
        assert said[-1] == 429  # whether names are taken is asked no more often than otherwise


async def test_the_owner_moves_to_another_address_and_the_old_one_is_told() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        browser = await ann_in(app)
        moved = await browser.post("/change-email", {"email": "anna@example.org", "password": PASSWORD})
        assert moved.status == 200
        await sessions_of(app).mailed()
        assert [(mail.kind, mail.to) for mail in letters.sent] == [("moved", "ann@example.org")]
        assert (await Browser(app).log_in()).status == 401
        assert (await Browser(app).log_in(email="anna@example.org")).status == 200


async def test_without_mail_the_rules_of_the_application_guard_the_address() -> None:
    async with app_for() as app:
        browser = await ann_in(app)
        answer = await browser.request("PATCH", f"/accounts/{await browser.who()}", {"email": "anna@example.org"})
        assert answer.status == 200


async def test_many_accounts_do_not_fill_one_mailbox() -> None:
    letters = Letters()
    async with app_for(mail=letters, sign_up=True) as app:
        for name in ("ann", "Ann", "aNn", "anN", "ANn", "aNN", "AnN", "ANN"):
            answer = await Browser(app).post("/sign-up", {"account": {**ANN, "email": f"{name}@example.org"}})
            assert answer.status == 200
            await sessions_of(app).mailed()
        assert len(letters.sent) == 5


class Named(Resource, path="named", rules={"create": allow.everyone, "read": allow.signed_in}):
    """Accounts with a name that is no address."""

    name: str = Field(unique=True)
    password: Password


@pytest.mark.parametrize(
    "other", ["Ann@Example.org", "ANN@example.org", "a\u0301nn@example.org", "A\u0301nn@example.org"]
)
async def test_an_address_in_another_spelling_makes_no_second_account(other: str) -> None:
    first = "ann@example.org" if other.isascii() else "\u00e1nn@example.org"
    letters = Letters()
    async with app_for(mail=letters, sign_up=True) as app:
        ann = await app.records.create(Account, email=first, password=PASSWORD)
        browser = Browser(app)
        refused = await browser.post("/accounts", {"email": other, "password": "thieving horse"})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (409, "/email")
        await browser.post("/sign-up", {"account": {"email": other, "password": "thieving horse"}})
        await sessions_of(app).mailed()
        assert [(mail.kind, mail.to) for mail in letters.sent] == [("taken", first)]
        assert await app.records.count(Account) == 1
        assert (await browser.log_in(email=other)).json["account"] == str(ann.id)
        bob = await app.records.create(Account, email="Bob@Example.ORG", password=PASSWORD)
        assert bob.email == "bob@example.org"
        moved = await browser.post("/change-email", {"email": "BOB@example.org", "password": PASSWORD})
        assert (moved.status, moved.json["code"]) == (409, "not_unique")
        assert (await browser.post("/change-email", {"email": "Anna@example.org", "password": PASSWORD})).status == 200
        assert (await Browser(app).log_in(email="aNNA@example.org")).status == 200


async def test_an_address_that_was_verified_elsewhere_is_the_same_in_its_own_spelling() -> None:
    async with app_for(mail=Letters(), must_verify=True) as app:
        email = "Ann@Example.org"
        ann = await app.records.create(Account, email=email, password=PASSWORD, verified=email)
        assert (ann.email, ann.verified) == ("ann@example.org", "ann@example.org")
        assert (await Browser(app).log_in(email=email)).status == 200
        await app.records.update(Account, ann.id, email="Anna@example.org")
        assert (await Browser(app).log_in(email="anna@example.org")).status == 403
        await app.records.update(Account, ann.id, verified="ANNA@example.org")
        assert (await Browser(app).log_in(email="anna@example.org")).status == 200


async def test_an_account_from_before_verifies_its_address_as_that_is_written() -> None:
    store, letters = kept_store(), Letters()
    async with app_for(store=store, mail=letters, must_verify=True, sign_up=True) as app:
        browser = Browser(app)
        await browser.post("/sign-up", {"account": ANN})
        await sessions_of(app).mailed()
        await foreign(
            store, "UPDATE accounts SET email = 'Ann@example.org'",
            "UPDATE one_use_links SET \"to\" = 'Ann@example.org'",
        )  # fmt: skip
        assert (await browser.post("/verify-address", {"token": letters.token()})).status == 200
        assert (await browser.log_in(email="Ann@example.org")).status == 200


async def test_two_addresses_that_only_look_alike_are_two_mailboxes_and_two_accounts() -> None:
    async with app_for() as app:
        for email in ("stra\u00dfe@example.org", "strasse@example.org", "\ufb01n@example.org", "fin@example.org"):
            assert (await Browser(app).post("/accounts", {"email": email, "password": PASSWORD})).status == 201


async def test_a_name_in_another_spelling_makes_no_second_account() -> None:
    app = App(Named, store=fresh_store(), auth=Sessions(Named, hashing=QUICK), clock=Clock())
    async with app:
        browser = Browser(app)
        assert (await browser.post("/named", {"name": "Stra\u00dfe \ufb01n", "password": PASSWORD})).status == 201
        for other in ("stra\u00dfe fin", "STRASSE FIN", "\uff33trasse \ufb01n"):
            assert (await browser.post("/named", {"name": other, "password": PASSWORD})).status == 409
            assert (await browser.post("/log-in", {"name": other, "password": PASSWORD})).status == 200
        assert [one.name for one in await app.records.list(Named)] == ["strasse fin"]


async def test_accounts_from_before_names_had_one_spelling_are_found_and_not_made_again() -> None:
    store = kept_store()
    async with app_for(store=store) as app:
        ann = await ann_in(app)
        account = await ann.who()
        await foreign(store, "UPDATE accounts SET email = 'Ann@example.org', version = version + 1")
        browser = Browser(app)
        assert (await browser.log_in(email="Ann@example.org")).json["account"] == account
        assert (await browser.log_in(email="ann@example.org")).status == 401
        taken = await browser.post("/accounts", {"email": "Ann@example.org", "password": PASSWORD})
        assert (taken.status, taken.json["code"]) == (409, "not_unique")
        assert (await ann.request("PATCH", f"/accounts/{account}", {"nick": "Annie"})).status == 200
        assert (await browser.log_in(email="Ann@example.org")).status == 200
        same = await app.records.update(Account, account, email="Ann@EXAMPLE.org", nick="Ann")
        assert same.email == "Ann@example.org"  # nothing of it has been changed
        await app.records.update(Account, account, email=sessions_of(app).spelling("Ann@Example.org"))
        assert (await browser.log_in(email="ANN@example.org")).json["account"] == account


async def test_other_spellings_bring_no_further_tries_of_a_password() -> None:
    async with app_for(account_rate=Rate("3/5 minutes", name="tries")) as app:
        await app.records.create(Account, **ANN)
        thief = Browser(app)
        tries = [await thief.log_in("a guess", email=f"{name}@example.org") for name in ("ann", "Ann", "aNn", "anN")]
        assert [one.status for one in tries] == [401, 401, 401, 429]


async def test_asking_for_mail_again_and_again_counts_for_the_address() -> None:
    async with app_for(mail=Letters(), address_rate=Rate("5/5 minutes", name="tries")) as app:
        browser = await ann_in(app)
        said = [(await browser.post("/send-verification")).status for _ in range(6)]
        assert said == [200, 200, 200, 200, 429, 429]
        await sessions_of(app).mailed()


async def test_a_name_that_looks_like_the_owners_place_takes_none_of_his_tries() -> None:
    async with app_for(account_rate=Rate("3/5 minutes", name="tries")) as app:
        await ann_in(app, address="203.0.113.5")
        thief = Browser(app, address="198.51.100.66")
        for name in (
            "ann@example.org:203.0.113.5", "home 203.0.113.5 ann@example.org", "203.0.113.5 ann@example.org",
        ):  # fmt: skip
            assert [(await thief.log_in(email=name)).status for _ in range(4)] == [401, 401, 401, 429]
        assert (await Browser(app, address="203.0.113.5").log_in()).status == 200


async def test_an_account_has_so_many_sessions_and_those_that_are_used_stay() -> None:
    clock = Clock()
    often = Rate("1000/minute", name="tries")
    async with app_for(clock=clock, account_rate=often, address_rate=often) as app:
        used, left = await ann_in(app), await ann_in(app)
        clock.advance(timedelta(minutes=6))
        assert await used.who() is not None
        for _ in range(99):
            assert (await Browser(app).log_in()).status == 200
        assert await used.who() is not None
        assert await left.who() is None
        assert len((await used.get("/sessions?limit=200")).json) == 100


async def test_of_two_who_change_a_password_at_once_one_does_and_the_other_is_out() -> None:
    async with app_for() as app:
        owner, thief = await ann_in(app), await ann_in(app)
        words = ("better horse", "thieving horse")
        said = await asyncio.gather(
            *(
                one.post("/change-password", {"old": PASSWORD, "new": new})
                for one, new in zip((owner, thief), words, strict=True)
            )
        )
        assert sorted(one.status for one in said) == [200, 401]
        first = [one.status for one in said].index(200)
        assert [await one.who() is not None for one in (owner, thief)] == [first == 0, first == 1]
        assert (await Browser(app).log_in(words[first])).status == 200


async def test_one_body_does_not_bring_a_thousand_passwords() -> None:
    async with app_for() as app:
        many = [{"email": f"{n}@example.org", "password": PASSWORD} for n in range(11)]
        refused = await Browser(app).post("/accounts", many)
        assert (refused.status, await app.records.count(Account)) == (400, 0)
        assert (await Browser(app).post("/accounts", many[:10])).status == 201


async def test_whose_password_is_changed_is_told_however_much_mail_a_thief_has_asked_for() -> None:
    letters = Letters()
    async with app_for(mail=letters) as app:
        thief = await ann_in(app)
        for _ in range(7):
            await Browser(app).post("/forgot-password", {"email": ANN["email"]})
            await sessions_of(app).mailed()
        token = letters.token()
        assert (await thief.post("/change-password", {"old": PASSWORD, "new": "thieving horse"})).status == 200
        await sessions_of(app).mailed()
        assert [mail.kind for mail in letters.sent] == ["reset"] * 5 + ["changed"]
        assert (letters.sent[-1].to, letters.sent[-1].token) == (ANN["email"], None)
        assert (await Browser(app).post("/reset-password", {"token": token, "password": "late horse"})).status == 403


async def test_mail_that_hangs_does_not_keep_all_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_LONGEST_MAIL", 0.01)
    never = asyncio.Event()

    async def hang(mail: Mail) -> None:
        await never.wait()

    async with app_for(mail=hang) as app:
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        assert (await browser.post("/forgot-password", {"email": ANN["email"]})).status == 200
        await asyncio.wait_for(sessions_of(app).mailed(), 10)


@pytest.mark.parametrize("keys_first", [False, True])
async def test_a_key_is_no_way_around_what_accounts_need_to_sign_in(keys_first: bool) -> None:
    keys = ApiKeys(Account, only=allow.where(nick__ne="gone"))
    sessions = Sessions(Account, hashing=QUICK, mail=Letters(), must_verify=True, only=allow.where(blocked=False))
    ways: list[Any] = [keys, sessions] if keys_first else [sessions, keys]
    async with App(Account, Note, store=fresh_store(), auth=ways, clock=Clock()) as app:
        account = await app.records.create(Account, **ANN, verified=ANN["email"])
        program = Client(app).acting((await keys.issue(account.id, "backup")).key)
        assert (await program.get("/notes")).status == 200
        stories: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"blocked": True}, {"blocked": False}),
            ({"nick": "gone"}, {"nick": "Ann"}),
            ({"email": "other@example.org"}, {"verified": "other@example.org"}),
        ]
        for barred, admitted in stories:
            await app.records.update(Account, account.id, **barred)
            assert (await program.get("/notes")).status == 401
            await app.records.update(Account, account.id, **admitted)
            assert (await program.get("/notes")).status == 200
        async with program.websocket() as socket:
            await socket.call("notes.list")
            await app.records.update(Account, account.id, email="third@example.org")
            assert await socket.closed() == 4401


async def test_whoever_has_stolen_a_session_does_not_guess_the_password_from_many_addresses() -> None:
    async with app_for(account_rate=Rate("3/5 minutes", name="tries")) as app:
        owner = await ann_in(app)
        said = []
        for n in range(5):
            thief = Browser(app, address=f"203.0.113.{n}")
            thief.jar = dict(owner.jar)
            said.append((await thief.post("/change-password", {"old": "a guess", "new": "thieving horse"})).status)
        assert said == [403, 403, 403, 429, 429]


async def test_a_crowd_that_signs_up_keeps_nobody_from_logging_in() -> None:
    async with app_for(hashing=Hashing(passes=2, lanes=1, side_by_side=1, waiting=7)) as app:
        await ann_in(app)
        crowd = [Browser(app).post("/accounts", {"email": f"{n}@example.org", "password": PASSWORD}) for n in range(60)]
        *said, entered = await asyncio.gather(*crowd, Browser(app).log_in())
        assert entered.status == 200
        assert {one.status for one in said} == {201, 503}
        assert (await Browser(app).post("/accounts", {"email": "late@example.org", "password": PASSWORD})).status == 201


async def test_who_asks_for_many_names_is_slowed_down_and_can_still_log_in() -> None:
    async with app_for(address_rate=Rate("4/5 minutes", name="tries")) as app:
        ann = await ann_in(app)
        url = f"/accounts/{await ann.who()}"

        async def ask(email: str) -> int:
            return (await ann.request("PATCH", url, {"email": email})).status

        assert [await ask(ANN["email"]) for _ in range(2)] == [200, 200]
        assert (await ann.request("PATCH", url, {"nick": "Annie"})).status == 200
        two = [{"email": f"{n}@example.org", "password": PASSWORD} for n in range(2)]
        assert (await Browser(app).post("/accounts", two)).status == 201
        assert (await Browser(app).post("/accounts", {**ANN})).status == 429
        assert await ask("0@example.org") == 429
        assert (await ann.request("PATCH", url, {"nick": "Ann"})).status == 200
        async with ann.client.websocket(headers=ann.headers) as socket:
            call = {"key": url.rpartition("/")[2], "data": {"email": "0@example.org"}}
            with pytest.raises(Refusal) as refusal:
                await socket.call("accounts.update", call)
            assert refusal.value.status == 429
        assert (await Browser(app).log_in()).status == 200
        assert (await Browser(app, address="203.0.113.9").post("/accounts", {**ANN})).status == 409


class Measured(Resource, path="members", rules={"create": allow.everyone, "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True)
    password: Password
    height: float = 0.0


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_is_none_does_not_hide_a_password_from_its_guard(number: str) -> None:
    sessions = Sessions(Measured, hashing=QUICK, mail=Letters())
    async with App(Measured, store=fresh_store(), auth=sessions, clock=Clock()) as app:
        browser = Browser(app)
        await browser.post("/members", ANN)
        await browser.log_in()
        for given in ('"password":"thieving horse"', '"email":"thief@example.org"'):
            body = f'{{"height":{number},"height":1,{given}}}'.encode()
            refused = await browser.request(
                "PATCH", f"/members/{await browser.who()}", content=body, headers={"content-type": "application/json"}
            )
            assert refused.status == 403
        assert (await Browser(app).log_in()).status == 200


class Author(Resource, path="authors", rules={"read": allow.where(id=me.id)}):
    email: Email = Field(unique=True)
    password: Password
    verified: str | None = Field(default=None, write=allow.nobody)
    drafts: Many["Draft"] = Field(settable=True)
    circles: Many["Circle"] = Field(through="Membership", settable=True)


class Draft(Record[str], rules=allow.where(author=me.id)):
    author: Ref[Author] | None = None


class Circle(Record[str], rules=allow.nobody):
    pass


class Membership(Record[int], rules={"read": allow.where(author=me.id)}):
    author: Ref[Author] = Field(on_delete="cascade")
    circle: Ref[Circle]


@pytest.mark.parametrize("link", [{"drafts": ["hers"]}, {"circles": ["closed"]}], ids=["records", "joining records"])
async def test_nobody_takes_records_for_himself_with_the_links_of_his_account_when_he_signs_up(
    link: dict[str, object],
) -> None:
    sessions = Sessions(Author, hashing=QUICK, mail=Letters(), sign_up=True)
    parts = (Author, Draft, Circle, Membership)
    async with App(*parts, store=fresh_store(), auth=sessions, clock=Clock()) as app:
        await app.records.create(Draft, id="hers")
        await app.records.create(Circle, id="closed")
        refused = await Browser(app).post("/sign-up", {"account": {**ANN, **link}})
        await sessions.mailed()
        assert refused.status == 403
        assert [draft.author for draft in await app.records.list(Draft)] == [None]
        assert await app.records.count(Membership) == await app.records.count(Author) == 0
