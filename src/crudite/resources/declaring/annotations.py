"""Annotations read by themselves: what is behind their names, and what may lie inside JSON."""

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import pydantic
from pydantic import AwareDatetime, BaseModel, EmailStr
from typing_extensions import get_type_hints, is_typeddict

from crudite.resources.declaring.fields import Parent, Ref, Special
from crudite.schema import SAFE_INTEGER, FieldType, Kind, refuse_unstorable_text
from crudite.types import Plain

SCALARS: dict[Any, Kind] = {
    str: "text", int: "integer", float: "float", bool: "boolean", date: "date", time: "time",
    datetime: "datetime",
    UUID: "uuid",
}  # fmt: skip


def peel(annotation: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The type without `Annotated`, aliases and null; the metadata; whether null is allowed."""
    if hasattr(annotation, "__value__") and not isinstance(annotation, type):
        return peel(annotation.__value__)
    if get_origin(annotation) is Annotated:
        inner, metadata, nullable = peel(annotation.__origin__)
        return inner, (*metadata, *annotation.__metadata__), nullable
    if hasattr(annotation, "__supertype__"):
        return peel(annotation.__supertype__)
    if get_origin(annotation) in (Union, UnionType):
        some = [part for part in get_args(annotation) if part is not NoneType]
        if len(some) == 1 and len(some) < len(get_args(annotation)):
            inner, metadata, _ = peel(some[0])
            return inner, metadata, True
    if get_origin(annotation) is Literal and None in get_args(annotation):
        rest = tuple(choice for choice in get_args(annotation) if choice is not None)
        return Literal[rest], (), True
    return annotation, (), False


def choices_of(inner: Any) -> FieldType | None:
    """The type of a `Literal` or an enumeration, else None. Raises ValueError when the choices are mixed."""
    enum: type[Enum] | None = inner if isinstance(inner, type) and issubclass(inner, Enum) else None
    if enum is None and get_origin(inner) is not Literal:
        return None
    values = tuple(member.value for member in enum) if enum is not None else get_args(inner)
    if not values or len({type(value) for value in values}) != 1 or type(values[0]) not in (str, int):
        raise ValueError("the choices of an enumeration are all texts, or all integers")
    kind: Kind = "text" if isinstance(values[0], str) else "integer"
    return FieldType(kind, choices=tuple(dict.fromkeys(values)), enum=enum)


def describe(annotation: Any, seen: tuple[Any, ...] = ()) -> FieldType:
    """The type of a value inside JSON. Raises ValueError when it cannot be stored."""
    inner, metadata, _ = peel(annotation)
    if any(isinstance(m, Special) and m.name == "password" for m in metadata):
        raise ValueError("a Password is a field of its own, not inside JSON")
    if inner in SCALARS:
        return FieldType(SCALARS[inner])
    choices = choices_of(inner)
    if choices is not None:
        return choices
    if inner is Decimal or inner in (Any, object, dict, list) or inner in seen:
        return FieldType("json")
    if get_origin(inner) is list:
        return FieldType("json", item=describe(get_args(inner)[0], seen))
    if get_origin(inner) in (dict, Mapping):
        if peel(get_args(inner)[0])[0] is not str:
            raise ValueError("the names in a dictionary are texts: dict[str, …]")
        return FieldType("json", values=describe(get_args(inner)[1], seen))
    if is_model(inner):
        return FieldType("json", members={n: describe(a, (*seen, inner)) for n, a in _members(inner).items()})
    raise ValueError(_hint(inner))


def storable(value: Plain) -> Plain:
    """Returns a JSON value. Raises ValueError when something in it cannot be kept: U+0000 or a lone surrogate
    in a text or name, a number that is not finite or is an integer beyond 2^53."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            refuse_unstorable_text(one)
        elif isinstance(one, bool) or one is None:
            continue
        elif isinstance(one, int):
            if abs(one) > SAFE_INTEGER:
                raise ValueError(f"an integer in JSON lies between -{SAFE_INTEGER} and {SAFE_INTEGER}")
        elif isinstance(one, float):
            if one - one != 0:
                raise ValueError("a number in JSON is finite")
        elif isinstance(one, dict):
            pending.extend(one.keys())
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
        else:
            raise ValueError(f"{type(one).__name__} is no JSON value")
    return value


def nested_models(annotation: Any) -> set[Any]:
    """The Pydantic models, dataclasses and typed dictionaries in an annotation, which have names of their
    own."""
    found: set[Any] = set()
    pending = [annotation]
    while pending:
        inner, _, _ = peel(pending.pop())
        if is_model(inner) and inner not in found:
            found.add(inner)
            pending.extend(_members(inner).values())
        else:
            pending.extend(get_args(inner) if get_origin(inner) in (list, dict, Mapping, Union, UnionType) else ())
    return found


def bounded(annotation: Any) -> Any:
    """The annotation with the limits that hold inside JSON; models keep their own."""
    inner, metadata, nullable = peel(annotation)
    if inner is int:
        inner = Annotated[int, pydantic.Field(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
    elif inner is datetime:
        inner = AwareDatetime
    elif any(isinstance(m, Special) and m.name == "email" for m in metadata):
        inner = EmailStr
    elif get_origin(inner) is list:
        inner = list[bounded(get_args(inner)[0])]  # type: ignore[misc]
    elif get_origin(inner) is dict:
        inner = dict[str, bounded(get_args(inner)[1])]  # type: ignore[misc]
    metadata = tuple(m for m in metadata if not isinstance(m, Special))
    limited = Annotated[(inner, *metadata)] if metadata else inner
    return limited | None if nullable else limited


def is_plain(annotation: Any) -> bool:
    """Whether what Pydantic makes of a valid body is plain, and all of it has been checked."""
    inner, metadata, _ = peel(annotation)
    if metadata:
        return False
    if get_origin(inner) is list:
        return is_plain(get_args(inner)[0])
    if get_origin(inner) is dict:
        return is_plain(get_args(inner)[1])
    return inner in (str, int, float, bool) or get_origin(inner) is Literal


def is_model(inner: Any) -> bool:
    if not isinstance(inner, type):
        return False
    return issubclass(inner, BaseModel) or is_typeddict(inner) or dataclasses.is_dataclass(inner)


def _members(model: Any) -> dict[str, Any]:
    if issubclass(model, BaseModel):
        fields = model.model_fields.items()
        return {f.serialization_alias or f.alias or name: _annotated(f) for name, f in fields}
    hints = get_type_hints(model, include_extras=True)
    if dataclasses.is_dataclass(model):
        return {f.name: hints[f.name] for f in dataclasses.fields(model)}
    return {name: _without_required(hint) for name, hint in hints.items()}


def _annotated(field: Any) -> Any:
    specials = tuple(m for m in field.metadata if isinstance(m, Special))
    return Annotated[(field.annotation, *specials)] if specials else field.annotation


def _without_required(hint: Any) -> Any:
    return get_args(hint)[0] if "equired" in str(get_origin(hint)) or "ReadOnly" in str(get_origin(hint)) else hint


def _hint(inner: Any) -> str:
    origin = get_origin(inner)
    if origin in (Ref, Parent):
        return "a reference is a field of its own; for many, make a resource that joins the two"
    if isinstance(inner, type) and "__declaration__" in vars(inner):
        name = inner.__name__
        return f"{name} is not a type of a field: use Ref[{name}], or Many[{name!r}] for those that point here"
    if inner in (Ref, Parent):
        return f"{inner.__name__} is not a type of a field: it says where it points, such as {inner.__name__}[Account]"
    if origin in (Union, UnionType):
        return "a field has one type, or one type `| None`"
    if origin in (tuple, set, frozenset) or inner in (tuple, set, frozenset):
        return f"{type_name(inner)} is not a type of a field: use list[…]"
    if inner in (bytes, bytearray, memoryview):
        return "bytes are not a type of a field: use str, with base64 for what is not text"
    if isinstance(inner, type) and inner.__name__ == "timedelta":
        return "timedelta is not a type of a field: use int or float, with the unit in the field's name"
    return f"{type_name(inner)} is not a type of a field"


def type_name(inner: Any) -> str:
    return inner.__name__ if isinstance(inner, type) else str(inner)
