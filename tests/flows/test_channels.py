"""Channels: what is told at the moment, to whom, and by whom; and what nobody may hear who may not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from crudite import (
    Actor,
    App,
    Channel,
    ChannelLimits,
    Credentials,
    DeclarationError,
    Field,
    Limits,
    Next,
    NotFound,
    Password,
    Rate,
    Record,
    Request,
    Response,
    Unauthorized,
    allow,
    me,
)
from crudite.testing import Client, Refusal
from crudite.testing.socket import Socket
from tests.services.stores import fresh_store, kept_store


class Room(Record[int], rules={"read": allow.where(open=True) | allow.where(owner=me.id), "write": allow.everyone}):
    open: bool = True
    owner: str = ""


class Guest(Record[str], rules=allow.everyone):
    room: int = 0
    secret: str = Field(default="", visible="secret")
    password: Password


ROOMS = Channel("rooms/{room}", of=Room, rules={"publish": allow.signed_in})


class Roles:
    """Who shows which token, and with which roles; None refuses it."""

    def __init__(self) -> None:
        self.of: dict[str, frozenset[str] | None] = {}

    def __call__(self, credentials: Credentials) -> Actor | None:
        if credentials.token is None:
            return None
        roles = self.of.get(credentials.token, frozenset())
        if roles is None:
            raise Unauthorized("Signed out.")
        return Actor(id=credentials.token, roles=roles)


@asynccontextmanager
async def world(*channels: Channel, limits: ChannelLimits | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client of an application with an open room 7 and a room 8 of ann's."""
    limited = Limits(channels=limits) if limits else None
    auth = options.pop("auth", Roles())
    app = App(Room, Guest, store=fresh_store(), auth=auth, channels=channels or (ROOMS,), limits=limited, **options)
    async with Client(app) as client:
        await app.records.create(Room, id=7)
        await app.records.create(Room, id=8, open=False, owner="ann")
        yield client


