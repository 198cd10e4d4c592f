"""The store contract: records come back as they were; writes are made whole, on their conditions, or not."""

import asyncio
import math
import struct
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite.changes import Guard, Refused
from crudite.ids import uuid7
from crudite.query.plan import (
    MOST_GROUPS,
    Aggregate,
    Function,
    Include,
    Mask,
    Measure,
    Need,
    Plan,
    Selection,
    everything,
)
from crudite.query.tree import EVERYTHING, NOTHING, Filter, Hop
from crudite.query.tree import Path as ValuePath
from crudite.schema import Link
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LOAN,
    SAMPLE,
    VISIT,
    create,
    delete,
    key_of,
    listing,
    select,
    unit,
    update,
    where,
)
from crudite.testing.store_base import OpensStores

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_BITS = st.binary(min_size=8, max_size=8).map(lambda raw: float(struct.unpack("<d", raw)[0]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "text": st.none() | _TEXT,
        "integer": st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
        "bigint": st.none() | st.integers(-(2**63), 2**63 - 1).map(str),
        "float": st.none() | (st.floats(allow_nan=False, allow_infinity=False) | _BITS.filter(math.isfinite)),
        "decimal": st.none() | st.decimals(-(10**13), 10**13, places=4).map(lambda d: f"{d:.4f}"),
        "boolean": st.none() | st.booleans(),
        "date": st.none() | st.dates().map(str),
        "time": st.none() | st.times().map(lambda t: t.strftime("%H:%M:%S.%f")),
        "datetime": st.none() | st.datetimes().map(lambda d: f"{d.year:04d}-{d:%m-%dT%H:%M:%S.%f}Z"),
        "uuid": st.none() | st.uuids().map(str),
        "choice": st.sampled_from(["red", "green"]),
        "json": st.none() | st.lists(_JSON, max_size=3) | st.dictionaries(_TEXT, _JSON, max_size=3),
        "tags": st.lists(_TEXT, max_size=3),
    }
)


def plain(json: str | None) -> dict[str, Any]:
    """A record from its JSON text."""
    assert json is not None
    record: dict[str, Any] = msgspec.json.decode(json)
    return record


