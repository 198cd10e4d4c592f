"""A revocation that is asked for by what a living connection waits for: it is refused, where it would wait for ever."""

import asyncio
from typing import Any, Literal

import pytest

from crudite import Actor, App, Credentials, Query, Record, Request, allow
from crudite.testing import Client, View
from crudite.testing.views import Refusal
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store

OVER: tuple[Literal["sse", "websocket"], ...] = ("sse", "websocket")


class Note(Record[int], rules=allow.everyone):
    title: str = ""


def application() -> tuple[App, list[str]]:
    """An application with a handler that revokes whom it has to do with, and what has come of that."""
    app, told = App(Note, store=fresh_store(), auth=by_name), list[str]()

    @app.read("strict")
    async def strict(request: Request) -> Query[Note]:
        try:
            await app.revoke(account="ann")
            told.append("revoked")
        except RuntimeError as error:
            told.append(str(error))
        return Note.where()

    return app, told


@pytest.mark.parametrize("over", OVER)
async def test_a_handler_that_a_live_query_reads_is_told_so(over: Literal["sse", "websocket"]) -> None:
    app, told = application()
    async with Client(app, token="ann") as client, client.live("strict", over=over) as view:
        await view.ready()
        assert told == ["auth, and a handler that a live query reads, cannot wait for a revocation"]
        await app.revoke(account="ann")  # for which it is read again
        assert set(told[1:]) <= {told[0]}
        await client.post("/notes", {"title": "a"})
        assert [row["title"] for row in await view.until(lambda rows: bool(rows))] == ["a"]


async def test_the_same_handler_may_do_so_for_a_request_beside_living_connections() -> None:
    app, told = application()
    async with Client(app, token="ann") as client, client.live("notes") as streamed, client.websocket() as socket:
        await streamed.ready()
        await socket.subscribe("s", {"resource": "notes"}, View(5.0))
        assert (await client.get("/strict")).json == []
        assert (await socket.call("strict"))["data"] == []
        assert told == ["revoked", "revoked"]


async def test_what_it_begins_beside_itself_comes_to_pass() -> None:
    app, begun = App(Note, store=fresh_store(), auth=by_name), list[asyncio.Task[Any]]()

    @app.read("patient")
    async def patient(request: Request) -> Query[Note]:
        if not begun:
            begun.append(asyncio.create_task(app.revoke(account="ann")))
        return Note.where()

    async with Client(app, token="ann") as client, client.live("patient", over="websocket") as view:
        await view.ready()
        await asyncio.wait_for(begun[0], 5)


async def test_auth_itself_is_told_so_too() -> None:
    told: list[str] = []

    async def authenticate(credentials: Credentials) -> Actor | None:
        if credentials.token == "other":
            try:
                await app.revoke(account="ann")
            except RuntimeError as error:
                told.append(str(error))
        return by_name(credentials)

    app = App(Note, store=fresh_store(), auth=authenticate)
    async with Client(app, token="ann") as client, client.websocket() as socket:
        await socket.subscribe("s", {"resource": "notes"}, View(5.0))
        assert (await socket.call("auth", {"token": "other"}))["actor"]["id"] == "other"
        assert (await client.acting("other").get("/notes")).status == 200
        assert len(told) >= 2
        with pytest.raises(Refusal, match="401"):
            await socket.call("auth", {"token": "bad"})
