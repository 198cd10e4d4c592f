"""What functions of a database may give in ways of their own, and what is told of what they may not."""

import asyncio
import itertools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from crudite import App, DeclarationError, Field, Mirrored, Record, allow
from crudite.stores.sqlite import SqliteStore
from crudite.testing import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Inside(BaseModel):
    number: int | None = None
    ratio: float = 0
    is_so: bool = True
    day: date = date(2026, 1, 1)
    hour: time = time(14, 40)
    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    uuid: UUID = UUID(int=1)
    names: list[str] = []


class Task(Record[int], rules=allow.everyone):
    title: str
    tags: list[int] = Field(default=[])
    counts: dict[str, int] = Field(default={})
    inside: Inside | None = None


class Rows:
    """A database of dictionaries whose `get` and `find` a test may put others in the place of."""

    def __init__(self, *rows: dict[str, Any], **functions: Callable[..., Any]) -> None:
        self.rows = {row["id"]: row for row in rows}
        vars(self).update(functions)

    def get(self, table: str, key: Any) -> Any:
        return self.rows.get(key)

    def find(self, table: str, search: Mapping[str, Any]) -> Any:
        return list(self.rows.values())

    def create(self, table: str, record: Mapping[str, Any]) -> Any:
        key = max(self.rows, default=0) + 1
        self.rows[key] = {**record, "id": key}
        return key

    def update(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
        self.rows[key] = dict(record)
        return key

    def patch(self, table: str, key: Any, values: Mapping[str, Any]) -> Any:
        self.rows[key] |= values
        return key

    def destroy(self, table: str, key: Any) -> Any:
        return self.rows.pop(key)["id"]


AB = ({"id": 1, "title": "a"}, {"id": 2, "title": "b"})


def from_a_cursor(table: str, search: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a database that answers only in the thread in which it was opened."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE tasks AS SELECT 1 AS id, 'a' AS title UNION SELECT 2, 'b'")

    def told() -> Iterator[dict[str, Any]]:
        with closing(connection):
            for id, title in connection.execute("SELECT id, title FROM tasks"):
                yield {"id": id, "title": title}

    return told()


async def one_by_one(table: str, search: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for record in AB:
        yield record


@pytest.mark.parametrize("find", [from_a_cursor, one_by_one], ids=["a cursor", "an asynchronous generator"])
async def test_records_that_come_step_by_step_are_read_where_they_can_be(find: Callable[..., Any]) -> None:
    async with Client(App(Task, store=Rows(*AB, find=find))) as client:
        assert [task["title"] for task in (await client.get("/tasks")).json] == ["a", "b"]


def breaks_in_the_middle(*_: Any) -> Iterator[dict[str, Any]]:
    return map(lambda number: {"id": number, "title": str(1 // number)}, [1, 0])  # noqa: C417


def without_end(*_: Any) -> Iterator[dict[str, Any]]:
    return ({"id": number, "title": "x"} for number in itertools.count())


async def awaited_without_end(*_: Any) -> AsyncIterator[dict[str, Any]]:
    for record in without_end():
        yield record


def finds_nothing(*_: Any) -> Any:
    return next(iter(()))


async def cancels_itself(*_: Any) -> Any:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


@pytest.mark.parametrize(
    ("functions", "url", "says"),
    [
        ({"find": breaks_in_the_middle}, "/tasks", "ZeroDivisionError"),
        ({"find": without_end}, "/tasks", "more than 100 records are found"),
        ({"find": awaited_without_end}, "/tasks", "more than 100 records are found"),
        ({"get": finds_nothing}, "/tasks/1", "next() has found nothing"),
        ({"get": cancels_itself}, "/tasks/1", "it has cancelled itself"),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else "",
)
async def test_a_function_that_fails_in_its_own_way_is_an_error_of_the_database(
    functions: dict[str, Callable[..., Any]], url: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(5), Client(App(Task, store=Mirrored(Rows(**functions), most=100))) as client:
        answer = await client.get(url)
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert says in caplog.text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tags": "hello"}, "tags: expected a list"),
        ({"tags": {"a": 1}}, "tags: expected a list"),
        ({"tags": [1, "a"]}, "tags: expected an integer"),
        ({"counts": [1]}, "counts: expected an object"),
        ({"counts": {"a": "b"}}, "counts: expected an integer"),
        ({"inside": {"number": "no", "names": "x"}}, "inside: expected an integer"),
        ({"inside": {"names": [5]}}, "inside: expected a text"),
    ],
    ids=repr,
)
async def test_what_lies_inside_a_field_has_to_be_of_its_type_too(
    values: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = {"id": 2, "title": "fits", "tags": [1], "counts": {"a": 1}, "inside": {"number": 1}}
    async with Client(App(Task, store=Rows({"id": 1, "title": "x", **values}, other))) as client:
        assert [task["title"] for task in (await client.get("/tasks")).json] == ["fits"]
        assert (await client.get("/tasks/1")).status == 404
    assert f"tasks 1 is not shown: {says}" in caplog.text


async def test_json_that_is_too_deep_or_without_end_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    class Note(Record[int], rules=allow.everyone):
        data: list[Any]

    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    rows = [{"id": number, "data": data} for number, data in enumerate((endless, deep, [[1]]))]
    async with Client(App(Note, store=Rows(*rows))) as client:
        for _ in range(2):
            assert [note["data"] for note in (await client.get("/notes")).json] == [[[1]]]
    assert "notes 0 is not shown: data: it is no JSON" in caplog.text
    assert "notes 1 is not shown: data: it has more than 250 levels" in caplog.text


async def test_whatever_is_written_inside_a_field_fits_when_it_is_read_again() -> None:
    async with Client(App(Task, store=Rows())) as client:
        inside = {
            "number": None, "ratio": 2, "is_so": False, "day": "2026-11-20", "hour": "14:40:37.5+02:00",
            "moment": "0001-01-01T00:00:00+14:00", "uuid": str(UUID(int=7)), "names": [""],
        }  # fmt: skip
        made = (await client.post("/tasks", {"title": "x", "tags": [-1], "counts": {"": 0}, "inside": inside})).json
        assert made["inside"]["is_so"] is False
        assert (await client.get("/tasks/1")).json == made
        assert (await client.get("/tasks")).json == [made]


class Short(Rows):
    def update(self, key: Any, record: Mapping[str, Any]) -> Any:  # type: ignore[override]
        return None

    def destroy(self, table: str) -> Any:  # type: ignore[override]
        return None


@pytest.mark.parametrize(
    ("store", "says"),
    [
        (5, "or a store, not 5"),
        (SqliteStore, "or a store, not the class SqliteStore"),
        ({}, "dict lacks find, create, patch, destroy"),
        (Path("tasks.db"), "or a store, not "),
        (Rows, r"Rows is a class: give a database that was made by it, Rows\(…\)"),
        (
            Short(),
            r"Short has a function update that cannot be called with \(table, key, record\); has .* destroy",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value)[:20],
)
def test_what_is_no_store_is_refused_when_the_application_is_made(store: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        App(Task, store=store)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"most": 0}, "most=0, timeout=10.0: both are more than 0"),
        ({"timeout": -1}, "most=10000, timeout=-1"),
        ({"mirror": ""}, "mirror: expected a path or a URL of SQLite"),
        ({"mirror": "postgresql://me:secret@host/x"}, "such as 'mirror.db', and got 'postgresql'$"),
    ],
    ids=repr,
)
def test_options_that_cannot_be_are_refused_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Mirrored(Rows(), **options)


async def test_who_waits_for_slow_plain_functions_is_not_given_up_as_long_as_they_go_on() -> None:
    def slowly(table: str, key: Any) -> Any:
        threading.Event().wait(0.1)
        return {"id": key, "title": str(key)}

    keys = list(range(1, 21))
    async with Client(App(Task, store=Mirrored(Rows(get=slowly), timeout=1))) as client:
        answer = await client.get(f"/tasks/{','.join(map(str, keys))}")
        assert [task["id"] for task in answer.json] == keys


async def test_a_plain_function_that_hangs_is_given_up_with_all_who_wait_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes_on = threading.Event()
    rows = Rows(get=lambda table, key: goes_on.wait(60) and {"id": key, "title": "x"})
    async with Client(App(Task, store=Mirrored(rows, timeout=0.2))) as client:
        answer = await client.get("/tasks/1,2,3,4,5")
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        goes_on.set()
        assert [task["id"] for task in (await client.get("/tasks/1,2")).json] == [1, 2]
    assert "Rows.get('tasks'): no answer within 0.2 seconds" in caplog.text


async def test_a_record_that_find_gives_and_get_does_not_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Note(Record[UUID], rules=allow.everyone):
        text: str

    rows = Rows({"id": UUID(int=1), "text": "x"})  # get is asked with a text
    async with Client(App(Note, store=rows)) as client:
        assert (await client.get("/notes")).json == []
    assert f"notes '{UUID(int=1)}' is not shown: it was found, and then get did not find it" in caplog.text


HANGS = """
import asyncio, threading
from crudite import App, Mirrored, Record, allow
from crudite.testing import Client

class Task(Record[int], rules=allow.everyone):
    title: str

class Hanging:
    def get(self, table, key): threading.Event().wait()
    def find(self, table, search): threading.Event().wait()
    def create(self, table, record): threading.Event().wait()
    def update(self, table, key, record): threading.Event().wait()
    def patch(self, table, key, values): threading.Event().wait()
    def destroy(self, table, key): threading.Event().wait()

async def main():
    async with Client(App(Task, store=Mirrored(Hanging(), timeout=0.1))) as client:
        print((await client.get("/tasks")).status)

asyncio.run(main())
"""


def test_a_plain_function_that_hangs_does_not_keep_the_process_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "503\n"


class Forgetful(Rows):
    """Its functions do their work, or do not, and never say so."""

    def update(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
        super().update(table, key, record)

    def patch(self, table: str, key: Any, values: Mapping[str, Any]) -> Any:
        super().patch(table, key, values)

    def destroy(self, table: str, key: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("method", "body", "name"),
    [("PUT", b'{"title":"b"}', "update"), ("PATCH", b'{"title":"b"}', "patch"), ("DELETE", b"", "destroy")],
)
async def test_who_does_not_say_that_he_has_done_it_is_not_believed_that_there_was_nothing(
    method: str, body: bytes, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Forgetful({"id": 1, "title": "a", "tags": [], "counts": {}, "inside": None})
    async with Client(App(Task, store=rows)) as client:
        headers = {"content-type": "application/json"} if body else {}
        answer = await client.request(method, "/tasks/1", content=body, headers=headers)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert (await client.get("/tasks/1")).json["title"] == "a"
    assert f"Forgetful.{name}('tasks'): it gave None, as if there were no such record" in caplog.text
    assert "could not be put back" not in caplog.text
