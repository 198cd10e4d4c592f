"""A query that is resolved, allowed and bound: what a store is asked to read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import msgspec

from crudite.query.tree import EVERYTHING, Filter, Hop, Path
from crudite.schema import Link, ResourceSchema
from crudite.types import Key, Plain

INCLUDED = "_included"
"""The member of a shown record that holds what is included in it. No field's name starts with an underscore."""

MOST_INCLUDED = 100
"""The most records that are included along one link, of one record."""

MOST_GROUPS = 1000
"""The most groups of an aggregate."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of a sort: null is the lowest value."""

    path: Path
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Mask:
    """Which fields are shown: `always`, in order, and `sometimes`, where the field's condition holds.

    A field whose condition does not hold is absent from the record. With `includes` the record has one more member,
    INCLUDED, last: an object with a member for each of them.
    """

    always: tuple[str, ...]
    sometimes: tuple[tuple[str, Filter], ...] = ()
    includes: "tuple[Include, ...]" = ()

    def ways(self) -> "Iterator[tuple[Include, ...]]":
        """Every include, also those within others, as the way to it: the outermost first."""
        for include in self.includes:
            yield (include,)
            yield from ((include, *way) for way in include.selection.mask.ways())


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

    def filters(self) -> Iterator[tuple[ResourceSchema, Filter]]:
        """Every filter that decides what is shown, with the resource whose records it is asked of."""
        yield self.schema, self.filter
        for _, filter in self.mask.sometimes:
            yield self.schema, filter
        for include in self.mask.includes:
            yield self.schema, include.guard
            if isinstance(include.along, Through):
                yield include.along.joining, include.along.filter
            yield from include.selection.filters()

    def with_filters(self, change: Callable[[Filter], Filter]) -> "Selection":
        """The selection with every filter replaced by what `change` makes of it."""
        mask = self.mask
        sometimes = tuple([(name, change(filter)) for name, filter in mask.sometimes])
        includes = tuple([one.with_filters(change) for one in mask.includes])
        return Selection(self.schema, change(self.filter), replace(mask, sometimes=sometimes, includes=includes))


@dataclass(frozen=True, slots=True)
class Through:
    """The way along a link that goes on: over those records of `joining` that point here and for which `filter` holds,
    to the records that their reference `to` points at."""

    link: Link
    joining: ResourceSchema
    to: str
    filter: Filter = EVERYTHING

    @property
    def name(self) -> str:
        """The name of the link."""
        return self.link.name


@dataclass(frozen=True, slots=True)
class Include:
    """Other records, shown inside a record as far as `selection` goes, where `guard` holds of that record.

    Along a hop it is the record that the reference points at, else null; along a link to one it is the record that
    points back, else null. Along any other link it is a list of those that point back, or that are reached through
    others, each once, in the order of their keys, at most so many.
    """

    along: Hop | Link | Through
    selection: Selection
    guard: Filter = EVERYTHING
    most: int = MOST_INCLUDED

    @property
    def name(self) -> str:
        """The name of the reference or the link, under which it is shown."""
        return self.along.field.name if isinstance(self.along, Hop) else self.along.name

    @property
    def schemas(self) -> tuple[ResourceSchema, ...]:
        """The resources whose records decide what is included, but for what is included in those."""
        own = self.selection.schema
        return (self.along.joining, own) if isinstance(self.along, Through) else (own,)

    def with_filters(self, change: Callable[[Filter], Filter]) -> "Include":
        """The same with every filter replaced by what `change` makes of it."""
        along = self.along
        if isinstance(along, Through):
            along = replace(along, filter=change(along.filter))
        return Include(along, self.selection.with_filters(change), change(self.guard), self.most)


Function: TypeAlias = Literal["count", "sum", "avg", "min", "max"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about a set of records: how many, or what the values at a path come to. Nulls do not count."""

    function: Function
    path: Path | None = None

    @property
    def name(self) -> str:
        """Its name in a group: `count`, `sum_estimate`."""
        return self.function if self.path is None else f"{self.function}_{'.'.join(self.path.names)}"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What all records of a selection come to: one measure of them; or, with `by`, the measures of each group of
    records that have the same values at these paths."""

    measures: tuple[Measure, ...]
    by: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path that is read, each once."""
        measured = [measure.path for measure in self.measures if measure.path is not None]
        return tuple(dict.fromkeys((*self.by, *measured)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the members of a group, in order."""
        return (*(".".join(path.names) for path in self.by), *(measure.name for measure in self.measures))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to read.

    With `keys`: the records of the selection that have these keys, in any order. Else: the records in the
    order of `sort`, which ends with the key; from `start` (exclusive: the values of the sort keys of some
    record, plain) on, or, `backwards`, those before it, nearest last, so that a page always reads in the
    order of the sort; up to `until` (inclusive); at most `limit`; after skipping `offset`. `total` asks how many
    records the selection has in all.

    With `aggregate`, and nothing but a selection: what the records come to. Then the page's records are the JSON text
    of the one value or, with `by`, those of the groups in the order of their values, at most MOST_GROUPS, with
    `more` for further ones; `keys` and `versions` are empty.
    """

    selection: Selection
    keys: tuple[Key, ...] | None = None
    sort: tuple[SortKey, ...] = ()
    limit: int | None = None
    start: tuple[Plain, ...] | None = None
    until: tuple[Plain, ...] | None = None
    backwards: bool = False
    offset: int = 0
    total: bool = False
    aggregate: Aggregate | None = None


class Need(msgspec.Struct, frozen=True):
    """A write depends on a record of another resource: one of `selection` must have `key`.

    `field` names the field of the written record that points there; `seen` is what of the needed one must be as it was
    seen, besides.
    """

    field: str
    selection: Selection
    key: Key
    seen: Mapping[str, Plain] = {}


def everything(schema: ResourceSchema) -> Selection:
    """All records of a resource with all fields but the secret ones."""
    return Selection(schema, EVERYTHING, Mask(tuple(f.name for f in schema.fields.values() if not f.secret)))
