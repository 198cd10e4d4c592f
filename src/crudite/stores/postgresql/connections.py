"""How connections to the server are opened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from crudite.errors import StoreError
from crudite.query.sql import quote
from crudite.stores.postgresql.errors import DRIVER, translated

Connection: TypeAlias = Any
"""One of asyncpg's connections, its own or a pool's: it has no types of its own."""

READ_SECONDS = 5
_OLDEST = 16
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is; `schema` is the PostgreSQL schema that holds all our tables, None for the first
    one of the search path."""

    url: str
    schema: str | None

    @property
    def shown(self) -> str:
        """The address without its password, for messages and logs."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def options(self, settings: dict[str, str]) -> dict[str, Any]:
        """What asyncpg's connect and create_pool are called with; settings in the URL win over ours."""
        known = {"application_name": "crudite", "jit": "off", **settings}
        if self.schema is not None:
            known["search_path"] = quote(self.schema)
        asked = dict(parse_qsl(urlsplit(self.url).query))
        ours = {name: value for name, value in known.items() if name not in asked}
        return {"dsn": self.url, "timeout": _CONNECT_SECONDS, "server_settings": ours}


def parse(where: str) -> Address:
    """The address in a URL: libpq's form, and `?schema=name` to keep everything in that schema.

    Raises StoreError for one that is not such a URL.
    """
    parts = urlsplit(where)
    if parts.scheme not in ("postgresql", "postgres"):
        raise StoreError("expected a URL such as postgresql://user@host/name")
    asked = parse_qsl(parts.query)
    others = urlencode([(name, value) for name, value in asked if name != "schema"])
    schema = next((value for name, value in asked if name == "schema"), None)
    return Address(urlunsplit(parts._replace(query=others)), schema or None)


# short statements that nobody waits for too long: the deadlines of requests
REQUEST = {
    "statement_timeout": f"{READ_SECONDS}s",
    "lock_timeout": f"{READ_SECONDS - 1}s",  # before the statement is over, to be told as what it is
    "idle_in_transaction_session_timeout": f"{2 * READ_SECONDS}s",
}
# a follower's snapshot is let go by the server when nobody has read in it for so long
FOLLOW = {
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": f"{READ_SECONDS}s",
}
# a migration takes the time that it takes, but does not stand in everybody's way waiting for a lock
MIGRATE = {"lock_timeout": "30s"}


async def create_pool(address: Address, size: int) -> Any:
    """A pool of at most `size` connections for requests. Raises StoreError when there is no server."""
    with translated(address.shown):
        options = address.options(REQUEST)
        return await asyncpg.create_pool(min_size=1, max_size=size, connect=_connect, **options)


async def connect(address: Address, settings: dict[str, str]) -> Connection:
    """A connection of the caller's own. Raises StoreError when the server is too old or cannot be reached."""
    with translated(address.shown):
        connection = await _connect(**address.options(settings))
    version = connection.get_server_version()
    if version.major < _OLDEST:
        await connection.close()
        raise StoreError(f"{address.shown}: expected PostgreSQL {_OLDEST} or newer, and got {version.major}")
    return connection


@asynccontextmanager
async def connected(address: Address, settings: dict[str, str]) -> AsyncIterator[Connection]:
    """A connection for the time of a block; the driver's errors in it are raised as StoreError."""
    connection = await connect(address, settings)
    try:
        with translated(address.shown):
            yield connection
    finally:
        await connection.close()


async def _connect(*where: Any, **options: Any) -> Connection:
    connecting = asyncio.ensure_future(asyncpg.connect(*where, **options))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # cut off while it negotiates encryption, the driver would leave an error behind that nobody takes
        with suppress(*DRIVER):
            (await connecting).terminate()
        raise
