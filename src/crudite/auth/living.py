"""For how long somebody is who he is: living connections, and the end of what they live on.

A request asks once and is over. A living connection goes on with what it was told, so somebody has to watch it:
its credentials may expire, they may be revoked, and the records that the answer was read from may change (`resting`).
`Living` knows the connections and who each of them is; what a connection does when it hears of it is its interface's
own affair (`Guest`).

                  asks                 becomes
    nobody yet ──────────► (asking) ──────────────► somebody ──► over: expired, refused, gone
                               ▲                       │
                               └─────── doubted ◄──────┘    shows nothing meanwhile
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Any, Protocol, Self, TypeAlias

from crudite.auth.resting import Resting
from crudite.changes import Change
from crudite.clock import Alarm, Clock
from crudite.errors import Unauthorized
from crudite.messages import ANONYMOUS, Actor, Credentials

Identify: TypeAlias = Callable[[Credentials], Awaitable[Actor]]
"""Who shows these credentials. Raises Unauthorized when they are bad, or have expired."""

WARNING = timedelta(seconds=60)
"""How long before its credentials expire a living connection is told so."""
FAREWELL = timedelta(seconds=10)
"""How long a connection whose credentials hold no longer may take for its last words, and for answers under way."""
INVALID = {"www-authenticate": 'Bearer error="invalid_token"'}
"""What is said with the refusal of bad credentials (RFC 6750, section 3.1)."""
_SIDE_BY_SIDE = 32

_log = logging.getLogger("crudite")


class Guest(Protocol):
    """A living connection, as far as it matters who is behind it."""

    @property
    def credentials(self) -> Credentials:
        """What it shows at the moment."""
        ...

    def doubt(self) -> None:
        """What its answer rests on has changed: nothing is shown that was made for the answer, from now on and until
        it is reconsidered."""
        ...

    async def reconsider(self, actor: Actor, credentials: Credentials, question: int) -> None:
        """These credentials were asked about again, and this is whose they are: what is kept live for the
        connection is moved to what this actor may see, or whoever the answer to a later question was. Does nothing if
        it shows others by now. Raises Unauthorized if it was somebody else so far."""
        ...

    async def answered(self) -> None:
        """Returns when what it has asked for so far has been answered: by that it may be somebody else, who has signed
        in."""
        ...

    def warn(self, seconds: int) -> None:
        """Its credentials expire in so many seconds."""
        ...

    def end(self, problem: Unauthorized) -> None:
        """Its credentials do not hold any longer: tells the client why and closes. Nothing of what is kept live goes
        out from now on, not even what waits for the client already, and nothing more becomes live."""
        ...

    def cut(self) -> None:
        """It has been ended for a while (`FAREWELL`), and is not to take any longer."""
        ...


class Stay:
    """One living connection and who it is, from the moment on that this is known.

    `actor` is None before its first request has been answered, and while other credentials are looked at. It lasts
    as long as its block, or until the credentials hold no longer.

    Whoever asks `authenticate` numbers the question (`asks`), before: answers may come in another order than that
    of their questions, and the newest question decides. An answer to a question of before a doubt may be a wrong one.
    """

    __slots__ = ("_alarm", "_answered", "_clock", "_doubted", "_expires", "_heard", "_living", "actor", "guest")

    def __init__(self, guest: Guest, living: "Living", clock: Clock) -> None:
        self.guest = guest
        self.actor: Actor | None = None
        self._living = living
        self._clock = clock
        self._answered = 0  # the newest question of which the answer is known
        self._heard = 0  # questions of after here were asked when that answer was known
        self._doubted = 0  # questions of up to here may have been answered from what is not so any more
        self._expires: datetime | None = None
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        self._living.stays.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._living.leave(self)
        self._silence()

    @property
    def is_over(self) -> bool:
        """Whether nobody is there any more."""
        return self not in self._living.stays

    def is_other(self, actor: Actor) -> bool:
        """Whether that is somebody else than it was so far."""
        return self.actor is not None and self.actor.id != actor.id

    def goes_on(self, actor: Actor) -> bool:
        """Whether that is nobody else than it was so far, for another time; or the first that is heard of it."""
        now = self.actor
        return now is None or (actor.expires != now.expires and replace(actor, expires=now.expires) == now)

    def asks(self) -> int:
        """The number of a question that is about to be asked."""
        return self._living.resting.mark()

    def is_answered_since(self, question: int) -> bool:
        """Whether a later question has been answered already."""
        return self._answered > question

    def holding(self, question: int) -> Callable[[], bool]:
        """Tells, whenever it is called, whether the answer to a question is not doubted."""
        return lambda: self._doubted < question

    def doubt(self) -> None:
        """What was answered so far may be wrong by now. Somebody is to ask again."""
        self._doubted = self._living.resting.mark()
        self.guest.doubt()

    def becomes(self, actor: Actor, question: int) -> Actor:
        """It is this actor from now on, for as long as the credentials hold: so the question was answered. Changes
        nothing if a later one has been answered already. Returns who it is."""
        if self.actor is not None and self.is_answered_since(question):
            return self.actor
        self._answered, self._heard = question, self._living.resting.mark()
        self.actor = actor
        if self.is_over:
            return actor
        if actor.expires != self._expires:
            self._silence()
            self._expires = actor.expires
            if actor.expires is not None:
                self._alarm = self._clock.at(actor.expires - WARNING, self._warn)
        self._living.rests(self, actor, question)
        return actor

    def is_found(self, actor: Actor, question: int) -> Actor:
        """Somebody has asked again who it is: `becomes`. Raises Unauthorized when it was somebody else at that time:
        its credentials do not mean what they meant."""
        was_known = self.actor is not None and self.actor.is_known and self._heard < question
        if was_known and self.is_other(actor):
            raise Unauthorized("The credentials have been revoked.", headers=INVALID)
        return self.becomes(actor, question)

    def end(self, problem: Unauthorized) -> None:
        """Its credentials hold no longer."""
        if not self.is_over:
            self.__exit__()
            self._alarm = self._clock.at(self._clock() + FAREWELL, self.guest.cut)  # until its block ends
            self.guest.end(problem)

    def _warn(self) -> None:
        assert self._expires is not None
        left = (self._expires - self._clock()).total_seconds()
        if left > 0:
            self.guest.warn(ceil(left))
        self._alarm = self._clock.at(self._expires, lambda: self.end(expired()))

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


class Living:
    """The living connections of this process, each for as long as its credentials hold."""

    def __init__(self, identify: Identify, clock: Clock) -> None:
        self.stays: set[Stay] = set()
        self.resting = Resting[Stay]()
        self._identify = identify
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Future[None]] = set()
        self._waited_for: set[asyncio.Task[Any] | None] = set()

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Living connections may wait for what is done in the block, which therefore must not wait for them."""
        task = asyncio.current_task()
        if task in self._waited_for:
            yield
            return
        self._waited_for.add(task)
        try:
            yield
        finally:
            self._waited_for.discard(task)

    def joined(self, guest: Guest) -> Stay:
        """Watches a connection for as long as the block of what is returned lasts. Enter it before anything is asked
        for the connection."""
        return Stay(guest, self, self._clock)

    def leave(self, stay: Stay) -> None:
        """Nobody is there any more."""
        self.stays.discard(stay)
        self.resting.forget(stay)

    def rests(self, stay: Stay, actor: Actor, question: int) -> None:
        """The answer to a question rests on some records, which may have changed since it was asked."""
        if self.resting.rests(stay, actor.rests_on, question):
            self._doubt((stay,))

    def notice(self, changes: Sequence[Change], unknown: Iterable[str]) -> None:
        """Some records have been changed, and of some resources nobody knows which: whoever rests on one of them shows
        nothing more under what he was, and is asked about. To be told before anything else is made of the changes."""
        if self.stays:
            self._doubt(self.resting.touched(changes, unknown))

    def notice_all(self) -> None:
        """Anything may have changed."""
        self._doubt(self.resting.lost())

    async def settled(self) -> None:
        """Returns when all has been asked that was to be asked at the time of the call. What waits for the calls of its
        connection is not waited for: one of them may be waiting here."""
        await asyncio.gather(*self._asking)

    def _doubt(self, stays: Iterable[Stay]) -> None:
        for stay in stays:
            stay.doubt()
            asked = asyncio.get_running_loop().create_future()
            self._asking.add(asked)
            asked.add_done_callback(self._asking.discard)
            task = asyncio.create_task(self._ask(stay, asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(partial(_has_asked, asked))

    async def revoke(self, *, account: str | int | None = None, session: str | None = None) -> None:
        """Asks `authenticate` again about every connection of an account or of a session.

        A connection whose credentials are refused by now, or are nobody's or somebody else's, is closed; one whose
        actor has other rights is moved to those. Returns when that is done. Raises RuntimeError where that would be
        never, since a connection waits for whoever calls it.
        """
        if asyncio.current_task() in self._waited_for:
            raise RuntimeError("auth, and a handler that a live query reads, cannot wait for a revocation")
        concerned = [stay for stay in self.stays if _concerns(stay.actor, account, session)]
        await asyncio.gather(*(self._ask(stay) for stay in concerned))

    async def revoke_all(self) -> None:
        """The same for every connection, some at a time: nobody knows whose rights have changed."""
        left = iter(list(self.stays))

        async def ask_some() -> None:
            for stay in left:
                await self._ask(stay)

        await asyncio.gather(*(ask_some() for _ in range(_SIDE_BY_SIDE)))

    async def _ask(self, stay: Stay, patient: "asyncio.Future[None] | None" = None) -> None:
        """Asks about one. What is refused may be what it is about to exchange: who shows nothing meanwhile may be
        `patient`, and says so to whoever waits."""
        guest, asked = stay.guest, None
        while not stay.is_over and guest.credentials is not asked:  # it may show others while it is asked about
            asked, question = guest.credentials, stay.asks()
            try:
                await guest.reconsider(await self._identify(asked), asked, question)
            except Exception as error:
                if patient is not None:
                    _has_asked(patient)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(guest.answered(), FAREWELL.total_seconds())
                if guest.credentials is not asked:
                    continue
                if stay.actor is not None and not stay.is_answered_since(question):
                    stay.end(_refusal(error))
                    continue
                try:  # it never was anybody, so that it has nothing to lose but what it is asking for; or is by now
                    await guest.reconsider(ANONYMOUS, asked, question)
                except Unauthorized:  # it is who it was: what it showed meanwhile was refused
                    stay.end(_refusal(error))


def _has_asked(waiting: "asyncio.Future[None]", _: object = None) -> None:
    if not waiting.done():
        waiting.set_result(None)


def expired() -> Unauthorized:
    """The problem of credentials that were good once."""
    return Unauthorized("The credentials have expired.", headers=INVALID)


def _concerns(actor: Actor | None, account: str | int | None, session: str | None) -> bool:
    """Whether a revocation is about a connection. Of one that is asking at this moment nobody knows yet."""
    if actor is None:
        return True
    return actor.id == account if account is not None else actor.session == session


def _refusal(error: Exception) -> Unauthorized:
    """Why a connection has to go. Where nobody can say whether it may stay, it has to, too: it can come back."""
    if isinstance(error, Unauthorized):
        return error
    _log.warning("a living connection is closed, since its credentials could not be asked about", exc_info=error)
    return Unauthorized("The credentials could not be checked.")
