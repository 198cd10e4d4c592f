"""An application of which one version keeps histories and another does not, both served at the same time."""

import logging

import pytest

from crudite import App, Record, allow
from crudite.testing import Client
from tests.services.stores import kept_store


def version(store: str, *, audited: bool) -> App:
    rules = {"read": allow.everyone, "write": allow.everyone, **({"history": allow.everyone} if audited else {})}

    class Post(Record[int], rules=rules):
        title: str

    return App(Post, store=store)


async def test_a_server_of_the_version_before_that_starts_later_takes_no_history_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = kept_store()
    async with Client(version(store, audited=False)) as former:
        await former.post("/posts", {"title": "0"})
        async with Client(version(store, audited=True)) as client:
            caplog.clear()
            async with Client(version(store, audited=False)) as later:  # started anew, as after a crash
                for n, one in enumerate((former, client, later, client), 1):
                    assert (await one.patch("/posts/1", {"title": str(n)})).status == 200
                    for _ in range(3):
                        await one.app.store.trim(older_than=-1, larger_than=0)
            said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
            assert "posts: keep its history no more: only `crudite db migrate --lose` does that" in said
            found = (await client.get("/posts/1/history")).json
            assert [past["changes"]["title"][1] for past in found] == ["4", "3", "2", "1", "0"]
            assert (await former.get("/posts/1/history")).status == 404
