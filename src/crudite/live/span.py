"""A span: what has happened between two positions, as far as live queries can be concerned by it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from crudite.changes import Change
from crudite.live.keysets import KeySet, Use
from crudite.query.plan import Plan, Selection, SortKey, everything
from crudite.query.tree import Path, Test
from crudite.schema import ResourceSchema
from crudite.stores.base import Page
from crudite.types import Key

Fetch: TypeAlias = Callable[[Sequence[Plan]], Awaitable[Sequence[Page]]]
Spot: TypeAlias = tuple[ResourceSchema, str]
"""A field of a resource, where values are looked for."""


class Span:
    """Net changes by resource, and what they do to key sets: the `deltas` of their counts and their `flips`.

    The state of the sets is that at one of its ends: the new one if it looks `back`, else the old one. `lost` are
    sets of which the span cannot tell, `rows_lost` spots where more records were concerned than are read.
    """

    def __init__(self, changes: Mapping[str, Sequence[Change]], most_rows: int, *, back: bool = False) -> None:
        self.changes = changes
        self.back = back
        self.deltas: dict[KeySet, Counter[Any]] = {}
        self.flips: dict[KeySet, frozenset[Any]] = {}
        self.lost: set[KeySet] = set()
        self.rows_lost: set[Spot] = set()
        self._most_rows = most_rows
        self._rows: dict[Spot, dict[Any, list[Change]]] = {}
        self._touched: dict[str, set[Key]] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it the sets know both ends. Nothing may be awaited within."""
        try:
            for keys, flips in self.flips.items():
                if self.back:
                    keys.gone = flips
                else:
                    keys.coming = flips
            yield
        finally:
            for keys in self.flips:
                keys.coming = keys.gone = frozenset()

    async def fetch_rows(self, wanted: Mapping[Spot, frozenset[Any]], fetch: Fetch) -> None:
        """Reads the records that hold one of some values in some field, as far as that is not done yet."""
        plans: list[tuple[Spot, list[Any], Plan]] = []
        for spot, all_values in wanted.items():
            known = self._rows.setdefault(spot, {})
            missing = [value for value in all_values if value not in known]
            if len(missing) > self._most_rows:
                self.rows_lost.add(spot)
            elif missing and spot not in self.rows_lost:
                plans.append((spot, missing, _rows_plan(spot, missing, self._most_rows)))
        pages = await fetch([plan for _, _, plan in plans]) if plans else ()
        for (spot, values, _), page in zip(plans, pages, strict=True):
            if page.more:
                self.rows_lost.add(spot)
                continue
            rows = self._rows[spot]
            rows.update((value, []) for value in values)
            for key, text in zip(page.keys, page.records, strict=True):
                row = Change(spot[0], key, "updated", text, text, "")
                assert row.after is not None
                rows[row.after[spot[1]]].append(row)

    def wanted(self, schema: ResourceSchema, uses: Sequence[Use]) -> dict[Spot, frozenset[Any]]:
        """The spots and values of the records of a resource that the flips of some sets concern."""
        found: dict[Spot, frozenset[Any]] = {}
        for field, keys in uses:
            if keys in self.flips:
                found[schema, field] = found.get((schema, field), frozenset()) | self.flips[keys]
        return found

    def reached(self, schema: ResourceSchema, uses: Sequence[Use]) -> list[Change]:
        """The records that those flips concern, each as a change from itself to itself; without those that have
        changed, whose own images tell everything. Their rows must have been read."""
        touched = self.touched(schema)
        found: dict[Key, Change] = {}
        for spot, values in self.wanted(schema, uses).items():
            rows = self._rows[spot]
            found.update((row.key, row) for value in values for row in rows[value] if row.key not in touched)
        return list(found.values())

    def touched(self, schema: ResourceSchema) -> set[Key]:
        """The keys of the records of a resource that have changed."""
        if schema.name not in self._touched:
            self._touched[schema.name] = {change.key for change in self.changes.get(schema.name, ())}
        return self._touched[schema.name]

    def is_lost_for(self, schema: ResourceSchema, uses: Sequence[Use]) -> bool:
        """Whether the span cannot tell what it does to a query of the resource that rests on those sets."""
        if any(use.keys in self.lost or not use.keys.is_loaded for use in uses):
            return True
        return not all(
            spot not in self.rows_lost and values <= self._rows.get(spot, {}).keys()
            for spot, values in self.wanted(schema, uses).items()
        )


def _rows_plan(spot: Spot, values: Sequence[Any], most: int) -> Plan:
    schema, name = spot
    base, field, key = everything(schema), schema.fields[name], schema.key_field
    among = Test(Path((), field, (), field.type), "in", tuple(values))
    sort = (SortKey(Path((), key, (), key.type)),)
    return Plan(selection=Selection(schema, among, base.mask), sort=sort, limit=most)
