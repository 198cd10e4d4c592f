"""Groups that are kept from changes, and exact ones: a change's two images tell what it does to the set, with no state
but the compiled conditions."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from crudite.changes import Change
from crudite.live.differences import Differences
from crudite.live.frames import Changed, Frame
from crudite.live.gates import Gate
from crudite.live.groups import Group
from crudite.live.keysets import Conditions, KeySet, Use, resting
from crudite.live.matching import Place, place
from crudite.live.span import Span
from crudite.live.tiers import membership, own_part
from crudite.messages import LiveQuery
from crudite.types import PlainRecord

_encode = msgspec.json.Encoder().encode


class KeptGroup(Group):
    """A group of the exact lane. What it says of a span holds while the span is active."""

    lane = "exact"

    def __init__(self, id: str, key: str, query: LiveQuery, conditions: Conditions) -> None:
        super().__init__(id, key, query)
        self.filter = own_part(membership(query.plan))
        self.conditions = conditions
        self.gates: dict[str, Gate] = {}
        self._differences = Differences(self.schema)

    @property
    def uses(self) -> tuple[Use, ...]:
        """The key sets that it rests on."""
        return self.conditions.uses

    @property
    def rests_on(self) -> frozenset[KeySet]:
        """Those sets, and the ones that they rest on in turn."""
        return resting(self.uses)

    def matches(self, record: PlainRecord) -> bool:
        """Whether a record is in the set."""
        return self.conditions.holds(record)

    def text(self, record: PlainRecord) -> str:
        """The JSON text of what is shown of a record."""
        return _encode(self.conditions.shows(record)).decode()

    @property
    def place(self) -> Place:
        """Where it stands in the matching index."""
        return place(self.filter, self.conditions.inside)

    def concerned(self, span: Span, changes: Sequence[Change]) -> Sequence[Change]:
        """All that a span may do to the set: of the `changes` that its index found or, where the sets that it rests on
        have flips, of all that concern its resource, and of the records that the flips reach."""
        if not any(use.keys in span.flips for use in self.uses):
            return changes
        return (*span.changes.get(self.schema.name, ()), *span.reached(self.schema, self.uses))

    def difference(self, key: Any, before: PlainRecord, after: PlainRecord) -> Changed | None:
        """How what is shown of a record differs from before; None when it does not."""
        return self._differences.of_record(key, self.conditions.showed(before), self.conditions.shows(after))


class ExactGroup(KeptGroup):
    """A group of the `exact` tier."""

    def frame(self, changes: Iterable[Change]) -> Frame | None:
        """What net changes do to the set; None when nobody who sees it can tell."""
        conditions = self.conditions
        added: list[str] = []
        changed: list[Changed] = []
        removed: list[Any] = []
        for change in changes:
            before, after = change.before, change.after
            was_in = before is not None and conditions.held(before)
            if after is not None and conditions.holds(after):
                if before is None or not was_in:
                    added.append(self.text(after))
                elif (event := self.difference(change.key, before, after)) is not None:
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
