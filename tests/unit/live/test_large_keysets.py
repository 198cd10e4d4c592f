"""A set of keys that is too large is never taken for an empty one."""

from crudite.query.parse import where
from tests.unit.live.world import TASK, TEAM, Client, World, query, task, world


async def subscribed(here: World, live: object) -> Client:
    client = here.client()
    await client.subscribe("s", live)  # type: ignore[arg-type]
    await client.until(lambda: client.subs["s"].ready)
    return client


def teams(here: World, *ids: int, is_open: bool = True) -> None:
    here.store.commit(*((TEAM, id, {"id": id, "name": "x", "open": is_open, "version": 1}) for id in ids))


async def test_a_query_that_rests_on_too_many_keys_is_run_again_and_stays_true() -> None:
    async with world(keys=2) as here:
        teams(here, 1, 2, 3)
        here.store.put(task(1, team=1), task(2, team=3))
        client = await subscribed(here, query(where(team__open=True), fields=("id",)))
        assert client.subs["s"].lane == "rerun"
        assert sorted(client.subs["s"].records) == [1, 2]
        teams(here, 3, is_open=False)
        await client.until(lambda: sorted(client.subs["s"].records) == [1])


async def test_so_is_one_whose_keys_rest_on_too_many_in_turn() -> None:
    async with world(keys=2) as here:
        teams(here, 1)
        here.store.put(*(task(id, team=1, status="done") for id in range(1, 5)))
        client = await subscribed(here, query(where(team__tasks__status="done"), fields=("id",)))
        assert client.subs["s"].lane == "rerun"
        here.store.put(*(task(id, team=1, status="todo") for id in range(1, 5)))
        await client.until(lambda: client.subs["s"].records == {})


async def test_a_set_that_grows_under_a_living_query_is_kept_whole_also_when_it_is_loaded_anew() -> None:
    async with world(keys=2, bulk=3) as here:
        teams(here, 1)
        here.store.put(task(1, team=1), task(2, team=4), task(3, team=9))
        client = await subscribed(here, query(~where(team__open=True), fields=("id",)))
        assert client.subs["s"].lane == "exact"
        assert sorted(client.subs["s"].records) == [2, 3]
        teams(here, 2, 3, 4, 5, 6)  # more than are looked at one by one
        await client.until(lambda: client.subs["s"].ready and sorted(client.subs["s"].records) == [3])
        here.store.commit((TASK, 2, task(2, "secret", team=4)))
        await here.settled()
        assert sorted(client.subs["s"].records) == [3]


async def test_what_a_gate_gives_does_not_come_behind_the_reset_that_makes_it_void() -> None:
    live = query(where(team=1) & where(team__open=True), fields=("id",))
    other = query(where(team=1) & where(team__name="x"), fields=("id",))
    async with world(events=3) as here:
        teams(here, 1, is_open=False)
        here.store.put(*(task(id, team=1) for id in range(1, 9)))
        seeing, shut = await subscribed(here, other), await subscribed(here, live)
        assert seeing.subs["s"].group == shut.subs["s"].group
        open_team = (TEAM, 1, {"id": 1, "name": "x", "open": True, "version": 2})
        here.store.commit(open_team, *((TASK, id, None) for id in range(1, 7)))
        await shut.until(lambda: len([m for m in shut.log if m["kind"] == "ready"]) == 2)
        assert "frame" not in shut.kinds()
        assert sorted(shut.subs["s"].records) == [7, 8]
