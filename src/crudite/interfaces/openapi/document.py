"""The description of a whole application, as an OpenAPI 3.1.1 document."""

import re
from collections.abc import Iterable
from itertools import chain, count
from typing import Any

from crudite.interfaces.base import Host
from crudite.interfaces.openapi.channels import TAG, channel_operations
from crudite.interfaces.openapi.handlers import handler_operation, may_be_live
from crudite.interfaces.openapi.operations import (
    EVENTS,
    Operation,
    resource_operations,
    resuming_parameters,
    security,
)
from crudite.interfaces.openapi.parameters import SHARED, own_parameters, shared
from crudite.interfaces.openapi.places import channel_places, handler_places, resource_places, stream_paths
from crudite.interfaces.openapi.responses import HEADERS, event_stream, problem_responses, problems
from crudite.interfaces.openapi.schemas import component_schemas, components_used, summary_of
from crudite.interfaces.openapi.values import Schema

_ABOUT = (
    "Lists are arrays; filters, sorting and paging are parameters. Every record has a `version` that grows "
    "with every change; it is the entity tag, so `If-Match` makes a write conditional. Every failure is a "
    "problem (RFC 9457) that names all faults at once. Every list is live at its `/subscribe`."
)
_NAME = re.compile(r"\{([^}]*)\}")
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token in `Authorization`; the application may take a cookie in its place.",
}


def make_document(host: Host, *, version: str, root_path: str = "") -> dict[str, Any]:
    """The document. `root_path` is where the application is mounted."""
    paths: dict[str, dict[str, Operation]] = {}
    extra: dict[str, Schema] = {}
    taken: set[str] = set()
    parameters = dict(SHARED)
    for place in resource_places(host):
        operations = resource_operations(place, has_auth=host.is_private)
        parameters |= own_parameters(place.definition) if operations else {}
        _add(paths, place.path, place.prefix, operations, taken)
    for found in handler_places(host):
        if found.is_stream and not may_be_live(found.handler):
            continue
        method, operation, components = handler_operation(found, host.definitions, has_auth=host.is_private)
        if method.upper() in found.methods:
            path = _as_written(paths, found.path, operation)
            _add(paths, path, found.prefix, {method: operation}, taken)
            extra |= components
    for channel in channel_places(host):
        operations = channel_operations(channel, host.limits.channels, has_auth=host.is_private)
        _add(paths, channel.path, channel.prefix, operations, taken)
    for path in stream_paths(host):
        _add(paths, path, path.removesuffix("/subscribe"), {"get": _several(host.is_private)}, taken)
    responses = problem_responses()
    schemas = {**extra, **component_schemas(host)}
    return {
        "openapi": "3.1.1",
        "info": {"title": host.title, "version": version, "description": _ABOUT},
        "servers": [{"url": root_path or "/"}],
        "tags": _tags(host, paths),
        "paths": paths,
        "components": {
            "schemas": components_used(schemas, [paths, parameters, responses]),
            "parameters": parameters,
            "headers": HEADERS,
            "responses": responses,
            **({"securitySchemes": {"bearer": _BEARER}} if host.is_private else {}),
        },
    }


def _add(
    paths: dict[str, dict[str, Operation]],
    path: str,
    prefix: str,
    operations: dict[str, Operation],
    taken: set[str],
) -> None:
    """Adds operations; where an interface is mounted twice, the second one's names get its prefix."""
    for method, operation in operations.items():
        name = operation["operationId"]
        if name in taken:
            below = prefix.strip("/").replace("/", ".")
            numbered = (f"{name}.{number}" for number in count(2))
            names = chain([f"{below}.{name}"] if below else [], numbered)
            name = operation["operationId"] = next(one for one in names if one not in taken)
        taken.add(name)
        paths.setdefault(path, {})[method] = operation


def _as_written(paths: Iterable[str], path: str, operation: Operation) -> str:
    """A path as it is written already, if it is, with other names in braces: these are then those of the operation,
    too. For templates that differ in names alone are one and the same (OpenAPI 3.1, Paths Object)."""
    shape = _NAME.sub("{}", path)
    known = next((one for one in paths if _NAME.sub("{}", one) == shape), path)
    names = dict(zip(_NAME.findall(path), _NAME.findall(known), strict=True))
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") == "path":
            parameter["name"] = names[parameter["name"]]
    return known


def _several(has_auth: bool) -> Operation:
    queries = {"type": "object", "additionalProperties": {"type": "object"}}
    example = {"open": {"resource": "todos", "query": {"where": {"done": False}}}}
    operation: Operation = {
        "operationId": "subscribe",
        "tags": ["Streams"],
        "summary": "Subscribe to several queries",
        "description": (
            f"Several queries on one stream. {EVENTS} The data of every event has one more member, `query`: "
            "the name that it belongs to."
        ),
        "parameters": [
            {
                "name": "queries",
                "in": "query",
                "required": True,
                "description": 'By name: `{"resource": …, "query": {…}}` or `{"read": …, "args": {…}}`.',
                "content": {"application/json": {"schema": queries, "example": example}},
            },
            *shared("last-event-id"),
            *resuming_parameters(),
        ],
        "responses": {
            "200": event_stream(
                "The events, without end.", 'event: ready\nid: <cursor>\ndata: {"query":"open","sort":[]}\n\n'
            ),
            **problems(400, 404, 422, *((401, 403) if has_auth else ())),
        },
    }
    return {**operation, "security": security(is_open=True)} if has_auth else operation


def _tags(host: Host, paths: dict[str, dict[str, Operation]]) -> list[dict[str, str]]:
    used = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    told = {definition.name: summary_of(definition) for definition in host.definitions}
    told |= {TAG: "What is told at the moment, and kept nowhere."}
    told |= {"Handlers": "What the application answers by name.", "Streams": "Several live queries at once."}
    return [{"name": name, "description": text} for name, text in told.items() if name in used]
