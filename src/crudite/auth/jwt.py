"""Tokens that carry their own proof: JSON Web Tokens (RFC 7519), checked as RFC 8725 asks for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from crudite.auth.claims import ClaimPath, Expected, MakeActor, Reading, names, refuse
from crudite.auth.identification import Home
from crudite.clock import Clock
from crudite.messages import Actor, Credentials
from crudite.resources.declaring.declare import Record


class Jwt:
    """Tells who shows a signed token, by the key that it was signed with: `App(…, auth=Jwt(key=…))`.

    - `key`: a secret of at least 32 bytes, a public key (PEM), a JWK or a set of those (RFC 7517).
    - `jwks`: in its place, the URL of the keys that the issuer publishes. They are fetched when they are needed, kept,
      and fetched again when they are 10 minutes old, or when a token names another key: not more often than every 10
      seconds. While the issuer is away the old ones count, up to a day. It needs `issuer`.
    - `algorithms`: those that may be used. By default one for each key, by its type: HS256, RS256, ES256 (ES384,
      ES512), EdDSA, or the one that the key itself names.
    - `issuer`, `audience`: who the token must come from, and whom it must be meant for; one, or one of several. Without
      `audience` the token must name none.
    - `requires`: the claims that must be there, by default `exp`. `typ` is the type that the header must name, such as
      `at+jwt` (RFC 9068).
    - `leeway`: how far the issuer's clock may be away from ours.
    - `roles`: the claim that holds the roles, or its path, such as `("realm_access", "roles")`.
    - `actor`: makes the actor of the claims; by default that is `sub`, with the roles and all claims, for rules to
      speak of as `me.<claim>`, and what `scope` says as the list `me.scopes`.

    `exp` ends what the actor lives on. What does not look like a JWT, or comes from another issuer, is left to the next
    way to authenticate. Raises ValueError for a key that cannot be used, RuntimeError where `crudite[jwt]` is missing.
    """

    def __init__(
        self,
        *,
        key: str | bytes | Mapping[str, Any] | None = None,
        jwks: str | None = None,
        algorithms: Sequence[str] | None = None,
        issuer: str | Collection[str] | None = None,
        audience: str | Collection[str] | None = None,
        requires: Collection[str] = ("exp",),
        typ: str | None = None,
        leeway: timedelta = timedelta(seconds=10),
        roles: ClaimPath = "roles",
        actor: MakeActor | None = None,
    ) -> None:
        try:
            from crudite.auth import jwks as published
            from crudite.auth import signatures
        except ModuleNotFoundError as error:
            raise RuntimeError(f"{error.name} is not installed: pip install 'crudite[jwt]'") from error
        if (key is None) == (jwks is None):
            raise ValueError("Jwt takes a key, or the URL of published keys as jwks")
        if jwks is not None and issuer is None:
            raise ValueError("Jwt with jwks needs issuer: those keys may sign for others, too")
        self._signatures = signatures
        self._keys = signatures.read_keys(key, algorithms) if key is not None else ()
        self._published = published.PublishedKeys(jwks, algorithms) if jwks is not None else None
        self._typ = typ
        self._expected = Expected(names(issuer), names(audience), names(requires), leeway)
        self._reading = Reading(actor, roles)
        self._clock: Callable[[], datetime] = Clock()

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """It keeps nothing."""
        return ()

    def join(self, home: Home) -> None:
        """Takes the application's clock."""
        self._clock = home.clock

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Who shows a token of the issuer's; None for what is no such token. Raises Unauthorized for a bad one, and
        Unavailable while there are no keys to check it with."""
        token = credentials.token
        if token is None:
            return None
        if len(token) > self._signatures.LONGEST_TOKEN:
            refuse("it is too long")
        claims = self._signatures.peeked(token)
        if claims is None or not self._expected.may_come_from(claims.get("iss")):
            return None
        try:
            claims = await self._opened(token)
        except self._signatures.BadToken as error:
            refuse(error)
        return await self._reading.actor_of(claims, self._expected.check(claims, self._clock()))

    async def _opened(self, token: str) -> dict[str, Any]:
        if self._published is None:
            return self._signatures.opened(token, self._keys, self._typ)
        return await self._published.opened(token, self._typ, self._clock)
