"""What pages of other sites try with the browsers of our users, performed: each ends as the user would want it to."""

from collections.abc import Mapping
from typing import Any

import pytest

from crudite import Actor, App, Cors, Credentials, DeclarationError, Record, Request, Unauthorized, allow
from crudite.messages import SignIn
from crudite.testing import Client, Refusal
from crudite.testing.asgi import Response, fetch, make_scope
from tests.flows.people import Browser, ann_in, app_for
from tests.services.stores import fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="who may ask is decided before any store is asked")

EVIL = "https://evil.example"
APP = "https://app.example.org"
SHOP = "shop.example"


class Open(Record[int], rules=allow.everyone):
    title: str


def by_cookie(credentials: Credentials) -> Actor | None:
    if credentials.token == "bad":
        raise Unauthorized("no")
    name = credentials.cookies.get("s") or credentials.token
    return Actor(name, frozenset(("staff",)) if name == "boss" else frozenset()) if name else None


def app_with(**told: Any) -> App:
    app = App(Open, store=fresh_store(), auth=by_cookie, **told)

    @app.create("act")
    async def act(request: Request) -> Any:
        return request.actor.id

    return app


async def sent(
    app: App,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    scheme: str = "http",
    root: str = "",
) -> Response:
    """The answer to one request, over a scheme, to an application mounted below a path."""
    return await fetch(app, {**make_scope("http", method, path, None, headers, root), "scheme": scheme}, body)


def preflight(origin: str, method: str = "PATCH", headers: str = "content-type") -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
    }


# writes of foreign pages with the user's cookies


@pytest.mark.parametrize(
    ("headers", "scheme", "is_taken"),
    [
        ({"origin": EVIL}, "https", False),
        ({"origin": EVIL, "sec-fetch-site": "cross-site"}, "https", False),
        ({"origin": "null"}, "https", False),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, "https", False),
        ({"sec-fetch-site": "cross-site"}, "https", False),
        ({"sec-fetch-site": "same-site", "origin": f"https://blog.{SHOP}"}, "https", False),
        ({"origin": f"http://{SHOP}"}, "https", False),  # what anybody on the network can write
        ({"origin": f"https://{SHOP}:8443"}, "https", False),
        ({"origin": f"https://{SHOP}.evil.example"}, "https", False),
        ({"origin": f"https://{SHOP}@evil.example"}, "https", False),
        ({"origin": f"https://evil.example/{SHOP}"}, "https", False),
        ({"referer": f"{EVIL}/{SHOP}"}, "https", False),
        ({"referer": f"https://{SHOP}@evil.example/"}, "https", False),
        ({"referer": f"http://{SHOP}/"}, "https", False),
        ({"referer": f"https://{SHOP}/page?x=1"}, "https", True),
        ({"origin": f"https://{SHOP}"}, "https", True),
        ({"origin": f"https://{SHOP}:443"}, "https", True),
        ({"origin": f"https://{SHOP.upper()}"}, "https", True),
        ({"origin": f"https://{SHOP}"}, "http", True),  # a proxy has taken the encryption away
        ({"origin": f"https://{SHOP}", "sec-fetch-site": "same-origin"}, "https", True),
        ({"sec-fetch-site": "none"}, "https", True),
        ({}, "https", True),  # no browser of today
        ({"origin": APP, "sec-fetch-site": "cross-site"}, "https", True),  # it is listed
        ({"origin": APP}, "https", True),
        ({"origin": APP.replace("https", "http")}, "https", False),
    ],
)
async def test_a_write_with_a_cookie_is_taken_from_our_own_and_listed_pages_only(
    headers: dict[str, str], scheme: str, is_taken: bool
) -> None:
    async with (app := app_with(origins=[APP])):
        said = {"host": SHOP, "cookie": "s=ann", "content-type": "application/json", **headers}
        answer = await sent(app, "POST", "/opens", said, b'{"title":"a"}', scheme=scheme)
        assert answer.status == (201 if is_taken else 403)
        acted = await sent(app, "POST", "/act", said, b"{}", scheme=scheme)
        assert acted.status == (200 if is_taken else 403)
        assert len(await app.records.list(Open)) == is_taken


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/plain;x=application/json",
    ],
)
async def test_a_form_of_a_foreign_page_signs_nobody_in(kind: str) -> None:
    async with (app := app_for()):
        await ann_in(app)
        attacker = Browser(app)
        body = b'{"email":"ann@example.org","password":"correct horse"}'
        answer = await attacker.client.request(
            "POST",
            "/log-in",
            content=body,
            headers={"content-type": kind, "origin": EVIL, "sec-fetch-site": "cross-site"},
        )
        assert answer.status == 415
        assert "set-cookie" not in answer.headers


