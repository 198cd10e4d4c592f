"""What fields say of themselves beyond their form, compiled: the validators that are asked before a write."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from crudite.resources.declaring.field_validators import Asked, read_validate
from crudite.resources.declaring.fields import ABSENT
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.resources.declaring.shapes import Shape
from crudite.schema import FieldType, ResourceSchema
from crudite.types import Plain
from crudite.validators import MatchesParent


def validators_of(
    found: Gathered, shapes: Mapping[str, Shape], schemas: Mapping[type[Any], ResourceSchema]
) -> dict[str, tuple[Asked, ...]]:
    """The validators of each field that are asked before a write; faults go to what was gathered."""
    validators = {}
    for name in shapes:
        asked = []
        for one in read_validate(found.fields[name].validate)[1]:
            try:
                asked.append(_beside_parent(one, name, shapes, schemas) if isinstance(one, MatchesParent) else one)
            except ValueError as error:
                found.faults.append(sentence(f"{found.name}.{name}: {error}"))
        if asked:
            validators[name] = tuple(asked)
    return validators


def check_required_on(found: Gathered, names: Iterable[str]) -> None:
    """Notes what is wrong with the fields that must be given in a replace only."""
    for name in names:
        options = found.fields[name]
        has_default = options.default is not ABSENT or options.default_factory is not None
        if options.required_on not in (None, "replace"):
            found.faults.append(f"{found.name}.{name}: required_on is 'replace', or left out.")
        elif options.required_on is not None and not has_default:
            text = "without a default it is required always; with one, required_on='replace' means something."
            found.faults.append(f"{found.name}.{name}: {text}")


def _beside_parent(
    asked: MatchesParent, name: str, shapes: Mapping[str, Shape], schemas: Mapping[type[Any], ResourceSchema]
) -> MatchesParent:
    """A validator of a field that is held against that of a parent, with plain values. Raises ValueError when it cannot
    be."""
    references = [n for n, shape in shapes.items() if shape.target is not None]
    if asked.reference not in references:
        hint = nearest(asked.reference, references)
        raise ValueError(f"MatchesParent names {asked.reference!r}, which is no reference{hint}")
    target = schemas[shapes[asked.reference].target]
    if name not in target.fields:
        raise ValueError(f"MatchesParent compares it with {target.name}.{name}, which there is not")
    there, here = target.fields[name], shapes[name].type
    is_alike = (there.type.kind, there.type.places) == (here.kind, here.places)
    if there.secret or "json" in (there.type.kind, here.kind) or not is_alike:
        raise ValueError(
            f"MatchesParent cannot compare it with {target.name}.{name}: both are plain values of one type"
        )
    try:
        return asked.with_plain(partial(_plain, type=here), partial(_plain, type=there.type))
    except ValueError as error:
        raise ValueError(f"the check of MatchesParent is not valid: {error}") from None


def _plain(value: Any, type: FieldType) -> Plain:
    if value is None:
        return None
    return type.parse(value) if isinstance(value, str) else type.check(value)
