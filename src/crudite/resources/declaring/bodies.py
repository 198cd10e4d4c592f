"""The bodies that the actions of a resource take, and what a record looks like from outside."""

from collections.abc import Container, Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import TypeAdapter

from crudite.query.plan import INCLUDED
from crudite.resources.declaring.body import Body, BodyField, typed_dict
from crudite.resources.declaring.definition import BodyName
from crudite.resources.declaring.fields import ABSENT, FieldOptions
from crudite.resources.declaring.gather import Gathered
from crudite.resources.declaring.shapes import Shape
from crudite.schema import DELETED_AT, NO_DEFAULT, ResourceSchema
from crudite.types import Plain

_INCLUDED = BodyField(
    INCLUDED, Annotated[dict[str, Any], pydantic.Field(json_schema_extra={"readOnly": True})], is_required=False
)


def bodies_of(
    found: Gathered, schema: ResourceSchema, every: Mapping[str, Shape], static: Mapping[str, Plain],
    settable: Sequence[BodyField],
) -> tuple[Body, dict[BodyName, Body]]:  # fmt: skip
    """The body of any of a resource's values, and those of the actions that take one, with the links that are
    `settable`."""
    shapes = {n: shape for n, shape in every.items() if n not in found.by_us}
    known = (*schema.links, *found.by_us)
    optional = [body_field(n, shape, False) for n, shape in shapes.items()]
    create, replace = [], []
    for name, shape in shapes.items():
        required = _is_required(found.fields[name])
        made = shape.type.kind in ("uuid", "integer") or not required
        default = static.get(name, NO_DEFAULT)
        create.append(body_field(name, shape, not made if name == "id" else required, default))
        # what cannot be changed, or nobody can have read, may be left out: it stays as it is
        stays = found.fields[name].immutable or (name in schema.fields and schema.fields[name].secret)
        in_whole = (required and not stays) or found.fields[name].required_on == "replace"
        replace.append(body_field(name, shape, name != "id" and in_whole, default))
    ours = [_repeated(n, every[n]) for n in found.by_us if n in every]
    included = [_INCLUDED] if _may_include(schema) else []
    whole = Body(f"{found.name}Values", optional, known)
    return whole, {
        "create": Body(f"{found.name}Create", [*create, *settable], known),
        "replace": Body(f"{found.name}Replace", [*replace, *settable, *ours], known, ignored=included),
        "update": Body(f"{found.name}Update", [*optional, *settable, *ours], known, whole=whole, ignored=included),
    }


def shown_of(
    name: str, schema: ResourceSchema, shapes: Mapping[str, Shape], restricted: Container[str]
) -> TypeAdapter[Any]:
    """What a record looks like from outside; the `restricted` fields may be absent, and when it was deleted."""
    unasked = DELETED_AT if schema.is_soft else ""
    members = [
        (
            field,
            shapes[field].shown | None if spec.nullable else shapes[field].shown,
            field not in restricted and field != unasked,
        )
        for field, spec in schema.fields.items()
        if field in shapes and not spec.secret
    ]
    return TypeAdapter(typed_dict(name, members))


def _is_required(options: FieldOptions) -> bool:
    return options.default is ABSENT and options.default_factory is None


def _may_include(schema: ResourceSchema) -> bool:
    """Whether a record may show others inside it: who has read it so may send all of it back."""
    references = (spec.reference for spec in schema.fields.values() if spec.reference is not None)
    return any(one.may_include for one in references) or any(one.may_include for one in schema.links.values())


def _repeated(name: str, shape: Shape) -> BodyField:
    """A field that the server sets, as a body may repeat it: whoever changes what he has read sends all of it."""
    annotation = shape.body | None if shape.nullable else shape.body
    annotation = Annotated[annotation, pydantic.Field(json_schema_extra={"readOnly": True})]
    return BodyField(name, annotation, False, shape.convert, is_repeated=True)


def body_field(name: str, shape: Shape, is_required: bool, default: Plain = NO_DEFAULT) -> BodyField:
    annotation = shape.body | None if shape.nullable else shape.body
    if default is not NO_DEFAULT:
        annotation = Annotated[annotation, pydantic.Field(json_schema_extra={"default": default})]
    return BodyField(name, annotation, is_required, shape.convert, shape.is_object)
