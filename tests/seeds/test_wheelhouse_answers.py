"""What wheelhouse-resource answered, and told in its streams, is answered and told by its style."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest

from crudite import (
    App,
    BigInt,
    DeclarationError,
    Field,
    Forbidden,
    Many,
    Next,
    Parent,
    Query,
    Record,
    Request,
    Response,
    Rest,
    Sse,
    Wheelhouse,
    WheelhouseOptions,
    WheelhousePermissions,
    allow,
    before,
    me,
)
from crudite.testing import Client, Refusal, Stream
from tests.flows.worlds import by_name, client_for

JSON = "application/json"
Row = dict[str, Any]
Rows = list[Row]


class Dog(Record[int], rules=allow.everyone):
    name: str = Field(min_length=2)
    age: int = 0
    is_good: bool = True
    tag: str = Field(default="", unique=False)


class Toy(Record[int], rules=allow.everyone):
    dog: Parent[Dog]
    name: str


class Place(Record[str], rules=allow.everyone):
    id: str


def style(permissions: Any = None, **options: Any) -> Wheelhouse:
    """The style with options for dogs."""
    most = options.pop("most", 1000)
    return Wheelhouse(resources={Dog: WheelhouseOptions(permissions=permissions, **options)}, most=most)


def client(spoken: Wheelhouse | None = None, **options: Any) -> Client:
    """Somebody before an application that speaks as wheelhouse-resource did."""
    spoken = spoken or Wheelhouse()
    return client_for(Dog, Toy, interfaces=[Rest(style=spoken), Sse(style=spoken)], auth=by_name, **options)


def shape(response: Any) -> tuple[int, str | None, Any]:
    """Status, type and body of an answer; of an empty one neither."""
    kind = response.headers.get("content-type")
    return response.status, kind, response.json if kind == JSON else response.body.decode() or None


async def dogs(somebody: Client, *names: str) -> None:
    """Creates dogs, which have the ids 1, 2, …"""
    for name in names:
        assert (await somebody.post("/dogs", {"name": name})).status == 206


def dog(key: int, name: str, **values: Any) -> Row:
    """A dog as it is shown."""
    return {"id": key, "name": name, "age": 0, "is_good": True, "tag": "", **values}


REX, IDA = dog(1, "Rex"), dog(2, "Ida")
OLDER = {"age": 2}
SHORT = "name: String should have at least 2 characters."

# What is asked of an application that has the dogs Rex and Ida, and what comes back.
TABLE: list[tuple[str, str, Any, int, str | None, Any]] = [
    ("GET", "/dogs", None, 200, JSON, [REX, IDA]),
    ("GET", "/dogs/", None, 200, JSON, [REX, IDA]),
    ("GET", "/dogs/1", None, 200, JSON, REX),
    ("GET", "/dogs/%31", None, 200, JSON, REX),
    ("GET", "/dogs/7", None, 404, JSON, {"code": 404, "message": "Model 7 does not exist."}),
    ("GET", "/dogs/x", None, 404, JSON, {"code": 404, "message": "Model x does not exist."}),
    ("GET", "/dogs/1/name", None, 404, JSON, {"code": 404, "message": "There is nothing at this address."}),
    ("GET", "/nothing", None, 404, JSON, {"code": 404, "message": "There is nothing at this address."}),
    ("POST", "/dogs", {"name": "A"}, 422, JSON, {"code": 422, "message": SHORT}),
    ("POST", "/dogs", {}, 422, JSON, {"code": 422, "message": "name: This field is required."}),
    ("PUT", "/dogs/1", {"name": "A"}, 422, JSON, {"code": 422, "message": SHORT, "model": 1}),
    ("PUT", "/dogs/7", {"age": 1}, 404, JSON, {"code": 404, "message": "Model 7 does not exist."}),
    ("PUT", "/dogs/7", {"name": "A"}, 404, JSON, {"code": 404, "message": "Model 7 does not exist."}),
    ("DELETE", "/dogs/7", None, 404, JSON, {"code": 404, "message": "Model 7 does not exist."}),
    ("DELETE", "/dogs/7?force=maybe", None, 404, JSON, {"code": 404, "message": "Model 7 does not exist."}),
    ("PATCH", "/dogs/1", {"age": 1}, 405, JSON, {"code": 405, "message": "PATCH is not done here."}),
]

WRITES: list[tuple[str, str, Any, int, str | None, Any]] = [
    ("POST", "/dogs", {"name": "Bo"}, 206, JSON, {"id": 3}),
    ("POST", "/dogs/", {"name": "Bo"}, 206, JSON, {"id": 3}),
    ("PUT", "/dogs/1", {"age": 3}, 206, JSON, {"id": 1}),
    ("PUT", "/dogs/1", {**REX, "age": 3}, 206, JSON, {"id": 1}),
    ("DELETE", "/dogs/1", None, 204, None, None),
    ("POST", "/dogs/1/toys", {"name": "ball"}, 206, JSON, {"id": 1}),
]


async def told(somebody: Client, method: str, url: str, data: Any) -> tuple[int, str | None, Any]:
    """What one request is answered with."""
    return shape(await somebody.request(method, url, **({} if data is None else {"data": data})))


@pytest.mark.promises("W10", "W11", "W20", "W21", "W23", "X13")
async def test_each_request_is_answered_with_the_status_type_and_body_that_it_was() -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        told_of = [(m, url, data, *await told(somebody, m, url, data)) for m, url, data, *_ in TABLE]
        assert told_of == TABLE
        assert (await somebody.get("/dogs")).json == [REX, IDA]


@pytest.mark.promises("W10", "W11", "W21", "W24")
@pytest.mark.parametrize(("method", "url", "data", "status", "kind", "body"), WRITES)
async def test_each_write_is_answered_with_the_id_alone_or_with_nothing(
    method: str, url: str, data: Any, status: int, kind: str | None, body: Any
) -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        assert await told(somebody, method, url, data) == (status, kind, body)


@pytest.mark.promises("W14", "W23")
async def test_what_is_wrong_with_the_body_is_told_of_a_record_that_may_be_changed_and_not_read() -> None:
    class Mailbox(
        Record[int], rules={"read": allow.where(name=me.id), "create": allow.everyone, "write": allow.everyone}
    ):
        name: str = Field(min_length=2)

    class Shared(Record[int], rules=allow.where(name="open")):
        name: Literal["open", "shut"]

    async with client_for(Mailbox, Shared, interfaces=[Rest(style="wheelhouse")]) as somebody:
        await somebody.post("/mailboxes", {"name": "ann"})
        await somebody.post("/shareds", {"name": "open"})

        wrong = {"code": 422, "message": SHORT, "model": 1}
        assert shape(await somebody.put("/mailboxes/1", {"name": "A"})) == (422, JSON, wrong)
        assert shape(await somebody.put("/mailboxes/1", {"name": "bob"})) == (206, JSON, {"id": 1})
        assert [(await somebody.put(f"/shareds/{key}", {"name": 1})).status for key in (1, 2)] == [422, 404]


@pytest.mark.promises("W16")
async def test_what_comes_with_a_delete_is_given_to_the_function_that_decides() -> None:
    seen: list[Row] = []

    def may_go(request: Request, record: Row, body: Row) -> bool:
        seen.append(body)
        return body.get("value") == "yup"

    every = WheelhousePermissions(create=lambda request, body: True, delete=may_go)
    async with client(style(every)) as somebody:
        await dogs(somebody, "Rex", "Ida")

        for refused in ({"value": "no"}, {}):
            assert (await somebody.request("DELETE", "/dogs/1", refused)).status == 403
        assert (await somebody.delete("/dogs/1")).status == 403
        assert (await somebody.request("DELETE", "/dogs/1", content=b"{")).status == 400
        assert (await somebody.request("DELETE", "/dogs/1", [{"value": "yup"}])).status == 422
        assert shape(await somebody.request("DELETE", "/dogs/1", {"value": "yup"})) == (204, None, None)
        assert seen == [{"value": "no"}, {}, {}, {"value": "yup"}]
    async with client() as somebody:
        await dogs(somebody, "Rex")
        assert (await somebody.request("DELETE", "/dogs/1", content=b"[")).status == 204


@pytest.mark.promises("W10", "W28", "W30")
@pytest.mark.parametrize("permissions", [None, ["read"]])
async def test_several_ids_in_a_path_are_one_that_is_not_there_and_show_nothing_that_pick_takes_off(
    permissions: Any,
) -> None:
    spoken = style(permissions, pick=lambda request, row: {"id": row["id"]})
    async with client_for(Dog, Toy, interfaces=[Rest(style=spoken), Rest("/new")]) as somebody:
        await somebody.post("/new/dogs", [{"name": "Rex"}, {"name": "Ida"}])

        assert (await somebody.get("/dogs/1")).json == {"id": 1}
        for url in ("/dogs/1,2", "/dogs/1,2.json?omit=name"):
            missing = {"code": 404, "message": "Model 1,2 does not exist."}
            assert shape(await somebody.get(url)) == (404, JSON, missing)


@pytest.mark.promises("W10")
async def test_a_text_id_with_a_comma_is_one_id() -> None:
    async with client_for(Place, interfaces=[Rest(style="wheelhouse")]) as somebody:
        created = await somebody.post("/places", {"id": "a,b"})

        assert (await somebody.get("/places/a,b")).json == {"id": "a,b"}
        assert (await somebody.get(created.headers["location"])).json == {"id": "a,b"}


@pytest.mark.promises("W22")
async def test_put_changes_what_is_given_and_leaves_the_rest() -> None:
    async with client() as somebody:
        await somebody.post("/dogs", {"name": "Rex", "age": 3, "tag": "x"})
        await somebody.put("/dogs/1", {"age": 4})

        assert (await somebody.get("/dogs/1")).json == dog(1, "Rex", age=4, tag="x")
        await somebody.delete("/dogs/1")
        assert (await somebody.get("/dogs")).json == []


@pytest.mark.promises("W22")
async def test_what_was_shown_can_be_sent_back_with_attributes_that_are_no_fields() -> None:
    def labelled(request: Request, row: Row) -> Row:
        return {**row, "label": row["name"].upper(), "_id": row["id"]}

    def counted(request: Request, rows: Rows) -> Rows:
        return [{**row, "of": len(rows)} for row in rows]

    for spoken in (style(pick=labelled, read=counted), Wheelhouse()):
        async with client(spoken) as somebody:
            await dogs(somebody, "Rex")
            shown = (await somebody.get("/dogs/1")).json

            saved = await somebody.put("/dogs/1", {**shown, "age": 3, "created_at": "2014-01-01", "cid": "c1"})
            assert shape(saved) == (206, JSON, {"id": 1})
            made = await somebody.post("/dogs", {**shown, "id": 5, "name": "Ida", "cid": "c1"})
            assert shape(made) == (206, JSON, {"id": 5})
            assert [(one.name, one.age) for one in await somebody.app.records.list(Dog)] == [("Rex", 3), ("Ida", 0)]
            told = await somebody.put("/dogs/1", {"name": "A", "cid": "c1"})
            assert shape(told) == (422, JSON, {"code": 422, "message": SHORT, "model": 1})
            nested = await somebody.post("/dogs/1/toys", {"name": "ball", "cid": "c1"})
            assert shape(nested) == (206, JSON, {"id": 1})
            for broken in ("{", '{"age": 01}', ""):
                answer = await somebody.request("PUT", "/dogs/1", content=broken.encode())
                assert (answer.status, answer.json["code"]) == (400, 400)


class Cat(Record[int], rules=allow.everyone):
    name: str = Field(min_length=2)
    chip: str = Field(default="", read=allow.nobody)
    extra: dict[str, Any] = Field(default_factory=dict)


def schemaless(**options: Any) -> Client:
    """Somebody before an application in which cats have attributes that nobody declared."""
    old = Wheelhouse(resources={Cat: WheelhouseOptions(extra="extra", **options)})
    return client_for(Cat, interfaces=[Rest(style=old), Sse(style=old), Rest("/v2")])


async def test_attributes_that_nobody_declared_are_kept_and_shown_where_the_options_say_in_which_field() -> None:
    async with schemaless() as somebody:
        made = await somebody.post("/cats", {"name": "Tom", "colour": "red", "_private": "hush", "size": {"a": 1.5}})
        assert (made.status, made.json) == (206, {"id": 1})
        tom = {"id": 1, "name": "Tom", "colour": "red", "_private": "hush", "size": {"a": 1.5}}
        assert (await somebody.get("/cats/1")).json == tom
        assert (await somebody.get("/cats")).json == [tom]
        assert (await somebody.get("/cats?whereKey=colour&whereValue=red&pick=colour")).json == [{"colour": "red"}]
        assert (await somebody.put("/cats/1", {**tom, "colour": "grey", "weight": 3, "_private": None})).status == 206
        tom = {"id": 1, "name": "Tom", "colour": "grey", "size": {"a": 1.5}, "weight": 3}
        assert (await somebody.get("/cats/1")).json == tom
        assert (await somebody.put("/cats/1", {"name": "Tim"})).status == 206
        assert (await somebody.get("/cats/1")).json == {**tom, "name": "Tim"}
        assert (await somebody.put("/cats/1", {"name": "T", "colour": "x"})).status == 422
        shown = (await somebody.get("/v2/cats/1")).json
        assert shown["extra"] == {"colour": "grey", "size": {"a": 1.5}, "weight": 3}
        assert (await somebody.post("/v2/cats", {"name": "Bo", "colour": "red"})).status == 422
        assert (await somebody.post("/cats", [{"name": "Al", "a": 1}, {"name": "Ed", "a": 2}])).status == 206
        assert (await somebody.get("/cats?whereKey=a&whereValue=2&pick=name,a")).json == [{"name": "Ed", "a": 2}]


async def test_an_attribute_that_nobody_declared_never_stands_in_the_place_of_a_field() -> None:
    async with schemaless() as somebody:
        extra = {"id": 7, "name": "Fake", "chip": "fake", "colour": "red"}
        await somebody.post("/v2/cats", {"name": "Tom", "extra": extra})
        assert (await somebody.get("/cats")).json == [{"id": 1, "name": "Tom", "colour": "red"}]
        await somebody.put("/cats/1", {"extra": {"colour": "blue"}})  # an attribute like any other to these clients
        assert (await somebody.get("/cats/1")).json == {
            "id": 1, "name": "Tom", "colour": "red", "extra": {"colour": "blue"}
        }  # fmt: skip


async def test_functions_and_streams_find_attributes_that_nobody_declared() -> None:
    def is_red(request: Request, record: Row) -> bool:
        return record.get("colour") == "red"

    permissions = WheelhousePermissions(
        read=is_red,
        create=lambda request, records, body: all("colour" in one for one in records) and "colour" in body,
        update=lambda request, record, body: is_red(request, record),
    )
    async with (
        schemaless(
            permissions=permissions, filter=lambda request, records: [{**one, "is": one["colour"]} for one in records]
        ) as somebody,
        listening(somebody, "/cats/subscribe") as stream,
    ):
        assert (await somebody.post("/cats", {"name": "Tom"})).status == 403
        assert (await somebody.post("/cats", {"name": "Tom", "colour": "red"})).status == 206
        assert await next_of(stream) == ("add", {"id": 1, "name": "Tom", "colour": "red", "is": "red"})
        assert (await somebody.get("/cats/1")).json == {"id": 1, "name": "Tom", "colour": "red"}
        assert (await somebody.put("/cats/1", {"colour": "grey"})).status == 206
        assert await next_of(stream) == ("remove", {"id": 1})
        assert (await somebody.put("/cats/1", {"colour": "red"})).status == 403
        assert (await somebody.get("/cats/1")).status == 403


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.parametrize("extra", ["name", "extras"])
def test_attributes_that_nobody_declared_are_kept_in_a_field_that_can_hold_them(extra: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        client_for(Cat, interfaces=[Rest(style=Wheelhouse(resources={Cat: WheelhouseOptions(extra=extra)}))])
    assert refused.value.faults == ("The wheelhouse style's extra for Cat is to name a field of it, a dict[str, Any].",)


async def test_a_function_is_asked_about_the_body_as_it_came_and_as_steps_in_front_have_left_it() -> None:
    asked: list[Any] = []

    def deciding(request: Request, row: Any, body: Any) -> bool:
        asked.append(body)
        return "password" in body

    somebody = client(style(WheelhousePermissions(create=deciding, update=deciding, delete=lambda *given: True)))

    @somebody.app.use(action=("create", "update"))
    async def lower(request: Request, next: Next) -> Response:
        if "as" in request.headers:
            given = msgspec.json.decode(request.data)
            changed = {**given, "name": given["name"].lower()}
            kinds = {"data": changed, "raw": msgspec.Raw(msgspec.json.encode(changed)), "record": Dog(name="rex")}
            request.data = kinds[request.headers["as"]]
        return await next()

    async with somebody:
        for kind in ("data", "raw"):
            rex = {"name": "Rex", "password": "x"}
            assert (await somebody.post("/dogs", rex, headers={"as": kind})).status == 206
            assert (await somebody.put("/dogs/1", {**rex, "age": 4}, headers={"as": kind})).status == 206
        assert asked == [{"name": "rex", "password": "x"}, {"name": "rex", "password": "x", "age": 4}] * 2
        assert [(one.name, one.age) for one in await somebody.app.records.list(Dog)] == [("rex", 4), ("rex", 0)]
        assert shape(await somebody.put("/dogs/1", {"name": "Rex"}, headers={"as": "record"})) == DENIED
        assert asked[-1]["name"] == "rex"
        assert (await somebody.delete("/dogs/2")).status == 204


async def test_a_function_is_asked_about_one_record_and_never_about_several_or_about_what_is_none() -> None:
    asked: list[Any] = []

    def noting(request: Request, row: Any, body: Row) -> bool:
        asked.append(body)
        return bool(body.get("is_good", True))

    async with client(style(WheelhousePermissions(create=noting, update=noting))) as somebody:
        await stock(somebody, "Rex")
        for body in ([{"name": "Ida"}], [], 7, "Ida"):
            no_object = {"code": 422, "message": "A record is a JSON object."}
            assert shape(await somebody.post("/dogs", body)) == (422, JSON, no_object)
            assert shape(await somebody.put("/dogs/1", body)) == (422, JSON, {**no_object, "model": 1})
        assert asked == []
        assert len(await somebody.app.records.list(Dog)) == 1


async def test_a_body_that_is_nested_deeply_is_refused_like_any_other() -> None:
    decides = WheelhousePermissions(create=lambda request, rows, body: True)
    for permissions in (decides, None):
        async with client(style(permissions)) as somebody:
            for depth in (300, 700, 5_000):
                deep = b'{"name": ' + b"[" * depth + b"]" * depth + b"}"
                answer = await somebody.request("POST", "/dogs", content=deep)
                assert answer.status in (400, 422)
                beside = deep.replace(b"name", b"cid").replace(b"{", b'{"name": "Rex", ')
                assert (await somebody.request("POST", "/dogs", content=beside)).status in (206, 400)


async def test_where_no_function_decides_several_records_may_be_created_at_once() -> None:
    async with client(style(["create"])) as somebody:
        answer = await somebody.post("/dogs", [{"name": "Rex", "cid": "c1"}, {"name": "Ida"}])
        assert shape(answer) == (206, JSON, [{"id": 1}, {"id": 2}])
        assert shape(await somebody.post("/dogs", [])) == (206, JSON, [])
        answer = await somebody.post("/dogs", [7, {"name": "A"}])
        both = "0: A record is a JSON object.; 1/name: String should have at least 2 characters."
        assert shape(answer) == (422, JSON, {"code": 422, "message": both})
        assert (await somebody.request("POST", "/dogs", content=b"[{")).status == 400
        records = somebody.app.records
        assert [one.name for one in await records.list(Dog)] == ["Rex", "Ida"]


async def test_what_a_step_answers_by_itself_is_told_as_it_is() -> None:
    somebody = client()

    @somebody.app.use(name="dogs", action=("create", "update"))
    async def later(request: Request, next: Next) -> Any:
        return {"queued": request.action}

    async with somebody:
        assert shape(await somebody.post("/dogs", {"name": "Rex"})) == (206, JSON, {"queued": "create"})
        assert shape(await somebody.put("/dogs/1", {"name": "Rex"})) == (206, JSON, {"queued": "update"})


async def test_an_error_of_the_application_is_told_by_what_was_tried_and_nothing_of_the_body_with_it() -> None:
    class Bad(Record[int], rules=allow.everyone, path="bads"):
        name: str

        @before("create")
        async def fail(self) -> None:
            raise RuntimeError("secret")

    async with client_for(Bad, interfaces=[Rest(style="wheelhouse")]) as somebody:
        answer = await somebody.post("/bads", {"name": "a"})
        assert shape(answer) == (500, JSON, {"code": 500, "message": "create error"})


# Shaping what is shown


@pytest.mark.promises("W29", "W30", "W31", "W32", "W34", "W36")
@pytest.mark.parametrize(
    ("query", "several", "single"),
    [
        ("pick=id,age", [{"id": 1, "age": 0}, {"id": 2, "age": 0}], {"id": 1, "age": 0}),
        ("pick=name", [{"name": "Rex"}, {"name": "Ida"}], {"name": "Rex"}),
        ("omit=age,is_good,tag", [{"id": 1, "name": "Rex"}, {"id": 2, "name": "Ida"}], {"id": 1, "name": "Rex"}),
        ("pick=id,name&omit=name", [{"id": 1}, {"id": 2}], {"id": 1}),
        ("pick=id,nothing", [{"id": 1}, {"id": 2}], {"id": 1}),
        ("pick=", [REX, IDA], REX),
        ("whereKey=name&whereValue=Ida", [IDA], REX),
        ("whereKey=name&whereValue=ida", [], REX),
        ("whereKey=nothing&whereValue=1", [], REX),
        ("whereKey=name", [REX, IDA], REX),
        ("whereValue=Ida", [REX, IDA], REX),
        ("pick=id&whereKey=name&whereValue=Ida", [], {"id": 1}),
        ("pick=id,name&whereKey=name&whereValue=Ida", [{"id": 2, "name": "Ida"}], {"id": 1, "name": "Rex"}),
        ("limit=1&sort=-id&name=Ida", [REX, IDA], REX),
    ],
)
async def test_a_url_may_pick_and_omit_attributes_and_look_for_a_value(query: str, several: Any, single: Any) -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        assert (await somebody.get(f"/dogs?{query}")).json == several
        assert (await somebody.get(f"/dogs/1?{query}")).json == single


class Thing(Record[int], rules=allow.everyone):
    text: str = ""
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    large: BigInt = 0


@pytest.mark.promises("W33")
async def test_a_value_to_look_for_has_the_type_that_it_looks_like() -> None:
    async with client_for(Thing, interfaces=[Rest(style="wheelhouse")]) as somebody:
        await somebody.post("/things", {"text": "2nd", "whole": 1, "number": 2.5, "flag": True, "large": "9"})
        await somebody.post("/things", {"text": "2014-01-01", "whole": 2014, "number": 1.0, "flag": False})

        async def found(key: str, value: str) -> list[int]:
            rows = (await somebody.get(f"/things?whereKey={key}&whereValue={value}")).json
            return [row["id"] for row in rows]

        assert await found("flag", "true") == [1]
        assert await found("flag", "false") == [2]
        assert await found("flag", "1") == []
        assert await found("whole", "1") == [1]
        assert await found("whole", "true") == []
        assert await found("number", "2.5") == [1]
        assert await found("number", "1") == [2]
        assert await found("text", "2nd") == [1]
        assert await found("text", "2014-01-01") == [2]
        assert await found("whole", "2014-01-01") == []
        assert await found("large", "9") == [1]
        assert await found("whole", "--") == []


@pytest.mark.promises("W26", "W27", "W28", "W35")
async def test_filter_pick_the_url_and_the_hook_shape_what_is_shown_in_this_order_and_nothing_that_is_stored() -> None:
    def filter(request: Request, rows: Rows) -> Rows:
        for row in rows:
            del row["tag"]
            row["seen"] = "filter"
        return rows

    def pick(request: Request, row: Row) -> Row:
        return {"id": row["id"], "name": row["name"], "seen": "pick"}

    async def read(request: Request, rows: Rows) -> Rows:
        return [{**row, "has": sorted(row), "by": request.actor.id} for row in rows]

    async with client(style(filter=filter, pick=pick, read=read)) as somebody:
        await dogs(somebody, "Rex", "Ida")

        several = await somebody.acting("ann").get("/dogs?pick=id,seen,has")
        by_ann = {"seen": "filter", "has": ["id", "seen"], "by": "ann"}
        assert several.json == [{"id": 1, **by_ann}, {"id": 2, **by_ann}]
        single = await somebody.get("/dogs/2?omit=name")
        assert single.json == {"id": 2, "seen": "pick", "has": ["id", "seen"], "by": None}
        assert (await somebody.get("/dogs?whereKey=seen&whereValue=pick")).json == []
        found = await somebody.get("/dogs?pick=seen&whereKey=seen&whereValue=filter")
        assert [row["has"] for row in found.json] == [["seen"], ["seen"]]
        assert [row.tag for row in await somebody.app.records.list(Query(Dog))] == ["", ""]


@pytest.mark.promises("W35")
async def test_a_hook_that_returns_nothing_changes_nothing_and_one_that_returns_no_record_shows_none() -> None:
    def read(request: Request, rows: Rows) -> Rows | None:
        return [] if "gone" in request.headers else None

    async with client(style(read=read)) as somebody:
        await dogs(somebody, "Rex")

        assert (await somebody.get("/dogs")).json == [REX]
        assert (await somebody.get("/dogs/1")).json == REX
        assert (await somebody.get("/dogs", headers={"gone": "1"})).json == []
        assert (await somebody.get("/dogs/1", headers={"gone": "1"})).status == 404


# Permissions

DENIED = (403, JSON, {"code": 403, "message": "Permission denied."})
NO_DOGS = (403, JSON, {"code": 403, "message": "No permission for dogs"})


async def stock(somebody: Client, *names: str) -> None:
    """Dogs that nobody has asked for permission."""
    for name in names:
        await somebody.app.records.create(Dog(name=name))


async def tried(somebody: Client) -> dict[str, int]:
    """With which status each action is answered, on one dog."""
    return {
        "create": (await somebody.post("/dogs", {"name": "Bo"})).status,
        "list": (await somebody.get("/dogs")).status,
        "read": (await somebody.get("/dogs/1")).status,
        "update": (await somebody.put("/dogs/1", OLDER)).status,
        "delete": (await somebody.delete("/dogs/1")).status,
    }


ALL = {"create": 206, "list": 200, "read": 200, "update": 206, "delete": 204}
NONE = dict.fromkeys(ALL, 403)
READING = {**NONE, "list": 200, "read": 200}


@pytest.mark.promises("W12", "W13", "W16", "W17", "W18")
@pytest.mark.parametrize(
    ("permissions", "outcome"),
    [
        (None, ALL),
        (["create", "read", "update", "del"], ALL),
        (("create", "read", "update", "delete"), ALL),
        (["read"], READING),
        ("read", READING),
        ([], NONE),
        (lambda request: ["read"], READING),
        (lambda request: None, NONE),
        (lambda request, rows: ["read"] if len(rows) == 1 else [], {**NONE, "list": 200, "read": 200}),
        (lambda request: WheelhousePermissions(read=lambda request, rows: True), READING),
        (WheelhousePermissions(), NONE),
        (WheelhousePermissions(read=lambda request, rows: False), NONE),
        (WheelhousePermissions(read=lambda request, rows: []), {**NONE, "list": 200}),
        (WheelhousePermissions(read=lambda request, rows: rows), READING),
        (WheelhousePermissions(create=lambda request, rows, body: body == {"name": "Bo"}), {**NONE, "create": 206}),
        (WheelhousePermissions(create=lambda request, rows, body: None), NONE),
        (
            WheelhousePermissions(update=lambda request, row, body: row == REX and body["age"] == 2),
            {**NONE, "update": 206},
        ),
        (WheelhousePermissions(delete=lambda request, row, body: row["name"] == "Rex"), {**NONE, "delete": 204}),
    ],
)
async def test_permissions_are_words_or_functions_and_what_is_not_named_is_denied(
    permissions: Any, outcome: dict[str, int]
) -> None:
    async with client(style(permissions)) as somebody:
        await stock(somebody, "Rex")

        assert await tried(somebody) == outcome


@pytest.mark.promises("W12", "W20", "W42", "W50")
async def test_the_request_says_who_asks_and_a_denial_says_what_for() -> None:
    def permissions(request: Request) -> list[str]:
        return ["create", "read", "update", "del"] if request.actor.id == "ann" else []

    async with client(style(permissions)) as somebody:
        ann = somebody.acting("ann")
        assert (await ann.post("/dogs", {"name": "Rex"})).status == 206

        assert shape(await somebody.get("/dogs")) == NO_DOGS
        assert shape(await somebody.get("/dogs/1")) == (403, JSON, {"code": 403, "message": "No permission for 1"})
        assert shape(await somebody.post("/dogs", {"name": "Bo"})) == DENIED
        assert shape(await somebody.put("/dogs/1", {"age": 1})) == DENIED
        assert shape(await somebody.delete("/dogs/1")) == DENIED
        for url in ("/dogs/subscribe", "/dogs/1/subscribe"):
            assert shape(await somebody.get(url)) == DENIED
        assert (await ann.get("/dogs")).json == [REX]


def good(request: Request, rows: Rows) -> Rows:
    """Good dogs may be seen by everybody."""
    return [row for row in rows if row["is_good"]]


@pytest.mark.promises("W14", "W15", "W17", "W19")
async def test_exactly_those_records_are_read_that_the_function_returns_and_no_others_can_be_told_from_none() -> None:
    async with client(
        style(WheelhousePermissions(read=good, update=lambda request, row, body: row["age"] == 0))
    ) as one:
        await stock(one, "Rex", "Ida", "Bo")
        await one.put("/dogs/2", {"is_good": False})

        assert [row["id"] for row in (await one.get("/dogs")).json] == [1, 3]
        assert (await one.get("/dogs/1")).json == REX
        assert (await one.get("/dogs/2")).status == (await one.get("/dogs/9")).status == 403
        assert shape(await one.put("/dogs/9", {"age": 1})) == DENIED
        await one.put("/dogs/1", {"age": 1})
        assert shape(await one.put("/dogs/1", {"age": 2})) == DENIED


async def test_a_function_cannot_show_or_allow_what_the_rules_do_not() -> None:
    class Note(Record[str], rules={"read": allow.where(owner=me.id), "write": allow.where(owner=me.id)}):
        owner: str
        text: str = ""

    def everything(request: Request, rows: Rows) -> Rows:
        return [*rows, {"id": "theirs", "owner": "bob", "text": "secret"}]

    permissions = WheelhousePermissions(read=everything, update=lambda request, row, body: True)
    spoken = Wheelhouse(resources={Note: WheelhouseOptions(permissions=permissions)})
    async with client_for(Note, interfaces=[Rest(style=spoken)], auth=by_name) as somebody:
        ann = somebody.acting("ann")
        await somebody.app.records.create(Note(id="theirs", owner="bob", text="secret"))
        await somebody.app.records.create(Note(id="mine", owner="ann"))

        assert (await ann.get("/notes")).json == [{"id": "mine", "owner": "ann", "text": ""}]
        assert (await ann.get("/notes/theirs")).status == 403
        assert (await ann.put("/notes/theirs", {"text": "x"})).status == 403
        assert (await ann.put("/notes/mine", {"text": "x"})).status == 206
        assert shape(await somebody.get("/notes")) == (403, JSON, {"code": 403, "message": "No permission for notes"})


@pytest.mark.promises("W20", "W50")
async def test_who_is_not_known_is_answered_403_as_ever_and_a_record_that_rules_hide_is_not_there() -> None:
    class Note(Record[int], rules={"read": allow.where(owner=me.id), "write": allow.signed_in}):
        owner: str = "ann"

    spoken = Wheelhouse()
    async with client_for(Note, interfaces=[Rest(style=spoken), Sse(style=spoken)], auth=by_name) as somebody:
        await somebody.app.records.create(Note())
        for unknown in (somebody, somebody.acting("bad")):
            for url, what in (("/notes", "notes"), ("/notes/1", "1"), ("/notes/9", "9")):
                told = {"code": 403, "message": f"No permission for {what}"}
                assert shape(await unknown.get(url)) == (403, JSON, told)
            assert shape(await unknown.post("/notes", {})) == DENIED
            assert shape(await unknown.put("/notes/1", {})) == DENIED
            assert shape(await unknown.delete("/notes/1")) == DENIED
            for url in ("/notes/subscribe", "/notes/1/subscribe"):
                assert shape(await unknown.get(url)) == DENIED
        bob = somebody.acting("bob")
        hidden = (404, JSON, {"code": 404, "message": "Model 1 does not exist."})
        assert shape(await bob.get("/notes/1")) == hidden
        assert shape(await bob.put("/notes/1", {"owner": "bob"})) == (206, JSON, {"id": 1})


WORDS = "not words or WheelhousePermissions(…)."
A_LIST = "not a list."


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("/dogs", {"filter": lambda request, rows: None}, f"filter of Dog returned None, {A_LIST}"),
        ("/dogs", {"filter": lambda request, rows: [7]}, "filter of Dog returned a value of the type int in its list"),
        ("/dogs/1", {"pick": lambda request, row: None}, "pick of Dog returned None, not a record."),
        ("/dogs", {"read": lambda request, rows: {}}, f"read of Dog returned a value of the type dict, {A_LIST}"),
        ("/dogs/1", {"read": lambda request, rows: 7}, f"read of Dog returned a value of the type int, {A_LIST}"),
        (
            "/dogs", {"permissions": WheelhousePermissions(read=lambda request, rows: None)},
            f"permissions.read of Dog returned None, {A_LIST}",
        ),
        (
            "/dogs/1", {"permissions": WheelhousePermissions(read=lambda request, rows: [1])},
            "permissions.read of Dog returned a value of the type int in its list, not a record.",
        ),
        (
            "/dogs", {"permissions": WheelhousePermissions(read=lambda request, record: [record])},
            "permissions.read of Dog returned a value of the type list, not True or False.",
        ),
        (
            "/dogs/1", {"permissions": WheelhousePermissions(read=lambda request: 1)},
            "permissions.read of Dog returned a value of the type int, not True or False.",
        ),
        ("/dogs", {"permissions": lambda request: ["reed"]}, "permissions of Dog returned 'reed'; did you mean 'read'"),
        ("/dogs", {"permissions": lambda request: 7}, f"permissions of Dog returned a value of the type int, {WORDS}"),
        ("/dogs", {"permissions": lambda request: [7]}, "permissions of Dog returned a value of the type list, not w"),
    ],
)  # fmt: skip
async def test_what_a_function_returns_wrongly_is_logged_by_its_option_and_the_resource(
    url: str, options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(style(**options)) as somebody:
        await stock(somebody, "Rex")
        answer = await somebody.get(url)
        assert (answer.status, answer.json["code"]) == (500, 500)
        assert "Dog" not in answer.body.decode()
        assert f"WheelhouseOptions.{said}" in caplog.text


async def test_more_records_than_a_function_is_given_are_refused() -> None:
    async with client(style(WheelhousePermissions(read=good), most=2)) as somebody:
        await stock(somebody, "Rex", "Ida")
        assert len((await somebody.get("/dogs")).json) == 2
        await stock(somebody, "Bo")

        for url in ("/dogs", "/dogs/1", "/dogs/1/subscribe"):
            answer = await somebody.get(url)
            assert (answer.status, answer.json["code"]) == (413, 413)


class Shy(
    Record[int],
    path="shy",
    rules={"read": allow.where(shown=True), "create": allow.everyone, "update": allow.everyone},
):
    name: str
    shown: bool = False


async def test_a_function_is_not_asked_about_a_record_that_a_rule_hides_where_rules_alone_let_it_be_changed() -> None:
    decided = WheelhousePermissions(update=lambda request, record, body: True)
    old = Wheelhouse(resources={Shy: WheelhouseOptions(permissions=decided)})
    async with client_for(Shy, interfaces=[Rest("/old", style="wheelhouse"), Rest("/older", style=old)]) as somebody:
        assert (await somebody.post("/old/shy", {"name": "Bo"})).status == 206
        assert shape(await somebody.put("/older/shy/1", {"name": "Al"})) == DENIED
        assert (await somebody.put("/old/shy/1", {"name": "Al", "shown": True})).status == 206
        assert (await somebody.put("/older/shy/1", {"name": "Ed"})).status == 206
        assert (await somebody.get("/old/shy/1")).json == {"id": 1, "name": "Ed", "shown": True}


async def told_of(somebody: Client) -> dict[str, int]:
    """What becomes of each request where there are two dogs."""
    return {
        "list": (await somebody.get("/dogs")).status,
        "one": (await somebody.get("/dogs/1")).status,
        "other": (await somebody.get("/dogs/2")).status,
        "nobody": (await somebody.get("/dogs/9")).status,
        "create": (await somebody.post("/dogs", {"name": "yup"})).status,
        "denied": (await somebody.post("/dogs", {"name": "nope"})).status,
        "update": (await somebody.put("/dogs/1", {"name": "yup"})).status,
        "delete": (await somebody.delete("/dogs/1")).status,
    }


def yup(request: Request, body: Row) -> bool:
    return body.get("name") == "yup"


async def yup_later(request: Request, body: Row) -> bool:
    return yup(request, body)


def is_first(request: Request, record: Row) -> bool:
    return bool(record["id"] == 1)


async def is_first_later(request: Request, record: Row) -> bool:
    return is_first(request, record)


@pytest.mark.parametrize(
    ("permissions", "one", "other", "nobody"),
    [
        (WheelhousePermissions(read=is_first, create=yup, update=yup, delete=yup), 200, 403, 403),
        (WheelhousePermissions(read=is_first_later, create=yup_later, update=yup_later, delete=yup), 200, 403, 403),
        (WheelhousePermissions(read=lambda request: True, create=yup, update=yup, delete=yup), 200, 200, 403),
        (WheelhousePermissions(read=lambda request: False, create=yup, update=yup, delete=yup), 403, 403, 403),
    ],
)
async def test_a_function_that_takes_no_records_decides_however_many_there_are(
    permissions: WheelhousePermissions, one: int, other: int, nobody: int
) -> None:
    async with client(style(permissions, most=1)) as somebody:
        await stock(somebody, "Rex", "Ida")
        assert await told_of(somebody) == {
            "list": 413, "one": one, "other": other, "nobody": nobody,
            "create": 206, "denied": 403, "update": 206, "delete": 403,
        }  # fmt: skip


async def test_a_function_of_one_record_decides_which_a_list_and_a_stream_show() -> None:
    permissions = WheelhousePermissions(read=lambda request, record: record["age"] < 5, create=yup)
    async with client(style(permissions)) as somebody:
        await stock(somebody, "Rex", "Ida")
        await somebody.app.records.update(Dog, 2, age=7)
        assert [one["name"] for one in (await somebody.get("/dogs")).json] == ["Rex"]
        async with listening(somebody, "/dogs/subscribe") as stream:
            await somebody.app.records.update(Dog, 2, age=3)
            await somebody.app.records.update(Dog, 1, age=6)
            told = dict([await next_of(stream), await next_of(stream)])
            assert told == {"add": dog(2, "Ida", age=3), "remove": {"id": 1}}


async def test_the_log_says_how_functions_are_given_more_records(caplog: pytest.LogCaptureFixture) -> None:
    decided = WheelhousePermissions(read=lambda request, record: True, create=lambda request, records, body: True)
    async with client(style(decided, most=1)) as somebody:
        await stock(somebody, "Rex", "Ida")
        for asked in (somebody.post("/dogs", {"name": "Bo"}), somebody.get("/dogs?pick=name")):
            answer = await asked
            assert (answer.status, answer.json["code"]) == (413, 413)
            assert "Wheelhouse" not in answer.body.decode()
            assert "Wheelhouse(most=…)" in caplog.text
            caplog.clear()


async def test_a_change_is_made_of_the_record_that_was_allowed_to_change_and_of_no_other() -> None:
    others = [1, 7]

    async def while_young(request: Request, row: Row, body: Any) -> bool:
        if others:  # somebody else is quicker, once each time
            await app.records.update(Dog, row["id"], age=others.pop(0))
        return bool(row["age"] < 5)

    somebody = client(style(WheelhousePermissions(update=while_young)))
    app = somebody.app
    async with somebody:
        await stock(somebody, "Rex")

        assert shape(await somebody.put("/dogs/1", {"tag": "x"})) == DENIED
        assert (await app.records.read(Dog, 1)).age == 7
        assert (await app.records.read(Dog, 1)).tag == ""
        await app.records.update(Dog, 1, age=1)
        others.append(2)
        assert (await somebody.put("/dogs/1", {"tag": "x"})).status == 206
        assert [(one.age, one.tag) for one in await app.records.list(Dog)] == [(2, "x")]
        others += [1, 2, 1, 2]
        assert (await somebody.put("/dogs/1", {"tag": "y"})).status == 409


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_options_that_cannot_be_are_refused_all_at_once() -> None:
    class Other(Record[int], rules=allow.everyone):
        name: str

    spoken = Wheelhouse(
        resources={Dog: WheelhouseOptions(permissions=["raed", "write", "del"]), Other: WheelhouseOptions()}
    )
    with pytest.raises(DeclarationError) as refused:
        App(Dog, Toy, store="sqlite:///:memory:", interfaces=[Rest(style=spoken), Sse(style=spoken)])
    assert refused.value.faults == (
        "The wheelhouse style has options for Other, which is none of the application's resources: Dog, Toy.",
        "The wheelhouse style's permissions for Dog have 'raed'; did you mean 'read'?",
        "The wheelhouse style's permissions for Dog have 'write': they are read, create, update, delete.",
    )
    with pytest.raises(ValueError, match="the booster style has no event streams"):
        Sse(style="booster")


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.parametrize("beside", [Sse(style="wheelhouse"), Sse(), Sse(style=style(["read"]))])
def test_a_stream_beside_a_list_that_shows_what_that_refuses_is_refused_with_all_other_faults(beside: Sse) -> None:
    def faults(*interfaces: Any) -> tuple[str, ...]:
        with pytest.raises(DeclarationError) as refused:
            client_for(Dog, Toy, interfaces=interfaces)
        return refused.value.faults

    different = (
        "The interfaces at '/' narrow rules by different options, so that one shows what another refuses; give them "
        "one style, such as old = Wheelhouse(…), or other prefixes."
    )
    misspelt = "The wheelhouse style's permissions for Dog have 'raed'; did you mean 'read'?"
    assert faults(Rest(style=style(["create"])), beside) == (different,)
    assert faults(beside, Rest(style=style(["create"]))) == (different,)
    assert faults(Rest(style=style(["raed"])), beside) == (misspelt, different)


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_interfaces_that_narrow_alike_or_not_at_all_or_stand_elsewhere_go_together() -> None:
    spoken = style(["create"])
    for interfaces in (
        [Rest(style=spoken), Sse(style=spoken)],
        [Rest(style=spoken), Sse(style=style(["create"])), Rest("/v2"), Sse("/v2")],
        [Rest(style=Wheelhouse(resources={Dog: WheelhouseOptions()})), Sse(style="wheelhouse")],
        [Rest(style="booster"), Sse()],
    ):
        client_for(Dog, Toy, interfaces=interfaces)


def of(option: str, takes: str) -> str:
    """The sentence for an option of dogs that cannot be called as it will be."""
    return f"The wheelhouse style's {option} for Dog is to be a function of ({takes})."


def every(request: Request, rows: Rows, more: Any = None) -> Rows:
    """All of them: takes more than it is given, and need not get it."""
    return rows


UNCALLABLE: list[tuple[Any, list[str]]] = [
    (WheelhouseOptions(filter=lambda dogs: dogs), [of("filter", "request, records")]),  # type: ignore[misc, arg-type]
    (WheelhouseOptions(pick=lambda dog: dog), [of("pick", "request, record")]),  # type: ignore[misc, arg-type]
    (WheelhouseOptions(read="dogs"), [of("read", "request, records")]),  # type: ignore[arg-type]
    (WheelhouseOptions(permissions=lambda: ["read"]), [of("permissions", "request")]),
    (WheelhouseOptions(permissions=lambda a, b, c: ["read"]), [of("permissions", "request, records")]),
    (
        WheelhouseOptions(permissions={"read": lambda request, rows: True}),
        ["The wheelhouse style's permissions for Dog are words, or WheelhousePermissions(…)."],
    ),
    (
        WheelhouseOptions(permissions=3),  # type: ignore[arg-type]
        ["The wheelhouse style's permissions for Dog are words, or WheelhousePermissions(…)."],
    ),
    (
        WheelhouseOptions(
            permissions=WheelhousePermissions(
                read=lambda: True,
                create=lambda request, rows: True,
                update=lambda request, row, body: True,
                delete=lambda request, row: True,
            ),
            filter=every,
            read=lambda *given: None,
        ),
        [
            of("permissions.read", "request, records) or (request, record) or (request"),
            of("permissions.create", "request, records, body) or (request, body"),
            of("permissions.delete", "request, record, body) or (request, body"),
        ],
    ),
    (["read"], ["The wheelhouse style's options for Dog are WheelhouseOptions(…), and nothing else."]),
]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.parametrize(("options", "faults"), UNCALLABLE)
def test_a_function_that_cannot_be_called_as_it_will_be_is_refused(options: Any, faults: list[str]) -> None:
    with pytest.raises(DeclarationError) as refused:
        client(Wheelhouse(resources={Dog: options}))
    assert list(refused.value.faults) == faults


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.parametrize(
    ("resources", "fault"),
    [
        (
            {"dogs": WheelhouseOptions()},
            "The wheelhouse style has options for 'dogs', which is to be a class; did you mean Dog?",
        ),
        ([Dog], "The wheelhouse style's resources are options by class: {Post: WheelhouseOptions(…)}."),
    ],
)
def test_a_name_in_place_of_a_class_is_refused_with_the_class_that_is_meant(resources: Any, fault: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        client(Wheelhouse(resources=resources))
    assert refused.value.faults == (fault,)


# Event streams


@asynccontextmanager
async def listening(somebody: Client, url: str) -> AsyncIterator[Stream]:
    """A stream whose opening has come."""
    async with somebody.stream(url) as stream:
        await somebody.settled()
        yield stream


async def next_of(stream: Stream) -> tuple[str, Any]:
    """The name and the data of the next event, which has no id."""
    event = await stream.next()
    assert event.id == ""
    return event.kind, event.data


@pytest.mark.promises("W37", "W39", "W49", "W47")
async def test_a_collection_tells_what_is_added_changed_and_removed_as_whole_records_and_no_snapshot() -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        async with listening(somebody, "/dogs/subscribe") as stream:
            await somebody.post("/dogs", {"name": "Bo"})
            assert await next_of(stream) == ("add", dog(3, "Bo"))
            await somebody.put("/dogs/1", {"age": 4})
            assert await next_of(stream) == ("change", dog(1, "Rex", age=4))
            await somebody.delete("/dogs/1")
            assert await next_of(stream) == ("remove", {"id": 1})
            await somebody.put("/dogs/2", {"age": 9})
            assert await next_of(stream) == ("change", dog(2, "Ida", age=9))


@pytest.mark.promises("W37", "W39")
async def test_what_happens_to_a_record_in_one_moment_is_told_as_one() -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        async with listening(somebody, "/dogs/subscribe") as stream:
            async with somebody.app.records.batch() as batch:
                batch.update(Dog, 1, age=4)
                batch.delete(Dog, 1)
                batch.create(Dog(id=3, name="Bo"))
                batch.delete(Dog, 3)
            assert await next_of(stream) == ("remove", {"id": 1})
            async with somebody.app.records.batch() as batch:
                batch.create(Dog(id=4, name="Max"))
                batch.update(Dog, 4, age=1)
            assert await next_of(stream) == ("add", dog(4, "Max", age=1))


@pytest.mark.promises("W38", "W39", "W45")
async def test_a_record_tells_that_it_changed_and_that_it_was_destroyed_and_of_no_other() -> None:
    async with client() as somebody:
        await dogs(somebody, "Rex", "Ida")

        async with listening(somebody, "/dogs/1/subscribe") as stream:
            await somebody.put("/dogs/2", {"age": 4})
            await somebody.put("/dogs/1", {"age": 4})
            assert await next_of(stream) == ("change", dog(1, "Rex", age=4))
            await somebody.delete("/dogs/1")
            assert await next_of(stream) == ("destroy", {"id": 1})


@pytest.mark.promises("W40", "W41", "X14")
async def test_a_stream_opens_with_ok_and_lives_by_comments() -> None:
    async with client() as somebody, somebody.stream("/dogs/7/subscribe") as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        parts: list[bytes] = []
        while b"retry" not in b"".join(parts):
            message = await asyncio.wait_for(stream.exchange.take(), 10)
            assert message is not None
            parts.append(message["body"])
        text = b"".join(parts).decode()
        assert text.startswith(":ok\n\n")
        assert text.removeprefix(":ok\n\n").startswith("retry: ")
        for connection in list(somebody.app.engine.connections):
            connection.send(connection.format.ping())
        message = await asyncio.wait_for(stream.exchange.take(), 10)
        assert message is not None
        assert message["body"] == b":\n"


@pytest.mark.promises("W44", "W46")
class Basket(Record[int], rules=allow.everyone):
    name: str = ""
    balls: Many["Ball"] = Field(settable=True)


class Ball(Record[int], rules=allow.everyone):
    basket: Parent[Basket]
    colour: str = "red"


@pytest.mark.parametrize(
    "permissions",
    [["read"], WheelhousePermissions(read=lambda request: True, delete=lambda request, record, body: False)],
)
async def test_no_link_in_a_body_writes_what_permissions_decide_about(permissions: Any) -> None:
    old = Wheelhouse(resources={Ball: WheelhouseOptions(permissions=permissions)})
    async with client_for(Basket, Ball, interfaces=[Rest("/old", style=old), Rest()]) as client:
        await client.post("/baskets", {"id": 1})
        await client.post("/balls", [{"id": 1, "basket": 1}, {"id": 2, "basket": 1}])
        for method, url, body in (
            ("PUT", "/old/baskets/1", {"name": "mine", "balls": [1]}), ("PUT", "/old/baskets/1", {"balls": []}),
            ("POST", "/old/baskets", {"id": 2, "balls": [1]}), ("POST", "/old/baskets", [{"id": 2}, {"balls": [1]}]),
        ):  # fmt: skip
            refused = await client.request(method, url, body)
            assert (refused.status, refused.json) == (403, {"code": 403, "message": "Permission denied."})
        assert [(ball["id"], ball["basket"]) for ball in (await client.get("/balls")).json] == [(1, 1), (2, 1)]
        assert (await client.put("/old/baskets/1", {"name": "mine", "ball": [1]})).status == 206
        assert [basket["name"] for basket in (await client.get("/baskets")).json] == ["mine"]
        assert (await client.patch("/baskets/1", {"balls": [1]})).status == 200  # where the style does not speak


async def test_a_stream_of_what_is_not_there_is_silent_and_ends_with_its_client() -> None:
    async with client() as somebody:
        async with listening(somebody, "/dogs/2/subscribe") as stream:
            await dogs(somebody, "Rex", "Ida")
            await somebody.settled()  # or one frame would hold its beginning and its change
            await somebody.put("/dogs/1", {"age": 1})
            await somebody.put("/dogs/2", {"age": 2})
            assert await next_of(stream) == ("change", dog(2, "Ida", age=2))
            assert len(somebody.app.engine.connections) == 1
        await somebody.settled()
        assert len(somebody.app.engine.connections) == 0


@pytest.mark.promises("W48")
async def test_what_stands_around_requests_stands_around_streams() -> None:
    somebody = client()

    @somebody.app.use(name="dogs", action="list")
    async def closed(request: Request, next: Next) -> Response:
        raise Forbidden("Not today.")

    async with somebody:
        for url in ("/dogs", "/dogs/subscribe"):
            assert (await somebody.get(url)).status == 403


@pytest.mark.promises("W43", "X15")
async def test_nobody_is_told_of_records_that_he_may_not_read_nor_of_their_end() -> None:
    async with client(style(WheelhousePermissions(read=good))) as somebody:
        await stock(somebody, "Rex", "Ida")
        records = somebody.app.records

        async with listening(somebody, "/dogs/subscribe") as stream:
            bad = await records.create(Dog(name="Bad", is_good=False))
            await records.update(Dog, bad.id, age=3)
            await records.delete(Dog, bad.id)
            await records.update(Dog, 1, is_good=False)
            assert await next_of(stream) == ("remove", {"id": 1})
            await records.update(Dog, 1, age=3)
            await records.update(Dog, 1, is_good=True)
            assert await next_of(stream) == ("add", dog(1, "Rex", age=3))
            await records.delete(Dog, 2)
            assert await next_of(stream) == ("remove", {"id": 2})

        async with listening(somebody, "/dogs/1/subscribe") as stream:
            await records.update(Dog, 1, is_good=False)
            assert await next_of(stream) == ("destroy", {"id": 1})
        assert shape(await somebody.get("/dogs/1/subscribe")) == DENIED


@pytest.mark.promises("W43", "W26")
async def test_a_stream_shows_what_a_read_shows_even_where_that_depends_on_all_records() -> None:
    def eldest(request: Request, rows: Rows) -> Rows:
        return sorted(rows, key=lambda row: -row["age"])[:1]

    def filter(request: Request, rows: Rows) -> Rows:
        for row in rows:
            del row["tag"]
        return rows

    def read(request: Request, rows: Rows) -> Rows:
        return [{**row, "for": request.actor.id} for row in rows]

    options = style(WheelhousePermissions(read=eldest), filter=filter, read=read)
    async with client(options) as somebody:
        await stock(somebody, "Rex", "Ida")
        await somebody.app.records.update(Dog, 1, age=5)

        async with listening(somebody.acting("ann"), "/dogs/subscribe?omit=is_good") as stream:
            await somebody.app.records.update(Dog, 2, age=4)
            await somebody.app.records.update(Dog, 2, age=7)
            told = [await next_of(stream), await next_of(stream)]
            ida = {"id": 2, "name": "Ida", "age": 7, "for": "ann"}
            assert sorted(told) == [("add", ida), ("remove", {"id": 1})]
            shown = await somebody.acting("ann").get("/dogs?omit=is_good")
            assert shown.json == [ida]

        async with listening(somebody, "/dogs/2/subscribe") as stream:
            await somebody.app.records.update(Dog, 1, age=9)
            assert await next_of(stream) == ("destroy", {"id": 2})


def without_keys(rows: Rows) -> Rows:
    for row in rows:
        del row["id"]
    return rows


KEYLESS: list[tuple[str, dict[str, Any]]] = [
    ("?pick=name", {}),
    ("?omit=id,age,is_good,tag&whereKey=name&whereValue=Bo", {}),
    ("?pick=name", {"filter": lambda request, rows: without_keys(rows)}),
    ("?pick=name", {"filter": lambda request, rows: without_keys([row for row in rows if row["name"] == "Bo"])}),
    ("", {"filter": lambda request, rows: [{"name": row["name"]} for row in rows]}),
    ("", {"filter": lambda request, rows: ({"name": row["name"]} for row in rows)}),
    ("?pick=id,name", {"read": lambda request, rows: without_keys(rows)}),
    ("", {"read": lambda request, rows: [{"name": row["name"]} for row in rows]}),
]


@pytest.mark.promises("W29", "W30", "W37")
@pytest.mark.parametrize(("query", "options"), KEYLESS)
async def test_what_is_shown_without_its_key_is_told_like_all_else(query: str, options: dict[str, Any]) -> None:
    async with client(style(**options)) as somebody:
        await stock(somebody, "Rex", "Ida")

        async with listening(somebody, f"/dogs/subscribe{query}") as stream:
            await somebody.post("/dogs", {"name": "Bo"})
            assert await next_of(stream) == ("add", {"name": "Bo"})
            await somebody.put("/dogs/3", {"age": 4})  # of which nothing is shown
            await somebody.delete("/dogs/3")
            assert await next_of(stream) == ("remove", {"id": 3})
            await somebody.put("/dogs/2", {"name": "Bo"})
            assert (await next_of(stream))[1] == {"name": "Bo"}


@pytest.mark.promises("W29", "W38")
async def test_one_record_that_is_shown_without_its_key_is_told_too() -> None:
    async with client(style(read=lambda request, rows: without_keys(rows))) as somebody:
        await stock(somebody, "Rex", "Ida")

        async with listening(somebody, "/dogs/1/subscribe?omit=age,is_good,tag") as stream:
            await somebody.put("/dogs/2", {"name": "Bo"})
            await somebody.put("/dogs/1", {"age": 4})
            await somebody.put("/dogs/1", {"name": "Max"})
            assert await next_of(stream) == ("change", {"name": "Max"})
            await somebody.delete("/dogs/1")
            assert await next_of(stream) == ("destroy", {"id": 1})


async def test_a_record_of_which_nothing_is_shown_any_more_is_told_as_destroyed_and_comes_back() -> None:
    def read(request: Request, rows: Rows) -> Rows:
        return [row for row in rows if row["is_good"]]

    async with client(style(read=read)) as somebody:
        await stock(somebody, "Rex")

        async with listening(somebody, "/dogs/1/subscribe") as stream:
            await somebody.put("/dogs/1", {"is_good": False})
            assert await next_of(stream) == ("destroy", {"id": 1})
            await somebody.put("/dogs/1", {"is_good": True})
            await somebody.settled()
            await somebody.put("/dogs/1", {"age": 3})
            assert await next_of(stream) == ("change", dog(1, "Rex", age=3))


async def test_a_stream_of_what_nobody_can_tell_apart_says_so_and_ends_and_what_is_no_record_is_not_told() -> None:
    def names_of_good(request: Request, rows: Rows) -> Rows:
        return [{"name": row["name"]} for row in rows if row["is_good"]]

    def with_number(request: Request, rows: Rows) -> Rows:
        return [*rows, {"number": len(rows)}]

    async with client(style(filter=names_of_good)) as somebody:
        await stock(somebody, "Rex")

        async with listening(somebody, "/dogs/subscribe") as stream:
            await somebody.post("/dogs", {"name": "Bad", "is_good": False})
            kind, data = await next_of(stream)
            assert (kind, data["problem"]["status"]) == ("problem", 400)
            with pytest.raises(EOFError):
                await stream.next()
        assert (await somebody.get("/dogs")).json == [{"name": "Rex"}]

    async with client(style(read=with_number)) as somebody, listening(somebody, "/dogs/subscribe") as stream:
        await somebody.post("/dogs", {"name": "Rex"})
        assert await next_of(stream) == ("add", REX)
        await somebody.post("/dogs", {"name": "Ida"})
        assert await next_of(stream) == ("add", IDA)
        assert (await somebody.get("/dogs")).json == [REX, IDA, {"number": 2}]


async def test_a_stream_that_holds_too_many_records_for_its_functions_says_so_and_ends() -> None:
    async with client(style(WheelhousePermissions(read=good), most=1)) as somebody:
        await stock(somebody, "Rex")

        async with listening(somebody, "/dogs/subscribe") as stream:
            await stock(somebody, "Ida")
            kind, data = await next_of(stream)
            assert (kind, data["problem"]["status"]) == ("problem", 413)
            with pytest.raises(EOFError):
                await stream.next()


async def test_a_stream_that_asks_no_function_holds_as_many_records_as_there_are() -> None:
    async with client(style(["read", "create", "update"], most=1)) as somebody:
        await stock(somebody, "Rex", "Ida")
        assert (await somebody.get("/dogs?pick=name")).status == 413

        async with listening(somebody, "/dogs/subscribe?pick=name&whereKey=name&whereValue=Bo") as stream:
            await somebody.put("/dogs/1", {"name": "Bo"})
            assert await next_of(stream) == ("add", {"name": "Bo"})
            await somebody.put("/dogs/2", {"name": "Bo"})
            assert await next_of(stream) == ("add", {"name": "Bo"})
            await somebody.put("/dogs/1", {"name": "Rex"})
            assert await next_of(stream) == ("remove", {"id": 1})


@pytest.mark.only_on("sqlite", reason="a store has no part in it")
async def test_what_is_wrong_in_a_url_is_named_once() -> None:
    app = App(Dog, store="sqlite:///:memory:", interfaces=[Rest(style="wheelhouse")])

    @app.read("sum")
    async def total(request: Request, of: int) -> int:
        return of

    async with Client(app) as client:
        refused = await client.get("/sum?of=x&by=1")
    assert refused.json == {
        "code": 400,
        "message": "of: Input should be a valid integer, unable to parse string as an integer.; "
        "by: There is no such argument.",
    }


async def test_a_stream_that_is_refused_tells_its_client_why() -> None:
    async with client(style([])) as somebody:
        with pytest.raises(Refusal) as refused:
            async with somebody.stream("/dogs/subscribe"):
                pass
        assert (str(refused.value), refused.value.status) == ("403: Permission denied.", 403)


async def test_a_stream_whose_function_fails_says_so_and_ends_and_the_log_says_which(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def filter(request: Request, rows: Rows) -> Any:
        return rows if len(rows) < 2 else None

    async with client(style(filter=filter)) as somebody:
        await stock(somebody, "Rex")
        async with listening(somebody, "/dogs/subscribe") as stream:
            await stock(somebody, "Ida")
            kind, data = await next_of(stream)
            assert (kind, data["problem"]["status"]) == ("problem", 500)
            with pytest.raises(EOFError):
                await stream.next()
        assert f"WheelhouseOptions.filter of Dog returned None, {A_LIST}" in caplog.text


async def test_a_default_interface_beside_it_speaks_its_own_words() -> None:
    interfaces = [Rest(), Sse(), Rest(prefix="/old", style="wheelhouse"), Sse(prefix="/old", style="wheelhouse")]
    async with client_for(Dog, Toy, interfaces=interfaces) as somebody:
        assert (await somebody.post("/old/dogs", {"name": "Rex"})).json == {"id": 1}
        assert (await somebody.get("/dogs/1")).json["version"] > 0
        assert (await somebody.get("/old/subscribe")).status == 404

        async with somebody.stream("/dogs/subscribe") as new, listening(somebody, "/old/dogs/subscribe") as old:
            assert [event.kind for event in await new.until("ready")] == ["added", "ready"]
            await somebody.patch("/dogs/1", {"age": 2})
            assert (await new.next()).kind == "changed"
            assert await next_of(old) == ("change", dog(1, "Rex", age=2))


@pytest.mark.parametrize("url", ["/old/dogs", "/old/dogs/1"])
@pytest.mark.parametrize("spoken", [Wheelhouse(), style(filter=lambda request, rows: rows), style(["read"])])
@pytest.mark.parametrize("shows", ["header", "parameter"])
async def test_a_stream_without_ids_is_not_resumed_and_tells_what_comes(
    url: str, spoken: Wheelhouse, shows: str
) -> None:
    interfaces = [Rest(), Sse(), Sse(prefix="/old", style=spoken)]
    async with client_for(Dog, Toy, interfaces=interfaces) as somebody:
        await stock(somebody, "Rex")
        async with somebody.stream(f"{url.removeprefix('/old')}/subscribe?omit=version,created_at,updated_at") as new:
            of_ours = (await new.until("ready"))[-1].id
        await somebody.patch("/dogs/1", {"age": 2})  # nobody is told again what he has missed

        given = {"last_event_id": of_ours} if shows == "header" else {"params": {"cursor": of_ours}}
        async with somebody.stream(f"{url}/subscribe", **given) as stream:
            await somebody.settled()
            await somebody.patch("/dogs/1", {"age": 3})
            assert await next_of(stream) == ("change", dog(1, "Rex", age=3))
