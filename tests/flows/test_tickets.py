"""Tickets for sockets and streams that cannot send headers: used once, in time, by whom they are for, and written
nowhere."""

import asyncio
import logging
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
import websockets

from crudite import Actor, App, Credentials, Record, Tickets, Unauthorized, allow
from crudite.auth.sessions import Sessions
from crudite.testing import Client, Clock, Refusal
from tests.flows.people import ANN, QUICK, Account, Browser, Note
from tests.services.runner import Kind, running
from tests.services.stores import foreign, fresh_store, kept_store

HALF_A_MINUTE = timedelta(seconds=30)


class Memo(Record[int], rules={"read": allow.signed_in, "create": allow.everyone}):
    title: str


REVOKED: set[str] = set()


def by_token(credentials: Credentials) -> Actor | None:
    token = credentials.token or credentials.headers.get("x-key")
    if token in REVOKED:
        raise Unauthorized("The token has been revoked.")
    return Actor(token) if token else None


def app_with(store: str | None = None, **told: Any) -> App:
    return App(Memo, store=store or fresh_store(), auth=[by_token, Tickets()], **told)


async def ticket_of(client: Client) -> str:
    given = (await client.post("/connection-ticket", {})).json
    assert 0 < given["expires_in"] <= 30
    return str(given["ticket"])


async def who(client: Client, ticket: str) -> Any:
    """Who somebody is over a WebSocket that was opened with a ticket; the close code where none was."""
    async with client.websocket(f"/ws?ticket={ticket}") as socket:
        try:
            return (await socket.call("memos.list"))["data"]
        except asyncio.CancelledError:
            return await socket.closed()


async def test_a_ticket_opens_one_socket_or_one_stream() -> None:
    async with Client(app_with(), token="ann") as ann, Client(ann.app) as nobody:
        await ann.post("/memos", {"title": "m"})
        ticket = await ticket_of(ann)
        assert [memo["title"] for memo in await who(nobody, ticket)] == ["m"]
        async with nobody.websocket(f"/ws?ticket={ticket}") as again:
            assert await again.closed() == 4401
        with pytest.raises(Refusal) as refused:
            async with nobody.stream(f"/memos/subscribe?ticket={ticket}"):
                pass
        assert refused.value.status == 401
        async with nobody.stream(f"/memos/subscribe?limit=5&ticket={await ticket_of(ann)}") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")


async def test_of_many_who_use_a_ticket_at_once_in_two_processes_one_gets_in() -> None:
    store = kept_store()
    one, other = app_with(store), app_with(store)
    async with Client(one, token="ann") as ann, Client(one) as here, Client(other) as there:
        ticket = await ticket_of(ann)

        async def is_in(client: Client) -> bool:
            async with client.websocket(f"/ws?ticket={ticket}") as socket:
                closing = asyncio.create_task(socket.closed())
                calling = asyncio.create_task(socket.call("ping"))
                done, _ = await asyncio.wait([closing, calling], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(calling, return_exceptions=True)
                closing.cancel()
                return calling in done and not calling.cancelled()

        entered = await asyncio.gather(*(is_in(client) for client in (here, there) * 5))
        assert sum(entered) == 1


async def test_a_ticket_is_for_half_a_minute_and_for_nobody_who_has_made_it_up() -> None:
    clock = Clock()
    async with Client(app_with(clock=clock), token="ann") as ann, Client(ann.app) as nobody:
        late, good = await ticket_of(ann), await ticket_of(ann)
        others = [good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), f"{good}x", "crt_", "crt_%00", f"crt_{'A' * 64}"]
        for bad in others:
            async with nobody.websocket(f"/ws?ticket={bad}") as socket:
                assert await socket.closed() == 4401
        assert await who(nobody, good) == []
        clock.advance(HALF_A_MINUTE)
        async with nobody.websocket(f"/ws?ticket={late}") as socket:
            assert await socket.closed() == 4401


async def test_nobody_gets_a_ticket_who_is_nobody_and_no_ticket_gets_another_one() -> None:
    async with Client(app_with(), token="ann") as ann, Client(ann.app) as nobody:
        assert (await nobody.post("/connection-ticket", {})).status == 401
        assert (await nobody.post(f"/connection-ticket?ticket={await ticket_of(ann)}", {})).status == 400


