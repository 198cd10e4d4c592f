"""A member: one connection in one channel, for as long as it may be.

                 settle                      the rule holds no longer
nobody knows ─────────────► in, or refused ─────────────────────────────► over
      ▲                      │
      └─────── doubt ────────┘     hears nothing meanwhile
"""

import itertools
from collections.abc import Callable
from typing import TypeAlias

from crudite.channels.channels import Address
from crudite.channels.telling import Present, Sender, Speech
from crudite.channels.watch import Watch
from crudite.live import Engine, Holds
from crudite.live.outbox import Outbox
from crudite.live.parcels import Parcel
from crudite.messages import ANONYMOUS, Actor, Live, LiveQuery, Response

Ground: TypeAlias = LiveQuery | None
"""What somebody may be there for: a rule that holds for a record, or one about himself, which holds as long as he is
who he is."""

_numbers = itertools.count()


class Member:
    """One connection, which hears what is told in a channel in `speech`, through its `outbox`. `on_lost` is called when
    the rule by which it is there holds no longer."""

    def __init__(
        self, engine: Engine, address: Address, outbox: Outbox, speech: Speech, on_lost: "Callable[[Member], None]"
    ) -> None:
        self.address = address
        self.speech = speech
        self.number = next(_numbers)
        self.sender = Sender()
        self.present: Present | None = None
        """What the others are shown of it, where they are."""
        self.is_entered = False
        self.actor = ANONYMOUS
        self._engine = engine
        self._outbox = outbox
        self._on_lost = on_lost
        self._joins: Watch | None = None
        self._publishes: Watch | None = None

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.address.name

    @property
    def is_hearing(self) -> bool:
        """Whether it is known that it may hear what is told now."""
        return self.is_entered and self._joins is not None and self._joins.holds

    async def settle(self, response: Response, actor: Actor, still: Holds) -> bool | None:
        """Stands on what the rules have answered of an actor from now on. Returns whether it may be there; None where
        that is not known, since the rights are doubted again. Raises Problem where nobody can tell."""
        ground = response.query if isinstance(response, Live) else None
        self.actor = actor
        if self._joins is not None and _is_same(self._joins, ground):
            return True
        if self._joins is not None:
            self._joins.close()
        watch = self._joins = Watch(ground, lambda: self._on_lost(self))
        found = await watch.begin(self._engine, still)
        return found if self._joins is watch else None

    async def may_publish(self, response: Response, still: Holds) -> bool:
        """Whether it may publish, by what the rules have answered. It is watched from the first time on."""
        ground = response.query if isinstance(response, Live) else None
        if not self.is_hearing:
            return False
        if self._publishes is None or not _is_same(self._publishes, ground):
            if self._publishes is not None:
                self._publishes.close()
            watch = self._publishes = Watch(ground, lambda: None)
            await watch.begin(self._engine, still)
        return self.is_hearing and self._publishes is not None and self._publishes.holds

    def hear(self, parcel: Parcel, limit: int) -> bool:
        """Takes something, unless so many bytes wait for the client already: what is told here is not kept."""
        if self._outbox.is_behind or self._outbox.size + parcel.size > limit:
            return False
        self._outbox.put(parcel)
        return True

    def doubt(self) -> None:
        """Nobody knows any more whether it may be there. It hears nothing until it is settled again."""
        for watch in (self._joins, self._publishes):
            if watch is not None:
                watch.close()
        self._joins = self._publishes = None

    close = doubt


def _is_same(watch: Watch, ground: Ground) -> bool:
    return watch.holds and watch.identity == (ground.identity if ground is not None else "")
