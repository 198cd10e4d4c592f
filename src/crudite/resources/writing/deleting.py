"""What deleting and restoring a record does to the records that point at it, and what stands in its way."""

from datetime import datetime, timedelta
from typing import NamedTuple, cast

from crudite.changes import Along
from crudite.errors import Conflict, Fault
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.presence import absent, present
from crudite.query.simplify import join
from crudite.query.tree import Filter, Path, Test
from crudite.resources.access import Rulebook
from crudite.resources.declaring.definition import Definition
from crudite.resources.request import Request
from crudite.schema import FieldSpec, ResourceSchema, format_datetime
from crudite.stores.base import Store
from crudite.types import Key

_MOST_KEYS = 1_000
"""How many records are looked at to say what stands in the way."""
_TICK = timedelta(microseconds=1)


class _InTheWay(NamedTuple):
    """So many records of a resource point with a field at what was to be deleted; so many of them are deleted."""

    schema: ResourceSchema
    field: FieldSpec
    records: int
    deleted: int

    @property
    def policy(self) -> str:
        """What the field says about deleting."""
        return self.field.reference.on_delete if self.field.reference is not None else ""

    def told(self) -> Fault:
        """What is told of them: how many, never which."""
        some = f" ({self.deleted} of them deleted)" if self.deleted else ""
        many = f"{self.records} records" if self.records > 1 else "1 record"
        points = "points" if self.records == 1 else "point"
        detail = f"{many} of {self.schema.name}{some} {points} here with {self.field.name}"
        return Fault("referenced", detail + ("; force=true deletes them too." if self.policy == "force" else "."))


class Deleting:
    """Decides what goes along with the records of one application."""

    def __init__(self, rulebook: Rulebook, store: Store) -> None:
        self._rulebook = rulebook
        self._store = store
        self._catalog = rulebook.definitions.catalog
        self._last: datetime | None = None
        self._forcing = _reached_by_force(rulebook)

    def along(self, request: Request, schema: ResourceSchema) -> Along | None:
        """What else happens with a record that a request deletes or restores; None where foreign keys do it all."""
        if request.action == "restore":
            return Along("restore", self._catalog, self._moment())
        if schema.is_soft and not request.is_purging:
            return Along("hide", self._catalog, self._moment(), request.is_forced)
        if request.is_forced and schema.name in self._forcing:
            return Along("delete", self._catalog, self._moment(), True)
        return None

    async def what_refuses(self, request: Request, definition: Definition) -> Conflict:
        """The problem for a delete that was refused because other records still point here: how many of which resource,
        as far as a thousand records tell."""
        is_hiding = definition.schema.is_soft and not request.is_purging
        root = cast(Key, request.key)
        level: list[tuple[ResourceSchema, tuple[Key, ...]]] = [(definition.schema, (root,))]
        seen = {(definition.name, root)}  # records may point at each other in a circle
        found: list[_InTheWay] = []
        looked_at = 0
        for schema, keys in level:
            for child, field in self._catalog.referrers[schema.name]:
                pointing = Test(Path((), field, (), field.type), "in", keys)
                of_those = join((pointing, present(child)), either=False) if is_hiding else pointing
                policy = field.reference.on_delete if field.reference is not None else ""
                if policy == "cascade" or (policy == "force" and request.is_forced):
                    if looked_at < _MOST_KEYS:
                        page = await self._store.page(_keys(child, of_those, _MOST_KEYS - looked_at))
                        looked_at += len(page.keys)
                        further = tuple([key for key in page.keys if (child.name, key) not in seen])
                        seen.update((child.name, key) for key in further)
                        level += [(child, further)] if further else []
                elif policy != "clear":
                    records = await self._count(child, of_those)
                    gone = 0 if is_hiding else await self._count(child, join((pointing, absent(child)), either=False))
                    found += [_InTheWay(child, field, records, gone)] if records else []
        if not found:
            return Conflict("Other records still point at this one.")
        faults = [one.told() for one in found]
        return Conflict(f"{definition.name} cannot be deleted: other records still point at it.", faults=faults)

    async def _count(self, schema: ResourceSchema, filter: Filter) -> int:
        page = await self._store.page(Plan(selection=_shown(schema, filter), limit=0, total=True))
        return page.total or 0

    def _moment(self) -> str:
        """Now, but never the same moment twice: it says what was deleted together."""
        now = self._rulebook.clock()
        if self._last is not None and now <= self._last:
            now = self._last + _TICK
        self._last = now
        return format_datetime(now)


def _reached_by_force(rulebook: Rulebook) -> frozenset[str]:
    """The resources of which a delete can be forced: something below them says so."""
    catalog = rulebook.definitions.catalog
    found = {field.reference.target for fields in catalog.referrers.values() for _, field in fields
             if field.reference is not None and field.reference.on_delete == "force"}  # fmt: skip
    waiting = list(found)
    for name in waiting:
        for field in catalog[name].fields.values():
            points = field.reference
            if points is not None and points.enforced and points.on_delete == "cascade" and points.target not in found:
                found.add(points.target)
                waiting.append(points.target)
    return frozenset(found)


def _shown(schema: ResourceSchema, filter: Filter) -> Selection:
    return Selection(schema, filter, Mask((schema.key,)))


def _keys(schema: ResourceSchema, filter: Filter, limit: int) -> Plan:
    own = schema.key_field
    return Plan(selection=_shown(schema, filter), sort=(SortKey(Path((), own, (), own.type)),), limit=limit)
