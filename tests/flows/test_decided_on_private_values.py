"""Private values do not move the version of their record; what is decided on them is decided again all the same when
somebody changes them meanwhile."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from crudite import Conflict, Field, Record, Ref, Request, allow, before
from crudite.resources.writing.validating import FieldContext
from crudite.testing import Client
from tests.flows.worlds import client_for, faults

meanwhile: list[Callable[[], Awaitable[Any]]] = []
"""What somebody else does while a write is being decided on, once each."""


@pytest.fixture(autouse=True)
def nothing_happens() -> Iterator[None]:
    yield
    meanwhile.clear()


async def others_write() -> None:
    """Somebody else does what he is to do, if he has not yet."""
    if meanwhile:
        await meanwhile.pop()()


class Purse(Record[int], rules={"write": allow.check(lambda purse, actor: not purse.locked), "read": allow.everyone}):
    name: str = ""
    coins: int = Field(default=0, visible="private")
    locked: bool = Field(default=False, visible="private")
    notes: dict[str, Any] = Field(default_factory=dict, read=allow.nobody)

    @before("update")
    async def count(self, request: Request, old: "Purse") -> None:
        if request.interface == "rest":
            await others_write()
            self.coins = old.coins + 1

    @before("delete")
    async def only_empty(self, request: Request) -> None:
        await others_write()
        if self.coins:
            raise Conflict("There are coins in it.")


async def stored(client: Client) -> Purse:
    """The one purse, as the server sees it."""
    [purse] = await client.app.records.list(Purse)
    return purse


@pytest.mark.parametrize("is_conditional", [False, True])
async def test_a_hook_counts_on_from_the_private_value_that_is_there_when_it_is_written(is_conditional: bool) -> None:
    async with client_for(Purse) as client:
        made = await client.post("/purses", {"id": 1})
        headers = {"if-match": made.headers["etag"]} if is_conditional else {}
        meanwhile.append(lambda: client.app.records.update(Purse, 1, coins=100))
        assert (await client.patch("/purses/1", {}, headers=headers)).status == 200
        assert (await stored(client)).coins == 101


async def test_who_always_meets_another_one_is_told_so_and_has_changed_nothing() -> None:
    async with client_for(Purse) as client:
        await client.post("/purses", {"id": 1})
        meanwhile.extend(partial(client.app.records.update, Purse, 1, coins=coins) for coins in range(10, 90, 10))
        refused = await client.patch("/purses/1", {"name": "mine"})
        assert (refused.status, meanwhile) == (409, [])
        assert ((await stored(client)).coins, (await stored(client)).name) == (10, "")


async def test_what_is_merged_into_a_private_object_takes_away_nothing_that_another_one_has_put_there() -> None:
    async with client_for(Purse) as client:
        await client.post("/purses", {"id": 1})
        meanwhile.append(lambda: client.app.records.update(Purse, 1, notes={"theirs": [1, {"a": True}]}))
        assert (await client.patch("/purses/1", {"notes": {"mine": 1.5}})).status == 200
        assert (await stored(client)).notes == {"theirs": [1, {"a": True}], "mine": 1.5}


async def test_a_function_is_asked_about_the_private_value_that_is_there_when_it_is_written() -> None:
    async with client_for(Purse) as client:
        await client.post("/purses", {"id": 1})
        meanwhile.append(lambda: client.app.records.update(Purse, 1, locked=True))
        assert (await client.patch("/purses/1", {"name": "mine"})).status == 403
        assert (await stored(client)).name == ""


async def test_a_delete_is_decided_on_the_private_value_that_is_there_when_it_is_made() -> None:
    async with client_for(Purse) as client:
        await client.post("/purses", {"id": 1})
        meanwhile.append(lambda: client.app.records.update(Purse, 1, coins=1))
        assert (await client.delete("/purses/1")).status == 409
        assert (await stored(client)).coins == 1


async def room_for(value: str, context: FieldContext) -> str:
    """A name that the purse in question still wants."""
    purse = await context.read(Purse, context.record.purse)
    await others_write()
    if purse is not None and value in purse.notes.get("taken", ()):
        raise ValueError("It is taken.")
    return value


class Tag(Record[int], rules=allow.everyone):
    purse: Ref[Purse]
    name: str = Field(validate=room_for)


async def test_a_validator_that_read_a_private_object_of_another_record_is_asked_again_when_that_changes() -> None:
    async with client_for(Purse, Tag) as client:
        await client.post("/purses", {"id": 1})
        meanwhile.append(lambda: client.app.records.update(Purse, 1, notes={"taken": ["red"]}))
        assert faults(await client.post("/tags", {"purse": 1, "name": "red"})) == [("/name", "refused")]
        assert (await client.post("/tags", {"purse": 1, "name": "blue"})).status == 201


class Door(
    Record[int], rules={"read": allow.check(lambda door, actor: "out" not in door.signs), "write": allow.everyone}
):
    signs: list[str] = Field(default_factory=list, visible="private")


class Key(Record[int], rules=allow.everyone):
    door: Ref[Door] | None = None

    @before("create")
    async def others_come_between(self) -> None:
        if self.door is None:
            await others_write()


async def test_nothing_comes_to_point_at_a_record_that_its_private_value_has_hidden_meanwhile() -> None:
    async with client_for(Door, Key) as client:
        await client.app.records.create(Door, id=1)
        meanwhile.append(lambda: client.app.records.update(Door, 1, signs=["out"]))
        refused = await client.post("/keys", [{"door": 1}, {}])  # the second is decided on after the first
        assert (refused.status, [code for _, code in faults(refused)]) == (422, ["no_such_record"])
        assert meanwhile == []
        assert (await client.get("/keys")).json == []
