"""The records API: the actions, typed, as the actor of a request or as the server itself."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher

from crudite import (
    Conflict,
    Field,
    Invalid,
    NotFound,
    NotUnique,
    Password,
    PreconditionFailed,
    Record,
    Ref,
    Resource,
    allow,
    verify_password,
)  # fmt: skip
from tests.flows.worlds import client_for, faults


class Owner(Resource, rules=allow.nobody):
    name: str = Field(unique=True)


class Login(Resource, rules=allow.nobody):
    password: Password


class Item(Resource, rules=allow.nobody):
    title: str = Field(max_length=5)
    price: Decimal = Field(default=Decimal("1.50"), decimal_places=2)
    due: date | None = None
    seen: datetime | None = None
    owner: Ref[Owner] | None = None


class Country(Record[str], rules=allow.nobody):
    name: str


async def test_values_are_python_values_both_ways() -> None:
    async with client_for(Owner, Item) as client:
        records = client.app.records
        owner = await records.create(Owner, name="ann")
        made = await records.create(
            Item, title="a", price=Decimal("2.25"), due=date(2026, 1, 2), owner=owner,
            seen=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        )  # fmt: skip
        found = await records.read(Item, made.id)
        assert found == made
        assert isinstance(found.id, UUID)
        assert (found.price, found.due, found.owner) == (Decimal("2.25"), date(2026, 1, 2), owner.id)
        assert found.seen == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert (await records.read(Item, str(made.id))).title == "a"
        assert [item.title for item in await records.list(Item.where(price__gt=Decimal(2)))] == ["a"]
        assert [item.title for item in await records.list(Item.where(owner=owner.id))] == ["a"]


async def test_an_instance_is_stored_as_it_is() -> None:
    async with client_for(Owner, Item) as client:
        records, key = client.app.records, uuid4()
        stored = await records.create(Item(id=key, title="b"))
        assert (stored.id, stored.title, stored.price) == (key, "b", Decimal("1.50"))
        with pytest.raises(NotUnique):
            await records.create(Item(id=key, title="c"))


async def test_the_six_actions() -> None:
    async with client_for(Country) as client:
        records = client.app.records
        await records.create(Country, id="de", name="Germany")
        await records.create(Country, id="fr", name="France")
        assert (await records.update(Country, "de", name="Deutschland")).name == "Deutschland"
        assert (await records.replace(Country, "fr", name="Frankreich")).name == "Frankreich"
        assert [c.id for c in await records.list(Country.where().order("-name"))] == ["fr", "de"]
        assert await records.count(Country) == await records.count(Country.where().count()) == 2
        await records.delete(Country, "de")
        assert await records.count(Country.where(id="de")) == 0
        for write in (
            records.read(Country, "de"),
            records.update(Country, "de", name="x"),
            records.delete(Country, "de"),
        ):
            with pytest.raises(NotFound):
                await write


async def test_every_fault_is_raised_and_nothing_is_stored() -> None:
    async with client_for(Owner, Item) as client:
        records = client.app.records
        with pytest.raises(Invalid) as refused:
            await records.create(Item, title="too long", price="x", nope=1)
        assert sorted(fault.pointer or "" for fault in refused.value.faults) == ["/nope", "/price", "/title"]
        with pytest.raises(Invalid):
            await records.create(Item, title="a", owner=uuid4())
        with pytest.raises(NotFound):
            await records.read(Item, "no key")
        assert await records.list(Item) == []


async def test_a_version_can_be_expected() -> None:
    async with client_for(Owner, Item) as client:
        records = client.app.records
        item = await records.create(Item, title="a")
        newer = await records.update(Item, item.id, expect_version=item.version, title="b")
        with pytest.raises(PreconditionFailed):
            await records.update(Item, item.id, expect_version=item.version, title="c")
        with pytest.raises(PreconditionFailed):
            await records.delete(Item, item.id, expect_version=item.version)
        await records.delete(Item, item.id, expect_version=newer.version)


async def test_a_batch_is_one_transaction_and_one_frame() -> None:
    async with client_for(Owner, Item) as client:
        records = client.app.records
        old = await records.create(Item, title="old")
        async with records.batch() as batch:
            batch.create(Owner, name="ann")
            batch.create(Item(title="new"))
            batch.update(Item, old.id, title="newer")
        assert [r.name if isinstance(r, Owner) else r.title for r in batch.results] == ["ann", "new", "newer"]

        async def fail(error: Exception | None) -> None:
            async with records.batch() as batch:
                batch.delete(Item, old.id)
                batch.create(Owner, name="ann" if error is None else "bob")
                if error is not None:
                    raise error

        with pytest.raises(NotUnique):
            await fail(None)
        with pytest.raises(ZeroDivisionError):
            await fail(ZeroDivisionError())
        async with records.batch():
            pass
        assert (await records.read(Item, old.id)).title == "newer"


async def test_a_record_that_others_point_at_stays() -> None:
    async with client_for(Owner, Item) as client:
        records = client.app.records
        owner = await records.create(Owner, name="ann")
        item = await records.create(Item, title="a", owner=owner.id)
        with pytest.raises(Conflict):
            await records.delete(Owner, owner.id)
        await records.delete(Item, item.id)
        await records.delete(Owner, owner.id)


async def test_a_list_without_a_limit_has_all_records() -> None:
    async with client_for(Country) as client:
        records = client.app.records
        async with records.batch() as batch:
            for n in range(450):
                batch.create(Country, id=f"{n:03}", name="x")
        assert len(await records.list(Country)) == 450
        assert len(await records.list(Country.where().limit(7))) == 7


async def test_a_field_of_any_json_takes_null_unless_a_validator_refuses_it() -> None:
    class Memo(Record[int], rules=allow.everyone):
        given: Any
        kept: Any = None
        words: Any = Field(default="", validate="string")

    async with client_for(Memo) as client:
        created = await client.post("/memos", {"given": None})
        assert (created.status, created.json["given"], created.json["kept"]) == (201, None, None)
        assert (await client.patch("/memos/1", {"given": {"a": 1}, "kept": [None]})).json["kept"] == [None]
        assert (await client.put("/memos/1/given", None)).json is None
        assert (await client.get("/memos/1")).json["given"] is None
        refused = await client.patch("/memos/1", {"words": None})
        assert (refused.status, faults(refused)) == (422, [("/words", "string")])
        assert faults(await client.post("/memos", {})) == [("/given", "missing")]


async def test_a_password_is_hashed_on_its_way_in_and_never_comes_out() -> None:
    async with client_for(Login) as client:
        records = client.app.records
        login = await records.create(Login, password="correct horse")
        assert not hasattr(login, "password")
        assert "horse" not in repr(login)
        assert not hasattr(await records.read(Login, login.id), "password")


@pytest.mark.only_on("sqlite", reason="a hash asks no store")
async def test_a_password_is_verified_against_its_hash() -> None:
    stored = PasswordHasher().hash("correct horse")
    assert await verify_password(stored, "correct horse")
    assert not await verify_password(stored, "wrong horse")
    assert not await verify_password("no hash", "x")


async def test_no_problem_repeats_a_password() -> None:
    class Account(Resource, rules=allow.everyone):
        name: str = Field(unique=True)
        password: Password

    async with client_for(Account) as client, client.websocket() as socket:
        secret = "correct horse battery"
        await client.post("/accounts", {"name": "ann", "password": secret})
        bodies: list[object] = [
            {"name": "ann", "password": secret},
            {"name": 5, "password": secret},
            {"name": "bob", "password": [secret]},
            {"name": "bob", "password": secret, secret[:7]: 1},
        ]
        for body in bodies:
            answer = await client.post("/accounts", body)
            assert 400 <= answer.status < 500
            assert "horse" not in answer.text
            socket.send({"jsonrpc": "2.0", "id": "x", "method": "accounts.create", "params": {"data": body}})
            assert "horse" not in str(await socket.next())
        assert "password" not in (await client.get("/accounts")).text
        for query in (
            f"password={secret}",
            "sort=password",
            "fields=password",
            f"password[contains]={secret}",
        ):
            refused = await client.get(f"/accounts?{query}")
            assert (refused.status, "horse" in refused.text) == (400, False)
