"""A live view: the records that a client of a live query holds, kept by what the server tells."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import cmp_to_key
from typing import Any, TypeAlias

import msgspec

Row: TypeAlias = dict[str, Any]


class Refusal(Exception):
    """The server answered with a problem: its JSON object (RFC 9457) is `problem`. Of an answer that is none, as in an
    older style, it has the `status`, and its message or whole text as `detail`."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        named = " ".join(str(problem[name]) for name in ("status", "code") if name in problem)
        super().__init__(f"{named}: {problem.get('detail', '')}")

    @classmethod
    def of(cls, status: int, body: bytes) -> "Refusal":
        """The refusal that an answer over HTTP is."""
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError:
            told = body.decode(errors="replace")
        if isinstance(told, dict) and "status" in told:
            return cls(told)
        message = told.get("message") if isinstance(told, dict) else None
        return cls({"status": status, "detail": message or body.decode(errors="replace")})

    @property
    def status(self) -> int:
        """The problem's HTTP status."""
        return int(self.problem["status"])


class View:
    """What a live query holds.

    `records` in order, or `value` of a live number; `events` are all that was told, in order, as
    `(kind, data)`; `resumed` says whether the view went on from an earlier one without a new snapshot. A view
    that has been left keeps what it held, and another one can go on from there; without a `cursor`, as between a
    reset and the set that follows, there is nothing to go on from, and the other one begins anew.
    """

    def __init__(self, timeout: float, resume: "View | None" = None) -> None:
        self.value: Any = None
        self.cursor: str | None = None
        self.key: str | None = None
        self.events: list[tuple[str, Any]] = []
        self.resumed = False
        self._held: dict[Any, Row] = {}
        self._sort: Sequence[Mapping[str, Any]] = ()
        self._order: Sequence[Any] | None = None
        self._timeout = timeout
        self._is_ready = False
        self._failure: BaseException | None = None
        self._told = asyncio.Event()
        if resume is not None and resume.cursor is not None:
            self.resumed = True
            self.value, self.cursor, self.key = resume.value, resume.cursor, resume.key
            self._held, self._sort, self._order = resume.held()

    def held(self) -> tuple[dict[Any, Row], Sequence[Mapping[str, Any]], Sequence[Any] | None]:
        """A copy of all that it holds, for the view that goes on from it."""
        return {key: dict(row) for key, row in self._held.items()}, self._sort, self._order

    @property
    def records(self) -> list[Row]:
        """The records, in the order of the query."""
        if self._order is not None:
            return [self._held[key] for key in self._order if key in self._held]

        def compare(a: Row, b: Row) -> int:
            return _compare(a, b, self._sort)

        return sorted(self._held.values(), key=cmp_to_key(compare))

    async def ready(self) -> list[Row]:
        """Waits until the snapshot is complete, or the missed events have been applied; the records then."""
        return await self.until(lambda _: True)

    async def until(self, holds: Callable[[list[Row]], bool]) -> list[Row]:
        """Waits until the records are such that `holds(records)` is true; returns them.

        Raises TimeoutError, with what the view held, when that does not come in time; Refusal when the
        subscription ends.
        """
        try:
            async with asyncio.timeout(self._timeout):
                while not (self._is_ready and holds(self.records)):
                    await self._next()
        except TimeoutError:
            raise TimeoutError(f"after {self._timeout} s the view still holds {self.records!r}") from None
        return self.records

    async def until_value(self, holds: Callable[[Any], bool]) -> Any:
        """The same for a live number: waits until `holds(value)` is true; returns the value."""
        try:
            async with asyncio.timeout(self._timeout):
                while not (self._is_ready and holds(self.value)):
                    await self._next()
        except TimeoutError:
            raise TimeoutError(f"after {self._timeout} s the value still is {self.value!r}") from None
        return self.value

    @asynccontextmanager
    async def following(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Follows what `work` tells the view, for as long as the block lasts."""
        task = asyncio.create_task(self._run(work))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # what the server tells

    def tell(self, kind: str, data: Any) -> None:
        """One event: `added` (with a record), `changed`, `removed`, `order`, `value`, `ready`, `reset` or
        `problem`."""
        self.events.append((kind, data))
        match kind:
            case "added":
                self._held[data["id"]] = data
            case "changed":
                self._change(data)
            case "removed":
                self._held.pop(data["key"], None)
            case "order":
                self._order = data["keys"]
            case "value":
                self.value = data["value"]
            case "ready":
                self._sort = data.get("sort", self._sort)
                self._is_ready = True
            case "reset":
                self.void()
            case "problem":
                self._failure = Refusal(data["problem"])
        self._told.set()

    def void(self) -> None:
        """What it holds is void, and so is its cursor: it has none until it is ready again."""
        self._held, self._order, self._is_ready = {}, None, False
        self.cursor, self.resumed = None, False

    def expect(self, sort: Sequence[Mapping[str, Any]]) -> None:
        """The server has said how the records are sorted."""
        self._sort = sort

    def tell_frame(self, frame: Mapping[str, Any]) -> None:
        """A whole frame, as WebSocket sends it."""
        for key in frame.get("removed", ()):
            self.tell("removed", {"key": key})
        for record in frame.get("added", ()):
            self.tell("added", record)
        for changed in frame.get("changed", ()):
            self.tell("changed", changed)
        if "order" in frame:
            self.tell("order", {"keys": frame["order"]})
        if "value" in frame:
            self.tell("value", {"value": frame["value"]})

    def _change(self, data: Mapping[str, Any]) -> None:
        row = self._held.get(data["key"])
        if row is None:  # a frame that came twice, or late
            return
        row.update(data["fields"])
        for name in data.get("absent", ()):
            row.pop(name, None)

    async def _next(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._told.clear()
        await self._told.wait()

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            self._failure = self._failure or ConnectionResetError("the server has ended the stream")
        except Exception as error:
            self._failure = error
        self._told.set()


def _compare(a: Row, b: Row, sort: Sequence[Mapping[str, Any]]) -> int:
    """The order of two records: null is the lowest value, text goes by code point."""
    for key in sort:
        left, right = _value(a, key), _value(b, key)
        if left != right:
            is_lower = left is None or (right is not None and left < right)
            return 1 if is_lower == bool(key["descending"]) else -1
    return 0


def _value(row: Row, key: Mapping[str, Any]) -> Any:
    value: Any = row
    for name in str(key["field"]).split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return Decimal(value) if key["type"] == "decimal" and value is not None else value
