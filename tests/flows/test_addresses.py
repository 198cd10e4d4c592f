"""Where a request comes from, and over what: only a proxy that is trusted may say so, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from crudite import Actor, App, Credentials, Rate, Record, Request, allow
from tests.services.runner import running
from tests.services.stores import fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="where a request comes from is known before any store is asked")

STRANGER = "10.0.0.1"
"""The only proxy that is trusted, where nobody here is it."""
HERE = "127.0.0.1"


class Open(Record[int], rules=allow.everyone):
    title: str


def by_cookie(credentials: Credentials) -> Actor | None:
    name = credentials.cookies.get("s")
    return Actor(name) if name else None


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, trusted: str, **told: Any) -> AsyncIterator[int]:
    """The port of an application whose server trusts these proxies."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    app = App(Open, store=fresh_store(), auth=by_cookie, **told)

    @app.read("whence")
    async def whence(request: Request) -> Any:
        return request.credentials.address

    @app.create("act")
    async def act(request: Request) -> str:
        return "done"

    async with app, running(app, "ours") as port:
        yield port


async def ask(port: int, path: str, *lines: str, method: str = "GET") -> tuple[int, Any]:
    """The status and the answer of one request with some header lines."""
    reader, writer = await asyncio.open_connection(HERE, port)
    body = "{}" if method == "POST" else ""
    head = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close", f"content-length: {len(body)}", *lines]
    kind = ["content-type: application/json"] if body else []
    writer.write("\r\n".join([*head, *kind, "", body]).encode())
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    top, _, rest = got.partition(b"\r\n\r\n")
    return int(top.split()[1]), msgspec.json.decode(rest) if b"json" in top else rest


async def opens(port: int, *lines: str) -> bool:
    """Whether a WebSocket with some header lines lasts until it is pinged (RFC 6455, section 5.5)."""
    reader, writer = await asyncio.open_connection(HERE, port)
    key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
    upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", key)
    writer.write("\r\n".join(["GET /ws HTTP/1.1", "host: localhost", *upgrade, *lines, "", ""]).encode())
    async with asyncio.timeout(10):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x89\x80\0\0\0\0")
        first = await reader.readexactly(1)
    writer.close()
    return first == b"\x8a"


@pytest.mark.parametrize("said", ["203.0.113.9", "127.0.0.1", "", "x" * 300, "203.0.113.9, 10.0.0.1", "::1"])
async def test_who_is_no_trusted_proxy_says_nothing_of_where_he_comes_from(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, STRANGER) as port:
        for name in ("x-forwarded-for", "x-real-ip", "forwarded", "client-ip", "true-client-ip", "cf-connecting-ip"):
            assert await ask(port, "/whence", f"{name}: {said}") == (200, HERE)


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["x-forwarded-for: 203.0.113.9"], "203.0.113.9"),
        (["x-forwarded-for: 198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # what is in front the client has said itself
        (["x-forwarded-for: 127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (["x-forwarded-for: 203.0.113.9, 127.0.0.1"], "203.0.113.9"),  # two proxies of ours
        (["x-forwarded-for: 198.51.100.1", "x-forwarded-for: 203.0.113.9"], "203.0.113.9"),
        (["x-forwarded-for: 2001:db8::1"], "2001:db8::1"),
        (["x-real-ip: 203.0.113.9"], HERE),
    ],
)
async def test_a_trusted_proxy_says_where_a_request_comes_from_and_the_client_adds_nothing(
    lines: list[str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, HERE) as port:
        assert await ask(port, "/whence", *lines) == (200, address)


async def test_nobody_gets_more_tries_by_making_up_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [Rate("2/hour", by="address")]
    async with serving(monkeypatch, STRANGER, rates=rates) as port:
        statuses = [(await ask(port, "/opens", f"x-forwarded-for: 203.0.113.{n}"))[0] for n in range(4)]
        assert statuses == [200, 200, 429, 429]
    async with serving(monkeypatch, HERE, rates=rates) as port:
        statuses = [(await ask(port, "/opens", f"x-forwarded-for: 198.51.100.{n}, 203.0.113.9"))[0] for n in range(4)]
        assert statuses == [200, 200, 429, 429]
        assert (await ask(port, "/opens", "x-forwarded-for: 203.0.113.10"))[0] == 200


async def test_nobody_is_on_this_machine_because_he_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for trusted in (HERE, STRANGER):
        async with serving(monkeypatch, trusted) as port:
            assert (await ask(port, "/metrics"))[0] == 200
            for line in ("x-forwarded-for: 127.0.0.1", "x-real-ip: ::1", "forwarded: for=127.0.0.1", "via: 1.1 proxy"):
                assert (await ask(port, "/metrics", line))[0] == 404, line
                assert (await ask(port, "/openapi.json", line))[0] == 403, line


@pytest.mark.parametrize(
    ("trusted", "origin", "proto", "is_taken"),
    [
        (HERE, "https://localhost", "https", True),
        (HERE, "http://localhost", "https", False),  # somebody on the network has written that page
        (HERE, "http://localhost", "http", True),
        (HERE, "https://localhost:8443", "https", False),
        (STRANGER, "https://localhost", "http", True),  # the proxy is not believed, and the page is no worse for it
        (STRANGER, "http://localhost", "https", True),  # nor is the client, who says that it is
        (STRANGER, "https://evil.example", "https", False),
    ],
)
async def test_pages_over_http_are_foreign_where_a_trusted_proxy_says_https(
    trusted: str, origin: str, proto: str, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, trusted) as port:
        lines = (f"origin: {origin}", f"x-forwarded-proto: {proto}", "cookie: s=ann")
        assert (await ask(port, "/act", *lines, method="POST"))[0] == (200 if is_taken else 403)
        assert await opens(port, *lines) is is_taken
