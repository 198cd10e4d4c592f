"""The store contract: what pages, lookups, included records and aggregates show."""

from pathlib import Path
from typing import Any

import msgspec

from crudite.ids import uuid7
from crudite.query.plan import (
    MOST_GROUPS,
    Aggregate,
    Function,
    Include,
    Mask,
    Measure,
    Plan,
    Selection,
    everything,
)
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Hop
from crudite.query.tree import Path as ValuePath
from crudite.schema import Link
from crudite.testing.samples import AUTHOR, BOOK, SAMPLE, create, key_of, listing, plain, select, unit, where
from crudite.testing.store_base import OpensStores


class ReadingContract(OpensStores):
    """What is read."""

    async def test_returning_shows_a_mask_and_hides_what_the_selection_excludes(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            new, old = where(BOOK, "year", 2000, "gte"), where(BOOK, "year", 2000, "lt")
            sometimes = Selection(BOOK, EVERYTHING, Mask(("id", "title"), (("year", new),)))
            for selection, shown in (
                (select(BOOK, EVERYTHING, "title"), {"title": "t"}),
                (select(BOOK, old, "title", "year"), {"title": "t", "year": 1999}),
                (select(BOOK, new, "title"), None),
                (select(BOOK, NOTHING, "title"), None),
            ):
                write = msgspec.structs.replace(create(BOOK, title="t", year=1999), returning=selection)
                json = (await store.write(unit(write))).stored[0].json
                assert (plain(json) if json is not None else None) == shown
            write = msgspec.structs.replace(create(BOOK, title="t", year=1999), returning=sometimes)
            assert set(plain((await store.write(unit(write))).stored[0].json)) == {"id", "title"}

    async def test_a_list_is_read_page_by_page_in_both_directions(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for year in (3, 1, 2, 5, 4):
                await store.write(unit(create(BOOK, title=str(year), year=year)))
            first = await store.page(listing(BOOK, "year", limit=2))
            assert [plain(r)["year"] for r in first.records] == [1, 2]
            assert first.more
            second = await store.page(listing(BOOK, "year", limit=2, start=first.last))
            assert [plain(r)["year"] for r in second.records] == [3, 4]
            back = await store.page(listing(BOOK, "year", limit=2, start=second.first, backwards=True))
            assert [plain(r)["year"] for r in back.records] == [1, 2]
            assert not back.more
            counted = await store.page(listing(BOOK, "year", limit=1, total=True))
            assert (counted.total, len(counted.keys)) == (5, 1)

    async def test_a_lookup_gives_the_record_of_the_selection_or_nothing(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(BOOK, title="t", year=1)))).stored[0]
            row = await store.lookup(everything(BOOK), made.key)
            assert row is not None
            assert (row.version, row.json) == (made.version, made.json)
            assert await store.lookup(select(BOOK, where(BOOK, "year", 2)), made.key) is None
            assert await store.lookup(everything(BOOK), uuid7()) is None

    async def test_other_records_are_included_as_far_as_their_selection_and_its_guard_go(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            author = key_of(await store.write(unit(create(AUTHOR, name="a"))))
            for title, year in (("one", 1), ("two", None), ("three", 3)):
                await store.write(unit(create(BOOK, title=title, year=year, author=author)))
            lonely = key_of(await store.write(unit(create(BOOK, title="lonely", year=4))))
            books = Include(Link("books", "Book", "author"), select(BOOK, where(BOOK, "year", True, "isnull"), "title"))
            named = Selection(AUTHOR, EVERYTHING, Mask(("name",), (), (books,)))
            by = Include(Hop(BOOK.fields["author"], AUTHOR), named, where(BOOK, "year", 3))
            plan = listing(BOOK, "title")
            shown = Selection(BOOK, EVERYTHING, Mask(("title",), (("year", where(BOOK, "year", 1)),), (by,)))
            page = await store.page(msgspec.structs.replace(plan, selection=shown))
            nothing: dict[str, Any] = {"_included": {"author": None}}
            found = {"name": "a", "_included": {"books": [{"title": "two"}]}}
            assert [plain(record) for record in page.records] == [
                {"title": "lonely", **nothing},
                {"title": "one", "year": 1, **nothing},
                {"title": "three", "_included": {"author": found}},
                {"title": "two", **nothing},
            ]
            row = await store.lookup(shown, lonely)
            assert row is not None
            assert plain(row.json) == {"title": "lonely", **nothing}
            assert not any(space in record for record in page.records for space in "\n ")

    async def test_what_records_come_to_is_told_for_all_of_them_and_for_each_group(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for choice, money, bigint in (
                ("red", "9999999999999999.99", str(2**63 - 1)), ("green", "0.01", None),
                ("red", "9999999999999999.99", str(2**63 - 1)), ("red", "0.02", "-1"),
            ):  # fmt: skip
                await store.write(unit(create(SAMPLE, choice=choice, money=money, bigint=bigint)))

            def path(name: str) -> ValuePath:
                return ValuePath((), SAMPLE.fields[name], (), SAMPLE.fields[name].type)

            functions: tuple[Function, ...] = ("sum", "avg", "min", "max")
            of_money = [Measure(function, path("money")) for function in functions]
            of_bigint = [Measure(function, path("bigint")) for function in functions]

            async def come_to(*measures: Measure, by: str | None = None, filter: Filter = EVERYTHING) -> list[Any]:
                aggregate = Aggregate(measures, (path(by),) if by is not None else ())
                plan = Plan(selection=select(SAMPLE, filter), aggregate=aggregate)
                page = await store.page(plan)
                assert (page.keys, page.versions, page.more) == ((), (), False)
                assert (await store.read([plan])).pages[0].records == page.records
                return [msgspec.json.decode(record) for record in page.records]

            assert await come_to(Measure("count")) == [4]
            assert [(await come_to(one))[0] for one in of_money] == [
                "20000000000000000.01", 5000000000000000.0025, "0.01", "9999999999999999.99",
            ]  # fmt: skip
            assert [(await come_to(one))[0] for one in of_bigint] == [
                str(2**64 - 3), (2**64 - 3) / 3, "-1", str(2**63 - 1),
            ]  # fmt: skip
            none = where(SAMPLE, "money", "7.00")
            assert [(await come_to(one, filter=none))[0] for one in of_money] == ["0.00", None, None, None]
            assert await come_to(Measure("count"), by="choice", filter=none) == []
            assert await come_to(Measure("count"), of_bigint[0], of_bigint[2], by="choice") == [
                {"choice": "green", "count": 1, "sum_bigint": "0", "min_bigint": None},
                {"choice": "red", "count": 3, "sum_bigint": str(2**64 - 3), "min_bigint": "-1"},
            ]
            nulls = await come_to(Measure("count"), by="bigint")
            assert [(row["bigint"], row["count"]) for row in nulls] == [(None, 1), ("-1", 1), (str(2**63 - 1), 2)]

    async def test_of_too_many_groups_the_first_are_told_and_that_there_are_more(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            await store.write(unit(*[create(BOOK, title=f"{n:04}") for n in range(MOST_GROUPS + 1)]))
            title = ValuePath((), BOOK.fields["title"], (), BOOK.fields["title"].type)
            plan = Plan(selection=select(BOOK), aggregate=Aggregate((), (title,)))
            page = await store.page(plan)
            assert (len(page.records), page.more) == (MOST_GROUPS, True)
            assert plain(page.records[-1]) == {"title": f"{MOST_GROUPS - 1:04}"}

    async def test_secret_fields_are_stored_and_shown_only_when_asked_for(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(AUTHOR, name="a", hash="x")))).stored[0]
            assert "hash" not in plain(made.json)
            row = await store.lookup(select(AUTHOR, EVERYTHING, "hash"), made.key)
            assert row is not None
            assert plain(row.json) == {"hash": "x"}
