"""A query as application code writes it: `Task.where(status="todo").order("-due").limit(20)`."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from crudite.query.parse import EMPTY, WrittenQuery, where
from crudite.query.tree import And, Filter

T_co = TypeVar("T_co", covariant=True)


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

    def order(self, *keys: str) -> "Query[T_co]":
        """Sorted by these fields, a `-` in front for descending: `"-due", "project.name"`."""
        return self._with(sort=tuple(key.replace("__", ".") for key in keys))

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
        return self._with(include=tuple(path.replace("__", ".") for path in paths))

    def count(self) -> "Count":
        """How many records there are, whatever the limit."""
        return Count(self._with(sort=(), limit=None, fields=None, omit=None, include=()))

    def _with(self, **parts: Any) -> "Query[T_co]":
        return Query(self.resource, replace(self.written, **parts))


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a query has: a number, live where somebody subscribes to it."""

    query: Query[Any]
