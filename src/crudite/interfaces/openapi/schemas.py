"""The components of the description: records, bodies, queries, problems.

The resources bring the schemas of their records and bodies; here they get what makes them read well, and what
only a whole description needs: parts of records, filters, merge patches.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crudite.interfaces.base import Host
from crudite.interfaces.openapi.relations import describe_link, include_member, included
from crudite.interfaces.openapi.values import (
    TIME_PATTERN,
    Schema,
    decimal_pattern,
    operators_schema,
    shown_fields,
    sortable_fields,
    value_schema,
)
from crudite.query.plan import INCLUDED
from crudite.query.words import MOST_ASKED
from crudite.resources.definition import REF, BodyName, Definition, Placement
from crudite.resources.reading import MAX_OFFSET
from crudite.schema import FieldSpec

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
_SYSTEM = {
    "version": "Grows with every change.",
    "created_at": "When the record was created.",
    "updated_at": "When the record was last changed.",
}


def component_schemas(host: Host) -> dict[str, Schema]:
    """All of `components.schemas`, by name."""
    schemas = copy.deepcopy(dict(host.definitions.components))
    for schema in schemas.values():
        _tidy(schema)
    for definition in host.definitions:
        _describe_record(schemas[definition.name], definition)
        _describe_bodies(schemas, definition)
        schemas.update(_bodies_below(schemas, host, definition))
        schemas[f"{definition.name}Part"] = _part(definition, schemas[definition.name])
        schemas[f"{definition.name}Filter"] = _filter(definition)
        schemas[f"{definition.name}Query"] = _query(definition)
    return {**schemas, "Problem": PROBLEM, "Fault": FAULT}


def reference(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": REF.format(model=name)}


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
        _describe_field(part, spec)
        if spec.type.kind in ("decimal", "time"):
            _set_pattern(part, value_schema(spec.type)["pattern"])
        if name in definition.field_read:
            part.setdefault("description", "Absent where you may not see it.")
    leads_to = included(definition)
    if leads_to:
        text = "What `include` asks for, under the names of references and links; only then it is there."
        schema["properties"][INCLUDED] = {"type": "object", "description": text, "properties": leads_to}


def _describe_bodies(schemas: dict[str, Schema], definition: Definition) -> None:
    words = {"create": "A new", "replace": "All of a", "update": "What changes of a"}
    for action, body in definition.bodies.items():
        schema = schemas[body.name]
        schema.pop("title", None)
        schema["description"] = f"{words[action]} {definition.name}."
        for name, part in schema["properties"].items():
            if name in definition.settable:
                describe_link(part, definition.links[name])
                continue
            spec = definition.schema.fields[name]
            _describe_field(part, spec)
            _accept(part, spec)
            if name == definition.schema.key:
                part["description"] = _key_description(action, spec)
    _patch_objects(schemas, definition)


def body_name(definition: Definition, action: BodyName, place: Placement) -> str:
    """The component that an action takes: below another record, whose key is in the path, it may be left out."""
    name = definition.bodies[action].name
    if not place.above or place.says_parent or action == "update":
        return name
    target, field = place.above[-1]
    first = next(own for own, reference in definition.references if reference.target == target.name)
    return f"{name}In{target.name}" if field == first else f"{name}In{target.name}By{field.title()}"


def _bodies_below(schemas: dict[str, Schema], host: Host, definition: Definition) -> Iterator[tuple[str, Schema]]:
    actions: tuple[BodyName, ...] = ("create", "replace")
    for place in host.definitions.places[definition]:
        for action in actions:
            name, below = definition.bodies[action].name, body_name(definition, action, place)
            if below != name:
                field = place.above[-1][1]
                schema = copy.deepcopy(schemas[name])
                schema["required"] = [one for one in schema.get("required", []) if one != field]
                schema["description"] += f" Its {field} is the one in the path."
                yield below, schema


def _describe_field(schema: Schema, spec: FieldSpec) -> None:
    if spec.reference is not None:
        schema.setdefault("description", f"The key of {_a(spec.reference.target)}.")
    elif spec.name in _SYSTEM:
        schema.setdefault("description", _SYSTEM[spec.name])


def _key_description(action: str, spec: FieldSpec) -> str:
    if action != "create":
        return "May repeat the key in the path."
    return "The key." if spec.type.kind == "text" else "The key; the server makes one when it is left away."


def _accept(schema: Schema, spec: FieldSpec) -> None:
    """Says what a body takes beyond what the type alone tells."""
    if spec.type.kind == "time":
        _set_pattern(schema, TIME_PATTERN)
    elif spec.type.kind == "decimal":
        _set_pattern(schema, decimal_pattern(spec.type.places))
    elif spec.type.kind == "bigint":
        texts = [one for one in (schema, *schema.get("anyOf", [])) if one.get("type") == "string"]
        for one in texts:
            kept = {name: one.pop(name) for name in ("type", "pattern")}
            one["anyOf"] = [kept, {"type": "integer"}]


def _set_pattern(schema: Schema, pattern: str) -> None:
    for one in (schema, *schema.get("anyOf", [])):
        if one.get("type") == "string":
            one["pattern"] = pattern
            one.pop("format", None)


def _patch_objects(schemas: dict[str, Schema], definition: Definition) -> None:
    """Where a field holds a JSON object, an update takes a part of it (RFC 7396)."""
    properties = schemas[definition.bodies["update"].name]["properties"]
    for name, part in properties.items():
        spec = definition.schema.fields.get(name)
        if spec is not None and spec.type.kind == "json" and spec.type.item is None:
            properties[name] = _patch(part, schemas)


def _patch(schema: Schema, schemas: dict[str, Schema]) -> Schema:
    """The merge patch of a value: of an object any part, with null for what is to go; anything else whole."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name.endswith(".patch"):
            return schema
        patch = f"{name}.patch"
        if patch not in schemas:
            schemas[patch] = {}
            schemas[patch].update(_patch(schemas[name], schemas))
        return {**schema, **reference(patch)}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_patch(one, schemas) for one in schema["anyOf"]]}
    if schema.get("type") != "object":
        return schema
    loose = {
        name: part
        for name, part in schema.items()
        if name not in ("required", "properties", "default", "additionalProperties")
    }
    members = {name: _nullable(_patch(part, schemas)) for name, part in schema.get("properties", {}).items()}
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict):
        loose["additionalProperties"] = _nullable(_patch(inner, schemas))
    return {**loose, "properties": members} if members else loose


