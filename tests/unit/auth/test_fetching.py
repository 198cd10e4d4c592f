"""Asking another server: what is asked, and what a bad one can cost."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from crudite.auth import fetching
from crudite.auth.fetching import Address, Answer, Unreachable, basic, fetch
from tests.services.issuer import issuing, response
from tests.services.tls import Certificates

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk, **options: object) -> AsyncIterator[int]:
    """A server that talks so with everybody; its port."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await listening.wait_closed()


def saying(said: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    return talk


async def answer(port: int, *, limit: int = 1000, seconds: float = 10.0, host: str = "127.0.0.1") -> Answer:
    return await fetch(Address.of(f"http://{host}:{port}/keys"), limit=limit, seconds=seconds)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://issuer.example/keys", "is not encrypted"),
        ("http://127.0.0.1.example/keys", "is not encrypted"),
        ("http://localhost.example/keys", "is not encrypted"),
        ("http://10.0.0.1/keys", "is not encrypted"),
        ("ftp://issuer.example/keys", "expected a URL"),
        ("file:///etc/passwd", "expected a URL"),
        ("issuer.example/keys", "expected a URL"),
        ("https:///keys", "expected a URL"),
        ("https://user:secret@issuer.example/keys", "holds no user"),
        ("https://issuer.example/keys#a", "holds no user"),
        ("https://issuer.example/a b", "escaped"),
        ("https://issuer.example/\u00e9", "escaped"),
        ("https://issuer.example/a\r\nx-header: b", "escaped"),
        ("https://issuer.example/a\x00", "escaped"),
    ],
)
def test_only_an_encrypted_address_is_asked_or_this_machine(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Address.of(url)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://issuer.example", "issuer.example", "/"),
        ("https://issuer.example:443/keys?v=2", "issuer.example", "/keys?v=2"),
        ("https://issuer.example:8443/keys", "issuer.example:8443", "/keys"),
        ("http://127.0.0.1:8000/keys", "127.0.0.1:8000", "/keys"),
        ("http://[::1]:8000/keys", "[::1]:8000", "/keys"),
        ("http://localhost/keys", "localhost", "/keys"),
    ],
)
def test_an_address_is_what_its_url_says(url: str, authority: str, target: str) -> None:
    address = Address.of(url)
    assert (address.authority, address.target) == (authority, target)


async def test_the_answer_is_what_the_server_says() -> None:
    async with server(saying(response(418, b"tea"))) as port:
        assert await answer(port) == Answer(418, b"tea")
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nt\r\n2\r\nea\r\n0\r\n\r\n"
    async with server(saying(chunked)) as port:
        assert await answer(port) == Answer(200, b"tea")
    async with server(saying(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\ntea")) as port:
        assert await answer(port) == Answer(200, b"tea")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with issuing() as issuer:
        issuer.says = response(302, b"", f"location: {issuer.url}/elsewhere")
        assert (await answer(issuer.port)).status == 302
        assert issuer.asked == {"/keys": 1}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (response(200, b"x" * 1001), "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n", "more than 1000"),
        (response(200, gzip.compress(b"x" * 100_000), "content-encoding: gzip"), "compresses"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", "127.0.0.1"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "127.0.0.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "127.0.0.1"),
        (b"HTTP/1.1 101 Other\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "127.0.0.1"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "127.0.0.1"),
        (b"", "127.0.0.1"),
    ],
)
async def test_an_answer_that_is_too_large_or_broken_is_none(said: bytes, complaint: str) -> None:
    async with server(saying(said)) as port:
        with pytest.raises(Unreachable, match=complaint):
            await answer(port)


async def test_a_server_that_is_not_there_or_says_nothing_is_given_up() -> None:
    async with server(saying(b"")) as port:
        pass
    with pytest.raises(Unreachable):
        await answer(port)
    async with issuing() as issuer:
        issuer.answers.clear()
        with pytest.raises(Unreachable, match=r"has not answered in 0\.05 seconds"):
            await answer(issuer.port, seconds=0.05)


async def test_a_server_that_drips_is_given_up_as_well() -> None:
    dripped = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dripped
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            dripped += 1
            await asyncio.sleep(0.005)  # the attack itself: never long enough for a limit on single reads

    async with server(drip) as port:
        with pytest.raises(Unreachable, match="has not answered"):
            await answer(port, seconds=0.2)
    assert dripped > 1


async def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = Certificates.make(tmp_path)
    async with server(saying(response(200, b"tea")), ssl=trusted.server) as port:
        fetching._trusted.cache_clear()
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await fetch(Address.of(f"https://localhost:{port}/"), limit=1000, seconds=10)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted.root))
        fetching._trusted.cache_clear()
        found = await fetch(Address.of(f"https://localhost:{port}/"), limit=1000, seconds=10)
        assert found == Answer(200, b"tea")
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await fetch(Address.of(f"https://127.0.0.1:{port}/"), limit=1000, seconds=10)
    fetching._trusted.cache_clear()


def test_a_client_says_who_it_is_with_what_is_special_escaped() -> None:
    assert basic("board", "s:e c%") == "Basic Ym9hcmQ6cyUzQWUrYyUyNQ=="  # board:s%3Ae+c%25
