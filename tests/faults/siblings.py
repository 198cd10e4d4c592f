"""A sibling on a Unix bus, in a process that tests kill: it says what it hears, and publishes what it is told.

usage: python -m tests.faults.siblings unix:///path
"""

import asyncio
import sys
from contextlib import suppress

from crudite.buses import open_bus


async def main(url: str) -> None:
    """Until standard input ends: each line is published; each payload of the others is a line on standard output."""
    loop = asyncio.get_running_loop()
    async with open_bus(url) as bus:
        heard = bus.subscribe("news")

        async def tell() -> None:
            async for payload in heard:
                sys.stdout.write(payload.decode() + "\n")
                sys.stdout.flush()

        telling = asyncio.create_task(tell())
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await bus.publish("news", line.strip().encode())
        telling.cancel()
        await asyncio.wait([telling])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
