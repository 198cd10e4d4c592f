"""WebSocket: calls and live queries in JSON-RPC 2.0 over one connection."""

from typing import Any

import pytest

from crudite import App, Count, Limits, LiveLimits, Record, Request, WebSocket, allow
from crudite.testing import Client, Refusal, Socket, View
from crudite.testing.asgi import HOST, make_scope
from tests.flows.worlds import by_name, client_for, titles
from tests.services.stores import fresh_store


class Todo(Record[int], rules=allow.everyone):
    title: str
    done: bool = False


async def test_the_six_actions_can_be_called() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        assert socket.subprotocol == "crudite.v1"
        created = await socket.call("todos.create", {"data": {"title": "a"}})
        assert (created["data"]["title"], set(created)) == ("a", {"data", "after"})
        both = await socket.call("todos.create", {"data": [{"title": "b"}, {"title": "c"}]})
        assert titles(both["data"]) == ["b", "c"]
        updated = await socket.call(
            "todos.update", {"key": 1, "data": {"done": True}, "version": created["data"]["version"]}
        )
        assert updated["data"]["done"] is True
        replaced = await socket.call("todos.replace", {"key": 1, "data": {"title": "aa"}})
        assert (replaced["data"]["title"], replaced["data"]["done"]) == ("aa", False)
        again = await socket.call("todos.replace", {"key": 1, "data": replaced["data"]})
        assert (again["data"]["title"], again["data"]["version"] > replaced["data"]["version"]) == ("aa", True)
        with pytest.raises(Refusal) as stale:
            await socket.call("todos.replace", {"key": 1, "data": replaced["data"]})
        assert stale.value.status == 412
        assert set(await socket.call("todos.delete", {"key": 2})) == {"after"}
        assert (await socket.call("todos.read", {"key": 1, "query": {"fields": ["title"]}})) == {
            "data": {"id": 1, "title": "aa"}
        }
        page = await socket.call("todos.list", {"query": {"sort": ["-title"], "limit": 1, "count": "exact"}})
        assert (titles(page["data"]), page["count"], page["prev"]) == (["c"], 2, None)
        rest = await socket.call("todos.list", {"query": {"sort": ["-title"], "limit": 1, "cursor": page["next"]}})
        assert (titles(rest["data"]), rest["next"]) == (["aa"], None)
        assert await socket.call("ping") == {}


async def test_a_call_that_fails_is_answered_with_its_problem() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:

        async def refused(method: str, params: Any) -> tuple[int, str]:
            with pytest.raises(Refusal) as refusal:
                await socket.call(method, params)
            return refusal.value.status, refusal.value.problem["code"]

        await socket.call("todos.create", {"data": {"title": "a"}})
        assert await refused("todos.create", {"data": {}}) == (422, "invalid")
        assert await refused("todos.update", {"key": 1, "data": {}, "version": 1}) == (
            412,
            "precondition_failed",
        )
        assert await refused("todos.read", {"key": 99}) == (404, "not_found")
        assert await refused("todos.read", {"key": "x"}) == (404, "not_found")
        assert await refused("todos.read", {}) == (400, "malformed")
        assert await refused("todos.read", {"key": 1, "other": 1}) == (400, "malformed")
        assert await refused("todos.list", {"query": {"where": {"nope": 1}}}) == (400, "malformed")
        assert await refused("nope.list", {}) == (404, "not_found")
        assert await refused("nope", {}) == (404, "not_found")
        assert await refused("subscribe", {"sub": "a", "resource": "nope"}) == (404, "not_found")
        assert await refused("subscribe", {"resource": "todos"}) == (400, "malformed")


async def raw(socket: Socket, message: Any) -> Any:
    socket.send(message)
    return await socket.next()


