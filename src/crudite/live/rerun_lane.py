"""The rerun lane: queries that only the store can answer are run again when something that they read has changed.

It follows the log by itself, with positions of its own, so that a slow query delays nobody but those that are run
again too; and it does so only while there is such a query. All that are dirty run in one read of a batch's
snapshot, or when the time comes that they name.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from crudite.changes import Position, ResetReason
from crudite.clock import Alarm, Clock
from crudite.errors import Problem, Unavailable, Unexpected
from crudite.live.delivery import serve
from crudite.live.groups import Group, Member, Sent
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import net_effect
from crudite.live.progress import Progress
from crudite.live.publisher import Publisher
from crudite.live.registry import Registry
from crudite.live.rerun import RerunGroup
from crudite.query.plan import Plan
from crudite.stores.base import Batch, Page

_log = logging.getLogger("crudite.live")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Run:
    """A group as it was read at one moment: the pages of its plans."""

    group: RerunGroup
    moment: datetime
    pages: Sequence[Page]


class RerunLane:
    """Runs the registry's dirty groups again. `exact` is the progress of the other lane, `end` ends a group, `wake`
    asks for a batch."""

    def __init__(
        self, registry: Registry, progress: Progress, exact: Progress, publisher: Publisher, limits: LiveLimits,
        metrics: Metrics, clock: Clock, wake: Callable[[], None], end: Callable[[Group, Problem], None],
    ) -> None:  # fmt: skip
        self._registry = registry
        self._progress = progress
        self._exact = exact
        self._publisher = publisher
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._wake = wake
        self._end = end
        self._alarms: dict[RerunGroup, Alarm] = {}
        self._waiting: dict[RerunGroup, list[Member]] = {}
        self._begun = asyncio.Event()

    @property
    def is_followed(self) -> bool:
        """Whether there is anything to be run again."""
        return self._registry.has_reruns

    async def begun(self) -> None:
        """Returns when there is anything to be run again."""
        while not self.is_followed:
            self._begun.clear()
            await self._begun.wait()

    def start(self, group: RerunGroup, member: Member) -> None:
        """Sees to it that the member gets its set."""
        if group.snapshot is not None:
            return self._serve(group, [member])
        self._waiting.setdefault(group, []).append(member)
        self._registry.dirty.add(group)
        self._begun.set()
        self._wake()

    async def fence(self) -> None:
        """Returns when the lane stands at or after everything that was committed before the call; while it is followed,
        or there is a group for which it is to be."""
        self._begun.set()
        await self._progress.fence()

    def forget(self, group: RerunGroup) -> None:
        """The group is over."""
        self._waiting.pop(group, None)
        self._silence(group)
        if not self.is_followed:
            self._wake()
            self._progress.ask()
            self._progress.pass_fences()  # there is nothing left to wait for

    def stop(self) -> None:
        """No alarm goes off any more."""
        for group in list(self._alarms):
            self._silence(group)

    async def work(self, batch: Batch) -> None:
        """Works through one batch."""
        if batch.reset is not None:
            return self.start_over(batch.reset.reason, batch.position)
        self._registry.soil(net_effect(batch.changes))
        for name in batch.bulk:
            self._registry.soil_resource(name)
        runs = await self._read(batch)
        self._publish(self._apply(runs), batch.position)

    def start_over(self, reason: ResetReason, position: Position) -> None:
        """What anybody holds is void; every group runs anew."""
        groups = [group for group in self._registry.groups if isinstance(group, RerunGroup)]
        for group in groups:
            group.forget()
        for member in self._publisher.publish([], dict.fromkeys(groups, reason), position):
            self._restart(member)

    def _publish(self, frames: Sequence[Sent], position: Position) -> None:
        starting = self._publisher.publish(frames, {}, position)
        for group in [group for group in self._waiting if group.snapshot is not None]:
            self._serve(group, self._waiting.pop(group))
        for member in starting:
            self._restart(member)

    def _restart(self, member: Member) -> None:
        if not member.left and isinstance(member.group, RerunGroup):
            self.start(member.group, member)

    def _serve(self, group: RerunGroup, members: Sequence[Member]) -> None:
        assert group.snapshot is not None
        now = asyncio.get_running_loop().time()
        for member in members:
            self._metrics.snapshots += member.awaits(group)
            progress = self._progress if member.format.has_lanes else self._exact
            serve(group, member, group.snapshot, progress.cursor, now)

    async def _read(self, batch: Batch) -> Sequence[_Run]:
        """Reads all dirty groups at the batch's position; nothing is applied yet.

        When the read fails, each group is read alone; one that fails three times in a row is ended. The error
        of another is raised, all are dirty again, and the batch has to be followed again.
        """
        groups, self._registry.dirty = self._registry.dirty, set()
        if not groups:
            return ()
        now, started = self._clock(), time.perf_counter()
        asked = self._plans(groups, now)
        try:
            pages = iter(await batch.fetch([plan for _, plans in asked for plan in plans]))
            runs = [_Run(group, now, [next(pages) for _ in plans]) for group, plans in asked]
        except Exception as error:
            _log.warning("running %d live queries again failed, trying each alone: %s", len(groups), error)
            runs = await self._read_singly(batch, asked, now)
        self._metrics.reruns += len(runs)
        self._metrics.rerun_seconds += time.perf_counter() - started
        return runs

    async def _read_singly(
        self, batch: Batch, asked: Sequence[tuple[RerunGroup, tuple[Plan, ...]]], now: datetime
    ) -> list[_Run]:
        runs: list[_Run] = []
        failure: Exception | None = None
        for group, plans in asked:
            try:
                runs.append(_Run(group, now, await batch.fetch(plans)))
            except Exception as error:
                group.failures += 1
                if group.failures >= _TRIES:
                    _log.exception("live query %s failed %d times and is ended", group.id, _TRIES)
                    self._end(group, Unavailable("The live query could not be read."))
                else:
                    failure = error
        if failure is not None:
            self._registry.dirty.update(group for group, _ in asked if group.members)
            raise failure
        return runs

    def _plans(self, groups: Iterable[RerunGroup], now: datetime) -> list[tuple[RerunGroup, tuple[Plan, ...]]]:
        asked: list[tuple[RerunGroup, tuple[Plan, ...]]] = []
        for group in groups:
            try:
                asked.append((group, group.plans(now)))
            except Exception:
                _log.exception("live query %s could not be bound to %s", group.id, now)
                self._end(group, Unexpected())
        return asked

    def _apply(self, runs: Iterable[_Run]) -> list[Sent]:
        """Takes what was read as the groups' new sets; returns the frames that lead there."""
        frames: list[Sent] = []
        for run in runs:
            if not run.group.members:
                continue
            run.group.failures = 0
            try:
                page, boundaries = run.group.result(run.pages)
                frame = run.group.apply(page)
            except Problem as problem:
                self._end(run.group, problem)
                continue
            self._set_alarm(run, boundaries)
            if frame is not None:
                frames.append(Sent(run.group, frame))
        return frames

    def _set_alarm(self, run: _Run, boundaries: Sequence[Page]) -> None:
        self._silence(run.group)
        moment = run.group.next_moment(boundaries, run.moment)
        if moment is not None:
            self._alarms[run.group] = self._clock.at(moment, partial(self._go_off, run.group))

    def _silence(self, group: RerunGroup) -> None:
        alarm = self._alarms.pop(group, None)
        if alarm is not None:
            alarm.cancel()

    def _go_off(self, group: RerunGroup) -> None:
        self._alarms.pop(group, None)
        self._registry.dirty.add(group)
        self._wake()
