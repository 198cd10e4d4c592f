"""API keys: made by their owners, told once, kept as hashes, narrowed by scopes, and dead when they are deleted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from crudite import (
    Actor,
    ApiKeys,
    App,
    Credentials,
    DeclarationError,
    Field,
    Invalid,
    Parent,
    Query,
    Record,
    Ref,
    Request,
    Resource,
    allow,
    me,
)
from crudite.auth.api_keys.texts import new_key
from crudite.errors import StoreReadOnly
from crudite.stores import open_store
from crudite.testing import Client, Clock, Faulty, Refusal
from tests.flows.worlds import faults, titles
from tests.services.stores import foreign, fresh_store, kept_store

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ANN, BOB = UUID(int=1), UUID(int=2)


class Account(Resource, rules={"read": allow.where(id=me.id), "write": allow.where(id=me.id)}):
    name: str
    roles: list[str] = Field(default=[], write=allow.nobody)
    team: str | None = None
    blocked: bool = False


class Project(Record[int], rules={"read": allow.signed_in, "write": allow.role("staff")}):
    title: str
    code: str = "secret plan"


class Task(Record[int], rules=allow.where(owner=me.id) | allow.role("staff")):
    title: str
    owner: Ref[Account] = Field(default=me.id)
    project: Parent[Project]


class World:
    """An application with Ann and Bob, who sign in by their names, or show keys."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.clock = Clock(NOW)
        self.keys = ApiKeys(Account, **options)
        self.barred: set[str] = set()
        self.app = App(
            Account,
            Project,
            Task,
            store=store or fresh_store(),
            auth=[self.keys, self.by_name],
            clock=self.clock,
            staff=allow.role("staff"),
        )

        @self.app.read("mine")
        async def mine(request: Request) -> Query[Task]:
            return Task.where(owner=request.actor.id)

        @self.app.create("purge")
        async def purge(request: Request) -> str:
            return "purged"

        @self.app.read("whoami")
        async def whoami(request: Request) -> dict[str, Any]:
            claims = {name: one for name, one in request.actor.claims.items() if name != "api_key"}
            return {"id": request.actor.id, "roles": sorted(request.actor.roles), "claims": claims}

        self.client = Client(self.app)

    async def by_name(self, credentials: Credentials) -> Actor | None:
        who = {"ann": ANN, "bob": BOB}.get(credentials.token or "")
        if who is None:
            return None
        account = await self.app.records.read(Account, who)
        return Actor(str(who), frozenset(account.roles))

    async def __aenter__(self) -> "World":
        await self.client.__aenter__()
        if await self.app.records.count(Account):
            return self  # another process has been here
        records = self.app.records
        await records.create(Account, id=ANN, name="Ann", roles=["staff"])
        await records.create(Account, id=BOB, name="Bob", team="red")
        await records.create(Project, id=1, title="one")
        await records.create(Task, title="hers", owner=ANN, project=1)
        await records.create(Task, title="his", owner=BOB, project=1)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.client.__aexit__(*error)

    async def made(self, who: str = "bob", **values: Any) -> dict[str, Any]:
        """A key that somebody has made for himself."""
        answer = await self.client.acting(who).post("/api-keys", {"name": "robot", **values})
        assert answer.status == 201, answer.json
        made: dict[str, Any] = answer.json
        return made

    def showing(self, made: dict[str, Any]) -> Client:
        return self.client.acting(made["key"])

    async def status(self, key: str) -> int:
        return (await self.client.acting(key).get("/whoami")).status


async def test_whoever_makes_a_key_acts_with_it_and_is_told_it_once() -> None:
    async with World() as world:
        made = await world.made()
        assert made["key"].startswith("crd_")
        assert made["key"].endswith(made["ending"])
        assert (made["owner"], made["scopes"], made["expires_at"]) == (str(BOB), None, "2031-01-01T12:00:00.000000Z")
        assert titles(await world.showing(made).get("/tasks")) == ["his"]
        listed = (await world.client.acting("bob").get("/api-keys")).json
        assert [row["name"] for row in listed] == ["robot"]
        again = (await world.client.acting("bob").get(f"/api-keys/{made['id']}")).json
        for shown in (*listed, again):
            assert "key" not in shown
            assert "digest" not in shown
        assert (await world.client.acting("ann").get("/api-keys")).json == []


