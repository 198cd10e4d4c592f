"""The SQLite store: the port's promises, kept by joining the writer, the readers and the log of one file."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, unquote, urlsplit

import apsw

from crudite.changes import Change, Commit, Position, Reset, Unit
from crudite.errors import StoreError
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import MOST_CHANGES, Batch, Glance, HistoryFigures, Kept, Page, Pages, Past, Row, Signal, Step
from crudite.stores.sqlite import history, log, migration, numbers
from crudite.stores.sqlite.connections import Execute, Replaced, Synchronous, identity
from crudite.stores.sqlite.dangling import Dangling, find_dangling
from crudite.stores.sqlite.errors import store_error, translated
from crudite.stores.sqlite.follow import Follower
from crudite.stores.sqlite.log import SqlitePosition
from crudite.stores.sqlite.offline import find_damage, migrate_file, plan_file
from crudite.stores.sqlite.reads import NotCheap, read_page, read_snapshot
from crudite.stores.sqlite.session import Session, prepare
from crudite.types import Key

logger = logging.getLogger("crudite.store")

_SECONDS_BETWEEN_LOOKS = 0.025
_LOOKS_BETWEEN_STATS = 20


class _Wakeup(asyncio.Event):
    """Makes one follower look; `is_wanted` when a batch is wanted even without changes."""

    is_wanted = False


class SqliteStore:
    """A database in one SQLite file, which other programs may read and write at the same time.

    `where` is a path or a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`, with `?synchronous=NORMAL`.
    `sqlite:///:memory:` is a file in a temporary directory that goes with `close`, since the writer and the
    readers need one file between them; nothing in it is made durable.

    `synchronous` is SQLite's: with FULL, what is acknowledged survives a power cut; with NORMAL the last
    moments may be lost then, and subscribers that saw them get a reset. `threads` read what
    may take long.
    """

    def __init__(self, where: str | Path, *, synchronous: Synchronous | None = None, threads: int = 2) -> None:
        self.path, asked = _parse(str(where))
        self._temporary: TemporaryDirectory[str] | None = None
        self._is_in_memory = self.path == ":memory:"
        if self._is_in_memory:
            asked = "OFF"
        self._synchronous: Synchronous = synchronous or asked
        self._threads = threads
        self._catalog = Catalog({})
        self._session: Session | None = None
        self._trouble = StoreError(f"{self.path}: the store is not open")
        self._watch: asyncio.Task[None] | None = None
        self._wakeups: set[_Wakeup] = set()
        self._tell: Callable[[], None] = lambda: None
        self.history_figures = HistoryFigures()

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Connects, and brings the schema to the catalog's: by all the steps that it takes, or by none."""
        if self._watch is not None:
            raise StoreError(f"{self.path}: the store is open already")
        if self._is_in_memory:
            self._temporary = TemporaryDirectory(prefix="crudite-")
            self.path = f"{self._temporary.name}/memory.db"
        self._catalog = catalog
        self._session = await self._connect(migrate=migrate)
        self._watch = asyncio.create_task(self._keep_watch(), name="crudite-watch")

    @property
    def shown(self) -> str:
        """The file's path, from here when it lies below."""
        path = Path(":memory:" if self._is_in_memory else self.path)
        return str(path.relative_to(here) if path.is_relative_to(here := Path.cwd()) else path)

    @property
    def is_shared(self) -> bool:
        """Whether other processes can open the file."""
        return not self._is_in_memory

    async def exists(self) -> bool:
        """Whether the file is there."""
        return identity(self.path) is not None

    @property
    def secret(self) -> bytes:
        """A random secret that lives in the file, the same for every process that opens it."""
        return self._open_session().secret

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the file. Those who follow come to an end."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        session, self._session = self._session, None
        self._trouble = StoreError(f"{self.path}: the store is closed")
        self.look()
        if session is not None:
            await session.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads one record by its key: at once, unless the rule makes that long."""
        session = self._open_session()
        try:
            return session.inline.lookup(selection, key)
        except NotCheap:
            page = await session.threads.run(_read_one, Plan(selection=selection, keys=(key,)))
            return Row(page.versions[0], page.records[0]) if page.keys else None
        except apsw.Error as error:
            raise store_error(error, self.path) from error

    async def page(self, plan: Plan) -> Page:
        """Reads one page: at once when the plan is cheap, on a reader thread otherwise."""
        session = self._open_session()
        try:
            page = session.inline.page(plan)
        except apsw.Error as error:
            raise store_error(error, self.path) from error
        return page if page is not None else await session.threads.run(_read_one, plan)

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads pages in one snapshot, with its position."""
        session = self._open_session()
        with translated(self.path):
            found = session.inline.snapshot(plans, log.read_position)
        if found is None:
            found = await session.threads.run(read_snapshot, plans, log.read_position)
        return Pages(*found)

    @contextmanager
    def glance(self) -> Iterator[Glance]:
        """A snapshot on the event loop's connection, for what is provably cheap."""
        inline = self._open_session().inline
        with translated(self.path):
            glance = inline.begin(log.read_position)
            try:
                yield glance
            finally:
                inline.end()

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit durably, or raises Refused and changes nothing."""
        return await self._open_session().writer.write(unit)

    def submit(self, unit: Unit, settle: Callable[[Commit | Exception], None]) -> None:
        """Commits a unit as `write` does, and calls `settle` with what came of it."""
        self._open_session().writer.submit(unit, settle)

    async def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Yields what is committed after a position, by whomever; after `wake` a batch in any case."""
        position, wakeup = _own(since), _Wakeup()
        session: Session | None = None
        follower: Follower | None = None
        self._wakeups.add(wakeup)
        try:
            while self._watch is not None:
                wanted, wakeup.is_wanted = wakeup.is_wanted, False
                wakeup.clear()
                current = self._session
                if current is not None and current is not session and not current.is_replaced():
                    if follower is not None:
                        await follower.close()
                    session, follower = current, current.follower(most)
                if follower is not None and session is not None and session is self._session:
                    batch = await follower.next(position)
                    if (wanted or batch.is_news) and not session.is_replaced():  # else the file is left behind
                        position, wanted = _own(batch.position), False
                        yield batch
                    follower.release()
                wakeup.is_wanted |= wanted  # whoever wants a batch gets it from the file that comes next
                await wakeup.wait()
        finally:
            self._wakeups.discard(wakeup)
            if follower is not None:
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
        await self._open_session().writer.run(lambda connection: log.add_signal(connection, signal))

    def on_commit(self, tell: Callable[[], None]) -> None:
        """`tell` is called when this process has committed something."""
        self._tell = tell

    async def changes(self, since: Position, until: Position, limit: int) -> Sequence[Change] | Reset:
        """The changes after `since` and not after `until`; a Reset when the log does not lead there."""
        return await self._open_session().threads.run(_read_changes, self._catalog, _own(since), _own(until), limit)

    async def locate(self, token: bytes) -> Position | Reset:
        """The position of a token, if the log still leads on from there."""
        session = self._open_session()
        with translated(self.path):
            return log.locate(session.inline.execute, token)

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log, a part at a time between the writes that wait."""
        session = self._open_session()
        until = await session.threads.run(log.find_cut, older_than, larger_than)
        removed, count = 0, 1
        while count:
            count, kept = await session.writer.run(lambda connection: _cut(connection, until))
            self.history_figures.kept += kept
            removed += count
        for table, seconds in await session.threads.run(history.limited):
            await self.prune(table, seconds)
        return removed

    async def history(self, schema: ResourceSchema, key: Key, *, before: int | None, limit: int) -> Sequence[Past]:
        """The changes of one record, the latest first."""
        return await self._open_session().threads.run(history.read, schema, key, before, limit)

    async def kept(self) -> Sequence[Kept]:
        """What is kept beyond the log."""
        return await self._open_session().threads.run(history.measure)

    async def prune(self, table: str, older_than: float) -> int:
        """Lets go of what is kept of a table and older, a part at a time between the writes that wait."""
        writer, removed = self._open_session().writer, 0
        while count := await writer.run(lambda connection: history.prune(connection, table, older_than)):
            removed += count
            self.history_figures.dropped += count
        return removed

    async def numbers(self, schema: ResourceSchema, count: int) -> Sequence[Key]:
        """Keys of records that are not there yet; nobody else is given them."""
        return await self._open_session().writer.run(lambda connection: numbers.take(connection, schema, count))

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The steps from the database's schema to the catalog's; also while the store is not open."""
        if self._watch is None:
            return await asyncio.to_thread(plan_file, self.path, catalog)
        return await self._open_session().threads.run(migration.plan, catalog)

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Takes the steps in one transaction and goes on with the catalog; also while not open."""
        if self._watch is None:
            return await asyncio.to_thread(migrate_file, self.path, catalog, self._synchronous, lose=lose)
        steps = await self._open_session().migrate(catalog, lose)
        self._catalog = catalog
        self.look()
        return steps

    async def dangling(self) -> Sequence[Dangling]:
        """References that point at nothing: other programs may write without foreign keys. At most 1000."""
        return await self._open_session().threads.run(find_dangling, self._catalog)

    async def damage(self) -> Sequence[str]:
        """What is wrong with the file, in SQLite's words; nothing when it is whole."""
        return await asyncio.to_thread(find_damage, self.path)

    def _open_session(self) -> Session:
        if self._session is None:
            raise self._trouble
        return self._session

    async def _connect(self, *, migrate: bool, replaced: bool = False) -> Session:
        file = identity(self.path)
        if replaced and file is None:
            raise Replaced(self.path)
        arguments = self.path, file, self._synchronous, self._catalog
        connection = await asyncio.to_thread(prepare, *arguments, migrate=migrate, replaced=replaced)
        file = file or identity(self.path)
        try:
            if file is None:
                raise Replaced(self.path)
            with translated(self.path):
                return Session(self.path, file, connection, self._catalog, self._threads, self._has_committed)
        except BaseException:
            connection.close(True)
            raise

    def _has_committed(self) -> None:
        self.look()
        self._tell()

    async def _keep_watch(self) -> None:
        """Looks for commits of other programs, and for another file at the path."""
        looks = 0
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            looks += 1
            session = self._session
            try:
                idle_look = looks % _LOOKS_BETWEEN_STATS == 0
                if session is None:
                    if idle_look:
                        await self._reopen()
                elif session.writer.is_cut_off or (idle_look and session.is_replaced()):
                    await self._reopen()
                elif session.has_changed():
                    self.look()
            except (StoreError, apsw.Error, OSError) as error:
                self._complain(error)

    async def _reopen(self) -> None:
        """Leaves the old file and opens the one that is at the path now; raises when that will not do."""
        session, self._session = self._session, None
        if session is not None:
            self._complain(Replaced(self.path))
            await session.close()
        if identity(self.path) is not None:
            self._session = await self._connect(migrate=True, replaced=True)
            logger.warning("%s: the file that is there now is open", self.path)
            self.look()

    def _complain(self, error: Exception) -> None:
        trouble = error if isinstance(error, StoreError) else StoreError(f"{self.path}: {error}")
        if str(trouble) != str(self._trouble):
            logger.error("%s", trouble)
        self._trouble = trouble


