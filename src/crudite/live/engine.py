"""The live engine: follows the change log of one store and keeps every subscription of this process true.

It joins the parts and is what connections and interfaces speak to. Two lanes follow the log, each by itself: the
exact one keeps queries from the changes themselves, the other one runs queries again. Between any two awaits, all
groups, outboxes and cursors of a lane stand at one position.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import ceil
from types import TracebackType
from typing import Any, Self

from crudite.changes import Mark, Position
from crudite.clock import Clock
from crudite.errors import Unavailable
from crudite.live.acknowledging import Acknowledging
from crudite.live.catching_up import CatchingUp
from crudite.live.connection import Announce, Connection, Holds
from crudite.live.cursors import Cursors
from crudite.live.dependencies import Dependencies
from crudite.live.exact_lane import ExactLane
from crudite.live.explain import Explanation, explain
from crudite.live.feeds import Feeds
from crudite.live.follower import Follower
from crudite.live.frames import Format, LaneName, Subscribed
from crudite.live.grouping import Grouping
from crudite.live.groups import Member
from crudite.live.joining import Joining, Resume
from crudite.live.leaving import STEP, steps
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.outbox import EndReason
from crudite.live.progress import Progress
from crudite.live.publisher import Publisher
from crudite.live.registry import Registry
from crudite.live.rerun_lane import RerunLane
from crudite.live.serving import Serving
from crudite.live.subscriptions import Subscriptions
from crudite.live.tail import Tail
from crudite.messages import LiveQuery
from crudite.schema import Catalog
from crudite.stores.base import Batch, Signal, Store

_log = logging.getLogger("crudite.live")


class Engine:
    """Keeps live queries on one open store: `async with Engine(store, catalog, secret=…) as engine`.

    `secret` (16 bytes or more, the same in all processes and across restarts) protects cursors and keys;
    `clock` tells the time that queries mean by `now`. `hear` is told of the signals in the log, and None where some may
    have been missed; `foresee` of every batch, before anything of it is told. Leaving the block says goodbye to every
    connection.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        *,
        secret: bytes,
        limits: LiveLimits | None = None,
        clock: Callable[[], datetime] | None = None,
        hear: Callable[[Sequence[Signal] | None], None] = lambda signals: None,
        foresee: Callable[[Batch], None] | None = None,
    ) -> None:
        self.limits = limits or LiveLimits()
        self.metrics = Metrics()
        self._store = store
        self._catalog = catalog
        self._clock = Clock.of(clock)
        self._hear = hear
        self._foresee = foresee
        self._cursors = Cursors(secret)
        self._dependencies = Dependencies(self.limits.keys)
        self._registry = Registry(self.limits, self.metrics, self._dependencies)
        self._grouping = Grouping(self._registry, self._dependencies, self._cursors, store.wake)
        self._subscriptions = Subscriptions(self._grouping, self._cursors, self.limits, self.metrics, self._spawn)
        self._acknowledging = Acknowledging(self.covers, self.fence)
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        position = (await self._store.read(())).position
        wake, limits, metrics = self._store.wake, self.limits, self.metrics
        start, end = self._subscriptions.start, self._subscriptions.end
        self._exact, self._rerun = Progress(position, self._cursors, wake), Progress(position, self._cursors, wake)
        feeds, tail = Feeds(limits.missed), Tail(limits.tail, position)
        self._serving = Serving(self._dependencies, self._exact, limits, metrics, wake, end)
        self._exact_lane = ExactLane(
            self._registry, self._dependencies, feeds, self._serving, tail,
            Publisher(self._exact, None, limits, metrics, end), limits, metrics, start,
        )  # fmt: skip
        publisher = Publisher(self._rerun, self._exact, limits, metrics, end)
        self._rerun_lane = RerunLane(
            self._registry, self._rerun, self._exact, publisher, limits, metrics, self._clock, wake, end
        )
        self._joining = Joining(
            self._store, self._exact, self._cursors, self._dependencies, feeds, self._serving, tail,
            self._exact_lane.turn, limits, metrics, self._spawn, end,
        )  # fmt: skip
        self._catching_up = CatchingUp(
            self._serving, self._dependencies, tail, self._exact, self._cursors, limits, metrics, start, end
        )
        self._subscriptions.opened(self._joining, self._serving, self._catching_up, self._rerun_lane, publisher)
        self._is_leaving = False
        self._spawn(self._follow_exactly())
        self._spawn(self._run_again())
        self._spawn(self._keep_sweeping())
        self._following = frozenset(self._tasks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscriptions.closed()
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
        if not self._subscriptions.are_open:
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
        self, connection: Connection, name: str, query: LiveQuery, resume: Resume | None, announce: Announce | None,
        holds: Holds,
    ) -> Subscribed:  # fmt: skip
        """Adds a subscription to a connection, see `Connection.subscribe`."""
        return await self._subscriptions.join(connection, name, query, resume, announce, holds)

    async def move(self, member: Member, query: LiveQuery, announce: Announce | None, holds: Holds) -> None:
        """Leads a subscription on to another query, see `Connection.move`."""
        await self._subscriptions.move(member, query, announce, holds)

    def suspend(self, connection: Connection) -> None:
        """Shows a connection nothing for now, see `Connection.suspend`."""
        if connection.outbox.is_behind:
            return self.forget(connection, "slow")
        for member in connection.members.values():
            self._subscriptions.suspend(member)

    @contextmanager
    def keeping_up(self, connection: Connection) -> Iterator[None]:
        """Within it a connection is told every step, or closed; so is one that is behind already."""
        if connection.outbox.is_behind:
            self.forget(connection, "slow")
        with self._catching_up.keeping_up(connection.outbox):
            yield

    def leave(self, member: Member) -> None:
        """Ends one subscription."""
        self._subscriptions.leave(member)

    def covers(self, connection: Connection, mark: Mark) -> bool:
        """Whether the frames of that commit are in the connection's outbox."""
        lanes = {member.group.lane for member in connection.members.values()}
        return self._exact.covers(mark) and ("rerun" not in lanes or self._rerun.covers(mark))

    def await_marks(self, connection: Connection) -> None:
        """The connection awaits marks."""
        self._acknowledging.add(connection)

    def forget(self, connection: Connection, reason: EndReason) -> None:
        """Gives up a connection and all that it has."""
        connection.outbox.drop(reason)
        for member in list(connection.members.values()):
            self.leave(member)
        self._acknowledging.forget(connection)
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
            if self._foresee is not None:
                self._foresee(batch)
            await self._exact_lane.work(batch)
            self._acknowledging.tell()
            if batch.signals:
                self._hear(batch.signals)
            if batch.reset is not None:
                self._has_started_over()

        async def give_up() -> None:
            _log.error("the log cannot be worked through from %r; starting over", self._exact.position)
            position = (await self._store.read(())).position
            async with self._exact_lane.turn:
                self._exact_lane.start_over("gap", position)
            self._has_started_over()

        await Follower(
            self._store, self._exact, self.limits, self.metrics, work, lambda: self._serving.is_wanted, give_up,
            self.limits.tick,
        ).run()  # fmt: skip

    def _has_started_over(self) -> None:
        self._hear(None)
        self._spawn(self._acknowledging.tell_all())

    async def _run_again(self) -> None:
        async def work(batch: Batch) -> None:
            if self._foresee is not None:  # this lane may be the first that comes to it
                self._foresee(batch)
            await self._rerun_lane.work(batch)
            self._acknowledging.tell()

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

    # Housekeeping.

    def _progress_of(self, lane: LaneName) -> Progress:
        return self._exact if lane == "exact" else self._rerun

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
