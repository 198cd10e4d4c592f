"""Noticing what ends the log: another server, a crash, and triggers that somebody has touched.

Positions do not lead on where ids of transactions mean something else, where commits that were told are lost (a
server without synchronous commits, after a crash), and where changes were not logged: another program may switch
triggers off for its own load, drop them, or make a table anew. All of this is looked for when somebody begins to
follow, and once a second from then on.

Several versions of the application may run at once. The one that installed the triggers puts them back; all others
only begin a new log.
"""

import asyncio
import logging

import asyncpg

from crudite.schema import Catalog
from crudite.stores.postgresql import install
from crudite.stores.postgresql.connections import Connection

logger = logging.getLogger("crudite.store")

_SECONDS_BETWEEN_LOOKS = 1.0
_LOOK = f"""SELECT {install.HOME} = home AS is_home, EXISTS (SELECT FROM "_alive") AS is_alive,
{install.MARKS} AS marks, triggers, wanted FROM "_logs" WHERE ended IS NULL"""


class Watch:
    """What one process knows of the log's home and its triggers, for all who follow."""

    def __init__(self) -> None:
        self._due = 0.0
        self._seen = ""

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return asyncio.get_running_loop().time() >= self._due

    async def look(self, connection: Connection, catalog: Catalog, *, at_once: bool = False) -> None:
        """Begins a new log when the old one leads nowhere, and puts back triggers; the connection is in no
        transaction. Looks only when it is due, unless it is to be at once."""
        if not (self.is_due or at_once):
            return
        self._due = asyncio.get_running_loop().time() + _SECONDS_BETWEEN_LOOKS
        found = await connection.fetchrow(_LOOK)
        if not (found["is_home"] and found["is_alive"]):
            await _renew(connection)
        elif found["marks"] != self._seen or found["marks"] != found["triggers"]:
            self._seen = await _verify(connection, catalog)


async def _renew(connection: Connection) -> None:
    """Begins a new log in a new home, or after a crash, unless somebody else has."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute('LOCK TABLE "_logs" IN EXCLUSIVE MODE')
        found = await connection.fetchrow(_LOOK)
        if not found["is_home"]:
            logger.warning("the database is a copy, or on another server now: a new log of changes begins")
            await install.forget_log(connection)
        elif not found["is_alive"]:
            logger.warning("the server has recovered from a crash: a new log of changes begins")
            await install.end_log(connection, "epoch")


async def _verify(connection: Connection, catalog: Catalog) -> str:
    """Puts back triggers that are ours to put back; begins a new log when any were touched. What they look like then,
    nothing when others stand in the way."""
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '100ms'")  # writers wait behind whoever waits for them
            await connection.execute('LOCK TABLE "_logs" IN EXCLUSIVE MODE')
            found = await connection.fetchrow(_LOOK)
            if found["wanted"] == await install.owner(connection, catalog):
                await _mend(connection, catalog)
            marks: str = await connection.fetchval(f"SELECT {install.MARKS}")
            if marks != found["triggers"]:
                logger.warning("another program has touched the triggers of the log: a new log of changes begins")
                await install.end_log(connection, "schema")
            return marks
    except asyncpg.LockNotAvailableError:
        return ""


async def _mend(connection: Connection, catalog: Catalog) -> None:
    try:
        async with connection.transaction():  # a savepoint
            mended = await install.mend_triggers(connection, catalog)
    except asyncpg.InsufficientPrivilegeError as error:
        logger.error("the triggers of the log are not as they were, and may not be put back: %s", error)
    else:
        if mended:
            logger.warning("triggers of the log were put back: %s", ", ".join(mended))
