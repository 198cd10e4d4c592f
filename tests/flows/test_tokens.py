"""Bearer tokens: those that prove themselves, and those that their server is asked about."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import Actor, App, Credentials, Introspection, Jwt, Record, Request, Unauthorized, allow, me
from crudite.auth import introspection, jwks, published
from crudite.testing import Client, Clock, Refusal, Response, View
from tests.flows.worlds import titles
from tests.services.issuer import Issuer, issuing, response, rsa, signed, unsigned
from tests.services.stores import fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="who shows a token is told apart from what is stored")

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SOON = int(NOW.timestamp()) + 3600
SECRET = "a secret of 32 bytes, or of more."


class Note(
    Record[int],
    rules={
        "read": allow.where(owner=me.id) | allow.role("staff") | allow.where(team=me.team),
        "create": allow.signed_in,
        "write": allow.where(owner=me.id),
    },
):
    title: str
    owner: str | None = None
    team: str | None = None


def app_for(*ways: Any, clock: Clock | None = None) -> App:
    app = App(Note, store=fresh_store(), auth=ways, clock=clock or Clock(NOW))

    @app.read("whoami")
    async def whoami(request: Request) -> dict[str, Any]:
        actor = request.actor
        return {"id": actor.id, "roles": sorted(actor.roles), "expires": actor.expires, "session": actor.session}

    return app


@asynccontextmanager
async def client_of(*ways: Any, clock: Clock | None = None) -> AsyncIterator[Client]:
    async with Client(app_for(*ways, clock=clock)) as client:
        await client.app.records.create(Note, title="hers", owner="ann")
        await client.app.records.create(Note, title="red", team="red")
        yield client


async def who(client: Client, token: str | None) -> Any:
    """Whose token that is; the status where it is nobody's."""
    answer = await client.acting(token).get("/whoami")
    return answer.json["id"] if answer.status == 200 else answer.status


def is_told_nothing(answer: Response) -> bool:
    return (answer.status, answer.json["detail"], answer.headers["www-authenticate"]) == (
        401,
        "The token is not valid.",
        'Bearer error="invalid_token"',
    )


KEY = rsa("one")


def by_key(**options: Any) -> Jwt:
    return Jwt(key=KEY.as_dict(private=False), issuer="https://issuer", audience="board", **options)


def token(key: Any = KEY, **claims: Any) -> str:
    given = {"iss": "https://issuer", "aud": "board", "sub": "ann", "exp": SOON, **claims}
    return signed(key, {name: value for name, value in given.items() if value is not None})


async def test_a_token_says_who_it_is_and_what_rules_may_ask_for() -> None:
    async with client_of(by_key()) as client:
        assert titles(await client.acting(token()).get("/notes")) == ["hers"]
        assert titles(await client.acting(token(sub="bob", team="red")).get("/notes")) == ["red"]
        assert titles(await client.acting(token(sub="bob", roles=["staff"])).get("/notes")) == ["hers", "red"]
        assert (await client.get("/notes")).status == 401
        told = (await client.acting(token(jti="t1", roles="staff admin")).get("/whoami")).json
        assert told == {"id": "ann", "roles": ["admin", "staff"], "expires": "2030-01-01T13:00:10Z", "session": "t1"}


async def test_the_actor_may_be_made_by_a_function() -> None:
    async def actor(claims: dict[str, Any]) -> Actor | None:
        return Actor(f"{claims['idp']}|{claims['sub']}") if "idp" in claims else None

    async with client_of(by_key(actor=actor)) as client:
        assert await who(client, token(idp="github")) == "github|ann"
        assert is_told_nothing(await client.acting(token()).get("/whoami"))


