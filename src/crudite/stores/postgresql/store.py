"""The PostgreSQL store: the port's promises, kept by joining a pool of connections and the followers' own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from crudite.changes import Change, Commit, Position, Reset, Unit
from crudite.errors import StoreError, StoreLocked
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog
from crudite.stores.base import MOST_CHANGES, Batch, Page, Pages, Row, Signal, Step
from crudite.stores.postgresql import install, log, migration
from crudite.stores.postgresql.connections import (
    MIGRATE,
    READ_SECONDS,
    Connection,
    connected,
    create_pool,
    parse,
)
from crudite.stores.postgresql.errors import PASSING, translated
from crudite.stores.postgresql.follow import SNAPSHOT, Follower
from crudite.stores.postgresql.log import PostgresqlPosition
from crudite.stores.postgresql.reads import read_page, read_pages, read_row
from crudite.stores.postgresql.statements import note_commit, perform
from crudite.stores.steps import refuse
from crudite.types import Key

_SECONDS_BETWEEN_LOOKS = 0.025
_MOST_TRIES = 5


class _Wakeup(asyncio.Event):
    """Makes one follower look; `is_wanted` when a batch is wanted even without changes."""

    is_wanted = False

    async def wait_for(self, seconds: float) -> None:
        """Waits until it is set, or so long."""
        with suppress(TimeoutError):  # not wait_for, which in Python 3.11 may lose a cancellation
            async with asyncio.timeout(seconds):
                await self.wait()


class PostgresqlStore:
    """A PostgreSQL database (16 or newer), which other programs and processes may write at the same time.

    `url` is libpq's: `postgresql://user:password@host:port/name?sslmode=require`; `?schema=name` keeps all
    tables in that PostgreSQL schema, which is made when it is not there. At most `connections` are open for
    requests, and one more for each follower.

    What is acknowledged is as durable as the server's `synchronous_commit` says; with `off` the last moments
    may be lost in a crash, and subscribers that saw them get a reset.
    """

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self._address = parse(url)
        self._connections = connections
        self._catalog = Catalog({})
        self._pool: Any = None
        self._secret = b""
        self._wakeups: set[_Wakeup] = set()
        self._tell: Callable[[], None] = lambda: None

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Connects, and brings the schema to the catalog's: by all the steps that it takes, or by none."""
        if self._pool is not None:
            raise StoreError(f"{self._address.shown}: the store is open already")
        async with connected(self._address, MIGRATE) as connection:
            await install.check_format(connection, self._address.shown)
            if not migrate:
                refuse((await migration.plan(connection, catalog)).all)
            await migration.migrate(connection, catalog, lose=False, schema=self._address.schema)
            await install.stay_home(connection)
            self._secret = await connection.fetchval('SELECT value FROM "_secret"')
        self._catalog = catalog
        self._pool = await create_pool(self._address, self._connections)

    @property
    def secret(self) -> bytes:
        """A random secret that lives in the database, the same for every process that opens it."""
        self._open_pool()
        return self._secret

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the server. Those who follow come to an end."""
        pool, self._pool = self._pool, None
        self.look()
        if pool is not None:
            await pool.close()

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads one record by its key."""
        async with self._connection() as connection:
            return await read_row(connection, selection, key)

    async def page(self, plan: Plan) -> Page:
        """Reads one page."""
        async with self._snapshot() if plan.total else self._connection() as connection:
            return await read_page(connection, plan)

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads pages in one snapshot, with its position."""
        async with self._snapshot() if plans else self._connection() as connection:
            head = await log.read_head(connection)
            return Pages(head.position, await read_pages(connection, plans))

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit durably, in a transaction of its own, or raises Refused and changes nothing."""
        for _ in range(_MOST_TRIES):
            try:
                async with self._connection() as connection:
                    commit = await _write(connection, unit)
            except _Passing:
                continue
            self._has_committed()
            return commit
        raise StoreLocked(f"{self._address.shown}: other transactions stand in the way again and again")

    async def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Yields what is committed after a position, by whomever; after `wake` a batch in any case."""
        position, wakeup = _own(since), _Wakeup()
        follower = Follower(self._address, lambda: self._catalog, most)
        self._wakeups.add(wakeup)
        try:
            while self._pool is not None:
                wanted, wakeup.is_wanted = wakeup.is_wanted, False
                wakeup.clear()
                if wanted or await follower.has_moved(position):
                    batch = await follower.next(position)
                    position = _own(batch.position)
                    if batch.is_news or wanted:
                        yield batch
                    await follower.release()
                else:
                    await wakeup.wait_for(_SECONDS_BETWEEN_LOOKS)
        finally:
            self._wakeups.discard(wakeup)
            await follower.close()

    def wake(self) -> None:
        """Makes followers look now, and give a batch even when there is nothing new."""
        for wakeup in self._wakeups:
            wakeup.is_wanted = True
        self.look()

    def look(self) -> None:
        """Makes followers look now."""
        for wakeup in self._wakeups:
            wakeup.set()

    async def signal(self, signal: Signal) -> None:
        """Writes a signal into the log, durably."""
        async with self._connection() as connection:
            await log.add_signal(connection, signal)
        self._has_committed()

    def on_commit(self, tell: Callable[[], None]) -> None:
        """`tell` is called when this process has committed something."""
        self._tell = tell

    async def changes(self, since: Position, until: Position, limit: int) -> Sequence[Change] | Reset:
        """The changes after `since` and not after `until`; a Reset when the log does not lead there."""
        async with self._snapshot() as connection:
            head, start, end = await log.read_head(connection), _own(since), _own(until)
            reset = await log.check(connection, start, head) or await log.check(connection, end, head)
            return reset or await log.read_changes(connection, self._catalog, start, end, limit)

    async def locate(self, token: bytes) -> Position | Reset:
        """The position of a token, if the log still leads on from there."""
        position = log.parse_token(token)
        if position is None:
            return Reset("epoch")
        async with self._snapshot() as connection:
            return await log.check(connection, position, await log.read_head(connection)) or position

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log, as far as no transaction is running that began before."""
        async with self._connection() as connection, connection.transaction():
            return await log.trim(connection, older_than, larger_than)

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The steps from the database's schema to the catalog's; also while the store is not open."""
        async with connected(self._address, MIGRATE) as connection:
            await install.check_format(connection, self._address.shown)
            return (await migration.plan(connection, catalog)).all

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Takes the steps in one transaction and goes on with the catalog; also while not open."""
        async with connected(self._address, MIGRATE) as connection:
            await install.check_format(connection, self._address.shown)
            steps = await migration.migrate(connection, catalog, lose=lose, schema=self._address.schema)
        self._catalog = catalog
        if self._pool is not None:
            await self._pool.expire_connections()  # their prepared statements know the old columns
            self.look()
        return steps

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with translated(self._address.shown):
            async with self._open_pool().acquire(timeout=READ_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that sees one moment."""
        async with self._connection() as connection:
            await connection.execute(SNAPSHOT)
            try:
                yield connection
            finally:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")

    def _open_pool(self) -> Any:
        if self._pool is None:
            raise StoreError(f"{self._address.shown}: the store is not open")
        return self._pool

    def _has_committed(self) -> None:
        self.look()
        self._tell()


class _Passing(Exception):
    """The transaction was lost to another one; a new one may succeed."""


async def _write(connection: Connection, unit: Unit) -> Commit:
    """Commits a unit. Raises Refused and _Passing, having changed nothing."""
    try:
        async with connection.transaction():
            stored = [await perform(connection, index, write) for index, write in enumerate(unit.writes)]
            mark = await note_commit(connection, unit.actor, unit.request)
        return Commit(mark, tuple(stored))
    except PASSING as error:
        raise _Passing from error


def _own(position: Position) -> PostgresqlPosition:
    if not isinstance(position, PostgresqlPosition):
        raise TypeError(f"expected a position of a PostgreSQL store, got {position!r}")
    return position
