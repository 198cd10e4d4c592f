"""Tickets: for sockets and event streams of clients that cannot send headers with them.

A browser's `WebSocket` and `EventSource` send cookies and nothing else. Where a page shows a token, or its cookie does
not go along, it asks for a ticket as it asks for anything else, and puts that into the address. An address is written
down in many places, so that a ticket is of use once, and for half a minute.

What was shown when it was asked for is kept, sealed with the ticket itself: the connection then rests on the same
session or token, ends with it, and whoever reads the database has neither. One use is the deletion of one row, which
one of all processes does.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from crudite.auth.identification import Home
from crudite.auth.sessions.tokens import new_token, read_token
from crudite.errors import NotFound, Unauthorized
from crudite.messages import Actor, Credentials
from crudite.query.plan import Mask, Selection
from crudite.query.tree import EVERYTHING
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Field
from crudite.resources.request import Request
from crudite.rules import allow
from crudite.tokens import Sealer

TICKET_PREFIX = "crt_"
HANDLER = "connection-ticket"
_FORGOTTEN_AT_ONCE = 20


class ConnectionTicket(Resource, rules=allow.nobody, places=(), path="connection-tickets", live=False):
    """A ticket that can be used once. Nobody sees it but the server."""

    digest: str = Field(visible="secret")
    shown: str = Field(visible="secret")
    expires_at: datetime = Field(index=True)


class Tickets:
    """Gives tickets to whoever is signed in, by the handler `connection-ticket`, and takes them:
    `App(…, auth=[Sessions(Account), Tickets()])`. `lasts` is for how long one can be used."""

    def __init__(self, *, lasts: timedelta = timedelta(seconds=30)) -> None:
        if not timedelta() < lasts <= timedelta(minutes=5):
            raise ValueError(f"lasts is a few seconds, 5 minutes at most, got {lasts!r}")
        self._lasts = lasts

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """The tickets that have not been used."""
        return (ConnectionTicket,)

    def join(self, home: Home) -> None:
        """It belongs to an application now."""
        self._home = home
        schema = home.definitions[ConnectionTicket].schema
        self._all = Selection(schema, EVERYTHING, Mask(tuple(schema.fields)))

        @home.offer(HANDLER, "create")
        async def connection_ticket(request: Request) -> dict[str, Any]:
            """A ticket for one WebSocket or event stream, as `?ticket=` in its address."""
            return await self.issue(request)

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Nobody: a ticket says who asks only where a connection begins."""
        return None

    async def issue(self, request: Request) -> dict[str, Any]:
        """A ticket for what a request has shown. Raises Unauthorized for nobody."""
        if not request.actor.is_known:
            raise Unauthorized("A ticket is for who is signed in.")
        now = self._home.clock()
        expires = now + self._lasts
        if request.actor.expires is not None:
            expires = min(expires, request.actor.expires)
        ticket = new_token(TICKET_PREFIX)
        shown = _sealer(ticket.text).seal(_packed(request.credentials))
        await self._home.records.create(
            ConnectionTicket, id=UUID(ticket.id), digest=ticket.digest, shown=shown, expires_at=expires
        )
        await self._forget(now)
        return {"ticket": ticket.text, "expires_in": max((expires - now).total_seconds(), 0)}

    async def redeem(self, ticket: str) -> Credentials | None:
        """What was shown for a ticket, which is used up by that; None for one that does not count (any more)."""
        shown = read_token(TICKET_PREFIX, ticket)
        row = None if shown is None else await self._home.store.lookup(self._all, shown.id)
        if shown is None or row is None:
            return None
        plain = msgspec.json.decode(row.json)
        if not shown.opens(plain["digest"]):
            return None
        try:
            await self._home.records.delete(ConnectionTicket, shown.id)
        except NotFound:  # somebody else was faster
            return None
        kept = self._home.definitions[ConnectionTicket].from_plain(plain)
        content = _sealer(ticket).open(kept.shown)
        return None if content is None or kept.expires_at <= self._home.clock() else _unpacked(content)

    async def _forget(self, now: datetime) -> None:
        query = ConnectionTicket.where(expires_at__lt=now).order("expires_at").limit(_FORGOTTEN_AT_ONCE)
        for ticket in await self._home.records.list(query):
            with suppress(NotFound):
                await self._home.records.delete(ConnectionTicket, ticket.id)


def _sealer(ticket: str) -> Sealer:
    return Sealer(hashlib.sha512(ticket.encode()).digest())


def _packed(credentials: Credentials) -> bytes:
    """What somebody shows, with the headers in which an application may look for more."""
    headers = {name: value for name, value in credentials.headers.items() if _shows(name)}
    return msgspec.json.encode([credentials.token, dict(credentials.cookies), headers])


def _unpacked(content: bytes) -> Credentials:
    token, cookies, headers = msgspec.json.decode(content, type=tuple[str | None, dict[str, str], dict[str, str]])
    return Credentials(token=token, cookies=cookies, headers=headers)


def _shows(header: str) -> bool:
    is_own = header.startswith("x-") and not header.startswith(("x-forwarded-", "x-real-", "x-request-"))
    return is_own or header in ("authorization", "cookie")
