"""Cascading changes: a field that has changed is carried on to the records that point here, in the same transaction.

The server itself makes these writes: no rule is asked of who changed the first record, but the hooks and validators of
the others run. A record that stops pointing here, or goes, while this is decided makes everything be decided again.
"""

from collections.abc import Iterable, Sequence

from crudite.errors import Conflict, NotFound
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.presence import present
from crudite.query.simplify import join
from crudite.query.tree import Condition, Path, Test
from crudite.resources.access import Rulebook
from crudite.resources.declaring.cascades import CarriedField
from crudite.resources.request import Nesting, Request
from crudite.resources.writing.incoming import MAX_MANY
from crudite.resources.writing.prepared import Prepared
from crudite.resources.writing.preparing import Preparing
from crudite.schema import ResourceSchema
from crudite.stores.base import Store
from crudite.stores.sieve import read_page
from crudite.types import Key, Plain, PlainRecord


class Cascading:
    """What follows from the writes of one transaction. Each field of a record is carried once, so that records that
    point at each other in a circle come to an end."""

    def __init__(self, rulebook: Rulebook, store: Store, preparing: Preparing) -> None:
        self._rulebook = rulebook
        self._store = store
        self._preparing = preparing
        self._seen: set[tuple[str, Key, str]] = set()
        self._gone: set[tuple[str, Key]] = set()
        self._pointing: dict[tuple[str, Key, str], Plain] = {}

    def heed(self, prepared: Iterable[Prepared]) -> None:
        """Takes note of writes of the transaction: to what they delete, or let point elsewhere, nothing is carried."""
        for write in (one.write for one in prepared):
            name, key = write.schema.name, write.key
            if key is None or write.action == "create":
                continue
            if write.action == "delete":
                self._gone.add((name, key))
            self._pointing.update({(name, key, field): value for field, value in write.values.items()})

    async def of(self, prepared: Iterable[Prepared]) -> list[Prepared]:
        """The writes that follow directly from others. Raises Conflict when they are more than MAX_MANY."""
        further: list[Prepared] = []
        for one in prepared:
            for request in await self._requests(one):
                try:
                    further += await self._preparing.prepare(request)
                except NotFound:  # it has stopped pointing here since it was found
                    continue
        for one in further:
            one.is_carried = True
        return further

    async def _requests(self, prepared: Prepared) -> Sequence[Request]:
        definition, write, old = prepared.definition, prepared.write, prepared.old
        if not definition.cascades or write.action != "update" or old is None or write.key is None:
            return ()
        found: dict[tuple[str, Key], Request] = {}
        for name, carried in definition.cascades.items():
            if name not in write.values or write.values[name] == old.get(name):
                continue
            self._seen.add((definition.name, write.key, name))
            for way in carried:
                if way.carries(write.values[name]):
                    await self._follow(prepared.request, way, name, write.key, write.values[name], found)
        return list(found.values())

    async def _follow(
        self, request: Request, way: CarriedField, name: str, key: Key, value: Plain,
        found: dict[tuple[str, Key], Request],
    ) -> None:  # fmt: skip
        """Adds what is to be done with the records that a field is carried to: one request for each of them."""
        definition = self._rulebook.definitions.by_name[way.target]
        nesting = Nesting(Condition((way.by,), "eq", key), {}, ())
        for other in await self._others(definition.schema, way, name, key, value):
            if (way.target, other, name) in self._seen or (way.target, other) in self._gone:
                continue
            if self._pointing.get((way.target, other, way.by), key) != key:
                continue
            self._seen.add((way.target, other, name))
            if (way.target, other) not in found:
                found[way.target, other] = Request(
                    "update", definition.path, definition=definition, key=other, data={}, nesting=nesting,
                    actor=request.actor, interface=request.interface, id=request.id, is_minimal=True, is_system=True,
                    performers=request.performers,
                )  # fmt: skip
            values: PlainRecord = found[way.target, other].data
            values[name] = value

    async def _others(
        self, schema: ResourceSchema, way: CarriedField, name: str, key: Key, value: Plain
    ) -> Sequence[Key]:
        """The keys of the records that are there, point here and have another value."""
        here = Test(_path(schema, way.by), "eq", key)
        test = Test(_path(schema, name), "isnull", True) if value is None else Test(_path(schema, name), "eq", value)
        differs = Test(test.path, test.operator, test.value, negated=True)
        selection = Selection(schema, join((here, differs, present(schema)), either=False), Mask((schema.key,)))
        page = await read_page(self._store, Plan(selection=selection, limit=MAX_MANY + 1))
        if len(page.keys) > MAX_MANY or len(self._seen) + len(page.keys) > MAX_MANY + 1:
            raise Conflict(f"To change {name} here would change it in more than {MAX_MANY:,} records that point here.")
        return page.keys


def _path(schema: ResourceSchema, name: str) -> Path:
    field = schema.fields[name]
    return Path((), field, (), field.type)