def _nullable(schema: Schema) -> Schema:
    if any(one.get("type") == "null" for one in schema.get("anyOf", [])) or not schema:
        return schema
    return {"anyOf": [schema, {"type": "null"}]}


def _part(definition: Definition, whole: Schema) -> Schema:
    return {
        "type": "object",
        "description": f"The {definition.name}, when `fields` or `omit` left something of it away.",
        "required": [definition.schema.key],
        "additionalProperties": False,
        "properties": whole["properties"],
    }


def _filter(definition: Definition) -> Schema:
    own = reference(f"{definition.name}Filter")
    many = {"type": "array", "items": own}
    properties: dict[str, Schema] = {
        spec.name: _condition(spec) for spec in shown_fields(definition) if spec.name not in ("and", "or", "not")
    }
    return {
        "type": "object",
        "description": (
            "Which records: all conditions hold. A value means equality, a list one of its values, null no "
            "value, an object operators. `or` and `and` combine filters, `not` turns one around. Names with "
            "dots follow references: `project.name`."
        ),
        "properties": {**properties, "or": many, "and": many, "not": own},
        "patternProperties": _further(definition),
        "additionalProperties": False,
    }


def _further(definition: Definition) -> dict[str, Schema]:
    """Names that are paths: through references, links and into JSON, or with an operator at their end."""
    fields = shown_fields(definition)
    through = [s.name for s in fields if s.reference is not None or s.type.kind == "json"]
    further = {rf"^({'|'.join(s.name for s in fields)})__[a-z]+$": Schema()}
    if through or definition.links:
        further[rf"^({'|'.join((*through, *definition.links))})(\.|__).+$"] = {}
    return further


def _condition(spec: FieldSpec) -> Schema:
    operators = operators_schema(spec.type)
    if spec.type.kind == "json":
        return operators
    value = value_schema(spec.type)
    list_of = {"type": "array", "items": {"anyOf": [value, {"type": "null"}]}}
    return {"anyOf": [value, {"type": "null"}, list_of, operators]}


def _query(definition: Definition) -> Schema:
    names = [spec.name for spec in shown_fields(definition)]
    sort = {"type": "array", "items": {"enum": sort_names(definition)}, "maxItems": 10}
    fields = {"anyOf": [{"type": "array", "items": {"enum": names}}, {"type": "null"}]}
    return {
        "type": "object",
        "description": f"Which of the {definition.path}, in which order, and what of them.",
        "additionalProperties": False,
        "properties": {
            "where": reference(f"{definition.name}Filter"),
            **_search_member(definition),
            "sort": {"anyOf": [sort, {"type": "null"}]},
            "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": definition.max_limit},
            "offset": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_OFFSET},
            "cursor": {"type": ["string", "null"], "description": "From the `Link` of a page."},
            "after": {"type": ["string", "null"], "description": "The cursor that the records come after."},
            "until": {"type": ["string", "null"], "description": "The cursor up to which they go."},
            "fields": {**fields, "description": "Only these fields. Not together with `omit`."},
            "omit": {**fields, "description": "All but these fields."},
            **include_member(definition),
            "count": {"enum": ["exact", "none", None], "description": "Whether to count all records."},
        },
    }


def search_text(fields: Sequence[str]) -> str:
    """What a search in fields finds, in words."""
    names = " or ".join(f"`{name}`" for name in fields)
    return f"Words that must all be in {names}; the last one may be the beginning of a word."


def _search_member(definition: Definition) -> dict[str, Schema]:
    fields = definition.schema.search
    schema = {"type": ["string", "null"], "maxLength": MOST_ASKED, "description": search_text(fields)}
    return {"search": schema} if fields else {}


def sort_names(definition: Definition) -> list[str]:
    """What a list can be sorted by: the names of fields, with `-` in front for descending."""
    names = [spec.name for spec in sortable_fields(definition)]
    return [*names, *(f"-{name}" for name in names)]


def summary_of(definition: Definition) -> str:
    """What the class says of itself."""
    written = definition.cls.__doc__
    inherited = any(written == base.__doc__ for base in definition.cls.__mro__[1:])
    return " ".join(written.split()) if written and not inherited else f"One of the {definition.path}."


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


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
