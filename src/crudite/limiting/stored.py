"""Counting in the application's own database: exact for all processes, for a read and a write each.

A row is the time at which a key owes nothing any more. It is written under the condition that it still has the version
that was read, as any record, so that every store can do it; who comes too late reads again. Within a process those that
wait for one key come one after the other, so that only processes meet.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

from crudite.changes import Refused, Unit, Write
from crudite.errors import StoreError
from crudite.limiting.base import CountsAway, Digest
from crudite.limiting.rate import Rate, Verdict
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.tree import EVERYTHING, Path
from crudite.schema import FieldSpec, FieldType, ResourceSchema
from crudite.stores.base import Store

_MOST_TRIES = 50
_PATIENCE = 2.0
_BETWEEN_SWEEPS = 60.0
_AT_ONCE = 500
_SET_BACK = 1.0
"""Seconds by which the clocks of machines may differ, so that nothing is written for it."""

_log = logging.getLogger("crudite")

RATES: Final = ResourceSchema(
    name="_Rate",
    path="_rates",
    table="_rates",
    fields={
        "id": FieldSpec("id", FieldType("text")),
        "free_at": FieldSpec("free_at", FieldType("float"), indexed=True),
        "version": FieldSpec("version", FieldType("integer")),
        "created_at": FieldSpec("created_at", FieldType("datetime")),
        "updated_at": FieldSpec("updated_at", FieldType("datetime")),
    },
    logged=False,
)
"""The table, for the catalog of an application that counts there. No interface knows it, and no log."""

_SELECTION = Selection(RATES, EVERYTHING, Mask(("free_at",)))
_FREE_AT = Path((), RATES.fields["free_at"], (), RATES.fields["free_at"].type)
_KEY = Path((), RATES.key_field, (), RATES.key_field.type)
_OLDEST = Plan(selection=_SELECTION, sort=(SortKey(_FREE_AT), SortKey(_KEY)), limit=_AT_ONCE)


class StoredCounts:
    """Counts in an open store whose catalog has `RATES`. `seconds` is the clock, by default the machine's."""

    def __init__(self, store: Store, seconds: Callable[[], float] | None = None) -> None:
        self._store = store
        self._seconds = seconds or time.time
        self._locks: dict[Digest, asyncio.Lock] = {}
        self._wanted: Counter[Digest] = Counter()
        self._sweeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeping = asyncio.create_task(self._keep_swept())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Sweeps no more."""
        assert self._sweeping is not None
        self._sweeping.cancel()
        await asyncio.wait([self._sweeping])

    async def take(self, digest: Digest, rate: Rate, cost: int) -> Verdict:
        """Takes some of a rate."""
        try:
            async with asyncio.timeout(_PATIENCE), self._alone(digest):
                for _ in range(_MOST_TRIES):
                    verdict = await self._try(digest.hex(), rate, cost)
                    if verdict is not None:
                        return verdict
        except (StoreError, TimeoutError) as error:
            raise CountsAway(f"the database: {error}") from error
        raise CountsAway("the database: too many processes count the same")

    async def sweep(self) -> int:
        """Forgets keys that owe nothing any more, some of them. Returns how many it met."""
        page, now = await self._store.page(_OLDEST), self._seconds()
        old = [
            (key, version)
            for key, version, record in zip(page.keys, page.versions, page.records, strict=True)
            if json.loads(record)["free_at"] <= now
        ]
        for key, version in old:
            with suppress(Refused):  # somebody has taken again
                gone = Write(action="delete", schema=RATES, key=key, expect=version)
                await self._store.write(Unit(writes=(gone,)))
        return len(old)

    async def _try(self, key: str, rate: Rate, cost: int) -> Verdict | None:
        """The verdict; None where somebody else has come between."""
        row, now = await self._store.lookup(_SELECTION, key), self._seconds()
        owed = max(json.loads(row.json)["free_at"] - now, 0.0) if row is not None else 0.0
        debt = min(owed, rate.most)  # nobody owes more, unless the clock has been set back: then he begins anew by it
        after = rate.taken(debt, cost)
        if after is None and owed <= rate.most + _SET_BACK:
            return Verdict.refused(rate, debt, cost)
        write = Write(
            action="create" if row is None else "update", schema=RATES, key=key,
            values={"free_at": now + (debt if after is None else after)}, expect=None if row is None else row.version,
        )  # fmt: skip
        try:
            await self._store.write(Unit(writes=(write,)))
        except Refused:
            return None
        return Verdict.refused(rate, debt, cost) if after is None else Verdict.allowed(rate, after)

    @asynccontextmanager
    async def _alone(self, digest: Digest) -> AsyncIterator[None]:
        """One of this process at a time, for a key."""
        lock = self._locks.setdefault(digest, asyncio.Lock())
        self._wanted[digest] += 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[digest] -= 1
            if not self._wanted[digest]:
                del self._wanted[digest], self._locks[digest]

    async def _keep_swept(self) -> None:
        while True:
            await asyncio.sleep(_BETWEEN_SWEEPS)
            try:
                while await self.sweep() == _AT_ONCE:
                    pass
            except StoreError as error:
                _log.warning("old counts of rates could not be swept: %s", error)


__all__ = ["RATES", "StoredCounts"]
