"""What six functions come to as a store: what is asked of them, what becomes of what others write, and of failures."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest

from crudite.changes import Change, Refused, Reset
from crudite.errors import Conflict, StoreError
from crudite.ids import uuid7
from crudite.query.plan import Include, Mask, Selection
from crudite.query.tree import EVERYTHING, Hop
from crudite.schema import Catalog, Link
from crudite.stores.base import Signal
from crudite.stores.mirrored import Mirrored
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    LOAN,
    SAMPLE,
    create,
    delete,
    key_of,
    listing,
    plain,
    select,
    unit,
    update,
    where,
)
from crudite.testing.store_base import PATIENCE, next_batch

pytestmark = pytest.mark.anyio

ANN, BOB, EVE = (f"0190a5d0-ac96-774b-bcce-b302099a805{number}" for number in range(3))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Tables:
    """A database in dictionaries, which notes its calls and fails when told to: before it does its work, or after."""

    def __init__(self, **tables: dict[Any, dict[str, Any]]) -> None:
        self.tables = tables
        self.calls: list[tuple[Any, ...]] = []
        self.before: Callable[..., Any] = lambda *_: None
        self.after: Callable[..., Any] = lambda *_: None

    async def get(self, table: str, key: Any) -> Any:
        return await self._at("get", table, key, work=lambda rows: rows.get(key))

    async def find(self, table: str, search: Mapping[str, Any]) -> Any:
        def work(rows: dict[Any, dict[str, Any]]) -> Any:
            return [dict(row) for row in rows.values() if search.items() <= row.items()]

        return await self._at("find", table, search, work=work)

    async def create(self, table: str, record: Mapping[str, Any]) -> Any:
        def work(rows: dict[Any, dict[str, Any]]) -> Any:
            key = record.get("id", max([0, *rows]) + 1 if "id" not in record else None)
            rows[key] = {**record, "id": key}
            return key

        return await self._at("create", table, record, work=work)

    async def update(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
        def work(rows: dict[Any, dict[str, Any]]) -> Any:
            if key in rows:
                rows[key] = dict(record)
                return key

        return await self._at("update", table, key, record, work=work)

    async def patch(self, table: str, key: Any, values: Mapping[str, Any]) -> Any:
        def work(rows: dict[Any, dict[str, Any]]) -> Any:
            if key in rows:
                rows[key].update(values)
                return key

        return await self._at("patch", table, key, values, work=work)

    async def destroy(self, table: str, key: Any) -> Any:
        return await self._at("destroy", table, key, work=lambda rows: key if rows.pop(key, None) else None)

    async def _at(self, *call: Any, work: Callable[[dict[Any, dict[str, Any]]], Any]) -> Any:
        self.calls.append(call)
        await _awaited(self.before(*call))
        answer = work(self.tables.setdefault(call[1], {}))
        await _awaited(self.after(*call))
        return answer

    def written(self) -> list[tuple[Any, ...]]:
        """The calls that write, and forgets all."""
        calls, self.calls = self.calls, []
        return [call for call in calls if call[0] not in ("get", "find")]


async def _awaited(answer: Any) -> None:
    if asyncio.iscoroutine(answer):
        await answer


def author(key: str, name: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "name": name, "email": None, "hash": "", "note": "", **more}


def book(title: str, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid7()), "title": title, "year": None, "author": None, **more}


def rows(*records: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return {record["id"]: dict(record) for record in records}


@asynccontextmanager
async def opened(database: Any, catalog: Catalog = LIBRARY, **options: Any) -> AsyncIterator[Mirrored]:
    store = Mirrored(database, **options)
    async with asyncio.timeout(PATIENCE):  # whoever waits for what does not come
        await store.open(catalog)
        try:
            yield store
        finally:
            await store.close()


async def names(store: Mirrored) -> list[str]:
    return [plain(record)["name"] for record in (await store.page(listing(AUTHOR, "name"))).records]


async def told(store: Mirrored, since: Any) -> list[Change]:
    changes = await store.changes(since, (await store.read(())).position, 100)
    assert not isinstance(changes, Reset)
    return list(changes)


# reading


async def test_a_read_gives_what_the_database_has_now_and_tells_followers_what_others_wrote() -> None:
    database = Tables(authors=rows(author(ANN, "ann")))
    async with opened(database) as store:
        start = (await store.read([])).position
        batches = store.follow(start)
        assert await names(store) == ["ann"]
        database.tables["authors"][BOB] = author(BOB, "bob")
        assert await names(store) == ["ann", "bob"]
        database.tables["authors"][ANN]["name"] = "Ann"
        assert plain((await store.lookup(select(AUTHOR), ANN) or ("", None))[1])["name"] == "Ann"
        del database.tables["authors"][BOB]
        assert await names(store) == ["Ann"]
        seen: list[Change] = []
        while len(seen) < 4:
            seen += (await next_batch(batches)).changes
        assert [(c.kind, c.key, (c.after or c.before or {})["name"]) for c in seen] == [
            ("created", ANN, "ann"), ("created", BOB, "bob"), ("updated", ANN, "Ann"), ("deleted", BOB, "bob"),
        ]  # fmt: skip
        assert seen[2].before is not None
        assert seen[2].after is not None
        assert seen[2].before["version"] < seen[2].after["version"]
        await batches.aclose()  # type: ignore[attr-defined]


async def test_what_has_not_changed_is_told_to_nobody_however_often_it_is_read() -> None:
    database = Tables(authors=rows(author(ANN, "ann")), books=rows(book("a", year=7.0), book("b")))
    async with opened(database) as store:
        await store.read([listing(AUTHOR), listing(BOOK)])
        start = (await store.read([])).position
        for _ in range(3):
            await store.read([listing(AUTHOR), listing(BOOK)])
            await store.lookup(select(AUTHOR), ANN)
        assert await told(store, start) == []


async def test_a_find_is_given_what_all_records_of_a_filter_have_in_common_and_nothing_else() -> None:
    database = Tables()
    async with opened(database) as store:
        filters = [
            where(BOOK, "year", 1900) & where(BOOK, "title", "a") & where(BOOK, "title", "b", "gt"),
            where(BOOK, "year", 1900) | where(BOOK, "title", "a"),
            where(BOOK, "version", 7) & where(BOOK, "year", 1),
        ]
        for filter in filters:
            await store.page(listing(BOOK, filter=filter))
        assert database.calls == [
            ("find", "books", {"year": 1900, "title": "a"}), ("find", "books", {}), ("find", "books", {"year": 1}),
        ]  # fmt: skip


async def test_records_that_are_asked_for_by_key_are_got_and_not_found() -> None:
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")))
    async with opened(database) as store:
        assert (await store.page(listing(AUTHOR, filter=where(AUTHOR, "id", ANN)))).keys == [ANN]
        assert (await store.page(listing(AUTHOR, filter=where(AUTHOR, "id", (ANN, EVE), "in")))).keys == [ANN]
        await store.lookup(select(AUTHOR), BOB)
        assert {call[0] for call in database.calls} == {"get"}
        assert {call[2] for call in database.calls} == {ANN, EVE, BOB}


async def test_a_find_may_give_more_than_was_asked_for_and_not_by_how_much_it_pleases() -> None:
    class Careless(Tables):
        async def find(self, table: str, search: Mapping[str, Any]) -> Any:
            return list(self.tables[table].values())

    database = Careless(books=rows(book("a", year=1), book("b", year=2), book("c", year=1)))
    async with opened(database, most=3) as store:
        page = await store.page(listing(BOOK, "-title", filter=where(BOOK, "year", 1), limit=1, total=True))
        assert ([plain(r)["title"] for r in page.records], page.total, page.more) == (["c"], 2, True)
        extra = book("d")
        database.tables["books"][extra["id"]] = extra
        with pytest.raises(StoreError, match=r"Careless.find\('books'\): more than 3 records are found by {}"):
            await store.page(listing(BOOK))


async def test_what_is_included_and_what_conditions_lead_to_is_fresh_too() -> None:
    mine, other = book("mine", author=ANN), book("other", author=BOB)
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")), books=rows(mine, other))
    by = Include(Hop(BOOK.fields["author"], AUTHOR), select(AUTHOR, EVERYTHING, "name"))
    of = Include(Link("books", "Book", "author"), select(BOOK, EVERYTHING, "title"))
    async with opened(database) as store:

        async def shown(selection: Selection, key: str) -> dict[str, Any]:
            row = await store.lookup(selection, key)
            assert row is not None
            included: dict[str, Any] = plain(row.json)["_included"]
            return included

        deep = Selection(BOOK, EVERYTHING, Mask(("title",), (), (by,)))
        wide = Selection(AUTHOR, EVERYTHING, Mask(("name",), (), (of,)))
        assert await shown(deep, mine["id"]) == {"author": {"name": "ann"}}
        assert await shown(wide, ANN) == {"books": [{"title": "mine"}]}
        database.tables["authors"][ANN]["name"] = "Ann"
        database.tables["books"][other["id"]]["author"] = ANN
        assert await shown(deep, mine["id"]) == {"author": {"name": "Ann"}}
        assert {one["title"] for one in (await shown(wide, ANN))["books"]} == {"mine", "other"}


async def test_a_record_that_does_not_fit_is_not_shown_and_the_log_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Tables(authors=rows(author(ANN, "ann"), {"id": BOB, "email": 5}, {"id": "nobody", "name": "x"}))
    async with opened(database) as store:
        assert await names(store) == ["ann"]
        assert await names(store) == ["ann"]
        assert caplog.text.count("is not shown") == 2
        assert f"authors '{BOB}' is not shown: name: it is missing, email: expected a text" in caplog.text
        with pytest.raises(Refused) as refused:
            await store.write(unit(create(AUTHOR, BOB, name="new")))
        assert (refused.value.kind, refused.value.fields) == ("unique", ("id",))
        assert database.tables["authors"][BOB] == {"id": BOB, "email": 5}
        database.tables["authors"][BOB] = {"id": BOB, "name": "bob", "color": "passed over"}
        assert await names(store) == ["ann", "bob"]


async def test_values_may_be_pythons_own_and_those_that_databases_have_for_want_of_others() -> None:
    key = str(uuid7())
    there = {
        "id": UUID(key), "text": "t", "integer": 7.0, "float": 7, "decimal": Decimal("1.5"), "boolean": 1,
        "date": date(2026, 11, 22), "time": time(14, 40), "datetime": datetime(2026, 11, 22, 14, 40, tzinfo=UTC),
        "uuid": UUID(key), "json": ({"n": (1, True)},), "tags": ("a",),
    }  # fmt: skip
    async with opened(Tables(samples={key: there})) as store:
        row = await store.lookup(select(SAMPLE), key)
        assert row is not None
        shown = plain(row.json)
        assert {name: shown[name] for name in (*there, "bigint", "money", "choice")} == {
            "id": key, "text": "t", "integer": 7, "float": 7.0, "decimal": "1.5000", "boolean": True,
            "date": "2026-11-22", "time": "14:40:00.000000", "datetime": "2026-11-22T14:40:00.000000Z", "uuid": key,
            "json": [{"n": [1, True]}], "tags": ["a"], "bigint": None, "money": "0.50", "choice": "red",
        }  # fmt: skip
        start = (await store.read([])).position
        await store.page(listing(SAMPLE))
        assert await told(store, start) == []
        there["json"] = [{"n": [1, 1]}]
        await store.page(listing(SAMPLE))
        assert [c.kind for c in await told(store, start)] == ["updated"]


async def test_values_that_must_be_unique_can_wander_from_record_to_record() -> None:
    database = Tables(authors=rows(author(ANN, "ann", email="a"), author(BOB, "bob", email="b")))
    async with opened(database) as store:
        await names(store)
        there = database.tables["authors"]
        there[ANN]["email"], there[BOB]["email"] = "b", "a"
        page = await store.page(listing(AUTHOR, "name"))
        assert [plain(record)["email"] for record in page.records] == ["b", "a"]
        there[BOB]["email"], there[EVE] = "z", author(EVE, "eve", email="a")
        row = await store.lookup(select(AUTHOR), EVE)
        assert row is not None
        assert [plain(record)["email"] for record in (await store.page(listing(AUTHOR, "name"))).records] == [
            "b", "z", "a",
        ]  # fmt: skip


async def test_of_two_records_with_a_value_that_must_be_unique_one_is_shown_and_nothing_flickers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Tables(authors=rows(author(ANN, "ann", email="a"), author(BOB, "bob", email="a")))
    async with opened(database) as store:
        assert await names(store) == ["ann"]
        start = (await store.read([])).position
        assert await names(store) == ["ann"]
        assert await store.lookup(select(AUTHOR), BOB) is None
        assert await told(store, start) == []
        assert caplog.text.count("another record has a value that must be unique") == 1


async def test_a_reader_that_was_slow_does_not_bring_back_what_has_been_changed_since() -> None:
    database = Tables(authors=rows(author(ANN, "ann")))
    gate, waiting = asyncio.Event(), asyncio.Event()

    async def slowly(name: str, *_: Any) -> None:
        if name == "find" and not waiting.is_set():
            waiting.set()
            await gate.wait()

    async with opened(database) as store:
        await names(store)
        database.tables["authors"][BOB] = author(BOB, "bob")  # so that the reader has something to take over
        database.after = slowly
        reading = asyncio.create_task(names(store))
        await waiting.wait()
        await store.write(unit(update(AUTHOR, ANN, name="Ann")))
        start = (await store.read([])).position
        gate.set()
        assert await reading == ["Ann", "bob"]
        assert [(c.kind, c.key) for c in await told(store, start)] == [("created", BOB)]


async def test_who_has_heard_of_a_change_has_it_told_to_live_queries() -> None:
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")))
    async with opened(database) as store:
        await store.refresh("authors")
        start = (await store.read([])).position
        database.tables["authors"][ANN]["name"] = "Ann"
        del database.tables["authors"][BOB]
        await store.refresh("authors", ANN)
        assert [(c.kind, c.key) for c in await told(store, start)] == [("updated", ANN)]
        await store.refresh("authors")
        assert [(c.kind, c.key) for c in await told(store, start)] == [("updated", ANN), ("deleted", BOB)]
        with pytest.raises(StoreError, match="did you mean 'authors'"):
            await store.refresh("author")


# writing


async def test_a_part_is_patched_a_whole_is_updated_and_what_stays_as_it_is_is_no_call() -> None:
    database = Tables(authors=rows(author(ANN, "ann", email="a")))
    whole: dict[str, Any] = {"name": "Ann", "email": None, "hash": "h", "note": ""}
    async with opened(database) as store:
        await store.write(unit(update(AUTHOR, ANN, name="anna", email="a")))
        assert database.written() == [("patch", "authors", ANN, {"name": "anna"})]
        await store.write(unit(update(AUTHOR, ANN, **whole)))
        assert database.written() == [("update", "authors", ANN, {"id": ANN, **whole})]
        version = (await store.write(unit(update(AUTHOR, ANN, name="Ann")))).stored[0].version
        assert database.written() == []
        assert (await store.lookup(select(AUTHOR), ANN) or (0, ""))[0] == version
        made = key_of(await store.write(unit(create(AUTHOR, name="x", hash="s"))))
        assert database.written() == [("create", "authors", {**author(str(made), "x"), "hash": "s"})]
        await store.write(unit(delete(AUTHOR, made)))
        assert database.written() == [("destroy", "authors", made)]


async def test_keys_are_made_by_the_database_where_they_are_numbers() -> None:
    there = book("a")
    database = Tables(books=rows(there), loans={})
    database.tables["loans"][6] = {"id": 6, "book": there["id"], "by": None}
    async with opened(database) as store:
        commit = await store.write(unit(create(LOAN, book=there["id"]), create(LOAN, book=there["id"])))
        assert [stored.key for stored in commit.stored] == [7, 8]
        assert plain(commit.stored[1].json)["id"] == 8
        assert sorted((await store.page(listing(LOAN))).keys) == [6, 7, 8]
        del database.tables["loans"][8]  # the mirror does not know yet that the number is free again
        assert key_of(await store.write(unit(create(LOAN, book=there["id"])))) == 8
        assert sorted(database.tables["loans"]) == [6, 7, 8]


async def test_what_must_hold_is_asked_of_records_that_nobody_has_read_yet() -> None:
    mine = book("mine", author=ANN)
    database = Tables(authors=rows(author(ANN, "ann", email="a")), books=rows(mine), loans={})
    for write, kind, fields in (
        (create(AUTHOR, name="x", email="a"), "unique", ("email",)),
        (create(AUTHOR, ANN, name="x"), "unique", ("id",)),
        (create(BOOK, title="mine", author=ANN), "unique", ("author", "title")),
        (create(BOOK, title="b", author=BOB), "reference", ("author",)),
        (update(BOOK, mine["id"], author=BOB), "reference", ("author",)),
        (update(BOOK, BOB, title="b"), "missing", ()),
        (delete(AUTHOR, ANN), "referenced", ()),
        (delete(BOOK, mine["id"], where=where(BOOK, "title", "yours")), "where", ()),
    ):
        async with opened(database) as store:
            with pytest.raises(Refused) as refused:
                await store.write(unit(write))
            assert (refused.value.kind, refused.value.fields) == (kind, fields)
            assert database.written() == []


async def test_a_value_that_must_be_unique_is_free_when_it_has_gone_from_the_database() -> None:
    database = Tables(authors=rows(author(ANN, "ann", email="a")))
    async with opened(database) as store:
        await names(store)
        database.tables["authors"][ANN]["email"] = None
        await store.write(unit(create(AUTHOR, BOB, name="bob", email="a")))
        assert database.tables["authors"][BOB]["email"] == "a"


async def test_a_delete_takes_along_and_clears_what_nobody_has_read_yet_before_itself() -> None:
    mine = book("mine")
    loans = {1: {"id": 1, "book": mine["id"], "by": ANN}, 2: {"id": 2, "book": mine["id"], "by": None}}
    database = Tables(authors=rows(author(ANN, "ann")), books=rows(mine), loans=loans)
    async with opened(database) as store:
        await store.write(unit(delete(AUTHOR, ANN)))
        assert database.written() == [("patch", "loans", 1, {"by": None}), ("destroy", "authors", ANN)]
        await store.write(unit(delete(BOOK, mine["id"])))
        written = database.written()
        assert sorted(written[:2]) == [("destroy", "loans", 1), ("destroy", "loans", 2)]
        assert written[2:] == [("destroy", "books", mine["id"])]
        assert (await store.page(listing(LOAN))).keys == ()


async def test_what_points_at_the_records_of_a_unit_is_asked_for_at_the_same_time() -> None:
    books = [book(title) for title in "abc"]
    loans = [{"id": number, "book": one["id"], "by": None} for number, one in enumerate(books)]
    database, all_are_there = Tables(books=rows(*books), loans=rows(*loans)), asyncio.Barrier(len(books))

    async def together(name: str, table: str, *_: Any) -> None:
        if (name, table) == ("find", "loans"):
            await all_are_there.wait()

    database.before = together
    async with opened(database) as store:
        await store.write(unit(*(delete(BOOK, one["id"]) for one in books)))
        written = [(name, table) for name, table, *_ in database.written()]
        assert written == [("destroy", "loans"), ("destroy", "books")] * 3


async def test_of_two_who_write_at_once_only_one_gets_a_value_that_must_be_unique() -> None:
    database = Tables()
    async with opened(database) as store:
        outcomes = await asyncio.gather(
            *(store.write(unit(create(AUTHOR, name=str(n), email="a"))) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(one, Refused) for one in outcomes) == 4
        assert len(database.tables["authors"]) == 1


# failures


async def test_a_unit_that_fails_in_the_middle_leaves_nothing() -> None:
    there = rows(author(ANN, "ann", email="a"), author(BOB, "bob"))
    database = Tables(authors=there)
    before = {key: dict(row) for key, row in there.items()}

    def fail(name: str, _: str, *rest: Any) -> None:
        if name == "create" and rest[0]["name"] == "last":
            raise OSError("no route to host")

    database.before = fail
    async with opened(database) as store:
        await names(store)
        start = (await store.read([])).position
        with pytest.raises(StoreError, match=r"Tables.create\('authors'\): OSError: no route to host$") as error:
            await store.write(
                unit(
                    create(AUTHOR, EVE, name="eve"), update(AUTHOR, ANN, name="Ann"), delete(AUTHOR, BOB),
                    create(AUTHOR, name="last"),
                )
            )  # fmt: skip
        assert isinstance(error.value.__cause__, OSError)
        assert database.tables["authors"] == before
        assert await names(store) == ["ann", "bob"]
        assert await told(store, start) == []


async def test_a_function_that_fails_after_it_has_done_its_work_is_undone_too() -> None:
    database = Tables(authors=rows(author(ANN, "ann")))

    def fail(name: str, *_: Any) -> None:
        if name in ("patch", "create"):
            raise OSError("the line is dead")

    database.after = fail
    async with opened(database) as store:
        for write in (update(AUTHOR, ANN, name="Ann"), create(AUTHOR, BOB, name="bob")):
            with pytest.raises(StoreError, match="the line is dead"):
                await store.write(unit(write))
            assert database.tables["authors"] == rows(author(ANN, "ann"))


async def test_what_cannot_be_put_back_is_said_and_the_next_read_knows_it() -> None:
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")))

    def fail(name: str, _: str, key: Any, *__: Any) -> None:
        if name == "update" or (name == "patch" and key == BOB):
            raise OSError("the disk is full")

    database.before = fail
    async with opened(database) as store:
        with pytest.raises(StoreError, match=f"could not be put back: .*authors '{ANN}' .*the disk is full"):
            await store.write(unit(update(AUTHOR, ANN, name="Ann"), update(AUTHOR, BOB, name="Bob")))
        assert await names(store) == ["Ann", "bob"]


async def test_a_record_whose_key_nobody_knows_is_said_to_be_there_maybe_and_is_found_by_the_next_read() -> None:
    there = book("a")
    database = Tables(books=rows(there))
    failures = [Conflict("The shelf is closed."), OSError("the line is dead")]

    def fail(name: str, *_: Any) -> None:
        if name == "create":
            raise failures.pop(0)

    async with opened(database) as store:
        database.before = fail
        with pytest.raises(Conflict, match="The shelf is closed"):
            await store.write(unit(create(LOAN, book=there["id"])))
        database.before, database.after = database.after, fail
        with pytest.raises(StoreError, match=r"line is dead; .* put back: a new record of loans, if it was made$"):
            await store.write(unit(create(LOAN, book=there["id"])))
        assert (await store.page(listing(LOAN))).keys == [1]


async def test_a_record_that_disappears_at_the_last_moment_is_missing_and_does_not_come_back() -> None:
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")))

    def snatch(name: str, *_: Any) -> None:
        if name == "patch":
            database.tables["authors"].pop(BOB, None)

    database.before = snatch
    async with opened(database) as store:
        with pytest.raises(Refused) as refused:
            await store.write(unit(update(AUTHOR, ANN, name="Ann"), update(AUTHOR, BOB, name="Bob")))
        assert (refused.value.index, refused.value.kind) == (1, "missing")
        assert database.tables["authors"] == rows(author(ANN, "ann"))
        assert await names(store) == ["ann"]


async def test_a_problem_that_a_function_raises_is_the_writers_and_no_readers() -> None:
    database = Tables(authors=rows(author(ANN, "ann")))

    def refuse(name: str, *_: Any) -> None:
        if name in ("patch", "find"):
            raise Conflict("The books are closed.")

    database.before = refuse
    async with opened(database) as store:
        with pytest.raises(Conflict, match="The books are closed"):
            await store.write(unit(update(AUTHOR, ANN, name="Ann")))
        with pytest.raises(StoreError, match="The books are closed"):
            await names(store)


async def test_a_function_that_does_not_answer_is_not_waited_for() -> None:
    database = Tables()
    database.before = lambda *_: asyncio.Event().wait()
    async with opened(database, timeout=0.01) as store:
        with pytest.raises(StoreError, match=r"no answer within 0.01 seconds"):
            await names(store)


@pytest.mark.parametrize(
    ("function", "answer", "says"),
    [
        ("find", "text", "expected an iterable of records, and got str"),
        ("find", [1], "expected a record, and got int"),
        ("get", [], "expected a record, and got list"),
        ("create", None, "what came back is no key of it: expected a UUID"),
        ("create", ANN, f"has become '{ANN}'"),
    ],
)
async def test_what_a_function_must_not_give_is_said(function: str, answer: Any, says: str) -> None:
    database = Tables()

    async def wrong(*_: Any) -> Any:
        return answer

    setattr(database, function, wrong)
    async with opened(database) as store:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "find": lambda: names(store),
            "get": lambda: store.lookup(select(AUTHOR), BOB),
            "create": lambda: store.write(unit(create(AUTHOR, BOB, name="x"))),
        }
        with pytest.raises(StoreError, match=says):
            await calls[function]()


async def test_a_record_that_was_made_under_another_key_than_it_was_given_is_taken_away_again() -> None:
    class Renaming(Tables):
        async def create(self, table: str, record: Mapping[str, Any]) -> Any:
            self.tables.setdefault(table, {})[BOB] = {**record, "id": BOB}
            return BOB

    class Mistaken(Tables):
        async def create(self, table: str, record: Mapping[str, Any]) -> Any:
            return BOB

    for database in (Renaming(authors=rows()), Renaming(authors=rows(author(EVE, "Eve")))):
        before = {table: dict(records) for table, records in database.tables.items()}
        async with opened(database) as store:
            with pytest.raises(StoreError, match=f"'{ANN}' was to be made, and has become '{BOB}'$"):
                await store.write(unit(create(AUTHOR, id=ANN, name="Ann")))
        assert database.tables == before
    mistaken = Mistaken(authors=rows(author(BOB, "Bob")))
    async with opened(mistaken) as store:
        with pytest.raises(StoreError, match="which is still there"):
            await store.write(unit(create(AUTHOR, id=ANN, name="Ann")))
    assert mistaken.tables == {"authors": rows(author(BOB, "Bob"))}


async def test_who_stops_waiting_for_a_write_leaves_nothing_half_done() -> None:
    database = Tables(authors=rows(author(ANN, "ann"), author(BOB, "bob")))
    gate, waiting = asyncio.Event(), asyncio.Event()

    async def slowly(name: str, *_: Any) -> None:
        if name == "patch":
            waiting.set()
            await gate.wait()

    database.after = slowly
    async with opened(database) as store:
        whole = unit(update(AUTHOR, ANN, name="Ann"), update(AUTHOR, BOB, name="Bob"))
        writing = asyncio.create_task(store.write(whole))
        await waiting.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        gate.set()
        assert await names(store) == ["Ann", "Bob"]


# what is around it


async def test_plain_functions_run_one_at_a_time_in_one_thread_that_is_not_the_loops() -> None:
    class Plain:
        def __init__(self) -> None:
            self.rows: dict[Any, dict[str, Any]] = {}
            self.threads: set[int] = set()
            self.inside = 0

        def _here(self, answer: Any) -> Any:
            self.inside += 1
            assert self.inside == 1
            self.threads.add(threading.get_ident())
            self.inside -= 1
            return answer

        def get(self, table: str, key: Any) -> Any:
            return self._here(self.rows.get(key))

        def find(self, table: str, search: Mapping[str, Any]) -> Any:
            for row in list(self.rows.values()):
                yield self._here(row)

        def create(self, table: str, record: Mapping[str, Any]) -> Any:
            self.rows[record["id"]] = dict(record)
            return self._here(record["id"])

        def update(self, table: str, key: Any, record: Mapping[str, Any]) -> Any:
            return self._here(None)

        def patch(self, table: str, key: Any, values: Mapping[str, Any]) -> Any:
            return self._here(None)

        def destroy(self, table: str, key: Any) -> Any:
            return self._here(None)

    database = Plain()
    async with opened(database) as store:
        await asyncio.gather(*(store.write(unit(create(AUTHOR, name=str(n)))) for n in range(5)))
        assert await names(store) == ["0", "1", "2", "3", "4"]
        assert len(database.threads) == 1
        assert threading.get_ident() not in database.threads


async def test_resources_can_be_kept_in_the_mirror_alone() -> None:
    database = Tables()
    async with opened(database, kept_here=["books"]) as store:
        made = key_of(await store.write(unit(create(BOOK, title="a"))))
        assert (await store.page(listing(BOOK))).keys == [made]
        assert database.calls == []
        maker = key_of(await store.write(unit(create(AUTHOR, name="x"), update(BOOK, made, title="b"))))
        assert [call[:2] for call in database.written()] == [("create", "authors")]
        assert plain((await store.page(listing(BOOK))).records[0])["title"] == "b"
        assert maker in database.tables["authors"]
    with pytest.raises(StoreError, match="there is no resource at 'book'; did you mean 'books'"):
        await Mirrored(database, kept_here=["book"]).open(LIBRARY)


async def test_what_is_kept_in_the_mirror_alone_points_at_the_database_and_takes_along_what_is_there() -> None:
    mine = book("mine")
    database = Tables(books=rows(mine), loans={1: {"id": 1, "book": mine["id"], "by": None}})
    async with opened(database, kept_here=["loans"]) as store:
        made = key_of(await store.write(unit(create(LOAN, book=mine["id"]))))  # of a book that nobody has read yet
        assert (await store.page(listing(LOAN))).keys == [made]
        await store.write(unit(delete(BOOK, mine["id"])))
        assert (await store.page(listing(LOAN))).keys == ()
        assert database.written() == [("destroy", "books", mine["id"])]
    database = Tables(loans={})
    async with opened(database, kept_here=["books"]) as store:
        ours = key_of(await store.write(unit(create(BOOK, title="ours"))))
        database.tables["loans"][1] = {"id": 1, "book": ours, "by": None}
        await store.write(unit(delete(BOOK, ours)))
        assert database.written() == [("destroy", "loans", 1)]


def test_what_lacks_a_function_is_no_database() -> None:
    with pytest.raises(TypeError, match="dict lacks find, create, patch, destroy"):
        Mirrored({})  # type: ignore[arg-type]


async def test_a_mirror_in_memory_is_one_processs_own_and_a_file_is_everybodys(tmp_path: Any) -> None:
    database = Tables(authors=rows(author(ANN, "ann")))
    assert not Mirrored(database).is_shared
    first = Mirrored(database, str(tmp_path / "mirror.db"))
    assert first.is_shared
    assert first.shown == f"Tables ({tmp_path}/mirror.db)"
    async with (
        opened(database, mirror=str(tmp_path / "mirror.db")) as one,
        opened(database, mirror=str(tmp_path / "mirror.db")) as other,
    ):
        outcomes = await asyncio.gather(
            *((one, other)[n % 2].write(unit(create(AUTHOR, name=str(n), email="a"))) for n in range(6)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 5
        assert len(database.tables["authors"]) == 2


async def test_after_a_storm_of_writers_readers_and_failures_the_mirror_is_what_the_database_is(tmp_path: Any) -> None:
    random = Random(7)
    database = Tables()
    keys = [str(uuid7()) for _ in range(6)]
    is_over = asyncio.Event()
    failed = [False]

    async def trouble(name: str, *_: Any) -> None:
        for _turn in range(random.randrange(4)):
            await asyncio.sleep(0)
        if name not in ("get", "find"):  # what failed can be put back
            failed[0] = not failed[0] and random.random() < 0.2
            if failed[0]:
                raise OSError("a bad line")

    def anything(key: str) -> Any:
        email = random.choice("abc")
        kinds = [create(AUTHOR, key, name="n", email=email), update(AUTHOR, key, email=email), delete(AUTHOR, key)]
        return unit(random.choice(kinds))

    async def write(store: Mirrored, keys: list[str]) -> list[bool]:
        outcomes = []
        for _ in range(15):
            try:
                await store.write(anything(random.choice(keys)))
                outcomes.append(True)
            except (Refused, StoreError):
                outcomes.append(False)
        return outcomes

    async def read(store: Mirrored) -> None:
        while not is_over.is_set():
            await store.page(listing(AUTHOR))

    file = f"sqlite:///{tmp_path}/mirror.db?synchronous=OFF"
    async with opened(database, mirror=file) as one, opened(database, mirror=file) as other:
        database.before = database.after = trouble
        reading = [asyncio.create_task(read(store)) for store in (one, other)]
        outcomes = await asyncio.gather(write(one, keys[:2]), write(other, keys[2:4]), write(one, keys[4:]))
        is_over.set()
        await asyncio.gather(*reading)
        assert {outcome for some in outcomes for outcome in some} == {True, False}
        database.before = database.after = lambda *_: None
        shown = [plain(record) for record in (await other.page(listing(AUTHOR))).records]
        there = database.tables["authors"]
        assert {record["id"]: record["email"] for record in shown} == {key: row["email"] for key, row in there.items()}
        assert len({record["email"] for record in shown}) == len(shown)
        start = (await one.read([])).position
        assert len((await other.page(listing(AUTHOR))).keys) == len(shown)
        assert await told(one, start) == []


async def test_nobody_who_shares_a_mirror_takes_over_what_is_about_to_be_written_to_it(tmp_path: Any) -> None:
    database = Tables(authors=rows(author(ANN, "ann")))
    gate, waiting = asyncio.Event(), asyncio.Event()

    async def slowly(name: str, *_: Any) -> None:
        if name == "create":
            waiting.set()
            await gate.wait()

    database.after = slowly
    file = f"sqlite:///{tmp_path}/mirror.db?synchronous=OFF"
    async with opened(database, mirror=file) as one, opened(database, mirror=file) as other:
        start = (await one.read([])).position
        await names(other)
        writing = asyncio.create_task(one.write(unit(create(AUTHOR, BOB, name="bob"), actor="bob", interface="rest")))
        await waiting.wait()
        reading = asyncio.create_task(names(other))
        for _ in range(20):
            await other.signal(Signal("one", "after the other"))
        assert not reading.done()
        gate.set()
        assert key_of(await writing) == BOB
        assert await reading == ["ann", "bob"]
        assert [(c.kind, c.key) for c in await told(other, start)] == [("created", ANN), ("created", BOB)]


async def test_a_store_that_was_closed_can_be_opened_again_and_is_no_store_meanwhile() -> None:
    database = Tables(authors=rows(author(ANN, "ann")))
    store = Mirrored(database)
    for _ in range(2):
        await store.open(LIBRARY)
        assert await names(store) == ["ann"]
        await store.close()
        with pytest.raises(StoreError, match=r"Tables .*: the store is not open"):
            await names(store)
        with pytest.raises(StoreError, match="the store is not open"):
            await store.write(unit(create(AUTHOR, name="x")))
