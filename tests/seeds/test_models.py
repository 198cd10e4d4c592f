"""What booster's models said of their fields: required, defaults, immutable, visible, filtered by default."""

from typing import Any, Literal

import pytest

from crudite import (
    App,
    DeclarationError,
    Email,
    Field,
    NotFound,
    NotUnique,
    OpenApi,
    Parent,
    Record,
    Request,
    Resource,
    Rest,
    allow,
    before,
)
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, faults, titles


class Post(Record[int], rules=allow.everyone):
    title: str
    slug: str = Field(default="", required_on="replace")
    language: str = "en"
    author: str = Field(immutable=True)
    notes: str | None = None


@pytest.mark.promises("B71", "B73", "B74")
async def test_a_required_field_is_given_when_a_record_is_created_and_when_it_is_replaced_not_when_it_is_updated() -> (
    None
):
    async with client_for(Post) as client:
        refused = await client.post("/posts", {})
        assert (refused.status, faults(refused)) == (422, [("/author", "missing"), ("/title", "missing")])
        await client.post("/posts", {"title": "a", "author": "ann"})
        assert (await client.patch("/posts/1", {"language": "de"})).status == 200
        refused = await client.put("/posts/1", {"slug": "a"})
        assert (refused.status, faults(refused)) == (422, [("/title", "missing")])


@pytest.mark.promises("B73", "B74", "B80")
async def test_what_cannot_be_changed_is_kept_by_a_replace_that_leaves_it_out() -> None:
    async with client_for(Post) as client:
        await client.post("/posts", {"title": "a", "author": "ann"})
        replaced = await client.put("/posts/1", {"title": "b", "slug": "b"})
        assert (replaced.status, replaced.json["id"], replaced.json["author"]) == (200, 1, "ann")
        refused = await client.put("/posts/1", {"id": 2, "title": "b", "slug": "b"})
        assert (refused.status, faults(refused)) == (422, [("/id", "immutable")])


@pytest.mark.promises("B73")
async def test_a_field_may_be_left_out_when_a_record_is_created_and_not_when_it_is_replaced() -> None:
    async with client_for(Post) as client:
        created = await client.post("/posts", {"title": "a", "author": "ann"})
        assert (created.status, created.json["slug"]) == (201, "")
        refused = await client.put("/posts/1", {"title": "a"})
        assert (refused.status, faults(refused)) == (422, [("/slug", "missing")])
        description = OpenApi().document(client.app)["components"]["schemas"]
        assert description["PostCreate"]["required"] == ["title", "author"]
        assert description["PostReplace"]["required"] == ["title", "slug"]


@pytest.mark.promises("B73")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_field_that_is_required_sometimes_has_a_default() -> None:
    class Wrong(Resource):
        a: str = Field(required_on="replace")
        b: str = Field(default="", required_on="update")  # type: ignore[arg-type]

    with pytest.raises(DeclarationError) as caught:
        App(Wrong)

    assert caught.value.faults == (
        "Wrong.a: without a default it is required always; with one, required_on='replace' means something.",
        "Wrong.b: required_on is 'replace', or left out.",
    )


@pytest.mark.promises("B76")
async def test_what_is_immutable_is_given_once_and_may_be_repeated_but_not_changed() -> None:
    async with client_for(Post) as client:
        await client.post("/posts", {"title": "a", "author": "ann"})
        for refused in (
            await client.patch("/posts/1", {"author": "bob"}),
            await client.put("/posts/1", {"title": "a", "slug": "", "author": "bob"}),
        ):
            assert (refused.status, faults(refused)) == (422, [("/author", "immutable")])
        assert (await client.patch("/posts/1", {"author": "ann"})).status == 200
        assert (await client.get("/posts/1")).json["author"] == "ann"


@pytest.mark.promises("B77")
async def test_a_field_that_there_is_not_is_refused_by_every_writing_action_with_the_one_that_was_meant() -> None:
    async with client_for(Post) as client, client.websocket() as socket:
        await client.post("/posts", {"title": "a", "author": "ann"})
        whole = {"title": "a", "slug": "", "author": "ann", "titel": 1, "other": 2}
        for refused in (
            await client.post("/posts", whole),
            await client.put("/posts/1", whole),
            await client.patch("/posts/1", {"titel": 1, "other": 2}),
        ):
            assert faults(refused) == [("/other", "unknown_field"), ("/titel", "unknown_field")]
            assert "did you mean 'title'?" in refused.text
        socket.send({"jsonrpc": "2.0", "id": "x", "method": "posts.create", "params": {"data": whole}})
        assert "unknown_field" in str(await socket.next())


@pytest.mark.promises("B79")
async def test_a_default_is_there_when_a_field_is_created_or_replaced_without_and_an_update_leaves_it_alone() -> None:
    async with client_for(Post) as client:
        created = await client.post("/posts", {"title": "a", "author": "ann", "language": "de"})
        assert (created.json["language"], created.json["notes"]) == ("de", None)
        assert (await client.patch("/posts/1", {"title": "b"})).json["language"] == "de"
        assert (await client.put("/posts/1", {"title": "b", "slug": ""})).json["language"] == "en"
        assert (await client.post("/posts", {"title": "c", "author": "bob", "language": ""})).json["language"] == ""
        assert (await client.post("/posts", {"title": "c", "author": "bob", "notes": None})).json["notes"] is None


