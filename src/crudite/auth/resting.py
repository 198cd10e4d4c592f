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
_NOBODY: Any = frozenset()


class _Change(NamedTuple):
    """What was changed, when among the questions: a record, or of a resource nobody knows which; and in which of the
    fields that anybody looks at, None where it may be in any, or the record is new or gone. It holds no image of the
    record, which may be large."""

    at: int
    resource: str
    key: Key | None
    fields: frozenset[str] | None

    def concerns(self, name: str, key: Key, fields: frozenset[str] | None) -> bool:
        """Whether it is about a record, as far as some of its fields matter."""
        if self.resource != name or self.key not in (None, key):
            return False
        return fields is None or self.fields is None or not fields.isdisjoint(self.fields)


class Resting(Generic[T]):
    """Who rests on which records."""

    def __init__(self) -> None:
        self._count = 0
        self._by_record: dict[tuple[str, Key], set[T]] = {}
        self._rests: dict[T, RestsOn] = {}
        self._looked_at: dict[str, frozenset[str]] = {}  # the fields that have ever mattered to anybody, by resource
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
        since = list(takewhile(lambda change: change.at > question, reversed(self._lately)))
        is_touched = self._forgotten >= question
        for resource, key, fields in on:
            name, known = resource.__name__, self._looked_at.get(resource.__name__, frozenset())
            self._by_record.setdefault((name, key), set()).add(who)
            is_new = fields is not None and not fields <= known  # so far nobody has looked whether they differ
            is_touched |= any(change.concerns(name, key, None if is_new else fields) for change in since)
            self._looked_at[name] = known | (fields or frozenset())
        return is_touched

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
            looked_at = self._looked_at.get(change.schema.name)
            fields = None if looked_at is None else _differing(change, looked_at)
            found |= self._take(_Change(self.mark(), change.schema.name, change.key, fields))
        for name in unknown:
            found |= self._take(_Change(self.mark(), name, None, None))
        return found

    def lost(self) -> Collection[T]:
        """All who rest on anything: it is not known what has been changed."""
        self._forgotten = self.mark()
        return list(self._rests)

    def _take(self, change: _Change) -> set[T]:
        if len(self._lately) == _MOST_KEPT:
            self._forgotten = self._lately[0].at
        self._lately.append(change)
        if change.key is not None:
            resting = self._by_record.get((change.resource, change.key), _NOBODY)
        else:
            resting = set().union(*(them for record, them in self._by_record.items() if record[0] == change.resource))
        return {who for who in resting if self._is_concerned(who, change)}

    def _is_concerned(self, who: T, change: _Change) -> bool:
        return any(change.concerns(resource.__name__, key, fields) for resource, key, fields in self._rests[who])


def _differing(change: Change, looked_at: frozenset[str]) -> frozenset[str] | None:
    """In which of some fields a record differs from what it was; None for one that is new or gone."""
    before, after = change.before, change.after
    if before is None or after is None:
        return None
    return frozenset(name for name in looked_at if before.get(name) != after.get(name))
