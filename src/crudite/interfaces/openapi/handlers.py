"""The operations of handlers: their arguments and answers, as far as their signatures tell."""

import inspect
from collections.abc import Collection
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pydantic
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from crudite.interfaces.openapi.operations import EVENTS, Operation, resuming_parameters, security
from crudite.interfaces.openapi.parameters import Parameter, shared
from crudite.interfaces.openapi.places import HandlerPlace
from crudite.interfaces.openapi.responses import answer, event_stream, problems
from crudite.interfaces.openapi.schemas import tidied
from crudite.interfaces.openapi.values import Schema, reference
from crudite.messages import Redirect
from crudite.query.plan import MOST_GROUPS
from crudite.resources.declaring.declare import Record
from crudite.resources.declaring.definition import REF, Definitions
from crudite.resources.handlers import Handler
from crudite.resources.query import Count, Groups, Query, Value

_LIVE = (Query, Count, Value, Groups, None, Any, inspect.Parameter.empty)
_RAISED = (403, 404, 409, 422)
"""What the code of a handler may raise, and what it asks of records."""

VALUES = 'event: value\nid: <cursor>\ndata: {"value":42}\n\n'


def may_be_live(handler: Handler) -> bool:
    """Whether a handler may answer what can be subscribed to, as far as its signature tells."""
    returns = handler.returns
    parts = get_args(returns) if get_origin(returns) in (Union, UnionType) else (returns,)
    return any((get_origin(one) or one) in _LIVE for one in parts)


def handler_operation(
    place: HandlerPlace, definitions: Definitions, *, has_auth: bool
) -> tuple[str, Operation, dict[str, Schema]]:
    """The method of a handler's path, its operation, and the components that it brings along."""
    handler = place.handler
    arguments, components = _arguments(handler)
    returned, more = _returned(handler.returns, definitions)
    components |= more
    named = handler.name.replace("{", "").replace("}", "")
    operation: Operation = {
        "operationId": f"{named}.subscribe" if place.is_stream else named,
        "tags": ["Handlers"],
        "summary": _summary(handler, place.is_stream),
        "description": _description(handler, place.is_stream),
    }
    refused = (401, 403) if has_auth else ()
    status = "303" if handler.returns is Redirect else "200"
    if place.is_stream:
        operation["parameters"] = [
            *_in_url(arguments, handler.path_names),
            *shared("last-event-id"),
            *resuming_parameters(),
        ]
        example = VALUES if handler.returns in (Count, Value) else "event: added\nid: 0\ndata: {…}\n\n"
        stream = event_stream("The events, without end.", example)
        operation["responses"] = {"200": stream, **problems(400, *_RAISED, *refused)}
        return "get", operation, components
    if handler.kind in ("create", "update"):
        if handler.path_names:
            operation["parameters"] = _in_url(_some(arguments, handler.path_names, are=True), handler.path_names)
        operation["requestBody"] = _body(_some(arguments, handler.path_names, are=False))
        operation["responses"] = {
            status: returned,
            "204": answer("Nothing to show."),
            **problems(400, 413, 415, *_RAISED, *refused),
        }
    else:
        operation["parameters"] = _in_url(arguments, handler.path_names)
        operation["responses"] = {status: returned, **problems(400, *_RAISED, *refused)}
    if handler.kind not in ("create", "update"):
        operation["responses"].pop("204", None)
    if has_auth:
        operation["security"] = security(is_open=True)
    methods = {"read": "get", "create": "post", "update": "patch", "delete": "delete"}
    return methods[handler.kind], operation, components


def _summary(handler: Handler, is_stream: bool) -> str:
    parts = [part for part in handler.name.split("/") if not part.startswith("{")]
    words = " ".join(parts or handler.path_names).replace("-", " ").replace("_", " ")
    return f"Subscribe to {words}" if is_stream else f"{words[:1].upper()}{words[1:]}"


def _description(handler: Handler, is_stream: bool) -> str:
    written = inspect.getdoc(handler.function) or ""
    if not is_stream:
        return written
    return f"{written}\n\n{EVENTS} What is no list of records sends `value` events.".strip()


def _arguments(handler: Handler) -> tuple[Schema, dict[str, Schema]]:
    try:
        schema = handler.arguments.json_schema(ref_template=REF)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return {"type": "object", "properties": {}}, {}
    schema = tidied(schema)
    schema.pop("title", None)
    return schema, schema.pop("$defs", {})


def _some(arguments: Schema, names: Collection[str], *, are: bool) -> Schema:
    """The arguments that are among some names, or those that are not."""
    if not names:
        return arguments
    kept = {name: one for name, one in arguments.get("properties", {}).items() if (name in names) == are}
    required = [name for name in arguments.get("required", []) if name in kept]
    rest = {word: part for word, part in arguments.items() if word not in ("properties", "required")}
    return {**rest, "properties": kept, **({"required": required} if required else {})}


def _in_url(arguments: Schema, path_names: Collection[str]) -> list[Parameter]:
    required = arguments.get("required", [])
    return [
        {
            "name": name,
            "in": "path" if name in path_names else "query",
            "required": name in required or name in path_names,
            **({"description": schema["description"]} if "description" in schema else {}),
            "schema": _without_null({word: part for word, part in schema.items() if word != "description"}),
        }
        for name, schema in arguments.get("properties", {}).items()
    ]


def _without_null(schema: Schema) -> Schema:
    """A URL cannot say null: an argument that may be null is left away."""
    some = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if not some or len(some) == len(schema["anyOf"]):
        return schema
    rest = {word: part for word, part in schema.items() if word != "anyOf" and not (word == "default" and part is None)}
    return {**rest, **some[0]} if len(some) == 1 else {**rest, "anyOf": some}


def _body(arguments: Schema) -> dict[str, Any]:
    return {
        "required": bool(arguments.get("required")),
        "content": {"application/json": {"schema": arguments}},
    }


def _returned(returns: Any, definitions: Definitions) -> tuple[dict[str, Any], dict[str, Schema]]:
    origin, inner = get_origin(returns) or returns, get_args(returns)
    if origin is Query and inner and inner[0] in definitions:
        records = {"type": "array", "items": reference(inner[0].__name__)}
        return answer("The records of the query.", records, ("Link",)), {}
    if origin is Query:
        return answer("The records of the query.", {"type": "array", "items": {"type": "object"}}, ("Link",)), {}
    if origin is Count:
        return answer("How many records there are.", {"type": "integer", "minimum": 0}), {}
    if origin is Value:
        return answer("What the records come to; null where there are none.", {}), {}
    if origin is Groups:
        return answer("The groups.", {"type": "array", "items": {"type": "object"}, "maxItems": MOST_GROUPS}), {}
    if returns is Redirect:
        return answer("Leads elsewhere.", {"type": "object"}, ("Location",)), {}
    if returns in definitions:
        return answer("The record.", {"type": "object"}), {}
    if origin is list and inner and isinstance(inner[0], type) and issubclass(inner[0], Record):
        return answer("The records.", {"type": "array", "items": {"type": "object"}}), {}
    if returns in (None, Any, inspect.Parameter.empty):
        return answer("The answer.", {}), {}
    try:
        schema = tidied(pydantic.TypeAdapter(returns).json_schema(mode="serialization", ref_template=REF))
    except (PydanticInvalidForJsonSchema, PydanticUserError, TypeError):
        return answer("The answer.", {}), {}
    components = schema.pop("$defs", {})
    return answer("The answer.", schema), components
