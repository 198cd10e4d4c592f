"""Requests of which two servers could think differently where they end, or whom they are for, over real sockets.

Whoever stands before us (a proxy, a cache) may read such bytes in another way. What is not plain is refused, and the
connection is closed: nothing that comes behind it is taken for a request.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from crudite import App, Record, allow
from tests.services.runner import running

SECOND = b"DELETE /opens/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"title":"a"}'
POST = b"POST /opens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /opens HTTP/1.1\r\nHost: localhost\r\n"

REFUSED = {
    "two ways to say how long": POST + b"Content-Length: 13\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "the same the other way round": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 13\r\nContent-Length: 0\r\n\r\n" + BODY,
    "the same length twice": POST + b"Content-Length: 13\r\nContent-Length: 13\r\n\r\n" + BODY,
    "a list of lengths": POST + b"Content-Length: 13, 13\r\n\r\n" + BODY,
    "a length with a sign": POST + b"Content-Length: +13\r\n\r\n" + BODY,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
    "a hexadecimal length": POST + b"Content-Length: 0x0d\r\n\r\n" + BODY,
    "a length as Python reads it": POST + b"Content-Length: 1_3\r\n\r\n" + BODY,
    "a length that overflows": POST + b"Content-Length: 18446744073709551629\r\n\r\n" + BODY,
    "a space before the colon": POST + b"Content-Length : 13\r\n\r\n" + BODY,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunks that are not the last coding": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding behind a control character": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding on the next line": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a coding with a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a chunk that ends with a bare line feed": CHUNKED + b"d\n" + BODY + b"\n0\n\n",
    "an extension that ends with one": CHUNKED + b"d;a\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk's size with a prefix": CHUNKED + b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk's size with a space": CHUNKED + b"d \r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk's size that overflows": CHUNKED + b"1000000000000000d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without an end": CHUNKED + b"d\r\n" + BODY + b"XX0\r\n\r\n",
    "a length behind the body": CHUNKED + b"d\r\n" + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a folded line": GET + b"X-A: b\r\n c\r\n\r\n",
    "a folded host": b"GET /opens HTTP/1.1\r\nHost: localhost\r\n .evil.example\r\n\r\n",
    "a line of spaces first": b"GET /opens HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare line feeds": b"GET /opens HTTP/1.1\nHost: localhost\n\n",
    "one bare line feed": b"GET /opens HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n",
    "a bare line feed at the end": GET + b"\n",
    "a bare carriage return": b"GET /opens HTTP/1.1\r\nHost: localhost\rTransfer-Encoding: chunked\r\n\r\n",
    "a zero byte": GET + b"X-A: b\x00c\r\n\r\n",
    "a space in a name": GET + b"X A: b\r\n\r\n",
    "a line without a colon": GET + b"XA\r\n\r\n",
    "a space in the target": b"GET /opens /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tabs for spaces": b"GET\t/opens\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another version": b"GET /opens HTTP/11\r\nHost: localhost\r\n\r\n",
    "the oldest version": b"GET /opens\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target of another host": b"GET http://evil.example/opens HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a WebSocket of another version": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}
"""Each is followed by a request that must not be taken for one."""

ENDLESS = {
    "an extension of a chunk": CHUNKED + b"d;",
    "a field behind the body": CHUNKED + b"d\r\n" + BODY + b"\r\n0\r\nX: ",
    "fields behind the body": CHUNKED + b"d\r\n" + BODY + b"\r\n0\r\n" + b"X: a\r\n" * 100,
}


class Open(Record[int], rules=allow.everyone):
    title: str


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with App(Open, store="sqlite:///:memory:") as app:
        await app.records.create(Open, title="first")
        yield app


async def talk(port: int, *parts: bytes, until: int | None = None, behind: bytes = b"") -> tuple[list[int], bytes]:
    """The statuses of what is answered to some bytes, and all of it: until the server closes, or so many have
    come; they are sent behind a request that has been answered, if one is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    async with asyncio.timeout(20):
        if behind:
            writer.write(behind)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            while until is None or len(_statuses(got)) < until:
                more = await reader.read(65_536)
                if not more:
                    break
                got += more
        except ConnectionError:
            pass
        finally:
            writer.close()
    return _statuses(got), got


def _statuses(got: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_not_plain_is_refused_and_nothing_behind_it_is_heard(what: str, app: App) -> None:
    async with running(app, "ours") as port:
        statuses, _ = await talk(port, REFUSED[what] + SECOND)  # until it closes
        assert statuses == [400]
        assert [each.title for each in await app.records.list(Open)] == ["first"]
        kept_alive, _ = await talk(port, REFUSED[what] + SECOND, behind=GET + b"\r\n")
        assert kept_alive == [400]
        assert [each.title for each in await app.records.list(Open)] == ["first"]


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: localhost\r\nHost: evil.example\r\n", b"Host: localhost, evil.example\r\n"]
)
async def test_a_request_is_for_one_host(hosts: bytes, app: App) -> None:
    for names in (None, ["localhost"]):
        app.hosts = names
        async with running(app, "ours") as port:
            asked = b"GET /opens HTTP/1.1\r\n" + hosts + b"X: y\r\n\r\n"
            assert (await talk(port, asked + asked, until=2))[0] == [400, 400]


async def test_what_is_odd_but_plain_is_taken(app: App) -> None:
    async with running(app, "ours") as port:
        for asked, status in (
            (b"\r\n" + GET + b"\r\n", 200),
            (GET.replace(b"/opens", b"http://LOCALHOST/opens") + b"\r\n", 200),
            (CHUNKED.replace(b": chunked", b": Chunked") + b"d;a=b\r\n" + BODY + b"\r\n0\r\n\r\n", 201),
            (POST + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n" + BODY, 100),
            (CHUNKED + b"".join(b"1;x\r\n%c\r\n" % each for each in BODY) + b"0\r\n\r\n", 201),
        ):  # fmt: skip
            assert (await talk(port, asked, until=1))[0][0] == status, asked


async def test_the_body_of_a_request_that_has_none_is_no_request(app: App) -> None:
    async with running(app, "ours") as port:
        asked = GET + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND
        assert (await talk(port, asked + GET + b"\r\n", until=2))[0] == [200, 200]
        assert len(await app.records.list(Open)) == 1


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"HTTP/2.0, h2c"])
async def test_nobody_changes_the_protocol_below_a_proxy(protocol: bytes, app: App) -> None:
    async with running(app, "ours") as port:
        asked = (
            GET
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "
            + protocol
            + b"\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n"
        )
        statuses, got = await talk(port, asked, until=1)
        assert statuses == [200]
        assert b"101" not in got.split(b"\r\n", 1)[0]


async def test_a_field_behind_the_body_is_no_header(app: App) -> None:
    async with running(app, "ours") as port:
        fields = b"Prefer: return=minimal\r\nX-Forwarded-For: 203.0.113.9\r\nCookie: sid=x\r\nHost: evil.example\r\n"
        statuses, got = await talk(port, CHUNKED + b"d\r\n" + BODY + b"\r\n0\r\n" + fields + b"\r\n", until=1)
        assert statuses == [201]
        assert b"preference-applied" not in got


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_comes_beside_a_body_does_not_go_on_for_ever(what: str, app: App) -> None:
    async with running(app, "ours") as port:
        statuses, _ = await talk(port, ENDLESS[what], *[b"a" * 65_536] * 50)
        assert statuses in ([431], [])  # the answer is lost where the client goes on to write
        assert app.admission.passed["head"] == 1
