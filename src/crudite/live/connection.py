"""A connection: one client's subscriptions and the one outbox that serves them all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from crudite.changes import Mark
from crudite.errors import Conflict, TooManyRequests
from crudite.live.frames import Format, Subscribed
from crudite.live.groups import Member
from crudite.live.joining import Resume
from crudite.live.limits import LiveLimits
from crudite.live.outbox import EndReason, Outbox
from crudite.messages import LiveQuery
from crudite.types import Plain

Announce = Callable[[Subscribed], bytes]
Holds = Callable[[], bool]
"""Whether what a query was made for, the rights of whoever asks, is still so."""


def always() -> bool:
    """It holds, whatever happens."""
    return True


class Hub(Protocol):
    """What a connection needs of its engine."""

    @property
    def limits(self) -> LiveLimits: ...

    async def join(
        self,
        connection: "Connection",
        name: str,
        query: LiveQuery,
        resume: Resume | None,
        announce: Announce | None,
        holds: Holds,
    ) -> Subscribed: ...

    async def move(self, member: Member, query: LiveQuery, announce: Announce | None, holds: Holds) -> None: ...

    def suspend(self, connection: "Connection") -> None: ...

    def keeping_up(self, connection: "Connection") -> AbstractContextManager[None]: ...

    def leave(self, member: Member) -> None: ...

    def covers(self, connection: "Connection", mark: Mark) -> bool: ...

    def await_marks(self, connection: "Connection") -> None: ...

    def forget(self, connection: "Connection", reason: EndReason) -> None: ...

    def close_slow(self, connection: "Connection") -> None: ...


class Connection:
    """One client. All its subscriptions go through the same positions, and share its cursor.

    `ended` tells, when `messages` has come to its end, why: `closed` by its owner, `slow`, or `away`. While it
    `is_winding_up` nothing is live on it any more, and nothing becomes so.
    """

    def __init__(self, hub: Hub, format: Format) -> None:
        self.format = format
        self.outbox = Outbox(hub.limits.outbox, self._overrun)
        self.members: dict[str, Member] = {}
        self.is_winding_up = False
        self.pinged = 0.0  # when it last got a sign of life, by the loop's clock
        self._hub = hub
        self._expected: tuple[tuple[Mark, Plain], ...] = ()  # no lists: ten thousand connections wait for nothing
        self._coming: tuple[str, ...] = ()  # the names of subscriptions whose group is being made

    @property
    def ended(self) -> EndReason | None:
        """Why nothing more comes; None while something may."""
        return self.outbox.ended

    async def subscribe(
        self,
        name: str,
        query: LiveQuery,
        *,
        cursor: str | None = None,
        key: str | None = None,
        announce: Announce | None = None,
        holds: Holds = always,
    ) -> Subscribed:
        """Keeps a query live under a name of the client's choice.

        With `cursor` and `key` (from an earlier subscription to the same query) it goes on from there if it
        can; if not, a reset and a new snapshot follow. `announce` makes the message that answers the client:
        it is put into the outbox before anything else of this subscription. Where the query does not hold any more
        by the time that it could be shown, the subscription is suspended from its beginning.

        Raises Conflict when the name is taken or the query's records are in no log, TooManyRequests beyond
        the limit of subscriptions, Unavailable when the connection ends meanwhile.
        """
        if name in self.members or name in self._coming:
            raise Conflict(f"This connection has a subscription {name!r} already.")
        if len(self.members) + len(self._coming) >= self._hub.limits.subscriptions:
            raise TooManyRequests(f"A connection has at most {self._hub.limits.subscriptions} subscriptions.")
        resume = Resume(cursor, key) if cursor is not None else None
        self._coming += (name,)
        try:
            return await self._hub.join(self, name, query, resume, announce, holds)
        finally:
            self._coming = tuple(one for one in self._coming if one != name)

    async def move(
        self, name: str, query: LiveQuery, *, announce: Announce | None = None, holds: Holds = always
    ) -> None:
        """Goes on with another query of the same resource under the same name, as when the actor has other rights.

        The message that `announce` makes is followed by what leads from the one set to the other: one frame for
        the subscription alone and a commit; or a reset and a snapshot, where it is too much or one of the queries is
        run again. A subscription that was suspended shows that query from then on, where it holds. An unknown name is
        no error.
        """
        member = self.members.get(name)
        if member is not None:
            await self._hub.move(member, query, announce, holds)

    def suspend(self) -> None:
        """What is shown may be what the client may not see any more: takes it away, by resets, and shows nothing more
        until each subscription is moved to what it is to show. One that is behind with what it shows is closed."""
        self._hub.suspend(self)

    def keeping_up(self) -> AbstractContextManager[None]:
        """For work that must not wait for the client: within it, it is told every step or, if it takes too little, the
        connection is closed as slow; so is one that waits to be caught up already. It may resume."""
        return self._hub.keeping_up(self)

    def speak(self, format: Format) -> None:
        """Speaks in another format from now on, all its subscriptions included."""
        self.format = format
        for member in self.members.values():
            member.speak(format)

    def unsubscribe(self, name: str) -> None:
        """Ends a subscription; what is in the outbox already still comes. An unknown name is no error."""
        member = self.members.get(name)
        if member is not None:
            self._hub.leave(member)

    def send(self, *messages: bytes) -> None:
        """Puts messages of the interface's own into the outbox, in order with all others."""
        self.outbox.send(*messages)

    def expect(self, mark: Mark, call: Plain) -> None:
        """Acknowledges a call of this connection once the frames sent to it cover the call's commit."""
        if self._hub.covers(self, mark):
            self.outbox.send(self.format.acks([call]))
            return
        self._expected += ((mark, call),)
        self._hub.await_marks(self)
        if len(self._expected) > self._hub.limits.expected:
            self._hub.forget(self, "slow")

    @property
    def awaited(self) -> tuple[Mark, ...]:
        """The commits of which nothing has been acknowledged yet."""
        return tuple(mark for mark, _ in self._expected)

    def acknowledge(self, covers: Callable[[Mark], bool]) -> bool:
        """Sends the acks that are due; returns whether more are awaited."""
        due = [call for mark, call in self._expected if covers(mark)]
        if due:
            self._expected = tuple((mark, call) for mark, call in self._expected if not covers(mark))
            self.outbox.send(self.format.acks(due))
        return bool(self._expected)

    def messages(self) -> AsyncIterator[Sequence[bytes]]:
        """Whatever is due, in order: every time all that has gathered, to be written in one go.

        It ends when the connection has ended. Only one reader at a time.
        """
        return self.outbox.messages()

    def _overrun(self) -> None:
        self._hub.close_slow(self)

    def wind_up(self) -> None:
        """Ends all subscriptions, and those under way. What has been sent in this turn of the loop still goes to a
        client that takes it at once; then all is given up that waits."""
        self.is_winding_up = True
        for name in list(self.members):
            self.unsubscribe(name)
        asyncio.get_running_loop().call_soon(self.close)

    def close(self) -> None:
        """The client is gone: gives up all subscriptions and what is due."""
        self._hub.forget(self, "closed")
