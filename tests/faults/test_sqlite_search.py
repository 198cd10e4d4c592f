"""Other programs write the file with plain SQLite, and a search finds what is there, no more and no less."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import catalog, create, schema, text, unit
from crudite.testing.store_search import finds, is_found, words
from tests.faults.sqlite_files import needs_sqlite3, run_apsw, run_sqlite3, state

pytestmark = pytest.mark.anyio

PAGE = schema("Page", [text("title"), text("notes", nullable=True), text("code", nullable=True, unique=True)],
              key="text", search=("title", "notes"))  # fmt: skip
PAGES = catalog(PAGE)
WRITERS = [pytest.param(run_sqlite3, marks=needs_sqlite3, id="sqlite3"), pytest.param(run_apsw, id="apsw")]
Run = Callable[..., str]
ROWS = "INSERT INTO pages (id, title, notes, code) VALUES ('1', 'red', 'one', 'x'), ('2', 'green', NULL, 'y')"


async def is_true(store: SqliteStore) -> None:
    """What a search finds is what the records say, and the index is sound."""
    records = await state(store, PAGE)
    for wanted in ("red", "green", "blue", "one", "two", "red one"):
        there = {key for key, one in records.items() if is_found(f"{one['title']} {one['notes'] or ''}", wanted)}
        assert await finds(store, words(wanted, PAGE), PAGE) == there, wanted


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("run", WRITERS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO pages (id, title) VALUES ('1', 'blue')",
        "INSERT OR REPLACE INTO pages (id, title, code) VALUES ('3', 'blue', 'x')",
        "INSERT OR ABORT INTO pages (id, title, code) VALUES ('3', 'blue', 'z')",
        "INSERT OR IGNORE INTO pages (id, title) VALUES ('1', 'blue')",
        "INSERT INTO pages (id, title) VALUES ('1', 'blue') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
        "UPDATE OR REPLACE pages SET code = 'y', title = 'blue' WHERE id = '1'",
        "UPDATE OR REPLACE pages SET id = '2' WHERE id = '1'",
        "UPDATE pages SET id = '3' WHERE id = '1'",
        "UPDATE pages SET title = notes, notes = title WHERE notes IS NOT NULL",
        "DELETE FROM pages",
    ],
)
async def test_every_way_to_write_is_searched(tmp_path: Path, run: Run, recursive: str, statement: str) -> None:
    store = SqliteStore(tmp_path / "data.db", synchronous="OFF")
    await store.open(PAGES)
    run(tmp_path / "data.db", ROWS)
    await is_true(store)
    run(tmp_path / "data.db", f"PRAGMA recursive_triggers = {recursive}", statement)
    await is_true(store)
    run(tmp_path / "data.db", "DELETE FROM pages", ROWS)  # also keys whose last record was replaced
    await is_true(store)
    assert run(tmp_path / "data.db", "PRAGMA integrity_check").strip() == "ok"
    await store.close()


_keys, _texts = st.sampled_from(["'1'", "'2'", "'3'"]), st.sampled_from(["'red'", "'green one'", "'blue'", "''"])
_clash = st.sampled_from(["", " OR REPLACE", " OR IGNORE", " OR ABORT", " OR FAIL", " OR ROLLBACK"])


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A statement that another program might run."""
    clash, key, title = draw(_clash), draw(_keys), draw(_texts)
    rest = f"{draw(st.sampled_from(['NULL', title]))}, {draw(st.sampled_from(['NULL', key, draw(_keys)]))}"
    match draw(st.sampled_from(["insert", "insert", "update", "move", "delete"])):
        case "insert":
            return f"INSERT{clash} INTO pages (id, title, notes, code) VALUES ({key}, {title}, {rest})"
        case "update":
            return f"UPDATE{clash} pages SET (title, notes, code) = ({title}, {rest}) WHERE id = {key}"
        case "move":
            return f"UPDATE{clash} pages SET id = {draw(_keys)}, title = {title} WHERE id = {key}"
    return f"DELETE FROM pages WHERE id = {key}"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(statements(), max_size=12), st.booleans())
async def test_whatever_other_programs_write_is_searched(tmp_path: Path, given: list[str], recursive: bool) -> None:
    """And nothing is refused that would not be refused without the search."""
    path, plain = tmp_path / "data.db", tmp_path / "plain.db"
    store, without = SqliteStore(path, synchronous="OFF"), SqliteStore(plain, synchronous="OFF")
    await store.open(PAGES)
    await without.open(catalog(replace(PAGE, search=())))
    run_apsw(path, "DELETE FROM pages")
    run_apsw(plain, "DELETE FROM pages")
    for statement in given:
        script = (f"PRAGMA recursive_triggers = {'ON' if recursive else 'OFF'}", statement)
        assert is_refused(path, *script) == is_refused(plain, *script), statement
    await is_true(store)
    await store.close()
    await without.close()


def is_refused(path: Path, *script: str) -> bool:
    """Whether a constraint refuses what another program writes."""
    try:
        run_apsw(path, *script)
    except apsw.ConstraintError:
        return True
    return False


@pytest.mark.parametrize(
    "statement", ["UPDATE pages SET id = '2' WHERE id = '1'", "INSERT INTO pages (id, title) VALUES ('2', 'blue')"]
)
async def test_a_key_whose_record_was_replaced_can_come_again(tmp_path: Path, statement: str) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(PAGES)
    run_apsw(tmp_path / "data.db", ROWS, "UPDATE OR REPLACE pages SET code = 'y' WHERE id = '1'", statement)
    assert "2" in await state(store, PAGE)
    await is_true(store)
    await store.close()


@pytest.mark.parametrize("when", ["open", "closed"])
async def test_what_was_written_while_the_triggers_were_away_is_searched(tmp_path: Path, when: str) -> None:
    path = tmp_path / "data.db"
    store = SqliteStore(path)
    await store.open(PAGES)
    await store.write(unit(create(PAGE, "1", title="red")))
    if when == "closed":
        await store.close()
    run_apsw(
        path,
        "CREATE TABLE copy AS SELECT * FROM pages",
        'DROP TRIGGER "crudite pages search update"',
        "UPDATE pages SET title = 'green'",
    )
    if when == "closed":
        store = SqliteStore(path)
        await store.open(PAGES)
    await store.write(unit(create(PAGE, "2", title="blue")))
    await is_true(store)
    await store.close()


async def test_an_index_that_somebody_took_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    store = SqliteStore(path)
    await store.open(PAGES)
    await store.write(unit(create(PAGE, "1", title="red")))
    await store.close()
    run_apsw(path, 'DROP TABLE "_search pages words"')
    await store.open(PAGES)
    await is_true(store)
    await store.close()