class Account(Record[str], rules=allow.everyone):
    email: Email = Field(unique=True)
    birthday: str = Field(default="", visible="private", read=allow.where(id="ann") & allow.role("staff"))
    salary: int = Field(default=0, visible="private")
    pin: str = Field(default="", visible="secret")


@pytest.mark.promises("B81", "B83")
async def test_private_fields_are_for_whom_a_rule_shows_them_and_secret_ones_for_nobody() -> None:
    async with client_for(Account, auth=by_name) as client:
        staff = client.acting("bob:staff")
        for name in ("ann", "eve"):
            data = {"id": name, "email": f"{name}@example.com", "birthday": "1 May", "salary": 5, "pin": "4711-x"}
            created = await staff.post("/accounts", data)
            assert "4711-x" not in created.text
        assert set((await client.get("/accounts/ann")).json) == {"id", "email", "version", "created_at", "updated_at"}
        assert (await staff.get("/accounts/ann")).json["birthday"] == "1 May"
        assert "birthday" not in (await staff.get("/accounts/eve")).json
        kept = await client.app.records.read(Account, "ann")
        assert (kept.birthday, kept.salary, hasattr(kept, "pin")) == ("1 May", 5, False)


@pytest.mark.promises("B81", "B83")
async def test_a_secret_is_in_no_event_no_problem_and_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with client_for(Account, auth=by_name) as client:
        async with client.live("accounts", over="websocket") as view:
            await view.ready()
            data = {"id": "ann", "email": "ann@example.com", "pin": "4711-x"}
            await client.post("/accounts", data)
            await client.patch("/accounts/ann", {"pin": "4712-x", "salary": 7})
            await client.patch("/accounts/ann", {"email": "anna@example.com"})
            await view.until(lambda rows: [row["email"] for row in rows] == ["anna@example.com"])
            assert not any(pin in str(view.events) for pin in ("4711-x", "4712-x"))  # versions may hold 471
        for answer in (
            await client.post("/accounts", data),
            await client.post("/accounts", {**data, "id": "bob", "pin": ["4711-x"]}),
            await client.get("/accounts?pin=4711-x"),
            await client.get("/accounts?sort=pin"),
        ):
            assert 400 <= answer.status < 500
            assert answer.status == 400 or "4711-x" not in answer.text
        assert not any(pin in caplog.text for pin in ("4711-x", "4712-x"))


@pytest.mark.promises("B42")
async def test_texts_in_an_address_are_read_by_the_type_of_their_field() -> None:
    class Item(Record[int], rules=allow.everyone):
        title: str
        size: int
        sold: bool = False

    async with client_for(Item) as client:
        for title, size, sold in (("a", 7, False), ("b", 10, True), ("c", 70, True)):
            await client.post("/items", {"title": title, "size": size, "sold": sold})
        assert titles(await client.get("/items?size=7")) == ["a"]
        assert titles(await client.get("/items?size[gt]=7&size[lt]=70")) == ["b"]
        assert titles(await client.get("/items?sold=true")) == ["b", "c"]
        assert faults(await client.get("/items?size=x&sold=1")) == [("size", "bad_value"), ("sold", "bad_value")]


class Task(Record[int], rules=allow.everyone):
    title: str
    status: Literal["open", "done", "gone"] = Field(default="open", default_filter=["open", "done"])
    shelf: str | None = Field(default=None, default_filter=None, clear_filter="all")


async def tasks(client: Client) -> None:
    for title, status, shelf in (("a", "open", None), ("b", "done", None), ("c", "gone", None), ("d", "open", "x")):
        await client.post("/tasks", {"title": title, "status": status, "shelf": shelf})


@pytest.mark.promises("B43")
async def test_a_list_is_filtered_by_default_by_those_fields_of_which_it_is_asked_nothing() -> None:
    async with client_for(Task) as client, client.websocket() as socket:
        await tasks(client)

        async def asked(query: str) -> list[str]:
            return titles(await client.get(f"/tasks?sort=title{query}"))

        assert await asked("") == ["a", "b"]
        assert await asked("&title[ne]=a") == ["b"]
        assert await asked("&status=gone") == ["c"]
        assert await asked("&status[ne]=done") == ["a", "c"]
        assert await asked("&status=*") == ["a", "b", "c"]
        assert await asked("&shelf=all") == ["a", "b", "d"]
        assert await asked("&shelf=all&status=*") == ["a", "b", "c", "d"]
        assert await asked("&shelf=x") == ["d"]
        assert await asked('&filter={"or":[{"status":"gone"},{"title":"a"}]}') == ["a", "c"]
        assert (await client.get("/tasks?count=exact")).headers["x-total-count"] == "2"

        assert (await client.get("/tasks/3")).json["title"] == "c"  # who knows the key is shown the record
        assert titles(await client.get("/tasks/3,4")) == ["c", "d"]
        called = await socket.call("tasks.list", {"query": {"sort": ["title"]}})
        assert titles(called["data"]) == ["a", "b"]
        called = await socket.call("tasks.list", {"query": {"where": {"status": "*", "shelf": "all"}}})
        assert len(called["data"]) == 4