async def test_a_ticket_is_refused_everywhere_else_and_can_be_used_after_that() -> None:
    async with Client(app_with(), token="ann") as ann, Client(ann.app) as nobody:
        ticket = await ticket_of(ann)
        for method, path in (("GET", "/memos"), ("GET", "/memos/1"), ("POST", "/memos"), ("QUERY", "/memos")):
            assert (await nobody.request(method, f"{path}?ticket={ticket}", {"title": "x"})).status == 400
        for token in ({"authorization": f"Bearer {ticket}"}, {"cookie": f"ticket={ticket}"}, {"x-ticket": ticket}):
            assert (await nobody.get("/connection-tickets", headers=token)).status == 404
        assert (await ann.get("/connection-tickets")).status == 404
        assert await who(nobody, ticket) == []


async def test_a_ticket_shows_what_it_was_given_for_whatever_the_connection_shows_itself() -> None:
    async with Client(app_with()) as client:
        for headers in ({"authorization": "Bearer ann"}, {"x-key": "ann"}):
            ticket = (await client.post("/connection-ticket", {}, headers=headers)).json["ticket"]
            async with client.websocket(f"/ws?ticket={ticket}", headers={"cookie": "s=eve"}) as socket:
                assert (await socket.call("connection-ticket"))["data"]["ticket"]


async def test_a_connection_of_a_ticket_ends_with_the_token_that_it_was_given_for() -> None:
    REVOKED.clear()
    async with Client(app_with(), token="tmp") as client, Client(client.app) as nobody:
        unused = await ticket_of(client)
        async with nobody.websocket(f"/ws?ticket={await ticket_of(client)}") as socket:
            assert (await socket.call("memos.list"))["data"] == []
            REVOKED.add("tmp")
            await client.app.revoke(account="tmp")
            assert await socket.closed() == 4401
        async with nobody.websocket(f"/ws?ticket={unused}") as socket:
            assert await socket.closed() == 4401
    REVOKED.clear()


async def test_a_connection_of_a_ticket_ends_with_the_session_that_asked_for_it() -> None:
    auth = [Sessions(Account, hashing=QUICK), Tickets()]
    async with (app := App(Account, Note, store=fresh_store(), auth=auth, clock=Clock())):
        await app.records.create(Account, **ANN)
        browser = Browser(app)
        assert (await browser.log_in()).status == 200
        first, second = [(await browser.post("/connection-ticket")).json["ticket"] for _ in range(2)]
        async with Client(app) as nobody, nobody.websocket(f"/ws?ticket={first}") as socket:
            assert (await socket.call("session"))["data"]["account"]
            await socket.call("subscribe", {"sub": "s", "resource": "notes"})
            assert (await browser.post("/log-out")).status in (200, 204)
            assert await socket.closed() == 4401
            async with nobody.websocket(f"/ws?ticket={second}") as late:
                assert await late.closed() == 4401


async def test_whoever_reads_the_database_has_neither_ticket_nor_token() -> None:
    store = kept_store()
    async with Client(app_with(store), token="very-secret-token") as client:
        ticket = await ticket_of(client)
        (kept,) = await foreign(store, "SELECT id || ' ' || digest || ' ' || shown FROM connection_tickets")
    assert len(kept) > 150
    for part in ("very-secret-token", ticket, ticket[-40:], b64encode(b"very-secret-token").decode()):
        assert part not in kept


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_a_ticket_is_in_no_log_of_the_server(
    kind: Kind, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uvicorn.access", "uvicorn.error", "crudite"):  # whatever other tests have told them
        logger = logging.getLogger(name)
        caplog.set_level(logging.INFO, logger=name)
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "handlers", [caplog.handler])
    async with Client(app_with(), token="ann") as ann:
        tickets = [await ticket_of(ann) for _ in range(4)]
        async with running(ann.app, kind, access_log=True) as port:
            async with websockets.connect(f"ws://127.0.0.1:{port}/ws?x=1&ticket={tickets[0]}"):
                pass
            for ticket, path in zip(tickets[1:], ("/memos/subscribe", "/memos", "/nothing"), strict=True):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"HEAD {path}?limit=1&ticket={ticket} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                assert (await reader.readline()).startswith(b"HTTP/1.1 ")
                writer.close()
    told = caplog.text
    assert "/memos" in told
    assert "/nothing" in told
    for ticket in tickets:
        assert ticket not in told
