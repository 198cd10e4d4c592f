"""A small world for tests of the live engine: a schema, a store in memory that obeys the test, a client."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from crudite.changes import Change, Mark, Reset, ResetReason
from crudite.errors import Problem
from crudite.live import Connection, Engine, Format, Frame, LaneName, LiveLimits, Subscribed, Subscription
from crudite.messages import LiveQuery
from crudite.query.identity import identity_of
from crudite.query.match import compile_mask, compile_matcher
from crudite.query.order import compile_order, compile_sort
from crudite.query.parse import where
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.resolve import Resolver
from crudite.query.tree import EVERYTHING, Filter, Path
from crudite.schema import Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from crudite.stores.base import MOST_CHANGES, Page, Pages, Signal
from crudite.types import Key, Plain, PlainRecord

SECRET = b"sixteen bytes and some"
TEXT = FieldType("text")


def _schema(name: str, *fields: FieldSpec, links: dict[str, Link] | None = None) -> ResourceSchema:
    every = (
        FieldSpec("id", FieldType("integer"), unique=True),
        *fields,
        FieldSpec("version", FieldType("integer")),
    )
    return ResourceSchema(name, f"{name}s", name, {f.name: f for f in every}, links=links or {})


TEAM = _schema(
    "team", FieldSpec("name", TEXT), FieldSpec("open", FieldType("boolean")),
    links={"tasks": Link("tasks", "task", "team")},
)  # fmt: skip
TASK = _schema(
    "task",
    FieldSpec("team", FieldType("integer"), nullable=True, reference=Reference("team")),
    FieldSpec("status", FieldType("text", choices=("todo", "done")), nullable=True),
    FieldSpec("title", TEXT),
    FieldSpec("points", FieldType("integer"), nullable=True),
    FieldSpec("price", FieldType("decimal", places=2), nullable=True),
    FieldSpec("data", FieldType("json"), nullable=True),
)
CATALOG = Catalog({"team": TEAM, "task": TASK})
ALL_FIELDS = tuple(TASK.fields)


def resolve(written: Filter, schema: ResourceSchema = TASK) -> Filter:
    """The resolved filter; it must be without faults."""
    resolver = Resolver(schema, CATALOG)
    filter = resolver.filter(written)
    resolver.check()
    return filter


def field_path(name: str, schema: ResourceSchema = TASK) -> Path:
    """The path to one of the schema's own fields."""
    return Path((), schema.fields[name], (), schema.fields[name].type)


def query(
    written: Filter | None = None,
    *,
    fields: tuple[str, ...] = ALL_FIELDS,
    sometimes: tuple[tuple[str, Filter], ...] = (),
    sort: Sequence[str] = (),
    limit: int | None = None,
    keys: tuple[Key, ...] | None = None,
    schema: ResourceSchema = TASK,
    start: tuple[Plain, ...] | None = None,
    until: tuple[Plain, ...] | None = None,
    **more: Any,
) -> LiveQuery:
    """A live query whose identity is its own text."""
    filter = resolve(written, schema) if written is not None else EVERYTHING
    mask = Mask(fields, tuple((name, resolve(rule, schema)) for name, rule in sometimes))
    keyed = Resolver(schema, CATALOG).sort(sort)
    plan = Plan(selection=Selection(schema, filter, mask), sort=keyed, limit=limit, keys=keys, start=start, until=until)
    identity = (
        more.pop("identity", None)
        or f"{schema.name} {identity_of(filter)} {fields} {sometimes!r} {limit} {keys} {sort} {start} {until}"
    )
    return LiveQuery(plan, identity, **more)


def task(id: int, title: str = "", **values: Plain) -> PlainRecord:
    """A task with nothing but its key and title, unless values say otherwise."""
    empty: PlainRecord = {"team": None, "status": None, "points": None, "price": None, "data": None}
    return {"id": id, **empty, "title": title, "version": 1, **values}


@dataclass(frozen=True)
class Place:
    """A position: how many changes of a log are covered."""

    log: int
    count: int

    @property
    def token(self) -> bytes:
        return f"{self.log}:{self.count}".encode()

    def covers(self, mark: Mark) -> bool:
        return int(mark) <= self.count


Tables = dict[str, dict[Key, PlainRecord]]


class _Others:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        return self._tables[schema.name].get(key)

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> list[PlainRecord]:
        return [record for record in self._tables[schema.name].values() if record[field] == key]


