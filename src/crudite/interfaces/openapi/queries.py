"""What a resource can be asked: the schemas of filters and queries, and what of them parameters say, too."""

from collections.abc import Sequence

from crudite.interfaces.openapi.relations import include_member
from crudite.interfaces.openapi.values import (
    Schema,
    operators_schema,
    reference,
    shown_fields,
    sortable_fields,
    value_schema,
)
from crudite.query.words import MOST_ASKED
from crudite.resources.declaring.definition import Definition
from crudite.resources.reading import MAX_OFFSET
from crudite.schema import FieldSpec


def filter_schema(definition: Definition) -> Schema:
    """The conditions on the records of a resource, as a JSON body has them."""
    own = reference(f"{definition.name}Filter")
    many = {"type": "array", "items": own}
    properties: dict[str, Schema] = {
        spec.name: _condition(spec, definition)
        for spec in shown_fields(definition)
        if spec.name not in ("and", "or", "not")
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


def _condition(spec: FieldSpec, definition: Definition) -> Schema:
    operators = operators_schema(spec.type)
    if spec.type.kind == "json":
        return operators
    value = value_schema(spec.type)
    list_of = {"type": "array", "items": {"anyOf": [value, {"type": "null"}]}}
    default = definition.default_filters.get(spec.name)
    clears = [{"const": default.clear}] if default is not None else []
    return {"anyOf": [value, {"type": "null"}, list_of, operators, *clears]}


def query_schema(definition: Definition) -> Schema:
    """A whole query of a resource, as a JSON body has it."""
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
