"""How a subscription to an exact group comes to its set: by a snapshot, or from where it left off.

A snapshot is read beside the engine, which goes on meanwhile. No change may be missed or told twice at the seam, and
there is one order of steps that ensures it:

    1. a *feed* is registered: it gathers what every batch from now on may do to the group
    2. the snapshot is read, and with it its position
    3. the engine passes a fence: now it stands at or after that position
    4. the gathered changes are applied to the snapshot: each record that they name is then as its last image
    5. the result is the set at the engine's position: it is sent, then `ready` with the engine's cursor, and
       from then on frames

Some of the gathered changes may be in the snapshot already. That does no harm: all of them are applied, in order,
and the last image of a record is the same from either side. But where a set of keys has moved meanwhile, it may have
been otherwise in the middle of a batch, and the snapshot with it: then the set is read once more, at the position of a
batch itself (`serving`). Steps 4 and 5 are done between two batches. A resume
has the same form, with the log's changes since the cursor in the place of the snapshot; where other records decide
too, or a window is resumed, it ends as a job of a batch (`serving`). Whatever is gathered is void when the log
could not be followed; then it starts again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from crudite.changes import Change, Position, Reset, ResetReason, Undecodable
from crudite.errors import Problem, StoreError, TooLarge, Unavailable, Unexpected
from crudite.live.cursors import Cursors
from crudite.live.delivery import serve
from crudite.live.dependencies import Dependencies
from crudite.live.exact import ExactGroup, KeptGroup
from crudite.live.feeds import Feed, Feeds
from crudite.live.gates import Gate, is_gate_known
from crudite.live.groups import Group, Member, Snapshot
from crudite.live.jobs import Missed, Outcome, Reading, Resumption
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import net_effect
from crudite.live.parcels import Parcel
from crudite.live.progress import Progress
from crudite.live.serving import Serving
from crudite.live.tail import Tail
from crudite.live.tiers import bounded
from crudite.live.window import WindowGroup
from crudite.stores.base import Page, Store

_log = logging.getLogger("crudite.live")
T = TypeVar("T")
Passed: TypeAlias = Sequence[Change] | Reset


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a client left off: its cursor, and the key of its subscription."""

    cursor: str
    key: str | None

    def obstacle(self, key: str) -> ResetReason | None:
        """Why a subscription with another key does not go on from there; None for the same key."""
        if self.key == key:
            return None
        return "rights" if self.key is None or Cursors.same_schema(self.key, key) else "schema"


