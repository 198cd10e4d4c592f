"""What `Field(cascade=…)` says, compiled: to which records, and for which values, a changed field is carried on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crudite.resources.declaring.fields import ABSENT, Cascade, FieldOptions
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.resources.declaring.shapes import Shape
from crudite.schema import ResourceSchema
from crudite.types import Plain

_HIDDEN = {"public": 0, "private": 1, "secret": 2}


@dataclass(frozen=True, slots=True)
class CarriedField:
    """Where a field is carried: to the records of `target` whose field `by` points here, when it has become one of
    `values` (None: whatever it has become)."""

    target: str
    by: str
    values: tuple[Plain, ...] | None

    def carries(self, value: Plain) -> bool:
        """Whether a plain value is carried on."""
        return self.values is None or any(value is one or value == one for one in self.values)


def cascades_of(
    found: Gathered, schema: ResourceSchema, shapes: Mapping[type[Any], Mapping[str, Shape]],
    gathered: Mapping[type[Any], Gathered],
) -> dict[str, tuple[CarriedField, ...]]:  # fmt: skip
    """Where the fields of a class are carried; faults go to what was gathered."""
    others = {other.name: other for other in gathered.values()}
    cascades = {}
    for name, shape in shapes[found.cls].items():
        cascade: Any = found.fields[name].cascade
        if cascade is None:
            continue
        try:
            if not isinstance(cascade, Cascade):
                raise ValueError(f'it names links, such as Cascade("comments"), got {cascade!r}.')
            values = _values(cascade, shape)
            carried = [_carried(name, link, values, found, schema, others, shapes) for link in cascade.links]
            cascades[name] = tuple(carried)
        except ValueError as error:
            found.faults.append(sentence(f"{found.name}.{name}: the cascade is not valid: {error}"))
    return cascades


def _values(cascade: Cascade, shape: Shape) -> tuple[Plain, ...] | None:
    if cascade.when is ABSENT:
        return None
    given = cascade.when if isinstance(cascade.when, list | tuple) else [cascade.when]
    return tuple(None if one is None else shape.type.check(one) for one in given)


def _carried(
    name: str, link: str, values: tuple[Plain, ...] | None, found: Gathered, schema: ResourceSchema,
    others: Mapping[str, Gathered], shapes: Mapping[type[Any], Mapping[str, Shape]],
) -> CarriedField:  # fmt: skip
    """Where a field is carried along one link. Raises ValueError when it cannot be."""
    if link not in schema.links:
        hint = nearest(link, schema.links) or f": declare {link}: Many[…]"
        raise ValueError(f"{found.name} has no link {link!r}{hint}")
    way = schema.links[link]
    if way.to is not None:
        raise ValueError(f"{link} leads through {way.target}; name a link to the records that point here")
    other, here = others[way.target], shapes[found.cls][name]
    there = shapes[other.cls].get(name)
    if there is None or name in other.broken:
        raise ValueError(f"{other.name} has no field {name}")
    if there.type.kind != here.type.kind or here.type.kind == "json" or here.is_password:
        raise ValueError(f"{other.name}.{name} is no plain value of the same type")
    if here.target is not there.target and None not in (here.target, there.target):
        raise ValueError(f"{other.name}.{name} points at {there.target.__name__}, not at {here.target.__name__}")
    hidden = _hidden(found.fields[name])
    if _HIDDEN.get(_hidden(other.fields[name]), 0) < _HIDDEN.get(hidden, 0):
        raise ValueError(f"{other.name}.{name} is not {hidden}, and would tell it")
    if other.fields[name].immutable:
        raise ValueError(f"{other.name}.{name} is immutable")
    may_be_null = here.nullable and (values is None or None in values)
    if may_be_null and not there.nullable:
        raise ValueError(f"{other.name}.{name} is never null")
    choices = here.type.choices if values is None else tuple(one for one in values if one is not None)
    if there.type.choices is not None and (choices is None or not set(choices) <= set(there.type.choices)):
        raise ValueError(f"{other.name}.{name} does not take all of its values")
    return CarriedField(way.target, way.field, values)


def _hidden(options: FieldOptions) -> str:
    """How far a field is hidden, one of _HIDDEN: one with a rule of its own is private."""
    return "private" if options.visible == "public" and options.read is not None else options.visible
