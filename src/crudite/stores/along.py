"""What goes along with a record that is deleted or restored, as the statements of one transaction.

Theory of operation. Everything is decided here without I/O: a generator yields SQL statements, and the one write of the
record itself (a `Write`), and is sent what came of each. The record is written, or locked, before anything that points
at it is looked for: whoever would point at it now waits for its lock, and whoever did so before is found, since each
statement sees what is committed when it begins. (Who points at a record that can be hidden has it among his `needs`, so
that he waits too: foreign keys alone would not make him.)

| | the record | what cascades | what forces | what is cleared | what restricts |
|---|---|---|---|---|---|
| `delete` | is locked, goes last | goes before | refuses; forced: goes before | by foreign keys | refuses, likewise |
| `hide` | is hidden first | is hidden, or deleted | refuses; forced: is hidden | becomes null | refuses |
| `restore` | comes back first | comes back if hidden at the same moment | the same | stays null | |

What goes along is in nobody's way, wherever it points. So a reference that would hold up one that goes before it, as in
a circle, becomes null first; and any of the record itself, since foreign keys would take it away, or give it another
version, before it is its turn. (SQLite looks at foreign keys at the end of a statement, when all that cascades is gone;
PostgreSQL at what a cascade takes away before it has come to the next. So a delete is not left to its foreign keys
there where something that cascades has another reference, too.)
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from crudite.changes import Along, Refused, Stored, Write
from crudite.query.dialect import Dialect
from crudite.query.presence import present
from crudite.query.simplify import join
from crudite.query.sql import Statement, condition, quote
from crudite.query.tree import Exists, Filter, Path, Test
from crudite.schema import DELETED_AT, FieldSpec, Link, ResourceSchema
from crudite.types import Key, Plain

Asking: TypeAlias = Generator[Statement | Write, Any, Stored]
"""Yields statements, and is sent their rows; yields a write, and is sent its Stored. Returns the record's own."""
_Steps: TypeAlias = Generator[Statement | Write, Any, None]
_Place: TypeAlias = tuple[ResourceSchema, FieldSpec]


class _Level(NamedTuple):
    """Records of one resource that go, or come back, together."""

    schema: ResourceSchema
    keys: tuple[Key, ...]

    @property
    def filter(self) -> Filter:
        """These records."""
        return _among(self.schema.key_field, self.keys)

    def pointing(self, place: _Place) -> Filter:
        """The records that point at these with a field."""
        return _among(place[1], self.keys)


def go_along(index: int, write: Write, dialect: Dialect, *, locks: bool) -> Asking:
    """Makes write number `index` of its unit, which has an `along`. With `locks` others may write meanwhile. Raises
    Refused."""
    along = write.along
    if along is None or write.key is None:
        raise ValueError("only a write of one record takes others along")
    journey = _Journey(index, msgspec.structs.replace(write, along=None), along, dialect, locks)
    root = _Level(write.schema, (write.key,))
    match along.how:
        case "delete":
            return journey.delete(root) if locks or along.is_forced else journey.alone()
        case "hide":
            return journey.hide(root)
        case "restore":
            return journey.restore(root)


