"""Relations: has one, many to many through another resource, and setting what links lead to."""

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from crudite import (
    App,
    DeclarationError,
    Field,
    Forbidden,
    Many,
    Mirrored,
    Next,
    One,
    OpenApi,
    Parent,
    Place,
    Record,
    Ref,
    Request,
    allow,
    around,
    before,
    me,
)
from crudite.testing import Client, Refusal
from tests.contracts.json_files import JsonFiles
from tests.flows.worlds import by_name, client_for, faults
from tests.services.stores import fresh_store

OVER: Any = pytest.mark.parametrize("over", ["sse", "websocket"])
OPEN = allow.everyone


class Person(Record[str], rules=OPEN, path="people"):
    name: str
    profile: One["Profile"] = Field(settable=True)


class Profile(Record[str], rules={"read": allow.where(hidden=False), "write": OPEN}):
    person: Ref[Person | None] = Field(default=None, unique=True)
    motto: str = ""
    hidden: bool = False


class Post(Record[str], rules=OPEN):
    title: str
    author: Ref[Person] | None = Field(default=None, include=False)
    tags: Many["Tag"] = Field(through="Tagging", settable=True)
    taggings: Many["Tagging"]


class Tag(Record[str], rules={"read": allow.where(secret=False), "write": OPEN}):
    name: str
    secret: bool = False
    posts: Many["Post"] = Field(through="Tagging", include=False)


class Tagging(
    Record[int],
    unique=[("post", "tag")],
    rules={"read": allow.where(draft=False), "create": OPEN, "update": OPEN, "delete": allow.where(pinned=False)},
):
    post: Ref[Post]
    tag: Ref[Tag]
    draft: bool = False
    pinned: bool = False


def world() -> Client:
    return client_for(Person, Profile, Post, Tag, Tagging, auth=by_name)


async def fill(client: Client) -> None:
    for path, records in {
        "people": [{"id": "ann", "name": "Ann"}, {"id": "bob", "name": "Bob"}],
        "profiles": [{"id": "p1", "person": "ann", "motto": "more"}, {"id": "p2"}],
        "posts": [{"id": "one", "title": "One"}, {"id": "two", "title": "Two"}],
        "tags": [{"id": "red", "name": "Red"}, {"id": "blue", "name": "Blue"}, {"id": "low", "name": "Low"}],
        "taggings": [{"post": "one", "tag": "red"}, {"post": "one", "tag": "blue"}, {"post": "two", "tag": "red"}],
    }.items():
        made = await client.post(f"/{path}", records)
        assert made.status == 201, made.json


def tags(record: Any) -> list[str]:
    return [tag["id"] for tag in record["_included"]["tags"]]


async def tags_of(client: Client, post: str) -> list[str]:
    return tags((await client.get(f"/posts/{post}?include=tags")).json)


async def joined(client: Client) -> list[tuple[int, str, str]]:
    return [(row["id"], row["post"], row["tag"]) for row in (await client.get("/taggings")).json]


async def test_a_link_to_one_is_included_as_the_record_or_as_null() -> None:
    async with world() as client:
        await fill(client)

        found = (await client.get("/people?include=profile.person")).json

        ann, bob = (person["_included"]["profile"] for person in found)
        assert (ann["motto"], ann["_included"]["person"]["name"]) == ("more", "Ann")
        assert bob is None
        await client.patch("/profiles/p1", {"hidden": True})
        assert (await client.get("/people/ann?include=profile")).json["_included"] == {"profile": None}


async def test_filters_go_through_a_link_to_one() -> None:
    async with world() as client:
        await fill(client)
        assert [p["id"] for p in (await client.get("/people?profile.motto=more")).json] == ["ann"]
        assert [p["id"] for p in (await client.get("/people?profile[exists]=false")).json] == ["bob"]
        assert [p["id"] for p in (await client.get("/profiles?person.profile.motto=more")).json] == ["p1"]


async def test_what_is_joined_by_another_resource_is_included_once_and_in_the_order_of_keys() -> None:
    async with world() as client:
        await fill(client)

        found = (await client.get("/posts?include=tags,taggings.tag")).json

        assert [tags(post) for post in found] == [["blue", "red"], ["red"]]
        assert "_included" not in found[0]["_included"]["tags"][0]
        assert [row["_included"]["tag"]["name"] for row in found[0]["_included"]["taggings"]] == ["Red", "Blue"]


async def test_the_rules_of_the_joining_and_of_the_joined_records_hold() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/taggings/2", {"draft": True})
        assert await tags_of(client, "one") == ["red"]
        assert (await client.get("/posts?tags.name=Blue")).json == []
        await client.patch("/tags/red", {"secret": True})
        assert await tags_of(client, "one") == []
        assert (await client.get("/posts?tags.name=Red")).json == []
        assert (await client.get("/posts?tags[exists]=true")).json == []


async def test_filters_and_counts_go_through_the_joining_records() -> None:
    async with world() as client:
        await fill(client)
        await client.post("/posts", {"id": "none", "title": "None"})

        async def found(query: str) -> list[str]:
            return [post["id"] for post in (await client.get(f"/posts?{query}")).json]

        assert await found("tags.name=Red") == ["one", "two"]
        assert await found("tags.id=blue") == ["one"]
        assert await found("tags.name=Red&tags.secret=true") == []
        assert await found("tags[exists]=false") == ["none"]
        assert await found("tags.name[ne]=Red") == ["one"]
        assert [tag["id"] for tag in (await client.get("/tags?posts.title=Two")).json] == ["red"]
        counted = await client.get("/posts?tags.name=Red&count=exact&limit=1")
        assert counted.headers["x-total-count"] == "2"
        negated = await client.request("QUERY", "/posts", {"where": {"not": {"tags.name": "Blue"}}})
        assert [post["id"] for post in negated.json] == ["none", "two"]