async def test_what_is_no_call_is_answered_as_json_rpc_says() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        answers = [
            await raw(socket, message)
            for message in (
                "{",
                "[",
                "[]",
                "[1]",
                "5",
                '"x"',
                '{"id": 7, "method": 5}',
                '{"id": 7, "params": {}}',
                '{"id": 7, "method": "ping", "params": [1]}',
                b"\xff\xfe",
                '{"id": {}, "method": "ping"}',
                '{"id": 7, "method": 5, oops',
                '{"method": "ping", "id": "\\ud800"}',
                "",
                "[" * 5000,
                '{"a":' * 5000,
            )
        ]
        codes = [(a[0] if isinstance(a, list) else a)["error"]["code"] for a in answers]
        assert codes == [
            -32700,
            -32700,
            -32600,
            -32600,
            -32600,
            -32600,
            -32600,
            -32600,
            -32600,
            -32700,
            -32600,
            -32700,
            -32700,
            -32700,
            -32700,
            -32700,
        ]
        assert [a["id"] for a in answers[6:9]] == [7, 7, 7]
        unknown = await raw(socket, '{"id": "mine", "method": "nope"}')
        assert (unknown["id"], unknown["error"]["code"]) == ("mine", -32601)
        assert await socket.call("ping") == {}


async def test_a_batch_is_answered_in_one_array_in_order() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        answers = await raw(
            socket,
            [
                {"jsonrpc": "2.0", "id": "a", "method": "todos.create", "params": {"data": {"title": "a"}}},
                {"jsonrpc": "2.0", "method": "todos.create", "params": {"data": {"title": "silent"}}},
                {"jsonrpc": "2.0", "id": "b", "method": "nope"},
                {"jsonrpc": "2.0", "id": "c", "method": "todos.list", "params": {"query": {"sort": "title"}}},
            ],
        )
        assert [answer["id"] for answer in answers] == ["a", "b", "c"]
        assert answers[0]["result"]["data"]["title"] == "a"
        assert answers[1]["error"]["code"] == -32601
        assert titles(answers[2]["result"]["data"]) == ["a", "silent"]
        too_many = await raw(socket, [{"jsonrpc": "2.0", "id": 1, "method": "ping"}] * 101)
        assert too_many["error"]["code"] == -32600


async def test_writes_of_one_connection_happen_in_the_order_of_their_calls() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        await socket.call("todos.create", {"data": {"title": "0"}})
        for n in range(1, 30):
            call = {
                "jsonrpc": "2.0",
                "method": "todos.update",
                "params": {"key": 1, "data": {"title": str(n)}},
            }
            socket.send([call] if n % 5 == 0 else call)
        await socket.call("todos.update", {"key": 1, "data": {"done": True}})
        assert (await client.get("/todos/1")).json["title"] == "29"


async def test_a_new_subscription_is_answered_then_gets_snapshot_and_ready_then_frames() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        await client.post("/todos", {"title": "a"})
        view = View(5.0)
        answer = await socket.subscribe("s1", {"resource": "todos", "query": {"sort": ["-title"]}}, view)
        await view.ready()

        assert answer == {
            "sub": "s1",
            "group": answer["group"],
            "key": answer["key"],
            "lane": "exact",
            "resumed": False,
            "resource": "todos",
            "sort": [
                {"field": "title", "descending": True, "type": "text"},
                {"field": "id", "descending": True, "type": "integer"},
            ],
            "key_field": "id",
        }
        told = [(n["method"], n["params"].get("sub")) for n in socket.notifications]
        assert told == [("snapshot", "s1"), ("ready", "s1")]
        socket.notifications.clear()

        async with client.app.records.batch() as batch:
            batch.create(Todo, title="b")
            batch.update(Todo, 1, done=True)
        await view.until(lambda rows: len(rows) == 2)
        frame, commit = socket.notifications
        row = (await client.get("/todos/1")).json
        assert frame["params"] == {
            "group": answer["group"],
            "added": [(await client.get("/todos/2")).json],
            "changed": [
                {
                    "key": 1,
                    "fields": {"done": True, "version": row["version"], "updated_at": row["updated_at"]},
                }
            ],
        }
        assert (commit["method"], set(commit["params"])) == ("commit", {"cursor"})


async def test_a_write_is_acknowledged_once_its_frames_have_been_sent() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        view = View(5.0)
        await socket.subscribe("s", {"resource": "todos"}, view)
        await view.ready()
        socket.notifications.clear()
        number = socket._last + 1
        await socket.call("todos.create", {"data": {"title": "a"}})
        await client.settled()
        await socket.call("ping")
        assert [n["method"] for n in socket.notifications] == ["frame", "commit", "acks"]
        assert socket.notifications[-1]["params"] == {"ids": [number]}


