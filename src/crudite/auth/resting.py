"""What answers rest on: whoever is who he is because of some records, found by what has changed.

A question may be answered from records as they were before a change of which others are told already. So what has
changed lately is kept, numbered among the questions: whoever is known to rest on a record, and asked before it was
changed, is one of those who are touched by it, only later.
"""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import takewhile
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from crudite.changes import Change
from crudite.types import Key

T = TypeVar("T", bound=Hashable)
RestsOn: TypeAlias = Sequence[tuple[type[Any], Key, frozenset[str] | None]]
"""Records by class and key, with the fields that matter, or None for any of them."""

_MOST_KEPT = 10_000


class _Change(NamedTuple):
    """What was changed, when among the questions: a record, or of a resource nobody knows what."""

    at: int
    resource: str
    change: Change | None

    def concerns(self, name: str, key: Key, fields: frozenset[str] | None) -> bool:
        """Whether it is about a record, as far as some of its fields matter."""
        if self.resource != name:
            return False
        return self.change is None or (self.change.key == key and _concerns(self.change, fields))


class Resting(Generic[T]):
    """Who rests on which records."""

    def __init__(self) -> None:
        self._count = 0
        self._by_record: dict[tuple[str, Key], set[T]] = {}
        self._rests: dict[T, RestsOn] = {}
        self._lately: deque[_Change] = deque(maxlen=_MOST_KEPT)
        self._forgotten = 0  # of what was changed up to here not all is kept

    def mark(self) -> int:
        """A number, greater than all before."""
        self._count += 1
        return self._count

    def rests(self, who: T, on: RestsOn, question: int) -> bool:
        """Somebody rests on some records, and on no others any more, by the answer to a question. Returns whether one
        of them may have been changed since that was asked."""
        self.forget(who)
        if not on:
            return False
        self._rests[who] = on
        for resource, key, _ in on:
            self._by_record.setdefault((resource.__name__, key), set()).add(who)
        if self._forgotten >= question:
            return True
        since = takewhile(lambda change: change.at > question, reversed(self._lately))
        return any(change.concerns(resource.__name__, key, fields) for change in since for resource, key, fields in on)

    def forget(self, who: T) -> None:
        """Somebody rests on nothing any more."""
        for resource, key, _ in self._rests.pop(who, ()):
            record = resource.__name__, key
            resting = self._by_record.get(record, set())
            resting.discard(who)
            if not resting:
                self._by_record.pop(record, None)

    def touched(self, changes: Sequence[Change], unknown: Iterable[str]) -> Collection[T]:
        """Those who rest on records that have been changed, or of resources of which it is not known what was."""
        found: set[T] = set()
        for change in changes:
            name, key = change.schema.name, change.key
            self._keep(name, change)
            resting = self._by_record.get((name, key))
            if resting is not None:
                found.update(who for who in resting if self._is_concerned(who, name, change))
        for name in unknown:
            self._keep(name, None)
            for record, resting in self._by_record.items():
                if record[0] == name:
                    found |= resting
        return found

    def lost(self) -> Collection[T]:
        """All who rest on anything: it is not known what has been changed."""
        self._forgotten = self.mark()
        return list(self._rests)

    def _keep(self, name: str, change: Change | None) -> None:
        if len(self._lately) == _MOST_KEPT:
            self._forgotten = self._lately[0].at
        self._lately.append(_Change(self.mark(), name, change))

    def _is_concerned(self, who: T, name: str, change: Change) -> bool:
        own = (fields for resource, key, fields in self._rests[who] if (resource.__name__, key) == (name, change.key))
        return any(_concerns(change, fields) for fields in own)


def _concerns(change: Change, fields: frozenset[str] | None) -> bool:
    """Whether a change of a record is one of some of its fields, or makes an end of it."""
    before, after = change.before, change.after
    if fields is None or before is None or after is None:
        return True
    return any(before.get(name) != after.get(name) for name in fields)
