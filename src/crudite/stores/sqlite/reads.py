"""Reading pages: on the event loop when a plan is provably cheap, on a reader thread otherwise."""

import asyncio
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from crudite.changes import Position
from crudite.errors import StoreLocked
from crudite.query.aggregates import aggregate_records, aggregate_statement
from crudite.query.plan import MOST_GROUPS, Aggregate, Plan, Selection
from crudite.query.sql import Statement, count, lookup, select
from crudite.schema import FieldType
from crudite.stores.base import Page, Row
from crudite.stores.sqlite.connections import Deadline, Execute, File, connect_reader
from crudite.stores.sqlite.dialect import SqliteDialect
from crudite.stores.sqlite.errors import translated
from crudite.types import Key, Plain

T = TypeVar("T")
P = ParamSpec("P")

_MOST_WAITING = 1000
_MOST_INLINE = 200
_SECONDS_INLINE = 0.002
_dialect = SqliteDialect()


def fetch(execute: Execute, statement: Statement, width: int) -> list[tuple[Any, ...]]:
    """The rows of a statement with `width` columns. Bytes that are not UTF-8, which SQLite lets others write,
    become replacement characters."""
    try:
        found: list[tuple[Any, ...]] = execute(statement.text, statement.parameters).fetchall()
        return found
    except UnicodeDecodeError:
        names = [f"c{n}" for n in range(width)]
        columns = [f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in names]
        text = f"WITH q({', '.join(names)}) AS ({statement.text}) SELECT {', '.join(columns)} FROM q"
        rows = execute(text, statement.parameters).fetchall()
        return [tuple(v.decode(errors="replace") if isinstance(v, bytes) else v for v in row) for row in rows]


def read_page(execute: Execute, plan: Plan) -> Page:
    """One page of a plan; the caller holds a transaction when the plan asks for the total."""
    if plan.aggregate is not None:
        return _read_aggregate(execute, plan.selection, plan.aggregate)
    rows = fetch(execute, select(plan, _dialect), 3 + len(plan.sort))
    total = None
    if plan.total:
        counting = count(plan.selection, _dialect)
        total = execute(counting.text, counting.parameters).fetchall()[0][0]
    more = plan.keys is None and plan.limit is not None and len(rows) > plan.limit
    if more:
        rows.pop()
    if plan.backwards:
        rows.reverse()
    if not rows:
        return Page((), (), (), None, None, more, total)
    kind = plan.selection.schema.key_field.type
    keys = [row[0] for row in rows] if kind.kind != "bigint" else [str(row[0]) for row in rows]
    first, last = _sort_values(plan, rows[0]), _sort_values(plan, rows[-1])
    return Page(keys, [row[1] for row in rows], [row[2] for row in rows], first, last, more, total)


def _read_aggregate(execute: Execute, selection: Selection, aggregate: Aggregate) -> Page:
    width = len(aggregate.names) + sum(measure.function == "avg" for measure in aggregate.measures)
    rows = fetch(execute, aggregate_statement(selection, aggregate, _dialect), width)
    records = aggregate_records(aggregate, rows[:MOST_GROUPS], _dialect)
    return Page((), (), records, more=len(rows) > MOST_GROUPS)


def _sort_values(plan: Plan, row: tuple[Any, ...]) -> tuple[Plain, ...]:
    load = _dialect.load
    return tuple([load(key.path.type, value) for key, value in zip(plan.sort, row[3:], strict=True)])


class NotCheap(Exception):
    """What was asked for may take long, and belongs on a reader thread."""


