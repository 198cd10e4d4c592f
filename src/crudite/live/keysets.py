"""Key sets: what a live query needs to know of other records, kept from their changes.

A condition through other records, `project.owner == 7` or `project.members.user == 7`, says of a record only that
the key in one of its fields is among some keys: of the projects that 7 owns, of those that have a membership of
his. Such a set of keys is kept once for all who ask for it. The values that come into it or go out of it in a
batch, its *flips*, are the only way in which other records decide about a query's result.

A set's own condition may go through further records; then it rests on further sets, and their flips are found first.
While a `Span` is active, each set also knows what it held at the span's other end.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from crudite.live.matching import Inside, conjunction
from crudite.query.match import Computed, Matcher, compile_mask, compile_matcher, reads_others
from crudite.query.plan import Mask, Plan, Selection, SortKey
from crudite.query.tree import And, Exists, Filter, Or, Path, Test
from crudite.schema import FieldSpec, ResourceSchema
from crudite.types import Plain, PlainRecord


class Use(NamedTuple):
    """A condition rests on a set: it looks there for the value of the record's `field`."""

    field: str
    keys: "KeySet"


Find: TypeAlias = "Callable[[ResourceSchema, FieldSpec, Filter], KeySet]"


class Conditions:
    """What a selection says of a record: `held` and `showed` at the old end of the active span, `holds` and `shows`
    at its new end. Without an active span both are the present. `inside` is a set that the records of the filter
    cannot be without."""

    def __init__(self, filter: Filter, mask: Mask, find: Find) -> None:
        self.holds: Matcher = compile_matcher(_translated(filter, find, "has"))
        self.shows = compile_mask(_translated_mask(mask, find, "has"))
        self.uses = tuple(dict.fromkeys(use for part in _filters(filter, mask) for use in _uses(part, find)))
        self.inside = _inside(filter, find)
        self.held, self.showed = self.holds, self.shows
        if self.uses:
            self.held = compile_matcher(_translated(filter, find, "had"))
            self.showed = compile_mask(_translated_mask(mask, find, "had"))


class KeySet:
    """The values that `field` has in the records of `filter`, each with how many of them have it.

    It is usable once it is `loaded`. `is_large`: it had too many values to be kept. Once it `is_kept` it
    stays so, however many it gets: others rest on it.
    """

    def __init__(self, schema: ResourceSchema, field: FieldSpec, filter: Filter, find: Find) -> None:
        self.schema = schema
        self.field = field
        self.filter = filter
        self.counts: Counter[Any] = Counter()
        self.users: set[Any] = set()
        self.is_loaded = False
        self.is_large = False
        self.is_kept = False
        self.conditions = Conditions(filter, Mask((field.name,)), find)
        self.depth: int = 1 + max((use.keys.depth for use in self.uses), default=0)
        self.coming: frozenset[Any] = frozenset()  # while a span is active: flips between now and its new end
        self.gone: frozenset[Any] = frozenset()  # the same, between its old end and now
        self.on_flip: list[Callable[[Any, bool], None]] = []

    @property
    def values(self) -> Iterable[Any]:
        """The values that are in it."""
        return self.counts.keys()

    @property
    def uses(self) -> tuple[Use, ...]:
        """The sets that it rests on."""
        return self.conditions.uses

    def had(self, value: Plain) -> bool:
        """Whether the value was in it at the old end of the active span."""
        return (value in self.counts) != (value in self.gone)

    def has(self, value: Plain) -> bool:
        """Whether the value is in it at the new end of the active span."""
        return (value in self.counts) != (value in self.coming)

    def delta(self, pairs: Iterable[tuple[PlainRecord | None, PlainRecord | None]]) -> Counter[Any]:
        """By how much the counts differ between the ends of the active span, from images at both."""
        found: Counter[Any] = Counter()
        name = self.field.name
        for before, after in pairs:
            if before is not None and self.conditions.held(before):
                found[before[name]] -= 1
            if after is not None and self.conditions.holds(after):
                found[after[name]] += 1
        del found[None]
        return Counter({value: number for value, number in found.items() if number})

    def flips(self, delta: Mapping[Any, int], *, back: bool) -> frozenset[Any]:
        """The values that come in or go out with a delta from now on; with `back`, with one that led to now."""
        sign = -1 if back else 1
        return frozenset(
            value
            for value, number in delta.items()
            if (self.counts[value] > 0) != (self.counts[value] + sign * number > 0)
        )

    def apply(self, delta: Mapping[Any, int]) -> None:
        """Takes a delta as its new state, and tells who wants to know of each flip."""
        for value, number in delta.items():
            had, count = value in self.counts, self.counts[value] + number
            if count > 0:
                self.counts[value] = count
            else:
                del self.counts[value]
            if had != (count > 0):
                self._tell(value, count > 0)

    def plan(self, most: int | None) -> Plan:
        """What to read to load it, at most so many records."""
        key = self.schema.key_field
        selection = Selection(self.schema, self.filter, Mask((self.field.name,)))
        return Plan(selection=selection, sort=(SortKey(Path((), key, (), key.type)),), limit=most)

    def load(self, values: Iterable[Plain]) -> None:
        """Takes the values of its field in all of its records as its state."""
        for value in list(self.counts):
            self._tell(value, False)
        self.counts = Counter(value for value in values if value is not None)
        self.is_loaded = True
        for value in self.counts:
            self._tell(value, True)

    def _tell(self, value: Any, is_in: bool) -> None:
        for tell in self.on_flip:
            tell(value, is_in)

    def __repr__(self) -> str:
        return f"<{self.field.name} of {self.schema.name} where {self.filter!r}: {len(self.counts)}>"


