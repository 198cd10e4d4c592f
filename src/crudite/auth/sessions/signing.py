"""Signing in and out, and what belongs to it: what the handlers that sessions offer do, and an application's own may
call."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from crudite.auth.sessions.desk import Desk
from crudite.auth.sessions.keeping import MOST_VALUES, Kept, Part, Visit
from crudite.auth.sessions.links import Links
from crudite.auth.sessions.visits import Visits
from crudite.errors import NotFound
from crudite.resources.request import Request
from crudite.schema import format_datetime
from crudite.types import Key, Plain, PlainRecord


class Signing:
    """What can be done with accounts and their sessions, once these belong to an application."""

    _desk: Desk
    _links: Links | None = None
    _visits: Visits | None = None

    async def log_in(
        self, request: Request, name: str, password: str, *, bearer: bool = False,
        values: Mapping[str, Plain] | None = None,
    ) -> PlainRecord:  # fmt: skip
        """Begins a session for whoever knows the password, in place of the one that the request was made in: the
        browser gets a cookie, and a client that wants `bearer` the token in what is returned.

        The session begins with these `values` of the server's, and with the client's of the visitor that it was so far.
        What the server has kept for a visitor ends with him, unless it is handed on here: it was said of somebody
        unknown, and whoever plants his own cookie in another's browser would give it to his account.

        Raises Unauthorized, which does not tell what is wrong, TooManyRequests, Unavailable, and Forbidden where the
        address is to be verified first.
        """
        return await self._desk.log_in(request, name, password, bearer=bearer, values=values)

    async def enter(
        self, request: Request, account: Key, *, bearer: bool = False, values: Mapping[str, Plain] | None = None
    ) -> PlainRecord:
        """Begins a session of an account, of which the application has made sure by itself that it is his who asks;
        `values` are those of `log_in`. Raises NotFound for an account that is not there, or may not sign in."""
        found = await self._desk.accounts.read(account)
        if found is None or not found.can_sign_in:
            raise NotFound("There is no such account.")
        return await self._desk.enter(request, found, bearer=bearer, values=values)

    async def add(
        self, name: str, password: str, *, roles: Sequence[str] = (), values: Mapping[str, Any] | None = None
    ) -> Key:
        """Makes an account with further `values`, as the server: no rule holds; its address counts as verified.
        Returns its key. Raises Invalid with every fault, NotUnique for a name that is taken, Forbidden for roles where
        accounts have none."""
        return await self._desk.accounts.add(name, password, roles, dict(values or {}))

    def spelling(self, name: str) -> str:
        """The spelling in which accounts keep a name, for who looks one up: `Account.where(email=…)`."""
        return self._desk.accounts.canonical(name)

    async def log_out(self, request: Request) -> None:
        """Ends the session that the request was made in. There may be none."""
        await self._desk.log_out(request)

    async def log_out_everywhere(self, request: Request) -> int:
        """Ends all sessions of the account; how many there were. Raises Unauthorized for nobody."""
        return await self._desk.log_out_everywhere(request)

    async def end_all(self, account: Key) -> int:
        """Ends all sessions of an account, such as one that has been blocked; how many there were."""
        return await self._desk.end_all(account)

    async def renew(self, request: Request, *, bearer: bool = False) -> PlainRecord:
        """Gives the session of a request another token, such as before something that needs more rights. Raises
        Unauthorized for nobody."""
        return await self._desk.renew(request, bearer=bearer)

    async def change_password(self, request: Request, old: str, new: str, *, bearer: bool = False) -> PlainRecord:
        """Changes the password of whoever is signed in, ends his other sessions, and gives this one another token.
        Raises Unauthorized, Forbidden for a wrong old one, Invalid for a new one that cannot be, TooManyRequests."""
        shown = await self._desk.change_password(request, old, new, bearer=bearer)
        if self._links is not None and (account := await self._desk.accounts.read(shown["account"])) is not None:
            self._links.tell_changed(account)
        return shown

    async def change_name(self, request: Request, name: str, password: str) -> None:
        """Gives the account of whoever is signed in another name to sign in with, and tells the address it had so far.
        Raises Unauthorized, Forbidden for a wrong password, Invalid for a name that cannot be, NotUnique for another's,
        TooManyRequests."""
        before = await self._desk.change_name(request, name, password)
        if self._links is not None:
            await self._links.tell_moved(before)

    async def show(self, request: Request) -> PlainRecord | None:
        """What the client may know of its session; None without one."""
        if (visit := await self._visit(request)) is not None:
            return {**_timed(visit), "account": None, "roles": [], "client": dict(visit.client)}
        kept = await self._desk.found(request)
        if kept is None:
            return None
        roles = sorted(request.actor.roles)
        return {**_described(kept), "roles": roles, "client": dict(kept.client)}

    async def list(self, request: Request) -> builtins.list[PlainRecord]:
        """The sessions of whoever is signed in, the oldest first. Raises Unauthorized for nobody."""
        own = await self._desk.own(request)
        return [_described(kept) for kept in await self._desk.keeper.of(own.account)]

    async def end(self, request: Request, session: str) -> None:
        """Ends one of the sessions of whoever is signed in. Raises Unauthorized for nobody, NotFound for a session that
        is not his."""
        own = await self._desk.own(request)
        if session == own.id:
            return await self._desk.log_out(request)
        if session not in {kept.id for kept in await self._desk.keeper.of(own.account)}:
            raise NotFound("There is no such session.")
        await self._desk.end([session])

    async def values(self, request: Request) -> Mapping[str, Plain]:
        """The values that the server keeps in the session of a request; the client does not see them. Raises
        Unauthorized for nobody, unless there are `visitors`."""
        if self._visits is not None and not request.actor.is_known:
            visit = await self._visits.of(request)
            return visit.values if visit is not None else {}
        return (await self._desk.own(request)).values

    async def remember(
        self, request: Request, values: Mapping[str, Plain], *, client: bool = False
    ) -> Mapping[str, Plain]:
        """Keeps values in the session of a request, beside those that are there: None takes one away. They are plain
        data, 16 KiB in all. With `client` they are those that the client reads and writes, too. Returns all of them.
        Where there are `visitors`, a session begins for one who has none: his browser gets the cookie with the answer;
        over a WebSocket it lasts as long as the connection. Raises Unauthorized for nobody, TooLarge, and
        TooManyRequests where too many visitors come from one address."""
        part: Part = "client" if client else "values"
        if self._visits is not None and not request.actor.is_known:
            return await self._visits.remember(request, part, values, MOST_VALUES)
        own = await self._desk.own(request)
        held = await self._desk.keeper.remember(own.id, part, values, MOST_VALUES)
        return held if held is not None else {}

    async def forgot_password(self, request: Request, name: str) -> None:
        """Mails a link for another password to the account of a name, if there is one; after it has returned, so that
        nothing tells. Raises TooManyRequests, RuntimeError without `mail`."""
        await self._mailing.forgot_password(request, name)

    async def reset_password(self, request: Request, token: str, password: str) -> Key:
        """Gives the account of a link another password, and ends all its sessions; the account's key. Raises Forbidden
        for a link that cannot be used (any more), Invalid for what cannot be a password, TooManyRequests."""
        return await self._mailing.reset_password(request, token, password)

    async def send_verification(self, request: Request) -> None:
        """Mails a link that verifies his address to whoever is signed in. Raises Unauthorized for nobody."""
        await self._mailing.send_verification(request)

    async def verify_address(self, request: Request, token: str) -> Key:
        """The address of a link is verified; the account's key. Raises Forbidden for a link that cannot be used (any
        more), TooManyRequests."""
        return await self._mailing.verify_address(request, token)

    async def sign_up(self, request: Request, account: Mapping[str, Any]) -> None:
        """Makes an account and mails a link that verifies its address; where the name is taken, tells its owner. All
        that after it has returned. Raises Invalid, Forbidden for fields with a rule of their own, NotUnique for what
        another account has, its name apart, TooManyRequests."""
        await self._mailing.sign_up(request, dict(account))

    async def mailed(self) -> None:
        """Returns when all mail that was asked for before the call is on its way. A barrier for tests."""
        await self._mailing.settled()

    async def _visit(self, request: Request) -> Visit | None:
        return await self._visits.of(request) if self._visits is not None else None

    @property
    def _mailing(self) -> Links:
        if self._links is None:
            raise RuntimeError("nobody sends mail: Sessions(…, mail=…)")
        return self._links


def _described(kept: Kept) -> PlainRecord:
    return {**_timed(kept), "account": kept.account, "address": kept.address, "agent": kept.agent}


def _timed(kept: Visit) -> PlainRecord:
    times = ("created_at", "seen_at", "expires_at", "ends_at")
    return {"id": kept.id, **{name: format_datetime(getattr(kept, name)) for name in times}}
