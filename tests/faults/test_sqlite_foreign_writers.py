"""Other programs write the file with plain SQLite, and the change log misses nothing."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crudite.changes import Undecodable
from crudite.schema import FieldSpec, FieldType, Reference
from crudite.stores.sqlite import SqliteStore
from crudite.testing.samples import AUTHOR, BOOK, LIBRARY, catalog, create, key_of, schema, text, unit, update
from crudite.testing.store_base import next_batch
from tests.faults.sqlite_files import (
    ForeignFailureError,
    log_must_replay,
    log_since,
    needs_sqlite3,
    run_apsw,
    run_sqlite3,
    state,
    states,
)

pytestmark = pytest.mark.anyio

THING = schema(
    "Thing",
    [
        text("a", unique=True, nullable=True),
        text("b", nullable=True),
        text("c", nullable=True),
        text("q", default="", quiet=True),
        text("s", default="", secret=True),
        FieldSpec("up", FieldType("text"), nullable=True, reference=Reference("Thing", on_delete="clear")),
    ],
    key="text",
    unique=(("b", "c"),),
)
PART = schema(
    "Part",
    [
        FieldSpec("of", FieldType("text"), reference=Reference("Thing", on_delete="cascade")),
        text("n", unique=True),
    ],
    key="integer",
)
PLAIN = schema("Plain", [text("a", nullable=True)], key="text")
WORKSHOP = catalog(THING, PART, PLAIN)
WRITERS = [pytest.param(run_sqlite3, marks=needs_sqlite3, id="sqlite3"), pytest.param(run_apsw, id="apsw")]
Run = Callable[..., str]

ROWS = """INSERT INTO things (id, a, b, c)
VALUES ('1', 'a1', 'b1', 'c1'), ('2', 'a2', 'b2', 'c2'), ('3', 'a3', 'b3', 'c3')"""
MATRIX = {
    "INSERT OR REPLACE INTO things (id, a, b) VALUES ('1', 'x', 'y')": {"1": "updated"},
    "INSERT OR REPLACE INTO things (id, a) VALUES ('9', 'a1')": {"1": "deleted", "9": "created"},
    "INSERT OR REPLACE INTO things (id, a, b, c) VALUES ('1', 'a2', 'b3', 'c3')": {
        "1": "updated", "2": "deleted", "3": "deleted",
    },
    "REPLACE INTO things (id, b, c) VALUES ('9', 'b2', 'c2')": {"2": "deleted", "9": "created"},
    "INSERT OR IGNORE INTO things (id, a) VALUES ('9', 'a1')": {},
    "INSERT OR IGNORE INTO things (id, a) VALUES ('9', 'a9'), ('1', 'z')": {"9": "created"},
    "INSERT INTO things (id, a) VALUES ('1', 'z') ON CONFLICT DO NOTHING": {},
    "INSERT INTO things (id, a) VALUES ('1', 'z') ON CONFLICT (id) DO UPDATE SET a = excluded.a": {
        "1": "updated",
    },
    "INSERT INTO things (id, a) VALUES ('9', 'a1') ON CONFLICT (a) DO UPDATE SET id = excluded.id": {
        "1": "deleted", "9": "created",
    },
    "UPDATE OR REPLACE things SET a = 'a2' WHERE id = '1'": {"1": "updated", "2": "deleted"},
    "UPDATE OR REPLACE things SET id = '2' WHERE id = '1'": {"1": "deleted", "2": "updated"},
    "UPDATE OR REPLACE things SET id = '9', a = 'a2', b = 'b3', c = 'c3' WHERE id = '1'": {
        "1": "deleted", "2": "deleted", "3": "deleted", "9": "created",
    },
    "UPDATE OR IGNORE things SET a = 'a2' WHERE id = '1'": {},
    "UPDATE OR IGNORE things SET a = 'a2'": {},
    "UPDATE things SET id = '9' WHERE id = '1'": {"1": "deleted", "9": "created"},
    "UPDATE things SET b = b": {},
    "UPDATE things SET b = 'b'": {"1": "updated", "2": "updated", "3": "updated"},
    "DELETE FROM things": {"1": "deleted", "2": "deleted", "3": "deleted"},
}  # fmt: skip


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("run", WRITERS)
async def test_every_way_to_replace_ignore_or_upsert_is_in_the_log(tmp_path: Path, run: Run, recursive: str) -> None:
    store = SqliteStore(tmp_path / "data.db", synchronous="OFF")
    await store.open(WORKSHOP)
    for statement, expected in MATRIX.items():
        run(tmp_path / "data.db", "DELETE FROM things", ROWS)
        start, before = (await store.read([])).position, await states(store, WORKSHOP)
        run(tmp_path / "data.db", f"PRAGMA recursive_triggers = {recursive}", statement)
        changes = await log_must_replay(store, WORKSHOP, start, before)
        net = {change.key: change.kind for change in changes if recursive == "OFF"}
        assert (statement, net) == (statement, expected if recursive == "OFF" else {})
    await store.close()


_VALUE = st.sampled_from(["NULL", "'1'", "'2'", "'3'", "'4'"])
_KEY = st.sampled_from(["'1'", "'2'", "'3'", "'4'"])
_CLASH = st.sampled_from(["", " OR REPLACE", " OR IGNORE", " OR ABORT", " OR FAIL", " OR ROLLBACK"])


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A statement that another program might run."""
    kind = draw(st.sampled_from(["insert", "insert", "upsert", "update", "update", "delete", "part", "move", "plain"]))
    clash, key = draw(_CLASH), draw(_KEY)
    values = {name: draw(_VALUE) for name in draw(st.sets(st.sampled_from(["a", "b", "c", "up"]), min_size=1))}
    if draw(st.booleans()):
        values[draw(st.sampled_from(["q", "s"]))] = draw(_KEY)
    sets = ", ".join(f"{name} = {value}" for name, value in values.items())
    names, given_values = ", ".join(["id", *values]), ", ".join([key, *values.values()])
    match kind:
        case "insert":
            return f"INSERT{clash} INTO things ({names}) VALUES ({given_values})"
        case "upsert":
            target = draw(st.sampled_from(["(id)", "(a)", "(b, c)"]))
            sets += draw(st.sampled_from(["", ", id = excluded.id"]))
            row = f"INSERT INTO things ({names}) VALUES ({given_values})"
            return f"{row} ON CONFLICT {target} DO UPDATE SET {sets}"
        case "update":
            where = draw(st.sampled_from([f" WHERE id = {key}", "", f" WHERE b = {key}"]))
            return f"UPDATE{clash} things SET {sets}{where}"
        case "move":
            return f"UPDATE{clash} things SET id = {draw(_KEY)}, {sets} WHERE id = {key}"
        case "plain":
            start = draw(st.sampled_from(["INSERT", "INSERT", "UPDATE"])) + clash
            if start.startswith("INSERT"):
                return f"{start} INTO plains (id, a) VALUES ({key}, {draw(_VALUE)})"
            return f"{start} plains SET id = {draw(_KEY)}, a = {draw(_VALUE)} WHERE id = {key}"
        case "part":
            return f"INSERT{clash} INTO parts (of, n) VALUES ({key}, {draw(_KEY)})"
    return f"DELETE FROM things WHERE id = {key} OR b = {draw(_KEY)}"


