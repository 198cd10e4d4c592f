"""What the parts of the store contract share: opening the store that is tested."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crudite.schema import Catalog
from crudite.stores.base import Batch, Store
from crudite.testing.samples import LIBRARY

PATIENCE = 10.0
"""Seconds that a test waits for what must come."""


class OpensStores:
    """Opens stores for tests; the subclass says how one is made."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Crudite speaks asyncio only."""
        return "asyncio"

    def make_store(self, place: Path) -> Store:
        """A store that is not open; the same database for the same place."""
        raise TypeError("a subclass of the contract says how its store is made")

    @asynccontextmanager
    async def opened(self, place: Path, catalog: Catalog = LIBRARY) -> AsyncIterator[Store]:
        """An open store, closed at the end."""
        store = self.make_store(place)
        await store.open(catalog)
        try:
            yield store
        finally:
            await store.close()


async def next_batch(batches: AsyncIterator[Batch]) -> Batch:
    """The next batch of a follower; fails when none comes."""
    return await asyncio.wait_for(anext(batches), PATIENCE)
