"""The PostgreSQL store: the port's promises, kept by joining a pool of connections and the followers' own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from crudite.changes import Change, Commit, Position, Reset, Unit
from crudite.errors import StoreError
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import MOST_CHANGES, Batch, HistoryFigures, Kept, Load, Page, Pages, Past, Row, Signal, Step
from crudite.stores.postgresql import history, install, log, migration, numbers
from crudite.stores.postgresql.connections import (
    REQUEST,
    Connection,
    migrating,
    parse,
)
from crudite.stores.postgresql.follow import SNAPSHOT, Follower
from crudite.stores.postgresql.groups import Limits
from crudite.stores.postgresql.inserts import is_insert
from crudite.stores.postgresql.log import PostgresqlPosition
from crudite.stores.postgresql.lookups import Lookups
from crudite.stores.postgresql.pool import CONNECTIONS, Pool, Use
from crudite.stores.postgresql.reads import Emptied, read_page, read_pages
from crudite.stores.postgresql.trimming import trim
from crudite.stores.postgresql.watch import Watch
from crudite.stores.postgresql.writes import Writes
from crudite.stores.settling import settle
from crudite.stores.steps import refuse
from crudite.types import Key

A = TypeVar("A")
T = TypeVar("T")

_MOST_TRIES = 3


class _Groups(NamedTuple):
    """What goes together with others of its kind."""

    lookups: Lookups
    writes: Writes


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
    requests, unless the URL says how many, and one more for each follower.

    What is acknowledged is as durable as the server's `synchronous_commit` says; with `off` the last moments
    may be lost in a crash, and subscribers that saw them get a reset.
    """

    def __init__(self, url: str, *, connections: int = CONNECTIONS) -> None:
        self._address = parse(url)
        self._connections = self._address.connections or connections
        self._catalog = Catalog({})
        self._pool: Pool | None = None
        self._groups: _Groups | None = None
        self._secret = b""
        self._watch = Watch()
        self._wakeups: set[_Wakeup] = set()
        self._locating: dict[PostgresqlPosition, asyncio.Future[Position | Reset]] = {}
        self._tell: Callable[[], None] = lambda: None
        self.history_figures = HistoryFigures()

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Connects, and brings the schema to the catalog's: by all the steps that it takes, or by none."""
        if self._pool is not None:
            raise StoreError(f"{self._address.shown}: the store is open already")
        async with migrating(self._address) as connection:
            await install.check_format(connection, self._address.shown)
            if not migrate:
                refuse((await migration.plan(connection, catalog)).all)
            await migration.migrate(connection, catalog, lose=False, schema=self._address.schema)
            await self._watch.look(connection, catalog, at_once=True)
            self._secret = await connection.fetchval('SELECT value FROM "_secret"')
        self._catalog = catalog
        pool = Pool(self._address, REQUEST, self._connections)
        await pool.open()
        self._pool = pool
        limits = Limits(self._connections, self._address.waiting, self._address.patience)
        self._groups = _Groups(Lookups(pool, limits), Writes(pool, self._has_committed, limits))

    @property
    def shown(self) -> str:
        """Where it is, without its password."""
        return self._address.shown

    @property
    def is_shared(self) -> bool:
        """Whoever reaches the server can open it."""
        return True

    async def exists(self) -> bool:
        """A database on a server is there: it is not for us to make."""
        return True

    @property
    def secret(self) -> bytes:
        """A random secret that lives in the database, the same for every process that opens it."""
        self._open_pool()
        return self._secret

    @property
    def load(self) -> Load:
        """How busy the connections for requests are."""
        load, queues = self._open_pool().load, [self._open_groups().lookups.groups, self._open_groups().writes.groups]
        waiting, refused = sum(queue.waiting for queue in queues), sum(queue.refused for queue in queues)
        return replace(load, waiting=load.waiting + waiting, refused=load.refused + refused)

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the server. Those who follow come to an end."""
        pool, self._pool = self._pool, None
        groups, self._groups = self._groups, None
        self.look()
        if groups is not None:
            await groups.lookups.groups.close()
            await groups.writes.groups.close()
        if pool is not None:
            await pool.close()

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads one record by its key, together with the others that are asked for meanwhile."""
        future: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._open_groups().lookups.ask(selection, key, partial(settle, future))
        return await future

    def ask(self, selection: Selection, key: Key, settle: Callable[[Row | Exception | None], None]) -> None:
        """Reads one record by its key as `lookup` does, and calls `settle` with what came of it."""
        self._open_groups().lookups.ask(selection, key, settle)

    async def page(self, plan: Plan) -> Page:
        """Reads one page."""
        work = _in_snapshot if plan.total else _at_once
        return await self._open_pool().read(work, read_page, plan)

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads pages in one snapshot, with its position; in another one when a table was emptied meanwhile."""
        work = _in_snapshot if plans else _at_once
        for _ in range(_MOST_TRIES - 1):
            with suppress(Emptied):
                return await self._open_pool().read(work, _read, (plans, self._catalog))
        return await self._open_pool().read(work, _read, (plans, self._catalog))

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit durably, or raises Refused and changes nothing."""
        writes = self._open_groups().writes
        if not is_insert(unit):
            return await writes.commit(unit)
        future: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        writes.submit(unit, partial(settle, future))
        return await future

    def submit(self, unit: Unit, settle: Callable[[Commit | Exception], None]) -> None:
        """Commits a unit as `write` does, and calls `settle` with what came of it."""
        self._open_groups().writes.submit(unit, settle)

    async def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Yields what is committed after a position, by whomever; after `wake` a batch in any case."""
        position, wakeup = _own(since), _Wakeup()
        follower = Follower(self._address, lambda: self._catalog, self._watch, most)
        self._wakeups.add(wakeup)
        try:
            while self._pool is not None:
                wanted, is_heard = wakeup.is_wanted, wakeup.is_set()
                wakeup.is_wanted = False
                wakeup.clear()
                if is_heard or await follower.has_moved(position):
                    batch = await follower.next(position)
                    position = _own(batch.position)
                    if batch.is_news or wanted:
                        yield batch
                if not wakeup.is_set():
                    await follower.release()
                    await wakeup.wait_for(self._address.poll)
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
        stretch = _own(since), _own(until)
        return await self._open_pool().read(_in_snapshot, _changes, (self._catalog, *stretch, limit))

    async def locate(self, token: bytes) -> Position | Reset:
        """The position of a token, if the log still leads on from there."""
        position = log.parse_token(token)
        if isinstance(position, Reset):
            return position
        locating = self._locating.get(position)  # those who come back after a restart have a few places among them
        if locating is None:
            locating = asyncio.ensure_future(self._open_pool().read(_in_snapshot, _locate, position))
            self._locating[position] = locating
            locating.add_done_callback(partial(self._has_located, position))
        return await asyncio.shield(locating)

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log by whole parts of it, as far as no transaction is running that began before."""
        async with self._connection() as connection:
            gone, kept = await trim(connection, older_than, larger_than)
            self.history_figures.kept += kept
            for table, seconds in await history.limited(connection):
                self.history_figures.dropped += await history.prune(connection, table, seconds)
            return gone

    async def history(self, schema: ResourceSchema, key: Key, *, before: int | None, limit: int) -> Sequence[Past]:
        """The changes of one record, the latest first."""
        return await self._open_pool().read(_in_snapshot, history.read, (schema, key, before, limit))

    async def kept(self) -> Sequence[Kept]:
        """What is kept beyond the log."""
        async with self._connection() as connection:
            return await history.measure(connection)

    async def prune(self, table: str, older_than: float) -> int:
        """Lets go of what is kept of a table and older, a part at a time."""
        async with self._connection() as connection:
            dropped = await history.prune(connection, table, older_than)
            self.history_figures.dropped += dropped
            return dropped

    async def numbers(self, schema: ResourceSchema, count: int) -> Sequence[Key]:
        """Keys of records that are not there yet; nobody else is given them."""
        async with self._connection() as connection:
            return await numbers.take(connection, schema, count)

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The steps from the database's schema to the catalog's; also while the store is not open."""
        async with migrating(self._address) as connection:
            await install.check_format(connection, self._address.shown)
            return (await migration.plan(connection, catalog)).all

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Takes the steps in one transaction and goes on with the catalog; also while not open."""
        async with migrating(self._address) as connection:
            await install.check_format(connection, self._address.shown)
            steps = await migration.migrate(connection, catalog, lose=lose, schema=self._address.schema)
        self._catalog = catalog
        if self._pool is not None:
            self._pool.expire()  # their prepared statements know the old columns
            self.look()
        return steps

    def _connection(self) -> Use:
        return self._open_pool().use()

    def _open_pool(self) -> Pool:
        if self._pool is None:
            raise StoreError(f"{self._address.shown}: the store is not open")
        return self._pool

    def _open_groups(self) -> "_Groups":
        if self._groups is None:
            raise StoreError(f"{self._address.shown}: the store is not open")
        return self._groups

    def _has_located(self, position: PostgresqlPosition, locating: "asyncio.Future[Position | Reset]") -> None:
        del self._locating[position]
        if not locating.cancelled():
            locating.exception()  # nobody may be there any more to be told

    def _has_committed(self) -> None:
        self.look()
        self._tell()


