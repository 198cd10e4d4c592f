"""Those who try to get in by OpenID Connect without being who they say: forged, stolen, replayed, exchanged."""

import hmac
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crudite.testing import Clock
from crudite.tokens import Sealer
from tests.flows.elsewhere import NOW, SITE, Account, World, app_for, changed, is_refused, openid, world
from tests.flows.people import Browser
from tests.services.issuer import rsa, signed, unsigned
from tests.services.provider import Provider, providing

pytestmark = pytest.mark.only_on("sqlite", reason="what is believed of a provider does not depend on the store")

SECONDS = int(NOW.timestamp())


async def test_who_is_led_to_somebody_elses_callback_is_not_signed_in_as_him() -> None:
    async with world() as here:
        eve, ann, bob = here.browser(), here.browser(), here.browser()
        evil = await here.back(eve)
        assert is_refused(await here.goes(ann, evil))
        await here.asks(bob)  # he is signing in himself at that moment
        assert is_refused(await here.goes(bob, evil))
        assert "/token" not in here.provider.asked
        assert await ann.who() is await bob.who() is None


@pytest.mark.parametrize("state", [None, "", "forged", "A" * 9_000])
async def test_a_forged_state_counts_for_nothing(state: str | None) -> None:
    async with world() as here:
        ann = here.browser()
        back = await here.back(ann)
        assert is_refused(await here.goes(ann, changed(back, state=state)))
        assert "/token" not in here.provider.asked


async def test_what_is_sealed_for_something_else_is_no_state() -> None:
    async with world() as here:
        ann = here.browser()
        back = await here.back(ann)
        for content in (b"", b"{}", b'{"id":"a","provider":"openid","browser":"","then":"/","began":0}'):
            for secret in (here.app.store.secret, b"another secret"):
                assert is_refused(await here.goes(ann, changed(back, state=Sealer(secret).seal(content))))


async def test_a_state_is_over_after_ten_minutes() -> None:
    async with world() as here:
        ann = here.browser()
        here.provider.tells = {"exp": SECONDS + 900}
        backs = [await here.back(ann) for _ in range(2)]
        here.clock.advance(timedelta(minutes=9, seconds=59))
        assert (await here.goes(ann, backs[0])).status == 303
        here.clock.advance(timedelta(seconds=1))
        assert is_refused(await here.goes(ann, backs[1]))


async def test_a_callback_is_used_once_even_where_the_provider_takes_a_code_twice() -> None:
    for careless in (False, True):
        async with world() as here:
            here.provider.takes_codes_twice = careless
            ann = here.browser()
            back = await here.back(ann)
            assert (await here.goes(ann, back)).status == 303
            assert is_refused(await here.goes(ann, back))


async def test_a_code_that_was_meant_for_another_sign_in_is_worth_nothing() -> None:
    async with world() as here:
        ann, eve = here.browser(), here.browser()
        stolen = changed(await here.back(ann))
        code = stolen.partition("code=")[2].partition("&")[0]
        assert is_refused(await here.goes(eve, changed(await here.back(eve), code=code)))
        assert await eve.who() is None


async def test_a_client_cannot_choose_its_session_or_keep_what_it_had_before() -> None:
    async with world() as here:
        ann = here.browser()
        ann.jar["__Host-sid"] = "crs_" + "A" * 64
        await here.signs_in(ann)
        assert ann.jar["__Host-sid"] != "crs_" + "A" * 64
        assert await ann.who() is not None


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "tasks",
        "/\n/evil.example", "javascript:alert(1)", "", " /tasks", "/a\\b", "/" + "a" * 1_000, "///evil.example",
        "/%5Cevil.example\r\nset-cookie: sid=1",
    ],
)  # fmt: skip
async def test_nobody_is_sent_to_another_site(place: str) -> None:
    async with world() as here:
        answer = await here.browser().client.get("/log-in/openid", params={"next": place})
        assert (answer.status, answer.json["errors"][0]["parameter"]) == (400, "next")
        assert here.provider.asked == {}


def made_by(key: Any, **header: Any) -> Callable[[Provider, dict[str, Any]], str]:
    return lambda provider, claims: signed(key, claims, **header)


def with_public_key_as_secret(provider: Provider, claims: dict[str, Any]) -> str:
    header, secret = {"alg": "HS256", "kid": "one"}, provider.keys[-1].as_pem(private=False)
    body = unsigned(header, claims).rpartition(".")[0]
    return unsigned(header, claims, hmac.digest(secret, body.encode(), "sha256"))


FORGED: dict[str, Callable[[Provider, dict[str, Any]], str]] = {
    "no algorithm": lambda _, claims: unsigned({"alg": "none", "kid": "one"}, claims),
    "another key of that name": made_by(rsa("one")),
    "another algorithm": lambda provider, claims: signed(provider.keys[-1], claims, alg="PS256"),
    "the public key as a secret": with_public_key_as_secret,
    "another sign-in": lambda provider, claims: signed(provider.keys[-1], {**claims, "nonce": "A" * 43}),
    "no sign-in": lambda provider, claims: signed(provider.keys[-1], {**claims, "nonce": None}),
    "no text": lambda *_: "a.b.c",
}


