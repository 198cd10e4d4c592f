"""A query that is resolved, allowed and bound: what a store is asked to read."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from crudite.query.tree import EVERYTHING, Filter, Path
from crudite.schema import ResourceSchema
from crudite.types import Key, Plain


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of a sort: null is the lowest value."""

    path: Path
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Mask:
    """Which fields are shown: `always`, in order, and `sometimes`, where the field's condition holds.

    A field whose condition does not hold is absent from the record.
    """

    always: tuple[str, ...]
    sometimes: tuple[tuple[str, Filter], ...] = ()


@dataclass(frozen=True, eq=False)
class Selection:
    """Which records of a resource, and what is shown of them: a bound filter and a mask.

    Compared by identity; make it once and use it again, since stores keep compiled statements by it.
    """

    schema: ResourceSchema
    filter: Filter
    mask: Mask
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    """For whoever compiles the selection to keep the result in."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to read.

    With `keys`: the records of the selection that have these keys, in any order. Else: the records in the
    order of `sort`, which ends with the key; from `start` (exclusive: the values of the sort keys of some
    record, plain) on, or, `backwards`, those before it, nearest last, so that a page always reads in the
    order of the sort; at most `limit`; after skipping `offset`. `total` asks how many records the selection
    has in all.
    """

    selection: Selection
    keys: tuple[Key, ...] | None = None
    sort: tuple[SortKey, ...] = ()
    limit: int | None = None
    start: tuple[Plain, ...] | None = None
    backwards: bool = False
    offset: int = 0
    total: bool = False


class Need(msgspec.Struct, frozen=True):
    """A write depends on a record of another resource: one of `selection` must have `key`.

    `field` names the field of the written record that points there.
    """

    field: str
    selection: Selection
    key: Key


def everything(schema: ResourceSchema) -> Selection:
    """All records of a resource with all fields but the secret ones."""
    return Selection(schema, EVERYTHING, Mask(tuple(f.name for f in schema.fields.values() if not f.secret)))
