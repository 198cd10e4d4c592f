"""What application code answers in place of an action or around it, as the response that the action would give."""

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

from crudite.changes import NO_VERSION
from crudite.messages import Answered, Found, Listed, Live, Response, Written
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import Definitions
from crudite.resources.request import Request, Shows


def plainly(value: Any, definitions: Definitions, shows: Shows | None = None) -> Any:
    """What application code says, as data that JSON can hold; records show what is not secret, and only what `shows`
    names of them. Raises TypeError for what should have been awaited."""
    if isinstance(value, Record):
        definition = definitions[type(value)]
        names = definition.schema.fields if shows is None else shows(definition)
        shown = definition.to_plain(value)
        return {n: one for n, one in shown.items() if n in names and not definition.schema.fields[n].secret}
    if isinstance(value, Mapping):
        return {str(name): plainly(one, definitions, shows) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plainly(one, definitions, shows) for one in value]
    if _is_unawaited(value):
        raise TypeError(f"{value!r} was returned, which nobody has waited for; is `await` missing?")
    return to_jsonable_python(value)


def response_of(given: Any, request: Request, definitions: Definitions, who: str) -> Response:
    """The response that a step around a request has given: one that goes with what was asked, or plain data to show in
    its place. `who` is its name, for what is said of it.

    Raises TypeError for None, which is what comes of a forgotten `return`, for what was not awaited, for the response
    of another action, and for records in answer to a subscription, which only a query can be given.
    """
    if given is None or _is_unawaited(given) or (request.is_live and not isinstance(given, Response)):
        raise TypeError(f"{who} returned {given!r}; is `return await next()` missing?")
    if not isinstance(given, Response):
        return _answered(plainly(given, definitions, request.shows), request)
    if not _goes_with(given, request):
        raise TypeError(f"{who} answered {request!r} with {given!r}")
    return given


def _is_unawaited(value: Any) -> bool:
    if inspect.iscoroutine(value):
        value.close()  # else Python says, somewhere and later, that nobody waited for it
    return inspect.isawaitable(value)


def _answered(data: Any, request: Request) -> Response:
    match request.action:
        case "call":
            return Answered(data)
        case "read" if request.keys is None:
            return Found(_text(data), NO_VERSION, shared=False)
        case "list" | "read" | "history":
            return Listed(()).with_data(data)
        case "create" | "replace" | "update" | "delete" | "restore" | "set":
            return Written(request.action, (), (), [_text(data)], is_replaced=True)


def _goes_with(response: Response, request: Request) -> bool:
    match response:
        case Live():  # whoever calls at a channel is told by which record it is his
            return request.is_live or request.action == "call"
        case Answered():
            return request.action == "call"
        case Written():
            return request.action == response.action
        case Found():
            return request.action == "read" and request.keys is None and not request.is_live
        case Listed():
            return request.action in ("list", "read", "history", "call") and not request.is_live


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