async def test_several_are_made_at_once_and_over_a_socket() -> None:
    async with World() as world:
        bob = world.client.acting("bob")
        two = (await bob.post("/api-keys", [{"name": "a"}, {"name": "b"}])).json
        assert [one["name"] for one in two] == ["a", "b"]
        async with bob.websocket() as socket:
            over = (await socket.call("api-keys.create", {"data": {"name": "d"}}))["data"]
        for one in (*two, over):
            assert await world.status(one["key"]) == 200
        assert len({one["key"] for one in (*two, over)}) == 3
        assert (await bob.post("/api-keys", {"name": "c"}, headers={"prefer": "return=minimal"})).status == 400
        assert len((await bob.get("/api-keys")).json) == 3


async def test_the_server_makes_keys_as_well() -> None:
    async with World() as world:
        issued = await world.keys.issue(BOB, "robot", scopes=["tasks:read"])
        assert (issued.record.name, issued.record.owner) == ("robot", BOB)
        assert titles(await world.client.acting(issued.key).get("/tasks")) == ["his"]
        with pytest.raises(Invalid):
            await world.keys.issue(BOB, "robot", scopes=["nothing:read"])
        assert issued.key not in repr(issued)
        with pytest.raises(TypeError, match=r"use ApiKeys\.issue"):
            await world.app.records.create(world.keys.record, name="robot", owner=BOB)
        with pytest.raises(TypeError, match=r"use ApiKeys\.issue"):
            async with world.app.records.batch() as batch:
                batch.create(world.keys.record, name="robot", owner=BOB)
        assert await world.app.records.count(world.keys.record) == 1


async def test_what_is_kept_is_of_no_use_to_a_thief() -> None:
    async with World() as world:
        made = await world.made()
        secret = made["key"].removeprefix("crd_")
        dump = []
        records = world.app.records
        for row in await records.list(world.keys.record):
            dump.append(repr(vars(row)))
            assert row.ending == made["ending"]
        assert secret not in "".join(dump)
        assert made["key"] not in json.dumps((await world.client.acting("bob").get("/api-keys")).json)
        forged = new_key("crd", made["id"]).text
        for bad in (
            forged,
            made["key"][:-1] + "_",
            made["key"].lower(),
            "crd_",
            "crd_" + "0" * 71,
            new_key("crd").text,
        ):
            answer = await world.client.acting(bad).get("/tasks")
            assert (answer.status, answer.json["detail"]) == (401, "The token is not valid.")
        for given in (made["id"], secret, made["key"].replace("crd_", "xyz_")):
            assert await world.status(given) == 401


async def test_nobody_gives_himself_what_only_the_server_writes() -> None:
    async with World() as world:
        for values in ({"owner": str(ANN)}, {"digest": "0" * 64}, {"used_at": "2030-01-01T00:00:00Z"}, {"ending": "x"}):
            answer = await world.client.acting("bob").post("/api-keys", {"name": "robot", **values})
            assert answer.status == (422 if "owner" in values else 403), values
        assert (await world.client.post("/api-keys", {"name": "robot"})).status == 401
        made = await world.made(scopes=["tasks:read"])
        for values in ({"scopes": None}, {"roles": ["staff"]}, {"expires_at": None}, {"owner": str(ANN)}):
            changed = await world.client.acting("bob").patch(f"/api-keys/{made['id']}", values)
            assert changed.status in (403, 422), values
        bob = world.client.acting("bob")
        assert (await bob.patch(f"/api-keys/{made['id']}", {"name": "other"})).json["name"] == "other"
        assert (await bob.put(f"/api-keys/{made['id']}", {"name": "other"})).status == 403


async def test_keys_do_not_manage_keys() -> None:
    async with World() as world:
        made = await world.made()
        robot = world.showing(made)
        assert (await robot.post("/api-keys", {"name": "child"})).status == 403
        assert (await robot.get("/api-keys")).status == 403
        assert (await robot.delete(f"/api-keys/{made['id']}")).status in (403, 404)
        assert (await robot.patch(f"/api-keys/{made['id']}", {"name": "x"})).status in (403, 404)
        assert await world.status(made["key"]) == 200


# scopes


