"""The records API: the actions, typed, for application code.

`request.records` acts as the actor of a request: his rules hold and hooks run. `app.records` acts as the
server itself: hooks run and no rule holds. Nothing here reads or writes behind an attribute: every access to
the database is an `await` that can be seen.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

from crudite.query.parse import EMPTY, WrittenQuery
from crudite.resources.declaring.declare import Record
from crudite.resources.query import Count, Query

R = TypeVar("R", bound="Record[Any]")


class Performer(Protocol):
    """Performs actions for somebody; made by the application."""

    async def select(self, resource: type[R], query: WrittenQuery) -> list[R]: ...
    async def count(self, resource: type[Any], query: WrittenQuery) -> int: ...
    async def read(self, resource: type[R], key: Any) -> R: ...
    async def write(self, intents: "Sequence[Intent]") -> "list[Any]": ...
    async def verify(self, resource: type[Any], key: Any, passwords: Mapping[str, str]) -> bool: ...


class Intent:
    """One write that somebody wants: an action on a resource, a key, data, the version it is made for; and of a delete
    whether it is forced, and for good."""

    __slots__ = ("action", "data", "expect", "is_forced", "is_purging", "key", "resource")

    def __init__(
        self, action: Any, resource: type[Any], key: Any, data: Any, expect: int | None, *, is_forced: bool = False,
        is_purging: bool = False,
    ) -> None:  # fmt: skip
        self.action = action
        self.resource = resource
        self.key = key
        self.data = data
        self.expect = expect
        self.is_forced = is_forced
        self.is_purging = is_purging


class Records:
    """Reads and writes records, typed by their class. Every method may raise the problems of its action."""

    def __init__(self, performer: Performer) -> None:
        self._performer = performer

    async def list(self, query: "Query[R] | type[R]") -> list[R]:
        """The records of a query, or of a whole class, in order; without a limit of its own, all of them.

        Raises TypeError for a query with `include`: a handler returns such a one, for these are records of one class.
        """
        if isinstance(query, Query):
            if query.written.include:
                raise TypeError("include shapes what a handler answers; records.list gives records of one class.")
            return await self._performer.select(query.resource, query.written)
        return await self._performer.select(query, EMPTY)

    async def count(self, query: "Query[Any] | Count | type[Any]") -> int:
        """How many records a query holds."""
        query = query.query if isinstance(query, Count) else query
        if isinstance(query, Query):
            return await self._performer.count(query.resource, query.written)
        return await self._performer.count(query, EMPTY)

    async def read(self, resource: type[R], key: Any) -> R:
        """The record with a key. Raises NotFound."""
        return await self._performer.read(resource, key)

    @overload
    async def create(self, resource: R, /) -> R: ...
    @overload
    async def create(self, resource: type[R], /, **values: Any) -> R: ...
    async def create(self, resource: Any, /, **values: Any) -> Any:
        """Creates a record from an instance, or from a class and the values of its fields; returns it as stored."""
        return (await self._performer.write([_creation(resource, values)]))[0]

    async def replace(self, resource: type[R], key: Any, /, *, expect_version: int | None = None, **values: Any) -> R:
        """Gives a record exactly these values; what is not given gets its default. Returns it as stored."""
        replaced: R = await self._one(Intent("replace", resource, key, values, expect_version))
        return replaced

    async def update(self, resource: type[R], key: Any, /, *, expect_version: int | None = None, **values: Any) -> R:
        """Changes the given fields of a record. Returns it as stored."""
        updated: R = await self._one(Intent("update", resource, key, values, expect_version))
        return updated

    async def delete(
        self, resource: type[Any], key: Any, /, *, expect_version: int | None = None, force: bool = False,
        purge: bool = False,
    ) -> None:  # fmt: skip
        """Deletes a record; with `force` also those that point at it with `on_delete="force"`, with `purge` for good
        where deleted records are kept."""
        await self._one(_deletion(resource, key, expect_version, force, purge))

    async def restore(self, resource: type[R], key: Any, /, *, expect_version: int | None = None) -> R:
        """Brings a deleted record back, with those that went along. Returns it. Raises NotFound, Conflict when it is
        there, or would point at a record that is not, and NotUnique."""
        restored: R = await self._one(Intent("restore", resource, key, None, expect_version))
        return restored

    async def verify(self, resource: type[Any], key: Any, /, **passwords: str) -> bool:
        """Whether these are the passwords of a record, each by the name of its field: `await records.verify(Account,
        key, password="…")`. A record that is not there for who asks has none, and that takes as long to find out.
        Nothing counts
        how often somebody tries: that is for a rate. Raises TypeError for what is no Password, Unavailable when too
        many are being looked at."""
        return await self._performer.verify(resource, key, passwords)

    def batch(self) -> "Batch":
        """Several writes in one transaction: `async with records.batch() as batch: batch.create(…)`."""
        return Batch(self._performer)

    async def _one(self, intent: Intent) -> Any:
        return (await self._performer.write([intent]))[0]


class Batch:
    """Writes that are committed together, or not at all, when the `async with` block ends without an error."""

    def __init__(self, performer: Performer | None) -> None:
        self._performer = performer
        self.intents: list[Intent] = []
        self.results: list[Any] = []
        """After the commit: the records as stored, in the order of the calls; None for a delete."""

    def create(self, resource: "Record[Any] | type[Record[Any]]", /, **values: Any) -> None:
        """Will create a record from an instance, or from a class and values."""
        self.intents.append(_creation(resource, values))

    def replace(self, resource: type[Any], key: Any, /, *, expect_version: int | None = None, **values: Any) -> None:
        """Will give a record exactly these values."""
        self.intents.append(Intent("replace", resource, key, values, expect_version))

    def update(self, resource: type[Any], key: Any, /, *, expect_version: int | None = None, **values: Any) -> None:
        """Will change the given fields of a record."""
        self.intents.append(Intent("update", resource, key, values, expect_version))

    def delete(
        self, resource: type[Any], key: Any, /, *, expect_version: int | None = None, force: bool = False,
        purge: bool = False,
    ) -> None:  # fmt: skip
        """Will delete a record, as `Records.delete` does."""
        self.intents.append(_deletion(resource, key, expect_version, force, purge))

    def restore(self, resource: type[Any], key: Any, /, *, expect_version: int | None = None) -> None:
        """Will bring a deleted record back."""
        self.intents.append(Intent("restore", resource, key, None, expect_version))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.intents and self._performer is not None:
            self.results = await self._performer.write(self.intents)


def _deletion(resource: type[Any], key: Any, expect: int | None, force: bool, purge: bool) -> Intent:
    return Intent("delete", resource, key, None, expect, is_forced=force, is_purging=purge)


def _creation(resource: Any, values: dict[str, Any]) -> Intent:
    if isinstance(resource, type):
        return Intent("create", resource, None, values, None)
    if values:
        raise TypeError("give an instance, or a class and values, not both")
    return Intent("create", type(resource), None, resource, None)
