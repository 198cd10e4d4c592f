"""The store contract: what a database is called, and whether it is there."""

from pathlib import Path

from crudite.testing.samples import LIBRARY
from crudite.testing.store_base import OpensStores


class PlaceContract(OpensStores):
    """What is known of a store without its records."""

    async def test_a_store_has_one_name_open_or_not_and_for_all_who_share_it(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        names = [store.shown]
        await store.open(LIBRARY)
        names += [store.shown, self.make_store(tmp_path).shown]
        await store.close()
        names.append(store.shown)
        assert len(set(names)) == 1
        assert names[0]
        assert store.is_shared

    async def test_to_ask_whether_a_database_exists_makes_none(self, tmp_path: Path) -> None:
        asked = [await self.make_store(tmp_path).exists() for _ in range(2)]
        assert asked[0] == asked[1]

    async def test_a_database_that_was_opened_exists(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as store:
            assert await store.exists()
            assert await self.make_store(tmp_path).exists()
        assert await store.exists()