class _Journey:
    def __init__(self, index: int, write: Write, along: Along, dialect: Dialect, locks: bool) -> None:
        self._index = index
        self._write = write
        self._along = along
        self._dialect = dialect
        self._locks = locks

    def delete(self, root: _Level) -> Asking:
        """Deletes for good, what points here first."""
        yield self._select(root.schema, root.filter, lock="UPDATE")
        going = ("cascade", "force") if self._along.is_forced else ("cascade",)
        seen = {root.schema.name: set(root.keys)}
        reached = [root]
        for level in reached:
            for place in self._along.catalog.referrers[level.schema.name]:
                if _policy(place) in going:
                    rows = yield self._select(place[0], level.pointing(place), lock="UPDATE")
                    known = seen.setdefault(place[0].name, set())
                    keys = tuple(key for key in self._keys(place[0], rows) if key not in known)
                    known.update(keys)
                    reached += [_Level(place[0], keys)] if keys else []
        order = self._pointing_first(reached[1:])
        write = yield from self._let_go([*order, root])
        for level in order if write is not None else ():
            yield self._statement(f"DELETE FROM {quote(level.schema.table)} AS t", (), level.filter)
        stored: Stored = yield write if write is not None else self._write
        return stored

    def alone(self) -> Asking:
        """Deletes for good, and leaves all else to foreign keys."""
        stored: Stored = yield self._write
        return stored

    def _let_go(self, order: Sequence[_Level]) -> Generator[Statement | Write, Any, Write | None]:
        """Makes the references null with which what goes later would hold up what goes before it, and those with which
        the last would be changed by it, or gone, and looks at what is demanded of the last. The write that then deletes
        it; None where a reference cannot be null, and foreign keys may do better."""
        *_, root = order
        held: list[tuple[_Place, _Level, Filter]] = []
        for n, level in enumerate(order[:-1]):
            for place in self._along.catalog.referrers[level.schema.name]:
                for later in order[n + 1 :] if _policy(place) in ("restrict", "force") else (root,):
                    pointing = join((later.filter, level.pointing(place)), either=False)
                    if later.schema == place[0] and (yield self._select(place[0], pointing, most=1)):
                        held.append((place, later, pointing))
        if not all(place[1].nullable for place, _, _ in held):
            return None
        own = {place[1].name: None for place, level, _ in held if level is root}
        for place, level, pointing in held:
            if level is not root:
                yield self._set(place[0], place[1], None, pointing)
        # What is demanded of the record is looked at before anything goes:
        # who may not delete it is told nothing of what is in the way.
        yield msgspec.structs.replace(self._write, action="update", values=own)
        return Write(action="delete", schema=self._write.schema, key=self._write.key)

    def hide(self, root: _Level) -> Asking:
        """Hides the record, then what goes along; and refuses when something stays that points at any of them."""
        moment = self._along.moment
        stored: Stored = yield self._itself(moment)
        hidden = [root]
        for level in hidden:
            for place in self._along.catalog.referrers[level.schema.name]:
                if self._goes_along(place):
                    there = join((level.pointing(place), present(place[0])), either=False)
                    hidden += self._found(place[0], (yield self._mark(place[0], moment, there)))
                elif _policy(place) == "cascade" and not place[0].is_soft:
                    yield self._statement(f"DELETE FROM {quote(place[0].table)} AS t", (), level.pointing(place))
                elif _policy(place) == "clear":
                    yield self._set(place[0], place[1], None, level.pointing(place))
        for level in hidden:
            for place in self._along.catalog.referrers[level.schema.name]:
                there = join((level.pointing(place), present(place[0])), either=False)
                if (yield self._select(place[0], there, most=1)):
                    raise Refused(self._index, "referenced")
        return stored

    def restore(self, root: _Level) -> Asking:
        """Brings back the record, then what went along; and refuses when one points at a record that is not there."""
        rows = yield self._select(root.schema, root.filter, column=DELETED_AT, lock="UPDATE")
        field = root.schema.fields[DELETED_AT]
        moment = self._dialect.load(field.type, rows[0][0]) if rows else None
        stored: Stored = yield self._itself(None)
        back = [root]
        for level in back:
            for place in self._along.catalog.referrers[level.schema.name]:
                if place[0].is_soft and _policy(place) in ("cascade", "force"):
                    with_it = _equal(place[0].fields[DELETED_AT], moment)
                    there = join((level.pointing(place), with_it), either=False)
                    back += self._found(place[0], (yield self._mark(place[0], None, there)))
        for level in back:
            yield from self._refuse_dangling(level)
        return stored

    def _refuse_dangling(self, level: _Level) -> _Steps:
        """Holds the records that these point at, and refuses when one of them is not there."""
        for field in level.schema.fields.values():
            target = self._along.catalog.get(field.reference.target) if field.reference is not None else None
            if target is None or not target.is_soft or field.reference is None or not field.reference.enforced:
                continue
            back = Link(field.name, level.schema.name, field.name, target.key)
            pointed = Exists((), back, level.schema, level.filter)
            rows = yield self._select(target, pointed, column=DELETED_AT, lock="SHARE")
            if any(row[0] is not None for row in rows):
                raise Refused(self._index, "reference", (field.name,))

    def _goes_along(self, place: _Place) -> bool:
        policy = _policy(place)
        return place[0].is_soft and (policy == "cascade" or (policy == "force" and self._along.is_forced))

    def _itself(self, moment: str | None) -> Write:
        return msgspec.structs.replace(self._write, action="update", values={DELETED_AT: moment})

    def _mark(self, schema: ResourceSchema, moment: str | None, filter: Filter) -> Statement:
        return self._set(schema, schema.fields[DELETED_AT], moment, filter)

    def _set(self, schema: ResourceSchema, field: FieldSpec, value: Plain, filter: Filter) -> Statement:
        """Gives the records of a filter a value, and answers with their keys."""
        given = [(field, value)]
        moved = ""
        if not field.quiet:
            given.append((schema.fields["updated_at"], self._along.moment))
            moved = ', "version" = t."version" + 1'
        sets = [f"{quote(one.name)} = {self._dialect.parameter(n, one.type)}" for n, (one, _) in enumerate(given, 1)]
        bound = [self._dialect.store(one.type, value) for one, value in given]
        text = f"UPDATE {quote(schema.table)} AS t SET {', '.join(sets)}{moved}"
        return self._statement(text, bound, filter, f" RETURNING {quote(schema.key)}")

    def _select(
        self, schema: ResourceSchema, filter: Filter, *, column: str = "", lock: str = "", most: int | None = None
    ) -> Statement:
        after = "" if most is None else f" LIMIT {most}"
        after += f" FOR {lock} OF t" if lock and self._locks else ""
        text = f"SELECT t.{quote(column or schema.key)} FROM {quote(schema.table)} AS t"
        return self._statement(text, (), filter, after)

    def _statement(self, text: str, bound: Sequence[Any], filter: Filter, after: str = "") -> Statement:
        where = condition(filter, self._dialect, "t", len(bound) + 1)
        return Statement(f"{text} WHERE {where.text}{after}", (*bound, *where.parameters))

    def _found(self, schema: ResourceSchema, rows: Sequence[Sequence[Any]]) -> list[_Level]:
        return [_Level(schema, self._keys(schema, rows))] if rows else []

    def _keys(self, schema: ResourceSchema, rows: Iterable[Sequence[Any]]) -> tuple[Key, ...]:
        type = schema.key_field.type
        return tuple(self._dialect.load(type, row[0]) for row in rows)

    def _pointing_first(self, levels: Sequence[_Level]) -> list[_Level]:
        """All levels of one resource as one, those that point at others before them as far as there is such an order:
        resources that point at each other have none."""
        keys: dict[str, tuple[Key, ...]] = {}
        for level in reversed(levels):
            keys[level.schema.name] = (*keys.get(level.schema.name, ()), *level.keys)
        catalog = self._along.catalog
        pointing: Mapping[str, set[str]] = {
            name: {schema.name for schema, _ in catalog.referrers[name]} & keys.keys() - {name} for name in keys
        }
        try:
            order = tuple(TopologicalSorter(pointing).static_order())
        except CycleError:
            order = tuple(keys)
        return [_Level(catalog[name], keys[name]) for name in order]


def _policy(place: _Place) -> str:
    reference = place[1].reference
    return reference.on_delete if reference is not None else ""


def _among(field: FieldSpec, keys: tuple[Key, ...]) -> Filter:
    return Test(Path((), field, (), field.type), "in", keys)


def _equal(field: FieldSpec, value: Plain) -> Filter:
    return Test(Path((), field, (), field.type), "eq", value)
