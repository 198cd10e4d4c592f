"""Running dirty groups again: in one read of the batch's snapshot, and when the time comes that they name."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from crudite.errors import Problem, Unavailable, Unexpected
from crudite.live.groups import Group, Sent
from crudite.live.limits import Metrics
from crudite.live.registry import Registry
from crudite.live.rerun import RerunGroup
from crudite.query.plan import Plan
from crudite.stores.base import Batch, Page

_log = logging.getLogger("crudite.live")
_TRIES = 3
_LONGEST_TIMER = 3600.0


@dataclass(frozen=True, slots=True)
class Run:
    """A group as it was read at one moment: the page of its plan, and those of its boundaries."""

    group: RerunGroup
    moment: datetime
    pages: Sequence[Page]


class Reruns:
    """Runs the registry's dirty groups. `end` ends a group; `wake` asks for a batch to run in."""

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
        end: Callable[[Group, Problem], None],
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._wake = wake
        self._end = end
        self._timers: dict[RerunGroup, asyncio.TimerHandle] = {}

    async def read(self, batch: Batch) -> Sequence[Run]:
        """Reads all dirty groups at the batch's position; nothing is applied yet.

        When the read fails, each group is read alone; one that fails three times in a row is ended. The error
        of another is raised, all are dirty again, and the batch has to be followed again.
        """
        groups, self._registry.dirty = self._registry.dirty, set()
        if not groups:
            return ()
        now = self._clock()
        asked = self._plans(groups, now)
        try:
            pages = iter(await batch.fetch([plan for _, plans in asked for plan in plans]))
            runs = [Run(group, now, [next(pages) for _ in plans]) for group, plans in asked]
        except Exception as error:
            _log.warning("running %d live queries again failed, trying each alone: %s", len(groups), error)
            runs = await self._read_singly(batch, asked, now)
        self._metrics.reruns += len(runs)
        return runs

    def apply(self, runs: Iterable[Run]) -> list[Sent]:
        """Takes what was read as the groups' new sets; returns the frames that lead there."""
        frames: list[Sent] = []
        for run in runs:
            if not run.group.members:
                continue
            run.group.failures = 0
            try:
                frame = run.group.apply(run.pages[0])
            except Problem as problem:
                self._end(run.group, problem)
                continue
            self._set_timer(run)
            if frame is not None:
                frames.append(Sent(run.group, frame))
        return frames

    def forget(self, group: RerunGroup) -> None:
        """The group is over."""
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """No timer goes off any more."""
        for group in list(self._timers):
            self.forget(group)

    def _plans(self, groups: Iterable[RerunGroup], now: datetime) -> list[tuple[RerunGroup, tuple[Plan, ...]]]:
        asked: list[tuple[RerunGroup, tuple[Plan, ...]]] = []
        for group in groups:
            try:
                asked.append((group, group.plans(now)))
            except Exception:
                _log.exception("live query %s could not be bound to %s", group.id, now)
                self._end(group, Unexpected())
        return asked

    async def _read_singly(
        self, batch: Batch, asked: Sequence[tuple[RerunGroup, tuple[Plan, ...]]], now: datetime
    ) -> list[Run]:
        runs: list[Run] = []
        failure: Exception | None = None
        for group, plans in asked:
            try:
                runs.append(Run(group, now, await batch.fetch(plans)))
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

    def _set_timer(self, run: Run) -> None:
        self.forget(run.group)
        moment = run.group.next_moment(run.pages[1:], run.moment)
        if moment is not None:
            # A long wait is cut short: clocks are set, and then the moment is another one away.
            delay = min(max((moment - self._clock()).total_seconds(), 0.0), _LONGEST_TIMER)
            self._timers[run.group] = asyncio.get_running_loop().call_later(delay, self._go_off, run.group)

    def _go_off(self, group: RerunGroup) -> None:
        del self._timers[group]
        self._registry.dirty.add(group)
        self._wake()
