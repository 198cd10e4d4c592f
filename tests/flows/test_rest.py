"""REST: every row of the table of results, as a client sees it."""

from itertools import chain

import pytest

from crudite import Field, Record, Resource, allow, me
from crudite.testing import Client
from tests.flows.worlds import by_name, client_for, faults, titles


class Todo(Resource, rules=allow.everyone):
    title: str = Field(min_length=1, max_length=20)
    done: bool = False
    points: int | None = None


class Country(Record[str], rules=allow.everyone, path="countries"):
    name: str


async def test_a_created_record_is_answered_with_its_place_and_version_and_can_be_read() -> None:
    async with client_for(Todo) as client:
        created = await client.post("/todos", {"title": "Milk"})
        record = created.json

        assert created.status == 201
        assert created.headers["location"] == f"/todos/{record['id']}"
        assert created.headers["etag"] == f'"v{record["version"]}"'
        assert record == {
            "id": record["id"],
            "title": "Milk",
            "done": False,
            "points": None,
            "version": record["version"],
            "created_at": record["created_at"],
            "updated_at": record["updated_at"],
        }
        found = await client.get(created.headers["location"])
        assert (found.status, found.json) == (200, record)
        assert found.headers["etag"] == created.headers["etag"]
        assert found.headers["content-type"] == "application/json"


async def test_an_array_creates_all_records_in_order_or_none() -> None:
    async with client_for(Todo) as client:
        created = await client.post("/todos", [{"title": "a"}, {"title": "b"}])
        assert (created.status, titles(created)) == (201, ["a", "b"])
        assert "location" not in created.headers

        refused = await client.post("/todos", [{"title": "c"}, {"title": ""}, {"done": 3}])
        assert refused.status == 422
        assert faults(refused) == [
            ("/1/title", "string_too_short"),
            ("/2/done", "bool_type"),
            ("/2/title", "missing"),
        ]
        assert titles(await client.get("/todos?sort=title")) == ["a", "b"]

        assert (await client.post("/todos", [])).json == []


async def test_replace_gives_defaults_to_what_is_left_out_and_update_leaves_it() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a", "done": True, "points": 3})).headers["location"]

        updated = await client.patch(at, {"points": None})
        assert (updated.status, updated.json["done"], updated.json["points"]) == (200, True, None)
        replaced = await client.put(at, {"title": "b"})
        assert (replaced.status, replaced.json["title"], replaced.json["done"]) == (200, "b", False)
        assert replaced.json["version"] > updated.json["version"]
        assert replaced.headers["etag"] == f'"v{replaced.json["version"]}"'


async def test_what_was_read_can_be_sent_back_with_one_field_changed() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a", "done": True, "points": 3})).headers["location"]

        for send, title in ((client.put, "b"), (client.patch, "c")):
            found = (await client.get(at)).json
            changed = await send(at, {**found, "title": title})
            assert (changed.status, changed.json["title"], changed.json["points"]) == (200, title, 3)
            assert (await client.get(at)).json == changed.json
            assert (changed.json["version"] > found["version"], changed.json["done"]) == (True, True)
        also = {"created_at": changed.json["created_at"].replace("Z", "+00:00")}  # the same moment, spelled otherwise
        assert (await client.patch(at, {**changed.json, **also})).status == 200


async def test_a_body_with_the_version_of_another_time_overwrites_nothing() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]
        old = (await client.get(at)).json
        new = (await client.patch(at, {"points": 3})).json

        for send in (client.put, client.patch):
            refused = await send(at, {**old, "title": "b"})
            assert (refused.status, refused.json["code"]) == (412, "precondition_failed")
            assert (await send(at, {"title": "b", "version": old["version"]})).status == 412
        both = await client.request("PUT", at, old, headers={"if-match": f'"v{new["version"]}"'})
        assert both.status == 412
        assert (await client.get(at)).json == new
        any_version = {name: value for name, value in new.items() if name != "version"}
        assert (await client.put(at, any_version)).status == 200


