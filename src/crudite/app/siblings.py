"""Siblings: what the processes of one application tell each other.

That something was committed goes over the bus: losing it costs time and never data, since every process looks into the
log by itself, too. That rights have changed must not be lost, and stands in the log between the changes: it is heard
behind what was committed before, and by everybody who follows.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from crudite.auth import Living
from crudite.buses.base import Bus
from crudite.ids import uuid7
from crudite.stores.base import Batch, Signal, Store

_CHANGES = "changes"
_REVOKED = "revoked"
_log = logging.getLogger("crudite")


class _Revocation(msgspec.Struct, omit_defaults=True):
    """Whose rights have changed, and the process that has said so."""

    by: str
    account: str | int | None = None
    session: str | None = None


class Siblings:
    """One process among its siblings, itself included. Commits are told at most every `pause` seconds."""

    def __init__(self, store: Store, bus: Bus, living: Living, pause: float) -> None:
        self._store = store
        self._bus = bus
        self._living = living
        self._pause = pause
        self._name = uuid7()
        self._has_news = asyncio.Event()
        self._revoking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tells and listens until it is cancelled. The bus is open."""
        self._store.on_commit(self._has_news.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell())
                tasks.create_task(self._listen())
        finally:
            for task in self._revoking:
                task.cancel()
            await asyncio.gather(*self._revoking, return_exceptions=True)

    async def revoke(self, *, account: str | int | None = None, session: str | None = None) -> None:
        """Has everybody judge anew who lives on an account or a session (`Living.revoke`). Returns when this process
        has done so, and the others are sure to hear of it."""
        await self._living.revoke(account=account, session=session)
        word = _Revocation(self._name, account, session)
        await self._store.signal(Signal(_REVOKED, msgspec.json.encode(word).decode()))

    def hear(self, signals: Sequence[Signal] | None) -> None:
        """Takes in what the log tells; None when something may have been missed."""
        if signals is None:
            return self._revoke(self._living.revoke_all())
        for signal in signals:
            if signal.topic == _REVOKED:
                try:
                    word = msgspec.json.decode(signal.payload, type=_Revocation)
                except (msgspec.DecodeError, TypeError):  # another version's, or another program's: whoever it is about
                    self._revoke(self._living.revoke_all())
                    continue
                if word.by != self._name:
                    self._revoke(self._living.revoke(account=word.account, session=word.session))

    def foresee(self, batch: Batch) -> None:
        """Takes in what has changed, before anything is told of it: whose rights rest on that shows no more by them."""
        if batch.reset is not None:
            self._living.notice_all()
        else:
            self._living.notice(batch.changes, batch.bulk)

    async def settled(self) -> None:
        """Returns when all has been asked about that was heard before the call."""
        await asyncio.gather(*self._revoking, return_exceptions=True)
        await self._living.settled()

    async def _tell(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            await self._bus.publish(_CHANGES)
            await asyncio.sleep(self._pause)

    async def _listen(self) -> None:
        async for _ in self._bus.subscribe(_CHANGES):
            self._store.look()

    def _revoke(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._revoking.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._revoking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("what another process has revoked could not be asked about", exc_info=error)