@given(
    st.lists(statements(), min_size=1, max_size=12),
    st.sampled_from(["ON", "OFF"]),
    st.sampled_from(["ON", "OFF"]),
)
def test_the_log_of_random_foreign_statements_replays_to_the_tables(
    script: list[str], recursive: str, foreign_keys: str
) -> None:
    async def check(place: Path) -> None:
        store = SqliteStore(place / "data.db", synchronous="OFF")
        await store.open(WORKSHOP)
        start, before = (await store.read([])).position, await states(store, WORKSHOP)
        connection = apsw.Connection(store.path)
        connection.execute(f"PRAGMA recursive_triggers = {recursive}")
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys}")
        for statement in script:
            try:
                connection.execute(statement)
            except apsw.ConstraintError:
                continue
        connection.close()
        await log_must_replay(store, WORKSHOP, start, before)
        await store.close()

    with TemporaryDirectory() as place:
        anyio.run(check, Path(place))


@pytest.mark.parametrize("run", WRITERS)
async def test_a_foreign_insert_may_name_only_its_own_columns(tmp_path: Path, run: Run) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    run(tmp_path / "data.db", "INSERT INTO authors (name) VALUES ('plain')")
    ((key, record),) = (await state(store, AUTHOR)).items()
    assert record["name"] == "plain"
    assert len(key) == 36
    assert key[14] == "7"
    assert record["version"] > 1_700_000_000_000_000
    assert record["created_at"] == record["updated_at"]
    assert AUTHOR.fields["created_at"].type.check(record["created_at"]) == record["created_at"]
    await store.close()


@pytest.mark.parametrize("run", WRITERS)
async def test_a_foreign_update_moves_version_and_time_once_and_is_one_change(tmp_path: Path, run: Run) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    made = (await store.write(unit(create(AUTHOR, name="a", note="x")))).stored[0]
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    run(tmp_path / "data.db", "UPDATE authors SET name = 'b'")
    (change,) = await log_must_replay(store, LIBRARY, start, before)
    assert change.after is not None
    assert (change.after["name"], change.after["version"]) == ("b", made.version + 1)
    assert change.after["updated_at"] > change.after["created_at"]
    await store.close()