async def _read(connection: Connection, asked: tuple[Sequence[Plan], Catalog]) -> Pages:
    head = await log.read_head(connection)
    return Pages(head.position, await read_pages(connection, *asked))


async def _changes(
    connection: Connection, asked: tuple[Catalog, PostgresqlPosition, PostgresqlPosition, int]
) -> Sequence[Change] | Reset:
    catalog, since, until, limit = asked
    head = await log.read_head(connection)
    reset = await log.check(connection, since, head) or await log.check(connection, until, head)
    return reset or await log.read_changes(connection, catalog, since, until, limit)


async def _locate(connection: Connection, position: PostgresqlPosition) -> Position | Reset:
    return await log.check(connection, position, await log.read_head(connection)) or position


async def _at_once(connection: Connection, work: Callable[[Connection, A], Awaitable[T]], asked: A) -> T:
    return await work(connection, asked)


async def _in_snapshot(connection: Connection, work: Callable[[Connection, A], Awaitable[T]], asked: A) -> T:
    """Work in a transaction that sees one moment; after an error the pool ends it."""
    await connection.execute(SNAPSHOT)
    result = await work(connection, asked)
    await connection.execute("ROLLBACK")
    return result


def _own(position: Position) -> PostgresqlPosition:
    if not isinstance(position, PostgresqlPosition):
        raise TypeError(f"expected a position of a PostgreSQL store, got {position!r}")
    return position