async def test_what_the_server_sets_is_repeated_as_it_is_or_left_out() -> None:
    async with client_for(Todo) as client:
        found = (await client.post("/todos", {"title": "a"})).json
        at, then = f"/todos/{found['id']}", "2020-01-01T00:00:00Z"

        for send in (client.put, client.patch):
            refused = await send(at, {**found, "created_at": then, "updated_at": then})
            assert (refused.status, faults(refused)) == (
                422, [("/created_at", "read_only"), ("/updated_at", "read_only")],
            )  # fmt: skip
            assert (await send(at, {"title": "b", "version": "3"})).status == 422
        assert (await client.get(at)).json == found
        assert (await client.put(f"{at}/version", found["version"])).status == 405


async def test_who_may_not_read_a_record_does_not_guess_when_it_was_made() -> None:
    class Letter(Record[str], rules={"write": allow.everyone}):
        text: str
        sender: str = Field(default="me", immutable=True)

    async with client_for(Letter) as client:
        assert (await client.post("/letters", {"id": "l", "text": "a"})).status == 201
        letter = await client.app.records.read(Letter, "l")
        when = letter.created_at.isoformat().replace("+00:00", "Z")
        for send in (client.put, client.patch):
            for field, value, code in (("created_at", when, "read_only"), ("sender", "me", "immutable")):
                refused = await send("/letters/l", {"text": "b", field: value})
                assert (refused.status, faults(refused)) == (422, [(f"/{field}", code)])
            assert (await send("/letters/l", {"text": "b", "version": 3})).status == 404
            assert (await send("/letters/l", {"text": "b"})).status in (200, 204)


async def test_who_sends_back_what_he_has_read_takes_nothing_away_that_he_does_not_see() -> None:
    class Case(Record[str], rules=allow.everyone):
        title: str
        owner: str = "ann"
        memo: str = Field(default="", visible="private", read=allow.where(owner=me.id))

    async with client_for(Case, auth=by_name) as client:
        ann, bob = client.acting("ann"), client.acting("bob")
        await ann.post("/cases", {"id": "c", "title": "a", "memo": "mine"})
        seen = (await bob.get("/cases/c")).json
        assert "memo" not in seen

        assert (await bob.put("/cases/c", {**seen, "title": "b"})).status == 200

        assert (await client.app.records.read(Case, "c")).memo == "mine"
        assert (await ann.put("/cases/c", {"title": "c", "memo": ""})).status == 200
        assert (await client.app.records.read(Case, "c")).memo == ""


async def test_a_deleted_record_is_gone() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]

        deleted = await client.delete(at)

        assert (deleted.status, deleted.body) == (204, b"")
        assert "content-length" not in deleted.headers
        assert (await client.get(at)).status == 404
        assert (await client.delete(at)).status == 404
        assert (await client.patch(at, {})).status == 404
        assert (await client.put(at, {"title": "x"})).status == 404


async def test_several_records_are_read_in_the_asked_order_and_all_missing_ones_are_named() -> None:
    async with client_for(Country) as client:
        await client.post("/countries", [{"id": "de", "name": "Germany"}, {"id": "fr", "name": "France"}])

        both = await client.get("/countries/fr,de")
        assert [row["id"] for row in both.json] == ["fr", "de"]
        some = await client.get("/countries/fr,xx,yy")
        assert some.status == 404
        assert "'xx', 'yy'" in some.json["detail"]
        assert (await client.get("/countries/fr,fr")).json == [{**both.json[0]}]
        assert (await client.get("/countries/,")).status == 404
        assert (await client.delete("/countries/fr,de")).status == 405
        assert len((await client.get("/countries")).json) == 2


@pytest.mark.parametrize("key", ["", ".", "..", "subscribe"])
async def test_a_key_that_has_no_address_of_its_own_is_refused(key: str) -> None:
    async with client_for(Country) as client:
        refused = await client.post("/countries", {"id": key, "name": "x"})

        assert (refused.status, faults(refused)) == (422, [("/id", "unreachable_key")])


