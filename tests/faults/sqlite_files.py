"""What the SQLite fault tests share: other programs at the file, and a log that must replay to the tables."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from crudite.changes import Change, Position, Reset
from crudite.query.plan import Plan, everything
from crudite.schema import Catalog, ResourceSchema
from crudite.stores.sqlite import SqliteStore
from tests.services import MISSING

SQLITE3 = shutil.which("sqlite3")
needs_sqlite3 = pytest.mark.skipif(SQLITE3 is None, reason=f"{MISSING}sqlite3")


class ForeignFailureError(Exception):
    """Another program's statement failed."""


def run_sqlite3(path: Path, *statements: str) -> str:
    """Runs statements in the sqlite3 command line and returns what it says; fails when it fails."""
    assert SQLITE3 is not None
    script = "".join(f"{statement};\n" for statement in statements)
    done = subprocess.run([SQLITE3, "-bail", str(path)], input=script, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise ForeignFailureError(done.stderr)
    return done.stdout


def run_apsw(path: Path, *statements: str) -> str:
    """Runs statements on a connection of their own; constraint errors are what they are."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(5000)
        rows = [row for statement in statements for row in connection.execute(statement).fetchall()]
        return "\n".join("|".join(map(str, row)) for row in rows)
    finally:
        connection.close()


async def state(store: SqliteStore, schema: ResourceSchema) -> dict[Any, Any]:
    """All records of a resource by key, as the log's images have them."""
    page = await store.page(Plan(selection=everything(schema)))
    return {key: msgspec.json.decode(json) for key, json in zip(page.keys, page.records, strict=True)}


async def states(store: SqliteStore, catalog: Catalog) -> dict[str, dict[Any, Any]]:
    """All records of all resources that have a log."""
    return {s.name: await state(store, s) for s in catalog.values() if s.logged}


def replay(before: dict[str, dict[Any, Any]], changes: Sequence[Change]) -> dict[str, dict[Any, Any]]:
    """The records after the changes; every before-image must be the record as it was then."""
    after = {name: dict(records) for name, records in before.items()}
    for change in changes:
        records = after[change.schema.name]
        assert records.get(change.key) == change.before, change
        if change.after is None:
            del records[change.key]
        else:
            records[change.key] = change.after
    return after


async def log_since(store: SqliteStore, start: Position) -> Sequence[Change]:
    """The changes from a position to now."""
    changes = await store.changes(start, (await store.read([])).position, 100_000)
    assert not isinstance(changes, Reset)
    return changes


async def log_must_replay(store: SqliteStore, catalog: Catalog, start: Position, before: Any) -> Sequence[Change]:
    """Asserts that the log since a position leads from the records then to the records now; returns it."""
    changes = await log_since(store, start)
    after = await states(store, catalog)
    assert replay(before, changes) == after, changes
    return changes
