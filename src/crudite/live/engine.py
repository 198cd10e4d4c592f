"""The live engine: follows the change log of one store and keeps every subscription of this process true.

For each batch it finds the groups that the changes concern, makes one frame for each, and puts the frames'
bytes and one commit into the outboxes. Rerun groups are read in the batch's own snapshot; everything after
that read happens in one go, so that between any two awaits all groups, outboxes and cursors stand at one
position.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from crudite.changes import Change, Mark, Position, ResetReason
from crudite.errors import Conflict, Problem, Unavailable, Unexpected
from crudite.live.connection import Announce, Connection
from crudite.live.cursors import Cursors
from crudite.live.delivery import deliver
from crudite.live.follower import Follower
from crudite.live.frames import Format, Subscribed, Subscription
from crudite.live.groups import Group, Member, Sent
from crudite.live.joining import Joining, Missed
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import net_effect
from crudite.live.outbox import EndReason, Outbox
from crudite.live.progress import Progress
from crudite.live.registry import AnyGroup, Registry
from crudite.live.rerun import RerunGroup
from crudite.live.reruns import Reruns, Run
from crudite.messages import LiveQuery
from crudite.schema import Catalog
from crudite.stores.base import Batch, Store

_log = logging.getLogger("crudite.live")


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.limits = limits or LiveLimits()
        self.metrics = Metrics()
        self._store = store
        self._catalog = catalog
        self._cursors = Cursors(secret)
        self._registry = Registry(self.limits, self.metrics)
        self._reruns = Reruns(self._registry, self.metrics, clock, store.wake, self._end)
        self._connections: set[Connection] = set()
        self._expecting: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False

    async def __aenter__(self) -> Self:
        position = (await self._store.read(())).position
        self._progress = Progress(position, self._cursors, self._store.wake)
        self._joining = Joining(
            self._store, self._progress, self._cursors, self.limits, self.metrics, self._spawn, self._end
        )
        follower = Follower(
            self._store, self._progress, self.limits, self.metrics, self._work,
            lambda: bool(self._registry.dirty), self._give_up,
        )  # fmt: skip
        self._is_open = True
        self._spawn(follower.run())
        self._spawn(self._keep_sweeping())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for connection in list(self._connections):
            connection.send(connection.format.bye(self.retry_in()))
            connection.outbox.end("away")
        self._reruns.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def position(self) -> Position:
        """Everything up to here is in the outboxes."""
        return self._progress.position

    def connect(self, format: Format) -> Connection:
        """A connection for one client. Raises Unavailable when the engine is not running."""
        if not self._is_open:
            raise Unavailable("Live queries are not served at the moment.")
        outbox = Outbox(self.limits.outbox, lambda: self._close_slow(connection))
        outbox.touched = asyncio.get_running_loop().time()
        connection = Connection(self, format, outbox)
        self._connections.add(connection)
        self.metrics.live_connections += 1
        return connection

    def key(self, query: LiveQuery) -> str:
        """The key that a subscription to the query will have."""
        return self._cursors.key(query)

    def retry_in(self) -> int:
        """After how many milliseconds one client should come back: random, over a time that grows with the
        number of connections, so that they do not all come at once."""
        return 500 + random.randrange(1000 + 2 * len(self._connections))  # noqa: S311 (it spreads load)

    async def settled(self) -> None:
        """Returns when everything that was committed before the call has been handed to every connection."""
        await self._progress.fence()
        for connection in list(self._connections):
            await connection.outbox.drained()

    def sweep(self, now: float) -> None:
        """Gives idle connections a sign of life and a fresh cursor where due; `now` is the loop's clock."""
        for connection in self._connections:
            outbox, format = connection.outbox, connection.format
            is_served = any(member.ready for member in connection.members.values())
            if is_served and now - outbox.touched >= self.limits.refresh:
                outbox.send(format.commit(self._progress.cursor))
                outbox.touched = now
            elif now - max(outbox.touched, connection.pinged) >= format.heartbeat:
                outbox.send(format.ping())
                connection.pinged = now

    # What connections need of their engine (connection.Hub).

    async def join(
        self,
        connection: Connection,
        name: str,
        query: LiveQuery,
        resume: tuple[str, str | None] | None,
        announce: Announce | None,
    ) -> Subscribed:
        """Adds a subscription to a connection, see `Connection.subscribe`."""
        if connection.ended is not None or not self._is_open:
            raise Unavailable("The connection is closed.")
        self._refuse_unlogged(query)
        key = self._cursors.key(query)
        group = self._registry.group(query, key)
        subscription = Subscription(name, group.id, key, query)
        member = Member(subscription, group, connection.format, connection.outbox, connection.members)
        self.metrics.live_subs += 1
        try:
            missed = await self._joining.resume(group, *resume, is_torn=connection.format.is_torn) if resume else None
        except BaseException:
            self.leave(member)
            raise
        subscribed = Subscribed(subscription, isinstance(missed, Missed))
        if announce is not None:
            connection.send(announce(subscribed))
        if member.left:
            return subscribed
        if isinstance(missed, Missed):
            self._joining.catch_up(group, member, missed)
            return subscribed
        if missed is not None:
            self._tell_reset(member, missed.reason)
        self._start(member)
        return subscribed

    def leave(self, member: Member) -> None:
        """Ends one subscription."""
        if member.left:
            return
        group = member.group
        group.leave(member)
        self.metrics.live_subs -= 1
        if not group.members and isinstance(group, AnyGroup):
            self._registry.discard(group)
            self._joining.abandon(group)
            if isinstance(group, RerunGroup):
                self._reruns.forget(group)

    def covers(self, mark: Mark) -> bool:
        """Whether the frames of that commit are in the outboxes."""
        return self._progress.covers(mark)

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

    # The work on one batch.

    async def _work(self, batch: Batch) -> None:
        self.metrics.batches += 1
        self.metrics.changes += len(batch.changes)
        if batch.reset is not None:
            self._start_over(batch.reset.reason, batch.position)
            return
        net = net_effect(batch.changes)
        self._registry.soil(net)
        runs = await self._reruns.read(batch)
        self._publish(batch, net, runs)

    def _publish(self, batch: Batch, net: Sequence[Change], runs: Sequence[Run]) -> None:
        frames, void = self._exact_frames(net)
        frames += self._reruns.apply(runs)
        void += [(sent.group, "too_many") for sent in frames if sent.frame.events > self.limits.events]
        told = [sent for sent in frames if sent.frame.events <= self.limits.events]
        # Resets go first: the commit behind the frames must not vouch for sets that these frames leave out.
        starting = [member for group, reason in void for member in self._void(group, reason)]
        before = self._progress.cursor if told else ""
        self._progress.advance(batch.position)
        if told:
            now = asyncio.get_running_loop().time()
            for group in deliver(told, before, self._progress.cursor, now, self.metrics):
                self._end(group, Unexpected())
        self._joining.feed(_by_resource(batch.changes))
        self._joining.serve_waiting()
        for member in starting:
            self._start(member)
        self._acknowledge(self._progress.covers)
        self._measure_lag(batch.changes)

    def _exact_frames(self, net: Sequence[Change]) -> tuple[list[Sent], list[tuple[Group, ResetReason]]]:
        concerned, lost = self._registry.exact(net)
        void: list[tuple[Group, ResetReason]] = [(group, "undecodable") for group in lost]
        frames: list[Sent] = []
        for group, changes in concerned.items():
            if group in lost or not group.audiences:
                continue
            try:
                frame = group.frame(changes)
            except Exception:
                _log.exception("changes could not be told to group %s", group.id)
                void.append((group, "undecodable"))
                continue
            if frame is not None:
                frames.append(Sent(group, frame))
        return frames, void

    def _start_over(self, reason: ResetReason, position: Position) -> None:
        """What anybody holds is void; everybody gets a new snapshot at or after the position."""
        self._joining.spoil(reason)
        groups = self._registry.groups
        for group in groups:
            if isinstance(group, RerunGroup):
                group.forget()
                self._registry.dirty.add(group)
        starting = [member for group in groups for member in self._void(group, reason)]
        self._progress.advance(position)
        for member in starting:
            self._start(member)
        self._acknowledge(lambda _: True)  # the new snapshots show what became of every call

    async def _give_up(self) -> None:
        _log.error("the log cannot be worked through from %r; starting over", self._progress.position)
        self._start_over("gap", (await self._store.read(())).position)

    def _void(self, group: Group, reason: ResetReason) -> list[Member]:
        """Tells all who hold the group's set that it is void; returns them, to be started again."""
        members = [member for member in group.members if member.ready]
        for member in members:
            group.unseat(member)
            self._tell_reset(member, reason)
        return members

    def _tell_reset(self, member: Member, reason: ResetReason) -> None:
        self.metrics.resets[reason] += 1
        member.outbox.send(member.format.reset(member.subscription, reason))

    def _start(self, member: Member) -> None:
        group = member.group
        if not member.left and isinstance(group, AnyGroup) and self._joining.start(group, member):
            assert isinstance(group, RerunGroup)
            self._registry.dirty.add(group)
            self._store.wake()

    def _end(self, group: Group, problem: Problem) -> None:
        """Ends every subscription of a group."""
        for member in list(group.members):
            member.outbox.send(member.format.problem(member.subscription, problem))
            self.leave(member)

    def _acknowledge(self, covers: Callable[[Mark], bool]) -> None:
        if self._expecting:
            self._expecting = {one for one in self._expecting if one.acknowledge(covers)}

    def _measure_lag(self, changes: Sequence[Change]) -> None:
        after = next((change.after for change in reversed(changes) if change.after_json is not None), None)
        updated = after.get("updated_at") if after is not None else None
        if isinstance(updated, str):
            lag = (_utc_now() - datetime.fromisoformat(updated)).total_seconds()
            self.metrics.log_lag_seconds = max(lag, 0.0)

    # Housekeeping.

    def _refuse_unlogged(self, query: LiveQuery) -> None:
        schema = query.plan.selection.schema
        if not schema.logged:
            raise Conflict(f"Changes of {schema.name} are in no log, so it cannot be live.")

    def _close_slow(self, connection: Connection) -> None:
        # Not at once: whoever overfills an outbox is in the middle of a walk over groups and outboxes.
        asyncio.get_running_loop().call_soon(self.forget, connection, "slow")

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self.limits.sweep)
            self.sweep(asyncio.get_running_loop().time())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _by_resource(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.schema.name, []).append(change)
    return found