async def test_preconditions_may_name_several_versions_and_none() -> None:
    async with client_for(Country) as client:
        etag = (await client.post("/countries", {"id": "fr", "name": "a"})).headers["etag"]

        async def patch(**headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await client.patch("/countries/fr", {"name": "b"}, headers=named)).status

        assert await patch(if_match='"v1", "v2"') == 412
        assert await patch(if_match=f"W/{etag}") == 412
        assert await patch(if_match="v17") == 400
        assert await patch(if_none_match="*") == 412
        assert await patch(if_none_match=etag) == 412
        assert await patch(if_none_match='"v1"') == 200
        etag = (await client.get("/countries/fr")).headers["etag"]
        assert await patch(if_match=f'"v1", {etag}') == 200


async def test_a_key_may_hold_any_characters_of_a_url() -> None:
    async with client_for(Country) as client:
        for key in ("a/b", "a,b", "ü ?#%", "...", "a%2Fb", "query"):
            created = await client.post("/countries", {"id": key, "name": "x"})
            assert created.status == 201, key
            found = await client.get(created.headers["location"])
            assert (found.status, found.json.get("id")) == (200, key), created.headers["location"]


async def test_a_query_filters_sorts_and_limits() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t, "points": p} for t, p in (("a", 1), ("b", 2), ("c", None), ("d", 3))])

        assert titles(await client.get("/todos?points[gte]=2&sort=-points")) == ["d", "b"]
        assert titles(await client.get("/todos?points__lt=3&sort=title")) == ["a", "b"]
        assert titles(await client.get("/todos?title=a&title=d&sort=title")) == ["a", "d"]
        assert titles(await client.get("/todos?points[isnull]=true")) == ["c"]
        assert titles(await client.get("/todos?sort=points,title")) == ["c", "a", "b", "d"]
        assert titles(await client.get('/todos?filter={"or":[{"title":"a"},{"points":null}]}&sort=title')) == ["a", "c"]
        assert titles(await client.get("/todos?sort=title&limit=2&offset=1")) == ["b", "c"]


async def test_the_same_query_can_be_sent_as_a_body() -> None:
    query = {"where": {"points": {"gte": 2}}, "sort": ["-points"], "limit": 1, "count": "exact"}
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t, "points": p} for t, p in (("a", 1), ("b", 2), ("d", 3))])

        asked = await client.request("QUERY", "/todos", query)
        posted = await client.post("/todos/query", query)

        assert asked.status == posted.status == 200
        assert titles(asked) == titles(posted) == ["d"]
        assert asked.headers["x-total-count"] == posted.headers["x-total-count"] == "2"
        empty = await client.request("QUERY", "/todos")
        assert (empty.status, len(empty.json)) == (200, 3)


async def test_fields_and_omit_choose_what_is_shown_and_the_key_always_is() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]

        assert list((await client.get(f"{at}?fields=title")).json) == ["id", "title"]
        assert list((await client.get("/todos?fields=done")).json[0]) == ["id", "done"]
        shown = (await client.get("/todos?omit=created_at,updated_at,id")).json[0]
        assert list(shown) == ["id", "title", "done", "points", "version"]
        assert faults(await client.get("/todos?fields=nope,title")) == [("fields", "unknown_field")]
        assert (await client.get("/todos?fields=title&omit=done")).status == 400


async def test_an_unchanged_record_or_list_is_not_sent_again() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]
        for url in (at, "/todos", "/todos?done=false&sort=-title"):
            etag = (await client.get(url)).headers["etag"]
            again = await client.get(url, headers={"if-none-match": f'"other", {etag}'})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
            await client.patch(at, {"points": len(url)})
            assert (await client.get(url, headers={"if-none-match": etag})).status == 200


async def test_the_etags_of_different_queries_differ() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", {"title": "a"})
        urls = ("/todos", "/todos?limit=1", "/todos?fields=title", "/todos?sort=title", "/todos?done=false")
        assert len({(await client.get(url)).headers["etag"] for url in urls}) == len(urls)


