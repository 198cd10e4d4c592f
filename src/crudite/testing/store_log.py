"""The store contract: positions, following the log, resuming from a place in it, trimming."""

import asyncio
from pathlib import Path

from crudite.changes import Change, Reset
from crudite.query.plan import Plan, everything
from crudite.stores.base import Signal, Store
from crudite.testing.samples import (
    AUTHOR,
    BOOK,
    LIBRARY,
    LOAN,
    SAMPLE,
    VISIT,
    catalog,
    create,
    delete,
    key_of,
    listing,
    schema,
    text,
    unit,
    update,
)
from crudite.testing.store_base import OpensStores, next_batch


async def since_start(store: Store, place: bytes) -> list[Change]:
    """All changes from a located position to now."""
    start = await store.locate(place)
    assert not isinstance(start, Reset)
    changes = await store.changes(start, (await store.read([])).position, 10_000)
    assert not isinstance(changes, Reset)
    return list(changes)


async def place_of(store: Store) -> bytes:
    """The token of the position now."""
    return (await store.read([])).position.token


class LogContract(OpensStores):
    """What the change log tells."""

    async def test_changes_tell_what_was_before_and_after_without_secrets(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            place = await place_of(store)
            key = key_of(await store.write(unit(create(AUTHOR, name="a", hash="p"))))
            await store.write(unit(update(AUTHOR, key, name="b")))
            await store.write(unit(delete(AUTHOR, key)))
            made, changed, gone = await since_start(store, place)
            assert [c.kind for c in (made, changed, gone)] == ["created", "updated", "deleted"]
            assert {c.key for c in (made, changed, gone)} == {key}
            assert made.before is None
            assert gone.after is None
            assert changed.before is not None
            assert changed.after is not None
            assert (changed.before["name"], changed.after["name"]) == ("a", "b")
            assert "hash" not in changed.after
            assert (made.after, changed.after) == (changed.before, gone.before)

    async def test_what_a_delete_takes_along_is_in_the_log_too(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            book = key_of(await store.write(unit(create(BOOK, title="t"))))
            await store.write(unit(create(LOAN, book=book)))
            place = await place_of(store)
            await store.write(unit(delete(BOOK, book)))
            changes = await since_start(store, place)
            assert {(c.schema.name, c.kind) for c in changes} == {("Book", "deleted"), ("Loan", "deleted")}

    async def test_an_image_has_the_bytes_that_a_read_gives(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            place = await place_of(store)
            await store.write(unit(create(SAMPLE, text='ä\n"', float=0.1, decimal="-0.0500", json={"a": [1]})))
            (change,) = await since_start(store, place)
            assert change.after_json == (await store.page(listing(SAMPLE))).records[0]
            assert '"float":0.1,' in (change.after_json or "").replace(": ", ":").replace(", ", ",")

    async def test_a_position_covers_the_marks_of_what_its_rows_hold(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            before = (await store.read([])).position
            commit = await store.write(unit(create(BOOK, title="a"), create(BOOK, title="b")))
            assert commit.mark is not None
            snapshot = await store.read([listing(BOOK)])
            assert len(snapshot.pages[0].keys) == 2
            assert snapshot.position.covers(commit.mark)
            assert not before.covers(commit.mark)

    async def test_a_follower_gets_units_whole(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position)
            units = [unit(create(BOOK, title=f"{n}a"), create(BOOK, title=f"{n}b")) for n in range(30)]
            commits = await asyncio.gather(*map(store.write, units))
            seen: list[Change] = []
            while len(seen) < 60:
                batch = await next_batch(batches)
                seen += batch.changes
                assert len(batch.changes) % 2 == 0
                for commit in commits:
                    told = {change.key for change in seen}
                    covered = commit.mark is not None and batch.position.covers(commit.mark)
                    assert covered == all(stored.key in told for stored in commit.stored)
            titles = [change.after["title"] for change in seen if change.after is not None]
            # units that nobody ordered may come in any order, each one's own writes in theirs
            assert sorted(titles) == sorted(f"{n}{part}" for n in range(30) for part in "ab")
            assert all(titles.index(f"{n}a") < titles.index(f"{n}b") for n in range(30))
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_follower_gets_units_in_the_order_of_their_commits(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position)
            key = key_of(await store.write(unit(create(BOOK, title="0"))))
            for n in range(1, 20):
                await store.write(unit(update(BOOK, key, title=str(n)), create(BOOK, title=f"{n}b")))
            seen: list[Change] = []
            while len(seen) < 39:
                seen += (await next_batch(batches)).changes
            titles = [change.after["title"] for change in seen if change.after is not None]
            assert titles == ["0", *[title for n in range(1, 20) for title in (str(n), f"{n}b")]]
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_resource_with_more_changes_than_a_follower_looks_at_is_only_named(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position, 3)
            await store.write(unit(*(create(BOOK, title=str(n)) for n in range(3)), create(AUTHOR, name="ann")))
            batch = await next_batch(batches)
            assert (len(batch.changes), batch.bulk) == (4, frozenset())

            author = create(AUTHOR, name="bob")
            await store.write(unit(create(BOOK, title="3"), author, *(create(BOOK, title=str(n)) for n in range(4, 7))))
            batch = await next_batch(batches)
            assert [c.after["name"] for c in batch.changes if c.after is not None] == ["bob"]
            assert batch.bulk == {BOOK.name}
            assert len((await batch.fetch([Plan(selection=everything(BOOK))]))[0].keys) == 7

            await store.write(unit(create(BOOK, title="7")))
            assert [len((await next_batch(batches)).changes), batch.reset] == [1, None]
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_signal_reaches_every_follower_between_the_changes(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as one, self.opened(tmp_path) as other:
            start = (await one.read([])).position
            followers = [one.follow(start), other.follow(start)]
            first, last = Signal("revoke", '{"account": "ann"}'), Signal("revoke", "")
            await one.write(unit(create(BOOK, title="a")))
            await one.signal(first)
            await other.signal(last)
            await one.write(unit(create(BOOK, title="b")))
            for batches in followers:
                told: list[Signal] = []
                titles: list[str] = []
                while len(titles) < 2:
                    batch = await next_batch(batches)
                    told += batch.signals
                    titles += [c.after["title"] for c in batch.changes if c.after is not None]
                assert (told, titles) == ([first, last], ["a", "b"])
                await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_signal_is_news_and_no_change(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            start = (await store.read([])).position
            batches = store.follow(start)
            await store.signal(Signal("one", "2"))
            batch = await next_batch(batches)
            assert (batch.signals, batch.changes) == ([Signal("one", "2")], [])
            assert await store.changes(start, batch.position, 10) == []
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_signals_are_told_one_by_one_however_many_they_are(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            start = (await store.read([])).position
            for number in range(4):
                await store.signal(Signal("count", str(number)))
            batches = store.follow(start, 2)
            batch = await next_batch(batches)
            assert [signal.payload for signal in batch.signals] == ["0", "1", "2", "3"]
            assert not batch.bulk
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_commit_of_this_process_is_told_to_the_last_who_asked(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            told: list[str] = []
            store.on_commit(lambda: told.append("nobody any more"))
            store.on_commit(lambda: told.append("here"))
            other.on_commit(lambda: told.append("there"))
            await store.write(unit(create(BOOK, title="a")))
            assert told == ["here"]
            await other.signal(Signal("one", ""))
            assert told == ["here", "there"]
            await asyncio.gather(*(store.write(unit(create(BOOK, title=str(n)))) for n in range(20)))
            assert 3 <= len(told) <= 22

    async def test_several_followers_and_stores_get_the_same_changes(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as one, self.opened(tmp_path) as other:
            start = (await one.read([])).position
            followers = [one.follow(start), one.follow(start), other.follow(start)]
            await one.write(unit(create(BOOK, title="a")))
            for batches in followers:
                batch = await next_batch(batches)
                assert [c.after["title"] for c in batch.changes if c.after is not None] == ["a"]
                await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_batch_is_read_at_its_own_position(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position)
            await store.write(unit(create(BOOK, title="a")))
            batch = await next_batch(batches)
            await store.write(unit(create(BOOK, title="b")))
            pages = await batch.fetch([listing(BOOK), listing(BOOK, limit=5, total=True)])
            assert [len(page.keys) for page in pages] == [1, 1]
            later = await next_batch(batches)
            (page,) = await later.fetch([listing(BOOK)])
            assert len(page.keys) == 2
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_wake_up_brings_a_batch_without_changes(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position)
            await store.write(unit(create(BOOK, title="a")))
            await next_batch(batches)
            store.wake()
            batch = await next_batch(batches)
            assert list(batch.changes) == []
            assert batch.reset is None
            assert batch.position.token == await place_of(store)
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_look_brings_a_batch_only_when_there_is_something_new(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store, self.opened(tmp_path) as other:
            batches = store.follow((await store.read([])).position)
            coming = asyncio.ensure_future(next_batch(batches))
            for _ in range(20):
                store.look()
                await asyncio.sleep(0)
                await store.read([])  # the database's answer takes longer than a turn of the loop, where it is a server
            assert not coming.done()
            await other.write(unit(create(BOOK, title="a")))
            store.look()
            assert [c.after["title"] for c in (await coming).changes if c.after is not None] == ["a"]
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_a_follower_ends_when_the_store_is_closed(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            batches = store.follow((await store.read([])).position)
            waiting = asyncio.ensure_future(anext(batches, None))
            await asyncio.sleep(0)
        assert await waiting is None

    async def test_too_many_changes_at_once_are_a_reset(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            start = (await store.read([])).position
            await store.write(unit(*[create(BOOK, title=str(n)) for n in range(5)]))
            end = (await store.read([])).position
            assert await store.changes(start, end, 4) == Reset("too_many")
            assert len(await store.changes(start, end, 5)) == 5  # type: ignore[arg-type]

    async def test_a_token_is_good_after_reopening(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            empty = await place_of(store)
            await store.write(unit(create(BOOK, title="a")))
            place = await place_of(store)
            await store.write(unit(create(BOOK, title="b")))
        async with self.opened(tmp_path) as store:
            assert [c.after["title"] for c in await since_start(store, place) if c.after] == ["b"]
            assert len(await since_start(store, empty)) == 2

    async def test_a_token_of_another_database_or_of_nobody_is_a_reset(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with self.opened(tmp_path / "a") as one, self.opened(tmp_path / "b") as other:
            for store in (one, other):
                await store.write(unit(create(BOOK, title="a")))
            assert await other.locate(await place_of(one)) == Reset("epoch")
            assert await other.locate(b"nonsense") == Reset("epoch")
            assert await other.locate(b"") == Reset("epoch")

    async def test_positions_before_a_cut_are_a_gap_and_the_cut_itself_is_good(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            await store.write(unit(create(BOOK, title="a")))
            early = await place_of(store)
            await store.write(unit(create(BOOK, title="b")))
            late = await place_of(store)
            assert await store.trim(older_than=3600, larger_than=1_000_000_000) == 0
            assert await store.trim(older_than=3600, larger_than=0) == 2
            assert await store.locate(early) == Reset("gap")
            assert await place_of(store) == late
            await store.write(unit(create(BOOK, title="c")))
            assert [c.after["title"] for c in await since_start(store, late) if c.after] == ["c"]

    async def test_trimming_by_age_leaves_what_is_young(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            for n in range(3):
                await store.write(unit(create(BOOK, title=str(n))))
            assert await store.trim(older_than=3600, larger_than=10**9) == 0
            assert await store.trim(older_than=-10, larger_than=10**9) == 3

    async def test_a_follower_behind_a_cut_gets_a_reset_and_goes_on(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            start = (await store.read([])).position
            for n in range(3):
                await store.write(unit(create(BOOK, title=str(n))))
            await store.trim(older_than=3600, larger_than=0)
            batches = store.follow(start)
            batch = await next_batch(batches)
            # nothing is lost by a cut at the head itself only for those who stand there
            assert batch.reset == Reset("gap")
            assert list(batch.changes) == []
            await store.write(unit(create(BOOK, title="new")))
            batch = await next_batch(batches)
            assert [c.after["title"] for c in batch.changes if c.after is not None] == ["new"]
            await batches.aclose()  # type: ignore[attr-defined]

    async def test_another_schema_is_a_reset(self, tmp_path: Path) -> None:
        wider = schema("Author", [*list(AUTHOR.fields.values())[1:-3], text("city", default="")])
        async with self.opened(tmp_path) as store:
            await store.write(unit(create(AUTHOR, name="a")))
            place = await place_of(store)
        async with self.opened(tmp_path, catalog(*{**LIBRARY, "Author": wider}.values())) as store:
            assert await store.locate(place) == Reset("schema")

    async def test_a_resource_without_a_log_wakes_nobody_with_changes(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            place = await place_of(store)
            await store.write(unit(create(VISIT, page="/")))
            assert await place_of(store) == place
