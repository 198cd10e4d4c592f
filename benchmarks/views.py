"""Clients that keep what a browser would keep: every record of their live queries, as the protocol tells it."""

import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.clients import WebSocket, masked
from benchmarks.servers import BenchmarkError
from benchmarks.swarm import Client

SLOW, GOING_AWAY, INTERNAL, TRY_AGAIN = 4408, 1001, 1011, 1013
SETTLED_SECONDS = 5.0  # after which a client that came back, or went on reading, is up to date


@dataclass(frozen=True)
class Query:
    """One question in its two spellings: as JSON and as the query string of a URL."""

    json: dict[str, Any]
    url: str

    @property
    def is_window(self) -> bool:
        """Whether old records enter the set when others leave it."""
        return "limit" in self.json


@dataclass
class View:
    """A live query as its client holds it: records by key, and frames that wait for their commit."""

    query: Query
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: list[dict[str, Any]] = field(default_factory=list)
    group: str = ""
    key: str = ""
    cursor: str = ""
    is_ready: bool = False

    def void(self) -> None:
        self.records.clear()
        self.held.clear()
        self.cursor, self.is_ready = "", False

    def apply(self) -> None:
        """What is held becomes what is seen."""
        for frame in self.held:
            for record in frame.get("added", ()):
                self.records[record["id"]] = record
            for change in frame.get("changed", ()):
                self.change(change)
            for key in frame.get("removed", ()):
                self.records.pop(key, None)
        self.held.clear()

    def change(self, change: dict[str, Any]) -> None:
        if record := self.records.get(change["key"]):
            record.update(change["fields"])
            for name in change.get("absent", ()):
                record.pop(name, None)


@dataclass
class Notes:
    """What all viewers note: how late events were (seconds), why sets began anew, how connections ended."""

    lags: list[float] = field(default_factory=list)
    resets: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    resumed: int = 0


