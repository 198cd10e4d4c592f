"""Nothing leaks: whatever the rules, no message tells a connection what its actor could not read by request, and
none is sent because of what he cannot see."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite import Field, Record, Ref, allow, me
from crudite.testing import Client, View
from tests.flows.test_rules_agree import ACTORS, combined, folder_atoms, rules, steps
from tests.flows.worlds import by_name, client_for

Row: TypeAlias = dict[str, Any]
Step: TypeAlias = tuple[str, Any, Any]
Transaction: TypeAlias = Sequence[Step]

PATIENCE = 10.0
QUERIES: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "kind[gt]=0": {"where": {"kind": {"gt": 0}}},
    "folder.open=true": {"where": {"folder.open": True}},
    "secret[gt]=1": {"where": {"secret": {"gt": 1}}},
    "sort=-kind&limit=2": {"sort": ["-kind"], "limit": 2},
    "fields=id,kind": {"fields": ["id", "kind"]},
    "fields=id,secret": {"fields": ["id", "secret"]},
}
"""Queries, each as it is written in a URL and in JSON."""

hidden = st.tuples(st.just("doc"), st.integers(1, 3), st.fixed_dictionaries({"secret": st.integers(0, 3)}))
stories = st.lists(st.lists(st.one_of(steps, hidden), min_size=1, max_size=4), min_size=3, max_size=8)
everything = {
    "reads": st.one_of(rules, st.sampled_from([allow.everyone, allow.where(public=True), allow.where(owner=me.id)])),
    "field_rule": rules,
    "folder_rule": combined(folder_atoms),
    "story": stories,
}


class Listener:
    """What one actor is told about one query on one connection, since it was last asked."""

    def __init__(self, client: Client, query: str, view: View) -> None:
        self.client = client
        self.query = query
        self.view = view
        self._told = 0

    async def rows(self) -> list[Row]:
        """What a request shows."""
        answer = await self.client.get(f"/papers?{self.query}")
        assert answer.status == 200, answer
        rows: list[Row] = answer.json
        return rows

    def news(self) -> list[tuple[str, Any]]:
        """The events since the last call."""
        news, self._told = self.view.events[self._told :], len(self.view.events)
        return news


class World:
    """An application under some rules, with every actor listening to every query that he may ask."""

    def __init__(self, nobody: Client, folder: type[Any], paper: type[Any]) -> None:
        self.nobody = nobody
        self.listeners: list[Listener] = []
        self._folder = folder
        self._paper = paper
        self._sockets: list[Any] = []

    async def listen(self, stack: AsyncExitStack, actors: Sequence[str | None]) -> None:
        """Everybody subscribes, to all queries on one WebSocket and to each on a stream of its own."""
        for actor in actors:
            client = self.nobody.acting(actor)
            asked = {url: query for url, query in QUERIES.items() if (await client.get(f"/papers?{url}")).status == 200}
            if not asked:
                continue
            socket = await stack.enter_async_context(client.websocket())
            self._sockets.append(socket)
            for url, query in asked.items():
                over_socket = View(PATIENCE)
                await socket.subscribe(url or "all", {"resource": "papers", "query": query}, over_socket)
                streamed = await stack.enter_async_context(client.live("papers", over="sse", **query))
                self.listeners += [Listener(client, url, over_socket), Listener(client, url, streamed)]
        for listener in self.listeners:
            await listener.view.ready()
            listener.news()

    async def commit(self, transaction: Transaction) -> None:
        """Writes all steps at once; returns when everybody has heard of it."""
        there = {record.id for record in await self.nobody.app.records.list(self._paper)}
        async with self.nobody.app.records.batch() as batch:
            for kind, key, values in transaction:
                if kind == "folder":
                    batch.update(self._folder, key, **values)
                elif kind == "doc" and key in there:
                    batch.update(self._paper, key, **values)
                elif kind == "doc":
                    batch.create(self._paper, id=key, **values)
                    there.add(key)
                elif key in there:
                    batch.delete(self._paper, key)
                    there.discard(key)
        for client in {listener.client for listener in self.listeners}:
            await client.settled()
        for socket in self._sockets:
            await socket.exchange.consumed()


async def world(stack: AsyncExitStack, rule: Any, field_rule: Any, folder_rule: Any) -> World:
    """A new application under these rules."""

    class Folder(Record[str], rules={"read": folder_rule}):
        owner: str = "ann"
        open: bool = False

    class Paper(Record[int], rules={"read": rule}):
        owner: str = "ann"
        kind: int = 0
        public: bool = False
        secret: int = Field(default=0, read=field_rule)
        folder: Ref[Folder] | None = None

    here = World(await stack.enter_async_context(client_for(Folder, Paper, auth=by_name)), Folder, Paper)
    for key in ("f1", "f2"):
        await here.nobody.app.records.create(Folder, id=key)
    for number, owner in enumerate(("ann", "bob", "eve"), start=1):
        folder = "f1" if number > 1 else None
        await here.nobody.app.records.create(Paper, id=number, owner=owner, public=number == 1, folder=folder)
    return here


def check(events: Sequence[tuple[str, Any]], before: Sequence[Row], after: Sequence[Row]) -> None:
    """Between two states of a query, events may tell nothing but what differs."""
    old, new = ({row["id"]: row for row in rows} for rows in (before, after))
    if list(before) == list(after):
        assert events == []
    for kind, data in events:
        match kind:
            case "added":
                assert data["id"] not in old
                assert data == new[data["id"]]
            case "changed":
                was, now = old[data["key"]], new[data["key"]]
                assert data["fields"] or data.get("absent")
                assert all(now[name] == value for name, value in data["fields"].items())
                assert all(name not in was or was[name] != value for name, value in data["fields"].items())
                assert set(data.get("absent", ())) == was.keys() - now.keys()
            case "removed":
                assert data["key"] in old.keys() - new.keys()
            case _:
                assert kind == "order"
                assert data["keys"] == [row["id"] for row in after]


@settings(max_examples=25)
@given(**everything)
async def test_no_event_tells_anything_but_what_a_request_shows_differently(
    reads: Any, field_rule: Any, folder_rule: Any, story: list[Transaction]
) -> None:
    async with AsyncExitStack() as stack:
        here = await world(stack, reads, field_rule, folder_rule)
        await here.listen(stack, ACTORS)
        for transaction in story:
            before = [await listener.rows() for listener in here.listeners]
            await here.commit(transaction)
            for listener, rows in zip(here.listeners, before, strict=True):
                after = await listener.rows()
                check(listener.news(), rows, after)
                assert listener.view.records == after


def shown(news: Sequence[tuple[str, Any]]) -> str:
    """Events without what two worlds cannot have in common: versions and times, whose presence still counts."""

    def plain(value: Any, name: str = "") -> Any:
        if name in ("version", "created_at", "updated_at"):
            return "…"
        if isinstance(value, Mapping):
            return {key: plain(inner, key) for key, inner in value.items()}
        return value

    return msgspec.json.encode([(kind, plain(data)) for kind, data in news]).decode()


def without_hidden(transaction: Transaction, seen: set[Any], seen_secrets: set[Any]) -> list[Step]:
    """A transaction without the papers that were never seen, and without the secrets that never were."""
    left: list[Step] = []
    for kind, key, values in transaction:
        if kind == "folder" or key in seen_secrets or (kind == "delete" and key in seen):
            left.append((kind, key, values))
        elif key in seen:
            left.append((kind, key, {name: value for name, value in values.items() if name != "secret"}))
    return left


@settings(max_examples=25)
@given(actor=st.sampled_from(ACTORS), **everything)
async def test_two_worlds_that_differ_in_what_somebody_may_not_see_tell_him_the_same(
    actor: str | None, reads: Any, field_rule: Any, folder_rule: Any, story: list[Transaction]
) -> None:
    seen: set[Any] = set()
    seen_secrets: set[Any] = set()
    told: list[list[str]] = []
    async with AsyncExitStack() as stack:
        here = await world(stack, reads, field_rule, folder_rule)
        await here.listen(stack, [actor])
        for transaction in [[], *story]:
            if transaction:
                await here.commit(transaction)
                told.append([shown(listener.news()) for listener in here.listeners])
            rows = await here.listeners[0].rows() if here.listeners else []
            seen |= {row["id"] for row in rows}
            seen_secrets |= {row["id"] for row in rows if "secret" in row}
    async with AsyncExitStack() as stack:
        there = await world(stack, reads, field_rule, folder_rule)
        await there.listen(stack, [actor])
        for number, transaction in enumerate(story):
            await there.commit(without_hidden(transaction, seen, seen_secrets))
            assert [shown(listener.news()) for listener in there.listeners] == told[number]
