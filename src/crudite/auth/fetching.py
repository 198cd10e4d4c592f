"""Asking another server over HTTPS: small answers, from an address that the application names.

What comes is bounded in bytes and in time as a whole, so that a server that is slow or hostile costs no more than
that. No redirect is followed and nothing is decompressed. The connection is encrypted, except to this machine itself.
Certificates are checked by the system's authorities, or those that `SSL_CERT_FILE` names.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Self
from urllib.parse import quote_plus, urlsplit

import h11

_HEADER_BYTES = 16_384
_READ_BYTES = 8_192


class Unreachable(Exception):
    """There was no answer, or none that can be used; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is asked: a URL of `https`, or on this machine of `http`, too."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The address that a URL names. Raises ValueError, saying what is wrong with it."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL such as https://issuer.example/keys, got {url!r}")
        if parts.username is not None or parts.fragment:
            raise ValueError("the URL holds no user, password or fragment")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise ValueError(f"{url} is not encrypted: use https, or a server on this machine")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not target.isascii() or not target.isprintable() or " " in target:
            raise ValueError("what is not ASCII in a URL is escaped with %")
        return cls(parts.scheme, parts.hostname, port, target)

    @property
    def authority(self) -> str:
        """The host and port as a `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes


def basic(name: str, secret: str) -> str:
    """The `Authorization` of a client at a token server (RFC 6749, section 2.3.1)."""
    return f"Basic {b64encode(f'{quote_plus(name)}:{quote_plus(secret)}'.encode()).decode()}"


async def fetch(
    address: Address,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    limit: int,
    seconds: float,
) -> Answer:
    """The answer of a server, of at most `limit` bytes, within so many seconds. Raises Unreachable."""
    asked = {
        "host": address.authority, "connection": "close", "accept": "application/json", "accept-encoding": "identity",
        **({"content-length": str(len(body))} if body else {}), **(headers or {}),
    }  # fmt: skip
    request = h11.Request(method=method, target=address.target, headers=list(asked.items()))
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(address, request, body, limit)
    except TimeoutError as error:
        raise Unreachable(f"{address} has not answered in {seconds:g} seconds") from error
    except (OSError, ssl.SSLError, h11.ProtocolError) as error:
        raise Unreachable(f"{address}: {error or type(error).__name__}") from error


async def _exchange(address: Address, request: h11.Request, body: bytes, limit: int) -> Answer:
    context = _trusted() if address.scheme == "https" else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, limit=_READ_BYTES)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADER_BYTES)
        for event in (request, h11.Data(body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(address, connection, reader, limit)
    finally:
        writer.transport.abort()  # a polite end would wait for a server that may never take it


async def _answer(address: Address, connection: h11.Connection, reader: asyncio.StreamReader, limit: int) -> Answer:
    status, body = 0, bytearray()
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ_BYTES))
            case h11.Response():
                status = event.status_code
                if any(name == b"content-encoding" and value != b"identity" for name, value in event.headers):
                    raise Unreachable(f"{address} compresses what it answers, unasked")
            case h11.Data():
                body += event.data
                if len(body) > limit:
                    raise Unreachable(f"{address} answers with more than {limit} bytes")
            case h11.EndOfMessage():
                return Answer(status, bytes(body))
            case h11.ConnectionClosed() | h11.PAUSED:
                raise Unreachable(f"{address} has ended in the middle of its answer")


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