async def test_a_script_of_a_foreign_page_gets_no_cookie_into_the_browser() -> None:
    async with (app := app_for()):
        await ann_in(app)
        body = {"email": "ann@example.org", "password": "correct horse"}
        foreign = await Browser(app).post("/log-in", body, headers={"origin": EVIL, "sec-fetch-site": "cross-site"})
        assert "set-cookie" not in foreign.headers
        assert (
            "set-cookie"
            in (await Browser(app).post("/log-in", body, headers={"sec-fetch-site": "same-origin"})).headers
        )


async def test_a_link_of_a_foreign_page_signs_nobody_in_but_for_who_comes_back_from_a_provider() -> None:
    app = app_with()

    @app.read("come-back")
    async def come_back(request: Request, known: bool) -> str:
        request.signs_in = SignIn("s", "ann", from_elsewhere=known)
        return "welcome"

    navigated = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    async with Client(app) as client:
        assert "set-cookie" not in (await client.get("/come-back?known=false", headers=navigated)).headers
        assert "s=ann" in (await client.get("/come-back?known=true", headers=navigated)).headers["set-cookie"]


async def test_an_old_browser_that_says_nothing_writes_with_a_token_that_foreign_pages_cannot_read() -> None:
    async with Client(app_with(old_browsers=True)) as client:
        ann, bob = {"cookie": "s=ann"}, {"cookie": "s=bob"}
        assert (await client.post("/act", {}, headers=ann)).status == 403
        token = (await client.get("/csrf-token", headers=ann)).json["token"]
        theirs = (await client.get("/csrf-token", headers=bob)).json["token"]
        nobodys = (await client.get("/csrf-token")).json["token"]
        for guessed in (theirs, nobodys, "", "x", "ü"):
            assert (await client.post("/act", {}, headers={**ann, "x-csrf-token": guessed})).status == 403
        assert (await client.post("/act", {}, headers={**ann, "x-csrf-token": token})).json == "ann"
        foreign = {**ann, "x-csrf-token": token, "origin": EVIL}
        assert (await client.post("/act", {}, headers=foreign)).status == 403
        own = {**ann, "sec-fetch-site": "same-origin"}
        assert (await client.post("/act", {}, headers=own)).json == "ann"
        assert (await client.post("/act", {}, headers={"authorization": "Bearer cyd"})).json == "cyd"
        assert "access-control-allow-origin" not in (await client.get("/csrf-token", headers={"origin": EVIL})).headers


async def test_a_visitors_cookie_gives_rights_that_a_silent_request_must_not_use() -> None:
    def visitor(credentials: Credentials) -> Actor | None:
        return Actor(None, session=credentials.cookies["s"]) if "s" in credentials.cookies else None

    app = App(Open, store=fresh_store(), auth=visitor, old_browsers=True)
    async with Client(app) as client:
        his = {"cookie": "s=7"}
        assert (await client.post("/opens", {"title": "a"}, headers=his)).status == 403
        token = (await client.get("/csrf-token", headers=his)).json["token"]
        assert (await client.post("/opens", {"title": "a"}, headers={**his, "x-csrf-token": token})).status == 201


@pytest.mark.parametrize(
    "shown", ["Basic YW5uOnB3", "basic YW5uOnB3", "Digest username=ann", "Negotiate abc", "NTLM abc"]
)
async def test_a_foreign_page_cannot_use_the_password_that_the_browser_keeps_for_us(shown: str) -> None:
    def by_password(credentials: Credentials) -> Actor | None:
        return Actor("ann") if credentials.headers.get("authorization") == shown else None

    async with Client(App(Open, store=fresh_store(), auth=by_password)) as client:
        evil = {"authorization": shown, "origin": EVIL, "sec-fetch-site": "cross-site"}
        assert (await client.post("/opens", {"title": "a"}, headers=evil)).status == 403
        assert (await client.get("/opens/subscribe", headers=evil)).status == 403
        own = {"authorization": shown, "sec-fetch-site": "same-origin"}
        assert (await client.post("/opens", {"title": "a"}, headers=own)).status == 201
        assert (await client.post("/opens", {"title": "a"}, headers={"authorization": shown})).status == 201


