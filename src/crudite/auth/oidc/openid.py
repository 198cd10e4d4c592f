"""Signing in with OpenID Connect: `App(…, auth=[Sessions(Account), OpenId("https://issuer", …)])`.

The code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636; as RFC 9700 asks for):

    GET /log-in/openid?next=/tasks ──► 303 to the provider, with state, nonce and challenge, and a cookie
    (there somebody says who he is)
    GET /log-in/openid/callback ─────► the state is this browser's, the code is exchanged, the token is checked,
                                       the account is found: a session, and 303 to /tasks
"""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast
from urllib.parse import urlencode

from crudite.auth.claims import Expected
from crudite.auth.fetching import Address
from crudite.auth.identification import Home
from crudite.auth.oidc.paths import local_path
from crudite.auth.oidc.states import LASTS, State, is_secret, new_secret
from crudite.auth.sessions import Sessions
from crudite.auth.sessions.home import SessionHome
from crudite.errors import DeclarationError, Forbidden, Malformed, NotFound, Problem, Unauthorized, Unavailable
from crudite.limiting import Rate, network
from crudite.messages import Actor, Credentials, Redirect, SignIn
from crudite.resources.declaring.declare import Record
from crudite.resources.hooks import call
from crudite.resources.records import Records
from crudite.resources.request import Request
from crudite.tokens import Sealer
from crudite.types import Key

Claims: TypeAlias = dict[str, Any]
Found: TypeAlias = Record[Any] | Key | None
FindAccount: TypeAlias = Callable[[Claims, Records], Found | Awaitable[Found]]
"""Finds or makes the account of whoever has these claims, with records that act as the server: the account or its key;
None: nobody who is let in."""

ADDRESS_RATE = Rate("100/5 minutes", name="openid by address")
_ONCE = Rate("1/10 minutes", name="openid states")
_ANSWERS = ("code", "state", "iss", "error")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_WORD = re.compile(r"[a-z_]{1,64}")
_AWAY = ("server_error", "temporarily_unavailable")
_log = logging.getLogger("crudite")


