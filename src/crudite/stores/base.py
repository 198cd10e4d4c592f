"""The store port: what one database must be able to do. `crudite.testing.contracts` gives it its meaning."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from crudite.changes import Change, Commit, Mark, Position, Reset, Unit
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog, ResourceSchema
from crudite.types import Key, Plain

MOST_CHANGES = 20_000


class Page(NamedTuple):
    """Some records of a plan, in its order, with what is needed to go on.

    `records` are JSON texts of the plan's mask; `keys` and `versions` belong to them, one to one. `first` and
    `last` are the plain sort values of the first and the last record (what `Plan.start` takes), None without
    records. `more` says whether the plan has further records in its direction. `total` is there when asked for.
    """

    keys: Sequence[Key]
    versions: Sequence[int]
    records: Sequence[str]
    first: tuple[Plain, ...] | None = None
    last: tuple[Plain, ...] | None = None
    more: bool = False
    total: int | None = None


class Row(NamedTuple):
    """One record: its version, and the JSON text of what a mask shows of it."""

    version: int
    json: str


class Pages(NamedTuple):
    """Pages that were read in one snapshot, and the snapshot's position in the change log."""

    position: Position
    pages: tuple[Page, ...]


class Signal(NamedTuple):
    """A word to every process of the application, which stands in the log between the changes."""

    topic: str
    payload: str


class Stretch(NamedTuple):
    """What lies between two positions: changes in order, the names of resources of which there are too many, and the
    signals."""

    changes: Sequence[Change]
    bulk: Collection[str] = frozenset()
    signals: Sequence[Signal] = ()


