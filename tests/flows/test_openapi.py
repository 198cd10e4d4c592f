"""The description of an application is true: what it promises is what really comes, whatever is sent."""

import asyncio
import enum
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pydantic
import pytest
import uvicorn
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.async_api import Page, expect

from crudite import (
    Actor,
    App,
    BigInt,
    Browser,
    Channel,
    Count,
    Email,
    Field,
    OpenApi,
    Parent,
    Password,
    Query,
    Record,
    Redirect,
    Ref,
    Request,
    Resource,
    Rest,
    Sse,
    WebSocket,
    allow,
    me,
    today,
)  # fmt: skip
from crudite.testing import Client
from crudite.testing.asgi import fetch, make_scope
from tests.flows.fuzzing import described as fuzzed
from tests.flows.fuzzing import fuzz
from tests.services.stores import STORES, fresh_store

pytestmark = pytest.mark.only_on("sqlite", reason="a description asks no store; answers are tried on both")

EXAMPLES = 5
"""How often each operation is fuzzed, with valid and again with invalid data."""


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Address(pydantic.BaseModel):
    city: str
    zip: str | None = None


class Project(Resource, rules=allow.everyone):
    """What several tasks belong to."""

    name: str = Field(min_length=1, max_length=80, examples=["Garden"])


class Task(Resource, unique=[("project", "title")], rules=allow.everyone):
    project: Parent[Project]
    title: str = Field(min_length=1, max_length=200, description="What is to be done.")
    status: Literal["todo", "doing", "done"] = "todo"
    due: date | None = None


class Sample(Record[str], rules=allow.everyone, limit=10, max_limit=20):
    text: str = Field(min_length=1, max_length=20)
    email: Email | None = None
    password: Password = Field(default_factory=lambda: "correct horse")
    integer: int = Field(default=3, ge=0, le=10)
    big: BigInt = 5
    real: float = 1.5
    price: Decimal = Field(decimal_places=2, default=Decimal("12.50"))
    flag: bool = False
    day: date | None = None
    at: datetime | None = None
    clock: time = time(14, 40)
    uid: UUID | None = None
    color: Color = Color.RED
    level: Literal[1, 2, 3] = 1
    address: Address = Address(city="Bern")
    tags: list[str] = Field(default=[])
    extra: dict[str, int] = Field(default={})
    anything: dict[str, Any] = Field(default={})
    project: Ref[Project] | None = None


def make_app(store: str) -> App:
    app = App(
        Project, Task, Sample, store=store, title="Samples",
        interfaces=[Rest(), Sse(), WebSocket(), Browser(), OpenApi(public=True)],
        channels=[
            Channel("projects/{project}", of=Project, rules={"publish": allow.everyone}, presence=True),
            Channel("lobby/{corner}", rules={"join": allow.everyone, "publish": allow.everyone}),
            Channel("news", of=Task),
        ],
    )  # fmt: skip

    @app.read("overdue")
    async def overdue(request: Request, limit: int = 20, status: Literal["todo", "doing"] | None = None) -> Query[Task]:
        return Task.where(status__ne="done", due__lt=today).order("due").limit(max(1, min(limit, 50)))

    @app.read("open-count")
    async def open_count(request: Request) -> Count:
        return Task.where(status="todo").count()

    @app.create("sum")
    async def total(request: Request, numbers: list[int], factor: float = 1) -> float:
        return 6.5

    @app.delete("forget")
    async def forget(request: Request, tags: list[str], before: date | None = None) -> list[str]:
        return tags

    return app


@pytest.fixture
def store(tmp_path: Path) -> str:
    """For applications that are never started: such a database is never made."""
    return f"sqlite:///{tmp_path / 'never.db'}"


@pytest.fixture
def app(tmp_path: Path) -> App:
    return make_app(f"sqlite:///{tmp_path / 'test.db'}")


