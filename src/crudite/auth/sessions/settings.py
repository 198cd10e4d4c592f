"""What can be said about sessions, in one place."""

from dataclasses import dataclass
from datetime import timedelta

PREFIX = "crs_"
"""How the token of a session begins, so that scanners find a leaked one and other ways to authenticate leave it."""
VISITOR_PREFIX = "crv_"
"""How the token of a visitor's session begins: what it opens is nobody's account."""
LINK_PREFIX = "crl_"
"""How the token of a one-use link begins."""
COOKIE = "__Host-sid"
"""The cookie, unless it is told another name: with this prefix browsers take it from this very host, over TLS, and
from nobody else (RFC 6265bis, section 4.1.3.2)."""
DEV_COOKIE = "sid"
"""The same where an application is being worked on: over http, browsers do not agree about the prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long sessions and links last, and what the cookie is called.

    A session ends `idle` after its last use, and `lasts` after its beginning at the latest. Its use is written down at
    most once in `seen_every`. A link can be used within `link_lasts`.
    """

    cookie: str
    idle: timedelta
    lasts: timedelta
    seen_every: timedelta
    link_lasts: timedelta
    must_verify: bool
    url: str | None

    def cookie_in(self, mode: str) -> str:
        """What the cookie is called in an application's mode, `dev` or `run`."""
        return DEV_COOKIE if self.cookie == COOKIE and mode == "dev" else self.cookie

    def __post_init__(self) -> None:
        for name in ("idle", "lasts", "link_lasts"):
            if getattr(self, name) <= timedelta():
                raise ValueError(f"{name} must be a positive timedelta, got {getattr(self, name)!r}")
        if not timedelta() <= self.seen_every < self.idle:
            raise ValueError(f"seen_every must be shorter than idle, got {self.seen_every!r}")
