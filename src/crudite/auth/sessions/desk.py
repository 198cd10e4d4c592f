"""The desk: where sessions are begun, renewed and ended, and passwords are looked at."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from crudite.auth.sessions.accounts import Account, Accounts
from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.keeping import MOST_VALUES, Keeper, Kept, Values, merged
from crudite.auth.sessions.settings import PREFIX, Settings
from crudite.auth.sessions.throttle import Throttle, place
from crudite.auth.sessions.tokens import Shown, Token, new_token, read_token
from crudite.auth.sessions.visits import Visits
from crudite.errors import Conflict, Forbidden, Malformed, NotFound, PreconditionFailed, StoreError, Unauthorized
from crudite.messages import Actor, Credentials, SignIn
from crudite.resources.records import Batch
from crudite.resources.request import Request
from crudite.resources.writing.passwords import Hashing
from crudite.schema import format_datetime
from crudite.types import Key, PlainRecord

_NOBODY: dict[str, Key] = {"uuid": "00000000-0000-7000-8000-000000000000", "text": "", "integer": -1}
_LONGEST_AGENT = 200
_TRIES = 5
_MOST_RISEN = 10_000
_MOST_SESSIONS = 100
"""An account's: each try of its password reads them. Beyond, those go that have not been used for longest."""
_MOMENT = 5.0
"""Seconds that a WebSocket has to show its new credentials in place of those that have ended."""

_log = logging.getLogger("crudite")


