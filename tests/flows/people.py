"""People with accounts, and the browsers they use, for the stories about signing in."""

from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

from crudite import App, Email, Field, Password, Resource, allow, me
from crudite.auth.sessions import Mail, Sessions
from crudite.resources.writing.passwords import Hashing
from crudite.testing import Client, Clock, Response
from tests.services.stores import fresh_store

QUICK = Hashing(passes=1, memory=8, lanes=1)
PASSWORD = "correct horse"
ANN = {"email": "ann@example.org", "password": PASSWORD}


class Account(Resource, rules={"read": allow.signed_in, "create": allow.everyone, "write": allow.where(id=me.id)}):
    email: Email = Field(unique=True, read=allow.where(id=me.id))
    password: Password
    nick: str = ""
    blocked: bool = Field(default=False, write=allow.role("admin"))
    roles: list[str] = Field(default_factory=list, write=allow.role("admin"))
    verified: str | None = Field(default=None, write=allow.nobody)


class Note(
    Resource, rules={"read": allow.where(owner=me.id) | allow.role("staff"), "create": allow.where(owner=me.id)}
):
    title: str
    owner: str = Field(default=me.id)


class Letters:
    """Keeps the mail that is sent."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    async def __call__(self, mail: Mail) -> None:
        self.sent.append(mail)

    def token(self) -> str:
        """The token of the last mail that brought one."""
        return [mail.token for mail in self.sent if mail.token is not None][-1]


def app_for(
    *, store: str | None = None, clock: Clock | None = None, store_of_sessions: str | None = None, **told: Any
) -> App:
    """An application in which people sign in."""
    sessions = Sessions(Account, **{"hashing": QUICK, "store": store_of_sessions, **told})
    return App(Account, Note, store=store or fresh_store(), auth=sessions, clock=clock or Clock())


def sessions_of(app: App) -> Sessions:
    """The sessions of an application."""
    (sessions,) = [d.memo[Sessions] for d in app.definitions if Sessions in d.memo]
    assert isinstance(sessions, Sessions)
    return sessions


class Browser:
    """A browser at an application: it keeps cookies, and shows them; `jar` holds them, by name."""

    def __init__(self, app: App, *, address: str = "198.51.100.7", agent: str = "Browser/1.0") -> None:
        self.app = app
        self.client = Client(_At(app, address), headers={"user-agent": agent})  # type: ignore[arg-type]
        self.jar: dict[str, str] = {}
        self.given: str | None = None
        """The last cookie as it was set."""

    @property
    def headers(self) -> dict[str, str]:
        """What it sends along."""
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())} if self.jar else {}

    async def request(self, method: str, url: str, *data: Any, **more: Any) -> Response:
        """Sends a request with its cookies, and keeps those of the answer."""
        headers = {**self.headers, **more.pop("headers", {})}
        response = await self.client.request(method, url, *data, headers=headers, **more)
        self.given = response.headers.get("set-cookie")
        if self.given is not None:
            for name, morsel in SimpleCookie(self.given).items():
                if morsel["max-age"] == "0":
                    self.jar.pop(name, None)
                else:
                    self.jar[name] = morsel.value
        return response

    async def get(self, url: str) -> Response:
        """Reads."""
        return await self.request("GET", url)

    async def post(self, url: str, data: Any = None, **more: Any) -> Response:
        """Calls."""
        return await self.request("POST", url, data if data is not None else {}, **more)

    async def log_in(self, password: str = PASSWORD, email: str = ANN["email"], **more: Any) -> Response:
        """Signs in."""
        return await self.post("/log-in", {"email": email, "password": password, **more})

    async def who(self) -> str | None:
        """The key of the account that it is signed in as."""
        shown = (await self.get("/session")).json
        return shown and shown["account"]


class _At:
    """An application, seen from an address."""

    def __init__(self, app: App, address: str) -> None:
        self._app = app
        self._address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, "client": (self._address, 50000)}, receive, send)


async def ann_in(app: App, **more: Any) -> Browser:
    """A browser in which Ann is signed in; her account is made if there is none."""
    records = app.records
    if not await records.list(Account.where(email=ANN["email"])):
        await records.create(Account, **ANN)
    browser = Browser(app, **more)
    assert (await browser.log_in()).status == 200
    return browser


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
