"""What pages of other origins may read (CORS, WHATWG Fetch, section 3.3): what browsers are told of answers.

Without a list nothing is said, and browsers show no page of another site what was answered. An origin is repeated to
the browser when it is one of the list, and never else; only then it may show cookies. Whether a request is taken at all
is not decided here: that is for its credentials, and for what is refused as a forgery.
"""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from crudite.interfaces.base import Scope, Send
from crudite.interfaces.http import RawHeaders, read_headers, send_response
from crudite.interfaces.origins import CSRF_HEADER, Origins

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY")
TAKEN = (
    "accept", "authorization", "content-type", "crudite-after", "if-match", "if-none-match", "idempotency-key",
    "last-event-id", "prefer", CSRF_HEADER, "x-request-id",
)  # fmt: skip
"""Headers that any page of the list may send."""
SHOWN = (
    "Crudite-After", "ETag", "Idempotency-Replayed", "Link", "Location", "Preference-Applied", "RateLimit",
    "RateLimit-Policy", "Retry-After", "WWW-Authenticate", "X-Total-Count",
)  # fmt: skip
"""Headers of answers that it may read."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which pages of other origins may speak to an application: `App(origins=Cors([…], headers=["X-Team"]))`.

    `origins` as `App` takes them. `headers` are further request headers that they may send, `shown` further headers of
    answers that they may read; `max_age` is for how many seconds a browser need not ask again.
    """

    origins: Sequence[str]
    headers: Sequence[str] = ()
    shown: Sequence[str] = ()
    max_age: int = 600


class Sharing:
    """Tells browsers what an application shares with pages of other origins."""

    def __init__(self, cors: Cors, origins: Origins) -> None:
        self._origins = origins
        self._shown = (b"access-control-expose-headers", ", ".join((*SHOWN, *cors.shown)).encode())
        self._preflight = [
            (b"access-control-allow-methods", ", ".join(METHODS).encode()),
            (b"access-control-allow-headers", ", ".join((*TAKEN, *cors.headers)).encode()),
            (b"access-control-max-age", str(cors.max_age).encode()),
        ]

    async def answers_preflight(self, scope: Scope, send: Send) -> bool:
        """Answers a browser that asks whether a page may send a request; whether that was such a question."""
        headers = read_headers(scope)
        if scope["method"] != "OPTIONS" or not {"origin", "access-control-request-method"} <= headers.keys():
            return False
        allowed = self._allowed(headers["origin"])
        vary = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        await send_response(send, 204, [vary, *allowed, *(self._preflight if allowed else ())])
        return True

    def sharing(self, scope: Scope, send: Send) -> Send:
        """Sends answers with what a browser is to know of them. That they are not for everybody alike is said to
        whoever asks, since caches keep them for others."""
        origin = read_headers(scope).get("origin")
        further = [(b"vary", b"Origin")]
        if origin is not None and (allowed := self._allowed(origin)):
            further += [*allowed, self._shown]

        async def share(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *further]}
            await send(message)

        return share

    def _allowed(self, origin: str) -> RawHeaders | tuple[()]:
        if self._origins.lists(origin):
            return [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
            ]
        return [(b"access-control-allow-origin", b"*")] if self._origins.admits_everybody else ()
