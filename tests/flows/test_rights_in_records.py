"""Rights that stand in records: whoever lives on an answer that was read from one has the rights of its last commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from crudite import Actor, App, Count, Credentials, Field, NotFound, Record, Request, Unauthorized, allow, me
from crudite.messages import SignIn
from crudite.testing import Client, Refusal, View
from tests.flows.worlds import titles
from tests.services.stores import foreign, kept_store


class User(Record[str], rules=allow.nobody):
    role: str = ""
    visits: int = 0


class Note(Record[int], rules={"read": allow.role("staff") | allow.where(owner=me.id), "write": allow.nobody}):
    title: str
    owner: str = ""
    price: int = Field(default=0, read=allow.role("staff"))


class Door:
    """Tells who shows a token by the user's row in the store with that URL; the answer waits until it `is_open`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.has_read = asyncio.Event()
        self.has_gone, self.is_free = asyncio.Event(), asyncio.Event()

    def of(self, app: "list[App]") -> Any:
        async def authenticate(credentials: Credentials) -> Actor | None:
            name = credentials.token or credentials.cookies.get("name")
            if name is None:
                return None
            self.asked += 1
            try:
                user = await app[0].records.read(User, name)
            except NotFound:
                raise Unauthorized("There is no such user.") from None
            self.has_read.set()
            await self.is_open.wait()
            return Actor(id=user.id, roles=frozenset({user.role}), rests_on=((User, user.id, frozenset({"role"})),))

        return authenticate


@asynccontextmanager
async def processes(count: int = 1) -> AsyncIterator[tuple[Door, list[Client]]]:
    """Clients of so many processes on one store in which ann is of the staff and has one of two notes."""
    door, clients = Door(kept_store()), list[Client]()
    async with AsyncExitStack() as stack:
        for _ in range(count):
            own: list[App] = []
            own.append(App(User, Note, store=door.url, auth=door.of(own)))

            @own[0].read("how-many")
            async def how_many(request: Request) -> Count:
                return Note.where().count()

            @own[0].create("become-eve")
            async def become_eve(request: Request) -> None:
                await clients[0].app.records.delete(User, str(request.actor.id))
                door.has_gone.set()
                await door.is_free.wait()
                request.signs_in = SignIn("name", "eve")

            clients.append(await stack.enter_async_context(Client(own[0])))
        records = clients[0].app.records
        await records.create(User, id="ann", role="staff")
        await records.create(Note, title="hers", owner="ann", price=1)
        await records.create(Note, title="his", owner="bob", price=2)
        yield door, clients


async def demote_and_write(client: Client) -> None:
    """In one transaction ann loses her role, and something is written that only the staff may see."""
    async with client.app.records.batch() as batch:
        batch.update(User, "ann", role="")
        batch.create(Note, title="secret", owner="bob")


async def test_whoever_loses_a_role_sees_nothing_of_the_commit_that_takes_it() -> None:
    async with processes() as (_, [client]), client.acting("ann").websocket() as socket:
        notes, count = View(10.0), View(10.0)
        await socket.subscribe("notes", {"resource": "notes"}, notes)
        await socket.subscribe("count", {"read": "how-many"}, count)
        assert titles(await notes.ready()) == ["hers", "his"]
        await count.ready()
        assert count.value == 2
        await demote_and_write(client)
        await client.app.settled()
        assert titles(await notes.until(lambda rows: titles(rows) == ["hers"])) == ["hers"]
        await count.until(lambda _: count.value == 1)
        assert "price" not in notes.records[0]
        assert "secret" not in str(socket.notifications)


async def test_a_stream_is_begun_again_with_what_is_left() -> None:
    async with processes() as (_, [client]), client.acting("ann").live("notes") as notes:
        assert titles(await notes.ready()) == ["hers", "his"]
        await demote_and_write(client)
        await notes.until(lambda rows: titles(rows) == ["hers"])
        assert "secret" not in str(notes.events)


async def test_whoever_gets_a_role_sees_more_at_once() -> None:
    async with processes() as (_, [client]), client.acting("ann").live("notes") as notes:
        await client.app.records.update(User, "ann", role="")
        await notes.until(lambda rows: titles(rows) == ["hers"])
        await client.app.records.update(User, "ann", role="staff")
        await notes.until(lambda rows: titles(rows) == ["hers", "his"])


