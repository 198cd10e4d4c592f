"""The tokens of sessions and of links: who carries one has it, and whoever reads the database does not.

A token is the number of its row and a secret of 32 random bytes. The row keeps the SHA-256 of the secret: that nobody
guesses 256 random bits needs no slow hash, which is for what people make up.
"""

import base64
import binascii
import hmac
import secrets
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from crudite.ids import uuid7

_SECRET = 32
_NUMBER = 16


class Shown(NamedTuple):
    """What a token says: the number of its row, and the digest that the row must hold."""

    id: str
    digest: str

    def opens(self, kept: str) -> bool:
        """Whether a row with that digest is meant. Takes as long, whatever the two have in common."""
        return hmac.compare_digest(self.digest, kept)


class Token(NamedTuple):
    """A new token: its text, which is told once, and what is kept of it."""

    text: str
    id: str
    digest: str


def new_token(prefix: str, id: str | None = None) -> Token:
    """A token for a row, by default for a new one. Its text begins with `prefix`, by which it is recognised."""
    number = UUID(id if id is not None else uuid7())
    secret = secrets.token_bytes(_SECRET)
    text = base64.urlsafe_b64encode(number.bytes + secret).rstrip(b"=").decode()
    return Token(prefix + text, str(number), sha256(secret).hexdigest())


def read_token(prefix: str, text: str) -> Shown | None:
    """What a token says; None for what is none."""
    if not text.startswith(prefix) or len(text) != len(prefix) + 4 * (_NUMBER + _SECRET) // 3:
        return None
    try:
        raw = base64.b64decode(text.removeprefix(prefix), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return Shown(str(UUID(bytes=raw[:_NUMBER])), sha256(raw[_NUMBER:]).hexdigest())
