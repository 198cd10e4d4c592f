"""Presence: who is in a channel, over several processes, and what is told of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from crudite import Actor, App, Channel, ChannelLimits, Credentials, Limits, Record, allow, me
from crudite.buses.local import LocalBus
from crudite.buses.unix import UnixBus
from crudite.testing import Client, View
from crudite.testing.socket import Socket
from tests.services.stores import kept_store

LOBBY = Channel("lobby", rules={"join": allow.everyone, "publish": allow.everyone}, presence=True)
QUICK = ChannelLimits(grace=0.2, beat=0.1)
LASTING = ChannelLimits(grace=60, beat=0.1)
MARKS = {name: f"{name}-0123456789abcdef" for name in ("ann", "bob", "cid")}


class Room(Record[int], rules={"read": allow.where(open=True) | allow.where(owner=me.id)}):
    open: bool = True
    owner: str = ""


def who(credentials: Credentials) -> Actor | None:
    return Actor(id=credentials.token) if credentials.token is not None else None


@asynccontextmanager
async def processes(
    tmp_path: Path, count: int, limits: ChannelLimits = QUICK, *channels: Channel
) -> AsyncIterator[list[Client]]:
    """Clients of so many processes."""
    url = kept_store()
    bus = f"unix://{tmp_path}/bus" if count > 1 else "local:"
    apps = [
        App(Room, store=url, auth=who, bus=bus, channels=channels or [LOBBY], limits=Limits(channels=limits))
        for _ in range(count)
    ]
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client(app)) for app in apps]


async def joined(socket: Socket, name: str | None = None, channel: str = "lobby", **more: Any) -> dict[str, Any]:
    marked = {"as": MARKS[name]} if name else {}
    answer: dict[str, Any] = await socket.call("join", {"channel": channel, **marked, **more})
    return answer


async def until(socket: Socket, *names: Any, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads until these are there, by what is told; the members by their names."""
    members = dict(known or {})
    while sorted(map(str, (one["id"] for one in members.values()))) != sorted(map(str, names)):
        method, told = await socket.told()
        if method == "presence":
            apply(members, told)
    return members


def apply(members: dict[str, Any], told: Mapping[str, Any]) -> None:
    if "members" in told:
        members.clear()
    for one in (*told.get("members", ()), *told.get("joined", ()), *told.get("changed", ())):
        members[one["member"]] = one
    for name in told.get("left", ()):
        members.pop(name, None)


def of(answer: dict[str, Any]) -> dict[str, Any]:
    return {one["member"]: one for one in answer["members"]}


async def test_who_joins_is_told_who_is_there_and_the_others_that_he_came(tmp_path: Path) -> None:
    async with processes(tmp_path, 1) as (client,), client.acting("ann").websocket() as ann:
        first = await joined(ann, "ann", state={"mood": "fine"})
        assert first["count"] == 1
        assert first["members"] == [{"member": first["member"], "id": "ann", "state": {"mood": "fine"}}]
        async with client.acting("bob").websocket() as bob:
            second = await joined(bob, "bob")
            assert sorted(one["id"] for one in second["members"]) == ["ann", "bob"]
            members = await until(ann, "ann", "bob", known=of(first))
            await joined(bob, state=[1])  # again: it says something else of itself
            while members[second["member"]]["state"] != [1]:
                apply(members, (await ann.told())[1])
            await bob.call("leave", {"channel": "lobby"})
            await until(ann, "ann", known=members)


async def test_somebody_who_comes_back_in_time_has_never_been_away(tmp_path: Path) -> None:
    async with processes(tmp_path, 2, LASTING) as (one, other), one.acting("ann").websocket() as ann:
        first = await joined(ann, "ann")
        async with one.acting("bob").websocket() as bob:
            name = (await joined(bob, "bob"))["member"]
            members = await until(ann, "ann", "bob", known=of(first))
        for client in (one, other, one):  # back at any process
            async with client.acting("bob").websocket() as bob:
                assert (await joined(bob, "bob"))["member"] == name
        async with other.acting("cid").websocket() as cid:
            await joined(cid, "cid")
            told: list[Any] = []
            while "cid" not in [one["id"] for one in members.values()]:
                told.append((await ann.told())[1])
                apply(members, told[-1])
        assert not any("left" in one or name in repr(one.get("joined")) for one in told)


