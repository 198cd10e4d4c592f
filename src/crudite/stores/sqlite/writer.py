"""The one thread that writes: what waits together is committed together.

Theory of operation. The event loop gathers the units of one of its turns and puts them into a queue, so that the
thread is woken once for all of them; the thread takes all that wait and runs them in
one BEGIN IMMEDIATE … COMMIT, each unit in a savepoint where one statement's own atomicity is not enough. Processes take
turns (`turn`).
Nobody hears of an outcome before the COMMIT; then one call on the event loop settles all futures.

| what happens | what becomes of the unit | what becomes of the group |
|---|---|---|
| a write is refused | back to its savepoint, Refused | goes on |
| the transaction is gone (RAISE(ROLLBACK), full disk) | run again, alone, once | as this unit: each alone |
| COMMIT is refused (a deferred foreign key of another program's) | the same; alone, Refused | each alone |
| BEGIN or COMMIT fails (locked, full disk, an error of the disk) | StoreError | the same for all |
| the file at the path is another one after COMMIT | StoreError | the same for all, and no write is taken |
"""

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import apsw

from crudite.changes import Commit, Refused, Stored, Unit, Write
from crudite.errors import StoreError, StoreLocked
from crudite.stores.settling import Outcome, settle
from crudite.stores.sqlite.connections import Execute, File, Replaced, identity, pragma
from crudite.stores.sqlite.errors import refusal, store_error
from crudite.stores.sqlite.log import LAST
from crudite.stores.sqlite.statements import Clock, Performer, is_plain
from crudite.stores.sqlite.turn import Turn

T = TypeVar("T")

logger = logging.getLogger("crudite.store")

_MOST_WAITING = 20_000
_MOST_TOGETHER = 512
_NOTE_COMMITS = "INSERT INTO _commits (last, first, actor, request, interface, at) VALUES (?, ?, ?, ?, ?, ?)"
_HEAD = f"SELECT {LAST}"


class _Job(NamedTuple):
    """A unit to commit, or a function to run on the connection outside of any transaction; and who is told, on the
    event loop, what came of it."""

    work: Unit | Callable[[apsw.Connection], Any]
    settle: Callable[[Outcome], None]


def _may_fail_late(write: Write) -> bool:
    """Whether the write can fail after its main statement has succeeded."""
    after = write.returning is not None and not is_plain(write.returning)
    return after or write.check_after is not None or write.along is not None


