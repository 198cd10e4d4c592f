"""An application moves from one database to another one: all of it or nothing, and it is the same afterwards."""

import asyncio
import re
import signal
import sqlite3
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from crudite.app import App
from crudite.changes import Reset
from crudite.cli.commands import cli
from crudite.cli.target import find, load
from crudite.errors import StoreError
from crudite.stores import open_store
from crudite.stores.copying import CopyEnd
from crudite.stores.postgresql.copying import PostgresqlEnd
from crudite.stores.sqlite.copying import SqliteEnd

SHOP = """
from datetime import date, datetime, time
from decimal import Decimal
from typing import Literal

from crudite import App, BigInt, Field, Record, Ref, Resource, allow

class Customer(Resource, rules=allow.everyone):
    name: str = Field(unique=True)
    password: str = Field(visible="secret")
    kind: Literal["person", "firm"] = "person"
    favourite: Ref["Item"] | None = None       # a circle: items have a customer too

class Item(Record[int], rules=allow.everyone, search=("title",)):
    title: str
    inside: Ref["Item"] | None = None          # and one that points at its own kind
    owner: Ref[Customer] | None = None
    price: Decimal = Field(default=Decimal("0.50"), decimal_places=2)
    weight: float | None = None
    large: BigInt | None = None
    day: date | None = None
    at: time | None = None
    seen: datetime | None = None
    tags: list[str] = []
    more: dict[str, float] = {}

class Visit(Resource, rules=allow.everyone, live=False):
    page: str

app = App(Customer, Item, Visit)
"""

Crudite = Callable[..., Result]
ENDS: tuple[Callable[[str], CopyEnd], ...] = (SqliteEnd, PostgresqlEnd)


