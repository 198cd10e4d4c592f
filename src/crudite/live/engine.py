"""The live engine: follows the change log of one store and keeps every subscription of this process true.

It joins the parts and is what connections and interfaces speak to. Two lanes follow the log, each by itself: the
exact one keeps queries from the changes themselves, the other one runs queries again. Between any two awaits, all
groups, outboxes and cursors of a lane stand at one position.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from math import ceil
from types import TracebackType
from typing import Any, Self

from crudite.changes import Mark, Position, Reset
from crudite.clock import Clock
from crudite.errors import Problem, Unavailable
from crudite.live.catching_up import CatchingUp
from crudite.live.connection import Announce, Connection
from crudite.live.cursors import Cursors
from crudite.live.dependencies import Dependencies
from crudite.live.exact import KeptGroup
from crudite.live.exact_lane import ExactLane
from crudite.live.explain import Explanation, explain
from crudite.live.feeds import Feeds
from crudite.live.follower import Follower
from crudite.live.frames import Format, LaneName, Subscribed, Subscription
from crudite.live.gates import Gate
from crudite.live.grouping import Grouping
from crudite.live.groups import Barrier, Group, Member
from crudite.live.jobs import Missed, Move, Outcome
from crudite.live.joining import Joining, Resume
from crudite.live.leaving import STEP, steps
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.outbox import EndReason, Outbox
from crudite.live.progress import Progress
from crudite.live.publisher import Publisher
from crudite.live.registry import AnyGroup, Registry
from crudite.live.rerun import RerunGroup
from crudite.live.rerun_lane import RerunLane
from crudite.live.serving import Serving
from crudite.live.tail import Tail
from crudite.messages import LiveQuery
from crudite.schema import Catalog
from crudite.stores.base import Batch, Store

_log = logging.getLogger("crudite.live")


class Engine:
    """Keeps live queries on one open store: `async with Engine(store, catalog, secret=…) as engine`.

    `secret` (16 bytes or more, the same in all processes and across restarts) protects cursors and keys;
    `clock` tells the time that queries mean by `now`. Leaving the block says goodbye to every connection.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        *,
        secret: bytes,
        limits: LiveLimits | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.limits = limits or LiveLimits()
        self.metrics = Metrics()
        self._store = store
        self._catalog = catalog
        self._clock = Clock.of(clock)
        self._cursors = Cursors(secret)
        self._dependencies = Dependencies(self.limits.keys)
        self._registry = Registry(self.limits, self.metrics, self._dependencies)
        self._grouping = Grouping(self._registry, self._dependencies, self._cursors, store.wake)
        self._connections: set[Connection] = set()
        self._expecting: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        position = (await self._store.read(())).position
        wake, limits, metrics = self._store.wake, self.limits, self.metrics
        self._exact, self._rerun = Progress(position, self._cursors, wake), Progress(position, self._cursors, wake)
        feeds, tail = Feeds(limits.missed), Tail(limits.tail, position)
        self._serving = Serving(self._dependencies, self._exact, limits, metrics, wake, self._end)
        self._exact_lane = ExactLane(
            self._registry, self._dependencies, feeds, self._serving, tail,
            Publisher(self._exact, None, limits, metrics, self._end), limits, metrics, self._start,
        )  # fmt: skip
        self._publisher = Publisher(self._rerun, self._exact, limits, metrics, self._end)
        self._rerun_lane = RerunLane(
            self._registry, self._rerun, self._exact, self._publisher, limits, metrics, self._clock, wake, self._end
        )
        self._joining = Joining(
            self._store, self._exact, self._cursors, self._dependencies, feeds, self._serving, tail,
            self._exact_lane.turn, limits, metrics, self._spawn, self._end,
        )  # fmt: skip
        self._catching_up = CatchingUp(
            self._serving, self._dependencies, tail, self._exact, self._cursors, limits, metrics, self._start, self._end
        )
        self._is_open, self._is_leaving = True, False
        self._spawn(self._follow_exactly())
        self._spawn(self._run_again())
        self._spawn(self._keep_sweeping())
        self._following = frozenset(self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._say_goodbye(list(self._connections))
        self._rerun_lane.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        problem = Unavailable("Live queries are not served any more.")
        for part in (self._exact, self._rerun, self._dependencies, self._serving):
            part.stop(problem)

    @property
    def position(self) -> Position:
        """Everything up to here is in the outboxes, but for queries that are run again."""
        return self._exact.position

    @property
    def connections(self) -> Collection[Connection]:
        """All connections there are."""
        return self._connections

    def connect(self, format: Format) -> Connection:
        """A connection for one client. Raises Unavailable when the engine is not running, or is about to stop: then it
        says when to come back."""
        if not self._is_open:
            raise Unavailable("Live queries are not served at the moment.")
        if self._is_leaving:
            wait = self.retry_in()
            headers = {"retry-after": str(ceil(wait / 1000))}
            raise Unavailable("The application is going away.", headers=headers, retry_in=wait)
        connection = Connection(self, format)
        connection.outbox.touched = asyncio.get_running_loop().time()
        self._catching_up.watch(connection)
        self._connections.add(connection)
        self.metrics.live_connections += 1
        return connection

    async def drain(self, within: float) -> None:
        """Says goodbye to every connection, each with a time of its own to come back at, in steps (see `leaving`) over
        at most so many seconds. What is still connected stays live meanwhile; nobody new is accepted."""
        self._is_leaving = True
        for number, step in enumerate(steps(list(self._connections), within)):
            if number:
                await asyncio.sleep(STEP)
            self._say_goodbye(step)

    def key(self, query: LiveQuery) -> str:
        """The key that a subscription to the query will have."""
        return self._cursors.key(query)

    def retry_in(self) -> int:
        """After how many milliseconds one client should come back: random, over a time that grows with the
        number of connections, so that they do not all come at once."""
        return 500 + random.randrange(1000 + 2 * len(self._connections))  # noqa: S311 (it spreads load)

    async def settled(self) -> None:
        """Returns when everything that was committed before the call has been handed to every connection; where a
        subscription waits for its set then, or begins again for what was committed, the set has been, too."""
        connections = list(self._connections)
        waiting = [member for connection in connections for member in connection.members.values()]
        await self.fence()
        for connection in connections:  # after that nobody is behind with what was committed before
            await connection.outbox.drained()
        while waiting := [member for member in waiting if _is_due(member)]:
            await self.fence()  # windows are shown at a batch; other sets are read beside
            if beside := self._tasks - self._following:
                await asyncio.wait(beside, return_when=asyncio.FIRST_COMPLETED)
        for connection in connections:
            await connection.outbox.drained()

    async def fence(self) -> None:
        """Returns when everything that was committed before the call has been put into the outboxes of those who have
        their sets."""
        await self._exact.fence()
        if self._rerun_lane.is_followed:
            await self._rerun.fence()

    async def reached(self, mark: Mark) -> bool:
        """Comes past a commit in both lanes; False when there is no such commit: a snapshot that is younger than an
        acknowledged one always holds it."""
        if not self._exact.covers(mark):
            await self._exact.fence()
        if self._rerun_lane.is_followed and not self._rerun.covers(mark):  # it may have ended meanwhile
            await self._rerun.fence()
        return self._exact.covers(mark)

    def explain(self, query: LiveQuery) -> Explanation:
        """How a query is served now, see `Explanation`."""
        return explain(query, self._grouping.find(query), self.limits, self.metrics)

    def sweep(self, now: float) -> None:
        """Gives idle connections a sign of life and fresh cursors where due; `now` is the loop's clock."""
        for connection in self._connections:
            outbox, format = connection.outbox, connection.format
            lanes: set[LaneName] = {member.group.lane for member in connection.members.values() if member.ready}
            if lanes and now - outbox.touched >= self.limits.refresh:
                outbox.send(*(format.commit(self._progress_of(lane).cursor, lane) for lane in sorted(lanes)))
                outbox.touched = now
            elif now - max(outbox.touched, connection.pinged) >= format.heartbeat:
                outbox.send(format.ping())
                connection.pinged = now

    # What connections need of their engine (connection.Hub).

    async def join(
        self, connection: Connection, name: str, query: LiveQuery, resume: Resume | None, announce: Announce | None
    ) -> Subscribed:
        """Adds a subscription to a connection, see `Connection.subscribe`."""
        group, gate = await self._group_for(connection.outbox, query)
        if connection.ended is not None or connection.is_winding_up or not self._is_open:
            self._discard_empty(group, gate)
            raise Unavailable("The connection is closed.")
        member = self._member(connection, name, query, group, gate)
        key = member.subscription.key
        told: list[Subscribed] = []

        def begin(outcome: Outcome | None) -> None:
            told.append(self._begin(connection, member, outcome, announce))

        try:
            if resume is None:
                begin(None)
            elif isinstance(group, KeptGroup):
                await self._joining.resume(member, key, resume, begin)
            else:
                begin(Reset(resume.obstacle(key) or "window"))
        except BaseException:
            self.leave(member)
            raise
        return told[0]

    async def move(self, member: Member, query: LiveQuery, announce: Announce | None) -> None:
        """Leads a subscription on to another query, see `Connection.move`."""
        if self.key(query) == member.subscription.key:
            return None
        group, gate = await self._group_for(member.outbox, query)
        if member.left:
            return self._discard_empty(group, gate)
        old, done = member.group, asyncio.get_running_loop().create_future()

        def finish(outcome: Outcome) -> None:
            try:
                if not member.left:  # and if it was reset meanwhile, there is nothing that would differ
                    self._go_on(member, query, group, gate, outcome if member.ready else Reset("rights"), announce)
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
                self._serving.add(Move(member.subscription.query, query, group, self.limits, finish))
                await done
        finally:
            for holder in holders:
                holder.awaited -= 1
            self._discard_empty(group, gate)

    @contextmanager
    def keeping_up(self, connection: Connection) -> Iterator[None]:
        """Within it a connection is told every step, or closed; so is one that is behind already."""
        if connection.outbox.is_behind:
            self.forget(connection, "slow")
        with self._catching_up.keeping_up(connection.outbox):
            yield

    def leave(self, member: Member) -> None:
        """Ends one subscription."""
        if member.left:
            return
        member.leave()
        self.metrics.live_subs -= 1
        self._discard_empty(member.group, member.gate)

    def covers(self, connection: Connection, mark: Mark) -> bool:
        """Whether the frames of that commit are in the connection's outbox."""
        lanes = {member.group.lane for member in connection.members.values()}
        return self._exact.covers(mark) and ("rerun" not in lanes or self._rerun.covers(mark))

    def await_marks(self, connection: Connection) -> None:
        """The connection awaits marks."""
        self._expecting.add(connection)

    def forget(self, connection: Connection, reason: EndReason) -> None:
        """Gives up a connection and all that it has."""
        connection.outbox.drop(reason)
        for member in list(connection.members.values()):
            self.leave(member)
        self._expecting.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self.metrics.live_connections -= 1
            self.metrics.slow_closes += connection.ended == "slow"

    def close_slow(self, connection: Connection) -> None:
        """Gives up a connection that takes too little; not at once, since whoever overfills an outbox is in the middle
        of a walk over groups and outboxes."""
        asyncio.get_running_loop().call_soon(self.forget, connection, "slow")

    # Following the log.

    async def _follow_exactly(self) -> None:
        async def work(batch: Batch) -> None:
            await self._exact_lane.work(batch)
            self._acknowledge()
            if batch.reset is not None:
                self._spawn(self._acknowledge_all())

        async def give_up() -> None:
            _log.error("the log cannot be worked through from %r; starting over", self._exact.position)
            position = (await self._store.read(())).position
            async with self._exact_lane.turn:
                self._exact_lane.start_over("gap", position)
            self._spawn(self._acknowledge_all())

        await Follower(
            self._store, self._exact, self.limits, self.metrics, work, lambda: self._serving.is_wanted, give_up,
            self.limits.tick,
        ).run()  # fmt: skip

    async def _run_again(self) -> None:
        async def work(batch: Batch) -> None:
            await self._rerun_lane.work(batch)
            self._acknowledge()

        async def give_up() -> None:
            _log.error("the log cannot be worked through from %r; starting over", self._rerun.position)
            self._rerun_lane.start_over("gap", (await self._store.read(())).position)

        while True:
            await self._rerun_lane.begun()
            self._rerun.advance(self._exact.position)
            await Follower(
                self._store, self._rerun, self.limits, self.metrics, work, lambda: bool(self._registry.dirty), give_up,
                self.limits.rerun_tick, lambda: not self._rerun_lane.is_followed,
            ).run()  # fmt: skip

    def _acknowledge(self) -> None:
        """Tells authors that what they wrote has been told."""
        if self._expecting:
            self._expecting = {one for one in self._expecting if one.acknowledge(partial(self.covers, one))}

    async def _acknowledge_all(self) -> None:
        """The same for all that is awaited now, after a reset: it may be of a log that is no more, which no position
        covers; but whatever is told behind a fence is younger."""
        awaited = [(connection, connection.awaited) for connection in self._expecting]
        await self.fence()
        for connection, marks in awaited:
            connection.acknowledge(marks.__contains__)

    # Subscriptions.

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

    def _member(
        self, connection: Connection, name: str, query: LiveQuery, group: AnyGroup, gate: Gate | None
    ) -> Member:
        subscription = self._subscription(name, query, group)
        self.metrics.live_subs += 1
        return Member(subscription, group, connection.format, connection.outbox, connection.members, gate)

    def _begin(
        self, connection: Connection, member: Member, outcome: Outcome | None, announce: Announce | None
    ) -> Subscribed:
        """Answers a client, and brings its member to its set."""
        subscribed = Subscribed(member.subscription, isinstance(outcome, Missed))
        if announce is not None:
            connection.send(announce(subscribed))
        if member.left:
            return subscribed
        if isinstance(outcome, Missed):
            self.metrics.resume_hits += 1
            self._joining.catch_up(member.group, member, outcome)
            return subscribed
        if outcome is not None:
            self._publisher.tell_reset(member, outcome.reason)
        self._start(member)
        return subscribed

    def _go_on(
        self, member: Member, query: LiveQuery, group: AnyGroup, gate: Gate | None, outcome: Outcome,
        announce: Announce | None,
    ) -> None:  # fmt: skip
        old = member.group, member.gate
        member.move(group, gate, self._subscription(member.subscription.name, query, group))
        self._discard_empty(*old)
        if announce is not None:
            member.outbox.send(announce(Subscribed(member.subscription, isinstance(outcome, Missed))))
        if isinstance(outcome, Missed):
            self._joining.catch_up(group, member, outcome)
        else:
            self._publisher.tell_reset(member, outcome.reason)
            self._start(member)

    def _start(self, member: Member) -> None:
        group = member.group
        if member.left or not self._is_open:
            return
        if isinstance(group, KeptGroup):
            self._joining.start(group, member)
        elif isinstance(group, RerunGroup):
            self._rerun_lane.start(group, member)

    def _end(self, group: Group, problem: Problem) -> None:
        """Ends every subscription of a group."""
        for member in list(group.members):
            member.outbox.send(member.format.problem(member.subscription, problem))
            self.leave(member)

    def _discard_empty(self, group: Group, gate: Barrier | None) -> None:
        if self._grouping.discard_empty(group, gate) and isinstance(group, RerunGroup):
            self._rerun_lane.forget(group)

    def _progress_of(self, lane: LaneName) -> Progress:
        return self._exact if lane == "exact" else self._rerun

    # Housekeeping.

    def _say_goodbye(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            if connection.ended is None:
                connection.send(connection.format.bye(self.retry_in()))
                connection.outbox.end("away")

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self.limits.sweep)
            self.sweep(asyncio.get_running_loop().time())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_due(member: Member) -> bool:
    """Whether a member is to get its set from the engine, which waits for nothing that its client does."""
    outbox = member.outbox
    return not (member.ready or member.left or outbox.is_behind or outbox.ended is not None)
