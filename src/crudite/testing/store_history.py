"""The store contract: histories. What is audited is kept when the log is trimmed, exactly, with who asked for it. One
that has no `SupportsHistory` is skipped, by its name."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crudite.changes import Refused
from crudite.ids import uuid7
from crudite.schema import Catalog
from crudite.stores.base import Past, Store, SupportsHistory
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LOAN,
    SAMPLE,
    VISIT,
    catalog,
    create,
    delete,
    key_of,
    plain,
    schema,
    text,
    unit,
    update,
)
from crudite.testing.store_base import OpensStores
from crudite.types import Key

AUDITED = replace(AUTHOR, history=math.inf)
WITH = catalog(SAMPLE, AUDITED, BOOK, LOAN, VISIT)
WITHOUT = catalog(SAMPLE, AUTHOR, BOOK, LOAN, VISIT)


class HistoryContract(OpensStores):
    """Who changed what of a record, for as long as it is kept."""

    @asynccontextmanager
    async def audited(self, place: Path) -> AsyncIterator[tuple[Store, SupportsHistory]]:
        """A store that keeps the history of authors, seen in both ways."""
        async with self.opened(place, WITH) as store:
            if not isinstance(store, SupportsHistory):
                pytest.skip("the store has no SupportsHistory")
            yield store, store

    async def test_a_history_tells_who_changed_what_the_latest_first(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories):
            key, other = uuid7(), uuid7()
            for one in (key, other):
                whole = unit(create(AUDITED, one, name="Ann", hash="s3cret"), **asked("ann", "r1", "rest"))
                await store.write(whole)
            await store.write(unit(update(AUDITED, key, name="Anna"), **asked("bob", "r2", "websocket")))
            await store.write(unit(update(AUDITED, key, note="!"), delete(AUDITED, key), **asked(None, None, "python")))
            found = await histories.history(AUDITED, key, before=None, limit=10)
            assert [(who(past), names(past)) for past in found] == [
                ((None, None, "python"), ("Anna", None)),
                ((None, None, "python"), ("Anna", "Anna")),
                (("bob", "r2", "websocket"), ("Ann", "Anna")),
                (("ann", "r1", "rest"), (None, "Ann")),
            ]
            assert [past.at for past in found] == sorted((past.at for past in found), reverse=True)
            assert not any("s3cret" in f"{past.before}{past.after}" or "hash" in f"{past.after}" for past in found)

    async def test_trimming_changes_nothing_in_a_history_and_lets_everything_else_go(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories):
            key = uuid7()
            await store.write(unit(create(AUDITED, key, name="0"), **asked("u0", "r0", "rest")))
            for n in range(1, 6):
                await store.write(unit(update(AUDITED, key, name=str(n)), **asked(f"u{n}", f"r{n}", "rest")))
                await store.write(unit(create(BOOK, title=str(n)), **asked("x", "x", "rest")))
            before = await histories.history(AUDITED, key, before=None, limit=10)
            assert [names(past)[1] for past in before] == ["5", "4", "3", "2", "1", "0"]
            assert await trimmed(store) >= 11
            assert await histories.history(AUDITED, key, before=None, limit=10) == before
            assert [(kept.table, kept.changes) for kept in await histories.kept()] == [("authors", 6)]
            assert histories.history_figures.kept == 6
            await store.write(unit(update(AUDITED, key, name="6"), **asked("u6", "r6", "rest")))
            after = await histories.history(AUDITED, key, before=None, limit=10)
            assert list(after[1:]) == list(before)
            assert (who(after[0]), names(after[0])) == (("u6", "r6", "rest"), ("5", "6"))

    async def test_a_history_is_read_in_pages_across_the_place_where_the_log_was_trimmed(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories):
            key = uuid7()
            await store.write(unit(create(AUDITED, key, name="0")))
            for n in range(1, 10):
                if n == 5:
                    await trimmed(store)
                await store.write(unit(update(AUDITED, key, name=str(n))))
            seen, before = list[str | None](), None
            while page := await histories.history(AUDITED, key, before=before, limit=3):
                assert len(page) <= 3
                seen += [names(past)[1] for past in page]
                before = page[-1].number
            assert seen == [str(n) for n in range(9, -1, -1)]

    async def test_units_that_go_together_are_told_apart(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories):
            keys = [uuid7() for _ in range(40)]

            async def make(n: int) -> None:
                name = unit(create(AUDITED, keys[n], name=str(n), email=str(n % 30)), **asked(f"u{n}", f"r{n}", "rest"))
                try:
                    await store.write(name)
                except Refused:
                    return

            await asyncio.gather(*map(make, range(40)))

            async def told() -> list[list[tuple[Any, ...]]]:
                found = [await histories.history(AUDITED, key, before=None, limit=3) for key in keys]
                return [[(*who(past), names(past)[1]) for past in one] for one in found]

            there = await told()
            assert sum(map(len, there)) == 30
            for n, one in enumerate(there):
                assert one in ([], [(f"u{n}", f"r{n}", "rest", str(n))])
            await trimmed(store)
            assert await told() == there

    async def test_nothing_is_lost_or_told_twice_while_the_log_is_trimmed_under_writers(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories), self.opened(tmp_path, WITH) as second:
            keys, is_over = [uuid7() for _ in range(4)], asyncio.Event()
            for key in keys:
                await store.write(unit(create(AUDITED, key, name="0"), **asked("u0", "r0", "rest")))

            async def change(key: Key, by: Store) -> None:
                for n in range(1, 61):
                    await by.write(unit(update(AUDITED, key, name=str(n)), **asked(f"u{n}", f"r{n}", "rest")))
                    await by.write(unit(create(BOOK, title=f"{key}{n}")))

            async def trim() -> int:
                gone = 0
                while not is_over.is_set():
                    gone += await second.trim(older_than=-1, larger_than=0)
                    await asyncio.sleep(0)
                return gone

            async def look(key: Key) -> None:
                while not is_over.is_set():
                    found = await histories.history(AUDITED, key, before=None, limit=100)
                    assert_whole(found)

            trimming = asyncio.create_task(trim())
            looking = asyncio.create_task(look(keys[0]))
            await asyncio.gather(*(change(key, (store, second)[n % 2]) for n, key in enumerate(keys)))
            is_over.set()
            await looking
            assert await trimming > 0
            for key in keys:
                found = await histories.history(AUDITED, key, before=None, limit=100)
                assert len(found) == 61
                assert_whole(found)

    async def test_a_history_begins_when_it_is_turned_on_and_what_is_kept_stays_when_it_is_turned_off(
        self, tmp_path: Path
    ) -> None:
        async with self.opened(tmp_path, WITHOUT) as store:
            if not isinstance(store, SupportsHistory):
                pytest.skip("the store has no SupportsHistory")
            key = key_of(await store.write(unit(create(AUTHOR, name="lost"))))
            await trimmed(store)
            await store.write(unit(update(AUTHOR, key, name="in the log")))
            position = (await store.read(())).position
        async with self.audited(tmp_path) as (store, histories):
            assert await store.locate(position.token) == position
            await store.write(unit(update(AUDITED, key, name="kept")))
            await trimmed(store)
            found = await histories.history(AUDITED, key, before=None, limit=10)
            assert [names(past)[1] for past in found] == ["kept", "in the log"]
        async with self.opened(tmp_path, WITHOUT) as store:
            (step,) = await store.plan(WITHOUT)
            assert step.may_stay
            assert await store.migrate(WITHOUT, lose=True) == [step]
            await store.write(unit(update(AUTHOR, key, name="gone")))
            await trimmed(store)
        async with self.audited(tmp_path) as (store, histories):
            assert await histories.history(AUDITED, key, before=None, limit=10) == found

    async def test_that_a_history_begins_is_planned(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, WITHOUT) as store:
            if not isinstance(store, SupportsHistory):
                pytest.skip("the store has no SupportsHistory")
            await store.write(unit(create(AUTHOR, name="a")))
            position = (await store.read(())).position
            planned = await store.plan(WITH)
            assert planned
            assert not any(step.loses or step.may_stay or step.is_blocked for step in planned)
            assert await store.migrate(WITH) == planned
            assert await store.plan(WITH) == []
            assert await store.locate(position.token) == position

    async def test_one_who_does_not_ask_for_a_history_takes_it_from_nobody(self, tmp_path: Path) -> None:
        async with self.audited(tmp_path) as (store, histories):
            key = key_of(await store.write(unit(create(AUDITED, name="0"), **asked("u0", "r0", "rest"))))
            async with self.opened(tmp_path, WITHOUT) as former:
                for n in range(1, 7):
                    by = (store, former)[n % 2]
                    await by.write(unit(update(AUTHOR, key, name=str(n)), **asked(f"u{n}", f"r{n}", "rest")))
                    await trimmed(by)
            await store.write(unit(update(AUDITED, key, name="7"), **asked("u7", "r7", "rest")))
            await trimmed(store)
            found = await histories.history(AUDITED, key, before=None, limit=10)
            assert len(found) == 8
            assert_whole(found)

    async def test_the_longest_time_that_anybody_asks_for_holds_until_a_migration_may_lose_something(
        self, tmp_path: Path
    ) -> None:
        def lasting(seconds: float) -> Catalog:
            return catalog(SAMPLE, replace(AUTHOR, history=seconds), BOOK, LOAN, VISIT)

        async with self.opened(tmp_path, lasting(-3600)) as store:  # so brief that everything is too old
            if not isinstance(store, SupportsHistory):
                pytest.skip("the store has no SupportsHistory")
            assert [step.loses for step in await store.plan(lasting(3600))] == [""]
        async with self.audited(tmp_path) as (store, histories):
            key = key_of(await store.write(unit(create(AUDITED, name="a"))))
            async with self.opened(tmp_path, lasting(-3600)) as brief:
                await trimmed(brief)
                assert len(await histories.history(AUDITED, key, before=None, limit=10)) == 1
                (step,) = await brief.plan(lasting(-3600))
                assert step.may_stay
                assert step.loses
                assert await brief.migrate(lasting(-3600), lose=True) == [step]
                await trimmed(brief)
                assert await histories.history(AUDITED, key, before=None, limit=10) == []

    async def test_a_history_goes_along_when_its_resource_is_renamed(self, tmp_path: Path) -> None:
        key = "a"
        former = schema("Film", [text("title")], key="text", history=math.inf)
        async with self.opened(tmp_path, catalog(former)) as store:
            if not isinstance(store, SupportsHistory):
                pytest.skip("the store has no SupportsHistory")
            await store.write(unit(create(former, key, title="kept"), **asked("ann", "r1", "rest")))
            await trimmed(store)
            await store.write(unit(update(former, key, title="in the log"), **asked("bob", "r2", "rest")))
        latter = schema("Movie", [text("title")], key="text", history=math.inf, renamed_from="Film")
        async with self.opened(tmp_path, catalog(latter)) as store:
            assert isinstance(store, SupportsHistory)
            found = await store.history(latter, key, before=None, limit=10)
            assert [who(past)[0] for past in found] == ["bob", "ann"]
            await trimmed(store)
            assert await store.history(latter, key, before=None, limit=10) == found

    async def test_what_is_older_than_its_time_goes(self, tmp_path: Path) -> None:
        brief = replace(AUTHOR, history=3600.0)
        async with self.audited(tmp_path) as (store, histories):
            key = key_of(await store.write(unit(create(AUDITED, name="a"))))
            await trimmed(store)
            assert await histories.prune("authors", 3600) == 0
            assert len(await histories.history(AUDITED, key, before=None, limit=10)) == 1
            assert await histories.prune("books", -3600) == 0
            assert await histories.prune("authors", -3600) == 1
            assert histories.history_figures.dropped == 1
            assert await histories.history(AUDITED, key, before=None, limit=10) == []
            assert list(await histories.kept()) == []
        async with self.opened(tmp_path, catalog(SAMPLE, brief, BOOK, LOAN, VISIT)) as store:
            await store.write(unit(update(brief, key, name="b")))
            await trimmed(store)
            assert isinstance(store, SupportsHistory)
            assert len(await store.history(brief, key, before=None, limit=10)) == 1


def asked(actor: str | None, request: str | None, interface: str) -> dict[str, Any]:
    """Who asks for a unit."""
    return {"actor": actor, "request": request, "interface": interface}


def who(past: Past) -> tuple[str | None, str | None, str | None]:
    """Who asked for a change."""
    return past.actor, past.request, past.interface


def names(past: Past) -> tuple[str | None, str | None]:
    """An author's name, or a title, before and after a change."""
    found = [None if image is None else plain(image) for image in (past.before, past.after)]
    before, after = (None if one is None else one.get("name", one.get("title")) for one in found)
    return before, after


def assert_whole(found: Sequence[Past]) -> None:
    """The history of a record that counts up from 0, by those who counted."""
    expected = [str(n) for n in range(len(found) - 1, -1, -1)]
    assert [names(past)[1] for past in found] == expected
    assert [who(past) for past in found] == [(f"u{n}", f"r{n}", "rest") for n in expected]


async def trimmed(store: Store) -> int:
    """How many rows went from the log, which is as short now as it can be made."""
    return sum([await store.trim(older_than=-1, larger_than=0) for _ in range(3)])
