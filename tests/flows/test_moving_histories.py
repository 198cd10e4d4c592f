"""The histories of records move along with them, whatever part of them is still in the change log."""

from typing import Any

import pytest

from crudite import Actor, App, Credentials, Record, allow
from crudite.stores import open_end
from crudite.stores.copying import Copied, Difference, NotEmpty, compare, copy, count
from crudite.testing import Client
from tests.services.stores import foreign, kept_store

AUDITED = {"read": allow.everyone, "write": allow.everyone, "history": allow.everyone}


class Post(Record[int], rules=AUDITED):
    title: str


class Page(Record[str], rules=AUDITED):
    text: str


class Plain(Record[int], rules=allow.everyone):
    text: str


class Other(Record[int], rules=AUDITED):
    text: str


async def by_name(credentials: Credentials) -> Actor | None:
    return None if credentials.token is None else Actor(id=credentials.token)


def shop(store: str, *more: type[Record[Any]]) -> App:
    return App(Post, Page, Plain, *more, store=store, auth=by_name)


def silent(_: str, __: int) -> None:
    """Hears of progress."""


async def moved(source: str, target: str, *, repeat: bool = False) -> Copied:
    """Copies, two at a time."""
    catalog = shop(source).definitions.catalog
    await shop(target).store.migrate(catalog)
    return await copy(open_end(source), open_end(target), catalog, repeat=repeat, size=2, progress=silent)


async def differences(source: str, target: str) -> list[Difference]:
    catalog = shop(source).definitions.catalog
    found = compare(open_end(source), open_end(target), catalog, size=2, progress=silent)
    return [one async for one in found]


async def trim(client: Client) -> None:
    for _ in range(3):
        await client.app.store.trim(older_than=-1, larger_than=0)


async def told(client: Client) -> list[Any]:
    """What the histories say that the next functions make."""
    paths = ("/posts/1/history", "/posts/2/history", "/pages/ä%20b/history")
    return [(await client.get(path)).json for path in paths]


async def fill(client: Client) -> None:
    """Changes of which the first are out of the log."""
    ann, bob = client.acting("ann"), client.acting("bob")
    for n in range(2):
        await ann.post("/posts", {"title": f"{n}"}, headers={"x-request-id": f"first {n}"})
    await ann.post("/pages", {"id": "ä b", "text": "a"})
    await ann.post("/plains", {"text": "a"})
    await bob.patch("/posts/1", {"title": "b"})
    await trim(client)
    await bob.patch("/pages/ä%20b", {"text": "b"})
    await ann.patch("/posts/1", {"title": "c"})
    await bob.delete("/posts/2")


@pytest.fixture
def other_store(request: pytest.FixtureRequest, kind_of_store: str, tmp_path: Any) -> str:
    """The URL of an empty store of the other kind."""
    if kind_of_store == "postgresql":
        return f"sqlite:///{tmp_path}/other.db"
    return str(request.getfixturevalue("postgresql_database"))


async def test_histories_move_there_and_back_and_go_on(other_store: str) -> None:
    here = kept_store()
    async with Client(shop(here)) as client:
        await fill(client)
        before = await told(client)
        assert [[past["action"] for past in one] for one in before] == [
            ["updated", "updated", "created"], ["deleted", "created"], ["updated", "created"],
        ]  # fmt: skip
        page = await client.get("/posts/1/history?limit=1")
        cursor = page.headers["link"].partition("cursor=")[2].partition(">")[0].partition("&")[0]
        assert [str(one) for one in await foreign(here, "SELECT count(*) FROM _history")] == ["4"]
    copied = await moved(here, other_store)
    assert copied.counts == {"Post": 1, "Page": 1, "Plain": 1}
    assert copied.changes == {"Post": 5, "Page": 2, "Plain": 0}
    assert await differences(here, other_store) == []
    catalog = shop(here).definitions.catalog
    assert (await count(open_end(other_store), catalog))["the history of Post"] == 5
    async with Client(shop(other_store)) as client:
        assert await told(client) == before
        assert (await client.get(f"/posts/1/history?cursor={cursor}")).json == before[0][1:]
        async with client.live("posts") as view:
            await view.ready()
            await client.acting("eve").patch("/posts/1", {"title": "d"})
            await view.until(lambda rows: rows[0]["title"] == "d")
        for _ in range(2):
            latest, *rest = (await client.get("/posts/1/history")).json
            assert (latest["actor"], latest["changes"]) == ("eve", {"title": ["c", "d"]})
            assert rest == before[0]
            await trim(client)
    assert await differences(here, other_store) == [
        Difference("Post", 1, ("title", "version", "updated_at")),
        Difference("Post", "1", history=True),
    ]
    with pytest.raises(NotEmpty, match=r"1 of Post, 1 of Page, 1 of Plain, 5 of the history of Post, 2 of the history"):
        await moved(other_store, here)
    back = await moved(other_store, here, repeat=True)
    assert back.changes == {"Post": 6, "Page": 2, "Plain": 0}
    assert await differences(here, other_store) == []
    async with Client(shop(here)) as client:
        assert (await client.get("/posts/1/history")).json == [latest, *before[0]]
        await client.acting("ann").patch("/posts/1", {"title": "e"})
        assert len((await client.get("/posts/1/history")).json) == 5


async def test_a_target_of_which_only_histories_are_left_is_not_empty(other_store: str) -> None:
    here = kept_store()
    async with Client(shop(here)) as client:
        await client.post("/posts", {"title": "a"})
        await client.delete("/posts/1")
    async with Client(shop(other_store)) as client:
        await client.post("/posts", {"title": "b"})
    with pytest.raises(NotEmpty, match="records already: 2 of the history of Post"):
        await moved(other_store, here)
    await moved(other_store, here, repeat=True)
    assert await differences(here, other_store) == []


async def test_histories_of_what_is_not_copied_stay_and_are_not_mixed_with_what_is(other_store: str) -> None:
    here = kept_store()
    async with Client(shop(here)) as client:
        await fill(client)
        before = await told(client)
    async with Client(shop(other_store, Other)) as client:
        for n in range(4):
            await client.post("/others", {"text": str(n)})
            if n == 1:
                await trim(client)
        await client.post("/posts", {"title": "z"})
        others = [(await client.get(f"/others/{n}/history")).json for n in range(1, 5)]
    await moved(here, other_store, repeat=True)
    async with Client(shop(other_store, Other)) as client:
        for _ in range(2):
            assert await told(client) == before
            assert [(await client.get(f"/others/{n}/history")).json for n in range(1, 5)] == others
            await trim(client)