class InlineReader:
    """The event loop's own connection, for plans that are provably cheap.

    A plan's text is judged once, by EXPLAIN QUERY PLAN: every step must be a search, or a scan in the order
    of an index that a limit ends and no filter stretches. What nevertheless works longer than two ms
    (a search with many equal values) is interrupted, and its text is not cheap from then on.
    """

    def __init__(self, path: str, file: File) -> None:
        self._connection = connect_reader(path, file)
        self._deadline = Deadline(self._connection)
        self.execute: Execute = self._connection.cursor().execute
        self._cheap: dict[str, bool] = {}

    def lookup(self, selection: Selection, key: Key) -> Row | None:
        """The record with a key, or None. Raises NotCheap when it must be read on a thread."""
        memo = selection.memo
        found = memo.get("sqlite lookup")
        if found is None:
            found = memo["sqlite lookup"] = self._judged_lookup(selection, key)
        text, bound, kind, is_cheap = found
        if not is_cheap:
            raise NotCheap
        parameters = (*bound, key if kind is None else _dialect.store(kind, key))
        self._deadline.start(_SECONDS_INLINE)
        try:
            rows = fetch(self.execute, Statement(text, parameters), 2)
        except apsw.InterruptError:  # a rule that looks through many records
            self._cheap[text] = False
            memo["sqlite lookup"] = (text, bound, kind, False)
            raise NotCheap from None
        finally:
            self._deadline.stop()
        return Row(*rows[0]) if rows else None

    def _judged_lookup(self, selection: Selection, key: Key) -> tuple[str, tuple[Any, ...], FieldType | None, bool]:
        statement = lookup(selection, _dialect)
        kind = selection.schema.key_field.type
        bound = Statement(statement.text, (*statement.parameters, _dialect.store(kind, key)))
        encoded = kind if kind.kind == "bigint" else None
        return statement.text, statement.parameters, encoded, self._is_text_cheap(bound)

    def page(self, plan: Plan) -> Page | None:
        """The page, or None when it must be read on a thread."""
        if plan.total or not self.is_cheap(plan):
            return None
        self._deadline.start(_SECONDS_INLINE)
        try:
            return read_page(self.execute, plan)
        except apsw.InterruptError:
            self._demote(plan)
            return None
        finally:
            self._deadline.stop()

    def snapshot(self, plans: Sequence[Plan], head: Callable[[Execute], T]) -> tuple[T, tuple[Page, ...]] | None:
        """The pages and the head of the log in one snapshot, or None when they must be read on a thread."""
        if len(plans) > 8 or not all(not plan.total and self.is_cheap(plan) for plan in plans):
            return None
        at = 0
        self._deadline.start(_SECONDS_INLINE)
        self.execute("BEGIN")
        try:
            position = head(self.execute)
            pages = []
            for at, plan in enumerate(plans):  # noqa: B007
                pages.append(read_page(self.execute, plan))
            return position, tuple(pages)
        except apsw.InterruptError:
            self._demote(plans[at])
            return None
        finally:
            self._deadline.stop()
            self.execute("COMMIT")

    def begin(self, head: Callable[[Execute], Position]) -> "InlineGlance":
        """Begins a snapshot, which `end` lets go."""
        self.execute("BEGIN")
        return InlineGlance(self, head)

    def end(self) -> None:
        """Lets the snapshot go."""
        self.execute("COMMIT")

    def is_cheap(self, plan: Plan) -> bool:
        """Whether a plan may be read on the event loop."""
        rows = plan.limit if plan.keys is None else len(plan.keys)
        if rows is None or rows > _MOST_INLINE or plan.offset > _MOST_INLINE:
            return False
        return self._is_text_cheap(select(plan, _dialect))

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close(True)

    def _demote(self, plan: Plan) -> None:
        self._cheap[select(plan, _dialect).text] = False

    def _is_text_cheap(self, statement: Statement) -> bool:
        cheap = self._cheap.get(statement.text)
        if cheap is None:
            if len(self._cheap) > 5000:
                self._cheap.clear()
            cheap = self._cheap[statement.text] = self._judge(statement)
        return cheap

    def _judge(self, statement: Statement) -> bool:
        explained = self.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.parameters).fetchall()
        return all(_is_bounded(row[3], statement.text) for row in explained)


class InlineGlance:
    """What the event loop's connection reads in one snapshot (`stores.base.Glance`)."""

    def __init__(self, reader: InlineReader, head: Callable[[Execute], Position]) -> None:
        self._reader = reader
        self._head = head
        self._position: Position | None = None
        self.page = reader.page

    def lookup(self, selection: Selection, key: Key) -> Row | None:
        """The record with a key, None when there is none or it must be read on a thread."""
        try:
            return self._reader.lookup(selection, key)
        except NotCheap:
            return None

    def position(self) -> Position:
        """The snapshot's position."""
        if self._position is None:
            self._position = self._head(self._reader.execute)
        return self._position


def _is_bounded(step: str, text: str) -> bool:
    if step.startswith(("SEARCH", "MULTI-INDEX OR", "INDEX ")) or "SUBQUERY" in step:
        return True
    if step.startswith("SCAN json_each VIRTUAL TABLE"):  # a list that we bound ourselves
        return "(SELECT value FROM json_each(?" in text
    return step.startswith("SCAN t") and " WHERE TRUE ORDER BY " in text and " LIMIT " in text


class ReaderThreads:
    """A few threads, each with one connection at a time, for what may take long; SQLite needs no GIL."""

    def __init__(self, path: str, file: File, threads: int) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(threads, "crudite-read")
        self._idle: queue.SimpleQueue[tuple[apsw.Connection, Deadline]] = queue.SimpleQueue()
        self._connections: list[apsw.Connection] = []
        self._waiting = 0
        for _ in range(threads):
            connection = connect_reader(path, file)
            self._connections.append(connection)
            self._idle.put((connection, Deadline(connection)))

    async def run(self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **more: P.kwargs) -> T:
        """The result of `work(connection, ...)`, run on a thread; interrupted after 5 seconds.

        Raises StoreLocked when too many are waiting already.
        """
        if self._waiting >= _MOST_WAITING:
            raise StoreLocked(f"{self._path}: {self._waiting} reads are waiting already")
        self._waiting += 1
        try:
            return await self.elsewhere(lambda: self._with_connection(work, *args, **more))
        finally:
            self._waiting -= 1

    async def elsewhere(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The result of `work(...)`, run on one of the threads with a connection of the caller's own."""
        future = self._threads.submit(work, *args, **more)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Waits for what is running, then lets go of the file."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close(True)

    def _with_connection(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        connection, deadline = self._idle.get()
        try:
            deadline.start()
            with translated(self._path):
                return work(connection, *args, **more)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.put((connection, deadline))


def read_snapshot(
    connection: apsw.Connection, plans: Sequence[Plan], head: Callable[[Execute], T]
) -> tuple[T, tuple[Page, ...]]:
    """The pages and the head of the log in one snapshot, on a connection of a reader thread."""
    execute = connection.cursor().execute
    execute("BEGIN")
    position = head(execute)
    pages = tuple([read_page(execute, plan) for plan in plans])
    execute("COMMIT")
    return position, pages