async def test_without_old_browsers_there_is_no_token() -> None:
    async with Client(app_with()) as client:
        assert (await client.get("/csrf-token")).status == 404


# what foreign pages read


async def test_without_a_list_no_page_of_another_origin_reads_anything() -> None:
    async with Client(app_with()) as client:
        for origin in (EVIL, "null", APP):
            answers = (
                await client.get("/opens", headers={"origin": origin}),
                await client.request("OPTIONS", "/opens", headers=preflight(origin)),
                await client.get("/crudite.js", headers={"origin": origin}),
                await client.get("/nothing", headers={"origin": origin}),
            )
            assert not [n for answer in answers for n in answer.headers if n.startswith("access-control-")]


@pytest.mark.parametrize(
    ("origin", "is_listed"),
    [
        (APP, True),
        ("https://a.example.net", True),
        ("https://b.a.example.net", True),
        ("http://localhost:5173", True),
        ("https://xn--bcher-kva.example", True),
        ("https://[2001:db8::1]:8443", True),
        ("https://example.net", False),
        ("https://badexample.net", False),
        ("https://a.example.net.evil.example", False),
        ("http://a.example.net", False),
        ("https://a.example.net:8443", False),
        ("https://a.example.net\r\nx-evil: 1", False),
        (f"{APP}.evil.example", False),
        (f"{APP}/", False),
        (f"{APP}, {APP}", False),
        ("http://localhost:5174", False),
        ("http://localhost", False),
        ("https://[2001:db8::1]", False),
        ("null", False),
        ("", False),
        ("*", False),
        ("https://*.example.net", False),
        (EVIL, False),
    ],
)
async def test_an_origin_is_told_back_with_credentials_when_it_is_listed_and_never_else(
    origin: str, is_listed: bool
) -> None:
    listed = [
        APP,
        "https://*.example.net",
        "http://localhost:5173",
        "https://Bücher.example",
        "https://[2001:db8::1]:8443",
    ]
    async with Client(app_with(origins=listed)) as client:
        for answer in (
            await client.get("/opens", headers={"origin": origin}),
            await client.get("/opens/9", headers={"origin": origin}),  # 404
            await client.get("/nothing", headers={"origin": origin}),
            await client.get("/opens", headers={"origin": origin, "authorization": "Bearer bad"}),  # 401
            await client.request("OPTIONS", "/opens", headers=preflight(origin)),
        ):
            assert answer.headers.get("access-control-allow-origin") == (origin if is_listed else None)
            assert answer.headers.get("access-control-allow-credentials") == ("true" if is_listed else None)
            assert "Origin" in answer.headers["vary"]
        async with client.websocket(headers={"origin": origin}) as socket:
            if is_listed:
                assert await socket.call("ping") == {}
            else:
                assert await socket.closed() == 1008


async def test_a_cache_keeps_answers_of_listed_pages_and_others_apart() -> None:
    async with Client(app_with(origins=[APP])) as client:
        for headers in ({}, {"origin": APP}, {"origin": EVIL}):
            for path in ("/opens", "/crudite.js", "/nothing", "/livez"):
                vary = [part.strip() for part in (await client.get(path, headers=headers)).headers["vary"].split(",")]
                assert "Origin" in vary
    async with Client(App(Open, store=fresh_store(), origins=[APP])) as client:  # whose answers could be quick ones
        assert client.app.quick is None