@pytest.mark.promises("B43")
async def test_what_the_application_asks_for_itself_has_no_default_filter() -> None:
    client = client_for(Task)

    @client.app.read("all-tasks")
    async def everything(request: Request) -> Any:
        assert len(await request.records.list(Task)) == 4
        assert await request.records.count(Task) == 4
        return Task.where()

    async with client:
        await tasks(client)
        assert len(await client.app.records.list(Task)) == 4
        assert len((await client.get("/all-tasks")).json) == 4


@pytest.mark.promises("B43")
@pytest.mark.parametrize("over", ["sse", "websocket"])
async def test_a_live_list_is_filtered_by_default_as_well(over: Any) -> None:
    async with client_for(Task) as client:
        await tasks(client)
        async with (
            client.live("tasks", over=over, sort=["title"]) as usual,
            client.live("tasks", over=over, sort=["title"], where={"status": "*", "shelf": "all"}) as whole,
        ):
            assert (titles(await usual.ready()), titles(await whole.ready())) == (["a", "b"], ["a", "b", "c", "d"])
            await client.patch("/tasks/1", {"status": "gone"})
            await client.patch("/tasks/3", {"status": "open"})
            assert titles(await usual.until(lambda rows: titles(rows) == ["b", "c"])) == ["b", "c"]
            rows = await whole.until(lambda rows: [row["status"] for row in rows][:3] == ["gone", "done", "open"])
            assert titles(rows) == ["a", "b", "c", "d"]


@pytest.mark.promises("B43")
async def test_the_description_names_the_default_and_what_takes_it_off() -> None:
    async with client_for(Task) as client:
        components = OpenApi().document(client.app)["components"]
        given = components["parameters"]
        assert {"const": "all"} in components["schemas"]["TaskFilter"]["properties"]["shelf"]["anyOf"]
        assert given["Task.status"]["description"].endswith("Without it: `open`, `done`; `*` asks for all.")
        assert {"const": "*"} in given["Task.status"]["schema"]["anyOf"]
        assert given["Task.shelf"]["description"].endswith("Without it: `null`; `all` asks for all.")


@pytest.mark.promises("B43")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_default_filter_that_not_everybody_could_ask_for_is_refused() -> None:
    class Wrong(Resource):
        a: int = Field(default=1, default_filter="x")
        b: str = Field(default="", default_filter="x", visible="private")
        c: dict[str, Any] = Field(default={}, default_filter="x")
        d: str = Field(default="", default_filter=None)
        e: str = Field(default="", clear_filter="all")

    with pytest.raises(DeclarationError) as caught:
        App(Wrong)

    assert caught.value.faults == (
        "Wrong.a: the default_filter is not valid: expected an integer.",
        "Wrong.b: the default_filter is not valid: not everybody may see the field, so not everybody may ask for it.",
        "Wrong.c: the default_filter is not valid: JSON is not compared as a whole.",
        "Wrong.d: the default_filter is not valid: the field is never null.",
        "Wrong.e: clear_filter takes a default_filter off, and there is none.",
    )


@pytest.mark.promises("B105")
async def test_what_runs_before_a_record_is_saved_may_change_it_look_at_others_and_stop_it() -> None:
    class Group(Record[str], rules=allow.everyone):
        name: str

    class Member(Record[int], rules=allow.everyone):
        group: Parent[Group]
        name: str

        @before("create", "replace", "update")
        async def presave(self, request: Request) -> None:
            try:
                group = await request.records.read(Group, self.group)
            except NotFound:
                raise NotUnique("There is no such group.") from None
            self.name = f"{group.name}: {self.name.strip()}"

    async with client_for(Group, Member) as client:
        await client.post("/groups", {"id": "a", "name": "A"})
        assert (await client.post("/members", {"group": "a", "name": " ann "})).json["name"] == "A: ann"
        assert (await client.patch("/members/1", {"name": "bob"})).json["name"] == "A: bob"
        assert (await client.post("/members", {"group": "b", "name": "eve"})).status == 409


class Sheet(Record[int], rules=allow.everyone):
    meta: dict[str, Any] = Field(default_factory=dict)


@pytest.mark.promises("B13", "W22")
async def test_an_object_in_an_update_is_merged_and_one_at_the_path_of_its_field_replaces() -> None:
    async with client_for(Sheet, interfaces=[Rest(style="booster"), Rest("/old", style="wheelhouse")]) as client:
        await client.post("/sheets", {"meta": {"a": 1, "b": 2}})

        await client.patch("/sheets/1", {"meta": {"b": None, "c": 3}})
        assert (await client.get("/sheets/1/meta")).json == {"a": 1, "c": 3}
        await client.put("/old/sheets/1", {"meta": {"a": None, "d": 4}})
        assert (await client.get("/sheets/1/meta")).json == {"c": 3, "d": 4}
        await client.put("/sheets/1/meta", {"e": None})
        assert (await client.get("/sheets/1/meta")).json == {"e": None}
