"""The keys of new records that others are to point at as soon as they are there, where the store numbers them."""

from collections.abc import Mapping, Sequence

from crudite.resources.declaring.definition import Definition
from crudite.stores.base import Store, SupportsNumbers
from crudite.types import Key, PlainRecord


async def numbers_for(definition: Definition, records: Sequence[PlainRecord], store: Store) -> Mapping[int, Key]:
    """The keys of those records, by their places, that give links and no key; none where the store has no numbers
    before the records are there."""
    schema = definition.schema
    if not (definition.settable and schema.is_numbered and isinstance(store, SupportsNumbers)):
        return {}
    wanted = [index for index, one in enumerate(records) if schema.key not in one and _leads(definition, one)]
    return dict(zip(wanted, await store.numbers(schema, len(wanted)), strict=True)) if wanted else {}


def _leads(definition: Definition, record: PlainRecord) -> bool:
    """Whether the links of a record are to lead anywhere."""
    return any(record.get(name) not in (None, []) for name in definition.settable)
