"""A query as application code writes it: `Task.where(status="todo").order("-due").limit(20)`."""

from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from crudite.query.aggregates import WrittenMeasure
from crudite.query.parse import DELETED, EMPTY, WrittenQuery, where
from crudite.query.plan import Function
from crudite.query.tree import And, Filter

T_co = TypeVar("T_co", covariant=True)


def dotted(path: str) -> str:
    """A path of names in Python, joined by two underscores or by dots, with dots."""
    return path.replace("__", ".")


@dataclass(frozen=True, slots=True)
class Query(Generic[T_co]):
    """Which records of a resource, in which order, and what of them.

    A query is a value: every method returns a new one, and nothing is read before it is asked for
    (`await request.records.list(query)`) or returned by a handler. Names are checked when it is asked.
    """

    resource: type[T_co]
    written: WrittenQuery = EMPTY

    def where(self, *filters: Filter, **conditions: Any) -> "Query[T_co]":
        """Those of the records for which all of the conditions hold too: `status__ne="done", due__lt=today`.

        Names are joined by two underscores; the last one may be an operator.
        """
        added = where(filters, **conditions)
        both = And((self.written.filter, added)) if self.written.filter != And() else added
        return self._with(filter=both)

    def search(self, words: str) -> "Query[T_co]":
        """Those of the records in whose searched fields all of the words are; the last one may be the beginning of a
        word there. A text without words finds every record."""
        return self._with(search=words)

    def deleted(self, which: Literal["only", "with"]) -> "Query[T_co]":
        """Of a resource with `soft_delete`: only its deleted records, or all `with` these, as far as they may be
        restored. Raises ValueError for any other word."""
        if which not in DELETED:
            raise ValueError(f"deleted takes 'only' or 'with', got {which!r}")
        return self._with(deleted=which)

    def order(self, *keys: str) -> "Query[T_co]":
        """Sorted by these fields, a `-` in front for descending: `"-due", "project.name"`."""
        return self._with(sort=tuple(map(dotted, keys)))

    def limit(self, count: int) -> "Query[T_co]":
        """At most so many records. Raises ValueError below 1."""
        if count < 1:
            raise ValueError(f"a limit is at least 1, got {count}")
        return self._with(limit=count)

    def fields(self, *names: str) -> "Query[T_co]":
        """With these fields only."""
        return self._with(fields=names, omit=None)

    def omit(self, *names: str) -> "Query[T_co]":
        """Without these fields."""
        return self._with(omit=names, fields=None)

    def include(self, *paths: str) -> "Query[T_co]":
        """With the records that these references and links lead to inside: `"project", "project.owner"`."""
        return self._with(include=tuple(map(dotted, paths)))

    def count(self) -> "Count":
        """How many records there are, whatever the limit."""
        return Count(self._all())

    def sum(self, field: str) -> "Value":
        """The sum of a field of all records, whatever the limit; of none it is 0. Nulls do not count."""
        return Value(self._all(), "sum", dotted(field))

    def avg(self, field: str) -> "Value":
        """The average of a field of all records, a float; None without any value."""
        return Value(self._all(), "avg", dotted(field))

    def min(self, field: str) -> "Value":
        """The lowest value of a field of all records; None without any."""
        return Value(self._all(), "min", dotted(field))

    def max(self, field: str) -> "Value":
        """The highest value of a field of all records; None without any."""
        return Value(self._all(), "max", dotted(field))

    def group(self, *fields: str) -> "Groups":
        """All records by their values of these fields; say of each group what it comes to: `.count().sum("hours")`.

        Raises ValueError without fields.
        """
        if not fields:
            raise ValueError("group takes the names of the fields by whose values the records are grouped")
        return Groups(self._all(), tuple(map(dotted, fields)))

    def _all(self) -> "Query[T_co]":
        return self._with(sort=(), limit=None, fields=None, omit=None, include=())

    def _with(self, **parts: Any) -> "Query[T_co]":
        return Query(self.resource, replace(self.written, **parts))


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a query has: a number, live where somebody subscribes to it."""

    query: Query[Any]


@dataclass(frozen=True, slots=True)
class Value:
    """What a field of all records of a query comes to: their sum, average, lowest or highest value, live where
    somebody subscribes to it."""

    query: Query[Any]
    function: Function
    field: str


@dataclass(frozen=True, slots=True)
class Groups:
    """The records of a query by the values of some fields: a list of objects such as
    `{"status": "todo", "count": 3, "sum_hours": 12}`, live where somebody subscribes to it.

    The groups come in the order of their values, null first. There are at most 1000.
    """

    query: Query[Any]
    by: tuple[str, ...]
    measures: tuple[WrittenMeasure, ...] = ()

    def count(self) -> "Groups":
        """With the number of records of each group, as `count`."""
        return self._and("count", None)

    def sum(self, field: str) -> "Groups":
        """With the sum of a field, as `sum_<field>`; 0 where it is always null."""
        return self._and("sum", field)

    def avg(self, field: str) -> "Groups":
        """With the average of a field, a float, as `avg_<field>`; null where it is always null."""
        return self._and("avg", field)

    def min(self, field: str) -> "Groups":
        """With the lowest value of a field, as `min_<field>`."""
        return self._and("min", field)

    def max(self, field: str) -> "Groups":
        """With the highest value of a field, as `max_<field>`."""
        return self._and("max", field)

    def _and(self, function: Function, field: str | None) -> "Groups":
        measure = (function, field and dotted(field))
        return replace(self, measures=(*self.measures, measure))