def normal(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they compare after travelling: SQL has no negative zero."""
    return {k: v + 0.0 if isinstance(v, float) else v for k, v in values.items()}


class RecordContract(OpensStores):
    """What becomes of records."""

    @settings(suppress_health_check=[HealthCheck.differing_executors])  # several stores may prove themselves
    @given(st.lists(RECORDS, min_size=1, max_size=3))
    def test_every_value_comes_back_exactly_from_a_write_a_read_and_the_log(
        self, records: list[dict[str, Any]]
    ) -> None:
        async def round_trip(place: Path) -> None:
            async with self.opened(place) as store:
                start = (await store.read([])).position
                for values in records:
                    commit = await store.write(unit(create(SAMPLE, **values)))
                    (written,) = commit.stored
                    page = await store.page(Plan(selection=everything(SAMPLE), keys=(written.key,)))
                    shown = plain(written.json)
                    assert {name: shown[name] for name in values} == normal(values)
                    assert page.records[0] == written.json
                end = (await store.read([])).position
                changes = await store.changes(start, end, 100)
                assert isinstance(changes, list | tuple)
                assert [{n: change.after[n] for n in v} for change, v in zip(changes, records, strict=True)
                        if change.after is not None] == [normal(v) for v in records]  # fmt: skip

        with tempfile.TemporaryDirectory() as place:
            asyncio.run(round_trip(Path(place)))

    async def test_a_record_gets_key_defaults_version_and_times(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            commit = await store.write(unit(create(SAMPLE, text="a")))
            record = plain(commit.stored[0].json)
            assert record["id"] == commit.stored[0].key
            assert (record["choice"], record["money"], record["tags"]) == ("red", "0.50", [])
            assert record["version"] == commit.stored[0].version > 1_700_000_000_000_000
            assert record["created_at"] == record["updated_at"]
            assert len(record["created_at"]) == 27

    async def test_integer_keys_are_numbered_and_never_used_again(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            book = key_of(await store.write(unit(create(BOOK, title="a"))))
            first, second = [key_of(await store.write(unit(create(LOAN, book=book)))) for _ in range(2)]
            await store.write(unit(delete(LOAN, second)))
            third = key_of(await store.write(unit(create(LOAN, book=book))))
            assert (first, second, third) == (1, 2, 3)

    async def test_an_update_changes_what_it_names_and_moves_the_version(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(BOOK, title="a", year=1900)))).stored[0]
            new = (await store.write(unit(update(BOOK, made.key, year=1901)))).stored[0]
            record = plain(new.json)
            assert (record["title"], record["year"]) == ("a", 1901)
            assert new.version == made.version + 1

    async def test_quiet_fields_do_not_move_the_version(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(AUTHOR, name="a")))).stored[0]
            quiet = (await store.write(unit(update(AUTHOR, made.key, note="n")))).stored[0]
            loud = (await store.write(unit(update(AUTHOR, made.key, note="m", name="b")))).stored[0]
            assert (quiet.version, loud.version) == (made.version, made.version + 1)
            assert plain(quiet.json)["note"] == "n"
            assert plain(quiet.json)["updated_at"] == plain(made.json)["updated_at"]

    async def test_a_record_made_again_never_repeats_a_version(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            key = uuid7()
            version = (await store.write(unit(create(BOOK, key, title="a")))).stored[0].version
            for _ in range(20):
                version = (await store.write(unit(update(BOOK, key, year=1)))).stored[0].version
            await store.write(unit(delete(BOOK, key)))
            again = (await store.write(unit(create(BOOK, key, title="a")))).stored[0].version
            assert again > version

    async def test_a_unit_is_made_whole_or_not_at_all(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            before = (await store.read([])).position
            with pytest.raises(Refused) as refused:
                await store.write(unit(create(AUTHOR, name="a", email="x"), create(AUTHOR, name="b", email="x")))
            assert (refused.value.index, refused.value.kind, refused.value.fields) == (
                1,
                "unique",
                ("email",),
            )
            after = await store.read([listing(AUTHOR)])
            assert after.pages[0].keys == ()
            assert after.position.token == before.token

    async def test_units_that_wait_together_succeed_and_fail_alone(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            units = [unit(create(AUTHOR, name=str(n), email=str(n // 2))) for n in range(40)]
            outcomes = await asyncio.gather(*map(store.write, units), return_exceptions=True)
            refused = [o for o in outcomes if isinstance(o, Refused)]
            assert len(refused) == 20
            assert {o.kind for o in refused} == {"unique"}
            assert len((await store.page(listing(AUTHOR))).keys) == 20

    async def test_what_is_missing_or_has_another_version_is_refused(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(BOOK, title="a")))).stored[0]
            for write, kind in (
                (update(BOOK, uuid7(), title="b"), "missing"),
                (delete(BOOK, uuid7()), "missing"),
                (update(BOOK, made.key, expect=made.version - 1, title="b"), "version"),
                (delete(BOOK, made.key, expect=made.version + 1), "version"),
            ):
                with pytest.raises(Refused) as refused:
                    await store.write(unit(write))
                assert refused.value.kind == kind
            await store.write(unit(update(BOOK, made.key, expect=made.version, title="b")))

    async def test_conditions_on_the_stored_record_hold_or_refuse(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            key = key_of(await store.write(unit(create(BOOK, title="a", year=1900))))
            right, wrong = where(BOOK, "year", 1900), where(BOOK, "year", 1901)
            for changes, kind, fields in (
                ({"where": wrong}, "where", ()),
                ({"where": right, "guards": (Guard(("title",), wrong),)}, "guard", ("title",)),
                ({"where": wrong, "expect": 1}, "where", ()),
                ({"check_after": wrong}, "after", ()),
            ):
                write = msgspec.structs.replace(update(BOOK, key, title="b"), **changes)
                with pytest.raises(Refused) as refused:
                    await store.write(unit(write))
                assert (refused.value.kind, refused.value.fields) == (kind, fields)
            after = msgspec.structs.replace(update(BOOK, key, year=1901), where=right, check_after=wrong)
            assert plain((await store.write(unit(after))).stored[0].json)["title"] == "a"
            with pytest.raises(Refused) as refused:
                await store.write(unit(delete(BOOK, key, where=right)))
            assert refused.value.kind == "where"

    async def test_a_created_record_must_hold_what_is_checked_after(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            write = msgspec.structs.replace(create(BOOK, title="a", year=1), check_after=where(BOOK, "year", 2))
            with pytest.raises(Refused) as refused:
                await store.write(unit(write))
            assert refused.value.kind == "after"
            assert (await store.page(listing(BOOK))).keys == ()

    async def test_a_needed_record_must_be_there_and_be_permitted(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            author = key_of(await store.write(unit(create(AUTHOR, name="a"))))
            for selection, key, kind in (
                (select(AUTHOR, where(AUTHOR, "name", "a")), author, None),
                (select(AUTHOR, where(AUTHOR, "name", "b")), author, "need"),
                (select(AUTHOR), uuid7(), "need"),
            ):
                need = Need("author", selection, key)
                write = msgspec.structs.replace(create(BOOK, title=str(kind), author=author), needs=(need,))
                if kind is None:
                    await store.write(unit(write))
                    continue
                with pytest.raises(Refused) as refused:
                    await store.write(unit(write))
                assert (refused.value.kind, refused.value.fields) == ("need", ("author",))

    async def test_the_database_refuses_what_breaks_its_constraints(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            author = key_of(await store.write(unit(create(AUTHOR, name="a", email="x"))))
            book = key_of(await store.write(unit(create(BOOK, title="t", author=author))))
            for write, kind, fields in (
                (create(AUTHOR, author, name="b"), "unique", ("id",)),
                (create(BOOK, title="t", author=author), "unique", ("author", "title")),
                (create(BOOK, title="u", author=uuid7()), "reference", ("author",)),
                (update(BOOK, book, author=uuid7()), "reference", ("author",)),
                (delete(AUTHOR, author), "referenced", ()),
                (create(SAMPLE, choice="blue"), "check", ("choice",)),
                (create(SAMPLE, date="2026-02-31"), "check", ("date",)),
                (create(BOOK, title=None), "check", ("title",)),
            ):
                with pytest.raises(Refused) as refused:
                    await store.write(unit(write))
                assert (refused.value.kind, refused.value.fields) == (kind, fields)

    async def test_deleting_a_target_clears_or_takes_along_what_points_at_it(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            author = key_of(await store.write(unit(create(AUTHOR, name="a"))))
            book = key_of(await store.write(unit(create(BOOK, title="t"))))
            made = (await store.write(unit(create(LOAN, book=book, by=author)))).stored[0]
            await store.write(unit(delete(AUTHOR, author)))
            loan = plain((await store.page(listing(LOAN))).records[0])
            assert loan["by"] is None
            assert loan["version"] > made.version
            await store.write(unit(delete(BOOK, book)))
            assert (await store.page(listing(LOAN))).keys == ()

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

    async def test_what_was_acknowledged_is_there_after_reopening(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(BOOK, title="t")))).stored[0]
            secret = store.secret
        async with self.opened(tmp_path) as store:
            assert (await store.page(listing(BOOK))).records == [made.json]
            assert store.secret == secret
            assert len(secret) == 32

    async def test_a_resource_without_a_log_leaves_no_mark(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            commit = await store.write(unit(create(VISIT, page="/")))
            assert commit.mark is None
            assert plain(commit.stored[0].json)["page"] == "/"