ATTACKS = {
    "no algorithm": unsigned({"alg": "none", "kid": "one"}, {"iss": "https://issuer", "aud": "board", "sub": "ann"}),
    "another key": token(rsa("one")),
    "an unknown key": token(rsa("two")),
    "another audience": token(aud="other"),
    "no audience": token(aud=None),
    "not yet valid": token(nbf=SOON),
    "issued in the future": token(iat=SOON),
    "for ever": token(exp=None),
    "nobody's": token(sub=None),
    "a changed claim": ".".join((token().split(".")[0], token(sub="bob").split(".")[1], token().split(".")[2])),
    "huge": token(sub="a" * 20_000),
    "huge and nothing": "a" * 20_000,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_bad_token_is_refused_on_every_interface_and_told_nothing(attack: str) -> None:
    bad = ATTACKS[attack]
    async with client_of(by_key()) as client:
        for answer in (
            await client.acting(bad).get("/notes"),
            await client.acting(bad).get("/whoami"),
            await client.acting(bad).post("/notes", {"title": "forged"}),
        ):
            assert is_told_nothing(answer)
        with pytest.raises(Refusal) as refusal:
            async with client.acting(bad).stream("/notes/subscribe"):
                pass
        assert refusal.value.status == 401
        async with client.websocket() as socket:
            with pytest.raises(Refusal) as refusal:
                await socket.call("auth", {"token": bad})
            assert refusal.value.status == 401
        assert await client.app.records.count(Note) == 2


async def test_what_another_issuer_made_nobody_here_knows() -> None:
    async with client_of(by_key()) as client:
        for other in (token(iss="https://evil"), token(iss=None), token(iss=["https://issuer"]), "opaque", "a.b.c"):
            answer = await client.acting(other).get("/notes")
            assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


async def test_a_token_in_the_url_is_not_looked_at() -> None:
    async with client_of(by_key()) as client:
        for name in ("access_token", "token", "authorization", "bearer"):
            assert (await client.get("/whoami", params={name: token()})).status == 400
            assert (await client.get("/notes", params={name: token()})).status == 401
            async with client.websocket(f"/ws?{name}={token()}") as socket:
                assert (await socket.call("whoami"))["data"]["id"] is None
        for header in ({"x-access-token": token()}, {"cookie": f"access_token={token()}"}, {"authorization": token()}):
            assert (await client.get("/whoami", headers=header)).json["id"] is None


async def test_a_token_ends_what_lives_on_it() -> None:
    clock = Clock(NOW)
    async with client_of(by_key(leeway=timedelta()), clock=clock) as client:
        async with client.acting(token()).websocket() as socket:
            assert (await socket.call("whoami"))["data"]["id"] == "ann"
            clock.advance(timedelta(hours=1))
            assert await socket.closed() == 4401
        answer = await client.acting(token()).get("/whoami")
        assert (answer.status, answer.json["detail"]) == (401, "The token has expired.")
        assert await who(client, token(exp=SOON + 3600)) == "ann"


async def test_several_issuers_stand_side_by_side() -> None:
    other = rsa("one")
    second = Jwt(key=other.as_dict(private=False), issuer="https://second")
    third = Jwt(key=SECRET, issuer=["https://third"], requires=())

    def own(credentials: Credentials) -> Actor | None:
        return Actor("own") if credentials.token == "own" else None

    async with client_of(by_key(), second, third, own) as client:
        assert await who(client, token()) == "ann"
        assert await who(client, signed(other, {"iss": "https://second", "sub": "bob", "exp": SOON})) == "bob"
        assert (
            await who(client, signed(other, {"iss": "https://issuer", "aud": "board", "sub": "b", "exp": SOON})) == 401
        )
        assert await who(client, "own") == "own"
        assert await who(client, "other") == 401
        assert await who(client, None) is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "takes a key, or the URL"),
        ({"key": SECRET, "jwks": "https://a/keys"}, "takes a key, or the URL"),
        ({"jwks": "https://a/keys"}, "needs issuer"),
        ({"jwks": "http://a/keys", "issuer": "a"}, "is not encrypted"),
        ({"key": "short"}, "the secret needs 32 bytes"),
        ({"key": SECRET, "algorithms": ["none"]}, "algorithms are some of"),
    ],
)
def test_what_cannot_be_checked_is_told_at_the_start(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Jwt(**options)


def test_without_the_library_everything_else_works_and_jwt_says_what_to_install() -> None:
    script = "import sys; sys.modules['joserfc'] = None; import crudite; crudite.Jwt(key='k' * 32)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "RuntimeError: joserfc is not installed: pip install 'crudite[jwt]'" in run.stderr


# published keys


@asynccontextmanager
async def by_published_keys(clock: Clock) -> AsyncIterator[tuple[Issuer, Client]]:
    async with issuing() as issuer:
        way = Jwt(jwks=f"{issuer.url}/jwks", issuer=issuer.url)
        async with client_of(way, clock=clock) as client:
            yield issuer, client


async def test_published_keys_are_fetched_once_when_they_are_needed() -> None:
    async with by_published_keys(Clock(NOW)) as (issuer, client):
        assert issuer.asked == {}
        good = issuer.token(sub="ann", exp=SOON)
        assert await asyncio.gather(*(who(client, good) for _ in range(20))) == ["ann"] * 20
        assert await who(client, None) is None
        assert issuer.asked == {"/jwks": 1}


async def test_a_new_key_is_known_without_a_restart_and_an_old_one_forgotten() -> None:
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        old = issuer.token(sub="ann", exp=SOON)
        assert await who(client, old) == "ann"
        clock.advance(published.PAUSE)
        issuer.keys = [rsa("two")]
        assert await who(client, issuer.token(sub="bob", exp=SOON)) == "bob"
        assert await who(client, old) == 401
        issuer.keys = [rsa("three")]
        two = signed(rsa("two"), {"iss": issuer.url, "sub": "ann", "exp": SOON})
        clock.advance(jwks.FRESH)
        assert await who(client, two) == 401
        assert await who(client, issuer.token(sub="cleo", exp=SOON)) == "cleo"


async def test_invented_keys_do_not_make_us_fetch_without_end() -> None:
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        assert await who(client, issuer.token(sub="ann", exp=SOON)) == "ann"
        evil = rsa()
        invented = [signed(evil, {"iss": issuer.url, "exp": SOON}, kid=f"evil-{n}") for n in range(50)]
        for _ in range(3):
            clock.advance(published.PAUSE)
            assert set(await asyncio.gather(*(who(client, one) for one in invented))) == {401}
        assert issuer.asked == {"/jwks": 4}


async def test_while_the_issuer_is_away_its_keys_are_kept_for_a_day() -> None:
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        good = issuer.token(sub="ann", exp=SOON + 10**6)
        assert await who(client, good) == "ann"
        await issuer.falls()
        for _ in range(2):
            clock.advance(timedelta(hours=11))
            assert await who(client, good) == "ann"
        new = signed(rsa("two"), {"iss": issuer.url, "sub": "ann", "exp": SOON + 10**6})
        assert await who(client, new) == 503
        clock.advance(timedelta(hours=2))
        assert await who(client, good) == 503
        await issuer.rises()
        clock.advance(published.PAUSE)
        assert await who(client, good) == "ann"


async def test_without_keys_nobody_is_let_in_and_nobody_refused() -> None:
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        good = issuer.token(sub="ann", exp=SOON)
        await issuer.falls()
        for _ in range(3):
            answer = await client.acting(good).get("/notes")
            assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        assert (await client.get("/notes")).status == 401
        await issuer.rises()
        assert await who(client, good) == 503
        clock.advance(published.PAUSE)
        assert await who(client, good) == "ann"


@pytest.mark.parametrize(
    "said",
    [
        response(200, b'{"keys": [' + b"{}," * 200_000 + b"{}]}"),
        response(200, b'{"keys": ' + b"[" * 100_000),
        response(200, b"<html>"),
        response(500, b'{"keys": []}'),
        response(302, b"", "location: /elsewhere"),
        b"",
    ],
)
async def test_published_keys_that_are_none_change_nothing(said: bytes) -> None:
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        good = issuer.token(sub="ann", exp=SOON)
        issuer.says = said
        assert await who(client, good) == 503
        issuer.says = None
        clock.advance(published.PAUSE)
        assert await who(client, good) == "ann"
        issuer.says = said
        clock.advance(jwks.FRESH)
        assert await who(client, good) == "ann"
        assert issuer.asked == {"/jwks": 3}


async def test_an_issuer_that_hangs_holds_up_one_request_and_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "SECONDS", 0.2)
    clock = Clock(NOW)
    async with by_published_keys(clock) as (issuer, client):
        good = issuer.token(sub="ann", exp=SOON)
        assert await who(client, good) == "ann"
        issuer.answers.clear()
        clock.advance(jwks.FRESH)
        first = asyncio.create_task(who(client, good))
        await issuer.is_asked("/jwks", 2)
        assert await who(client, good) == "ann"
        assert not first.done()
        assert await first == "ann"


