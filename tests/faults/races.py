"""Races on purpose: a small application whose engine a test stops at any step that it takes at the store.

A *step* is where the engine awaits the store: just before a call, and just after the store has answered and the
engine does not know it yet. Between two steps it awaits nothing that another could come before.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import msgspec

from crudite import App, Count, Field, Limits, LiveLimits, Many, Parent, Record, Request, allow, me
from crudite.changes import Reset
from crudite.stores import open_store
from crudite.testing import Client, Socket, View
from crudite.testing.faults import Call, Faulty
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store

PATIENCE = 5.0
_IS_OURS: ContextVar[bool] = ContextVar("whether the test itself uses the store", default=False)

StepAt: TypeAlias = tuple[str, int]
"""A step by its name and its number: the first `before read` is 0."""


class Project(Record[str], rules=allow.everyone):
    title: str
    members: Many["Member"]


class Member(Record[int], rules=allow.everyone):
    project: Parent[Project]
    user: str


class Task(
    Record[int],
    rules={"read": allow.role("admin") | allow.where(project__members__user=me.id), "write": allow.everyone},
):
    project: Parent[Project]
    points: int
    done: bool = False
    title: str = ""
    note: str = Field(default="", read=allow.role("admin") | allow.where(done=False))


@dataclass(frozen=True)
class Asked:
    """A live query, who asks it, and the same as a request."""

    actor: str
    url: str
    subscription: Mapping[str, Any]


def tasks(actor: str, **query: Any) -> Asked:
    """A live query of tasks."""
    parts = {"where": {"done": False}, **query}
    url = f"/tasks?done=false{''.join(f'&{name}={_text(value)}' for name, value in query.items())}"
    return Asked(actor, url, {"resource": "tasks", "query": parts})


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


QUERIES = {
    "a filter": tasks("root:admin"),
    "a window": tasks("root:admin", sort=["-points"], limit=2),
    "an order by other records": tasks("root:admin", sort=["project.title", "-points"]),
    "a number": Asked("root:admin", "/open", {"read": "open"}),
    "a rule through other records": tasks("bob"),
    "a window under such a rule": tasks("bob", sort=["-points"], limit=2),
}


async def several(app: App) -> None:
    """One transaction in which a record comes, leaves, goes, moves and enters."""
    async with app.records.batch() as batch:
        batch.create(Task, id=10, project="p", points=8)
        batch.update(Task, 1, done=True)
        batch.delete(Task, 2)
        batch.update(Task, 3, points=50)
        batch.update(Task, 6, done=False)


async def member_with_tasks(app: App) -> None:
    """Somebody becomes a member in the same transaction that changes what he then sees."""
    async with app.records.batch() as batch:
        batch.create(Member, id=3, project="q", user="bob")
        batch.create(Task, id=10, project="q", points=20)
        batch.update(Task, 7, title="seven")
        batch.update(Task, 5, project="p")


Write: TypeAlias = Callable[[App], Awaitable[Any]]

WRITES: Mapping[str, Write] = {
    "a record comes": lambda app: app.records.create(Task, id=10, project="p", points=8),
    "a record comes elsewhere": lambda app: app.records.create(Task, id=10, project="q", points=10),
    "a record changes": lambda app: app.records.update(Task, 1, title="one", note="n"),
    "a record leaves": lambda app: app.records.update(Task, 1, done=True),
    "a record enters": lambda app: app.records.update(Task, 6, done=False),
    "a record goes": lambda app: app.records.delete(Task, 1),
    "a record moves to the top": lambda app: app.records.update(Task, 4, points=100),
    "a record moves away": lambda app: app.records.update(Task, 1, project="q"),
    "a record moves here": lambda app: app.records.update(Task, 5, project="p"),
    "several in one transaction": several,
}
OTHERS: Mapping[str, Write] = {
    "a member comes": lambda app: app.records.create(Member, id=3, project="q", user="bob"),
    "a member comes with tasks": member_with_tasks,
    "a member goes": lambda app: app.records.delete(Member, 1),
    "a member moves": lambda app: app.records.update(Member, 1, project="q"),
    "a project is renamed": lambda app: app.records.update(Project, "p", title="Z"),
}
"""Writes to records that a rule or an order reads."""


def writes_for(query: str) -> Mapping[str, Write]:
    """The writes that may change what a query holds."""
    return {**WRITES, **OTHERS} if "other records" in query or "rule" in query else WRITES


@asynccontextmanager
async def ours() -> AsyncIterator[None]:
    """What is asked of the store in this block is no step of the engine."""
    token = _IS_OURS.set(True)
    try:
        yield
    finally:
        _IS_OURS.reset(token)


class Steps:
    """The steps that the engine takes, while it is `watched`; it can be stopped at one of them at a time."""

    def __init__(self) -> None:
        self.taken: list[StepAt] = []
        self.is_log_lost = False
        self._counts: Counter[str] = Counter()
        self._stop: StepAt | None = None
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    def watch(self, stop: StepAt | None = None) -> None:
        """From now on steps are counted; whoever takes `stop` waits there until `release`."""
        self.taken, self._counts = [], Counter()
        self.release(stop)

    def release(self, stop: StepAt | None = None) -> None:
        """Lets whoever waits go on; from now on whoever takes `stop` waits there."""
        self._released.set()
        self._stop = stop
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def reached(self, work: "asyncio.Task[Any]") -> bool:
        """Waits until somebody stands at the step, or the work is done without; returns whether somebody does."""
        reaching = asyncio.ensure_future(self._reached.wait())
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([reaching, work], return_when=asyncio.FIRST_COMPLETED)
        reaching.cancel()
        return self._reached.is_set()

    async def __call__(self, name: str, call: Call) -> None:
        """A step of the store."""
        if _IS_OURS.get():
            return
        if name == "after batch" and self.is_log_lost:
            self.is_log_lost = False
            call.answer.reset, call.answer.changes = Reset("gap"), ()
        step = name, self._counts[name]
        self._counts[name] += 1
        self.taken.append(step)
        if step == self._stop:
            released = self._released
            self._reached.set()
            await released.wait()


class Watched(View):
    """A view that notes what it holds at each of its commits, and accepts no event that comes twice."""

    def __init__(self, socket: Socket, name: str, resume: View | None = None) -> None:
        super().__init__(PATIENCE, resume)
        self.socket = socket
        self.name = name
        self.states: list[Any] = []
        self.is_answered = False

    def tell(self, kind: str, data: Any) -> None:
        """One event, which must be news."""
        match kind:
            case "added":
                assert data["id"] not in self._held, f"{data} was added twice"
            case "removed" | "changed":
                assert data["key"] in self._held, f"{data['key']} is {kind} and was not there"
        super().tell(kind, data)
        if kind == "ready":
            self._note()

    def tell_frame(self, frame: Mapping[str, Any]) -> None:
        """A whole frame, or a part of a snapshot."""
        super().tell_frame(frame)
        if self._is_ready:
            self._note()

    def _note(self) -> None:
        held = self.value if self.value is not None else self.records
        self.states.append(msgspec.json.decode(msgspec.json.encode(held)))


@dataclass
class Scene:
    """The application, its clients, and what the query has held after each commit so far."""

    app: App
    steps: Steps
    nobody: Client
    asked: Asked
    stack: AsyncExitStack
    truths: list[Any] = field(default_factory=list)
    views: list[Watched] = field(default_factory=list)
    _names: Iterator[int] = field(default_factory=count)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def note(self) -> None:
        """What a request for the query shows now, if it is not what it showed before."""
        answer = await self.nobody.acting(self.asked.actor).get(self.asked.url)
        assert answer.status == 200, answer
        if answer.json != (self.truths[-1] if self.truths else None):
            self.truths.append(answer.json)

    async def write(self, write: Write) -> None:
        """Commits, and notes what that has made of the query."""
        async with self._writing, ours():
            await write(self.app)
            await self.note()

    async def connect(self) -> Socket:
        """A connection of whoever asks."""
        return await self.stack.enter_async_context(self.nobody.acting(self.asked.actor).websocket())

    async def subscribe(self, socket: Socket, resume: View | None = None) -> Watched:
        """A new subscription that has been answered; it may not be ready yet."""
        view = Watched(socket, f"s{next(self._names)}", resume)
        self.views.append(view)
        await socket.subscribe(view.name, self.asked.subscription, view)
        view.is_answered = True
        return view

    async def unsubscribe(self, view: Watched) -> None:
        """The subscription has ended, whoever waits for it."""
        self.views.remove(view)
        await view.socket.call("unsubscribe", {"sub": view.name})
        view.tell("ready", {})

    async def told(self) -> None:
        """Returns when all that is committed is in the outboxes of those who have their sets, whoever stands still."""
        async with asyncio.timeout(PATIENCE):
            await self.app.engine.fence()

    async def settled(self) -> None:
        """Returns when everybody has his set, and all that is committed."""
        async with asyncio.timeout(PATIENCE):
            await self.app.engine.settled()

    async def check(self) -> None:
        """Every view has gone from truth to truth, only forward, and holds the last one."""
        for view in self.views:
            try:
                async with asyncio.timeout(PATIENCE):
                    await view.until(lambda _, view=view: view.states[-1:] == self.truths[-1:])  # type: ignore[misc]
            except TimeoutError:
                raise AssertionError(f"held {view.states}, of {self.truths}; heard {view.events}") from None
        await self.settled()
        for view in self.views:
            at = 0
            for state in view.states:
                while at < len(self.truths) and state != self.truths[at]:
                    at += 1
                assert at < len(self.truths), f"held {view.states}, of {self.truths}; heard {view.events}"


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Client, Steps]]:
    """The application without records, for one scene after the other, as nobody sees it."""
    steps = Steps()
    app = App(
        Project, Member, Task, store=Faulty(open_store(fresh_store()), steps), auth=by_name,
        limits=Limits(live=LiveLimits(tick=0, rerun_tick=0)),  # there is a batch for every commit in any case
    )  # fmt: skip

    @app.read("open")
    async def open_tasks(request: Request) -> Count:
        return Task.where(done=False).count()

    async with Client(app, timeout=PATIENCE) as nobody:
        yield nobody, steps


async def set_up(app: App) -> None:
    """Puts the records of a scene in the place of what there is."""
    async with app.records.batch() as batch:
        for resource in (Task, Member, Project):
            for record in await app.records.list(resource):
                batch.delete(resource, record.id)
        batch.create(Project, id="p", title="P")
        batch.create(Project, id="q", title="Q")
        batch.create(Member, id=1, project="p", user="bob")
        batch.create(Member, id=2, project="q", user="eve")
        for key, (project, points) in enumerate(map(tuple, ("p9", "p7", "p5", "p3", "q8", "p6", "q2")), start=1):
            batch.create(Task, id=key, project=project, points=int(points), done=key == 6, note=f"note {key}")


@asynccontextmanager
async def scene(nobody: Client, steps: Steps, asked: Asked) -> AsyncIterator[Scene]:
    """A few records, and whoever asks; afterwards nothing of any subscription may be left."""
    async with AsyncExitStack() as stack:
        here = Scene(nobody.app, steps, nobody, asked, stack)
        async with ours():
            await set_up(here.app)
            await here.note()
        await here.settled()
        try:
            yield here
        finally:
            steps.release()
    metrics = here.app.engine.metrics
    assert (metrics.live_subs, metrics.live_groups) == (0, 0)