def run(plan: Plan, tables: Tables) -> Page:
    """What a plan finds in tables."""
    others = _Others(tables)
    matches = compile_matcher(plan.selection.filter, others)
    show = compile_mask(plan.selection.mask, others)
    found = [r for r in tables[plan.selection.schema.name].values() if matches(r)]
    if plan.keys is not None:
        found = [record for record in found if record[plan.selection.schema.key] in plan.keys]
    found.sort(key=compile_sort(plan.sort, others))
    if plan.start is not None:
        order = compile_order(plan.sort)
        start = order({key.path.field.name: value for key, value in zip(plan.sort, plan.start, strict=True)})
        found = [record for record in found if start < order(record)]
    if plan.until is not None:
        order = compile_order(plan.sort)
        until = order({key.path.field.name: value for key, value in zip(plan.sort, plan.until, strict=True)})
        found = [record for record in found if not until < order(record)]
    page = found if plan.limit is None else found[: plan.limit]
    first = tuple(page[0].get(key.path.field.name) for key in plan.sort) if page else None
    return Page(
        [record["id"] for record in page],
        [record["version"] for record in page],
        [json.dumps(show(record)) for record in page],
        first=first,
        more=len(page) < len(found),
        total=len(found) if plan.total else None,
    )


@dataclass
class MemoryBatch:
    """A batch with its snapshot of the tables."""

    position: Place
    changes: Sequence[Change]
    tables: Tables
    store: "MemoryStore"
    reset: Reset | None = None
    bulk: Collection[str] = frozenset()
    signals: Sequence[Signal] = ()

    async def fetch(self, plans: Sequence[Plan]) -> tuple[Page, ...]:
        await self.store.turns()
        self.store.fetched += plans
        if self.store.fetch_fails(plans):
            raise self.store.failure
        return tuple(run(plan, self.tables) for plan in plans)


class MemoryStore:
    """The store port in memory, as far as the engine uses it.

    Every step takes a random number of turns of the event loop, so that seeds try out interleavings.
    `history[n]` are the tables after n changes.
    """

    def __init__(self, seed: int = 0) -> None:
        self.log = 1
        self.history: list[Tables] = [{"team": {}, "task": {}}]
        self.changes_made: list[Change] = []
        self.reads = 0
        self.fetched: list[Plan] = []  # all that batches were asked for
        self.looks = 0
        self.failure: Exception = RuntimeError("no failure was asked for")
        self.fetch_fails: Callable[[Sequence[Plan]], bool] = lambda plans: False
        self.fail_follow = 0
        self.fail_read = 0
        self.pending_reset: Reset | None = None
        self.before_read: Callable[[], None] = lambda: None
        self.after_read: Callable[[], None] = lambda: None
        self.is_silent = False
        self.is_deaf = False  # gives no batch, however often it is woken
        self.most_turns = 3
        self._random = Random(seed)
        self._woken = asyncio.Event()
        self.during_look = self.turns
        self.during_batch = self.turns
        self.trimmed = 0

    @property
    def tables(self) -> Tables:
        return self.history[-1]

    @property
    def position(self) -> Place:
        return Place(self.log, len(self.changes_made))

    async def turns(self) -> None:
        for _ in range(self._random.randint(0, self.most_turns)):
            await asyncio.sleep(0)

    def commit(self, *writes: tuple[ResourceSchema, Key, PlainRecord | None]) -> Mark:
        """Commits records (None deletes) as one transaction; every follower sees all of it at once."""
        for schema, key, after in writes:
            tables = {name: dict(table) for name, table in self.tables.items()}
            before = tables[schema.name].pop(key, None)
            if after is not None:
                tables[schema.name][key] = after
            texts = [None if image is None else json.dumps(image) for image in (before, after)]
            kind = "created" if before is None else "deleted" if after is None else "updated"
            self.history.append(tables)
            mark = str(len(self.history) - 1)
            self.changes_made.append(Change(schema, key, kind, *texts, mark))  # type: ignore[arg-type]
        if not self.is_silent:
            self.wake()
        return str(len(self.changes_made))

    def put(self, *records: PlainRecord) -> Mark:
        """Commits tasks."""
        return self.commit(*((TASK, record["id"], record) for record in records))

    def remove(self, *keys: Key) -> Mark:
        """Commits the deletion of tasks."""
        return self.commit(*((TASK, key, None) for key in keys))

    def wake(self) -> None:
        self._woken.set()

    async def read(self, plans: Sequence[Plan]) -> Pages:
        await self.turns()
        self.reads += bool(plans)
        if plans and self.fail_read:
            self.fail_read -= 1
            raise self.failure
        if plans:
            self.before_read()
        pages = Pages(self.position, tuple(run(plan, self.tables) for plan in plans))
        if plans:
            self.after_read()
        await self.turns()
        return pages

    async def follow(self, since: Place, most: int = MOST_CHANGES) -> AsyncIterator[MemoryBatch]:
        while True:
            if self.fail_follow:
                self.fail_follow -= 1
                raise self.failure
            if self.position == since and self.pending_reset is None:
                await self._woken.wait()
            self._woken.clear()
            if self.is_deaf:
                await asyncio.Event().wait()
            await self.turns()
            position, reset, self.pending_reset = self.position, self.pending_reset, None
            changes = [] if reset else self.changes_made[since.count : position.count]
            counts = Counter(change.schema.name for change in changes)
            bulk = frozenset(name for name, count in counts.items() if count > most)
            single = [change for change in changes if change.schema.name not in bulk]
            batch = MemoryBatch(position, single, self.tables, self, reset, bulk)
            since = position
            await self.during_batch()
            yield batch

    async def changes(self, since: Place, until: Place, limit: int) -> Sequence[Change] | Reset:
        self.looks += 1
        await self.turns()
        found = self.changes_made[since.count : until.count]
        await self.during_look()
        return found if len(found) <= limit else Reset("too_many")

    async def locate(self, token: bytes) -> Place | Reset:
        await self.turns()
        log, count = map(int, token.split(b":"))
        if log != self.log:
            return Reset("epoch")
        return Place(log, count) if count >= self.trimmed else Reset("gap")


