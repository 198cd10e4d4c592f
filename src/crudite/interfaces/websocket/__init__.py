"""WebSocket: calls and live queries as JSON-RPC 2.0 over one connection."""

from collections.abc import Sequence
from contextlib import ExitStack

from crudite.errors import TooManyRequests, Unauthorized, Unavailable
from crudite.interfaces.base import Host, Receive, Router, Scope, Send
from crudite.interfaces.http import read_headers, suppress_gone
from crudite.interfaces.origins import Origins
from crudite.interfaces.tickets import redeem_ticket
from crudite.interfaces.websocket.channels import METHODS
from crudite.interfaces.websocket.format import RpcFormat
from crudite.interfaces.websocket.session import Session

SUBPROTOCOL = "crudite.v1"
_CREDENTIALS = 4401


class WebSocket:
    """The WebSocket interface at `path`. `origins` are foreign pages that may connect beside those of
    `App(origins=…)`, such as `https://app.example.org`; a page of the same origin always may."""

    name = "websocket"

    def __init__(self, path: str = "/ws", *, origins: Sequence[str] = ()) -> None:
        self.path = path
        self._origins = Origins(origins)

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the route."""

        async def endpoint(scope: Scope, receive: Receive, send: Send, _: tuple[str, ...]) -> None:
            await self._serve(host, scope, receive, send)

        clashing = [name for name in METHODS if host.channels and name in host.handlers]
        taken = router.add(self.path, ["WEBSOCKET"], endpoint, "the WebSocket")
        faults = [f"The handler {name!r} is called as what a WebSocket does in channels." for name in clashing]
        return [*faults, *([f"The WebSocket and {taken} both answer {self.path}."] if taken else ())]

    async def _serve(self, host: Host, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = read_headers(scope)
        chosen = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None
        if not host.origins.admits(scope, headers) and not self._origins.admits(scope, headers):
            return await _refuse(send, chosen, 1008, "this origin may not connect")
        with ExitStack() as held:
            try:
                place = host.admission.admit(scope)
                held.enter_context(place)
                await redeem_ticket(host, scope, headers)
                session = Session(host, headers, scope)
            except (Unavailable, TooManyRequests) as problem:
                retry_in = problem.extra.get("retry_in")
                hint = RpcFormat().bye(retry_in) if retry_in is not None else b""
                return await _refuse(send, chosen, 1013, "try again later", hint)
            except Unauthorized as problem:
                return await _refuse(send, chosen, _CREDENTIALS, problem.detail)
            with suppress_gone():
                try:
                    await send({"type": "websocket.accept", "subprotocol": chosen})
                except BaseException:
                    session.abandon()
                    raise
                held.pop_all()  # the session gives it back
                await session.run(place, receive, send)


async def _refuse(send: Send, chosen: str | None, code: int, reason: str, hint: bytes = b"") -> None:
    """Closes a connection before anything is read from it, after a last message, if there is one. It is accepted
    first: a browser's page is told the code of a close only, and not why a handshake failed, so that its client
    would try again for ever. And it is accepted as what was asked for, or browsers take it for a failure."""
    await send({"type": "websocket.accept", "subprotocol": chosen})
    if hint:
        await send({"type": "websocket.send", "text": hint.decode()})
    await send({"type": "websocket.close", "code": code, "reason": reason})
