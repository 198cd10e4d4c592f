"""The live engine on the real stores: random stories, foreign writers, restarts, floods."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from crudite.changes import Unit, Write
from crudite.live import Engine, LiveLimits
from crudite.messages import LiveQuery
from crudite.query.parse import where
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.resolve import Resolver
from crudite.query.tree import Filter
from crudite.schema import Catalog, FieldSpec, FieldType, Link, Reference, ResourceSchema
from crudite.stores import open_store
from crudite.stores.base import Page, Store
from crudite.types import Key, PlainRecord
from tests.services.stores import foreign, fresh_store, kept_store
from tests.unit.live.world import Client, Held, World

SECRET = b"a secret for the flows"


def _resource(name: str, *fields: FieldSpec, links: dict[str, Link] | None = None) -> ResourceSchema:
    kept = (
        FieldSpec("id", FieldType("integer"), unique=True),
        *fields,
        FieldSpec("version", FieldType("integer")),
        FieldSpec("created_at", FieldType("datetime")),
        FieldSpec("updated_at", FieldType("datetime")),
    )
    return ResourceSchema(name, f"{name}s", name, {field.name: field for field in kept}, links=links or {})


TEAM = _resource(
    "team",
    FieldSpec("name", FieldType("text")),
    FieldSpec("open", FieldType("boolean")),
    links={"tasks": Link("tasks", "task", "team")},
)
TASK = _resource(
    "task",
    FieldSpec("team", FieldType("integer"), nullable=True, default=None, reference=Reference("team")),
    FieldSpec("status", FieldType("text", choices=("todo", "done")), default="todo"),
    FieldSpec("title", FieldType("text"), default=""),
    FieldSpec("points", FieldType("integer"), nullable=True, default=None),
    FieldSpec("price", FieldType("decimal", places=2), nullable=True, default=None),
    FieldSpec("weight", FieldType("float"), nullable=True, default=None),
    FieldSpec("data", FieldType("json"), nullable=True, default=None),
    FieldSpec("notes", FieldType("text"), default="", quiet=True),
)
CATALOG = Catalog({"team": TEAM, "task": TASK})
SHOWN = ("id", "team", "status", "title", "points", "price", "weight", "data", "version")


def live(
    written: Filter | None = None,
    *,
    fields: tuple[str, ...] = SHOWN,
    sometimes: Filter | None = None,
    sort: Sequence[str] = (),
    limit: int | None = None,
    counts: bool = False,
) -> LiveQuery:
    resolver = Resolver(TASK, CATALOG)
    filter = resolver.filter(written if written is not None else where())
    rules = (("notes", resolver.filter(sometimes)),) if sometimes is not None else ()
    selection = Selection(TASK, filter, Mask(fields, rules))
    plan = Plan(selection=selection, sort=resolver.sort(sort), limit=limit, total=counts)
    resolver.check()
    return LiveQuery(plan, f"{written!r} {fields} {sometimes!r} {sort} {limit} {counts}", counts=counts)


QUERIES = [
    live(),
    live(where(status="todo"), fields=("id", "title")),
    live(where(team=1), fields=("id", "points"), sometimes=where(status="todo")),
    live(where(points__gt=2) | where(price__lt="1.00")),
    live(where(title__icontains="B") & ~where(status="done")),
    live(where(status="todo"), sort=["-points", "title"], limit=3),
    live(where(status="todo"), counts=True),
    live(where(team__open=True)),
    live(where(team__tasks__points__gt=7), fields=("id",)),
    live(fields=("id", "title"), sort=["team.name", "-points"]),
]


@asynccontextmanager
async def living(url: str, **limits: Any) -> AsyncIterator[World]:
    store = open_store(url)
    await store.open(CATALOG)
    try:
        async with Engine(store, CATALOG, secret=SECRET, limits=LiveLimits(**{"tick": 0.0, **limits})) as engine:
            here = World(store, engine)
            yield here
            await here.close()
    finally:
        await store.close()


async def create(store: Store, key: Key, schema: ResourceSchema = TASK, **values: Any) -> None:
    write = Write(action="create", schema=schema, key=key, values={schema.key: key, **values})
    await store.write(Unit(writes=(write,)))


async def update(store: Store, key: Key, schema: ResourceSchema = TASK, **values: Any) -> None:
    await store.write(Unit(writes=(Write(action="update", schema=schema, key=key, values=values),)))


async def delete(store: Store, key: Key) -> None:
    await store.write(Unit(writes=(Write(action="delete", schema=TASK, key=key),)))


async def joined(here: World, name: str, query: LiveQuery, client: Client | None = None) -> Client:
    client = client or here.client()
    await client.subscribe(name, query)
    await client.until(lambda: client.subs[name].ready)
    return client


def content(page: Page, query: LiveQuery) -> Any:
    """What a client must hold when the query has this page."""
    if query.counts:
        return page.total
    return {key: json.loads(text) for key, text in zip(page.keys, page.records, strict=True)}


class Oracle:
    """Fresh results of all queries at every position, and what clients held at theirs."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.truth: dict[bytes, list[Any]] = {}
        self.held: list[tuple[bytes, int, Any]] = []

    async def note(self) -> None:
        """To be called after every commit: the results at that position."""
        position, pages = await self.here.store.read([query.plan for query in QUERIES])
        self.truth[position.token] = [content(*pair) for pair in zip(pages, QUERIES, strict=True)]

    def watch(self, client: Client) -> Client:
        def note(held: Held) -> None:
            token = self.here.engine._cursors.open(held.cursor or "")
            assert token is not None
            [name] = [name for name, one in client.subs.items() if one is held]
            is_number = QUERIES[int(name)].counts
            copy = held.value if is_number else {key: dict(record) for key, record in held.records.items()}
            self.held.append((token, int(name), copy))

        client.at_commit = note
        return client

    def check(self) -> None:
        for token, number, held in self.held:
            assert held == self.truth[token][number], f"query {number}"


