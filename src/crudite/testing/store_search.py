"""The store contract: searching for words, whoever wrote the texts, and after every change of what is searched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite.query.match import compile_matcher
from crudite.query.tree import And, Filter, Search
from crudite.query.words import MOST_SEARCHED, words_of
from crudite.schema import FieldSpec, FieldType, ResourceSchema
from crudite.stores.base import Store
from crudite.testing.samples import catalog, create, delete, key_of, listing, schema, text, unit, update, where
from crudite.testing.store_base import OpensStores
from crudite.types import Key

PAGE = schema("Page", [text("title"), text("notes", nullable=True), text("by", default="")], search=("title", "notes"))

# what is written, what is searched for, whether it is found
VECTORS = (
    ("red apples", "red", True),
    ("red apples", "apples red", True),
    ("red apples", "RED Apples", True),
    ("red apples", "app", True),
    ("red apples", "re apples", False),
    ("red apples", "red pears", False),
    ("red apples", "pples", False),
    ("red apples", "apples apples", True),
    ("well-known", "known", True),
    ("well-known", "well-known", True),
    ("wellknown", "well-known", False),
    ("well known", "well-known", True),
    ("known well", "well-known", True),
    ("info@example.org", "example", True),
    ("info@example.org", "info@example.org", True),
    ("https://example.org/a/b?c=d", "example.org", True),
    ("snake_case", "case", True),
    ("don't", "don't", True),
    ("version 1.25", "1.25", True),
    ("version 1.25", "1.3", False),
    ("-12", "12", True),
    ("1e5", "1e", True),
    ("12th", "12", True),
    ("the and or not", "not", True),
    ("near NEAR(a b)", "NEAR(a b)", True),
    ('say "red"', '"red"', True),
    ("red", 'red"', True),
    ("red", "'red", True),
    ("red", "red*", True),
    ("red", "re* NOT green", False),
    ("red", "red & !green | x", False),
    ("red", "red:*", True),
    ("red\\", "red\\", True),
    ("title: red", "title:red", True),
    ("Crème brûlée", "creme brulee", True),
    ("Creme brulee", "CRÈME BRÛLÉE", True),
    ("Phở Việt Nam", "pho viet nam", True),
    ("e\u0301te\u0301", "été", True),
    ("Straße", "strasse", False),
    ("STRAẞE", "straße", True),
    ("Łódź Ærø", "łodz ærø", True),
    ("Łódź", "lodz", False),
    ("İstanbul", "istanbul", True),
    ("ΟΔΥΣΣΕΥΣ οδυσσευς", "οδυσσευσ", True),
    ("Ζεύς", "ζευς", False),
    ("МОСКВА", "москва", True),
    ("йод", "иод", False),
    ("ԵՐԵՎԱՆ", "երեվ", True),
    ("हिन्दी भाषा", "हिन्दी", True),
    ("हिन्दी भाषा", "भाषा।", True),
    ("東京都", "東京", True),
    ("東京都", "京都", False),
    ("東京、大阪", "大阪", True),
    ("한국어", "한국", True),
    ("한국어", "하", False),
    ("سلام،دنيا", "دنيا", True),
    ("«guillemets» — dash…", "guillemets dash", True),
    ("10€ 5½ x²", "10 5½ x²", True),
    ("a\u00a0b\u200bc", "b c", True),
    ("ﬁne", "fine", False),
    ("ＦＵＬＬ", "ｆｕｌｌ", True),
)

_letters = st.sampled_from("aAbBéÉèñßſıİøØæÆσςΣйЙиИ東京हि한019½²'\"*-&|!:()\\_.,;@ \u0301\u0308\u200b\t\n«—،")
_texts = st.text(_letters, max_size=12)


def is_found(written: str, wanted: str) -> bool:
    """What a search means: all words occur, the last one as the beginning of a word."""
    there, asked = words_of(written), words_of(wanted)
    return not asked or (set(asked[:-1]) <= set(there) and any(word.startswith(asked[-1]) for word in there))


def matches(wanted: str, title: str, notes: str | None = None) -> bool:
    """What the matcher in memory says of a page."""
    return compile_matcher(words(wanted))({"title": title, "notes": notes})


def words(wanted: str, of: ResourceSchema = PAGE) -> Filter:
    """The filter for a text that is searched for; it has words."""
    return Search(of, " ".join(words_of(wanted)))


async def add(store: Store, title: str, notes: str | None = None, **more: Any) -> Key:
    """A new page; its key."""
    return key_of(await store.write(unit(create(PAGE, title=title, notes=notes, **more))))


async def finds(store: Store, filter: Filter, of: ResourceSchema = PAGE) -> set[Key]:
    """The keys of the records that a filter finds."""
    return set((await store.page(listing(of, filter=filter))).keys)


class SearchContract(OpensStores):
    """What a search finds."""

    async def test_all_of_the_words_occur_and_the_last_one_may_be_a_beginning(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            keys = {written: await add(store, written) for written in dict.fromkeys(one[0] for one in VECTORS)}
            for written, wanted, expected in VECTORS:
                assert (keys[written] in await finds(store, words(wanted))) == expected, (written, wanted)
                assert is_found(written, wanted) == expected, (written, wanted)
                assert matches(wanted, written) == expected, (written, wanted)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(written=st.lists(st.tuples(_texts, st.none() | _texts), max_size=6), wanted=st.lists(_texts, max_size=6))
    async def test_what_is_found_is_what_the_words_say(
        self, tmp_path: Path, written: Sequence[tuple[str, str | None]], wanted: Sequence[str]
    ) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            for key in await finds(store, And()):
                await store.write(unit(delete(PAGE, key)))
            keys = {await add(store, title, notes): f"{title} {notes or ''}" for title, notes in written}
            for one in filter(words_of, wanted):
                expected = {key for key, whole in keys.items() if is_found(whole, one)}
                assert await finds(store, words(one)) == expected, one
                in_memory = {key for key, texts in zip(keys, written, strict=True) if matches(one, *texts)}
                assert in_memory == expected, one

    async def test_words_may_lie_in_different_fields_but_only_in_those_that_are_searched(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            key = await add(store, "red", "apples", by="Ann")
            assert await finds(store, words("apples red")) == {key}
            assert await finds(store, words("red ann")) == set()
            assert await finds(store, words("redapples")) == set()

    async def test_a_search_goes_with_other_conditions_counts_and_pages(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            keys = [await add(store, f"red {number}", by="ann" if number % 2 else "bob") for number in range(6)]
            of_ann = And((words("red"), where(PAGE, "by", "ann")))
            assert await finds(store, of_ann) == {keys[1], keys[3], keys[5]}
            page = await store.page(listing(PAGE, "-title", filter=of_ann, limit=2, total=True))
            assert list(page.keys) == [keys[5], keys[3]]
            assert (page.more, page.total) == (True, 3)

    async def test_what_is_found_follows_every_write(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            key, other = await add(store, "red"), await add(store, "green")
            await store.write(unit(update(PAGE, key, notes="ripe")))
            assert await finds(store, words("red ripe")) == {key}
            await store.write(unit(update(PAGE, key, title="green", by="x")))
            assert await finds(store, words("red")) == set()
            assert await finds(store, words("green")) == {key, other}
            await store.write(unit(delete(PAGE, key)))
            assert await finds(store, words("green")) == {other}
            await store.write(unit(create(PAGE, key, title="blue")))
            assert await finds(store, words("green")) == {other}
            assert await finds(store, words("blue")) == {key}

    async def test_the_beginning_of_a_very_long_text_and_of_a_very_long_word_is_searched(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            long = "word " * (MOST_SEARCHED // 10)
            key = await add(store, f"first {long} last", "é" * 3_000_000)
            assert await finds(store, words("first word")) == {key}
            assert await finds(store, words("last")) == set()
            assert await finds(store, words("e" * 250)) == {key}
            assert await finds(store, words("e" * 250 + " word")) == set()
            texts = f"first {long} last", "é" * 3_000_000
            told = [matches(one, *texts) for one in ("first word", "last", "e" * 250, "e" * 250 + " word")]
            assert told == [True, False, True, False]

    async def test_numbered_records_and_those_without_a_log_are_searched(self, tmp_path: Path) -> None:
        item = schema("Item", [text("rank")], key="integer", search=("rank",), logged=False)
        async with self.opened(tmp_path, catalog(item)) as store:
            commit = await store.write(unit(create(item, rank="first"), create(item, rank="second")))
            assert await finds(store, words("second", item), item) == {key_of(commit, 1)}

    @pytest.mark.parametrize("old", [(), ("title",), ("notes", "title")])
    async def test_what_is_searched_can_change_while_there_are_records(
        self, tmp_path: Path, old: tuple[str, ...]
    ) -> None:
        fields = [text("title"), text("notes", nullable=True), text("by", default="")]
        async with self.opened(tmp_path, catalog(schema("Page", fields, search=old))) as store:
            key = await add(store, "red", "apples")
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            assert list(await store.plan(catalog(PAGE))) == []
            assert await finds(store, words("red apples")) == {key}
            other = await add(store, "red")
            assert await finds(store, words("red")) == {key, other}
        new = schema("Page", fields, search=old)
        async with self.opened(tmp_path, catalog(new)) as store:
            assert list(await store.plan(catalog(new))) == []
            await store.write(unit(update(new, key, title="green")))
            if old:
                assert await finds(store, words("green", new), new) == {key}
                assert await finds(store, words("apples", new), new) == ({key} if "notes" in old else set())

    async def test_a_search_goes_on_when_the_table_is_made_anew_or_renamed(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, catalog(PAGE)) as store:
            key = await add(store, "red", "apples")
        size = FieldSpec("size", FieldType("integer"), default=1)
        anew = schema("Page", [text("title"), text("notes", default="no pears"), size], search=("title", "notes"))
        store = self.make_store(tmp_path)
        await store.migrate(catalog(anew), lose=True)
        async with self.opened(tmp_path, catalog(anew)) as store:
            assert await finds(store, words("red apples", anew), anew) == {key}
        fields = [text("name", renamed_from="title"), text("notes", default="no pears"), size]
        sheet = schema("Sheet", fields, renamed_from="Page", search=("name", "notes"))
        async with self.opened(tmp_path, catalog(sheet)) as store:
            assert list(await store.plan(catalog(sheet))) == []
            assert await finds(store, words("red apples", sheet), sheet) == {key}
            await store.write(unit(update(sheet, key, name="green")))
            assert await finds(store, words("green apples", sheet), sheet) == {key}
