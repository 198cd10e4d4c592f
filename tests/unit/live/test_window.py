"""A window shows the first records of a sorted query, and is kept by keys: what is read is little, and shared."""

from crudite.changes import Reset
from crudite.errors import StoreError
from crudite.query.parse import where
from tests.unit.live.world import Client, World, query, task, world

TOP = query(fields=("id", "points"), sort=["-points"], limit=3)


async def subscribed(here: World, live: object = TOP, name: str = "s") -> Client:
    client = here.client()
    await client.subscribe(name, live)  # type: ignore[arg-type]
    await client.until(lambda: client.subs[name].ready)
    return client


def keys(client: Client) -> list[object]:
    return sorted(client.subs["s"].records)


def filled(here: World, count: int) -> None:
    """Tasks 1 to count; the higher the key, the fewer the points."""
    here.store.put(*(task(id, points=1000 - id) for id in range(1, count + 1)))


async def test_a_record_at_the_top_pushes_the_last_one_out() -> None:
    async with world() as here:
        filled(here, 5)
        client = await subscribed(here)
        assert keys(client) == [1, 2, 3]
        here.store.fetched.clear()
        here.store.put(task(9, points=2000))
        await here.settled()
        await client.until(lambda: keys(client) == [1, 2, 9])
        frame = next(message for message in client.log if message["kind"] == "frame")
        assert frame["added"] == [{"id": 9, "points": 2000}]
        assert frame["removed"] == [3]
        assert here.store.fetched == []  # the image of the change is all that is needed


async def test_a_record_that_goes_lets_the_next_one_up_which_alone_is_read() -> None:
    async with world() as here:
        filled(here, 30)
        client = await subscribed(here)
        here.store.fetched.clear()
        here.store.remove(2)
        await client.until(lambda: keys(client) == [1, 3, 4])
        [plan] = here.store.fetched
        assert plan.keys == (4,)


async def test_what_happens_behind_the_window_is_not_told() -> None:
    async with world() as here:
        filled(here, 30)
        client = await subscribed(here)
        told = len(client.log)
        here.store.put(task(20, points=1), task(40, points=5))
        here.store.remove(10, 25)
        await here.settled()
        assert client.log[told:] == []


async def test_the_order_within_the_window_changes_without_a_read() -> None:
    async with world() as here:
        filled(here, 5)
        client = await subscribed(here)
        here.store.fetched.clear()
        here.store.put(task(3, points=5000))
        await client.until(lambda: client.subs["s"].records[3]["points"] == 5000)
        frame = next(message for message in client.log if message["kind"] == "frame")
        assert frame["changed"] == [[3, {"points": 5000}, []]]
        assert "added" not in frame
        assert "removed" not in frame
        assert here.store.fetched == []


async def test_fifty_removals_from_a_window_of_fifty_need_one_refill() -> None:
    async with world() as here:
        filled(here, 400)
        client = await subscribed(here, query(fields=("id", "points"), sort=["-points"], limit=50))
        for id in range(1, 201):
            here.store.remove(id)
            await here.settled()
        await client.until(lambda: keys(client) == list(range(201, 251)))
        assert here.engine.metrics.refills == 3


async def test_all_who_see_a_window_share_its_reads() -> None:
    async with world() as here:
        filled(here, 30)
        clients = [await subscribed(here) for _ in range(20)]
        here.store.fetched.clear()
        here.store.remove(1)
        for client in clients:
            await client.until(lambda client=client: keys(client) == [2, 3, 4])
        assert len(here.store.fetched) == 1


async def test_windows_and_whole_sets_of_a_connection_move_with_one_commit() -> None:
    async with world() as here:
        filled(here, 6)
        client = await subscribed(here)
        await client.subscribe("all", query(where(points__gt=0), fields=("id",)))
        await client.until(lambda: client.subs["all"].ready)
        told = len(client.log)
        here.store.remove(1)
        await client.until(lambda: 1 not in client.subs["all"].records)
        assert [message["kind"] for message in client.log[told:]] == ["frame", "frame", "commit"]


async def test_a_window_that_cannot_be_read_begins_again_and_the_others_go_on() -> None:
    async with world() as here:
        filled(here, 40)
        client = await subscribed(here)
        other = await subscribed(here, query(fields=("id",), sort=["points"], limit=2))
        here.store.failure = StoreError("too long")
        here.store.fetch_fails = lambda plans: any(plan.start is not None for plan in plans)
        here.store.remove(*range(1, 20))
        await client.until(lambda: keys(client) == [20, 21, 22])
        assert [message["reason"] for message in client.log if message["kind"] == "reset"] == ["gap"]
        here.store.remove(40)
        await other.until(lambda: keys(other) == [38, 39])
        assert "reset" not in other.kinds()


async def test_a_resumed_window_is_told_the_difference_without_a_read_for_each_client() -> None:
    async with world() as here:
        filled(here, 30)
        before = await subscribed(here)
        held = before.subs["s"]
        before.connection.close()
        staying = await subscribed(here)  # keeps the group
        here.store.remove(1)
        here.store.put(task(2, points=1), task(3, points=999))
        await here.settled()
        assert keys(staying) == [3, 4, 5]
        here.store.fetched.clear()
        clients = [here.client() for _ in range(10)]
        for client in clients:
            client.subs["s"].records = {key: dict(record) for key, record in held.records.items()}
            resumed = await client.subscribe("s", TOP, cursor=held.cursor, key=held.key)
            assert resumed.resumed
            assert keys(client) == [3, 4, 5]
            frame = next(message for message in client.log if message["kind"] == "frame")
            assert sorted(record["id"] for record in frame["added"]) == [4, 5]
            assert frame["changed"] == [[3, {"points": 999}, []]]
            assert sorted(frame["removed"]) == [1, 2]
        assert all(plan.keys is not None for plan in here.store.fetched)


async def test_a_window_that_has_changed_too_much_begins_again() -> None:
    async with world(tail=0) as here:
        filled(here, 40)
        before = await subscribed(here)
        held = before.subs["s"]
        before.connection.close()
        await here.settled()
        here.store.remove(*range(1, 4))
        here.store.put(*(task(id, points=5000 + id) for id in range(50, 70)))
        await here.settled()
        client = here.client()
        await client.subscribe("s", TOP, cursor=held.cursor, key=held.key)
        await client.until(lambda: client.subs["s"].ready)
        assert [message.get("reason") for message in client.log if message["kind"] == "reset"] == ["window"]
        assert keys(client) == [67, 68, 69]


async def test_a_lost_log_loads_the_window_anew() -> None:
    async with world() as here:
        filled(here, 5)
        client = await subscribed(here)
        here.store.tables["task"][9] = task(9, points=9000)
        here.store.pending_reset = Reset("epoch")
        here.store.wake()
        await client.until(lambda: keys(client) == [1, 2, 9])
        here.store.remove(9)
        await client.until(lambda: keys(client) == [1, 2, 3])


async def test_bounds_of_a_window_are_kept_too() -> None:
    live = query(fields=("id", "points"), sort=["points"], limit=2, start=(2, 0), until=(8, 9))
    async with world() as here:
        here.store.put(*(task(id, points=id) for id in range(1, 10)))
        client = await subscribed(here, live)
        assert keys(client) == [2, 3]
        here.store.put(task(2, points=1))
        await client.until(lambda: keys(client) == [3, 4])
        here.store.remove(3, 4, 5, 6, 7)
        await client.until(lambda: keys(client) == [8])
        here.store.put(task(9, points=8))
        await client.until(lambda: keys(client) == [8, 9])