class Story:
    """Random writes, subscriptions and cuts, each followed by a note of the oracle's."""

    def __init__(self, here: World, random: Random) -> None:
        self.here, self.random, self.oracle = here, random, Oracle(here)
        self.clients = [self.oracle.watch(here.client()) for _ in range(3)]
        self.keys: list[int] = []
        self.next_key = 1
        self.joining: list[asyncio.Task[Any]] = []

    def values(self) -> dict[str, Any]:
        choose = self.random.choice
        every: PlainRecord = {
            "team": choose([None, 1, 2]), "status": choose(["todo", "done"]), "title": choose(["", "ab"]),
            "points": choose([None, 0, 3, 8]), "price": choose([None, "0.50", "12.00"]),
            "weight": choose([None, 0.1, 1e300]), "data": choose([None, {"a": 1}, {"a": True}, [1, "x"]]),
            "notes": choose(["", "n"]),
        }  # fmt: skip
        return {name: every[name] for name in self.random.sample(list(every), self.random.randint(1, 8))}

    async def step(self) -> None:
        match self.random.randrange(10):
            case 0 | 1 | 2:
                await create(self.here.store, self.next_key, **self.values())
                self.keys.append(self.next_key)
                self.next_key += 1
            case 3 | 4 if self.keys:
                await update(self.here.store, self.random.choice(self.keys), **self.values())
            case 5 if self.keys:
                await delete(self.here.store, self.keys.pop(self.random.randrange(len(self.keys))))
            case 6:
                team = self.random.choice([1, 2])
                await update(
                    self.here.store,
                    team,
                    TEAM,
                    open=self.random.random() < 0.5,
                    name=f"{self.random.random()}",
                )
            case 7 | 8:
                client, number = self.random.choice(self.clients), self.random.randrange(len(QUERIES))
                self.joining.append(asyncio.ensure_future(client.subscribe(f"{number}", QUERIES[number])))
            case 9:
                await self.cut(self.random.randrange(3))
        await self.oracle.note()

    async def cut(self, at: int) -> None:
        old, new = self.clients[at], self.oracle.watch(self.here.client())
        old.connection.close()
        await asyncio.sleep(0)
        self.clients[at] = new
        for name, held in old.subs.items():
            resume = {"cursor": held.cursor, "key": held.key} if held.ready else {}
            if held.ready:
                new.subs[name] = Held(held.group, held.key, held.records, held.value)
            self.joining.append(asyncio.ensure_future(new.subscribe(name, QUERIES[int(name)], **resume)))


