"""Exact groups: a change's two images tell what it does to the set, with no state but the compiled filter."""

from collections.abc import Iterable
from typing import Any

import msgspec

from crudite.changes import Change
from crudite.live.frames import Changed, Frame
from crudite.live.groups import Group
from crudite.live.tiers import membership, own_part
from crudite.messages import LiveQuery
from crudite.query.match import compile_mask, compile_matcher
from crudite.schema import ResourceSchema
from crudite.types import PlainRecord

_encode = msgspec.json.Encoder().encode


class ExactGroup(Group):
    """A group of a query for which `tiers.is_exact` holds."""

    def __init__(self, id: str, key: str, query: LiveQuery) -> None:
        super().__init__(id, key, query)
        self.filter = own_part(membership(query.plan))
        self.matches = compile_matcher(self.filter)
        self._show = compile_mask(query.plan.selection.mask)
        self._nested = nested_fields(self.schema)

    def text(self, record: PlainRecord) -> str:
        """The JSON text of what is shown of a record."""
        return _encode(self._show(record)).decode()

    def frame(self, changes: Iterable[Change]) -> Frame | None:
        """What net changes do to the set; None when nobody who sees it can tell."""
        added: list[str] = []
        changed: list[Changed] = []
        removed: list[Any] = []
        for change in changes:
            before, after = change.before, change.after
            was_in = before is not None and self.matches(before)
            if after is not None and self.matches(after):
                if before is None or not was_in:
                    added.append(self.text(after))
                elif (event := self._changed(change.key, before, after)) is not None:
                    changed.append(event)
            elif was_in:
                removed.append(change.key)
        if not (added or changed or removed):
            return None
        return Frame(added=tuple(added), changed=tuple(changed), removed=tuple(removed))

    def restated(self, changes: Iterable[Change]) -> Frame | None:
        """What changes, each as it was committed, have left of every record that the set was told about on the way:
        the record as it is, or that it is not there. It is right whichever of them have been told already."""
        last: dict[Any, PlainRecord | None] = {}
        told: set[Any] = set()
        for change in changes:
            last[change.key] = change.after
            if self.frame((change,)) is not None:
                told.add(change.key)
        held = {key: after for key, after in last.items() if after is not None and self.matches(after)}
        added = tuple(self.text(after) for key, after in held.items() if key in told)
        removed = tuple(key for key in last if key in told and key not in held)
        return Frame(added=added, removed=removed) if told else None

    def _changed(self, key: Any, before: PlainRecord, after: PlainRecord) -> Changed | None:
        return difference(key, self._show(before), self._show(after), self._nested)


def nested_fields(schema: ResourceSchema) -> frozenset[str]:
    """The names of the JSON fields."""
    return frozenset(field.name for field in schema.fields.values() if field.type.kind == "json")


def difference(key: Any, old: PlainRecord, new: PlainRecord, nested: frozenset[str]) -> Changed | None:
    """What changed from one shown record to the next; None when nothing did.

    Python holds true, 1 and 1.0 for equal, so the `nested` (JSON) fields are compared by their texts.
    """
    fields = {
        name: value
        for name, value in new.items()
        if name not in old or old[name] != value or (name in nested and _encode(old[name]) != _encode(value))
    }
    absent = tuple(name for name in old if name not in new)
    return Changed(key, fields, absent) if fields or absent else None