# introspection


@asynccontextmanager
async def by_introspection(clock: Clock, **options: Any) -> AsyncIterator[tuple[Issuer, Client]]:
    async with issuing() as issuer:
        way = Introspection(f"{issuer.url}/introspect", client_id="board", client_secret="s3cret", **options)
        async with client_of(way, clock=clock) as client:
            yield issuer, client


async def test_the_server_of_a_token_is_asked_who_shows_it() -> None:
    async with by_introspection(Clock(NOW)) as (issuer, client):
        issuer.tokens["abc"] = {"sub": "ann", "exp": SOON, "scope": "read", "aud": "whoever"}
        assert titles(await client.acting("abc").get("/notes")) == ["hers"]
        assert is_told_nothing(await client.acting("other").get("/notes"))
        assert await who(client, None) is None
        assert issuer.forms == [
            {"token": ["abc"], "token_type_hint": ["access_token"]},
            {"token": ["other"], "token_type_hint": ["access_token"]},
        ]
        assert issuer.authorizations == ["Basic Ym9hcmQ6czNjcmV0"] * 2


async def test_an_answer_is_remembered_for_a_moment_and_not_longer() -> None:
    clock = Clock(NOW)
    async with by_introspection(clock, remembers=timedelta(seconds=30)) as (issuer, client):
        issuer.tokens["abc"] = {"sub": "ann"}
        assert await asyncio.gather(*(who(client, "abc") for _ in range(20))) == ["ann"] * 20
        assert await asyncio.gather(*(who(client, "later") for _ in range(20))) == [401] * 20
        assert issuer.asked == {"/introspect": 2}
        issuer.tokens = {"later": {"sub": "bob"}}
        clock.advance(timedelta(seconds=29))
        assert (await who(client, "abc"), await who(client, "later")) == ("ann", 401)
        clock.advance(timedelta(seconds=1))
        assert (await who(client, "abc"), await who(client, "later")) == (401, "bob")