async def test_who_stays_away_has_left(tmp_path: Path) -> None:
    async with processes(tmp_path, 2) as (one, other), one.acting("ann").websocket() as ann:
        first = await joined(ann, "ann")
        async with other.acting("bob").websocket() as bob:
            await joined(bob, "bob")
            members = await until(ann, "ann", "bob", known=of(first))
        await until(ann, "ann", known=members)


async def test_processes_know_who_is_at_the_others_also_those_that_come_later(tmp_path: Path) -> None:
    async with processes(tmp_path, 3) as clients, AsyncExitStack() as stack:
        sockets = []
        for client, name in zip(clients, MARKS, strict=True):
            socket = await stack.enter_async_context(client.acting(name).websocket())
            sockets.append((socket, of(await joined(socket, name, state=name))))
        for socket, known in sockets:
            assert {one["state"] for one in (await until(socket, *MARKS, known=known)).values()} == set(MARKS)


async def test_events_go_to_all_processes_in_the_order_of_their_publisher(tmp_path: Path) -> None:
    async with (
        processes(tmp_path, 2) as (one, other),
        one.acting("ann").websocket() as ann,
        other.acting("bob").websocket() as bob,
    ):
        await joined(ann, "ann")
        first = await joined(bob, "bob")
        await until(bob, "ann", "bob", known=of(first))  # the processes hear each other
        for number in range(40):
            await ann.call("publish", {"channel": "lobby", "event": "n", "data": number})
        heard: list[int] = []
        while len(heard) < 40:
            method, told = await bob.told()
            heard += [told["data"]] if method == "event" else []  # who is there may be told in between
        assert heard == list(range(40))


class Flawed(UnixBus):
    """A bus that loses what it is asked to lose."""

    def __init__(self, url: str, loses: Callable[[int], bool]) -> None:
        super().__init__(url)
        self.loses = loses
        self.lost = 0
        self._count = 0

    async def publish(self, topic: str, payload: bytes = b"") -> None:
        self._count += 1
        if self.loses(self._count):
            self.lost += 1
        else:
            await super().publish(topic, payload)


@asynccontextmanager
async def flawed(tmp_path: Path, loses: Callable[[int], bool]) -> AsyncIterator[tuple[Client, Client, Flawed]]:
    """Clients of two processes, and what the second one tells the first by."""
    url, limits = kept_store(), Limits(channels=QUICK)
    bus = Flawed(f"unix://{tmp_path}/bus", loses)
    sound = App(Room, store=url, auth=who, bus=f"unix://{tmp_path}/bus", channels=[LOBBY], limits=limits)
    async with (
        Client(sound) as one,
        Client(App(Room, store=url, auth=who, bus=bus, channels=[LOBBY], limits=limits)) as other,
    ):
        yield one, other, bus


async def test_a_process_that_dies_is_forgotten_with_all_who_were_there_through_it(tmp_path: Path) -> None:
    async with (
        flawed(tmp_path, lambda _: False) as (one, other, bus),
        one.acting("ann").websocket() as ann,
        other.acting("bob").websocket() as bob,
    ):
        first = await joined(ann, "ann")
        await joined(bob, "bob")
        members = await until(ann, "ann", "bob", known=of(first))
        bus.loses = lambda _: True  # it says nothing any more, not even goodbye
        members = await until(ann, "ann", known=members)
        bus.loses = lambda _: False  # and it was only asleep
        await until(ann, "ann", "bob", known=members)


async def test_what_a_bus_loses_is_put_right_by_the_next_beats(tmp_path: Path) -> None:
    draws = Random(5)
    async with flawed(tmp_path, lambda _: draws.random() < 0.5) as (one, other, bus):
        async with one.acting("ann").websocket() as ann, AsyncExitStack() as stack:
            members = of(await joined(ann, "ann"))
            for _ in range(6):
                bob = await stack.enter_async_context(other.acting("bob").websocket())
                await joined(bob)
            await until(ann, "ann", *["bob"] * 6, known=members)
        assert bus.lost


