"""What goes in beside a body: keys in paths, queries in URLs, conditions and preferences in headers."""

from typing import Any, TypeAlias

from crudite.interfaces.openapi.places import ResourcePlace
from crudite.interfaces.openapi.queries import search_text, sort_names
from crudite.interfaces.openapi.relations import include_paths
from crudite.interfaces.openapi.values import Schema, operators_of, reference, shown_fields, value_schema
from crudite.query.parse import DELETED, RESERVED
from crudite.query.resolve import MAX_INCLUDES
from crudite.query.words import MOST_ASKED
from crudite.resources.declaring.default_filters import DefaultFilter
from crudite.resources.declaring.definition import Definition
from crudite.resources.reading import MAX_OFFSET
from crudite.schema import FieldSpec

Parameter: TypeAlias = dict[str, Any]

SHARED: dict[str, Parameter] = {
    "cursor": {
        "name": "cursor",
        "in": "query",
        "description": "Where the page starts; from the `Link` of another page.",
        "schema": {"type": "string"},
    },
    "after": {
        "name": "after",
        "in": "query",
        "description": "The records behind the one that a cursor of the query names; with `until`, one page of it.",
        "schema": {"type": "string"},
    },
    "until": {
        "name": "until",
        "in": "query",
        "description": "The records up to the one that a cursor names.",
        "schema": {"type": "string"},
    },
    "offset": {
        "name": "offset",
        "in": "query",
        "description": "How many records to skip; `cursor` goes on from anywhere.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
    },
    "count": {
        "name": "count",
        "in": "query",
        "description": "`exact` counts all records, into `X-Total-Count`.",
        "schema": {"type": "string", "enum": ["exact", "none"], "default": "none"},
    },
    "min-cursor": {
        "name": "min_cursor",
        "in": "query",
        "description": "What a write answered as `Crudite-After`: the answer comes from after its commit.",
        "schema": {"type": "string", "maxLength": 100},
    },
    "if-match": {
        "name": "If-Match",
        "in": "header",
        "description": 'Only if the record still has this version, such as `"v17"`; else 412.',
        "schema": {"type": "string"},
    },
    "if-none-match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "304 if the entity tag is still the same.",
        "schema": {"type": "string"},
    },
    "prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`return=minimal` leaves the body away (RFC 7240).",
        "schema": {"type": "string"},
    },
    "last-event-id": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Resumes after this event.",
        "schema": {"type": "string"},
    },
}


def shared(*names: str) -> list[Parameter]:
    """References to parameters that are the same everywhere."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def path_parameters(place: ResourcePlace) -> list[Parameter]:
    """The keys in a path, outermost first."""
    owners = (*place.chain, place.definition)
    return [_key(name, definition) for name, definition in zip(place.names, owners, strict=False)]


def own_parameters(definition: Definition) -> dict[str, Parameter]:
    """The parameters of a resource's queries, for `components.parameters`."""
    made = [*_filters(definition), _sort(definition), _limit(definition), *_shown_only(definition)]
    return {_component(definition, one["name"]): one for one in made}


def list_parameters(definition: Definition, *, is_live: bool = False) -> list[Parameter]:
    """A query in a URL. A live one has no pages and is not counted."""
    paging = shared("after", "until") if is_live else shared("offset", "cursor", "after", "until", "count")
    return [*filters(definition), *_own(definition, "sort", "limit"), *paging, *shown_only(definition)]


def paging(definition: Definition) -> list[Parameter]:
    """What a list without conditions takes."""
    return [*_own(definition, "limit"), *shared("cursor")]


def filters(definition: Definition) -> list[Parameter]:
    """What a list is filtered by."""
    return _own(definition, *(one["name"] for one in _filters(definition)))


def shown_only(definition: Definition) -> list[Parameter]:
    """`fields`, `omit` and, where there is anything to include, `include`."""
    return _own(definition, *(one["name"] for one in _shown_only(definition)))


def _own(definition: Definition, *names: str) -> list[Parameter]:
    return shared(*(_component(definition, name) for name in names))


def _component(definition: Definition, name: str) -> str:
    return f"{definition.name}.{name.replace('[', '.').removesuffix(']')}"