async def joined(socket: Socket, channel: str, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await socket.call("join", {"channel": channel, **more})
    return answer


async def refused(call: Any) -> int:
    """The status with which a call is refused."""
    with pytest.raises(Refusal) as refusal:
        await call
    status: int = refusal.value.problem["status"]
    return status


async def test_what_one_publishes_all_hear_the_sender_included() -> None:
    async with world() as client, client.acting("ann").websocket() as ann, client.acting("bob").websocket() as bob:
        name = (await joined(ann, "rooms/7"))["member"]
        await joined(bob, "rooms/7")
        await ann.call("publish", {"channel": "rooms/7", "event": "typing", "data": {"at": [1, 2.5, None]}})
        told = {
            "channel": "rooms/7", "event": "typing", "data": {"at": [1, 2.5, None]},
            "from": {"member": name, "id": "ann"},
        }  # fmt: skip
        assert await ann.told() == await bob.told() == ("event", told)


async def test_what_the_server_emits_is_heard_from_nobody_and_in_its_order() -> None:
    async with world() as client, client.websocket() as socket:
        await joined(socket, "rooms/7")
        for number in range(50):
            await client.app.emit("rooms/7", "count", number)
        assert [(await socket.told())[1] for _ in range(50)] == [
            {"channel": "rooms/7", "event": "count", "data": number} for number in range(50)
        ]


async def test_a_record_that_is_emitted_shows_nothing_secret() -> None:
    async with world() as client, client.websocket() as socket:
        await joined(socket, "rooms/7")
        guest = await client.app.records.create(Guest, id="g", secret="planted", password="planted-too-long")
        await client.app.emit("rooms/7", "came", {"who": [guest]})
        (shown,) = (await socket.told())[1]["data"]["who"]
        assert shown["id"] == "g"
        assert "planted" not in repr(shown)


async def test_a_hook_and_a_handler_emit_as_well() -> None:
    async with world() as client, client.websocket() as socket:

        @client.app.create("ring")
        async def ring(request: Request, room: int) -> None:
            await client.app.emit(f"rooms/{room}", "bell")

        await joined(socket, "rooms/7")
        await socket.call("ring", {"room": 7})
        assert await socket.told() == ("event", {"channel": "rooms/7", "event": "bell", "data": None})


async def test_who_left_hears_nothing_more() -> None:
    async with world() as client, client.websocket() as socket:
        await joined(socket, "rooms/7")
        await socket.call("leave", {"channel": "rooms/7"})
        await client.app.emit("rooms/7", "missed")
        await joined(socket, "rooms/7")
        await client.app.emit("rooms/7", "heard")
        assert (await socket.told())[1]["event"] == "heard"


# Who may.


async def test_nobody_joins_what_he_may_not_read_nor_learns_that_it_is_there() -> None:
    async with world() as client, client.acting("bob").websocket() as bob, client.acting("ann").websocket() as ann:
        await joined(ann, "rooms/8")
        with pytest.raises(Refusal) as hidden:
            await joined(bob, "rooms/8")
        with pytest.raises(Refusal) as absent:
            await joined(bob, "rooms/9")
        texts = [repr(one.value.problem).replace("8", "_").replace("9", "_") for one in (hidden, absent)]
        assert hidden.value.problem["status"] == 404
        assert texts[0].split("request_id")[0] == texts[1].split("request_id")[0]
        await client.app.emit("rooms/8", "secret")
        assert (await ann.told())[1]["event"] == "secret"
        await joined(bob, "rooms/7")
        await client.app.emit("rooms/7", "open")
        assert (await bob.told())[1]["event"] == "open"


async def test_nobody_publishes_where_no_rule_lets_him() -> None:
    silent = Channel("rooms/{room}", of=Room)
    async with world(silent) as client, client.acting("ann").websocket() as ann:
        await joined(ann, "rooms/7")
        assert await refused(ann.call("publish", {"channel": "rooms/7", "event": "e", "data": 1})) == 403
    async with world() as client, client.websocket() as nobody:
        await joined(nobody, "rooms/7")
        assert await refused(nobody.call("publish", {"channel": "rooms/7", "event": "e", "data": 1})) == 401


async def test_only_who_has_joined_publishes() -> None:
    async with world() as client, client.acting("bob").websocket() as bob:
        assert await refused(bob.call("publish", {"channel": "rooms/7", "event": "e", "data": 1})) == 409
        assert await refused(bob.call("publish", {"channel": "rooms/8", "event": "e", "data": 1})) == 409


async def test_a_rule_for_publishing_may_speak_of_the_record_and_is_live() -> None:
    owned = Channel("rooms/{room}", of=Room, rules={"publish": allow.where(owner=me.id)})
    async with world(owned) as client, client.acting("bob").websocket() as bob:
        await joined(bob, "rooms/7")
        said = {"channel": "rooms/7", "event": "e", "data": 1}
        assert await refused(bob.call("publish", said)) == 404
        await client.app.records.update(Room, 7, owner="bob")
        await client.settled()
        await bob.call("publish", said)
        assert (await bob.told())[0] == "event"
        await client.app.records.update(Room, 7, owner="ann")
        await client.settled()
        assert await refused(bob.call("publish", said)) == 404


async def test_a_rule_for_joining_narrows_who_may_read() -> None:
    own = Channel("rooms/{room}", of=Room, rules={"join": allow.where(owner=me.id)})
    async with world(own) as client, client.acting("ann").websocket() as ann:
        await joined(ann, "rooms/8")
        assert await refused(joined(ann, "rooms/7")) == 404


async def test_a_channel_of_no_record_has_rules_about_who_asks() -> None:
    staff = Channel("staff/{topic}", rules={"join": allow.role("staff") & ~allow.role("new")})
    roles = Roles()
    roles.of["ann"], roles.of["cid"] = frozenset({"staff"}), frozenset({"staff", "new"})
    async with world(staff, auth=roles) as client:
        async with client.acting("ann").websocket() as ann:
            await joined(ann, "staff/news")
        for token, status in (("bob", 403), ("cid", 403), (None, 401)):
            async with client.acting(token).websocket() as socket:
                assert await refused(joined(socket, "staff/news")) == status


async def test_without_a_rule_nobody_joins() -> None:
    async with world(Channel("lobby")) as client, client.acting("ann").websocket() as ann:
        assert await refused(joined(ann, "lobby")) == 403


# Over server-sent events and REST.


async def test_a_stream_hears_what_is_told_and_a_request_publishes() -> None:
    async with world() as client, client.acting("ann").stream("/channels/rooms/8") as stream:
        answer = await client.acting("ann").post("/channels/rooms/8", {"event": "typing", "data": {"at": 3}})
        assert answer.status == 204
        told = (await stream.until("event"))[-1]
        assert told.data == {
            "channel": "rooms/8", "event": "typing", "data": {"at": 3}, "from": {"member": None, "id": "ann"}
        }  # fmt: skip


async def test_a_stream_shows_who_is_there() -> None:
    async with (
        world(Channel("rooms/{room}", of=Room, presence=True)) as client,
        client.acting("bob").stream("/channels/rooms/7/subscribe") as stream,
    ):
        assert (await stream.until("presence"))[-1].data == {"channel": "rooms/7", "count": 0, "members": []}
        async with client.acting("ann").websocket() as ann:
            await joined(ann, "rooms/7")
            told = (await stream.until("presence"))[-1].data
            assert [one["id"] for one in told["joined"]] == ["ann"]


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [("bob", "rooms/8", 404), ("bob", "rooms/9", 404), ("bob", "rooms/x", 404), (None, "rooms/8", 404),
     ("bob", "rooms/7%2F..%2F8", 404), ("bob", "lobby", 404)],
)  # fmt: skip
async def test_a_stream_is_refused_as_any_other_joining(token: str | None, path: str, status: int) -> None:
    async with world() as client:
        answer = await client.acting(token).get(f"/channels/{path}", headers={"accept": "text/event-stream"})
        assert answer.status == status


