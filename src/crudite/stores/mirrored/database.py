"""Somebody's database, as six functions, and how these are called: in which thread, for how long, with what checks."""

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

import msgspec

from crudite.calling import takes
from crudite.errors import Problem, StoreError
from crudite.schema import ResourceSchema
from crudite.stores.mirrored.fitting import Unfit, fitting, fitting_key, same
from crudite.stores.mirrored.thread import OneThread
from crudite.types import Key, Plain

AT_ONCE = 20
"""The most calls of functions that run at the same time."""


@runtime_checkable
class Database(Protocol):
    """What a database of anybody's has to have, to be a store by way of `Mirrored`. Each of the six functions is
    `async def`, or a plain one: these are called one at a time, in a thread of their own.

    `table` is the name of a resource's table, such as `todos`. Records and values are plain data, as in JSON: dates
    are texts, decimals too. What comes back may also be Python's `datetime`, `Decimal` and so on; members that the
    resource does not declare are passed over, and those that are missing are the field's default or null.

    Not to find anything is no error. Whatever a function raises is one.
    """

    def get(self, table: str, key: Any, /) -> Any:
        """The record with a key, a mapping, or None."""
        ...

    def find(self, table: str, search: dict[str, Any], /) -> Any:
        """The records that have these values: an iterable of mappings, each with its key, or None; `async def` may
        yield them, too. It may give more than was asked for, and never less."""
        ...

    def create(self, table: str, record: dict[str, Any], /) -> Any:
        """Keeps a new record and gives its key: the one that the record has, or a new one where it has none."""
        ...

    def update(self, table: str, key: Any, record: dict[str, Any], /) -> Any:
        """Puts a whole record in the place of another and gives its key; None where there is none."""
        ...

    def patch(self, table: str, key: Any, values: dict[str, Any], /) -> Any:
        """Changes these fields of a record and gives its key; None where there is none."""
        ...

    def destroy(self, table: str, key: Any, /) -> Any:
        """Takes a record away and gives its key; None where there is none."""
        ...


FUNCTIONS = {
    "get": ("table", "key"), "find": ("table", "search"), "create": ("table", "record"),
    "update": ("table", "key", "record"), "patch": ("table", "key", "values"), "destroy": ("table", "key"),
}  # fmt: skip
"""The functions of a database, and what each is given."""


def refuse_no_database(given: object) -> None:
    """Raises TypeError, with all reasons, for what has not got the six functions, or some that take something else."""
    name = given.__name__ if isinstance(given, type) else type(given).__name__
    if isinstance(given, type):
        raise TypeError(f"{name} is a class: give a database that was made by it, {name}(…)")
    missing = [name for name in FUNCTIONS if not callable(getattr(given, name, None))]
    faults = [f"lacks {', '.join(missing)}: a database has six functions"] if missing else []
    for function, parameters in FUNCTIONS.items():
        if function not in missing and not takes(getattr(given, function), len(parameters)):
            faults.append(f"has a function {function} that cannot be called with ({', '.join(parameters)})")
    if faults:
        raise TypeError(f"{name} {'; '.join(faults)}")


