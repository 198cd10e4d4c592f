"""Feeds: the changes of some resources from some moment on, for whoever catches up with the engine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from crudite.changes import Change, ResetReason
from crudite.live.exact import KeptGroup
from crudite.live.gates import Gate
from crudite.live.keysets import resting


class Feed:
    """All that may concern a group and a gate before it, batch after batch: changes of its own resource and of those
    that their key sets are made of. `void`: it is not all of them."""

    def __init__(self, group: KeptGroup, gate: Gate | None, limit: int) -> None:
        self.group = group
        self.void: ResetReason | None = None
        rests_on = group.rests_on | (resting(gate.uses) if gate is not None else frozenset())
        self.resources = frozenset((group.schema.name, *(keys.schema.name for keys in rests_on)))
        self._limit = limit
        self._gathered: list[Sequence[Change]] = []

    def add(self, changes: Mapping[str, Sequence[Change]]) -> None:
        """What the next batch brings: its changes by resource."""
        for name in self.resources:
            if name in changes:
                self._add(changes[name])

    @property
    def changes(self) -> Iterable[Change]:
        """All that was gathered, in order."""
        return chain.from_iterable(self._gathered)

    def _add(self, changes: Sequence[Change]) -> None:
        self._gathered.append(changes)
        self._limit -= len(changes)
        if self._limit < 0:
            self.void = self.void or "too_many"
            self._gathered = []


class Feeds:
    """All feeds that gather at the moment."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._feeds: set[Feed] = set()

    @contextmanager
    def gathering(self, group: KeptGroup, gate: Gate | None = None) -> Iterator[Feed]:
        """A feed that gathers for as long as the block lasts."""
        feed = Feed(group, gate, self._limit)
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)

    @property
    def groups(self) -> set[KeptGroup]:
        """The groups that somebody catches up with."""
        return {feed.group for feed in self._feeds}

    def add(self, changes: Mapping[str, Sequence[Change]]) -> None:
        """Gives a batch to all of them."""
        if not self._feeds:  # a set that was once large is slow to walk, even when it is empty
            return
        for feed in self._feeds:
            feed.add(changes)

    def spoil(self, reason: ResetReason, resource: str | None = None) -> None:
        """What is gathered (of one resource) is void: the log was not followed there."""
        for feed in self._feeds:
            if resource is None or resource in feed.resources:
                feed.void = feed.void or reason
