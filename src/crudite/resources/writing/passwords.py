"""Passwords: argon2 on the way in, never on the way out.

A hash takes about 64 MiB and tens of milliseconds on purpose (RFC 9106), so it runs in threads, a few at a time, and
only so many wait for their turn. Half of the places are for looking at passwords alone: those who make new ones, which
strangers may by signing up, keep nobody from logging in. A password is what its characters are: it is brought to NFKC
before it is hashed (NIST SP 800-63B, section 3.1.1.2), so that every keyboard writes the same one.
"""

import asyncio
import base64
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import BoundedSemaphore
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from crudite.errors import Unavailable
from crudite.resources.declaring.definition import Definition
from crudite.types import PlainRecord

T = TypeVar("T")

LONGEST_PASSWORD = 1024
"""The most characters of a password that anybody may show: more are none, and cost nothing."""
_HASH, _SALT = 32, 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Hashing:
    """How passwords are hashed: argon2id (RFC 9106) with so many `passes` over so many KiB of `memory` in so many
    `lanes`.

    `side_by_side` are worked on at a time, each with its memory; `waiting` more wait. Whoever comes beyond that is told
    to come back (`Unavailable`); so is whoever wants a new password hashed when half of the places are taken by such. A
    hash that was made with other numbers is still understood, and made anew when its
    owner logs in.
    """

    passes: int = 3
    memory: int = 65_536
    lanes: int = 4
    side_by_side: int = 2
    waiting: int = 32
    _hasher: PasswordHasher = field(init=False, repr=False)
    _threads: ThreadPoolExecutor = field(init=False, repr=False)
    _room: BoundedSemaphore = field(init=False, repr=False)
    _room_for_new: BoundedSemaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        hasher = PasswordHasher(self.passes, self.memory, self.lanes, hash_len=_HASH, salt_len=_SALT)
        object.__setattr__(self, "_hasher", hasher)
        object.__setattr__(self, "_threads", ThreadPoolExecutor(self.side_by_side, "crudite-password"))
        places = self.side_by_side + self.waiting
        object.__setattr__(self, "_room", BoundedSemaphore(places))
        object.__setattr__(self, "_room_for_new", BoundedSemaphore(max(places // 2, 1)))

    async def hash(self, plain: str) -> str:
        """The hash of a new password, with a salt of its own."""
        if not self._room_for_new.acquire(blocking=False):
            raise _too_many()
        return await self._aside(lambda: self._hasher.hash(normalized(plain)), self._room_for_new)

    async def verify(self, stored: str | None, plain: str) -> bool:
        """Whether a password is the one that a stored hash was made of. Without a hash it is not, and that takes just
        as long to find out."""
        if len(plain) > LONGEST_PASSWORD:
            return False
        known = stored if stored is not None else self._nobodys
        return await self._aside(lambda: self._verify(known, plain)) and stored is not None

    async def renewed(self, stored: str, plain: str) -> str | None:
        """The hash to store in place of one that was made with other numbers than ours, of the same password and with
        the same salt, so that it has the same `stamp_of`; None when there is nothing to do."""
        if not self._hasher.check_needs_rehash(stored):
            return None
        salt = _decoded(stamp_of(stored))
        return await self._aside(lambda: self._hasher.hash(normalized(plain), salt=salt))

    @cached_property
    def _nobodys(self) -> str:
        """What looks like a hash of ours, and is that of no password."""
        numbers = f"m={self.memory},t={self.passes},p={self.lanes}"
        return f"$argon2id$v=19${numbers}${_encoded(os.urandom(_SALT))}${_encoded(os.urandom(_HASH))}"

    def _verify(self, stored: str, plain: str) -> bool:
        try:
            return self._hasher.verify(stored, normalized(plain))
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    async def _aside(self, work: Callable[[], T], *taken: BoundedSemaphore) -> T:
        """The result of some work in a thread. Its place is taken until it is done, as are those that it has `taken`,
        whether somebody still waits or not. Raises Unavailable when there is none."""
        if not self._room.acquire(blocking=False):
            for room in taken:
                room.release()
            raise _too_many()
        begun = self._threads.submit(work)
        for room in (self._room, *taken):
            begun.add_done_callback(partial(_leave, room))
        return await asyncio.wrap_future(begun)


def _leave(room: BoundedSemaphore, _: object) -> None:
    room.release()


def _too_many() -> Unavailable:
    return Unavailable("Too many passwords are being looked at.", headers={"retry-after": "2"})


_usual = Hashing()


def hashing_of(definition: Definition) -> Hashing:
    """How the passwords of a resource are hashed."""
    found = definition.memo.get(Hashing)
    return found if isinstance(found, Hashing) else _usual


async def hash_passwords(definition: Definition, values: PlainRecord) -> None:
    """Replaces the plain passwords among the values of a record by their hashes. Raises Unavailable when too many are
    waiting."""
    for name in definition.passwords:
        plain = values.get(name)
        if plain is not None:
            values[name] = await hashing_of(definition).hash(plain)


async def verify_password(stored: str, plain: str) -> bool:
    """Whether a password is the one that a stored hash was made of. Raises Unavailable when too many are waiting."""
    return await _usual.verify(stored, plain)


def normalized(plain: str) -> str:
    """A password as it is hashed."""
    return unicodedata.normalize("NFKC", plain)


def stamp_of(stored: str | None) -> str:
    """What is another one for every password that was ever set, and tells nothing about it: the salt of its hash."""
    parts = (stored or "").split("$")
    return parts[-2] if len(parts) > 2 else ""


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
