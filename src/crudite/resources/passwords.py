"""Passwords: argon2 on the way in, never on the way out.

A hash takes about 64 MiB and tens of milliseconds on purpose (RFC 9106), so it runs in threads, a few at a time.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from crudite.resources.definition import Definition
from crudite.types import PlainRecord

_hasher = PasswordHasher()
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="crudite-password")


async def hash_passwords(definition: Definition, values: PlainRecord) -> None:
    """Replaces the plain passwords among the values of a record by their hashes."""
    for name in definition.passwords:
        plain = values.get(name)
        if plain is not None:
            values[name] = await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, plain)


async def verify_password(stored: str, plain: str) -> bool:
    """Whether a password is the one that a stored hash was made of."""

    def verify() -> bool:
        try:
            return _hasher.verify(stored, plain)
        except (VerificationError, InvalidHashError):
            return False

    return await asyncio.get_running_loop().run_in_executor(_threads, verify)
