"""Faults on purpose: a store that a test can stop, delay and break at each step of the port.

    store = Faulty(open_store("sqlite:///:memory:"))
    app = App(Todo, store=store)
    ...
    with store.gate("after read") as gate:      # whoever has read a snapshot waits here
        joining = asyncio.create_task(view.ready())
        await gate.reached()
        await client.post("/todos", {"title": "between two steps"})
    await joining                               # leaving the block has let it go on

Every method of the port that is awaited has two steps: `before read` and `after read`, when the other store has
answered and the caller does not know it yet. `batch` is the wait for a follower's next batch, `fetch` a read in
its snapshot.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import getattr_static
from typing import Any, Self, TypeAlias, TypeVar

from crudite.changes import Change, Commit, Position, Reset, Unit
from crudite.errors import StoreError
from crudite.query.plan import Plan, Selection
from crudite.schema import Catalog
from crudite.stores.base import (
    MOST_CHANGES,
    Batch,
    Page,
    Pages,
    Row,
    Signal,
    Step,
    Store,
    SupportsHistory,
    SupportsLoad,
    SupportsNumbers,
)
from crudite.types import Key

T = TypeVar("T")

METHODS = ("lookup", "page", "read", "write", "batch", "fetch", "changes", "locate", "trim", "signal")
"""The calls of the port that have steps."""

_POWERS = (SupportsHistory, SupportsLoad, SupportsNumbers)

STEPS = tuple(f"{when} {method}" for method in METHODS for when in ("before", "after"))
"""The names of all steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of the port: its method, what it was given, and at its second step what it answers."""

    method: str
    arguments: tuple[Any, ...]
    answer: Any = None


On: TypeAlias = Callable[[str, Call], Awaitable[None]]
"""What is awaited at every step, given the step's name and the call: it delays the call for as long as it runs,
and what it raises comes out of the call."""


class Gate:
    """A step at which calls wait until the test lets them go on. `waiting` are those that wait now, in order."""

    def __init__(self, holds: Callable[[Call], bool]) -> None:
        self.waiting: list[Call] = []
        self._holds = holds
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self, timeout: float = 10.0) -> Call:  # noqa: ASYNC109 (a promise to the test, in seconds)
        """Waits until a call stands at the gate; the one that came last. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._reached.wait()
        return self.waiting[-1]

    def open(self) -> None:
        """Lets all go on, those that wait and those that come."""
        self._opened.set()

    async def pass_through(self, call: Call) -> None:
        """Waits, as the call, until the gate is open."""
        if self._opened.is_set() or not self._holds(call):
            return
        self.waiting.append(call)
        self._reached.set()
        try:
            await self._opened.wait()
        finally:
            self.waiting.remove(call)
            if not self.waiting:
                self._reached.clear()