@pytest.mark.only_on("sqlite", reason="it knows a state by its position; PostgreSQL's also name what runs beside")
@pytest.mark.parametrize("seed", range(6))
async def test_every_subscription_equals_a_fresh_query_at_each_of_its_cursors(seed: int) -> None:
    async with living(fresh_store()) as here:
        story = Story(here, Random(seed))
        for team in (1, 2):
            await create(here.store, team, TEAM, name=f"{team}", open=team == 1)
        await story.oracle.note()
        for _ in range(120):
            await story.step()
        await asyncio.gather(*story.joining, return_exceptions=True)
        for client in story.clients:
            await client.until(lambda client=client: all(held.ready for held in client.subs.values()))
        await here.settled()
        await asyncio.sleep(0)
        story.oracle.check()
        position, pages = await here.store.read([query.plan for query in QUERIES])
        assert here.engine.position.token == position.token
        for client in story.clients:
            for name, held in client.subs.items():
                expected = content(pages[int(name)], QUERIES[int(name)])
                assert (held.value if QUERIES[int(name)].counts else held.records) == expected
        assert len(story.oracle.held) > 100


async def test_what_another_program_writes_is_live() -> None:
    store = kept_store()
    async with living(store) as here:
        client = await joined(here, "todo", live(where(status="todo"), fields=("id", "title")))
        await foreign(store, "INSERT INTO task (id, title) VALUES (7, 'by another')")
        await client.until(lambda: client.subs["todo"].records == {7: {"id": 7, "title": "by another"}})
        await foreign(store, "UPDATE task SET status = 'done'")
        await client.until(lambda: client.subs["todo"].records == {})


async def test_a_transaction_is_applied_whole_or_not_yet() -> None:
    store = kept_store()
    async with living(store) as here:
        client = await joined(here, "todo", live(where(status="todo"), fields=("id",)))
        await joined(here, "done", live(where(status="done"), fields=("id",)), client)
        sizes: set[tuple[int, int]] = set()

        def note(_: Held) -> None:
            sizes.add((len(client.subs["todo"].records), len(client.subs["done"].records)))

        await foreign(store, "INSERT INTO task (id) VALUES (1), (2), (3)")
        await client.until(lambda: len(client.subs["todo"].records) == 3)
        await asyncio.sleep(0)
        client._commit = committed(client, note)  # type: ignore[method-assign]
        await foreign(store, "UPDATE task SET status = 'done' WHERE id = 1", "UPDATE task SET status = 'done'")
        await client.until(lambda: len(client.subs["done"].records) == 3)
        assert sizes == {(0, 3)}


def committed(client: Client, note: Any) -> Any:
    """The client's commit, followed by one note."""
    commit = client._commit

    def both(cursor: str, lane: str) -> None:
        commit(cursor, lane)
        note(client.subs)

    return both


async def test_a_large_foreign_transaction_becomes_one_reset_and_a_snapshot() -> None:
    store = kept_store()
    async with living(store) as here:
        await create(here.store, 1)
        client = await joined(here, "all", live(fields=("id", "points")))
        calm = await joined(here, "one", live(where(id=1), fields=("id", "points")))
        many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        await foreign(store, f"INSERT INTO task (id) {many} SELECT i FROM n", "UPDATE task SET points = 5")
        await client.until(lambda: len(client.subs["all"].records) == 3000)
        await calm.until(lambda: calm.subs["one"].records == {1: {"id": 1, "points": 5}})
        assert [message["reason"] for message in client.log if message["kind"] == "reset"] == ["too_many"]
        assert {record["points"] for record in client.subs["all"].records.values()} == {5}
        assert "reset" not in calm.kinds()