async def test_events_that_a_bus_loses_are_lost_and_live_queries_are_not(tmp_path: Path) -> None:
    async with flawed(tmp_path, lambda _: True) as (one, other, bus):
        view = View(10.0)
        async with one.acting("ann").websocket() as ann:
            await joined(ann, "ann")
            await ann.subscribe("s", {"resource": "rooms"}, view)
            await view.ready()
            await other.app.emit("lobby", "lost", 1)
            await other.app.records.create(Room, id=5)
            await view.until(lambda rows: [row["id"] for row in rows] == [5])
            bus.loses = lambda _: False
            await other.app.emit("lobby", "heard", 2)
            while (told := await ann.told())[0] != "event":
                pass
            assert told[1]["event"] == "heard"


async def test_beyond_the_limit_only_their_number_is_told(tmp_path: Path) -> None:
    few = ChannelLimits(grace=0.05, beat=0.1, members=2)
    async with processes(tmp_path, 1, few) as (client,), client.acting("ann").websocket() as ann:
        await joined(ann, "ann")
        async with client.acting("bob").websocket() as bob:
            await joined(bob, "bob")
            while (await ann.told())[1]["count"] != 2:
                pass
            async with client.acting("cid").websocket() as cid:
                answer = await joined(cid, "cid")
                assert (answer["count"], "members" in answer) == (3, False)
                while (told := (await ann.told())[1])["count"] != 3:
                    pass
                assert told == {"channel": "lobby", "count": 3}
                await cid.call("leave", {"channel": "lobby"})
            while (told := (await ann.told())[1])["count"] != 2:
                pass
            assert sorted(one["id"] for one in told["members"]) == ["ann", "bob"]


# Attacks.


async def test_nobody_learns_who_is_in_a_channel_that_he_may_not_join(tmp_path: Path) -> None:
    rooms = Channel("rooms/{room}", of=Room, presence=True)
    async with processes(tmp_path, 1, QUICK, rooms) as (client,):
        await client.app.records.create(Room, id=8, open=False, owner="ann")
        async with client.acting("ann").websocket() as ann, client.acting("bob").websocket() as bob:
            await joined(ann, "ann", "rooms/8")
            try:
                answer: Any = await joined(bob, "bob", "rooms/8")
            except Exception as refusal:
                answer = refusal.__dict__
            assert "ann" not in repr(answer)
            await joined(ann, "ann", "rooms/8", state="x")
            await bob.call("ping")
            assert bob.notifications == []


async def test_who_may_be_there_no_more_is_not_shown_any_more(tmp_path: Path) -> None:
    rooms = Channel("rooms/{room}", of=Room, presence=True)
    async with processes(tmp_path, 1, LASTING, rooms) as (client,):
        await client.app.records.create(Room, id=7, owner="ann")
        async with client.acting("ann").websocket() as ann, client.acting("bob").websocket() as bob:
            known = of(await joined(ann, "ann", "rooms/7"))
            await joined(bob, "bob", "rooms/7")
            members = await until(ann, "ann", "bob", known=known)
            await client.app.records.update(Room, 7, open=False)
            await until(ann, "ann", known=members)
            while (await bob.told())[0] != "problem":
                pass


async def test_nobody_takes_the_place_of_another_by_his_mark(tmp_path: Path) -> None:
    async with (
        processes(tmp_path, 1) as (client,),
        client.acting("ann").websocket() as ann,
        client.acting("bob").websocket() as bob,
    ):
        hers = (await joined(ann, "ann"))["member"]
        assert (await joined(bob, "ann"))["member"] != hers
        await bob.call("leave", {"channel": "lobby"})
        async with client.acting("cid").websocket() as cid:
            assert hers in of(await joined(cid, "cid"))


async def test_a_mark_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    async with processes(tmp_path, 1) as (client,), client.websocket() as socket:
        for mark in ("short", 7, "x" * 101):
            answers = await asyncio.gather(
                socket.call("join", {"channel": "lobby", "as": mark}), return_exceptions=True
            )
            assert getattr(answers[0], "problem", {})["status"] == 400


async def test_channels_work_with_the_bus_of_one_process(tmp_path: Path) -> None:
    app = App(Room, store=kept_store(), auth=who, bus=LocalBus(), channels=[LOBBY])
    async with Client(app) as client, client.acting("ann").websocket() as ann:
        assert (await joined(ann, "ann"))["count"] == 1
        await app.emit("lobby", "e", 1)
        while (await ann.told())[0] != "event":
            pass
