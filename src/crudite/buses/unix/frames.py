"""The bytes between a sibling and the hub.

frame = size of the rest (4 bytes, big endian) | kind (1 byte) | size of the topic (1 byte) | topic | payload
"""

import asyncio
import struct
from typing import Literal, NamedTuple, TypeAlias

MOST_PAYLOAD = 1024 * 1024
_HEAD = struct.Struct("!I")
_MOST_FRAME = MOST_PAYLOAD + 2 + 255

Kind: TypeAlias = Literal[b"+", b"-", b"m", b"?", b"!"]
"""Listen to a topic, forget it, a message, "are you there", and the answer to that."""


class Frame(NamedTuple):
    """One of them."""

    kind: bytes
    topic: str = ""
    payload: bytes = b""


def encode(kind: Kind, topic: str = "", payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    name = topic.encode()
    return b"".join((_HEAD.pack(2 + len(name) + len(payload)), kind, bytes([len(name)]), name, payload))


async def read(reader: asyncio.StreamReader) -> Frame:
    """The next frame. Raises EOFError at the end of the stream, and ConnectionError for what is no frame."""
    (size,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if not 2 <= size <= _MOST_FRAME:
        raise ConnectionError("who is at the other end does not speak as we do")
    body = await reader.readexactly(size)
    start = 2 + body[1]
    return Frame(body[:1], body[2:start].decode("ascii", "replace"), body[start:])
