"""An application in several processes under load: who writes, who watches, and what must hold once all is well."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

from tests.faults.tabs import Refused, Rows, SocketTab, StreamTab, Tab
from tests.services.http import client_at
from tests.services.workers import PATIENCE, Parent, eventually, started

PROGRAM = """
from crudite import App, Limits, Resource, allow

class Todo(Resource, rules=allow.everyone, max_limit=100_000):
    title: str
    room: int
    n: int = 0
    notes: str = ""

app = App(Todo, bus={bus}, limits=Limits(connections=10_000, arrivals=10_000))
"""
ROOMS = 3
WRITERS = 6
WRITES = 20  # before and after each fault
QUIET = 0.01


async def rest() -> None:
    """A moment, before the same is tried again."""
    await asyncio.sleep(QUIET)


class Fleet:
    """Servers of one application: each is one process, or several workers behind one port. `parents`
    are all that there were, `there` those that run, `ports` where they are, as far as clients know."""

    def __init__(self, folder: Path, store: str, workers: int, program: str) -> None:
        self.parents: list[Parent] = []
        self.there: list[Parent] = []
        self.ports: list[int] = []
        self.store = store
        self._folder = folder
        self._workers = workers
        self._lives: list[contextlib.AsyncExitStack] = []
        (folder / "todos.py").write_text(program)

    async def start(self) -> Parent:
        """One server more, when it answers."""
        stack = contextlib.AsyncExitStack()
        options = ("--workers", str(self._workers)) if self._workers > 1 else ()
        parent = await stack.enter_async_context(
            started(self._folder, "todos.py", "--store", self.store, "--grace", "2", *options)
        )
        self._lives.append(stack)
        self.parents.append(parent)
        self.there.append(parent)
        parent.url = (await parent.until(r"at (http://127\.0\.0\.1:\d+)"))[1]
        if self._workers > 1:
            await parent.until_all_answer(self._workers)
        self.ports.append(port_of(parent))
        return parent

    async def replace(self, parent: Parent) -> Parent:
        """`kill -9` of a server, of the parent alone where there are workers; then another one is started."""
        self.there.remove(parent)
        parent.process.kill()
        await parent.ended()
        other = await self.start()
        self.ports.remove(port_of(parent))
        return other

    async def aclose(self) -> None:
        """Ends all; none hangs."""
        async with asyncio.timeout(PATIENCE):
            for stack in self._lives:
                await stack.aclose()

    def said(self, pattern: str) -> list[str]:
        """What any of them has said."""
        return [found.string for parent in self.parents for found in parent.said(pattern)]


def port_of(parent: Parent) -> int:
    """Where a server is."""
    return int(parent.url.rpartition(":")[2])


class Ledger:
    """What the store must hold: for each title that a writer has made, the numbers of which its record has one. None
    stands for no record. What was under way when its answer got lost may have happened or not, and never twice."""

    def __init__(self) -> None:
        self.may_be: dict[str, set[int | None]] = {}
        self.acknowledged = 0
        self.doubted = 0

    def begin(self, title: str, to: int | None) -> None:
        """A write is sent after which the record has this number."""
        self.may_be.setdefault(title, {None}).add(to)

    def done(self, title: str, to: int | None) -> None:
        """It was acknowledged."""
        self.may_be[title] = {to}
        self.acknowledged += 1

    def faults(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """In what the store differs."""
        times = Counter(row["title"] for row in rows)
        found: dict[str, int | None] = {row["title"]: row["n"] for row in rows}
        return [f"{title} is there {count} times" for title, count in times.items() if count > 1] + [
            f"{title} should be one of {expected} and is {found.get(title)}"
            for title, expected in self.may_be.items()
            if found.get(title) not in expected
        ]


class Load:
    """Writers and readers on all servers of a fleet. `seed` decides who does what. `large` is what each record
    carries, in characters."""

    def __init__(self, fleet: Fleet, seed: int = 1, large: int = 0) -> None:
        self.fleet = fleet
        self.ledger = Ledger()
        self.tabs: list[Tab] = [
            kind(query=query)
            for kind in (SocketTab, StreamTab)
            for query in (None, {"room": 0}, {"n": 1, "room": 1})
        ]  # fmt: skip
        self.refusals: Counter[int] = Counter()
        self._random = random.Random(seed)
        self._large = large
        self._number = 0
        self._under_way = 0
        self._goes_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Is there while the block lasts, with everybody connected and writing."""
        async with asyncio.TaskGroup() as tasks:
            living = [tasks.create_task(self._watch(tab)) for tab in self.tabs]
            living += [tasks.create_task(self._write(name)) for name in range(WRITERS)]
            try:
                self._goes_on.set()
                await self.until(WRITES)
                yield self
            except BaseException as error:
                error.add_note("".join(line for parent in self.fleet.parents for line in parent.lines))
                raise
            finally:
                for task in living:
                    task.cancel()

    async def until(self, count: int) -> None:
        """Waits until so many more writes were acknowledged, and everybody watches."""
        wanted = self.ledger.acknowledged + count

        async def is_so() -> bool:
            return self.ledger.acknowledged >= wanted and all(tab.is_ready for tab in self.tabs)

        await eventually(is_so)

    async def until_refused(self, count: int) -> None:
        """Waits until so many more writes were refused, or have lost their server."""
        wanted = self.refusals.total() + count

        async def is_so() -> bool:
            return self.refusals.total() >= wanted

        await eventually(is_so)

    async def until_held_up(self) -> None:
        """Waits until every writer waits for its answer, and has for as long as it takes to look around."""
        before = -1

        async def is_so() -> bool:
            nonlocal before
            same, before = self.ledger.acknowledged == before, self.ledger.acknowledged
            return same and self._under_way == WRITERS

        await eventually(is_so)

    async def holds(self) -> None:
        """After some more writes nobody writes for a moment: every acknowledged write is there once, and what
        everybody sees is what is there."""
        await self.until(WRITES)
        self._goes_on.clear()

        async def is_quiet() -> bool:
            return self._under_way == 0

        await eventually(is_quiet)
        await self._compare()
        self._goes_on.set()

    async def _compare(self) -> None:
        for port in self.fleet.ports:
            stored = await fetch(port)
            if found := self.ledger.faults(stored):
                raise AssertionError(f"{len(found)} records are wrong: {found[:5]}")
            for tab in self.tabs:
                wanted = wanted_by(tab, stored)
                try:
                    await tab.until(lambda tab=tab, wanted=wanted: tab.is_ready and tab.rows == wanted)  # type: ignore[misc]
                except TimeoutError:
                    raise AssertionError(difference(tab, wanted)) from None
        if self.fleet.said(r"Traceback|ERROR (?!crudite\.workers: )"):
            raise AssertionError("the servers complain")

    async def _watch(self, tab: Tab) -> None:
        while True:
            with contextlib.suppress(OSError, Refused):
                await tab.stay(self._random.choice(self.fleet.ports))
            await rest()

    async def _write(self, name: int) -> None:
        """A writer with records of its own, on one connection after the other."""
        mine: dict[str, tuple[str, int]] = {}
        while True:
            port = self._random.choice(self.fleet.ports)
            try:
                async with client_at(f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                    for _ in range(20):
                        await self._goes_on.wait()
                        self._under_way += 1
                        try:
                            await self._step(client, name, mine)
                        finally:
                            self._under_way -= 1
            except httpx2.TimeoutException:
                raise  # it hangs
            except httpx2.TransportError:
                self.refusals[0] += 1
                await rest()

    async def _step(self, client: httpx2.AsyncClient, name: int, mine: dict[str, tuple[str, int]]) -> None:
        key = self._random.choice(list(mine)) if mine else ""
        dice = self._random.random()
        if not key or dice < 0.4:
            self._number += 1
            title, n = f"{name}-{self._number}", 0
            self.ledger.begin(title, n)
            fields = {"title": title, "room": self._random.randrange(ROOMS), "notes": "x" * self._large}
            answer = await client.post("/todos", json=fields)
        else:
            title, n = mine.pop(key)
            if dice < 0.8:
                n += 1
                self.ledger.begin(title, n)
                answer = await client.patch(f"/todos/{key}", json={"n": n})
            else:
                self.ledger.begin(title, None)
                answer = await client.delete(f"/todos/{key}")
        if answer.status_code == 503:
            self.refusals[503] += 1
            return await rest()  # done or not: it is left alone
        assert answer.status_code in (200, 201, 204), answer.text
        is_gone = answer.status_code == 204
        self.ledger.done(title, None if is_gone else n)
        if not is_gone:
            mine[answer.json()["id"]] = (title, n)


async def fetch(port: int) -> list[dict[str, Any]]:
    """All records, as soon as a server answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                async with client_at(f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                    answer = await client.get("/todos?limit=100000")
                if answer.status_code == 200:
                    rows: list[dict[str, Any]] = answer.json()
                    return rows
            await rest()


def wanted_by(tab: Tab, stored: Sequence[dict[str, Any]]) -> Rows:
    """What a tab must show."""
    return {row["id"]: row for row in stored if all(row[name] == value for name, value in tab.query.items())}


def difference(tab: Tab, wanted: Rows) -> str:
    """In words, how a tab is not what it should be."""
    wrong = [key for key in tab.rows.keys() & wanted.keys() if tab.rows[key] != wanted[key]]
    return (
        f"{type(tab).__name__} of {tab.query}{'' if tab.is_ready else ', not ready'}: "
        f"lacks {[wanted[key] for key in wanted.keys() - tab.rows.keys()][:3]}, "
        f"has {[tab.rows[key] for key in tab.rows.keys() - wanted.keys()][:3]} too many, "
        f"holds {[(tab.rows[key], wanted[key]) for key in wrong][:3]} (held, stored)"
    )


def program(bus: str | None = None) -> str:
    """The application, with the URL of a bus."""
    return PROGRAM.format(bus=repr(bus))


@contextlib.asynccontextmanager
async def fleet(
    folder: Path, store: str, *, servers: int = 1, workers: int = 1, program: str = program()
) -> AsyncIterator[Fleet]:
    """So many servers on a store, gone when the block ends."""
    one = Fleet(folder, store, workers, program)
    try:
        for _ in range(servers):
            await one.start()
        yield one
    finally:
        await one.aclose()


@contextlib.asynccontextmanager
async def load(
    folder: Path, store: str, *, servers: int = 1, workers: int = 1, program: str = program(), seed: int = 1,
    large: int = 0,
) -> AsyncIterator[Load]:  # fmt: skip
    """A fleet under load for the time of a block; in the end all holds."""
    async with (
        fleet(folder, store, servers=servers, workers=workers, program=program) as one,
        Load(one, seed, large).running() as running,
    ):
        yield running
        await running.holds()
