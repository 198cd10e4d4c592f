"""What a resource takes: the schemas of the bodies of its actions, merge patches among them, and what fields are."""

import copy
from collections.abc import Iterator

from crudite.interfaces.base import Host
from crudite.interfaces.openapi.relations import describe_link
from crudite.interfaces.openapi.values import TIME_PATTERN, Schema, decimal_pattern, reference
from crudite.query.plan import INCLUDED
from crudite.resources.declaring.definition import BodyName, Definition, Placement
from crudite.schema import FieldSpec
from crudite.stores.base import Store, SupportsNumbers

_SYSTEM = {
    "version": "Grows with every change.",
    "created_at": "When the record was created.",
    "updated_at": "When the record was last changed.",
}

_REPEATED = {"version": "That the record must still have, else 412; any when it is left out."}


def describe_bodies(schemas: dict[str, Schema], definition: Definition, store: Store) -> None:
    """Says in the schemas of a resource's bodies what they are for, and what they take."""
    words = {"create": "A new", "replace": "All of a", "update": "What changes of a"}
    for action, body in definition.bodies.items():
        schema = schemas[body.name]
        schema.pop("title", None)
        schema["description"] = f"{words[action]} {definition.name}."
        for name, part in schema["properties"].items():
            if name in definition.settable:
                is_numbered = action == "create" and definition.schema.is_numbered
                wants_key = is_numbered and not isinstance(store, SupportsNumbers)
                describe_link(part, definition.links[name], wants_key=wants_key)
                continue
            if name == INCLUDED:
                part["description"] = "What was included may come along, and is ignored."
                continue
            spec = definition.schema.fields[name]
            describe_field(part, spec)
            _accept(part, spec)
            if name in body.repeated:
                part["description"] = _REPEATED.get(name, "May be repeated as it is.")
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


def bodies_below(schemas: dict[str, Schema], host: Host, definition: Definition) -> Iterator[tuple[str, Schema]]:
    """The same bodies below another record, whose key is in the path."""
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


def _key_description(action: str, spec: FieldSpec) -> str:
    if action != "create":
        return "May repeat the key in the path."
    return "The key." if spec.type.kind == "text" else "The key; the server makes one when it is left away."


def _accept(schema: Schema, spec: FieldSpec) -> None:
    """Says what a body takes beyond what the type alone tells."""
    if spec.type.kind == "time":
        set_pattern(schema, TIME_PATTERN)
    elif spec.type.kind == "decimal":
        set_pattern(schema, decimal_pattern(spec.type.places))
    elif spec.type.kind == "bigint":
        texts = [one for one in (schema, *schema.get("anyOf", [])) if one.get("type") == "string"]
        for one in texts:
            kept = {name: one.pop(name) for name in ("type", "pattern")}
            one["anyOf"] = [kept, {"type": "integer"}]


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


def describe_field(schema: Schema, spec: FieldSpec) -> None:
    """Says of a field what its type does not: whose key it is, or what the store keeps in it."""
    if spec.reference is not None:
        schema.setdefault("description", f"The key of {_a(spec.reference.target)}.")
    elif spec.name in _SYSTEM:
        schema.setdefault("description", _SYSTEM[spec.name])


def set_pattern(schema: Schema, pattern: str) -> None:
    """Says how the texts of a field are written, in place of a format."""
    for one in (schema, *schema.get("anyOf", [])):
        if one.get("type") == "string":
            one["pattern"] = pattern
            one.pop("format", None)


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"
