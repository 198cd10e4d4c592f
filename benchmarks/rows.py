"""The one kind of record that every peer stores and sends: ten fields, the same values everywhere."""

import os
import time
from typing import Literal, TypedDict
from uuid import UUID

ROWS = 20_000
OWNERS = 200
STATUSES: tuple[Literal["todo", "doing", "done"], ...] = ("todo", "doing", "done")
MEMBERS = {
    "id": str,
    "version": int,
    "created_at": str,
    "updated_at": str,
    "title": str,
    "notes": str,
    "status": str,
    "done": bool,
    "priority": int,
    "owner": int,
}  # of the JSON object, with the type of each


class Body(TypedDict):
    """What a client sends to create a record: the six fields that are not the server's own."""

    title: str
    notes: str
    status: Literal["todo", "doing", "done"]
    done: bool
    priority: int
    owner: int


def body(index: int) -> Body:
    """The supplied fields of the record number `index` (from 0)."""
    status = STATUSES[index % 3]
    return {
        "title": f"Task number {index:06}",
        "notes": f'Row {index} of the benchmark: a line of plain text of about eighty bytes, "quoted".',
        "status": status,
        "done": status == "done",
        "priority": index % 10,
        "owner": index % OWNERS,
    }


def key(index: int) -> UUID:
    """The key of the record number `index` where the peer is filled from outside."""
    return ordered_uuid(1_763_000_000_000 + index, index.to_bytes(10, "big"))


def new_key() -> UUID:
    """A fresh key that sorts by time, so that no peer pays for random places in its index."""
    return ordered_uuid(time.time_ns() // 1_000_000, os.urandom(10))


def ordered_uuid(milliseconds: int, rest: bytes) -> UUID:
    """A UUID version 7 (RFC 9562, 5.7) from milliseconds since 1970 and 10 further bytes."""
    value = int.from_bytes(milliseconds.to_bytes(6, "big") + rest, "big")
    return UUID(int=value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)
