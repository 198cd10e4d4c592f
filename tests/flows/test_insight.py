"""Behind the scenes: who may look there, the figures for monitoring, and whether the application is well."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crudite import App, DeclarationError, Insight, Limits, Record, allow, me
from crudite.interfaces.base import Worker
from crudite.interfaces.insight.figures import LIVE
from crudite.interfaces.websocket.format import RpcFormat
from crudite.live import Metrics
from crudite.stores import open_store
from crudite.stores.base import SupportsHistory
from crudite.testing import Client, Response
from crudite.testing.asgi import fetch, make_scope
from crudite.testing.faults import Faulty
from tests.flows.worlds import by_name, client_for
from tests.services.stores import fresh_store, kept_store

LINE = re.compile(r'([a-z0-9_]+)(?:\{([a-z]+)="([^"\\]*)"\})? (\+?[0-9.eE+-]+|\+Inf)')


class Todo(Record[int], rules=allow.everyone):
    title: str = ""
    done: bool = False


async def local(app: App, path: str, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None) -> Response:
    """The answer to somebody at an address, by default on the same machine."""
    scope = make_scope("http", "GET", path, None, headers or {}, "")
    scope["client"] = (address, 50000)
    return await fetch(app, scope, b"")


async def figures(client: Client) -> dict[tuple[str, str], float]:
    """What `/metrics` says: each value by its name and the value of its label."""
    answer = await local(client.app, "/metrics")
    found: dict[tuple[str, str], float] = {}
    for line in answer.text.splitlines():
        if not line.startswith("# "):
            parsed = LINE.fullmatch(line)
            assert parsed is not None, line
            found[parsed[1], parsed[3] or ""] = float(parsed[4])
    return found


# Who may look.


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
async def test_whoever_is_on_the_same_machine_may_look(address: str) -> None:
    async with client_for(Todo) as client:
        assert (await local(client.app, "/metrics", address=address)).status == 200


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
async def test_a_proxy_on_the_same_machine_makes_nobody_an_insider(name: str) -> None:
    async with client_for(Todo) as client:
        assert (await local(client.app, "/metrics", headers={name: "127.0.0.1"})).status == 404


async def test_for_somebody_else_there_is_nothing_at_that_address() -> None:
    async with client_for(Todo, auth=by_name) as client:
        hidden, missing = await client.get("/metrics"), await client.get("/nothing")
        for answer in (hidden, missing):
            answer.json.pop("request_id", None)
        assert (hidden.status, hidden.json["detail"]) == (404, "There is nothing at this address.")
        assert {**hidden.json, "request_id": ""} == {**missing.json, "request_id": ""}


@pytest.mark.parametrize(
    ("token", "status"), [(None, 404), ("bad", 404), ("ann", 404), ("ann:guest", 404), ("ann:staff", 200)]
)
async def test_staff_may_look_from_anywhere(token: str | None, status: int) -> None:
    async with client_for(Todo, auth=by_name, staff=allow.role("staff", "admin")) as client:
        assert (await client.acting(token).get("/metrics")).status == status


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (allow.everyone, 200),
        (allow.nobody, 404),
        (allow.signed_in & ~allow.role("guest"), 200),
        (~allow.signed_in | allow.role("guest"), 404),
    ],
)
async def test_the_rule_for_staff_may_be_any_rule_about_who_asks(rule: Any, status: int) -> None:
    async with client_for(Todo, auth=by_name, staff=rule) as client:
        assert (await client.acting("ann:staff").get("/metrics")).status == status


def test_a_rule_for_staff_that_speaks_of_records_is_refused() -> None:
    with pytest.raises(DeclarationError, match="a rule about who asks"):
        App(Todo, store=fresh_store(), staff=allow.where(owner=me.id))


async def test_anybody_may_look_while_the_application_is_developed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUDITE_MODE", "dev")
    async with client_for(Todo) as client:
        assert (await client.get("/metrics")).status == 200


# The figures.


async def test_the_figures_follow_what_happens() -> None:
    async with client_for(Todo, limits=Limits(arrivals=3)) as client:
        await client.post("/todos", {"title": "before anybody looked"})
        async with (
            client.live("todos", where={"done": False}) as one,
            client.live("todos", where={"done": False}, over="websocket") as two,
            client.live("todos", where={"title": {"contains": "s"}}) as three,
        ):
            for view in (one, two, three):
                await view.ready()
            assert (await client.get("/todos/subscribe")).status == 503
            before = await figures(client)
            await client.post("/todos", {"title": "ship"})
            await client.settled()
            after = await figures(client)
        await client.settled()
        gone = await figures(client)

    def moved(name: str, label: str = "") -> float:
        return after[name, label] - before[name, label]

    assert before["crudite_live_connections", ""] == 3
    assert before["crudite_live_subscriptions", ""] == 3
    assert before["crudite_live_groups", ""] == 2
    assert before["crudite_live_catch_all_groups", ""] == 1
    assert before["crudite_connections", "sse"] == 2
    assert before["crudite_connections", "websocket"] == 1
    assert before["crudite_connections_refused_total", "arrivals"] == 1
    assert moved("crudite_live_changes_total") == 1
    assert moved("crudite_live_candidates_total") == 2
    assert moved("crudite_live_frames_total") == 3  # as two kinds of events and one of messages
    assert moved("crudite_live_deliveries_total") == 3
    assert moved("crudite_live_frame_bytes_total") > 0
    assert (gone["crudite_connections", "sse"], gone["crudite_connections", "websocket"]) == (0, 0)
    assert (gone["crudite_live_subscriptions", ""], gone["crudite_live_groups", ""]) == (0, 0)


async def test_each_of_several_workers_tells_the_figures_of_all(tmp_path: Path) -> None:
    url = kept_store()
    apps = [App(Todo, store=url), App(Todo, store=url)]
    for number, app in enumerate(apps, 1):
        app.worker = Worker(number, tmp_path)
    async with Client(apps[0]) as one:
        async with Client(apps[1]) as two, two.live("todos") as view:
            await view.ready()
            told = (await local(one.app, "/metrics")).text
            while 'crudite_live_subscriptions{worker="2"} 1' not in told:  # it leaves its figures every two seconds
                assert 'crudite_live_subscriptions{worker="1"} 0\n' in told
                told = (await local(one.app, "/metrics")).text
            assert 'crudite_live_subscriptions{worker="2"} 1\n' in told
            assert 'crudite_connections{interface="sse",worker="2"} 1\n' in told
            assert told.count("# TYPE crudite_live_subscriptions ") == 1
        alone = (await local(one.app, "/metrics")).text
        assert 'worker="1"' in alone
        assert 'worker="2"' not in alone


async def test_figures_that_a_worker_of_another_version_has_left_are_not_told(tmp_path: Path) -> None:
    app = App(Todo, store=kept_store())
    app.worker = Worker(1, tmp_path)
    async with Client(app):
        (tmp_path / "figures-2").write_text('[{"name": "crudite_live_subscriptions", "of": "another form"}]')
        told = await local(app, "/metrics")
        assert told.status == 200
        assert 'crudite_live_subscriptions{worker="1"} 0\n' in told.text
        assert 'worker="2"' not in told.text


async def test_figures_that_cannot_be_left_for_the_others_are_left_when_they_can_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(Todo, store=kept_store())
    app.worker = Worker(1, tmp_path / "full")
    async with asyncio.timeout(10), Client(app) as client:
        while "the other workers cannot tell the figures of this one" not in caplog.text:
            await client.get("/todos")
        app.worker.directory.mkdir()
        while not (app.worker.directory / "figures-1").exists():
            await client.get("/todos")
    assert not (app.worker.directory / "figures-1").exists()


async def test_the_bus_is_among_the_figures(tmp_path: Path) -> None:
    async with client_for(Todo, bus=f"unix://{tmp_path}/bus") as client:
        while not (told := await figures(client))["crudite_bus_connected", ""]:
            pass
        await client.post("/todos", {"title": "a"})
        while (await figures(client))["crudite_bus_sent_total", ""] == told["crudite_bus_sent_total", ""]:
            pass


async def test_each_family_of_figures_says_what_it_is_and_stands_once() -> None:
    async with client_for(Todo) as client:
        answer = await local(client.app, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\n")
    helped = re.findall(r"^# HELP (\S+) \S.*$", answer.text, re.MULTILINE)
    typed = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", answer.text, re.MULTILINE)
    assert helped == [name for name, _ in typed]
    assert len(set(helped)) == len(helped)
    assert [name for name, kind in typed if (kind == "counter") != name.endswith("_total")] == []


async def test_the_lag_is_told_as_a_histogram_whose_buckets_add_up() -> None:
    async with client_for(Todo) as client:
        metrics = client.app.engine.metrics
        for seconds in (-1.0, 0.004, 0.004, 3.0, 99.0):
            metrics.lagged(seconds)
        text = (await local(client.app, "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("crudite_live_lag_seconds")]
    assert [line.partition("_seconds")[2] for line in lines] == [
        '_bucket{le="0.001"} 1', '_bucket{le="0.0025"} 1', '_bucket{le="0.005"} 3', '_bucket{le="0.01"} 3',
        '_bucket{le="0.025"} 3', '_bucket{le="0.05"} 3', '_bucket{le="0.1"} 3', '_bucket{le="0.25"} 3',
        '_bucket{le="0.5"} 3', '_bucket{le="1.0"} 3', '_bucket{le="2.5"} 3', '_bucket{le="10.0"} 4',
        '_bucket{le="+Inf"} 5', "_sum 102.008", "_count 5",
    ]  # fmt: skip


@pytest.mark.only_on("sqlite", reason="the documentation is read")
def test_every_number_that_is_counted_is_told() -> None:
    others = {"lag", "resets"}  # a distribution, and one for each reason
    assert {figure.attribute for figure in LIVE} | others == set(Metrics.__dataclass_fields__)


async def test_every_figure_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/observability.md").read_text("utf-8")
    async with client_for(Todo) as client:
        told = re.findall(r"^# HELP (\S+)", (await local(client.app, "/metrics")).text, re.MULTILINE)
    assert [name for name in told if f"| `{name}` |" not in page] == []


async def test_what_waits_for_connections_is_told_by_the_worst_and_by_nearly_all() -> None:
    async with client_for(Todo) as client:
        for waiting in range(1, 201):
            client.app.engine.connect(RpcFormat()).send(b"x" * waiting)
        told = await figures(client)
    assert told["crudite_live_queue_max_bytes", ""] == 200
    assert told["crudite_live_queue_p99_bytes", ""] == 198


# Whether it is well.


async def test_load_balancers_ask_from_anywhere_whether_it_lives_and_is_ready() -> None:
    async with client_for(Todo) as client:
        for path in ("/livez", "/readyz"):
            answer = await client.get(path)
            assert (answer.status, answer.text, answer.headers["cache-control"]) == (200, "ok\n", "no-store")
            assert (await client.request("HEAD", path)).body == b""


async def test_an_application_that_goes_away_is_not_ready_first_and_still_answers() -> None:
    async with client_for(Todo) as client:
        await client.app.say_goodbye()
        ready = await client.get("/readyz")
        assert (ready.status, ready.text) == (503, "The application is going away.\n")
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/todos")).json == []


async def test_an_application_that_has_come_back_is_ready_again() -> None:
    app = App(Todo, store=kept_store())
    async with Client(app) as client:
        await app.say_goodbye()
    async with Client(app) as client:
        assert (await client.get("/readyz")).status == 200


async def test_an_application_whose_store_fails_is_not_ready() -> None:
    store = Faulty(open_store(fresh_store()))
    async with client_for(Todo, store=store) as client:
        store.fail("before read")
        ready = await client.get("/readyz")
        assert (ready.status, ready.text) == (503, "The store does not answer.\n")
        assert (await client.get("/readyz")).status == 200


# Where it is.


async def test_it_stands_below_a_prefix_and_in_no_description() -> None:
    async with client_for(Todo, interfaces=[Insight(prefix="/ops")]) as client:
        assert (await client.get("/ops/readyz")).status == 200
        assert (await client.get("/readyz")).status == 404
    async with client_for(Todo) as client:
        described = (await local(client.app, "/openapi.json")).json["paths"]
        assert [path for path in described if not path.startswith(("/todos", "/subscribe"))] == []


def test_a_resource_that_wants_the_same_address_is_told_so() -> None:
    class Metric(Record[int], rules=allow.everyone, path="metrics"):
        value: float

    with pytest.raises(DeclarationError, match=r"Insight and Metric both answer /metrics; see Insight\(prefix="):
        App(Metric, store=fresh_store())


async def test_what_histories_keep_and_let_go_is_counted() -> None:
    rules = {"read": allow.everyone, "write": allow.everyone, "history": allow.everyone}

    class Post(Record[int], rules=rules, history=timedelta(days=30)):
        title: str = ""

    async with client_for(Post, Todo) as client:
        for path in ("/posts", "/posts", "/todos"):
            assert (await client.post(path, {"title": "a"})).status == 201
        for _ in range(3):
            await client.app.store.trim(older_than=-1, larger_than=0)
        store = client.app.store
        assert isinstance(store, SupportsHistory)
        assert await store.prune("posts", -3600) == 2
        found = await figures(client)
        assert (found["crudite_history_kept_total", ""], found["crudite_history_dropped_total", ""]) == (2, 2)
