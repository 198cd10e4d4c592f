"""What is in the database and in no declaration: left by an earlier version, or made by another program."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from crudite import App, Field, Record, Ref, allow
from crudite.stores import open_end, open_store
from crudite.stores.copying import compare, copy
from crudite.testing import Client
from tests.services.stores import foreign, kept_store

SHOWN = ["id", "title", "version", "created_at", "updated_at"]


def first_version() -> tuple[type[Record[int]], ...]:
    """The resources of an application."""

    class Team(Record[int], rules=allow.everyone):
        name: str = ""

    class Note(Record[int], rules=allow.everyone, search=("title", "body")):
        title: str = ""
        body: str = ""
        points: int = Field(default=1, ge=0)
        hidden: str = Field(default="", visible="secret")
        team: Ref[Team] | None = None

    class Log(Record[int], rules=allow.everyone, search=("line",)):
        line: str = ""
        team: Ref[Team] | None = None

    return Team, Note, Log


def next_version() -> tuple[type[Record[int]], ...]:
    """The same after some has been removed."""

    class Team(Record[int], rules=allow.everyone):
        name: str = ""

    class Note(Record[int], rules=allow.everyone, search=("title",)):
        title: str = ""

    return Team, Note


def one_further() -> tuple[type[Record[int]], ...]:
    """A version in which what was left has come back, under other names."""

    class Team(Record[int], rules=allow.everyone):
        name: str = ""

    class Card(Record[int], rules=allow.everyone, renamed_from="Note"):
        title: str = ""
        text: str = Field(default="", renamed_from="body")

    return Team, Card


async def told(client: Client, path: str) -> list[dict[str, Any]]:
    """Records as they are shown, without what the store adds."""
    answer = await client.get(path)
    assert answer.status == 200, answer
    return [{name: value for name, value in one.items() if name not in SHOWN[2:]} for one in answer.json]


async def test_what_is_left_is_shown_nowhere_and_in_nobodys_way() -> None:
    store = kept_store()
    async with Client(App(*first_version(), store=store)) as client:
        await client.post("/teams", [{"id": 1}, {"id": 2}])
        await client.post("/notes", {"id": 1, "title": "apple", "body": "pear", "team": 1, "points": 5})
        await client.post("/logs", {"id": 1, "line": "plum", "team": 1})
    async with Client(App(*next_version(), store=store)) as client, client.live("notes") as view:
        await view.ready()
        assert list((await client.post("/notes", {"id": 2, "title": "fig"})).json) == SHOWN
        assert list((await client.patch("/notes/1", {"title": "lime"})).json) == SHOWN
        assert (await client.post("/notes", {"title": "x", "points": 3})).status == 422
        rows = await view.until(lambda rows: len(rows) == 2 and rows[0]["title"] == "lime")
        assert all(sorted(row) == sorted(SHOWN) for row in rows)
        assert await told(client, "/notes?search=lime") == [{"id": 1, "title": "lime"}]
        assert (await client.get("/logs")).status == 404
        assert (await client.delete("/teams/2")).status == 204
    async with Client(App(*first_version(), store=store)) as client:
        (one, two) = await told(client, "/notes")
        assert (one["body"], one["points"], one["title"], one["team"]) == ("pear", 5, "lime", 1)
        assert (two["body"], two["points"], two["team"]) == ("", 1, None)
        assert [found["id"] for found in await told(client, "/notes?search=pear")] == [1]
        assert [found["id"] for found in await told(client, "/logs?search=plum")] == [1]


async def test_what_is_left_can_be_taken_up_again_under_another_name_of_the_resource_and_the_field() -> None:
    store = kept_store()
    async with Client(App(*first_version(), store=store)) as client:
        await client.post("/notes", {"id": 1, "title": "apple", "body": "pear"})
    async with Client(App(*next_version(), store=store)) as client:
        await client.post("/notes", {"id": 2, "title": "fig"})
    async with Client(App(*one_further(), store=store)) as client:
        assert await told(client, "/cards") == [
            {"id": 1, "title": "apple", "text": "pear"},
            {"id": 2, "title": "fig", "text": ""},
        ]
    app = App(*one_further(), store=store)
    descriptions = [step.description for step in await app.store.plan(app.definitions.catalog)]
    assert all(descriptions)
    assert any("remove points, hidden, team" in one for one in descriptions)
    await app.store.migrate(app.definitions.catalog, lose=True)
    assert await app.store.plan(app.definitions.catalog) == []
    async with Client(app) as client:
        assert [card["text"] for card in await told(client, "/cards")] == ["pear", ""]


async def test_columns_and_indexes_of_other_programs_stay_also_when_the_table_changes(kind_of_store: str) -> None:
    store = kept_store()
    async with Client(App(*next_version(), store=store)) as client:
        await client.post("/notes", {"id": 1, "title": "apple"})
    count = "SELECT count(*) FROM sqlite_schema WHERE name = 'theirs'"
    if kind_of_store == "postgresql":
        count = "SELECT count(*) FROM pg_indexes WHERE indexname = 'theirs' AND schemaname = current_schema()"
    await foreign(
        store, "ALTER TABLE notes ADD COLUMN extra TEXT DEFAULT 'e, (f)'", "CREATE INDEX theirs ON notes (extra)", count
    )
    for version in (next_version(), first_version(), next_version()):
        async with Client(App(*version, store=store)) as client:
            answer = await client.post("/notes", {"title": "fig"})
            assert (answer.status, "extra" in answer.json) == (201, False)
        assert [str(one) for one in await foreign(store, count)] == ["1"]
    assert await foreign(store, "SELECT extra FROM notes ORDER BY id LIMIT 1") == ["e, (f)"]


@pytest.mark.only_on("postgresql", reason="the copies go from a file to a server and back")
async def test_a_copy_takes_what_is_declared_and_leaves_the_rest(tmp_path: Path) -> None:
    file, server = f"sqlite:///{tmp_path / 'a.db'}", kept_store()
    catalog = App(*next_version(), store=file).definitions.catalog
    for store in (file, server):
        async with Client(App(*first_version(), store=store)) as client:
            await client.post("/notes", {"id": 1, "title": store[:6], "body": "pear"})
            await client.post("/logs", {"id": 1, "line": "plum"})
        await open_store(store).migrate(catalog)
    for source, target in ((file, server), (server, file)):
        ends = open_end(source), open_end(target)
        await copy(*ends, catalog, repeat=True, size=10, progress=lambda _, __: None)
        assert [one async for one in compare(*ends, catalog, size=10, progress=lambda _, __: None)] == []
        async with Client(App(*first_version(), store=target)) as client:
            assert [note["body"] for note in await told(client, "/notes")] == [""]
            assert [log["line"] for log in await told(client, "/logs")] == ["plum"]
        await open_store(target).migrate(catalog)


async def test_what_is_left_and_secret_is_in_no_image_of_the_log() -> None:
    store = kept_store()
    async with Client(App(*first_version(), store=store)):
        await foreign(store, "INSERT INTO notes (title, hidden) VALUES ('a', 'sesame')", "SELECT 1")
    async with Client(App(*next_version(), store=store)) as client:
        await client.patch("/notes/1", {"title": "b"})
        images = await foreign(store, "SELECT after FROM _changes WHERE tbl = 'notes'")
    assert [msgspec.json.decode(image)["title"] for image in images] == ["a", "b"]
    assert all("points" in image and "sesame" not in image for image in images)
