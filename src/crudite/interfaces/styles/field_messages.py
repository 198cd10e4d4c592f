"""What is wrong with the values of a request as booster told it: one word for each field."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from crudite.errors import Fault
from crudite.resources.declaring.definition import Definition
from crudite.schema import FieldSpec

Messages: TypeAlias = dict[str, str | list[str]]

_MESSAGES = {
    "missing": "required",
    "unknown_field": "unknownfield",
    "immutable": "immutable",
    "read_only": "immutable",
    "not_unique": "notunique",
    "invalid_parent": "invalidparent",
}
_UNSAID = "This value is refused."  # what is said for a validator that says nothing
_TYPES: Mapping[str, tuple[str, str]] = {
    "integer": ("int_", "integer"),
    "text": ("string_type", "string"),
    "float": ("float_", "number"),
    "boolean": ("bool_", "boolean"),
}
"""How the codes begin of a value that is not of the type of its field, by its kind; and the validator of that type."""


def messages_of(faults: Iterable[Fault], definition: Definition | None) -> Messages | list[Messages]:
    """The message of each field, or of the fields of each record where several were sent to a resource."""
    found: dict[str, Messages] = {}
    for fault in faults:
        place = (fault.pointer or "").lstrip("/").split("/")
        index = place.pop(0) if place[0].isdigit() else ""
        name = (fault.parameter or "").partition("[")[0] or (place[0] if place else "")  # the operator may be ours
        if name:
            spec = definition.schema.fields.get(name) if definition is not None and place else None
            _add(found.setdefault(index, {}), name, _message(fault, spec, is_inside=len(place) > 1))
    return [found[index] for index in found] if found and "" not in found else found.get("", {})


def _message(fault: Fault, spec: FieldSpec | None, *, is_inside: bool) -> str:
    if fault.code == "refused":  # by a validator of the application's, in its own words if it had some
        return "invalid" if fault.detail == _UNSAID else fault.detail
    return _MESSAGES.get(fault.code) or fault.rule or _type_missed(fault.code, spec, is_inside=is_inside) or "invalid"


def _type_missed(code: str, spec: FieldSpec | None, *, is_inside: bool) -> str | None:
    """The validator that is called as the type of a field, where a value is not of that type; None for a reference,
    whose value is that of another record."""
    if spec is None or spec.reference is not None:
        return None
    if spec.type.kind != "json" and not is_inside:
        start, name = _TYPES.get(spec.type.kind, ("", ""))
        return name if name and code.startswith(start) else None
    item = spec.type.item
    if item is None:
        return None
    start, name = _TYPES.get(item.kind, ("", ""))
    is_of_list = name in ("integer", "string")
    if not is_inside:
        return (f"{name}Array" if is_of_list else "array") if code == "list_type" else None
    return f"{name}Array" if is_of_list and code.startswith(start) else None


def _add(messages: Messages, name: str, message: str) -> None:
    """One message of a field stands alone, several are a list."""
    given = messages.get(name)
    if given is None:
        messages[name] = message
    elif message not in (given if isinstance(given, list) else [given]):
        messages[name] = [*(given if isinstance(given, list) else [given]), message]
