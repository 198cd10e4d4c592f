"""What booster's own validators promised: functions that see a record, refuse with words and change values."""

import asyncio
import hashlib
from datetime import date, timedelta
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter

from crudite import (
    App,
    Field,
    FieldContext,
    Password,
    Record,
    Request,
    allow,
    before,
)
from crudite.testing import Refusal
from tests.flows.worlds import by_name, client_for, faults
from tests.services.runner import running
from tests.services.stores import fresh_store


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
        with pytest.raises(TypeError, match=r"the field cannot hold \(.*\): it returns the value to store"):
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
