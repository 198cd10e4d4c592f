"""Following the log: one batch after the other, at a bounded rate, through failures of the store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from crudite.errors import StoreError
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.progress import Progress
from crudite.stores.base import Batch, Store

_log = logging.getLogger("crudite.live")
_STUCK = 5


class Follower:
    """Hands every batch after a lane's position to `work`, which advances it.

    `is_wanted` tells whether a batch is needed even if nothing has changed, `is_over` whether none is needed any more:
    then `run` returns. `tick` is the least time between two batches with changes. When work on the same place in
    the log fails again and again though the store does not, `give_up` must find another way on.
    """

    def __init__(
        self,
        store: Store,
        progress: Progress,
        limits: LiveLimits,
        metrics: Metrics,
        work: Callable[[Batch], Awaitable[None]],
        is_wanted: Callable[[], bool],
        give_up: Callable[[], Awaitable[None]],
        tick: float,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._progress = progress
        self._limits = limits
        self._metrics = metrics
        self._work = work
        self._is_wanted = is_wanted
        self._give_up = give_up
        self._tick = tick
        self._is_over = is_over
        self._pause = limits.retry[0]
        self._faults = 0

    async def run(self) -> None:
        """Follows until it is over, or cancelled."""
        while True:
            try:
                return await self._follow()
            except StoreError as error:
                _log.warning("the log cannot be followed, trying again in %.2f s: %s", self._pause, error)
            except Exception:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # the cleanup after a cancellation failed: whoever cancelled waits for the end
                self._faults += 1
                _log.exception("following the log failed, trying again in %.2f s", self._pause)
            self._metrics.failures += 1
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, self._limits.retry[1])

    async def _follow(self) -> None:
        if self._faults >= _STUCK:
            await self._give_up()
        batches = self._store.follow(self._progress.position, self._limits.bulk)
        try:
            while True:
                is_fenced, is_back = self._progress.ask(), self._pause > self._limits.retry[0]
                if is_fenced or is_back or self._is_wanted():
                    # Soon, and not now: a follower that has not begun yet would not hear it.
                    asyncio.get_running_loop().call_soon(self._store.wake)
                batch = await anext(batches, None)
                if batch is None:
                    raise StoreError("the store is closed")
                started = asyncio.get_running_loop().time()
                await self._work(batch)
                self._progress.pass_fences()
                if is_back:
                    _log.warning("the log is followed again")
                self._pause, self._faults = self._limits.retry[0], 0
                if self._is_over():
                    return
                if batch.changes or batch.bulk:
                    await self._keep_pace(started)
        finally:
            close = getattr(batches, "aclose", None)
            if close is not None:
                await close()

    async def _keep_pace(self, started: float) -> None:
        left = started + self._tick - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