async def test_names_are_one_connections_own_and_free_again_after_unsubscribe() -> None:
    async with client_for(Todo) as client, client.websocket() as one, client.websocket() as two:
        for socket in (one, two):
            await socket.subscribe("s", {"resource": "todos"}, View(5.0))
        with pytest.raises(Refusal) as refusal:
            await one.call("subscribe", {"sub": "s", "resource": "todos"})
        assert refusal.value.status == 409
        assert await one.call("unsubscribe", {"sub": "s"}) == {}
        assert await one.call("unsubscribe", {"sub": "unknown"}) == {}
        await one.call("subscribe", {"sub": "s", "resource": "todos"})


async def test_a_connection_has_a_limited_number_of_subscriptions() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        for n in range(100):
            await socket.call("subscribe", {"sub": f"s{n}", "resource": "todos"})
        with pytest.raises(Refusal) as refusal:
            await socket.call("subscribe", {"sub": "more", "resource": "todos"})
        assert refusal.value.status == 429


async def test_a_handler_is_called_by_name_and_a_number_is_live() -> None:
    app = App(Todo, store=fresh_store())

    @app.read("count-of")
    async def count_of(request: Request, title: str) -> Count:
        return Todo.where(title=title).count()

    async with Client(app) as client, client.websocket() as socket:
        assert await socket.call("count-of", {"title": "a"}) == {"data": 0}
        with pytest.raises(Refusal) as refusal:
            await socket.call("count-of", {"titel": "a"})
        assert refusal.value.status == 422
        assert {e["pointer"] for e in refusal.value.problem["errors"]} == {"/titel", "/title"}
        async with client.live("count-of", args={"title": "a"}, over="websocket") as view:
            assert await view.until_value(lambda value: True) == 0
            await client.post("/todos", [{"title": "a"}, {"title": "a"}, {"title": "b"}])
            assert await view.until_value(lambda value: value > 0) == 2


async def messages_of(client: Client, asked: dict[str, Any]) -> list[list[Any]]:
    """Every message of a connection, from its subscription on, while todos come, change and go."""
    received: list[list[Any]] = []
    async with client.websocket() as socket:
        take = socket._take

        def noting(message: Any) -> None:
            received.append(message if isinstance(message, list) else [message])
            take(message)

        socket._take = noting  # type: ignore[method-assign]
        view = View(5.0)
        await socket.subscribe("s", asked, view)
        await view.ready()
        for step in range(6):
            async with client.app.records.batch() as batch:
                batch.create(Todo, title=f"n{step}")
                batch.update(Todo, 1, done=step % 2 == 0)
                batch.update(Todo, 2, title=f"b{step}")
                if step:
                    batch.delete(Todo, 3 + step)
            await client.settled()
    return received


async def test_a_connection_cut_after_any_message_resumes_to_the_exact_state() -> None:
    asked = {"resource": "todos", "query": {"where": {"done": False}, "sort": ["title"]}}
    async with client_for(Todo) as client:
        await client.post("/todos", [{"title": "a"}, {"title": "b"}, {"title": "c"}])
        received = await messages_of(client, asked)
        parts = [part for message in received for part in message]
        wanted = (await client.get("/todos?done=false&sort=title")).json
        resumed = 0
        for cut in range(len(parts) + 1):
            held = View(5.0)
            replay = Socket(None, None, 5.0)  # type: ignore[arg-type]
            replay._views["s"] = held
            for part in parts[:cut]:
                if "result" in part:
                    held.key = part["result"]["key"]
                    held.expect(part["result"]["sort"])
                    replay._groups[part["result"]["group"]] = {"s"}
                    replay._lanes["s"] = part["result"]["lane"]
                else:
                    replay._notice(part["method"], part["params"])
            view = View(5.0, held if held.cursor is not None else None)
            async with client.websocket() as socket:
                answer = await socket.subscribe("again", asked, view)
                assert await view.ready() == wanted, cut
                resumed += answer["resumed"]
        assert resumed == len(parts) - 2  # all but those cut before `ready`


