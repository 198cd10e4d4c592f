"""A group: all subscriptions of one query, and the audiences that get the same bytes of it.

            seat                        admit
waiting ─────────────► ready, shut out ───────► ready, admitted      a member; it is admitted at once when it
   ▲                        │  ▲                    │   │            has no gate, or an open one
   │                        │  └──────dismiss───────┘   │
   └────────unseat──────────┴───────────────────────────┘            `leave` ends it from anywhere
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
    under way for it.
    """

    __slots__ = ("admitted", "format", "gate", "group", "home", "left", "outbox", "ready", "subscription")

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
        self.admitted = False
        self.gate = gate
        self._enter(group)
        home[subscription.name] = self

    def move(self, group: "Group", gate: "Barrier | None", subscription: Subscription) -> None:
        """It belongs to another group from now on, and waits for its set there."""
        self.group.unseat(self)
        self.exit()
        self.group, self.gate, self.subscription = group, gate, subscription
        self._enter(group)

    def exit(self) -> None:
        """It does not belong to its group any more."""
        self.group.members.discard(self)
        if self.gate is not None:
            self.gate.members.discard(self)

    def _enter(self, group: "Group") -> None:
        group.members.add(self)
        if self.gate is not None:
            self.gate.members.add(self)

    def speak(self, format: Format) -> None:
        """It speaks in another format from now on."""
        is_admitted = self.admitted
        self.group.dismiss(self)
        self.format = format
        if is_admitted:
            self.group.admit(self)

    @property
    def address(self) -> Hashable:
        """What must be equal for two members to get the same bytes."""
        return self.format.share, self.format.address(self.subscription.name)


class Barrier(Protocol):
    """What may stand between a group and some of its members (`gates.Gate`)."""

    @property
    def members(self) -> set[Member]: ...
    @property
    def is_open(self) -> bool: ...


@dataclass(slots=True, eq=False)
class Audience:
    """Outboxes that get the same bytes, each once, with how many subscriptions it has here."""

    format: Format
    to: Subscription
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
        member.admitted = True
        audience = self.audiences.get(member.address)
        if audience is None:
            audience = self.audiences[member.address] = Audience(member.format, member.subscription)
        audience.outboxes[member.outbox] = audience.outboxes.get(member.outbox, 0) + 1

    def dismiss(self, member: Member) -> None:
        """The member gets no frames for now."""
        if not member.admitted:
            return
        member.admitted = False
        audience = self.audiences[member.address]
        audience.outboxes[member.outbox] -= 1
        if not audience.outboxes[member.outbox]:
            del audience.outboxes[member.outbox]
        if not audience.outboxes:
            del self.audiences[member.address]

    def leave(self, member: Member) -> None:
        """The member is over; its name is free again."""
        if not member.left:
            self.unseat(member)
            member.exit()
            del member.home[member.subscription.name]
            member.left = True


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
