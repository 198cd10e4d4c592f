"""How connections to the server are opened, and what they are set to."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg

from crudite.errors import StoreError
from crudite.postgresql import address as addresses
from crudite.postgresql import connecting
from crudite.postgresql.address import Address, duration
from crudite.postgresql.connecting import Connection
from crudite.query.sql import quote
from crudite.stores.postgresql.dialect import literal
from crudite.stores.postgresql.errors import translated

logger = logging.getLogger("crudite.store")

READ_SECONDS = 5
_OLDEST = 16
_SECONDS_TO_ANSWER = 5.0
_SECONDS_BETWEEN_TRIES = 0.1

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
MIGRATE = {"statement_timeout": "0", "lock_timeout": "30s"}
_DEADLINES = ("statement_timeout", "transaction_timeout")

# An application has some ten statements for each resource (by key, a page and the next one, create, update, delete,
# what each of them needs), so this keeps those of forty resources prepared; one takes the server some 15 KB. What goes
# when there are more is what was not used for longest, and nothing goes by age: the statements of a night are those of
# the next morning.
PREPARED = 400
_LONGEST_PREPARED = 64 * 1024
_BEGIN = re.compile(r"\s*(?:ROLLBACK\s*;\s*)?(?:BEGIN|START)\b[^;]*", re.IGNORECASE)


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A connection of a pool: the loop's seconds at which it has served its time, and since when it is idle."""

    __slots__ = ("idle_since", "retires")

    retires: float
    idle_since: float

    @property
    def is_beginning(self) -> bool:
        """Whether the driver believes in a transaction that somebody broke off at its beginning."""
        return self._top_xact is not None


class LentSession(Session):
    """A connection through a pooler, which lends a server for one transaction and then takes it away.

    What is set outside a transaction may be set on a server that comes back to somebody else, so every transaction
    begins with what a session of our own would begin with, and a statement outside of one gets one of its own.
    """

    __slots__ = ("_settings",)

    def begin_with(self, settings: Mapping[str, str]) -> None:
        """Says which settings hold in every transaction from now on."""
        self._settings = "; ".join(f"SET LOCAL {name} = {_value(name, value)}" for name, value in settings.items())

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Executes as the driver does."""
        if args:
            return await self._alone(super().execute, query, *args, **options)
        if found := _BEGIN.match(query):
            query = f"{found[0]}; {self._settings};{query[found.end() :]}"
        elif not self.is_in_transaction():
            query = f"{self._settings}; {query}"
        return await super().execute(query, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """Executes as the driver does."""
        return await self._alone(super().executemany, command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Fetches as the driver does."""
        return await self._alone(super().fetch, query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Fetches as the driver does."""
        return await self._alone(super().fetchrow, query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Fetches as the driver does."""
        return await self._alone(super().fetchval, query, *args, **options)

    async def _alone(self, call: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """A call in the transaction that there is, or in one of its own."""
        if self.is_in_transaction():
            return await call(*args, **options)
        async with self.transaction():
            return await call(*args, **options)


def _value(name: str, value: str) -> str:
    if name != "search_path":
        return literal(value)
    return ", ".join(quote(one.strip().strip('"')) for one in value.split(","))


def parse(where: str) -> Address:
    """The address in a store's URL. Raises StoreError."""
    try:
        return addresses.parse(where)
    except addresses.WrongAddress as error:
        raise StoreError(str(error)) from error


async def connect(address: Address, settings: Mapping[str, str]) -> Connection:
    """A connection of the caller's own. Raises StoreError when the server is too old or cannot be reached."""
    session = address.session(settings)
    # the server ends what takes too long; if it does not even say so, it cannot be reached any more
    limit = duration(session.get("statement_timeout", "0"))
    patience = None if limit is None else limit + _SECONDS_TO_ANSWER
    with translated(address.shown):
        if address.pooler is None:
            connection = await connecting.connect(
                address, session, address.reach, command_timeout=patience, connection_class=Session,
                statement_cache_size=PREPARED, max_cached_statement_lifetime=0,
                max_cacheable_statement_size=_LONGEST_PREPARED,
            )  # fmt: skip
        else:  # poolers refuse settings that they cannot keep apart, and a prepared statement stays on its server
            name = {"application_name": session.pop("application_name")}
            connection = await connecting.connect(
                address, name, address.reach, command_timeout=patience, connection_class=LentSession,
                statement_cache_size=0,
            )  # fmt: skip
            connection.begin_with(session)
    version = connection.get_server_version()
    if version.major < _OLDEST:
        await connection.close()
        raise StoreError(f"{address.shown}: expected PostgreSQL {_OLDEST} or newer, and got {version.major}")
    return connection


@asynccontextmanager
async def migrating(address: Address) -> AsyncIterator[Connection]:
    """A connection for the time of a block, on which statements take their time whatever the URL says; the driver's
    errors in it are raised as StoreError. A server that is starting up, or ending, is waited for."""
    settings = {name: value for name, value in address.settings.items() if name.lower() not in _DEADLINES}
    connection = await _connect_patiently(replace(address, settings=settings), MIGRATE)
    try:
        with translated(address.shown):
            yield connection
    finally:
        await connection.close()


async def _connect_patiently(address: Address, settings: Mapping[str, str]) -> Connection:
    """A connection as `connect` makes it, to a server that is given as long as the making of one may take, to be ready.
    Nobody listens on a refused port: that is raised at once."""
    loop = asyncio.get_running_loop()
    until, is_told = loop.time() + address.reach, False
    while True:
        try:
            return await connect(address, settings)
        except StoreError as error:
            if not isinstance(error.__cause__, asyncpg.CannotConnectNowError) or loop.time() > until:
                raise
            if not is_told:
                logger.warning("%s: waiting for it, for at most %g seconds", error, address.reach)
                is_told = True
        await asyncio.sleep(_SECONDS_BETWEEN_TRIES)


__all__ = [
    "FOLLOW", "MIGRATE", "READ_SECONDS", "REQUEST", "Address", "Connection", "LentSession", "Session", "connect",
    "migrating", "parse",
]  # fmt: skip