class Joining:
    """Brings members to their sets. `turn` is held for a moment between two batches; `spawn` starts work that outlives
    a call, `end` ends a group."""

    def __init__(
        self, store: Store, progress: Progress, cursors: Cursors, dependencies: Dependencies, feeds: Feeds,
        serving: Serving, tail: Tail, turn: asyncio.Lock, limits: LiveLimits, metrics: Metrics,
        spawn: Callable[[Coroutine[Any, Any, None]], object], end: Callable[[Group, Problem], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._progress = progress
        self._cursors = cursors
        self._dependencies = dependencies
        self._feeds = feeds
        self._serving = serving
        self._tail = tail
        self._turn = turn
        self._limits = limits
        self._metrics = metrics
        self._spawn = spawn
        self._end = end
        self._joins: dict[KeptGroup, list[Member]] = {}
        self._passes: dict[tuple[bytes, bytes], asyncio.Future[Passed]] = {}
        self._reads = asyncio.Semaphore(limits.snapshot_reads)

    def start(self, group: KeptGroup, member: Member) -> None:
        """Sees to it that the member gets its set."""
        if isinstance(group, WindowGroup):
            self._serving.show(group, member)
        elif group in self._joins:
            self._joins[group].append(member)
        else:
            self._joins[group] = [member]
            self._spawn(self._join(group))

    async def resume(self, member: Member, key: str, resume: Resume, finish: Callable[[Outcome], None]) -> None:
        """Calls `finish` with what a member, whose query has a key, has missed from a cursor up to the engine's
        position, or why that cannot be told; nothing happens between that position and the call."""
        group, gate, is_torn = member.group, member.gate, member.format.is_torn
        assert isinstance(group, KeptGroup)
        assert isinstance(gate, Gate | None)
        obstacle = resume.obstacle(key)
        if obstacle is not None:
            return finish(Reset(obstacle))
        token = self._cursors.open(resume.cursor)
        if token is None:
            return finish(Reset("epoch"))
        position: Position | None = None
        if self._tail.since(token) is None:
            located = await self._patiently(partial(self._locate, token))
            if isinstance(located, Reset):
                return finish(located)
            position = located
            await self._progress.fence()  # the cursor may be another process's, ahead of this engine
        with self._feeds.gathering(group, gate) as feed:
            held = self._tail.since(token)
            if held is not None:
                passed: Passed = held
            else:
                assert position is not None
                passed = await self._pass(position, self._progress.position)
            if isinstance(passed, Reset):
                return finish(passed)
            if len(passed) > self._limits.missed:
                return finish(Reset("too_many"))
            relevant = [change for change in passed if change.schema.name in feed.resources]
            if isinstance(group, ExactGroup) and not group.uses and gate is None:
                async with self._turn:
                    finish(self._missed(group, resume.cursor, relevant, feed, is_torn))
            else:
                await self._resume_at_a_batch(group, gate, resume, relevant, feed, is_torn, finish)

    async def fence(self) -> None:
        """Returns when the lane stands at or after everything that was committed before the call."""
        await self._progress.fence()

    async def _locate(self, token: bytes) -> Position | Reset:
        async with self._reads:  # all who were here may come back at once, each from a place of its own
            return await self._store.locate(token)

    def catch_up(self, group: Group, member: Member, missed: Missed) -> None:
        """Tells a member what it missed, in one frame, and gives it its place."""
        format, to, outbox, after = member.format, member.subscription, member.outbox, self._progress.cursor
        outbox.put(Parcel(format.resumed(missed.frame, to, missed.cursor, after), is_free=True))
        outbox.touched = asyncio.get_running_loop().time()
        group.seat(member)

    def _missed(self, group: ExactGroup, cursor: str, since: Sequence[Change], feed: Feed, is_torn: bool) -> Outcome:
        if feed.void is not None:
            return Reset(feed.void)
        changes = [*since, *feed.changes]
        try:
            frame = group.restated(changes) if is_torn else group.frame(net_effect(changes))
        except Undecodable:
            return Reset("undecodable")
        if frame is not None and frame.events > self._limits.events:
            return Reset("too_many")
        return Missed(cursor, frame)

    async def _resume_at_a_batch(
        self, group: KeptGroup, gate: Gate | None, resume: Resume, since: Sequence[Change], feed: Feed, is_torn: bool,
        finish: Callable[[Outcome], None],
    ) -> None:  # fmt: skip
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            try:
                finish(outcome)
            finally:
                if not finished.done():
                    finished.set_result(None)

        resumption = Resumption(
            group, gate, resume.cursor, since, feed, is_torn=is_torn,
            dependencies=self._dependencies, limits=self._limits, finish=done,
        )  # fmt: skip
        if isinstance(group, WindowGroup):
            self._serving.resume_window(group, resumption)
        else:
            self._serving.add(resumption)
        await finished

    async def _pass(self, since: Position, until: Position) -> Passed:
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
            reading.set_result(await self._patiently(lambda: self._store.changes(since, until, self._limits.missed)))
        except (Exception, asyncio.CancelledError) as error:
            is_stopped = isinstance(error, asyncio.CancelledError)
            reading.set_exception(Unavailable("Live queries are not served any more.") if is_stopped else error)
            reading.exception()  # nobody may be left to hear of it, and that is no fault
            if is_stopped:
                raise
        finally:
            del self._passes[span]

    async def _join(self, group: KeptGroup) -> None:
        try:
            await self._serve(group)
        except Problem as problem:
            del self._joins[group]
            self._end(group, problem)
        except Exception:
            _log.exception("a snapshot of group %s failed", group.id)
            del self._joins[group]
            self._end(group, Unexpected())
        except asyncio.CancelledError:
            del self._joins[group]
            raise

    async def _serve(self, group: KeptGroup) -> None:
        """Reads the set and gives it to all who wait for it then."""
        is_shaken = False
        while True:
            gates = [member.gate for member in self._joins[group] if isinstance(member.gate, Gate)]
            await self._dependencies.ready((*group.uses, *chain.from_iterable(gate.uses for gate in gates)))
            if is_shaken and await self._serve_at_a_batch(group):
                return None
            with ExitStack() as stack:
                position, page, feed = await self._read(group, stack)
                if not self._progress.stands_at(position.token):
                    await self._progress.fence()
                async with self._turn:
                    if feed.void is not None or not self._is_known(group):
                        continue
                    try:
                        is_shaken = self._dependencies.are_touched(group.rests_on, feed.changes)
                        if not is_shaken:
                            return self._show(group, _advanced(group, page, feed.changes))
                    except Undecodable:
                        continue  # as the store shows the record, it can be read: once more, from after the change

    async def _serve_at_a_batch(self, group: KeptGroup) -> bool:
        """The same, read at the engine's own position. Returns whether that could be done."""

        def take(page: Page) -> bool:
            if page.more or not self._is_known(group):
                return False
            self._show(group, page.records)
            return True

        reading = Reading(bounded(group.query.plan, self._limits.records), take)
        self._serving.add(reading)
        return await reading.done

    def _is_known(self, group: KeptGroup) -> bool:
        """Whether the sets are loaded by which the group's records, and those who wait for them, are judged."""
        return all(use.keys.is_loaded for use in group.uses) and all(map(is_gate_known, self._joins[group]))

    def _show(self, group: KeptGroup, records: Sequence[str]) -> None:
        """Gives the set as it is at the engine's position to all who wait for it."""
        snapshot, now = Snapshot(records), asyncio.get_running_loop().time()
        for member in self._joins.pop(group):
            self._metrics.snapshots += member.awaits(group)
            serve(group, member, snapshot, self._progress.cursor, now)

    async def _read(self, group: KeptGroup, stack: ExitStack) -> tuple[Position, Page, Feed]:
        """The group's page and its position, however long the store needs, and a feed that gathers from before."""
        plan = bounded(group.query.plan, self._limits.records)

        async def read() -> tuple[Position, Page, Feed]:
            stack.close()
            async with self._reads:
                feed = stack.enter_context(self._feeds.gathering(group))
                position, [page] = await self._store.read((plan,))
                return position, page, feed

        position, page, feed = await self._patiently(read)
        if page.more:
            raise TooLarge(f"A live query holds at most {self._limits.records} records.")
        return position, page, feed

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """What a read gives, however long the store needs until it can."""
        pause, longest = self._limits.retry
        while True:
            try:
                return await read()
            except StoreError as error:
                self._metrics.failures += 1
                _log.warning("a live query could not be read, trying again in %.2f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)


def _advanced(group: KeptGroup, page: Page, changes: Iterable[Change]) -> Sequence[str]:
    """The records of a page, brought forward to what they are after the changes."""
    last = {change.key: change for change in changes if change.schema is group.schema}
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
