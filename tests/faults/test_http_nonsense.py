"""What no honest client sends, on every interface: a clear problem, and nothing has changed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crudite import App, Field, Limits, Record, Request, allow
from crudite.testing import Client
from tests.flows.worlds import client_for, faults
from tests.services.stores import fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="nonsense is refused before the store is asked")

JSON = {"content-type": "application/json"}


class Todo(Record[str], rules=allow.everyone):
    title: str = Field(max_length=100)
    count: int = 0
    ratio: float = 0.0
    data: dict[str, Any] = Field(default={})


def is_problem(answer: Any) -> bool:
    """Whether an answer is a whole problem of the asker's making."""
    problem = answer.json
    return (
        400 <= answer.status < 500
        and answer.headers["content-type"] == "application/problem+json"
        and problem["status"] == answer.status
        and bool(problem["detail"])
        and bool(problem["request_id"])
    )


BODIES = [
    b"",
    b"{",
    b"[",
    b"nonsense",
    b"null",
    b"5",
    b'"x"',
    b"[1]",
    b"[[]]",
    b'{"id":"a","title":"x"}}',
    b"\xff\xfe",
    b'{"id":"a","title":"\xff"}',
    b'{"id":"a","title":"\xed\xa0\x80"}',
    b'{"id":"a","title":"\\ud800"}',
    b'{"id":"a","title":"a\\u0000b"}',
    b'{"id":"a\\u0000","title":"x"}',
    b'{"id":"a","title":"x","data":{"k":"\\u0000"}}',
    b'{"id":"a","title":"x","data":{"\\u0000":1}}',
    b'{"id":"a","title":"x","data":{"k":"\\udc00"}}',
    b'{"id":"a","title":5}',
    b'{"id":"a","title":null}',
    b'{"id":"a","title":["x"]}',
    b'{"id":1,"title":"x"}',
    b'{"id":"a","title":"x","count":1.5}',
    b'{"id":"a","title":"x","count":"1"}',
    b'{"id":"a","title":"x","count":true}',
    b'{"id":"a","title":"x","count":9223372036854775808}',
    b'{"id":"a","title":"x","count":1e400}',
    b'{"id":"a","title":"x","ratio":NaN}',
    b'{"id":"a","title":"x","ratio":Infinity}',
    b'{"id":"a","title":"x","ratio":1e999}',
    b'{"id":"a","title":"x","data":[]}',
    b'{"id":"a","title":"x","version":1}',
    b'{"id":"a","title":"x","__class__":1}',
    b'{"id":"a","title":"x","":1}',
    b'{"id":"a","title":"' + b"x" * 101 + b'"}',
    b"[" * 100_000,
    b'{"data":' * 100_000,
    b'{"id":"a","title":"x","data":' + b'{"k":' * 3000 + b"1" + b"}" * 3000 + b"}",
    b'{"id":"' + b"k" * 100_000 + b'","title":"x","count":"no"}',
    b'{"id":"a","title":"x","count":' + b"1" * 5000 + b"}",
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
async def test_a_body_of_nonsense_is_refused_and_changes_nothing(body: bytes) -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", {"id": "old", "title": "old"})
        before = (await client.get("/todos")).body
        for method, url in (
            ("POST", "/todos"),
            ("PUT", "/todos/old"),
            ("PATCH", "/todos/old"),
            ("POST", "/todos/query"),
        ):
            if method in ("PUT", "PATCH"):
                body = body.replace(b'"id":"a",', b"")
            answer = await client.request(method, url, content=body, headers=JSON)
            if url == "/todos/query" and body == b"":
                continue  # no query at all is one
            assert is_problem(answer), (method, answer)
        assert (await client.get("/todos")).body == before


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
async def test_the_same_nonsense_over_a_socket_is_answered_and_leaves_it_open(body: bytes) -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        for method in ("todos.create", "todos.update", "todos.list", "subscribe", "auth", "nope"):
            text = b'{"jsonrpc":"2.0","id":99,"method":"' + method.encode() + b'","params":' + (body or b"{}") + b"}"
            socket.send(text)
            answer = await socket.next()
            assert "error" in answer or (method == "todos.list" and body == b"")
            wrapped = (
                b'{"jsonrpc":"2.0","id":99,"method":"'
                + method.encode()
                + b'","params":{"key":"a","data":'
                + body
                + b"}}"
            )
            socket.send(wrapped)
            assert "error" in await socket.next()
        assert await socket.call("ping") == {}
        assert (await client.get("/todos")).json == []


URLS = [
    "nope=1",
    "count[nope]=1",
    "title[gt=1",
    "title]=1",
    "[eq]=1",
    "=1",
    "title[eq][eq]=1",
    "count=x",
    "count=1.5",
    "data=1",
    "data.k=1",
    "title.x=1",
    "sort=",
    "sort=,",
    "sort=-",
    "sort=data",
    "sort=--title",
    "limit=",
    "limit=-1",
    "limit=1e3",
    "limit=99999999999",
    "limit=1&limit=2",
    "offset=-1",
    "offset=x",
    "cursor=",
    "cursor=x",
    "fields=",
    "fields=,title",
    "omit=nope",
    "filter=",
    "filter={",
    "filter=[]",
    "filter=5",
    'filter={"or":1}',
    'filter={"or":[1]}',
    'filter={"not":[]}',
    'filter={"title":{}}',
    'filter={"title":{"eq":[]}}',
    'filter={"title":{"in":"x"}}',
    "count[between]=1",
    "count[between]=1,x",
    "title[isnull]=maybe",
    "count[contains]=1",
    "count=",
    "%ff=1",
    "title=%ff",
    "title=%ed%a0%80",
    "title%00=1",
    "title=%00",
    "title[contains]=%00",
    "include=x",
    "search=x",
    "count=exactly",
    "title[in]=" + "," * 1001,
    "sort=" + ",".join(["title"] * 11),
    "filter=" + '{"not":' * 30 + "{}" + "}" * 30,
    "filter=" + "[" * 10_000,
    "a" * 100_000 + "=1",
    "title.title.title.title=1",
    "&".join(f"p{n}=1" for n in range(1001)),
    "&".join(f"title[ne]=v{n}" for n in range(201)),
]


@pytest.mark.parametrize("query", URLS, ids=lambda query: query[:30])
async def test_a_query_of_nonsense_is_refused_by_lists_and_streams_alike(query: str) -> None:
    async with client_for(Todo) as client:
        listed = await client.get(f"/todos?{query}")
        assert is_problem(listed), listed
        if not query.startswith(("count=ex", "cursor=")):
            streamed = await client.get(f"/todos/subscribe?{query}")
            assert is_problem(streamed), streamed
            assert faults(streamed) == faults(listed)
        read = await client.get(f"/todos/x?{query}")
        assert is_problem(read)


@pytest.mark.parametrize(
    "path",
    [
        "/todos/%00",
        "/todos/%ff",
        "/todos/%ed%a0%80",
        "/todos/" + "k" * 100_000,
        "/todos/a%2F..%2Fb",
        "/%00",
        "/todos/,,,",
        "/todos/" + ",".join("abcd" * 60),
        "//",
        "/todos//////",
        "/todos/x/%2e%2e/y",
        "/../../etc/passwd",
        "/todos/%",
        "/crudite.js/x",
        "/ws",
        "/subscribe/x",
    ],
)
async def test_a_path_of_nonsense_is_answered(path: str) -> None:
    async with client_for(Todo) as client:
        for method in ("GET", "PUT", "PATCH", "DELETE", "POST", "TRACE", "NONSENSE"):
            answer = await client.request(method, path, content=b'{"title":"x"}', headers=JSON)
            assert answer.status < 500, (method, path[:50], answer)
        assert len((await client.get("/todos")).json) <= 1


async def test_keys_and_versions_that_no_number_is_large_enough_for_are_not_found() -> None:
    class Item(Record[int], rules=allow.everyone):
        title: str

    async with client_for(Item) as client, client.websocket() as socket:
        await client.post("/items", {"title": "x"})
        for key in (2**63, 10**30, int("9" * 4000), -(2**63) - 1):
            for method in ("GET", "PATCH", "DELETE"):
                answer = await client.request(method, f"/items/{key}", content=b"{}", headers=JSON)
                assert answer.status == 404
            assert (await client.get(f"/items?id={key}")).status == 400
            assert (await client.get(f"/items/1,{key}")).status == 404
            assert (await client.get(f"/items/{key}/subscribe")).status == 404
            tagged = await client.patch("/items/1", {}, headers={"if-match": f'"v{abs(key)}"'})
            assert tagged.status == 412
            socket.send({"jsonrpc": "2.0", "id": 1, "method": "items.delete", "params": {"key": 1, "version": 2**63}})
            assert (await socket.next())["error"]["code"] == 412
            socket.send('{"jsonrpc":"2.0","id":1,"method":"items.read","params":{"key":' + str(key) + "}}")
            assert (await socket.next())["error"]["code"] in (404, 400)
        assert len((await client.get("/items")).json) == 1


async def test_sizes_beyond_the_limits_are_refused_before_they_are_read_to_their_end() -> None:
    app = App(Todo, store=fresh_store(), limits=Limits(body=1000))

    @app.create("echo")
    async def echo(request: Request, text: str) -> str:
        return text

    async with Client(app) as client:
        large = [b'{"id":"a","title":"', *[b"x" * 300] * 10_000, b'"}']
        for method, url in (
            ("POST", "/todos"),
            ("PUT", "/todos/a"),
            ("POST", "/todos/query"),
            ("QUERY", "/todos"),
            ("POST", "/echo"),
        ):
            answer = await client.request(method, url, content=large, headers=JSON)
            assert (answer.status, answer.json["code"]) == (413, "too_large")
        just = b'{"id":"a","title":"b"' + b" " * 978 + b"}"
        assert (await client.request("POST", "/todos", content=just, headers=JSON)).status == 201
        assert (await client.request("POST", "/todos", content=just + b" ", headers=JSON)).status == 413
        parts = [just[:10], b"", just[10:].replace(b'"a"', b'"c"')]
        assert (
            await client.request("POST", "/todos", content=[b'{"id":"c",', b"", b'"title":"b"}'], headers=JSON)
        ).status == 201
        assert parts


async def test_headers_of_nonsense_are_answered() -> None:
    odd = {
        "if-match": [
            "x",
            '"v"',
            '"v1',
            'W/"v1"',
            '"v99999999999999999999999999"',
            '"v-1"',
            '"v1", "v2"',
            "",
            "☃".encode().decode("latin-1"),
        ],
        "if-none-match": ["x", '"', "", ",,,"],
        "prefer": [";;,", "return=", "handling=strict,x"],
        "accept": ["", ";", "text/", "*/*"],
        "content-type": [
            "",
            ";",
            "application/json; charset",
            "application/json;charset=utf-16",
            "multipart/form-data",
        ],
        "authorization": ["", "Bearer", "Bearer  ", "x" * 10_000],
        "cookie": ["", ";;;", "a=b=c; =; \x7f", "x" * 10_000],
        "origin": ["", "null", "http://[::1", "//"],
        "host": ["", ":", "[", "[::1", "a:b:c", "testserver:x"],
        "x-request-id": ["", "x" * 10_000, "ü"],
        "last-event-id": ["", "0", "x~", "~" * 1000],
    }
    async with client_for(Todo) as client:
        await client.post("/todos", {"id": "a", "title": "x"})
        for name, values in odd.items():
            for value in values:
                for method, url in (
                    ("GET", "/todos"),
                    ("GET", "/todos/a"),
                    ("PATCH", "/todos/a"),
                    ("GET", "/nope"),
                ):
                    answer = await client.request(method, url, content=b'{"count":1}', headers={**JSON, name: value})
                    assert answer.status < 500, (name, value, answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
known = st.sampled_from(
    ["where", "sort", "limit", "fields", "or", "not", "and", "title", "count", "eq", "in", "data", "id"]
)
shaped = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known | st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150)
@given(value=shaped, keyed=st.dictionaries(known, shaped, max_size=5))
async def test_no_json_at_all_is_our_fault(value: Any, keyed: Any) -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        for body in (value, keyed):
            text = msgspec.json.encode(body)
            for method, url in (
                ("POST", "/todos"),
                ("PUT", "/todos/a"),
                ("PATCH", "/todos/a"),
                ("POST", "/todos/query"),
            ):
                answer = await client.request(method, url, content=text, headers=JSON)
                assert answer.status < 500, answer
            for method in (
                "todos.list",
                "todos.create",
                "todos.update",
                "subscribe",
                "unsubscribe",
                "auth",
                "ping",
            ):
                socket.send(b'{"jsonrpc":"2.0","id":"x","method":"%s","params":%s}' % (method.encode(), text))
                answer = await socket.next()
                assert answer.get("error", {}).get("code") != 500, answer