async def test_a_conditional_write_needs_the_version_that_it_names() -> None:
    async with client_for(Todo) as client:
        created = await client.post("/todos", {"title": "a"})
        at, old = created.headers["location"], created.headers["etag"]
        new = (await client.patch(at, {"title": "b"}, headers={"if-match": old})).headers["etag"]

        for write in (client.patch, client.put):
            assert (await write(at, {"title": "c"}, headers={"if-match": old})).status == 412
        assert (await client.delete(at, headers={"if-match": old})).status == 412
        assert (await client.delete(at, headers={"if-match": '"nonsense"'})).status == 412
        assert (await client.get(at)).json["title"] == "b"
        assert (await client.patch(at, {"title": "d"}, headers={"if-match": "*"})).status == 200
        assert (await client.delete(at, headers={"if-match": new})).status == 412


async def test_a_minimal_answer_is_without_a_body() -> None:
    minimal = {"prefer": "return=minimal"}
    async with client_for(Todo) as client:
        created = await client.post("/todos", {"title": "a"}, headers=minimal)
        assert (created.status, created.body) == (201, b"")
        assert created.headers["preference-applied"] == "return=minimal"
        at = created.headers["location"]
        updated = await client.patch(at, {"done": True}, headers=minimal)
        assert (updated.status, updated.body) == (204, b"")
        assert updated.headers["etag"] > created.headers["etag"]
        whole = await client.patch(at, {"done": True}, headers={"prefer": "return=representation"})
        assert (whole.status, whole.headers["preference-applied"]) == (200, "return=representation")
        strict = await client.patch(at, {"done": False}, headers={"prefer": "handling=strict, return=nothing"})
        assert strict.status == 400
        assert (await client.get(at)).json["done"] is True


async def test_head_answers_as_get_without_the_body() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]
        for url in (at, "/todos", "/nothing", "/todos/subscribe"):
            head = await client.request("HEAD", url)
            assert head.body == b""
            if not url.endswith("subscribe"):
                got = await client.get(url)
                same = ("content-type", "content-length", "etag")
                assert head.status == got.status
                assert [head.headers.get(n) for n in same if url != "/nothing"] == [
                    got.headers.get(n) for n in same if url != "/nothing"
                ]


