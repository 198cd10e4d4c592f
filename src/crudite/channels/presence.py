"""Presence: who is in the channels, over all processes, and what the members here are told of it.

Somebody who was cut off is taken to be there for a while (`grace`): whoever comes back meanwhile, here or at another
process, has never been away. What changes is told at once after a pause, else gathered (`_PAUSE`), as the difference to
what was told last.
"""

import asyncio
from collections.abc import Callable, Iterable

from crudite.buses.base import Bus
from crudite.channels.limits import ChannelLimits
from crudite.channels.roll import Roll, difference
from crudite.channels.siblings import Change, SiblingsPresence
from crudite.channels.telling import Present, Shown

_TOPIC = "presence"
_PAUSE = 0.1


class Presence:
    """Who is where. `tell` hands what is to be shown of a channel to its members here."""

    def __init__(self, name: str, limits: ChannelLimits, tell: Callable[[str, Shown], None]) -> None:
        self._name = name
        self._limits = limits
        self._tell = tell
        self._roll = Roll()
        self._stirs = asyncio.Event()
        self._siblings = SiblingsPresence(name, self._roll, limits, self._touch, self._stirs.set)
        self._told: dict[str, dict[str, Present]] = {}  # of the channels that somebody here listens to
        self._audience: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last: dict[str, float] = {}

    async def run(self, bus: Bus) -> None:
        """Tells the other processes and hears them, until it is cancelled. The bus is open."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(bus))
                tasks.create_task(self._listen(bus))
                tasks.create_task(self._beat())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            await bus.publish(_TOPIC, self._siblings.farewell())

    # Who listens here.

    def listened(self, channel: str) -> None:
        """One more here is told who is in a channel."""
        self._audience[channel] = self._audience.get(channel, 0) + 1
        self._told.setdefault(channel, self._roll.members(channel))

    def unlistened(self, channel: str) -> None:
        """One less is."""
        self._audience[channel] -= 1
        if not self._audience[channel]:
            del self._audience[channel], self._told[channel]
            self._last.pop(channel, None)
            if (timer := self._timers.pop(channel, None)) is not None:
                timer.cancel()

    def shown(self, channel: str, own: Present | None) -> Shown:
        """Who is in a channel, as its members here have been told: what they are told next is the difference to that.
        Whoever asks is in it, whether he has been told so or not."""
        members = {**self._told[channel], **({own.member: own} if own is not None else {})}
        return Shown(len(members), list(members.values()) if len(members) <= self._limits.members else None)

    # Who is here.

    def put(self, channel: str, number: int, present: Present) -> None:
        """Somebody is here through a connection, or says something else of himself."""
        self._roll.put(channel, (self._name, number), present)
        self._siblings.changed(Change(channel, number, present.member, present))
        self._touch((channel,))

    def drop(self, channel: str, number: int, member: str, *, at_once: bool) -> None:
        """He is not, from now on or after a while."""
        if not at_once:
            asyncio.get_running_loop().call_later(self._limits.grace, self._drop, channel, number, member)
            return
        self._drop(channel, number, member)

    def _drop(self, channel: str, number: int, member: str) -> None:
        self._roll.drop(channel, (self._name, number), member)
        self._siblings.changed(Change(channel, number, member))
        self._touch((channel,))

    # Telling the members here.

    def _touch(self, channels: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for channel in channels:
            if channel in self._told and channel not in self._timers:
                due = max(self._last.get(channel, 0.0) + _PAUSE, now)
                self._timers[channel] = asyncio.get_running_loop().call_at(due, self._tell_of, channel)

    def _tell_of(self, channel: str) -> None:
        del self._timers[channel]
        self._last[channel] = asyncio.get_running_loop().time()
        before, after = self._told[channel], self._roll.members(channel)
        self._told[channel] = after
        joined, changed, left = difference(before, after)
        if not (joined or changed or left):
            return
        most = self._limits.members
        if len(after) > most:
            if len(after) != len(before):
                self._tell(channel, Shown(len(after)))
        elif len(before) > most:
            self._tell(channel, Shown(len(after), list(after.values())))
        else:
            self._tell(channel, Shown(len(after), None, joined, changed, left))

    # Telling the other processes.

    async def _send(self, bus: Bus) -> None:
        while True:
            await self._stirs.wait()
            self._stirs.clear()
            for message in self._siblings.take_due():
                await bus.publish(_TOPIC, message)

    async def _listen(self, bus: Bus) -> None:
        async for payload in bus.subscribe(_TOPIC):
            self._siblings.hear(payload, asyncio.get_running_loop().time())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.beat)
            self._siblings.beat(asyncio.get_running_loop().time())
