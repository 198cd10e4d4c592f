"""A server that issues tokens, in process and over a socket: it publishes its keys, and says whether tokens are active.

It can change its keys, be away, hang, and answer with anything.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwk, jws


def signed(key: Any, claims: Any, *, alg: str = "RS256", **header: Any) -> str:
    """A token with these claims. Its header names the key, unless it says otherwise."""
    given = {"alg": alg, **({"kid": key.kid} if key.kid else {}), **header}
    body = unsigned(given, claims)[:-1]
    return f"{body}.{_text(jws.JWSRegistry.algorithms[alg].sign(body.encode(), key))}"


def unsigned(header: Any, claims: Any, signature: bytes = b"") -> str:
    """A token put together by hand."""
    return ".".join((_text(json.dumps(header).encode()), _text(json.dumps(claims).encode()), _text(signature)))


def _text(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def rsa(kid: str | None = None, bits: int = 2048) -> Any:
    """A fresh key of the kind RSA."""
    return jwk.RSAKey.generate_key(bits, {"kid": kid} if kid else None)


def response(status: int, body: bytes, *headers: str) -> bytes:
    """An answer of HTTP as bytes."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Issuer:
    """The server. `asked` counts how often each path was asked for, `forms` holds what was posted."""

    def __init__(self, *keys: Any) -> None:
        self.keys: list[Any] = list(keys) or [rsa("one")]
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, int] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.authorizations: list[str | None] = []
        self.says: bytes | None = None
        """What it answers in place of all else."""
        self.answers = asyncio.Event()
        """Not set: it takes what is asked and says nothing."""
        self.answers.set()
        self.port = 0
        self._was_asked = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, **claims: Any) -> str:
        """A token signed with its newest key."""
        return signed(self.keys[-1], {"iss": self.url, **claims})

    async def rises(self) -> None:
        """Listens, on the port that it had."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def falls(self) -> None:
        """Is there no longer."""
        if self._server is not None:
            self._server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    async def is_asked(self, path: str, times: int) -> None:
        """Returns when it has been asked for a path so often."""
        async with asyncio.timeout(10), self._was_asked:
            await self._was_asked.wait_for(lambda: self.asked.get(path, 0) >= times)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # streams would report it
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                path = first.split()[1]
                async with self._was_asked:
                    self.asked[path] = self.asked.get(path, 0) + 1
                    self._was_asked.notify_all()
                await self.answers.wait()
                writer.write(self.says if self.says is not None else self._answer(path, headers, body))
                await writer.drain()
        finally:
            self._talks.discard(task)
            writer.close()

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if path == "/jwks":
            return response(200, json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode())
        if path == "/introspect":
            form = parse_qs(body.decode())
            self.forms.append(form)
            self.authorizations.append(headers.get("authorization"))
            found = self.tokens.get(form["token"][0])
            return response(200, json.dumps({"active": found is not None, **(found or {})}).encode())
        return response(404, b"")


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """An issuer for as long as the block lasts."""
    issuer = Issuer()
    await issuer.rises()
    try:
        yield issuer
    finally:
        issuer.answers.set()
        await issuer.falls()
