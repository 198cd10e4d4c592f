"""The operations of a resource: what can be done at each of its paths."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from crudite.interfaces.openapi.bodies import body_name
from crudite.interfaces.openapi.examples import example_body, example_filter, example_stream
from crudite.interfaces.openapi.parameters import (
    Parameter,
    filters,
    list_parameters,
    paging,
    path_parameters,
    removal_parameters,
    shared,
    shown_only,
)
from crudite.interfaces.openapi.places import ResourcePlace
from crudite.interfaces.openapi.responses import answer, event_stream, problems
from crudite.interfaces.openapi.schemas import PAST
from crudite.interfaces.openapi.values import Schema, reference, value_schema
from crudite.messages import ActionName
from crudite.query.presence import absent, is_all_there
from crudite.query.tree import NOTHING
from crudite.resources.declaring.definition import Definition
from crudite.resources.writing.incoming import MAX_MANY

Operation: TypeAlias = dict[str, Any]

WRITTEN = ("ETag", "Crudite-After", "Preference-Applied")
EVENTS = (
    "First the records as `added` events, then `ready`, then what changes: `added`, `changed`, `removed`, "
    "and `reset` when all that came before is void. A comment is sent every 15 seconds. The `id` of an event "
    "resumes."
)


def resource_operations(place: ResourcePlace, *, has_auth: bool) -> dict[str, Operation]:
    """The operations at one path of a resource, by lower-case method: those that somebody may do."""
    found: dict[str, Operation] = {}
    for method, action, describe in _BY_ROLE[place.role]:
        if method in place.methods and _can_be(place, action):
            operation = describe(place)
            operation["operationId"] = operation_id(place, operation["operationId"])
            operation["tags"] = [place.definition.name]
            _secure(operation, place.definition, action, has_auth)
            found[method.lower()] = operation
    return found


def _can_be(place: ResourcePlace, action: ActionName) -> bool:
    """Whether somebody may do it, and may subscribe where it is a stream."""
    is_live = place.definition.schema.logged or place.role not in ("stream", "item stream")
    return is_live and place.definition.rules[action] != NOTHING


def operation_id(place: ResourcePlace, name: str) -> str:
    """The stable name of an operation: `todos.list`, below a parent `projects.tasks.list`."""
    words = [word for word in place.place.pattern.split("/") if word and not word.startswith("{")]
    return ".".join([*(words or [place.definition.path]), name])


def _list(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "list",
        "summary": f"List {_plural(definition)}",
        "description": (
            "Conditions are parameters: `?name=value`, or with an operator `?name[lt]=value`; those on "
            f"fields of other records follow references: `?project.name=value`. {_rule(definition, 'list')}"
        ),
        "parameters": [*path_parameters(place), *list_parameters(definition), *shared("if-none-match", "min-cursor")],
        "responses": {
            **_page(definition),
            **problems(400, 406, 409, 422, *_parents(place)),
        },
    }


def _query(place: ResourcePlace) -> Operation:
    definition = place.definition
    body = _json_body(
        reference(f"{definition.name}Query"),
        {"where": example_filter(definition), "limit": 10},
        required=False,
    )
    return {
        "operationId": "query",
        "summary": f"Query {_plural(definition)}",
        "description": (
            f"As `GET`, with the query as a JSON body. `QUERY` of the list itself (RFC 10008) "
            f"does the same. {_rule(definition, 'list')}"
        ),
        "parameters": [*path_parameters(place), *shared("cursor", "if-none-match", "min-cursor")],
        "requestBody": body,
        "responses": {
            **_page(definition),
            **problems(400, 406, 409, 413, 415, 422, *_parents(place)),
        },
    }


def _create(place: ResourcePlace) -> Operation:
    definition = place.definition
    one, record = reference(body_name(definition, "create", place.place)), reference(definition.name)
    several = {"type": "array", "items": one, "maxItems": MAX_MANY}
    return {
        "operationId": "create",
        "summary": f"Create {_one(definition)}",
        "description": f"One record, or an array of them: all or none. {_rule(definition, 'create')}",
        "parameters": [*path_parameters(place), *shared("prefer")],
        "requestBody": _json_body({"anyOf": [one, several]}, example_body(definition, "create")),
        "responses": {
            "201": answer(
                "Created. Without a body when `Prefer: return=minimal` asks so, or when you may not read it.",
                {"anyOf": [record, {"type": "array", "items": record}]},
                (*WRITTEN, "Location"),
            ),
            **problems(400, 403, 409, 413, 415, 422, *_parents(place)),
        },
    }


def _set(place: ResourcePlace) -> Operation:
    definition = place.definition
    record = {"type": "array", "items": reference(definition.name)}
    one, key = reference(body_name(definition, "create", place.place)), value_schema(definition.schema.key_field.type)
    whole = {"type": "array", "items": {"anyOf": [one, key]}, "maxItems": MAX_MANY}
    return {
        "operationId": "set",
        "summary": f"Set all {_plural(definition)}",
        "description": (
            "Records, or the keys of some. What is there already is kept, what is missing is created, and what "
            "is left over is taken out: all or nothing, each by its own rules."
        ),
        "parameters": [*path_parameters(place), *shared("prefer")],
        "requestBody": _json_body(whole, [example_body(definition, "create")]),
        "responses": {
            "200": answer("All records that are there now, in the order of the body.", record, WRITTEN[1:]),
            "204": answer("Done; `return=minimal` was asked.", None, WRITTEN[1:]),
            **problems(400, 403, 404, 409, 413, 415, 422),
        },
    }


def _read(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "read",
        "summary": f"Read {_one(definition)}",
        "description": (f"Several keys, separated by commas, give an array in that order. {_rule(definition, 'read')}"),
        "parameters": [*path_parameters(place), *shown_only(definition), *shared("if-none-match", "min-cursor")],
        "responses": {
            "200": answer("The record.", _one_shown(definition), ("ETag",)),
            "304": answer("The record is what the entity tag stands for."),
            **problems(400, 404, 406, 409, 422),
        },
    }


def _replace(place: ResourcePlace) -> Operation:
    definition = place.definition
    body = _json_body(reference(body_name(definition, "replace", place.place)), example_body(definition, "replace"))
    text = f"What is not given gets its default. {_rule(definition, 'replace')}"
    return _change(place, "replace", f"Replace {_one(definition)}", text, body)


def _update(place: ResourcePlace) -> Operation:
    definition = place.definition
    body = _json_body(reference(f"{definition.name}Update"), example_body(definition, "update"))
    body["content"]["application/merge-patch+json"] = body["content"]["application/json"]
    text = f"The body is a merge patch (RFC 7396): what is not given stays. {_rule(definition, 'update')}"
    return _change(place, "update", f"Update {_one(definition)}", text, body)


def _change(place: ResourcePlace, name: str, summary: str, description: str, body: dict[str, Any]) -> Operation:
    return {
        "operationId": name,
        "summary": summary,
        "description": description,
        "parameters": [*path_parameters(place), *shared("if-match", "prefer")],
        "requestBody": body,
        "responses": {
            "200": answer("The record as it is now.", reference(place.definition.name), WRITTEN),
            "204": answer("Done; `return=minimal` was asked, or you may not read the result.", None, WRITTEN),
            **problems(400, 403, 404, 405, 409, 412, 413, 415, 422),
        },
    }


def _delete(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "delete",
        "summary": f"Delete {_one(definition)}",
        "description": _rule(definition, "delete"),
        "parameters": [*path_parameters(place), *removal_parameters(definition), *shared("if-match", "prefer")],
        "responses": {
            "204": answer("Deleted.", None, ("Crudite-After", "Preference-Applied")),
            **problems(400, 403, 404, 405, 409, 412, 422),
        },
    }


def _restore(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "restore",
        "summary": f"Restore {_one(definition)}",
        "description": f"Brings a deleted record back, with those that went along. {_rule(definition, 'restore')}",
        "parameters": [*path_parameters(place), *shared("if-match", "prefer")],
        "responses": {
            "200": answer("The record, back again.", reference(definition.name), WRITTEN),
            "204": answer("Done; `return=minimal` was asked, or you may not read the result.", None, WRITTEN),
            **problems(400, 403, 404, 405, 409, 412, 422),
        },
    }


def _subscribe(place: ResourcePlace) -> Operation:
    definition = place.definition
    text = f"The query of `GET {place.path.removesuffix('/subscribe')}`, kept current. {EVENTS}"
    parameters = list_parameters(definition, is_live=True)
    return _stream(
        place,
        "subscribe",
        f"Subscribe to {_plural(definition)}",
        f"{text} {_rule(definition, 'list')}",
        parameters,
    )


def _subscribe_one(place: ResourcePlace) -> Operation:
    definition = place.definition
    parameters = [*filters(definition), *shown_only(definition)]
    text = f"One record, kept current. {EVENTS} {_rule(definition, 'list')}"
    return _stream(place, "subscribe.one", f"Subscribe to {_one(definition)}", text, parameters)


def _history(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "history",
        "summary": f"See who changed {_one(definition)}",
        "description": (
            "Who changed what, when, and through which interface, the latest first; a deleted record still has its "
            "history, for those whose right to see it does not depend on the record. "
            f"{_rule(definition, 'history')}"
        ),
        "parameters": [*path_parameters(place), *paging(definition), *shared("min-cursor")],
        "responses": {
            "200": answer("A page of changes.", {"type": "array", "items": PAST}, ("Link",)),
            **problems(400, 404, 406, 409, 422),
        },
    }


def _read_field(place: ResourcePlace) -> Operation:
    definition = place.definition
    return {
        "operationId": "read.field",
        "summary": f"Read a field of {_one(definition)}",
        "description": f"Its value alone. {_rule(definition, 'read')}",
        "parameters": [*path_parameters(place), _field(place, "GET"), *shared("if-none-match", "min-cursor")],
        "responses": {
            "200": answer("The value.", {}, ("ETag",)),
            "304": answer("The record is what the entity tag stands for."),
            **problems(400, 404, 406, 409, 422),
        },
    }


def _update_field(place: ResourcePlace) -> Operation:
    definition = place.definition
    value: Schema = {"description": "The value, as the field takes it."}
    content = {"application/json": {"schema": value}, "text/plain": {"schema": {"type": "string"}}}
    return {
        "operationId": "update.field",
        "summary": f"Set a field of {_one(definition)}",
        "description": (
            "The body is the value, in JSON, or a text as it is; the rest of the record stays. All that holds for "
            f"updates holds. {_rule(definition, 'update')}"
        ),
        "parameters": [*path_parameters(place), _field(place, "PUT"), *shared("if-match", "prefer")],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answer("The value as it is stored.", {}, WRITTEN),
            "204": answer("Done; `return=minimal` was asked, or you may not read the result.", None, WRITTEN),
            **problems(400, 403, 404, 405, 409, 412, 413, 415, 422),
        },
    }


def _field(place: ResourcePlace, method: str) -> Parameter:
    name = place.path.rpartition("/")[2].strip("{}")
    names = [field for field, own in place.fields if own == method]
    return {
        "name": name, "in": "path", "required": True, "description": "The name of the field.",
        "schema": {"type": "string", "enum": names},
    }  # fmt: skip


def _stream(place: ResourcePlace, name: str, summary: str, text: str, parameters: list[Parameter]) -> Operation:
    resuming = [*shared("last-event-id", "min-cursor"), *resuming_parameters()]
    return {
        "operationId": name,
        "summary": summary,
        "description": text,
        "parameters": [*path_parameters(place), *parameters, *resuming],
        "responses": {
            "200": event_stream("The events, without end.", example_stream(place.definition)),
            **problems(400, 404, 409, 422),
        },
    }


def resuming_parameters() -> list[Parameter]:
    """For clients that cannot set headers."""
    text = "As `Last-Event-ID`, for those who cannot set headers."
    return [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name in ("last_event_id", "cursor")
    ]


def _json_body(schema: Schema, example: Any, *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema, "example": example}}}


def _one_shown(definition: Definition) -> Schema:
    return {"anyOf": [reference(definition.name), reference(f"{definition.name}Part")]}


def _page(definition: Definition) -> dict[str, Any]:
    """The answers with a list, however it was asked for."""
    records = {"type": "array", "items": _one_shown(definition)}
    return {
        "200": answer("A page of records.", records, ("ETag", "Link", "X-Total-Count")),
        "304": answer("The list is what the entity tag stands for."),
    }


def _one(definition: Definition) -> str:
    """The resource's name in words: `a line item`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", definition.name).lower()
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def _plural(definition: Definition) -> str:
    return definition.path.replace("-", " ").replace("_", " ")


