"""A stream holds no connection: a thousand subscribers and all requests share two."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from crudite import App, Record, allow
from crudite.stores.postgresql import PostgresqlStore
from crudite.testing import Client
from crudite.testing.views import View

CROWD = 1_000
PATIENCE = 60.0


class Note(Record[int], rules=allow.everyone):
    title: str = ""
    place: int = 0


async def test_a_thousand_subscribers_live_on_two_connections(postgresql_database: str) -> None:
    store = PostgresqlStore(f"{postgresql_database}?connections=2")
    async with Client(App(Note, store=store), timeout=PATIENCE) as client, AsyncExitStack() as stack:
        await client.post("/notes", {"title": "a", "place": 1})
        views = [View(PATIENCE) for _ in range(CROWD)]
        sockets = [await stack.enter_async_context(client.websocket()) for _ in range(0, CROWD, 100)]
        for number, view in enumerate(views):
            asked = {"resource": "notes", "query": {"where": {"place": {"gte": number % 500 - 500}}}}
            await sockets[number // 100].subscribe(f"s{number}", asked, view)
        for view in views:
            await view.ready()
        assert (store.load.used, store.load.waiting) == (0, 0)
        assert store.load.open <= 2
        other = await asyncpg.connect(postgresql_database)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crudite' AND datname = $1"
        name = postgresql_database.rpartition("/")[2]
        assert await other.fetchval(sessions, name) <= 3  # and one that follows the log
        answers = await asyncio.gather(*[client.get("/notes/1") for _ in range(50)])
        assert {answer.json["title"] for answer in answers} == {"a"}
        await client.post("/notes", {"title": "b", "place": 2})
        async with asyncio.timeout(PATIENCE):
            for view in views:
                await view.until(lambda rows: [row["title"] for row in rows] == ["a", "b"])
        assert (store.load.used, store.load.open <= 2) == (0, True)
        await other.close()