async def test_scopes_narrow_what_the_owner_may_do_to_what_they_name() -> None:
    async with World() as world:
        reading = world.showing(await world.made("ann", scopes=["tasks:read"]))
        assert titles(await reading.get("/tasks")) == ["hers", "his"]
        assert (await reading.get("/tasks/1")).status == 200
        assert (await reading.post("/projects/1/tasks", {"title": "new"})).status == 404
        assert (await reading.post("/tasks", {"title": "new", "project": 1})).status == 403
        assert (await reading.patch("/tasks/1", {"title": "new"})).status == 403
        assert (await reading.delete("/tasks/1")).status == 403
        assert (await reading.get("/projects")).status == 403
        writing = world.showing(await world.made("ann", scopes=["tasks", "projects:write"]))
        assert (await writing.patch("/tasks/1", {"title": "new"})).status == 200
        assert (await writing.post("/projects", {"title": "two"})).status == 201
        assert (await writing.get("/projects")).status == 403
        anything = world.showing(await world.made("ann", scopes=["*:read"]))
        assert (await anything.get("/projects")).status == 200
        assert (await anything.post("/projects", {"title": "two"})).status == 403
        everything = world.showing(await world.made("ann", scopes=["*"]))
        assert (await everything.post("/projects", {"title": "two"})).status == 201


async def test_a_scope_holds_for_what_is_reached_by_another_way() -> None:
    async with World() as world:
        reading = world.showing(await world.made("ann", scopes=["tasks:read"]))
        told = await reading.get("/tasks", params={"include": "project"})
        assert "secret plan" not in told.body.decode()
        looked = await reading.get("/tasks", params={"project.code": "secret plan"})
        assert looked.status != 200 or looked.json == []
        assert (await reading.get("/projects/1/tasks")).status in (403, 404)
        with pytest.raises(Refusal) as refusal:
            async with reading.stream("/projects/subscribe"):
                pass
        assert refusal.value.status == 403
        async with reading.websocket() as socket:
            for name in ("projects.list", "whoami", "purge"):
                with pytest.raises(Refusal) as refusal:
                    await socket.call(name)
                assert refusal.value.status == 403
        async with reading.live("tasks") as view:
            assert titles(await view.ready()) == ["hers", "his"]


async def test_handlers_are_called_with_a_scope_of_their_name() -> None:
    async with World() as world:
        calling = world.showing(await world.made(scopes=["mine:read", "tasks:read"]))
        assert titles(await calling.get("/mine")) == ["his"]
        assert (await calling.get("/whoami")).status == 403
        assert (await calling.post("/purge", {})).status == 403
        empty = world.showing(await world.made(scopes=["mine:read"]))
        assert (await empty.get("/mine")).status == 403
        assert (await world.showing(await world.made(scopes=["purge:read"])).post("/purge", {})).status == 403
        assert (await world.showing(await world.made(scopes=["purge"])).post("/purge", {})).status == 200
        assert (await world.showing(await world.made()).post("/purge", {})).status == 200


async def test_a_key_with_scopes_looks_behind_the_scenes_only_where_it_may_read_anything() -> None:
    async with World() as world:
        for scopes, status in ((None, 200), (["*:read"], 200), (["tasks"], 404), (["*:write"], 404)):
            made = await world.made("ann", scopes=scopes)
            assert (await world.showing(made).get("/metrics")).status == status


@pytest.mark.parametrize(
    "scopes", [["task:read"], ["tasks:delete"], ["tasks:"], [":read"], [""], ["*:all"], ["tasks:read:x"], []]
)
async def test_a_scope_that_names_nothing_is_refused(scopes: list[str]) -> None:
    async with World() as world:
        answer = await world.client.acting("bob").post("/api-keys", {"name": "robot", "scopes": scopes})
        assert answer.status == 422
        assert faults(answer)[0][1] in ("no_such_scope", "no_scope")


async def test_a_key_has_the_roles_of_its_owner_or_those_that_it_names() -> None:
    async with World(claims=["team"]) as world:
        for who, roles, expected in (
            ("ann", None, ["staff"]),
            ("ann", [], []),
            ("ann", ["staff", "admin"], ["staff"]),
            ("bob", ["staff"], []),
        ):
            told = (await world.showing(await world.made(who, roles=roles)).get("/whoami")).json
            assert told["roles"] == expected
        told = (await world.showing(await world.made("bob", scopes=["*"])).get("/whoami")).json
        assert told["claims"] == {"team": "red", "scopes": ["*"]}


# ends


