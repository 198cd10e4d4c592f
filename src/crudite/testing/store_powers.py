"""The store contract: the powers that a store may have beyond the port do what the port does. A test of one that it has
not is skipped, by its name."""

import asyncio
from pathlib import Path
from typing import Generic, TypeVar

import pytest

from crudite.changes import Commit, Refused
from crudite.errors import StoreError
from crudite.ids import uuid7
from crudite.stores.base import Row, SupportsAsk, SupportsGlance, SupportsLoad, SupportsNumbers, SupportsSubmit
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LOAN,
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
from crudite.testing.store_base import PATIENCE, OpensStores, next_batch

T = TypeVar("T")


class GlanceContract(OpensStores):
    """What a store may know without waiting."""

    async def test_a_glance_shows_what_a_read_does_or_nothing(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsGlance):
                pytest.skip("the store has no SupportsGlance")
            key = key_of(await store.write(unit(create(BOOK, title="a", year=1900))))
            await store.write(unit(create(BOOK, title="b", year=1901)))
            selections = [select(BOOK), select(BOOK, where(BOOK, "year", 1900), "title")]
            plans = [listing(BOOK), listing(BOOK, "-year", limit=1, total=True), listing(AUTHOR)]
            rows = [await store.lookup(selection, key) for selection in selections]
            position, pages = await store.read(plans)
            with store.glance() as glance:
                for selection, row in zip(selections, rows, strict=True):
                    assert glance.lookup(selection, key) in (row, None)
                for plan, page in zip(plans, pages, strict=True):
                    assert glance.page(plan) in (page, None)
                assert glance.lookup(select(BOOK), uuid7()) is None
                assert glance.lookup(select(BOOK, where(BOOK, "year", 1901)), key) is None
                assert glance.position().token == position.token

    async def test_a_glance_shows_what_was_acknowledged_before_it(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            if not isinstance(store, SupportsGlance):
                pytest.skip("the store has no SupportsGlance")
            key = key_of(await store.write(unit(create(BOOK, title="0"))))
            for n in range(1, 20):
                commit = await (store, other)[n % 2].write(unit(update(BOOK, key, title=str(n))))
                assert commit.mark is not None
                with store.glance() as glance:
                    row, page = glance.lookup(select(BOOK), key), glance.page(listing(BOOK))
                    assert row is None or (row.version, plain(row.json)["title"]) == (commit.stored[0].version, str(n))
                    assert page is None or page.versions == [commit.stored[0].version]
                    assert glance.position().covers(commit.mark)

    async def test_a_store_that_is_closed_has_no_glance(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsGlance):
                pytest.skip("the store has no SupportsGlance")
        with pytest.raises(StoreError), store.glance():
            raise AssertionError("there is no database to look at")


class AskContract(OpensStores):
    """Records that nobody awaits one by one."""

    async def test_what_is_asked_is_told_once_and_as_a_lookup_finds_it(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsAsk):
                pytest.skip("the store has no SupportsAsk")
            keys = [key_of(await store.write(unit(create(BOOK, title=str(n), year=n % 2)))) for n in range(10)]
            asked = [(select(BOOK, where(BOOK, "year", 1), "title"), key) for key in (*keys, uuid7(), *keys)]
            asked += [(select(AUTHOR), keys[0]), (select(BOOK), keys[0])]
            outcomes = [_Outcome[Row | None]() for _ in asked]
            for (selection, key), outcome in zip(asked, outcomes, strict=True):
                store.ask(selection, key, outcome.settle)
                assert outcome.all == []
            told = [await outcome.one() for outcome in outcomes]
            assert told == [await store.lookup(selection, key) for selection, key in asked]
            assert told.count(None) == 12
            assert all(len(outcome.all) == 1 for outcome in outcomes)

    async def test_what_is_asked_sees_what_was_acknowledged_before(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            if not isinstance(store, SupportsAsk):
                pytest.skip("the store has no SupportsAsk")
            key = key_of(await store.write(unit(create(BOOK, title="0"))))
            for n in range(1, 10):
                written = (await (store, other)[n % 2].write(unit(update(BOOK, key, title=str(n))))).stored[0]
                outcome = _Outcome[Row | None]()
                store.ask(select(BOOK), key, outcome.settle)
                assert await outcome.one() == Row(written.version, written.json or "")

    async def test_everything_that_is_asked_is_told_though_the_store_is_closed(self, tmp_path: Path) -> None:
        outcomes = [_Outcome[Row | None]() for _ in range(50)]
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsAsk):
                pytest.skip("the store has no SupportsAsk")
            key = key_of(await store.write(unit(create(BOOK, title="t"))))
            for outcome in outcomes:
                store.ask(select(BOOK), key, outcome.settle)
        told = [await outcome.one() for outcome in outcomes]
        assert all(isinstance(one, Row | StoreError) for one in told)
        with pytest.raises(StoreError):
            store.ask(select(BOOK), key, outcomes[0].settle)


class SubmitContract(OpensStores):
    """Units that nobody awaits one by one."""

    async def test_units_that_are_submitted_succeed_and_fail_alone(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsSubmit):
                pytest.skip("the store has no SupportsSubmit")
            outcomes = [_Outcome[Commit]() for _ in range(40)]
            for n, outcome in enumerate(outcomes):
                store.submit(unit(create(AUTHOR, name=str(n), email=str(n // 2))), outcome.settle)
            told = [await outcome.one() for outcome in outcomes]
            refused = [one for one in told if isinstance(one, Refused)]
            assert [(one.kind, one.fields) for one in refused] == [("unique", ("email",))] * 20
            stored = {key_of(one) for one in told if isinstance(one, Commit)}
            assert len(stored) == 20
            assert stored == set((await store.page(listing(AUTHOR))).keys)
            assert all(len(outcome.all) == 1 for outcome in outcomes)

    async def test_what_is_submitted_is_written(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsSubmit):
                pytest.skip("the store has no SupportsSubmit")
            batches = store.follow((await store.read([])).position)
            told: list[str] = []
            store.on_commit(lambda: told.append("a commit"))
            made, missed = _Outcome[Commit](), _Outcome[Commit]()
            store.submit(unit(create(BOOK, title="a"), create(BOOK, title="b")), made.settle)
            commit = await made.one()
            assert isinstance(commit, Commit)
            assert told == ["a commit"]
            store.submit(unit(update(BOOK, key_of(commit), expect=0, title="c")), missed.settle)
            refused = await missed.one()
            assert isinstance(refused, Refused)
            assert refused.kind == "version"
            batch = await next_batch(batches)
            assert [change.after["title"] for change in batch.changes if change.after is not None] == ["a", "b"]
            assert commit.mark is not None
            assert batch.position.covers(commit.mark)
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_everything_that_is_submitted_is_told_though_the_store_is_closed(self, tmp_path: Path) -> None:
        outcomes = [_Outcome[Commit]() for _ in range(50)]
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsSubmit):
                pytest.skip("the store has no SupportsSubmit")
            for outcome in outcomes:
                store.submit(unit(create(BOOK, title="t")), outcome.settle)
        told = [await outcome.one() for outcome in outcomes]
        assert all(isinstance(one, Commit | StoreError) for one in told)
        with pytest.raises(StoreError):
            store.submit(unit(create(BOOK, title="t")), outcomes[0].settle)
        async with self.opened(tmp_path) as again:
            assert {key_of(one) for one in told if isinstance(one, Commit)} == set(
                (await again.page(listing(BOOK))).keys
            )


class LoadContract(OpensStores):
    """Connections that are counted."""

    async def test_the_figures_of_the_connections_agree_with_each_other(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsLoad):
                pytest.skip("the store has no SupportsLoad")
            await asyncio.gather(*(store.page(listing(BOOK)) for _ in range(20)))
            load = store.load
            assert 0 <= load.used <= load.open <= load.size
            assert 0 < load.open <= load.opened
            assert (load.waiting, load.failed, load.refused) == (0, 0, 0)


class NumbersContract(OpensStores):
    """Numbers for records that are not there yet."""

    async def test_a_number_that_was_given_out_is_given_to_nobody_else(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            if not (isinstance(store, SupportsNumbers) and isinstance(other, SupportsNumbers)):
                pytest.skip("the store has no SupportsNumbers")
            book = key_of(await store.write(unit(create(BOOK, title="a"))))
            given = [*await store.numbers(LOAN, 2)]  # before there is any record
            there = [key_of(await other.write(unit(create(LOAN, book=book)))) for _ in range(2)]
            for several in await asyncio.gather(*(one.numbers(LOAN, 3) for one in (store, other) * 3)):
                given += several
            await other.write(unit(create(LOAN, given[0], book=book), create(LOAN, given[-1], book=book)))
            there.append(key_of(await store.write(unit(create(LOAN, book=book)))))
            assert len({*given, *there}) == 20 + 3
            assert list((await store.page(listing(LOAN))).keys) == sorted([given[0], given[-1], *there])

    async def test_the_number_of_a_record_that_is_gone_is_not_given_out_again(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            if not isinstance(store, SupportsNumbers):
                pytest.skip("the store has no SupportsNumbers")
            book = key_of(await store.write(unit(create(BOOK, title="a"))))
            key = key_of(await store.write(unit(create(LOAN, 7, book=book))))
            await store.write(unit(delete(LOAN, key)))
            assert key not in await store.numbers(LOAN, 10)


class PowersContract(GlanceContract, AskContract, SubmitContract, LoadContract, NumbersContract):
    """All powers that a store may have beyond the port."""


class _Outcome(Generic[T]):
    """What comes of something that nobody awaits: `settle` is called with it."""

    def __init__(self) -> None:
        self.all: list[T | Exception] = []
        self._is_told = asyncio.Event()

    def settle(self, outcome: T | Exception) -> None:
        """Takes what came of it."""
        self.all.append(outcome)
        self._is_told.set()

    async def one(self) -> T | Exception:
        """What came of it; fails when nothing does."""
        async with asyncio.timeout(PATIENCE):
            await self._is_told.wait()
        return self.all[0]