def _parse(where: str) -> tuple[str, Synchronous]:
    if not where.startswith("sqlite:"):
        return where, "FULL"
    url = urlsplit(where)
    asked = {name: values[-1].upper() for name, values in parse_qs(url.query).items()}
    path = unquote(url.path).removeprefix("/")
    if url.netloc or not path or set(asked) - {"SYNCHRONOUS", "synchronous"}:
        raise StoreError(f"expected sqlite:///path, maybe with ?synchronous=NORMAL, and got {where}")
    match asked.get("synchronous", "FULL"):
        case "OFF" | "NORMAL" | "FULL" | "EXTRA" as synchronous:
            return path, synchronous
    raise StoreError(f"expected synchronous=OFF, NORMAL, FULL or EXTRA in {where}")


def _own(position: Position) -> SqlitePosition:
    if not isinstance(position, SqlitePosition):
        raise TypeError(f"expected a position of a SQLite store, got {position!r}")
    return position


def _read_one(connection: apsw.Connection, plan: Plan) -> Page:
    connection.execute("BEGIN")
    page = read_page(connection.cursor().execute, plan)
    connection.execute("COMMIT")
    return page


def _read_changes(
    connection: apsw.Connection, catalog: Catalog, since: SqlitePosition, until: SqlitePosition, limit: int
) -> Sequence[Change] | Reset:
    execute: Execute = connection.cursor().execute
    connection.execute("BEGIN")
    head = log.read_head(execute)
    reset = log.check(execute, since, head) or log.check(execute, until, head)
    found = reset or log.read_changes(execute, catalog, since, until, limit)
    connection.execute("COMMIT")
    return found


def _cut(connection: apsw.Connection, until: int) -> tuple[int, int]:
    connection.execute("BEGIN IMMEDIATE")
    removed = log.cut(connection, until)
    connection.execute("COMMIT")
    return removed