class Viewer(Client):
    """A client with views. `come_back` is called when its connection has ended without its doing."""

    def __init__(self, queries: list[Query], notes: Notes, come_back: Callable[["Viewer"], None]) -> None:
        super().__init__()
        self.views = [View(query) for query in queries]
        self.notes = notes
        self.come_back = come_back
        self.settles_at = 0.0
        self.is_paused = False

    def lost(self) -> None:
        self.is_ready = False
        self.come_back(self)

    def leave(self) -> None:
        """The server cannot serve now: end the connection, and come back as after a loss."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def late(self, view: View, record: dict[str, Any]) -> None:
        """Note how late an event was, unless this client is a slow reader, had been away or had not read."""
        now = time.time()
        is_told = "updated_at" in record and not view.query.is_window
        if is_told and not self.receive_buffer and now > self.settles_at:
            stamp = datetime.fromisoformat(record["updated_at"].removesuffix("Z")).replace(tzinfo=UTC)
            self.notes.lags.append(now - stamp.timestamp())

    def unsettle(self) -> None:
        self.settles_at = time.time() + SETTLED_SECONDS


class SocketViewer(Viewer, WebSocket):
    """A client over WebSocket with several live queries on one connection."""

    protocol = b"crudite.v1"

    def upgraded(self) -> None:
        self.unsettle()
        calls = []
        for number, view in enumerate(self.views):
            view.is_ready, view.group = False, ""
            view.held.clear()
            params: dict[str, Any] = {"sub": f"s{number}", "resource": "items", "query": view.query.json}
            if view.cursor:
                params |= {"cursor": view.cursor, "key": view.key}
            else:
                view.void()
            calls.append({"jsonrpc": "2.0", "id": number, "method": "subscribe", "params": params})
        self.send(masked(1, json.dumps(calls).encode()))

    def text(self, payload: bytes) -> None:
        told = json.loads(payload)
        for message in told if isinstance(told, list) else [told]:
            self.hear(message)
        self.is_ready = all(view.is_ready for view in self.views)

    def hear(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "frame":
                self.hold(params)
            case "commit":
                self.commit(params["cursor"])
            case "snapshot":
                view = self.named(params)
                view.records.update({record["id"]: record for record in params["records"]})
            case "ready":
                view = self.named(params)
                view.is_ready, view.cursor = True, params["cursor"]
            case "reset":
                self.named(params).void()
                self.notes.resets[params["reason"]] += 1
            case None if "result" in message:
                result = message["result"]
                view = self.named(result)
                if not result["resumed"]:
                    view.void()
                view.group, view.key = result["group"], result["key"]
                self.notes.resumed += result["resumed"]
            case "ping" | "bye":
                pass
            case None if message["error"]["data"]["status"] == 503:
                self.leave()
            case _:
                raise BenchmarkError(f"a viewer was told: {message}")

    def named(self, params: dict[str, Any]) -> View:
        return self.views[int(params["sub"][1:])]

    def hold(self, frame: dict[str, Any]) -> None:
        if "sub" in frame:
            self.named(frame).held.append(frame)
            return
        # The queries of one connection differ, so that no two views share a record, which is changed in place.
        for view in self.views:
            if view.is_ready and view.group == frame["group"]:
                view.held.append(frame)
                for record in frame.get("added", ()):
                    self.late(view, record)
                for change in frame.get("changed", ()):
                    self.late(view, change["fields"])

    def commit(self, cursor: str) -> None:
        for view in self.views:
            view.apply()
            if view.is_ready:
                view.cursor = cursor

    def ended(self, payload: bytes) -> None:
        (code,) = struct.unpack(">H", payload[:2])
        # A reader that has stopped for long answers no ping, and is given up.
        is_silent = code == INTERNAL and payload[2:] == b"keepalive ping timeout"
        if code not in (SLOW, GOING_AWAY, TRY_AGAIN) and not is_silent:
            raise BenchmarkError(f"a viewer's connection ended with {code}: {payload[2:]!r}")
        self.notes.closes[code] += 1


class StreamViewer(Viewer):
    """A client over server-sent events: one live query; it comes back with `Last-Event-ID`."""

    def opened(self) -> None:
        self.unsettle()
        self.has_begun, self.body = False, b""
        (view,) = self.views
        view.is_ready = False
        if view.cursor in ("", "0"):
            view.void()
        last = f"Last-Event-ID: {view.cursor}\r\n" if view.cursor else ""
        head = f"GET /items/subscribe?{view.query.url} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        self.send(f"{head}{last}\r\n".encode("ascii"))

    def take(self, data: bytes) -> int:
        at = 0
        if not self.has_begun:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return 0
            if data.startswith(b"HTTP/1.1 503"):
                self.leave()
                return len(data)
            if not data.startswith(b"HTTP/1.1 200"):
                raise BenchmarkError(f"the stream was refused: {data[:400]!r}")
            self.has_begun, at = True, end + 4
        at = self.chunks(data, at)
        *events, self.body = self.body.split(b"\n\n")
        for event in events:
            self.event(event)
        self.is_ready = self.views[0].is_ready
        return at

    def chunks(self, data: bytes, at: int) -> int:
        """Add the whole chunks from a place on to the body; the place after them (RFC 9112, 7.1)."""
        while (line := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:line], 16)
            end = line + 2 + size
            if len(data) < end + 2:
                break
            self.body += data[line + 2 : end]
            at = end + 2
        return at

    def event(self, lines: bytes) -> None:
        told = dict(line.split(": ", 1) for line in lines.decode().splitlines() if ": " in line and line[0] != ":")
        data = json.loads(told["data"]) if "data" in told else {}
        (view,) = self.views
        match told.get("event"):
            case "added":
                view.records[data["id"]] = data
                if view.is_ready:
                    self.late(view, data)
            case "changed":
                view.change(data)
                if view.is_ready:
                    self.late(view, data["fields"])
            case "removed":
                view.records.pop(data["key"], None)
            case "ready":
                view.is_ready = True
            case "reset":
                view.void()
                self.notes.resets[data["reason"]] += 1
            case None:
                pass
            case _:
                raise BenchmarkError(f"a viewer was told: {told}")
        view.cursor = told.get("id", view.cursor)