async def test_only_pages_of_the_same_host_and_listed_ones_may_connect() -> None:
    app = App(Todo, store=fresh_store(), interfaces=[WebSocket(origins=["https://app.example.org"])])
    async with Client(app) as client:
        for origin in (f"http://{HOST}", "https://app.example.org"):
            async with client.websocket(headers={"origin": origin}) as socket:
                assert await socket.call("ping") == {}
        for origin in ("https://evil.example.org", "null", "http://[", f"http://{HOST}.evil.org", "file://"):
            async with client.websocket(headers={"origin": origin}) as socket:
                assert await socket.closed() == 1008
        with pytest.raises(ConnectionRefusedError):
            async with client.websocket("/nope"):
                pass


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    app = App(Todo, store=fresh_store(), limits=Limits(message=1000))
    async with Client(app) as client, client.websocket() as socket:
        socket.send("x" * 1001)
        assert await socket.closed() == 1009


async def test_auth_changes_who_is_asking_from_then_on_and_ends_what_that_changes() -> None:
    class Memo(Record[int], rules={"read": allow.signed_in, "create": allow.everyone}):
        title: str

    async with client_for(Memo, Todo, auth=by_name) as client, client.websocket() as socket:
        await client.post("/memos", {"title": "m"})
        with pytest.raises(Refusal):
            await socket.call("memos.list")
        assert await socket.call("auth", {"token": "ann:a,b"}) == {"actor": {"id": "ann", "roles": ["a", "b"]}}
        assert titles((await socket.call("memos.list"))["data"]) == ["m"]
        memos, todos = View(5.0), View(5.0)
        await socket.subscribe("memos", {"resource": "memos"}, memos)
        await socket.subscribe("todos", {"resource": "todos"}, todos)
        await memos.ready()
        with pytest.raises(Refusal) as refusal:
            await socket.call("auth", {"token": "bad"})
        assert refusal.value.status == 401
        assert titles((await socket.call("memos.list"))["data"]) == ["m"]

        assert await socket.call("auth", {"token": None}) == {"actor": None}
        with pytest.raises(Refusal) as refusal:
            await memos.until(lambda rows: False)
        assert refusal.value.status == 401
        await client.post("/memos", {"title": "unseen"})
        await client.post("/todos", {"title": "seen"})
        assert titles(await todos.until(lambda rows: rows != [])) == ["seen"]
        assert "unseen" not in str(socket.notifications)


async def test_when_the_application_stops_it_says_when_to_come_back() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        await socket.subscribe("s", {"resource": "todos"}, View(5.0))
        await client.app.say_goodbye()
        assert await socket.closed() == 1001
        assert socket.notifications[-1]["method"] == "bye"
        assert socket.notifications[-1]["params"]["retry_in"] >= 500


async def test_numbers_and_texts_come_back_as_they_were_called() -> None:
    async with client_for(Todo) as client, client.websocket() as socket:
        for number in ("x", "", 0, -5, 2**53, None):
            answer = await raw(socket, {"jsonrpc": "2.0", "id": number, "method": "ping"})
            assert answer == {"jsonrpc": "2.0", "id": number, "result": {}}


async def test_a_connection_has_as_many_subscriptions_as_the_application_allows() -> None:
    app = App(Todo, store=fresh_store(), limits=Limits(live=LiveLimits(subscriptions=1)))
    async with Client(app) as client, client.websocket() as socket:
        await socket.call("subscribe", {"sub": "a", "resource": "todos"})

        with pytest.raises(Refusal) as refused:
            await socket.call("subscribe", {"sub": "b", "resource": "todos"})

    assert (refused.value.status, refused.value.problem["code"]) == (429, "too_many_requests")


async def test_a_client_that_goes_away_before_it_is_accepted_leaves_nothing_behind() -> None:
    async with client_for(Todo) as client:
        scope = make_scope("websocket", "GET", "/ws", None, {}, "")

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            raise ConnectionResetError(message["type"])

        await client.app(scope, receive, send)
        assert len(client.app.engine.connections) == 0
