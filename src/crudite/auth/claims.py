"""What an issuer says of whoever shows a token: checked (RFC 7519, section 4.1), and made into an actor."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeAlias

from crudite.auth.living import INVALID
from crudite.errors import Unauthorized
from crudite.messages import Actor
from crudite.resources.hooks import call

Claims: TypeAlias = Mapping[str, Any]
MakeActor: TypeAlias = Callable[[dict[str, Any]], Actor | Awaitable[Actor | None] | None]
"""Says who somebody is by his claims; None, or Unauthorized: nobody who is let in."""
ClaimPath: TypeAlias = str | Sequence[str]

_log = logging.getLogger("crudite")
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 86_400


def refuse(why: object = "") -> NoReturn:
    """Refuses a token. Who shows it is not told why, since who forges one must not learn how far he came."""
    _log.debug("a token is refused: %s", why)
    raise Unauthorized("The token is not valid.", headers=INVALID)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the claims must say.

    `issuers` and `audiences` are those of which one must be named; without any audience the token must name none,
    because then it is meant for somebody else; None does not look. `required` are claims that must be
    there. `leeway` is how far the issuer's clock may be away from ours.
    """

    issuers: frozenset[str] = frozenset()
    audiences: frozenset[str] | None = frozenset()
    required: frozenset[str] = frozenset()
    leeway: timedelta = timedelta()

    def may_come_from(self, issuer: Any) -> bool:
        """Whether an issuer is one of those that count."""
        return not self.issuers or (isinstance(issuer, str) and issuer in self.issuers)

    def check(self, claims: Claims, now: datetime) -> datetime | None:
        """Until when the claims hold, with the leeway; None when nothing is said. Raises Unauthorized."""
        if any(claims.get(name) is None for name in self.required):
            refuse("a claim is missing")
        if not self.may_come_from(claims.get("iss")):
            refuse("it comes from another issuer")
        if self.audiences is not None and not self._may_be_meant_for(claims.get("aud")):
            refuse("it is meant for somebody else")
        ends = _moment(claims.get("exp"))
        if ends is not None and (ends := ends + self.leeway) <= now:
            raise Unauthorized("The token has expired.", headers=INVALID)
        if any((begins := _moment(claims.get(name))) and begins - self.leeway > now for name in ("nbf", "iat")):
            refuse("it does not hold yet")
        return ends

    def _may_be_meant_for(self, named: Any) -> bool:
        wanted = self.audiences or frozenset()
        if named is None:
            return not wanted
        return not wanted.isdisjoint([named] if isinstance(named, str) else _several(named))


@dataclass(frozen=True, slots=True)
class Reading:
    """How claims become an actor: by a function of the application's, or by `sub`, and `roles`, the claim or the path
    of the claim that holds them."""

    actor: MakeActor | None
    roles: ClaimPath

    async def actor_of(self, claims: dict[str, Any], expires: datetime | None) -> Actor:
        """Who somebody is, for no longer than the token says. Raises Unauthorized when that is nobody."""
        found = self._usual(claims) if self.actor is None else await call(self.actor, claims)
        if not isinstance(found, Actor) or not found.is_known:
            refuse("it is nobody's who is let in")
        ends = min((moment for moment in (found.expires, expires) if moment is not None), default=None)
        return Actor(found.id, found.roles, found.claims, ends, found.session or _session(claims), found.rests_on)

    def _usual(self, claims: dict[str, Any]) -> Actor | None:
        who = claims.get("sub")
        if not isinstance(who, str) or not who:
            return None
        return Actor(who, frozenset(_several(_at(claims, self.roles))), with_scopes(claims))


def with_scopes(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims with `scopes`, the list of what `scope` says in one text (RFC 8693, section 4.2), so that rules can
    speak of `me.scopes`."""
    given = claims.get("scope", claims.get("scp"))
    return claims if given is None or "scopes" in claims else {**claims, "scopes": _several(given)}


def _session(claims: Claims) -> str | None:
    """The sign-in that a token is of (`sid`, OpenID Connect), or the token itself (`jti`)."""
    named = claims.get("sid") or claims.get("jti")
    return named if isinstance(named, str) else None


def _at(claims: Claims, path: ClaimPath) -> Any:
    """What is at a path in the claims: at a name, or at names within names."""
    found: Any = claims
    for name in (path,) if isinstance(path, str) else path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _several(given: Any) -> list[str]:
    """Texts, which may come as one with spaces between."""
    if isinstance(given, str):
        return given.split()
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []


def _moment(given: Any) -> datetime | None:
    """A moment in seconds since 1970. Raises Unauthorized for what is none."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
        refuse("a time in it is none")
    return datetime.fromtimestamp(min(max(given, 0), _LATEST), UTC)


def names(given: str | Collection[str] | None) -> frozenset[str]:
    """One name, or several, or none."""
    if given is None:
        return frozenset()
    return frozenset((given,)) if isinstance(given, str) else frozenset(given)
