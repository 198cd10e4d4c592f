"""Catching up: what a client was not told step by step, because it takes less than happens, is told in one go.

Its outbox has left out frames, from some cursor on. From then on its subscriptions get none. When the client has taken
what was before them, this is what it gets, at the position of one batch, and then frames again:

- subscriptions of the exact lane: what has changed since that cursor, net for each record, as for one that resumes;
  one commit is behind all of them, so that they stand at one position, as before
- those that are run again, and those whose changes are too many: a reset, and the set

Nothing is told in between, not even to a subscription that begins (that waits): the commit of one would vouch for all.
So a connection whose subscriptions do not all have their sets, or one of which is being moved, is never left behind.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

from crudite.changes import Change, Reset
from crudite.errors import Problem
from crudite.live.connection import Connection
from crudite.live.cursors import Cursors
from crudite.live.dependencies import Dependencies
from crudite.live.exact import KeptGroup
from crudite.live.feeds import Feed
from crudite.live.frames import Frame
from crudite.live.gates import Gate
from crudite.live.groups import Group, Member
from crudite.live.jobs import Job, Missed, Outcome, Resumption, Showing
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.outbox import Outbox
from crudite.live.progress import Progress
from crudite.live.serving import Serving
from crudite.live.span import Fetch
from crudite.live.tail import Tail
from crudite.live.window import WindowGroup
from crudite.query.plan import Plan
from crudite.stores.base import Page


class CatchingUp:
    """What is needed to bring connections up to date.

    `progress` is that of the exact lane, `start` brings a member to its set, `end` ends a group.
    """

    def __init__(
        self, serving: Serving, dependencies: Dependencies, tail: Tail, progress: Progress, cursors: Cursors,
        limits: LiveLimits, metrics: Metrics, start: Callable[[Member], None], end: Callable[[Group, Problem], None],
    ) -> None:  # fmt: skip
        self.serving = serving
        self.dependencies = dependencies
        self.progress = progress
        self.limits = limits
        self.metrics = metrics
        self.start = start
        self.end = end
        self._keeping_up: Counter[Outbox] = Counter()
        self._tail = tail
        self._cursors = cursors

    def watch(self, connection: Connection) -> None:
        """The connection may be left behind from now on."""
        connection.outbox.catcher = Laggard(self, connection)

    @contextmanager
    def keeping_up(self, outbox: Outbox) -> Iterator[None]:
        """Within it, as while a subscription is being moved, a connection is never left behind: it is told every step,
        or closed."""
        self._keeping_up += Counter((outbox,))
        try:
            yield
        finally:
            self._keeping_up -= Counter((outbox,))  # what comes to nothing is dropped

    def may_leave(self, connection: Connection) -> bool:
        """Whether a connection may be left behind."""
        return not self._keeping_up[connection.outbox] and all(member.ready for member in connection.members.values())

    def since(self, cursor: str) -> Sequence[Change] | Reset:
        """The changes from a cursor to the exact lane's position, or why they cannot be told."""
        token = self._cursors.open(cursor)
        passed = self._tail.since(token) if token is not None else None
        if passed is None:
            return Reset("gap")
        return passed if len(passed) <= self.limits.missed else Reset("too_many")


class Laggard:
    """A connection that may be left behind (`outbox.Catcher`)."""

    __slots__ = ("_connection", "_is_drained", "_others", "_since")

    def __init__(self, others: CatchingUp, connection: Connection) -> None:
        self._others = others
        self._connection = connection
        self._since = ""
        self._is_drained = False

    def can_catch_up(self) -> bool:
        """Whether every subscription has its set, and none is being moved."""
        return self._others.may_leave(self._connection)

    def fall_behind(self, since: str) -> None:
        """No subscription gets anything from now on."""
        self._since = since or self._others.progress.cursor
        self._is_drained = False
        for member in self._connection.members.values():
            member.group.unseat(member)

    def drained(self) -> None:
        """The client takes something again: it is caught up at the next batch."""
        if not self._is_drained:
            self._is_drained = True
            self._others.serving.add(_CatchUp(self._others, self._connection, self._since))


