"""Frames of events, and what turns them into the bytes of one way to speak."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec

from crudite.changes import ResetReason
from crudite.errors import Problem
from crudite.messages import LiveQuery
from crudite.types import Key, Plain, PlainRecord

LaneName: TypeAlias = Literal["exact", "rerun"]
"""The two sequences of positions: of queries kept from changes, and of those that are run again. Each is atomic for
itself, so that a slow query never holds up the others of its connection."""


class Changed(msgspec.Struct, frozen=True):
    """A record of the set has other values: `fields` that changed, `absent` ones that are shown no longer."""

    key: Key
    fields: PlainRecord
    absent: tuple[str, ...] = ()


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a group's set went through from one position to the next, net for each key.

    `added` holds JSON texts of whole records. `order` is there only when the sort uses something that the
    records do not show: the keys of the whole set in order. A live number has nothing but its `value`.
    """

    added: tuple[str, ...] = ()
    changed: tuple[Changed, ...] = ()
    removed: tuple[Key, ...] = ()
    order: tuple[Key, ...] | None = None
    value: Plain | msgspec.UnsetType = msgspec.UNSET

    @property
    def events(self) -> int:
        """How many events the frame holds; its order counts as none."""
        return len(self.added) + len(self.changed) + len(self.removed)


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One live query under the name that a client gave it.

    `group` is the id of the group whose frames it gets, in one `lane`; `key` proves at a resume that the same records
    with the same fields are meant as before.
    """

    name: str
    group: str
    key: str
    query: LiveQuery
    lane: LaneName = "exact"


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to subscribe: `resumed` says whether what the client holds is carried on from."""

    subscription: Subscription
    resumed: bool


class Format(Protocol):
    """One way to speak, as far as the engine needs it: turns facts into messages, each one whole.

    Cursors are opaque text. Messages may be empty where this way has nothing to say.
    """

    @property
    def share(self) -> Hashable:
        """Formats that are equal in this make the same bytes from the same facts."""
        ...

    @property
    def heartbeat(self) -> float:
        """After how many seconds of silence a `ping` is due."""
        ...

    @property
    def is_torn(self) -> bool:
        """Whether a client may have applied a part of a frame when it is cut off: then what it is told at a resume
        must put right whatever part it holds."""
        ...

    @property
    def has_lanes(self) -> bool:
        """Whether it tells the positions of the two lanes apart. If not, events of queries that are run again carry
        the position of the exact lane, the only one that can be resumed from."""
        ...

    def address(self, name: str) -> Hashable:
        """What of a subscription's own name goes into its frames; None when the group's id is enough."""
        ...

    def frame(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        """A group's frame, for all connections with an equal share and address; `to` is any one of them.

        `before` is the position that is complete before it. `after` is there in the last frame of a
        connection and tick: then these messages also tell the connection to apply what it holds and stand at
        `after`.
        """
        ...

    def frame_alone(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        """The same for one subscription alone."""
        ...

    def resumed(self, frame: Frame | None, to: Subscription, before: str, after: str) -> Sequence[bytes]:
        """What a resumed subscription missed, if anything, for it alone, and that it is ready. Whoever may be cut off
        in between must be able to be told the same again."""
        ...

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        """A newer cursor for a connection to which nothing has happened in a lane; empty where it is not told."""
        ...

    def snapshot(self, to: Subscription, records: Sequence[str]) -> bytes:
        """A part of the set: JSON texts of records, none when the set is empty."""
        ...

    def value(self, to: Subscription, value: Plain) -> bytes:
        """The snapshot of a live number."""
        ...

    def ready(self, to: Subscription, cursor: str) -> bytes:
        """The snapshot is complete, or the resume has been applied."""
        ...

    def reset(self, to: Subscription, reason: ResetReason) -> bytes:
        """What the client holds is void; a snapshot follows."""
        ...

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        """The subscription has ended."""
        ...

    def acks(self, calls: Sequence[Plain]) -> bytes:
        """The frames so far cover these calls of the connection."""
        ...

    def ping(self) -> bytes:
        """A sign of life."""
        ...

    def bye(self, retry_in: int) -> bytes:
        """The connection is about to be closed; come back after so many milliseconds."""
        ...
