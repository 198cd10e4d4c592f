"""The filter tree: which records, as values that can be combined, printed and compared.

A filter is first *written* (`Condition` with a path of names and any value: from Python, JSON or a URL), then
*resolved* against a schema (`Test` and `Exists`, whose paths and plain values are known to fit), then *bound*
(no symbol is left in it). Written filters are joined by `And`, `Or` and `Not`, resolved ones by `And` and
`Or` only: `not` has been pushed to the leaves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias, get_args

from crudite.schema import FieldSpec, FieldType, Link, ResourceSchema
from crudite.types import Plain, PlainRecord

Operator: TypeAlias = Literal[
    "eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between", "contains", "icontains", "startswith",
    "istartswith", "endswith", "isnull", "exists",
]  # fmt: skip
OPERATORS: frozenset[str] = frozenset(get_args(Operator))

TestOperator: TypeAlias = Literal[
    "eq", "lt", "lte", "gt", "gte", "in", "contains", "icontains", "startswith", "istartswith", "endswith",
    "isnull", "exists",
]  # fmt: skip
"""What is left of the operators once resolved: `ne` and `nin` are negated, `between` is two tests."""


class Filter:
    """Which records. Combine filters with `&`, `|` and `~`."""

    __slots__ = ()

    def __and__(self, other: "Filter") -> "Filter":
        return And((self, other))

    def __or__(self, other: "Filter") -> "Filter":
        return Or((self, other))

    def __invert__(self) -> "Filter":
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError("A filter has no truth value; combine filters with &, | and ~ in place of and, or and not.")


@dataclass(frozen=True, slots=True)
class And(Filter):
    """All of the terms; with none, every record.

    Conditions that stand directly in one `And` and go through the same to-many reference speak of the same
    related record; those in different ones may speak of different records.
    """

    terms: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """Any of the terms; with none, no record."""

    terms: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """Not the term."""

    term: Filter


@dataclass(frozen=True, slots=True)
class Condition(Filter):
    """As written: the value at a path of names, compared.

    `place` is where it was written, for error messages: a JSON Pointer, or the name of a URL parameter.
    """

    path: tuple[str, ...]
    operator: Operator
    value: Any
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Given(Filter):
    """A condition on who asks, not on the record, such as having a role; folded before anything runs."""

    name: str
    test: Callable[[Any], bool] = field(hash=False)
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Check(Filter):
    """A condition on the record and on who asks that only a function can tell: `test(record, actor)`; once folded it
    is `Judged`."""

    name: str
    test: Callable[[Any, Any], bool] = field(hash=False)
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Judged(Filter):
    """Folded: what a function says of a plain record on behalf of one actor. Where `judge` cannot tell (None), neither
    this nor its opposite holds. No store knows of it (`stores.sieve`)."""

    judge: Callable[[PlainRecord], bool | None]
    negated: bool = False


EVERYTHING = And()
NOTHING = Or()


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A value that is known only when a query is asked: `me.id`, `me.roles`, `me.<claim>`, `now`, `today`.

    It can only be put into a filter or a default. Everything that would silently use the symbol in place of
    its value raises TypeError.
    """

    name: str

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(
            f"{self.name} stands for a value that is known only when a query is asked, so it can be used in "
            f"filters, rules and defaults only. In a handler or a hook use request.actor, or datetime.now()."
        )

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = _refuse
    __str__ = __format__ = __len__ = __iter__ = __int__ = __float__ = _refuse

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Hop:
    """One step along a reference: `field` of the record at hand holds the key of a record of `target`."""

    field: FieldSpec
    target: ResourceSchema


@dataclass(frozen=True, slots=True)
class Path:
    """The way from a record to one value: along to-one references, to a field, and into its JSON.

    The value is null when any reference on the way is null or points at nothing, when the JSON has nothing
    there, or something of another type than the declared one.
    """

    hops: tuple[Hop, ...]
    field: FieldSpec
    inside: tuple[str, ...]
    type: FieldType

    def __hash__(self) -> int:
        return hash(self.names)  # a hash of everything would be made anew for every query

    @property
    def names(self) -> tuple[str, ...]:
        """The path as it was written."""
        if not self.hops:
            return (self.field.name, *self.inside)
        return (*(hop.field.name for hop in self.hops), self.field.name, *self.inside)

    @property
    def is_own(self) -> bool:
        """Whether the value lies in the record itself."""
        return not self.hops

    @property
    def is_field(self) -> bool:
        """Whether the value is that of a field of the record itself, and no JSON."""
        return not self.hops and not self.inside and self.field.type.kind != "json"

    @property
    def kept(self) -> FieldType:
        """The type by which a database keeps and compares the value: inside JSON there are numbers, true and
        false, and all else is text."""
        return _IN_JSON.get(self.type.kind, _TEXT) if self.inside else self.type


_TEXT, _NUMBER = FieldType("text"), FieldType("float")
_IN_JSON = {
    "integer": _NUMBER, "float": _NUMBER, "boolean": FieldType("boolean"), "json": FieldType("json"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Test(Filter):
    """Resolved: one comparison. It is false when the value is null (but for `isnull`); `negated` is its exact
    opposite. `value` is plain and of the type that is compared, never null: a tuple for `in`, True for
    `isnull` and `exists`, else one value; or a Symbol."""

    path: Path
    operator: TestOperator
    value: Plain | Symbol
    negated: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Test):
            return NotImplemented
        return self._content == other._content and self.path == other.path

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def compared(self) -> FieldType:
        """The type of what is compared: the path's, or that of the elements of the list there."""
        return self.path.type.item or self.path.type

    @property
    def symbol(self) -> Symbol | None:
        """The symbol that the value is compared with, if it is one."""
        return self.value if isinstance(self.value, Symbol) else None

    @property
    def _content(self) -> tuple[Any, ...]:
        # A symbol refuses to be compared or hashed; inside a filter its name stands for it.
        value = (self.value.name,) if isinstance(self.value, Symbol) else ("", self.value)
        return (self.path.names, self.operator, value, self.negated)


@dataclass(frozen=True, slots=True)
class Exists(Filter):
    """Resolved: there is a record of the link's target, pointing at the record that the hops lead to, for
    which `filter` holds; or, negated, there is none."""

    hops: tuple[Hop, ...]
    link: Link
    target: ResourceSchema
    filter: Filter
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Search(Filter):
    """Resolved: every one of the words is in the searched fields of the record; the last one may be the beginning of
    a word there. `words` are folded, with a space between; see `words.words_of`."""

    schema: ResourceSchema
    words: str


def is_judged(filter: Filter) -> bool:
    """Whether only functions can tell which records are in a folded filter."""
    return any(isinstance(leaf, Judged) for leaf in leaves(filter))


def leaves(filter: Filter) -> Iterator[Filter]:
    """Every leaf of a filter in the order of writing; an `Exists` comes before the leaves inside it."""
    match filter:
        case And(terms) | Or(terms):
            for term in terms:
                yield from leaves(term)
        case Not(term):
            yield from leaves(term)
        case Exists():
            yield filter
            yield from leaves(filter.filter)
        case _:
            yield filter