class Calls:
    """Calls the functions of a database. Each answers within `timeout` seconds, `find` with at most `most` records.

    What a function raises becomes a StoreError, its cause; only a Problem is left as it is. Databases tell in their
    errors what they were given, and errors are logged: the values of secret fields are taken out of their text.
    """

    def __init__(self, database: Database, most: int, timeout: float) -> None:
        self._database = database
        self._most = most
        self._timeout = timeout
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._thread = OneThread("crudite-database")
        self._deadlines: set[asyncio.Timeout] = set()

    @property
    def name(self) -> str:
        """What the database is called."""
        return type(self._database).__name__

    def close(self) -> None:
        """Lets go of the thread."""
        self._thread.close()

    async def get(self, schema: ResourceSchema, key: Key) -> Mapping[str, Any] | None:
        """The record with a key, as the database has it."""
        found = await self._call("get", schema, key)
        return None if found is None else self._record(found, "get", schema)

    async def find(self, schema: ResourceSchema, search: Mapping[str, Plain]) -> list[Mapping[str, Any]]:
        """The records that have these values, and maybe others, as the database has them."""
        found = await self._call("find", schema, dict(search))
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._wrong("find", schema, f"expected an iterable of records, and got {type(found).__name__}")
        if len(found) > self._most:
            detail = f"more than {self._most:,} records are found by {dict(search)!r}"
            raise self._wrong("find", schema, without_secrets(detail, schema, [search]))
        return [self._record(one, "find", schema) for one in found]

    async def create(self, schema: ResourceSchema, record: Mapping[str, Plain]) -> Key:
        """Keeps a new record; its key."""
        made = await self._call("create", schema, dict(record))
        try:
            key = fitting_key(schema, made)
        except Unfit as unfit:
            raise self._wrong(
                "create", schema, f"a record was made, and what came back is no key of it: {unfit}"
            ) from None
        if record.get(schema.key, key) != key:
            detail = f"a record with the key {record[schema.key]!r} was to be made, and has become {key!r}"
            left = "" if await self._take_back(schema, key, record) else ", which is still there"
            raise self._wrong("create", schema, detail + left)
        return key

    async def _take_back(self, schema: ResourceSchema, key: Key, record: Mapping[str, Plain]) -> bool:
        """Takes a record away that was made under another key than it was given. False where it may be another one's:
        the record with that key has other values, or the one that was to be made is there, too."""
        if await self.get(schema, cast(Key, record[schema.key])) is not None:
            return False
        found = await self.get(schema, key)
        try:
            made = {} if found is None else fitting(schema, found)
        except Unfit:
            return False
        names = record.keys() - {schema.key}
        is_it = bool(made) and all(same(made[name], record[name]) for name in names if name in made)
        return is_it and await self.destroy(schema, key)

    async def update(self, schema: ResourceSchema, key: Key, record: Mapping[str, Plain]) -> bool:
        """Puts a whole record in the place of another. Whether there was one."""
        return await self._call("update", schema, key, dict(record)) is not None

    async def patch(self, schema: ResourceSchema, key: Key, values: Mapping[str, Plain]) -> bool:
        """Changes fields of a record. Whether there was one."""
        return await self._call("patch", schema, key, dict(values)) is not None

    async def destroy(self, schema: ResourceSchema, key: Key) -> bool:
        """Takes a record away. Whether there was one."""
        return await self._call("destroy", schema, key) is not None

    async def _call(self, name: str, schema: ResourceSchema, *arguments: Any) -> Any:
        function = getattr(self._database, name)
        most = self._most if name == "find" else None
        try:
            async with self._at_once, asyncio.timeout(self._timeout) as deadline:
                if inspect.iscoroutinefunction(function):
                    answer = await function(schema.table, *arguments)
                else:
                    answer = await self._in_thread(deadline, most, function, schema.table, *arguments)
                return answer if most is None else await _read(answer, most)
        except (Problem, StoreError):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # nobody waits any more
                raise
            raise self._wrong(name, schema, "it has cancelled itself") from error
        except TimeoutError as error:
            detail = str(error) or f"no answer within {self._timeout:g} seconds"
            raise self._wrong(name, schema, without_secrets(detail, schema, arguments)) from error
        except Exception as error:
            detail = without_secrets(f"{type(error).__name__}: {error}", schema, arguments)
            raise self._wrong(name, schema, detail) from error

    async def _in_thread(
        self, deadline: asyncio.Timeout, most: int | None, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        loop = asyncio.get_running_loop()

        def run() -> Any:
            loop.call_soon_threadsafe(self._begin)
            return _called(most, function, arguments)

        self._deadlines.add(deadline)
        try:
            answer = await self._thread.do(run)
        finally:
            self._deadlines.discard(deadline)
        return await answer if isinstance(answer, Awaitable) else answer

    def _begin(self) -> None:
        """The thread has begun a call, so that it does not hang: what waits for it is given its time anew."""
        moment = asyncio.get_running_loop().time() + self._timeout
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(moment)

    def _record(self, found: Any, name: str, schema: ResourceSchema) -> Mapping[str, Any]:
        if not isinstance(found, Mapping):
            raise self._wrong(name, schema, f"expected a record, and got {type(found).__name__}")
        return found

    def _wrong(self, name: str, schema: ResourceSchema, detail: str) -> StoreError:
        return StoreError(f"{self.name}.{name}({schema.table!r}): {detail}")


def without_secrets(text: str, schema: ResourceSchema, given: Iterable[Any]) -> str:
    """A text that a database has made of what it was given, with dots in place of the values of secret fields, as they
    are, as Python spells them and as JSON does."""
    records = [one for one in given if isinstance(one, Mapping)]
    values = [one.get(field.name) for one in records for field in schema.fields.values() if field.secret]
    spelled = {
        spelling for value in values if value not in (None, "") and not isinstance(value, bool)
        for spelling in (str(value), repr(value).strip("'\""), msgspec.json.encode(value).decode().strip('"'))
    }  # fmt: skip
    for one in sorted(spelled, key=len, reverse=True):
        text = text.replace(one, "…")
    return text


def _called(most: int | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What a plain function gives. With `most` it is read where it was called, since a cursor belongs to its thread."""
    try:
        answer = function(*arguments)
        return answer if most is None or isinstance(answer, Awaitable) else _listed(answer, most)
    except StopIteration as error:  # which no future can hold, so that nobody would hear of it
        raise RuntimeError("next() has found nothing (StopIteration)") from error


async def _read(found: Any, most: int) -> Any:
    """What a `find` gives, as `_listed`; records that come one by one are awaited."""
    if not isinstance(found, AsyncIterable):
        return _listed(found, most)
    records: list[Any] = []
    async for one in found:
        records.append(one)
        if len(records) > most:
            break
    return records


def _listed(found: Any, most: int) -> Any:
    """The list of what is found, at most one more than `most`, for it may have no end. What is no iterable of records
    stays as it is."""
    is_one = isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable)
    return found if is_one else list(islice(found, most + 1))