async def test_a_deleted_key_ends_what_lives_on_it_and_others_go_on() -> None:
    async with World() as world:
        made, other = await world.made(), await world.made()
        async with world.showing(made).websocket() as dead, world.showing(other).websocket() as alive:
            await dead.call("tasks.list")
            await alive.call("tasks.list")
            async with world.showing(made).live("tasks") as view:
                assert titles(await view.ready()) == ["his"]
                assert (await world.client.acting("bob").delete(f"/api-keys/{made['id']}")).status == 204
                await world.app.records.create(Task, title="later", owner=BOB, project=1)
                assert await dead.closed() == 4401
                await world.app.settled()
                assert view.records == []
            assert titles((await alive.call("tasks.list"))["data"]) == ["his", "later"]
        assert await world.status(made["key"]) == 401


async def test_a_key_that_another_process_or_program_deletes_is_dead_here() -> None:
    store = kept_store()
    async with World(store) as here, World(store) as there:
        made, other, third = await here.made(), await here.made(), await here.made()
        async with there.showing(made).websocket() as one, there.showing(other).websocket() as two:
            await one.call("tasks.list")
            await two.call("tasks.list")
            assert (await here.client.acting("bob").delete(f"/api-keys/{made['id']}")).status == 204
            assert await one.closed() == 4401
            table = here.app.definitions[here.keys.record].schema.table
            await foreign(store, f"DELETE FROM {table} WHERE ending = '{other['ending']}' RETURNING id")
            assert await two.closed() == 4401
        for key, status in ((made, 401), (other, 401), (third, 200)):
            assert await there.status(key["key"]) == status


async def test_a_key_ends_at_its_time() -> None:
    async with World() as world:
        made = await world.made(expires_at="2030-01-01T13:00:00Z")
        async with world.showing(made).websocket() as socket:
            await socket.call("whoami")
            world.clock.advance(timedelta(hours=1))
            assert await socket.closed() == 4401
        answer = await world.showing(made).get("/whoami")
        assert (answer.status, answer.json["detail"]) == (401, "The credentials have expired.")
        for moment in ("2030-01-01T13:00:00Z", "2040-01-01T13:00:00Z"):
            refused = await world.client.acting("bob").post("/api-keys", {"name": "x", "expires_at": moment})
            assert (refused.status, faults(refused)[0][0]) == (422, "/expires_at")


async def test_a_key_may_last_for_ever_where_the_application_says_so() -> None:
    async with World(lasts=None) as world:
        made = await world.made()
        assert made["expires_at"] is None
        world.clock.advance(timedelta(days=3650))
        assert await world.status(made["key"]) == 200


async def test_a_role_that_is_taken_away_is_gone_from_living_keys_at_once() -> None:
    async with World() as world:
        made = await world.made("ann")
        async with world.showing(made).live("tasks", over="websocket") as view:
            assert titles(await view.ready()) == ["hers", "his"]
            await world.app.records.update(Account, ANN, roles=[])
            assert titles(await view.until(lambda rows: len(rows) == 1)) == ["hers"]


async def test_the_keys_of_an_account_that_is_gone_or_barred_count_no_longer() -> None:
    async with World(only=allow.where(blocked=False)) as world:
        made, hers = await world.made(), await world.made("ann")
        async with world.showing(made).websocket() as socket:
            await socket.call("whoami")
            await world.app.records.update(Account, BOB, blocked=True)
            assert await socket.closed() == 4401
        assert await world.status(made["key"]) == 401
        await world.app.records.delete(Task, 1)
        await world.app.records.delete(Account, ANN)
        assert await world.status(hers["key"]) == 401
        assert [row.owner for row in await world.app.records.list(world.keys.record)] == [BOB]


# last use


async def test_the_last_use_is_shown_and_written_down_seldom() -> None:
    async with World(seen_every=timedelta(minutes=10)) as world:
        made = await world.made()
        bob = world.client.acting("bob")

        async def used() -> tuple[str | None, int]:
            row = (await bob.get(f"/api-keys/{made['id']}")).json
            return row["used_at"], row["version"]

        assert (await used())[0] is None
        for _ in range(3):
            assert await world.status(made["key"]) == 200
        first = await used()
        assert first[0] == "2030-01-01T12:00:00.000000Z"
        world.clock.advance(timedelta(minutes=9))
        assert await world.status(made["key"]) == 200
        assert await used() == first
        world.clock.advance(timedelta(minutes=1))
        async with world.showing(made).websocket() as socket:
            await socket.call("whoami")
            assert (await used())[0] == "2030-01-01T12:10:00.000000Z"
            await world.app.settled()
            await socket.call("whoami")


