"""Whatever happens to sessions and roles, and wherever: nobody is shown what he may not read by the last commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite import App
from crudite.auth.sessions import Sessions
from crudite.testing import Client, Clock
from crudite.testing.socket import Socket
from tests.flows.people import PASSWORD, QUICK, Account, Note
from tests.services.stores import kept_store

NAMES = ("ann", "bob", "cid")

who, where, number = st.sampled_from(NAMES), st.integers(0, 1), st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("log in"), who, where),
    st.tuples(st.just("log out"), number, where),
    st.tuples(st.just("log out everywhere"), number, where),
    st.tuples(st.just("watch"), number, where),
    st.tuples(st.just("watch"), number, where),
    st.tuples(st.just("promote"), who, where),
    st.tuples(st.just("promote"), who, where),
    st.tuples(st.just("write"), who, where),
    st.tuples(st.just("end"), number, where),
    st.tuples(st.just("log in in place"), who, number),
    st.tuples(st.just("log out in place"), number, where),
)
"""Roles change in one transaction with a write."""


@dataclass
class Session:
    """A session as the test knows it."""

    token: str
    who: str
    is_alive: bool = True


@dataclass
class Watcher:
    """A connection with one live query, and the session that it shows."""

    socket: Socket
    session: Session | None
    seen: int = 0


class Story:
    """Two processes, the sessions that were begun, and who watches."""

    def __init__(self, apps: Sequence[App], stack: AsyncExitStack) -> None:
        self.apps = apps
        self.stack = stack
        self.keys: dict[str, str] = {}
        self.staff: set[str] = set()
        self.notes: dict[str, str] = {}
        self.sessions: list[Session] = []
        self.watchers: list[Watcher] = []

    async def begin(self) -> None:
        """Makes the accounts, and a note of each."""
        for name in NAMES:
            account = await self.apps[0].records.create(Account, email=f"{name}@example.org", password=PASSWORD)
            self.keys[name] = str(account.id)
            await self.write(name, 0)

    def may_read(self, name: str) -> set[str]:
        """The titles that an account may read."""
        return {title for title, owner in self.notes.items() if owner == name or name in self.staff}

    async def write(self, owner: str, process: int, *, promoting: str | None = None) -> None:
        """One more note, and in the same transaction another role for somebody."""
        title = f"note {len(self.notes)} of {owner}"
        async with self.apps[process].records.batch() as batch:
            batch.create(Note, title=title, owner=self.keys[owner])
            if promoting is not None:
                self.staff ^= {promoting}
                batch.update(Account, self.keys[promoting], roles=["staff"] if promoting in self.staff else [])
        self.notes[title] = owner

    async def take(self, step: tuple[str, Any, Any]) -> None:
        """Takes a step, waits until all have heard of it, and looks at what everybody was told."""
        match step:
            case ("log in", name, process):
                await self.log_in(name, process)
            case ("promote", name, process):
                await self.write("bob", process, promoting=name)
            case ("write", name, process):
                await self.write(name, process)
            case ("log in in place", name, index) if self.watchers:
                await self.log_in_place(self.watchers[index % len(self.watchers)], name)
            case ("log out in place", index, _) if self.watchers:
                await self.log_out_in_place(self.watchers[index % len(self.watchers)])
            case (kind, index, process) if alive := [one for one in self.sessions if one.is_alive]:
                await self.at(kind, alive[index % len(alive)], process)
        await self.check()

    async def at(self, kind: str, session: Session, process: int) -> None:
        """What somebody does with a session of his."""
        client = Client(self.apps[process], token=session.token)
        match kind:
            case "watch":
                socket = await self.stack.enter_async_context(client.websocket())
                await socket.call("subscribe", {"sub": "s", "resource": "notes"})
                self.watchers.append(Watcher(socket, session))
            case "log out":
                assert (await client.post("/log-out", {})).status == 200
                session.is_alive = False
            case "log out everywhere":
                assert (await client.post("/log-out-everywhere", {})).status == 200
                in_place = [watcher.session for watcher in self.watchers if watcher.session is not None]
                for one in [*self.sessions, *in_place]:
                    one.is_alive &= one.who != session.who
            case "end":
                key = (await client.get("/session")).json["id"]
                assert (await client.delete(f"/sessions/{key}")).status == 204
                session.is_alive = False

    async def log_in(self, name: str, process: int) -> None:
        """Begins a session."""
        given = {"email": f"{name}@example.org", "password": PASSWORD, "bearer": True}
        answer = await Client(self.apps[process]).post("/log-in", given)
        self.sessions.append(Session(answer.json["token"], name))

    async def log_in_place(self, watcher: Watcher, name: str) -> None:
        """A connection becomes somebody else's, or the same one's."""
        if watcher.session is None or not watcher.session.is_alive:
            return
        given = {"email": f"{name}@example.org", "password": PASSWORD}
        await watcher.socket.call("log-in", given)
        watcher.session.is_alive = False  # it was exchanged for one whose token is the connection's alone
        watcher.session = Session("", name)

    async def log_out_in_place(self, watcher: Watcher) -> None:
        """A connection is nobody's any more."""
        if watcher.session is not None and watcher.session.is_alive:
            await watcher.socket.call("log-out", {})
            watcher.session.is_alive = False
            watcher.session = None

    async def check(self) -> None:
        """Nobody was told of anything that he may not read by now, and everybody holds what he may."""
        for app in self.apps:
            await app.settled()
        for watcher in list(self.watchers):
            session = watcher.session
            if session is not None and session.is_alive:
                await watcher.socket.call("ping")
            elif session is not None:
                assert await watcher.socket.closed() == 4401
                self.watchers.remove(watcher)
            told = watcher.socket.notifications[watcher.seen :]
            watcher.seen = len(watcher.socket.notifications)
            allowed = self.may_read(session.who) if session is not None and session.is_alive else set()
            assert titles_in(told) <= allowed, (session, told)


def titles_in(told: Any) -> set[str]:
    """The titles of all notes that are spoken of anywhere."""
    if isinstance(told, dict):
        own = {told["title"]} if isinstance(told.get("title"), str) and told["title"].startswith("note ") else set()
        return own.union(*(titles_in(one) for one in told.values()))
    return set().union(*(titles_in(one) for one in told)) if isinstance(told, list) else set()


@asynccontextmanager
async def story() -> AsyncIterator[Story]:
    url, clock = kept_store(), Clock()
    async with AsyncExitStack() as stack:
        apps = []
        for _ in range(2):
            sessions = Sessions(Account, hashing=QUICK)
            apps.append(await stack.enter_async_context(App(Account, Note, store=url, auth=sessions, clock=clock)))
        made = Story(apps, stack)
        await made.begin()
        yield made


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_at_no_moment_after_a_commit_is_anybody_shown_what_he_may_not_read(steps: list[tuple[str, Any, Any]]) -> None:
    async def tell() -> None:
        async with story() as made:
            for step in [("log in", "ann", 0), ("log in", "bob", 1), ("watch", 0, 1), ("watch", 1, 0), *steps]:
                await made.take(step)

    asyncio.run(asyncio.wait_for(tell(), 60))
