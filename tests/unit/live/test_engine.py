"""The engine's promises one by one, on a store in memory that does what the test wants."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite.changes import Reset
from crudite.errors import Conflict, StoreError, StoreLocked, TooManyRequests, Unavailable
from crudite.live import Engine, LiveLimits
from crudite.messages import LiveQuery
from crudite.testing import Clock
from tests.unit.live.world import (
    CATALOG,
    SECRET,
    TASK,
    TEAM,
    Client,
    MemoryStore,
    Probe,
    World,
    query,
    task,
    where,
    world,
)

TODO = query(where(status="todo"), fields=("id", "title"))
TOP = query(fields=("id", "points"), sort=["-points"], limit=2)


async def subscribed(here: World, name: str, live: LiveQuery, client: Client | None = None) -> Client:
    client = client or here.client()
    await client.subscribe(name, live)
    await client.until(lambda: client.subs[name].ready)
    return client


def of(client: Client, kind: str) -> list[dict[str, Any]]:
    return [message for message in client.log if message["kind"] == kind]


async def test_a_subscription_gets_its_answer_the_snapshot_ready_and_then_frames() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo"))
        client = await subscribed(here, "s", TODO)
        here.store.put(task(2, "b", status="todo"))
        await client.until(lambda: "commit" in client.kinds())
        assert client.kinds() == ["subscribed", "snapshot", "ready", "frame", "commit"]
        assert client.subs["s"].records == {1: {"id": 1, "title": "a"}, 2: {"id": 2, "title": "b"}}


async def test_an_empty_set_has_one_empty_snapshot() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        assert client.log[1] == {"kind": "snapshot", "sub": "s", "records": []}


async def test_a_transaction_over_two_queries_comes_with_one_commit() -> None:
    async with world() as here:
        client = await subscribed(here, "todo", TODO)
        await subscribed(here, "top", TOP, client)
        here.store.put(task(1, "a", status="todo", points=1), task(2, "b", status="todo", points=2))
        await client.until(lambda: "commit" in client.kinds())
        assert client.kinds()[-3:] == ["frame", "frame", "commit"]
        assert client.subs["top"].records == {1: {"id": 1, "points": 1}, 2: {"id": 2, "points": 2}}


async def test_a_change_of_hidden_fields_sends_nothing_at_all() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo", points=1))
        client = await subscribed(here, "s", TODO)
        top = await subscribed(here, "s", TOP)
        here.store.put(task(1, "a", status="todo", points=1, team=5, version=2))
        await here.settled()
        assert client.kinds() == ["subscribed", "snapshot", "ready"]
        assert top.kinds() == ["subscribed", "snapshot", "ready"]


async def test_a_thousand_subscribers_of_one_query_share_one_group_and_one_encoding() -> None:
    class Counting(Probe):
        encoded = 0

        def frame(self, *facts: Any) -> list[bytes]:
            Counting.encoded += 1
            return super().frame(*facts)

    async with world() as here:
        clients = [here.client(Counting()) for _ in range(1000)]
        for client in clients:
            await client.subscribe("s", TODO)
        for client in clients:
            await client.until(lambda client=client: client.subs["s"].ready)
        assert here.store.reads == 1
        assert here.engine.metrics.live_groups == 1
        here.store.put(task(1, "a", status="todo"))
        for client in clients:
            await client.until(lambda client=client: client.subs["s"].records == {1: {"id": 1, "title": "a"}})
        assert Counting.encoded == 1
        assert (here.engine.metrics.frames, here.engine.metrics.deliveries) == (1, 1000)


async def test_two_subscriptions_of_one_connection_in_one_group_get_each_frame_once() -> None:
    async with world() as here:
        client = await subscribed(here, "one", TODO)
        await subscribed(here, "two", TODO, client)
        here.store.put(task(1, "a", status="todo"))
        await client.until(lambda: "commit" in client.kinds())
        assert len(of(client, "frame")) == 1
        assert client.subs["one"].records == client.subs["two"].records == {1: {"id": 1, "title": "a"}}
        client.connection.unsubscribe("one")
        here.store.put(task(1, "b", status="todo"))
        await client.until(lambda: len(of(client, "commit")) == 2)
        assert client.subs["two"].records == {1: {"id": 1, "title": "b"}}


async def test_frames_of_a_format_that_needs_the_name_are_made_for_each_name() -> None:
    class Named(Probe):
        share = "named"

        def address(self, name: str) -> str:  # type: ignore[override]
            return name

        def frame(self, frame: Any, to: Any, before: str, after: str | None) -> list[bytes]:
            return super().frame_alone(frame, to, before, after or "not the last")

    async with world() as here:
        client = await subscribed(here, "one", TODO, here.client(Named()))
        await subscribed(here, "two", TODO, client)
        here.store.put(task(1, "a", status="todo"))
        await client.until(lambda: len(of(client, "commit")) == 2)
        assert {message["sub"] for message in of(client, "frame")} == {"one", "two"}
        assert [message["cursor"] == "not the last" for message in of(client, "commit")] == [True, False]


async def test_an_unsubscribed_query_costs_nothing_more() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        await subscribed(here, "top", TOP, client)
        client.connection.unsubscribe("s")
        client.connection.unsubscribe("top")
        client.connection.unsubscribe("unknown")
        here.store.put(task(1, "a", status="todo"))
        await here.settled()
        assert "frame" not in client.kinds()
        metrics = here.engine.metrics
        assert (metrics.live_groups, metrics.live_subs, metrics.catch_all_groups) == (0, 0, 0)


async def test_a_closed_connection_gives_everything_back() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        client.connection.close()
        metrics = here.engine.metrics
        assert (metrics.live_connections, metrics.live_groups, metrics.live_subs) == (0, 0, 0)
        assert client.connection.ended == "closed"
        with pytest.raises(Unavailable):
            await client.subscribe("t", TODO)


async def test_a_name_is_taken_once_and_free_again_after_the_end() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        with pytest.raises(Conflict):
            await client.subscribe("s", TOP)
        client.connection.unsubscribe("s")
        await client.subscribe("s", TOP)


async def test_subscriptions_and_catch_all_groups_are_limited() -> None:
    async with world(subscriptions=2, catch_all=1) as here:
        client = here.client()
        await client.subscribe("one", query())
        with pytest.raises(TooManyRequests, match="equality"):
            await client.subscribe("two", query(where(title__contains="a")))
        await client.subscribe("two", query())
        with pytest.raises(TooManyRequests, match="at most 2"):
            await client.subscribe("three", TODO)


async def test_a_set_larger_than_allowed_ends_with_a_problem() -> None:
    async with world(records=2) as here:
        here.store.put(*(task(id, status="todo") for id in range(3)))
        client = here.client()
        await client.subscribe("exact", TODO)
        await client.subscribe("rerun", query(where(team=None), fields=("id",), sort=["points"]))
        await client.until(lambda: len(of(client, "problem")) == 2)
        assert {message["code"] for message in of(client, "problem")} == {"too_large"}
        assert here.engine.metrics.live_groups == 0


async def test_a_number_is_live() -> None:
    async with world() as here:
        client = await subscribed(here, "n", query(where(status="todo"), counts=True))
        assert client.subs["n"].value == 0
        here.store.put(task(1, status="todo"), task(2, status="done"))
        await client.until(lambda: client.subs["n"].value == 1)


async def test_a_path_through_another_record_is_live_from_both_ends() -> None:
    async with world() as here:
        here.store.commit((TEAM, 1, {"id": 1, "name": "x", "open": False, "version": 1}))
        here.store.put(task(7, "a", team=1))
        client = await subscribed(here, "s", query(where(team__open=True), fields=("id",)))
        assert client.subs["s"].records == {}
        here.store.commit((TEAM, 1, {"id": 1, "name": "x", "open": True, "version": 2}))
        await client.until(lambda: client.subs["s"].records == {7: {"id": 7}})
        here.store.put(task(7, "a", team=None))
        await client.until(lambda: client.subs["s"].records == {})


async def test_subscribers_that_sort_otherwise_share_a_group_and_keep_their_own_sort() -> None:
    async with world() as here:
        client = here.client()
        up = await client.subscribe("up", query(fields=("id", "points"), sort=["points"], identity="all"))
        down = await client.subscribe("down", query(fields=("id", "points"), sort=["-points"], identity="all"))
        assert up.subscription.group == down.subscription.group
        assert [key.descending for key in up.subscription.query.plan.sort] == [False, False]
        assert [key.descending for key in down.subscription.query.plan.sort] == [True, True]


async def test_the_order_comes_along_when_only_another_record_tells_it() -> None:
    async with world() as here:
        teams = [{"id": id, "name": name, "open": True, "version": 1} for id, name in ((1, "x"), (2, "y"))]
        here.store.commit(*((TEAM, team["id"], team) for team in teams))
        here.store.put(task(7, team=1), task(8, team=2))
        client = await subscribed(here, "s", query(fields=("id",), sort=["team.name"]))
        assert list(client.subs["s"].records) == [7, 8]
        here.store.commit((TEAM, 1, {**teams[0], "name": "z"}))
        await client.until(lambda: client.subs["s"].order == [8, 7])


async def test_a_rerun_happens_once_for_many_changes_and_not_for_foreign_ones() -> None:
    async with world() as here:
        await subscribed(here, "s", query(where(status="todo"), counts=True))
        assert here.engine.metrics.reruns == 1
        here.store.put(task(1, status="done"))
        here.store.commit((TEAM, 1, {"id": 1, "name": "x", "open": True, "version": 1}))
        await here.settled()
        assert here.engine.metrics.reruns == 1
        here.store.put(*(task(id, status="todo") for id in range(20)))
        await here.settled()
        assert here.engine.metrics.reruns == 2


async def test_acks_come_after_the_frames_that_cover_the_call() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        client.connection.expect(here.store.put(task(1, "a", status="todo")), 41)
        client.connection.expect(here.store.put(task(2, "b", status="done")), "forty-two")
        await client.until(lambda: "acks" in client.kinds())
        assert client.kinds()[-3:] == ["frame", "commit", "acks"]
        assert client.log[-1] == {"kind": "acks", "ids": [41, "forty-two"]}
        client.connection.expect("1", 43)
        await client.until(lambda: client.log[-1] == {"kind": "acks", "ids": [43]})


async def test_too_many_awaited_calls_close_the_connection() -> None:
    async with world(expected=2) as here:
        client = await subscribed(here, "s", TODO)
        for call in range(3):
            client.connection.expect("999", call)
        assert client.connection.ended == "slow"
        assert here.engine.metrics.slow_closes == 1


async def test_a_reader_that_is_too_slow_is_closed_and_the_others_go_on() -> None:
    async with world(outbox=2_000) as here:
        reading = await subscribed(here, "s", TODO)
        stuck = Client(here.engine.connect(Probe()))
        await stuck.subscribe("s", TODO)
        for number in range(30):
            here.store.put(task(number, "x" * 50, status="todo"))
            stuck.connection.send(b"an answer of some length that nobody takes, as no other")
            await here.settled()
        await reading.until(lambda: len(reading.subs["s"].records) == 30)
        assert stuck.connection.ended == "slow"
        assert reading.connection.ended is None
        assert (here.engine.metrics.slow_closes, here.engine.metrics.live_connections) == (1, 1)
        assert [messages async for messages in stuck.connection.messages()] == []


async def test_a_snapshot_larger_than_the_outbox_still_arrives() -> None:
    async with world(outbox=1_000) as here:
        here.store.put(*(task(id, "x" * 1000, status="todo") for id in range(200)))
        client = await subscribed(here, "s", TODO)
        assert len(client.subs["s"].records) == 200
        assert len(of(client, "snapshot")) == 4
        assert client.connection.ended is None


async def test_a_flood_becomes_a_reset_and_a_new_snapshot() -> None:
    async with world(events=5) as here:
        client = await subscribed(here, "s", TODO)
        top = await subscribed(here, "s", query(limit=50))
        here.store.put(*(task(id, f"{id}", status="todo") for id in range(6)))
        await client.until(lambda: len(client.subs["s"].records) == 6)
        await top.until(lambda: len(top.subs["s"].records) == 6)
        assert [message["reason"] for message in of(client, "reset") + of(top, "reset")] == ["too_many"] * 2
        assert of(client, "frame") == of(top, "frame") == []
        assert here.engine.metrics.resets == {"too_many": 2}
        here.store.put(task(1, "again", status="todo"))
        await client.until(lambda: client.subs["s"].records[1] == {"id": 1, "title": "again"})


async def test_a_reset_comes_before_the_commit_that_leaves_its_group_out() -> None:
    async with world(events=5) as here:
        client = await subscribed(here, "flooded", TODO)
        await subscribed(here, "calm", query(where(id=1), fields=("id",)), client)
        here.store.put(*(task(id, f"{id}", status="todo") for id in range(6)))
        await client.until(lambda: client.subs["flooded"].ready and len(of(client, "ready")) == 3)
        kinds = client.kinds()
        assert kinds.index("reset") < kinds.index("commit")


async def test_a_log_that_cannot_be_followed_resets_every_subscription() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo", points=1))
        client = await subscribed(here, "s", TODO)
        await subscribed(here, "top", TOP, client)
        client.connection.expect("999", 1)
        here.store.tables["task"][2] = task(2, "unlogged", status="todo", points=9)
        here.store.pending_reset = Reset("schema")
        here.store.wake()
        await client.until(lambda: len(of(client, "ready")) == 4)
        assert [message["reason"] for message in of(client, "reset")] == ["schema", "schema"]
        assert sorted(client.subs["s"].records) == sorted(client.subs["top"].records) == [1, 2]
        await client.until(lambda: of(client, "acks") == [{"kind": "acks", "ids": [1]}])
        here.store.put(task(3, "b", status="todo", points=10))
        await client.until(lambda: 3 in client.subs["s"].records and 3 in client.subs["top"].records)


async def test_a_reset_while_a_snapshot_is_read_starts_the_snapshot_again() -> None:
    async with world() as here:

        def get_ahead() -> None:
            here.store.before_read = lambda: None
            here.store.is_silent = True
            here.store.put(task(1, "a", status="todo"))

        def lose_the_log() -> None:
            here.store.after_read = lambda: None
            here.store.pending_reset = Reset("epoch")
            here.store.put(task(2, "b", status="todo"))

        here.store.before_read, here.store.after_read = get_ahead, lose_the_log
        client = await subscribed(here, "s", TODO)
        assert here.store.reads == 2
        assert client.kinds() == ["subscribed", "snapshot", "ready"]
        assert sorted(client.subs["s"].records) == [1, 2]


async def test_a_snapshot_younger_than_the_batch_under_way_waits_for_the_next_one() -> None:
    async with world() as here:
        late = here.client()

        async def meanwhile() -> None:
            here.store.during_batch = here.store.turns
            here.store.put(task(2, "b", status="todo"))
            await late.subscribe("s", TODO)
            async with asyncio.timeout(5):
                while not here.engine._exact._set_up:  # noqa: ASYNC110 (turns, not time)
                    await asyncio.sleep(0)

        here.store.during_batch = meanwhile
        here.store.put(task(1, "a", status="todo"))
        await late.until(lambda: late.subs["s"].ready)
        assert sorted(late.subs["s"].records) == [1, 2]
        assert here.engine._cursors.open(late.subs["s"].cursor or "") == here.store.position.token == b"1:2"


async def test_a_store_that_fails_for_a_while_loses_nobody_and_nothing() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        here.store.failure, here.store.fail_follow = StoreLocked("busy"), 3
        await subscribed(here, "top", TOP, client)
        here.store.put(task(1, "a", status="todo", points=1))
        await client.until(lambda: 1 in client.subs["s"].records and 1 in client.subs["top"].records)


async def test_a_snapshot_that_cannot_be_read_is_tried_again() -> None:
    async with world() as here:
        here.store.failure, here.store.fail_read = StoreLocked("busy"), 2
        client = await subscribed(here, "s", TODO)
        assert here.engine.metrics.failures == 2
        assert client.subs["s"].records == {}


async def test_a_snapshot_that_fails_for_another_reason_ends_the_subscription() -> None:
    async with world() as here:
        here.store.failure, here.store.fail_read = RuntimeError("a fault of ours"), 1
        client = here.client()
        await client.subscribe("s", TODO)
        await client.until(lambda: "problem" in client.kinds())
        assert client.log[-1]["code"] == "unexpected"
        assert here.engine.metrics.live_subs == 0


async def test_a_live_query_that_cannot_be_run_is_ended_and_the_others_go_on() -> None:
    async with world() as here:
        client = await subscribed(here, "bad", query(sort=["team.name"], limit=7))
        await subscribed(here, "top", query(fields=("id",), sort=["-team.name"], limit=2), client)
        here.store.failure = StoreError("this one takes too long")
        here.store.fetch_fails = lambda plans: any(plan.limit == 7 for plan in plans)
        here.store.put(task(1, "a", points=1))
        await client.until(lambda: 1 in client.subs["top"].records and "problem" in client.kinds())
        assert of(client, "problem") == [{"kind": "problem", "sub": "bad", "code": "unavailable"}]
        here.store.put(task(2, "b", points=2))
        await client.until(lambda: 2 in client.subs["top"].records)


async def test_a_change_that_cannot_be_understood_resets_its_resource_and_the_engine_goes_on() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        here.store.put(task(1, "a", status="todo"))
        here.store.changes_made[-1].after_json = "{"
        await client.until(lambda: 1 in client.subs["s"].records)
        assert [message["reason"] for message in of(client, "reset")] == ["undecodable"]
        here.store.put(task(2, "b", status="todo"))
        await client.until(lambda: 2 in client.subs["s"].records)


async def test_idle_connections_get_signs_of_life_and_fresh_cursors() -> None:
    async with world(refresh=60.0) as here:
        client = await subscribed(here, "s", TODO)
        start = client.connection.outbox.touched
        here.engine.sweep(start + 19)
        assert client.connection.outbox.ended is None
        here.engine.sweep(start + 21)
        here.engine.sweep(start + 40)
        here.engine.sweep(start + 61)
        await client.until(lambda: "commit" in client.kinds())
        assert client.kinds()[3:] == ["ping", "commit"]
        assert client.log[-1]["cursor"] == client.log[2]["cursor"]


async def test_everybody_is_told_goodbye_at_the_end() -> None:
    async with world() as here:
        client = await subscribed(here, "s", TODO)
        await here.engine.__aexit__(None, None, None)
        await client.until(lambda: "bye" in client.kinds())
        assert 500 <= client.log[-1]["retry_in"] < 1502
        assert client.connection.ended == "away"
        with pytest.raises(Unavailable):
            here.engine.connect(Probe())


async def test_a_resource_without_a_log_cannot_be_live() -> None:
    from dataclasses import replace

    silent = replace(TASK, logged=False)
    async with world() as here:
        with pytest.raises(Conflict, match="no log"):
            await here.client().subscribe("s", query(schema=silent, fields=("id",)))


# Queries that speak of now: the engine wakes up when the result can change by itself.


def overdue(now: datetime) -> LiveQuery:
    """As `due <= now`, for tasks whose title is the moment that they are due."""

    def rebind(moment: datetime) -> LiveQuery:
        return overdue(moment)

    text = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    later = query(where(title__gt=text), sort=["title"], limit=1)
    return query(where(title__lte=text), fields=("id",), limit=10, rebind=rebind, boundary_plans=(later.plan,))


async def test_a_record_comes_in_at_its_moment_without_any_change() -> None:
    clock = Clock()
    async with world(clock=clock) as here:
        here.store.put(task(1, "2030-01-01T13:00:00.000000Z"))
        client = await subscribed(here, "s", overdue(clock()))
        clock.advance(timedelta(minutes=59))
        await here.settled()
        assert client.subs["s"].records == {}
        clock.advance(timedelta(minutes=1))
        await client.until(lambda: client.subs["s"].records == {1: {"id": 1}})


async def test_a_query_of_today_runs_again_at_midnight() -> None:
    clock = Clock(datetime(2026, 11, 20, 23, 59, tzinfo=UTC))
    days: list[str] = []

    def rebind(now: datetime) -> LiveQuery:
        days.append(now.date().isoformat())
        return query(where(title=days[-1]), fields=("id",), rebind=rebind, wakes_at_midnight=True)

    async with world(clock=clock) as here:
        here.store.put(task(1, "2026-11-20"), task(2, "2026-11-21"))
        client = await subscribed(here, "s", rebind(clock()))
        assert client.subs["s"].records == {1: {"id": 1}}
        clock.advance(timedelta(minutes=1))
        await client.until(lambda: client.subs["s"].records == {2: {"id": 2}})
        assert days[-1] == "2026-11-21"


async def test_a_timer_of_a_query_that_is_over_does_not_go_off() -> None:
    async with world() as here:
        here.store.put(task(1, "2999-01-01T00:00:00.000000Z"))
        client = await subscribed(here, "s", overdue(datetime.now(UTC)))
        assert len(here.engine._rerun_lane._alarms) == 1
        client.connection.close()
        assert len(here.engine._rerun_lane._alarms) == 0


# Going on from a cursor.


async def cut(here: World, live: LiveQuery) -> tuple[str, str]:
    """The cursor and key of a subscription that has ended."""
    client = await subscribed(here, "s", live)
    held = client.subs["s"]
    client.connection.close()
    assert held.cursor is not None
    return held.cursor, held.key


async def test_a_resume_without_changes_asks_nobody() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo"))
        cursor, key = await cut(here, TODO)
        reads = here.store.reads
        client = here.client()
        assert (await client.subscribe("s", TODO, cursor=cursor, key=key)).resumed
        await client.until(lambda: "ready" in client.kinds())
        assert client.kinds() == ["subscribed", "ready"]
        assert (here.store.reads, here.store.looks) == (reads, 0)


async def test_a_resume_gets_the_net_effect_for_itself_before_ready() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo"), task(2, "b", status="todo"), task(3, "c"))
        cursor, key = await cut(here, TODO)
        here.store.put(task(1, "secret", status="todo"))
        here.store.put(task(1, "a2", status="todo"))
        here.store.put(task(9, "for a moment", status="todo"))
        here.store.remove(9, 2)
        here.store.put(task(3, "c", status="todo"))
        await here.settled()
        client = here.client()
        client.subs["s"].records = {1: {"id": 1, "title": "a"}, 2: {"id": 2, "title": "b"}}
        assert (await client.subscribe("s", TODO, cursor=cursor, key=key)).resumed
        await client.until(lambda: "ready" in client.kinds())
        assert client.kinds() == ["subscribed", "frame", "commit", "ready"]
        frame = client.log[1]
        assert (frame["sub"], frame["before"]) == ("s", cursor)
        assert frame["added"] == [{"id": 3, "title": "c"}]
        assert frame["changed"] == [[1, {"title": "a2"}, []]]
        assert frame["removed"] == [2]
        assert client.subs["s"].records == {1: {"id": 1, "title": "a2"}, 3: {"id": 3, "title": "c"}}
        assert here.engine.metrics.resume_hits == 1


async def test_many_resumes_share_one_pass_over_the_log() -> None:
    async with world(tail=0) as here:
        here.store.most_turns = 0
        cursor, key = await cut(here, TODO)
        here.store.put(task(1, "a", status="todo"))
        await here.settled()
        clients = [here.client() for _ in range(20)]
        await asyncio.gather(*(c.subscribe("s", TODO, cursor=cursor, key=key) for c in clients))
        for client in clients:
            await client.until(lambda client=client: client.subs["s"].ready)
        assert here.store.looks == 1
        assert here.engine.metrics.resume_hits == 20


async def test_what_is_committed_while_the_log_is_read_for_a_resume_is_not_missed() -> None:
    async with world(tail=0) as here:
        cursor, key = await cut(here, TODO)
        here.store.put(task(1, "a", status="todo"))
        await here.settled()

        async def meanwhile() -> None:
            here.store.put(task(2, "b", status="todo"))
            await here.settled()

        here.store.during_look = meanwhile
        client = here.client()
        assert (await client.subscribe("s", TODO, cursor=cursor, key=key)).resumed
        await client.until(lambda: "ready" in client.kinds())
        assert client.subs["s"].records == {1: {"id": 1, "title": "a"}, 2: {"id": 2, "title": "b"}}


async def refused(here: World, live: LiveQuery, **resume: Any) -> str:
    """The reason of the reset that a resume meets; the new snapshot is complete then."""
    client = here.client()
    assert not (await client.subscribe("s", live, **resume)).resumed
    await client.until(lambda: "ready" in client.kinds())
    assert client.kinds() == ["subscribed", "reset", "snapshot", "ready"]
    reason = client.log[1]["reason"]
    assert isinstance(reason, str)
    return reason


async def test_a_resume_that_cannot_be_is_a_reset_that_says_why() -> None:
    async with world(missed=3, tail=0) as here:
        cursor, key = await cut(here, TODO)
        other = query(where(status="done"), fields=("id", "title"))
        assert await refused(here, other, cursor=cursor, key=key) == "rights"
        assert await refused(here, TODO, cursor=cursor) == "rights"
        team = query(schema=TEAM, fields=("id", "name"))
        assert await refused(here, team, cursor=cursor, key=key) == "schema"
        assert await refused(here, TODO, cursor="made up", key=key) == "epoch"
        number = query(counts=True)
        number_cursor, number_key = await cut(here, number)
        assert await refused(here, number, cursor=number_cursor, key=number_key) == "window"
        here.store.put(*(task(id, status="todo") for id in range(4)))
        await here.settled()
        assert await refused(here, TODO, cursor=cursor, key=key) == "too_many"
        here.store.trimmed = 1
        assert await refused(here, TODO, cursor=cursor, key=key) == "gap"
        here.store.log = 2
        assert await refused(here, TODO, cursor=cursor, key=key) == "epoch"
        assert here.engine.metrics.resets == {
            "rights": 2, "schema": 1, "epoch": 2, "window": 1, "too_many": 1, "gap": 1,
        }  # fmt: skip


async def test_a_cursor_of_a_process_that_is_ahead_is_waited_for() -> None:
    async with world() as here:
        here.store.put(task(1, "a", status="todo"))
        client = await subscribed(here, "s", TODO)
        key = client.subs["s"].key
        here.store.is_silent = True  # another process commits, and its wake-up is lost
        here.store.put(task(1, "b", status="todo"))
        ahead = here.engine._cursors.seal(here.store.position.token)
        resumed = here.client()
        assert (await resumed.subscribe("s", TODO, cursor=ahead, key=key)).resumed
        await resumed.until(lambda: "ready" in resumed.kinds())
        assert resumed.kinds() == ["subscribed", "ready"]
        assert resumed.subs["s"].cursor == ahead


async def test_a_connection_closed_during_its_resume_leaves_nothing_behind() -> None:
    async with world(tail=0) as here:
        cursor, key = await cut(here, TODO)
        here.store.put(task(1, "a", status="todo"))
        await here.settled()
        client = here.client()
        resuming = asyncio.ensure_future(client.subscribe("s", TODO, cursor=cursor, key=key))
        await asyncio.sleep(0)
        client.connection.close()
        await resuming
        assert here.engine.metrics.live_groups == 0
        assert here.engine._joining._feeds.groups == set()


async def test_a_cancelled_resume_leaves_nothing_behind() -> None:
    async with world(tail=0) as here:
        cursor, key = await cut(here, TODO)
        here.store.put(task(1, "a", status="todo"))
        await here.settled()
        client = here.client()
        resuming = asyncio.ensure_future(client.subscribe("s", TODO, cursor=cursor, key=key))
        await asyncio.sleep(0)
        resuming.cancel()
        await asyncio.gather(resuming, return_exceptions=True)
        assert client.connection.members == {}
        assert here.engine.metrics.live_subs == 0


async def test_whoever_waits_for_an_engine_that_stops_is_told_so() -> None:
    store = MemoryStore()
    async with Engine(store, CATALOG, secret=SECRET, limits=LiveLimits(tail=0)) as engine:  # type: ignore[arg-type]
        here = World(store, engine)
        store.put(task(1, "a", status="todo", team=1))
        await subscribed(here, "s", TODO)
        store.is_silent, store.is_deaf = True, True
        store.put(task(2, "b", status="todo"))
        asking = [
            asyncio.ensure_future(here.client().subscribe("window", TOP)),
            asyncio.ensure_future(here.client().subscribe("through", query(where(team__open=True)))),
            asyncio.ensure_future(engine.settled()),
        ]
        for _ in range(20):
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(end, Unavailable) for end in ended[1:]] == [True, True]


async def test_whoever_waits_for_queries_that_are_run_again_does_not_wait_for_one_that_is_over() -> None:
    async with world() as here:
        client = await subscribed(here, "number", query(counts=True))
        here.store.is_silent, here.store.is_deaf = True, True
        fence = asyncio.ensure_future(here.engine._rerun.fence())
        await asyncio.sleep(0)
        client.connection.close()
        async with asyncio.timeout(5):
            await fence
