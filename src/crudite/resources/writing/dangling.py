"""Which references point at no record: the store tells of the first that it meets, here all of a request are found."""

from collections.abc import Iterator, Sequence

from crudite.changes import Refused
from crudite.errors import Invalid
from crudite.query.plan import Mask, Selection
from crudite.query.presence import present
from crudite.resources.refusals import points_nowhere
from crudite.resources.writing.incoming import at_index
from crudite.resources.writing.prepared import Prepared
from crudite.schema import Catalog
from crudite.stores.base import Store
from crudite.types import Key


async def dangling(
    refused: Refused, missed: Prepared, every: Sequence[Prepared], store: Store, catalog: Catalog
) -> Invalid:
    """The problem for a write whose references point at nothing that is there for its asker: all that do so in what he
    has sent, in a list of records behind their indexes. What the store has met is told in any case. (Where functions
    were asked about other records nothing else is: these may have changed since, and be there.)"""
    together = [missed] if missed.entry is None else [one for one in every if one.request is missed.request]
    alike = [one for one in together if one is missed or not one.has_pins]
    made: set[tuple[str, Key | None]] = set()
    known: dict[tuple[str, Key], bool] = {}  # by the field, of which each record of a resource demands the same
    faults = []
    for one in alike:
        for name, selection, key in _pointed_at(one, catalog):
            is_met = one is missed and name in refused.fields
            if not is_met and (one.has_pins or (selection.schema.name, key) in made):
                continue
            if not is_met and (name, key) not in known:
                known[name, key] = await store.lookup(selection, key) is not None
            if is_met or not known[name, key]:
                fault = points_nowhere(name)
                faults.append(fault if one.entry is None else at_index(fault, one.entry))
        made.add((one.definition.name, one.write.key))
    return Invalid(faults=faults or [points_nowhere(name) for name in refused.fields])


def _pointed_at(one: Prepared, catalog: Catalog) -> Iterator[tuple[str, Selection, Key]]:
    """The fields of a write that point at records: among which ones, as its asker may see them, and at which key."""
    needs = {need.field: need.selection for need in one.write.needs}
    for name, reference in one.definition.references:
        key = one.write.values.get(name)
        if key is None or not (reference.enforced or name in needs):
            continue
        target = catalog[reference.target]
        yield name, needs.get(name) or Selection(target, present(target), Mask((target.key,))), key
