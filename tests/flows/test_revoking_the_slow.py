"""Whoever takes a right away does not wait for a client that takes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import pytest

from crudite import Actor, App, Credentials, Limits, LiveLimits, Record, allow, me
from crudite.testing import Client, Line, View
from tests.services.stores import fresh_store

OUTBOX = 4_000
Over: TypeAlias = Literal["websocket", "sse"]


class Note(Record[int], rules={"read": allow.role("staff") | allow.where(owner=me.id), "write": allow.everyone}):
    owner: str = ""
    title: str = ""


@asynccontextmanager
async def ann_is_staff(over: Over) -> AsyncIterator[tuple[App, View, Line, Callable[[], Awaitable[None]]]]:
    """Ann sees all notes, for she is staff, on a line that can be held up; and what takes that from her. She comes back
    after the block, and is shown her own alone."""
    roles = {"ann": frozenset({"staff"})}

    def authenticate(credentials: Credentials) -> Actor | None:
        return Actor(id="ann", roles=roles["ann"]) if credentials.token else None

    async def revoke() -> None:
        roles["ann"] = frozenset()
        await app.revoke(account="ann")

    app = App(Note, store=fresh_store(), auth=authenticate, limits=Limits(live=LiveLimits(outbox=OUTBOX, tick=0)))
    line = Line()
    async with Client(app) as client, asyncio.timeout(10):
        await app.records.create(Note, id=1, owner="bob")
        await app.records.create(Note, id=2, owner="ann")
        async with client.acting("t").live("notes", over=over, line=line) as view:
            await view.ready()
            yield app, view, line, revoke
        async with client.acting("t").live("notes", over=over, resume=view) as again:
            await again.ready()
            assert [note["id"] for note in again.records] == [2]


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_a_revocation_does_not_wait_for_a_client_that_is_behind(over: Over) -> None:
    async with ann_is_staff(over) as (app, _, line, revoke):
        [connection] = app.engine.connections
        line.hold()
        while not connection.outbox.is_behind:
            await app.records.update(Note, 1, title=f"{connection.outbox.size:0600}")

        await revoke()
        assert connection.ended == "slow"  # it could be told what differs only after all that it has not taken
        assert not app.engine.connections
        line.cut()


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_who_is_given_up_as_slow_while_he_is_told_of_other_rights_is_told_of_nothing_else(
    over: Over, caplog: pytest.LogCaptureFixture
) -> None:
    async with ann_is_staff(over) as (app, view, line, revoke):
        [connection] = app.engine.connections
        line.hold()
        await app.records.update(Note, 1, title="on its way")
        await app.engine.fence()
        while connection.outbox.size:  # noqa: ASYNC110 (nobody tells that the reader has it, and waits)
            await asyncio.sleep(0)
        await app.records.update(Note, 1, title="x" * OUTBOX)  # one message may always wait, and nothing beside it
        await app.engine.fence()
        assert (connection.ended, connection.outbox.is_behind) == (None, False)

        await revoke()
        assert connection.ended == "slow"
        line.release()
        with pytest.raises(ConnectionResetError):
            await view.until(lambda _: False)
        assert {kind for kind, _ in view.events} == {"added", "ready", "changed"}
        assert "credentials" not in caplog.text
