"""People who have their accounts at a provider of OpenID Connect, and an application in which they sign in."""

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


def app_for(*ways: OpenId, clock: Clock, store: str | None = None) -> App:
    """An application in which one can sign in these ways."""
    sessions = Sessions(Account, name="email", hashing=QUICK, url=SITE, only=allow.where(barred=False))
    return App(Account, store=store or fresh_store(), auth=[sessions, *ways], clock=clock)


def openid(provider: Provider, **told: Any) -> OpenId:
    """The way by a provider."""
    id, secret = provider.client
    return OpenId(provider.url, **{"client_id": id, "client_secret": secret, "account": account_of, **told})


class World:
    """A provider, an application, and the browsers of those who sign in."""

    def __init__(self, provider: Provider, app: App, clock: Clock) -> None:
        self.provider = provider
        self.app = app
        self.clock = clock

    def browser(self) -> Browser:
        """Somebody's browser."""
        return Browser(self.app)

    async def asks(self, browser: Browser, url: str = "/log-in/openid") -> str:
        """Where the application sends a browser that wants to sign in."""
        answer = await browser.request("GET", url, headers={"sec-fetch-site": "same-site"})  # a page beside this one
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
        """Where a browser is sent that comes back, as a path of the application; it has not gone there yet."""
        return await self.says_yes(await self.asks(browser, url))

    async def signs_in(self, browser: Browser, url: str = "/log-in/openid") -> Response:
        """What the application answers in the end."""
        return await self.goes(browser, await self.back(browser, url))

    async def goes(self, browser: Browser, url: str) -> Response:
        """What a browser is answered that the provider sends here; it says so, as browsers do."""
        told = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "referer": f"{self.provider.url}/"}
        return await browser.request("GET", url, headers=told)


@asynccontextmanager
async def world(**told: Any) -> AsyncIterator[World]:
    """All of it, for as long as the block lasts."""
    clock = Clock(NOW)
    async with providing(int(NOW.timestamp())) as provider:
        app = app_for(openid(provider, **told), clock=clock)
        async with app:
            yield World(provider, app, clock)


def changed(url: str, **values: str | None) -> str:
    """The same URL with other parameters."""
    parts = urlsplit(url)
    given = {name: one[0] for name, one in parse_qs(parts.query).items()} | values
    return f"{parts.path}?{urlencode({name: one for name, one in given.items() if one is not None})}"


def is_refused(answer: Response) -> bool:
    """Whether a sign-in does not count, and nothing is told of why."""
    return (answer.status, answer.json.get("reason")) == (403, "not_yours") and "set-cookie" not in answer.headers
