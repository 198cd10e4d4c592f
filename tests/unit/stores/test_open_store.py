"""A store is named by a URL."""

# A test may block its own event loop.
# ruff: noqa: ASYNC240

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crudite.errors import StoreError
from crudite.stores import open_end, open_store
from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import LIBRARY, VISIT, create, unit


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///app.db", "app.db"),
        ("sqlite:////var/lib/app.db", "/var/lib/app.db"),
        ("sqlite:///with%20space.db?synchronous=NORMAL", "with space.db"),
    ],
)
def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == path


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mysql://x", "sqlite"),
        ("app.db", "sqlite"),
        ("sqlite://host/app.db", "sqlite:///path"),
        ("sqlite://", "sqlite:///path"),
        ("sqlite:///app.db?mode=ro", "synchronous"),
        ("sqlite:///app.db?synchronous=SOMETIMES", "FULL"),
    ],
)
def test_a_url_that_says_nothing_known_is_refused_with_what_was_expected(url: str, word: str) -> None:
    with pytest.raises(StoreError, match=word):
        open_store(url)


@pytest.mark.parametrize("opened", [open_store, open_end])
def test_what_a_url_says_beside_its_scheme_is_not_told(opened: Callable[[str], object]) -> None:
    with pytest.raises(StoreError) as caught:
        opened("postgresq://me:secret@host/name")
    assert "postgresq'" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("opened", "module"), [(open_store, "crudite.stores.postgresql"), (open_end, "crudite.stores.postgresql.copying")]
)
def test_a_driver_that_is_not_installed_is_named_with_its_remedy(
    opened: Callable[[str], object], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StoreError, match=r"pip install 'crudite\[postgresql\]'"):
        opened("postgres://host/name")


@pytest.mark.anyio
async def test_memory_is_a_temporary_file_that_goes_with_the_store() -> None:
    store = open_store("sqlite:///:memory:")
    assert isinstance(store, SqliteStore)
    await store.open(LIBRARY)
    await store.write(unit(create(VISIT, page="/")))
    place = Path(store.path)
    assert place.exists()
    await store.close()
    assert not place.parent.exists()


@pytest.mark.anyio
async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data.db")
    with pytest.raises(StoreError, match="not open"):
        await store.read([])
    await store.open(LIBRARY)
    with pytest.raises(StoreError, match="open already"):
        await store.open(LIBRARY)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.write(unit(create(VISIT, page="/")))
