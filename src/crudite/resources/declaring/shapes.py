"""From the annotation of a field to all that is made of it: its type in the schema, its validation, its
conversions.

A value has three forms here: the Python value that application code holds, the plain value that is stored and
travels, and what comes out of Pydantic when a body has been validated, which is plain already where it can
be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from itertools import product
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin
from uuid import UUID

import msgspec
import pydantic
from pydantic import AwareDatetime, EmailStr, TypeAdapter
from pydantic_core import SchemaError

from crudite.resources.declaring.annotations import (
    SCALARS,
    bounded,
    choices_of,
    describe,
    is_model,
    is_plain,
    peel,
    storable,
    type_name,
)
from crudite.resources.declaring.field_validators import read_validate
from crudite.resources.declaring.fields import FieldOptions, Parent, Ref, Special
from crudite.schema import (
    SAFE_INTEGER,
    FieldType,
    Kind,
    format_datetime,
    format_decimal,
)
from crudite.types import Plain
from crudite.validators import Validator
from crudite.validators.base import Every, Subject

Convert: TypeAlias = Callable[[Any], Any]
Owner: TypeAlias = Callable[[Any], FieldType]
"""Gives the type of a resource's key. Raises ValueError when the class is no resource of the application."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What a field's annotation means.

    `body` is what Pydantic validates a given value by, `shown` what it documents a stored one by (null left
    out of both); `convert` makes the plain value of a validated one (None: it is plain), `to_plain` that of a
    Python value, `from_plain` goes back (None: they are the same). They raise ValueError for what cannot be
    stored, and are never given null. `is_object`: a value may be a JSON object, which a merge patch changes
    in part. `target` is the class that a reference points at.
    """

    type: FieldType
    body: Any
    shown: Any
    to_plain: Convert
    convert: Convert | None = None
    from_plain: Convert | None = None
    nullable: bool = False
    is_object: bool = False
    is_password: bool = False
    target: Any = None
    is_parent: bool = False


def read_annotation(annotation: Any, options: FieldOptions, key_of: Owner) -> Shape:
    """The shape of a field. Raises ValueError with what is wrong and what to write in its place."""
    inner, metadata, nullable = peel(annotation)
    special = next((m.name for m in metadata if isinstance(m, Special)), None)
    others = tuple(m for m in metadata if not isinstance(m, Special | Validator))
    asked = (*(m for m in metadata if isinstance(m, Validator)), *read_validate(options.validate)[0])
    nullable = nullable or (inner is Any and not asked)  # null is JSON, too; validators are asked of it
    if get_origin(inner) in (Ref, Parent):
        target, _, may_be_null = peel(get_args(inner)[0])
        shape = _constrained(_scalar_of(key_of(target)), options, None)
        shape = replace(shape, target=target, is_parent=get_origin(inner) is Parent, nullable=nullable or may_be_null)
    else:
        shape = replace(_constrained(_shape(inner, special, options), options, special), nullable=nullable)
    if others:
        shape = replace(shape, body=Annotated[(shape.body, *others)])
    return _asked(shape, asked) if asked else shape


_NAMES = {"email": "Email", "password": "Password", "bigint": "BigInt"}


def key_type(annotation: Any) -> FieldType:
    """The type of a resource's key. Raises ValueError when it cannot be one."""
    inner, metadata, nullable = peel(annotation)
    kinds: dict[Any, Kind] = {UUID: "uuid", str: "text", int: "integer"}
    named = [_NAMES[m.name] for m in metadata if isinstance(m, Special)]
    if inner not in kinds or nullable or named:
        given = "".join(named) or f"{type_name(inner)}{' | None' if nullable else ''}"
        raise ValueError(f"a key is a UUID, str or int, not {given}")
    return FieldType(kinds[inner])


def _shape(inner: Any, special: str | None, options: FieldOptions) -> Shape:
    if special == "email":
        return replace(_scalar_of(FieldType("text")), body=EmailStr, shown=EmailStr)
    if special == "bigint":
        return _scalar_of(FieldType("bigint"))
    if special == "password":
        return replace(_scalar_of(FieldType("text")), is_password=True)
    if inner is Decimal:
        if options.decimal_places is None or not 0 <= options.decimal_places <= 18:
            raise ValueError("a Decimal says how many decimal places it has: Field(decimal_places=2)")
        return _scalar_of(FieldType("decimal", places=options.decimal_places))
    if inner in SCALARS:
        return _scalar_of(FieldType(SCALARS[inner]))
    described = choices_of(inner)
    return _choice(described) if described is not None else _json(inner)


