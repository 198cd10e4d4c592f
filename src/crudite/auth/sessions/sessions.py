"""Sessions of accounts: `App(Account, …, auth=Sessions(Account))`."""

import builtins
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from importlib import import_module
from typing import Any, Self, cast
from urllib.parse import urlsplit

from crudite.auth.identification import Home
from crudite.auth.sessions import handlers
from crudite.auth.sessions.accounts import Accounts
from crudite.auth.sessions.desk import Desk
from crudite.auth.sessions.guards import count_names, guard_name, guard_password, spell_names
from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.keeping import Keeper, Keeping, Visit, seen
from crudite.auth.sessions.links import Links, link_resource
from crudite.auth.sessions.mail import SendMail, print_mail
from crudite.auth.sessions.rows import RowKeeper, Rows, VisitorSession, session_resource
from crudite.auth.sessions.settings import COOKIE, Settings
from crudite.auth.sessions.signing import Signing
from crudite.auth.sessions.throttle import ACCOUNT_RATE, ADDRESS_RATE, VISITOR_RATE, Throttle
from crudite.auth.sessions.visits import Visits
from crudite.errors import DeclarationError, Problem, StoreError
from crudite.limiting import Rate
from crudite.messages import Actor, Credentials, Response
from crudite.query.tree import Filter
from crudite.resources.declaring.declare import Record
from crudite.resources.request import Request
from crudite.resources.writing.passwords import Hashing

_DAY = timedelta(days=1)
_log = logging.getLogger("crudite")