@pytest.mark.parametrize("run", WRITERS)
async def test_a_foreign_update_of_quiet_or_secret_fields_tells_nothing_of_them(tmp_path: Path, run: Run) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    made = (await store.write(unit(create(AUTHOR, name="a")))).stored[0]
    start = (await store.read([])).position
    run(tmp_path / "data.db", "UPDATE authors SET note = 'quiet'")
    (change,) = await log_since(store, start)
    assert change.after is not None
    assert (change.after["note"], change.after["version"]) == ("quiet", made.version)
    run(tmp_path / "data.db", "UPDATE authors SET hash = 'secret'")
    _, change = await log_since(store, start)
    assert "secret" not in f"{change.before_json}{change.after_json}"
    await store.close()


@pytest.mark.parametrize("run", WRITERS)
async def test_a_follower_hears_of_another_program(tmp_path: Path, run: Run) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    batches = store.follow((await store.read([])).position)
    run(tmp_path / "data.db", "INSERT INTO authors (name) VALUES ('a'), ('b')")
    batch = await next_batch(batches)
    assert [change.after["name"] for change in batch.changes if change.after is not None] == ["a", "b"]
    await batches.aclose()
    await store.close()


@pytest.mark.parametrize("run", WRITERS)
async def test_triggers_of_others_that_change_the_same_row_again_are_in_the_log(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "data.db"
    store = SqliteStore(path)
    await store.open(LIBRARY)
    for event in ("INSERT", "UPDATE OF name"):
        body = "UPDATE authors SET email = lower(NEW.name), note = note || '.' WHERE id = NEW.id"
        run(path, f'CREATE TRIGGER "slug {event}" AFTER {event} ON authors BEGIN {body}; END')
    key = key_of(await store.write(unit(create(AUTHOR, name="First"))))
    start, before = (await store.read([])).position, await states(store, LIBRARY)
    assert before["Author"][key]["email"] == "first"
    await store.write(unit(update(AUTHOR, key, name="Second")))
    run(path, "UPDATE authors SET name = 'Third'", "INSERT INTO authors (name) VALUES ('Other')")
    await log_must_replay(store, LIBRARY, start, before)
    emails = {author["email"] for author in (await states(store, LIBRARY))["Author"].values()}
    assert emails == {"third", "other"}
    await store.close()


@pytest.mark.parametrize(
    "column_and_value",
    [
        ("choice", "'blue'"), ("date", "'2026-2-3'"), ("date", "'2026-02-30'"), ("date", "'0000-01-01'"),
        ("time", "'14:40'"), ("time", "'24:00:00.000000'"), ("datetime", "'2026-11-20 14:40:00'"),
        ("datetime", "'2026-02-30T00:00:00.000000Z'"), ("float", "9e999"), ("float", "-9e999"),
        ("boolean", "2"), ("integer", "9007199254740992"), ("integer", "'x'"), ("json", "'{'"),
        ("text", "char(97, 0)"),
        ("text", "x'00'"), ("uuid", "'no'"), ("uuid", "'0000000G-0000-0000-0000-000000000000'"),
        ("decimal", "1000000000000000000"),
    ],
)  # fmt: skip
@needs_sqlite3
async def test_plain_sqlite_cannot_store_what_could_not_be_read(tmp_path: Path, column_and_value: Any) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    column, value = column_and_value
    with pytest.raises(ForeignFailureError, match=r"constraint failed|cannot store"):
        run_sqlite3(tmp_path / "data.db", f"INSERT INTO samples ({column}) VALUES ({value})")
    await store.close()


@pytest.mark.parametrize("run", WRITERS)
async def test_text_that_is_not_utf8_is_read_with_replacements_and_only_its_image_cannot_be_parsed(
    tmp_path: Path, run: Run
) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    key = key_of(await store.write(unit(create(AUTHOR, name="a"))))
    batches = store.follow((await store.read([])).position)
    run(
        tmp_path / "data.db",
        "BEGIN",
        "UPDATE authors SET name = CAST(x'61ff62' AS TEXT)",
        "INSERT INTO books (title) VALUES ('ä')",
        "COMMIT",
    )
    assert (await state(store, AUTHOR))[key]["name"] == "a\N{REPLACEMENT CHARACTER}b"
    batch = await next_batch(batches)
    assert batch.reset is None
    author, book = batch.changes
    assert (author.schema, author.key, author.kind, author.before["name"]) == (AUTHOR, key, "updated", "a")
    with pytest.raises(Undecodable):
        _ = author.after
    assert (book.schema, book.after["title"]) == (BOOK, "ä")
    await store.write(unit(create(AUTHOR, name="next")))
    batch = await next_batch(batches)
    assert [change.kind for change in batch.changes] == ["created"]
    await batches.aclose()
    await store.close()


async def test_dangling_references_of_other_programs_are_listed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data.db")
    await store.open(LIBRARY)
    nobody = "00000000-0000-7000-8000-000000000000"
    run_apsw(tmp_path / "data.db", f"INSERT INTO books (title, author) VALUES ('t', '{nobody}')")
    (dangling,) = await store.dangling()
    assert (dangling.resource, dangling.field, dangling.target, dangling.target_key) == (
        "Book", "author", "Author", nobody,
    )  # fmt: skip
    await store.close()
