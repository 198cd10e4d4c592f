"""Opaque tokens: the server that made them is asked what they mean (RFC 7662)."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, TypeAlias
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import msgspec

from crudite.auth.claims import ClaimPath, Expected, MakeActor, Reading, names, refuse
from crudite.auth.fetching import Address, Unreachable, basic, fetch
from crudite.auth.identification import Home
from crudite.clock import Clock
from crudite.errors import Unavailable
from crudite.messages import Actor, Credentials
from crudite.resources.declaring.declare import Record

LONGEST_TOKEN = 16_384
"""The most characters of a token that is asked about."""
MOST_ANSWERS = 10_000
"""How many answers are remembered: as many of tokens that are good, and as many of those that are not."""
MOST_AT_ONCE = 32
"""How many tokens are asked about at the same time."""
MOST_WAITING = 1_000
"""How many more may wait for that."""
SECONDS = 5.0
"""How long one answer may take."""
LARGEST = 64 * 1024
"""The most bytes of an answer."""

_Answers: TypeAlias = "OrderedDict[bytes, tuple[datetime, dict[str, Any] | None]]"
"""By the hash of a token: until when an answer counts, and the claims; None: it is not active."""

_log = logging.getLogger("crudite")


class Introspection:
    """Tells who shows a token by asking the server that made it: `App(…, auth=Introspection(url, client_id="board",
    client_secret=…))`.

    - `remembers`: how long an answer counts. A token that is taken back lives on for as long as that.
    - `lives`: how long a stream or a WebSocket may live on one answer; then it must show its token again. It ends
      sooner when the token does.
    - `issuer`, `audience`: who must have made the token, and whom it must be meant for, where the server says so.
    - `roles`, `actor`, `leeway`: as for `Jwt`; without `actor`, `sub` is who it is.

    Any token may be one of these, so this way comes last of several. While the server is away, tokens that nobody
    remembers are 503: they are neither refused nor let in. Raises ValueError for a URL that is not encrypted.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        client_secret: str,
        issuer: str | Collection[str] | None = None,
        audience: str | Collection[str] | None = None,
        remembers: timedelta = timedelta(seconds=30),
        lives: timedelta = timedelta(hours=1),
        leeway: timedelta = timedelta(seconds=10),
        roles: ClaimPath = "roles",
        actor: MakeActor | None = None,
    ) -> None:
        self._address = Address.of(url)
        self._authorization = basic(client_id, client_secret)
        self._expected = Expected(names(issuer), names(audience) if audience is not None else None, leeway=leeway)
        self._reading = Reading(actor, roles)
        self._remembers = remembers
        self._lives = lives
        self._good: _Answers = OrderedDict()
        self._bad: _Answers = OrderedDict()  # apart, so that invented tokens do not crowd the others out
        self._asked: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._waiting = 0
        self._clock: Callable[[], datetime] = Clock()

    @property
    def resources(self) -> Sequence[type[Record[Any]]]:
        """It keeps nothing."""
        return ()

    def join(self, home: Home) -> None:
        """Takes the application's clock."""
        self._clock = home.clock

    async def __call__(self, credentials: Credentials) -> Actor | None:
        """Who shows a token. Raises Unauthorized for one that is not active, Unavailable when nobody knows."""
        token = credentials.token
        if token is None:
            return None
        if len(token) > LONGEST_TOKEN:
            refuse("it is too long")
        claims = await self._known(token)
        if claims is None:
            refuse("it is not active")
        now = self._clock()
        ends = self._expected.check(claims, now)
        return await self._reading.actor_of(claims, min(now + self._lives, ends or now + self._lives))

    def forget(self) -> None:
        """Remembers no answer any longer: before `App.revoke`, when the server is known to have taken tokens back."""
        self._good.clear()
        self._bad.clear()

    async def _known(self, token: str) -> dict[str, Any] | None:
        """What the server says of a token, now or a moment ago. Each is asked about once at a time."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        remembered = self._remembered(digest)
        if remembered is not None:
            return remembered[1]
        if self._waiting >= MOST_AT_ONCE + MOST_WAITING:
            raise _away()
        self._waiting += 1
        try:
            async with asyncio.timeout(SECONDS), self._asked.setdefault(digest, asyncio.Lock()):
                remembered = self._remembered(digest)
                if remembered is not None:
                    return remembered[1]
                async with self._turns:
                    claims = await self._ask(token)
        except TimeoutError:
            raise _away() from None
        finally:
            self._waiting -= 1
        self._remember(digest, claims)
        return claims

    async def _ask(self, token: str) -> dict[str, Any] | None:
        headers = {"authorization": self._authorization, "content-type": "application/x-www-form-urlencoded"}
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        try:
            answer = await fetch(
                self._address, method="POST", headers=headers, body=body, limit=LARGEST, seconds=SECONDS
            )
            if answer.status != 200:
                raise Unreachable(f"{self._address} answers {answer.status}")
            claims = msgspec.json.decode(answer.body, type=dict[str, Any])
            if not isinstance(claims.get("active"), bool):
                raise Unreachable(f"{self._address} does not say whether a token is active")
        except (Unreachable, ValueError, RecursionError) as error:
            _log.warning("a token cannot be asked about: %s", error)
            raise _away() from error
        return claims if claims["active"] else None

    def _remembered(self, digest: bytes) -> tuple[datetime, dict[str, Any] | None] | None:
        found = self._good.get(digest) or self._bad.get(digest)
        if found is None:
            return None
        left = found[0] - self._clock()
        return found if timedelta() < left <= self._remembers else None  # a clock may have been set back

    def _remember(self, digest: bytes, claims: dict[str, Any] | None) -> None:
        answers, others = (self._bad, self._good) if claims is None else (self._good, self._bad)
        others.pop(digest, None)
        answers[digest] = (self._clock() + self._remembers, claims)
        answers.move_to_end(digest)
        while len(answers) > MOST_ANSWERS:
            answers.popitem(last=False)


def _away() -> Unavailable:
    return Unavailable("Tokens cannot be checked now.", headers={"retry-after": "5"})
