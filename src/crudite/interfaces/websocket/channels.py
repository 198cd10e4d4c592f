"""The channels that one WebSocket connection is in: joining, leaving, publishing, and what becomes of it all when its
rights do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from crudite.auth import Stay
from crudite.channels import Member, Shown, Told
from crudite.channels.channels import Act, Address
from crudite.channels.hub import name_of
from crudite.channels.limits import Allowance
from crudite.errors import Conflict, Fault, Malformed, NotFound, Problem, TooManyRequests, Unauthorized
from crudite.ids import uuid7
from crudite.interfaces.base import Host
from crudite.interfaces.events import encode
from crudite.interfaces.speaking import event_members, plain_json, presence_members, read_event, too_often
from crudite.interfaces.websocket.format import Text, message, result
from crudite.live import Connection, Holds
from crudite.messages import ANONYMOUS, Actor, Response
from crudite.resources.request import Request
from crudite.types import Plain

METHODS: Final = ("join", "leave", "publish")

_MARK = range(16, 101)


class _RpcSpeech:
    """Turns what is told into notifications (`channels.Speech`)."""

    def event(self, told: Told) -> bytes:
        return message(f'{{"jsonrpc":"2.0","method":"event","params":{{{event_members(told)}}}}}')

    def presence(self, channel: str, shown: Shown) -> bytes:
        return message(f'{{"jsonrpc":"2.0","method":"presence","params":{{{presence_members(channel, shown)}}}}}')


_speech = _RpcSpeech()


def channel_problem(channel: str, problem: Problem) -> Text:
    """The notification that a channel has ended."""
    params = f'"channel":{encode(channel)},"problem":{encode(problem.as_json())}'
    return message(f'{{"jsonrpc":"2.0","method":"problem","params":{{{params}}}}}')


class Memberships:
    """The channels of one connection. `base` makes the requests of whoever shows its credentials; `recognise` is told
    who that was found to be; `say` sends a message."""

    __slots__ = (
        "_allowance", "_base", "_connection", "_host", "_introduced", "_members", "_recognise", "_say", "_stay",
    )  # fmt: skip

    def __init__(
        self, host: Host, connection: Connection, stay: Stay, base: Callable[[str, Actor], Request],
        recognise: Callable[[Actor, int, str], Awaitable[None]], say: Callable[[bytes], None],
    ) -> None:  # fmt: skip
        self._host = host
        self._connection = connection
        self._stay = stay
        self._base = base
        self._recognise = recognise
        self._say = say
        self._members: dict[str, Member] = {}
        self._introduced: dict[str, tuple[str, bytes]] = {}  # the mark and the state of each
        self._allowance = Allowance(host.limits.channels, asyncio.get_running_loop().time())

    async def perform(self, method: str, params: Mapping[str, Any], number: Plain, request_id: str) -> None:
        """Does what is asked, and answers. Raises Problem."""
        address = self._host.channels.find(params["channel"])
        if method == "leave":
            self._leave(address.name)
            return self._say(message(result(number, "{}")))
        wait = self._allowance.take(asyncio.get_running_loop().time())
        if wait:
            raise too_often(wait)
        if method == "join":
            return await self._join(address, params, number, request_id)
        await self._publish(address, params, request_id)
        return self._say(message(result(number, "{}")))

    async def move(self, actor: Actor, holds: Holds, request_id: str) -> None:
        """Each channel goes on as this actor may hear it, or ends."""
        moving = [self._move_one(member, actor, holds, request_id) for member in self._members.values()]
        await asyncio.gather(*moving)

    def doubt(self) -> None:
        """Nothing is heard until it is known what may be."""
        for member in self._members.values():
            member.doubt()

    def close(self, *, at_once: bool = False) -> None:
        """The connection is over: the others are told so at once, or unless it comes back."""
        members, self._members = self._members, {}
        for member in members.values():
            self._host.hub.leave(member, at_once=at_once)

    async def _join(self, address: Address, params: Mapping[str, Any], number: Plain, request_id: str) -> None:
        member, limits = self._members.get(address.name), self._host.limits.channels
        if member is None and len(self._members) >= limits.joined:
            raise TooManyRequests(f"A connection is in at most {limits.joined} channels.")
        mark, state = self._introduction(address, params)
        question = self._stay.asks()
        response, actor = await self._ask(address, "join", request_id)
        await self._recognise(actor, question, request_id)
        if member is None:
            member = Member(self._host.engine, address, self._connection.outbox, _speech, self._lost)
        self._members[address.name] = member
        self._introduced[address.name] = mark, state
        try:
            found = await member.settle(response, actor, self._stay.holding(question))
            if self._stay.is_over or self._connection.ended is not None:
                raise Unauthorized("The credentials do not hold any longer.")
            if found is False or self._members.get(address.name) is not member:  # it may be lost as soon as it is in
                raise address.missing()
        except BaseException:
            self._leave(address.name)
            raise
        self._host.hub.enter(member)
        if found:  # else its rights are doubted again: it shows itself, and is shown others, when they are known
            self._host.hub.introduce(member, actor, mark, state)
        shown = self._host.hub.shown(member) if found else None
        told = presence_members(address.name, shown) if shown is not None else f'"channel":{encode(address.name)}'
        # At once: nothing of what follows from it may come before.
        self._say(message(result(number, f'{{{told},"member":{encode(name_of(actor, mark))}}}')))

    def _introduction(self, address: Address, params: Mapping[str, Any]) -> tuple[str, bytes]:
        kept = self._introduced.get(address.name) if address.name in self._members else None
        mark = params.get("as", kept[0] if kept else uuid7() + uuid7())
        if not isinstance(mark, str) or len(mark) not in _MARK:
            detail = f"as takes a text of {_MARK.start} to {_MARK.stop - 1} characters that nobody can guess."
            raise Malformed(faults=[Fault("bad_value", detail, pointer="/as")])
        if "state" not in params:
            return mark, kept[1] if kept else b"null"
        if not address.declared.channel.presence:
            detail = f"{address.declared.channel.pattern} does not show who is there, so it takes no state."
            raise Malformed(faults=[Fault("unknown_parameter", detail, pointer="/state")])
        return mark, plain_json(params["state"], self._host.limits.channels.state, "state")

    async def _publish(self, address: Address, params: Mapping[str, Any], request_id: str) -> None:
        event, data = read_event(params["event"], params["data"], self._host.limits.channels)
        question = self._stay.asks()
        response, _ = await self._ask(address, "publish", request_id)
        member = self._members.get(address.name)
        if member is None:
            raise Conflict("Join a channel before you publish there.")
        if not await member.may_publish(response, self._stay.holding(question)):
            raise address.missing() if address.key is not None else NotFound("There is no such channel any more.")
        await self._host.hub.publish(address, event, data, member.sender)

    async def _move_one(self, member: Member, actor: Actor, holds: Holds, request_id: str) -> None:
        address, has_heard = member.address, member.is_hearing
        try:
            response, _ = await self._ask(address, "join", request_id, actor, is_free=True)
            found = await member.settle(response, actor, holds)
            if found is False:
                raise address.missing()
        except Problem as problem:
            if self._members.get(address.name) is member:
                self._end(member, problem)
            return
        if found and member.is_entered:
            self._host.hub.introduce(member, actor, *self._introduced[address.name])
            shown = self._host.hub.shown(member)
            if shown is not None and not has_heard:
                self._say(_speech.presence(address.name, shown))

    async def _ask(
        self, address: Address, act: Act, request_id: str, actor: Actor = ANONYMOUS, *, is_free: bool = False
    ) -> tuple[Response, Actor]:
        """What the rules say of whoever shows the credentials, or of an actor; and who that is."""
        request = self._base(request_id, actor)
        request.action, request.name, request.is_free = "call", address.declared.channel.pattern, is_free
        request.args = {"channel": address.name, "act": act}
        with self._host.identify.living.waited_for():
            return await self._host.pipeline(request), request.actor

    def _lost(self, member: Member) -> None:
        """The rule by which it was there holds no longer. One who is only about to be let in is told by the answer."""
        if self._members.get(member.name) is member:
            if member.is_entered:
                self._end(member, member.address.missing())
            else:
                self._leave(member.name)

    def _end(self, member: Member, problem: Problem) -> None:
        self._leave(member.name)
        self._say(channel_problem(member.name, problem))

    def _leave(self, name: str) -> None:
        member = self._members.pop(name, None)
        self._introduced.pop(name, None)
        if member is not None:
            self._host.hub.leave(member)