@pytest.mark.parametrize(
    ("token", "path", "status"), [("ann", "rooms/8", 204), ("bob", "rooms/8", 404), (None, "rooms/7", 401)]
)
async def test_a_request_publishes_only_where_its_actor_may(token: str | None, path: str, status: int) -> None:
    async with world() as client:
        assert (await client.acting(token).post(f"/channels/{path}", {"event": "e", "data": 1})).status == status
        assert client.app.hub.figures.published == (status == 204)


async def test_a_body_that_is_no_event_is_refused() -> None:
    limits = ChannelLimits(event=20)
    async with world(limits=limits) as client:
        ann = client.acting("ann")
        bodies = ([1], {"event": 7}, {"data": 1}, {"event": "e", "more": 1}, {"event": "e", "data": "x" * 19})
        statuses = [(await ann.post("/channels/rooms/7", body)).status for body in bodies]
        assert statuses == [400, 400, 400, 400, 413]


async def test_a_stream_ends_with_the_right_to_it() -> None:
    roles = Roles()
    async with world(auth=roles) as client:
        async with client.acting("bob").stream("/channels/rooms/7") as stream:
            await client.app.records.update(Room, 7, open=False)
            await client.settled()
            await client.app.emit("rooms/7", "secret")
            problem = await stream.next()
            assert (problem.kind, problem.data["problem"]["status"]) == ("problem", 404)
            with pytest.raises(EOFError):
                await stream.next()
        async with client.acting("ann").stream("/channels/rooms/8") as stream:
            roles.of["ann"] = None
            await client.app.revoke(account="ann")
            await client.app.emit("rooms/8", "secret")
            assert (await stream.next()).data["problem"]["status"] == 401


async def test_nobody_stays_behind_when_all_have_left() -> None:
    async with world() as client:
        async with client.acting("ann").websocket() as ann, client.acting("bob").stream("/channels/rooms/7"):
            await joined(ann, "rooms/7")
            assert client.app.hub.figures.members == 2
            assert client.app.engine.metrics.live_connections == 4
        metrics = client.app.engine.metrics
        async with asyncio.timeout(10):
            while client.app.hub.figures.members or metrics.live_connections or metrics.live_subs:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_who_loses_the_right_at_any_moment_of_joining_is_told_so_once_and_not_left_behind() -> None:
    async with world() as client, client.acting("bob").websocket() as bob:
        for turns in range(40):
            await client.app.records.update(Room, 7, open=True)
            await client.settled()

            async def shut(turns: int = turns) -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await client.app.records.update(Room, 7, open=False)

            shutting = asyncio.create_task(shut())
            (answer,) = await asyncio.gather(joined(bob, "rooms/7"), return_exceptions=True)
            await shutting
            await client.settled()
            assert client.app.hub.figures.members == 0
            await bob.call("ping")  # behind it nothing comes any more
            told = [one["method"] for one in bob.notifications]
            assert told == ([] if isinstance(answer, Refusal) else ["problem"])
            bob.notifications.clear()


# Of the records of a resource.


class Post(Record[int], rules={"read": allow.where(open=True) | allow.where(owner=me.id)}):
    open: bool = True
    owner: str = ""
    price: int = Field(default=5, read=allow.signed_in)
    secret: str = Field(default="planted", visible="secret")