async def test_a_listed_page_may_use_every_method_and_header_that_we_speak() -> None:
    async with Client(app_with(origins=Cors([APP], headers=["X-Team"], shown=["X-Cost"], max_age=60))) as client:
        answer = await client.request("OPTIONS", "/opens/1", headers=preflight(APP, "PATCH", "x-evil"))
        told = answer.headers
        assert (answer.status, answer.body) == (204, b"")
        assert told["access-control-allow-methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE, QUERY"
        allowed = set(told["access-control-allow-headers"].lower().split(", "))
        assert {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "prefer"} <= allowed
        assert {"crudite-after", "last-event-id", "x-csrf-token", "x-team"} <= allowed
        assert "x-evil" not in allowed  # nothing is told back
        assert told["access-control-max-age"] == "60"
        assert "access-control-request-method" in told["vary"].lower()
        shown = (await client.get("/opens", headers={"origin": APP})).headers["access-control-expose-headers"]
        assert {"ETag", "Link", "Location", "RateLimit", "Preference-Applied", "X-Cost"} <= set(shown.split(", "))


async def test_with_a_star_everybody_reads_what_is_public_and_nobody_with_cookies() -> None:
    async with Client(app_with(origins=["*", APP])) as client:
        public = await client.get("/opens", headers={"origin": EVIL})
        assert public.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in public.headers
        own = await client.get("/opens", headers={"origin": APP})
        assert own.headers["access-control-allow-origin"] == APP
        assert own.headers["access-control-allow-credentials"] == "true"
        assert (await client.post("/act", {}, headers={"origin": EVIL, "cookie": "s=ann"})).status == 403
        async with client.websocket(headers={"origin": EVIL, "cookie": "s=ann"}) as socket:
            assert await socket.closed() == 1008
        with pytest.raises(Refusal) as refused:
            async with client.stream("/opens/subscribe", headers={"origin": EVIL, "cookie": "s=ann"}):
                pass
        assert refused.value.status == 403
        async with client.stream("/opens/subscribe", headers={"origin": EVIL}) as stream:
            assert stream.headers["access-control-allow-origin"] == "*"


async def test_a_page_of_another_origin_looks_behind_no_scenes_by_way_of_a_visitor_on_the_machine() -> None:
    async with (app := app_with(origins=["*"], staff=allow.role("staff"))):
        for path in ("/metrics", "/live/explain/opens", "/openapi.json", "/docs"):
            here = {**make_scope("http", "GET", path, None, {}, ""), "client": ("127.0.0.1", 50000)}
            assert (await fetch(app, here, b"")).status == 200, path
            there = make_scope("http", "GET", path, None, {"origin": EVIL, "cookie": "s=boss"}, "")
            assert (await fetch(app, {**there, "client": ("127.0.0.1", 50000)}, b"")).status in (403, 404), path


@pytest.mark.parametrize(
    "listed",
    [APP, ["app.example.org"], [f"{APP}/"], ["null"], ["https://*"], ["https://*.org"], ["https://a.*.org"], [""]],
)
def test_a_list_that_means_something_else_than_it_says_is_refused(listed: Any) -> None:
    with pytest.raises(DeclarationError):
        App(Open, store="sqlite:///:memory:", origins=listed)


# sockets and streams of foreign pages


@pytest.mark.parametrize(
    ("host", "origin", "scheme", "is_taken"),
    [
        (SHOP, None, "wss", True),  # no browser
        (SHOP, f"https://{SHOP}", "wss", True),
        (SHOP, f"https://{SHOP}", "ws", True),  # behind a proxy that is not trusted to say what it took away
        (f"{SHOP}:443", f"https://{SHOP}", "wss", True),
        (SHOP, f"HTTPS://{SHOP.upper()}", "wss", True),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example", "wss", True),
        ("[::1]:8000", "http://[::1]:8000", "ws", True),
        ("[::1]:8000", "http://[::1]:8001", "ws", False),
        ("[::1]:8000", "http://[::2]:8000", "ws", False),
        ("localhost:8000", "http://localhost:8000", "ws", True),
        ("localhost:8000", "http://localhost:3000", "ws", False),
        ("localhost:8000", "http://127.0.0.1:8000", "ws", False),
        (SHOP, f"http://{SHOP}", "wss", False),
        (SHOP, f"http://{SHOP}", "ws", True),
        (SHOP, "null", "wss", False),
        (SHOP, "", "wss", False),
        (SHOP, "file://", "wss", False),
        (SHOP, f"chrome-extension://{SHOP}", "wss", False),
        (SHOP, f"https://{SHOP}:8443", "wss", False),
        (SHOP, f"https://www.{SHOP}", "wss", False),
        (SHOP, f"https://{SHOP}.", "wss", False),
        (SHOP, f"https://{SHOP}, {EVIL}", "wss", False),
        (SHOP, "https://xn--shp-6la.example", "wss", False),
        ("", "https://", "wss", False),
    ],
)
async def test_a_socket_and_a_stream_are_opened_by_pages_of_the_same_origin_only(
    host: str, origin: str | None, scheme: str, is_taken: bool
) -> None:
    async with (app := app_with()):
        headers = {"host": host, "cookie": "s=ann", **({} if origin is None else {"origin": origin})}
        opened: list[Any] = []

        async def connect() -> dict[str, str]:
            return {"type": "websocket.connect"} if not opened else {"type": "websocket.disconnect", "code": "1001"}

        async def send(message: Any) -> None:
            opened.append(message)

        scope = {**make_scope("websocket", "GET", "/ws", None, headers, ""), "scheme": scheme}
        await app(scope, connect, send)
        codes = [message.get("code") for message in opened if message["type"] == "websocket.close"]
        assert (1008 in codes) is not is_taken
        http = {"ws": "http", "wss": "https"}[scheme]
        head = {**make_scope("http", "HEAD", "/opens/subscribe", None, headers, ""), "scheme": http}
        assert (await fetch(app, head, b"")).status == (200 if is_taken else 403)


# pages of ours, and where they lead


async def test_every_page_of_ours_is_framed_by_nobody_sniffed_by_nobody_and_runs_nothing_from_elsewhere() -> None:
    async with (app := App(Open, store=fresh_store())):
        for path in (
            "/docs", "/docs/problems", "/docs/main.js", "/docs/docs.css", "/docs/icon.svg", "/openapi.json",
            "/crudite.js",
        ):  # fmt: skip
            scope = {**make_scope("http", "GET", path, None, {}, ""), "client": ("127.0.0.1", 50000)}
            headers = (await fetch(app, scope, b"")).headers
            parts = [part.strip().partition(" ") for part in headers["content-security-policy"].split(";")]
            policy = {name: value for name, _, value in parts}
            assert policy["default-src"] == "'self'", path
            assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin-allow-popups"


async def test_what_is_no_page_is_taken_for_none() -> None:
    async with Client(app_with()) as client:
        await client.post("/opens", {"title": "<script>alert(1)</script>"})
        for path in ("/opens", "/opens/1", "/opens/<script>", "/<script>", "/livez", "/opens?<script>=1"):
            answer = await client.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-type"].split(";")[0] in (
                "application/json", "application/problem+json", "text/plain",
            )  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/docs/", "//docs/", "/docs//", "//evil.example/docs/", "/\\evil.example/docs/", "/docs/%0d%0ax:1/"]
)
async def test_no_address_of_ours_leads_to_another_site(path: str) -> None:
    async with (app := App(Open, store=fresh_store())):
        scope = make_scope("http", "GET", "/", None, {"host": "localhost"}, "")
        found = await fetch(app, {**scope, "path": path, "raw_path": path.encode(), "client": ("127.0.0.1", 1)}, b"")
        target = found.headers.get("location", "../docs")
        assert target == "../docs"
        assert found.status in (308, 404)


