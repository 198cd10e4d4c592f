"""Requests that a foreign page made a browser send in the user's name (cross-site request forgery).

Browsers of today say whose page a request comes from, and that decides (`origins`). Those of before 2020 or so may say
nothing. For an application that has to serve them, its pages show a token that foreign ones cannot read; without that
a request of which nothing is known is not taken with a cookie.
"""

import hmac
from collections.abc import Mapping

from crudite.errors import Problem
from crudite.ids import new_request_id
from crudite.interfaces.base import Host, Receive, Router, Scope, Send
from crudite.interfaces.http import credentials_of, read_headers, send_problem, send_response
from crudite.interfaces.origins import CSRF_HEADER, SAFE_METHODS, says_whence, shows_by_itself
from crudite.messages import Actor


async def refuse_forgery(host: Host, method: str, scope: Scope, headers: Mapping[str, str]) -> None:
    """Raises Forbidden for an unsafe request that shows what browsers send by themselves, and does not come from a page
    of ours, or of the list."""
    is_proven = False
    if not host.origins.takes_silence and shows_by_itself(headers) and method not in SAFE_METHODS:
        is_proven = not says_whence(headers) and await _is_proven(host, scope, headers)
    host.origins.refuse_forgery(method, scope, headers, is_proven)


class OldBrowsers:
    """Serves the token at `path`, for pages whose browsers do not say where a request comes from."""

    name = "old browsers"

    def __init__(self, path: str = "/csrf-token") -> None:
        self.path = path

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the route."""

        async def endpoint(scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
            try:
                actor = await host.identify(credentials_of(read_headers(scope), scope))
            except Problem as problem:
                return await send_problem(scope, send, problem, new_request_id())
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
            body = b'{"token":"%b"}' % _token(host, actor).encode()
            await send_response(send, 200, headers, body, with_body=scope["method"] != "HEAD")

        taken = router.add(self.path, ["GET"], endpoint, "the token against forgeries")
        return [f"The token against forgeries and {taken} both answer {self.path}."] if taken else []


async def _is_proven(host: Host, scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether a request shows the token of whoever asks. A cookie that is nobody's gives no rights to be misused."""
    actor = await host.identify(credentials_of(headers, scope))
    shown = headers.get(CSRF_HEADER, "").encode("latin-1")
    nobody = not actor.is_known and actor.session is None
    return nobody or hmac.compare_digest(shown, _token(host, actor).encode())


def _token(host: Host, actor: Actor) -> str:
    """The token of one session; of one account where there are none."""
    return host.sealer.digest(f"csrf\0{actor.session or ''}\0{actor.id}")
