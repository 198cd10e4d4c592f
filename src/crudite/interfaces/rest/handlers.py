"""The route of one handler: its arguments from the URL or the body, its answer as JSON."""

from typing import Any

from crudite.errors import Fault, Malformed
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.http import decode_json, read_body, url_arguments
from crudite.interfaces.rest.answers import Exchange, check_content_type, serve
from crudite.interfaces.styles import DEFAULT, Style
from crudite.messages import Answered, Found, Listed
from crudite.resources.handlers import Handler
from crudite.resources.request import Request

_METHODS = {"read": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE"}


class HandlerEndpoints:
    """The endpoint of a handler."""

    def __init__(self, host: Host, handler: Handler, style: Style = DEFAULT) -> None:
        self._host = host
        self._style = style
        self._handler = handler
        self.method = _METHODS[handler.kind]
        self._takes_body = handler.kind in ("create", "update")

    async def call(self, scope: Scope, receive: Receive, send: Send, values: tuple[str, ...]) -> None:
        """Answers one request."""
        await serve(self._host, scope, receive, send, self._call, values, self._style)

    async def _call(self, exchange: Exchange, values: tuple[str, ...]) -> None:
        args = self._handler.in_path(values, url_arguments(self._style.arguments(exchange.parameters)))
        if self._takes_body:
            check_content_type(exchange.headers, "application/json")
            body = await read_body(exchange.receive, self._host.limits.body)
            args = _body_arguments(body, args)
        request = Request(
            "call", self._handler.name, args=args, args_at="" if self._takes_body else None,
            credentials=exchange.read_credentials, headers=exchange.headers, interface="rest",
            id=exchange.request_id, performers=self._host.performer,
        )  # fmt: skip
        response = await exchange.perform(request)
        assert isinstance(response, Answered | Found | Listed)
        if isinstance(response, Answered) and response.location is not None:
            return await exchange.answer(303, response.json, [(b"location", response.location.encode())])
        await exchange.answer(200, response.json, [])


def _body_arguments(body: bytes, from_url: dict[str, Any]) -> dict[str, Any]:
    given = decode_json(body) if body else {}
    if not isinstance(given, dict):
        raise Malformed("The body must be a JSON object with the arguments.")
    twice = [
        Fault("repeated", f"{name} is in the URL and in the body.", parameter=name) for name in from_url.keys() & given
    ]
    if twice:
        raise Malformed(faults=twice)
    return {**from_url, **given}
