"""An image of the log that cannot be parsed resets the live queries of its resource, and nobody else's."""

from typing import Any

import pytest

from crudite.changes import Change, Undecodable
from tests.unit.live.world import TASK, TEAM, Client, World, query, task, where, world

TODO = query(where(status="todo"), fields=("id", "title"))
COUNT = query(where(status="todo"), counts=True)
OPEN = query(where(open=True), fields=("id", "name"), schema=TEAM)
TEAMS = query(fields=("id", "name"), limit=1, schema=TEAM)


def break_last(here: World) -> None:
    """Makes the last image what another program's bytes become: not even text."""
    change = here.store.changes_made[-1]
    change.after_json = (change.after_json or "").replace("bad", "\udcff")


def kinds_of(client: Client, sub: str) -> list[str]:
    return [message["kind"] for message in client.log if message.get("sub") == sub]


def team(id: int, name: str) -> tuple[Any, int, Any]:
    return TEAM, id, {"id": id, "name": name, "open": True, "version": 1}


@pytest.mark.parametrize("image", ["{", '{"title": "\udcff"}', "[" * 100_000])
def test_an_image_that_is_no_json_raises_when_it_is_looked_at(image: str) -> None:
    change = Change(TASK, 1, "updated", '{"id": 1}', image, "1")
    assert change.before == {"id": 1}
    with pytest.raises(Undecodable):
        _ = change.after


async def test_it_resets_the_queries_of_its_resource_and_no_other() -> None:
    async with world() as here:
        here.store.commit(team(1, "one"))
        client = here.client()
        for name, live in {"todo": TODO, "count": COUNT, "open": OPEN, "teams": TEAMS}.items():
            await client.subscribe(name, live)
            await client.until(lambda name=name: client.subs[name].ready)  # type: ignore[misc]
        before = len(client.log)
        here.store.commit((TASK, 1, task(1, "bad", status="todo")), team(1, "first"))
        broken = here.store.changes_made[-2]
        broken.after_json = (broken.after_json or "").replace("bad", "\udcff")
        await client.until(
            lambda: 1 in client.subs["todo"].records and client.subs["open"].records[1]["name"] == "first"
        )
        await here.settled()
        resets = [message for message in client.log[before:] if message["kind"] == "reset"]
        assert [(message["sub"], message["reason"]) for message in resets] == [("todo", "undecodable")]
        assert client.subs["open"].records == {1: {"id": 1, "name": "first"}}
        assert client.subs["teams"].records == {1: {"id": 1, "name": "first"}}
        assert client.subs["count"].value == 1


async def test_whoever_resumes_over_it_is_reset() -> None:
    async with world() as here:
        client = here.client()
        await client.subscribe("s", TODO)
        await client.until(lambda: client.subs["s"].ready)
        cursor, key = client.subs["s"].cursor, client.subs["s"].key
        client.connection.close()
        here.store.put(task(1, "bad", status="todo"))
        break_last(here)
        await here.settled()
        client = here.client()
        assert not (await client.subscribe("s", TODO, cursor=cursor, key=key)).resumed
        await client.until(lambda: client.subs["s"].ready)
        assert kinds_of(client, "s") == ["subscribed", "reset", "snapshot", "ready"]
        assert client.log[1]["reason"] == "undecodable"


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_joins_while_it_is_committed_gets_the_set(seed: int) -> None:
    async with world(seed) as here:
        here.store.most_turns = 20

        def write_badly() -> None:
            here.store.after_read = lambda: None
            here.store.put(task(1, "bad", status="todo"))
            break_last(here)

        here.store.after_read = write_badly
        client = here.client()
        await client.subscribe("s", TODO)
        await client.until(lambda: "problem" in client.kinds() or 1 in client.subs["s"].records)
        assert client.subs["s"].records == {1: {"id": 1, "title": "bad"}}
