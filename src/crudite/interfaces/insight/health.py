"""Whether the application can answer requests now."""

import asyncio

from crudite.errors import StoreError
from crudite.interfaces.base import Host

_PATIENCE = 2.0  # seconds; a store that is slower than that is no help to a request either


async def why_not_ready(host: Host) -> str | None:
    """Why requests had better go elsewhere, as a sentence; None when they need not."""
    if host.is_leaving:
        return "The application is going away."
    try:
        async with asyncio.timeout(_PATIENCE):
            await host.store.read(())
    except (StoreError, TimeoutError):
        return "The store does not answer."
    return None
