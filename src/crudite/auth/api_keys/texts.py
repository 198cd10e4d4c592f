"""What a key looks like: `crd_`, 65 characters that hold the number of its row and its secret, 6 of a checksum.

It has letters and digits only, so that a double click takes all of it. The prefix and the checksum (CRC-32 of all that
stands before it) are for programs that look for keys that have leaked, `crd_[0-9A-Za-z]{71}`: they find no others. And
what only looks like a key is refused here without asking the store.

The row keeps the SHA-256 of the secret. A slow hash, as for passwords, would gain nothing: nobody guesses 256 random
bits, however quick it is to try, and every request would have to wait for it.
"""

import secrets
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from crudite.ids import uuid7

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_NUMBER, _SECRET = 16, 32  # bytes
_LONG, _CHECK = 65, 6  # characters that hold so many bytes, and a CRC-32


class NewKey(NamedTuple):
    """A key that is made now: its text, which is told once, the number of its row, and what is kept of the secret."""

    text: str
    id: str
    digest: str


class ShownKey(NamedTuple):
    """What a key says: the number of its row, and the digest that the row must hold."""

    id: str
    digest: str


def new_key(prefix: str, id: str | None = None) -> NewKey:
    """A new key for a row, by default a new one."""
    number = UUID(id if id is not None else uuid7())
    secret = secrets.token_bytes(_SECRET)
    body = f"{prefix}_{_written(int.from_bytes(number.bytes + secret), _LONG)}"
    return NewKey(body + _checksum(body), str(number), sha256(secret).hexdigest())


def read_key(prefix: str, text: str) -> ShownKey | None:
    """What a key says; None for what is none."""
    start = len(prefix) + 1
    body, check = text[:-_CHECK], text[-_CHECK:]
    digits = body[start:]
    if len(digits) != _LONG or not _VALUES.keys() >= set(digits) or _checksum(body) != check:
        return None
    number = 0
    for character in digits:
        number = number * len(_ALPHABET) + _VALUES[character]
    if number >> 8 * (_NUMBER + _SECRET):
        return None
    raw = number.to_bytes(_NUMBER + _SECRET)
    return ShownKey(str(UUID(bytes=raw[:_NUMBER])), sha256(raw[_NUMBER:]).hexdigest())


def _checksum(body: str) -> str:
    return _written(crc32(body.encode("utf-8", "surrogatepass")), _CHECK)


def _written(number: int, long: int) -> str:
    digits = []
    for _ in range(long):
        number, value = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[value])
    return "".join(reversed(digits))
