"""Shapes: what is left of a query without its constants.

`shape_of` splits a filter into both in one walk. Whoever writes SQL finds the constants in the same order, so that
one text serves every query of a shape.
"""

from typing import Any, TypeAlias

from crudite.query.plan import Include, Mask, Through
from crudite.query.tree import And, Exists, Filter, Or, Search, Test
from crudite.schema import FieldType
from crudite.types import Plain

Constant: TypeAlias = tuple[FieldType, Plain]
"""A constant of a query and the type by which a store encodes it; a list has the type of its elements."""

Shape: TypeAlias = tuple[Any, ...]
"""What is left of a query: nested tuples, which can be hashed."""

WORDS = FieldType("text")
"""The type by which a store encodes the words of a search."""


def shape_of(filter: Filter) -> tuple[Shape, list[Constant]]:
    """A bound filter split into its shape, which can be hashed, and its constants in parameter order."""
    constants: list[Constant] = []
    return _shape(filter, constants), constants


def mask_shape_of(mask: Mask) -> tuple[Shape, list[Constant]]:
    """The same of a mask: its shape, and the constants of the filters in it."""
    constants: list[Constant] = []
    return _shown_shape(mask, constants), constants


def basis_of(filter: Filter) -> Shape:
    """What the names in a filter's shape stand for, so that equal names of two applications do not meet."""
    match filter:
        case And(terms) | Or(terms):
            return tuple([basis_of(term) for term in terms])
        case Test(path):
            return (path.field, path.type.kind, *[hop.target for hop in path.hops])
        case Exists(hops, link, target):
            return (link, target, *[hop.target for hop in hops], basis_of(filter.filter))
    raise TypeError(f"expected a resolved filter, got {filter!r}")


def _shape(filter: Filter, constants: list[Constant]) -> Shape:
    match filter:
        case Test(path, operator, value, negated):
            if operator not in ("isnull", "exists"):
                constants.append((path.type.item or path.kept, value))
            return ("test", path.names, operator, negated)
        case And(terms):
            return ("and", *[_shape(term, constants) for term in terms])
        case Or(terms):
            return ("or", *[_shape(term, constants) for term in terms])
        case Exists(hops, link, _, inner, negated):
            names = tuple(hop.field.name for hop in hops)
            return ("exists", names, link.name, negated, _shape(inner, constants))
        case Search(_, words):
            constants.append((WORDS, words))
            return ("search",)
    raise TypeError(f"expected a resolved filter, got {filter!r}")


def _shown_shape(mask: Mask, constants: list[Constant]) -> Shape:
    if not mask.sometimes and not mask.includes:
        return mask.always
    sometimes = tuple([(name, _shape(filter, constants)) for name, filter in mask.sometimes])
    return mask.always, sometimes, *[_include_shape(include, constants) for include in mask.includes]


def _include_shape(include: Include, constants: list[Constant]) -> Shape:
    guard, filter = _shape(include.guard, constants), _shape(include.selection.filter, constants)
    through = _shape(include.along.filter, constants) if isinstance(include.along, Through) else ()
    return include.name, guard, filter, through, _shown_shape(include.selection.mask, constants)
