"""What booster said of values that occur once: alone, each or together, also under a race, and with null."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crudite import (
    App,
    Conflict,
    DeclarationError,
    Field,
    Invalid,
    Next,
    NotUnique,
    Record,
    Request,
    Resource,
    Response,
    Unique,
    allow,
    around,
)
from crudite.testing import Client
from tests.flows.worlds import client_for, faults
from tests.services.stores import foreign, fresh_store, kept_store


class Person(Record[int], rules=allow.everyone, unique=[("first", "last"), Unique("room", "bed", nulls="alike")]):
    email: str = Field(unique=True)
    phone: str | None = Field(default=None, unique=True)
    first: str = ""
    last: str | None = None
    room: str | None = None
    bed: int | None = Field(default=None, le=9)


@pytest.mark.promises("B97", "B98", "B99", "B101")
async def test_each_of_some_fields_is_unique_and_a_record_does_not_count_against_itself() -> None:
    async with client_for(Person) as client:
        assert (await client.post("/persons", {"email": "a", "phone": "1", "room": "a"})).status == 201
        taken = await client.post("/persons", {"email": "a", "phone": "2", "room": "b"})
        assert (taken.status, taken.json["code"], faults(taken)) == (409, "not_unique", [("/email", "not_unique")])
        taken = await client.post("/persons", {"email": "b", "phone": "1", "room": "b"})
        assert (taken.status, faults(taken)) == (409, [("/phone", "not_unique")])
        assert (await client.post("/persons", {"email": "b", "room": "b"})).status == 201
        assert (await client.post("/persons", {"email": "c", "room": "c"})).status == 201  # two without a phone
        assert (await client.patch("/persons/1", {"email": "a", "phone": "1"})).status == 200
        assert (await client.put("/persons/1", {"email": "a", "phone": "1", "room": "a"})).status == 200


@pytest.mark.promises("B97", "B100", "B101")
async def test_fields_that_are_unique_together_are_so_also_when_one_of_them_is_changed() -> None:
    async with client_for(Person) as client:
        for email, first, last in (("a", "Ann", "Lee"), ("b", "Ann", "Moe"), ("c", "Bob", "Lee")):
            assert (
                await client.post("/persons", {"email": email, "first": first, "last": last, "room": email})
            ).status == 201
        taken = await client.patch("/persons/2", {"last": "Lee"})
        assert (taken.status, faults(taken)) == (409, [("/first", "not_unique"), ("/last", "not_unique")])
        assert "together" in taken.text
        assert (await client.patch("/persons/3", {"first": "Ann"})).status == 409
        assert (await client.patch("/persons/3", {"first": "Ann", "last": "Kay"})).status == 200


@pytest.mark.promises("B101")
async def test_all_that_is_taken_is_told_at_once_in_the_order_of_the_declaration() -> None:
    async with client_for(Person) as client:
        first = {"email": "a", "phone": "1", "first": "Ann", "last": "Lee", "room": "r"}
        assert (await client.post("/persons", first)).status == 201
        taken = await client.post("/persons", {**first, "room": "s"})
        told = [(fault["pointer"], fault.get("rule")) for fault in taken.json["errors"]]
        assert (taken.status, told) == (
            409, [("/email", None), ("/phone", None), ("/first", "first:last"), ("/last", "first:last")],
        )  # fmt: skip
        second = await client.post("/persons", {"email": "b", "phone": "2", "first": "Bob", "last": "Lee", "room": "s"})
        at = second.headers["location"]
        taken = await client.patch(at, {"phone": "1", "first": "Ann"})
        assert [fault["pointer"] for fault in taken.json["errors"]] == ["/phone", "/first", "/last"]
        taken = await client.put(at, {**first, "email": "b", "phone": "2", "last": "Kay", "room": "s"})
        assert taken.status == 200


@pytest.mark.promises("B102")
async def test_null_is_no_value_unless_nulls_are_alike() -> None:
    async with client_for(Person) as client:
        for email, room in (("a", "r"), ("b", "s")):  # first and last: null is no value
            assert (await client.post("/persons", {"email": email, "first": "Ann", "room": room})).status == 201
        taken = await client.post("/persons", {"email": "c", "room": "r"})  # room and bed: it is one
        assert (taken.status, faults(taken)) == (409, [("/bed", "not_unique"), ("/room", "not_unique")])
        other = await client.post("/persons", {"email": "c", "room": "r", "bed": 0})
        assert (other.status, (await client.post("/persons", {"email": "d"})).status) == (201, 201)
        taken = await client.post("/persons", {"email": "e"})
        assert (taken.status, faults(taken)) == (409, [("/bed", "not_unique"), ("/room", "not_unique")])
        at = other.headers["location"]
        assert (await client.patch(at, {"bed": None})).status == 409
        assert (await client.patch("/persons/1", {"bed": 1})).status == 200
        assert (await client.patch(at, {"bed": None})).status == 200


VALUES = st.one_of(st.none(), st.sampled_from(["x", "y"]))
BEDS = st.one_of(st.none(), st.integers(0, 1))


@pytest.mark.promises("B97", "B99", "B100", "B102")
@pytest.mark.parametrize("tries", [25])
async def test_whatever_is_written_no_two_records_have_what_occurs_once(tries: int) -> None:
    """A law: what is refused with 409 is what collides in a list of all records kept by hand, and nothing else."""
    async with client_for(Person) as client:

        @settings(max_examples=tries, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def told(data: st.DataObject) -> None:
            stories.append(
                [
                    (data.draw(st.integers(0, 3)), data.draw(VALUES), data.draw(VALUES), data.draw(BEDS))
                    for _ in range(6)
                ]
            )

        stories: list[list[tuple[int, Any, Any, Any]]] = []
        told()
        for number, story in enumerate(stories):
            for one in (await client.get("/persons?limit=200")).json:
                await client.delete(f"/persons/{one['id']}")
            held: dict[int, tuple[Any, Any, Any, Any]] = {}
            keys: dict[int, int] = {}
            for place, last, room, bed in story:
                values = (f"{number}", last, room, bed)
                body = {"first": values[0], "last": last, "room": room, "bed": bed}
                others = [one for at, one in held.items() if at != place]
                collides = any((last is not None and one[:2] == values[:2]) or one[2:] == values[2:] for one in others)
                if place in held:
                    answer = await client.patch(f"/persons/{keys[place]}", body)
                else:
                    answer = await client.post("/persons", {**body, "email": f"{number}-{place}"})
                assert (answer.status == 409) is collides, (held, values)
                if not collides:
                    held[place], keys[place] = values, answer.json["id"]


@pytest.mark.promises("B97", "B104")
async def test_of_racing_requests_to_two_servers_one_wins() -> None:
    store = kept_store()
    async with Client(App(Person, store=store)) as one, Client(App(Person, store=store)) as two:
        for round in range(6):
            bodies = [
                {"email": f"e{round}", "room": f"{round}a"},
                {"email": f"e{round}", "room": f"{round}b"},
                {"email": f"x{round}", "room": f"{round}a"},
                {"email": f"y{round}", "room": f"{round}c", "phone": f"p{round}"},
                {"email": f"z{round}", "room": f"{round}d", "phone": f"p{round}"},
            ]
            writes = [(one, two)[n % 2].post("/persons", body) for n, body in enumerate(bodies)]
            answers = await asyncio.gather(*writes)
            assert {answer.status for answer in answers} == {201, 409}
            phones = [answer for answer in answers[3:] if answer.status == 201]
            assert len(phones) == 1
        rows = (await one.get("/persons?limit=200")).json
        for fields in (("email",), ("room", "bed")):
            seen = [tuple(row[name] for name in fields) for row in rows]
            assert len(seen) == len(set(seen))
        keys = [row["id"] for row in rows][:2]
        moved = await asyncio.gather(*(
            client.patch(f"/persons/{key}", {"room": "same", "bed": 1})
            for client, key in zip((one, two), keys, strict=True)
        ))  # fmt: skip
        assert sorted(answer.status for answer in moved) == [200, 409]


@pytest.mark.promises("B97", "B102")
async def test_another_program_cannot_store_it_either() -> None:
    store = kept_store()
    async with Client(App(Person, store=store)) as client:
        await client.post("/persons", {"email": "a", "room": "r"})
        insert = "INSERT INTO persons (id, email, first, room) VALUES (99, 'b', '', 'r')"
        with pytest.raises(Exception, match=r"(?i)unique"):
            await foreign(store, insert)


@pytest.mark.promises("B102")
async def test_nulls_become_alike_and_distinct_again_and_what_repeats_is_in_the_way() -> None:
    def seat(*unique: Any) -> type[Any]:
        class Seat(Record[int], rules=allow.everyone, unique=list(unique)):
            row: str
            number: int | None = None

        return Seat

    store = kept_store()
    async with Client(App(seat(), store=store)) as client:
        for _ in range(2):
            await client.post("/seats", {"row": "a"})
        await client.post("/seats", {"row": "b"})
    alike = App(seat(Unique("row", "number", nulls="alike")), store=store)
    with pytest.raises(Exception, match="1 values of row, number occur more than once"):
        async with Client(alike):
            pass
    async with Client(App(seat(("row", "number")), store=store)) as client:
        await client.delete("/seats/2")
    async with Client(App(seat(Unique("row", "number", nulls="alike")), store=store)) as client:
        assert (await client.post("/seats", {"row": "b"})).status == 409
        assert (await client.post("/seats", {"row": "b", "number": 0})).status == 201
    async with Client(App(seat(("row", "number")), store=store)) as client:
        assert (await client.post("/seats", {"row": "b"})).status == 201
        assert (await client.post("/seats", {"row": "b", "number": 0})).status == 409


@pytest.mark.promises("B102")
@pytest.mark.only_on("sqlite", reason="only SQLite has OR REPLACE")
async def test_a_live_list_is_told_of_a_record_that_another_program_replaces() -> None:
    store = kept_store()
    async with Client(App(Person, store=store)) as client, client.live("persons", sort=["id"]) as view:
        await client.post("/persons", {"email": "a", "room": "r"})
        await client.post("/persons", {"email": "b", "room": "s"})
        await view.until(lambda rows: len(rows) == 2)
        await foreign(store, "INSERT OR REPLACE INTO persons (id, email, first, room) VALUES (9, 'c', '', 'r')")
        rows = await view.until(lambda rows: [row["email"] for row in rows] == ["b", "c"])
        assert rows == (await client.get("/persons?sort=id")).json


@pytest.mark.promises("B103")
async def test_who_wants_no_error_for_what_is_taken_says_so_around_the_action() -> None:
    class Tag(Record[int], rules=allow.everyone):
        name: str = Field(unique=True)

        @around("create", "update")
        @classmethod
        async def quietly(cls, request: Request, next: Next) -> Response | dict[str, bool]:
            try:
                return await next()
            except NotUnique:
                return {"stored": False}

    async with client_for(Tag) as client:
        await client.post("/tags", {"name": "a"})
        again = await client.post("/tags", {"name": "a"})
        assert (again.status, again.json) == (201, {"stored": False})
        assert len((await client.get("/tags")).json) == 1


@pytest.mark.promises("B104")
async def test_what_is_not_valid_is_told_before_what_is_taken() -> None:
    async with client_for(Person) as client:
        await client.post("/persons", {"email": "a", "room": "r"})
        refused = await client.post("/persons", {"email": "a", "bed": 12})
        assert (refused.status, faults(refused)) == (422, [("/bed", "less_than_equal")])
        with pytest.raises(Invalid):
            await client.app.records.create(Person, email="a", bed=12)
        with pytest.raises(Conflict):
            await client.app.records.create(Person, email="a", room="x")


@pytest.mark.promises("B97")
@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_group_of_what_there_is_not_is_refused() -> None:
    class Wrong(Resource, unique=[Unique("naem", nulls="alike"), Unique("name", nulls="same")]):  # type: ignore[arg-type]
        name: str

    with pytest.raises(DeclarationError) as caught:
        App(Wrong, store=fresh_store())

    assert caught.value.faults == (
        "Wrong: unique names 'naem', which is no field; did you mean 'name'?",
        "Wrong: nulls is 'distinct' or 'alike'.",
    )
