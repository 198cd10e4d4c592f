"""A group: all subscriptions of one query, and the audiences that get the same bytes of it.

            seat                        admit
waiting ─────────────► ready, shut out ───────► ready, admitted      a member; it is admitted at once when it
   ▲                        │  ▲                    │   │            has no gate, or an open one
   │                        │  └──────dismiss───────┘   │
   └────────unseat──────────┴───────────────────────────┘            `leave` ends it from anywhere

A member that is suspended waits, but for no set: it is not known whether its query is still what it may see.
"""

from collections.abc import Hashable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from crudite.live.frames import Format, Frame, LaneName, Subscription
from crudite.live.outbox import Outbox
from crudite.messages import LiveQuery
from crudite.schema import ResourceSchema
from crudite.types import Plain


class Member:
    """One subscription in its group, and in the `home` that its connection keeps it in by name.

    `ready`: it has its set and gets frames, unless it is shut out by a gate; `left`: it is over, whatever is still
    under way for it. While it gets frames it belongs to an `audience`.
    """

    __slots__ = (
        "audience",
        "format",
        "gate",
        "group",
        "home",
        "is_suspended",
        "left",
        "outbox",
        "ready",
        "subscription",
    )

    def __init__(
        self,
        subscription: Subscription,
        group: "Group",
        format: Format,
        outbox: Outbox,
        home: MutableMapping[str, "Member"],
        gate: "Barrier | None" = None,
    ) -> None:
        self.subscription = subscription
        self.group = group
        self.format = format
        self.outbox = outbox
        self.home = home
        self.ready = False
        self.left = False
        self.is_suspended = False
        self.audience: Audience | None = None
        self.gate = gate
        home[subscription.name] = self
        self._enter(group)

    def move(self, group: "Group", gate: "Barrier | None", subscription: Subscription) -> None:
        """It belongs to another group from now on, and waits for its set there."""
        old = self.group
        self._exit()
        self.group, self.gate, self.subscription = group, gate, subscription
        _address_anew(self.home, old)
        self._enter(group)

    def leave(self) -> None:
        """It is over; its name is free again."""
        if not self.left:
            self._exit()
            del self.home[self.subscription.name]
            self.left = True
            _address_anew(self.home, self.group)

    def speak(self, format: Format) -> None:
        """It speaks in another format from now on."""
        is_admitted = self.audience is not None
        self.group.dismiss(self)
        self.format = format
        if is_admitted:
            self.group.admit(self)

    def awaits(self, group: "Group") -> bool:
        """Whether it still waits for its set in this group: it may have been moved to another one since it asked."""
        return self.group is group and not (self.ready or self.left or self.is_suspended)

    @property
    def is_alone(self) -> bool:
        """Whether its connection stands before another gate of the same group too. Then frames must name the
        subscription: what passes one gate is not to be taken for another's."""
        if self.gate is None:
            return False
        return any(one.group is self.group and one.gate is not self.gate for one in self.home.values())

    @property
    def address(self) -> Hashable:
        """What must be equal for two members to get the same bytes."""
        return self if self.is_alone else (self.format.share, self.format.address(self.subscription.name))

    def _enter(self, group: "Group") -> None:
        group.members.add(self)
        if self.gate is not None:
            self.gate.members.add(self)
            _address_anew(self.home, group)

    def _exit(self) -> None:
        self.group.unseat(self)
        self.group.members.discard(self)
        if self.gate is not None:
            self.gate.members.discard(self)


def _address_anew(home: MutableMapping[str, Member], group: "Group") -> None:
    """Whoever of a connection gets frames of the group is addressed as is right by now."""
    for member in home.values():
        if member.group is group and member.gate is not None and member.audience is not None:
            group.dismiss(member)
            group.admit(member)


class Barrier(Protocol):
    """What may stand between a group and some of its members (`gates.Gate`)."""

    @property
    def members(self) -> set[Member]: ...
    @property
    def is_open(self) -> bool: ...


@dataclass(slots=True, eq=False)
class Audience:
    """Outboxes that get the same bytes, each once, with how many subscriptions it has here. With `is_alone` the frames
    are addressed to the subscription `to`, not to the group."""

    address: Hashable
    format: Format
    to: Subscription
    is_alone: bool
    outboxes: dict[Outbox, int] = field(default_factory=dict)


class Group:
    """What all kinds of groups have in common: who belongs to it, and who of them gets its frames."""

    lane: LaneName

    def __init__(self, id: str, key: str, query: LiveQuery) -> None:
        self.id = id
        self.key = key
        self.query = query
        self.members: set[Member] = set()
        self.awaited = 0  # how many are about to come
        self.audiences: dict[Hashable, Audience] = {}

    @property
    def schema(self) -> ResourceSchema:
        """The resource of the query."""
        return self.query.plan.selection.schema

    @property
    def is_needed(self) -> bool:
        """Whether anybody belongs to it, or is about to."""
        return bool(self.members) or self.awaited > 0

    def seat(self, member: Member) -> None:
        """From now on the member has its set, and gets the group's frames as long as its gate is open."""
        member.ready = True
        if member.gate is None or member.gate.is_open:
            self.admit(member)

    def unseat(self, member: Member) -> None:
        """The member has no set and gets no more frames; it still belongs to the group."""
        self.dismiss(member)
        member.ready = False

    def admit(self, member: Member) -> None:
        """The member gets the group's frames."""
        address = member.address
        audience = self.audiences.get(address)
        if audience is None:
            audience = Audience(address, member.format, member.subscription, member.is_alone)
            self.audiences[address] = audience
        member.audience = audience
        audience.outboxes[member.outbox] = audience.outboxes.get(member.outbox, 0) + 1

    def dismiss(self, member: Member) -> None:
        """The member gets no frames for now."""
        audience, member.audience = member.audience, None
        if audience is None:
            return
        audience.outboxes[member.outbox] -= 1
        if not audience.outboxes[member.outbox]:
            del audience.outboxes[member.outbox]
        if not audience.outboxes:
            del self.audiences[audience.address]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A group's whole set at the engine's position: JSON texts of records, or the value of a live number."""

    records: Sequence[str] = ()
    value: Plain = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that a group's audiences are to get, or one member `alone`."""

    group: Group
    frame: Frame
    alone: Member | None = None