class _CatchUp(Job):
    """Everything that one connection was not told since a cursor."""

    def __init__(self, how: CatchingUp, connection: Connection, since: str) -> None:
        self._how = how
        self._connection = connection
        self._since = since
        self._reading: list[Resumption | Showing] = []
        self._outcomes: dict[tuple[Group, object], Outcome] = {}

    async def prepare(self, fetch: Fetch) -> None:
        """Finds out what has happened to each query, and what must be read to tell it."""
        self._reading, self._outcomes = [], {}
        passed = self._how.since(self._since)
        for group, gate in dict.fromkeys((one.group, one.gate) for one in self._connection.members.values()):
            if not isinstance(group, KeptGroup):
                self._outcomes[group, gate] = Reset("too_many")
            elif isinstance(passed, Reset):
                self._outcomes[group, gate] = passed
            else:
                reading = self._resumption(group, gate if isinstance(gate, Gate) else None, passed)
                await reading.prepare(fetch)
                self._reading.append(reading)

    def _resumption(self, group: KeptGroup, gate: Gate | None, passed: Sequence[Change]) -> Resumption | Showing:
        how = self._how
        nothing = Feed(group, gate, how.limits.missed)  # what has passed leads up to the batch itself
        relevant = [change for change in passed if change.schema.name in nothing.resources]
        resumption = Resumption(
            group, gate, self._since, relevant, nothing, is_torn=False, dependencies=how.dependencies,
            limits=how.limits, finish=partial(self._outcomes.__setitem__, (group, gate)),
        )  # fmt: skip
        if not isinstance(group, WindowGroup):
            return resumption
        showing = Showing(group, how.progress, how.metrics, how.serving.show, how.end)
        showing.resumptions.append(resumption)
        return showing

    @property
    def plans(self) -> Sequence[Plan]:
        return [plan for reading in self._reading for plan in reading.plans]

    def take(self, pages: Sequence[Page]) -> None:
        left = iter(pages)
        for reading in self._reading:
            reading.take(list(islice(left, len(reading.plans))))
        self._tell()

    def fail(self, problem: Problem) -> None:
        self._outcomes = {(one.group, one.gate): Reset("gap") for one in self._connection.members.values()}
        self._tell()

    def _tell(self) -> None:
        """Puts what was found into the outbox, and gives every subscription its place again."""
        how, outbox = self._how, self._connection.outbox
        if not outbox.is_behind:
            return
        void: list[Member] = []
        kept: list[tuple[Member, Frame | None]] = []
        messages: list[bytes] = []
        for member in self._connection.members.values():
            outcome = self._outcomes[member.group, member.gate]
            if isinstance(outcome, Missed):
                kept.append((member, outcome.frame))
            else:  # these go first: the commit must not vouch for what they leave out
                how.metrics.resets[outcome.reason] += 1
                messages.append(member.format.reset(member.subscription, outcome.reason))
                void.append(member)
        messages += self._frames([(member, frame) for member, frame in kept if frame is not None], bool(kept))
        outbox.catch_up(messages)
        how.metrics.catch_ups += 1
        outbox.touched = asyncio.get_running_loop().time()
        for member, _ in kept:
            member.group.seat(member)
        for member in void:
            how.start(member)

    def _frames(self, frames: Sequence[tuple[Member, Frame]], is_to_commit: bool) -> list[bytes]:
        messages: list[bytes] = []
        after, last = self._how.progress.cursor, len(frames) - 1
        for index, (member, frame) in enumerate(frames):
            to, end = member.subscription, after if index == last else None
            messages += member.format.frame_alone(frame, to, self._since, end)
        if not frames and is_to_commit:
            messages.append(self._connection.format.commit(after, "exact"))
        return messages
