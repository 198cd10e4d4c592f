"""Who is who: what each token is worth now, who of the staff is, and of whom that is not known everywhere yet."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from crudite import Actor, Credentials, Unauthorized
from tests.model.oracle import NOON, Who
from tests.model.turns import turns

REFUSED = "wrong"
"""A token that is nobody's."""
FLEETING = "~"
"""How a token ends that expires. It is a session of its own, of the same account as the one without the mark."""

_HOUR = timedelta(hours=1)


class Roles:
    """What `auth` says, at every process the same, and what clients may still believe.

    Each token is a session of the account whose name it begins with. While a change is `unsure`, since it was made and
    not everybody is known to have heard of it, whoever lives on such an account may be judged by the rights of before
    or of now.
    """

    def __init__(self, now: Callable[[], datetime], random: Random) -> None:
        self._now = now
        self._random = random
        self._staff = {"staff"}
        self._away: set[str] = set()
        self._unsure: set[str | None] = set()
        self._doubtful: set[str | None] = set()
        self._late: list[int] = []

    def identify(self, token: str | None) -> Who:
        """Who shows a token."""
        return Who(_name(token), token in self._staff)

    def possible(self, *shown: Who) -> Iterator[Who]:
        """Who these may be taken for."""
        for who in shown:
            yield who
            if who.name in self._unsure:
                yield Who(who.name, not who.is_staff)

    def is_unsure(self, token: str | None) -> bool:
        """Whether the rights of whoever shows the token may be known at some places and not at others."""
        return _name(token) in self._unsure

    def is_doubtful(self, token: str | None) -> bool:
        """Whether the token may be refused."""
        return token in self._doubtful

    def is_away(self, token: str | None) -> bool:
        """Whether the token is refused now."""
        return token in self._away

    @property
    def are_sure(self) -> bool:
        """Whether everybody is known to have heard of everything."""
        return not self._unsure and not self._doubtful

    def promote(self, session: str) -> None:
        """One session has the rights of the staff from now on; or no longer."""
        self._staff ^= {session}
        self._unsure.add(_name(session))

    def promote_all(self, account: str) -> None:
        """The same for all sessions of an account."""
        sessions = {account, account + FLEETING}
        self._staff = self._staff - sessions if account in self._staff else self._staff | sessions
        self._unsure.add(account)

    def send_away(self, session: str) -> None:
        """The token is refused, until everybody has heard of it."""
        self._away.add(session)
        self._doubtful.add(session)

    def dawdle(self, turns: int) -> None:
        """The next answer is so many turns on its way, unless it is about the staff."""
        self._late.append(turns)

    def hold(self) -> None:
        """Everybody has heard of everything. Who was sent away may come back."""
        self._late.clear()
        self._unsure.clear()
        self._doubtful.clear()
        self._away.clear()

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        """What the application asks. The answer may be a while on its way, and out of date when it arrives."""
        await turns(self._random.choice((0, 0, 0, 1, 2)))
        token = credentials.token
        if token == REFUSED or token in self._away:
            raise Unauthorized("The token is not valid.")
        who, roles = self.identify(token), frozenset({"staff"})
        actor: Actor | None = None
        if token is not None and who.name is not None:
            expires = NOON + ((self._now() - NOON) // _HOUR + 1) * _HOUR if token.endswith(FLEETING) else None
            actor = Actor(id=who.name, roles=roles if who.is_staff else frozenset(), expires=expires, session=token)
        late = self._late.pop() if self._late and token != "staff" else 0
        await turns(late or self._random.choice((0, 0, 0, 1, 5, 30)))
        return actor


def _name(token: str | None) -> str | None:
    return token.removesuffix(FLEETING) if token is not None else None
