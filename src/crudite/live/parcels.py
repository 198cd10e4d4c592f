"""Parcels: messages that go together, made into bytes once for all outboxes that get them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeAlias

from crudite.live.frames import Format, Frame, Subscription
from crudite.server.extension import Framing


class Parcel:
    """Messages that go together, and their bytes on the wire, made once for all outboxes that get it.

    A frame says `since` which cursor of the exact lane it leads on, which is empty for those of the other lane, and
    whether it `closes` its tick; for all else `since` is None. What `is_free` counts against no limit.
    """

    __slots__ = ("_framed", "closes", "is_free", "messages", "since", "size")

    def __init__(
        self, messages: Sequence[bytes], *, since: str | None = None, closes: bool = True, is_free: bool = False
    ) -> None:
        self.messages = messages
        self.since = since
        self.closes = closes
        self.is_free = is_free
        self.size = sum(map(len, messages))
        self._framed: dict[Framing, bytes] = {}

    def framed(self, framing: Framing) -> bytes:
        """The bytes on the wire of one kind of stream."""
        made = self._framed.get(framing)
        if made is None:
            made = self._framed[framing] = framing(self.messages) if self.size else b""
        return made


Part: TypeAlias = Parcel | Iterator[bytes]


class Encoded:
    """One frame as the bytes for one audience: as the last one before a commit, and otherwise. `since` is the cursor of
    the exact lane that it leads on, empty for the other lane."""

    __slots__ = ("_make", "_opening", "_since", "closing")

    def __init__(
        self, frame: Frame, format: Format, to: Subscription, before: str, after: str, *, since: str, is_alone: bool
    ) -> None:
        make = format.frame_alone if is_alone else format.frame
        self.closing = Parcel(make(frame, to, before, after), since=since)
        self._since = since
        self._make = partial(make, frame, to, before, None)
        self._opening: Parcel | None = None

    @property
    def opening(self) -> Parcel:
        """The messages when another frame of the same tick follows on the connection."""
        if self._opening is None:
            self._opening = Parcel(self._make(), since=self._since, closes=False)
        return self._opening
