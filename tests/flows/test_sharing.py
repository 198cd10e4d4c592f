"""Viewers whose rule goes through other records share what they see, and lose it with the commit that takes it away."""

from typing import Any

import pytest

from crudite import App, Many, Parent, Record, Ref, allow, me
from crudite.stores import open_store
from crudite.testing import Client, Faulty, View
from crudite.testing.socket import Socket
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store


class Project(Record[int], rules={"read": allow.where(members__user=me.id)}):
    title: str
    members: Many["Member"]


class Member(Record[int], rules=allow.nobody):
    project: Parent[Project]
    user: str


class Task(Record[int], rules={"read": allow.where(project__members__user=me.id)}):
    project: Parent[Project]
    title: str
    rank: int = 0


async def made(client: Client) -> None:
    """Two projects with tasks; ann is in both, bob in the first."""
    async with client.app.records.batch() as batch:
        batch.create(Project, id=1, title="one")
        batch.create(Project, id=2, title="two")
    async with client.app.records.batch() as batch:
        batch.create(Member, id=1, project=1, user="ann")
        batch.create(Member, id=2, project=1, user="bob")
        batch.create(Member, id=3, project=2, user="ann")
        for id in range(1, 7):
            batch.create(Task, id=id, project=1 + (id > 4), title=f"t{id}", rank=id)


async def asked(socket: Socket, name: str, query: dict[str, Any]) -> tuple[str, View]:
    """The group of a subscription, and its view."""
    view = View(5.0)
    answer = await socket.subscribe(name, {"resource": "tasks", "query": query}, view)
    await view.ready()
    return answer["group"], view


def titles(view: View) -> list[str]:
    return sorted(row["title"] for row in view.records)


async def seen(view: View, wanted: list[str]) -> None:
    """Waits until the view shows exactly these titles."""
    await view.until(lambda _: titles(view) == wanted)


QUERIES = [{"where": {"project": 1}}, {"where": {"project": 1}, "sort": ["-rank"], "limit": 10}]


@pytest.mark.parametrize("query", QUERIES)
async def test_members_share_a_group_and_the_others_see_nothing_of_it(query: dict[str, Any]) -> None:
    async with Client(App(Project, Member, Task, store=fresh_store(), auth=by_name)) as client:
        await made(client)
        async with (
            client.acting("ann").websocket() as one,
            client.acting("bob").websocket() as two,
            client.acting("eve").websocket() as three,
        ):
            ann, ann_sees = await asked(one, "s", query)
            bob, bob_sees = await asked(two, "s", query)
            eve, eve_sees = await asked(three, "s", query)
            assert ann == bob == eve
            assert titles(ann_sees) == titles(bob_sees) == ["t1", "t2", "t3", "t4"]
            assert eve_sees.records == []
            told = len(three.notifications)

            await client.app.records.create(Task, id=9, project=1, title="t9")
            await client.app.records.update(Task, 1, title="other")
            await client.settled()
            await seen(ann_sees, ["other", "t2", "t3", "t4", "t9"])
            await seen(bob_sees, ["other", "t2", "t3", "t4", "t9"])
            await three.call("ping")
            assert three.notifications[told:] == []


@pytest.mark.parametrize("query", QUERIES)
async def test_the_commit_that_takes_the_right_away_takes_the_records_in_the_same_frame(query: dict[str, Any]) -> None:
    async with Client(App(Project, Member, Task, store=fresh_store(), auth=by_name)) as client:
        await made(client)
        async with client.acting("ann").websocket() as one, client.acting("bob").websocket() as two:
            _, ann_sees = await asked(one, "s", query)
            _, bob_sees = await asked(two, "s", query)
            told = len(two.notifications)
            async with client.app.records.batch() as batch:
                batch.delete(Member, 2)
                batch.create(Task, id=9, project=1, title="never seen by bob")
                batch.delete(Task, 4)
            await seen(ann_sees, ["never seen by bob", "t1", "t2", "t3"])
            await seen(bob_sees, [])
            await two.call("ping")
            frame, commit = two.notifications[told:]
            assert frame["method"] == "frame"
            assert sorted(frame["params"]["removed"]) == [1, 2, 3, 4]
            assert set(frame["params"]) == {"sub", "removed"}
            assert commit["method"] == "commit"

            await client.app.records.update(Task, 1, title="meanwhile")
            await client.settled()
            await two.call("ping")
            assert two.notifications[told + 2 :] == []

            await client.app.records.create(Member, id=7, project=1, user="bob")
            await seen(bob_sees, ["meanwhile", "never seen by bob", "t2", "t3"])
            await client.app.records.update(Task, 2, title="again")
            await seen(bob_sees, ["again", "meanwhile", "never seen by bob", "t3"])
            await seen(ann_sees, ["again", "meanwhile", "never seen by bob", "t3"])


