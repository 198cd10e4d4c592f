"""The hub: who listens to which channel in this process, and what goes from process to process.

An event goes over the bus to the other processes and to the members here, to each at most once and of one process in
the order in which it was published: it has a number, and whatever comes behind a later one is left out.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from crudite.buses.base import Bus
from crudite.channels.channels import Address, Channels
from crudite.channels.limits import ChannelFigures, ChannelLimits
from crudite.channels.member import Member
from crudite.channels.presence import Presence
from crudite.channels.telling import Present, Sender, Shown, Speech, Told
from crudite.errors import NotFound, PayloadTooLarge, Problem, TooLarge
from crudite.ids import uuid7
from crudite.live.parcels import Parcel
from crudite.messages import Actor
from crudite.query.plan import Selection
from crudite.resources.answering import plainly
from crudite.resources.declaring.declare import Record
from crudite.resources.keys import plain_key
from crudite.resources.reading import Reading
from crudite.types import Key

_TOPIC = "channels"
_MOST_PROCESSES = 1_000
_MOST_ANNOUNCED = 1_000
_log = logging.getLogger("crudite")


class _Event(msgspec.Struct, frozen=True):
    by: str
    at: int
    channel: str
    event: str
    data: msgspec.Raw
    sender: Sender | None = None
    key: str | int | None = None


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


class Hub:
    """What is told in channels. At most `room` bytes may wait for a client that is told anything more."""

    def __init__(self, channels: Channels, bus: Bus, limits: ChannelLimits, room: int, reading: Reading) -> None:
        self.limits = limits
        self.figures = ChannelFigures()
        self._bus = bus
        self._channels = channels
        self._definitions = channels.definitions
        self._room = room
        self._reading = reading
        self._announced: asyncio.Queue[tuple[str, str, Key]] = asyncio.Queue(_MOST_ANNOUNCED)
        self._name = uuid7()
        self._at = 0
        self._heard: dict[str, int] = {}
        self._members: dict[str, dict[Member, None]] = {}
        self.presence = Presence(self._name, limits, self._show) if channels.have_presence else None

    async def run(self) -> None:
        """Hears the other processes until it is cancelled. The bus is open."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look_up())
            if self.presence is not None:
                tasks.create_task(self.presence.run(self._bus))

    # Who is in.

    def enter(self, member: Member) -> None:
        """A member hears what is told from now on."""
        if not member.is_entered:
            member.is_entered = True
            self._members.setdefault(member.name, {})[member] = None
            self.figures.members += 1
            if (presence := self._shows(member)) is not None:
                presence.listened(member.name)

    def introduce(self, member: Member, actor: Actor, mark: str, state: bytes) -> None:
        """Says who a member that has entered is, which it may not have been before. `mark` is a text of the client's
        own, by which it is the same when it comes back as the same actor; `state` is what it says of itself, as JSON.
        """
        before, name = member.present, name_of(actor, mark)
        member.sender = Sender(name, actor.id)
        member.present = Present(name, actor.id, msgspec.Raw(state))
        presence = self._shows(member)
        if presence is None or before == member.present:
            return
        if before is not None and before.member != name:
            presence.drop(member.name, member.number, before.member, at_once=True)
        presence.put(member.name, member.number, member.present)

    def leave(self, member: Member, *, at_once: bool = True) -> None:
        """It hears nothing any more. The others are told at once, or after a while, in which it may come back."""
        member.close()
        if not member.is_entered:
            return
        member.is_entered = False
        self.figures.members -= 1
        members = self._members[member.name]
        del members[member]
        if not members:
            del self._members[member.name]
        presence = self._shows(member)
        if presence is not None:
            if member.present is not None:
                presence.drop(member.name, member.number, member.present.member, at_once=at_once)
            presence.unlistened(member.name)

    def shown(self, member: Member) -> Shown | None:
        """Who is in a member's channel; None where that is not shown."""
        presence = self._shows(member)
        return presence.shown(member.name, member.present) if presence is not None else None

    # What is told.

    async def emit(self, channel: str | type[Record[Any]], event: str, data: Any) -> None:
        """The server tells something: to all who are in a channel, or, of a record of a resource, to those in the
        channels of the resource who may read it, each as he may; every process reads it for its own. Raises NotFound,
        and TooLarge for more than the bus takes."""
        if not isinstance(channel, str):
            key = plain_key(self._definitions[channel], data.id if isinstance(data, Record) else data)
            for address in self._channels.feeds(channel):
                await self._spread(address.name, event, b"null", key=key)
                self._put_off(address.name, event, key)
            return
        address = self._channels.find(channel)
        if address.declared.channel.is_feed:
            raise NotFound(f"{channel} tells of records: emit the resource, and one of them.")
        await self.publish(address, event, msgspec.json.encode(plainly(data, self._definitions)))

    async def publish(self, address: Address, event: str, data: bytes, sender: Sender | None = None) -> None:
        """Tells all members of a channel, here and in the other processes. Raises TooLarge for more than the bus
        takes."""
        await self._spread(address.name, event, data, sender)
        self._tell(Told(address.name, event, data, sender))

    async def _spread(
        self, channel: str, event: str, data: bytes, sender: Sender | None = None, key: Key | None = None
    ) -> None:
        self._at += 1
        self.figures.published += 1
        try:
            word = _Event(self._name, self._at, channel, event, msgspec.Raw(data), sender, key)
            await self._bus.publish(_TOPIC, _encode(word))
        except PayloadTooLarge as error:
            raise TooLarge(f"This is more than the bus carries: {error}.") from None

    async def _listen(self) -> None:
        async for payload in self._bus.subscribe(_TOPIC):
            try:
                word = _decode(payload) if payload else None
            except msgspec.DecodeError:  # another version's
                continue
            if word is None or word.by == self._name or word.at <= self._heard.get(word.by, -1):
                continue
            self._heard.pop(word.by, None)
            self._heard[word.by] = word.at
            if len(self._heard) > _MOST_PROCESSES:  # of processes that are long gone
                del self._heard[next(iter(self._heard))]
            self.figures.heard += 1
            if word.key is not None:
                self._put_off(word.channel, word.event, word.key)
            else:
                self._tell(Told(word.channel, word.event, bytes(word.data), word.sender))

    def _put_off(self, channel: str, event: str, key: Key) -> None:
        if self._announced.full():
            self.figures.dropped += 1
        elif channel in self._members:
            self._announced.put_nowait((channel, event, key))

    async def _look_up(self) -> None:
        while True:
            channel, event, key = await self._announced.get()
            try:
                await self._show_record(channel, event, key)
            except Exception:  # the store does not answer, or a rule cannot be told: nobody hears of this one
                _log.warning("what was emitted of a record could not be read", exc_info=True)

    async def _show_record(self, channel: str, event: str, key: Key) -> None:
        """Reads the record once for all members who see the same of it."""
        audiences: dict[str, tuple[Selection, list[tuple[Member, Actor]]]] = {}
        for member in list(self._members.get(channel, ())):
            declared = member.address.declared
            assert declared.definition is not None
            try:
                condition = declared.condition("join", member.actor)
            except Problem:
                continue
            selection, same = self._reading.seen(declared.definition, member.actor, condition)
            audiences.setdefault(same, (selection, []))[1].append((member, member.actor))
        for selection, members in audiences.values():
            shown = await self._reading.glance(selection, key)
            if shown is not None:  # whoever is somebody else by now has been shown to somebody else
                those = [member for member, actor in members if member.actor is actor and member.is_entered]
                told = Told(channel, event, shown.encode())
                self._hand_out(those, {speech: speech.event(told) for speech in {m.speech for m in those}})

    def _tell(self, told: Told) -> None:
        members = self._members.get(told.channel)
        if members:
            self._hand_out(members, {speech: speech.event(told) for speech in {m.speech for m in members}})

    def _show(self, channel: str, shown: Shown) -> None:
        members = self._members.get(channel)
        if members:
            self._hand_out(members, {s: s.presence(channel, shown) for s in {m.speech for m in members}})

    def _hand_out(self, members: Iterable[Member], made: Mapping[Speech, bytes]) -> None:
        parcels = {speech: Parcel([message]) for speech, message in made.items()}
        for member in list(members):
            if member.is_hearing:
                is_told = member.hear(parcels[member.speech], self._room)
                self.figures.delivered += is_told
                self.figures.dropped += not is_told

    def _shows(self, member: Member) -> Presence | None:
        return self.presence if member.address.declared.channel.presence else None


def name_of(actor: Actor, mark: str) -> str:
    """What the others know a member by: nobody makes it who does not know the mark, or is another actor."""
    return blake2b(f"{type(actor.id).__name__} {actor.id} {mark}".encode(), digest_size=12).hexdigest()