async def test_what_is_emitted_of_a_record_goes_to_those_who_may_read_it_as_they_may() -> None:
    app = App(Post, store=fresh_store(), auth=Roles(), channels=[Channel("posts", of=Post)])
    async with Client(app) as client, AsyncExitStack() as stack:
        post = await app.records.create(Post, id=1)
        hers = await app.records.create(Post, id=2, open=False, owner="ann")
        sockets = {}
        for token in ("ann", "bob", None):
            sockets[token] = await stack.enter_async_context(client.acting(token).websocket())
            await joined(sockets[token], "posts")
        await app.emit(Post, "featured", hers)
        await app.emit(Post, "featured", 3)  # which is not there
        await app.emit(Post, "liked", post)
        heard = {token: await socket.told() for token, socket in sockets.items()}
        assert [told["data"]["id"] for _, told in heard.values()] == [2, 1, 1]
        assert [told["data"].get("price") for _, told in heard.values()] == [5, 5, None]
        assert "planted" not in repr(heard)
        assert (await sockets["ann"].told())[1]["event"] == "liked"
        with pytest.raises(NotFound):
            await app.emit("posts", "to all", post)


# What ends it.


async def test_who_may_not_read_the_record_any_more_hears_nothing_from_that_commit_on() -> None:
    async with world() as client, client.acting("bob").websocket() as bob, client.acting("ann").websocket() as ann:
        await client.app.records.update(Room, 7, owner="ann")
        await joined(bob, "rooms/7")
        await joined(ann, "rooms/7")
        await client.app.records.update(Room, 7, open=False)
        await client.settled()
        await client.app.emit("rooms/7", "secret")
        assert (await ann.told())[1]["event"] == "secret"
        method, told = await bob.told()
        assert (method, told["channel"], told["problem"]["status"]) == ("problem", "rooms/7", 404)
        await bob.call("ping")
        assert [n["method"] for n in bob.notifications] == ["problem"]
        await client.app.records.update(Room, 7, open=True)
        await joined(bob, "rooms/7")  # and may come back when he may


async def test_a_deleted_record_ends_its_channel() -> None:
    async with world() as client, client.websocket() as socket:
        await joined(socket, "rooms/7")
        await client.app.records.delete(Room, 7)
        assert (await socket.told())[0] == "problem"


async def test_a_revoked_session_hears_nothing_more() -> None:
    roles = Roles()
    async with world(auth=roles) as client, client.acting("bob").websocket() as bob:
        await joined(bob, "rooms/7")
        roles.of["bob"] = None
        await client.app.revoke(account="bob")
        await client.app.emit("rooms/7", "secret")
        assert await bob.closed() == 4401
        assert "event" not in [n["method"] for n in bob.notifications]


async def test_who_loses_a_role_loses_the_channel_and_no_other() -> None:
    staff = Channel("staff", rules={"join": allow.role("staff")})
    roles = Roles()
    roles.of["ann"] = frozenset({"staff"})
    async with world(staff, ROOMS, auth=roles) as client, client.acting("ann").websocket() as ann:
        await joined(ann, "staff")
        await joined(ann, "rooms/8")
        roles.of["ann"] = frozenset()
        await client.app.revoke(account="ann")
        await client.app.emit("staff", "secret")
        await client.app.emit("rooms/8", "hers")
        (first, one), (second, other) = await ann.told(), await ann.told()
        assert (first, one["channel"], one["problem"]["status"]) == ("problem", "staff", 403)
        assert (second, other["event"]) == ("event", "hers")


async def test_who_becomes_somebody_else_hears_what_that_one_may() -> None:
    async with world() as client, client.acting("ann").websocket() as socket:
        await joined(socket, "rooms/8")
        await joined(socket, "rooms/7")
        await socket.call("auth", {"token": "bob"})
        method, told = await socket.told()
        assert (method, told["channel"]) == ("problem", "rooms/8")
        await client.app.emit("rooms/8", "secret")
        await socket.call("publish", {"channel": "rooms/7", "event": "mine", "data": None})
        assert (await socket.told())[1]["from"]["id"] == "bob"


class User(Record[str], rules=allow.nobody):
    role: str = ""


