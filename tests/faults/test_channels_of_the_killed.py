"""A server that is killed while people are signed in there and present in a channel: what the other servers know."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.services.http import client_at
from tests.services.stores import kept_store
from tests.services.workers import PATIENCE, Parent, started

PROGRAM = """
from crudite import App, Channel, ChannelLimits, Email, Field, Limits, Password, Resource, Sessions, allow, me
from crudite.resources.writing.passwords import Hashing

class Account(Resource, rules={{"read": allow.where(id=me.id), "create": allow.everyone}}):
    email: Email = Field(unique=True)
    password: Password

app = App(
    Account, auth=Sessions(Account, hashing=Hashing(passes=1, memory=8, lanes=1)), bus={bus!r},
    channels=[Channel("lobby", rules={{"join": allow.signed_in, "publish": allow.signed_in}}, presence=True)],
    limits=Limits(channels=ChannelLimits(grace={grace}, beat={beat})),
)
"""
BEAT, GRACE = 0.5, 0.5
FORGOTTEN = 3 * BEAT
"""Seconds after which docs/reference/channels.md says that a process that has died is forgotten."""


class Person:
    """Somebody with an account, and how he is signed in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.account = ""
        self.token = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def sign_up(self, url: str) -> None:
        """Makes the account, and signs in."""
        who = {"email": f"{self.name}@example.org", "password": "correct horse battery"}
        async with client_at(url, timeout=PATIENCE) as client:
            made = await client.post("/accounts", json=who)
            assert made.status_code == 201, made.text
            begun = await client.post("/log-in", json={**who, "bearer": True})
            assert begun.status_code == 200, begun.text
            self.account, self.token = begun.json()["account"], begun.json()["token"]

    async def call(self, url: str, method: str, path: str, given: Any = None) -> Any:
        """What a server answers him; the status where it refuses."""
        async with client_at(url, timeout=PATIENCE, headers=self.headers) as client:
            answer = await client.request(method, path, json=given)
            return answer.json() if answer.status_code == 200 else answer.status_code

    @contextlib.asynccontextmanager
    async def present(self, url: str) -> AsyncIterator["Presence"]:
        """Is in the lobby at a server while the block lasts."""
        where = url.replace("http", "ws", 1) + "/ws"
        async with websockets.connect(where, additional_headers=self.headers, compression=None) as socket:
            presence = Presence(socket)
            await presence.join()
            yield presence


class Presence:
    """Who is in the lobby, as one who is there is told: accounts by the names of members."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.members: dict[str, str] = {}
        self.problem: Any = None

    async def join(self) -> None:
        await self.socket.send(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "join", "params": {"channel": "lobby"}})
        )
        while "id" not in (heard := await self._next()):
            self._take(heard)
        assert "result" in heard, heard
        self.members |= {one["member"]: one["id"] for one in heard["result"]["members"]}

    async def until(self, *people: Person) -> None:
        """Reads until just these are there."""
        while sorted(self.members.values()) != sorted(person.account for person in people):
            self._take(await self._next())

    async def _next(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    def _take(self, heard: Any) -> None:
        for message in heard if isinstance(heard, list) else [heard]:
            told = message.get("params", {})
            if message["method"] == "presence":
                listed = (*told.get("members", ()), *told.get("joined", ()), *told.get("changed", ()))
                if "members" in told:
                    self.members.clear()
                self.members |= {one["member"]: one["id"] for one in listed}
                for name in told.get("left", ()):
                    self.members.pop(name, None)


@pytest.fixture(params=["unix", "nats"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the servers tell each other; of the first, the one that is killed is the hub."""
    return f"unix://{tmp_path}/bus" if request.param == "unix" else f"{request.getfixturevalue('nats')}?prefix=killed"


@contextlib.asynccontextmanager
async def server(folder: Path, store: str) -> AsyncIterator[Parent]:
    """One process that serves."""
    async with started(folder, "app.py", "--store", store, "--grace", "2") as parent:
        parent.url = (await parent.until(r"at (http://127\.0\.0\.1:\d+)"))[1]
        yield parent


async def test_a_killed_server_takes_its_members_along_and_nobodys_session(tmp_path: Path, bus: str) -> None:
    (tmp_path / "app.py").write_text(PROGRAM.format(bus=bus, grace=GRACE, beat=BEAT))
    store, ann, bob, cid = kept_store(), Person("ann"), Person("bob"), Person("cid")
    async with server(tmp_path, store) as first, server(tmp_path, store) as second:
        for person, url in ((ann, first.url), (bob, second.url), (cid, first.url)):
            await person.sign_up(url)
        async with bob.present(second.url) as seen:
            async with ann.present(first.url), cid.present(first.url):
                await seen.until(ann, bob, cid)
                first.process.kill()
                killed = time.monotonic()
                await seen.until(bob)
                assert time.monotonic() - killed < FORGOTTEN + GRACE + 2.0  # the machine is busy
            await first.ended()
            assert (await ann.call(second.url, "GET", "/session"))["account"] == ann.account
            async with ann.present(second.url):
                await seen.until(ann, bob)
            await seen.until(bob)
            # what the dead one does not hear: one logs out everywhere, the other stays
            assert await ann.call(second.url, "POST", "/log-out-everywhere", {}) == {"ended": 1}
            async with server(tmp_path, store) as again:
                assert await ann.call(again.url, "GET", "/session") in (None, 401)
                assert await ann.call(again.url, "GET", f"/accounts/{ann.account}") == 401
                with pytest.raises((AssertionError, websockets.InvalidStatus)):
                    async with ann.present(again.url):
                        pass
                assert (await cid.call(again.url, "GET", "/session"))["account"] == cid.account
                async with cid.present(again.url) as late:
                    await seen.until(bob, cid)
                    await late.until(bob, cid)
