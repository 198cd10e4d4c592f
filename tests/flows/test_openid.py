"""Signing in with OpenID Connect, at a provider over a socket; and those who try to get in another way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from crudite import App, Field, OpenId, Password, Resource, Sessions, allow, me
from crudite.resources.records import Records
from crudite.testing import Clock, Response
from tests.flows.people import QUICK, Browser
from tests.services.http import client_at
from tests.services.provider import Provider, providing
from tests.services.stores import fresh_store

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SITE = "https://notes.example"


class Account(Resource, rules={"read": allow.signed_in}):
    email: str = Field(unique=True, read=allow.where(id=me.id))
    password: Password
    subject: str | None = Field(default=None, unique=True, read=allow.nobody)
    barred: bool = False


async def account_of(claims: dict[str, Any], records: Records) -> Account | None:
    subject = f"{claims['iss']} {claims['sub']}"
    for account in await records.list(Account.where(subject=subject)):
        return account
    if claims.get("email_verified") is not True:
        return None
    return await records.create(Account, email=claims["email"], subject=subject, password=token_urlsafe())


def app_for(provider: Provider, clock: Clock, *, further: tuple[OpenId, ...] = (), **told: Any) -> App:
    sessions = Sessions(Account, name="email", hashing=QUICK, url=SITE, only=allow.where(barred=False))
    return App(Account, store=fresh_store(), auth=[sessions, openid(provider, **told), *further], clock=clock)


def openid(provider: Provider, **told: Any) -> OpenId:
    id, secret = provider.client
    return OpenId(provider.url, **{"client_id": id, "client_secret": secret, "account": account_of, **told})


class World:
    """A provider, an application, and the browsers of those who sign in."""

    def __init__(self, provider: Provider, app: App, clock: Clock) -> None:
        self.provider = provider
        self.app = app
        self.clock = clock

    def browser(self) -> Browser:
        return Browser(self.app)

    async def asks(self, browser: Browser, url: str = "/log-in/openid") -> str:
        """Where the application sends a browser that wants to sign in."""
        answer = await browser.get(url)
        assert answer.status == 303, answer.json
        return answer.headers["location"]

    async def says_yes(self, location: str) -> str:
        """Where the provider sends it back to, as a path of the application."""
        parts = urlsplit(location)
        async with client_at(self.provider.url) as client:
            answer = await client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code == 302, answer.status_code
        assert answer.headers["location"].startswith(f"{SITE}/log-in/")
        return answer.headers["location"].removeprefix(SITE)

    async def back(self, browser: Browser, url: str = "/log-in/openid") -> str:
        return await self.says_yes(await self.asks(browser, url))

    async def signs_in(self, browser: Browser, url: str = "/log-in/openid") -> Response:
        return await browser.get(await self.back(browser, url))


@asynccontextmanager
async def world(**told: Any) -> AsyncIterator[World]:
    clock = Clock(NOW)
    async with providing(int(NOW.timestamp())) as provider:
        app = app_for(provider, clock, **told)
        async with app:
            yield World(provider, app, clock)


def changed(url: str, **values: str | None) -> str:
    """The same URL with other parameters."""
    parts = urlsplit(url)
    given = {name: one[0] for name, one in parse_qs(parts.query).items()} | values
    return f"{parts.path}?{urlencode({name: one for name, one in given.items() if one is not None})}"


def is_refused(answer: Response) -> bool:
    return (answer.status, answer.json.get("reason")) == (403, "not_yours") and "set-cookie" not in answer.headers


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