@pytest.mark.parametrize("forgery", FORGED)
async def test_a_forged_token_signs_nobody_in(forgery: str) -> None:
    async with world() as here:
        ann = here.browser()
        location = await here.asks(ann)
        nonce = location.partition("nonce=")[2].partition("&")[0]
        right = {"iss": here.provider.url, "aud": "notes", "sub": "ann-7", "iat": SECONDS, "exp": SECONDS + 300}
        back = await here.says_yes(location)
        here.provider.token_made = FORGED[forgery](here.provider, {**right, "nonce": nonce})
        assert is_refused(await here.goes(ann, back))
        here.provider.token_made = None
        assert (await here.signs_in(ann)).status == 303


@pytest.mark.parametrize(
    "tells",
    [
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": ["other"]},
        {"aud": ["notes", "other"]}, {"aud": ["notes", "other"], "azp": "other"}, {"azp": "other"}, {"azp": 7},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"exp": None}, {"iat": None}, {"exp": "soon"}, {"nonce": 7},
        {"exp": SECONDS - 10}, {"iat": SECONDS + 11}, {"nbf": SECONDS + 11},
    ],
)  # fmt: skip
async def test_a_token_that_says_something_else_signs_nobody_in(tells: dict[str, Any]) -> None:
    async with world() as here:
        here.provider.tells = tells
        ann = here.browser()
        assert is_refused(await here.signs_in(ann))
        assert await here.app.records.count(Account) == 0


@pytest.mark.parametrize(
    "tells",
    [{"iat": SECONDS + 10}, {"nbf": SECONDS + 10}, {"exp": SECONDS - 9}, {"aud": ["notes", "other"], "azp": "notes"}],
)
async def test_clocks_may_be_a_little_apart(tells: dict[str, Any]) -> None:
    async with world() as here:
        here.provider.tells = tells
        assert (await here.signs_in(here.browser())).status == 303


async def test_what_the_provider_says_of_somebody_else_is_not_taken_for_his() -> None:
    async with world() as here:
        here.provider.userinfo = {"sub": "eve-1", "email": "eve@example.org", "email_verified": True}
        assert is_refused(await here.signs_in(here.browser()))


async def test_who_answers_in_place_of_the_provider_gets_no_code() -> None:
    async with world() as here:
        ann = here.browser()
        back = await here.back(ann)
        for iss in ("https://evil.example", f"{here.provider.url}/", "", None):
            assert is_refused(await here.goes(ann, changed(back, iss=iss)))
        assert is_refused(await here.goes(ann, changed(back, iss=None, code=None, error="access_denied")))
        assert "/token" not in here.provider.asked
        here.provider.says_more["authorization_response_iss_parameter_supported"] = None
        here.clock.advance(timedelta(hours=2))
        here.provider.now += 7_200
        assert (await here.goes(ann, changed(await here.back(ann), iss=None))).status == 303


async def test_one_of_several_providers_gets_nothing_that_is_meant_for_another() -> None:
    clock = Clock(NOW)
    async with providing(SECONDS) as honest, providing(SECONDS) as evil:
        evil.redirect_uri = f"{SITE}/log-in/other/callback"
        for provider in (honest, evil):
            provider.says_more["authorization_response_iss_parameter_supported"] = None
        evil.person = {"sub": "ann-7", "email": "eve@example.org", "email_verified": True}
        async with app_for(openid(honest), openid(evil, name="other"), clock=clock) as app:
            here, there, ann = World(honest, app, clock), World(evil, app, clock), Browser(app)
            assert (await there.signs_in(ann, "/log-in/other?next=/there")).headers["location"] == "/there"
            # what the honest one has answered is brought to the evil one's callback, and the other way round
            for back, path in (
                (await here.back(ann), "/log-in/other/callback"),
                (await there.back(ann, "/log-in/other"), "/log-in/openid/callback"),
            ):
                asked = evil.asked["/token"], honest.asked.get("/token", 0)
                assert is_refused(await here.goes(ann, changed(f"{path}?{back.partition('?')[2]}", iss=None)))
                assert (evil.asked["/token"], honest.asked.get("/token", 0)) == asked
            # a sign-in at the evil one is answered with the honest one's code, in its own name
            begun = await there.back(ann, "/log-in/other")
            code = (await here.back(ann)).partition("code=")[2].partition("&")[0]
            assert is_refused(await here.goes(ann, changed(begun, code=code, iss=honest.url)))
            # the evil one gives a token that the honest one has signed
            evil.token_made = honest.id_token(nonce="A" * 43)
            assert is_refused(await there.signs_in(ann, "/log-in/other"))
            assert (await here.signs_in(ann)).status == 303


async def test_an_address_begins_so_often_and_no_oftener() -> None:
    async with world() as here:
        ann = here.browser()
        answers = [await ann.get("/log-in/openid") for _ in range(101)]
        assert [answer.status for answer in answers].count(303) == 100
        assert (answers[-1].status, "retry-after" in answers[-1].headers) == (429, True)
        elsewhere = Browser(here.app, address="203.0.113.9")
        assert (await elsewhere.get("/log-in/openid")).status == 303


async def test_no_secret_is_in_a_log_or_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world() as here:
        ann = here.browser()
        back = await here.back(ann)
        code = back.partition("code=")[2].partition("&")[0]
        here.provider.tells = {"aud": "other"}
        answer = await here.goes(ann, back)
        assert is_refused(answer)
        here.provider.tells = {}
        await here.signs_in(ann)
        ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("crudite"))
        written = ours + json.dumps(answer.json)
        planted = [code, ann.jar["__Host-openid"], ann.jar["__Host-sid"], "secret of notes", *here.provider.given]
        assert [secret for secret in planted if secret in written] == []
        assert "a sign-in is refused" in written
