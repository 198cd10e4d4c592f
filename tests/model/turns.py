"""Time as the event loop has it: turns, in which everything that can go on does."""

import asyncio


async def turns(count: int) -> None:
    """So many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
