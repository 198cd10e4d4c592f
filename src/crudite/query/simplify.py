"""Resolved filters put together, taken to another starting point, and made no larger than they need to be."""

from collections.abc import Iterable
from dataclasses import replace

from crudite.query.tree import EVERYTHING, NOTHING, And, Exists, Filter, Hop, Or, Path, Test


def join(terms: Iterable[Filter], *, either: bool) -> Filter:
    """All of the simplified terms, or with `either` any of them, simplified."""
    kind, decides = (Or, EVERYTHING) if either else (And, NOTHING)
    flat: dict[Filter, None] = {}
    for term in terms:
        if isinstance(term, kind):
            flat.update(dict.fromkeys(term.terms))
        elif term == decides:
            return decides
        else:
            flat[term] = None
    return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))


def guard(guards: Iterable[Filter], filter: Filter) -> Filter:
    """The filter, holding only where all of the guards hold."""
    return join((*map(simplify, guards), simplify(filter)), either=False)


def simplify(filter: Filter) -> Filter:
    """A resolved filter without And in And, Or in Or, repeated or single terms, and constants that decide.

    Flattening is safe here: what belongs to one related record is already inside one Exists.
    """
    match filter:
        case And(terms):
            return join(map(simplify, terms), either=False)
        case Or(terms):
            return join(map(simplify, terms), either=True)
        case Exists():
            inner = simplify(filter.filter)
            if inner == NOTHING:
                return EVERYTHING if filter.negated else NOTHING
            return replace(filter, filter=inner)
    return filter


def reroot(filter: Filter, hops: tuple[Hop, ...]) -> Filter:
    """A resolved filter on the record that the hops lead to, as a filter on the record that they start from.

    Where the hops lead nowhere, every value is null there, and the filter says what it says of nulls.
    """
    match filter:
        case And(terms):
            return And(tuple(reroot(term, hops) for term in terms))
        case Or(terms):
            return Or(tuple(reroot(term, hops) for term in terms))
        case Test(path):
            return replace(filter, path=Path((*hops, *path.hops), path.field, path.inside, path.type))
        case Exists(inner):
            return replace(filter, hops=(*hops, *inner))
    return filter


def there_and(filter: Filter, hops: tuple[Hop, ...]) -> Filter:
    """A filter on the record that the hops lead to, which does not hold where they lead nowhere.

    A filter for every record asks nothing, not even that there is one.
    """
    if not hops or filter == EVERYTHING:
        return filter
    key = hops[-1].target.key_field
    there = Test(Path(hops, key, (), key.type), "isnull", True, negated=True)
    return join((there, simplify(reroot(filter, hops))), either=False)
