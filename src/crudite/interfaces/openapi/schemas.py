"""The components of the description: records, bodies, queries, problems.

The resources bring the schemas of their records and bodies; here they get what makes them read well, and what
only a whole description needs: parts of records. Bodies and queries have modules of their own.
"""

import copy
from collections.abc import Mapping
from typing import Any

from crudite.interfaces.base import Host
from crudite.interfaces.openapi.bodies import bodies_below, describe_bodies, describe_field, set_pattern
from crudite.interfaces.openapi.queries import filter_schema, query_schema
from crudite.interfaces.openapi.relations import included
from crudite.interfaces.openapi.values import (
    Schema,
    shown_fields,
    value_schema,
)
from crudite.query.plan import INCLUDED
from crudite.resources.declaring.definition import REF, Definition

PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457), the same on every interface.",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Where the problem is described.",
        },
        "title": {"type": "string", "description": "The kind of problem, in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "The kind of problem, for programs; it never changes."},
        "detail": {"type": "string", "description": "What is wrong this time, for people."},
        "request_id": {"type": "string", "description": "Names this request in the server's log."},
        "errors": {
            "type": "array",
            "description": "Every fault.",
            "items": {"$ref": REF.format(model="Fault")},
        },
    },
    "examples": [
        {
            "type": "/docs/problems#invalid",
            "title": "Invalid",
            "status": 422,
            "code": "invalid",
            "detail": "This field is required.",
            "request_id": "6f1c2d3e4b5a6978",
            "errors": [{"pointer": "/title", "code": "missing", "detail": "This field is required."}],
        }
    ],
}
FAULT: Schema = {
    "type": "object",
    "description": "One thing that is wrong with a request.",
    "required": ["code", "detail"],
    "properties": {
        "code": {"type": "string", "description": "The kind of fault, for programs."},
        "detail": {"type": "string", "description": "What was expected and what came, for people."},
        "pointer": {"type": "string", "description": "The place in the body (JSON Pointer, RFC 6901)."},
        "parameter": {"type": "string", "description": "The parameter in the URL."},
        "rule": {"type": "string", "description": "The field's own rule, as it is declared: `minimum:8`."},
    },
}
PAST: Schema = {
    "type": "object",
    "description": "One change of a record.",
    "required": ["at", "action", "version", "actor", "interface", "request", "changes"],
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "action": {"type": "string", "enum": ["created", "updated", "deleted"]},
        "version": {"type": ["integer", "null"], "description": "That the record had then."},
        "actor": {"type": ["string", "null"], "description": "Who did it; null: nobody known, or the server itself."},
        "interface": {
            "type": ["string", "null"],
            "description": "How it came in: `rest`, `websocket`, `python`; `outside`: another program wrote.",
        },
        "request": {"type": ["string", "null"], "description": "Names the request in the server's log."},
        "changes": {
            "type": "object",
            "description": "The values of each field before and after, as far as you may read it.",
            "additionalProperties": {"type": "array", "minItems": 2, "maxItems": 2},
        },
    },
}


def component_schemas(host: Host) -> dict[str, Schema]:
    """All of `components.schemas`, by name."""
    schemas = copy.deepcopy(dict(host.definitions.components))
    for schema in schemas.values():
        _tidy(schema)
    for definition in host.definitions:
        _describe_record(schemas[definition.name], definition)
        describe_bodies(schemas, definition, host.store)
        schemas.update(bodies_below(schemas, host, definition))
        schemas[f"{definition.name}Part"] = _part(definition, schemas[definition.name])
        schemas[f"{definition.name}Filter"] = filter_schema(definition)
        schemas[f"{definition.name}Query"] = query_schema(definition)
    return {**schemas, "Problem": PROBLEM, "Fault": FAULT}


def tidied(schema: Schema) -> Schema:
    """A schema that Pydantic made, without what it only repeats."""
    tidy = copy.deepcopy(schema)
    _tidy(tidy)
    return tidy


def _tidy(schema: Any, name: str | None = None) -> None:
    """Takes away titles that only repeat the name, and the format of times, which would ask for a zone."""
    if isinstance(schema, list):
        for one in schema:
            _tidy(one)
    if not isinstance(schema, dict):
        return
    if name is not None and schema.get("title") == name.replace("_", " ").title():
        del schema["title"]
    if schema.get("format") == "time" and schema.get("type") == "string":
        del schema["format"]
    for word, part in schema.items():
        if word in ("properties", "$defs") and isinstance(part, dict):
            for inner, one in part.items():
                _tidy(one, inner)
        elif word not in ("default", "examples", "enum", "const"):
            _tidy(part)


def _describe_record(schema: Schema, definition: Definition) -> None:
    seen = {spec.name for spec in shown_fields(definition)}
    schema["description"] = summary_of(definition)
    schema.pop("title", None)
    schema["properties"] = {name: part for name, part in schema["properties"].items() if name in seen}
    schema["required"] = [name for name in schema["required"] if name in seen]
    for name, part in schema["properties"].items():
        spec = definition.schema.fields[name]
        describe_field(part, spec)
        if spec.type.kind in ("decimal", "time"):
            set_pattern(part, value_schema(spec.type)["pattern"])
        if name in definition.field_read:
            part.setdefault("description", "Absent where you may not see it.")
    leads_to = included(definition)
    if leads_to:
        text = "What `include` asks for, under the names of references and links; only then it is there."
        schema["properties"][INCLUDED] = {"type": "object", "description": text, "properties": leads_to}


def _part(definition: Definition, whole: Schema) -> Schema:
    return {
        "type": "object",
        "description": f"The {definition.name}, when `fields` or `omit` left something of it away.",
        "required": [definition.schema.key],
        "additionalProperties": False,
        "properties": whole["properties"],
    }


def summary_of(definition: Definition) -> str:
    """What the class says of itself."""
    written = definition.cls.__doc__
    inherited = any(written == base.__doc__ for base in definition.cls.__mro__[1:])
    return " ".join(written.split()) if written and not inherited else f"One of the {definition.path}."


def components_used(schemas: Mapping[str, Schema], taken: Any) -> dict[str, Schema]:
    """Those of the schemas that something refers to, and what they refer to in turn."""
    wanted: set[str] = set()
    pending = [taken]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in schemas and name not in wanted:
                wanted.add(name)
                pending.append(schemas[name])
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
    return {name: schema for name, schema in schemas.items() if name in wanted}