@OVER
async def test_a_joining_record_that_comes_or_goes_moves_what_it_joins_in_a_live_query(over: Any) -> None:
    async with world() as client:
        await fill(client)
        async with (
            client.live("posts", over=over, include=["tags"], sort=["id"]) as view,
            client.live("posts", over=over, where={"tags.name": "Blue"}) as blue,
        ):
            assert [tags(post) for post in await view.ready()] == [["blue", "red"], ["red"]]
            assert [post["id"] for post in await blue.ready()] == ["one"]
            await client.post("/taggings", {"post": "two", "tag": "blue"})
            await view.until(lambda rows: tags(rows[1]) == ["blue", "red"])
            await blue.until(lambda rows: len(rows) == 2)
            await client.delete("/taggings/1")
            await view.until(lambda rows: tags(rows[0]) == ["blue"])
            await client.patch("/taggings/2", {"draft": True})
            await view.until(lambda rows: tags(rows[0]) == [])
            await blue.until(lambda rows: [post["id"] for post in rows] == ["two"])
            await client.patch("/tags/blue", {"name": "Navy"})
            await view.until(lambda rows: rows[1]["_included"]["tags"][0]["name"] == "Navy")
            await blue.until(lambda rows: rows == [])
            await client.patch("/tags/red", {"secret": True})
            rows = await view.until(lambda rows: tags(rows[1]) == ["blue"])
        assert rows == (await client.get("/posts?include=tags&sort=id")).json


@OVER
async def test_a_record_that_comes_to_point_back_is_the_one_of_a_live_query(over: Any) -> None:
    async with world() as client:
        await fill(client)
        async with client.live("people", over=over, include=["profile"], sort=["id"]) as view:
            await view.ready()
            await client.patch("/profiles/p2", {"person": "bob", "motto": "less"})
            await view.until(lambda rows: (rows[1]["_included"]["profile"] or {}).get("motto") == "less")
            await client.delete("/profiles/p1")
            rows = await view.until(lambda rows: rows[0]["_included"]["profile"] is None)
        assert rows == (await client.get("/people?include=profile&sort=id")).json


async def test_a_link_can_be_kept_out_of_what_is_included_and_still_be_asked_about() -> None:
    async with world() as client:
        await fill(client)
        for path, name in (("tags", "posts"), ("posts", "author")):
            refused = await client.get(f"/{path}?include={name}")
            assert (refused.status, faults(refused)) == (400, [("include", "bad_include")])
        assert (await client.get("/posts?author.name=Ann")).json == []


async def test_a_record_is_created_with_what_its_links_lead_to() -> None:
    async with world() as client:
        await fill(client)

        made = await client.post("/posts", {"id": "three", "title": "Three", "tags": ["red", "low"]})
        several = await client.post("/posts", [{"id": "a", "title": "A", "tags": ["blue"]}, {"id": "b", "title": "B"}])

        assert (made.status, several.status) == (201, 201)
        assert "tags" not in made.json
        assert await tags_of(client, "three") == ["low", "red"]
        assert (await tags_of(client, "a"), await tags_of(client, "b")) == (["blue"], [])


async def test_a_link_is_set_as_a_whole_and_what_stays_is_kept() -> None:
    async with world() as client:
        await fill(client)
        before_it = (await client.get("/posts/one")).json

        changed = await client.patch("/posts/one", {"tags": ["low", "red"]})

        assert changed.status == 200
        assert changed.json["version"] > before_it["version"]
        assert await joined(client) == [(1, "one", "red"), (3, "two", "red"), (4, "one", "low")]
        assert (await client.patch("/posts/one", {"title": "1"})).status == 200
        assert await tags_of(client, "one") == ["low", "red"]
        assert (await client.put("/posts/one", {"title": "1"})).status == 200
        assert await tags_of(client, "one") == ["low", "red"]
        assert (await client.put("/posts/one", {"title": "1", "tags": []})).status == 200
        assert await tags_of(client, "one") == []


async def test_all_of_it_is_one_transaction_which_live_queries_see_as_one_step() -> None:
    async with world() as client:
        await fill(client)
        async with client.live("posts", include=["tags"], where={"id": "one"}) as view:
            await view.ready()
            await client.patch("/posts/one", {"title": "1", "tags": ["low"]})
            await view.until(lambda rows: rows[0]["title"] == "1")
            assert [tags(row) for row in view.records] == [["low"]]
        refused = await client.patch("/posts/one", {"title": "x", "tags": ["low", "nope"]})
        assert (refused.status, (await client.get("/posts/one")).json["title"]) == (422, "1")


async def test_many_who_set_links_to_the_same_records_at_the_same_time_do_not_stop_each_other() -> None:
    class Team(Record[str], rules=OPEN):
        players: Many["Player"] = Field(settable=True)

    class Player(Record[str], rules=OPEN):
        team: Ref[Team] | None = None

    async with client_for(Team, Player) as client:
        teams, players = [f"t{number}" for number in range(8)], [f"p{number}" for number in range(20)]
        await client.post("/teams", [{"id": team} for team in teams])
        await client.post("/players", [{"id": player} for player in players])
        orders = Random(1)
        wanted = {team: orders.sample(players, 10) for team in teams}

        answers = await asyncio.gather(*(client.patch(f"/teams/{team}", {"players": wanted[team]}) for team in teams))

        assert [answer.status for answer in answers] == [200] * 8
        found = (await client.get("/players?team[exists]=true")).json
        assert {player["id"] for player in found} == {player for chosen in wanted.values() for player in chosen}
        assert all(player["id"] in wanted[player["team"]] for player in found)