async def test_many_who_come_at_once_are_one_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        made = await world.made()
        units: list[Any] = []
        write = world.app.store.write

        async def counted(unit: Any) -> Any:
            units.append(unit)
            return await write(unit)

        monkeypatch.setattr(world.app.store, "write", counted)
        assert await asyncio.gather(*(world.status(made["key"]) for _ in range(20))) == [200] * 20
        assert len(units) == 1


async def test_a_store_that_cannot_write_lets_keys_be_used(caplog: pytest.LogCaptureFixture) -> None:
    store = Faulty(open_store(kept_store()))
    async with World(store) as world:
        made = await world.made()
        store.fail("before write", StoreReadOnly("it is read-only"))
        assert await world.status(made["key"]) == 200
        assert "the use of an API key is not written down" in caplog.text


# without accounts


async def test_without_accounts_a_key_is_of_whoever_another_way_has_found() -> None:
    def by_name(credentials: Credentials) -> Actor | None:
        return Actor(credentials.token, frozenset({"staff"})) if credentials.token in ("ann", "bob") else None

    class Note(Record[int], rules=allow.where(owner=me.id) | allow.role("staff")):
        title: str
        owner: str = Field(default=me.id)

    keys = ApiKeys(path="tokens", prefix="board")
    async with Client(App(Note, store=fresh_store(), auth=[by_name, keys], clock=Clock(NOW))) as client:
        for owner in ("ann", "bob"):
            await client.app.records.create(Note, title=owner, owner=owner)
        made = (await client.acting("ann").post("/tokens", {"name": "robot"})).json
        assert made["key"].startswith("board_")
        assert titles(await client.acting(made["key"]).get("/notes")) == ["ann"]
        assert (await client.acting("ann").post("/tokens", {"name": "robot", "roles": ["staff"]})).status == 403
        issued = await keys.issue("service", "robot", roles=["staff"])
        assert titles(await client.acting(issued.key).get("/notes")) == ["ann", "bob"]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_what_cannot_be_is_told_when_the_application_is_made() -> None:
    for options in ({"roles": "role"}, {"claims": ["teem"]}, {"only": allow.signed_in}):
        with pytest.raises(DeclarationError):
            App(Account, Project, Task, store="sqlite:///:memory:", auth=ApiKeys(Account, **options))  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="points at Account, which is not given"):
        App(store="sqlite:///:memory:", auth=ApiKeys(Account))
    for prefix in ("", "a_b", "a b", "é"):
        with pytest.raises(ValueError, match="letters and digits"):
            ApiKeys(Account, prefix=prefix)
    with pytest.raises(ValueError, match="are about accounts"):
        ApiKeys(roles="roles")


async def test_an_owner_has_so_many_keys_and_the_server_makes_more() -> None:
    async with World(most=3) as world:
        bob = world.client.acting("bob")
        first = await bob.post("/api-keys", [{"name": f"key {n}"} for n in range(2)])
        assert first.status == 201
        both = await bob.post("/api-keys", [{"name": "third"}, {"name": "fourth"}])
        assert (both.status, both.json["detail"]) == (
            409, "An owner has at most 3 keys; delete one that is not used any more.",
        )  # fmt: skip
        assert (await bob.post("/api-keys", {"name": "third"})).status == 201
        assert (await bob.post("/api-keys", {"name": "fourth"})).status == 409
        assert (await world.client.acting("ann").post("/api-keys", {"name": "hers"})).status == 201
        await world.keys.issue(BOB, "nightly report")
        assert len((await bob.get("/api-keys")).json) == 4


async def test_an_owner_who_makes_many_keys_at_once_has_no_more_of_them() -> None:
    async with World(most=3) as world:
        bob = world.client.acting("bob")
        for _ in range(3):
            answers = await asyncio.gather(*(bob.post("/api-keys", {"name": f"key {n}"}) for n in range(9)))
            assert {answer.status for answer in answers} <= {201, 409}
        for name in ("second", "third", "fourth"):
            last = await bob.post("/api-keys", {"name": name})
        assert (last.status, len((await bob.get("/api-keys")).json)) == (409, 3)
        for status in (201, 201, 201, 409):
            foreign = await bob.post("/api-keys", {"name": "hers", "owner": str(ANN)})
            assert foreign.status == 422  # which tells nothing of how many she has
            assert (await world.client.acting("ann").post("/api-keys", {"name": "hers"})).status == status
