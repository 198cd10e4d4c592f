"""Who is asking: from credentials to an actor, and what protects those who show cookies."""

from typing import Any

import pytest

from crudite import Actor, App, Credentials, Record, Request, Unauthorized, allow, me
from crudite.testing import Client, Refusal
from tests.flows.worlds import by_name, client_for, titles
from tests.services.stores import fresh_store


class Note(
    Record[int],
    rules={"read": allow.where(owner=me.id) | allow.where(team=me.team), "create": allow.signed_in},
):
    title: str
    owner: str | None = None
    team: str | None = None


async def test_credentials_are_the_token_cookies_headers_and_address_of_the_request() -> None:
    seen: list[Credentials] = []

    def authenticate(credentials: Credentials) -> Actor | None:
        seen.append(credentials)
        return None

    async with client_for(Note, auth=authenticate) as client:
        await client.get(
            "/notes", headers={"authorization": "bearer  abc ", "cookie": "session=s1; other=2", "x-key": "k"}
        )
        await client.get("/notes", headers={"authorization": "Basic abc"})
        async with client.websocket(headers={"cookie": "session=s2"}) as socket:
            with pytest.raises(Refusal):
                await socket.call("notes.list")
    assert (seen[0].token, seen[0].cookies, seen[0].address) == (
        "abc",
        {"session": "s1", "other": "2"},
        "testclient",
    )
    assert seen[0].headers["x-key"] == "k"
    assert seen[1].token is None
    assert seen[2].cookies == {"session": "s2"}


async def test_claims_are_what_rules_may_ask_for() -> None:
    async def authenticate(credentials: Credentials) -> Actor | None:
        return Actor(id=credentials.token, claims={"team": "red"} if credentials.token == "ann" else {})

    async with client_for(Note, auth=authenticate) as client:
        await client.app.records.create(Note, title="red", team="red")
        await client.app.records.create(Note, title="none")
        assert titles(await client.acting("ann").get("/notes")) == ["red"]
        assert titles(await client.acting("bob").get("/notes")) == []


async def test_authenticate_may_refuse_and_what_it_returns_is_checked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def authenticate(credentials: Credentials) -> Any:
        match credentials.token:
            case "expired":
                raise Unauthorized("The token has expired.")
            case "broken":
                raise RuntimeError("no connection")
            case "odd":
                return "ann"
        return Actor(id="ann")

    async with client_for(Note, auth=authenticate) as client:
        expired = await client.acting("expired").get("/notes")
        assert (expired.status, expired.json["detail"]) == (401, "The token has expired.")
        assert (await client.acting("broken").get("/notes")).status == 500
        assert (await client.acting("odd").get("/notes")).status in (401, 500)
        assert (await client.acting("x").get("/notes")).status == 200
        async with client.websocket() as socket:
            for token, status in (("expired", 401), ("broken", 500)):
                with pytest.raises(Refusal) as refusal:
                    await socket.call("auth", {"token": token})
                assert refusal.value.status == status
            assert (await socket.call("notes.list"))["data"] == []


async def test_answers_that_depend_on_the_asker_are_private_and_others_are_not() -> None:
    class Open(Record[int], rules=allow.everyone):
        title: str

    async with client_for(Open, auth=by_name) as client:
        await client.post("/opens", {"title": "a"})
        for url in ("/opens", "/opens/1"):
            headers = (await client.get(url)).headers
            assert (headers["cache-control"], headers["vary"]) == (
                "private, no-cache",
                "Cookie, Authorization",
            )
            assert headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/opens/2")).headers["cache-control"] == "no-store"
    async with client_for(Open) as client:
        await client.post("/opens", {"title": "a"})
        assert (await client.get("/opens")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"cookie": "s=1", "sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"cookie": "s=1", "sec-fetch-site": "same-site", "origin": "http://other.testserver"}, 403),
        ({"cookie": "s=1", "origin": "https://evil.example"}, 403),
        ({"cookie": "s=1", "origin": "null"}, 403),
        ({"cookie": "s=1", "origin": "http://["}, 403),
        ({"cookie": "s=1", "sec-fetch-site": "same-origin", "origin": "http://testserver"}, 201),
        ({"cookie": "s=1", "origin": "http://testserver"}, 201),
        ({"cookie": "s=1", "sec-fetch-site": "none"}, 201),
        ({"cookie": "s=1"}, 201),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 201),
    ],
)
async def test_a_foreign_page_cannot_write_with_the_users_cookies(headers: dict[str, str], status: int) -> None:
    class Open(Record[int], rules=allow.everyone):
        title: str

    app = App(Open, store=fresh_store(), auth=by_name)

    @app.create("act")
    async def act(request: Request) -> str:
        return "done"

    async with Client(app) as client:
        assert (await client.post("/opens", {"title": "a"}, headers=headers)).status == status
        assert (await client.post("/act", {}, headers=headers)).status == (200 if status == 201 else 403)
        assert (await client.get("/opens", headers=headers)).status == 200
        assert len((await client.get("/opens")).json) == (status == 201)


async def test_only_listed_host_names_are_answered_to() -> None:
    class Open(Record[int], rules=allow.everyone):
        title: str

    async with client_for(Open, hosts=["api.example.org", "*.example.net"]) as client:
        for host, status in (
            ("api.example.org", 200),
            ("API.example.org:8443", 200),
            ("a.example.net", 200),
            ("example.net", 400),
            ("evil.org", 400),
            ("api.example.org.evil.org", 400),
            ("", 400),
        ):
            assert (await client.get("/opens", headers={"host": host})).status == status, host
        with pytest.raises(ConnectionRefusedError):
            async with client.websocket(headers={"host": "evil.org"}):
                pass
        with pytest.raises(Refusal):
            async with client.stream("/opens/subscribe", headers={"host": "evil.org"}):
                pass


async def test_who_is_known_to_another_way_is_not_the_visitor_whose_session_he_shows_too() -> None:
    def visitor(credentials: Credentials) -> Actor | None:
        return Actor(None, session=credentials.cookies["v"]) if "v" in credentials.cookies else None

    def known(credentials: Credentials) -> Actor | None:
        return Actor("ann") if credentials.headers.get("x-key") == "hers" else None

    app = App(Note, store=fresh_store(), auth=[visitor, known])

    @app.read("who")
    async def who(request: Request) -> Any:
        return [request.actor.id, request.actor.session]

    async with Client(app) as client:
        assert (await client.get("/who", headers={"cookie": "v=7"})).json == [None, "7"]
        assert (await client.get("/who", headers={"cookie": "v=7", "x-key": "hers"})).json == ["ann", None]
        assert (await client.get("/who", headers={"x-key": "hers"})).json == ["ann", None]
        assert (await client.get("/who")).json == [None, None]
