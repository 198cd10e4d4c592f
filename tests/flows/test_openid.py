"""Signing in with OpenID Connect, at a provider over a socket."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from crudite import App, DeclarationError, OpenId
from crudite.testing import Clock, Refusal
from tests.flows.elsewhere import NOW, SITE, Account, World, account_of, app_for, changed, openid, world
from tests.flows.people import Browser
from tests.flows.test_howtos import module_of
from tests.services.issuer import rsa
from tests.services.provider import providing
from tests.services.stores import fresh_store, kept_store

only_once = pytest.mark.only_on("sqlite", reason="what is asked of a provider does not depend on the store")


async def test_who_comes_back_from_the_provider_has_a_session_and_is_where_he_wanted_to_go() -> None:
    async with world() as here:
        ann = here.browser()
        answer = await here.signs_in(ann, "/log-in/openid?next=/tasks%3Fdone%3Dfalse%23top")
        assert (answer.status, answer.headers["location"]) == (303, "/tasks?done=false#top")
        (account,) = await here.app.records.list(Account)
        assert await ann.who() == str(account.id)
        assert account.email == "ann@example.org"
        again = here.browser()
        assert (await here.signs_in(again)).headers["location"] == "/"
        assert await again.who() == str(account.id)


async def test_the_cookies_are_out_of_reach_and_the_session_is_a_new_one() -> None:
    async with world() as here:
        ann = here.browser()
        location = await here.asks(ann)
        begun = ann.given or ""
        assert begun.startswith("__Host-openid=")
        assert {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"} <= set(begun.split("; "))
        assert "Expires=Tue, 01 Jan 2030 12:10:00 GMT" in begun
        await ann.get(await here.says_yes(location))
        first = ann.jar["__Host-sid"]
        await here.signs_in(ann)
        assert ann.jar["__Host-sid"] != first
        ann.jar["__Host-sid"] = first
        assert await ann.who() is None


async def test_one_process_goes_on_with_what_another_has_begun() -> None:
    clock, store = Clock(NOW), kept_store()
    async with providing(int(NOW.timestamp())) as provider:
        first, second = (app_for(openid(provider), clock=clock, store=store) for _ in range(2))
        async with first, second:
            here, ann = World(provider, first, clock), Browser(first)
            back = await here.back(ann)
            there = Browser(second)
            there.jar = ann.jar
            assert (await there.get(back)).status == 303
            assert await ann.who() is not None


async def test_two_sign_ins_of_one_browser_do_not_get_into_each_others_way() -> None:
    async with world() as here:
        ann = here.browser()
        one, other = (
            await here.back(ann, "/log-in/openid?next=/one"),
            await here.back(ann, "/log-in/openid?next=/other"),
        )
        assert [(await ann.get(url)).headers["location"] for url in (one, other)] == ["/one", "/other"]


async def test_an_account_that_is_not_let_in_or_barred_has_no_session() -> None:
    async with world() as here:
        here.provider.person["email_verified"] = False
        answer = await here.signs_in(here.browser())
        assert (answer.status, answer.json["reason"]) == (403, "no_account")
        here.provider.person["email_verified"] = True
        ann = here.browser()
        await here.signs_in(ann)
        await here.app.records.update(Account, str(await ann.who()), barred=True)
        assert await ann.who() is None
        answer = await here.signs_in(ann)
        assert (answer.status, answer.json["reason"]) == (403, "no_account")


@only_once
async def test_what_is_asked_of_the_provider_is_what_is_needed() -> None:
    async with world(scopes=["email"], asks={"prompt": "login"}) as here:
        parts = urlsplit(await here.asks(here.browser()))
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert asked | {"state": "", "nonce": "", "code_challenge": ""} == {
            "prompt": "login", "response_type": "code", "client_id": "notes", "scope": "openid email",
            "redirect_uri": f"{SITE}/log-in/openid/callback", "code_challenge_method": "S256",
            "state": "", "nonce": "", "code_challenge": "",
        }  # fmt: skip
        assert len(asked["code_challenge"]) == len(asked["nonce"]) == 43


@only_once
async def test_under_development_the_cookie_goes_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUDITE_MODE", "dev")
    async with world() as here:
        ann = here.browser()
        assert (await here.signs_in(ann)).status == 303
        assert ann.jar.keys() == {"openid", "sid"}
        assert await ann.who() is not None


@only_once
def test_without_its_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['joserfc'] = None\n"
        "import crudite\n"
        "try: crudite.OpenId('https://login.example', client_id='a', account=print)\n"
        "except RuntimeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "joserfc is not installed: pip install 'crudite[oidc]'\n"


@only_once
async def test_no_two_sign_ins_ask_with_the_same_values() -> None:
    async with world() as here:
        ann = here.browser()
        asked = [parse_qs(urlsplit(await here.asks(ann)).query) for _ in range(2)]
        assert ann.jar.keys() == {"__Host-openid"}
        for name in ("state", "nonce", "code_challenge"):
            assert asked[0][name] != asked[1][name]


@only_once
async def test_a_client_that_shows_its_secret_in_the_form_or_has_none() -> None:
    async with world() as here:
        here.provider.says_more["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        assert (await here.signs_in(here.browser())).status == 303
    async with world(client_secret=None) as here:
        assert (await here.signs_in(here.browser())).status == 503
        here.provider.client = ("notes", None)
        assert (await here.signs_in(here.browser())).status == 303


@only_once
async def test_the_claims_are_those_of_the_token_and_what_the_provider_says_when_asked() -> None:
    seen = []

    async def account(claims: dict[str, object], records: object) -> None:
        seen.append(claims)

    async with world(account=account) as here:
        here.provider.userinfo = {"sub": "ann-7", "name": "Ann", "hd": "of userinfo"}
        here.provider.tells = {"hd": "of the token"}
        await here.signs_in(here.browser())
    async with world(account=account, userinfo=False) as here:
        await here.signs_in(here.browser())
        assert "/userinfo" not in here.provider.asked
    first, second = seen
    assert (first["name"], first["hd"], first["sub"]) == ("Ann", "of the token", "ann-7")
    assert "name" not in second


@only_once
async def test_the_provider_changes_its_keys_without_a_restart() -> None:
    async with world() as here:
        ann = here.browser()
        assert (await here.signs_in(ann)).status == 303
        here.provider.keys = [rsa("two")]
        here.clock.advance(timedelta(seconds=11))
        assert (await here.signs_in(ann)).status == 303
        assert here.provider.asked["/jwks"] == 2
        assert here.provider.asked["/.well-known/openid-configuration"] == 1


@only_once
async def test_while_the_provider_is_away_it_is_said_when_to_come_again_and_then_one_may_go_on() -> None:
    async with world() as here:
        ann = here.browser()
        await here.provider.falls()
        answer = await ann.get("/log-in/openid")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        await here.provider.rises()
        assert (await ann.get("/log-in/openid")).status == 503  # it is not asked again at once
        here.clock.advance(timedelta(seconds=11))
        back = await here.back(ann)
        await here.provider.falls()
        assert (await here.goes(ann, back)).status == 503
        await here.provider.rises()
        assert (await here.goes(ann, back)).status == 303


@only_once
async def test_what_the_provider_says_of_itself_is_asked_for_again_after_an_hour_and_kept_while_it_is_away() -> None:
    async with world() as here:
        ann = here.browser()
        await here.asks(ann)
        here.clock.advance(timedelta(hours=1, seconds=1))
        await here.provider.falls()
        await here.asks(ann)
        here.clock.advance(timedelta(hours=24))
        assert (await ann.get("/log-in/openid")).status == 503


@only_once
@pytest.mark.parametrize(
    "says",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"authorization_endpoint": "http://login.example/authorize"},
        {"jwks_uri": "https://a:b@login.example/jwks"},
    ],
)
async def test_a_provider_that_says_what_cannot_be_is_not_used(says: dict[str, str | None]) -> None:
    async with world() as here:
        here.provider.says_more = says
        assert (await here.browser().get("/log-in/openid")).status == 503


@only_once
@pytest.mark.parametrize("answer", [b"[]", b"{", b"x" * 70_000])
async def test_an_answer_that_cannot_be_read_signs_nobody_in(answer: bytes) -> None:
    async with world() as here:
        ann = here.browser()
        back = await here.back(ann)
        here.provider.says = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer
        assert (await here.goes(ann, back)).status == 503
        assert "__Host-sid" not in ann.jar


@only_once
async def test_who_says_no_at_the_provider_is_told_so() -> None:
    async with world() as here:
        ann = here.browser()
        denied = changed(await here.back(ann), code=None, error="access_denied", error_description="<b>no</b>")
        answer = await ann.get(denied)
        assert (answer.status, answer.json["reason"]) == (403, "refused")
        assert answer.json["detail"] == "The provider has not signed anybody in: access_denied."
        later = changed(await here.back(ann), code=None, error="temporarily_unavailable")
        assert (await ann.get(later)).status == 503


@only_once
async def test_who_has_failed_may_be_led_to_a_page_that_says_so() -> None:
    async with world(failed="/sign-in?again=1") as here:
        ann = here.browser()
        denied = await here.goes(ann, changed(await here.back(ann), code=None, error="access_denied"))
        assert (denied.status, denied.headers["location"]) == (303, "/sign-in?again=1&reason=refused")
        forged = await ann.get("/log-in/openid/callback?code=a&state=b")
        assert forged.headers["location"] == "/sign-in?again=1&reason=not_yours"
        bob = await here.app.records.create(Account, email="ann@example.org", password="his own words")
        taken = await here.signs_in(ann)
        assert taken.headers["location"] == "/sign-in?again=1&reason=not_unique"
        await here.app.records.delete(Account, bob.id)
        back = await here.back(ann)
        await here.provider.falls()
        assert (await here.goes(ann, back)).headers["location"] == "/sign-in?again=1&reason=unavailable"
        assert await ann.who() is None


@only_once
async def test_logging_out_says_where_the_provider_ends_its_own_session() -> None:
    async with world() as here:
        ann = here.browser()
        await here.signs_in(ann)
        answer = await ann.post("/log-out/openid")
        asked = "client_id=notes&post_logout_redirect_uri=https%3A%2F%2Fnotes.example%2F"
        assert answer.json == {"location": f"{here.provider.url}/logout?{asked}"}
        assert await ann.who() is None
        here.provider.says_more["end_session_endpoint"] = None
        here.clock.advance(timedelta(hours=2))
        assert (await ann.post("/log-out/openid")).json == {"location": None}


@only_once
async def test_it_is_for_browsers_that_go_there_and_for_nothing_else() -> None:
    async with world() as here:
        client = here.browser().client
        for path in ("log-in/openid", "log-in/openid/callback"):
            async with client.websocket() as socket:
                with pytest.raises(Refusal) as refusal:
                    await socket.call(path)
                assert refusal.value.status == 400
            with pytest.raises(Refusal) as refusal:
                async with client.stream(f"/{path}/subscribe"):
                    pass
            assert refusal.value.status == 400
        assert here.provider.asked == {}


@only_once
def test_an_application_that_cannot_sign_anybody_in_is_refused() -> None:
    given = {"client_id": "notes", "account": account_of}
    with pytest.raises(DeclarationError, match="Sessions"):
        App(Account, store=fresh_store(), auth=[OpenId("https://login.example", url=SITE, **given)])
    one, other = (OpenId(f"https://{name}.example", **given) for name in ("one", "other"))
    with pytest.raises(DeclarationError, match="Two OpenId"):
        app_for(one, other, clock=Clock(NOW))
    for url, what in (("http://notes.example", "encrypted"), ("notes", "expected a URL")):
        with pytest.raises(DeclarationError, match=what):
            app_for(OpenId("https://login.example", url=url, **given), clock=Clock(NOW))
    with pytest.raises(ValueError, match="not encrypted"):
        OpenId("http://login.example", **given)
    with pytest.raises(ValueError, match="name"):
        OpenId("https://login.example", name="../x", **given)
    with pytest.raises(ValueError, match="state"):
        OpenId("https://login.example", asks={"state": "x"}, **given)


@only_once
async def test_the_guide_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(datetime.now(UTC))
    async with providing(int(clock().timestamp())) as provider:
        monkeypatch.setenv("OPENID_ISSUER", provider.url)
        monkeypatch.setenv("OPENID_SECRET", "secret of notes")
        guide = module_of("howto/sign-in-with-openid", tmp_path)
        async with guide.app as app:
            here, ann = World(provider, app, clock), Browser(app)
            assert (await here.signs_in(ann, "/log-in/openid?next=/notes")).headers["location"] == "/notes"
            assert (await ann.post("/notes", {"text": "hers"})).status == 201
            (account,) = await app.records.list(guide.Account)
            assert account.email == "ann@example.org"
