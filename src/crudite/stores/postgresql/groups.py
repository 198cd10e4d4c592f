"""What waits together goes together: what is asked for is gathered by its shape, and run in groups.

Theory of operation. Each shape of statement has a lane. What is put into the lanes in one turn of the event loop is
handed out at its end to as many workers as there are connections, of which at most `abreast` take from one lane: what
comes while they are busy waits together. A worker takes one group after the other until nothing waits.

| what comes of a group | what becomes of its jobs |
|---|---|
| an outcome for each | each hears of its own |
| Apart, as the outcome of one | that one is run again, as a group of its own |
| Apart is raised: one spoiled it, and nothing is done | each half is run again, as a group of its own |
| another error is raised | all hear of it |
| a job has waited for longer than `patience` | StoreLocked, instead of a run |
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

from crudite.errors import StoreError, StoreLocked
from crudite.stores.settling import Outcome

logger = logging.getLogger("crudite.store")

Settle: TypeAlias = Callable[[Outcome], None]
"""Is told, once and on the event loop, what came of a job."""
Run: TypeAlias = Callable[[Sequence[Any], bool], Awaitable[Sequence[Outcome]]]
"""Runs the works of a group, and gives an outcome or Apart for each; told whether they have come apart from an earlier
one."""


class Apart(Exception):
    """A group cannot be run together, or one of it not with the others; nothing of that is done."""


class _Job(NamedTuple):
    work: Any
    settle: Settle
    since: float


class _Lane:
    """The jobs of one shape that wait, and how many groups of it are being run."""

    __slots__ = ("is_listed", "running", "shape", "waiting")

    def __init__(self, shape: Hashable) -> None:
        self.shape = shape
        self.waiting: deque[_Job] = deque()
        self.running = 0
        self.is_listed = False


class Limits(NamedTuple):
    """So many workers run groups; beyond what those of them take that are free, so many jobs may wait, each for so many
    seconds."""

    workers: int
    waiting: int
    patience: float


class Groups:
    """Runs jobs in groups of at most `most`, at most `abreast` of one shape at a time. `where` is what errors name.

    `waiting` is how many jobs no worker has taken yet, `refused` how many were told that too many waited, or they
    for too long.
    """

    def __init__(self, run: Run, where: str, limits: Limits, *, most: int, abreast: int) -> None:
        self._run = run
        self._where = where
        self._limits = limits
        self._most = most
        self._abreast = abreast
        self.waiting = self.refused = 0
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[Hashable, _Lane] = {}
        self._listed: deque[_Lane] = deque()  # those from which a group may be taken
        self._apart: deque[Sequence[_Job]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_called = False
        self._is_closed = False

    def put(self, shape: Hashable, work: Any, settle: Settle) -> None:
        """Takes a job, to be run with others of its shape. Raises a StoreError when it is not taken."""
        job = self._take(work, settle)
        lane = self._lanes.get(shape)
        if lane is None:
            lane = self._lanes[shape] = _Lane(shape)
        lane.waiting.append(job)
        self._list(lane)

    def put_apart(self, work: Any, settle: Settle) -> None:
        """Takes a job that is run by itself. Raises a StoreError when it is not taken."""
        self._apart.append([self._take(work, settle)])

    async def close(self) -> None:
        """Finishes what has been taken, and takes nothing more."""
        self._is_closed = True
        self._start()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _take(self, work: Any, settle: Settle) -> _Job:
        if self._is_closed:
            raise StoreError(f"{self._where}: the store is closed")
        workers, waiting, _ = self._limits
        if self.waiting >= waiting + (workers - len(self._tasks)) * self._most:
            self.refused += 1
            raise StoreLocked(f"{self._where}: {self.waiting} wait for one of {workers} connections")
        self.waiting += 1
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._start)
        return _Job(work, settle, self._loop.time())

    def _list(self, lane: _Lane) -> None:
        if lane.waiting and lane.running < self._abreast and not lane.is_listed:
            lane.is_listed = True
            self._listed.append(lane)

    def _start(self) -> None:
        self._is_called = False
        while (self._apart or self._listed) and len(self._tasks) < self._limits.workers:
            # with the group in its hands, so that the next one does not find it again
            task = self._loop.create_task(self._work(self._next()), name="crudite-group")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, step: Awaitable[None] | None) -> None:
        while step is not None:
            await step
            step = self._next()

    def _next(self) -> Awaitable[None] | None:
        """What a worker does next."""
        if self._apart:
            jobs = self._apart.popleft()
            self.waiting -= len(jobs)
            return self._finish(jobs, is_apart=True)
        if not self._listed:
            return None
        lane = self._listed.popleft()
        lane.is_listed = False
        lane.running += 1
        jobs = [lane.waiting.popleft() for _ in range(min(self._most, len(lane.waiting)))]
        self.waiting -= len(jobs)
        self._list(lane)
        return self._pass(lane, jobs)

    async def _pass(self, lane: _Lane, jobs: Sequence[_Job]) -> None:
        """Runs jobs that were taken from a lane."""
        await self._finish(jobs, is_apart=False)
        lane.running -= 1
        self._list(lane)
        if not lane.running and not lane.waiting:
            del self._lanes[lane.shape]

    async def _finish(self, jobs: Sequence[_Job], is_apart: bool) -> None:
        """Runs jobs to the end that this group comes to."""
        jobs = self._patient(jobs)
        if not jobs:
            return
        try:
            outcomes = await self._run([job.work for job in jobs], is_apart)
        except Apart:
            middle = len(jobs) // 2
            self._put_back(jobs[:middle])
            self._put_back(jobs[middle:])
            return
        except Exception as error:
            outcomes = [error] * len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Apart):
                self._put_back([job])
            else:
                self._settle(job, outcome)

    def _put_back(self, jobs: Sequence[_Job]) -> None:
        self._apart.append(jobs)
        self.waiting += len(jobs)

    def _patient(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """The jobs that may still be run; the others are told that they waited for too long."""
        oldest = self._loop.time() - self._limits.patience
        late = [job for job in jobs if job.since < oldest]
        if not late:
            return jobs
        self.refused += len(late)
        for job in late:
            reason = f"the database was busy for {self._limits.patience:g} seconds"
            self._settle(job, StoreLocked(f"{self._where}: {reason}"))
        return [job for job in jobs if job.since >= oldest]

    def _settle(self, job: _Job, outcome: Outcome) -> None:
        try:
            job.settle(outcome)
        except Exception:  # the others must hear all the same
            logger.exception("%s: nobody could be told of an outcome", self._where)
