"""A process that writes until it is killed and tells what is acknowledged: run by a test."""

import asyncio
import sys

from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import BOOK, LIBRARY, create, unit


async def main(path: str) -> None:
    """Writes pairs of books as fast as it can, sixteen at a time."""
    store = SqliteStore(path)
    await store.open(LIBRARY)

    async def writer(name: str) -> None:
        for number in range(1_000_000):
            title = f"{name}-{number}"
            await store.write(unit(create(BOOK, title=title), create(BOOK, title=f"{title}'"), request=title))
            print(title, flush=True)  # noqa: T201

    await asyncio.gather(*[writer(f"w{n}") for n in range(16)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