def resting(uses: Iterable[Use]) -> frozenset[KeySet]:
    """The sets of some uses, and the ones that they rest on in turn."""
    found: set[KeySet] = set()
    for use in uses:
        found |= {use.keys} | resting(use.keys.uses)
    return frozenset(found)


class Term(NamedTuple):
    """A leaf that looks at other records, said by keys: the record's `field` holds a value that `target_field` has in
    some record of `target` for which `filter` holds; or, negated, in none."""

    field: str
    target: ResourceSchema
    target_field: FieldSpec
    filter: Filter
    negated: bool


def term(leaf: Filter) -> Term:
    """What a leaf that looks at other records says by keys."""
    match leaf:
        case Test(path, operator, value, negated):
            hop, rest = path.hops[0], Path(path.hops[1:], path.field, path.inside, path.type)
            # A way that leads nowhere ends in null, so null means: among no records that have a value.
            is_null = operator == "isnull"
            inner = Test(rest, operator, value, is_null)
            return Term(hop.field.name, hop.target, hop.target.key_field, inner, negated != is_null)
        case Exists(hops, link, there, filter, negated) if hops:
            target, further = hops[0].target, Exists(hops[1:], link, there, filter)
            return Term(hops[0].field.name, target, target.key_field, further, negated)
        case Exists(_, link, there, filter, negated):
            return Term(link.source_key, there, there.fields[link.field], filter, negated)
    raise TypeError(f"expected a leaf that looks at other records, got {leaf!r}")


def _filters(filter: Filter, mask: Mask) -> Iterator[Filter]:
    yield filter
    for _, condition in mask.sometimes:
        yield condition


def _uses(filter: Filter, find: Find) -> Iterator[Use]:
    for leaf in leaves_of_others(filter):
        found = term(leaf)
        yield Use(found.field, find(found.target, found.target_field, found.filter))


def _inside(filter: Filter, find: Find) -> Inside | None:
    for one in conjunction(filter):
        if isinstance(one, Test | Exists) and reads_others(one):
            said = term(one)
            if not said.negated:
                return Inside(said.field, find(said.target, said.target_field, said.filter))
    return None


def leaves_of_others(filter: Filter) -> Iterator[Filter]:
    """The outermost leaves of a filter that look at other records."""
    match filter:
        case And(terms) | Or(terms):
            for one in terms:
                yield from leaves_of_others(one)
        case _ if reads_others(filter):
            yield filter


def _translated(filter: Filter, find: Find, when: Literal["had", "has"]) -> Filter:
    """The filter with each look at other records as a look into a set, at one end of the active span."""
    match filter:
        case And(terms):
            return And(tuple(_translated(one, find, when) for one in terms))
        case Or(terms):
            return Or(tuple(_translated(one, find, when) for one in terms))
        case _ if reads_others(filter):
            said = term(filter)
            keys = find(said.target, said.target_field, said.filter)
            return Computed(_look(said.field, keys.had if when == "had" else keys.has, said.negated))
    return filter


def _look(field: str, is_in: Callable[[Plain], bool], negated: bool) -> Matcher:
    if negated:
        return lambda record: not is_in(record[field])
    return lambda record: is_in(record[field])


def _translated_mask(mask: Mask, find: Find, when: Literal["had", "has"]) -> Mask:
    return Mask(mask.always, tuple((name, _translated(condition, find, when)) for name, condition in mask.sometimes))
