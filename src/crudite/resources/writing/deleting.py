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
from crudite.schema import Catalog, FieldSpec, ResourceSchema, format_datetime
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
        return _policy(self.field)

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
        self._tangled = frozenset(name for name in self._catalog if _is_tangled(name, self._catalog))

    def along(self, request: Request, schema: ResourceSchema) -> Along | None:
        """What else happens with a record that a request deletes or restores; None where foreign keys do it all."""
        if request.action == "restore":
            return Along("restore", self._catalog, self._moment())
        if schema.is_soft and not request.is_purging:
            return Along("hide", self._catalog, self._moment(), request.is_forced)
        if request.is_forced and schema.name in self._forcing:
            return Along("delete", self._catalog, self._moment(), True)
        if schema.name in self._tangled:
            return Along("delete", self._catalog, self._moment())
        return None

    async def what_refuses(self, request: Request, definition: Definition) -> Conflict:
        """The problem for a delete that was refused because other records still point here: how many of which resource,
        as far as a thousand records tell. Those that would go along are in nobody's way."""
        is_hiding = definition.schema.is_soft and not request.is_purging
        root = cast(Key, request.key)
        level: list[tuple[ResourceSchema, tuple[Key, ...]]] = [(definition.schema, (root,))]
        going = {definition.name: {root: None}}  # records may point at each other in a circle
        staying: list[tuple[ResourceSchema, FieldSpec, Filter]] = []
        looked_at = 0
        for schema, keys in level:
            for child, field in self._catalog.referrers[schema.name]:
                pointing = Test(Path((), field, (), field.type), "in", keys)
                of_those = join((pointing, present(child)), either=False) if is_hiding else pointing
                policy = _policy(field)
                if policy == "cascade" or (policy == "force" and request.is_forced):
                    if looked_at < _MOST_KEYS:
                        page = await self._store.page(_keys(child, of_those, _MOST_KEYS - looked_at))
                        looked_at += len(page.keys)
                        known = going.setdefault(child.name, {})
                        further = tuple([key for key in page.keys if key not in known])
                        known.update(dict.fromkeys(further))
                        level += [(child, further)] if further else []
                elif policy != "clear":
                    staying.append((child, field, of_those))
        found: list[_InTheWay] = []
        for child, field, of_those in staying:
            own = child.key_field
            known = going.get(child.name, {})
            others = [Test(Path((), own, (), own.type), "in", tuple(known), negated=True)] if known else []
            in_the_way = join((of_those, *others), either=False)
            records = await self._count(child, in_the_way)
            gone = 0 if is_hiding else await self._count(child, join((in_the_way, absent(child)), either=False))
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


def _is_tangled(name: str, catalog: Catalog) -> bool:
    """Whether something that cascades with a record of a resource may also point with a reference that does not at it,
    or at something else that goes along."""
    falling: dict[str, None] = {}
    waiting = [name]
    for one in waiting:
        further = {child.name for child, field in catalog.referrers[one] if _policy(field) == "cascade"}
        waiting += sorted(further - falling.keys() - {*waiting})
        falling |= dict.fromkeys(sorted(further))
    others = ((child.name, _policy(field)) for one in waiting for child, field in catalog.referrers[one])
    return any(child in falling and policy in ("restrict", "force") for child, policy in others)


def _policy(field: FieldSpec) -> str:
    return field.reference.on_delete if field.reference is not None else ""


def _shown(schema: ResourceSchema, filter: Filter) -> Selection:
    return Selection(schema, filter, Mask((schema.key,)))


def _keys(schema: ResourceSchema, filter: Filter, limit: int) -> Plan:
    own = schema.key_field
    return Plan(selection=_shown(schema, filter), sort=(SortKey(Path((), own, (), own.type)),), limit=limit)
