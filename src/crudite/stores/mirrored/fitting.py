"""What a database has of a record, as plain data that fits the fields of its resource."""

from collections.abc import Mapping
from typing import Any

import msgspec

from crudite.schema import NO_DEFAULT, FieldSpec, Kind, ResourceSchema
from crudite.stores.mirrored.mirror import MIRROR_SETS
from crudite.types import Key, Plain, PlainRecord


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
        return msgspec.json.decode(msgspec.json.encode(given))
    except (TypeError, ValueError) as error:
        raise ValueError(f"it is no JSON: {error}") from None


def _as_declared(kind: Kind, given: Any) -> Any:
    """The value, where a database has no such type, as what it means: 1 for true, 7.0 for 7."""
    if kind == "boolean" and given in (0, 1):
        return bool(given)
    if kind in ("integer", "bigint") and isinstance(given, float) and given.is_integer():
        return int(given)
    return given
