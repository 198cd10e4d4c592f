"""Processes of one application, which are here two applications on one database: what one does, the other knows."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from crudite import Actor, App, Credentials, Record, Unauthorized, allow
from crudite.changes import Reset
from crudite.stores import open_store
from crudite.stores.base import Batch
from crudite.testing import Client, Faulty, View
from tests.flows.worlds import titles
from tests.services.stores import kept_store


class Note(Record[int], rules={"read": allow.role("staff") | allow.where(open=True), "create": allow.everyone}):
    title: str
    open: bool = True


class Roles:
    """Which roles whoever shows the token has, the same at every process; None refuses it."""

    def __init__(self) -> None:
        self.now: frozenset[str] | None = frozenset({"staff"})

    def __call__(self, credentials: Credentials) -> Actor | None:
        if credentials.token is None:
            return None
        if self.now is None:
            raise Unauthorized("Signed out.")
        return Actor(id=credentials.token, roles=self.now, session=f"of {credentials.token}")


@asynccontextmanager
async def siblings(**options: Any) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of two processes."""
    url = kept_store()
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(Client(App(Note, store=url, **options))) for _ in range(2)]
        yield one, other


async def test_a_cursor_of_one_process_is_good_at_the_other() -> None:
    async with siblings() as (one, other):
        view = View(10.0)
        async with one.websocket() as socket:
            await socket.subscribe("s", {"resource": "notes"}, view)
            await view.ready()
            await other.app.records.create(Note, title="a")
            await view.until(lambda rows: titles(rows) == ["a"])
        await one.app.records.create(Note, title="b")
        again = View(10.0, view)
        async with other.websocket() as socket:
            await socket.subscribe("s", {"resource": "notes"}, again)
            await again.until(lambda rows: titles(rows) == ["a", "b"])  # soon: it comes past the commit by itself
        assert again.resumed


async def test_a_revocation_at_one_process_ends_connections_at_the_other() -> None:
    roles = Roles()
    async with siblings(auth=roles) as (one, other):
        for revoked in ({"account": "ann"}, {"session": "of ann"}):
            roles.now = frozenset({"staff"})
            async with other.acting("ann").websocket() as socket, other.acting("bob").websocket() as beside:
                for each in (socket, beside):
                    view = View(10.0)
                    await each.subscribe("s", {"resource": "notes"}, view)
                    await view.ready()
                roles.now = None
                await one.app.revoke(**revoked)
                assert await socket.closed() == 4401
                await beside.call("ping")  # nobody has asked about him


async def test_a_revocation_at_one_process_narrows_what_is_seen_at_the_other() -> None:
    roles = Roles()
    async with siblings(auth=roles) as (one, other):
        await one.app.records.create(Note, title="open")
        await one.app.records.create(Note, title="closed", open=False)
        async with other.acting("ann").live("notes") as view:
            assert titles(await view.ready()) == ["open", "closed"]
            roles.now = frozenset()
            await one.app.revoke(account="ann")
            await view.until(lambda rows: titles(rows) == ["open"])


async def test_what_was_revoked_while_the_log_could_not_be_followed_is_asked_about() -> None:
    roles = Roles()

    async def lose(step: str, call: Any) -> None:
        batch: Batch = call.answer
        if step == "after batch" and batch.signals:
            batch.changes, batch.signals, batch.reset = (), (), Reset("gap")

    url = kept_store()
    async with (
        Client(App(Note, store=url, auth=roles)) as one,
        Client(App(Note, store=Faulty(open_store(url), lose), auth=roles)) as other,
    ):
        await one.app.records.create(Note, title="closed", open=False)
        async with other.acting("ann").live("notes") as view:
            assert titles(await view.ready()) == ["closed"]
            roles.now = frozenset()
            await one.app.revoke(account="ann")
            await view.until(lambda rows: rows == [])


async def test_who_hears_of_a_commit_over_the_bus_looks_into_the_log(tmp_path: Path) -> None:
    looked: list[str] = []

    class Watched(Faulty):
        def look(self) -> None:
            looked.append("look")
            super().look()

    url, bus = kept_store(), f"unix://{tmp_path}/bus"
    async with (
        Client(App(Note, store=url, bus=bus)) as writer,
        Client(App(Note, store=Watched(open_store(url)), bus=bus)) as reader,
        reader.live("notes") as view,
    ):
        await view.ready()
        before = len(looked)
        await writer.app.records.create(Note, title="a")
        await view.until(lambda rows: titles(rows) == ["a"])
        while len(looked) == before:
            await reader.get("/notes")
