"""From written filters and sorts to resolved ones: names to paths, values to plain ones, `not` to the leaves.

Every fault is collected before anything is raised. On behalf of an asker the resolver also applies what he
may see: a field that he may never read is as unknown; a condition on one that he may read in some records
holds only there, negated or not; a path through other records sees only those that he may read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from crudite.errors import Fault
from crudite.query.aggregates import WrittenMeasure, resolve_aggregate
from crudite.query.comparisons import MAX_LIST, UrlText, compare, is_sortable, truth
from crudite.query.faults import BAD_TEXT, Complain, add_fault, is_unstorable, raise_faults, shown
from crudite.query.including import MAX_INCLUDES, includes
from crudite.query.paths import MAX_NAME, MAX_PATH, Access, FullAccess, Many, One, Paths
from crudite.query.plan import MOST_INCLUDED, Aggregate, Include, SortKey
from crudite.query.simplify import guard, join, reroot, simplify
from crudite.query.tree import EVERYTHING, And, Check, Condition, Exists, Filter, Given, Not, Or, Path, Search, Test
from crudite.query.words import MOST_ASKED, words_of
from crudite.schema import Catalog, ResourceSchema

MAX_NODES = 200
"""The largest number of conditions in one filter."""
MAX_SORT = 10
"""The largest number of keys that a sort is written with."""
MAX_NAMES = 200
"""The largest number of names in `fields` or `omit`."""


@dataclass
class Resolver:
    """Resolves filters and sorts of one resource; `faults` gathers what is wrong with them."""

    schema: ResourceSchema
    catalog: Catalog
    access: Access = field(default_factory=FullAccess)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def __post_init__(self) -> None:
        self._paths = Paths(self.catalog, self.access)

    def filter(self, written: Filter) -> Filter:
        """The resolved filter. What is wrong with it is in `faults`; then the result means nothing."""
        return self._filter(written, self.schema, False)

    def search(self, text: str, place: str = "search") -> Filter:
        """The records in which all words of a text are; every record for a text without words."""
        complain = self._complain(place)
        if not self.schema.search:
            complain("unknown_parameter", f"{self.schema.name} declares no fields to search in.")
        elif len(text) > MOST_ASKED:
            complain("bad_value", f"search takes at most {MOST_ASKED} characters, got {len(text)}.")
        elif is_unstorable(text):
            complain(BAD_TEXT, f"search: no text has that in it, got {shown(text)}.")
        elif words := words_of(text):
            return Search(self.schema, " ".join(words))
        return EVERYTHING

    def sort(self, written: Iterable[str], place: str = "sort") -> tuple[SortKey, ...]:
        """The resolved sort keys, ending with the key of the resource, in the last direction.

        A written key is a path with dots, with `-` in front for descending. A key that comes again changes
        nothing and is left out.
        """
        keys: dict[Path, SortKey] = {}
        for text in self._at_most(MAX_SORT, written, place):
            key = self._sort_key(text, self._complain(place))
            if key is not None:
                keys.setdefault(key.path, key)
            if key is not None and key.path.names == (self.schema.key,):
                return tuple(keys.values())
        own_key = self.schema.key_field
        descending = next(reversed(keys.values())).descending if keys else False
        return (*keys.values(), SortKey(Path((), own_key, (), own_key.type), descending))

    def names(self, written: Iterable[str], place: str) -> tuple[str, ...]:
        """The field names among `written` that exist and may be seen; a fault for each that does not."""
        complain, find = self._complain(place), self._paths.field
        names = self._at_most(MAX_NAMES, written, place)
        return tuple(name for name in names if find(name, self.schema, complain) is not None)

    def aggregate(self, by: Sequence[str], measures: Sequence[WrittenMeasure]) -> Aggregate:
        """The resolved aggregate of fields that may be read in every record; a fault for what is wrong."""
        return resolve_aggregate(by, measures, self.schema, self._paths, self._complain(""))

    def includes(
        self, written: Iterable[str], place: str = "include", most: int = MOST_INCLUDED
    ) -> tuple[Include, ...]:
        """What the paths among `written` include, along a link to many at most so many records; a fault for each that
        leads to no records that may be seen."""
        paths = self._at_most(MAX_INCLUDES, written, place)
        return includes(paths, self.schema, self.catalog, self.access, self._complain(place), most)

    def check(self) -> None:
        """Raises Malformed with every fault that was found, if any was.

        When nothing is wrong but texts that no store can keep (code `bad_text`), it is Invalid.
        """
        raise_faults(self.faults)

    def _complain(self, place: str) -> Complain:
        return lambda code, detail: add_fault(self.faults, code, detail, place)

    def _at_most(self, most: int, written: Iterable[str], place: str) -> Sequence[str]:
        texts = tuple(written)
        if len(texts) > most:
            add_fault(self.faults, "too_many_names", f"At most {most} names go here, got {len(texts)}.", place)
        return texts[:most]

    def _sort_key(self, text: str, complain: Complain) -> SortKey | None:
        found = self._paths.find(tuple(text.removeprefix("-").split(".")), self.schema, complain)
        if isinstance(found, Many):
            complain("bad_sort", f"{shown(text)} leads to many records and cannot be sorted by.")
        elif found is not None and found.guards:
            complain("bad_sort", f"{shown(text)} cannot be sorted by: it may not be read in every record.")
        elif found is not None and not is_sortable(found.path):
            complain("bad_sort", f"{shown(text)} has no order: it holds {found.path.type.described}.")
        elif found is not None:
            return SortKey(found.path, text.startswith("-"))
        return None

    def _filter(self, written: Filter, schema: ResourceSchema, negated: bool) -> Filter:
        match written:
            case And(terms):
                return join(self._together(terms, schema, negated), either=negated)
            case Condition():
                return join(self._together((written,), schema, negated), either=negated)
            case Or(terms):
                return join([self._filter(term, schema, negated) for term in terms], either=not negated)
            case Not(term):
                return self._filter(term, schema, not negated)
            case Given() | Check() | Test() | Exists():
                return replace(written, negated=written.negated != negated)
        raise TypeError(f"expected a filter, got {written!r}")

    def _together(self, terms: Sequence[Filter], schema: ResourceSchema, negated: bool) -> list[Filter]:
        """The terms of one And: conditions along the same to-many path become one Exists."""
        resolved: list[Filter] = []
        related: dict[tuple[str, ...], tuple[Many, list[Condition]]] = {}
        for term in terms:
            if not isinstance(term, Condition):
                resolved.append(self._filter(term, schema, negated))
                continue
            complain = self._complain(term.place)
            found = self._paths.find(term.path, schema, complain) if self._counted(complain) else None
            if isinstance(found, One):
                test = compare(found.path, term, negated, complain)
                resolved.append(guard(found.guards, test) if found.guards else test)
            elif found is not None and found.rest:
                related.setdefault(found.way, (found, []))[1].append(replace(term, path=found.rest))
            elif found is not None:
                resolved.append(self._any(found, term, negated, complain))
        for many, conditions in related.values():
            inner = self._filter(And(tuple(conditions)), many.target, False)
            resolved.append(_exists(many, inner, negated))
        return resolved

    def _counted(self, complain: Complain) -> bool:
        """Counts a condition, at each record that it speaks of; false when there are too many."""
        self.nodes += 1
        if self.nodes == MAX_NODES + 1:
            complain("too_many_conditions", f"A filter holds at most {MAX_NODES} conditions.")
        return self.nodes <= MAX_NODES

    def _any(self, many: Many, term: Condition, negated: bool, complain: Complain) -> Filter:
        """Whether there are related records at all."""
        wanted = truth(term.value)
        if term.operator not in ("exists", "isnull"):
            complain("bad_operator", "A path that ends in many records takes exists or isnull only.")
        elif wanted is None:
            complain("bad_value", f"{term.operator} takes true or false, got {shown(term.value)}.")
        return _exists(many, EVERYTHING, negated != (wanted != (term.operator == "exists")))


def _exists(many: Many, inner: Filter, negated: bool) -> Filter:
    visible = guard(many.visible, inner)
    return guard(many.guards, Exists(many.hops, many.link, many.target, visible, negated))


__all__ = [
    "MAX_INCLUDES", "MAX_LIST", "MAX_NAME", "MAX_NAMES", "MAX_NODES", "MAX_PATH", "MAX_SORT", "Access", "FullAccess",
    "Resolver", "UrlText", "guard", "join", "reroot", "simplify",
]  # fmt: skip