async def test_a_subscription_goes_on_after_a_restart_of_the_server() -> None:
    store, query = kept_store(), live(where(status="todo"), fields=("id", "title"))
    async with living(store) as here:
        await create(here.store, 1, title="a")
        await create(here.store, 2, title="b")
        first = await joined(here, "todo", query)
    held = first.subs["todo"]
    await foreign(store, "DELETE FROM task WHERE id = 1", "INSERT INTO task (id, title) VALUES (3, 'c')")
    async with living(store) as here:
        second = here.client()
        second.subs["todo"] = Held(held.group, held.key, held.records)
        answer = await second.subscribe("todo", query, cursor=held.cursor, key=held.key)
        await second.until(lambda: second.subs["todo"].ready)
        assert answer.resumed
        assert second.subs["todo"].records == {2: {"id": 2, "title": "b"}, 3: {"id": 3, "title": "c"}}


async def test_a_subscription_can_go_on_after_every_single_message() -> None:
    query = live(where(status="todo"), fields=("id", "title", "points"))
    async with living(fresh_store()) as here:
        for key in (1, 2, 3):
            await create(here.store, key, title=f"{key}")
        whole = await joined(here, "s", query)
        await update(here.store, 1, title="one")
        await here.settled()
        await update(here.store, 2, status="done")
        await here.settled()
        await create(here.store, 4, title="4")
        await delete(here.store, 3)
        await here.settled()
        await whole.until(lambda: whole.subs["s"].records.keys() == {1, 4})
        for length in range(len(whole.log) + 1):
            cut = here.client()
            for message in whole.log[:length]:
                cut.apply(message)
            held, again = cut.subs["s"], here.client()
            resume = {"cursor": held.cursor, "key": held.key} if held.ready else {}
            if held.ready:
                again.subs["s"] = Held(held.group, held.key, held.records)
            answer = await again.subscribe("s", query, **resume)
            await again.until(lambda again=again: again.subs["s"].ready)
            assert answer.resumed == held.ready
            assert again.subs["s"].records == whole.subs["s"].records


async def test_a_subscription_made_between_any_two_writes_misses_and_doubles_nothing() -> None:
    async with living(fresh_store()) as here:
        clients: list[Client] = []

        async def write() -> None:
            for key in range(1, 101):
                await create(here.store, key, title=f"{key}")

        async def join() -> None:
            while len(clients) < 40:
                client = here.client()
                clients.append(client)
                await client.subscribe("s", live(where(status="todo"), fields=("id",)))

        await asyncio.gather(write(), join())
        for client in clients:
            await client.until(lambda client=client: len(client.subs["s"].records) == 100)
            told = [r["id"] for m in client.log for r in m.get("records", []) + m.get("added", [])]
            assert sorted(told) == list(range(1, 101))


DROPPING = {
    "sqlite": "SELECT 'DROP TRIGGER \"' || name || '\"' FROM sqlite_schema WHERE type = 'trigger'",
    "postgresql": "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger JOIN pg_class "
    "ON pg_class.oid = tgrelid WHERE relnamespace = current_schema::regnamespace AND NOT tgisinternal",
}


async def test_dropped_triggers_are_noticed_and_every_subscription_is_reset(kind_of_store: str) -> None:
    store = kept_store()
    async with living(store) as here:
        client = await joined(here, "todo", live(where(status="todo"), fields=("id",)))
        drops = await foreign(store, DROPPING[kind_of_store])
        await foreign(store, *drops, "INSERT INTO task (id) VALUES (9)")
        await client.until(lambda: client.subs["todo"].records == {9: {"id": 9}})
        assert [message["reason"] for message in client.log if message["kind"] == "reset"] == ["schema"]
        await create(here.store, 10)
        await client.until(lambda: 10 in client.subs["todo"].records)
