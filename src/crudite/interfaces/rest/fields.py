"""The route of one field of a resource: `GET` and `PUT` of its value."""

import msgspec

from crudite.changes import NO_VERSION
from crudite.errors import Malformed
from crudite.interfaces.base import Host, Receive, Scope, Send
from crudite.interfaces.http import decode_json, read_body
from crudite.interfaces.rest.answers import Exchange, check_content_type, is_not_modified, preference, serve
from crudite.interfaces.rest.resources import ResourceEndpoints
from crudite.interfaces.styles import Asked, Body, Style
from crudite.messages import Found, Written
from crudite.query.tree import NOTHING
from crudite.resources.declaring.definition import Placement


class FieldEndpoints(ResourceEndpoints):
    """The endpoint of a field at one of the places of its resource, in a style."""

    def __init__(self, host: Host, place: Placement, style: Style, name: str) -> None:
        super().__init__(host, place, style)
        self._name = name

    async def value(self, scope: Scope, receive: Receive, send: Send, keys: tuple[str, ...]) -> None:
        """`GET` and `PUT` of the field's value."""
        await serve(self._host, scope, receive, send, self._value, keys, self._style)

    async def _value(self, exchange: Exchange, keys: tuple[str, ...]) -> None:
        *above, text = keys
        asked = exchange.asks(self._place, text)
        await (self._put if exchange.method == "PUT" else self._get)(exchange, asked, tuple(above), text)

    async def _get(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], text: str) -> None:
        self._check_accept(exchange)
        self._style.field(asked, self._name)
        request = self._request(exchange, "read", above, key=self._key(text))
        request.field = self._name
        found = await exchange.perform(request)
        assert isinstance(found, Found)
        etag = f'"v{found.version}"'
        headers = [(b"etag", etag.encode())] if found.version != NO_VERSION else []
        if found.shared and is_not_modified(exchange.headers, etag):
            return await exchange.answer(304, None, headers)
        shown = self._style.value(asked, found)
        await exchange.answer(200, shown.text, headers, shown.kind)

    async def _put(self, exchange: Exchange, asked: Asked, above: tuple[str, ...], text: str) -> None:
        kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_text = kind.startswith("text/")
        check_content_type(exchange.headers, "application/json", kind if is_text else "text/plain")
        minimal = preference(exchange.headers)
        reread = self._style.reread(asked)
        body = await read_body(exchange.receive, self._host.limits.body)
        data = msgspec.json.encode({self._name: _text(body) if is_text else decode_json(body)})
        request = self._request(
            exchange, "update", above, key=self._key(text), is_minimal=minimal is True,
            data=self._style.given(asked, data),
            expect=await self._expected(exchange, above, text),
        )  # fmt: skip
        request.field = self._name
        written = await exchange.perform(request)
        assert isinstance(written, Written)
        shown = Body(None) if minimal else self._style.written(asked, written)
        if reread is not None and not minimal and not written.is_replaced:
            shown = await self._reread(exchange, asked, request, reread) or shown
        await exchange.answer(200, shown.text, exchange.after(written, minimal), shown.kind)


def fields_of(place: Placement) -> dict[str, list[str]]:
    """The fields that have a path of their own at a place, each with its methods."""
    definition = place.definition
    writable = definition.bodies["update"].names if "update_field" in place.actions else ()
    methods = {}
    for name, spec in definition.schema.fields.items():
        is_shown = not spec.secret and definition.field_read.get(name) != NOTHING and "read_field" in place.actions
        methods[name] = [*(["GET"] if is_shown else []), *(["PUT"] if name in writable else [])]
    return {name: found for name, found in methods.items() if found}


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: {error}.") from None
