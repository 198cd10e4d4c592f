"""Committing units: plain creates that wait go together, every other unit has a transaction of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from crudite.changes import Commit, Unit
from crudite.errors import StoreLocked
from crudite.stores.postgresql.connections import Connection
from crudite.stores.postgresql.errors import CONSTRAINTS, PASSING, refusal
from crudite.stores.postgresql.groups import Groups, Outcome, Settle
from crudite.stores.postgresql.inserts import Insert, as_insert, insert_all
from crudite.stores.postgresql.pool import Pool
from crudite.stores.postgresql.statements import note_commit, perform

_MOST_TOGETHER = 256
_MOST_ABREAST = 2
_MOST_TRIES = 5


class Writes:
    """Commits units, in as many groups at a time as there are `workers`; `patience` is in seconds. `committed` is
    called after each transaction."""

    def __init__(self, pool: Pool, committed: Callable[[], None], workers: int, patience: float) -> None:
        self._pool = pool
        self._committed = committed
        self._groups = Groups(
            self._run, pool.shown, most=_MOST_TOGETHER, workers=workers, abreast=_MOST_ABREAST, patience=patience
        )
        self.close = self._groups.close

    def submit(self, unit: Unit, settle: Settle) -> None:
        """Commits a unit, and calls `settle` with the commit, or with Refused or a StoreError, having changed
        nothing."""
        insert = as_insert(unit)
        if insert is None:
            self._groups.put_apart(unit, settle)
        else:
            self._groups.put(insert.shape, insert, settle)

    async def commit(self, unit: Unit) -> Commit:
        """Commits a unit in a transaction of its own. Raises Refused, having changed nothing."""
        for _ in range(_MOST_TRIES):
            try:
                async with self._pool.use() as connection:
                    commit = await _commit(connection, unit)
            except _Passing:
                continue
            self._committed()
            return commit
        raise StoreLocked(f"{self._pool.shown}: other transactions stand in the way again and again")

    async def _run(self, work: Sequence[Any], is_apart: bool) -> Sequence[Outcome]:
        if is_apart and len(work) == 1:
            one = work[0]
            return [await self.commit(one.unit if isinstance(one, Insert) else one)]
        async with self._pool.use() as connection:
            outcomes = await insert_all(connection, work, self._pool.shown)
        self._committed()
        return outcomes


class _Passing(Exception):
    """The transaction was lost to another one; a new one may succeed."""


async def _commit(connection: Connection, unit: Unit) -> Commit:
    """Commits a unit. Raises Refused and _Passing, having changed nothing."""
    try:
        async with connection.transaction():
            stored = [await perform(connection, index, write) for index, write in enumerate(unit.writes)]
            mark = await note_commit(connection, unit.actor, unit.request)
        return Commit(mark, tuple(stored))
    except PASSING as error:
        raise _Passing from error
    except CONSTRAINTS as error:  # one that another program has deferred until the COMMIT
        raise refusal(error, 0, unit.writes[0]) from error
