"""How a subscription comes to its set: by a snapshot, or from where it left off.

A snapshot of an exact group is read beside the engine, which goes on meanwhile. No change may be missed or
told twice at the seam, and there is one order of steps that ensures it:

    1. a *feed* is registered: it gathers the changes of every batch from now on
    2. the snapshot is read, and with it its position
    3. the engine passes a fence: now it stands at or after that position
    4. the gathered changes are applied to the snapshot: each record that they name is then as its last image
    5. the result is the set at the engine's position: it is sent, then `ready` with the engine's cursor, and
       from then on frames

Some of the gathered changes may be in the snapshot already. That does no harm: all of them are applied, in
order, and the last image of a record is the same from either side. Steps 4 and 5 await nothing. A resume has
the same form, with the log's changes since the cursor in the place of the snapshot. A rerun group already
holds its set at the engine's position, or gets it with the next batch. Whatever is gathered is void when the
log could not be followed; then it starts again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from crudite.changes import Change, Position, Reset, ResetReason, Undecodable
from crudite.errors import Problem, StoreError, TooLarge, Unexpected
from crudite.live.cursors import Cursors
from crudite.live.delivery import serve
from crudite.live.exact import ExactGroup
from crudite.live.frames import Frame
from crudite.live.groups import Group, Member, Snapshot
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import net_effect
from crudite.live.progress import Progress
from crudite.live.registry import AnyGroup
from crudite.live.rerun import RerunGroup
from crudite.live.tiers import bounded
from crudite.stores.base import Page, Store

_log = logging.getLogger("crudite.live")
Passed: TypeAlias = Sequence[Change] | Reset


class Feed:
    """The changes of one resource from some moment on. `void`: they are not all of them."""

    def __init__(self, resource: str, limit: int) -> None:
        self.resource = resource
        self.void: ResetReason | None = None
        self._limit = limit
        self._gathered: list[Sequence[Change]] = []

    def add(self, changes: Sequence[Change]) -> None:
        """The changes of the next batch."""
        self._gathered.append(changes)
        self._limit -= len(changes)
        if self._limit < 0:
            self.void = self.void or "too_many"
            self._gathered = []

    @property
    def changes(self) -> Iterable[Change]:
        """All that was gathered, in order."""
        return chain.from_iterable(self._gathered)


@dataclass(frozen=True, slots=True)
class Missed:
    """What happened to a set since a cursor, net; nothing when there is no frame."""

    cursor: str
    frame: Frame | None


class Join:
    """Members of one exact group that wait for the same snapshot."""

    def __init__(self) -> None:
        self.members: list[Member] = []


class Joining:
    """Brings members to their sets. `spawn` starts work that outlives a call, `end` ends a group."""

    def __init__(
        self,
        store: Store,
        progress: Progress,
        cursors: Cursors,
        limits: LiveLimits,
        metrics: Metrics,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        end: Callable[[Group, Problem], None],
    ) -> None:
        self._store = store
        self._progress = progress
        self._cursors = cursors
        self._limits = limits
        self._metrics = metrics
        self._spawn = spawn
        self._end = end
        self._feeds: set[Feed] = set()
        self._joins: dict[ExactGroup, Join] = {}
        self._waiting: dict[RerunGroup, list[Member]] = {}
        self._passes: dict[tuple[bytes, bytes], asyncio.Future[Passed]] = {}
        self._reads = asyncio.Semaphore(limits.snapshot_reads)

    def start(self, group: AnyGroup, member: Member) -> bool:
        """Sees to it that the member gets its set. Returns whether the group has to run for it first."""
        if isinstance(group, ExactGroup):
            join = self._joins.get(group)
            if join is None:
                join = self._joins[group] = Join()
                self._spawn(self._join(group, join))
            join.members.append(member)
            return False
        if group.snapshot is not None:
            self._serve(group, [member], group.snapshot)
            return False
        self._waiting.setdefault(group, []).append(member)
        return True

    def feed(self, changes: Mapping[str, Sequence[Change]]) -> None:
        """Gives the changes of one batch, by resource, to whoever gathers them."""
        if not self._feeds:  # a set that was once large is slow to walk, even when it is empty
            return
        for feed in self._feeds:
            if feed.resource in changes:
                feed.add(changes[feed.resource])

    def spoil(self, reason: ResetReason) -> None:
        """The log could not be followed: what is gathered is void."""
        for feed in self._feeds:
            feed.void = reason

    def serve_waiting(self) -> None:
        """Serves the members of rerun groups that have run."""
        for group in [group for group in self._waiting if group.snapshot is not None]:
            assert group.snapshot is not None
            self._serve(group, self._waiting.pop(group), group.snapshot)

    def abandon(self, group: AnyGroup) -> None:
        """The group is over."""
        if isinstance(group, RerunGroup):
            self._waiting.pop(group, None)

    async def resume(self, group: AnyGroup, cursor: str, key: str | None, *, is_torn: bool = False) -> Reset | Missed:
        """What was missed from the cursor up to the engine's position, or why that cannot be told.

        With `is_torn` the client may hold a part of what came after the cursor.

        The caller has to `catch_up` without awaiting anything in between.
        """
        if key != group.key:
            return Reset("rights" if key is None or Cursors.same_schema(key, group.key) else "schema")
        if not isinstance(group, ExactGroup):
            return Reset("window")
        token = self._cursors.open(cursor)
        if token is None:
            return Reset("epoch")
        if self._progress.stands_at(token):
            return Missed(cursor, None)
        since = await self._store.locate(token)
        changes = since if isinstance(since, Reset) else await self._since(group, since)
        if isinstance(changes, Reset):
            return changes
        own = [change for change in changes if change.schema.name == group.schema.name]
        try:
            frame = group.restated(own) if is_torn else group.frame(net_effect(own))
        except Undecodable:
            return Reset("undecodable")
        if frame is not None and frame.events > self._limits.events:
            return Reset("too_many")
        return Missed(cursor, frame)

    def catch_up(self, group: Group, member: Member, missed: Missed) -> None:
        """Tells a resumed member what it missed, in one frame, and gives it its place."""
        self._metrics.resume_hits += 1
        format, to, outbox, after = member.format, member.subscription, member.outbox, self._progress.cursor
        if missed.frame is not None:
            outbox.send(*format.missed(missed.frame, to, missed.cursor, after))
        outbox.send(format.ready(to, after))
        outbox.touched = asyncio.get_running_loop().time()
        group.seat(member)

    async def _since(self, group: ExactGroup, since: Position) -> Reset | list[Change]:
        await self._progress.fence()  # the cursor may be another process's, ahead of this engine
        feed = self._new_feed(group)
        self._feeds.add(feed)
        try:
            changes = await self._pass(since, self._progress.position)
            if isinstance(changes, Reset):
                return changes
            return Reset(feed.void) if feed.void else [*changes, *feed.changes]
        finally:
            self._feeds.discard(feed)

    async def _pass(self, since: Position, until: Position) -> Sequence[Change] | Reset:
        """One pass over the log for all who resume between the same two positions at the same time."""
        span = since.token, until.token
        reading = self._passes.get(span)
        if reading is None:
            reading = self._passes[span] = asyncio.get_running_loop().create_future()
            self._spawn(self._read_log(span, since, until, reading))
        return await asyncio.shield(reading)

    async def _read_log(
        self, span: tuple[bytes, bytes], since: Position, until: Position, reading: "asyncio.Future[Passed]"
    ) -> None:
        try:
            reading.set_result(await self._store.changes(since, until, self._limits.missed))
        except Exception as error:
            reading.set_exception(error)
            reading.exception()  # nobody may be left to hear of it, and that is no fault
        finally:
            del self._passes[span]

    async def _join(self, group: ExactGroup, join: Join) -> None:
        try:
            snapshot = await self._snapshot(group)
        except Problem as problem:
            self._end(group, problem)
        except Exception:
            _log.exception("a snapshot of group %s failed", group.id)
            self._end(group, Unexpected())
        else:
            self._serve(group, join.members, snapshot)
        finally:
            del self._joins[group]

    async def _snapshot(self, group: ExactGroup) -> Snapshot:
        """The set at the engine's position at the moment of returning: use it before anything is awaited."""
        while True:
            feed = self._new_feed(group)
            try:
                position, page = await self._read(group, feed)
                if not self._progress.stands_at(position.token):
                    await self._progress.fence()
                if feed.void is None:
                    return Snapshot(_advanced(group, page, feed.changes))
            except Undecodable:  # as the store shows the record, it can be read: once more, from after the change
                continue
            finally:
                self._feeds.discard(feed)

    async def _read(self, group: ExactGroup, feed: Feed) -> tuple[Position, Page]:
        """The group's page and its position, however long the store needs; the feed gathers from before."""
        plan = bounded(group.query.plan, self._limits.records)
        pause, longest = self._limits.retry
        while True:
            try:
                async with self._reads:
                    self._feeds.add(feed)
                    position, [page] = await self._store.read((plan,))
                break
            except StoreError as error:
                self._metrics.failures += 1
                _log.warning("a snapshot could not be read, trying again in %.2f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        if page.more:
            raise TooLarge(f"A live query holds at most {self._limits.records} records.")
        return position, page

    def _new_feed(self, group: ExactGroup) -> Feed:
        return Feed(group.schema.name, self._limits.missed)

    def _serve(self, group: Group, members: Sequence[Member], snapshot: Snapshot) -> None:
        now = asyncio.get_running_loop().time()
        for member in members:
            self._metrics.snapshots += not member.left
            serve(group, member, snapshot, self._progress.cursor, now)


def _advanced(group: ExactGroup, page: Page, changes: Iterable[Change]) -> Sequence[str]:
    """The records of a page, brought forward to what they are after the changes."""
    last = {change.key: change for change in changes}
    if not last:
        return page.records
    held = dict(zip(page.keys, page.records, strict=True))
    for key, change in last.items():
        after = change.after
        if after is not None and group.matches(after):
            held[key] = group.text(after)
        else:
            held.pop(key, None)
    return list(held.values())
