"""One-use links: choosing another password, verifying an address, signing up without telling who has.

A link is a row with the hash of its token, for one account and one purpose. It is used up by the transaction that does
what it is for. Whatever depends on whether there is an account of some name is done aside, after the answer, which is
the same for every name and takes as long.
"""

import asyncio
import logging
import types
from collections.abc import Awaitable
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self, TypeAlias, cast
from uuid import UUID

import msgspec

from crudite.auth.sessions.accounts import Account
from crudite.auth.sessions.desk import Desk, nobody
from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.mail import MailKind, SendMail, written
from crudite.auth.sessions.settings import LINK_PREFIX
from crudite.auth.sessions.tokens import new_token, read_token
from crudite.errors import Fault, Forbidden, Invalid, NotFound, NotUnique, Unavailable
from crudite.query.plan import Mask, Selection
from crudite.query.tree import EVERYTHING
from crudite.resources.declaring.declare import Record, Resource
from crudite.resources.declaring.fields import Field, Ref
from crudite.resources.request import Request
from crudite.rules import allow
from crudite.types import Key, PlainRecord

Purpose: TypeAlias = Literal["reset", "verify"]

_MOST_ASIDE = 100
_LONGEST_MAIL = 60.0
"""Seconds after which a mail is given up: one that hangs keeps the place of another."""
_PATIENCE = 5.0
_FORGOTTEN_AT_ONCE = 20
_log = logging.getLogger("crudite")


class _Link(NamedTuple):
    """One link, as it was opened, and the account that it is for, which is as it was when the link was made."""

    id: str
    account: Account


class LinkRow(Resource):
    """What is kept of a one-use link, but for whose it is. Nobody sees it but the server."""

    purpose: str
    digest: str = Field(visible="secret")
    stamp: str = Field(visible="secret")
    to: str
    expires_at: datetime = Field(index=True)


def link_resource(account: type[Record[Any]]) -> type[Resource]:
    """The resource of the one-use links of these accounts."""

    def declare(names: dict[str, Any]) -> None:
        names["__module__"] = __name__
        names["__doc__"] = "A link that its owner can use once."
        names["__annotations__"] = {"account": Ref[account]}  # type: ignore[valid-type]
        names["account"] = Field(immutable=True, on_delete="cascade")

    options = {"rules": allow.nobody, "places": (), "path": "one-use-links", "live": False}
    return cast(type[Resource], types.new_class("OneUseLink", (LinkRow,), options, declare))


