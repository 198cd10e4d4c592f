"""The values that a filter or a sort compares of plain records, and where other records are found."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Final, Protocol, TypeAlias

from crudite.query.tree import Hop, Path
from crudite.schema import INT64, FieldType, ResourceSchema
from crudite.types import Key, Plain, PlainRecord

Getter: TypeAlias = Callable[[PlainRecord], Any]
"""Tells something of a record."""

_ABSENT: Final[Any] = object()


class Related(Protocol):
    """Where a matcher finds other records."""

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        """The record with a key, None when there is none."""
        ...

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> Iterable[PlainRecord]:
        """The records of a resource whose field holds a key."""
        ...


class NoRelated:
    """For filters that look at nothing but the record itself."""

    def get(self, schema: ResourceSchema, key: Key) -> PlainRecord | None:
        """Raises LookupError: nothing else is known here."""
        raise LookupError(f"the filter reads {schema.name}, and only one record is at hand")

    def pointing(self, schema: ResourceSchema, field: str, key: Key) -> Iterable[PlainRecord]:
        """Raises LookupError: nothing else is known here."""
        raise LookupError(f"the filter reads {schema.name}, and only one record is at hand")


def value_at(path: Path, related: Related) -> Getter:
    """The comparable value at a path; None where it leads nowhere."""
    name, inside, type, comparable = path.field.name, path.inside, path.type, path.type.comparable
    own: Getter
    if inside or type.kind == "json":
        own = _inside(name, inside, type)
    elif type.kind in ("bigint", "decimal"):
        own = lambda record: comparable(record[name])  # noqa: E731
    else:
        own = itemgetter(name)
    return along(path.hops, related, own)


def along(hops: tuple[Hop, ...], related: Related, own: Getter) -> Getter:
    """What `own` says of the record that the hops lead to; None where they lead nowhere."""
    if not hops:
        return own
    steps = [(hop.field.name, hop.target) for hop in hops]

    def follow(record: PlainRecord) -> Any:
        for name, target in steps:
            key = record[name]
            there = None if key is None else related.get(target, key)
            if there is None:
                return None
            record = there
        return own(record)

    return follow


def _inside(name: str, inside: tuple[str, ...], type: FieldType) -> Getter:
    read = reading(type)
    return lambda record: read(_dig(record[name], inside))


def reading(type: FieldType) -> Callable[[Plain], Plain]:
    """What is compared of a value inside JSON; None where it is of another type."""
    fits, is_number = _fits(type), type.kind in ("integer", "float")

    def read(value: Plain) -> Plain:
        if not fits(value):
            return None
        return _as_float(value) if is_number and not -INT64 - 1 <= value <= INT64 else value

    return read


def _as_float(value: int | float) -> float | None:
    """What a database reads where an integer in JSON has more than 64 bits; None beyond the largest float."""
    try:
        return float(value)
    except OverflowError:
        return None


def _dig(value: Plain, inside: tuple[str, ...]) -> Plain:
    for name in inside:
        if not isinstance(value, dict):
            return _ABSENT
        value = value.get(name, _ABSENT)
    return value


def is_there(value: Plain, inside: tuple[str, ...]) -> bool:
    """Whether JSON holds anything at a place, null among it."""
    return _dig(value, inside) is not _ABSENT


def _fits(type: FieldType) -> Callable[[Plain], bool]:
    """Whether a value inside JSON is stored as the declared type: true, 1 and "1" are three values."""
    match type.kind:
        case "boolean":
            return lambda value: isinstance(value, bool)
        case "integer":
            return lambda value: isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
        case "json" if type.item is not None:
            return lambda value: isinstance(value, list)
        case "json" if type.members is not None or type.values is not None:
            return lambda value: isinstance(value, dict)
        case "json":
            return lambda value: value is not None and value is not _ABSENT
    return lambda value: isinstance(value, str)
