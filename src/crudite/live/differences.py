"""Differences: what leads from a record as it was shown to what is shown now, and from one set of them to another."""

from collections.abc import Mapping

import msgspec

from crudite.live.frames import Changed, Frame
from crudite.query.plan import INCLUDED
from crudite.schema import ResourceSchema
from crudite.types import Key, PlainRecord

_decode = msgspec.json.Decoder(PlainRecord).decode
_encode = msgspec.json.Encoder().encode


class Differences:
    """The differences between shown records of one resource.

    Python holds true, 1 and 1.0 for equal, so what is JSON in a record (fields, and what is included) is compared by
    its text.
    """

    def __init__(self, schema: ResourceSchema) -> None:
        nested = (field.name for field in schema.fields.values() if field.type.kind == "json")
        self._nested = frozenset((*nested, INCLUDED))

    def of_record(self, key: Key, old: PlainRecord, new: PlainRecord) -> Changed | None:
        """What changed from one shown record to the next; None when nothing did."""
        fields = {
            name: value
            for name, value in new.items()
            if name not in old or old[name] != value or (name in self._nested and _encode(old[name]) != _encode(value))
        }
        absent = tuple(name for name in old if name not in new)
        return Changed(key, fields, absent) if fields or absent else None

    def of_sets(self, old: Mapping[Key, str], new: Mapping[Key, str], *, is_ordered: bool) -> Frame | None:
        """What leads from one set to another, both as JSON texts by key; None when nothing does. Where the order must
        be told, they are in order."""
        pairs = ((key, old[key], text) for key, text in new.items() if key in old and old[key] != text)
        found = (self.of_record(key, _decode(was), _decode(text)) for key, was, text in pairs)
        changed = tuple(event for event in found if event is not None)
        added = tuple(text for key, text in new.items() if key not in old)
        removed = tuple(key for key in old if key not in new)
        order = tuple(new) if is_ordered and list(new) != list(old) else None
        if not (added or changed or removed or order is not None):
            return None
        return Frame(added=added, changed=changed, removed=removed, order=order)
