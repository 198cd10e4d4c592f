"""Other programs that write to the PostgreSQL of a soak: with savepoints, in vain, in two phases, and idle for long.

usage: python -m benchmarks.strangers URL

It writes until standard input ends. A line `rest` is answered, as soon as nothing of it is under way but the
transaction that is idle, by two numbers: how often the shared records have been counted up for sure, and at most.
Then it rests until the next line.
"""

import asyncio
import random
import sys
from uuid import UUID, uuid4

import asyncpg

WRITERS = 24
SHARED = 20
IDLE_SECONDS = 30.0
OWNER = 1_000_000  # of their records: nobody else's number
PAUSE = 0.2  # seconds between two transactions of one writer
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_INSERT = "INSERT INTO items (title, notes, owner) VALUES ($1, '', $2)"


class Strangers:
    """The writers of one process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: list[UUID] = []
        self._sure = self._most = 0
        self._may_write = asyncio.Event()
        self._under_way = 0
        self._rests = asyncio.Condition()

    async def run(self) -> None:
        """Until standard input ends."""
        loop = asyncio.get_running_loop()
        connection = await asyncpg.connect(self._url)
        for _ in range(SHARED):
            self._keys.append(key := uuid4())
            await connection.execute(
                "INSERT INTO items (id, title, notes, priority, owner) VALUES ($1, 'shared', '', 0, $2)", key, OWNER
            )
        await connection.close()
        self._may_write.set()
        tasks = [asyncio.create_task(self._again(number)) for number in range(WRITERS)]
        tasks.append(asyncio.create_task(self._idle()))
        while await loop.run_in_executor(None, sys.stdin.readline):
            self._may_write.clear()
            async with self._rests:
                await self._rests.wait_for(lambda: not self._under_way)
            sys.stdout.write(f"{self._sure} {self._most}\n")
            sys.stdout.flush()
            if not await loop.run_in_executor(None, sys.stdin.readline):
                break
            self._may_write.set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _again(self, number: int) -> None:
        """Transactions, one after the other, on connections that may be lost."""
        chance = random.Random(number)
        while True:
            try:
                connection = await asyncpg.connect(self._url)
                await self._tidy(connection, number)
                while True:
                    await self._may_write.wait()
                    self._under_way += 1
                    try:
                        await self._write(connection, number, chance)
                    finally:
                        self._under_way -= 1
                        async with self._rests:
                            self._rests.notify_all()
                    await asyncio.sleep(PAUSE)
            except _LOST:
                await asyncio.sleep(PAUSE)

    async def _tidy(self, connection: "asyncpg.Connection", number: int) -> None:
        """What was prepared when a connection was lost holds its locks until somebody decides."""
        for (name,) in await connection.fetch("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE $1", f"{number} %"):
            await connection.execute(f"ROLLBACK PREPARED '{name}'")

    async def _write(self, connection: "asyncpg.Connection", number: int, chance: random.Random) -> None:
        first, second = sorted(chance.sample(self._keys, 2))
        step, how = "UPDATE items SET priority = priority + 1 WHERE id = $1", chance.choice(("one", "two", "none"))
        await connection.execute("BEGIN")
        await connection.execute(step, first)
        await connection.execute("SAVEPOINT a")
        await connection.execute(_INSERT, "not kept", OWNER)
        await connection.execute("ROLLBACK TO a; SAVEPOINT b")
        await connection.execute(step, second)
        await connection.execute("RELEASE b")
        if how == "none":
            await connection.execute("ROLLBACK")
            return
        self._most += 2
        if how == "two":
            name = f"{number} {uuid4().hex}"
            await connection.execute(f"PREPARE TRANSACTION '{name}'")
            await connection.execute(f"COMMIT PREPARED '{name}'")
        else:
            await connection.execute("COMMIT")
        self._sure += 2

    async def _idle(self) -> None:
        """A transaction that has written and does nothing for long, again and again: nobody may wait for it."""
        while True:
            try:
                connection = await asyncpg.connect(self._url)
                async with connection.transaction():
                    await connection.execute("DELETE FROM items WHERE owner = $1 AND title = 'idle'", OWNER)
                    await connection.execute(_INSERT, "idle", OWNER)
                    await asyncio.sleep(IDLE_SECONDS)
                await connection.close()
            except _LOST:
                await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(Strangers(sys.argv[1]).run())