@pytest.mark.parametrize(
    ("method", "url", "allow"),
    [
        ("PUT", "/todos", "GET, HEAD, OPTIONS, POST, QUERY"),
        ("POST", "/todos/01890a5d-ac96-774b-bcce-b302099a8057", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("DELETE", "/subscribe", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_is_not_there_is_answered_with_those_that_are(method: str, url: str, allow: str) -> None:
    async with client_for(Todo) as client:
        refused = await client.request(method, url)
        assert (refused.status, refused.json["code"]) == (405, "method_not_allowed")
        assert refused.headers["allow"] == allow
        options = await client.request("OPTIONS", url)
        assert (options.status, options.headers["allow"], options.body) == (204, allow, b"")


async def test_a_body_in_another_form_is_refused() -> None:
    async with client_for(Todo) as client:
        at = (await client.post("/todos", {"title": "a"})).headers["location"]

        async def status(method: str, url: str, kind: str, body: bytes = b'{"title":"b"}', **more: str) -> int:
            headers = {"content-type": kind, **{k.replace("_", "-"): v for k, v in more.items()}}
            return (await client.request(method, url, content=body, headers=headers)).status

        assert await status("POST", "/todos", "application/x-www-form-urlencoded") == 415
        assert await status("PUT", at, "application/merge-patch+json") == 415
        assert await status("PATCH", at, "text/plain") == 415
        assert await status("PATCH", at, "application/json; charset=latin1") == 415
        assert await status("PATCH", at, "application/json", content_encoding="gzip") == 415
        assert await status("PATCH", at, "application/merge-patch+json") == 200
        assert await status("POST", "/todos", "application/json; charset=UTF-8") == 201


async def test_a_client_that_takes_no_json_is_told_so() -> None:
    async with client_for(Todo) as client:
        assert (await client.get("/todos", headers={"accept": "text/csv"})).status == 406
        assert (await client.get("/todos", headers={"accept": "text/html, */*;q=0.1"})).status == 200


async def test_a_problem_names_every_fault_and_the_request() -> None:
    async with client_for(Todo) as client:
        refused = await client.request(
            "POST",
            "/todos",
            {"title": "x" * 21, "done": "yes", "extra": 1, "version": 3},
            headers={"x-request-id": "r1"},
        )
        assert refused.status == 422
        assert refused.headers["content-type"] == "application/problem+json"
        problem = refused.json
        assert (problem["type"], problem["code"], problem["status"]) == (
            "/docs/problems#invalid",
            "invalid",
            422,
        )
        assert problem["request_id"] == "r1"
        assert faults(refused) == [
            ("/done", "bool_type"),
            ("/extra", "unknown_field"),
            ("/title", "string_too_long"),
            ("/version", "read_only"),
        ]
        assert faults(await client.get("/todos?nope=1&points=x&sort=nix&fields=no&limit=201")) == [
            ("fields", "unknown_field"),
            ("limit", "bad_value"),
            ("nope", "unknown_field"),
            ("points", "bad_value"),
            ("sort", "unknown_field"),
        ]


async def test_an_unknown_address_is_not_found() -> None:
    async with client_for(Todo) as client:
        for url in ("/", "/nope", "/todos/1/2/3", "/todos/not-a-uuid", "/todos/not-a-uuid/subscribe"):
            assert (await client.get(url)).status == 404, url


async def walk(client: Client, url: str, rel: str) -> list[list[str]]:
    """The titles on every page from a URL on, following one link."""
    pages = []
    while True:
        page = await client.get(url)
        assert page.status == 200, page
        pages.append(titles(page))
        links = dict(reversed(part.strip().split("; ")) for part in page.headers.get("link", "").split(", ") if part)
        if f'rel="{rel}"' not in links:
            return pages
        url = "/todos" + links[f'rel="{rel}"'].strip("<>")


async def test_pages_cover_a_list_to_its_end_and_back_without_hole_or_repeat() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t, "points": None if t in "ceg" else ord(t) % 3} for t in "abcdefgh"])
        for sort in ("title", "-title", "points", "-points,title", "points,-title", "-done"):
            whole = titles(await client.get(f"/todos?sort={sort}"))
            there = await walk(client, f"/todos?sort={sort}&limit=3", "next")
            assert list(chain(*there)) == whole
            assert [len(page) for page in there] == [3, 3, 2]
            last = f"/todos?sort={sort}&limit=3"
            for _ in range(2):
                link = (await client.get(last)).headers["link"].split(", ")[0]
                last = "/todos" + link.split(";")[0].strip("<>")
            back = await walk(client, last, "prev")
            assert list(chain(*reversed(back))) == whole


async def test_a_page_stands_where_it_was_though_records_come_and_go() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t} for t in "bdfh"])
        first = await client.get("/todos?sort=title&limit=2")
        assert titles(first) == ["b", "d"]
        following = "/todos" + first.headers["link"].split(";")[0].strip("<>")

        await client.post("/todos", [{"title": t} for t in "ae"])
        await client.delete(f"/todos/{first.json[1]['id']}")

        assert titles(await client.get(following)) == ["e", "f"]


async def test_a_cursor_of_another_query_is_refused() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": t} for t in "abc"])
        link = (await client.get("/todos?sort=title&limit=1")).headers["link"]
        cursor = link.split("cursor=")[1].split(">")[0]
        assert faults(await client.get(f"/todos?sort=-title&limit=1&cursor={cursor}")) == [("cursor", "bad_cursor")]
        assert faults(await client.get("/todos?cursor=forged")) == [("cursor", "bad_cursor")]


async def test_limits_are_documented_numbers() -> None:
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": str(n)} for n in range(51)])
        assert len((await client.get("/todos")).json) == 50
        assert len((await client.get("/todos?limit=200")).json) == 51
        assert faults(await client.get("/todos?limit=201")) == [("limit", "bad_value")]
        assert faults(await client.get("/todos?offset=10001")) == [("offset", "bad_value")]
        assert (await client.get("/todos/" + ",".join(["01890a5d-ac96-774b-bcce-b302099a8057"] * 2))).status == 404
        assert (await client.post("/todos", [{"title": "x"}] * 1001)).status == 400