class Sessions(Signing):
    """Signs the accounts of a resource in and out, and knows who shows one of their sessions.

    `name` is the field that one signs in with (an `Email`, or the only other text that is unique), `password` the
    `Password`, `roles` the field that holds the roles (`roles`), `verified` the one that holds the address that has
    been verified (`verified`); they are found by their types and names. `claims` are further fields that rules may
    speak of, as `me.team`. `only` is a condition on the account, such as `allow.where(blocked=False)`: no other one
    signs in, or stays. With `must_verify` only those sign in whose address has been verified.

    Sessions are rows of the application's store, listed live at `/sessions`; or they are kept in Redis, where `store`
    is a URL such as `redis://host`, and nobody can subscribe to them.
    A session ends `idle` after its last use, which is written down at most once in `seen_every`, and `lasts` after its
    beginning at the latest. Its token is in the `cookie`, or in the answer for a client that asks for it as a bearer
    token. `hashing` says how passwords are hashed, `account_rate` and `address_rate` how often a password can be tried.
    With `visitors` those who are not signed in have sessions, too, from the first value on that is kept for one:
    `visitor_rate` says how many begin from one address.

    `mail` sends mail: `async def send(mail: Mail)`; under `crudite dev` it is shown in the terminal instead where there
    is none. `url` is the address of the pages that its links lead to (`{url}/reset-password#token`). Links can be used
    within `link_lasts`. With `sign_up` whoever wants may sign up without learning whether an address has an account.

    Raises ValueError for times and an address that cannot be; `App(…)` raises DeclarationError when the resource cannot
    be signed in with safely.
    """

    def __init__(
        self,
        account: type[Record[Any]],
        *,
        name: str | None = None,
        password: str | None = None,
        roles: str | None = None,
        verified: str | None = None,
        store: str | None = None,
        claims: Sequence[str] = (),
        only: Filter | None = None,
        must_verify: bool = False,
        cookie: str = COOKIE,
        idle: timedelta = 14 * _DAY,
        lasts: timedelta = 90 * _DAY,
        seen_every: timedelta = timedelta(minutes=5),
        hashing: Hashing | None = None,
        account_rate: Rate = ACCOUNT_RATE,
        address_rate: Rate = ADDRESS_RATE,
        visitors: bool = False,
        visitor_rate: Rate = VISITOR_RATE,
        mail: SendMail | None = None,
        url: str | None = None,
        link_lasts: timedelta = timedelta(hours=1),
        sign_up: bool = False,
    ) -> None:
        if url is not None and (urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).netloc):
            raise ValueError(f"url is the address of a site, such as https://shop.example, got {url!r}")
        self.account = account
        self.settings = Settings(
            cookie=cookie, idle=idle, lasts=lasts, seen_every=seen_every, link_lasts=link_lasts,
            must_verify=must_verify, url=url,
        )  # fmt: skip
        self._told = {"name": name, "password": password, "roles": roles, "verified": verified, "claims": claims}
        self.only = only
        self._hashing = hashing or Hashing()
        self._rates = account_rate, address_rate, visitor_rate
        self._has_visitors = visitors
        self._store = store
        self._mail = mail
        self._signs_up = sign_up
        self._rows = session_resource(account)
        self._link_rows = link_resource(account)

    # what an application asks of it (auth.Authenticator)

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """The sessions, where they are rows, and the one-use links."""
        if self._store is not None:
            return (self._link_rows,)
        return (self._rows, self._link_rows, *((VisitorSession,) if self._has_visitors else ()))

    @property
    def proof(self) -> tuple[str, str] | None:
        """The fields that must hold the same address before an account may sign in, where its own is to be verified;
        once it belongs to an application."""
        fields = self._desk.accounts.fields
        return (fields.name, fields.verified) if self.settings.must_verify and fields.verified is not None else None

    def join(self, home: Home) -> None:
        """It belongs to an application now."""
        lent = cast(SessionHome, home)
        accounts = Accounts(lent, self.account, self.only, **self._told)
        accounts.definition.memo[Hashing] = self._hashing
        accounts.definition.memo[Sessions] = self
        throttle = Throttle(lent.limiter, *self._rates)
        keeper, visiting = self._keepers(lent)
        if self._has_visitors:
            self._visits = Visits(lent, visiting(), self.settings, throttle)
        self._desk = Desk(lent, accounts, keeper, self._visits, self.settings, self._hashing, throttle)
        self._offer(lent, accounts)
        spell_names(accounts)
        count_names(lent, accounts, throttle)
        guard_password(lent, accounts)
        if self._links is not None:
            guard_name(lent, accounts)
        lent.use()(self._renew_risen)

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Who shows a session: its token as bearer token, or in the cookie; somebody unknown, for a visitor's. None for
        everything else, a session that has ended among it."""
        if (held := self._desk.exchanged(credentials)) is not None:
            return held
        if self._visits is not None and (visit := await self._visits.shown(credentials)) is not None:
            return Actor(session=visit.id)
        shown = self._desk.shown(credentials)
        kept = await self._desk.keeper.find(shown.id) if shown is not None else None
        if shown is None or kept is None or not shown.opens(kept.digest) or kept.expires_at <= self._desk.now:
            return None
        account = await self._desk.accounts.read(kept.account)
        if account is None or not account.can_sign_in or account.stamp != kept.stamp:
            return None
        if self.settings.must_verify and not account.is_verified:
            return None
        kept = await seen(self._desk.keeper, kept, self._desk.now, self.settings)
        if credentials.token is None and not account.roles.issubset(kept.roles):
            self._desk.has_risen(kept.id)
        rests_on: builtins.list[Any] = [(self.account, account.key, self._desk.accounts.matters)]
        if self._desk.keeper.record is not None:
            rests_on.append((self._desk.keeper.record, kept.id, frozenset(("renewed_at",))))
        claims = dict(account.claims)
        if account.is_verified:
            claims["verified"] = account.name
        return Actor(
            account.key, account.roles, claims, expires=kept.expires_at, session=kept.id, rests_on=tuple(rests_on)
        )

    # joining

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for keeper in (self._desk.keeper, self._visits and self._visits.keeper):
                if isinstance(keeper, AbstractAsyncContextManager):
                    await stack.enter_async_context(keeper)
            if self._links is not None:
                await stack.enter_async_context(self._links)
            self._entered = stack.pop_all()
        if self._links is None and os.environ.get("CRUDITE_WORKER", "1") == "1":
            _log.info("nobody sends mail (Sessions(…, mail=…)), so lost passwords cannot be replaced by their owners")
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._desk.close()
        await self._entered.__aexit__(*error)

    def _keepers(self, home: SessionHome) -> tuple[Keeper, Callable[[], Keeping[Visit]]]:
        """Who keeps the sessions of accounts, and what makes a keeper of those of visitors."""
        if self._store is None:
            return RowKeeper(home, self._rows), lambda: Rows(home, VisitorSession, Visit)
        try:
            adapter = import_module("crudite.auth.sessions.redis")
        except ModuleNotFoundError as error:
            raise DeclarationError([f"{error.name} is not installed: pip install 'crudite[redis]'"]) from error
        keeper: Keeper = adapter.RedisKeeper(self._store, home.clock)
        return keeper, lambda: cast(Keeping[Visit], adapter.Hashes(self._store, home.clock, Visit, "visitor"))

    def _offer(self, home: SessionHome, accounts: Accounts) -> None:
        fields = accounts.fields
        handlers.offer_sessions(home, self, fields.name, fields.password)
        handlers.offer_ending(home, self)
        if self._store is not None:
            handlers.offer_listing(home, self)
        send = self._mail or (print_mail if home.mode == "dev" else None)
        if send is None:
            if self._signs_up or self.settings.must_verify:
                raise DeclarationError(["Sessions(…): sign_up and must_verify need mail=, which sends mail."])
            return
        if fields.verified is None and (self._signs_up or self.settings.must_verify):
            raise DeclarationError([
                f"{self.account.__name__}: sign_up and must_verify need a field for the address that is verified, "
                "such as verified: str | None = Field(default=None, write=allow.nobody)."
            ])  # fmt: skip
        self._links = Links(home, self._desk, self._link_rows, send)
        handlers.offer_mail(home, self, fields.name, fields.password)
        if fields.verified is not None:
            handlers.offer_verification(home, self)
        if self._signs_up:
            handlers.offer_sign_up(home, self)

    async def _renew_risen(self, request: Request, next: Callable[[], Awaitable[Response]]) -> Response:
        """Gives the token another value, with the answer, when the account has got more roles than it was given for."""
        response = await next()
        session = request.actor.session
        if session in self._desk.risen and request.interface == "rest" and request.credentials.token is None:
            self._desk.risen.discard(session)
            if request.signs_in is None:
                try:
                    await self._desk.renew(request)
                except (Problem, StoreError) as error:
                    _log.info("a session has another token with the next answer: %s", error)
        return response