def _parents(place: ResourcePlace) -> tuple[int, ...]:
    return (404,) if place.chain else ()


def _rule(definition: Definition, action: ActionName) -> str:
    rule = definition.rules[action]
    if is_all_there(rule, definition.schema) or rule == absent(definition.schema) != NOTHING:
        return "Everyone may."
    return "A rule says who may, and for which records."


def _secure(operation: Operation, definition: Definition, action: ActionName, has_auth: bool) -> None:
    """Adds what a request has to show of who asks, and the answers to those who do not."""
    is_open = is_all_there(definition.rules[action], definition.schema)
    if not is_open or has_auth:
        operation["responses"].update(problems(401, 403))
        operation["responses"] = dict(sorted(operation["responses"].items()))
    if has_auth:
        operation["security"] = security(is_open=is_open)


def security(*, is_open: bool) -> list[dict[str, list[str]]]:
    """Who may ask: whoever shows a token or a cookie, and anybody else, since rules tell what he sees."""
    known: list[dict[str, list[str]]] = [{"bearer": []}]
    return [{}, *known] if is_open else [*known, {}]


_BY_ROLE: dict[str, tuple[tuple[str, ActionName, Callable[[ResourcePlace], Operation]], ...]] = {
    "collection": (("GET", "list", _list), ("POST", "create", _create), ("PUT", "create", _set)),
    "query": (("POST", "list", _query),),
    "item": (
        ("GET", "read", _read), ("PUT", "replace", _replace),
        ("PATCH", "update", _update), ("DELETE", "delete", _delete),
    ),
    "stream": (("GET", "list", _subscribe),),
    "item stream": (("GET", "list", _subscribe_one),),
    "history": (("GET", "history", _history),),
    "restore": (("POST", "restore", _restore),),
    "field": (("GET", "read", _read_field), ("PUT", "update", _update_field)),
}  # fmt: skip
