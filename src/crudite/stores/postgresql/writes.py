"""Committing units: plain creates that wait go together, every other unit has a transaction of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from crudite.changes import Commit, Unit
from crudite.errors import StoreLocked
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.errors import CONSTRAINTS, PASSING, Unbegun, beginning, refusal, store_error
from crudite.stores.postgresql.groups import Apart, Groups, Limits, Settle
from crudite.stores.postgresql.inserts import Insert, as_insert, as_inserts, insert_all, insert_whole
from crudite.stores.postgresql.pool import Pool
from crudite.stores.postgresql.statements import note_commit, perform
from crudite.stores.settling import Outcome

P = ParamSpec("P")
T = TypeVar("T")

_MOST_TOGETHER = 256
_MOST_ABREAST = 2
_MOST_TRIES = 5
_FIRST_PAUSE = 0.02


class Writes:
    """Commits units, in as many groups at a time as the limits say. `committed` is called after each transaction."""

    def __init__(self, pool: Pool, committed: Callable[[], None], limits: Limits) -> None:
        self._pool = pool
        self._committed = committed
        self.groups = Groups(self._run, pool.shown, limits, most=_MOST_TOGETHER, abreast=_MOST_ABREAST)

    def submit(self, unit: Unit, settle: Settle) -> None:
        """Commits a unit, and calls `settle` with the commit, or with Refused or a StoreError, having changed
        nothing."""
        insert = as_insert(unit)
        if insert is None:
            self.groups.put_apart(unit, settle)
        else:
            self.groups.put(insert.shape, insert, settle)

    async def commit(self, unit: Unit) -> Commit:
        """Commits a unit in a transaction of its own. Raises Refused, having changed nothing."""
        if inserts := as_inserts(unit):
            with suppress(Apart):
                return await self._again(_commit, unit, inserts)
        return await self._again(_commit, unit)

    async def _run(self, work: Sequence[Any], is_apart: bool) -> Sequence[Outcome]:
        if is_apart and len(work) == 1:
            one = work[0]
            return [await self.commit(one.unit if isinstance(one, Insert) else one)]
        return await self._again(insert_all, work, self._pool.shown)

    async def _again(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **options: P.kwargs
    ) -> T:
        """Work that commits a transaction, done again when it says that another one may succeed."""
        pause = _FIRST_PAUSE
        for left in reversed(range(_MOST_TRIES)):
            try:
                async with self._pool.use() as connection:
                    done = await work(connection, *args, **options)
            except Unbegun as error:
                if not left:
                    raise store_error(error.lost, self._pool.shown) from error.lost
            except _Passing:  # those who stopped each other do not come back at the same moment
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
                pause *= 2
            else:
                self._committed()
                return done
        raise StoreLocked(f"{self._pool.shown}: other transactions stand in the way again and again")


class _Passing(Exception):
    """The transaction was lost to another one; a new one may succeed."""


async def _commit(connection: Connection, unit: Unit, inserts: Sequence[Insert] = ()) -> Commit:
    """Commits a unit, as inserts that go together if it is given as such. Raises Refused, Apart, _Passing and Unbegun,
    having changed nothing."""
    try:
        async with AsyncExitStack() as stack:
            with beginning():
                await stack.enter_async_context(connection.transaction())
            if inserts:
                stored = await insert_whole(connection, inserts)
            else:
                stored = [await perform(connection, index, write) for index, write in enumerate(unit.writes)]
            mark = await note_commit(connection, unit)
        return Commit(mark, tuple(stored))
    except PASSING as error:
        raise _Passing from error
    except CONSTRAINTS as error:  # one that another program has deferred until the COMMIT
        raise refusal(error, 0, unit.writes[0]) from error
