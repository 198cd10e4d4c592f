"""Which values that may occur once others have: the store tells of one group of fields, here all are found."""

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from crudite.changes import Refused
from crudite.errors import Fault, NotUnique
from crudite.query.plan import Mask, Plan, Selection
from crudite.query.presence import present
from crudite.query.simplify import join
from crudite.query.tree import EVERYTHING, Filter, Path, Test
from crudite.resources.writing.prepared import Prepared
from crudite.schema import FieldSpec, ResourceSchema
from crudite.stores.base import Store
from crudite.types import Key, Plain, PlainRecord

Group = tuple[str, ...]


async def not_unique(refused: Refused, missed: Prepared, store: Store) -> NotUnique:
    """The problem for a write with values that others have: every group of fields of which that is so by now, in the
    order of the declaration, and in any case the one that the store has met. None is named where that is no group of
    this record: such as of one that would come back with it, which the asker may not even see."""
    is_restored = missed.request.action == "restore"  # where the store may have met one of the same resource below it
    if not refused.fields and not is_restored:
        return NotUnique("A value that may occur once is taken by another record.")
    schema, write = missed.definition.schema, missed.write
    values = {**(missed.old if missed.old is not None else await _stored(store, missed)), **write.values}
    own = None if write.action == "create" else write.key
    told: list[Group] = []
    if own is None and write.key is not None and await store.lookup(_shown(schema, EVERYTHING), write.key) is not None:
        told.append((schema.key,))
    for group in _groups(schema):
        is_met = group == tuple(refused.fields) and not is_restored
        if is_met or await _is_taken(store, schema, group, values, own):
            told.append(group)
    if is_restored and not told:
        along = "of this record, or of one that comes along with it,"
        return NotUnique(f"A value {along} that may occur once is taken by another record.")
    if tuple(refused.fields) not in told and not is_restored:  # such as a key that is free by now
        told.insert(0, tuple(refused.fields))
    return NotUnique(faults=[fault for group in told for fault in _faults(group)])


async def _stored(store: Store, missed: Prepared) -> PlainRecord:
    """What is stored in the fields that may be among those whose values together occur once."""
    schema, write = missed.definition.schema, missed.write
    groups = _groups(schema) if missed.request.action == "restore" else schema.unique
    names = tuple({name for group in groups for name in group if not schema.fields[name].secret})
    if not names or write.key is None or write.action == "create":
        return {}
    row = await store.lookup(Selection(schema, EVERYTHING, Mask(names)), write.key)
    return {} if row is None else cast(PlainRecord, msgspec.json.decode(row.json))


def _groups(schema: ResourceSchema) -> Iterator[Group]:
    yield from ((field.name,) for field in schema.fields.values() if field.unique)
    yield from schema.unique


async def _is_taken(
    store: Store, schema: ResourceSchema, group: Group, values: Mapping[str, Plain], key: Key | None
) -> bool:
    """Whether another record that is there has the same values in a group of fields."""
    fields = [schema.fields[name] for name in group]
    if any(name not in values for name in group):
        return False
    if group not in schema.alike and any(values[name] is None for name in group):
        return False  # null is no value there
    same = [_is(field, values[field.name]) for field in fields]
    others = [] if key is None else [Test(_path(schema.key_field), "eq", key, negated=True)]
    filter: Filter = join((present(schema), *same, *others), either=False)
    page = await store.page(Plan(selection=_shown(schema, filter), limit=1))
    return bool(page.keys)


def _shown(schema: ResourceSchema, filter: Filter) -> Selection:
    return Selection(schema, filter, Mask((schema.key,)))


def _is(field: FieldSpec, value: Plain) -> Test:
    return Test(_path(field), "isnull", True) if value is None else Test(_path(field), "eq", value)


def _path(field: FieldSpec) -> Path:
    return Path((), field, (), field.type)


def _faults(group: Group) -> list[Fault]:
    if len(group) == 1:
        return [Fault("not_unique", f"{group[0]} is taken by another record.", pointer=f"/{group[0]}")]
    detail = f"{', '.join(group[:-1])} and {group[-1]} together are taken by another record."
    return [Fault("not_unique", detail, pointer=f"/{name}", rule=":".join(group)) for name in group]