async def test_what_was_remembered_can_be_forgotten_and_then_revoked() -> None:
    async with issuing() as issuer:
        way = Introspection(f"{issuer.url}/introspect", client_id="board", client_secret="s3cret")
        async with client_of(way) as client, client.acting("abc").websocket() as socket:
            issuer.tokens["abc"] = {"sub": "ann", "jti": "t1"}
            assert (await socket.call("whoami"))["data"]["id"] == "ann"
            issuer.tokens.clear()
            way.forget()
            await client.app.revoke(session="t1")
            assert await socket.closed() == 4401


async def test_while_the_server_is_away_nobody_is_let_in_and_nobody_refused() -> None:
    clock = Clock(NOW)
    async with by_introspection(clock) as (issuer, client):
        issuer.tokens["abc"] = {"sub": "ann"}
        assert await who(client, "abc") == "ann"
        await issuer.falls()
        assert await who(client, "abc") == "ann"
        clock.advance(timedelta(seconds=30))
        for _ in range(2):
            answer = await client.acting("abc").get("/notes")
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await client.get("/notes")).status == 401
        await issuer.rises()
        assert await who(client, "abc") == "ann"


@pytest.mark.parametrize(
    "said",
    [
        response(401, b'{"active": true, "sub": "ann"}'),
        response(200, b'{"sub": "ann"}'),
        response(200, b'{"active": "true", "sub": "ann"}'),
        response(200, b'{"active": 1, "sub": "ann"}'),
        response(200, b"[true]"),
        response(200, b'{"active": true, "sub": "ann", "x": "' + b"y" * 100_000 + b'"}'),
        response(302, b"", "location: /elsewhere"),
    ],
)
async def test_an_answer_that_is_none_lets_nobody_in(said: bytes) -> None:
    async with by_introspection(Clock(NOW)) as (issuer, client):
        issuer.says = said
        assert await who(client, "abc") == 503


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "ann", "exp": SOON - 3611},
        {"sub": "ann", "nbf": SOON},
        {"sub": "ann", "aud": "other"},
        {"sub": "ann"},
        {"sub": "ann", "aud": "board", "iss": "https://evil"},
        {"aud": "board"},
    ],
)
async def test_an_active_token_must_be_meant_for_us_as_well(claims: dict[str, Any]) -> None:
    async with by_introspection(Clock(NOW), audience="board") as (issuer, client):
        issuer.tokens["abc"] = claims
        assert await who(client, "abc") == (401 if claims.get("iss") is None else "ann")


async def test_a_connection_shows_its_token_again_after_a_while() -> None:
    clock = Clock(NOW)
    async with by_introspection(clock, lives=timedelta(minutes=10)) as (issuer, client):
        issuer.tokens["abc"] = {"sub": "ann", "exp": SOON}
        async with client.acting("abc").websocket() as one, client.acting("abc").websocket() as two:
            await one.call("whoami")
            await two.call("whoami")
            clock.advance(timedelta(minutes=9, seconds=30))
            await two.call("auth", {"token": "abc"})
            clock.advance(timedelta(seconds=30))
            assert await one.closed() == 4401
            assert (await two.call("whoami"))["data"]["id"] == "ann"


