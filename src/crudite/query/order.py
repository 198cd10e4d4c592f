"""The order of a sort in memory: the same as the SQL's, on plain records."""

from collections.abc import Callable, Sequence
from functools import cmp_to_key
from typing import Any

from crudite.query.plan import SortKey
from crudite.query.values import NoRelated, Related, value_at
from crudite.schema import FieldType
from crudite.types import PlainRecord


def compile_sort(sort: Sequence[SortKey], related: Related = NoRelated()) -> Callable[[PlainRecord], Any]:  # noqa: B008
    """A key function for `sorted` that puts plain records into the order of a sort: null is the lowest."""
    values = [(value_at(key.path, related), key.descending) for key in sort]

    def compare(left: PlainRecord, right: PlainRecord) -> int:
        for value, descending in values:
            a, b = value(left), value(right)
            if a == b:
                continue
            lower = a is None or (b is not None and a < b)
            return 1 if lower == descending else -1
        return 0

    return cmp_to_key(compare)


def compile_order(sort: Sequence[SortKey]) -> Callable[[PlainRecord], Any]:
    """The function that tells where a plain record stands in a sort by its own fields: places compare with `<`, and
    are equal only for records whose sort values are."""
    keys = [(value_at(key.path, NoRelated()), _ranked(key.path.type, key.descending)) for key in sort]
    return lambda record: tuple([ranked(value(record)) for value, ranked in keys])


class _Reversed:
    """A value that compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]


def _ranked(type: FieldType, descending: bool) -> Callable[[Any], tuple[Any, ...]]:
    """Of a comparable value what compares as it stands in a sort: null is the lowest value."""
    if not descending:
        return lambda value: (False,) if value is None else (True, value)
    if type.kind in ("integer", "float", "bigint", "decimal", "boolean"):
        return lambda value: (True,) if value is None else (False, -value)
    return lambda value: (True,) if value is None else (False, _Reversed(value))
