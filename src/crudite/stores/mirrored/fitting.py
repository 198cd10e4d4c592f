"""What a database has of a record, as plain data that fits the fields of its resource."""

from collections.abc import Mapping
from typing import Any

import msgspec

from crudite.schema import NO_DEFAULT, FieldSpec, FieldType, Kind, ResourceSchema
from crudite.stores.mirrored.mirror import MIRROR_SETS
from crudite.types import Key, Plain, PlainRecord

_MOST_LEVELS = 250
"""Levels of JSON in a field: more than the some 200 that clients may send, and few enough to be compared."""
_ANY = FieldType("json")
_TEXTS = ("date", "time", "datetime", "uuid")
"""What is a text inside JSON, and may be more there than a field of its own: a time with a zone."""


class Unfit(ValueError):
    """A record does not fit its resource; says all reasons."""


def fitting(schema: ResourceSchema, given: Mapping[str, Any]) -> PlainRecord:
    """The record with all fields of its resource but those that the mirror sets. Raises Unfit with every reason."""
    record: PlainRecord = {}
    reasons = []
    for name, field in schema.fields.items():
        if name in MIRROR_SETS:
            continue
        try:
            record[name] = _value(field, given.get(name, NO_DEFAULT))
        except ValueError as error:
            reasons.append(f"{name}: {error}")
    if reasons:
        raise Unfit(", ".join(reasons))
    return record


def fitting_key(schema: ResourceSchema, given: Any) -> Key:
    """A key of a resource. Raises Unfit."""
    try:
        key: Key = schema.key_field.type.check(given)
    except ValueError as error:
        raise Unfit(str(error)) from None
    return key


def same(left: Plain, right: Plain) -> bool:
    """Whether two plain values are the same one: true is not 1, and 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _value(field: FieldSpec, given: Any) -> Plain:
    if given is NO_DEFAULT:
        if field.default is not NO_DEFAULT:
            return field.default
        if not field.nullable:
            raise ValueError("it is missing")
        return None
    if given is None:
        if not field.nullable:
            raise ValueError("it is null")
        return None
    kind = field.type.kind
    if kind != "json":
        return field.type.check(_as_declared(kind, given))
    try:
        value: Plain = msgspec.json.decode(msgspec.json.encode(given))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    _refuse_others(field.type, value, 0)
    return value


def _refuse_others(type: FieldType, value: Plain, depth: int) -> None:
    """Raises ValueError for JSON that is another than a field declares, or too deep. Null may stand anywhere."""
    if depth > _MOST_LEVELS:
        raise ValueError(f"it has more than {_MOST_LEVELS} levels")
    if type.kind != "json":
        if value is not None and not (type.kind in _TEXTS and isinstance(value, str)):
            type.check(_as_declared(type.kind, value))
    elif isinstance(value, list):
        if type.values is not None or type.members is not None:
            raise ValueError("expected an object, and got a list")
        for one in value:
            _refuse_others(type.item or _ANY, one, depth + 1)
    elif isinstance(value, dict):
        if type.item is not None:
            raise ValueError("expected a list, and got an object")
        for name, one in value.items():
            _refuse_others(type.values or (type.members or {}).get(name, _ANY), one, depth + 1)
    elif value is not None and (type.item or type.values or type.members is not None):
        raise ValueError(f"expected {'a list' if type.item else 'an object'}")


def _as_declared(kind: Kind, given: Any) -> Any:
    """The value, where a database has no such type, as what it means: 1 for true, 7.0 for 7."""
    if kind == "boolean" and given in (0, 1):
        return bool(given)
    if kind in ("integer", "bigint") and isinstance(given, float) and given.is_integer():
        return int(given)
    return given
