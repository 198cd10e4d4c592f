"""Who may do what: one table, and every interface says the same."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import pytest

from crudite import App, Query, Request, Resource, allow, me
from crudite.auth.sessions import Sessions
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import ANN, DAY, PASSWORD, QUICK, Account
from tests.services.stores import fresh_store

Who: TypeAlias = Literal["nobody", "a wrong token", "an expired one", "one revoked", "another account", "the right one"]
Verdict: TypeAlias = "int | str"
"""A problem's status, or how many records were shown, or `done`."""
PEOPLE: tuple[Who, ...] = (
    "nobody", "a wrong token", "an expired one", "one revoked", "another account", "the right one",
)  # fmt: skip


class Memo(Resource, rules=allow.where(owner=me.id)):
    title: str
    owner: str = "nobody"


#                       nobody   wrong  expired revoked  another   right
TABLE: dict[str, tuple[Verdict, ...]] = {
    "list":            (401,     401,   401,    401,     "0 shown", "1 shown"),
    "read":            (401,     401,   401,    401,     404,       "1 shown"),
    "create":          (401,     401,   401,    401,     403,       "done"),
    "replace":         (401,     401,   401,    401,     404,       "done"),
    "update":          (401,     401,   401,    401,     404,       "done"),
    "delete":          (401,     401,   401,    401,     404,       "done"),
    "live list":       (401,     401,   401,    401,     "0 shown", "1 shown"),
    "live read":       (401,     401,   401,    401,     "0 shown", "1 shown"),
    "call a reading":  (401,     401,   401,    401,     "0 shown", "1 shown"),
    "follow it":       (401,     401,   401,    401,     "0 shown", "1 shown"),
    "call a writing":  ("done",  401,   401,    401,     "done",    "done"),
}  # fmt: skip


class World:
    """An application with Ann's memo, and a token for everybody in the table."""

    def __init__(self, app: App, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.key = ""
        self.ann = ""
        self.tokens: dict[Who, str | None] = {"nobody": None, "a wrong token": "crs_" + "A" * 43}

    def client(self, who: Who) -> Client:
        """Somebody who shows his token."""
        return Client(self.app, token=self.tokens[who])

    async def memo(self) -> None:
        """Makes Ann's memo anew."""
        for memo in await self.app.records.list(Memo.where()):
            await self.app.records.delete(Memo, memo.id)
        self.key = str((await self.app.records.create(Memo, title="hers", owner=self.ann)).id)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = Clock()
    app = App(Account, Memo, store=fresh_store(), auth=Sessions(Account, hashing=QUICK), clock=clock)

    @app.read("mine")
    async def mine(request: Request) -> Query[Memo]:
        return Memo.where(owner=str(request.actor.id))

    @app.create("touch")
    async def touch(request: Request) -> str:
        return "done"

    async with app:
        made = World(app, clock)
        made.ann = str((await app.records.create(Account, **ANN)).id)
        await app.records.create(Account, email="bob@example.org", password=PASSWORD)
        nobody = Client(app)

        async def token(email: str) -> str:
            answer = await nobody.post("/log-in", {"email": email, "password": PASSWORD, "bearer": True})
            found: str = answer.json["token"]
            return found

        made.tokens["an expired one"] = await token("ann@example.org")
        clock.advance(400 * DAY)
        made.tokens["one revoked"] = revoked = await token("ann@example.org")
        await Client(app, token=revoked).post("/log-out", {})
        made.tokens["another account"] = await token("bob@example.org")
        made.tokens["the right one"] = await token("ann@example.org")
        yield made


def shown(records: Any) -> str:
    """How many there are."""
    return f"{len(records)} shown"


async def by_rest(world: World, who: Who, what: str) -> Verdict:
    client, key = world.client(who), world.key
    match what:
        case "list":
            answer = await client.get("/memos")
        case "read":
            answer = await client.get(f"/memos/{key}")
        case "create":
            answer = await client.post("/memos", {"title": "more", "owner": world.ann})
        case "replace":
            answer = await client.put(f"/memos/{key}", {"title": "other", "owner": world.ann})
        case "update":
            answer = await client.patch(f"/memos/{key}", {"title": "other"})
        case "delete":
            answer = await client.delete(f"/memos/{key}")
        case "call a reading":
            answer = await client.get("/mine")
        case _:
            answer = await client.post("/touch", {})
    if answer.status >= 400:
        return answer.status
    if what in ("list", "call a reading"):
        return shown(answer.json)
    return "1 shown" if what == "read" else "done"


async def by_socket(world: World, who: Who, what: str, *, shows_it_later: bool = False) -> Verdict:
    """Over a WebSocket, whose client shows the token in the handshake, or in a message."""
    key, token = world.key, world.tokens[who]
    params: dict[str, tuple[str, Any]] = {
        "list": ("memos.list", {}),
        "read": ("memos.read", {"key": key}),
        "create": ("memos.create", {"data": {"title": "more", "owner": world.ann}}),
        "replace": ("memos.replace", {"key": key, "data": {"title": "other", "owner": world.ann}}),
        "update": ("memos.update", {"key": key, "data": {"title": "other"}}),
        "delete": ("memos.delete", {"key": key}),
        "live list": ("subscribe", {"sub": "s", "resource": "memos"}),
        "live read": ("subscribe", {"sub": "s", "resource": "memos", "query": {"where": {"id": key}}}),
        "call a reading": ("mine", {}),
        "follow it": ("subscribe", {"sub": "s", "read": "mine"}),
        "call a writing": ("touch", {}),
    }
    client = world.client("nobody") if shows_it_later else world.client(who)
    async with client.websocket() as socket:
        try:
            if shows_it_later and token is not None:
                await socket.call("auth", {"token": token})
            found = await socket.call(*params[what])
        except Refusal as refusal:
            return refusal.status
        if what in ("list", "call a reading"):
            return shown(found["data"])
        if params[what][0] != "subscribe":
            return "1 shown" if what == "read" else "done"
        await world.app.settled()
        await socket.call("ping")
        snapshots = [one["params"]["records"] for one in socket.notifications if one["method"] == "snapshot"]
        return shown([record for records in snapshots for record in records])


async def by_late_socket(world: World, who: Who, what: str) -> Verdict:
    return await by_socket(world, who, what, shows_it_later=True)


async def by_stream(world: World, who: Who, what: str) -> Verdict:
    url = {
        "live list": "/memos/subscribe",
        "live read": f"/memos/{world.key}/subscribe",
        "follow it": "/mine/subscribe",
    }
    try:
        async with world.client(who).stream(url[what]) as stream:
            events = []
            while (event := await stream.next()).kind != "ready":
                events.append(event)
            return shown([event for event in events if event.kind == "added"])
    except Refusal as refusal:
        return refusal.status


ONES: dict[Callable[[World, Who, str], Awaitable[Verdict]], tuple[str, ...]] = {
    by_rest: tuple(what for what in TABLE if what not in ("live list", "live read", "follow it")),
    by_socket: tuple(TABLE),
    by_late_socket: tuple(TABLE),
    by_stream: ("live list", "live read", "follow it"),
}


@pytest.mark.parametrize("ask", ONES, ids=lambda ask: ask.__name__)
async def test_every_interface_says_what_the_table_says(ask: Any) -> None:
    async with world() as made:
        said, written = {}, {}
        for what in ONES[ask]:
            for who, verdict in zip(PEOPLE, TABLE[what], strict=True):
                await made.memo()
                written[what, who], said[what, who] = verdict, await ask(made, who, what)
        assert said == written