class Links:
    """Makes one-use links, mails them, and does what they are for."""

    def __init__(self, home: SessionHome, desk: Desk, resource: type[Resource], send: SendMail) -> None:
        self._home = home
        self._desk = desk
        self._resource: Any = resource
        self._send = send
        self._definition = home.definitions[resource]
        schema = self._definition.schema
        self._all = Selection(schema, EVERYTHING, Mask(tuple(schema.fields)))
        self._aside: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Waits for mail that is on its way, but not for long."""
        if self._aside:
            late = (await asyncio.wait(self._aside, timeout=_PATIENCE))[1]
            for task in late:
                task.cancel()

    async def settled(self) -> None:
        """Returns when all mail that was asked for before the call is on its way, or could not be."""
        await asyncio.gather(*self._aside)

    async def forgot_password(self, request: Request, name: str) -> None:
        """Mails a link for another password to the account of a name, if there is one. Raises TooManyRequests."""
        await self._desk.throttle.from_address(request.credentials.address)
        self._begin(self._mail_to_named("reset", name))

    async def reset_password(self, request: Request, token: str, password: str) -> Key:
        """Gives the account of a link another password, and ends all its sessions; the account's key. Raises Forbidden
        for a link that is none (any more), Invalid for what cannot be a password, TooManyRequests."""
        link = await self._opened(request, "reset", token)
        fields = self._desk.accounts.fields
        changes: PlainRecord = {fields.password: password}
        if fields.verified is not None:
            changes[fields.verified] = link.account.name  # whoever has read his mail has shown that it is his
        try:
            await self._desk.set_password(
                link.account.key, changes, "/password", further=lambda batch: batch.delete(self._resource, link.id)
            )
        except NotFound:
            raise _void() from None
        await self._forget_others(link.account.key)
        self.tell_changed(link.account)
        return link.account.key

    def tell_changed(self, account: Account) -> None:
        """Mails the owner of an account that its password has been changed, however much mail he gets: else that would
        keep it from him."""
        self._tell("changed", account)

    async def tell_moved(self, account: Account) -> None:
        """Mails the address that an account had so far that it has another one now. One that was not verified may be
        anybody's, and gets no more mail than others."""
        if account.is_verified or await self._desk.throttle.may_mail(account.name, account.key):
            self._tell("moved", account)

    def _tell(self, kind: MailKind, account: Account) -> None:
        try:
            self._begin(self._send(written(kind, account.name, account.key, self._desk.settings.url)))
        except Unavailable:
            _log.warning("nobody is told that his account has been changed: too much mail is on its way")

    async def send_verification(self, request: Request) -> None:
        """Mails a link to the address of whoever is signed in, which verifies it. Raises Unauthorized for nobody,
        TooManyRequests."""
        own = await self._desk.own(request)
        await self._desk.throttle.from_address(request.credentials.address)
        account = await self._desk.accounts.read(own.account)
        if account is None:
            raise nobody()
        self._begin(self._mail_link("verify", account))

    async def verify_address(self, request: Request, token: str) -> Key:
        """The address of a link is verified; the account's key. Raises Forbidden for a link that is none (any more),
        TooManyRequests."""
        link = await self._opened(request, "verify", token)
        verified = self._desk.accounts.fields.verified
        assert verified is not None  # else there is no such link
        changes: PlainRecord = {verified: link.account.name}
        try:
            async with self._home.records.batch() as batch:
                batch.delete(self._resource, link.id)
                batch.update(self._desk.accounts.resource, link.account.key, **changes)
        except NotFound:
            raise _void() from None
        return link.account.key

    async def sign_up(self, request: Request, values: PlainRecord) -> None:
        """Makes an account and mails it a link that verifies its address; where the name is taken, tells its owner.
        Raises Invalid for what cannot be an account, Forbidden for fields with a rule of their own, those that decide
        about rights, and links, which would change other records, NotUnique for what another account has, its name
        apart, TooManyRequests."""
        await self._desk.throttle.from_address(request.credentials.address)
        accounts = self._desk.accounts
        given = accounts.definition.bodies["create"].parse_python(values)
        password = accounts.fields.password
        if given.get(password) is None:  # who signs in elsewhere alone has none
            raise Invalid(faults=[Fault("missing", "This field is required.", pointer=f"/{password}")])
        definition = accounts.definition
        closed = definition.field_write.keys() | accounts.decisive | definition.settable.keys()
        restricted = sorted(given.keys() & closed)
        if restricted:
            raise Forbidden(f"{', '.join(restricted)}: nobody gives that when he signs up.")
        await accounts.refuse_taken(given)
        self._begin(self._create(given, values))

    async def _create(self, given: PlainRecord, values: PlainRecord) -> None:
        accounts = self._desk.accounts
        name = given[accounts.fields.name]
        account = await accounts.named(name)
        if account is None:
            try:
                await self._home.records.create(accounts.resource, **values)
            except NotUnique:  # somebody else did, or has taken something else of it, a moment ago
                _log.info("somebody has signed up with what was taken meanwhile")
            account = await accounts.named(name)
            if account is not None:
                await self._mail_link("verify", account)
        elif await self._desk.throttle.may_mail(account.name, account.key):
            await self._send(written("taken", account.name, account.key, self._desk.settings.url))

    async def _mail_to_named(self, purpose: Purpose, name: str) -> None:
        account = await self._desk.accounts.named(name)
        if account is not None and account.can_sign_in:
            await self._mail_link(purpose, account)

    async def _mail_link(self, purpose: Purpose, account: Account) -> None:
        if not await self._desk.throttle.may_mail(account.name, account.key):
            return
        now = self._desk.now
        token = new_token(LINK_PREFIX)
        await self._home.records.create(
            self._resource, id=UUID(token.id), account=account.key, purpose=purpose, digest=token.digest,
            stamp=account.stamp, to=account.name, expires_at=now + self._desk.settings.link_lasts,
        )  # fmt: skip
        await self._send(written(purpose, account.name, account.key, self._desk.settings.url, token.text))
        query = self._resource.where(expires_at__lt=now).order("expires_at").limit(_FORGOTTEN_AT_ONCE)
        await self._forget(await self._home.records.list(query))

    async def _opened(self, request: Request, purpose: Purpose, token: str) -> _Link:
        await self._desk.throttle.from_address(request.credentials.address)
        shown = read_token(LINK_PREFIX, token)
        row = await self._home.store.lookup(self._all, shown.id) if shown is not None else None
        if shown is None or row is None:
            raise _void()
        plain = msgspec.json.decode(row.json)
        is_over = self._definition.from_plain(plain).expires_at <= self._desk.now
        if not shown.opens(plain["digest"]) or plain["purpose"] != purpose or is_over:
            raise _void()
        account = await self._desk.accounts.read(plain["account"])
        if account is None or account.name != plain["to"]:  # who reads the mail of an address it had is not its owner
            raise _void()
        if purpose == "reset" and account.stamp != plain["stamp"]:  # another password than the forgotten one
            raise _void()
        return _Link(shown.id, account)

    async def _forget_others(self, account: Key) -> None:
        await self._forget(await self._home.records.list(self._resource.where(account=account)))

    async def _forget(self, links: list[Any]) -> None:
        for link in links:
            try:
                await self._home.records.delete(self._resource, link.id)
            except NotFound:
                continue

    def _begin(self, work: Awaitable[None]) -> None:
        """Does something after the answer. Raises Unavailable when too much of that is being done."""
        if len(self._aside) >= _MOST_ASIDE:
            cast(Any, work).close()
            raise Unavailable("Too much mail is on its way.", headers={"retry-after": "5"})
        task = asyncio.ensure_future(_reported(work))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)


async def _reported(work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(_LONGEST_MAIL):
            await work
    except Exception:
        _log.exception("a mail could not be sent")


def _void() -> Forbidden:
    return Forbidden("This link cannot be used, or not any more. Ask for another one.")