async def test_a_link_to_one_is_set_moved_and_cleared() -> None:
    async with world() as client:
        await fill(client)

        async def persons() -> list[str | None]:
            return [profile["person"] for profile in (await client.get("/profiles")).json]

        assert (await client.patch("/people/ann", {"profile": "p2"})).status == 200
        assert await persons() == [None, "ann"]
        assert (await client.patch("/people/bob", {"profile": "p2"})).status == 200
        assert await persons() == [None, "bob"]
        assert (await client.patch("/people/bob", {"profile": None})).status == 200
        assert await persons() == [None, None]
        assert (await client.post("/people", {"id": "eve", "name": "Eve", "profile": "p1"})).status == 201
        assert await persons() == ["eve", None]


async def test_what_links_lead_to_is_exchanged_in_one_transaction() -> None:
    class Team(Record[str], rules=OPEN):
        captain: One["Player"] = Field(by="leads", settable=True)
        players: Many["Player"] = Field(by="team", settable=True)

    class Player(Record[str], rules=OPEN):
        leads: Ref[Team | None] = Field(default=None, unique=True)
        team: Ref[Team | None] = Field(default=None)

    async with client_for(Team, Player) as client:
        await client.post("/teams", [{"id": key} for key in "abc"])
        await client.post("/players", [{"id": f"{key}1", "leads": key, "team": key} for key in "abc"])
        records = client.app.records

        async def led() -> list[tuple[str | None, str | None]]:
            return [(player["leads"], player["team"]) for player in (await client.get("/players?sort=id")).json]

        async with records.batch() as batch:
            batch.update(Team, "a", captain="b1")
            batch.update(Team, "b", captain="a1")
        assert await led() == [("b", "a"), ("a", "b"), ("c", "c")]
        async with records.batch() as batch:  # in a circle
            batch.update(Team, "a", captain="a1", players=["b1"])
            batch.update(Team, "b", captain="c1", players=["c1"])
            batch.update(Team, "c", captain="b1", players=["a1"])
        assert await led() == [("a", "c"), ("c", "a"), ("b", "b")]
        async with records.batch() as batch:  # and what is given to another one is given away
            batch.update(Team, "a", captain="c1", players=["a1", "b1", "c1"])
            batch.update(Team, "b", captain=None, players=[])
            batch.update(Team, "c", players=[])
        assert await led() == [(None, "a"), ("c", "a"), ("a", "a")]
        async with records.batch() as batch:  # and who says last that it is his has it
            batch.update(Team, "b", captain="c1", players=["b1", "c1"])
            batch.update(Team, "a", captain="c1", players=["a1", "c1"])
        assert await led() == [(None, "a"), ("c", "b"), ("a", "a")]


async def test_what_belongs_to_its_parent_is_not_deleted_where_the_same_transaction_has_moved_it() -> None:
    class Box(Record[str], rules=OPEN):
        things: Many["Thing"] = Field(settable=True)

    class Thing(Record[str], rules=OPEN):
        box: Parent[Box]

    async with client_for(Box, Thing) as client:
        await client.post("/boxes", [{"id": "a"}, {"id": "b"}])
        await client.post("/things", [{"id": "x", "box": "b"}, {"id": "y", "box": "b"}])
        async with client.app.records.batch() as batch:
            batch.update(Box, "a", things=["x"])
            batch.update(Box, "b", things=[])
        assert [(thing["id"], thing["box"]) for thing in (await client.get("/things")).json] == [("x", "a")]


async def test_every_key_that_is_not_there_is_named_by_its_place() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/tags/blue", {"secret": True})

        nowhere = await client.patch("/posts/one", {"tags": ["red", "nope", "blue"]})
        created = await client.post("/posts", [{"title": "a", "id": "a"}, {"title": "b", "id": "b", "tags": ["nope"]}])
        one = await client.patch("/people/ann", {"profile": "nope"})
        twice = await client.patch("/posts/one", {"tags": ["red", "red"]})
        no_list = await client.patch("/posts/one", {"tags": {"red": True}, "title": 7})

        assert faults(nowhere) == [("/tags/1", "no_such_record"), ("/tags/2", "no_such_record")]
        assert faults(created) == [("/1/tags/0", "no_such_record")]
        assert faults(one) == [("/profile", "no_such_record")]
        assert faults(twice) == [("/tags", "repeated")]
        assert faults(no_list) == [("/tags", "list_type"), ("/title", "string_type")]


async def test_what_the_asker_does_not_see_stays_where_it_is() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/tags/blue", {"secret": True})
        assert (await client.patch("/posts/one", {"tags": ["low"]})).status == 200
        await client.patch("/tags/blue", {"secret": False})
        assert await tags_of(client, "one") == ["blue", "low"]


async def test_who_may_not_write_the_joining_records_is_refused_naming_the_link() -> None:
    async with world() as client:
        await fill(client)
        await client.patch("/taggings/1", {"pinned": True})

        refused = await client.patch("/posts/one", {"title": "x", "tags": ["blue"]})

        assert (refused.status, faults(refused)) == (403, [("/tags", "not_writable")])
        assert (await client.get("/posts/one")).json["title"] == "One"
        assert await tags_of(client, "one") == ["blue", "red"]


async def test_the_rule_for_the_record_itself_holds_too_and_so_does_its_version() -> None:
    class Paper(Record[str], rules={"read": OPEN, "create": OPEN, "write": allow.where(owner=me.id)}):
        owner: str
        topics: Many["Topic"] = Field(through="About", settable=True)

    class Topic(Record[str], rules=OPEN):
        pass

    class About(Record[int], rules=OPEN):
        paper: Ref[Paper]
        topic: Ref[Topic]

    async with client_for(Paper, Topic, About, auth=by_name) as client:
        await client.post("/topics", [{"id": "x"}, {"id": "y"}])
        ann = client.acting("ann")
        await ann.post("/papers", {"id": "p", "owner": "ann", "topics": ["x"]})
        assert (await client.acting("bob").patch("/papers/p", {"topics": ["y"]})).status == 403
        version = (await ann.get("/papers/p")).headers["etag"]
        assert (await ann.patch("/papers/p", {"topics": ["y"]}, headers={"if-match": version})).status == 200
        assert (await ann.patch("/papers/p", {"topics": []}, headers={"if-match": version})).status == 412
        assert (await ann.get("/papers/p?include=topics")).json["_included"]["topics"][0]["id"] == "y"