@pytest.fixture
def crudite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crudite]:
    """Runs the command line in a folder with a shop."""
    monkeypatch.chdir(tmp_path)
    for name in ("CRUDITE_APP", "CRUDITE_STORE", "CRUDITE_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "app.py").write_text(SHOP)
    yield lambda *args: CliRunner().invoke(cli, list(args))
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def fresh(postgresql: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = f"moved_{uuid4().hex}"
    asyncio.run(_execute(postgresql, f"CREATE DATABASE {name}"))
    yield postgresql.removesuffix("/postgres") + f"/{name}"
    asyncio.run(_execute(postgresql, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for text in statements:
        await connection.execute(text)
    await connection.close()


def on(store: str) -> App:
    """The shop with a store."""
    return load(find("app.py"), store=store)


async def _fill(app: App, size: int = 3) -> None:
    made = {cls.name: cls.cls for cls in app.definitions.by_name.values()}
    async with app:
        ada = await app.records.create(made["Customer"], name="Ada", password="sesame", kind="firm")
        await app.records.create(made["Customer"], name="Zoë ß", password="", kind="person")
        first = await app.records.create(made["Item"], title="a box of boxes")
        await app.records.update(made["Item"], first.id, inside=first.id)
        for n in range(size):
            await app.records.create(made["Item"], title=f"box {n}", inside=first.id, owner=ada.id, weight=n / 3)
        await app.records.create(
            made["Item"], title="full", owner=ada.id, price="-12.34", weight=1e308, large=str(2**62),
            day="0044-03-15", at="23:59:59.999999", seen="9999-12-31T23:59:59.999999Z", tags=["ä", 'x"'],
            more={"a": 1.0, "b": 0.1, "c": -2.5e-300, "d": 1e308},
        )  # fmt: skip
        gone = await app.records.create(made["Item"], title="gone")
        await app.records.delete(made["Item"], gone.id)
        await app.records.update(made["Customer"], ada.id, favourite=first.id)
        await app.records.create(made["Visit"], page="/")


def filled(store: str, size: int = 3) -> None:
    """Puts records into a store: of every type, with circles among them, and the last number given to one that is
    gone."""
    asyncio.run(_fill(on(store), size))


def make_item(store: str) -> Any:
    """Creates one more item; its key."""

    async def make() -> Any:
        app = on(store)
        async with app:
            return (await app.records.create(app.definitions.by_name["Item"].cls, title="new")).id

    return asyncio.run(make())


def rows(file: str, text: str) -> list[Any]:
    """What a SELECT finds in a SQLite file."""
    connection = sqlite3.connect(file)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


def fetch(url: str, text: str) -> list[Any]:
    """What a SELECT finds in a PostgreSQL database."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(text)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def change(url: str, *statements: str) -> None:
    """Another program writes into a PostgreSQL database."""
    asyncio.run(_execute(url, *statements))


def test_an_application_moves_there_and_back_and_is_the_same(crudite: Crudite, fresh: str) -> None:
    filled("app.db")
    moved = crudite("db", "copy", "app.db", fresh)
    assert moved.exit_code == 0, moved.output
    assert re.search(r"^8 records copied from .*app\.db to postgresql://127", moved.output)
    assert "2 of Customer, 5 of Item, 1 of Visit" in moved.output
    compared = crudite("db", "copy", "app.db", fresh, "--check", "--batch", "2")
    assert compared.exit_code == 0, compared.output
    assert "hold the same: 8 records" in compared.output
    assert fetch(fresh, "SELECT name, password, kind FROM customers ORDER BY name") == [
        ("Ada", "sesame", "firm"), ("Zoë ß", "", "person")
    ]  # fmt: skip
    back = crudite("db", "copy", fresh, "back.db", "--batch", "2")
    assert back.exit_code == 0, back.output
    for table in ("customers", "items", "visits"):
        text = f"SELECT * FROM {table} ORDER BY 1"
        before, after = rows("app.db", text), rows("back.db", text)
        if table == "items":  # the members of an object come back in another order, and 1e308 with all its digits
            assert [row[:11] for row in after] == [row[:11] for row in before]
        else:
            assert after == before
    assert crudite("db", "copy", "app.db", "back.db", "--check").exit_code == 0


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
def test_numbers_go_on_after_the_last_one_that_was_ever_given(crudite: Crudite, fresh: str, there: str) -> None:
    filled("app.db")
    target = fresh if there == "postgresql" else "other.db"
    assert rows("app.db", "SELECT max(id) FROM items") == [(5,)]
    assert crudite("db", "copy", "app.db", target).exit_code == 0
    assert crudite("db", "copy", target, "third.db").exit_code == 0
    assert make_item(target) == 7
    assert make_item("third.db") == 7


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
def test_a_target_with_records_is_refused_and_replaced_when_told(crudite: Crudite, fresh: str, there: str) -> None:
    target = fresh if there == "postgresql" else "other.db"
    filled("app.db")
    filled(target, size=5)  # other keys, the same unique names
    refused = crudite("db", "copy", "app.db", target)
    assert refused.exit_code == 1
    assert "holds records already: 2 of Customer, 7 of Item, 1 of Visit" in refused.stderr
    assert "--repeat" in refused.stderr
    assert crudite("db", "copy", "app.db", target, "--check").exit_code == 1
    for _ in range(2):
        assert crudite("db", "copy", "app.db", target, "--repeat").exit_code == 0
        assert crudite("db", "copy", "app.db", target, "--check").exit_code == 0


def test_a_check_says_what_differs_and_shows_no_secret(crudite: Crudite, fresh: str) -> None:
    filled("app.db")
    crudite("db", "copy", "app.db", fresh)
    change(
        fresh,
        "UPDATE customers SET password = 'other' WHERE name = 'Ada'",
        "UPDATE items SET more = '{\"a\": true}', tags = '[]' WHERE id = 5",
        "DELETE FROM items WHERE id = 3",
        "INSERT INTO visits (id, page) VALUES ('00000000-0000-7000-8000-000000000001', '/x')",
        "ALTER TABLE items ALTER id RESTART WITH 6",
    )
    compared = crudite("db", "copy", "app.db", fresh, "--check")
    assert compared.exit_code == 1
    said = compared.stdout.splitlines()
    assert len(said) == 5
    assert re.fullmatch(r"Customer [-0-9a-f]{36} differs in password, version, updated_at\.", said[0])
    assert re.fullmatch(r"Item 3 is only in .*app\.db\.", said[1])
    assert said[2] == "Item 5 differs in tags, more, version, updated_at."
    assert re.fullmatch(r"Item: postgresql://.* would give numbers again that .*app\.db has given\.", said[3])
    assert re.fullmatch(r"Visit 00000000-0000-7000-8000-000000000001 is only in postgresql://\S+\.", said[4])
    assert "sesame" not in compared.output
    assert "other" not in compared.output


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
def test_a_new_log_begins_and_live_queries_go_on_there(crudite: Crudite, fresh: str, there: str) -> None:
    target = fresh if there == "postgresql" else "sqlite:///other.db"
    filled("app.db")
    filled(target)
    catalog = on(target).definitions.catalog

    async def position() -> bytes:
        store = open_store(target)
        await store.open(catalog)
        token = (await store.read([])).position.token
        await store.close()
        return token

    async def located(token: bytes) -> Any:
        store = open_store(target)
        await store.open(catalog)
        found = await store.locate(token)
        start = (await store.read([])).position
        assert list(await store.changes(start, start, 10)) == []  # type: ignore[arg-type]
        await store.close()
        return found

    held = asyncio.run(position())
    assert crudite("db", "copy", "app.db", target, "--repeat").exit_code == 0
    assert asyncio.run(located(held)) == Reset("epoch")
    assert crudite("db", "plan", "--store", target).stdout.strip().endswith("declares.")


def test_cursors_that_clients_hold_are_understood_there(crudite: Crudite, fresh: str) -> None:
    filled("app.db")
    crudite("db", "copy", "app.db", fresh)
    assert fetch(fresh, "SELECT value FROM _secret") == rows("app.db", "SELECT value FROM _secret")


def test_words_are_found_there(crudite: Crudite, fresh: str) -> None:
    filled(fresh)
    crudite("db", "copy", fresh, "app.db")

    async def search() -> list[str]:
        app = on("app.db")
        async with app:
            cls: Any = app.definitions.by_name["Item"].cls
            return [item.title for item in await app.records.list(cls.where().search("boxes"))]

    assert asyncio.run(search()) == ["a box of boxes"]


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
def test_what_is_written_meanwhile_is_not_half_in_the_copy_and_is_told(
    crudite: Crudite, fresh: str, source: str
) -> None:
    start, target = ("app.db", fresh) if source == "sqlite" else (fresh, "app.db")
    filled(start, size=300)
    total = 305
    stopped, written = threading.Event(), threading.Event()

    async def write() -> None:
        app = on(start)
        async with app:
            while not stopped.is_set():
                await app.records.create(app.definitions.by_name["Item"].cls, title="new")
                written.set()

    writing = threading.Thread(target=lambda: asyncio.run(write()))
    writing.start()
    written.wait(30)
    try:
        moved = crudite("db", "copy", start, target, "--batch", "1")
    finally:
        stopped.set()
        writing.join()
    assert moved.exit_code == 0, moved.output
    assert "has been written to meanwhile" in moved.stdout
    found = re.match(r"([\d,]+) records copied", moved.stdout)
    assert found is not None
    copied = int(found[1].replace(",", ""))
    assert copied > total
    count = "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM items) + (SELECT count(*) FROM visits)"
    assert (fetch(fresh, count) if source == "sqlite" else rows("app.db", count)) == [(copied,)]
    assert crudite("db", "copy", start, target, "--check").exit_code == 1
    again = crudite("db", "copy", start, target, "--repeat")
    assert "has been written" not in again.stdout
    assert crudite("db", "copy", start, target, "--check").exit_code == 0


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
def test_a_copy_that_cannot_end_leaves_the_target_as_it_was(crudite: Crudite, fresh: str, there: str) -> None:
    target = fresh if there == "postgresql" else "other.db"
    filled("app.db")
    crudite("db", "copy", "app.db", target)
    connection = sqlite3.connect("app.db")  # without foreign keys, as other programs are
    connection.execute("UPDATE items SET inside = 99 WHERE id = 5")
    connection.execute("UPDATE customers SET name = 'Bob' WHERE name = 'Ada'")
    connection.commit()
    connection.close()
    refused = crudite("db", "copy", "app.db", target, "--repeat")
    assert refused.exit_code == 1
    assert "references would point at nothing" in refused.stderr
    assert "Traceback" not in refused.output
    names = "SELECT name FROM customers ORDER BY name"
    assert (fetch(fresh, names) if there == "postgresql" else rows(target, names)) == [("Ada",), ("Zoë ß",)]
    assert "declares." in crudite("db", "plan", "--store", target).stdout
    assert make_item(target) == 7


@pytest.mark.parametrize("end", ENDS)
def test_an_address_that_is_none_is_refused(end: Callable[[str], CopyEnd]) -> None:
    with pytest.raises(StoreError, match="expected"):
        end("sqlite://host/x" if end is SqliteEnd else "postgres")


@pytest.mark.parametrize("there", ["postgresql", "sqlite"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_that_is_ended_in_the_middle_leaves_the_target_as_it_was(
    crudite: Crudite, fresh: str, there: str, number: signal.Signals
) -> None:
    start, target = ("app.db", fresh) if there == "postgresql" else (fresh, "other.db")
    filled(start)
    crudite("db", "copy", start, target)
    make_item(target)
    # somebody has what the copy comes to last: a row of the target's, or a table of the source's
    held = "SELECT FROM _secret FOR UPDATE" if there == "postgresql" else "LOCK TABLE visits"

    async def end_while_it_waits() -> str:
        holder, watching = await asyncpg.connect(fresh), await asyncpg.connect(fresh)
        await holder.execute(f"BEGIN; {held}")
        command = (str(Path(sys.executable).with_name("crudite")), "db", "copy", start, target, "--repeat")
        process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
        async with asyncio.timeout(60):
            while not await watching.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert process.returncode is None
            process.send_signal(number)
            _, said = await process.communicate()
        await holder.execute("ROLLBACK")
        await holder.close()
        await watching.close()
        return said.decode()

    said = asyncio.run(end_while_it_waits())
    if number == signal.SIGINT:
        assert "stopped; what " in said
        assert "Traceback" not in said
    count = "SELECT count(*) FROM items"
    assert (fetch(target, count) if there == "postgresql" else rows(target, count)) == [(6,)]
    assert make_item(target) == 8
    assert crudite("db", "copy", start, target, "--repeat").exit_code == 0
    assert crudite("db", "copy", start, target, "--check").exit_code == 0


def test_what_cannot_be_copied_is_said_in_a_line(crudite: Crudite, fresh: str) -> None:
    filled("app.db")
    change(fresh, "CREATE TABLE items (x int)")
    for arguments, words in (
        (("none.db", fresh), "there is no database"),
        (("app.db", "app.db"), "one and the same database"),
        (("app.db", "mysql://x"), "expected a URL that begins with"),
        (("app.db", fresh), "another schema"),
        (("app.db", "none.db", "--check"), "there is no database"),
        ((fresh, "other.db"), "has not the schema"),
        (("app.db", fresh, "--check", "--repeat"), "do not go together"),
        (("app.db", "sqlite:///:memory:"), "in memory"),
    ):
        said = crudite("db", "copy", *arguments)
        assert said.exit_code == 1, arguments
        assert words in said.stderr
        assert "Traceback" not in said.output
    assert not Path("none.db").exists()
    assert fetch(fresh, "SELECT * FROM items") == []


def test_the_guide_leads_from_one_file_to_postgresql(crudite: Crudite, fresh: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "howto" / "move-to-postgresql.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^crudite (db .*)$", guide, re.MULTILINE)
    assert len(code) == 1
    assert len(commands) == 2
    Path("app.py").write_text(code[0])

    async def write() -> None:
        app = on("app.db")
        async with app:
            await app.records.create(app.definitions.by_name["Note"].cls, title="to be moved")

    asyncio.run(write())
    for command in commands:
        done = crudite(*command.replace("postgresql://shop@localhost/shop", fresh).split())
        assert done.exit_code == 0, done.output
    assert fetch(fresh, "SELECT title, done FROM notes") == [("to be moved", False)]


def test_histories_are_counted_and_checked(crudite: Crudite, fresh: str, tmp_path: Path) -> None:
    rules = 'rules={"read": allow.everyone, "write": allow.everyone, "history": allow.everyone}'
    (tmp_path / "app.py").write_text(SHOP.replace("rules=allow.everyone", rules, 1))
    filled("app.db")
    moved = crudite("db", "copy", "app.db", fresh)
    assert "Their histories are along: changes, 3 of Customer." in moved.output
    compared = crudite("db", "copy", "app.db", fresh, "--check")
    assert "hold the same: 8 records, and 3 changes in their histories." in compared.output
    change(fresh, "UPDATE _history SET actor = 'eve' WHERE seq = (SELECT max(seq) FROM _history)")
    compared = crudite("db", "copy", "app.db", fresh, "--check")
    assert compared.exit_code == 1
    assert re.fullmatch(r"Customer [-0-9a-f]{36} differs in its history\.", compared.stdout.strip())