class Probe:
    """A format of JSON messages that a test can read."""

    share: Any = "probe"
    heartbeat = 20.0
    is_torn = False
    has_lanes = True

    def address(self, name: str) -> None:
        return None

    def frame(self, frame: Frame, to: Subscription, before: str, after: str | None) -> list[bytes]:
        messages = [_message("frame", group=to.group, lane=to.lane, before=before, **_frame(frame))]
        return [*messages, self.commit(after, to.lane)] if after is not None else messages

    def frame_alone(self, frame: Frame, to: Subscription, before: str, after: str | None) -> list[bytes]:
        told = _message("frame", sub=to.name, lane=to.lane, before=before, **_frame(frame))
        return [told, self.commit(after, to.lane)] if after is not None else [told]

    def resumed(self, frame: Frame | None, to: Subscription, before: str, after: str) -> list[bytes]:
        told = self.frame_alone(frame, to, before, after) if frame is not None else []
        return [*told, self.ready(to, after)]

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        return _message("commit", cursor=cursor, lane=lane)

    def snapshot(self, to: Subscription, records: Sequence[str]) -> bytes:
        return _message("snapshot", sub=to.name, records=[json.loads(text) for text in records])

    def value(self, to: Subscription, value: Plain) -> bytes:
        return _message("snapshot", sub=to.name, value=value)

    def ready(self, to: Subscription, cursor: str) -> bytes:
        return _message("ready", sub=to.name, cursor=cursor)

    def reset(self, to: Subscription, reason: ResetReason) -> bytes:
        return _message("reset", sub=to.name, reason=reason)

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        return _message("problem", sub=to.name, code=problem.code)

    def acks(self, calls: Sequence[Plain]) -> bytes:
        return _message("acks", ids=list(calls))

    def ping(self) -> bytes:
        return _message("ping")

    def bye(self, retry_in: int) -> bytes:
        return _message("bye", retry_in=retry_in)


def _message(kind: str, **members: Any) -> bytes:
    return msgspec.json.encode({"kind": kind, **members})


def _frame(frame: Frame) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if frame.added:
        members["added"] = [json.loads(text) for text in frame.added]
    if frame.changed:
        members["changed"] = [[c.key, c.fields, list(c.absent)] for c in frame.changed]
    if frame.removed:
        members["removed"] = list(frame.removed)
    if frame.order is not None:
        members["order"] = list(frame.order)
    if frame.value is not msgspec.UNSET:
        members["value"] = frame.value
    return members


@dataclass
class Held:
    """What a client holds of one subscription."""

    group: str
    key: str
    records: dict[Key, PlainRecord] = field(default_factory=dict)
    value: Plain = None
    order: list[Key] | None = None
    cursor: str | None = None
    ready: bool = False
    lane: str = "exact"

    def apply(self, frame: dict[str, Any]) -> None:
        for record in frame.get("added", ()):
            self.records[record["id"]] = dict(record)
        for key, fields, absent in frame.get("changed", ()):
            self.records[key].update(fields)
            for name in absent:
                del self.records[key][name]
        for key in frame.get("removed", ()):
            self.records.pop(key, None)
        self.order = frame.get("order", self.order)
        self.value = frame.get("value", self.value)