def _scalar_of(type: FieldType) -> Shape:
    """The shape of a value that is no JSON and no enumeration."""
    body, shown, convert = _BODIES[type.kind]
    from_plain = type.from_plain if type.kind in _NOT_PLAIN else None
    if type.kind == "decimal":
        places = type.places
        body, convert = (
            Annotated[Decimal, pydantic.Field(max_digits=18, decimal_places=places)],
            _decimal(places),
        )
    return Shape(type, body, shown, _TO_PLAIN.get(type.kind, type.check), convert, from_plain)


def _choice(described: FieldType) -> Shape:
    body: Any = Literal.__getitem__(described.choices)
    if described.kind == "integer":
        body = Annotated[body, pydantic.BeforeValidator(_no_boolean)]
    return Shape(described, body, body, described.check, from_plain=described.enum)


def _json(inner: Any) -> Shape:
    described = describe(inner)
    bare = inner in (Any, object, dict, list) or described.kind != "json"
    # Else a NaN in what is not declared would silently become null.
    config = None if is_model(inner) else pydantic.ConfigDict(ser_json_inf_nan="constants")
    adapter: TypeAdapter[Any] = TypeAdapter(inner, config=config)
    is_object = inner in (Any, object) or get_origin(inner) in (dict, Mapping) or inner is dict or is_model(inner)

    def to_plain(value: Any) -> Plain:
        plain = adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
        return storable(plain)

    def from_plain(value: Plain) -> Any:
        return adapter.validate_json(msgspec.json.encode(value))

    body = bounded(inner)
    if not is_plain(inner):
        body = Annotated[body, pydantic.AfterValidator(storable if bare else to_plain)]
    return Shape(described, body, inner, to_plain, None, from_plain, is_object=is_object)


def _constrained(shape: Shape, options: FieldOptions, special: str | None) -> Shape:
    """The shape with the limits of `Field(…)`, and those that hold always."""
    limits = dict(options.constraints)
    for name in limits:
        if shape.type.kind not in _LIMITS[name] and not (name in _LENGTHS and _has_length(shape)):
            raise ValueError(f"{name} does not go with {_WORDS.get(shape.type.kind, shape.type.kind)}")
    _check_limits(limits, shape.type.kind)
    if "pattern" in limits:
        _check_pattern(limits["pattern"])
    if special == "password":
        limits = {"min_length": 8, "max_length": 1024, **limits}
    if shape.type.kind == "integer" and shape.type.choices is None:
        if "gt" not in limits:
            limits["ge"] = max(limits.get("ge", -SAFE_INTEGER), -SAFE_INTEGER)
        if "lt" not in limits:
            limits["le"] = min(limits.get("le", SAFE_INTEGER), SAFE_INTEGER)
    if options.decimal_places is not None and shape.type.kind != "decimal":
        raise ValueError(f"decimal_places does not go with {_WORDS.get(shape.type.kind, shape.type.kind)}")
    about: dict[str, Any] = {
        "title": options.title,
        "description": options.description,
        "examples": list(options.examples) or None,
    }
    said = {name: value for name, value in about.items() if value is not None}
    shown = Annotated[shape.shown, pydantic.Field(**said)] if said else shape.shown
    both = {**limits, **said}
    return replace(shape, body=Annotated[shape.body, pydantic.Field(**both)] if both else shape.body, shown=shown)


def _asked(shape: Shape, validators: tuple[Validator, ...]) -> Shape:
    """The shape with validators that all of its values must pass."""
    for one in validators:
        if _subject(shape.type) not in one.subjects:
            raise ValueError(
                f"the validator {one.rule} does not go with {_WORDS.get(shape.type.kind, shape.type.kind)}"
            )
    return replace(shape, body=Annotated[shape.body, Every(validators)])


def _subject(type: FieldType) -> Subject | None:
    if type.kind != "json":
        return type.kind if type.kind in ("text", "integer", "float", "boolean") else None
    if type.item is not None:
        return "list"
    return "object" if type.values is not None or type.members is not None else "anything"


