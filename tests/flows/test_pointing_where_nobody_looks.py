"""A reference that its reader is shown, though he may not read the record that it leads to, can be sent back as it is;
and nobody learns by that what he is not shown."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from crudite import Field, Record, Ref, Request, allow, before, me
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, faults

meanwhile: list[Callable[[], Awaitable[Any]]] = []
"""What somebody else does while a title is being looked at, once each."""


async def others_write(value: str) -> str:
    if value == "met" and meanwhile:
        await meanwhile.pop()()
    return value


class Project(Record[str], rules={"read": allow.where(owner=me.id), "write": allow.everyone}):
    owner: str


class Judged(
    Record[str], rules={"read": allow.check(lambda one, actor: one.owner == actor.id), "write": allow.everyone}
):
    owner: str


class Plain(Record[str], rules=allow.everyone, path="tasks"):
    title: str = Field(default="", validate=others_write)
    project: Ref[Project] | None = None
    judged: Ref[Judged] | None = None
    hidden: Ref[Project] | None = Field(default=None, read=allow.role("clerk"))


class Hooked(Plain, rules=allow.everyone, path="tasks"):
    @before("update", "replace")
    async def look(self, request: Request) -> None:
        """With a hook only what differs is written."""


tasks = pytest.mark.parametrize("task", [Plain, Hooked])


async def fill(client: Client, task: type[Any]) -> Client:
    """Somebody who may read the projects a and b, and not h and i, at a place with a task at h."""
    for cls in (Project, Judged):
        for key, owner in (("a", "bob"), ("b", "bob"), ("h", "ann"), ("i", "ann")):
            await client.app.records.create(cls, id=key, owner=owner)
    await client.app.records.create(task, id="t", project="h", judged="h", hidden="h")
    return client.acting("bob")


@tasks
@pytest.mark.parametrize("is_conditional", [False, True])
async def test_what_was_read_can_be_sent_back_also_where_it_points_at_what_may_not_be_read(
    task: type[Any], is_conditional: bool
) -> None:
    async with client_for(Project, Judged, task, auth=by_name) as client:
        bob = await fill(client, task)
        read = await bob.get("/tasks/t")
        shown, headers = read.json, {"if-match": read.headers["etag"]} if is_conditional else {}
        assert (shown["project"], shown["judged"]) == ("h", "h")
        assert (await bob.put("/tasks/t", {**shown, "title": "mine"}, headers=headers)).status == 200
        assert (await bob.patch("/tasks/t", {"project": "h", "title": "yours"})).status == 200
        now = (await bob.get("/tasks/t")).json
        assert (now["project"], now["judged"], now["title"]) == ("h", "h", "yours")


@tasks
async def test_another_key_than_the_one_that_is_shown_must_still_be_one_that_may_be_read(task: type[Any]) -> None:
    async with client_for(Project, Judged, task, auth=by_name) as client:
        bob = await fill(client, task)
        for name in ("project", "judged"):
            for key in ("i", "none"):
                assert faults(await bob.patch("/tasks/t", {name: key})) == [(f"/{name}", "no_such_record")]
            assert (await bob.patch("/tasks/t", {name: "a"})).status == 200
            assert faults(await bob.patch("/tasks/t", {name: "h"})) == [(f"/{name}", "no_such_record")]
        assert faults(await bob.post("/tasks", {"id": "u", "project": "h"})) == [("/project", "no_such_record")]


@tasks
async def test_who_is_not_shown_a_reference_does_not_learn_it_by_repeating_it(task: type[Any]) -> None:
    async with client_for(Project, Judged, task, auth=by_name) as client:
        bob = await fill(client, task)
        assert "hidden" not in (await bob.get("/tasks/t")).json
        for key in ("h", "i", "none"):
            assert faults(await bob.patch("/tasks/t", {"hidden": key})) == [("/hidden", "no_such_record")]


@tasks
async def test_a_reference_is_not_brought_back_by_who_repeats_what_another_one_has_changed_meanwhile(
    task: type[Any],
) -> None:
    async with client_for(Project, Judged, task, auth=by_name) as client:
        bob = await fill(client, task)
        meanwhile.append(partial(client.app.records.update, task, "t", project="b"))
        met = await bob.patch("/tasks/t", {"project": "h", "title": "met"})
        assert (faults(met), meanwhile) == ([("/project", "no_such_record")], [])
        assert (await bob.get("/tasks/t")).json["project"] == "b"
