"""Serving: everything that has to be read exactly at the position of a batch, in as few reads as possible.

Key sets are loaded there, windows are loaded and shown to those who join them, those who resume get what they need
of the records, and subscriptions are moved from one query to another. All who wait share the reads.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import chain

from crudite.errors import Problem, Unavailable, Unexpected
from crudite.live.dependencies import Dependencies, Load
from crudite.live.groups import Group, Member
from crudite.live.jobs import Job, Resumption, Showing
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.progress import Progress
from crudite.live.span import Fetch
from crudite.live.window import WindowGroup
from crudite.query.plan import Plan
from crudite.stores.base import Page

_log = logging.getLogger("crudite.live")
_TRIES = 3
_MOST_LOADS = 4


class Serving:
    """The jobs that wait for a batch; `wake` asks for one."""

    def __init__(
        self, dependencies: Dependencies, progress: Progress, limits: LiveLimits, metrics: Metrics,
        wake: Callable[[], None], end: Callable[[Group, Problem], None],
    ) -> None:  # fmt: skip
        self._dependencies = dependencies
        self._progress = progress
        self._limits = limits
        self._metrics = metrics
        self._wake = wake
        self._end = end
        self._jobs: list[Job] = []
        self._showings: dict[WindowGroup, Showing] = {}
        self._stopped: Problem | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether anything waits."""
        return bool(self._jobs or self._showings or self._dependencies.are_wanted)

    def show(self, group: WindowGroup, member: Member) -> None:
        """The member is to get what a window shows."""
        self._showing(group).members.append(member)
        self._wake()

    def resume_window(self, group: WindowGroup, resumption: "Resumption") -> None:
        """A client that holds records of a window is to get the difference."""
        self._showing(group).resumptions.append(resumption)
        self._wake()
        if self._stopped is not None:
            self.stop(self._stopped)

    def add(self, job: Job) -> None:
        """A job for the next batch."""
        self._jobs.append(job)
        self._wake()
        if self._stopped is not None:
            self.stop(self._stopped)

    def stop(self, problem: Problem) -> None:
        """No job will be done any more."""
        self._stopped = problem
        jobs: list[Job] = [*self._showings.values(), *self._jobs]
        self._showings, self._jobs = {}, []
        for job in jobs:
            job.fail(problem)

    async def serve(self, fetch: Fetch) -> None:
        """Does the jobs that wait, at the position that `fetch` reads at, which must be the engine's. Of windows, which
        may take long to sort, a few are loaded; the others wait for the next batch, so that frames go out in between.

        When the reads fail each job is tried alone; one that fails three times in a row is given up. The others
        wait for the next batch, and the error is raised.
        """
        jobs: list[Job] = [_Loading(load) for load in self._dependencies.loads()]
        unloaded = [group for group in self._showings if not group.is_loaded]
        later = {group: self._showings.pop(group) for group in unloaded[_MOST_LOADS:]}
        jobs += [*self._showings.values(), *self._jobs]
        self._showings, self._jobs = later, []
        try:
            await self._do(jobs, fetch)
        except Exception as error:
            _log.warning("%d reads for live queries failed, trying each alone: %s", len(jobs), error)
            await self._do_singly(jobs, fetch)
        except asyncio.CancelledError:  # the engine stops: it tells whoever waits
            for job in jobs:
                self._put_back(job)
            raise
        finally:
            self._dependencies.tell_ready()

    async def _do(self, jobs: Sequence[Job], fetch: Fetch) -> None:
        for job in jobs:
            await job.prepare(fetch)
        plans = [job.plans for job in jobs]
        pages = iter(await fetch(list(chain.from_iterable(plans))) if any(plans) else ())
        found = [[next(pages) for _ in asked] for asked in plans]
        for job, read in zip(jobs, found, strict=True):
            try:
                job.take(read)
            except Exception:
                _log.exception("what was read for a live query could not be used")
                job.fail(Unexpected())

    async def _do_singly(self, jobs: Sequence[Job], fetch: Fetch) -> None:
        failure: Exception | None = None
        for job in jobs:
            try:
                await self._do([job], fetch)
            except Exception as error:
                job.failures += 1
                if job.failures >= _TRIES:
                    _log.exception("what a live query needs could not be read %d times", _TRIES)
                    job.fail(Unavailable("The live query could not be read."))
                else:
                    self._put_back(job)
                    failure = error
        if failure is not None:
            raise failure

    def _put_back(self, job: Job) -> None:
        if isinstance(job, Showing):
            later = self._showing(job.group)
            later.members += job.members
            later.resumptions += job.resumptions
            later.failures = job.failures
        elif not isinstance(job, _Loading):  # what is not loaded is loaded at the next batch in any case
            self._jobs.append(job)

    def _showing(self, group: WindowGroup) -> "Showing":
        showing = self._showings.get(group)
        if showing is None:
            showing = self._showings[group] = Showing(group, self._progress, self._metrics, self.show, self._end)
        return showing


class _Loading(Job):
    """Loads key sets."""

    def __init__(self, load: Load) -> None:
        plan, self._take = load
        self._plans = (plan,)

    @property
    def plans(self) -> Sequence[Plan]:
        return self._plans

    def take(self, pages: Sequence[Page]) -> None:
        self._take(pages[0])
