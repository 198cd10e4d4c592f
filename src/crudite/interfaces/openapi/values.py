"""The JSON Schema (2020-12) of values: of a field's plain value, of what a filter compares it with."""

from typing import Any, TypeAlias

from crudite.query.comparisons import COMPARABLE_INSIDE, MAX_LIST
from crudite.query.tree import NOTHING
from crudite.resources.declaring.definition import REF, Definition
from crudite.schema import SAFE_INTEGER, FieldSpec, FieldType, Kind

Schema: TypeAlias = dict[str, Any]

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?$"

_SCHEMAS: dict[Kind, Schema] = {
    "text": {"type": "string"},
    "integer": {"type": "integer", "minimum": -SAFE_INTEGER, "maximum": SAFE_INTEGER},
    "bigint": {"type": "string", "pattern": "^-?[0-9]{1,19}$"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "pattern": TIME_PATTERN},
    "datetime": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {},
}
_EXAMPLES: dict[Kind, Any] = {
    "text": "text", "integer": 1, "bigint": "9007199254740993", "float": 1.5, "boolean": True,
    "date": "2026-11-20", "time": "14:40:37", "datetime": "2026-11-20T14:40:37Z",
    "uuid": "0199c2f4-7a3e-7d11-9c58-2f6d1b0c4a77",
}  # fmt: skip

_ORDER = ("lt", "lte", "gt", "gte", "between")
_TEXT = ("contains", "icontains", "startswith", "istartswith", "endswith")


def reference(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": REF.format(model=name)}


def value_schema(type: FieldType) -> Schema:
    """What a plain value of a type looks like."""
    if type.choices is not None:
        return {"type": "string" if type.kind == "text" else "integer", "enum": list(type.choices)}
    if type.kind == "decimal":
        return {"type": "string", "pattern": decimal_pattern(type.places)}
    return dict(_SCHEMAS[type.kind])


def decimal_pattern(places: int) -> str:
    """The pattern of a decimal number with so many decimal places, 18 digits in all."""
    return rf"^-?[0-9]{{1,{max(18 - places, 1)}}}(\.[0-9]{{1,{places}}})?$" if places else "^-?[0-9]{1,18}$"


def example_of(type: FieldType) -> Any:
    """A plain value of a type, None where one cannot be told."""
    if type.choices is not None:
        return type.choices[0]
    if type.kind == "decimal":
        return f"{12.5:.{type.places}f}"
    return _EXAMPLES.get(type.kind)


def shown_fields(definition: Definition) -> list[FieldSpec]:
    """The fields that somebody may see."""
    hidden = {name for name, rule in definition.field_read.items() if rule == NOTHING}
    return [spec for spec in definition.schema.fields.values() if not spec.secret and spec.name not in hidden]


def sortable_fields(definition: Definition) -> list[FieldSpec]:
    """The fields that a list can be sorted by for whoever may read it."""
    return [s for s in shown_fields(definition) if s.type.kind != "json" and s.name not in definition.field_read]


def operators_of(type: FieldType) -> tuple[str, ...]:
    """The operators that a field of a type takes."""
    if type.kind == "json":
        if type.item is not None and type.item.kind in COMPARABLE_INSIDE:
            return ("contains", "isnull", "exists")
        return ("isnull", "exists")
    texts = _TEXT if type.kind == "text" else ()
    return ("eq", "ne", "in", "nin", *_ORDER, *texts, "isnull", "exists")


def operators_schema(type: FieldType) -> Schema:
    """The object of operators that a filter in JSON gives for a field: `{"lt": …, "in": […]}`."""
    value = value_schema(type.item if type.item is not None else type)
    shapes: dict[str, Schema] = {
        "eq": _or_null(value), "ne": _or_null(value),
        "in": {"type": "array", "items": _or_null(value), "maxItems": MAX_LIST},
        "nin": {"type": "array", "items": _or_null(value), "maxItems": MAX_LIST},
        "between": {"type": "array", "items": value, "minItems": 2, "maxItems": 2},
        "isnull": {"type": "boolean"}, "exists": {"type": "boolean"},
    }  # fmt: skip
    names = operators_of(type)
    properties = {
        name: shapes.get(name, {"type": "string"} if name in _TEXT and type.item is None else value) for name in names
    }
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": properties}


def _or_null(value: Schema) -> Schema:
    return {"anyOf": [value, {"type": "null"}]}
