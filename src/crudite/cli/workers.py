"""`crudite run --workers N`: a parent that keeps N workers serving on one listening socket.

Theory of operation. The parent binds the socket and never imports the application. Each worker is this program again
(`WorkerProcess`), an ordinary `crudite run` on the socket that it inherits, tied to the parent by a `Tether`. New
connections wait in the socket's queue, which outlives every worker, so that none is refused while workers come and go.
There are N places; a task keeps each filled.

| what happens | what the parent does |
|---|---|
| start | starts the first worker alone: it brings the schema forward, or says why it cannot, which ends the parent |
| a worker is gone | another one in its place: at once, then after 1, 2, 4 … 30 seconds while they go soon |
| a worker is not heard of for long | has it say where it stands, kills it; it is gone, as above |
| SIGHUP | for each place in turn: starts a new one; when that answers, tells the old one to leave, waits for its end |
| … and the new one does not come up | leaves it at that; the old ones stay |
| SIGTTIN, SIGTTOU | one place more, one less |
| SIGTERM, SIGINT | tells all to end; kills what is left some seconds after the grace |
| a second SIGINT | ends them now |
| the parent is killed | each worker hears the end of its tether and ends as on SIGTERM |
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crudite.cli.accepting import MOST_WORKERS, Shares
from crudite.cli.tether import INTERVAL
from crudite.cli.worker import WorkerProcess

_ALLOWANCE = 5.0
"""Seconds that a worker has beyond its grace before it is killed."""
_SOON = 10.0
"""A worker that served for fewer seconds is gone soon."""
_LONGEST_PAUSE = 30.0
_NOW = 2.0

_log = logging.getLogger("crudite.workers")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How many workers there are, how many seconds each has to end, and after how many without a sign of life it is
    taken for hung; 0 is never."""

    count: int
    grace: float
    hung_after: float


