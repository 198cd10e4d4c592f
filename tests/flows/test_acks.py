"""What a connection has written is acknowledged once it has been told what came of it, and not before."""

import asyncio

from crudite import App, Record, allow
from crudite.stores import open_store
from crudite.testing import Client, Faulty, View
from tests.services.stores import SECONDS, fresh_store


class Item(Record[int], rules=allow.everyone):
    rank: int = 0


async def test_after_a_reset_nothing_is_acknowledged_before_it_is_shown() -> None:
    store = Faulty(open_store(fresh_store()))
    async with Client(App(Item, store=store)) as client, client.websocket() as socket:
        first, view = await client.app.records.create(Item), View(5.0)
        await socket.subscribe("s", {"resource": "items", "query": {"sort": ["-rank"], "limit": 2}}, view)
        await view.ready()
        with store.gate("before fetch") as fetch:
            with store.gate("before batch") as batch:
                await client.app.records.update(Item, first.id, rank=1)
                await batch.reached()
                store.fail("before batch")  # so that its snapshot is let go, which may keep the log from being cut
            with store.gate("before batch") as batch:
                await batch.reached()
                await client.app.records.update(Item, first.id, rank=2)
                async with asyncio.timeout(SECONDS):
                    while not await store.trim(older_than=0, larger_than=0):  # it waits for no lock for long
                        pass
            await fetch.reached()  # the log does not reach back to where the engine stands: the window is read anew
            await socket.call("items.create", {"data": {"rank": 7}})
        await view.until(lambda rows: [row["rank"] for row in rows] == [7, 2])
        await client.settled()
        await socket.call("ping")

    told = [one["method"] for one in socket.notifications]
    assert "reset" in told
    assert told.index("acks") > max(at for at, method in enumerate(told) if method in ("frame", "snapshot"))
