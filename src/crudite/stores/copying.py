"""Copying all records of an application from one database to another one, of whatever kind, and comparing the two.

Theory of operation. What is copied is read in one snapshot of the source and written in one transaction of the target:
an interruption at any moment leaves the target as it was, and nobody ever sees half of a copy. Foreign keys are held
when every record is there, so the order of resources does not matter, nor do references that go round in a circle.
Records travel as plain values, those of secret fields too, with their keys, versions and times, and so do histories,
also those of which a part is in the change log. The log itself stays where it is: the target begins a new one, and
whoever follows the target gets a reset.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from crudite.errors import StoreError
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.base import Past, Remembered
from crudite.types import Plain

T = TypeVar("T", bound=Sequence[Any])

Values: TypeAlias = tuple[Plain, ...]
"""The plain values of one record, in the order of its schema's fields; the key is the first."""

Progress: TypeAlias = Callable[[str, int], None]
"""Is told the name of a resource and how many of its records have been dealt with, from time to time; the same of the
changes in its history, by another name (`name_of_history`)."""


def name_of_history(schema: ResourceSchema) -> str:
    """What the history of a resource's records is called among the names of resources."""
    return f"the history of {schema.name}"


class Export(Protocol):
    """Everything in a database, as of one moment."""

    @property
    def secret(self) -> bytes:
        """What cursors are sealed with."""
        ...

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        ...

    def records(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[Values]]:
        """All records of a resource in the order of their keys, in groups of `size`."""
        ...

    async def number(self, schema: ResourceSchema) -> int:
        """The highest number that was ever given to a record of a resource with numbered keys; 0 before the first."""
        ...

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        ...

    def changes(self, schema: ResourceSchema, size: int) -> AsyncIterator[Sequence[Remembered]]:
        """All changes in the histories of a resource's records, there or deleted, in groups of `size`: by the texts of
        the records' keys, then in their order."""
        ...

    async def has_moved(self) -> bool:
        """Whether somebody has written since that moment, into what is logged."""
        ...


class Filling(Protocol):
    """A transaction that fills a database; nobody else writes there meanwhile."""

    async def count(self, schema: ResourceSchema) -> int:
        """How many records a resource has."""
        ...

    async def count_changes(self, schema: ResourceSchema) -> int:
        """How many changes there are in the histories of a resource's records."""
        ...

    async def clear(self) -> None:
        """Takes all records of all resources away, and their histories."""
        ...

    async def add(self, schema: ResourceSchema, records: Sequence[Values]) -> None:
        """Writes records whose keys are not there."""
        ...

    async def remember(self, schema: ResourceSchema, changes: Sequence[Remembered]) -> None:
        """Keeps changes in the histories of a resource's records, in their order."""
        ...

    async def go_on_after(self, schema: ResourceSchema, number: int) -> None:
        """Lets the database number the records of a resource from the next number on."""
        ...

    async def seal_with(self, secret: bytes) -> None:
        """Makes what cursors are sealed with the same as elsewhere: those that clients hold are understood."""
        ...


class CopyEnd(Protocol):
    """A database that records are copied from or to, with the schema of a catalog. Every method may raise a
    StoreError."""

    @property
    def shown(self) -> str:
        """Its address without a password."""
        ...

    async def identity(self) -> str:
        """What no other database has."""
        ...

    def export(self, catalog: Catalog) -> AbstractAsyncContextManager[Export]:
        """A snapshot for the length of a block. Others may write meanwhile; none of it is seen."""
        ...

    def fill(self, catalog: Catalog) -> AbstractAsyncContextManager[Filling]:
        """A transaction for the length of a block: all of it is there at its end, and a new log begins; or nothing,
        when the block raises or a reference would point at nothing."""
        ...


class NotEmpty(StoreError):
    """The target of a copy holds records already; `counts` says how many, by resource."""

    def __init__(self, shown: str, counts: dict[str, int]) -> None:
        listed = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
        super().__init__(f"{shown} holds records already: {listed}")
        self.counts = counts


class Copied(NamedTuple):
    """What came of a copy: how many records, and how many changes in their histories, by resource, and whether the
    source was written to meanwhile."""

    counts: dict[str, int]
    changes: dict[str, int]
    source_has_moved: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """A record of which source and target do not agree: in the fields named; in all of them when `fields` is empty,
    because it is only there where `only_in` says. Of a record of which the `history` differs, that is all it says."""

    resource: str
    key: Plain
    fields: tuple[str, ...] = ()
    only_in: str = ""
    history: bool = False


async def copy(
    source: CopyEnd, target: CopyEnd, catalog: Catalog, *, repeat: bool, size: int, progress: Progress
) -> Copied:
    """Makes the target hold what the source holds, `size` records at a time.

    Raises NotEmpty when the target holds records already, unless it is a `repeat`, which replaces them; and every
    other StoreError. The target is then as it was.
    """
    if await source.identity() == await target.identity():
        raise StoreError(f"{source.shown} and {target.shown} are one and the same database")
    counts: dict[str, int] = {}
    changes: dict[str, int] = {}
    async with source.export(catalog) as export, target.fill(catalog) as filling:
        there = {schema.name: await filling.count(schema) for schema in catalog.values()}
        there |= {name_of_history(schema): await filling.count_changes(schema) for schema in catalog.values()}
        if any(there.values()) and not repeat:
            raise NotEmpty(target.shown, {name: count for name, count in there.items() if count})
        await filling.clear()
        for schema in catalog.values():
            counts[schema.name] = await _copy_one(export, filling, schema, size, progress)
            changes[schema.name] = await _copy_history(export, filling, schema, size, progress)
        await filling.seal_with(export.secret)
        moved = await export.has_moved()
    return Copied(counts, changes, moved)


