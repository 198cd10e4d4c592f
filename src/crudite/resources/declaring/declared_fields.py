"""What fields say of themselves beyond their form, compiled: the validators that are asked before a write."""

from collections.abc import Iterable, Mapping
from typing import Any

from crudite.resources.declaring.field_validators import Asked, read_validate
from crudite.resources.declaring.fields import ABSENT
from crudite.resources.declaring.gather import Gathered, nearest, sentence
from crudite.resources.declaring.shapes import Shape
from crudite.schema import ResourceSchema
from crudite.validators import MatchesParent


def validators_of(
    found: Gathered, shapes: Mapping[str, Shape], schemas: Mapping[type[Any], ResourceSchema]
) -> dict[str, tuple[Asked, ...]]:
    """The validators of each field that are asked before a write; faults go to what was gathered."""
    validators = {}
    for name in shapes:
        asked = read_validate(found.fields[name].validate)[1]
        if asked:
            validators[name] = asked
        for one in asked:
            fault = _parent_fault(one, name, shapes, schemas) if isinstance(one, MatchesParent) else ""
            if fault:
                found.faults.append(sentence(f"{found.name}.{name}: {fault}"))
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


def _parent_fault(
    asked: MatchesParent, name: str, shapes: Mapping[str, Shape], schemas: Mapping[type[Any], ResourceSchema]
) -> str:
    """Why a field cannot be held against that of a parent; nothing when it can."""
    references = [n for n, shape in shapes.items() if shape.target is not None]
    if asked.reference not in references:
        return f"MatchesParent names {asked.reference!r}, which is no reference{nearest(asked.reference, references)}"
    target = schemas[shapes[asked.reference].target]
    if name not in target.fields:
        return f"MatchesParent compares it with {target.name}.{name}, which there is not"
    there, here = target.fields[name], shapes[name].type
    if there.secret or "json" in (there.type.kind, here.kind) or there.type.kind != here.kind:
        return f"MatchesParent cannot compare it with {target.name}.{name}: both are plain values of one type"
    return ""