async def test_hooks_of_the_joining_resource_run() -> None:
    seen: list[str] = []

    class Left(Record[str], rules=OPEN):
        rights: Many["Right"] = Field(through="Pair", settable=True)

    class Right(Record[str], rules=OPEN):
        pass

    class Pair(Record[int], rules=OPEN):
        left: Ref[Left]
        right: Ref[Right]

        @before("create", "delete")
        def note(self, request: Request) -> None:
            seen.append(f"{request.action} {self.right}")

    async with client_for(Left, Right, Pair) as client:
        await client.post("/rights", [{"id": "x"}, {"id": "y"}])
        await client.post("/lefts", {"id": "l", "rights": ["x"]})
        await client.patch("/lefts/l", {"rights": ["y"]})
        assert seen == ["create x", "delete x", "create y"]


@pytest.mark.only_on("sqlite", reason="a description asks no store")
def test_the_description_tells_what_is_included_and_what_is_set() -> None:
    document = OpenApi().document(App(Person, Profile, Post, Tag, Tagging, store=fresh_store()))
    schemas = document["components"]["schemas"]
    included = schemas["Post"]["properties"]["_included"]["properties"]
    assert included["tags"] == {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}, "maxItems": 100}
    assert included.keys() == {"tags", "taggings"}
    assert schemas["Person"]["properties"]["_included"]["properties"] == {
        "profile": {"anyOf": [{"$ref": "#/components/schemas/Profile"}, {"type": "null"}]}
    }
    whole = OpenApi().document(App(User, Group, store=fresh_store()))["paths"]["/users/{user}/groups"]["put"]
    assert whole["operationId"] == "users.groups.set"
    assert whole["requestBody"]["content"]["application/json"]["schema"]["items"]["anyOf"] == [
        {"$ref": "#/components/schemas/GroupCreateInUser"},
        {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
    ]
    for action in ("Create", "Replace", "Update"):
        assert schemas[f"Post{action}"]["properties"]["tags"] == {
            "type": "array", "items": {"type": "string"}, "maxItems": 1000, "uniqueItems": True,
            "description": "The keys of all Tag records that it leads to from now on; left away, nothing changes.",
        }  # fmt: skip
        assert "tags" not in schemas[f"Post{action}"].get("required", [])
        assert "taggings" not in schemas[f"Post{action}"]["properties"]


async def test_the_server_itself_sets_links_with_keys_or_records() -> None:
    app = App(Person, Profile, Post, Tag, Tagging, store=fresh_store(), auth=by_name)
    async with Client(app) as client:
        await fill(client)
        low = await app.records.read(Tag, "low")
        await app.records.update(Post, "two", tags=[low, "blue"])
        assert await tags_of(client, "two") == ["blue", "low"]


async def test_over_a_websocket_links_are_set_alike() -> None:
    async with world() as client, client.websocket() as socket:
        await fill(client)
        await socket.call("posts.update", {"key": "one", "data": {"tags": ["low"]}})
        assert await tags_of(client, "one") == ["low"]


async def test_a_record_that_the_store_numbers_is_created_with_what_its_links_lead_to() -> None:
    class Order(Record[int], rules=OPEN):
        items: Many["Item"] = Field(settable=True)
        tags: Many["Mark"] = Field(through="Marking", settable=True)

    low = allow.where(order=None) | allow.where(order__lt=20)

    class Item(Record[str], rules={"write": low, "read": OPEN}):
        order: Ref[Order | None] = None  # type: ignore[assignment]
        told: list[int] = Field(default=[])

        @before("update")
        def tell(self) -> None:
            assert isinstance(self.order, int)
            self.told = [*self.told, self.order]

    class Mark(Record[str], rules=OPEN):
        pass

    class Marking(Record[int], rules=OPEN):
        order: Ref[Order]
        mark: Ref[Mark]

    async with client_for(Order, Item, Mark, Marking) as client:
        await client.post("/items", [{"id": "x"}, {"id": "y"}, {"id": "z"}])
        await client.post("/marks", [{"id": "red"}])
        first = await client.post("/orders", {"items": ["x"], "tags": ["red"]})
        assert (first.status, first.headers["location"]) == (201, f"/orders/{first.json['id']}")
        two = await client.post("/orders", [{"items": ["y"]}, {"id": 9, "items": ["z"]}, {"items": []}, {}])
        keys = [first.json["id"], *(order["id"] for order in two.json)]
        assert (two.status, len({*keys}), keys[2]) == (201, 5, 9)
        stored = [(item["order"], item["told"]) for item in (await client.get("/items?sort=id")).json]
        assert stored == [(keys[0], [keys[0]]), (keys[1], [keys[1]]), (9, [9])]
        assert [row["order"] for row in (await client.get("/markings")).json] == [keys[0]]

        wrong = await client.post("/orders", {"items": ["nobody"]})
        assert (wrong.status, faults(wrong)) == (422, [("/items/0", "no_such_record")])
        await client.post("/orders", {"id": 20})
        denied = await client.post("/orders", {"items": ["x"]})
        assert (denied.status, faults(denied)) == (403, [("/items/0", "not_writable")])
        assert len((await client.get("/orders")).json) == 6
        schemas = OpenApi().document(client.app)["components"]["schemas"]
        said = {name: schemas[name]["properties"]["items"]["description"] for name in ("OrderCreate", "OrderUpdate")}
        assert ["own key" in text for text in said.values()] == [False, False]


@pytest.mark.only_on("sqlite", reason="it has a store of its own")
async def test_where_the_store_numbers_no_record_beforehand_links_are_set_once_there_is_a_key(tmp_path: Path) -> None:
    class Order(Record[int], rules=OPEN):
        items: Many["Item"] = Field(settable=True)

    class Item(Record[str], rules=OPEN):
        order: Ref[Order | None] = None  # type: ignore[assignment]

    async with Client(App(Order, Item, store=Mirrored(JsonFiles(tmp_path)))) as client:
        await client.post("/items", [{"id": "x"}, {"id": "y"}])
        refused = await client.post("/orders", {"items": ["x"]})
        assert (refused.status, faults(refused)) == (422, [("/items", "no_key")])
        assert (await client.post("/orders", {"items": []})).status == 201
        assert (await client.patch("/orders/1", {"items": ["x", "y"]})).status == 200
        assert (await client.post("/orders", {"id": 9, "items": ["y"]})).status == 201
        schemas = OpenApi().document(client.app)["components"]["schemas"]
        said = {name: schemas[name]["properties"]["items"]["description"] for name in ("OrderCreate", "OrderUpdate")}
        assert ["own key" in text for text in said.values()] == [True, False]
        assert [item["order"] for item in (await client.get("/items")).json] == [1, 9]


async def test_what_belongs_to_its_parent_is_deleted_when_it_is_taken_out() -> None:
    class Box(Record[str], rules=OPEN):
        things: Many["Thing"] = Field(settable=True)

    class Thing(Record[str], rules=OPEN):
        box: Parent[Box]

    async with client_for(Box, Thing) as client:
        await client.post("/boxes", [{"id": "a"}, {"id": "b"}])
        await client.post("/things", [{"id": "x", "box": "a"}, {"id": "y", "box": "a"}, {"id": "z", "box": "b"}])
        assert (await client.patch("/boxes/a", {"things": ["y", "z"]})).status == 200
        assert [(t["id"], t["box"]) for t in (await client.get("/things")).json] == [("y", "a"), ("z", "a")]


@pytest.mark.only_on("sqlite", reason="a declaration asks no store")
def test_a_link_whose_setting_would_pass_a_hook_by_is_refused() -> None:
    class Club(Record[str], rules=OPEN):
        members: Many["Member"] = Field(settable=True)

    class Member(Record[str], rules=OPEN):
        club: Ref[Club | None] = Field(default=None)

        @around("delete", "list")
        @classmethod
        async def ask(cls, request: Request, next: Next) -> Any:
            return await next()

    with pytest.raises(DeclarationError) as refused:
        App(Club, Member)
    assert refused.value.faults == (
        "Club.members: setting it would pass by what goes around Member (delete): use @before and @after there, or "
        "leave settable away.",
    )


def test_links_that_cannot_be_are_refused_all_at_once() -> None:
    class Car(Record[str], rules=OPEN):
        colour: str = Field(default="", include=False)
        maker: Ref["Maker"] = Field(through="Drive")
        plate: One["Plate"]
        drivers: Many["Driver"] = Field(through="Drivs")
        people: Many["Driver"] = Field(through="Drive", settable=True)
        wheels: Many["Wheel"] = Field(settable=True)
        seats: Many["Seat"] = Field(to="driver")
        first: One["Driver"] = Field(through="Drive")
        owners: Many["Driver"] = Field(through="Drive", to="drivr")
        makers: Many["Maker"] = Field(through="Drive")

    class Maker(Record[str], rules=OPEN):
        pass

    class Plate(Record[str], rules=OPEN):
        car: Ref[Car]

    class Driver(Record[str], rules=OPEN):
        pass

    class Drive(Record[str], rules=OPEN):
        car: Ref[Car]
        driver: Ref[Driver]
        kind: str

    class Wheel(Record[str], rules=OPEN):
        car: Ref[Car]

    class Seat(Record[str], rules=OPEN):
        car: Ref[Car]
        driver: Ref[Driver]

    with pytest.raises(DeclarationError) as refused:
        App(Car, Maker, Plate, Driver, Drive, Wheel, Seat, store=fresh_store())

    assert set(refused.value.faults) == {
        "Car.colour: `include` is for references and links only.",
        "Car.maker: `by`, `through`, `to` and `settable` are for Many and One only.",
        "Car.plate: several Plate could point here: Plate.car says Field(unique=True), or write Many.",
        "Car.drivers: it goes through Drivs, which is not given to App(…); did you mean 'Drive'?",
        "Car.people: keys alone do not make a Drive: id and kind of it would need a default.",
        "Car.wheels: what is set can also be taken out, and Wheel.car cannot be null: write Ref[Car | None] there, or "
        "Parent[Car], with which what is taken out is deleted.",
        "Car.seats: `to` goes with `through` only.",
        "Car.first: a link through another resource leads to many: write Many in place of One.",
        "Car.owners: Drive.drivr does not point at Driver; did you mean 'driver'?",
        "Car.makers: no field of Drive points at Maker, such as Ref[Maker].",
    }


async def test_who_is_linked_with_his_like_says_which_field_is_which() -> None:
    class User(Record[str], rules=OPEN):
        follows: Many["User"] = Field(through="Following", by="follower", to="followed", settable=True)
        followers: Many["User"] = Field(through="Following", by="followed")

    class Following(Record[int], rules=OPEN):
        follower: Ref[User]
        followed: Ref[User]

    async with client_for(User, Following) as client:
        await client.post("/users", [{"id": "ann"}, {"id": "bob"}, {"id": "eve", "follows": []}])
        await client.patch("/users/ann", {"follows": ["bob", "eve"]})
        found = (await client.get("/users/bob?include=followers.follows,follows")).status
        assert found == 400  # many within many
        [follower] = (await client.get("/users/bob?include=followers")).json["_included"]["followers"]
        assert follower["id"] == "ann"
        assert [u["id"] for u in (await client.get("/users?followers.id=ann")).json] == ["bob", "eve"]


class User(Record[str], rules=OPEN):
    groups: Many["Group"] = Field(settable=True)


class Group(Record[int], rules={"read": allow.where(hidden=False), "write": OPEN, "delete": allow.where(locked=False)}):
    user: Parent[User]
    name: str = Field(min_length=1)
    size: int = 1
    tags: list[str] = Field(default=[])
    hidden: bool = False
    locked: bool = False

    @before("create", "delete")
    def refuse(self, request: Request) -> None:
        if self.name == "never":
            raise Forbidden("Never.")


def users() -> Client:
    return client_for(User, Group, auth=by_name)


async def with_groups(client: Client) -> None:
    await client.post("/users", [{"id": "ann"}, {"id": "bob"}])
    await client.post("/users/ann/groups", [{"name": "a"}, {"name": "b", "size": 2}, {"name": "c"}])
    await client.post("/users/bob/groups", {"name": "z"})


def groups(found: Any) -> list[tuple[int, str, str, int]]:
    return [(group["id"], group["user"], group["name"], group["size"]) for group in found.json]


async def test_the_records_below_a_parent_are_set_as_a_whole_by_keys_and_by_content() -> None:
    async with users() as client:
        await with_groups(client)

        answer = await client.put("/users/ann/groups", [{"name": "d"}, {"name": "b", "size": 2}, 1, {"name": "b"}])

        wanted = [(5, "ann", "d", 1), (2, "ann", "b", 2), (1, "ann", "a", 1), (6, "ann", "b", 1)]
        assert (answer.status, groups(answer)) == (200, wanted)
        assert groups(await client.get("/groups")) == [*sorted(wanted[1:3]), (4, "bob", "z", 1), wanted[0], wanted[3]]
        assert "crudite-after" in answer.headers


async def test_many_who_move_the_same_records_here_at_the_same_time_do_not_stop_each_other() -> None:
    async with users() as client:
        names = [f"u{number}" for number in range(8)]
        await client.post("/users", [{"id": name} for name in ("all", *names)])
        await client.post("/users/all/groups", [{"name": f"g{number}"} for number in range(20)])
        orders = Random(1)
        wanted = {name: orders.sample(range(1, 21), 10) for name in names}

        answers = await asyncio.gather(*(client.put(f"/users/{name}/groups", wanted[name]) for name in names))

        for name, answer in zip(names, answers, strict=True):
            assert (answer.status, [group["id"] for group in answer.json]) == (200, wanted[name])
        for group in (await client.get("/groups")).json:
            assert group["user"] == "all" or group["id"] in wanted[group["user"]]


async def test_setting_what_is_there_already_changes_nothing() -> None:
    async with users() as client:
        await with_groups(client)
        seen, user = (await client.get("/groups")).json, (await client.get("/users/ann")).json

        again = await client.put("/users/ann/groups", [{"name": "c"}, {"name": "a"}, {"name": "b", "size": 2}])

        assert [group["id"] for group in again.json] == [3, 1, 2]
        assert ((await client.get("/groups")).json, (await client.get("/users/ann")).json) == (seen, user)


async def test_a_record_with_its_key_is_replaced_and_one_from_elsewhere_is_moved_here() -> None:
    async with users() as client:
        await with_groups(client)

        answer = await client.put(
            "/users/ann/groups", [{"id": 2, "name": "B"}, 4, {"id": 9, "name": "n", "user": "ann"}]
        )

        assert groups(answer) == [(2, "ann", "B", 1), (4, "ann", "z", 1), (9, "ann", "n", 1)]
        assert groups(await client.get("/groups")) == groups(answer)


async def test_a_whole_that_was_read_can_be_sent_back_with_one_record_changed() -> None:
    async with users() as client:
        await with_groups(client)
        read = (await client.get("/users/ann/groups")).json

        same = await client.put("/users/ann/groups", read)
        changed = await client.put("/users/ann/groups", [read[0], {**read[1], "name": "B"}, read[2]])
        stale = await client.put("/users/ann/groups", [read[0], {**read[1], "name": "C"}, read[2]])
        wrong = await client.put("/users/ann/groups", [{**read[0], "created_at": "2020-01-01T00:00:00Z"}])
        fresh = await client.put("/users/ann/groups", [{"name": "new", "version": 1}])

        assert (same.status, same.json) == (200, read)
        assert (changed.json[0], changed.json[1]["name"], changed.json[2]) == (read[0], "B", read[2])
        assert stale.status == 412
        assert (wrong.status, faults(wrong)) == (422, [("/0/created_at", "read_only")])
        assert (fresh.status, faults(fresh)) == (422, [("/0/version", "read_only")])
        assert (await client.get("/users/ann/groups")).json == changed.json


async def test_a_whole_with_a_record_that_has_gone_since_it_was_read_says_which() -> None:
    async with users() as client:
        await with_groups(client)
        read = (await client.get("/users/ann/groups")).json
        await client.delete(f"/groups/{read[1]['id']}")

        gone = await client.put("/users/ann/groups", read)
        async with client.websocket() as socket:
            with pytest.raises(Refusal) as heard:
                await socket.call("groups.set", {"below": {"user": "ann"}, "data": read})

        assert (gone.status, faults(gone)) == (422, [("/1", "no_such_record")])
        assert heard.value.problem["errors"] == gone.json["errors"]


async def test_a_whole_is_not_set_on_a_condition_that_cannot_be_held() -> None:
    async with users() as client:
        await with_groups(client)
        listed = await client.get("/users/ann/groups")
        put = partial(client.put, "/users/ann/groups", [])
        for tag in (listed.headers["etag"], '"v1"', '"v1", "v2"'):
            assert (await put(headers={"if-match": tag})).status == 412
            assert (await put(headers={"if-none-match": tag})).status == 412
        assert (await put(headers={"if-none-match": "*"})).status == 412
        assert (await put(headers={"if-match": "nonsense"})).status == 400
        assert (await client.get("/users/ann/groups")).json == listed.json
        assert (await put(headers={"if-match": "*"})).json == []


async def test_what_the_asker_does_not_see_of_a_record_neither_tells_it_apart_nor_is_taken_away_by_a_whole() -> None:
    class Folder(Record[str], rules=OPEN):
        cases: Many["Case"] = Field(settable=True)

    class Case(Record[int], rules=OPEN):
        folder: Parent[Folder]
        title: str
        memo: str = Field(default="", visible="private", read=allow.where(title="nobody's"))

    async with client_for(Folder, Case, auth=by_name) as client:
        await client.post("/folders", {"id": "f"})
        await client.post("/folders/f/cases", [{"title": "a", "memo": "mine"}, {"title": "b"}])
        read = (await client.get("/folders/f/cases")).json

        same = await client.put("/folders/f/cases", [{"title": "a"}, {"title": "b"}])
        assert (same.status, same.json) == (200, read)
        back = await client.put("/folders/f/cases", read)
        assert (back.status, back.json) == (200, read)
        changed = await client.put("/folders/f/cases", [{**read[0], "title": "A"}, read[1]])
        assert [case["title"] for case in changed.json] == ["A", "b"]
        assert changed.json[1] == read[1]
        assert (await client.app.records.read(Case, read[0]["id"])).memo == "mine"


async def test_every_wrong_entry_of_a_whole_is_named_and_nothing_is_changed() -> None:
    async with users() as client:
        await with_groups(client)

        wrong = await client.put(
            "/users/ann/groups",
            [{"name": ""}, {"name": "x", "user": "bob"}, {"name": "x", "nmae": 1}, "one", 3, {"id": 3, "name": "c"}],
        )
        missing = await client.put("/users/ann/groups", [77, 4, 78])
        hook = await client.put("/users/ann/groups", [{"name": "a"}, {"name": "never"}])
        no_list = await client.put("/users/ann/groups", {"name": "a"})
        nobody = await client.put("/users/eve/groups", [])
        too_many = await client.put("/users/ann/groups", list(range(1001)))

        assert (wrong.status, faults(wrong)) == (422, [
            ("/0/name", "string_too_short"), ("/1/user", "other_parent"), ("/2/nmae", "unknown_field"),
            ("/3", "no_such_record"), ("/5", "repeated"),
        ])  # fmt: skip
        assert (missing.status, faults(missing)) == (422, [("/0", "no_such_record"), ("/2", "no_such_record")])
        assert (hook.status, faults(hook)) == (403, [("/1", "not_writable")])
        assert (no_list.status, faults(no_list)) == (422, [("", "list_type")])
        assert (nobody.status, too_many.status) == (404, 400)
        assert len((await client.get("/groups")).json) == 4


async def test_whose_rules_forbid_a_part_of_a_whole_changes_nothing_of_it() -> None:
    async with users() as client:
        await with_groups(client)
        await client.patch("/groups/3", {"locked": True})
        refused = await client.put("/users/ann/groups", [1, {"name": "new"}])
        assert (refused.status, faults(refused)) == (403, [("", "not_writable")])
        assert len((await client.get("/users/ann/groups")).json) == 3


async def test_who_may_read_nothing_of_a_place_sets_no_whole_there_though_nothing_would_be_written() -> None:
    class Team(Record[str], rules=OPEN):
        posts: Many["Post"] = Field(settable=True)

    class Post(
        Record[int], rules=OPEN, places=["/teams/{team}/posts", Place("/staff/{team}/posts", rules=allow.role("staff"))]
    ):
        team: Parent[Team]
        title: str = ""

    async with client_for(Team, Post, auth=by_name) as client:
        await client.post("/teams", {"id": "t"})
        ann, sue = client.acting("ann"), client.acting("sue:staff")
        for asker, status in ((client, 401), (ann, 403), (sue, 200)):
            read, written = await asker.get("/staff/t/posts"), await asker.put("/staff/t/posts", [])
            assert (read.status, written.status) == (status, status)
        assert (await client.put("/teams/t/posts", [])).status == 200


async def test_what_the_asker_may_not_read_below_the_parent_is_not_taken_out() -> None:
    async with users() as client:
        await with_groups(client)
        await client.patch("/groups/3", {"hidden": True})
        assert (await client.put("/users/ann/groups", [])).json == []
        await client.patch("/groups/3", {"hidden": False})
        assert groups(await client.get("/users/ann/groups")) == [(3, "ann", "c", 1)]


async def test_what_the_list_below_the_parent_leaves_out_by_default_is_not_taken_out_when_that_list_is_sent_back() -> (
    None
):
    class Shelf(Record[int], rules=OPEN, path="shelves"):
        books: Many["Book"] = Field(settable=True)

    class Book(Record[int], rules=OPEN):
        shelf: Parent[Shelf]
        title: str
        status: str = Field(default="open", default_filter=["open", "lent"])

    async with client_for(Shelf, Book) as client:
        await client.post("/shelves", {})
        for title, status in (("a", "open"), ("b", "gone"), ("c", "lent")):
            await client.post("/shelves/1/books", {"title": title, "status": status})
        shown = [
            {"title": one["title"], "status": one["status"]} for one in (await client.get("/shelves/1/books")).json
        ]
        assert (await client.put("/shelves/1/books", shown)).status == 200
        assert [one["id"] for one in (await client.get("/books?status=*")).json] == [1, 2, 3]
        assert (await client.put("/shelves/1/books", [2])).status == 200  # who knows it may name it, and it is kept
        assert [one["title"] for one in (await client.get("/books?status=*")).json] == ["b"]


async def test_a_whole_is_set_in_one_step_for_live_queries_and_answered_as_asked() -> None:
    async with users() as client:
        await with_groups(client)
        async with client.live("users", include=["groups"], where={"id": "ann"}) as view:
            await view.ready()
            least = await client.put("/users/ann/groups", [{"name": "n"}, 2], headers={"prefer": "return=minimal"})
            assert (least.status, least.body) == (204, b"")
            rows = await view.until(lambda rows: len(rows[0]["_included"]["groups"]) == 2)
            assert [kind for kind, _ in view.events if kind in ("added", "changed", "removed")] == ["added", "changed"]
        assert rows == (await client.get("/users?include=groups&id=ann")).json


async def test_over_a_websocket_a_whole_is_set_alike() -> None:
    async with users() as client, client.websocket() as socket:
        await with_groups(client)
        answer = await socket.call("groups.set", {"below": {"user": "ann"}, "data": [{"name": "c"}, 1]})
        assert [group["id"] for group in answer["data"]] == [3, 1]
        for wrong in ({"usr": "ann"}, "ann", {}):
            with pytest.raises(Refusal) as refused:
                await socket.call("groups.set", {"below": wrong, "data": []})
            assert refused.value.problem["errors"][0]["pointer"] == "/below"
        with pytest.raises(Refusal) as refused:
            await socket.call("groups.set", {"below": {"user": "eve"}, "data": []})
        assert refused.value.problem["status"] == 404
        with pytest.raises(Refusal, match=r"users\.set cannot be called"):
            await socket.call("users.set", {"below": {"user": "ann"}, "data": []})


async def test_a_record_gets_its_links_also_where_functions_or_nobody_can_read_it() -> None:
    def open(record: Any, actor: Any) -> bool:
        return bool(record.open)

    class Draft(Record[str], rules={"read": allow.check(open), "write": OPEN}):
        open: bool
        marks: Many["Mark"] = Field(through="Marking", settable=True)

    class Mark(Record[str], rules={"read": allow.check(lambda record, actor: record.id != "x"), "write": OPEN}):
        pass

    class Marking(Record[int], rules=OPEN):
        draft: Ref[Draft]
        mark: Ref[Mark]

    async with client_for(Draft, Mark, Marking) as client:
        await client.post("/marks", [{"id": "x"}, {"id": "y"}, {"id": "z"}])
        for key, is_open in (("a", True), ("b", False)):
            assert (await client.post("/drafts", {"id": key, "open": is_open, "marks": ["y"]})).status == 201
            assert (await client.patch(f"/drafts/{key}", {"marks": ["z", "y"]})).status in (200, 204)
            refused = await client.patch(f"/drafts/{key}", {"marks": ["x"]})
            assert (refused.status, faults(refused)) == (422, [("/marks/0", "no_such_record")])
        assert [(row["draft"], row["mark"]) for row in (await client.get("/markings")).json] == [
            ("a", "y"), ("a", "z"), ("b", "y"), ("b", "z"),
        ]  # fmt: skip


async def test_what_is_deleted_and_kept_is_no_part_of_a_link() -> None:
    class Film(Record[str], rules=OPEN):
        actors: Many["Player"] = Field(through="Role", settable=True)
        poster: One["Poster"] = Field(settable=True)

    class Player(Record[str], rules=OPEN, soft_delete=True):
        pass

    class Poster(Record[str], rules=OPEN, soft_delete=True):
        film: Ref[Film | None] = Field(default=None, unique=True)

    class Role(Record[int], rules=OPEN, soft_delete=True, unique=[("film", "player")]):
        film: Ref[Film]
        player: Ref[Player] = Field(on_delete="cascade")

    app = App(Film, Player, Poster, Role, store=fresh_store())
    async with Client(app) as client:

        async def actors() -> list[str]:
            return [one["id"] for one in (await client.get("/films/f?include=actors")).json["_included"]["actors"]]

        await client.post("/players", [{"id": "x"}, {"id": "y"}])
        await client.post("/posters", [{"id": "m", "film": None}, {"id": "n"}])
        await client.post("/films", {"id": "f", "actors": ["x"], "poster": "m"})
        for some in ([], ["x"], ["y"], ["x", "y"]):
            assert (await client.patch("/films/f", {"actors": some})).status == 200
            assert await actors() == some
        await app.records.update(Film, "f", actors=["y"])
        await app.records.update(Film, "f", actors=["x", "y"])
        assert (await client.delete("/players/x")).status == 204
        assert await actors() == ["y"]
        assert (await client.get("/films?actors.id=x")).json == []
        assert (await client.delete("/posters/m")).status == 204
        assert (await client.patch("/films/f", {"poster": "n"})).status == 200
        assert (await client.get("/films/f?include=poster")).json["_included"]["poster"]["id"] == "n"


async def test_only_a_link_that_is_settable_gives_a_whole_its_path() -> None:
    class Shelf(Record[str], rules=OPEN):
        books: Many["Book"]

    class Book(Record[str], rules=OPEN):
        shelf: Parent[Shelf]

    async with client_for(Shelf, Book) as client:
        await client.post("/shelfs", {"id": "s"})
        refused = await client.put("/shelfs/s/books", [])
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST, QUERY")
        assert faults(await client.patch("/shelfs/s", {"books": []})) == [("/books", "read_only")]
