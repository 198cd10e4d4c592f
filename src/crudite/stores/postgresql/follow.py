"""Following the change log: whole transactions, each batch with a snapshot that is held for reading at it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from crudite.changes import Position, Reset
from crudite.errors import StoreError
from crudite.query.plan import Plan
from crudite.schema import Catalog
from crudite.stores.base import Page, Stretch
from crudite.stores.postgresql.connections import FOLLOW, Address, Connection, connect
from crudite.stores.postgresql.errors import DRIVER, translated
from crudite.stores.postgresql.install import check_server
from crudite.stores.postgresql.log import PostgresqlPosition, read_head, read_news
from crudite.stores.postgresql.reads import read_pages
from crudite.stores.postgresql.watch import Watch

# the lock comes before the snapshot: one that is older than the emptying of a table would find nothing in it
SNAPSHOT = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE "_changes" IN ACCESS SHARE MODE'
_NEXT = f"ROLLBACK; {SNAPSHOT}"


class PostgresqlBatch:
    """What was committed since the last batch, and the snapshot just after it.

    The snapshot is let go when the next batch is asked for, or when nobody has read in it for 5 seconds.
    """

    def __init__(
        self,
        position: PostgresqlPosition,
        found: Stretch | Reset,
        follower: "Follower",
    ) -> None:
        self.position: Position = position
        self.reset = found if isinstance(found, Reset) else None
        self.changes, self.bulk, self.signals = Stretch(()) if isinstance(found, Reset) else found
        self._follower = follower

    @property
    def is_news(self) -> bool:
        """Whether anything has happened."""
        return bool(self.changes or self.bulk or self.signals) or self.reset is not None

    async def fetch(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Reads exactly at the batch's position. Raises StoreError when its snapshot has been let go, or what it saw of
        a table is gone."""
        return await self._follower.fetch(self, plans)


class Follower:
    """One follower's connection, the snapshot on it, and the batches that are made from it. It looks at `most` changes
    of a resource in one batch; the watch is shared by the followers of a process."""

    def __init__(self, address: Address, catalog: Callable[[], Catalog], watch: Watch, most: int) -> None:
        self._most = most
        self._watch = watch
        self._address = address
        self._catalog = catalog
        self._connection: Connection = None
        self._busy = asyncio.Lock()
        self._holder: PostgresqlBatch | None = None

    async def has_moved(self, since: PostgresqlPosition) -> bool:
        """Whether the head of the log is another place by now."""
        async with self._connected() as connection:
            await self._watch.look(connection, self._catalog())
            return (await read_head(connection)).position != since

    async def next(self, since: PostgresqlPosition) -> PostgresqlBatch:
        """What leads from a position to the head, which may be the same place. The last batch's snapshot is let go."""
        async with self._connected() as connection:
            if self._watch.is_due:
                await self._let_go(connection)
            await self._watch.look(connection, self._catalog())
            await connection.execute(SNAPSHOT if self._holder is None else _NEXT)
            position, found = await read_news(connection, self._catalog(), since, self._most)
            self._holder = PostgresqlBatch(position, found, self)
            return self._holder

    async def fetch(self, batch: PostgresqlBatch, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Pages in the snapshot of a batch, which must still hold it."""
        async with self._connected() as connection:
            if self._holder is not batch:
                raise StoreError(f"{self._address.shown}: the batch's snapshot has been let go")
            return await read_pages(connection, plans, self._catalog())

    async def release(self) -> None:
        """Lets the last batch's snapshot go."""
        if self._holder is not None:
            with suppress(StoreError):  # whoever ended the connection has ended the snapshot too
                async with self._connected() as connection:
                    await self._let_go(connection)

    async def _let_go(self, connection: Connection) -> None:
        if self._holder is not None:
            self._holder = None
            await connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Lets go of the server."""
        try:
            async with self._busy:
                self._holder = None
                if self._connection is not None:
                    with suppress(*DRIVER):
                        await self._connection.close()
        except asyncio.CancelledError:  # once more, while whoever reads with it comes to his end
            if self._connection is not None:
                self._connection.terminate()
            raise

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """The connection for one use at a time, made anew when it was lost; after an error it is given up."""
        async with self._busy:
            if self._connection is None or self._connection.is_closed():
                self._holder = None
                self._connection = await self._connect()
            try:
                with translated(self._address.shown):
                    yield self._connection
            except StoreError:
                self._connection.terminate()
                raise

    async def _connect(self) -> Connection:
        """A connection to a server that may be followed, with our triggers as they should be."""
        connection = await connect(self._address, FOLLOW)
        try:
            with translated(self._address.shown):
                await check_server(connection, self._address.shown)
                await self._watch.look(connection, self._catalog(), at_once=True)
        except BaseException:
            connection.terminate()
            raise
        return connection