def _check_limits(limits: Mapping[str, Any], kind: Kind) -> None:
    """Raises ValueError for limits of another kind, and for a lower one above the upper one: no value would pass."""
    for name, value in limits.items():
        if name in _LENGTHS and (not isinstance(value, int) or isinstance(value, bool)):
            raise ValueError(f"{name} is a whole number, not {value!r}")
        if name == "pattern" and not isinstance(value, str):
            raise ValueError(f"the pattern is a text, not {value!r}")
        if isinstance(value, str) and kind in _NUMBERS:
            raise ValueError(f"{name} is a number, not {value!r}")
    for lower, upper in (*product(("gt", "ge"), ("lt", "le")), _LENGTHS):
        if lower in limits and upper in limits:
            least, most = limits[lower], limits[upper]
            if least > most or (least == most and not {lower, upper} <= {"ge", "le", *_LENGTHS}):
                raise ValueError(f"nothing passes {lower}={least!r} and {upper}={most!r}")


def _check_pattern(pattern: str) -> None:
    try:
        TypeAdapter(Annotated[str, pydantic.Field(pattern=pattern)])
    except SchemaError as error:
        raise ValueError(f"the pattern cannot be read: {str(error).strip().splitlines()[-1]}") from None


def _has_length(shape: Shape) -> bool:
    return shape.type.kind == "json" and (shape.type.item is not None or shape.type.values is not None)


def _decimal(places: int) -> Convert:
    return lambda value: format_decimal(value, places)


def _plain_date(value: Any) -> Plain:
    if isinstance(value, datetime):
        raise ValueError("expected a date, got a datetime")
    return FieldType("date").check(value)


def _plain_time(value: time) -> Plain:
    if isinstance(value, time) and value.tzinfo is not None:
        raise ValueError("expected a time without a zone")
    return FieldType("time").check(value)


def _plain_datetime(value: Any) -> Plain:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("expected a datetime with a zone, such as datetime.now(UTC)")
    if not value.utcoffset():
        return value.isoformat(timespec="microseconds")[:26] + "Z"
    try:
        return format_datetime(value)
    except OverflowError:
        raise ValueError("expected a moment between the years 1 and 9999 in UTC") from None


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected an integer")
    return value


def _python_bigint(value: Any) -> Any:
    return int(FieldType("bigint").check(value))


_NOT_PLAIN = ("bigint", "decimal", "date", "time", "datetime", "uuid")
_BIGINT_SCHEMA = pydantic.WithJsonSchema({"type": "string", "pattern": "^-?[0-9]{1,19}$"})
_DECIMAL_SCHEMA = pydantic.WithJsonSchema({"type": "string", "format": "decimal"})
_BODIES: dict[Kind, tuple[Any, Any, Convert | None]] = {
    "text": (str, str, None),
    "integer": (int, int, None),
    "bigint": (Annotated[int, pydantic.BeforeValidator(_python_bigint), _BIGINT_SCHEMA],
               Annotated[int, _BIGINT_SCHEMA], str),
    "float": (Annotated[float, pydantic.AllowInfNan(False)], float, None),
    "decimal": (Decimal, Annotated[Decimal, _DECIMAL_SCHEMA], None),
    "boolean": (bool, bool, None),
    "date": (date, date, date.isoformat),
    "time": (Annotated[time, pydantic.AfterValidator(_plain_time)], time, None),
    "datetime": (AwareDatetime, datetime, _plain_datetime),
    "uuid": (UUID, UUID, str),
}  # fmt: skip
_TO_PLAIN: dict[Kind, Convert] = {"date": _plain_date, "time": _plain_time, "datetime": _plain_datetime}

_ORDERED: tuple[Kind, ...] = ("integer", "bigint", "float", "decimal", "date", "time", "datetime")
_NUMBERS: tuple[Kind, ...] = ("integer", "bigint", "float", "decimal")
_LENGTHS = ("min_length", "max_length")
_LIMITS: dict[str, tuple[Kind, ...]] = {
    "min_length": ("text",), "max_length": ("text",), "pattern": ("text",), "gt": _ORDERED, "ge": _ORDERED,
    "lt": _ORDERED, "le": _ORDERED, "multiple_of": ("integer", "float", "decimal"),
}  # fmt: skip
_WORDS: dict[Kind, str] = {"text": "a text", "boolean": "a boolean", "uuid": "a key", "json": "JSON"}
