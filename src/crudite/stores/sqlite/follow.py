"""Following the change log: whole transactions, each batch with a snapshot that is held for reading at it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from crudite.changes import Position, Reset
from crudite.errors import StoreError
from crudite.query.plan import Plan
from crudite.schema import Catalog
from crudite.stores.base import Page, Stretch
from crudite.stores.sqlite.connections import READ_SECONDS, Deadline, Execute, File, connect_reader
from crudite.stores.sqlite.errors import translated
from crudite.stores.sqlite.log import Head, SqlitePosition, check, read_head, read_some
from crudite.stores.sqlite.reads import ReaderThreads, read_page

P = ParamSpec("P")
T = TypeVar("T")

_MOST_INLINE = 300
_MOST_PLANS_INLINE = 4


class SqliteBatch:
    """What was committed since the last batch, in commit order, and the snapshot just after it.

    The snapshot is let go when the next batch is asked for, or when nobody has read in it for 5 seconds.
    """

    def __init__(self, position: SqlitePosition, found: Stretch | Reset, snapshot: "_Snapshot") -> None:
        self.position: Position = position
        self.reset = found if isinstance(found, Reset) else None
        self.changes, self.bulk, self.signals = Stretch(()) if isinstance(found, Reset) else found
        self._snapshot = snapshot

    @property
    def is_news(self) -> bool:
        """Whether anything has happened."""
        return bool(self.changes or self.bulk or self.signals) or self.reset is not None

    async def fetch(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Reads exactly at the batch's position. Raises StoreError when its snapshot has been let go."""
        return await self._snapshot.fetch(self, plans)


class _Snapshot:
    """A connection of a follower's own and the read transaction on it, which one batch at a time may use."""

    def __init__(self, path: str, file: File, threads: ReaderThreads, is_cheap: Callable[[Plan], bool]) -> None:
        self._path = path
        self._threads = threads
        self._is_cheap = is_cheap
        self._connection = connect_reader(path, file)
        self._deadline = Deadline(self._connection)
        self._timer: asyncio.TimerHandle | None = None
        self._busy = asyncio.Lock()
        self.holder: SqliteBatch | None = None
        self.execute: Execute = self._connection.cursor().execute

    def begin(self) -> Head:
        """Takes a new snapshot in place of the old one."""
        self.end()
        self._deadline.start()
        self.execute("BEGIN")
        return read_head(self.execute)

    def schema_version(self) -> int:
        """The version of the file's schema, in the snapshot."""
        version: int = self.execute("PRAGMA schema_version").fetchall()[0][0]
        return version

    def end(self) -> None:
        """Lets the snapshot go."""
        self.holder = None
        if self._timer is not None:
            self._timer.cancel()
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def hold(self, batch: SqliteBatch) -> None:
        """Keeps the snapshot for a batch, for as long as it is read."""
        self.holder = batch
        self._renew()

    async def fetch(self, batch: SqliteBatch, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Pages in the snapshot of a batch, which must still hold it."""
        async with self._busy:
            if self.holder is not batch:
                raise StoreError(f"{self._path}: the batch's snapshot has been let go")
            self._deadline.start()
            try:
                if len(plans) <= _MOST_PLANS_INLINE and all(not p.total and self._is_cheap(p) for p in plans):
                    return self._pages(plans)
                return await self._elsewhere(self._pages, plans)
            finally:
                self._renew()

    async def changes(
        self, catalog: Catalog, since: SqlitePosition, until: SqlitePosition, most: int
    ) -> Stretch | Reset:
        """The changes between two positions in the snapshot; many of them are read on a thread."""
        if until.seq - since.seq <= _MOST_INLINE:
            return read_some(self.execute, catalog, since, until, most)
        return await self._elsewhere(read_some, self.execute, catalog, since, until, most)

    async def close(self) -> None:
        """Lets go of the file, when nobody reads any more."""
        async with self._busy:
            self.end()
            self._connection.close(True)

    async def _elsewhere(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The result of work with the connection, done on a thread. Who is cancelled meanwhile goes on when
        the thread has let go of the connection, which it is made to do at once."""
        reading = asyncio.ensure_future(self._threads.elsewhere(work, *args, **more))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            self._deadline.start(0)
            await asyncio.gather(reading, return_exceptions=True)
            raise

    def _pages(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        with translated(self._path):
            return tuple([read_page(self.execute, plan) for plan in plans])

    def _renew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(READ_SECONDS, self._expire)

    def _expire(self) -> None:
        if not self._busy.locked():
            self.end()


class Follower:
    """Makes one follower's batches; `verify` is asked when the schema is not the one that was verified. It looks at
    `most` changes of a resource in one batch."""

    def __init__(
        self,
        path: str,
        file: File,
        catalog: Callable[[], Catalog],
        threads: ReaderThreads,
        is_cheap: Callable[[Plan], bool],
        verified: Callable[[], int],
        verify: Callable[[], Awaitable[object]],
        most: int,
    ) -> None:
        self._most = most
        self._snapshot = _Snapshot(path, file, threads, is_cheap)
        self._path = path
        self._catalog = catalog
        self._verified = verified
        self._verify = verify

    async def next(self, since: SqlitePosition) -> SqliteBatch:
        """What leads from a position to the head, which may be the same place."""
        with translated(self._path):
            head = self._snapshot.begin()
            if self._snapshot.schema_version() != self._verified():
                self._snapshot.end()
                await self._verify()
                head = self._snapshot.begin()
            outcome = check(self._snapshot.execute, since, head)
            if outcome is None:
                found = await self._snapshot.changes(self._catalog(), since, head.position, self._most)
            else:
                found = outcome
        batch = SqliteBatch(head.position, found, self._snapshot)
        self._snapshot.hold(batch)
        return batch

    def release(self) -> None:
        """Lets the last batch's snapshot go."""
        self._snapshot.end()

    async def close(self) -> None:
        """Lets go of the file."""
        await self._snapshot.close()