async def count(end: CopyEnd, catalog: Catalog) -> dict[str, int]:
    """How many records a database has, by the name of the resource, and how many changes there are in histories."""
    async with end.export(catalog) as export:
        counts = {schema.name: await export.count(schema) for schema in catalog.values()}
        changes = {name_of_history(schema): await export.count_changes(schema) for schema in catalog.values()}
    return counts | {name: count for name, count in changes.items() if count}


async def compare(
    source: CopyEnd, target: CopyEnd, catalog: Catalog, *, size: int, progress: Progress
) -> AsyncIterator[Difference]:
    """Every difference between the records of two databases, each as of one moment, between what numbers they give
    next, as a Difference without a key, and between the histories of records."""
    async with source.export(catalog) as ours, target.export(catalog) as theirs:
        for schema in catalog.values():
            done = 0
            async with aclosing(_pairs(schema, ours, theirs, size)) as pairs:
                async for left, right in pairs:
                    found = _difference(schema, left, right)
                    if found is not None:
                        yield found
                    done += left is not None
                    if done % size == 0:
                        progress(schema.name, done)
            progress(schema.name, done)
            if schema.is_numbered and await theirs.number(schema) < await ours.number(schema):
                yield Difference(schema.name, None, ("the next number",))
            async for one in _compare_histories(schema, ours, theirs, size, progress):
                yield one


async def _copy_one(export: Export, filling: Filling, schema: ResourceSchema, size: int, progress: Progress) -> int:
    done, highest = 0, await export.number(schema) if schema.is_numbered else 0
    async for records in export.records(schema, size):
        await filling.add(schema, records)
        done += len(records)
        if schema.is_numbered:
            highest = max(highest, int(str(records[-1][0])))
        progress(schema.name, done)
    if highest > 0:
        await filling.go_on_after(schema, highest)
    return done


async def _copy_history(export: Export, filling: Filling, schema: ResourceSchema, size: int, progress: Progress) -> int:
    done = 0
    async for changes in export.changes(schema, size):
        await filling.remember(schema, changes)
        done += len(changes)
        progress(name_of_history(schema), done)
    return done


async def _compare_histories(
    schema: ResourceSchema, ours: Export, theirs: Export, size: int, progress: Progress
) -> AsyncIterator[Difference]:
    """The records of which the histories differ. The numbers of changes may: their order does not."""
    done = 0
    async with aclosing(_histories(ours, schema, size)) as left, aclosing(_histories(theirs, schema, size)) as right:
        async for one, other in _merge(left, right, str):
            key, changes = one or other or ("", [])
            if one is None or other is None or changes != other[1]:
                yield Difference(schema.name, key, history=True)
            done += 0 if one is None else len(changes)
            if one is not None:
                progress(name_of_history(schema), done)


async def _histories(export: Export, schema: ResourceSchema, size: int) -> AsyncGenerator[tuple[str, list[Past]]]:
    """The histories of a resource's records, without the numbers of the changes, by the texts of the records' keys."""
    key, history = "", list[Past]()
    async for changes in export.changes(schema, size):
        for one, of_one in groupby(changes, lambda change: change.key):
            if one != key:
                if history:
                    yield key, history
                key, history = one, []
            history += (past._replace(number=0) for _, past in of_one)
    if history:
        yield key, history


async def _pairs(
    schema: ResourceSchema, ours: Export, theirs: Export, size: int
) -> AsyncGenerator[tuple[Values | None, Values | None]]:
    """The records of both sides by key, None where a side has none."""
    async with aclosing(_flat(ours, schema, size)) as left, aclosing(_flat(theirs, schema, size)) as right:
        async for pair in _merge(left, right, schema.key_field.type.comparable):
            yield pair


async def _merge(
    left: AsyncIterator[T], right: AsyncIterator[T], order: Callable[[Any], Any]
) -> AsyncIterator[tuple[T | None, T | None]]:
    """What two sides have, each in the order of its first members; None where a side has none."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and order(one[0]) < order(other[0])):
            yield one, None
            one = await anext(left, None)
        elif one is None or order(other[0]) < order(one[0]):
            yield None, other
            other = await anext(right, None)
        else:
            yield one, other
            one, other = await anext(left, None), await anext(right, None)


async def _flat(export: Export, schema: ResourceSchema, size: int) -> AsyncGenerator[Values]:
    async for records in export.records(schema, size):
        for record in records:
            yield record


def _difference(schema: ResourceSchema, left: Values | None, right: Values | None) -> Difference | None:
    if left is None or right is None:
        held = left if left is not None else right
        assert held is not None
        return Difference(schema.name, held[0], only_in="target" if left is None else "source")
    if left == right and not _has_json(schema):
        return None
    fields = tuple(name for name, a, b in zip(schema.fields, left, right, strict=True) if not is_same(a, b))
    return Difference(schema.name, left[0], fields) if fields else None


def is_same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal as JSON: true is not 1, and a number is the same however it is written."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(is_same(value, other[name]) for name, value in one.items())
        case list(), list():
            return len(one) == len(other) and all(map(is_same, one, other))
        case (bool(), _) | (_, bool()):
            return one is other
        case (float(), int()) | (int(), float()):
            return one == other or float(one) == float(other)  # 1e308 and all its digits
    return bool(one == other)


def _has_json(schema: ResourceSchema) -> bool:
    return any(field.type.kind == "json" for field in schema.fields.values())
