"""Nothing leaks: whatever the rules, no message tells a connection what its actor could not read by request, and
none is sent because of what he cannot see."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite import App, Authenticate, Field, Record, Ref, Request, allow, me
from crudite.testing import Client, View
from crudite.testing.socket import Socket
from tests.flows.test_rules_agree import ACTORS, combined, folder_atoms, rules, steps
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store

Row: TypeAlias = dict[str, Any]
Step: TypeAlias = tuple[str, Any, Any]
Transaction: TypeAlias = Sequence[Step]

PATIENCE = 10.0
RECORDS: Mapping[str, Any] = {
    "/papers?": {},
    "/papers?kind[gt]=0": {"where": {"kind": {"gt": 0}}},
    "/papers?folder.open=true": {"where": {"folder.open": True}},
    "/papers?secret[gt]=1": {"where": {"secret": {"gt": 1}}},
    "/papers?sort=-kind&limit=2": {"sort": ["-kind"], "limit": 2},
    "/papers?fields=id,kind": {"fields": ["id", "kind"]},
    "/papers?fields=id,secret": {"fields": ["id", "secret"]},
}
"""Queries, each as it is written in a URL and in JSON."""
MADE: Mapping[str, Any] = {
    "/papers?": {},
    "/papers?include=folder": {"include": ["folder"]},
    "/papers?include=folder&fields=id&kind=0": {"include": ["folder"], "fields": ["id"], "where": {"kind": 0}},
    "/count": None,
    "/kinds": None,
    "/secrets": None,
    "/owners": None,
}
"""Queries of records with others in them, and figures: handlers whose answers are made of what the asker may read."""

hidden = st.tuples(st.just("doc"), st.integers(1, 3), st.fixed_dictionaries({"secret": st.integers(0, 3)}))
stories = st.lists(st.lists(st.one_of(steps, hidden), min_size=1, max_size=4), min_size=3, max_size=8)
everything = {
    "reads": st.one_of(rules, st.sampled_from([allow.everyone, allow.where(public=True), allow.where(owner=me.id)])),
    "field_rule": rules,
    "folder_rule": combined(folder_atoms),
    "story": stories,
}


class Listener:
    """What one actor is told about one query or figure on one connection, since it was last asked."""

    def __init__(self, client: Client, url: str, view: View) -> None:
        self.client = client
        self.url = url
        self.view = view
        self._told = 0

    @property
    def is_of_records(self) -> bool:
        """Whether what it hears of are records."""
        return self.url.startswith("/papers")

    @property
    def held(self) -> Any:
        """What it holds."""
        return self.view.records if self.is_of_records else self.view.value

    def news(self) -> list[tuple[str, Any]]:
        """The events since the last call."""
        news, self._told = self.view.events[self._told :], len(self.view.events)
        return news


class World:
    """An application under some rules, with every actor listening to every query that he may ask."""

    def __init__(self, nobody: Client, folder: type[Any], paper: type[Any]) -> None:
        self.nobody = nobody
        self.listeners: list[Listener] = []
        self.sockets: list[Socket] = []
        self.groups: dict[str, str] = {}  # of the last socket, by the name of the subscription
        self._folder = folder
        self._paper = paper

    async def listen(self, stack: AsyncExitStack, actors: Sequence[str | None], queries: Mapping[str, Any]) -> None:
        """Everybody subscribes, to all queries on one WebSocket and to each on a stream of its own."""
        for actor in actors:
            client = self.nobody.acting(actor)
            asked = {url: query for url, query in queries.items() if (await client.get(url)).status == 200}
            if not asked:
                continue
            socket = await stack.enter_async_context(client.websocket())
            self.sockets.append(socket)
            for url, query in asked.items():
                over_socket = View(PATIENCE)
                live = {"read": url[1:]} if query is None else {"resource": "papers", "query": query}
                self.groups[url] = (await socket.subscribe(url, live, over_socket))["group"]
                name = url[1:] if query is None else "papers"
                streamed = await stack.enter_async_context(client.live(name, over="sse", **query or {}))
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
        await self.settled()

    async def shown(self, listeners: Sequence[Listener]) -> list[Any]:
        """What a request shows to each of them; it is made once for those who ask the same on other connections."""
        answers: dict[tuple[Client, str], Any] = {}
        for one in listeners:
            if (one.client, one.url) not in answers:
                answer = await one.client.get(one.url)
                assert answer.status == 200, answer
                answers[one.client, one.url] = answer.json
        return [answers[one.client, one.url] for one in listeners]

    async def settled(self) -> None:
        """Returns when everybody has heard of everything."""
        for client in {listener.client for listener in self.listeners}:
            await client.settled()
        for socket in self.sockets:
            await socket.exchange.consumed()


async def world(
    stack: AsyncExitStack, rule: Any, field_rule: Any, folder_rule: Any, auth: Authenticate = by_name
) -> World:
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

    figures = {
        "count": Paper.where().count(), "kinds": Paper.where().sum("kind"), "secrets": Paper.where().sum("secret"),
        "owners": Paper.where().group("owner").count(),
    }  # fmt: skip
    app = App(Folder, Paper, store=fresh_store(), auth=auth)
    for name, figure in figures.items():
        app.read(name)(answering(figure))
    here = World(await stack.enter_async_context(Client(app)), Folder, Paper)
    for key in ("f1", "f2"):
        await here.nobody.app.records.create(Folder, id=key)
    for number, owner in enumerate(("ann", "bob", "eve"), start=1):
        folder = "f1" if number > 1 else None
        await here.nobody.app.records.create(Paper, id=number, owner=owner, public=number == 1, folder=folder)
    return here


def answering(figure: Any) -> Any:
    """A handler that answers with a figure."""

    async def handler(request: Request) -> Any:
        return figure

    return handler


def check(listener: Listener, before: Any, after: Any) -> None:
    """Between two states of a query, events may tell nothing but what differs."""
    events = listener.news()
    if before == after:
        assert events == []
    elif listener.is_of_records:
        check_records(events, before, after)
    else:
        assert [(kind, data["value"]) for kind, data in events] == [("value", after)]
    assert listener.held == after


def check_records(events: Sequence[tuple[str, Any]], before: Sequence[Row], after: Sequence[Row]) -> None:
    """The same for records."""
    old, new = ({row["id"]: row for row in rows} for rows in (before, after))
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


@pytest.mark.parametrize("queries", [RECORDS, MADE], ids=["records", "included and made"])
@settings(max_examples=25)
@given(**everything)
async def test_no_event_tells_anything_but_what_a_request_shows_differently(
    queries: Mapping[str, Any], reads: Any, field_rule: Any, folder_rule: Any, story: list[Transaction]
) -> None:
    async with AsyncExitStack() as stack:
        here = await world(stack, reads, field_rule, folder_rule)
        await here.listen(stack, ACTORS, queries)
        before = await here.shown(here.listeners)
        for transaction in story:
            await here.commit(transaction)
            after = await here.shown(here.listeners)
            for listener, *states in zip(here.listeners, before, after, strict=True):
                check(listener, *states)
            before = after


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


@pytest.mark.parametrize("queries", [RECORDS, MADE], ids=["records", "included and made"])
@settings(max_examples=25)
@given(actor=st.sampled_from(ACTORS), **everything)
async def test_two_worlds_that_differ_in_what_somebody_may_not_see_tell_him_the_same(
    queries: Mapping[str, Any], actor: str | None, reads: Any, field_rule: Any, folder_rule: Any,
    story: list[Transaction],
) -> None:  # fmt: skip
    seen: set[Any] = set()
    seen_secrets: set[Any] = set()
    told: list[list[str]] = []
    async with AsyncExitStack() as stack:
        here = await world(stack, reads, field_rule, folder_rule)
        await here.listen(stack, [actor], queries)
        for transaction in [[], *story]:
            if transaction:
                await here.commit(transaction)
                told.append([shown(listener.news()) for listener in here.listeners])
            rows = (await here.shown(here.listeners[:1]))[0] if here.listeners else []
            seen |= {row["id"] for row in rows}
            seen_secrets |= {row["id"] for row in rows if "secret" in row}
    async with AsyncExitStack() as stack:
        there = await world(stack, reads, field_rule, folder_rule)
        await there.listen(stack, [actor], queries)
        for number, transaction in enumerate(story):
            await there.commit(without_hidden(transaction, seen, seen_secrets))
            assert [shown(listener.news()) for listener in there.listeners] == told[number]
