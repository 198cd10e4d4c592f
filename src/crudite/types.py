"""Names for plain data, and the keys that records get."""

import os
import threading
import time
from typing import Any, TypeAlias

Plain: TypeAlias = Any
"""A value as it travels in JSON: str, int, float, bool, None, a list or a dict with str keys."""

Key: TypeAlias = str | int
"""The key of a record, as plain data."""

PlainRecord: TypeAlias = dict[str, Plain]
"""A record as plain data: the names of its fields to their plain values."""

_last = 0
_lock = threading.Lock()


def uuid7() -> str:
    """Returns a new UUIDv7 (RFC 9562, section 5.7) as lower-case text.

    The 48 bits of milliseconds are followed by 12 bits of their fraction (method 3 of section 6.2), kept
    strictly increasing in this process, so that keys made one after another sort in that order.
    """
    global _last
    now = time.time_ns() * 4096 // 1_000_000
    with _lock:
        _last = now = max(now, _last + 1)
    value = (now >> 12) << 80 | 7 << 76 | (now & 0xFFF) << 64 | 2 << 62
    text = f"{value | int.from_bytes(os.urandom(8)) >> 2:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
