"""Quick answers of our own runner: the same bytes as from a plain server, without the application being called."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import apsw
import asyncpg
import pytest
import uvicorn

from crudite import App, Field, Record, Resource, allow, around
from crudite.cli.server import configuration
from tests.services import runner
from tests.services.runner import running
from tests.services.stores import fresh_store, kept_store

HOST = b"Host: 127.0.0.1\r\n"


class Note(Resource, rules=allow.everyone):
    """A record with what is unusual: a key of its own, a unique field, a default."""

    id: str
    title: str
    rank: int = 0
    code: str | None = Field(default=None, unique=True)


class Task(Resource, rules=allow.everyone):
    title: str
    done: bool = False


class Watched(App):
    """An application that counts how often it was called the ordinary way."""

    calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Counts, and answers."""
        self.calls += 1
        await super().__call__(scope, receive, send)


class Wire:
    """One connection, of which every byte is seen."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> "AsyncIterator[Wire]":
        """A connection for the length of a block."""
        wire = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield wire
        finally:
            wire.writer.close()

    async def ask(self, request: bytes) -> bytes:
        """Sends a request and returns the answer."""
        self.writer.write(request)
        return await self.answer(is_head=request.startswith(b"HEAD"))

    async def answer(self, *, is_head: bool = False) -> bytes:
        """The next answer, its date left out; what came before the end, if the connection ends."""
        async with asyncio.timeout(30):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = await self.reader.readexactly(int(length[1])) if length and not is_head else b""
            except asyncio.IncompleteReadError as error:
                return b"ended after " + error.partial
        return re.sub(rb"date: [^\r]+", b"date:", head) + body

    async def is_ended(self) -> bool:
        """Whether the server closes the connection, and sends nothing more."""
        async with asyncio.timeout(30):
            return await self.reader.read() == b""


def get(target: str, headers: bytes = HOST) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode(), headers)


def post(target: str, body: bytes, headers: bytes = HOST + b"Content-Type: application/json\r\n") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (target.encode(), headers, len(body), body)


@asynccontextmanager
async def on_both(app: App) -> AsyncIterator[tuple[int, int]]:
    """The ports of our own runner and of a plain server, which both serve the application."""
    async with app, running(app, "ours") as ours, running(app, "plain") as plain:
        yield ours, plain


@asynccontextmanager
async def wires(app: App) -> AsyncIterator[tuple[Wire, Wire]]:
    """A connection to each of them."""
    async with on_both(app) as (ours, plain), Wire.to(ours) as to_ours, Wire.to(plain) as to_plain:
        yield to_ours, to_plain


async def fill(wire: Wire) -> None:
    for number, title in enumerate(("é", 'a "quoted" one', "plain", "x&y=z", "last")):
        body = json.dumps({"id": f"n{number}", "title": title, "rank": number}).encode()
        assert (await wire.ask(post("/notes", body))).startswith(b"HTTP/1.1 201")


TARGETS = (
    "/notes", "/notes?limit=2", "/notes?limit=2&sort=-title", "/notes?sort=rank&limit=1&offset=1", "/notes?title=plain",
    "/notes?title=%C3%A9", "/notes?title[contains]=quoted", "/notes?title=x%26y%3Dz", "/notes?rank[gte]=3&rank[lt]=9",
    "/notes?rank=1&rank=2", "/notes?count=exact", "/notes?fields=id,title&limit=3", "/notes?omit=rank", "/notes?",
    "/notes?filter=%7B%22rank%22%3A1%7D", "/notes?code[isnull]=true&limit=1", "/notes?title=nobody",
    "/notes?code=c", "/notes?limit=0", "/notes?limit=100000", "/notes?limit=%zz", "/notes?nope=1", "/notes?title=%ff",
    "/notes?cursor=no",
    "/notes/", "//notes", "/notes//n1", "/notes/n1", "/notes/n4", "/notes/n1/", "/notes/%6E1", "/notes/n1?fields=title",
    "/notes/n1?sort=title", "/notes/n1,n2", "/notes/n1%2Cn2", "/notes/missing", "/notes/query", "/notes/n1;v=1",
    "/notes/..", "/tasks/not-a-key", "/tasks/0199a1b2-0000-7000-8000-000000000000", "/tasks", "/tasks?done=true",
    "/tasks?done=perhaps", "/nothing", "/nothing/n1", "/", "/Notes", "/notes/n1#part", "/notes?limit=1#part",
    "/notes?code=c#part", '/notes?title="x"', "/notes?title=<x>", "/notes?title=a|b", '/notes?filter={"rank":1}',
    "/notes?code=[c]", "/notes?code=a?b", "/notes?code=c&code=d", "/notes?code=a+b", "/notes?code=a%2Bb", "/notes?&",
)  # fmt: skip
NAMED = b"X-Request-Id: r1\r\n"


async def test_every_get_is_answered_with_the_same_bytes() -> None:
    async with wires(App(Note, Task, store=fresh_store())) as (ours, plain):
        await fill(plain)
        for target in TARGETS:
            expected = await plain.ask(get(target, HOST + NAMED))
            for _ in range(3):  # the first teaches the head, the second compiles, the third has all
                assert await ours.ask(get(target, HOST + NAMED)) == expected, target


HEADS = (
    HOST,
    b"",
    HOST + b"Accept: */*\r\nUser-Agent: test\r\nAccept-Encoding: gzip\r\n",
    HOST + b"Accept: application/json\r\n",
    HOST + b"Accept: text/html\r\n",
    HOST + b"accept:text/html, application/*;q=0.1\r\n",
    HOST + b"Accept: text/html\r\nAccept: application/json\r\n",
    HOST + b'If-None-Match: "nothing"\r\n',
    HOST + b"If-None-Match: *\r\n",
    HOST + b'If-None-Match: W/"nothing", *\r\n',
    HOST + b"Cookie: a=b\r\nAuthorization: Bearer x\r\n",
    HOST + b"Range: bytes=0-1\r\nPrefer: return=minimal\r\n",
    HOST + b"Content-Length: 0\r\n",
    HOST + b"Connection: keep-alive\r\n",
    b"Host: LOCALHOST:80\r\n",
    b"Host: elsewhere.example\r\n",
    b"Host: 127.0.0.1\r\nHost: elsewhere.example\r\n",
    b"host:127.0.0.1\r\nX-Long: " + b"x" * 3000 + b"\r\n",
    HOST + b"Upgrade: h2c\r\n",
    HOST + b"Crudite-After: 1\r\n",
    HOST + b"Crudite-After: no mark\r\n",
)


@pytest.mark.parametrize("target", ["/notes/n1", "/notes?limit=2", "/notes/missing"])
async def test_every_head_is_answered_with_the_same_bytes(target: str) -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await fill(plain)
        for head in HEADS:
            expected = await plain.ask(get(target, head + NAMED))
            for _ in range(3):
                assert await ours.ask(get(target, head + NAMED)) == expected, head


@pytest.mark.parametrize("target", ["/notes/n1", "/notes?limit=2", "/notes"])
async def test_what_a_client_has_already_is_not_sent_again(target: str) -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await fill(plain)
        etag = re.search(rb"etag: ([^\r]+)", await plain.ask(get(target)))
        assert etag is not None
        asked = get(target, HOST + b"If-None-Match: " + etag[1] + b"\r\n")
        expected = await plain.ask(asked)
        assert expected.startswith(b"HTTP/1.1 304 ")
        for _ in range(3):
            assert await ours.ask(asked) == expected
        await plain.ask(b'PATCH /notes/n1 HTTP/1.1\r\n%bContent-Length: 10\r\n\r\n{"rank":9}' % HOST)
        changed = await plain.ask(asked)
        assert changed.startswith(b"HTTP/1.1 200 ")
        assert await ours.ask(asked) == changed


async def test_all_pages_are_the_same() -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await fill(plain)
        target = "/notes?limit=2"
        for _ in range(3):
            expected = await plain.ask(get(target))
            for _ in range(3):
                assert await ours.ask(get(target)) == expected
            following = re.search(rb'<([^>]+)>; rel="next"', expected)
            target = "/notes" + following[1].decode() if following else "/notes?limit=2"


async def test_a_search_is_answered_alike() -> None:
    class Page(Resource, rules=allow.everyone, search=("title",)):
        id: str
        title: str

    async with wires(App(Page, store=fresh_store())) as (ours, plain):
        for key, title in (("1", "red apples"), ("2", "green apples")):
            body = json.dumps({"id": key, "title": title}).encode()
            await plain.ask(b"POST /pages HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(body), body))
        for words, keys in (("red", [b"1"]), ("app", [b"1", b"2"]), ("pears", []), ("", [b"1", b"2"])):
            expected = await plain.ask(get(f"/pages?search={words}"))
            assert re.findall(rb'"id":"(.)"', expected) == keys
            for _ in range(3):
                assert await ours.ask(get(f"/pages?search={words}")) == expected


async def test_other_ways_to_ask_are_answered_alike() -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await fill(plain)
        await ours.ask(get("/notes/n1"))
        for request in (
            b"HEAD /notes/n1 HTTP/1.1\r\n%b\r\n" % HOST,
            b"OPTIONS /notes HTTP/1.1\r\n%b\r\n" % HOST,
            b"GET http://127.0.0.1/notes/n1 HTTP/1.1\r\n%b\r\n" % HOST,
            b"GET /notes/n1 HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n{}" % HOST,
            b"GET /notes/n1 HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % HOST,
            b"\r\nGET /notes/n1 HTTP/1.1\r\n%b\r\n" % HOST,
        ):
            expected = await plain.ask(request)
            assert [await ours.ask(request) for _ in range(2)] == [expected, expected], request


async def test_connections_end_alike() -> None:
    async with on_both(App(Note, store=fresh_store())) as (to_ours, to_plain):
        async with Wire.to(to_plain) as plain:
            await fill(plain)
        for request in (
            b"GET /notes/n1 HTTP/1.0\r\n%b\r\n" % NAMED,
            b"GET /notes/n1 HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST,
            b"GET /notes/n1 HTTP/1.1\r\nHost\r\n\r\n",
            b"GET /notes/n 1 HTTP/1.1\r\n%b\r\n" % HOST,
            b"GET /notes/n1 HTTP/1.1\n%b\n" % HOST.replace(b"\r", b""),
            b"nonsense\r\n\r\n",
        ):
            for _ in range(2):
                async with Wire.to(to_ours) as ours, Wire.to(to_plain) as plain:
                    assert await ours.ask(request) == await plain.ask(request), request
                    assert await ours.is_ended()
                    assert await plain.is_ended()


async def test_requests_that_come_at_once_or_in_pieces_are_answered_in_order() -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await fill(plain)
        one, two, three = get("/notes/n1"), get("/notes?limit=1"), get("/notes/missing", HOST + NAMED)
        single = [await plain.ask(request) for request in (one, two, three)]
        for _ in range(2):
            ours.writer.write(one + two + three + one)
            assert [await ours.answer() for _ in range(4)] == [*single, single[0]]
        for cut in (1, 10, len(one) - 3, len(one) - 1, len(one), len(one) + 20):
            ours.writer.write((one + two)[:cut])
            await ours.writer.drain()
            await plain.ask(one)  # so much later that the first piece has come alone
            ours.writer.write((one + two)[cut:])
            assert [await ours.answer(), await ours.answer()] == single[:2]


BODIES = (
    b'{"title":"new"}', b' {"title":"space before"}', b'{"title":"done","done":true}', b'[{"title":"a"},{"title":"b"}]',
    b"[]", b"{", b"", b"null", b"{}", b'{"title":7}', b'{"title":"x","nope":1}', b'{"title":"x","id":"no key"}',
    b'{"title":"x","version":1}', b'{"title":"\xff"}', b'{"title":"\\u0000"}', b'{"title":"%b"}' % (b"x" * 1_000_100),
)  # fmt: skip
POST_HEADS = (
    b"Content-Type: application/json\r\n", b"", b"Content-Type: text/plain\r\n", b"Content-Type: Application/JSON\r\n",
    b"Content-Type: application/json; charset=utf-8\r\n", b"Content-Type: application/json; charset=latin-1\r\n",
    b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"Prefer: return=minimal\r\n",
    b"Cookie: a=b\r\nOrigin: http://elsewhere.example\r\n", b"Cookie: a=b\r\nSec-Fetch-Site: cross-site\r\n",
    b"Origin: http://elsewhere.example\r\n", b"Accept: text/html\r\n",
)  # fmt: skip


def without_accident(answer: bytes) -> bytes:
    """An answer without what no two creates have in common."""
    answer = re.sub(rb'("request_id":")[^"]+', rb"\1", answer)
    answer = re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f-]{17}", b"KEY", answer)
    answer = re.sub(rb'(crudite-after: |etag: "v|"version":)\d+', rb"\1", answer)
    return re.sub(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z", b"TIME", answer)


async def test_every_create_is_answered_with_the_same_bytes() -> None:
    async with wires(App(Task, store=fresh_store())) as (ours, plain):
        for request in (
            *(post("/tasks", body) for body in BODIES),
            *(post("/tasks", BODIES[0], HOST + head) for head in POST_HEADS),
            post("/tasks?x=1", BODIES[0]),
            post("/tasks/", BODIES[0]),
            post("/tasks", BODIES[0], b"Host: elsewhere.example\r\n"),
            b"POST /tasks HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % HOST,
        ):
            expected = without_accident(await plain.ask(request))
            for _ in range(3):
                assert without_accident(await ours.ask(request)) == expected, request[:200]


async def test_a_create_that_the_store_refuses_is_told_alike_and_changes_nothing() -> None:
    async with wires(App(Note, store=fresh_store())) as (ours, plain):
        await ours.ask(post("/notes", b'{"id":"a b","title":"first","code":"c"}'))
        located = await ours.ask(post("/notes", b'{"id":"b c","title":"second"}'))
        assert b"location: /notes/b%20c\r\n" in located
        for body in (b'{"id":"a b","title":"t"}', b'{"id":"d","title":"t","code":"c"}', b'{"id":"..","title":"t"}'):
            expected = without_accident(await plain.ask(post("/notes", body)))
            assert expected[9:12] in (b"409", b"422")
            for _ in range(2):
                assert without_accident(await ours.ask(post("/notes", body))) == expected
        assert (await plain.ask(get("/notes?fields=title"))).count(b"title") == 2


async def test_a_create_asked_in_one_write_and_a_read_behind_it_are_answered_in_order() -> None:
    async with wires(App(Task, store=fresh_store())) as (ours, _):
        create = post("/tasks", b'{"title":"one"}')
        await ours.ask(create)
        for _ in range(3):
            ours.writer.write(create)
            await ours.writer.drain()
            ours.writer.write(get("/tasks?count=exact"))
            ours.writer.write(get("/tasks"))
            answers = [await ours.answer() for _ in range(3)]
            assert [answer[9:12] for answer in answers] == [b"201", b"200", b"200"]
            key = re.search(rb"location: /tasks/([^\r]+)", answers[0])
            assert key is not None
            assert key[1] in answers[2]


async def test_a_create_that_comes_in_pieces_is_answered_alike() -> None:
    app = Watched(Task, store=fresh_store())
    async with wires(app) as (ours, plain):
        create = post("/tasks", b'{"title":"in pieces"}')
        expected = without_accident(await plain.ask(create))
        await ours.ask(create)
        before = app.calls
        body = create.index(b"\r\n\r\n") + 4
        for cuts in ((body,), (body + 1,), (len(create) - 1,), (body, body + 3, body + 7)):
            for start, end in itertools.pairwise((0, *cuts, len(create))):
                ours.writer.write(create[start:end])
                await ours.writer.drain()
                await plain.ask(get("/tasks?limit=1"))  # so much later that each piece comes alone
            assert without_accident(await ours.answer()) == expected
        assert app.calls - before == 10  # those of the other connection
        ours.writer.write(create[: body + 3])
        await plain.ask(get("/tasks?limit=1"))
        ours.writer.write(create[body + 3 :] + get("/tasks?limit=1"))
        assert [(await ours.answer())[9:12] for _ in range(2)] == [b"201", b"200"]


async def test_a_server_that_ends_waits_for_the_rest_of_a_body() -> None:
    async with App(Task, store=fresh_store()) as app, AsyncExitStack() as serving:
        port = await serving.enter_async_context(running(app, "ours"))
        async with Wire.to(port) as slow, Wire.to(port) as idle:
            create = post("/tasks", b'{"title":"slowly"}')
            for wire in (slow, idle):
                await wire.ask(create)
            slow.writer.write(create[:-5])
            await idle.ask(get("/tasks"))
            ending = asyncio.create_task(serving.aclose())
            assert await idle.is_ended()
            slow.writer.write(create[-5:])
            answer = await slow.answer()
            assert answer.startswith(b"HTTP/1.1 201 ")
            assert b"\r\nconnection: close\r\n" in answer
        await ending


async def test_quick_answers_do_not_call_the_application(kind_of_store: str) -> None:
    app = Watched(Task, store=fresh_store())
    async with wires(app) as (ours, _):
        create, listing = post("/tasks", b'{"title":"one"}'), get("/tasks")
        made = await ours.ask(create)
        await ours.ask(listing)
        key = re.search(rb"location: (/tasks/[^\r]+)", made)
        assert key is not None
        before = app.calls
        lists = (listing, get("/tasks?limit=3&sort=-id")) if kind_of_store == "sqlite" else ()  # those read at once
        for request in (create, get(key[1].decode()), *lists):
            assert (await ours.ask(request))[9:10] == b"2"
        assert app.calls == before
        await ours.ask(get("/tasks?nope=1"))
        assert app.calls == before + 1


@pytest.mark.parametrize("way", ["middleware", "hook", "auth"])
async def test_the_application_s_own_code_is_never_passed_by(way: str) -> None:
    called: list[str] = []

    class Plain(Resource, rules=allow.everyone, path="items"):
        title: str

    class Hooked(Resource, rules=allow.everyone, path="items"):
        title: str

        @around("create", "read", "list")
        @classmethod
        async def note(cls, request: Any, next: Any) -> Any:
            called.append(request.action)
            return await next()

    async def nobody(credentials: Any) -> None:
        called.append("auth")

    app = App(Hooked if way == "hook" else Plain, store=fresh_store(), auth=nobody if way == "auth" else None)
    if way == "middleware":

        @app.use(name="items", action=["list", "read", "create"])
        async def note(request: Any, next: Any) -> Any:
            called.append(request.action)
            return await next()

    async with wires(app) as (ours, _):
        for _ in range(3):
            made = await ours.ask(post("/items", b'{"title":"one"}'))
            key = re.search(rb"location: (/items/[^\r]+)", made)
            assert key is not None
            await ours.ask(get(key[1].decode()))
            await ours.ask(get("/items"))
    assert len(called) == 9


async def test_a_rule_that_is_a_function_is_asked_by_every_request() -> None:
    def is_fit(record: Any, actor: Any) -> bool:
        return record.title != "hidden"

    class Item(Record[int], rules=allow.check(is_fit)):
        title: str

    app = Watched(Item, store=fresh_store())
    async with wires(app) as (ours, _):
        assert (await ours.ask(post("/items", b'{"id":1,"title":"one"}')))[9:12] == b"201"
        assert (await ours.ask(post("/items", b'{"id":2,"title":"hidden"}')))[9:12] == b"403"
        await app.records.create(Item, id=3, title="hidden")
        assert (await ours.ask(get("/items/1")))[9:12] == b"200"
        assert (await ours.ask(get("/items/3")))[9:12] == b"404"
        assert b"hidden" not in await ours.ask(get("/items"))
        assert app.calls == 5


@asynccontextmanager
async def held(store: str) -> AsyncIterator[None]:
    """While this lasts, no task can be written, and on PostgreSQL none be read."""
    if store.startswith("sqlite"):
        other = apsw.Connection(store.removeprefix("sqlite:///").partition("?")[0])
        other.set_busy_timeout(5_000)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
        return
    server, _, schema = store.partition("?schema=")
    holding = await asyncpg.connect(server, server_settings={"search_path": schema})
    try:
        async with holding.transaction():
            await holding.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await holding.close()


def waiting_ones(kind_of_store: str, key: bytes) -> tuple[bytes, ...]:
    """What has to wait while the tasks are held."""
    create = post("/tasks", b'{"title":"two"}')
    return (create,) if kind_of_store == "sqlite" else (create, get(key.decode()))


async def test_a_server_that_ends_answers_what_waits_and_says_that_it_closes(kind_of_store: str) -> None:
    store = kept_store()
    async with App(Task, Note, store=store) as app, AsyncExitStack() as serving:
        port = await serving.enter_async_context(running(app, "ours"))
        async with AsyncExitStack() as connecting:
            idle, one, two = [await connecting.enter_async_context(Wire.to(port)) for _ in range(3)]
            for wire in (idle, one, two):
                made = await wire.ask(post("/tasks", b'{"title":"one"}'))
                await wire.ask(get("/notes"))
            key = re.search(rb"location: (/tasks/[^\r]+)", made)
            assert key is not None
            busy = list(zip((one, two), waiting_ones(kind_of_store, key[1]), strict=False))
            async with held(store):
                for wire, request in busy:
                    wire.writer.write(request)
                await idle.ask(get("/notes"))
                ending = asyncio.create_task(serving.aclose())
                assert await idle.is_ended()
            for wire, request in busy:
                answer = await wire.answer()
                assert answer.startswith(b"HTTP/1.1 201 " if request.startswith(b"POST") else b"HTTP/1.1 200 ")
                assert b"\r\nconnection: close\r\n\r\n{" in answer
                assert await wire.is_ended()
        await ending


async def test_a_client_that_goes_away_before_its_answer_leaves_what_it_wrote(kind_of_store: str) -> None:
    store = kept_store()
    async with App(Task, Note, store=store) as app, running(app, "ours") as port, Wire.to(port) as other:
        made = await other.ask(post("/tasks", b'{"title":"one"}'))
        await other.ask(get("/notes"))
        key = re.search(rb"location: (/tasks/[^\r]+)", made)
        assert key is not None
        async with held(store):
            for request in waiting_ones(kind_of_store, key[1]):
                async with Wire.to(port) as gone:
                    await gone.ask(get("/notes"))
                    gone.writer.write(request)
                    await other.ask(get("/notes"))
                    gone.writer.transport.abort()
            await other.ask(get("/notes"))
        await other.ask(post("/tasks", b'{"title":"three"}'))
        listed = b""
        async with asyncio.timeout(30):  # writes that nobody awaits one after the other come in any order
            while not all(title in listed for title in (b"one", b"two", b"three")):
                listed = await other.ask(get("/tasks?fields=title"))


async def test_reads_that_wait_together_are_answered_each_with_its_own() -> None:
    app = Watched(Note, store=fresh_store())
    async with on_both(app) as (to_ours, to_plain), AsyncExitStack() as connecting:
        plain = await connecting.enter_async_context(Wire.to(to_plain))
        ours = [await connecting.enter_async_context(Wire.to(to_ours)) for _ in range(8)]
        await fill(plain)
        keys = [f"/notes/n{number}" for number in range(5)] + ["/notes/missing", "/notes/n0", "/notes/n3"]
        expected = [await plain.ask(get(key, HOST + NAMED)) for key in keys]
        for wire in ours:
            await wire.ask(get("/notes/n0", HOST + NAMED))
        before = app.calls
        for wire, key in zip(ours, keys, strict=True):
            wire.writer.write(get(key, HOST + NAMED))
        assert [await wire.answer() for wire in ours] == expected
        assert app.calls - before == 1  # of the missing one


async def test_a_connection_is_kept_for_its_time_after_each_quick_answer_and_then_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 0.3

    def short(app: App, **options: Any) -> uvicorn.Config:
        config = configuration(app, **options)
        config.timeout_keep_alive = seconds  # type: ignore[assignment]
        return config

    monkeypatch.setattr(runner, "configuration", short)
    loop = asyncio.get_running_loop()
    async with App(Task, store=fresh_store()) as app, running(app, "ours") as port, Wire.to(port) as wire:
        await wire.ask(get("/tasks"))
        began = loop.time()
        while loop.time() < began + seconds * 2:
            last = loop.time()
            assert (await wire.ask(get("/tasks"))).startswith(b"HTTP/1.1 200 ")
        assert await wire.is_ended()
        assert loop.time() - last >= seconds * 0.9
