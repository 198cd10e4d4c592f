"""A client that takes a kilobyte while others take eighty: nobody waits for it, it costs a bounded amount of memory,
and it ends with what the others hold, or is closed as slow and goes on from where it was."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from crudite import App, Record, allow
from tests.faults.tabs import SocketTab, StreamTab, Tab
from tests.services.runner import Kind, running
from tests.services.stores import fresh_store

PATIENCE = 60.0
ROUNDS, SIZE, SIP = 160, 80_000, 1_024  # half of which is more than the buffers of any system hold
MOST_IN_TRANSPORT = 2 * SIZE + (1 << 16)


class Todo(Record[int], rules=allow.everyone):
    title: str = ""


class Trickle:
    """A connection that takes as many bytes as it is told to, from a socket that holds next to nothing."""

    def __init__(self, port: int) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 24)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    def write(self, data: bytes) -> None:
        """Sends what little it has to say."""
        assert self._socket.send(data) == len(data)

    async def sip(self, most: int = SIP) -> None:
        """Takes so many bytes, or as many as there are, and has them looked at."""
        async with asyncio.timeout(PATIENCE):
            data = await asyncio.get_running_loop().sock_recv(self._socket, most)
        if data:
            self.reader.feed_data(data)
        else:
            self.reader.feed_eof()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()


@asynccontextmanager
async def trickling(tab: Tab, port: int) -> AsyncIterator[Trickle]:
    """A client on such a connection; it has asked for what it keeps live, and taken nothing yet."""
    trickle = Trickle(port)
    living = asyncio.create_task(tab.live(trickle.reader, cast("asyncio.StreamWriter", trickle)))
    try:
        yield trickle
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        trickle.close()


@asynccontextmanager
async def served(kind: Kind) -> AsyncIterator[tuple[App, int, Tab]]:
    """A served application with one record, and a quick client of it."""
    quick = SocketTab()
    async with App(Todo, store=fresh_store()) as app, running(app, kind) as port, asyncio.TaskGroup() as tasks:
        await app.records.create(Todo, id=1, title="0 ")
        living = tasks.create_task(quick.stay(port))
        await quick.until(lambda: quick.is_ready)
        yield app, port, quick
        living.cancel()


def number(tab: Tab) -> int:
    """Which of all writes it shows."""
    return int(tab.rows[1]["title"].split()[0]) if 1 in tab.rows else -1


def waiting(app: App) -> int:
    """How many bytes wait for the connection for which most do, in its outbox and in front of its socket."""
    sizes = [0]
    for connection in app.engine.connections:
        sink: Any = connection.outbox._sink
        transport = getattr(sink, "transport", None)
        sizes.append(connection.outbox.size + (transport.get_write_buffer_size() if transport is not None else 0))
    return max(sizes)


@pytest.mark.parametrize("kind", ["ours", "plain"])
@pytest.mark.parametrize("speaks", [SocketTab, StreamTab], ids=["websocket", "sse"])
async def test_it_sees_some_states_in_order_and_the_last_one(kind: Kind, speaks: type[Tab]) -> None:
    slow = speaks()
    async with served(kind) as (app, port, quick), trickling(slow, port) as trickle:
        while not slow.is_ready:
            await trickle.sip()
        seen, most = [0], 0
        for written in range(1, ROUNDS + 1):
            await app.records.update(Todo, 1, title=f"{written} " + "x" * SIZE)
            await quick.until(lambda written=written: number(quick) == written)  # type: ignore[misc]
            await trickle.sip()
            most = max(most, waiting(app))
            while written % (ROUNDS // 2) == 0 and number(slow) < written:  # it takes all for once
                await trickle.sip(1 << 16)
                seen.append(number(slow))
            seen.append(number(slow))
        assert seen == sorted(seen)
        assert slow.rows == quick.rows
        assert most <= app.engine.limits.outbox + MOST_IN_TRANSPORT
    assert (slow.resets, slow.byes, app.engine.metrics.slow_closes, app.engine.metrics.resets.total()) == (0, 0, 0, 0)
    assert app.engine.metrics.catch_ups >= 2


class AskingTab(SocketTab):
    """One that asks for more than it takes. It `is_over` once it has been told that it is closed."""

    is_over = False

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super().live(reader, writer)
        self.is_over = True

    def ask(self, trickle: Trickle) -> None:
        """Asks for all there is."""
        asked = {"jsonrpc": "2.0", "id": "more", "method": "todos.list"}
        self._say(cast("asyncio.StreamWriter", trickle), 1, json.dumps(asked).encode())

    def _take(self, message: Mapping[str, Any]) -> None:
        if message.get("id") != "more":
            super()._take(message)


@pytest.mark.parametrize("kind", ["ours", "plain"])
async def test_one_that_asks_for_more_than_it_takes_is_closed_as_slow_and_goes_on_from_where_it_was(kind: Kind) -> None:
    slow = AskingTab()
    async with served(kind) as (app, port, quick):
        async with trickling(slow, port) as trickle:
            while not slow.is_ready:
                await trickle.sip()
            written = 0
            while not app.engine.metrics.slow_closes:
                written += 1
                slow.ask(trickle)
                await app.records.update(Todo, 1, title=f"{written} " + "x" * SIZE)
                await quick.until(lambda: number(quick) == written)  # noqa: B023
                await trickle.sip()
                assert waiting(app) <= app.engine.limits.outbox + MOST_IN_TRANSPORT
            while not slow.is_over:
                await trickle.sip(1 << 16)
        assert slow.rows != quick.rows
        await app.records.create(Todo, id=2, title="while it was away")
        async with asyncio.TaskGroup() as tasks:
            again = tasks.create_task(slow.stay(port))
            await slow.until(lambda: slow.is_ready and 2 in slow.rows)
            await quick.until(lambda: 2 in quick.rows)
            assert slow.rows == quick.rows
            again.cancel()
    assert (slow.resumed, slow.resets, app.engine.metrics.slow_closes) == (1, 0, 1)
