"""Records in what handlers and hooks answer are shown in older styles as reads of them are."""

from typing import Any

import pytest

from crudite import Field, Next, Query, Record, Request, Response, Rest, allow, around, me
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for

FIELDS = {"id", "name"}


class User(Record[int], rules=allow.everyone, path="users"):
    name: str
    phone: str = Field(default="", visible="private", read=allow.where(name=me.id))
    password: str = Field(default="", visible="secret")

    @around("list")
    @classmethod
    async def own(cls, request: Request, next: Next) -> Any:
        return await request.records.list(User) if request.headers.get("x-hook") else await next()


def client() -> Client:
    made = client_for(
        User,
        auth=by_name,
        interfaces=[Rest(style="booster"), Rest("/new"), Rest("/wheel", style="wheelhouse")],
    )

    @made.app.read("who/{user}")
    async def who(request: Request, user: int) -> User:
        return await request.records.read(User, user)

    @made.app.read("several")
    async def several(request: Request) -> dict[str, Any]:
        return {"count": 1, "rows": await request.records.list(User)}

    @made.app.read("found")
    async def found(request: Request) -> Query[User]:
        return User.where(name="ann")

    @made.app.create("make")
    async def make(request: Request, name: str) -> User:
        return await request.records.create(User, name=name)

    return made.acting("ann")


@pytest.mark.promises("B11", "B81")
async def test_what_handlers_and_hooks_answer_shows_of_records_what_reads_show() -> None:
    async with client() as ann:
        made = await ann.post("/make", {"name": "ann"})
        assert (made.status, made.json.keys()) == (200, FIELDS)
        assert (await ann.post("/make?$b.csview=secret", {"name": "bob"})).status == 400
        private = "?$b.csview=private"
        for url, rows in (
            ("/who/1", lambda body: [body]),
            ("/several", lambda body: body["rows"]),
            ("/found", lambda body: body),
        ):
            [row] = rows((await ann.get(url)).json)
            assert (url, row) == (url, {"id": 1, "name": "ann"})
            [row] = rows((await ann.get(f"{url}{private}&$b.embed=name")).json)
            assert (url, row) == (url, {"id": 1, "name": "ann", "phone": ""})
            assert (await ann.get(f"{url}?$b.csview=secret")).status == 400
            assert (await ann.get(f"{url}?b=1")).status == 400
            [row] = rows((await ann.get(f"/new{url}")).json)
            assert (url, row.keys()) == (url, {*FIELDS, "phone", "version", "created_at", "updated_at"})
            assert (await ann.get(f"/new{url}{private}")).status == 400
            [row] = rows((await ann.get(f"/wheel{url}")).json)
            assert (url, row.keys()) == (url, {*FIELDS, "phone"})
        assert (await ann.get("/users", headers={"x-hook": "1"})).json == [{"id": 1, "name": "ann"}]
        assert (await ann.get(f"/users{private}", headers={"x-hook": "1"})).json[0].keys() == {*FIELDS, "phone"}


async def test_what_was_written_is_to_hooks_around_it_what_reads_show() -> None:
    class Task(Record[int], rules=allow.everyone):
        title: str
        note: str = Field(default="", visible="private", read=allow.everyone)

        @around("create", "update", "replace")
        @classmethod
        async def counted(cls, request: Request, next: Next) -> Response:
            written = await next()
            return written.with_data({**written.data, "count": 1})

    async with client_for(Task, interfaces=[Rest(), Rest("/old", style="booster")]) as client:
        task = {"id": 1, "title": "a", "count": 1}
        assert (await client.post("/old/tasks", {"title": "a"})).json == task
        assert (await client.put("/old/tasks/1", {"title": "a"})).json == task
        assert (await client.patch("/old/tasks/1?$b.csview=private", {"title": "a"})).json == {**task, "note": ""}
        assert (await client.patch("/tasks/1", {"title": "b"})).json.keys() > {"version", "note", "count"}