class Batch(Protocol):
    """Whole transactions from the change log, and the snapshot just after them.

    Their order keeps the order of the changes of each record, and what depends on each other; transactions that
    ran side by side may interleave.

    It is valid until the next one is asked for. `bulk` are the names of resources of which there are more changes than
    the follower looks at one by one: theirs are not among `changes`. `signals` are what processes have told each other
    on the way. When `reset` is there, the log could not be followed: all of these are empty, everything held by
    subscribers is void, and signals may have been missed.
    """

    position: Position
    changes: Sequence[Change]
    bulk: Collection[str]
    signals: Sequence[Signal]
    reset: Reset | None

    async def fetch(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Reads in the batch's own snapshot, exactly at its position."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a migration: what it does in words, its SQL, and what it would lose (empty: nothing).

    A step without SQL cannot be taken before something is mended, which its description says. `holds_up` says in words
    who has to wait while it is taken, and for what, where that may be long. What takes away something that is in
    nobody's way `may_stay` undone: only a migration that may lose something takes it.
    """

    description: str
    sql: tuple[str, ...]
    loses: str = ""
    holds_up: tuple[str, ...] = ()
    may_stay: bool = False

    @property
    def is_blocked(self) -> bool:
        """Whether it cannot be taken as things are."""
        return not self.sql


class Glance(Protocol):
    """One snapshot, read without waiting: what cannot be had at once, or is not there, is None."""

    def lookup(self, selection: Selection, key: Key) -> Row | None:
        """The record of a selection that has a key."""
        ...

    def page(self, plan: Plan) -> Page | None:
        """One page."""
        ...

    def position(self) -> Position:
        """The snapshot's position in the change log."""
        ...


@runtime_checkable
class SupportsGlance(Protocol):
    """A store that has some reads at once, so that requests need no task of their own to wait in."""

    def glance(self) -> AbstractContextManager[Glance]:
        """A snapshot for the length of a block that does not wait. Raises a StoreError when there is none now."""
        ...


@runtime_checkable
class SupportsAsk(Protocol):
    """A store that looks records up without somebody who awaits each of them."""

    def ask(self, selection: Selection, key: Key, settle: Callable[[Row | Exception | None], None]) -> None:
        """Looks a record up as `lookup` does; `settle` is called once on the event loop, not before this returns, with
        what `lookup` would return or raise. Raises a StoreError when nothing is taken now."""
        ...


@runtime_checkable
class SupportsSubmit(Protocol):
    """A store that takes units without somebody who awaits each of them."""

    def submit(self, unit: Unit, settle: Callable[[Commit | Exception], None]) -> None:
        """Commits a unit as `write` does; `settle` is called once on the event loop, with the commit or with what
        `write` would raise. Raises a StoreError when no unit is taken now."""
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the connections to a database are: at most `size`, so many `open` now and `used` among them, so many
    `waiting` for one; and since the beginning how many were `opened`, how often that `failed`, and how many were
    `refused` one because too many waited, or for too long."""

    size: int
    open: int
    used: int
    waiting: int
    opened: int
    failed: int
    refused: int


@runtime_checkable
class SupportsLoad(Protocol):
    """A store whose connections are counted."""

    @property
    def load(self) -> Load:
        """How busy they are now."""
        ...


@runtime_checkable
class SupportsNumbers(Protocol):
    """A store that numbers records before they are there, so that others can point at them in the same unit."""

    async def numbers(self, schema: ResourceSchema, count: int) -> Sequence[Key]:
        """So many keys of a resource whose records the store numbers: nobody else is given them, durably. Where no
        record comes to have one, it is left out."""
        ...


OUTSIDE = "outside"
"""What stands for the interface where another program has written."""


class Past(NamedTuple):
    """One change of a record, as the log told of it: the JSON texts of the record before and after, without secret
    fields, None where there was none. Later ones have a higher `number`; `at` is in microseconds since 1970.

    `actor`, `interface` and `request` are those of the unit; `interface` is OUTSIDE where none of ours was written.
    """

    number: int
    at: int
    actor: str | None
    interface: str | None
    request: str | None
    before: str | None
    after: str | None


class Remembered(NamedTuple):
    """A change that the history of a record tells of, and the text of the record's key."""

    key: str
    past: Past


class Kept(NamedTuple):
    """The changes of one table that are kept beyond the log: how many, of about how many bytes, the oldest of which was
    made at a moment in microseconds since 1970."""

    table: str
    changes: int
    size: int
    oldest: int


@dataclass(slots=True)
class HistoryFigures:
    """What a store has done for histories since it was made: how many changes it has `kept`, which the log held no
    more, and how many of those it has `dropped` again, since they were too old or somebody asked for it."""

    kept: int = 0
    dropped: int = 0


@runtime_checkable
class SupportsHistory(Protocol):
    """A store that keeps the changes of resources with a `history` when it trims its log."""

    @property
    def history_figures(self) -> HistoryFigures:
        """What it has done for them."""
        ...

    async def history(self, schema: ResourceSchema, key: Key, *, before: int | None, limit: int) -> Sequence[Past]:
        """The changes of one record, there or deleted, the latest first: those with a number below `before`, at most so
        many. Those in the log and those that are kept are read in one snapshot."""
        ...

    async def kept(self) -> Sequence[Kept]:
        """What is kept beyond the log, by tables in alphabetical order, also of resources that have no history any
        more."""
        ...

    async def prune(self, table: str, older_than: float) -> int:
        """Lets go of what is kept of a table and older than so many seconds; how many changes went."""
        ...


class Store(Protocol):
    """One database that keeps records and the log of their changes.

    Every method may raise a `StoreError`. A method that is cancelled leaves the database as it was or as asked.
    """

    @property
    def shown(self) -> str:
        """What people know it by, open or not: the path of a file, the address of a server without a password."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other processes can open the same database."""
        ...

    async def exists(self) -> bool:
        """Whether there is a database already, and not one that `open` or `migrate` would have to make. The store need
        not be open, and nothing is made."""
        ...

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Connects, and brings the schema to what the catalog describes.

        With `migrate` all steps are taken when none of them loses anything (an empty database is set up whole);
        otherwise, and with `migrate=False` when there are any, none is taken and StoreOutdated lists them.
        """
        ...

    @property
    def secret(self) -> bytes:
        """A random secret of 32 bytes that lives in the database, the same for every process that opens it."""
        ...

    async def close(self) -> None:
        """Finishes what has been accepted, then lets go of the database. Everything acknowledged stays."""
        ...

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads the record of a selection that has a key, None when there is none: the way of most requests."""
        ...

    async def page(self, plan: Plan) -> Page:
        """Reads one page: the quick way, for an answer that is not continued from the log."""
        ...

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads pages in one snapshot, with its position (also when there are no records, or no plans)."""
        ...

    async def write(self, unit: Unit) -> Commit:
        """Commits all writes of the unit with their log rows, durably, or raises Refused and changes nothing.

        Units that wait together may share a transaction and come in any order; each succeeds or fails alone, and
        whoever awaits one unit before he asks for the next keeps his order. What a write demands of its own record
        and by `needs` is exact; a rule that looks at other records is as exact as the database's isolation.
        """
        ...

    def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Yields what is committed after a position, by whomever, as batches; waits when there is nothing new.

        A resource with more than `most` changes in a batch is only named there, as `bulk`: reading them all would hold
        up what is told of the others.

        A batch without changes may come (`wake`, the idle tick that keeps positions fresh). Each batch's
        snapshot is taken after it was asked for, and a `wake` while one is worked on is not lost.
        """
        ...

    def wake(self) -> None:
        """Makes followers give a batch now: somebody wants its snapshot."""
        ...

    def look(self) -> None:
        """Makes followers look now: somebody has heard of a change, such as from another process."""
        ...

    async def signal(self, signal: Signal) -> None:
        """Writes a signal into the log, durably: every follower, this process's own included, meets it in order with
        the changes, and one that has missed it gets a reset."""
        ...

    def on_commit(self, tell: Callable[[], None]) -> None:
        """From now on `tell` is called on the event loop when this process has committed something, once for all that
        went together. There is one who is told: the last that asked."""
        ...

    async def changes(self, since: Position, until: Position, limit: int) -> Sequence[Change] | Reset:
        """The changes after `since` and not after `until`, in order; a Reset `too_many` beyond `limit`."""
        ...

    async def locate(self, token: bytes) -> Position | Reset:
        """The position that a token stands for, if the log still leads on from there."""
        ...

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log: rows older than so many seconds, and the oldest beyond so many bytes.

        Returns how many rows went; a running transaction may hold some of them back. Positions before the cut
        become a Reset `gap`. What has a history is kept elsewhere (`SupportsHistory`), for its time.
        """
        ...

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The steps from the database's schema to the catalog's; none when they agree. The store need not be open.

        What is in the database and not in the catalog, such as the column of a field that was removed, is in nobody's
        way as long as records can be written without it: servers that still declare it go on. Steps that take such
        away `may_stay` undone.
        """
        ...

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Takes the steps in one transaction and returns them. Without `lose`, those that may stay undone are left,
        and others that lose something are not taken: StoreOutdated names them and nothing is done. The store need not
        be open."""
        ...


__all__ = [
    "OUTSIDE", "Batch", "Change", "Commit", "Glance", "HistoryFigures", "Kept", "Load", "Mark", "Page", "Pages",
    "Past", "Plan", "Remembered", "Reset", "Row", "Signal", "Step", "Store", "SupportsAsk", "SupportsGlance",
    "SupportsHistory", "SupportsLoad", "SupportsNumbers", "SupportsSubmit", "Unit",
]  # fmt: skip
