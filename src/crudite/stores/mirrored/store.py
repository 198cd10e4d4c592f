"""The store over somebody's database: its functions are asked, its mirror answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from typing import NamedTuple

from crudite.changes import Change, Commit, Position, Reset, Unit
from crudite.errors import Problem, StoreError
from crudite.query.faults import nearest
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import MOST_CHANGES, Batch, HistoryFigures, Kept, Page, Pages, Past, Row, Signal, Step
from crudite.stores.mirrored.database import Calls, Database, refuse_no_database
from crudite.stores.mirrored.exclusion import Exclusion
from crudite.stores.mirrored.freshening import Freshening
from crudite.stores.mirrored.mirror import open_mirror
from crudite.stores.mirrored.wants import ByKey, Search
from crudite.stores.mirrored.writing import Writing
from crudite.types import Key

MEMORY = "sqlite:///:memory:"
MOST_FOUND = 10_000
"""The most records that one `find` may give, unless the store is told otherwise."""

_CALLS_TO_WAIT_FOR = 3


class Mirrored:
    """A store over any database of yours, by six functions: `App(Todo, store=Mirrored(MyDatabase()))`.

    The database is the truth. Beside it stands a mirror, a SQLite file of ours, with the log of changes: before
    anything is read, the functions are asked for what it depends on, and the mirror takes over what differs, as a
    change that live queries tell. Then the mirror answers, with all that queries can. What is written is checked on
    fresh records, made by the functions one by one, and then written to the mirror.

    - `mirror`: a path or a URL of SQLite. By default it is in memory, and begins anew with the process. A file may be
      shared by several processes; taking it away loses versions, moments, the log, and what is kept only there.
    - `kept_here`: the paths of resources whose records are in the mirror alone, such as `sessions`, of which the
      database knows nothing.
    - `most`: the most records that one `find` may give; more are a StoreError.
    - `timeout`: the seconds that each function has.

    Raises TypeError for what is no such database, and ValueError for another option.
    """

    def __init__(
        self, database: Database, mirror: str | PathLike[str] = MEMORY, *, kept_here: Collection[str] = (),
        most: int = MOST_FOUND, timeout: float = 10.0,
    ) -> None:  # fmt: skip
        refuse_no_database(database)
        if most < 1 or not timeout > 0:
            raise ValueError(f"most={most!r}, timeout={timeout!r}: both are more than 0")
        mirror = fspath(mirror)
        scheme, is_url, _ = mirror.partition("://")
        if not mirror or (is_url and scheme != "sqlite"):  # what follows may hold a password
            raise ValueError(f"mirror: expected a path or a URL of SQLite, such as 'mirror.db', and got {scheme!r}")
        self._database = database
        self._most = most
        self._timeout = timeout
        self._mirror = open_mirror(mirror)
        self._kept_here = (kept_here,) if isinstance(kept_here, str) else tuple(kept_here)
        self._catalog = Catalog({})
        self._parts: _Parts | None = None
        self._writes: set[asyncio.Task[Commit]] = set()

    @property
    def shown(self) -> str:
        """The database's class, and the mirror's file."""
        return f"{type(self._database).__name__} ({self._mirror.shown})"

    @property
    def is_shared(self) -> bool:
        """Whether other processes can open the mirror."""
        return self._mirror.is_shared

    async def exists(self) -> bool:
        """Whether there is a mirror already."""
        return await self._mirror.exists()

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Opens the mirror, and brings its schema to the catalog's."""
        tables = {path: schema.table for path, schema in catalog.by_path.items()}
        for path in self._kept_here:
            if path not in tables:
                raise StoreError(f"kept_here: there is no resource at {path!r}{nearest(path, tables)}")
        await self._mirror.open(catalog, migrate=migrate)
        calls = Calls(self._database, self._most, self._timeout)
        exclusion = Exclusion(_CALLS_TO_WAIT_FOR * self._timeout)
        try:
            if self._mirror.is_shared:
                exclusion.open(f"{self._mirror.path}-turns")
        except StoreError:
            await self._mirror.close()
            raise
        freshening = Freshening(calls, self._mirror, exclusion, [tables[path] for path in self._kept_here])
        writing = Writing(calls, self._mirror, exclusion, freshening, catalog)
        self._catalog = catalog
        self._parts = _Parts(calls, exclusion, freshening, writing)

    @property
    def secret(self) -> bytes:
        """The mirror's secret."""
        return self._mirror.secret

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the mirror."""
        parts, self._parts = self._parts, None
        if self._writes:
            await asyncio.wait(self._writes)
        if parts is not None:
            parts.exclusion.close()
            parts.calls.close()
        await self._mirror.close()

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads the record of a selection that has a key."""
        with _reading():
            await self._open_parts().freshening.for_lookup(selection, key)
        return await self._mirror.lookup(selection, key)

    async def page(self, plan: Plan) -> Page:
        """Reads one page."""
        with _reading():
            await self._open_parts().freshening.for_plans([plan])
        return await self._mirror.page(plan)

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads pages in one snapshot of the mirror, with its position."""
        with _reading():
            await self._open_parts().freshening.for_plans(plans)
        return await self._mirror.read(plans)

    async def refresh(self, path: str, *keys: Key) -> None:
        """Looks at the records of a resource with these keys, or at all of them: somebody has heard that another
        program wrote. What has changed is told to live queries."""
        schema = self._schema(path)
        with _reading():
            await self._open_parts().freshening.bring([ByKey(schema, keys) if keys else Search(schema, {})])

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit, or raises Refused, a StoreError or a function's Problem; nothing of it is left then, unless
        the error says what."""
        writing = asyncio.create_task(self._open_parts().writing.write(unit))
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        return await asyncio.shield(writing)  # who does not wait any more leaves nothing half done

    def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Yields what the mirror has taken over and what was written to it."""
        return self._mirror.follow(since, most)

    def wake(self) -> None:
        """Makes followers give a batch now."""
        self._mirror.wake()

    def look(self) -> None:
        """Makes followers look now."""
        self._mirror.look()

    async def signal(self, signal: Signal) -> None:
        """Writes a signal into the log."""
        await self._mirror.signal(signal)

    def on_commit(self, tell: Callable[[], None]) -> None:
        """`tell` is called when this process has committed something to the mirror."""
        self._mirror.on_commit(tell)

    async def changes(self, since: Position, until: Position, limit: int) -> Sequence[Change] | Reset:
        """The changes between two positions."""
        return await self._mirror.changes(since, until, limit)

    async def locate(self, token: bytes) -> Position | Reset:
        """The position of a token."""
        return await self._mirror.locate(token)

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log."""
        return await self._mirror.trim(older_than=older_than, larger_than=larger_than)

    @property
    def history_figures(self) -> HistoryFigures:
        """What the mirror has done for histories."""
        return self._mirror.history_figures

    async def history(self, schema: ResourceSchema, key: Key, *, before: int | None, limit: int) -> Sequence[Past]:
        """The changes of one record, as far as the mirror knows of them."""
        return await self._mirror.history(schema, key, before=before, limit=limit)

    async def kept(self) -> Sequence[Kept]:
        """What is kept beyond the log."""
        return await self._mirror.kept()

    async def prune(self, table: str, older_than: float) -> int:
        """Lets go of what is kept of a table and older."""
        return await self._mirror.prune(table, older_than)

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The steps from the mirror's schema to the catalog's. The database's own schema is its owner's."""
        return await self._mirror.plan(catalog)

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Takes the steps that the mirror needs."""
        return await self._mirror.migrate(catalog, lose=lose)

    def _open_parts(self) -> "_Parts":
        if self._parts is None:
            raise StoreError(f"{self.shown}: the store is not open")
        return self._parts

    def _schema(self, path: str) -> ResourceSchema:
        if path not in self._catalog.by_path:
            raise StoreError(f"there is no resource at {path!r}{nearest(path, self._catalog.by_path)}")
        return self._catalog.by_path[path]


class _Parts(NamedTuple):
    """What there is for as long as the store is open."""

    calls: Calls
    exclusion: Exclusion
    freshening: Freshening
    writing: Writing


@contextmanager
def _reading() -> Iterator[None]:
    """Raises a Problem of a function as a StoreError: nothing was asked for that could be refused."""
    try:
        yield
    except Problem as problem:
        raise StoreError(f"the database refuses to be read: {problem}") from problem


__all__ = ["MOST_FOUND", "Mirrored"]