class Faulty:
    """A store that does what another one does, and has the faults that a test asks for.

    `on` is awaited at every step. `wakes` says how often each call of `wake` is passed on: 0 loses it, 2 doubles it.
    """

    def __new__(cls, store: Store, *given: Any, **named: Any) -> Self:
        """One that has, in a class of its own, what the other store can do beyond the port: `isinstance` sees nothing
        from Python 3.12 on that an object gives only when it is asked."""
        powers = (name for power in _POWERS for name in vars(power) if not name.startswith("_"))
        its = {name: _passed_on(name) for name in powers if getattr_static(store, name, None) is not None}
        return super().__new__(type(cls.__name__, (cls,), its))

    def __init__(self, store: Store, on: On | None = None, *, wakes: Callable[[], int] = lambda: 1) -> None:
        self.store = store
        self.on = on
        self.wakes = wakes
        self._gates: dict[str, list[Gate]] = {}
        self._failures: dict[str, list[Exception]] = {}
        self._late: set[Call] = set()  # followers that have not asked the other store for their batch yet
        self._missed: set[Call] = set()  # those of them that were woken meanwhile

    def fail(self, step: str, error: Exception | None = None, *, times: int = 1) -> None:
        """The next calls that come to a step fail there, by default with a StoreError."""
        self._known(step)
        failure = error or StoreError(f"a fault that a test asked for: {step}")
        self._failures.setdefault(step, []).extend([failure] * times)

    def heal(self) -> None:
        """No call fails any more that has not failed yet."""
        self._failures.clear()

    @contextmanager
    def gate(self, step: str, holds: Callable[[Call], bool] = lambda _: True) -> Iterator[Gate]:
        """Holds up calls at a step, those for which `holds(call)` is true, at most for as long as the block lasts."""
        self._known(step)
        gate = Gate(holds)
        self._gates.setdefault(step, []).append(gate)
        try:
            yield gate
        finally:
            gate.open()
            self._gates[step].remove(gate)

    # the port

    @property
    def shown(self) -> str:
        """What people know the other store by."""
        return self.store.shown

    @property
    def is_shared(self) -> bool:
        """Whether other processes can open the other store's database."""
        return self.store.is_shared

    async def exists(self) -> bool:
        """Whether the other store's database is there."""
        return await self.store.exists()

    async def open(self, catalog: Catalog, *, migrate: bool = True) -> None:
        """Opens the other store."""
        await self.store.open(catalog, migrate=migrate)

    @property
    def secret(self) -> bytes:
        """The other store's secret."""
        return self.store.secret

    async def close(self) -> None:
        """Closes the other store."""
        await self.store.close()

    async def lookup(self, selection: Selection, key: Key) -> Row | None:
        """Reads one record."""
        return await self._call("lookup", self.store.lookup, selection, key)

    async def page(self, plan: Plan) -> Page:
        """Reads one page."""
        return await self._call("page", self.store.page, plan)

    async def read(self, plans: Sequence[Plan]) -> Pages:
        """Reads a snapshot."""
        return await self._call("read", self.store.read, plans)

    async def write(self, unit: Unit) -> Commit:
        """Writes; a fault `after write` hides from the writer that it is committed."""
        return await self._call("write", self.store.write, unit)

    async def follow(self, since: Position, most: int = MOST_CHANGES) -> AsyncIterator[Batch]:
        """Follows; a fault ends the iterator, and whoever follows has to begin again."""
        batches = self.store.follow(since, most)
        try:
            while True:
                await self._about_to_follow(call := Call("batch", (since,)))
                batch = await anext(batches, None)
                if batch is None:
                    return
                await self._at("after batch", replace(call, answer=batch))
                yield _FaultyBatch(batch, self._call)
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()

    def wake(self) -> None:
        """Wakes followers, as often as `wakes` says."""
        for _ in range(self.wakes()):
            self._missed |= self._late
            self.store.wake()

    def look(self) -> None:
        """Makes followers look."""
        self.store.look()

    async def signal(self, signal: Signal) -> None:
        """Writes a signal."""
        await self._call("signal", self.store.signal, signal)

    def on_commit(self, tell: Callable[[], None]) -> None:
        """Asks the other store to tell."""
        self.store.on_commit(tell)

    async def changes(self, since: Position, until: Position, limit: int) -> Sequence[Change] | Reset:
        """Reads the log."""
        return await self._call("changes", self.store.changes, since, until, limit)

    async def locate(self, token: bytes) -> Position | Reset:
        """Finds a position."""
        return await self._call("locate", self.store.locate, token)

    async def trim(self, *, older_than: float, larger_than: int) -> int:
        """Shortens the log."""

        async def trimmed(older_than: float, larger_than: int) -> int:
            return await self.store.trim(older_than=older_than, larger_than=larger_than)

        return await self._call("trim", trimmed, older_than, larger_than)

    async def plan(self, catalog: Catalog) -> Sequence[Step]:
        """The other store's steps of migration."""
        return await self.store.plan(catalog)

    async def migrate(self, catalog: Catalog, *, lose: bool = False) -> Sequence[Step]:
        """Migrates the other store."""
        return await self.store.migrate(catalog, lose=lose)

    def __getattr__(self, name: str) -> Any:
        """What else the other store has, but for the ways round the steps."""
        if name in ("glance", "ask", "submit") or name == "store":  # not made yet
            raise AttributeError(name)
        return getattr(self.store, name)

    async def _call(self, method: str, perform: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        await self._at(f"before {method}", call := Call(method, arguments))
        answer = await perform(*arguments)
        await self._at(f"after {method}", replace(call, answer=answer))
        return answer

    async def _about_to_follow(self, call: Call) -> None:
        self._late.add(call)
        try:
            await self._at("before batch", call)
            if call in self._missed:  # soon, when it follows: a wake-up is only lost where `wakes` says so
                asyncio.get_running_loop().call_soon(self.store.wake)
        finally:
            self._late.discard(call)
            self._missed.discard(call)

    async def _at(self, step: str, call: Call) -> None:
        for gate in list(self._gates.get(step, ())):
            await gate.pass_through(call)
        if self.on is not None:
            await self.on(step, call)
        if failures := self._failures.get(step):
            raise failures.pop(0)

    def _known(self, step: str) -> None:
        if step not in STEPS:
            raise ValueError(f"expected one of {', '.join(STEPS)}, and got {step!r}")


def _passed_on(name: str) -> property:
    def of_other(self: Faulty) -> Any:
        return getattr(self.store, name)

    return property(of_other)


class _FaultyBatch:
    """A batch whose reads have steps."""

    def __init__(self, batch: Batch, call: Callable[..., Awaitable[Any]]) -> None:
        self.position = batch.position
        self.changes = batch.changes
        self.bulk = batch.bulk
        self.signals = batch.signals
        self.reset = batch.reset
        self._batch = batch
        self._call = call

    async def fetch(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        """Reads in the batch's snapshot."""
        pages: tuple[Page, ...] = await self._call("fetch", self._batch.fetch, plans)
        return pages


__all__ = ["METHODS", "STEPS", "Call", "Faulty", "Gate", "On"]