async def test_while_somebody_is_asked_about_he_hears_nothing() -> None:
    is_open = asyncio.Event()
    is_open.set()
    apps: list[App] = []

    async def authenticate(credentials: Credentials) -> Actor:
        user = await apps[0].records.read(User, "ann")
        await is_open.wait()
        return Actor(id="ann", roles=frozenset({user.role}), rests_on=((User, "ann", frozenset({"role"})),))

    staff = Channel("staff", rules={"join": allow.role("staff", "boss")})
    app = App(Room, User, store=fresh_store(), auth=authenticate, channels=[ROOMS, staff])
    apps.append(app)
    async with Client(app) as client, client.websocket() as socket:
        await app.records.create(Room, id=7)
        await app.records.create(User, id="ann", role="staff")
        for channel in ("staff", "rooms/7"):
            await joined(socket, channel)
        for role, kept in (("boss", ["rooms/7", "staff"]), ("", ["rooms/7"])):
            is_open.clear()
            await app.records.update(User, "ann", role=role)
            await app.engine.settled()
            for channel in ("staff", "rooms/7"):
                await app.emit(channel, "meanwhile")
            is_open.set()
            await client.settled()
            for channel in ("staff", "rooms/7"):
                await app.emit(channel, "afterwards")
            told = [await socket.told() for _ in range(2)]
            assert "meanwhile" not in repr(told)
            assert sorted(one["channel"] for method, one in told if method == "event") == kept


@pytest.mark.parametrize("over", ["websocket", "sse"])
async def test_who_loses_the_right_while_he_joins_is_shown_nobody_and_to_nobody(over: str) -> None:
    apps: list[App] = []

    async def authenticate(credentials: Credentials) -> Actor:
        user = await apps[0].records.read(User, credentials.token or "")
        return Actor(id=user.id, roles=frozenset({user.role}), rests_on=((User, user.id, frozenset({"role"})),))

    staff = Channel("staff", rules={"join": allow.role("staff")}, presence=True)
    app = App(User, store=fresh_store(), auth=authenticate, channels=[staff])
    apps.append(app)

    @app.use(name="staff")
    async def late(request: Request, next: Next) -> Response:
        response = await next()
        if request.actor.id == "bob":
            await app.records.update(User, "bob", role="")
            await app.engine.settled()
        return response

    async with Client(app) as client, client.acting("ann").websocket() as ann:
        for name in ("ann", "bob"):
            await app.records.create(User, id=name, role="staff")
        await joined(ann, "staff")
        if over == "websocket":
            async with client.acting("bob").websocket() as bob:
                (answer,) = await asyncio.gather(joined(bob, "staff"), return_exceptions=True)
                assert "members" not in repr(answer)
                assert "'ann'" not in repr([await bob.told(), bob.notifications])
        else:
            async with client.acting("bob").stream("/channels/staff") as stream:
                assert (await stream.next()).kind == "problem"
        await joined(ann, "staff", state="still")
        told = await ann.told()
        while told[1].get("changed") is None and "still" not in repr(told):
            assert "bob" not in repr(told)
            told = await ann.told()
        assert "bob" not in repr(told)


async def test_a_right_that_is_taken_at_one_process_is_taken_at_the_others() -> None:
    url = kept_store()
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(Client(App(Room, store=url, auth=Roles(), channels=[ROOMS])))
            for _ in range(2)
        ]
        await one.app.records.create(Room, id=7, owner="ann")
        await other.settled()
        bob = await stack.enter_async_context(other.acting("bob").websocket())
        await joined(bob, "rooms/7")
        await one.app.records.update(Room, 7, open=False)
        await other.settled()
        await other.app.emit("rooms/7", "secret")
        assert (await bob.told())[0] == "problem"


async def test_what_comes_behind_a_later_event_of_its_process_is_left_out() -> None:
    async with world() as client, client.websocket() as socket:
        await joined(socket, "rooms/7")
        for by, at in (("p", 2), ("p", 1), ("p", 2), ("q", 1), ("p", 3)):
            word = {"by": by, "at": at, "channel": "rooms/7", "event": f"{by}{at}", "data": None}
            await client.app.bus.publish("channels", msgspec.json.encode(word))
        await client.app.bus.publish("channels", b"another version's")
        assert [(await socket.told())[1]["event"] for _ in range(3)] == ["p2", "q1", "p3"]


# Attacks.


@pytest.mark.parametrize(
    "name",
    ["rooms/7/../8", "rooms/../rooms/8", "rooms//7", "/rooms/7", "rooms/7/", "rooms/%37", "rooms/7%00", "rooms/7\x00",
     "Rooms/7", "rooms/*", "rooms/{room}", "rooms", "", "rooms/" + "7" * 300, "rooms/7\n", 7, None, ["rooms", "7"]],
)  # fmt: skip
async def test_a_name_that_is_none_is_refused(name: Any) -> None:
    async with world() as client, client.acting("ann").websocket() as ann:
        assert await refused(ann.call("join", {"channel": name})) == 404