async def test_without_the_project_named_each_sees_the_tasks_of_his_own() -> None:
    async with Client(App(Project, Member, Task, store=fresh_store(), auth=by_name)) as client:
        await made(client)
        async with (
            client.acting("ann").live("tasks", over="websocket") as ann,
            client.acting("bob").live("tasks", over="sse") as bob,
        ):
            assert len(await ann.ready()) == 6
            assert len(await bob.ready()) == 4
            async with client.app.records.batch() as batch:
                batch.update(Member, 3, user="bob")
                batch.update(Task, 5, project=1)
                batch.create(Task, id=8, project=2, title="t8")
            await seen(ann, ["t1", "t2", "t3", "t4", "t5"])
            await seen(bob, ["t1", "t2", "t3", "t4", "t5", "t6", "t8"])


@pytest.mark.parametrize("over", ["sse", "websocket"])
@pytest.mark.parametrize("query", [{"where": {"project": 1}}, {"where": {"project": 1}, "sort": ["rank"], "limit": 3}])
async def test_who_lost_his_right_while_away_begins_again_with_nothing(over: Any, query: dict[str, Any]) -> None:
    async with Client(App(Project, Member, Task, store=fresh_store(), auth=by_name)) as client:
        await made(client)
        bob = client.acting("bob")
        async with bob.live("tasks", over=over, **query) as before:
            await before.ready()
        await client.app.records.update(Task, 1, title="changed")
        async with bob.live("tasks", over=over, resume=before, **query) as again:
            assert "changed" in [row["title"] for row in await again.ready()]
            assert again.resumed
        await client.app.records.delete(Member, 2)
        async with bob.live("tasks", over=over, resume=again, **query) as after:
            assert await after.ready() == []
            assert [data["reason"] for kind, data in after.events if kind == "reset"] == ["rights"]


async def test_what_rests_on_records_in_no_log_cannot_be_live() -> None:
    class Boss(Record[str], rules=allow.everyone, live=False):
        name: str

    class Job(Record[int], rules=allow.where(boss__name=me.id)):
        boss: Ref[Boss]

    async with Client(App(Boss, Job, store=fresh_store(), auth=by_name), token="ann") as client:
        assert (await client.get("/jobs")).status == 200
        refused = await client.get("/jobs/subscribe")
        assert refused.status == 400
        assert [fault["code"] for fault in refused.json["errors"]] == ["not_live"]


async def test_two_queries_of_a_connection_are_never_before_different_gates_of_one_group() -> None:
    class Shop(Record[int], rules=allow.everyone):
        lead: str

    class Item(Record[int], rules=allow.everyone):
        shop: Ref[Shop]

    async with Client(App(Shop, Item, store=fresh_store())) as client, client.websocket() as socket:
        await client.app.records.create(Shop, id=1, lead="ann")
        await client.app.records.create(Item, id=1, shop=1)
        views = {}
        for lead in ("ann", "bob"):
            views[lead] = View(5.0)
            query = {"where": {"shop": 1, "shop.lead": lead}}
            await socket.subscribe(lead, {"resource": "items", "query": query}, views[lead])
            await views[lead].ready()
        await client.app.records.create(Item, id=2, shop=1)
        await views["ann"].until(lambda rows: len(rows) == 2)
        assert views["bob"].records == []
        async with client.app.records.batch() as batch:
            batch.update(Shop, 1, lead="bob")
            batch.create(Item, id=3, shop=1)
        await views["bob"].until(lambda rows: len(rows) == 3)
        await views["ann"].until(lambda rows: rows == [])


async def test_a_set_is_right_also_where_its_keys_went_and_came_back_in_the_batch_in_which_it_was_read() -> None:
    store = Faulty(open_store(fresh_store()))
    async with Client(App(Project, Member, Task, store=store, auth=by_name)) as client:
        await made(client)
        async with client.acting("ann").websocket() as socket:
            await asked(socket, "early", {"fields": ["title"]})
            view, records = View(5.0), client.app.records
            with store.gate("before batch") as batch:
                await records.update(Task, 5, title="t0")
                await batch.reached()
                await records.delete(Member, 1)
                with store.gate("after read") as read:
                    await socket.subscribe("late", {"resource": "tasks"}, view)
                    await read.reached()
                    await records.create(Member, id=4, project=1, user="ann")
            await view.ready()
            assert titles(view) == ["t0", "t1", "t2", "t3", "t4", "t6"]