async def test_the_document_is_valid_and_names_every_operation(app: App) -> None:
    document = OpenApi().document(app)
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["openapi"] == "3.1.1"
    names = {
        f"{method} {path}": operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {name: id for name, id in names.items() if "project" not in name and "sample" not in name} == {
        "get /tasks": "tasks.list",
        "post /tasks": "tasks.create",
        "post /tasks/query": "tasks.query",
        "get /tasks/{key}": "tasks.read",
        "put /tasks/{key}": "tasks.replace",
        "patch /tasks/{key}": "tasks.update",
        "delete /tasks/{key}": "tasks.delete",
        "get /tasks/{key}/{field}": "tasks.read.field",
        "put /tasks/{key}/{field}": "tasks.update.field",
        "get /tasks/subscribe": "tasks.subscribe",
        "get /tasks/{key}/subscribe": "tasks.subscribe.one",
        "get /overdue": "overdue",
        "get /overdue/subscribe": "overdue.subscribe",
        "get /open-count": "open-count",
        "get /open-count/subscribe": "open-count.subscribe",
        "post /sum": "sum",
        "delete /forget": "forget",
        "post /channels/lobby/{corner}": "channels.lobby.corner.publish",
        "get /channels/lobby/{corner}": "channels.lobby.corner.listen",
        "get /channels/lobby/{corner}/subscribe": "channels.lobby.corner.listen.subscribe",
        "get /channels/news": "channels.news.listen",
        "get /channels/news/subscribe": "channels.news.listen.subscribe",
        "get /subscribe": "subscribe",
    }
    assert names["post /channels/projects/{project}"] == "channels.projects.project.publish"
    assert names["patch /projects/{project}/tasks/{key}"] == "projects.tasks.update"
    assert {"Task", "TaskCreate", "TaskReplace", "TaskUpdate", "Problem"} <= document["components"]["schemas"].keys()


async def test_the_served_document_is_the_one_that_the_command_line_prints(app: App) -> None:
    async with Client(app) as client:
        served = await client.get("/openapi.json")
    assert served.json == OpenApi(public=True).document(app)
    assert served.headers["content-type"].startswith("application/json")


async def test_every_example_of_a_body_is_accepted(app: App) -> None:
    document = OpenApi().document(app)
    async with Client(app) as client:
        project = (await client.post("/projects", {"name": "Garden"})).json["id"]
        for name in ("/projects", "/samples", "/tasks"):
            example = document["paths"][name]["post"]["requestBody"]["content"]["application/json"]["example"]
            body = {**example, "project": project} if "project" in example else example
            created = await client.post(name, body)
            assert created.status == 201, created.text
            update = document["paths"][f"{name}/{{key}}"]["patch"]["requestBody"]["content"]
            at = created.headers["location"]
            assert (await client.patch(at, update["application/json"]["example"])).status == 200
            query = document["paths"][f"{name}/query"]["post"]["requestBody"]["content"]["application/json"]
            assert (await client.post(f"{name}/query", query["example"])).status == 200


async def test_an_example_of_an_event_is_told_as_described(app: App) -> None:
    document = OpenApi().document(app)
    publish = document["paths"]["/channels/lobby/{corner}"]["post"]
    assert [parameter["name"] for parameter in publish["parameters"]] == ["corner"]
    example = publish["requestBody"]["content"]["application/json"]["example"]
    async with Client(app) as client:
        async with client.websocket() as socket:
            await socket.call("join", {"channel": "lobby/left"})
            assert (await client.post("/channels/lobby/left", example)).status == 204
            kind, told = await socket.told()
            assert (kind, told["event"], told["data"]) == ("event", example["event"], example["data"])
        large = {"event": "e", "data": "x" * 5000}
        for body, status in (({"event": ""}, 400), ({"event": "e", "more": 1}, 400), (large, 413)):
            refused = await client.post("/channels/lobby/left", body)
            assert refused.status == status
            assert str(status) in publish["responses"]


async def test_what_nobody_may_see_is_in_no_record_and_no_filter(store: str) -> None:
    class Account(Resource, rules=allow.everyone):
        name: str
        password: Password
        score: int = Field(default=0, visible="private")
        email: Email = Field(read=allow.where(id=me.id))

    app = App(Account, store=store)
    components = OpenApi().document(app)["components"]
    schemas, parameters = components["schemas"], components["parameters"]
    assert list(schemas["Account"]["properties"]) == [
        "id",
        "name",
        "email",
        "version",
        "created_at",
        "updated_at",
    ]
    assert schemas["Account"]["required"] == ["id", "name", "version", "created_at", "updated_at"]
    assert "password" in schemas["AccountCreate"]["properties"]
    assert "password" not in schemas["AccountFilter"]["properties"]
    assert "Account.password" not in parameters
    assert "Account.score" not in parameters
    assert "-email" not in parameters["Account.sort"]["schema"]["items"]["enum"]


async def test_what_nobody_may_do_and_what_is_never_live_is_not_described(store: str) -> None:
    class Log(Record[int], rules={"read": allow.everyone, "create": allow.signed_in}):
        text: str

    class Secret(Record[int], rules=allow.nobody):
        text: str

    class Count(Record[int], rules={"read": allow.everyone}, live=False):
        pass

    app = App(Log, Secret, Count, store=store)

    @app.read("latest")
    async def latest(request: Request) -> Redirect:
        return Redirect("/logs?sort=-id")

    @app.read("maybe")
    async def maybe(request: Request) -> Query[Log] | list[str]:
        return []

    document = OpenApi().document(app)
    assert {path: [*methods] for path, methods in document["paths"].items()} == {
        "/logs": ["get", "post"],
        "/logs/query": ["post"],
        "/logs/{key}": ["get"],
        "/logs/subscribe": ["get"],
        "/logs/{key}/subscribe": ["get"],
        "/logs/{key}/{field}": ["get"],
        "/counts": ["get"],
        "/counts/query": ["post"],
        "/counts/{key}": ["get"],
        "/counts/{key}/{field}": ["get"],
        "/latest": ["get"],
        "/maybe": ["get"],
        "/maybe/subscribe": ["get"],
        "/subscribe": ["get"],
    }
    assert "Secret.limit" not in document["components"]["parameters"]
    assert "Secret" not in document["components"]["schemas"]


async def test_an_application_with_authentication_says_how_to_show_who_asks(store: str) -> None:
    class Todo(Resource, rules={"read": allow.everyone, "write": allow.signed_in}):
        title: str

    open_to_all = OpenApi().document(App(Todo, store=store))
    assert "securitySchemes" not in open_to_all["components"]
    document = OpenApi().document(App(Todo, store=store, auth=lambda credentials: Actor(id="ann")))
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    create = document["paths"]["/todos"]["post"]
    assert {"bearer": []} in create["security"]
    assert {"401", "403"} <= create["responses"].keys()


def test_whoever_reads_can_name_the_mark_of_a_write(app: App) -> None:
    paths = OpenApi().document(app)["paths"]
    marked = {"$ref": "#/components/parameters/min-cursor"}
    for path in ("/tasks", "/tasks/{key}", "/tasks/subscribe", "/tasks/{key}/subscribe"):
        assert marked in paths[path]["get"]["parameters"], path
        assert {"409", "503"} <= set(paths[path]["get"]["responses"]), path
    assert marked in paths["/tasks/query"]["post"]["parameters"]
    assert marked not in paths["/tasks"]["post"]["parameters"]


async def test_each_rest_interface_is_described_where_it_is(store: str) -> None:
    class Todo(Resource, rules=allow.everyone):
        title: str

    bells = Channel("bells", rules={"join": allow.everyone, "publish": allow.everyone})
    app = App(Todo, store=store, interfaces=[Rest(), Rest("/v1"), OpenApi()], channels=[bells])
    paths = OpenApi().document(app)["paths"]
    assert paths["/todos"]["get"]["operationId"] == "todos.list"
    assert paths["/v1/todos"]["get"]["operationId"] == "v1.todos.list"
    assert paths["/channels/bells"]["post"]["operationId"] == "channels.bells.publish"
    assert paths["/v1/channels/bells"]["post"]["operationId"] == "v1.channels.bells.publish"
    assert "get" not in paths["/channels/bells"]
    assert not [path for path in paths if path.endswith("/subscribe")]


@pytest.mark.parametrize(
    ("client", "headers", "expected"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("203.0.113.7", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.7"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_in_production_only_this_machine_sees_the_description(
    path: str, client: str, headers: dict[str, str], expected: int
) -> None:
    app = App(Project, store=fresh_store())
    async with app:
        assert await status_for(app, path, client, headers) == expected
        assert await status_for(app, "/docs/problems", client, headers) == 200


async def test_a_public_description_and_one_in_development_is_for_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with App(Project, store=fresh_store(), interfaces=[Rest(), OpenApi(public=True)]) as app:
        assert await status_for(app, "/docs", "203.0.113.7", {}) == 200
    monkeypatch.setenv("CRUDITE_MODE", "dev")
    async with App(Project, store=fresh_store()) as app:
        assert await status_for(app, "/openapi.json", "203.0.113.7", {}) == 200


async def test_the_page_needs_nothing_from_elsewhere_and_runs_under_a_strict_policy(app: App) -> None:
    async with Client(app) as client:
        page = await client.get("/docs")
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert re.findall(r"https?://|<style|style=|<script>|\son\w+=", page.text) == []
        pending = re.findall(r'(?:src|href)="(?!#)([^"{}]+)"', page.text)
        seen = set()
        while pending:
            address = f"/{pending.pop()}"
            if address in seen:
                continue
            seen.add(address)
            found = await client.get(address)
            assert found.status == 200, address
            pending += [f"docs/{name}" for name in re.findall(r'from "\./([\w.]+)"', found.text)]
        assert {
            "/docs/main.js",
            "/docs/docs.css",
            "/docs/live.js",
            "/docs/examples.js",
            "/openapi.json",
        } <= seen
        assert (await client.get("/docs/secrets.txt")).status == 404
        assert (await client.get("/docs/")).headers["location"] == "../docs"


async def test_a_document_below_another_path_says_where_it_is(app: App) -> None:
    async with app:
        answer = await fetch(app, make_scope("http", "GET", "/openapi.json", None, {}, "/shop"), b"")
        assert answer.json["servers"] == [{"url": "/shop"}]


async def test_a_problem_leads_to_its_explanation(app: App) -> None:
    async with Client(app) as client:
        problem = (await client.get("/projects/no-key")).json
        path, _, anchor = problem["type"].partition("#")
        assert f'id="{anchor}"' in (await client.get(path)).text


async def test_in_a_browser_a_record_is_created_and_its_event_is_seen(app: App, page: Page) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    async with served(app) as address:
        await page.goto(f"{address}/docs#/projects.create")
        await page.get_by_role("button", name="Watch live").click()
        await expect(page.locator(".dock .badge.ready")).to_be_visible()
        await page.get_by_label("Body").fill('{"name": "Garden"}')
        await page.get_by_role("button", name="Send POST").click()
        await expect(page.locator(".result .status")).to_have_text("201")
        await expect(page.locator(".dock .badge.added")).to_be_visible()
        await expect(page.locator(".dock pre")).to_contain_text('"name": "Garden"')

        await page.get_by_role("link", name="get list", exact=True).first.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("List projects")
        await page.get_by_label("Field").first.select_option("name")
        await page.get_by_label("Value").first.fill("Garden")
        await expect(page.locator("pre").first).to_contain_text("/projects?name=Garden")
        await page.get_by_role("tab", name="Python").click()
        await expect(page.get_by_role("tabpanel", name="Python")).to_contain_text('params=[("name", "Garden")]')
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
    assert complaints == []


@asynccontextmanager
async def served(app: App) -> AsyncIterator[str]:
    """The application on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    await app.stop()
    server.should_exit = True
    await serving


async def status_for(app: App, path: str, client: str, headers: dict[str, str]) -> int:
    scope = {**make_scope("http", "GET", path, None, headers, ""), "client": (client, 50000)}
    return (await fetch(app, scope, b"")).status


@pytest.fixture(scope="module", params=STORES)
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The running application as schemathesis sees it, on each store."""
    on_sqlite = f"sqlite:///{tmp_path_factory.mktemp('described') / 'test.db'}"
    store = on_sqlite if request.param == "sqlite" else f"{request.getfixturevalue('postgresql')}?schema=described"
    with fuzzed(make_app(store)) as schema:
        yield schema


OPERATIONS = [
    "projects.create", "projects.delete",
    "projects.tasks.list", "projects.tasks.query", "projects.tasks.create", "projects.tasks.read",
    "projects.tasks.replace", "projects.tasks.update", "projects.tasks.delete",
    "samples.list", "samples.query", "samples.create", "samples.read", "samples.read.field", "samples.replace",
    "samples.update", "samples.delete", "overdue", "sum", "forget", "channels.projects.project.publish",
    "channels.lobby.corner.publish",
]  # fmt: skip


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_whatever_fits_the_description_gets_an_answer_that_is_described(described: Any, operation_id: str) -> None:
    operation = described.find_operation_by_id(operation_id)
    fuzz(operation, EXAMPLES, stored_keys(described, operation_id), {}, fits=True)


@pytest.mark.parametrize("operation_id", [name for name in OPERATIONS if name != "samples.delete"])
def test_whatever_does_not_fit_the_description_is_refused_as_described(described: Any, operation_id: str) -> None:
    operation = described.find_operation_by_id(operation_id)
    fuzz(operation, EXAMPLES, stored_keys(described, operation_id), {}, fits=False)


def stored_keys(described: Any, operation_id: str) -> dict[str, str]:
    """Records that are there, so that not everything is answered by 404."""

    def create(name: str, body: dict[str, Any], **path: str) -> str:
        operation = described.find_operation_by_id(name)
        response = operation.Case(body=body, media_type="application/json", path_parameters=path).call()
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    project = create("projects.create", {"name": "Garden"})
    if operation_id.startswith("samples"):
        return {"key": create("samples.create", {"id": f"of {project}", "text": "text"}), "field": "text"}
    if operation_id.startswith("projects.tasks"):
        return {
            "project": project,
            "key": create("projects.tasks.create", {"title": "Sow", "project": project}, project=project),
        }
    return {"key": project, "project": project, "corner": "left"}


async def test_what_speaks_as_an_older_system_is_not_described(store: str) -> None:
    app = App(
        Task, Project, store=store, channels=[Channel("news", of=Task), Channel("lobby")],
        interfaces=[
            Rest(), Sse(), OpenApi(public=True), Rest(prefix="/booster", style="booster"),
            Rest(prefix="/wheelhouse", style="wheelhouse"), Sse(prefix="/wheelhouse", style="wheelhouse"),
        ],
    )  # fmt: skip

    @app.read("open-count")
    async def open_count(request: Request) -> Count:
        return Task.where(status="todo").count()

    async with Client(app) as client:
        paths = (await client.get("/openapi.json")).json["paths"]
        assert {"/open-count", "/open-count/subscribe", "/tasks", "/channels/lobby"} <= paths.keys()
        assert [path for path in paths if path.startswith(("/booster", "/wheelhouse"))] == []
