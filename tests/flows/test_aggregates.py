"""What records come to: sums, averages, lowest and highest values and groups, as the answers of handlers."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import pytest

from crudite import App, Field, Groups, OpenApi, Record, Ref, Request, Resource, Value, allow, me
from crudite.testing import Client
from tests.flows.worlds import by_name
from tests.services.stores import fresh_store


class Project(Record[str], rules={"read": allow.where(open=True) | allow.role("boss"), "write": allow.everyone}):
    name: str
    open: bool = True


class Task(Resource, rules={"read": allow.where(owner=me.id) | allow.role("boss"), "write": allow.everyone}):
    owner: str
    status: Literal["todo", "done"] = "todo"
    hours: int | None = None
    price: Decimal = Field(default=Decimal(0), decimal_places=2)
    due: date | None = None
    project: Ref[Project] | None = None
    bonus: int = Field(default=0, read=allow.where(owner=me.id))
    secret: str = Field(default="", visible="secret")
    meta: dict[str, int] = Field(default={})


TASKS = [
    {"owner": "ann", "hours": 3, "price": "1.10", "due": "2026-12-01", "project": "p1"},
    {"owner": "ann", "hours": 4, "price": "2.20", "due": "2026-11-30", "status": "done", "project": "p1"},
    {"owner": "ann", "hours": None, "price": "0.10", "project": "p2"},
    {"owner": "bob", "hours": 100, "price": "9.00"},
]


def app_with(**handlers: Any) -> App:
    """An application whose reading handlers return these."""
    app = App(Project, Task, store=fresh_store(), auth=by_name)
    for name, result in handlers.items():
        app.read(name)(_answering(result))
    return app


def _answering(result: Any) -> Any:
    async def handler(request: Request) -> Any:
        return result

    return handler


async def filled(client: Client) -> tuple[Client, Client]:
    """Ann, who may read her three tasks, and a boss, who may read all."""
    boss = client.acting("eve:boss")
    assert (await boss.post("/projects", [{"id": "p1", "name": "House"}, {"id": "p2", "name": "Boat"}])).status == 201
    assert (await boss.post("/tasks", TASKS)).status == 201
    return client.acting("ann"), boss


async def test_a_value_is_made_of_the_records_that_the_asker_may_read() -> None:
    app = app_with(
        total=Task.where().sum("hours"),
        average=Task.where().avg("hours"),
        money=Task.where(status="todo").sum("price"),
        first=Task.where().min("due"),
        last=Task.where().max("due"),
        limited=Task.where().order("-hours").limit(1).sum("hours"),
    )
    async with Client(app) as client:
        ann, boss = await filled(client)
        answers = {name: ((await ann.get(f"/{name}")).json, (await boss.get(f"/{name}")).json) for name in app.handlers}

    assert answers == {
        "total": (7, 107),
        "average": (3.5, 107 / 3),
        "money": ("1.20", "10.20"),
        "first": ("2026-11-30", "2026-11-30"),
        "last": ("2026-12-01", "2026-12-01"),
        "limited": (7, 107),
    }


async def test_of_no_records_a_sum_is_zero_and_all_else_is_null() -> None:
    none = Task.where(owner="nobody")
    app = app_with(hours=none.sum("hours"), price=none.sum("price"), average=none.avg("price"), lowest=none.min("due"))
    async with Client(app) as client:
        _, boss = await filled(client)
        assert [(await boss.get(f"/{name}")).json for name in app.handlers] == [0, "0.00", None, None]


async def test_groups_come_in_the_order_of_their_values_with_null_first() -> None:
    app = app_with(
        status=Task.where().group("status").count().sum("hours").avg("hours").min("due").max("price"),
        project=Task.where().group("project__name", "status").count(),
        alone=Task.where().group("owner"),
    )
    async with Client(app) as client:
        ann, boss = await filled(client)
        status, project = (await ann.get("/status")).json, (await boss.get("/project")).json
        alone = (await ann.get("/alone")).json, (await boss.get("/alone")).json

    assert status == [
        {"status": "done", "count": 1, "sum_hours": 4, "avg_hours": 4.0, "min_due": "2026-11-30", "max_price": "2.20"},
        {"status": "todo", "count": 2, "sum_hours": 3, "avg_hours": 3.0, "min_due": "2026-12-01", "max_price": "1.10"},
    ]
    assert project == [
        {"project.name": None, "status": "todo", "count": 1},
        {"project.name": "Boat", "status": "todo", "count": 1},
        {"project.name": "House", "status": "done", "count": 1},
        {"project.name": "House", "status": "todo", "count": 1},
    ]
    assert alone == ([{"owner": "ann"}], [{"owner": "ann"}, {"owner": "bob"}])


async def test_what_may_not_be_read_in_every_record_is_refused_and_so_is_what_has_no_sum() -> None:
    refused = {
        "unknown": (Task.where().sum("ours"), "unknown_field", "Task has no field 'ours'; did you mean 'hours'?"),
        "secret": (Task.where().min("secret"), "unknown_field", "Task has no field 'secret'."),
        "bonus": (Task.where().sum("bonus"), "bad_aggregate", "'bonus' may not be read in every record."),
        "through": (Task.where().group("project.name"), "bad_aggregate",
                    "'project.name' may not be read in every record."),
        "text": (Task.where().avg("owner"), "bad_aggregate", "avg does not go with 'owner', which is a text."),
        "key": (Task.where().min("id"), "bad_aggregate", "min does not go with 'id', which is a UUID."),
        "json": (Task.where().group("meta"), "bad_aggregate", "'meta' is JSON, which is not aggregated."),
        "twice": (Task.where().group("owner").count().count(), "bad_aggregate", "'count' is in a group twice."),
    }  # fmt: skip
    app = app_with(**{name: result for name, (result, _, _) in refused.items()})
    async with Client(app) as client:
        ann, _ = await filled(client)
        for name, (_, code, detail) in refused.items():
            answer = await ann.get(f"/{name}")
            assert (answer.status, answer.json["errors"]) == (400, [{"code": code, "detail": detail}]), name


async def test_every_fault_of_groups_is_told_at_once() -> None:
    app = app_with(bad=Task.where().group("ownr").sum("owner").max("meta"))
    async with Client(app) as client:
        ann, _ = await filled(client)
        assert [fault["code"] for fault in (await ann.get("/bad")).json["errors"]] == [
            "unknown_field", "bad_aggregate", "bad_aggregate",
        ]  # fmt: skip


async def test_more_groups_than_can_be_answered_are_a_problem() -> None:
    app = app_with(owners=Task.where().group("owner").count())
    async with Client(app) as client:
        _, boss = await filled(client)
        for part in range(2):
            owners = [{"owner": f"{part}-{n}"} for n in range(500)]
            assert (await boss.post("/tasks", owners)).status == 201
        answer = await boss.get("/owners")
        assert (answer.status, answer.json["detail"]) == (413, "An answer has at most 1000 groups.")


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_grouping_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="group takes the names of the fields"):
        Task.where().group()


def test_the_description_tells_what_values_and_groups_look_like() -> None:
    app = App(Project, Task, store=fresh_store())

    @app.read("total")
    async def total(request: Request) -> Value:
        return Task.where().sum("hours")

    @app.read("stats")
    async def stats(request: Request) -> Groups:
        return Task.where().group("status").count()

    paths = OpenApi().document(app)["paths"]
    assert schema_of(paths["/total"]) == {}
    assert schema_of(paths["/stats"]) == {"type": "array", "items": {"type": "object"}, "maxItems": 1000}


def schema_of(path: dict[str, Any]) -> Any:
    return path["get"]["responses"]["200"]["content"]["application/json"]["schema"]