class Desk:
    """Begins, renews and ends the sessions of an application's accounts."""

    def __init__(
        self, home: SessionHome, accounts: Accounts, keeper: Keeper, visits: Visits | None, settings: Settings,
        hashing: Hashing, throttle: Throttle,
    ) -> None:  # fmt: skip
        self.accounts = accounts
        self.keeper = keeper
        self.visits = visits
        self.settings = settings
        self.throttle = throttle
        self.hashing = hashing
        self._home = home
        self._nobody: Key = _NOBODY[accounts.definition.schema.key_field.type.kind]
        self.risen: set[str] = set()
        """Sessions in a cookie whose accounts have got roles since their tokens were given."""
        self._asking: set[asyncio.Future[None]] = set()
        self._exchanged: dict[int, tuple[Credentials, Actor]] = {}
        self._later: dict[int, asyncio.TimerHandle] = {}  # until what is in there is over

    @property
    def now(self) -> datetime:
        """What time it is."""
        return self._home.clock()

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return self.settings.cookie_in(self._home.mode)

    def shown(self, credentials: Credentials) -> Shown | None:
        """The token of a session of an account among some credentials; None for every other."""
        text = credentials.token if credentials.token is not None else credentials.cookies.get(self.cookie)
        return read_token(PREFIX, text) if text is not None else None

    def exchanged(self, credentials: Credentials) -> Actor | None:
        """Who shows credentials that a WebSocket is giving up at this moment; None for any others."""
        found = self._exchanged.get(id(credentials))
        return found[1] if found is not None else None

    def has_risen(self, session: str) -> None:
        """The account of a session has got roles since its token was given: it is to have another one."""
        if len(self.risen) >= _MOST_RISEN:
            self.risen.clear()  # they are found again
        self.risen.add(session)

    async def log_in(
        self, request: Request, name: str, password: str, *, bearer: bool = False, values: Values | None = None
    ) -> PlainRecord:
        """Begins a session for whoever knows the password, in place of the one that the request was made in. Raises
        Unauthorized, which does not tell what is wrong, TooManyRequests, and Forbidden for an address that is to be
        verified first."""
        account = await self.proven(request, name, password)
        if self.settings.must_verify and not account.is_verified:
            raise Forbidden("The address has not been verified yet.", reason="not_verified")
        return await self.enter(request, account, bearer=bearer, values=values)

    async def enter(
        self, request: Request, account: Account, *, bearer: bool = False, values: Values | None = None
    ) -> PlainRecord:
        """Begins a session of an account, of which somebody else has made sure that it is his who asks, with some
        values of the server's. Those of the client are what it has kept as a visitor."""
        token, now = new_token(PREFIX), self.now
        visit = await self.visits.of(request) if self.visits is not None else None
        kept = Kept(
            id=token.id, account=account.key, digest=token.digest, stamp=account.stamp, roles=sorted(account.roles),
            created_at=now, seen_at=now,
            renewed_at=now, expires_at=now + min(self.settings.idle, self.settings.lasts),
            ends_at=now + self.settings.lasts, address=request.credentials.address, agent=_agent(request),
            client=visit.client if visit is not None else {}, values=merged({}, values or {}, MOST_VALUES),
        )  # fmt: skip
        others = sorted(await self.keeper.of(account.key), key=lambda one: one.seen_at, reverse=True)
        await self.keeper.begin(kept)
        await self.end([one.id for one in others[_MOST_SESSIONS - 1 :]])
        with self._exchanging(request):
            await self._end_this(request)
        return self._shown(request, kept, token, bearer)

    async def proven(self, request: Request, name: str, password: str) -> Account:
        """The account with a name, when the password is its. Raises as `log_in` does."""
        address = request.credentials.address
        await self.throttle.from_address(address)
        account = await self.accounts.named(name)
        kept = await self.keeper.of(account.key if account is not None else self._nobody)
        at_home = any(place(one.address) == place(address) for one in kept)
        await self.throttle.on_account(self.accounts.canonical(name), address, at_home=at_home)
        return await self._checked(account, password)

    async def log_out(self, request: Request) -> None:
        """Ends the session that the request was made in. There may be none."""
        with self._exchanging(request):
            await self._end_this(request)
            request.signs_in = SignIn(self.cookie, None)

    async def log_out_everywhere(self, request: Request) -> int:
        """Ends all sessions of the account; how many there were. Raises Unauthorized for nobody."""
        own = await self.own(request)
        with self._exchanging(request):
            ended = await self.end_all(own.account)
            request.signs_in = SignIn(self.cookie, None)
        return ended

    async def change_password(self, request: Request, old: str, new: str, *, bearer: bool = False) -> PlainRecord:
        """Gives the account of this session another password, when the old one is right, and the session another token.
        All others end. Raises Unauthorized, Forbidden for a wrong old one, Invalid, TooManyRequests."""
        own = await self.own(request)
        if request.interface == "websocket" and not bearer:
            raise Malformed("A WebSocket cannot give the browser its new cookie: use HTTP, or ask for `bearer`.")
        account = await self.accounts.read(own.account)
        if account is None:
            raise nobody()
        await self.throttle.in_session(own.id)
        if not await self.hashing.verify(account.hash, old):
            raise Forbidden("The old password is wrong.")
        with self._exchanging(request):
            renewed, token = self._renewed(own)
            try:
                await self._replace_password(account, new, renewed)
            except NotFound:  # the session has been ended meanwhile, or the account
                raise nobody() from None
            return await self._settle(request, renewed, token, bearer=bearer)

    async def change_name(self, request: Request, name: str, password: str) -> Account:
        """Gives the account of this session another name to sign in with, when the password is right; the account as it
        was before. Raises Unauthorized, Forbidden for a wrong password, Invalid, NotUnique, TooManyRequests."""
        own = await self.own(request)
        account = await self.accounts.read(own.account)
        if account is None:
            raise nobody()
        await self.throttle.in_session(own.id)
        if not await self.hashing.verify(account.hash, password):
            raise Forbidden("The password is wrong.")
        changes: PlainRecord = {self.accounts.fields.name: name}
        await self._home.records.update(self.accounts.resource, own.account, **changes)
        return account

    async def renew(self, request: Request, *, bearer: bool = False) -> PlainRecord:
        """Gives the session of a request another token. The one before is worth nothing from now on. Raises
        Unauthorized for nobody."""
        own = await self.own(request)
        with self._exchanging(request):
            renewed, token = self._renewed(own)
            await self.keeper.change(own.id, digest=renewed.digest, renewed_at=renewed.renewed_at)
            return await self._settle(request, renewed, token, bearer=bearer)

    async def set_password(
        self, account: Key, changes: PlainRecord, pointer: str, *, renewed: Kept | None = None,
        expect: int | None = None, further: Callable[[Batch], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Changes an account, its password among it, and ends its sessions in the same transaction, all or all but one,
        which has another token then; `further` puts more into it. Raises Invalid with the pointer for what cannot be a
        password, and PreconditionFailed where it has not the version `expect` any more."""
        self.accounts.check_password(changes[self.accounts.fields.password], pointer)
        for attempt in range(1, _TRIES + 1):
            ended = [kept.id for kept in await self.keeper.of(account) if renewed is None or kept.id != renewed.id]
            try:
                async with self._home.records.batch() as batch:
                    further(batch)
                    batch.update(self.accounts.resource, account, expect_version=expect, **changes)
                    self.keeper.include(batch, ended, renewed)
                break
            except NotFound:  # one of them has ended by itself; or else it is what `further` is about
                if attempt == _TRIES:
                    raise
        await self.end_all(account, but=renewed.id if renewed is not None else None)

    async def own(self, request: Request) -> Kept:
        """The session that a request was made in. Raises Unauthorized when there is none."""
        if (kept := await self.found(request)) is None:
            raise nobody()
        return kept

    async def found(self, request: Request) -> Kept | None:
        """The same; None when there is none."""
        session = self._session_of(request)
        kept = await self.keeper.find(session) if session is not None else None
        return kept if kept is not None and kept.account == request.actor.id else None

    async def end_all(self, account: Key, *, but: str | None = None) -> int:
        """Ends the sessions of an account, all or all but one; how many there were."""
        return await self.end([kept.id for kept in await self.keeper.of(account) if kept.id != but])

    async def end(self, sessions: Collection[str]) -> int:
        """Ends sessions, for every process, and closes the connections that live on them; how many there were."""
        ended = [session for session in sessions if await self.keeper.end(session)]
        if self.keeper.record is None:
            for session in ended:
                await self._revoke(session)
        return len(ended)

    async def _end_this(self, request: Request) -> None:
        """Ends the session that a request was made in. There may be none."""
        if self.visits is not None and (visit := await self.visits.of(request)) is not None:
            await self.visits.end(visit)
        elif (session := self._session_of(request)) is not None:
            await self.end([session])

    def _session_of(self, request: Request) -> str | None:
        """The number of the session whose token a request shows, of an account; None where it was made in none, or
        somebody else has found out who asks: what he calls a session may be the number of one of ours."""
        shown = self.shown(request.credentials)
        return shown.id if shown is not None and shown.id == request.actor.session else None

    async def _checked(self, account: Account | None, password: str) -> Account:
        is_right = await self.hashing.verify(account.hash if account is not None else None, password)
        if account is None or not is_right or not account.can_sign_in or account.hash is None:
            raise Unauthorized("The name or the password is wrong.")
        hash = await self.hashing.renewed(account.hash, password)
        if hash is not None:
            await self.accounts.keep_hash(account, hash)
        return account

    async def _replace_password(self, account: Account, new: str, renewed: Kept) -> None:
        """Puts another password in the place of that which an account was read with. Raises Forbidden where it has
        another one by now, as after a reset at the same moment, or Unauthorized where that has ended the session."""
        changes: PlainRecord = {self.accounts.fields.password: new}
        now: Account | None = account
        for _ in range(_TRIES):
            if now is None or (now.stamp != account.stamp and await self.keeper.find(renewed.id) is None):
                raise nobody()
            if now.stamp != account.stamp:
                raise Forbidden("The old password is wrong.")
            try:
                return await self.set_password(now.key, changes, "/new", renewed=renewed, expect=now.version)
            except PreconditionFailed:  # something else of it has been changed, or the password
                now = await self.accounts.read(account.key)
        raise Conflict("The account keeps changing; try again.")

    def _renewed(self, own: Kept) -> tuple[Kept, Token]:
        token = new_token(PREFIX, own.id)
        return replace(own, digest=token.digest, renewed_at=self.now), token

    async def _settle(self, request: Request, renewed: Kept, token: Token, *, bearer: bool) -> PlainRecord:
        """A session goes on with another token, and with the password that the account has now."""
        account = await self.accounts.read(renewed.account)
        if account is None or not await self.keeper.change(
            renewed.id, digest=renewed.digest, renewed_at=renewed.renewed_at, stamp=account.stamp,
            roles=sorted(account.roles),
        ):  # fmt: skip
            raise nobody()
        return self._shown(request, renewed, token, bearer)

    def _shown(self, request: Request, kept: Kept, token: Token, bearer: bool) -> PlainRecord:
        if request.interface == "websocket" or not bearer:
            request.signs_in = SignIn(self.cookie, token.text, kept.ends_at)
        shown = {"account": kept.account, "session": kept.id, "ends_at": format_datetime(kept.ends_at)}
        return {**shown, "token": token.text} if bearer else shown

    @contextmanager
    def _exchanging(self, request: Request) -> Iterator[None]:
        """The credentials of a WebSocket come to their end in this block, and it will show others right after it. It is
        who it was so long, lest it be closed in between. Nobody else shows these very credentials."""
        if request.interface != "websocket":
            yield
            return
        key, session = id(request.credentials), request.actor.session
        self._exchanged[key] = request.credentials, request.actor

        def over() -> None:
            self._later.pop(key, None)
            self._exchanged.pop(key, None)
            if session is not None:  # should it show the old ones still, then no longer
                task = asyncio.ensure_future(self._revoke(session))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

        try:
            yield
        finally:
            if (earlier := self._later.pop(key, None)) is not None:
                earlier.cancel()
            self._later[key] = asyncio.get_running_loop().call_later(_MOMENT, over)

    async def close(self) -> None:
        """Nobody is waited for any more."""
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
        await asyncio.gather(*self._asking)

    async def _revoke(self, session: str) -> None:
        try:
            await self._home.revoke(session=session)
        except (RuntimeError, StoreError) as error:  # the application stops, and its connections with it
            _log.debug("nobody is left to be told that a session has ended: %s", error)


def nobody() -> Unauthorized:
    """The problem of whoever is not signed in and should be."""
    return Unauthorized("Nobody is signed in.")


def _agent(request: Request) -> str | None:
    agent = request.headers.get("user-agent", "").replace("\0", "")[:_LONGEST_AGENT]
    return agent or None
