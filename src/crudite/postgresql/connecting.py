"""Opening one of the driver's connections, in a way that may be cut off at any moment."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

import asyncpg

from crudite.postgresql.address import Address

Connection: TypeAlias = Any
"""One of asyncpg's connections: it has no types of its own."""


async def connect(address: Address, settings: Mapping[str, str], within: float, **options: Any) -> Connection:
    """A connection of the caller's own, with PostgreSQL's settings and the driver's options, within so many seconds.

    Raises what the driver raises.
    """
    connecting = asyncio.ensure_future(
        asyncpg.connect(address.url, server_settings=dict(settings), timeout=within, **options)
    )
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # cut off while it negotiates encryption, the driver would leave an error behind that nobody takes; who is
        # cancelled once more does not wait for the end of it
        connecting.add_done_callback(_let_go)
        await asyncio.wait([connecting])
        raise


def _let_go(connecting: "asyncio.Future[Connection]") -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


__all__ = ["Connection", "connect"]
