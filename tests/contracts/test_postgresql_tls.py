"""PostgreSQL is spoken to in secret, with whom it should be, and shown who asks: by libpq's parameters in the URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crudite.errors import StoreError
from crudite.stores.postgresql.connections import connect, parse
from tests.services.tls import Certificates, Front, tls_before


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Those of a server that is called localhost."""
    return Certificates.make(tmp_path)


@asynccontextmanager
async def front(url: str, certificates: Certificates, *, is_strict: bool = False) -> AsyncIterator[Front]:
    """TLS before the server of a URL."""
    port = int(url.rpartition("/")[0].rpartition(":")[2])
    async with tls_before(port, certificates.server, is_strict=is_strict) as front:
        yield front


async def ask(url: str, front: Front, parameters: str, host: str = "localhost") -> int:
    """An answer of the server behind the front."""
    name = url.rpartition("/")[2]
    connection = await connect(parse(f"postgresql://postgres@{host}:{front.port}/{name}?{parameters}"), {})
    try:
        return int(await connection.fetchval("SELECT 42"))
    finally:
        await connection.close()


async def test_what_is_said_is_secret_unless_the_url_says_otherwise(
    postgresql_database: str, certificates: Certificates
) -> None:
    async with front(postgresql_database, certificates) as server:
        for parameters in ("", "sslmode=require", "sslmode=disable"):
            assert await ask(postgresql_database, server, parameters) == 42
        assert server.seen == ["tls", "tls", "plain"]


async def test_the_server_must_be_whom_the_authority_names(
    postgresql_database: str, certificates: Certificates
) -> None:
    async with front(postgresql_database, certificates) as server:
        root = f"sslrootcert={certificates.root}"
        assert await ask(postgresql_database, server, f"sslmode=verify-full&{root}") == 42
        assert await ask(postgresql_database, server, f"sslmode=verify-ca&{root}", "127.0.0.1") == 42
        with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
            await ask(postgresql_database, server, f"sslmode=verify-full&{root}", "127.0.0.1")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(
    postgresql_database: str, certificates: Certificates, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Certificates.make(tmp_path / "other")
    async with front(postgresql_database, certificates) as server:
        with pytest.raises(StoreError, match=r"(?i)certificate"):
            await ask(postgresql_database, server, f"sslmode={mode}&sslrootcert={other.root}")
        assert server.seen == []


async def test_a_client_shows_its_certificate_to_a_server_that_wants_one(
    postgresql_database: str, certificates: Certificates
) -> None:
    async with front(postgresql_database, certificates, is_strict=True) as server:
        full = f"sslmode=verify-full&sslrootcert={certificates.root}"
        mine = f"sslcert={certificates.cert}&sslkey={certificates.key}"
        assert await ask(postgresql_database, server, f"{full}&{mine}") == 42
        with pytest.raises(StoreError):
            await ask(postgresql_database, server, full)
        assert server.seen == ["me@example.org", "tls"]


async def test_a_server_without_tls_is_refused_when_the_url_wants_it(postgresql_database: str) -> None:
    with pytest.raises(StoreError, match="rejected SSL upgrade"):
        await connect(parse(f"{postgresql_database}?sslmode=require"), {})
