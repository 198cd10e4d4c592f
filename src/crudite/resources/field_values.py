"""One field of a record at a path of its own: read and updated as the record is, and answered with its value."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import msgspec

from crudite.errors import NotFound
from crudite.messages import Found, Response, Written
from crudite.resources.around import perform_around
from crudite.resources.declaring.definition import Definition, Definitions
from crudite.resources.request import Request

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def perform_field(
    request: Request, perform: Callable[[Request], Awaitable[Response]], definitions: Definitions
) -> Response:
    """Performs a request for one field, within the hooks around it. Raises NotFound for a field that the record does
    not show to the actor."""
    definition, name = cast(Definition, request.definition), cast(str, request.field)

    async def value() -> Response:
        return _only(await perform(request), name, definition)

    hooks = definition.field_hooks.get((cast(Any, request.action), name), ())
    return await perform_around(hooks, request, value, definitions)


def _only(response: Response, name: str, definition: Definition) -> Response:
    """A response with the value of a field in place of its record."""
    if isinstance(response, Found):
        text = _value(response.json, name)
        if text is None:
            raise NotFound(f"This {definition.name} has no {name}, or none that you may read.")
        return replace(response, json=text)
    if isinstance(response, Written):
        texts = [None if record is None else _value(record, name) for record in response.records]
        return replace(response, records=texts, is_replaced=False)  # which the whole record was
    return response


def _value(record: str, name: str) -> str | None:
    value = _decode(record).get(name) if record.startswith("{") else None  # a hook may show what is no record
    return None if value is None else bytes(value).decode()
