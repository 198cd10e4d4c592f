"""Why a live query begins again when what is lost is a set of keys that it rests on."""

import pytest

from crudite.messages import LiveQuery
from crudite.query.parse import where
from tests.unit.live.world import TEAM, Client, World, query, task, world

OPEN = where(team__open=True)
RESTING = query(OPEN, fields=("id",))
GATED = query(where(team=1) & OPEN, fields=("id",))
LIVE = pytest.mark.parametrize("live", [RESTING, GATED], ids=["resting", "gated"])


def teams(here: World, *ids: int) -> None:
    here.store.commit(*((TEAM, id, {"id": id, "name": "bad", "open": True, "version": 1}) for id in ids))


async def begun_again(client: Client) -> list[str]:
    """The reasons of all resets, once there was one and the set has come again."""
    await client.until(lambda: [message["kind"] for message in client.log].count("ready") == 2)
    return [message["reason"] for message in client.log if message["kind"] == "reset"]


async def subscribed(here: World, live: LiveQuery) -> Client:
    client = here.client()
    await client.subscribe("s", live)
    await client.until(lambda: client.subs["s"].ready)
    assert client.subs["s"].lane == "exact"
    return client


@LIVE
async def test_where_more_has_changed_than_is_looked_at_it_is_too_many(live: LiveQuery) -> None:
    async with world(bulk=3) as here:
        teams(here, 1)
        here.store.put(task(1, team=1))
        client = await subscribed(here, live)
        teams(here, 2, 3, 4, 5)
        assert await begun_again(client) == ["too_many"]


@LIVE
async def test_where_a_record_of_the_set_cannot_be_read_it_is_undecodable(live: LiveQuery) -> None:
    async with world() as here:
        teams(here, 1)
        here.store.put(task(1, team=1))
        client = await subscribed(here, live)
        teams(here, 2)
        here.store.changes_made[-1].after_json = "{"
        assert await begun_again(client) == ["undecodable"]
