"""The store contract: records come back as they were; writes are made whole, on their conditions, or not."""

import asyncio
import math
import struct
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.changes import Guard, Refused
from crudite.ids import uuid7
from crudite.query.plan import Need, Plan, everything
from crudite.stores.base import Store
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
    plain,
    select,
    unit,
    update,
    where,
)
from crudite.testing.store_base import PATIENCE, OpensStores

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


def normal(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they compare after travelling: SQL has no negative zero."""
    return {k: v + 0.0 if isinstance(v, float) else v for k, v in values.items()}


class RecordContract(OpensStores):
    """What becomes of records."""

    def test_every_value_comes_back_exactly_from_a_write_a_read_and_the_log(self, tmp_path: Path) -> None:
        async def round_trip(store: Store, records: list[dict[str, Any]]) -> None:
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

        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            # one for all examples, because to make the tables takes longer than to fill them
            store = runner.run(stack.enter_async_context(self.opened(tmp_path)))

            @given(st.lists(RECORDS, min_size=1, max_size=3))
            def comes_back(records: list[dict[str, Any]]) -> None:
                runner.run(round_trip(store, records))

            try:
                comes_back()
            finally:
                runner.run(stack.aclose())

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

    async def test_a_write_is_made_only_while_what_was_seen_besides_the_version_is_so(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            made = (await store.write(unit(create(AUTHOR, name="a", note="n")))).stored[0]
            book = create(BOOK, title="b", author=made.key)
            for seen, is_so in (({"note": "n"}, True), ({"note": "m"}, False)):
                renamed = msgspec.structs.replace(update(AUTHOR, made.key, name="b"), seen=seen)
                need = Need("author", everything(AUTHOR), made.key, seen)
                for write, missed in ((renamed, ("version", ("note",))), (book, ("need", ("author",)))):
                    asked = write if write is renamed else msgspec.structs.replace(book, needs=(need,))
                    if is_so:
                        await store.write(unit(asked))
                        continue
                    with pytest.raises(Refused) as refused:
                        await store.write(unit(asked))
                    assert (refused.value.kind, refused.value.fields) == missed
            gone = msgspec.structs.replace(delete(AUTHOR, made.key), seen={"note": "m"})
            with pytest.raises(Refused, match="version note"):
                await store.write(unit(gone))

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

    async def test_a_unit_without_writes_changes_nothing_whoever_has_written_before(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            made = (await store.write(unit(create(BOOK, title="a")))).stored[0]
            await store.write(unit(update(BOOK, made.key, title="b")))
            await other.write(unit(create(BOOK, title="c")))
            before = (await store.read([])).position
            done = await asyncio.wait_for(store.write(unit()), PATIENCE)
            assert (done.mark, done.stored) == (None, ())
            assert (await store.read([])).position.token == before.token
            await store.write(unit(create(BOOK, title="d")))
            assert len((await other.page(listing(BOOK))).keys) == 3

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
