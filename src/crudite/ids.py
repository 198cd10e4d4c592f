"""New names for things: the keys of records and the ids of requests."""

import itertools
import os
import threading
import time

_last = 0
_lock = threading.Lock()
_random = bytearray()
_process = int.from_bytes(os.urandom(4))
_requests = itertools.count(int.from_bytes(os.urandom(3)))


def random_bits62() -> int:
    """Returns 62 unguessable bits. The system is asked for a whole page of them at a time: a call of its own for
    every record would be a third of the work of creating one."""
    with _lock:
        if len(_random) < 8:
            _random.extend(os.urandom(4096))
        taken = bytes(_random[-8:])
        del _random[-8:]
    return int.from_bytes(taken) >> 2


os.register_at_fork(after_in_child=_random.clear)  # a child must not give out its parent's bits


def new_request_id() -> str:
    """Returns a new id for a request: 16 hexadecimal digits, a random part of this process's and a number."""
    return f"{_process:08x}{next(_requests):08x}"


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
    text = f"{value | random_bits62():032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
