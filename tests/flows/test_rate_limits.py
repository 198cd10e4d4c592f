"""How often one client may come: the same verdict on every interface, and by every process."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest

from crudite import (
    Actor,
    App,
    Credentials,
    DeclarationError,
    Limits,
    Rate,
    Record,
    Ref,
    Request,
    TooManyRequests,
    Unauthorized,
    allow,
)
from crudite.interfaces.base import Admission
from crudite.testing import Client, Clock, Refusal
from tests.flows.test_insight import local
from tests.services.http import client_at
from tests.services.runner import running
from tests.services.stores import fresh_store, kept_store
from tests.services.workers import workers

SECOND = timedelta(seconds=1)

WORKERS = """
from crudite import App, Rate, Record, allow

class Todo(Record[int], rules=allow.everyone):
    title: str

app = App(Todo, rates=[Rate("10/hour")])
"""

before_any_store = pytest.mark.only_on("sqlite", reason="rates are counted before any store is asked")


class Todo(Record[int], rules=allow.everyone):
    title: str


class Note(Record[int], rules=allow.everyone):
    title: str


def who(credentials: Credentials) -> Actor | None:
    """The token is the name; one of `bad` is refused."""
    if credentials.token == "bad":
        raise Unauthorized("That is no token.")
    return Actor(id=credentials.token) if credentials.token is not None else None


def app_of(*rates: Rate, clock: Clock | None = None, **more: Any) -> App:
    app = App(
        Todo,
        Note,
        store=more.pop("store", None) or fresh_store(),
        auth=who,
        rates=rates,
        clock=clock or Clock(),
        **more,
    )

    @app.read("hello")
    async def hello(request: Request) -> str:
        return "hello"

    return app


async def status(client: Client, url: str) -> int:
    return (await client.get(url)).status


@before_any_store
async def test_who_comes_too_often_is_refused_until_the_time_that_he_is_told() -> None:
    clock = Clock()
    async with Client(app_of(Rate("3/minute"), clock=clock), token="ann") as ann:
        assert [await status(ann, "/todos") for _ in range(3)] == [200, 200, 200]
        refused = await ann.get("/todos")
        assert refused.status == 429
        assert refused.headers["retry-after"] == "20"
        assert refused.json["code"] == "too_many_requests"
        assert refused.json["violated-policies"] == ["3/minute"]
        clock.advance(19 * SECOND)
        assert await status(ann, "/todos") == 429
        clock.advance(SECOND)
        assert [await status(ann, "/todos") for _ in range(2)] == [200, 429]


@before_any_store
async def test_every_answer_that_was_counted_tells_what_is_left() -> None:
    async with Client(app_of(Rate("60/minute", burst=2), Rate("5/hour", on="todos", name="slow"))) as client:
        listed, created = await client.get("/todos"), await client.post("/todos", {"title": "a"})
        missing, elsewhere = await client.get("/todos/77"), await client.get("/notes")
    policy = '"60/minute";q=2;w=2, "slow";q=5;w=3600'
    assert (listed.headers["ratelimit-policy"], listed.headers["ratelimit"]) == (
        policy,
        '"60/minute";r=1;t=1, "slow";r=4;t=720',
    )
    assert created.status == 201
    assert created.headers["ratelimit"] == '"60/minute";r=0;t=2, "slow";r=3;t=1440'
    assert (missing.status, missing.headers["ratelimit"]) == (429, '"60/minute";r=0;t=2')
    assert elsewhere.headers["ratelimit-policy"] == '"60/minute";q=2;w=2'


@before_any_store
async def test_a_problem_that_was_counted_tells_it_too() -> None:
    async with Client(app_of(Rate("5/minute"))) as client:
        missing = await client.get("/todos/77")
    assert (missing.status, missing.headers["ratelimit"]) == (404, '"5/minute";r=4;t=12')


@before_any_store
async def test_without_a_rate_nothing_is_said_and_nothing_is_counted() -> None:
    app = app_of(Rate("5/minute", on="notes"))
    async with Client(app) as client:
        headers = (await client.get("/todos")).headers
    assert "ratelimit" not in headers
    assert (app.limiter.allowed, app.limiter.refused, len(app.limiter.memory)) == ({}, {}, 0)


async def test_rest_sockets_streams_and_batches_are_counted_together() -> None:
    async with Client(app_of(Rate("6/minute")), token="ann") as ann, ann.websocket() as socket:
        await ann.get("/todos")
        await socket.call("todos.list")
        await socket.call("hello")
        async with ann.live("todos") as view, ann.live("todos", over="websocket") as other:
            await view.ready()
            await other.ready()
        socket.send([{"jsonrpc": "2.0", "id": f"b{n}", "method": "todos.list"} for n in range(2)])
        answers = {answer["id"]: answer for answer in await socket.next()}
        assert "result" in answers["b0"]
        assert answers["b1"]["error"]["code"] == 429
        assert answers["b1"]["error"]["data"]["retry_in"] == 10_000
        with pytest.raises(Refusal, match="429"):
            await socket.call("subscribe", {"sub": "s", "resource": "todos"})
        with pytest.raises(Refusal, match="429"):
            async with ann.stream("/todos/subscribe"):
                pass
        assert await status(ann, "/hello") == 429


@before_any_store
async def test_each_query_of_a_stream_counts() -> None:
    queries = '{"a":{"resource":"todos"},"b":{"resource":"notes"}}'
    async with Client(app_of(Rate("3/minute"))) as client:
        async with client.stream("/subscribe", params={"queries": queries}):
            pass
        with pytest.raises(Refusal, match="429"):
            async with client.stream("/subscribe", params={"queries": queries}):
                pass


@before_any_store
async def test_a_rate_is_for_names_actions_and_interfaces() -> None:
    rates = (
        Rate("1/hour", on="todos", action="create", name="creating"),
        Rate("1/hour", on="hello", name="hello"),
        Rate("1/hour", interface="websocket", name="socket"),
        Rate("1/hour", on="notes", action="subscribe", name="live"),
    )
    async with Client(app_of(*rates), token="ann") as ann, ann.websocket() as socket:
        assert [(await ann.post("/todos", {"title": "a"})).status for _ in range(2)] == [201, 429]
        assert [await status(ann, url) for url in ("/todos", "/todos", "/hello", "/hello", "/notes")] == [
            200,
            200,
            200,
            429,
            200,
        ]
        await socket.call("todos.list")
        with pytest.raises(Refusal) as refused:
            await socket.call("todos.list")
        assert refused.value.problem["violated-policies"] == ["socket"]
        async with ann.live("notes") as view:
            await view.ready()
        with pytest.raises(Refusal) as refused:
            async with ann.stream("/notes/subscribe"):
                pass
        assert refused.value.problem["violated-policies"] == ["live"]


@before_any_store
async def test_everybody_has_his_own_and_those_whom_nobody_knows_share_their_address() -> None:
    async with Client(app_of(Rate("1/minute"))) as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        assert [await status(one, "/todos") for one in (ann, bob, nobody)] == [200, 200, 200]
        assert [await status(one, "/todos") for one in (ann, bob, nobody)] == [429, 429, 429]


@before_any_store
async def test_by_address_it_does_not_matter_who_says_to_be_whom() -> None:
    async with Client(app_of(Rate("2/minute", by="address"))) as nobody:
        names = [nobody.acting(name) for name in ("ann", "bob", "cid")]
        assert [await status(one, "/todos") for one in names] == [200, 200, 429]


@before_any_store
async def test_addresses_are_apart_and_those_of_one_network_of_ipv6_together() -> None:
    async with Client(app_of(Rate("1/minute", by="address"))) as client:
        addresses = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
        told = [(await local(client.app, "/todos", address=address)).status for address in addresses]
    assert told == [200, 429, 200, 200, 429, 200]


@before_any_store
async def test_one_network_of_ipv6_has_the_connections_of_one_address() -> None:
    limits = Admission(Limits(connections=1))
    with limits.admit({"type": "http", "client": ("2001:db8::1", 1)}):
        with pytest.raises(TooManyRequests):
            limits.admit({"type": "http", "client": ("2001:db8::2", 1)})
        limits.admit({"type": "http", "client": ("2001:db8:0:1::1", 1)})
    limits.admit({"type": "http", "client": ("2001:db8::2", 1)})


@before_any_store
async def test_by_a_function_of_the_request() -> None:
    def team(request: Request) -> str | None:
        return None if request.actor.id == "boss" else "everybody"

    async with Client(app_of(Rate("2/minute", by=team))) as nobody:
        ann, bob, boss = (nobody.acting(name) for name in ("ann", "bob", "boss"))
        assert [await status(one, "/todos") for one in (ann, bob, ann, boss, boss, boss)] == [
            200,
            200,
            429,
            200,
            200,
            200,
        ]


@before_any_store
async def test_whoever_guesses_tokens_is_stopped_over_http_and_on_a_socket() -> None:
    async with Client(app_of(Rate("3/minute"))) as nobody:
        guessing = nobody.acting("bad")
        assert [await status(guessing, "/todos") for _ in range(4)] == [401, 401, 401, 429]
        assert await status(nobody.acting("ann"), "/todos") == 200, "others at the address, who are known, go on"
    async with Client(app_of(Rate("3/minute", on="auth", by="address"))) as nobody, nobody.websocket() as socket:
        for expected in ("401", "401", "401", "429"):
            with pytest.raises(Refusal, match=expected):
                await socket.call("auth", {"token": "bad"})
        assert (await socket.call("todos.list"))["data"] == []


@before_any_store
async def test_a_flood_of_refused_messages_closes_the_socket_and_patience_does_not() -> None:
    clock, limits = Clock(), Limits(refusals=5)
    async with Client(app_of(Rate("2/minute"), clock=clock, limits=limits)) as client:
        async with client.websocket() as socket:
            for _ in range(2):
                await socket.call("todos.list")
            for _ in range(4):
                with pytest.raises(Refusal, match="429"):
                    await socket.call("todos.list")
            clock.advance(30 * SECOND)
            await socket.call("todos.list")
            for _ in range(5):
                with pytest.raises(Refusal, match="429"):
                    await socket.call("todos.list")
            assert await socket.closed() == 4429
        assert client.app.admission.passed == {"refusals": 1}


@before_any_store
@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_what_the_server_does_by_itself_is_not_counted(over: Literal["sse", "websocket"]) -> None:
    app = app_of(Rate("2/minute"))

    @app.read("many")
    async def many(request: Request) -> int:
        for _ in range(10):
            await request.records.list(Todo)
        return 10

    async with Client(app, token="ann") as ann:
        assert (await ann.get("/many")).json == 10
        async with ann.live("todos", over=over) as view:
            await view.ready()
            await app.revoke(account="ann")
            for number in range(5):
                await app.records.create(Todo, title=f"{number}")
            await view.until(lambda rows: len(rows) == 5)
    assert app.limiter.allowed == {"2/minute": 2}


@before_any_store
async def test_a_rate_on_a_name_that_there_is_not_is_refused_at_the_start() -> None:
    with pytest.raises(DeclarationError, match="is 'todos' meant"):
        await app_of(Rate("5/minute", on="todo")).start()
    with pytest.raises(DeclarationError, match="Two rates"):
        await app_of(Rate("5/minute"), Rate("5/minute")).start()


@before_any_store
async def test_processes_count_together_over_the_bus(tmp_path: Path) -> None:
    store, clock = kept_store(), Clock()
    async with AsyncExitStack() as stack:
        apps = [app_of(Rate("10/hour"), clock=clock, store=store, bus=f"unix://{tmp_path}/bus") for _ in range(2)]
        one, other = [await stack.enter_async_context(Client(app, token="ann")) for app in apps]
        for _ in range(6):
            assert await status(one, "/todos") == 200
        async with asyncio.timeout(20):
            while len(apps[1].limiter.memory) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.005)  # nothing tells a process that it has heard
            left = 4
            while (told := (await other.get("/todos")).status) == 200:
                left -= 1
        assert told == 429
        assert left <= 0, "all six were heard of, or those that were not are owed"
        assert await status(other, "/todos") == 429


@pytest.mark.only_on("sqlite", reason="workers tell each other over a bus of their own, whatever the store")
async def test_workers_behind_one_port_count_together(tmp_path: Path) -> None:
    (tmp_path / "todo.py").write_text(WORKERS)
    one_each = httpx2.Limits(max_keepalive_connections=0)  # which goes to the worker with the fewest
    async with workers(tmp_path, 2) as (parent, _), client_at(parent.url, limits=one_each) as client:
        told = [(await client.get("/todos")).status_code for _ in range(40)]
    assert 10 <= told.count(200) < 20, "two that count apart would let twenty pass"
    assert told.count(200) + told.count(429) == 40


async def test_processes_count_exactly_in_the_database() -> None:
    store, clock = kept_store(), Clock()
    async with AsyncExitStack() as stack:
        apps = [app_of(Rate("10/hour"), clock=clock, store=store, rates_store="store") for _ in range(2)]
        clients = [await stack.enter_async_context(Client(app, token="ann")) for app in apps]
        told = await asyncio.gather(*(status(clients[n % 2], "/todos") for n in range(30)))
        assert sorted(told) == [200] * 10 + [429] * 20
        assert {app.limiter.failures for app in apps} == {0}
        assert (await clients[0].get("/openapi.json")).text.count("_rates") == 0


@before_any_store
@before_any_store
async def test_counting_in_the_database_takes_no_entity_tag_from_lists() -> None:
    class Item(Record[int], rules=allow.everyone):
        todo: Ref[Todo]

    async with Client(App(Todo, Item, store=fresh_store(), rates_store="store", rates=[Rate("50/hour")])) as client:
        first = await client.get("/items?todo.title=a")
        assert (await client.get("/items?todo.title=a", headers={"if-none-match": first.headers["etag"]})).status == 304
        await client.post("/todos", {"title": "a"})
        await client.post("/items", {"todo": 1})
        assert (await client.get("/items?todo.title=a")).headers["etag"] != first.headers["etag"]


async def test_processes_count_exactly_on_a_server(valkey: str) -> None:
    store, clock = kept_store(), Clock()
    prefix = f"{valkey}?prefix=flow{id(clock)}"
    async with AsyncExitStack() as stack:
        apps = [app_of(Rate("10/hour"), clock=clock, store=store, rates_store=prefix) for _ in range(2)]
        clients = [await stack.enter_async_context(Client(app, token="ann")) for app in apps]
        told = await asyncio.gather(*(status(clients[n % 2], "/todos") for n in range(30)))
        assert sorted(told) == [200] * 10 + [429] * 20


@before_any_store
async def test_what_could_be_answered_quickly_is_counted_all_the_same() -> None:
    app = App(Todo, Note, store=fresh_store(), rates=[Rate("5/hour", on="todos")], clock=Clock())
    async with app, running(app, "ours") as port, client_at(f"http://127.0.0.1:{port}") as client:
        await app.records.create(Todo, title="a")
        assert [(await client.get("/todos/1")).status_code for _ in range(3)] == [200, 200, 200]
        assert [(await client.post("/todos", json={"title": "b"})).status_code for _ in range(3)] == [201, 201, 429]
        assert (await client.get("/todos")).status_code == 429
        assert [(await client.get("/notes")).status_code for _ in range(8)] == [200] * 8


@before_any_store
async def test_the_figures_tell_what_was_allowed_and_refused() -> None:
    async with Client(app_of(Rate("1/minute", on="todos", name="todos"))) as client:
        for _ in range(3):
            await client.get("/todos")
        told = (await local(client.app, "/metrics")).text
    assert 'crudite_rate_allowed_total{rate="todos"} 1\n' in told
    assert 'crudite_rate_refused_total{rate="todos"} 2\n' in told
    assert "crudite_rate_keys 1\n" in told
    assert "crudite_rate_failures_total 0\n" in told


@before_any_store
async def test_code_of_ones_own_takes_of_a_rate_under_a_key() -> None:
    app, rate = app_of(), Rate("3/hour", name="mails")

    @app.create("invite")
    async def invite(request: Request, number: int) -> str:
        verdict = await app.limiter.take(f"{request.actor.id}", rate, cost=number)
        if not verdict.is_allowed:
            raise verdict.problem()
        return "sent"

    async with Client(app, token="ann") as ann:
        answers = [(await ann.post("/invite", {"number": n})).status for n in (2, 2, 1, 1)]
        assert answers == [200, 429, 200, 429]
        assert (await ann.acting("bob").post("/invite", {"number": 3})).status == 200
