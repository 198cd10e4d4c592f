"""TLS before a server that has none built in: the handshake PostgreSQL's clients ask for, and then what they say."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme

_TLS = 80877103


@dataclass(frozen=True)
class Certificates:
    """Who may be trusted, as files: the authority `root`, a client's `cert` and `key`, and what the server has."""

    root: Path
    cert: Path
    key: Path
    server: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path, *, name: str = "localhost") -> "Certificates":
        """Fresh ones: an authority, a server of a name that asks for certificates, and a client."""
        authority = trustme.CA()
        client = authority.issue_cert("me@example.org")
        root, cert, key = folder / "root.crt", folder / "client.crt", folder / "client.key"
        authority.cert_pem.write_to_path(root)
        client.cert_chain_pems[0].write_to_path(cert)
        client.private_key_pem.write_to_path(key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_OPTIONAL
        authority.configure_trust(context)
        authority.issue_cert(name).configure_cert(context)
        return cls(root, cert, key, context)


@dataclass
class Front:
    """Where the front listens, and what it saw: how each client came, and whose certificate it showed."""

    port: int
    seen: list[str]


@asynccontextmanager
async def tls_before(target: int, context: ssl.SSLContext, *, is_strict: bool = False) -> AsyncIterator[Front]:
    """A front before the server on a port of this machine; a strict one lets only clients with a certificate in."""
    front = Front(0, [])
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        theirs: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                first = await reader.readexactly(8)
                seen = "plain"
                if struct.unpack(">ii", first) == (8, _TLS):
                    writer.write(b"S")
                    await writer.start_tls(context)
                    shown = writer.get_extra_info("peercert")
                    seen = dict(shown["subjectAltName"])["email"] if shown else "tls"
                    first = b""
                front.seen.append(seen)
                if is_strict and "@" not in seen:
                    return
                answers, theirs = await asyncio.open_connection("127.0.0.1", target)
                theirs.write(first)
                await asyncio.gather(_carry(reader, theirs), _carry(answers, writer))
        finally:
            tasks.discard(task)
            writer.transport.abort()
            if theirs is not None:
                theirs.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    front.port = int(server.sockets[0].getsockname()[1])
    try:
        yield front
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()
