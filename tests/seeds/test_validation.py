"""What booster's validators promised: the predefined ones, by name and as annotations, and the application's own."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from crudite import (
    App,
    DeclarationError,
    Field,
    FieldContext,
    OpenApi,
    Password,
    Record,
    Request,
    Resource,
    allow,
    before,
    validators,
)
from crudite.testing import Refusal
from tests.flows.worlds import by_name, client_for, faults
from tests.services.runner import running
from tests.services.stores import fresh_store

LONG = "abcdefgh"


@pytest.mark.promises("B37", "B84", "B88")
@pytest.mark.only_on("sqlite", reason="a question to a value asks no store")
@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        ("notblank", ["a", " a ", "0"], ["", " ", "\t\n\u2003", None, 5]),
        ("notpadded", ["a", "a b", "", "a\nb"], [" a", "a ", "\ta", "a\n", None]),
        ("email", ["a@b.org", "a.b+c@sub.example.museum"], ["a", "a@b", "@b.org", "a b@c.org", " a@b.org", None]),
        ("integer", [0, -3, 2.0, 10**15], [2.5, "2", True, None, float("nan")]),
        ("number", [0, 2.5, -1e9], ["2", True, None, float("inf")]),
        ("float", [2.5, 2], ["2.5", False]),
        ("double", [2.5, 2], ["2.5", False]),
        ("alphanumeric", ["", "aZ09"], ["a b", "ä", "a_", "a\n", 5, None]),
        ("string", ["", "a"], [1, None, ["a"]]),
        ("boolean", [True, False], [0, "true", None]),
        ("array", [[], [1, "a"]], ["[]", {}, None]),
        ("integerArray", [[], [1, 2.0]], [["1"], [1.5], [True], 1]),
        ("stringArray", [[], ["a", "", "ä"]], [[1], "a"]),
        ("unique", [[1, "1", True, None], [{"a": 1}, {"a": 2}]], [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], "a"]),
        ("minimum:3", ["abc", [1, 2, 3], "äöü"], ["ab", [1], 3, None]),
        ("minimum:0", ["", []], [0, None]),
        ("maximum:2", ["ab", "", [1]], ["abc", [1, 2, 3], 1]),
        ("list:a,b, c", ["a", "b", "c"], ["d", "", "a,b", "A", None]),
        ("pattern:^[a-z]+:?$", ["ab", "ab:"], ["a1", "", None]),
        ("notpattern:[<>]", ["ab", ""], ["a<b", 5, None]),
        ("url", ["https://example.org", "http://a.b/c?d#e"], ["a.b", "ftp://a.b", "https://", "javascript:x", " http://a.b"]),
    ],
)  # fmt: skip
def test_a_predefined_validator_means_what_its_name_says(rule: str, passing: list[Any], failing: list[Any]) -> None:
    assert [value for value in passing if not validators.check(value, rule)] == []
    assert [value for value in failing if validators.check(value, rule)] == []


@pytest.mark.promises("B84")
@pytest.mark.only_on("sqlite", reason="a question to a value asks no store")
@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("notblnk", "there is no validator 'notblnk'; did you mean 'notblank'?"),
        ("xyz", "there is no validator 'xyz'; there are alphanumeric, array, "),
        ("minimum", "the validator minimum takes a parameter behind a colon, such as minimum:8"),
        ("minimum:x", "the validator minimum takes a number of characters or items, such as minimum:8"),
        ("notblank:1", "the validator notblank takes no parameter"),
        ("pattern:(", "the pattern cannot be read"),
        ("notpattern:(", "the pattern cannot be read"),
    ],
)
def test_a_name_that_no_validator_has_is_refused_with_the_nearest(rule: str, told: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(told)):
        validators.check("a", rule)


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
@pytest.mark.promises("B84", "B85")
def test_validators_that_can_never_be_asked_are_refused_all_at_once() -> None:
    class Wrong(Resource):
        a: str = Field(validate="notblnk")
        b: str = Field(validate="integer")
        c: list[str] = Field(validate=["minimum:1", "email"])
        d: date = Field(validate="notblank")
        e: str = Field(validate=5)  # type: ignore[call-overload]
        f: str = Field(validate=lambda: "x")
        g: str = Field(default=" ", validate="notpadded")
        h: str = Field(validate=validators.NotBlank)
        i: Annotated[int, validators.Minimum(3)]

    with pytest.raises(DeclarationError) as caught:
        App(Wrong)

    assert sorted(caught.value.faults) == [
        "Wrong.a: there is no validator 'notblnk'; did you mean 'notblank'?",
        "Wrong.b: the validator integer does not go with a text.",
        "Wrong.c: the validator email does not go with JSON.",
        "Wrong.d: the validator notblank does not go with date.",
        "Wrong.e: validate takes names, validators and functions, not 5.",
        "Wrong.f: the validator <lambda> takes the value, or the value and its context.",
        "Wrong.g: the default is not valid: Expected a text without whitespace at its start and end.",
        "Wrong.h: validate takes a validator, such as NotBlank(…), not its class.",
        "Wrong.i: the validator minimum:3 does not go with integer.",
    ]


class Page(Record[int], rules=allow.everyone):
    title: Annotated[str, validators.NotPadded()] = Field(validate=["notblank", "minimum:8"])
    tags: list[Annotated[str, validators.NotBlank()]] = Field(default=[], validate=["unique", "maximum:2"])
    colour: str | None = Field(default=None, validate="list:red,green")
    slug: str = Field(default="a", validate=["pattern:^[a-z]", "pattern:[a-z]$"])
    anything: Any = Field(default=1, validate=validators.Integer())


@pytest.mark.promises("B84", "B87", "B88", "B89")
async def test_all_validators_that_fail_are_told_for_all_fields_with_the_rules_as_written() -> None:
    async with client_for(Page) as client:
        refused = await client.post(
            "/pages", {"title": " ", "tags": ["a", "", "a"], "colour": "blue", "anything": "1", "slug": "1"}
        )
        assert refused.status == 422
        told = sorted((one["pointer"], one["code"], one["rule"]) for one in refused.json["errors"])
        assert told == [
            ("/anything", "integer", "integer"),
            ("/colour", "one_of", "list:red,green"),
            ("/slug", "pattern", "pattern:[a-z]$"),
            ("/slug", "pattern", "pattern:^[a-z]"),
            ("/tags/1", "not_blank", "notblank"),
            ("/title", "minimum", "minimum:8"),
            ("/title", "not_blank", "notblank"),
            ("/title", "not_padded", "notpadded"),
        ]
        refused = await client.post("/pages", {"title": LONG, "tags": ["a", "b", "a"]})
        assert [one["rule"] for one in refused.json["errors"]] == ["unique", "maximum:2"]

        assert (await client.post("/pages", {"title": LONG, "colour": None})).status == 201  # null is the type's matter
        assert (await client.patch("/pages/1", {"tags": ["a"]})).status == 200  # what is not given is not asked
        assert faults(await client.patch("/pages/1", {"title": "a "})) == [
            ("/title", "minimum"),
            ("/title", "not_padded"),
        ]


@pytest.mark.promises("B84")
@pytest.mark.only_on("sqlite", reason="a description asks no store")
async def test_the_description_says_of_validators_what_json_schema_can() -> None:
    schemas = OpenApi().document(App(Page))["components"]["schemas"]
    given = schemas["PageCreate"]["properties"]

    assert given["title"] == {"type": "string", "minLength": 8, "pattern": r"\S", "not": {"pattern": r"^\s|\s$"}}
    assert (given["slug"]["pattern"], given["slug"]["allOf"]) == ("^[a-z]", [{"pattern": "[a-z]$"}])
    assert (given["tags"]["uniqueItems"], given["tags"]["maxItems"]) == (True, 2)
    assert given["tags"]["items"] == {"type": "string", "pattern": r"\S"}
    assert given["colour"]["anyOf"] == [{"enum": ["red", "green"], "type": "string"}, {"type": "null"}]


@dataclass(frozen=True)
class Shouted(validators.Validator):
    """A text in capital letters."""

    code = "shouted"
    subjects = ("text", "anything")
    rule = "shouted"
    expected = "a text in capital letters"

    def accepts(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, str) and value == value.upper()


class Part(BaseModel):
    name: Annotated[str, validators.NotBlank(), validators.Maximum(3)]


@pytest.mark.promises("B84")
async def test_a_validator_class_of_the_application_and_one_inside_a_model_are_told_alike() -> None:
    class Sign(Record[int], rules=allow.everyone):
        text: str = Field(validate=[Shouted(), "minimum:2"])
        other: Annotated[str, Shouted()] = ""
        part: Part | None = None

    async with client_for(Sign) as client:
        refused = await client.post("/signs", {"text": "a", "other": "b", "part": {"name": "    "}})
        assert sorted((one["pointer"], one["rule"]) for one in refused.json["errors"]) == [
            ("/other", "shouted"), ("/part/name", "maximum:3"), ("/part/name", "notblank"),
            ("/text", "minimum:2"), ("/text", "shouted"),
        ]  # fmt: skip
        assert (await client.post("/signs", {"text": "AB", "part": {"name": "abc"}})).status == 201
        merged = await client.patch("/signs/1", {"part": {"name": "abcd"}})
        assert [(one["pointer"], one["rule"]) for one in merged.json["errors"]] == [("/part/name", "maximum:3")]


@pytest.mark.promises("B91")
async def test_what_is_stored_already_is_shown_though_a_new_validator_would_refuse_it() -> None:
    class Note(Record[int], rules=allow.everyone):
        text: str = Field(validate="minimum:3")

        @before("update")
        def leave(self) -> None:
            """A hook that changes nothing."""

    async with client_for(Note) as client:
        await client.post("/notes", {"text": "abc"})
        assert (await client.patch("/notes/1", {"text": "a"})).status == 422
        assert (await client.get("/notes/1")).json["text"] == "abc"


async def hashed(value: str) -> str:
    """A validator that changes the value, off the event loop."""
    digest = await asyncio.to_thread(lambda: hashlib.sha256(value.encode()).hexdigest())
    return f"sha256:{digest}"


def even(value: int) -> int:
    """A validator of a value alone."""
    if value % 2:
        raise ValueError("An even number, please.")
    return value


def not_before_start(value: date, context: FieldContext) -> date:
    """A validator that looks at the rest of the record."""
    if value < context.record.start:
        raise ValueError(f"{context.name} comes before start at {context.action}.")
    return value


class Booking(Record[int], rules=allow.everyone):
    start: date
    end: date = Field(validate=not_before_start)
    seats: int = Field(default=2, validate=["integer", even])
    code: str = Field(default="", validate=[hashed])


@pytest.mark.promises("B84", "B85", "B86", "B87")
async def test_own_validators_refuse_with_their_words_and_may_change_the_value() -> None:
    async with client_for(Booking) as client:
        refused = await client.post("/bookings", {"start": "2026-12-02", "end": "2026-12-01", "seats": 3})
        assert refused.status == 422
        assert refused.json["errors"] == [
            {"pointer": "/end", "code": "refused", "detail": "end comes before start at create."},
            {"pointer": "/seats", "code": "refused", "detail": "An even number, please."},
        ]
        created = await client.post("/bookings", {"start": "2026-12-02", "end": "2026-12-03", "code": "x"})
        assert created.json["code"] == f"sha256:{hashlib.sha256(b'x').hexdigest()}"

        refused = await client.patch("/bookings/1", {"end": "2026-12-01"})
        assert refused.json["detail"] == "end comes before start at update."  # with what is stored
        assert (await client.patch("/bookings/1", {"end": "2026-12-01", "start": "2026-11-01"})).status == 200
        kept = await client.patch("/bookings/1", {"seats": 4})
        assert kept.json["code"] == created.json["code"]  # what is not given is not asked
        refused = await client.put("/bookings/1", {"start": "2026-12-02", "end": "2026-12-01"})
        assert refused.json["detail"] == "end comes before start at replace."
        several = [{"start": "2026-12-02", "end": "2026-12-03", "seats": seats} for seats in (1, 2, 3)]
        assert faults(await client.post("/bookings", several)) == [("/0/seats", "refused"), ("/2/seats", "refused")]


@pytest.mark.promises("B85", "B91")
async def test_own_validators_are_asked_on_every_way_of_writing() -> None:
    fine = {"start": "2026-12-01", "end": "2026-12-02"}
    async with client_for(Booking) as client, client.websocket() as socket:
        await socket.call("bookings.create", {"data": fine})
        for method, params in (
            ("bookings.create", {"data": {**fine, "seats": 1}}),
            ("bookings.update", {"key": 1, "data": {"seats": 1}}),
            ("bookings.replace", {"key": 1, "data": {**fine, "seats": 1}}),
        ):
            with pytest.raises(Refusal) as refusal:
                await socket.call(method, params)
            assert refusal.value.status == 422
        with pytest.raises(Exception, match="An even number"):
            await client.app.records.update(Booking, 1, seats=1)
        with pytest.raises(Exception, match="An even number"):
            await client.app.records.create(Booking, start=date(2026, 1, 1), end=date(2026, 1, 2), seats=1)
        with pytest.raises(Exception, match="An even number"):
            async with client.app.records.batch() as batch:
                batch.update(Booking, 1, seats=1)
        assert (await client.get("/bookings")).json[0]["seats"] == 2


@pytest.mark.promises("B85", "B91")
async def test_own_validators_are_asked_by_a_server_too_which_answers_what_is_plain_by_itself() -> None:
    async with App(Booking, store=fresh_store()) as app, running(app, "ours") as port:
        body = b'{"start": "2026-12-01", "end": "2026-12-02", "seats": %d}'
        head = b"POST /bookings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for seats in (2, 3):  # the first request of all takes the ordinary way
            writer.write(b"%bContent-Length: 56\r\n\r\n%b" % (head, body % seats))
            async with asyncio.timeout(30):
                answers.append(await reader.readuntil(b"}"))
        writer.close()

        assert [answer[:13] for answer in answers] == [b"HTTP/1.1 201 ", b"HTTP/1.1 422 "]
        assert b"An even number, please." in answers[1]


@pytest.mark.promises("B85", "B104")
async def test_hooks_see_what_validators_have_returned_and_what_hooks_change_is_validated_once_more() -> None:
    asked: list[str] = []

    def lower(value: str) -> str:
        asked.append(value)
        if value == "bad":
            raise ValueError("That is bad.")
        return value.lower()

    class Word(Record[int], rules=allow.everyone):
        text: str = Field(validate=lower)
        other: str = Field(default="Z", validate=lower)
        seen: str = ""

        @before("create", "update")
        def look(self) -> None:
            self.seen = self.text
            if self.text.startswith("turn"):
                self.text = "bad"
            elif self.text == "grow":
                self.text = "GROWN"

    async with client_for(Word) as client:
        created = await client.post("/words", {"text": "ABC"})
        assert (created.json["text"], created.json["seen"], created.json["other"]) == ("abc", "abc", "Z")
        assert asked == ["ABC"]  # once, and a default is not asked
        assert (await client.patch("/words/1", {"text": "Grow"})).json["text"] == "grown"
        assert asked == ["ABC", "Grow", "GROWN"]
        assert (await client.post("/words", {"text": "grow"})).json["text"] == "grown"
        assert (await client.post("/words", {"text": "turn"})).json["detail"] == "That is bad."
        refused = await client.patch("/words/1", {"text": "Turned"})
        assert (refused.status, refused.json["detail"]) == (422, "That is bad.")


@pytest.mark.promises("B85")
async def test_a_validator_sees_who_writes_and_what_was_stored() -> None:
    def step(value: str, context: FieldContext) -> str:
        order = ["open", "done", "paid"]
        before = context.old.state if context.old is not None else "open"
        if "boss" not in context.actor.roles and order.index(value) > order.index(before) + 1:
            raise ValueError(f"From {before} it is too far to {value} for {context.actor.id}.")
        return value

    class Order(Record[int], rules=allow.everyone):
        state: Literal["open", "done", "paid"] = Field(default="open", validate=step)

    async with client_for(Order, auth=by_name) as client:
        ann, boss = client.acting("ann"), client.acting("eve:boss")
        assert (await ann.post("/orders", {"state": "paid"})).json[
            "detail"
        ] == "From open it is too far to paid for ann."
        await ann.post("/orders", {})
        assert (await ann.patch("/orders/1", {"state": "paid"})).status == 422
        assert (await ann.patch("/orders/1", {"state": "done"})).status == 200
        assert (await ann.patch("/orders/1", {"state": "paid"})).status == 200
        assert (await boss.post("/orders", {"state": "paid"})).status == 201


@pytest.mark.promises("B85", "B86")
async def test_a_value_of_python_goes_in_and_comes_out_and_null_and_nothing_are_values_too() -> None:
    asked: list[Any] = []

    def week(value: timedelta | date | None) -> date | None:
        asked.append(value)
        return None if value is None or value == date(2026, 1, 1) else value + timedelta(days=7)

    class Event(Record[int], rules=allow.everyone):
        day: date | None = Field(default=None, validate=week)
        count: int = Field(default=5, validate=lambda value: 0)

    async with client_for(Event) as client:
        created = await client.post("/events", {"day": "2026-12-01", "count": 7})
        assert (created.json["day"], created.json["count"]) == ("2026-12-08", 0)  # also a value that is falsy is kept
        assert (await client.patch("/events/1", {"day": None})).json["day"] is None
        assert (await client.patch("/events/1", {"day": "2026-01-01"})).json["day"] is None
        assert (await client.post("/events", {})).json["count"] == 5
        assert asked == [date(2026, 12, 1), None, date(2026, 1, 1)]


@pytest.mark.promises("B86")
async def test_a_validator_that_returns_nothing_is_a_fault_of_the_application_and_stores_nothing() -> None:
    class Wrong(Record[int], rules=allow.everyone):
        text: str = Field(validate=lambda value: None)

    async with client_for(Wrong) as client:
        with pytest.raises(TypeError, match="it returns the value to store"):
            await client.app.records.create(Wrong, text="a")
        assert (await client.get("/wrongs")).json == []


@pytest.mark.promises("B86")
async def test_an_error_without_words_and_one_of_pydantic_tell_no_more_than_they_may() -> None:
    def silent(value: str) -> str:
        raise ValueError

    def parsed(value: str) -> str:
        return str(TypeAdapter(int).validate_python(value))

    class Odd(Record[int], rules=allow.everyone):
        a: str = Field(default="", validate=silent)
        b: str = Field(default="", validate=parsed)

    async with client_for(Odd) as client:
        refused = await client.post("/odds", {"a": "x", "b": "planted"})
        assert [one["detail"] for one in refused.json["errors"]] == [
            "This value is refused.",
            "Input should be a valid integer, unable to parse string as an integer",
        ]
        assert "planted" not in refused.text


@pytest.mark.promises("B85", "B86")
async def test_a_password_is_validated_as_it_came_and_stored_as_a_hash() -> None:
    async def not_common(value: str, context: FieldContext) -> str:
        if value.startswith(context.record.name):
            raise ValueError("That is too easy to guess.")
        return value

    class Person(Record[int], rules=allow.everyone):
        name: str
        password: Password = Field(validate=["notpadded", not_common])

        @before("create")
        def look(self, request: Request) -> None:
            """A hook that changes nothing."""

    async with client_for(Person) as client:
        assert (await client.post("/persons", {"name": "ann", "password": "ann-12345"})).status == 422
        refused = await client.post("/persons", {"name": "ann", "password": " correct-horse"})
        assert (refused.json["errors"][0]["rule"], "horse" in refused.text) == ("notpadded", False)
        assert (await client.post("/persons", {"name": "ann", "password": "correct-horse"})).status == 201