def _filters(definition: Definition) -> list[Parameter]:
    """One parameter for each field that can be compared, and `filter` for all that a filter can say."""
    named = [
        made for spec in shown_fields(definition) for made in _filter(spec, definition.default_filters.get(spec.name))
    ]
    whole: Parameter = {
        "name": "filter",
        "in": "query",
        "description": "A filter in JSON, for all that single parameters cannot say: `or`, `and`, `not`.",
        "content": {"application/json": {"schema": reference(f"{definition.name}Filter")}},
    }
    return [*named, whole, *_search(definition)]


def _search(definition: Definition) -> list[Parameter]:
    fields = definition.schema.search
    if not fields:
        return []
    schema: Schema = {"type": "string", "maxLength": MOST_ASKED}
    return [{"name": "search", "in": "query", "description": search_text(fields), "schema": schema}]


def _shown_only(definition: Definition) -> list[Parameter]:
    names = [spec.name for spec in shown_fields(definition)]
    return [
        _names("fields", names, "Only these fields (the key always comes). Not together with `omit`."),
        _names("omit", names, "All but these fields."),
        *_include(definition),
        *_deleted(definition),
    ]


def _deleted(definition: Definition) -> list[Parameter]:
    if not definition.schema.is_soft:
        return []
    text = "`only` deleted records, or these `with` all others, as far as you may restore them."
    return [{"name": "deleted", "in": "query", "description": text, "schema": {"type": "string", "enum": [*DELETED]}}]


def removal_parameters(definition: Definition) -> list[Parameter]:
    """How a record is deleted."""
    text = {"force": "Also deletes what points at it and asks for that to be said."}
    if definition.schema.is_soft:
        text["purge"] = "Deletes it for good. A rule of its own says who may."
    return [
        {"name": name, "in": "query", "description": said, "schema": {"type": "boolean", "default": False}}
        for name, said in text.items()
    ]


def _include(definition: Definition) -> list[Parameter]:
    path = include_paths(definition)
    text = "References and links to follow, with commas between; the records there are shown in `_included`."
    return [_list("include", path, text, maximum=MAX_INCLUDES)] if path else []


def _filter(spec: FieldSpec, default: DefaultFilter | None) -> list[Parameter]:
    if spec.type.kind == "json":
        if "contains" not in operators_of(spec.type) or spec.type.item is None:
            return []
        name, schema, what = f"{spec.name}[contains]", value_schema(spec.type.item), "holds this value"
    else:
        name = f"{spec.name}[eq]" if spec.name in RESERVED else spec.name
        schema, what = value_schema(spec.type), "is this"
    others = [f"`{spec.name}[{operator}]`" for operator in operators_of(spec.type) if operator != "eq"]
    more = f" Given several times: any of these. Also {', '.join(others)}." if spec.type.kind != "json" else ""
    if default is not None:
        values = ", ".join(f"`{'null' if value is None else value}`" for value in default.values)
        more += f" Without it: {values}; `{default.clear}` asks for all."
        schema = {"anyOf": [schema, {"const": default.clear}]}
    return [{"name": name, "in": "query", "description": f"`{spec.name}` {what}.{more}", "schema": schema}]


def _sort(definition: Definition) -> Parameter:
    text = "By which fields, with commas between and `-` in front for descending; `project.name` is possible."
    return _names("sort", sort_names(definition), text, maximum=10)


def _limit(definition: Definition) -> Parameter:
    schema: Schema = {"type": "integer", "minimum": 1, "maximum": definition.max_limit}
    text = f"At most so many records; {definition.limit} when a page is read and nothing is said."
    return {"name": "limit", "in": "query", "description": text, "schema": schema}


def _names(name: str, choices: list[str], description: str, maximum: int | None = None) -> Parameter:
    return _list(name, {"type": "string", "enum": choices}, description, maximum)


def _list(name: str, items: Schema, description: str, maximum: int | None = None) -> Parameter:
    schema: Schema = {"type": "array", "items": items, "minItems": 1}
    if maximum is not None:
        schema["maxItems"] = maximum
    return {
        "name": name,
        "in": "query",
        "description": description,
        "style": "form",
        "explode": False,
        "schema": schema,
    }


def _key(name: str, definition: Definition) -> Parameter:
    schema = value_schema(definition.schema.key_field.type)
    if schema == {"type": "string"}:
        schema = {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The key of the {definition.name}.",
        "schema": schema,
    }