class Client:
    """Applies what the server sends, as the wire's rules say; `log` is every message in order."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.subs: defaultdict[str, Held] = defaultdict(lambda: Held("", ""))
        self.log: list[dict[str, Any]] = []
        self.at_commit: Callable[[Held], None] = lambda held: None
        self._waiting: list[dict[str, Any]] = []
        self._failure: Exception | None = None
        self._heard = asyncio.Event()

    async def listen(self) -> None:
        try:
            async for messages in self.connection.messages():
                for message in messages:
                    self.apply(json.loads(message))
                self._heard.set()
        except Exception as error:
            self._failure = error
        finally:
            self._heard.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds; at most five seconds."""
        async with asyncio.timeout(5):
            while not self._fails() and not holds():
                self._heard.clear()
                await self._heard.wait()
        self._fails()

    def _fails(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return False

    async def subscribe(self, name: str, query: LiveQuery, **resume: Any) -> Subscribed:
        return await self.connection.subscribe(name, query, announce=announced, **resume)

    def kinds(self) -> list[str]:
        return [message["kind"] for message in self.log]

    def apply(self, message: dict[str, Any]) -> None:
        self.log.append(message)
        match message["kind"]:
            case "subscribed":
                held = self.subs[message["sub"]]
                held.group, held.key, held.lane = message["group"], message["key"], message["lane"]
            case "snapshot":
                held = self.subs[message["sub"]]
                held.records.update({record["id"]: record for record in message.get("records", ())})
                held.value = message.get("value")
            case "ready":
                held = self.subs[message["sub"]]
                held.ready, held.cursor = True, message["cursor"]
                self.at_commit(held)
            case "reset":
                held = self.subs[message["sub"]]
                self.subs[message["sub"]] = Held(held.group, held.key, lane=held.lane)
            case "frame":
                self._waiting.append(message)
            case "commit":
                self._commit(message["cursor"], message["lane"])

    def _commit(self, cursor: str, lane: str) -> None:
        for frame in [frame for frame in self._waiting if frame["lane"] == lane]:
            for name, held in self.subs.items():
                if name == frame.get("sub") or (held.ready and held.group == frame.get("group")):
                    held.apply(frame)
        self._waiting = [frame for frame in self._waiting if frame["lane"] != lane]
        for held in self.subs.values():
            if held.ready and held.lane == lane:
                held.cursor = cursor
                self.at_commit(held)


def announced(subscribed: Subscribed) -> bytes:
    """The answer to subscribe."""
    to = subscribed.subscription
    return _message("subscribed", sub=to.name, group=to.group, key=to.key, lane=to.lane, resumed=subscribed.resumed)


class World:
    """An engine on a store, and its clients."""

    def __init__(self, store: Any, engine: Engine) -> None:
        self.store = store
        self.engine = engine
        self.kind: Callable[[Connection], Client] = Client
        self._listeners: list[asyncio.Task[None]] = []

    def client(self, format: Format | None = None) -> Client:
        client = self.kind(self.engine.connect(format or Probe()))
        self._listeners.append(asyncio.get_running_loop().create_task(client.listen()))
        return client

    async def settled(self) -> None:
        """Returns when all that was committed so far has reached the outboxes."""
        async with asyncio.timeout(5):
            await self.engine._exact.fence()
            if self.engine._rerun_lane.is_followed:
                await self.engine._rerun.fence()

    async def close(self) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)


@asynccontextmanager
async def world(seed: int = 0, clock: Callable[[], datetime] | None = None, **limits: Any) -> AsyncIterator[World]:
    """A running engine on a store in memory; without pauses unless limits say so."""
    store = MemoryStore(seed)
    bounds = LiveLimits(**{"tick": 0.0, "rerun_tick": 0.0, "retry": (0.001, 0.01), **limits})
    more = {} if clock is None else {"clock": clock}
    async with Engine(store, CATALOG, secret=SECRET, limits=bounds, **more) as engine:  # type: ignore[arg-type]
        here = World(store, engine)
        yield here
        await here.close()


__all__ = ["TASK", "TEAM", "Client", "MemoryStore", "Probe", "World", "query", "task", "where", "world"]
