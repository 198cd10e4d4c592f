"""`crudite import`: rows of a file into a resource, through its validation and hooks, as the server itself.

Rows are created in groups, each in one transaction. When one of a group is refused, its rows are created one
by one: what is refused then is told with its line and every fault, and the rest goes in.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import Any, Literal

from crudite.app import App
from crudite.changes import Refused
from crudite.cli.data.columns import Columns, Converted
from crudite.cli.data.source import Row, Source
from crudite.cli.failures import Failure
from crudite.errors import Fault, Invalid, NotUnique, Problem, StoreError
from crudite.resources.declaring.definition import Definition

OnConflict = Literal["fail", "skip", "replace"]


@dataclass(frozen=True, slots=True)
class Dirty:
    """A row that was not imported, and everything that is wrong with it."""

    line: int
    faults: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What came of an import so far."""

    created: int = 0
    replaced: int = 0
    skipped: int = 0
    dirty: list[Dirty] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows have been dealt with."""
        return self.created + self.replaced + self.skipped + len(self.dirty)


def definition_of(app: App, name: str) -> Definition:
    """The resource with a name, or a path. Raises Failure with the nearest name."""
    by_name = app.definitions.by_name
    found = by_name.get(name) or app.definitions.by_path.get(name)
    if found is not None:
        return found
    lower = {known.lower(): known for known in by_name}
    near = get_close_matches(name.lower(), list(lower), 1)
    hint = f"Did you mean {lower[near[0]]}?" if near else f"There are {', '.join(by_name)}."
    raise Failure(f"there is no resource {name}.", hint)


class Import:
    """One import into one resource. `outcome` grows while it runs."""

    def __init__(
        self,
        app: App,
        definition: Definition,
        source: Source,
        columns: Columns,
        *,
        on_conflict: OnConflict = "fail",
        batch: int = 500,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.outcome = Outcome()
        self._app = app
        self._definition = definition
        self._source = source
        self._columns = columns
        self._on_conflict: OnConflict = on_conflict
        self._batch = batch
        self._progress = progress

    async def run(self) -> None:
        """Imports every row that can be. Raises StoreError when the database cannot go on."""
        began = time.perf_counter()
        async with self._app:
            rows = self._converted()
            while group := list(islice(rows, self._batch)):
                self.outcome.dirty += [dirty for _, _, dirty in group if dirty is not None]
                good = [(row, converted) for row, converted, dirty in group if dirty is None]
                await self._import_group(good)
                self.outcome.seconds = time.perf_counter() - began
        self.outcome.dirty.sort(key=lambda dirty: dirty.line)

    async def run_strictly(self) -> None:
        """Imports all rows in one transaction; none when any row is dirty."""
        began = time.perf_counter()
        good = self._validated()
        if not self.outcome.dirty:
            async with self._app:
                await self._import_together(good)
        self.outcome.seconds = time.perf_counter() - began

    def check(self) -> int:
        """Reads and validates every row and imports none; returns how many are good. Uniqueness, references
        and hooks are not checked."""
        return len(self._validated())

    def _converted(self) -> Iterator[tuple[Row, dict[str, Any], Dirty | None]]:
        for row in self._source.rows(self._progress):
            if row.fault:
                yield row, {}, Dirty(row.line, (row.fault,))
                continue
            converted = self._columns.convert(row, is_text=self._source.is_text)
            yield row, converted.values, self._all_faults(row, converted) if converted.faults else None

    def _validated(self) -> list[tuple[Row, dict[str, Any]]]:
        good = []
        for row, values, dirty in self._converted():
            found = dirty or self._all_faults(row, Converted(values))
            if found is None:
                good.append((row, values))
            else:
                self.outcome.dirty.append(found)
        return good

    def _all_faults(self, row: Row, converted: Converted) -> Dirty | None:
        """What is wrong with a row: what could not be read, and what validation says of the rest."""
        unread = {fault.pointer for fault in converted.faults}
        faults = list(converted.faults)
        try:
            self._definition.bodies["create"].parse(converted.values)
        except Invalid as invalid:
            faults += [fault for fault in invalid.faults if fault.pointer not in unread]
        return Dirty(row.line, tuple(map(_in_words, faults))) if faults else None

    async def _import_group(self, good: Sequence[tuple[Row, dict[str, Any]]]) -> None:
        try:
            async with self._app.records.batch() as batch:
                for _, values in good:
                    batch.create(self._definition.cls, **values)
            self.outcome.created += len(good)
        except StoreError:
            raise
        except Exception:  # of which row, is not known here
            await asyncio.gather(*(self._import(row, values) for row, values in good))

    async def _import(self, row: Row, values: dict[str, Any]) -> None:
        cls, outcome = self._definition.cls, self.outcome
        try:
            await self._app.records.create(cls, **values)
            outcome.created += 1
        except NotUnique as problem:
            if not self._is_about_key(problem):
                outcome.dirty.append(_dirty(row, problem))
            elif self._on_conflict == "fail":
                key = values.get(self._definition.schema.key)
                outcome.dirty.append(Dirty(row.line, (f"there is a {self._definition.name} {key} already",)))
            elif self._on_conflict == "skip":
                outcome.skipped += 1
            else:
                await self._replace(row, values)
        except Problem as problem:
            outcome.dirty.append(_dirty(row, problem))
        except Exception as error:
            error.add_note(f"while importing line {row.line} of {self._source.path}")
            raise

    async def _replace(self, row: Row, values: dict[str, Any]) -> None:
        key = self._definition.schema.key
        try:
            await self._app.records.replace(self._definition.cls, values[key], **_without(values, key))
            self.outcome.replaced += 1
        except Problem as problem:
            self.outcome.dirty.append(_dirty(row, problem))

    async def _import_together(self, good: Sequence[tuple[Row, dict[str, Any]]]) -> None:
        cls, key, outcome = self._definition.cls, self._definition.schema.key, self.outcome
        there = await self._keys_there(good) if self._on_conflict != "fail" else set()
        written: list[Row] = []
        created = replaced = skipped = 0
        try:
            async with self._app.records.batch() as batch:
                for row, values in good:
                    if values.get(key) not in there or key not in values:
                        batch.create(cls, **values)
                        created += 1
                    elif self._on_conflict == "skip":
                        skipped += 1
                        continue
                    else:
                        batch.replace(cls, values[key], **_without(values, key))
                        replaced += 1
                    written.append(row)
        except Problem as problem:
            cause = problem.__cause__
            line = written[cause.index].line if isinstance(cause, Refused) and cause.index < len(written) else 0
            outcome.dirty.append(Dirty(line, _faults_of(problem)))
            return
        outcome.created, outcome.replaced, outcome.skipped = created, replaced, skipped

    async def _keys_there(self, good: Sequence[tuple[Row, dict[str, Any]]]) -> set[Any]:
        """Those of the rows' keys that the resource has already, as plain values."""
        key = self._definition.schema.key
        keys = [values[key] for _, values in good if key in values]
        there: set[Any] = set()
        for start in range(0, len(keys), 500):
            query = self._definition.cls.where(id__in=keys[start : start + 500]).fields("id")
            found = await self._app.records.list(query.limit(500))
            there |= {self._definition.to_plain(record)[key] for record in found}
        return there

    def _is_about_key(self, problem: Problem) -> bool:
        """Whether the record is there already; then its other values that occur once are mostly taken by itself."""
        return any(fault.pointer == f"/{self._definition.schema.key}" for fault in problem.faults)


def _dirty(row: Row, problem: Problem) -> Dirty:
    return Dirty(row.line, _faults_of(problem))


def _faults_of(problem: Problem) -> tuple[str, ...]:
    return tuple(map(_in_words, problem.faults)) or (str(problem),)


def _in_words(fault: Fault) -> str:
    place = (fault.pointer or "").lstrip("/").replace("/", ".")
    detail = fault.detail.rstrip(".")
    return detail if not place or detail.startswith(f"{place} ") else f"{place}: {detail[:1].lower()}{detail[1:]}"


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {one: value for one, value in values.items() if one != name}