class Writer:
    """Owns the writing connection from `start` to `close`.

    `verify` is called inside each transaction before which the schema has moved; `committed`, on the event
    loop, after each one.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        path: str,
        file: File,
        clock: Clock,
        verify: Callable[[apsw.Connection], None],
        committed: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._execute: Execute = connection.cursor().execute
        self._path = path
        self._clock = clock
        self._verify = verify
        self._committed = committed
        self._file = file
        self._schema_version = pragma(connection, "schema_version")
        self._performer = Performer(self._execute, clock)
        self._turn = Turn(path)
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathered: list[_Job] = []
        self._taken: deque[_Job] = deque()
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="crudite-write", daemon=True)
        self.wal_pages = 0
        connection.set_wal_hook(self._count_pages)
        self._head = 0
        self._gathers_images = True
        self._notes: list[tuple[int, int, str | None, str | None, str | None, int]] = []
        self._is_closed = False
        self.is_cut_off = False
        """Whether another file was found at the path; no write is taken then."""

    def trust_images(self, tables: frozenset[str]) -> None:
        """Answers with what the log keeps of these tables; before `start`, or by what the writer itself runs."""
        self._performer.trust_images(tables)

    def start(self) -> None:
        """Begins to take units."""
        self._thread.start()

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit. Raises Refused or a StoreError."""
        commit: Commit = await self._awaited(unit)
        return commit

    def submit(self, unit: Unit, settle: Callable[[Commit | Exception], None]) -> None:
        """Commits a unit and calls `settle` on the event loop with the commit, or with what `write` would raise."""
        self._put(_Job(unit, settle))

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """The result of `work(connection)`, run between two transactions. It leaves none open."""
        result: T = await self._awaited(work)
        return result

    async def close(self) -> None:
        """Finishes what has been accepted and lets go of the file."""
        self._is_closed = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _awaited(self, work: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        self._put(_Job(work, partial(settle, future)))
        return future

    def _put(self, job: _Job) -> None:
        if self._is_closed:
            raise StoreError(f"{self._path}: the store is closed")
        if self._waiting >= _MOST_WAITING:
            raise StoreLocked(f"{self._path}: {_MOST_WAITING} writes are waiting already")
        self._waiting += 1
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(job)

    def _hand_over(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def _run(self) -> None:
        try:
            while True:
                group, control, last = self._take()
                if group:
                    self._answer(group, self._commit([job.work for job in group]))
                if control is not None:
                    self._answer([control], [self._control(control.work)])
                if last:
                    return
        finally:
            self._connection.close(True)
            self._turn.close()

    def _count_pages(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def _take(self) -> tuple[list[_Job], _Job | None, bool]:
        """What waits: units up to the first function or the end."""
        group: list[_Job] = []
        while len(group) < _MOST_TOGETHER:
            if not self._taken:
                try:
                    gathered = self._queue.get(block=not group)
                except queue.Empty:
                    break
                if gathered is None:
                    return group, None, True
                self._taken.extend(gathered)
            job = self._taken.popleft()
            if not isinstance(job.work, Unit):
                return group, job, False
            group.append(job)
        return group, None, False

    def _control(self, work: Any) -> Outcome:
        self._turn.take()
        try:
            return work(self._connection)
        except apsw.Error as error:
            return store_error(error, self._path)
        except Exception as error:
            return error
        finally:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            self._turn.give()
            self._schema_version = pragma(self._connection, "schema_version")

    def _commit(self, units: Sequence[Any]) -> list[Outcome]:
        """What became of each unit, all of them committed or refused."""
        is_gathering = self._gathers_images
        outcomes = self._together(units)
        if outcomes is None and is_gathering and not self._gathers_images:
            outcomes = self._together(units)
        if outcomes is not None:
            return outcomes
        # the whole transaction was lost by one of them: each again, alone, and what then fails has failed
        return [(self._together([unit], alone=True) or [self._lost()])[0] for unit in units]

    def _lost(self) -> StoreError:
        return StoreError(f"{self._path}: the transaction was rolled back")

    def _together(self, units: Sequence[Unit], alone: bool = False) -> list[Outcome] | None:
        """What became of the units in one transaction; None when it was lost and they may be run again."""
        outcomes: list[Outcome] = []
        try:
            self._begin()
            inserted: list[int] = []  # the places of units whose images are still to be read
            for unit in units:
                outcome = self._insert(unit) if self._gathers_images and not alone else None
                if outcome is not None:
                    if isinstance(outcome, Stored):
                        inserted.append(len(outcomes))
                elif not self._read_images(units, outcomes, inserted):
                    return None
                else:
                    outcome = self._one(unit)
                outcomes.append(outcome)
                if not self._connection.in_transaction:
                    return [outcome] if alone and isinstance(outcome, Exception) else None
            if not self._read_images(units, outcomes, inserted):
                return None
            if self._notes:
                self._connection.executemany(_NOTE_COMMITS, self._notes)
            self._execute("COMMIT")
        except (
            apsw.ConstraintError,
            apsw.InterruptError,
        ) as error:  # by one of them, and it is not known which
            if not alone:
                return None
            if isinstance(error, apsw.ConstraintError):
                return [refusal(error, 0, units[0].writes[0])]
            return [store_error(error, self._path)]
        except Exception as error:
            failure = store_error(error, self._path) if isinstance(error, apsw.Error) else error
            return [failure] * len(units)
        finally:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            self._turn.give()
        if self._file != identity(self._path):
            return [self._replaced()] * len(units)
        return outcomes

    def _replaced(self) -> Replaced:
        self.is_cut_off = True
        return Replaced(self._path)

    def _begin(self) -> None:
        if self.is_cut_off:
            raise self._replaced()
        self._notes.clear()
        self._turn.take()
        self._execute("BEGIN IMMEDIATE")
        version = self._execute("PRAGMA schema_version").fetchall()[0][0]
        if version != self._schema_version:
            self._verify(self._connection)
            self._schema_version = self._execute("PRAGMA schema_version").fetchall()[0][0]
        self._head = self._execute(_HEAD).fetchall()[0][0]

    def _insert(self, unit: Unit) -> Outcome:
        """What was stored by a unit that is one plain create, or why it was not; None for any other."""
        if len(unit.writes) != 1:
            return None
        try:
            return self._performer.insert(0, unit.writes[0])
        except Exception as error:
            self._undo(False, isinstance(error, Refused))
            return store_error(error, self._path) if isinstance(error, apsw.Error) else error

    def _read_images(self, units: Sequence[Unit], outcomes: list[Outcome], inserted: list[int]) -> bool:
        """Makes commits of the outcomes of inserts, reading the log of all of them at once. False when the log
        does not tell: a trigger of somebody else's writes into it too. Then each reads its own from now on."""
        if not inserted:
            return True
        found = self._performer.images(self._head, [(units[at].writes[0], outcomes[at]) for at in inserted])
        if found is None:
            self._gathers_images = False
            return False
        now = time.time_ns() // 1000
        for at, (seq, stored) in zip(inserted, found, strict=True):
            outcomes[at] = Commit(str(seq), (stored,))
            unit = units[at]
            self._notes.append((seq, seq, unit.actor, unit.request, unit.interface, now))
        self._head = found[-1][0]
        inserted.clear()
        return True

    def _one(self, unit: Unit) -> Outcome:
        """A unit's commit, or why there is none; then nothing of it is left in the transaction."""
        writes = unit.writes
        if not writes:  # what was read of the log's head is of another transaction
            return Commit(None, ())
        saved = len(writes) != 1 or _may_fail_late(writes[0])
        if saved:
            self._execute("SAVEPOINT unit")
        try:
            perform = self._performer.perform
            stored = tuple([perform(index, write) for index, write in enumerate(writes)])
            if saved:
                self._execute("RELEASE unit")
            return Commit(self._note(unit), stored)
        except Exception as error:
            self._undo(saved, isinstance(error, Refused))
            return store_error(error, self._path) if isinstance(error, apsw.Error) else error

    def _undo(self, saved: bool, refused: bool) -> None:
        if not self._connection.in_transaction:
            return
        if saved:
            self._execute("ROLLBACK TO unit")
            self._execute("RELEASE unit")
        elif not refused:  # how far it came is not known: give the whole transaction up
            self._execute("ROLLBACK")

    def _note(self, unit: Unit) -> str | None:
        """The unit's mark, and a note of who asked for it, to be written beside the log."""
        head = self._performer.head or self._execute(_HEAD).fetchall()[0][0]
        if head == self._head:
            return None
        who = unit.actor, unit.request, unit.interface
        self._notes.append((head, self._head + 1, *who, time.time_ns() // 1000))
        self._head = head
        return str(head)

    def _answer(self, jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle_all, jobs, outcomes)
        except RuntimeError:  # the loop has ended; nobody waits any more
            return

    def _settle_all(self, jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            try:
                job.settle(outcome)
            except Exception:  # the others must hear all the same
                logger.exception("%s: nobody could be told of a write", self._path)
        self._committed()