async def test_one_channel_has_one_name() -> None:
    async with world() as client, client.acting("ann").websocket() as ann:
        for name in ("rooms/07", "rooms/+7", "rooms/ 7", "rooms/7.0"):
            (answer,) = await asyncio.gather(joined(ann, name), return_exceptions=True)
            is_refused = isinstance(answer, Refusal) and answer.problem["status"] == 404
            assert is_refused or answer["channel"] == "rooms/7"


async def test_a_word_goes_before_a_parameter() -> None:
    lobby = Channel("rooms/lobby", rules={"join": allow.signed_in})
    async with world(ROOMS, lobby) as client, client.acting("ann").websocket() as ann:
        assert (await joined(ann, "rooms/lobby"))["channel"] == "rooms/lobby"


async def test_whoever_floods_is_refused_and_at_last_sent_away() -> None:
    limits = Limits(refusals=5, channels=ChannelLimits(rate=1, burst=4))
    app = App(Room, store=fresh_store(), auth=Roles(), channels=[ROOMS], limits=limits)
    async with Client(app) as client, client.acting("ann").websocket() as ann:
        await app.records.create(Room, id=7)
        await joined(ann, "rooms/7")
        said = {"channel": "rooms/7", "event": "e", "data": 1}
        answers = await asyncio.gather(*(ann.call("publish", said) for _ in range(8)), return_exceptions=True)
        assert [getattr(answer, "problem", {}).get("status") for answer in answers] == [None] * 3 + [429] * 5
        assert await ann.closed() == 4429
        assert app.hub.figures.published == 3


async def test_rates_hold_for_channels_by_their_pattern() -> None:
    async with world(rates=[Rate("2/hour", on="rooms/{room}")]) as client, client.acting("ann").websocket() as ann:
        await joined(ann, "rooms/7")
        await ann.call("publish", {"channel": "rooms/7", "event": "e", "data": 1})
        assert await refused(ann.call("publish", {"channel": "rooms/7", "event": "e", "data": 1})) == 429


async def test_what_is_too_large_is_refused() -> None:
    shown = Channel("rooms/{room}", of=Room, rules={"publish": allow.everyone}, presence=True)
    limits = ChannelLimits(event=20, state=10, joined=1)
    async with world(shown, limits=limits) as client, client.acting("ann").websocket() as ann:
        assert await refused(joined(ann, "rooms/7", state="x" * 9)) == 413
        await joined(ann, "rooms/7", state="x" * 8)
        assert await refused(joined(ann, "rooms/8")) == 429
        assert await refused(ann.call("publish", {"channel": "rooms/7", "event": "e", "data": "x" * 19})) == 413
        await ann.call("publish", {"channel": "rooms/7", "event": "e", "data": "x" * 18})
        assert await refused(ann.call("publish", {"channel": "rooms/7", "event": "e" * 101, "data": 1})) == 400
        assert await refused(ann.call("publish", {"channel": "rooms/7", "event": "\n", "data": 1})) == 400


# What is declared.


def test_what_is_wrong_with_channels_is_said_at_once() -> None:
    wrong = [
        Channel("Rooms"),
        Channel("rooms/{a}/{b}", of=Room),
        Channel("x", rules={"enter": allow.everyone}),
        Channel("y", rules={"join": True}),  # type: ignore[dict-item]
        Channel("feed", of=Room, presence=True),
    ]
    with pytest.raises(DeclarationError) as error:
        App(Room, store=fresh_store(), channels=wrong)
    assert len(error.value.faults) == 5
    further = [
        Channel("a", rules={"join": allow.where(x=1)}),
        Channel("b/{c}"),
        Channel("b/{d}"),
        Channel("{g}", of=Guest),
    ]
    with pytest.raises(DeclarationError) as error:
        App(Room, store=fresh_store(), channels=further)
    assert len(error.value.faults) == 3
    with pytest.raises(DeclarationError, match="colour"):
        App(Room, store=fresh_store(), channels=[Channel("r/{r}", of=Room, rules={"join": allow.where(colour=1)})])


def test_a_handler_is_not_called_as_what_is_done_in_channels() -> None:
    def join(request: Request) -> None: ...

    App(Room, store=fresh_store()).read("join")(join)
    with pytest.raises(DeclarationError, match="'join'"):
        App(Room, store=fresh_store(), channels=[ROOMS]).read("join")(join)


async def test_the_server_is_told_of_a_channel_that_cannot_be() -> None:
    async with world() as client:
        with pytest.raises(NotFound):
            await client.app.emit("room/7", "e")
