"""What a sign-in takes along on its way to a provider and back, and what binds it to the browser that began it.

The browser keeps a secret in a cookie. `state`, which the provider hands back, is sealed, and names the secret by its
hash: brought by another browser it counts for nothing (login CSRF, RFC 6749, section 10.12). The nonce and the verifier
are made of the secret and of what is unique in the state, so nothing has to be kept here, every process can go on with
what another has begun, and several sign-ins of one browser do not get into each other's way.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Self

import msgspec

from crudite.tokens import Sealer

LASTS = timedelta(minutes=10)
"""How long somebody may take to sign in at the provider."""

_LABEL = b"openid:"  # so that nothing else that is sealed is taken for a state
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_STATE = 8_192


@dataclass(frozen=True, slots=True)
class State:
    """One sign-in under way: its number, the provider's name, the hash of the browser's secret, the path to go to
    afterwards, and when it was begun, in seconds since 1970."""

    id: str
    provider: str
    browser: str
    then: str
    began: int

    @classmethod
    def begun(cls, provider: str, secret: str, then: str, now: datetime) -> Self:
        """A new one, for the browser with a secret."""
        return cls(secrets.token_urlsafe(16), provider, _hash(secret), then, int(now.timestamp()))

    @classmethod
    def opened(cls, text: str, sealer: Sealer) -> "State | None":
        """The one that was sealed; None for what was not, not here or not as a state."""
        content = sealer.open(text) if len(text) <= _LONGEST_STATE else None
        if content is None or not content.startswith(_LABEL):
            return None
        return msgspec.json.decode(content.removeprefix(_LABEL), type=State)

    def sealed(self, sealer: Sealer) -> str:
        """Its text, which tells nobody anything."""
        return sealer.seal(_LABEL + msgspec.json.encode(self))

    def is_of(self, secret: str | None) -> bool:
        """Whether the browser with this secret has begun it."""
        return secret is not None and hmac.compare_digest(self.browser, _hash(secret))

    def has_ended(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now.timestamp() - self.began >= LASTS.total_seconds()

    def nonce(self, secret: str) -> str:
        """What the provider puts into the token that it makes for this sign-in."""
        return self._made(secret, b"nonce")

    def verifier(self, secret: str) -> str:
        """What shows that who has the code is who began the sign-in (PKCE, RFC 7636, section 4.1)."""
        return self._made(secret, b"verifier")

    def challenge(self, secret: str) -> str:
        """What is told of the verifier beforehand, by the method `S256`."""
        return _text(sha256(self.verifier(secret).encode()).digest())

    def _made(self, secret: str, what: bytes) -> str:
        return _text(hmac.digest(secret.encode(), what + b":" + self.id.encode(), "sha256"))


def new_secret() -> str:
    """A secret for a browser."""
    return secrets.token_urlsafe(32)


def is_secret(text: str | None) -> bool:
    """Whether a text has the form of a browser's secret."""
    return text is not None and _SECRET.fullmatch(text) is not None


def _hash(secret: str) -> str:
    return sha256(b"browser:" + secret.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