async def test_a_flood_of_invented_tokens_is_bounded_and_pushes_no_good_one_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(introspection, "MOST_ANSWERS", 10)
    async with by_introspection(Clock(NOW)) as (issuer, client):
        issuer.tokens["abc"] = {"sub": "ann"}
        assert await who(client, "abc") == "ann"
        assert [await who(client, f"invented-{n}") for n in range(30)] == [401] * 30
        asked = issuer.asked["/introspect"]
        assert await who(client, "abc") == "ann"
        assert issuer.asked["/introspect"] == asked
        assert await who(client, "invented-0") == 401
        assert issuer.asked["/introspect"] == asked + 1


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "SECONDS", 0.1)
    async with by_introspection(Clock(NOW)) as (issuer, client):
        issuer.answers.clear()
        assert await asyncio.gather(*(who(client, f"t{n}") for n in range(5))) == [503] * 5


async def test_few_ask_a_slow_server_at_once_and_no_more_wait_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "MOST_AT_ONCE", 4)
    monkeypatch.setattr(introspection, "MOST_WAITING", 8)
    async with by_introspection(Clock(NOW)) as (issuer, client):
        issuer.answers.clear()
        asking = [asyncio.create_task(who(client, f"t{n}")) for n in range(20)]
        turned_away = [await one for one in asyncio.as_completed(asking[12:])]
        await issuer.is_asked("/introspect", 4)
        assert turned_away == [503] * 8
        assert issuer.asked == {"/introspect": 4}
        issuer.answers.set()
        assert await asyncio.gather(*asking[:12]) == [401] * 12


# for all of them


class Authority:
    """A function of the application's own, that knows whom it does not want any more."""

    def __init__(self) -> None:
        self.barred: set[str | None] = set()

    def __call__(self, credentials: Credentials) -> Actor | None:
        if credentials.token in self.barred:
            raise Unauthorized("No longer.")
        return Actor(credentials.token)


async def test_no_message_does_anything_for_whoever_has_shown_no_token() -> None:
    async with client_of(Authority()) as client, client.websocket() as socket:
        messages: list[tuple[str, dict[str, Any]]] = [
            ("notes.list", {}),
            ("notes.read", {"key": 1}),
            ("notes.create", {"data": {"title": "forged"}}),
            ("notes.update", {"key": 1, "data": {"title": "forged"}}),
            ("notes.delete", {"key": 1}),
        ]
        for name, params in messages:
            with pytest.raises(Refusal) as refusal:
                await socket.call(name, params)
            assert refusal.value.status == 401, name
        with pytest.raises(Refusal) as refusal:
            await socket.subscribe("s", {"resource": "notes"}, View(10.0))
        assert refusal.value.status == 401
        assert [row.title for row in await client.app.records.list(Note)] == ["hers", "red"]


async def test_a_function_of_ones_own_bars_whoever_is_there_already() -> None:
    authority = Authority()
    async with client_of(authority) as client, client.acting("ann").websocket() as socket:
        assert titles((await socket.call("notes.list"))["data"]) == ["hers"]
        authority.barred.add("ann")
        await client.app.revoke(account="ann")
        assert await socket.closed() == 4401
        assert (await client.acting("ann").get("/notes")).status == 401
        async with client.websocket() as again:
            with pytest.raises(Refusal):
                await again.call("auth", {"token": "ann"})


async def test_no_token_and_no_secret_is_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    clock = Clock(NOW)
    async with issuing() as issuer:
        signed_in = Jwt(jwks=f"{issuer.url}/jwks?secret=planted-1", issuer=issuer.url)
        asked = Introspection(f"{issuer.url}/introspect?secret=planted-2", client_id="board", client_secret="planted-3")
        async with client_of(signed_in, asked, clock=clock) as client:
            jwt = issuer.token(sub="ann", exp=SOON)
            shown = [jwt, jwt[:-4] + "AAAA", issuer.token(exp=SOON), "planted-opaque", "planted-away"]
            issuer.says = response(500, b"planted-answer")
            for one in shown:
                await who(client, one)
            issuer.says = None
            clock.advance(published.PAUSE)
            for one in shown:
                await who(client, one)
            await issuer.falls()
            clock.advance(jwks.FRESH)
            for one in shown:
                await who(client, one)
    assert "cannot be fetched" in caplog.text
    assert "cannot be asked about" in caplog.text
    assert "planted" not in caplog.text
    for one in shown:
        assert not any(part in caplog.text for part in one.split("."))
