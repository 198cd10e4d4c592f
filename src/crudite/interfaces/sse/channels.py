"""One channel as an event stream: what is told there, and who is there, for one who only listens."""

import asyncio
from collections.abc import Callable, Sequence

from crudite.channels import Member, Shown, Told
from crudite.channels.channels import Address
from crudite.errors import Problem, Unauthorized
from crudite.ids import new_request_id
from crudite.interfaces.base import Host
from crudite.interfaces.speaking import event_members, presence_members
from crudite.interfaces.sse.format import Complete, Spelling, proof_of
from crudite.interfaces.sse.guest import StreamGuest
from crudite.limiting import Verdict
from crudite.live import Connection, Holds
from crudite.messages import Actor, Credentials, Response
from crudite.resources.request import Request


class _StreamSpeech:
    """Turns what is told into events (`channels.Speech`)."""

    def event(self, told: Told) -> bytes:
        return f"event: event\ndata: {{{event_members(told)}}}\n\n".encode()

    def presence(self, channel: str, shown: Shown) -> bytes:
        return f"event: presence\ndata: {{{presence_members(channel, shown)}}}\n\n".encode()


_speech = _StreamSpeech()


class ChannelStream(StreamGuest):
    """One who listens to a channel, and what becomes of that when its credentials do (`auth.Guest`). `make` makes the
    request for it. `stay` is there before anything is asked for."""

    verdicts: Sequence[Verdict] = ()
    is_over = False

    def __init__(
        self, host: Host, credentials: Credentials, address: Callable[[], Address], make: Callable[[str], Request]
    ) -> None:
        self.credentials = credentials
        self._host = host
        self._address = address
        self._make = make
        self._member: Member | None = None
        self._connection: Connection | None = None
        self._order = asyncio.Lock()  # rights do not change while it opens

    async def open(self, request_id: str, resume: str | None) -> Connection:
        """Joins. Nothing is resumed: what was told meanwhile is kept nowhere. Raises Problem."""
        async with self._order:
            address, question = self._address(), self.stay.asks()
            request = self._make(request_id)
            response = await self._ask(request, address)
            self.verdicts = request.verdicts
            self.stay.becomes(request.actor, question)
            format = Complete(Spelling(proof_of({}), False))
            self._connection = format.connection = connection = self._host.engine.connect(format)
            member = self._member = Member(self._host.engine, address, connection.outbox, _speech, self._lost)
            try:
                await self._settle(member, response, request.actor, self.stay.holding(question))
                if self._problem is not None:
                    raise self._problem
            except BaseException:
                self.leave()
                connection.close()
                raise
            connection.send(f"retry: {self._host.engine.retry_in()}\n\n".encode())
            self._host.hub.enter(member)
            self._show(member)
            return connection

    async def _settle(self, member: Member, response: Response, actor: Actor, holds: Holds) -> None:
        if await member.settle(response, actor, holds) is False:
            raise member.address.missing()

    async def _ask(self, request: Request, address: Address) -> Response:
        request.action, request.name = "call", address.declared.channel.pattern
        request.args = {"channel": address.name, "act": "join"}
        with self._host.identify.living.waited_for():
            return await self._host.pipeline(request)

    def _show(self, member: Member) -> None:
        shown = self._host.hub.shown(member) if member.is_hearing else None
        if shown is not None and self._connection is not None:
            self._connection.send(_speech.presence(member.name, shown))

    def leave(self) -> None:
        """It listens no longer."""
        if self._member is not None:
            self._host.hub.leave(self._member)

    def _lost(self, member: Member) -> None:
        self._end(member.address.missing())

    def _end(self, problem: Problem) -> None:
        """Tells why, behind all that it may still hear."""
        self._problem = problem
        self.leave()
        if self._connection is not None:
            self._connection.outbox.end("closed")

    # what happens to its credentials

    def doubt(self) -> None:
        """Hears nothing until it is known what it may hear."""
        if self._member is not None:
            self._member.doubt()

    async def reconsider(self, actor: Actor, credentials: Credentials, question: int) -> None:
        """Goes on listening as this actor, or ends."""
        async with self._order:
            member = self._member
            if member is None or not member.is_entered:
                return None
            was_hearing, holds = member.is_hearing, self.stay.holding(question)
            request = self._make(new_request_id())
            request.actor, request.is_free = self.stay.is_found(actor, question), True
            try:
                response = await self._ask(request, member.address)
                await self._settle(member, response, request.actor, holds)
            except Problem as problem:
                return self._end(problem)
            if not was_hearing and member.is_hearing:
                self._show(member)

    def end(self, problem: Unauthorized) -> None:
        """Tells the client why, and ends the stream. What waits is given up."""
        self._problem = problem
        self.leave()
        if self._connection is not None:
            self._connection.close()
