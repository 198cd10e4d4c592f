"""Writing a unit: tried in the mirror on fresh records, made by the functions one by one, then written to the mirror.

Theory of operation. All of it happens under the lock.

| step | when it fails |
|---|---|
| what the unit depends on is brought up to date | StoreError; nothing is done |
| the mirror tries the unit: conditions, uniqueness, references, rules | Refused; nothing is done |
| the functions make what it would change, what a delete takes along before it | what was made is undone, last first |
| the mirror writes it, with the log | the same |

To undo is to put back what the mirror has. The function that failed may have done its work all the same, so its record
is looked at and put back, too. What cannot be put back is said in the error. Whoever dies between the functions
and the mirror leaves a record that the mirror has otherwise: it is taken over by who reads it next.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from crudite.changes import Commit, Refused, Unit, Write
from crudite.errors import Problem, StoreError
from crudite.ids import uuid7
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.mirrored.database import Calls
from crudite.stores.mirrored.exclusion import Exclusion
from crudite.stores.mirrored.fitting import same
from crudite.stores.mirrored.freshening import Freshening
from crudite.stores.mirrored.mirror import MIRROR_SETS, Images, Mirror, Place
from crudite.stores.mirrored.wants import ByKey, Search, Want, wants_of_filter, wants_of_selection
from crudite.types import Key, Plain, PlainRecord

_PART = 500
"""How many records are asked about together."""


class _Deed(NamedTuple):
    """One change that a function has to make: of the record of write number `number`, or of one that it takes along.
    Where the database makes the key, the place is not known yet. `is_whole` when all fields are given."""

    number: int
    place: Place
    before: PlainRecord | None
    after: PlainRecord | None
    makes_key: bool
    is_taken_along: bool
    is_whole: bool


class Writing:
    """Writes units by the functions of a database, and to its mirror."""

    def __init__(
        self, calls: Calls, mirror: Mirror, exclusion: Exclusion, freshening: Freshening, catalog: Catalog
    ) -> None:
        self._calls = calls
        self._mirror = mirror
        self._exclusion = exclusion
        self._freshening = freshening
        self._catalog = catalog

    async def write(self, unit: Unit) -> Commit:
        """Commits a unit, or raises and leaves nothing of it, unless the error says what."""
        if all(map(self._is_ours_alone, unit.writes)):
            return await self._mirror.write(unit)
        async with self._exclusion:
            return await self._write(unit)

    async def _write(self, unit: Unit) -> Commit:
        unit = _with_uuids(unit)
        taken = await self._prepare(unit)
        along = [place for places in taken.values() for place in places]
        keys, images = await self._mirror.attempt(unit, along)
        deeds = list(self._deeds(unit, taken, keys, images))
        done: list[_Deed] = []
        made = dict[int, Key]()
        try:
            for deed in deeds:
                done.append(deed)
                if deed.makes_key:
                    key = made[deed.number] = await self._make(deed)
                    place = (deed.place[0], key)
                    done[-1] = deed._replace(place=place, makes_key=False)
                    if not any(one.place == place and one.after is None for one in done):  # or the unit makes room
                        await self._clear(place)
                elif not await self._do(deed) and not deed.is_taken_along:
                    done.pop()  # it is gone, and is not put back
                    raise Refused(deed.number, "missing")
            return await self._mirror.write(_with_keys(unit, made))
        except (Refused, Problem, StoreError) as error:
            if left := await self._undo(done, is_known=not isinstance(error, StoreError)):
                raise StoreError(f"{error}; what was done of it could not be put back: {'; '.join(left)}") from error
            raise

    # what a unit depends on

    def _is_ours_alone(self, write: Write) -> bool:
        """Whether the database has nothing to do with a write, nor with what it looks at and takes along."""
        takes_along = write.action == "delete" or write.along is not None
        others = [schema for schema, _ in self._catalog.referrers[write.schema.name]] if takes_along else []
        others += [write.schema, *(want.schema for want in self._wants(write))]
        return all(map(self._freshening.is_kept_here, others))

    async def _prepare(self, unit: Unit) -> dict[int, list[Place]]:
        """Brings up to date what a unit depends on. What each of its deletes takes along or clears, deepest first."""
        await self._bring(want for write in unit.writes for want in self._wants(write))
        taking = {
            index: (write.schema, write.key)
            for index, write in enumerate(unit.writes)
            if write.key is not None and (write.action == "delete" or write.along is not None)
        }
        pointing = await self._pointing(taking.values())
        taken = {index: _deepest_first(place, pointing, set()) for index, place in taking.items()}
        for index, write in enumerate(unit.writes):
            if write.along is not None and write.along.how == "restore" and write.key is not None:
                for place in (*taken[index], (write.schema, write.key)):
                    await self._bring(await self._coming_back(place))
            elif write.action != "delete":
                await self._bring(await self._alike(write))
            if write.action == "create" and (key := _key(write)) is not None:
                await self._vacate(index, (write.schema, key))
        return taken

    async def _vacate(self, index: int, place: Place) -> None:
        """Makes sure that the mirror knows a record where one is to be made. Raises Refused for one that does not fit,
        of which the mirror knows nothing."""
        if self._freshening.is_kept_here(place[0]):
            return
        if await self._calls.get(*place) is None:
            await self._clear(place)
            return
        await self._bring([ByKey(place[0], place[1:])])
        if not await self._freshening.records(place[0], place[1:]):
            raise Refused(index, "unique", (place[0].key,))

    async def _bring(self, wants: Iterator[Want] | Sequence[Want]) -> None:
        await self._freshening.bring(wants, is_locked=True)

    def _wants(self, write: Write) -> Iterator[Want]:
        if write.action != "create" and write.key is not None:
            yield ByKey(write.schema, (write.key,))
        yield from self._pointed_at(write.schema, write.values)
        for need in write.needs:
            yield ByKey(need.selection.schema, (need.key,))
            yield from wants_of_selection(need.selection)
        for filter in (write.where, write.check_after, *(guard.filter for guard in write.guards)):
            if filter is not None:
                yield from wants_of_filter(filter)
        if write.returning is not None:
            yield from wants_of_selection(write.returning)

    async def _alike(self, write: Write) -> list[Want]:
        """The records that may have a value which must be unique, and which a write gives to its record."""
        schema = write.schema
        groups = [group for group in _unique(schema) if not write.values.keys().isdisjoint(group)]
        record = {**dict.fromkeys(name for group in groups for name in group), **write.values}
        if write.action == "update" and write.key is not None and any(len(group) > 1 for group in groups):
            for stored in await self._freshening.records(schema, (write.key,)):
                record = {**stored, **write.values}
        return [Search(schema, values) for values in _held(schema, groups, record)]

    async def _coming_back(self, place: Place) -> list[Want]:
        """What a record that is restored points at, and what may have its values that must be unique."""
        wants: list[Want] = []
        schema = place[0]
        for record in await self._freshening.records(schema, place[1:]):
            wants += [Search(schema, values) for values in _held(schema, _unique(schema), record)]
            wants += self._pointed_at(schema, record)
        return wants

    async def _pointing(self, places: Iterable[Place]) -> dict[Place, list[tuple[Place, bool]]]:
        """The records that point at some records and at what goes along with these, by the record that they point at,
        each with whether it goes along, too. The database is asked about all that are equally deep at the same time.
        """
        found: dict[Place, list[tuple[Place, bool]]] = {}
        level = list(dict.fromkeys(places))
        while level:
            for start in range(0, len(level), _PART):
                await self._bring([
                    Search(schema, {field.name: key})
                    for target, key in level[start : start + _PART]
                    for schema, field in self._catalog.referrers[target.name]
                ])  # fmt: skip
            for target, key in level:
                found[target, key] = []
                for schema, field in self._catalog.referrers[target.name]:
                    goes = field.reference is not None and field.reference.on_delete in ("cascade", "force")
                    records = await self._freshening.matching(schema, {field.name: key})
                    found[target, key] += [((schema, record[schema.key]), goes) for record in records]
            below = dict.fromkeys(other for place in level for other, goes in found[place] if goes)
            level = [place for place in below if place not in found]
        return found

    def _pointed_at(self, schema: ResourceSchema, values: Mapping[str, Plain]) -> Iterator[Want]:
        for name, value in values.items():
            reference = schema.fields[name].reference
            if reference is not None and value is not None:
                yield ByKey(self._catalog[reference.target], (value,))

    # what the functions do

    def _deeds(
        self, unit: Unit, taken: Mapping[int, Sequence[Place]], keys: Sequence[Key], images: Mapping[Place, Images]
    ) -> Iterator[_Deed]:
        """What has to be done, once for each record, in the order of the writes."""
        seen: set[Place] = set()
        for index, (write, key) in enumerate(zip(unit.writes, keys, strict=True)):
            own = (write.schema, key)
            for place in dict.fromkeys((*taken.get(index, ()), own)):
                before, after = images.get(place, (None, None))
                is_same = before is not None and after is not None and not _changes(before, after)
                if place in seen or before is after or is_same or self._freshening.is_kept_here(place[0]):
                    continue
                seen.add(place)
                makes_key = place == own and write.action == "create" and _key(write) is None
                yield _Deed(index, place, before, after, makes_key, place != own, _is_whole(write))

    async def _make(self, deed: _Deed) -> Key:
        schema = deed.place[0]
        record = {name: value for name, value in _outside(deed.after or {}).items() if name != schema.key}
        return await self._calls.create(schema, record)

    async def _do(self, deed: _Deed) -> bool:
        """Has a function make a change. Whether there was a record to change."""
        schema, key = deed.place
        if deed.after is None:
            name, was_there = "destroy", await self._calls.destroy(schema, key)
        elif deed.before is None:
            await self._calls.create(schema, _outside(deed.after))
            return True
        elif deed.is_whole:
            name, was_there = "update", await self._calls.update(schema, key, _outside(deed.after))
        else:
            name, was_there = "patch", await self._calls.patch(schema, key, _changes(deed.before, deed.after))
        if not was_there and await self._calls.get(schema, key) is not None:
            detail = "it gave None, as if there were no such record, and get finds one: what is done gives the key"
            raise StoreError(f"{self._calls.name}.{name}({schema.table!r}): {detail}")
        return was_there

    async def _clear(self, place: Place) -> None:
        """Makes room in the mirror for a record whose key was another one's, which is gone from the database."""
        if await self._freshening.records(place[0], place[1:]):
            await self._mirror.take_over({place: None})

    async def _undo(self, deeds: Sequence[_Deed], *, is_known: bool) -> list[str]:
        """Puts back what the mirror has; what could not be, in words. `is_known`: what failed has done nothing."""
        left: list[str] = []
        for deed in reversed(deeds):
            schema, key = deed.place
            if deed.makes_key:  # nobody can look for it
                left += [] if is_known else [f"a new record of {schema.table}, if it was made"]
                continue
            try:
                await self._put_back(deed.place, deed.before)
            except (Problem, StoreError) as error:
                left.append(f"{schema.table} {key!r} ({error})")
        return left

    async def _put_back(self, place: Place, before: PlainRecord | None) -> None:
        schema, key = place
        there = await self._calls.get(schema, key)
        if before is None:
            if there is not None:
                await self._calls.destroy(schema, key)
        elif there is None:
            await self._calls.create(schema, _outside(before))
        else:
            await self._calls.update(schema, key, _outside(before))


