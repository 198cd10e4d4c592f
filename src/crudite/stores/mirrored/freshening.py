"""Bringing the mirror up to what the database has now: ask, compare, take over what differs.

Theory of operation. Functions are asked without a lock, so that readers do not wait for each other, and mostly the
mirror has what they give. Where it has not, the answer may be older than what the mirror has learned meanwhile, or from
the middle of a write; so it is asked for again under the lock that writes have, where nobody else changes anything,
and what differs then is taken over.

A record that the mirror has, and that a search should have found and did not, is asked for by its key: it may be gone,
or have other values now.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from crudite.errors import StoreLocked
from crudite.query.plan import Mask, Plan, Selection, Through
from crudite.query.tree import EVERYTHING, And, Filter, Hop, Path, Test
from crudite.schema import Link, ResourceSchema
from crudite.stores.mirrored.database import Calls
from crudite.stores.mirrored.exclusion import Exclusion
from crudite.stores.mirrored.fitting import Unfit, fitting, fitting_key, same
from crudite.stores.mirrored.mirror import MIRROR_SETS, Found, Mirror, Place
from crudite.stores.mirrored.wants import ByKey, Search, Want, wants_of_plan, wants_of_selection, without_repeats
from crudite.types import Key, Plain, PlainRecord

T = TypeVar("T")

logger = logging.getLogger("crudite.store")

_MOST_BY_KEY = 20
_PART = 500
_MOST_IN_THE_WAY = 3
_MOST_COMPLAINTS = 1000


class Freshening:
    """Brings a mirror up to date. `is_kept_here` tells whose records are in the mirror alone."""

    def __init__(self, calls: Calls, mirror: Mirror, exclusion: Exclusion, kept_here: Iterable[str]) -> None:
        self._calls = calls
        self._mirror = mirror
        self._exclusion = exclusion
        self._kept_here = frozenset(kept_here)
        self._complained: set[tuple[str, Key, str]] = set()
        self._wholes: dict[ResourceSchema, Mask] = {}

    def is_kept_here(self, schema: ResourceSchema) -> bool:
        """Whether the records of a resource are in the mirror alone."""
        return schema.table.startswith("_") or schema.table in self._kept_here

    async def for_plans(self, plans: Iterable[Plan]) -> None:
        """Brings up to date what these plans are answered from."""
        plans = list(plans)
        await self.bring([want for plan in plans for want in wants_of_plan(plan)])
        for plan in plans:
            if plan.selection.mask.includes:
                await self._included(plan.selection.mask, await self._shown(plan))

    async def for_lookup(self, selection: Selection, key: Key) -> None:
        """Brings up to date what the record with a key is shown from."""
        await self.bring([ByKey(selection.schema, (key,)), *wants_of_selection(selection)])
        if selection.mask.includes:
            await self._included(selection.mask, await self.records(selection.schema, (key,)))

    async def bring(self, wants: Iterable[Want], *, is_locked: bool = False) -> None:
        """Brings records up to date. With `is_locked` the caller holds the lock."""
        asked = without_repeats(want for want in wants if not self.is_kept_here(want.schema))
        if not asked:
            return
        differences = await self._differing(await self._ask(asked))
        if not differences:
            return
        if is_locked:
            await self._take_over(differences)
            return
        async with self._exclusion:
            by_key = len(differences) <= _MOST_BY_KEY
            again = await (self._ask_each(differences) if by_key else self._ask(asked))
            await self._take_over(await self._differing(again))
            for (schema, key), record in differences.items() if by_key else ():
                if record is not None and again[schema, key] is None:
                    self._complain(schema, key, "it was found, and then get did not find it, with this very key")

    async def records(self, schema: ResourceSchema, keys: Iterable[Key]) -> list[PlainRecord]:
        """What the mirror has of records, with secret fields."""
        return await self._shown(Plan(selection=self._whole(schema), keys=tuple(keys)))

    async def matching(self, schema: ResourceSchema, values: Mapping[str, Plain]) -> list[PlainRecord]:
        """What the mirror has of the records with these values, with secret fields."""
        return await self._shown(Plan(selection=self._whole(schema, _equal(schema, values))))

    # what the database has

    async def ask(self, place: Place) -> PlainRecord | None:
        """What the database has of a record, None for nothing that fits."""
        schema, key = place
        return self._fitted(schema, await self._calls.get(schema, key), key).get(place)

    async def _ask(self, wants: Sequence[Want]) -> Found:
        found: dict[Place, PlainRecord | None] = {}
        for part in await together(self._ask_one(want) for want in wants):
            found.update(part)
        return found

    async def _ask_one(self, want: Want) -> Found:
        schema = want.schema
        if isinstance(want, ByKey):
            return await self._ask_each((schema, key) for key in want.keys)
        found: dict[Place, PlainRecord | None] = {}
        async for given in _in_parts(await self._calls.find(schema, want.values)):
            found.update(self._fitted(schema, given))
        known = [(schema, record[schema.key]) for record in await self.matching(schema, want.values)]
        missed = [place for place in known if place not in found]
        if want.values:
            return {**found, **await self._ask_each(missed)}
        return {**found, **dict.fromkeys(missed)}

    async def _ask_each(self, places: Iterable[Place]) -> Found:
        places = list(dict.fromkeys(places))
        return dict(zip(places, await together(map(self.ask, places)), strict=True))

    def _fitted(self, schema: ResourceSchema, given: Mapping[str, Any] | None, key: Key | None = None) -> Found:
        """A record as the database has it, at its place; nowhere when it does not fit."""
        if given is None:
            return {}
        try:
            own = fitting_key(schema, given.get(schema.key, key))
        except Unfit as unfit:
            self._complain(schema, "?", f"its key does not fit: {unfit}")
            return {}
        if key is not None and own != key:
            self._complain(schema, key, f"the record that was found has the key {own!r}")
            return {}
        try:
            return {(schema, own): fitting(schema, {**given, schema.key: own})}
        except Unfit as unfit:
            self._complain(schema, own, str(unfit))
            return {}

    def _complain(self, schema: ResourceSchema, key: Key, why: str) -> None:
        if len(self._complained) < _MOST_COMPLAINTS and (schema.table, key, why) not in self._complained:
            self._complained.add((schema.table, key, why))
            logger.warning("%s: %s %r is not shown: %s", self._calls.name, schema.table, key, why)

    # the mirror

    async def _differing(self, found: Found) -> Found:
        """Of what was found, that which the mirror has otherwise."""
        keys: dict[ResourceSchema, list[Key]] = {}
        for schema, key in found:
            keys.setdefault(schema, []).append(key)
        known: dict[Place, PlainRecord] = {}
        for schema, ours in keys.items():
            known.update({(schema, record[schema.key]): record for record in await self.records(schema, ours)})
        every = [item async for item in _in_parts(found.items()) if not _is_known(item[1], known.get(item[0]))]
        return dict(every)

    async def _take_over(self, found: Found) -> None:
        """Makes the mirror's records what was found; the caller holds the lock."""
        for _ in range(_MOST_IN_THE_WAY):
            in_the_way, unfit = await self._mirror.take_over(found) if found else ((), ())
            if not in_the_way:
                for (schema, key), why in unfit:
                    self._complain(schema, key, why)
                return
            found = {**await self._ask_each(in_the_way), **found}  # who had a value first, keeps it
        raise StoreLocked(f"{self._calls.name}: values that must be unique keep moving from record to record")

    async def _included(self, mask: Mask, records: Sequence[PlainRecord]) -> None:
        """Brings up to date what is included in records."""
        for include in mask.includes:
            schema, is_last = include.selection.schema, not include.selection.mask.includes
            match include.along:
                case Hop(field):
                    there = await self._pointed_at(schema, field.name, records)
                case Link() as link:
                    there = await self._pointing(schema, link, records, is_last=is_last)
                case Through(link, joining, to):
                    joined = await self._pointing(joining, link, records)
                    there = await self._pointed_at(schema, to, joined)
            await self._included(include.selection.mask, there)

    async def _pointed_at(self, schema: ResourceSchema, name: str, records: Sequence[PlainRecord]) -> list[PlainRecord]:
        keys = tuple(dict.fromkeys(key for one in records if (key := one[name]) is not None))
        await self.bring([ByKey(schema, keys)])
        return await self.records(schema, keys)

    async def _pointing(
        self, schema: ResourceSchema, link: Link, records: Sequence[PlainRecord], *, is_last: bool = False
    ) -> list[PlainRecord]:
        keys = dict.fromkeys(one[link.source_key] for one in records)
        await self.bring(Search(schema, {link.field: key}) for key in keys)
        return [one for key in keys for one in await self.matching(schema, {link.field: key})] if not is_last else []

    async def _shown(self, plan: Plan) -> list[PlainRecord]:
        """All fields of the records of a plan, as the mirror has them."""
        selection = Selection(plan.selection.schema, plan.selection.filter, self._whole(plan.selection.schema).mask)
        page = await self._mirror.page(msgspec.structs.replace(plan, selection=selection, total=False))
        return [msgspec.json.decode(record) async for record in _in_parts(page.records)]

    def _whole(self, schema: ResourceSchema, filter: Filter = EVERYTHING) -> Selection:
        if schema not in self._wholes:
            self._wholes[schema] = Mask(tuple(schema.fields))
        return Selection(schema, filter, self._wholes[schema])


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
    return [task.result() for task in tasks]


async def _in_parts(every: Iterable[T]) -> AsyncIterator[T]:
    """All of them; others may go on after each part."""
    for number, one in enumerate(every, 1):
        yield one
        if number % _PART == 0:
            await asyncio.sleep(0)


def _is_known(found: PlainRecord | None, known: PlainRecord | None) -> bool:
    if found is None or known is None:
        return found is known
    return all(same(value, known[name]) for name, value in found.items() if name not in MIRROR_SETS)


def _equal(schema: ResourceSchema, values: Mapping[str, Plain]) -> Filter:
    tests = []
    for name, value in values.items():
        path = Path((), schema.fields[name], (), schema.fields[name].type)
        tests.append(Test(path, "eq", value) if value is not None else Test(path, "isnull", True))
    return And(tuple(tests))
