"""Bodies, conditions and events of a resource to look at, made up from what it declares."""

from typing import Any

from crudite.interfaces.openapi.values import example_of, shown_fields
from crudite.resources.declaring.definition import Definition


def example_body(definition: Definition, action: str) -> dict[str, Any]:
    """A body that shows what an action takes, as far as its values can be made up."""
    taken = definition.schema.fields.values()
    made = {
        spec.name: example_of(spec.type)
        for spec in taken
        if spec.name not in ("version", "created_at", "updated_at")
        and (spec.name != definition.schema.key or (action == "create" and spec.type.kind == "text"))
        and example_of(spec.type) is not None
        and not spec.nullable
        and (spec.name not in definition.static_defaults and spec.name not in definition.defaults)
    }
    if action != "update":
        return made
    first = next((spec for spec in taken if spec.name in definition.static_defaults), None)
    return dict([*made.items()][-1:]) or ({first.name: example_of(first.type)} if first is not None else {})


def example_stream(definition: Definition) -> str:
    """What a stream of events looks like."""
    return (
        'retry: 2300\n\nevent: added\nid: 0\ndata: {"id":"…","version":1763647237123456}\n\n'
        'event: ready\nid: <cursor>\ndata: {"sort":[{"field":"id","descending":false,"type":"uuid"}]}\n\n'
        'event: changed\nid: <cursor>\ndata: {"key":"…","fields":{"version":1763647237123457}}\n\n'
        'event: removed\nid: <cursor>\ndata: {"key":"…"}\n\n'
    )


def example_filter(definition: Definition) -> dict[str, Any]:
    """A condition on a field of the resource."""
    known = [spec for spec in shown_fields(definition) if spec.name != definition.schema.key]
    spec = next((one for one in known if example_of(one.type) is not None), definition.schema.key_field)
    return {spec.name: example_of(spec.type)}