def _deepest_first(
    place: Place, pointing: Mapping[Place, Sequence[tuple[Place, bool]]], seen: set[Place]
) -> list[Place]:
    """The records that go along with a record or are cleared, and those that speak against it, deepest first."""
    seen.add(place)
    found: list[Place] = []
    for other, goes in pointing[place]:
        if other in seen:
            continue
        if goes:
            found += _deepest_first(other, pointing, seen)
        found.append(other)
    return found


def _unique(schema: ResourceSchema) -> list[tuple[str, ...]]:
    """The groups of fields whose values together occur once, but for the key."""
    return [*((field.name,) for field in schema.fields.values() if field.unique), *schema.unique]


def _held(
    schema: ResourceSchema, groups: Iterable[tuple[str, ...]], record: Mapping[str, Plain]
) -> Iterator[dict[str, Plain]]:
    """The values of a record that no other one may have."""
    for group in groups:
        values = {name: record[name] for name in group}
        if group in schema.alike or None not in values.values():
            yield values


def _key(write: Write) -> Key | None:
    key: Key | None = write.values.get(write.schema.key, write.key)
    return key


def _outside(record: PlainRecord) -> PlainRecord:
    """The record as the database has it: without what the mirror sets."""
    return {name: value for name, value in record.items() if name not in MIRROR_SETS}


def _changes(before: PlainRecord, after: PlainRecord) -> PlainRecord:
    return {name: value for name, value in _outside(after).items() if not same(before[name], value)}


def _is_whole(write: Write) -> bool:
    return write.schema.fields.keys() - write.values.keys() <= {write.schema.key, *MIRROR_SETS}


def _with_uuids(unit: Unit) -> Unit:
    """The unit with a key for every record whose key is a UUID, which no database has to make."""
    return _with_keys(unit, {
        index: uuid7()
        for index, write in enumerate(unit.writes)
        if write.key is None and write.schema.key not in write.values and write.schema.key_field.type.kind == "uuid"
    })  # fmt: skip


def _with_keys(unit: Unit, keys: Mapping[int, Key]) -> Unit:
    """The unit with these keys of new records."""
    if not keys:
        return unit
    writes = [
        msgspec.structs.replace(write, key=keys[index]) if index in keys else write
        for index, write in enumerate(unit.writes)
    ]
    return msgspec.structs.replace(unit, writes=tuple(writes))
