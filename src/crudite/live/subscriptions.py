"""Subscriptions: they join the group of their query, are brought to their set, are moved to other queries, and end.

       join                       start, or resume
○ ───────────► waiting for its set ────────────────► served ──► ended: by leave, or with its group by end
                    ▲                                  │
                    ├───── move, where it is void ─────┤
                    └─ move ─ suspended ◄── suspend ───┘
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from crudite.changes import Reset, ResetReason
from crudite.errors import Problem, Unavailable
from crudite.live.catching_up import CatchingUp
from crudite.live.connection import Announce, Connection, Holds
from crudite.live.cursors import Cursors
from crudite.live.exact import KeptGroup
from crudite.live.frames import Subscribed, Subscription
from crudite.live.gates import Gate
from crudite.live.grouping import Grouping
from crudite.live.groups import Barrier, Group, Member
from crudite.live.jobs import Missed, Move, Outcome
from crudite.live.joining import Joining, Resume
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.outbox import Outbox
from crudite.live.publisher import Publisher
from crudite.live.registry import AnyGroup
from crudite.live.rerun import RerunGroup
from crudite.live.rerun_lane import RerunLane
from crudite.live.serving import Serving
from crudite.messages import LiveQuery


class Subscriptions:
    """The subscriptions of an engine. Each is a member of one group at a time. None begins unless they are `opened`."""

    def __init__(
        self, grouping: Grouping, cursors: Cursors, limits: LiveLimits, metrics: Metrics,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:  # fmt: skip
        self.are_open = False
        self._spawn = spawn
        self._grouping = grouping
        self._cursors = cursors
        self._limits = limits
        self._metrics = metrics

    def opened(
        self, joining: Joining, serving: Serving, catching_up: CatchingUp, rerun_lane: RerunLane, publisher: Publisher
    ) -> None:
        """From now on there are lanes that lead them: these are to be told `start` and `end`, so they come later."""
        self._joining = joining
        self._serving = serving
        self._catching_up = catching_up
        self._rerun_lane = rerun_lane
        self._publisher = publisher
        self.are_open = True

    def closed(self) -> None:
        """None begins any more. Those that there are can still end."""
        self.are_open = False

    async def join(
        self, connection: Connection, name: str, query: LiveQuery, resume: Resume | None, announce: Announce | None,
        holds: Holds,
    ) -> Subscribed:  # fmt: skip
        """Adds one to a connection, see `Connection.subscribe`."""
        group, gate = await self._group_for(connection.outbox, query)
        if connection.ended is not None or connection.is_winding_up or not self.are_open:
            self._discard_empty(group, gate)
            raise Unavailable("The connection is closed.")
        subscription = self._subscription(name, query, group)
        member = Member(subscription, group, connection.format, connection.outbox, connection.members, gate)
        member.is_suspended = not holds()
        self._metrics.live_subs += 1
        told: list[Subscribed] = []

        def begin(outcome: Outcome | None) -> None:
            told.append(self._begin(member, outcome, announce))

        try:
            if resume is None:
                begin(None)
            elif isinstance(group, KeptGroup):
                await self._joining.resume(member, subscription.key, resume, begin)
            else:
                begin(Reset(resume.obstacle(subscription.key) or "window"))
        except BaseException:
            self.leave(member)
            raise
        return told[0]

    def suspend(self, member: Member) -> None:
        """Takes what a client holds of one away, and shows nothing until it is moved, see `Connection.suspend`."""
        if member.ready:
            member.group.unseat(member)
            self._publisher.tell_reset(member, "rights")
        member.is_suspended = True

    async def move(self, member: Member, query: LiveQuery, announce: Announce | None, holds: Holds) -> None:
        """Leads one on to another query, see `Connection.move`."""
        if self._cursors.key(query) == member.subscription.key:
            if member.is_suspended and not member.left and holds():
                self._begin_again(member, "rights", holds)
            return None
        group, gate = await self._group_for(member.outbox, query)
        if member.left:
            return self._discard_empty(group, gate)
        old, done = member.group, asyncio.get_running_loop().create_future()

        def finish(outcome: Outcome) -> None:
            try:
                if not member.left:  # and if it was reset meanwhile, there is nothing that would differ
                    outcome = outcome if member.ready else Reset("rights")
                    self._go_on(member, query, group, gate, outcome, announce, holds)
            finally:
                if not done.done():
                    done.set_result(None)

        if not (isinstance(old, KeptGroup) and isinstance(group, KeptGroup)) or not member.ready:
            return finish(Reset("rights"))
        holders: list[Group | Gate] = [group] if gate is None else [group, gate]
        for holder in holders:
            holder.awaited += 1  # it must not go while it waits for its member
        try:
            with self._catching_up.keeping_up(member.outbox):
                self._serving.add(Move(member.subscription.query, query, group, self._limits, finish))
                await done
        finally:
            for holder in holders:
                holder.awaited -= 1
            self._discard_empty(group, gate)

    def start(self, member: Member) -> None:
        """Sees to it that a member gets its set."""
        group = member.group
        if member.left or member.is_suspended or not self.are_open:
            return
        if isinstance(group, KeptGroup):
            self._joining.start(group, member)
        elif isinstance(group, RerunGroup):
            self._rerun_lane.start(group, member)

    def leave(self, member: Member) -> None:
        """Ends one."""
        if member.left:
            return
        member.leave()
        self._metrics.live_subs -= 1
        self._discard_empty(member.group, member.gate)

    def end(self, group: Group, problem: Problem) -> None:
        """Ends all of a group, for a reason."""
        for member in list(group.members):
            member.outbox.send(member.format.problem(member.subscription, problem))
            self.leave(member)

    async def _group_for(self, outbox: Outbox, query: LiveQuery) -> tuple[AnyGroup, Gate | None]:
        """The group of a query, for a connection that has been told everything so far."""
        while True:
            await outbox.up_to_date()
            group, gate = await self._grouping.group_of(query)
            if not outbox.is_behind:
                return group, gate
            self._discard_empty(group, gate)

    def _subscription(self, name: str, query: LiveQuery, group: AnyGroup) -> Subscription:
        """A subscription to a group. It holds the group's own query where that says the same: there may be many."""
        if query.identity == group.query.identity and query.plan.sort == group.query.plan.sort:
            return Subscription(name, group.id, group.key, group.query, group.lane)
        return Subscription(name, group.id, self._cursors.key(query), query, group.lane)

    def _begin(self, member: Member, outcome: Outcome | None, announce: Announce | None) -> Subscribed:
        """Answers a client, and brings its member to its set."""
        subscribed = Subscribed(member.subscription, isinstance(outcome, Missed))
        if announce is not None:
            member.outbox.send(announce(subscribed))
        if member.left or member.is_suspended:
            return subscribed
        if isinstance(outcome, Missed):
            self._metrics.resume_hits += 1
            self._joining.catch_up(member.group, member, outcome)
            return subscribed
        if outcome is not None:
            self._publisher.tell_reset(member, outcome.reason)
            self._start_anew(member)
        else:
            self.start(member)
        return subscribed

    def _go_on(
        self, member: Member, query: LiveQuery, group: AnyGroup, gate: Gate | None, outcome: Outcome,
        announce: Announce | None, holds: Holds,
    ) -> None:  # fmt: skip
        old = member.group, member.gate
        member.move(group, gate, self._subscription(member.subscription.name, query, group))
        self._discard_empty(*old)
        if announce is not None:
            member.outbox.send(announce(Subscribed(member.subscription, isinstance(outcome, Missed))))
        if isinstance(outcome, Missed):
            self._joining.catch_up(group, member, outcome)
        else:
            self._begin_again(member, outcome.reason, holds)

    def _begin_again(self, member: Member, reason: ResetReason, holds: Holds) -> None:
        """Gives one that had other rights its set anew, where it is still known what that is."""
        member.is_suspended = not holds()
        self._publisher.tell_reset(member, reason)
        if not member.is_suspended:
            self._start_anew(member)

    def _start_anew(self, member: Member) -> None:
        """Brings one to its set that has shown something before, in the other lane or at another process. What it shows
        next must not be older; and this lane may be behind that one."""
        self._spawn(self._start_behind(member, member.subscription))

    async def _start_behind(self, member: Member, subscription: Subscription) -> None:
        """Starts one behind all that is committed by now, unless it is moved again meanwhile."""
        lane = self._rerun_lane if isinstance(member.group, RerunGroup) else self._joining
        try:
            await lane.fence()
        except Problem:  # the engine stops, and everybody is told
            return
        if member.subscription is subscription:
            self.start(member)

    def _discard_empty(self, group: Group, gate: Barrier | None) -> None:
        if self._grouping.discard_empty(group, gate) and isinstance(group, RerunGroup):
            self._rerun_lane.forget(group)
