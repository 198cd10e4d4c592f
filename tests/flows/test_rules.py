"""Rules: who may do what, told in the same way by lists, records, writes and streams."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crudite import Field, Many, Parent, Record, Ref, Request, Resource, allow, before, me, now
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, client_for, faults, titles


class Note(
    Resource,
    rules={"read": allow.where(owner=me.id) | allow.where(public=True), "write": allow.where(owner=me.id)},
):
    owner: str = Field(default=me.id)
    title: str
    public: bool = False


def notes() -> Client:
    return client_for(Note, auth=by_name)


async def create(client: Client, **values: Any) -> str:
    """Creates a note; its address."""
    created = await client.post("/notes", values)
    assert created.status == 201, created
    return created.headers["location"]


async def test_lists_and_records_show_what_may_be_read_and_the_rest_is_not_there() -> None:
    async with notes() as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        secret = await create(ann, title="secret")
        await create(ann, title="open", public=True)

        assert titles(await ann.get("/notes?sort=title")) == ["open", "secret"]
        assert titles(await bob.get("/notes")) == titles(await nobody.get("/notes")) == ["open"]
        hidden, missing = await bob.get(secret), await bob.get("/notes/01890a5d-ac96-774b-bcce-b302099a8057")
        assert hidden.status == missing.status == 404
        assert hidden.json["detail"].replace(secret.split("/")[-1], "…") == missing.json["detail"].replace(
            "01890a5d-ac96-774b-bcce-b302099a8057", "…"
        )
        assert (await bob.get(f"{secret},{secret}")).status == 404
        assert (await bob.get("/notes?count=exact")).headers["x-total-count"] == "1"


async def test_a_write_to_an_unreadable_record_is_as_one_to_none_and_to_a_readable_one_is_forbidden() -> None:
    async with notes() as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        secret, public = await create(ann, title="secret"), await create(ann, title="open", public=True)

        for write, args in ((bob.patch, ({"title": "x"},)), (bob.put, ({"title": "x"},)), (bob.delete, ())):
            assert (await write(secret, *args)).status == 404
            assert (await write(public, *args)).status == 403
        assert titles(await ann.get("/notes?sort=title")) == ["open", "secret"]


async def test_nobody_is_asked_to_sign_in_where_somebody_might_be_allowed() -> None:
    async with notes() as nobody:
        refused = await nobody.post("/notes", {"title": "x"})
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert (await nobody.acting("bad").get("/notes")).status == 401


async def test_a_record_can_only_be_stored_where_the_rule_holds_for_what_would_be_stored() -> None:
    async with notes() as nobody:
        ann = nobody.acting("ann")
        assert (await ann.post("/notes", {"title": "x", "owner": "bob"})).status == 403
        at = await create(ann, title="x")
        assert (await ann.patch(at, {"owner": "bob"})).status == 403
        assert (await ann.put(at, {"title": "y", "owner": "bob"})).status == 403
        assert (await ann.get(at)).json["owner"] == "ann"
        many = await ann.post("/notes", [{"title": "mine"}, {"title": "yours", "owner": "bob"}])
        assert many.status == 403
        assert titles(await ann.get("/notes")) == ["x"]


async def test_a_writer_who_may_not_read_the_result_gets_no_body() -> None:
    class Tip(Resource, rules={"create": allow.everyone, "update": allow.everyone, "read": allow.where(public=True)}):
        title: str
        public: bool = False

    async with client_for(Tip) as client, client.websocket() as socket:
        created = await client.post("/tips", {"title": "a"})
        assert (created.status, created.body) == (201, b"")
        many = await client.post("/tips", [{"title": "b"}, {"title": "c", "public": True}])
        assert (many.status, titles(many)) == (201, ["c"])
        at = many.json[0]["id"]
        hidden = await client.patch(f"/tips/{at}", {"public": False})
        assert (hidden.status, hidden.body) == (204, b"")
        assert (await client.get(f"/tips/{at}")).status == 404
        answer = await socket.call("tips.create", {"data": {"title": "d"}})
        assert "data" not in answer


async def test_fields_are_absent_where_they_may_not_be_read_and_filter_only_there() -> None:
    class Person(Resource, rules=allow.everyone, path="people"):
        title: str
        salary: int = Field(read=allow.where(title=me.id) | allow.role("hr"))
        pin: str = Field(default="0000", visible="private")

    async with client_for(Person, auth=by_name) as nobody:
        ann, boss = nobody.acting("ann"), nobody.acting("boss:hr")
        await boss.post("/people", [{"title": "ann", "salary": 1}, {"title": "bob", "salary": 2}])

        rows = (await ann.get("/people?sort=title")).json
        assert [row.get("salary") for row in rows] == [1, None]
        assert "salary" not in rows[1]
        assert all("pin" not in row for row in rows)
        assert titles(await ann.get("/people?salary[gte]=0")) == ["ann"]
        assert titles(await ann.get('/people?filter={"not":{"salary":1}}')) == []
        assert titles(await boss.get("/people?salary[gte]=0&sort=salary")) == ["ann", "bob"]
        assert faults(await ann.get("/people?sort=salary")) == [("sort", "bad_sort")]
        assert faults(await nobody.get("/people?salary=1")) == [("salary", "unknown_field")]
        assert faults(await nobody.get("/people?fields=pin")) == [("fields", "unknown_field")]


async def test_all_fields_that_may_not_be_written_are_named() -> None:
    class Page(Resource, rules=allow.everyone):
        title: str
        pinned: bool = Field(default=False, write=allow.role("admin"))
        price: int = Field(default=0, write=allow.role("admin"))
        stage: str = Field(default="draft", write=allow.where(title="free"))

    async with client_for(Page, auth=by_name) as nobody:
        admin = nobody.acting("root:admin")
        refused = await nobody.post("/pages", {"title": "a", "pinned": True, "price": 3})
        assert (refused.status, faults(refused)) == (
            403,
            [("/pinned", "not_writable"), ("/price", "not_writable")],
        )
        at = (await nobody.post("/pages", {"title": "a"})).headers["location"]
        assert faults(await nobody.patch(at, {"price": 1})) == [("/price", "not_writable")]
        assert (await admin.patch(at, {"price": 1})).json["price"] == 1
        assert (await nobody.put(at, {"title": "b", "price": 1})).status == 200  # as it is: not written
        assert faults(await nobody.patch(at, {"stage": "done"})) == [("/stage", "not_writable")]
        # the rule must hold for the record as it was, and as it would be
        assert (await nobody.patch(at, {"stage": "done", "title": "free"})).status == 403
        await nobody.patch(at, {"title": "free"})
        assert (await nobody.patch(at, {"stage": "done"})).status == 200


async def test_pointing_at_an_unreadable_record_is_as_pointing_at_none() -> None:
    class Album(Record[str], rules={"read": allow.where(owner=me.id), "create": allow.everyone}):
        owner: str

    class Song(Resource, rules=allow.signed_in):
        title: str
        album: Ref[Album] | None = None

    async with client_for(Album, Song, auth=by_name) as nobody:
        ann, bob = nobody.acting("ann"), nobody.acting("bob")
        await ann.post("/albums", {"id": "hers", "owner": "ann"})

        hidden = await bob.post("/songs", {"title": "x", "album": "hers"})
        missing = await bob.post("/songs", {"title": "x", "album": "none"})
        assert hidden.status == missing.status == 422
        assert hidden.json["errors"] == missing.json["errors"]
        assert faults(hidden) == [("/album", "no_such_record")]
        assert (await ann.post("/songs", {"title": "x", "album": "hers"})).status == 201
        assert titles(await bob.get("/songs?album.owner=ann")) == []
        assert titles(await ann.get("/songs?album.owner=ann")) == ["x"]


async def test_nothing_of_an_unreadable_record_shows_in_how_a_write_to_it_is_refused() -> None:
    class Thing(
        Record[str],
        rules={
            "read": allow.where(owner=me.id),
            "write": allow.where(owner=me.id) | allow.role("clerk"),
            "create": allow.everyone,
        },
    ):
        owner: str
        code: str = Field(immutable=True)
        data: dict[str, Any] = Field(default={})
        part: Ref["Thing"] | None = None

    async with client_for(Thing, auth=by_name) as nobody:
        bob = nobody.acting("bob")
        await nobody.post("/things", {"id": "hers", "owner": "ann", "code": "1234", "data": {"n": 1}})
        bodies: list[dict[str, Any]] = [
            {"code": "1234"},
            {"code": "0000"},
            {"data": {"n": None}},
            {"data": {"x": {"y": 1}}},
            {"owner": "bob"},
            {"part": "none"},
        ]
        for body in bodies:
            for headers in ({}, {"if-match": '"v1"'}):
                hidden = await bob.patch("/things/hers", body, headers=headers)
                missing = await bob.patch("/things/none", body, headers=headers)
                assert (hidden.status, hidden.json.get("errors")) == (
                    missing.status,
                    missing.json.get("errors"),
                ), body
                assert hidden.status == 404
        whole = {"owner": "bob", "code": "1234"}
        assert (await bob.put("/things/hers", whole)).status == (await bob.put("/things/none", whole)).status == 404


async def test_hooks_do_not_see_records_that_the_actor_may_not_touch() -> None:
    seen: list[str] = []

    class Safe(
        Resource,
        path="saves",
        rules={"read": allow.everyone, "create": allow.everyone, "write": allow.where(owner=me.id)},
    ):
        owner: str

        @before("update", "delete")
        def look(self) -> None:
            seen.append(self.owner)

    async with client_for(Safe, auth=by_name) as nobody:
        at = (await nobody.post("/saves", {"owner": "ann"})).headers["location"]
        bob = nobody.acting("bob")
        assert (await bob.patch(at, {"owner": "bob"})).status == 403
        assert (await bob.delete(at)).status == 403
        assert seen == []
        assert (await nobody.acting("ann").delete(at)).status == 204
        assert seen == ["ann"]


async def test_rules_may_speak_of_time_on_every_action() -> None:
    class Offer(Resource, rules={"read": allow.where(ends__gt=now), "write": allow.where(ends__gt=now)}):
        title: str
        ends: datetime
        price: int = Field(default=0, read=allow.where(ends__lt=datetime(2999, 1, 1, tzinfo=UTC)))

    past, future = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    async with client_for(Offer) as client:
        ended = await client.app.records.create(Offer, title="ended", ends=past)
        at = (await client.post("/offers", {"title": "runs", "ends": future.isoformat()})).headers["location"]

        assert titles(await client.get("/offers")) == ["runs"]
        assert (await client.get(at)).status == 200
        assert (await client.get(f"/offers/{ended.id}")).status == 404
        assert (await client.patch(f"/offers/{ended.id}", {"title": "x"})).status == 404
        assert (await client.patch(at, {"title": "still"})).status == 200
        assert (await client.patch(at, {"ends": past.isoformat()})).status == 403
        assert (await client.post("/offers", {"title": "x", "ends": past.isoformat()})).status == 403
        async with client.live("offers") as view:
            assert titles(await view.ready()) == ["still"]
        assert (await client.delete(at)).status == 204


class Project(Record[str], rules={"read": allow.where(members__user=me.id), "write": allow.everyone}):
    title: str
    members: Many["Member"]


class Member(Record[int], rules={"read": allow.where(project__members__user=me.id), "write": allow.everyone}):
    project: Parent[Project]
    user: str


class Task(Resource, rules=allow.where(project__members__user=me.id)):
    project: Parent[Project]
    title: str


async def test_nested_paths_are_there_for_those_who_may_read_the_parent() -> None:
    async with client_for(Project, Member, Task, auth=by_name) as nobody:
        records, ann, bob = nobody.app.records, nobody.acting("ann"), nobody.acting("bob")
        await records.create(Project, id="p", title="P")
        await records.create(Project, id="q", title="Q")
        for user, project in (("ann", "p"), ("bob", "q"), ("ann", "q")):
            await records.create(Member, project=project, user=user)

        created = await ann.post("/projects/p/tasks", {"title": "a"})
        assert (created.status, created.json["project"]) == (201, "p")
        assert created.headers["location"] == f"/projects/p/tasks/{created.json['id']}"
        key = created.json["id"]
        assert titles(await ann.get("/projects/p/tasks")) == ["a"]
        assert (await ann.get(f"/projects/p/tasks/{key}")).status == 200
        assert (await ann.get(f"/tasks/{key}")).status == 200
        assert (await ann.get(f"/projects/q/tasks/{key}")).status == 404
        assert (await ann.patch(f"/projects/q/tasks/{key}", {"title": "x"})).status == 404
        assert (await ann.delete(f"/projects/q/tasks/{key}")).status == 404
        assert (await ann.post("/projects/p/tasks", {"title": "x", "project": "q"})).status == 422
        for url in (
            "/projects/p/tasks",
            f"/projects/p/tasks/{key}",
            "/projects/none/tasks",
            "/projects/p/tasks/subscribe",
        ):
            assert (await bob.get(url)).status == 404, url
        assert (await bob.post("/projects/p/tasks", {"title": "x"})).status == 404
        assert (await bob.post("/tasks", {"title": "x", "project": "p"})).status == 422


@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_a_stream_follows_the_rules_as_they_come_to_hold_and_cease_to(over: Any) -> None:
    async with client_for(Project, Member, Task, auth=by_name) as nobody:
        records, bob = nobody.app.records, nobody.acting("bob")
        await records.create(Project, id="p", title="P")
        await records.create(Task, project="p", title="a")
        async with bob.live("tasks", over=over) as view:
            assert await view.ready() == []
            member = await records.create(Member, project="p", user="bob")
            assert titles(await view.until(lambda rows: rows != [])) == ["a"]
            await records.create(Task, project="p", title="b")
            assert titles(await view.until(lambda rows: len(rows) == 2)) == ["a", "b"]
            await records.delete(Member, member.id)
            await view.until(lambda rows: rows == [])
            await records.create(Task, project="p", title="hidden")
            await bob.settled()
            assert view.records == []
            assert "hidden" not in str(view.events)


async def test_a_stream_is_refused_as_a_list_is() -> None:
    async with notes() as nobody:
        stranger = nobody.acting("bad")
        for url in ("/notes/subscribe", "/subscribe?queries=" + '{"a":{"resource":"notes"}}'):
            with pytest.raises(Refusal) as refusal:
                async with stranger.stream(url):
                    pass
            assert refusal.value.status == 401


@pytest.mark.parametrize("hooked", [False, True], ids=["plain", "with a hook"])
async def test_a_given_field_that_may_not_be_written_is_refused_whatever_its_value(hooked: bool) -> None:
    class Ticket(Resource, rules=allow.everyone):
        title: str
        priority: int = Field(default=0, write=allow.role("admin"))

    class HookedTicket(Ticket, path="tickets"):
        @before("update")
        async def look(self, request: Request, old: "HookedTicket") -> None:
            """Changes nothing."""

    async with client_for(HookedTicket if hooked else Ticket) as client:
        at = (await client.post("/tickets", {"title": "a"})).headers["location"]

        answer = await client.patch(at, {"priority": 0})

        assert (answer.status, faults(answer)) == (403, [("/priority", "not_writable")])


async def test_replacing_a_record_keeps_the_fields_that_are_not_the_actors_to_write() -> None:
    class Ticket(Resource, rules=allow.everyone):
        title: str
        priority: int = Field(default=0, write=allow.role("admin"))

    async with client_for(Ticket) as client:
        stored = await client.app.records.create(Ticket, title="a", priority=5)

        answer = await client.put(f"/tickets/{stored.id}", {"title": "b"})

        assert (answer.status, answer.json["title"], answer.json["priority"]) == (200, "b", 5)


async def test_replacing_does_not_tell_whether_a_hidden_value_was_guessed() -> None:
    class Ticket(Resource, rules=allow.everyone):
        title: str
        code: int = Field(default=0, read=allow.role("admin"), write=allow.role("admin"))

    async with client_for(Ticket) as client:
        stored = await client.app.records.create(Ticket, title="a", code=5)

        right = await client.put(f"/tickets/{stored.id}", {"title": "b", "code": 5})
        wrong = await client.put(f"/tickets/{stored.id}", {"title": "b", "code": 4})

        assert (right.status, wrong.status) == (403, 403)


async def test_the_stream_of_one_record_is_for_those_who_may_read_it() -> None:
    class Sheet(Resource, rules={"list": allow.role("staff"), "read": allow.everyone, "write": allow.everyone}):
        title: str

    async with client_for(Sheet, auth=by_name) as nobody:
        at = (await nobody.post("/sheets", {"title": "a"})).headers["location"]

        async with nobody.stream(f"{at}/subscribe") as stream:
            first = await stream.next()
        with pytest.raises(Refusal) as refused:
            async with nobody.stream("/sheets/subscribe"):
                raise AssertionError("the list is not for everyone")

        assert (first.kind, refused.value.status) == ("added", 401)
