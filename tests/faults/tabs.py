"""Many clients at once, each as a page in a tab: it holds one live query, and comes back when it loses its server."""

import asyncio
import base64
import contextlib
import os
import re
import resource
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

Rows = dict[Any, dict[str, Any]]
_PATIENCE = 60.0
_OTHER_FILES = 500
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)", re.IGNORECASE)
_EVENT_LINE = re.compile(rb"^(event|id|data): (.*)\n$")


class Refused(Exception):
    """The server takes nobody now, and says after how many seconds to come back."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"refused for {wait} s")
        self.wait = wait


class Tab(ABC):
    """One client of `/todos`.

    `rows` is what it shows; it has come back `resumed` times without losing that, and lost it `resets` times. It takes
    nothing while `takes` is not set, and has `taken` so many bytes. `query` are equalities that its records meet.
    `on_bye` is called when its server says goodbye, `on_whole` when it shows whole transactions, and no half of one.
    `codes` says how its connections ended: the code of a WebSocket's close, 0 for a stream that was whole, None for
    what was cut off.
    """

    def __init__(
        self, on_bye: "Callable[[Tab], None]" = lambda tab: None, query: Mapping[str, Any] | None = None
    ) -> None:
        self.query = dict(query or {})
        self.on_whole: Callable[[Tab], None] = lambda tab: None
        self.codes: list[int | None] = []
        self.rows: Rows = {}
        self.cursor = ""
        self.is_ready = False
        self.byes = self.resumed = self.resets = self.taken = 0
        self.takes = asyncio.Event()
        self.takes.set()
        self.on_bye = on_bye
        self.changed = asyncio.Event()

    async def stay(self, port: int) -> None:
        """Lives on a server until the connection is lost. Raises Refused, or OSError when there is no server."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        code = None
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                code = await self.live(reader, writer)
            self.codes.append(code)
        finally:
            self.is_ready = False
            writer.close()

    async def remain(self, port: int) -> None:
        """The same for whoever comes back when he was refused, after the time that he was told."""
        while True:
            try:
                return await self.stay(port)
            except Refused as refused:
                await asyncio.sleep(refused.wait)

    @abstractmethod
    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | None:
        """Speaks on a new connection for as long as it lasts; how it ended."""

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds of it."""
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def _bye(self) -> None:
        self.byes += 1
        self.on_bye(self)


class SocketTab(Tab):
    """A WebSocket."""

    key = ""

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | None:
        nonce = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: crudite.v1\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        _accept(head, b"101")
        resume = {"cursor": self.cursor, "key": self.key} if self.cursor else {}
        params = {"sub": "s", "resource": "todos", "query": {"where": self.query} if self.query else {}, **resume}
        self._say(writer, 1, msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}))
        self._held: list[Mapping[str, Any]] = []
        self._is_in, self._retry_in = False, 0
        while await self.takes.wait():
            kind, length = await reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await reader.readexactly(8))
            payload = await reader.readexactly(length)
            self.taken += length
            if kind == 0x88:
                code = int.from_bytes(payload[:2], "big")
                if code == 1013:
                    raise Refused(self._retry_in / 1000)
                return code
            if kind == 0x89:
                self._say(writer, 10, payload)
            elif kind == 0x81:
                told = msgspec.json.decode(payload)
                for message in told if isinstance(told, list) else [told]:
                    self._take(message)
                self.changed.set()
        return None

    def _say(self, writer: asyncio.StreamWriter, kind: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
        writer.write(bytes((0x80 | kind,)) + head + bytes(4) + payload)  # masked by zeros, which change nothing

    def _take(self, message: Mapping[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case None if "error" in message and message["error"]["data"]["status"] == 503:
                raise Refused(message["error"]["data"].get("retry_in", 1000) / 1000)
            case None:
                assert "error" not in message, message
                self._is_in = True
                self.key = message["result"]["key"]
                self.resumed += message["result"]["resumed"]
                if not message["result"]["resumed"]:
                    self.rows = {}
            case "reset":
                self.rows, self.is_ready = {}, False
                self._held.clear()
                self.resets += 1
            case "snapshot":
                self.rows |= {row["id"]: row for row in params["records"]}
            case "frame" if self.is_ready or "sub" in params:
                self._held.append(params)
            case "commit":
                for frame in self._held:
                    self._apply(frame)
                self._held.clear()
                self.cursor = params["cursor"] if self.is_ready else self.cursor
                if self.is_ready:
                    self.on_whole(self)
            case "ready":
                self.cursor, self.is_ready = params["cursor"], True
                self.on_whole(self)
            case "bye":
                self._retry_in = params["retry_in"]
                if self._is_in:  # a refusal begins with it too
                    self._bye()

    def _apply(self, frame: Mapping[str, Any]) -> None:
        for key in frame.get("removed", ()):
            self.rows.pop(key, None)
        self.rows |= {row["id"]: row for row in frame.get("added", ())}
        for change in frame.get("changed", ()):
            self.rows[change["key"]] = {**self.rows[change["key"]], **change["fields"]}


class StreamTab(Tab):
    """An event stream."""

    async def live(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | None:
        resume = f"Last-Event-ID: {self.cursor}\r\n" if self.cursor not in ("", "0") else ""
        if not resume:
            self.rows = {}
        asked = f"?{urlencode(self.query)}" if self.query else ""
        writer.write(f"GET /todos/subscribe{asked} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        _accept(head, b"200")
        is_resuming = bool(resume)
        event: dict[bytes, bytes] = {}
        retries = 0
        while line := await reader.readline():
            await self.takes.wait()
            self.taken += len(line)
            if found := _EVENT_LINE.match(line):
                event[found[1]] = found[2]
            elif line.startswith(b"retry: "):
                retries += 1
                if retries == 2:  # the first one greets
                    self._bye()
            elif line == b"\n":
                before, self.cursor = self.cursor, event.get(b"id", self.cursor.encode()).decode()
                kind = event.get(b"event", b"").decode()
                is_resuming = is_resuming and kind != "reset"
                self._take(kind, msgspec.json.decode(event.get(b"data", b"null")), is_resuming)
                if self.is_ready and self.cursor != before:
                    self.on_whole(self)
                event = {}
                self.changed.set()
            elif line == b"0\r\n":
                return 0
        return None

    def _take(self, kind: str, data: Any, is_resuming: bool) -> None:
        match kind:
            case "added":
                self.rows[data["id"]] = data
            case "changed":
                self.rows[data["key"]] = {**self.rows[data["key"]], **data["fields"]}
            case "removed":
                self.rows.pop(data["key"], None)
            case "reset":
                self.rows, self.is_ready = {}, False
                self.resets += 1
            case "ready":
                self.is_ready = True
                self.resumed += is_resuming


def _accept(head: bytes, status: bytes) -> None:
    if head.startswith(b"HTTP/1.1 503"):
        told = _RETRY_AFTER.search(head)
        raise Refused(float(told[1]) if told else 1.0)
    assert head.startswith(b"HTTP/1.1 " + status), head


@contextlib.contextmanager
def room_for(clients: int) -> Iterator[None]:
    """So many connections may be open here, and in every server that is started in the block: systems begin with a
    limit of a few hundred files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < clients + _OTHER_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (clients + _OTHER_FILES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def served(folder: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`crudite run todos.py` in a process of its own once it answers, and its port. It is killed at the end."""
    crudite = Path(sys.executable).with_name("crudite")
    process = await asyncio.create_subprocess_exec(
        crudite, "run", "todos.py", "--port", "0", *options, cwd=folder, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            while line := (await process.stdout.readline()).decode():
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise AssertionError("it has ended, having said:\n" + "".join(said))
        yield process, int(found[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