class OpenId:
    """Signs people in at a provider of OpenID Connect, into the `Sessions` that stand before it in `auth`.

    - `issuer`: the provider, as it calls itself: what it says of itself is at `{issuer}/.well-known/…`.
    - `client_id`, `client_secret`: what it calls this application; without a secret it is a public client.
    - `account`: `async (claims, records) -> account`: finds or makes the account of whoever has these claims, or its
      key; None for nobody who is let in. `records` acts as the server. What is always one person's is `claims["sub"]`,
      with `claims["iss"]`; an address is his where `email_verified` is true and the provider is trusted to say so.
    - `url`: where this application is, for others; by default the `url` of the sessions. The provider must know
      `{url}/log-in/{name}/callback`.
    - `name`: what this provider is called in paths, where there are several.
    - `scopes`: what is asked for beside `openid`. `asks` are further parameters, such as `{"prompt": "login"}`.
    - `userinfo`: whether the provider is asked for the claims that are not in the token.
    - `algorithms`: those that its tokens may be signed with; by default one for each of its keys, by the key's type.
    - `leeway`: how far its clock may be away from ours.
    - `then`: the path to go to afterwards, where `next` names none. `failed`: the path of a page to go to when somebody
      could not be signed in, with the `reason` (or else the code) of the problem; without it the problem is answered.

    `GET /log-in/{name}?next=/path` begins, for a browser that goes there; `POST /log-out/{name}` ends the session and
    answers with the `location` at which the provider ends its own. Raises ValueError for what cannot be, RuntimeError
    where `crudite[oidc]` is missing; `App(…)` raises DeclarationError without sessions, or a URL.
    """

    def __init__(
        self,
        issuer: str,
        *,
        client_id: str,
        client_secret: str | None = None,
        account: FindAccount,
        url: str | None = None,
        name: str = "openid",
        scopes: Sequence[str] = ("email", "profile"),
        asks: Mapping[str, str] | None = None,
        userinfo: bool = True,
        algorithms: Collection[str] | None = None,
        leeway: timedelta = timedelta(seconds=10),
        then: str = "/",
        failed: str | None = None,
    ) -> None:
        try:
            from crudite.auth import signatures
            from crudite.auth.oidc import provider
        except ModuleNotFoundError as error:
            raise RuntimeError(f"{error.name} is not installed: pip install 'crudite[oidc]'") from error
        if not _NAME.fullmatch(name) or name == "callback":
            raise ValueError(f"name is a part of paths, such as openid, got {name!r}")
        if reserved := {"state", "nonce", "redirect_uri", "response_type", "client_id"} & set(asks or ()):
            raise ValueError(f"asks cannot say {', '.join(sorted(reserved))}")
        self.name = name
        self._bad_token = signatures.BadToken
        self._refused = provider.Refused
        self._provider = provider.Provider(issuer, client_id, client_secret, algorithms)
        self._client_id = client_id
        self._account = account
        self._url = url
        self._scope = " ".join(("openid", *scopes))
        self._asks = dict(asks or {})
        self._asks_userinfo = userinfo
        self._expected = Expected(
            frozenset((issuer,)), frozenset((client_id,)), frozenset(("sub", "exp", "iat")), leeway
        )
        self._then = local_path(then)
        self._failed = local_path(failed) if failed is not None else None

    # what an application asks of it (auth.Authenticator)

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """It keeps nothing."""
        return ()

    def join(self, home: Home) -> None:
        """It belongs to an application now."""
        self._home = home
        found = [one.memo[Sessions] for one in home.definitions if Sessions in one.memo]
        if not found:
            raise DeclarationError(["OpenId(…) needs Sessions(…) before it: auth=[Sessions(Account), OpenId(…)]."])
        self._sessions: Sessions = found[0]
        names = home.definitions[self._sessions.account].memo.setdefault(OpenId, set())
        if self.name in names:
            raise DeclarationError([f"Two OpenId(…) are called {self.name!r}: give one of them a name=."])
        names.add(self.name)
        self._site = self._own_url()
        self._offer(cast(SessionHome, home))

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Nobody: who has signed in shows his session."""
        return None

    # signing in and out

    async def begin(self, request: Request, then: str | None = None) -> Redirect:
        """Sends a browser to the provider, to come back and go to a path of this site. Raises Malformed for another
        place and for what is no browser, TooManyRequests, Unavailable while the provider is away."""
        await self._admit(request)
        path = local_path(then) if then is not None else self._then
        said = await self._provider.metadata(self._home.clock)
        shown = request.credentials.cookies.get(self.cookie)
        secret = shown if shown is not None and is_secret(shown) else new_secret()
        state = State.begun(self.name, secret, path, self._now)
        request.signs_in = SignIn(self.cookie, secret, self._now + LASTS, from_elsewhere=True)
        return Redirect(_with(said.authorization, {
            **self._asks, "response_type": "code", "client_id": self._client_id, "redirect_uri": self.redirect_uri,
            "scope": self._scope, "state": state.sealed(self._sealer), "nonce": state.nonce(secret),
            "code_challenge": state.challenge(secret), "code_challenge_method": "S256",
        }))  # fmt: skip

    async def finish(
        self, request: Request, *, code: str | None, state: str | None, iss: str | None, error: str | None
    ) -> Redirect:
        """Begins a session for whoever comes back from the provider, and sends him where he wanted to go. Raises
        Forbidden for what this browser has not begun, for what the provider does not confirm and for somebody who is
        not let in; Unavailable while the provider is away."""
        await self._admit(request)
        secret = request.credentials.cookies.get(self.cookie)
        begun = State.opened(state, self._sealer) if state is not None else None
        if begun is None or begun.provider != self.name or secret is None or not begun.is_of(secret):
            raise _refusal("this browser has not begun it")
        if begun.has_ended(self._now):
            raise _refusal("it has taken too long")
        said = await self._provider.metadata(self._home.clock)
        if iss != self._provider.issuer and (iss is not None or said.says_issuer):
            raise _refusal("another provider has answered")
        if error is not None:
            raise self._told(error)
        if not code:
            raise _refusal("the provider has sent no code")
        claims = await self._confirmed(said, code, begun, secret)
        if not (await self._home.limiter.take(f"openid:{begun.id}", _ONCE)).is_allowed:
            raise _refusal("it has been used")  # should the provider take a code twice
        found = await call(self._account, claims, self._home.records)
        key = self._key(found)
        if key is None:
            raise Forbidden("Nobody is let in here with this sign-in.", reason="no_account")
        try:
            await self._sessions.enter(request, key)
        except NotFound:
            raise Forbidden("Nobody is let in here with this sign-in.", reason="no_account") from None
        if request.signs_in is not None:
            request.signs_in = replace(request.signs_in, from_elsewhere=True)  # by the provider, as `state` has shown
        return Redirect(begun.then)

    async def log_out(self, request: Request) -> str | None:
        """Ends the session of a request. Returns the URL at which the provider ends its own (RP-Initiated Logout 1.0),
        to which the page may go on; None where it has none, or is away."""
        await self._sessions.log_out(request)
        try:
            said = await self._provider.metadata(self._home.clock)
        except Unavailable:
            return None
        if said.logout is None:
            return None
        return _with(said.logout, {"client_id": self._client_id, "post_logout_redirect_uri": f"{self._site}/"})

    @property
    def cookie(self) -> str:
        """The name of the cookie that holds a browser's secret while it signs in."""
        return "openid" if self._home.mode == "dev" else "__Host-openid"

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to: it must know this URL."""
        return f"{self._site}/log-in/{self.name}/callback"

    async def _confirmed(self, said: Any, code: str, begun: State, secret: str) -> Claims:
        """What the provider says of whoever has got a code, once all of it is known to be true and for this sign-in."""
        try:
            tokens = await self._provider.exchange(said, code, begun.verifier(secret), self.redirect_uri)
        except self._refused as error:
            raise _refusal(error) from None
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str):
            raise _refusal("there is no ID token")
        try:
            claims: Claims = await said.keys.opened(token, None, self._home.clock)
            self._expected.check(claims, self._now)
        except (self._bad_token, Unauthorized) as error:
            raise _refusal(error) from None
        self._check(claims, begun.nonce(secret))
        if not self._asks_userinfo or said.userinfo is None or not isinstance(access, str) or not _is_bearer(access):
            return claims
        more = await self._provider.userinfo(said.userinfo, access)
        if more.get("sub") != claims["sub"]:
            raise _refusal("the provider speaks of somebody else")
        return {**more, **claims}

    def _check(self, claims: Claims, nonce: str) -> None:
        """What an ID token must say beside what every token must (OpenID Connect Core 1.0, section 3.1.3.7)."""
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise _refusal("the token was made for another sign-in")
        several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._client_id) != self._client_id:
            raise _refusal("the token was made for another client")
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _refusal("the token is nobody's")

    def _key(self, found: Any) -> Key | None:
        account = self._sessions.account
        if isinstance(found, account):
            definition = self._home.definitions[account]
            return cast(Key, definition.to_plain(found)[definition.schema.key])
        if found is None or (isinstance(found, str | int) and not isinstance(found, bool)):
            return found
        raise TypeError(f"OpenId(account=…) returns an account, its key or None, got {found!r}")

    def _told(self, error: str) -> Exception:
        """The problem of an error that the provider tells (RFC 6749, section 4.1.2.1)."""
        if error in _AWAY:
            return self._provider.away()
        word = error if _WORD.fullmatch(error) else "an error"
        _log.info("a sign-in has failed: the provider says %s", word)
        return Forbidden(f"The provider has not signed anybody in: {word}.", reason="refused")

    # joining

    async def _admit(self, request: Request) -> None:
        if request.interface != "rest" or request.is_live:
            raise Malformed("A browser signs in here by going to this address.")
        address = request.credentials.address
        verdict = await self._home.limiter.take(f"openid:{network(address) if address else ''}", ADDRESS_RATE)
        if not verdict.is_allowed:
            raise verdict.problem()

    def _offer(self, home: SessionHome) -> None:
        back = f"log-in/{self.name}/callback"

        async def begin(request: Request, next: str | None = None) -> Redirect:
            """Sends a browser to the provider to sign in; afterwards it goes to `next`, a path of this site."""
            return await self.begin(request, next)

        async def finish(
            request: Request,
            code: str | None = None,
            state: str | None = None,
            iss: str | None = None,
            error: str | None = None,
        ) -> Redirect:
            """Where the provider sends the browser back to: begins a session."""
            try:
                return await self.finish(request, code=code, state=state, iss=iss, error=error)
            except Problem as problem:
                if self._failed is None:
                    raise
                return Redirect(_with(self._failed, {"reason": str(problem.extra.get("reason", problem.code))}))

        async def log_out(request: Request) -> Any:
            """Ends this session, and says where the provider ends its own."""
            return {"location": await self.log_out(request)}

        async def leave_out_the_rest(request: Request, next: Callable[[], Awaitable[Any]]) -> Any:
            # providers send more than they must, which is to be ignored (RFC 6749, section 4.1.2)
            request.args = {name: value for name, value in request.args.items() if name in _ANSWERS}
            return await next()

        home.offer(f"log-in/{self.name}", "read")(begin)
        home.offer(back, "read")(finish)
        home.offer(f"log-out/{self.name}", "create")(log_out)
        home.use(name=back)(leave_out_the_rest)

    def _own_url(self) -> str:
        url = self._url if self._url is not None else self._sessions.settings.url
        if url is None:
            raise DeclarationError(["OpenId(…) needs url=, where this application is, such as https://notes.example."])
        try:
            Address.of(url)
        except ValueError as error:
            raise DeclarationError([f"OpenId(…): url: {error}."]) from error
        return url.rstrip("/")

    @property
    def _sealer(self) -> Sealer:
        return Sealer(self._home.store.secret)

    @property
    def _now(self) -> datetime:
        return self._home.clock()


def _refusal(why: object) -> Forbidden:
    """The problem of a sign-in that does not count. Who has forged something is not told how far he came."""
    _log.info("a sign-in is refused: %s", why)
    return Forbidden("This sign-in cannot be used (any more). Begin again.", reason="not_yours")


def _is_bearer(token: str) -> bool:
    """Whether a token can be shown in a header (RFC 6750, section 2.1)."""
    return re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token) is not None


def _with(url: str, parameters: Mapping[str, str]) -> str:
    """A URL with further parameters."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"
