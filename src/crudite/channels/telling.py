"""What is told in a channel, and how it becomes the bytes of one way to speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from crudite.types import Plain


class Sender(msgspec.Struct, frozen=True):
    """Who has published something: the member, and the id of its actor, null where nobody is known."""

    member: str | None = None
    id: Plain = None


@dataclass(frozen=True, slots=True)
class Told:
    """One event in a channel: its name, its data as JSON, and who has published it, None for the server."""

    channel: str
    event: str
    data: bytes
    sender: Sender | None = None


class Present(msgspec.Struct, frozen=True):
    """Somebody who is in a channel: the id of the actor, null where nobody is known, and what it says of itself."""

    member: str
    id: Plain = None
    state: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Shown:
    """Who is in a channel by now: how many, and either all of them or what has changed; neither where they are more
    than are named."""

    count: int
    members: Sequence[Present] | None = None
    joined: Sequence[Present] = ()
    changed: Sequence[Present] = ()
    left: Sequence[str] = ()


class Speech(Protocol):
    """One way to speak: each makes the same bytes of the same facts, once for all who hear them."""

    def event(self, told: Told) -> bytes:
        """One event."""
        ...

    def presence(self, channel: str, shown: Shown) -> bytes:
        """Who is there."""
        ...