@pytest.mark.parametrize(
    ("root", "name", "path"), [("", "sid", "/"), ("/shop", "sid", "/shop"), ("/shop/", "__Host-sid", "/")]
)
async def test_a_cookie_is_for_the_application_alone_where_it_is_mounted(root: str, name: str, path: str) -> None:
    async with (app := app_for(cookie=name)):
        await ann_in(app)
        body = b'{"email":"ann@example.org","password":"correct horse"}'
        headers = {"content-type": "application/json"}
        given = (await sent(app, "POST", "/log-in", headers, body, scheme="https", root=root.rstrip("/"))).headers[
            "set-cookie"
        ]
        parts = given.split("; ")
        assert parts[0].startswith(f"{name}=crs_")
        assert f"Path={path}" in parts
        assert {"HttpOnly", "Secure", "SameSite=Lax"} <= set(parts)
        assert not [part for part in parts if part.startswith("Domain")]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "shop.example.evil.example", "evil.example:443", "shop.example@evil.example",
        "shop.example, evil.example",
        "evil.example/shop.example", "shop.example:443@evil.example", "shop.example.", "", "[::1", "notshop.example",
    ],
)  # fmt: skip
async def test_a_name_that_is_not_ours_gets_nothing(host: str) -> None:
    async with Client(app_with(hosts=[SHOP, "*.example.net"])) as client:
        assert (await client.get("/opens", headers={"host": host})).status == 400
        with pytest.raises(ConnectionRefusedError):
            async with client.websocket(headers={"host": host}):
                pass
        assert (await client.get("/opens", headers={"host": SHOP.upper() + ":8443"})).status == 200
        assert (await client.get("/opens", headers={"host": "a.example.net"})).status == 200


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0"])
async def test_a_foreign_name_that_was_pointed_at_this_machine_gets_nothing(host: str) -> None:
    async with (app := App(Open, store=fresh_store())):
        scope = make_scope("http", "GET", "/opens", None, {"host": host}, "")
        assert (await fetch(app, {**scope, "server": ("127.0.0.1", 8000)}, b"")).status == 400
