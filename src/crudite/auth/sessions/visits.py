"""Visitors: sessions of those who have no account, or have not said yet which.

One begins with the first value that is written for a visitor, and not with his first request: whoever only reads, as
crawlers do, costs no row. It is shown in the same cookie as any other session, and opens nothing but its values.
"""

from collections.abc import Mapping

from crudite.auth.sessions.home import SessionHome
from crudite.auth.sessions.keeping import Keeping, Part, Visit, merged, seen
from crudite.auth.sessions.settings import VISITOR_PREFIX, Settings
from crudite.auth.sessions.throttle import Throttle
from crudite.auth.sessions.tokens import Shown, new_token, read_token
from crudite.errors import Unauthorized
from crudite.messages import Actor, Credentials, SignIn
from crudite.resources.request import Request
from crudite.types import Plain


class Visits:
    """The sessions of an application's visitors."""

    def __init__(self, home: SessionHome, keeper: Keeping[Visit], settings: Settings, throttle: Throttle) -> None:
        self.keeper = keeper
        self._home = home
        self._settings = settings
        self._throttle = throttle

    async def shown(self, credentials: Credentials) -> Visit | None:
        """Whose cookie it is; None for that of nobody, or not any more. A token beside it says who asks."""
        if credentials.token is not None:
            return None
        return await self._opened(credentials.cookies.get(self._cookie))

    async def of(self, request: Request) -> Visit | None:
        """The visitor's session that a request is made in, or has begun; None when there is none."""
        if request.actor.is_known:
            return None
        if request.signs_in is not None:
            return await self._opened(request.signs_in.token)
        return await self.shown(request.credentials)

    async def remember(
        self, request: Request, part: Part, patch: Mapping[str, Plain], most: int
    ) -> Mapping[str, Plain]:
        """Keeps values in the session of a visitor, and begins one when there is none; all of them. Raises TooLarge,
        TooManyRequests, and Unauthorized where there is none and he cannot be given one."""
        visit = await self.of(request)
        held = await self.keeper.remember(visit.id, part, patch, most) if visit is not None else None
        if held is not None:
            return held
        values = merged({}, patch, most)
        if values:
            await self._begin(request, part, values)
        return values

    async def end(self, visit: Visit) -> None:
        """Ends a session. Who shows its cookie is nobody from now on, wherever he is connected."""
        await self.keeper.end(visit.id)

    @property
    def _cookie(self) -> str:
        return self._settings.cookie_in(self._home.mode)

    async def _begin(self, request: Request, part: Part, values: Mapping[str, Plain]) -> None:
        if request.is_live or request.signs_in is not None:
            raise Unauthorized("There is no session, and none can be begun here.")
        await self._throttle.visitor(request.credentials.address)
        token, now, settings = new_token(VISITOR_PREFIX), self._home.clock(), self._settings
        visit = Visit(
            id=token.id, digest=token.digest, created_at=now, seen_at=now,
            expires_at=now + min(settings.idle, settings.lasts), ends_at=now + settings.lasts,
            client=values if part == "client" else {}, values=values if part == "values" else {},
        )  # fmt: skip
        await self.keeper.begin(visit)
        request.signs_in = SignIn(self._cookie, token.text, visit.ends_at)
        request.actor = Actor(session=visit.id)

    async def _opened(self, text: str | None) -> Visit | None:
        shown: Shown | None = read_token(VISITOR_PREFIX, text) if text is not None else None
        visit = await self.keeper.find(shown.id) if shown is not None else None
        now = self._home.clock()
        if shown is None or visit is None or not shown.opens(visit.digest) or visit.expires_at <= now:
            return None
        return await seen(self.keeper, visit, now, self._settings)