async def test_a_field_that_does_not_matter_asks_nobody() -> None:
    async with processes() as (door, [client]), client.acting("ann").live("notes") as notes:
        await notes.ready()
        await client.app.settled()
        asked, told = door.asked, len(notes.events)  # her account may have been news when the stream was opened
        await client.app.records.update(User, "ann", visits=1)
        await client.app.settled()
        assert (door.asked, len(notes.events)) == (asked, told)


async def test_whose_record_is_gone_is_sent_away() -> None:
    async with processes() as (_, [client]), client.acting("ann").websocket() as socket:
        await socket.subscribe("notes", {"resource": "notes"}, View(10.0))
        await client.app.records.delete(User, "ann")
        assert await socket.closed() == 4401


async def test_another_process_and_another_program_take_a_role_away_as_well() -> None:
    async with processes(2) as (door, [one, other]), other.acting("ann").live("notes") as notes:
        await notes.ready()
        await demote_and_write(one)
        await notes.until(lambda rows: titles(rows) == ["hers"])
        assert "secret" not in str(notes.events)
        await foreign(door.url, "UPDATE users SET role = 'staff' WHERE id = 'ann'")
        await notes.until(lambda rows: titles(rows) == ["hers", "his", "secret"])


async def test_an_answer_that_was_read_before_the_commit_shows_nothing_after_it() -> None:
    async with processes() as (door, [client]), client.acting("ann").websocket() as socket:
        await socket.subscribe("first", {"resource": "notes"}, View(10.0))  # from now on users are looked at
        door.is_open.clear()
        door.has_read.clear()
        later = View(10.0)
        subscribing = asyncio.create_task(socket.subscribe("later", {"resource": "notes"}, later))
        await door.has_read.wait()
        await demote_and_write(client)
        await client.app.engine.fence()
        door.is_open.set()
        await subscribing
        await later.until(lambda rows: titles(rows) == ["hers"])
        assert "secret" not in str(socket.notifications)


async def test_a_stream_that_was_let_in_before_the_commit_shows_nothing_after_it() -> None:
    async with processes() as (door, [client]), client.acting("ann").live("notes") as first:
        await first.ready()
        await client.app.settled()
        door.is_open.clear()
        door.has_read.clear()

        async def open_and_look() -> str:
            async with client.acting("ann").live("notes") as later:
                await later.until(lambda rows: titles(rows) == ["hers"])
                return str(later.events)

        opening = asyncio.create_task(open_and_look())
        await door.has_read.wait()
        await demote_and_write(client)
        await client.app.engine.fence()
        door.is_open.set()
        assert "secret" not in await opening


async def test_who_was_refused_and_is_somebody_by_now_stays_connected() -> None:
    async with processes() as (_, [client]), client.acting("eve").websocket() as socket:
        with pytest.raises(Refusal, match="There is no such user"):
            await socket.subscribe("notes", {"resource": "notes"}, View(10.0))
        await client.app.revoke(account="eve")  # asks about whoever was refused, too
        await client.app.records.create(User, id="eve", role="staff")
        await client.app.identify.living.revoke_all()  # as after a gap in the log
        notes = View(10.0)
        await socket.subscribe("notes", {"resource": "notes"}, notes)
        assert titles(await notes.ready()) == ["hers", "his"]


async def test_who_is_exchanging_his_credentials_is_not_sent_away_for_the_old_ones() -> None:
    async with processes() as (door, [client]), client.acting("ann").websocket() as socket:
        await client.app.records.create(User, id="eve", role="staff")
        notes = View(10.0)
        await socket.subscribe("notes", {"resource": "notes"}, notes)
        await notes.ready()
        door.is_free.clear()
        exchanging = asyncio.create_task(socket.call("become-eve"))
        await door.has_gone.wait()  # the one that it was, and the handler is not done yet
        await client.app.engine.fence()
        door.is_free.set()
        await exchanging
        await notes.until(lambda rows: titles(rows) == ["hers", "his"])
