"""Of what a database refuses, everything is told at once, at the place in the body where it stands."""

from typing import Any

from crudite import Field, Record, Ref, allow
from crudite.testing import Client
from tests.flows.worlds import client_for


class Room(Record[str], rules=allow.everyone):
    name: str = ""


class Guest(Record[str], rules={"read": allow.where(secret=False), "write": allow.everyone}):
    secret: bool = False


class Stay(Record[str], rules={"read": allow.everyone, "write": allow.where(nights__lt=9)}, unique=[("room", "day")]):
    room: Ref[Room] | None = None
    spare: Ref[Room] | None = None
    guest: Ref[Guest] | None = None
    friend: Ref[Guest] | None = None
    after: Ref["Stay"] | None = None
    day: int = 1
    code: str | None = Field(default=None, unique=True)
    nights: int = 1


async def told(client: Client, body: Any) -> Any:
    refused = await client.post("/stays", body)
    stays = (await client.get("/stays")).json
    assert [stay["id"] for stay in stays] == ["s"]  # nothing of it is stored
    return refused.status, [(fault["pointer"], fault["code"]) for fault in refused.json["errors"]]


async def filled(client: Client) -> None:
    await client.post("/rooms", {"id": "1"})
    await client.post("/guests", [{"id": "ann"}, {"id": "spy", "secret": True}])
    await client.post("/stays", {"id": "s", "room": "1", "code": "c"})


async def test_all_references_that_point_at_nothing_are_told_at_once() -> None:
    async with client_for(Room, Guest, Stay) as client:
        await filled(client)
        nowhere = {"room": "2", "spare": "3", "guest": "spy", "friend": "bob", "after": "t"}
        wrong = [(f"/{name}", "no_such_record") for name in nowhere]
        assert await told(client, {"id": "a", **nowhere}) == (422, wrong)
        assert await told(client, {"id": "a", **nowhere, "room": "1", "guest": "ann"}) == (
            422,
            [(place, code) for place, code in wrong if place not in ("/room", "/guest")],
        )
        changed = await client.patch("/stays/s", nowhere)
        assert [(one["pointer"], one["code"]) for one in changed.json["errors"]] == wrong


async def test_what_is_refused_of_a_list_of_records_is_told_behind_the_place_of_its_record() -> None:
    async with client_for(Room, Guest, Stay) as client:
        await filled(client)
        first = {"id": "a", "room": "1", "day": 2}
        assert await told(client, [first, {"id": "b", "code": "c"}]) == (409, [("/1/code", "not_unique")])
        assert await told(client, [first, {"id": "b", "room": "1"}]) == (
            409,
            [("/1/room", "not_unique"), ("/1/day", "not_unique")],
        )
        assert await told(client, [first, {"id": "a"}]) == (409, [("/1/id", "not_unique")])
        assert await told(client, [first, {"id": "b", "nights": 9}]) == (403, [("/1", "not_writable")])
        assert await told(
            client,
            [
                {**first, "spare": "2"},
                {"id": "b", "after": "a"},
                {"id": "c", "after": "d"},
                {"id": "d", "guest": "spy"},
            ],
        ) == (422, [(f"/{place}", "no_such_record") for place in ("0/spare", "2/after", "3/guest")])


async def test_a_key_that_is_taken_is_told_with_all_else_that_is() -> None:
    async with client_for(Room, Guest, Stay) as client:
        await filled(client)
        assert await told(client, {"id": "s", "room": "1", "code": "c"}) == (
            409,
            [(f"/{name}", "not_unique") for name in ("id", "code", "room", "day")],
        )
