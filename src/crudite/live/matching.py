"""The matching index: for one image of a record, the few groups whose filter it may be in.

Each group stands in one place, under one term that its filter cannot hold without: an equality (a hash
lookup), a set that must hold the value of a field (two of them), else a range (a bisection), else among the rest,
which every record is compared with. What the index names is a superset; the group's own matcher decides.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from crudite.query.tree import NOTHING, And, Filter, Or, Test
from crudite.schema import FieldSpec
from crudite.types import PlainRecord

Group = TypeVar("Group", bound=Hashable)


class Keys(Protocol):
    """A set of keys that changes, and says so by calling `on_flip` with a value and whether it is in now."""

    @property
    def values(self) -> Iterable[Any]: ...
    @property
    def on_flip(self) -> list[Callable[[Any, bool], None]]: ...


@dataclass(frozen=True, slots=True)
class Equality:
    """The field has one of these (comparable) values."""

    field: FieldSpec
    values: frozenset[Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """The field lies between two (comparable) values, of which one may be open (None)."""

    field: FieldSpec
    low: Any = None
    high: Any = None


@dataclass(frozen=True, slots=True)
class Inside:
    """The value of the field is in a set that changes."""

    field: str
    keys: Keys


@dataclass(frozen=True, slots=True)
class Nowhere:
    """No record is in the filter."""


Place: TypeAlias = Equality | Interval | Inside | Nowhere | None


def place(filter: Filter, inside: Inside | None = None) -> Place:
    """The most selective term that a bound filter cannot hold without; None when there is none to use.

    `inside` is one more such term, if the filter goes on through other records.
    """
    terms = list(conjunction(filter))
    if NOTHING in terms:
        return Nowhere()
    equalities = [found for term in terms if (found := _equality(term)) is not None]
    best = min(equalities, key=lambda found: (_rank(found.field), len(found.values)), default=None)
    if inside is not None and (best is None or _rank(best.field) > _SELECTIVE):
        return inside
    return best or _interval(terms)


def conjunction(filter: Filter) -> Iterator[Filter]:
    """The terms that a filter cannot hold without, each as far apart as can be."""
    if isinstance(filter, And):
        for term in filter.terms:
            yield from conjunction(term)
    else:
        yield filter


def _is_plain(term: Filter) -> bool:
    """Whether a term looks at one scalar field of the record itself."""
    if not isinstance(term, Test) or term.path.hops or term.path.inside:
        return False
    return term.path.field.type.kind != "json"


def _equality(term: Filter) -> Equality | None:
    if isinstance(term, Or):
        return _either(term)
    if not isinstance(term, Test) or not _is_plain(term):
        return None
    field, comparable = term.path.field, term.path.type.comparable
    if term.operator == "isnull":
        return Equality(field, frozenset([None])) if term.value != term.negated else None
    if term.negated or term.operator not in ("eq", "in"):
        return None
    values = term.value if term.operator == "in" else (term.value,)
    return Equality(field, frozenset(map(comparable, values)))


def _either(term: Or) -> Equality | None:
    """An Or of equalities on one field is one equality."""
    found = [_equality(one) for one in term.terms]
    first = found[0] if found else None
    if first is None:
        return None
    same = [one for one in found if one is not None and one.field is first.field]
    if len(same) < len(found):
        return None
    return Equality(first.field, frozenset().union(*(one.values for one in same)))


_SELECTIVE = 1


def _rank(field: FieldSpec) -> int:
    """The lower, the fewer records are expected to share a value."""
    if field.reference is not None or field.unique:
        return 0
    if field.type.choices is not None or field.type.kind == "boolean":
        return 3
    return 1 if field.type.kind in ("text", "uuid") else 2


def _interval(terms: list[Filter]) -> Interval | None:
    """The bounds that the terms set to the first field they bound at all; both bounds count as included."""
    chosen: FieldSpec | None = None
    low = high = None
    for term in terms:
        if not isinstance(term, Test) or not _is_plain(term) or term.negated:
            continue
        if term.operator not in ("lt", "lte", "gt", "gte") or chosen not in (None, term.path.field):
            continue
        chosen, value = term.path.field, term.path.type.comparable(term.value)
        if term.operator in ("gt", "gte"):
            low = value if low is None else max(low, value)
        else:
            high = value if high is None else min(high, value)
    return None if chosen is None else Interval(chosen, low, high)


class MatchIndex(Generic[Group]):
    """The groups of one resource, each under its place."""

    def __init__(self) -> None:
        self._equal: dict[str, tuple[FieldSpec, dict[Any, set[Group]]]] = {}
        self._ranges: dict[str, tuple[FieldSpec, _Ranges[Group]]] = {}
        self._inside: dict[str, _Inside[Group]] = {}
        self._rest: set[Group] = set()

    def add(self, group: Group, at: Place) -> None:
        """Puts a group in its place."""
        match at:
            case Equality(field, values):
                by_value = self._equal.setdefault(field.name, (field, {}))[1]
                for value in values:
                    by_value.setdefault(value, set()).add(group)
            case Interval(field):
                self._ranges.setdefault(field.name, (field, _Ranges()))[1].add(group, at)
            case Inside(name, keys):
                self._inside.setdefault(name, _Inside()).add(group, keys)
            case None:
                self._rest.add(group)

    def remove(self, group: Group, at: Place) -> None:
        """Takes a group out of the place that it was put in."""
        match at:
            case Equality(field, values):
                by_value = self._equal[field.name][1]
                for value in values:
                    by_value[value].discard(group)
                    if not by_value[value]:
                        del by_value[value]
                if not by_value:
                    del self._equal[field.name]
            case Interval(field):
                self._ranges[field.name][1].remove(group, at)
            case Inside(name, keys):
                self._inside[name].remove(group, keys)
            case None:
                self._rest.discard(group)

    def candidates(self, record: PlainRecord) -> set[Group]:
        """Every group whose filter may hold the record, and some more."""
        found = set(self._rest)
        for name, (field, by_value) in self._equal.items():
            groups = by_value.get(field.type.comparable(record[name]))
            if groups:
                found |= groups
        for name, inside in self._inside.items():
            inside.gather(record[name], found)
        for name, (field, ranges) in self._ranges.items():
            if record[name] is not None:
                found.update(ranges.around(field.type.comparable(record[name])))
        return found


class _Inside(Generic[Group]):
    """Groups by the sets that must hold the value of one field, and these by their values."""

    def __init__(self) -> None:
        self._sets: dict[Any, set[Keys]] = {}
        self._groups: dict[Keys, set[Group]] = {}
        self._listeners: dict[Keys, Callable[[Any, bool], None]] = {}

    def add(self, group: Group, keys: Keys) -> None:
        if keys not in self._groups:
            listener = self._listeners[keys] = partial(self._flip, keys)
            keys.on_flip.append(listener)
            for value in keys.values:
                self._flip(keys, value, True)
        self._groups.setdefault(keys, set()).add(group)

    def remove(self, group: Group, keys: Keys) -> None:
        self._groups[keys].discard(group)
        if not self._groups[keys]:
            del self._groups[keys]
            keys.on_flip.remove(self._listeners.pop(keys))
            for value in keys.values:
                self._flip(keys, value, False)

    def gather(self, value: Any, found: set[Group]) -> None:
        for keys in self._sets.get(value, ()):
            found |= self._groups[keys]

    def _flip(self, keys: Keys, value: Any, is_in: bool) -> None:
        sets = self._sets.setdefault(value, set())
        if is_in:
            sets.add(keys)
        else:
            sets.discard(keys)
            if not sets:
                del self._sets[value]


class _Ranges(Generic[Group]):
    """Intervals on one field, sorted by their ends.

    Those open at one side are exactly the head of one list or the tail of the other. Closed ones stand in a
    pair of lists; the shorter of the head by low ends and the tail by high ends is taken.
    """

    def __init__(self) -> None:
        self._from: list[tuple[Any, Group]] = []
        self._until: list[tuple[Any, Group]] = []
        self._by_low: list[tuple[Any, Group]] = []
        self._by_high: list[tuple[Any, Group]] = []

    def add(self, group: Group, interval: Interval) -> None:
        for ends, value in self._lists(interval):
            insort(ends, (value, group), key=itemgetter(0))

    def remove(self, group: Group, interval: Interval) -> None:
        for ends, value in self._lists(interval):
            at = bisect_left(ends, value, key=itemgetter(0))
            while ends[at][1] != group:
                at += 1
            del ends[at]

    def around(self, value: Any) -> Iterator[Group]:
        for _, group in self._from[: bisect_right(self._from, value, key=itemgetter(0))]:
            yield group
        for _, group in self._until[bisect_left(self._until, value, key=itemgetter(0)) :]:
            yield group
        begun = bisect_right(self._by_low, value, key=itemgetter(0))
        ended = bisect_left(self._by_high, value, key=itemgetter(0))
        is_head_shorter = begun <= len(self._by_high) - ended
        for _, group in self._by_low[:begun] if is_head_shorter else self._by_high[ended:]:
            yield group

    def _lists(self, interval: Interval) -> list[tuple[list[tuple[Any, Group]], Any]]:
        low, high = interval.low, interval.high
        if high is None:
            return [(self._from, low)]
        return [(self._until, high)] if low is None else [(self._by_low, low), (self._by_high, high)]