def keep_workers(command: Sequence[str], listening: socket.socket, upkeep: Upkeep) -> int:
    """Keeps workers that run the command until a signal ends them; returns the exit code."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="crudite-run-") as directory:  # only its owner may enter it
        if not environment.get("CRUDITE_BUS"):
            environment["CRUDITE_BUS"] = f"unix://{directory}/bus"
        shares = Path(directory, "shares")
        parent = _Parent([*command, "--shares", str(shares)], listening, upkeep, environment, Shares.create(shares))
        return asyncio.run(parent.run())


class _Parent:
    def __init__(
        self,
        command: Sequence[str],
        listening: socket.socket,
        upkeep: Upkeep,
        environment: Mapping[str, str],
        shares: Shares,
    ) -> None:
        self._command = command
        self._listening = listening
        self._upkeep = upkeep
        self._environment = environment
        self._shares = shares
        self._workers: set[WorkerProcess] = set()
        self._places: dict[int, WorkerProcess] = {}
        self._placing = asyncio.Lock()
        self._count = upkeep.count
        self._ending = asyncio.Event()
        self._renewal = asyncio.Event()
        self._newest: WorkerProcess | None = None
        self._has_terminal = sys.stdin.isatty()

    async def run(self) -> int:
        """Keeps the workers until all have ended. Returns the exit code."""
        self._handle_signals()
        async with asyncio.TaskGroup() as self._tasks:
            first = await self._start(1)
            if not await first.answers() or self._ending.is_set():
                await first.gone()
                return 0 if self._ending.is_set() else first.code
            self._places[1] = first
            for number in range(1, self._count + 1):
                self._tasks.create_task(self._keep(number))
            self._tasks.create_task(self._renew_when_told())
            while not await self._is_ending_within(INTERVAL):
                await self._kill_hung()
        return 0

    async def _start(self, number: int) -> WorkerProcess:
        is_first = not self._workers
        command = self._command if is_first else [*self._command, "--restarted"]
        environment = {**self._environment, "CRUDITE_WORKER": str(number)}
        worker = await WorkerProcess.started(number, command, self._listening.fileno(), environment)
        self._workers.add(worker)
        self._tasks.create_task(self._mind(worker))
        if self._ending.is_set():
            worker.signal(signal.SIGTERM)
        return worker

    async def _mind(self, worker: WorkerProcess) -> None:
        await worker.run()
        self._workers.discard(worker)

    async def _keep(self, number: int) -> None:
        """Keeps a place filled, for as long as there is one."""
        clock = asyncio.get_running_loop().time
        pause = 0.0
        while not self._ending.is_set() and number <= self._count:
            worker, began = await self._placed(number), clock()
            if worker is None:
                break
            if await worker.answers():
                _log.info("%s answers", worker)
            await worker.gone()
            if self._places[number] is worker:
                self._shares.forget(number)  # it may not have had the time to do so
            if self._ending.is_set() or number > self._count or self._places[number] is not worker:
                continue
            pause = 0.0 if clock() - began > _SOON else pause
            _log.error("%s %s; another one starts%s", worker, worker.how_it_ended, f" in {pause:g} s" if pause else "")
            await self._is_ending_within(pause)
            pause = min(pause * 2, _LONGEST_PAUSE) or 1.0
        self._places.pop(number, None)

    async def _placed(self, number: int) -> WorkerProcess | None:
        """The worker of a place; a new one where there is none, or one that is gone. None when all end."""
        async with self._placing:
            worker = self._places.get(number)
            if self._ending.is_set():
                return None
            if worker is None or worker.is_gone:
                worker = self._places[number] = await self._start(number)
            return worker

    async def _renew_when_told(self) -> None:
        while not self._ending.is_set():
            await self._renewal.wait()
            self._renewal.clear()
            if not self._ending.is_set():
                _log.info("the workers are replaced, one after the other")
            for number in sorted(self._places):
                if self._ending.is_set() or not await self._renew(number):
                    break
            else:
                _log.info("all workers have been replaced")

    async def _renew(self, number: int) -> bool:
        """Puts a new worker in the place of the one that is there, and waits for that one's end. False, and all is
        left as it was, when the new one does not come up."""
        self._newest = new = await self._start(number)
        is_up = await new.answers()
        self._newest = None
        if not is_up:
            await new.gone()
            if not self._ending.is_set():
                _log.error("%s %s before it answered; the others stay as they are", new, new.how_it_ended)
            return False
        async with self._placing:
            old = self._places.get(number)
            if old is None:  # the place has gone meanwhile
                self._dismiss(new)
                return True
            self._places[number] = new
        self._dismiss(old)
        await old.gone()
        return True

    def _dismiss(self, worker: WorkerProcess) -> None:
        worker.leave()
        patience = self._upkeep.grace + _ALLOWANCE
        asyncio.get_running_loop().call_later(patience, worker.signal, signal.SIGKILL)

    async def _kill_hung(self) -> None:
        """Kills who has not been heard of for long. Time is counted in ticks, so that a machine that was suspended,
        or too busy to let even this process run, makes nobody seem hung."""
        hung = [worker for worker in self._workers if worker.tick() > self._upkeep.hung_after > 0]
        for worker in hung:
            _log.error("%s has given no sign of life for %g s; it is killed", worker, self._upkeep.hung_after)
        await asyncio.gather(*(worker.abort() for worker in hung))

    async def _is_ending_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return False
        return True

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGTTIN, self._resize, +1)
        loop.add_signal_handler(signal.SIGTTOU, self._resize, -1)

    def _end(self, number: signal.Signals) -> None:
        """Ends all workers; when asked again by Ctrl-C, now."""
        if self._ending.is_set() and number == signal.SIGTERM:
            return
        patience = _NOW if self._ending.is_set() else self._upkeep.grace + _ALLOWANCE
        told = signal.SIGINT if self._ending.is_set() else signal.SIGTERM
        self._ending.set()
        self._renewal.set()
        self._listening.close()  # once the workers have done so too, clients are refused and need not wait
        for worker in self._workers:
            worker.signal(told)
            asyncio.get_running_loop().call_later(patience, worker.signal, signal.SIGKILL)

    def _hang_up(self) -> None:
        if self._has_terminal and not sys.stdin.isatty():  # the terminal has gone, and nobody asks for new workers
            return self._end(signal.SIGTERM)
        if self._newest is not None:
            self._newest.signal(signal.SIGTERM)
        self._renewal.set()

    def _resize(self, step: int) -> None:
        if self._ending.is_set() or not 1 <= self._count + step <= MOST_WORKERS:
            return
        self._count += step
        if step > 0 and self._count not in self._places:
            self._tasks.create_task(self._keep(self._count))
        elif step < 0 and (last := self._places.get(self._count + 1)) is not None:
            self._dismiss(last)
