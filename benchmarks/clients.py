"""What clients say and count: WebSocket, Socket.IO, server-sent events, and one that writes over HTTP.

An event counts when a real client could show it: in Crudite's protocol that is at the `commit` after its frame.
"""

import json
import re
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from benchmarks.generator import length_of, message
from benchmarks.servers import BenchmarkError, check_record
from benchmarks.swarm import Client

EVENT = b'"version":'  # once in every record that is added, and in the fields of every one that changes
FRAME, COMMIT, READY = b'"method":"frame"', b'"method":"commit"', b'"method":"ready"'
CURSOR = re.compile(rb'"cursor":"([^"]*)"')


class Tally:
    """What all subscribers together have applied, when the last of it was, and what an event looked like."""

    def __init__(self) -> None:
        self.seen = 0
        self.last = 0.0
        self.sample = b""

    def add(self, events: int, payload: bytes) -> None:
        self.seen += events
        self.last = time.perf_counter()
        self.sample = payload

    def check(self, where: str) -> None:
        """BenchmarkError unless the last event held a record as all peers send it."""
        at = self.sample.find(EVENT)
        record = self.sample[self.sample.rfind(b"{", 0, at) : self.sample.find(b"}", at) + 1]
        check_record(json.loads(record), where)


class Subscriber(Client):
    """A client that counts events into a tally that it shares."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.events = 0

    def applied(self, events: int, payload: bytes) -> None:
        self.events += events
        self.tally.add(events, payload)


class WebSocket(Client):
    """The WebSocket protocol of a client (RFC 6455); `path` and `protocol` are those of its handshake."""

    path = b"/ws"
    protocol = b""

    def opened(self) -> None:
        self.is_upgraded = False
        offer = b"Sec-WebSocket-Protocol: " + self.protocol + b"\r\n" if self.protocol else b""
        self.send(
            b"GET " + self.path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + offer + b"\r\n"
        )

    def take(self, data: bytes) -> int:
        at = 0
        if not self.is_upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return 0
            if not data.startswith(b"HTTP/1.1 101"):
                raise BenchmarkError(f"the WebSocket was refused: {data[:200]!r}")
            self.is_upgraded, at = True, end + 4
            self.upgraded()
        end = len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start], "big")
            if end < start + length:
                break
            kind, payload = data[at] & 15, data[start : start + length]
            at = start + length
            if kind == 1:
                self.text(payload)
            elif kind == 9:
                self.send(masked(10, payload))
            elif kind == 8:
                self.ended(payload)
        return at

    @abstractmethod
    def upgraded(self) -> None:
        """The handshake is done."""

    @abstractmethod
    def text(self, payload: bytes) -> None:
        """A text message has come."""

    def ended(self, payload: bytes) -> None:
        """The server has said that it closes, and why (a code of two bytes, then words)."""
        raise BenchmarkError(f"the server closed a WebSocket: {payload[2:]!r}")


class WebSocketClient(Subscriber, WebSocket):
    """A client that hears a broadcast."""

    def upgraded(self) -> None:
        self.is_ready = True

    def text(self, payload: bytes) -> None:
        self.applied(payload.count(EVENT), payload)


class SocketIoClient(WebSocketClient):
    """A client of Socket.IO (protocol 5 over Engine.IO 4), without polling first."""

    path = b"/socket.io/?EIO=4&transport=websocket"

    def upgraded(self) -> None:
        pass

    def text(self, payload: bytes) -> None:
        match payload[:1]:
            case b"0":
                self.send(masked(1, b"40"))
            case b"2":
                self.send(masked(1, b"3"))
            case _ if payload.startswith(b"40"):
                self.is_ready = True
            case _ if payload.startswith(b"42"):
                self.applied(payload.count(EVENT), payload)
            case _:
                raise BenchmarkError(f"an unexpected message: {payload[:200]!r}")


class CruditeClient(WebSocketClient):
    """A client of Crudite's WebSocket with any number of subscriptions, by name; it may end and come back.

    `subscriptions` is what `subscribe` is called with. `note` is called with every message that holds events.
    """

    protocol = b"crudite.v1"

    def __init__(
        self, tally: Tally, subscriptions: list[dict[str, Any]], note: Callable[[bytes], None] | None = None
    ) -> None:
        super().__init__(tally)
        self.subscriptions = subscriptions
        self.note = note
        self.keys: dict[str, str] = {}
        self.latest = b""
        self.resumed = self.resets = 0

    def upgraded(self) -> None:
        self.held = 0
        self.pending = len(self.subscriptions)
        self.is_ready = not self.pending
        cursor = CURSOR.findall(self.latest)
        calls = []
        for number, params in enumerate(self.subscriptions):
            resuming = {"cursor": cursor[-1].decode(), "key": self.keys[params["sub"]]} if cursor else {}
            calls.append({"jsonrpc": "2.0", "id": number, "method": "subscribe", "params": {**params, **resuming}})
        for first in range(0, len(calls), 100):
            self.send(masked(1, json.dumps(calls[first : first + 100]).encode()))

    def text(self, payload: bytes) -> None:
        if not self.is_ready:
            self.joining(payload)
            return
        is_frame, is_commit = FRAME in payload, COMMIT in payload
        if is_frame:
            self.held += payload.count(EVENT)
            if self.note:
                self.note(payload)
        if is_commit:
            self.latest = payload
            if self.held:
                self.applied(self.held, payload)
                self.held = 0
        elif not is_frame and b'"method":"ping"' not in payload and b'"method":"bye"' not in payload:
            raise BenchmarkError(f"an unexpected message: {payload[:200]!r}")

    def joining(self, payload: bytes) -> None:
        """Answers, snapshots, what was missed, `ready`: one by one, as a client reads them."""
        told = json.loads(payload)
        for each in told if isinstance(told, list) else [told]:
            params = each.get("params", {})
            match each.get("method"):
                case None if "error" in each:
                    raise BenchmarkError(f"the subscription was refused: {each}")
                case None:
                    self.keys[each["result"]["sub"]] = each["result"]["key"]
                    self.resumed += each["result"]["resumed"]
                case "ready":
                    self.latest = payload
                    self.pending -= 1
                case "reset":
                    self.resets += 1
                case "problem":
                    raise BenchmarkError(f"the subscription ended: {params}")
                case "frame":
                    self.applied(len(params.get("added", ())) + len(params.get("changed", ())), payload)
        self.is_ready = not self.pending


class SseClient(Subscriber):
    """A client of server-sent events that counts `added` and `changed` after `ready`."""

    def __init__(self, tally: Tally, path: str) -> None:
        super().__init__(tally)
        self.path = path

    def opened(self) -> None:
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
        self.send(head.encode("ascii"))

    def take(self, data: bytes) -> int:
        # Whole events only, so that nothing is counted before a client could show it.
        end = data.rfind(b"\n\n") + 2
        if not self.is_ready:
            if len(data) >= 12 and not data.startswith(b"HTTP/1.1 200"):
                raise BenchmarkError(f"the stream was refused: {data[:200]!r}")
            start = data.find(b"event: ready\n")
            if start < 0 or end < start:
                return 0
            self.is_ready = True
            data = data[start:end]
        elif end < 2:
            return 0
        else:
            data = data[:end]
        if b"event: reset\n" in data:
            raise BenchmarkError("the server reset a stream")
        events = data.count(EVENT)
        if events:
            self.applied(events, data)
        return end


class Writer(Client):
    """A connection that sends one write at a time; `answered_at` tells when its answer had arrived.

    `again` is called with every answer, and may send the next.
    """

    def __init__(self, again: Callable[["Writer"], None] | None = None) -> None:
        super().__init__()
        self.again = again
        self.answers = 0
        self.sent_at = self.answered_at = 0.0

    def opened(self) -> None:
        self.is_ready = True

    def write(self, request: bytes) -> None:
        """Send a request and be no longer ready until it is answered."""
        self.is_ready = False
        self.sent_at = time.perf_counter()
        self.send(request)

    def take(self, data: bytes) -> int:
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + length_of(data, head):
            return 0
        if not 200 <= int(data[9:12]) < 300:
            self.refused(data)
            return len(data)
        self.answered(data)
        self.answered_at = time.perf_counter()
        self.answers += 1
        self.is_ready = True
        if self.again:
            self.again(self)
        # One request is in flight, so what has arrived is one response and nothing more.
        return len(data)

    def answered(self, response: bytes) -> None:
        """A write has been done."""

    def refused(self, response: bytes) -> None:
        """A write has not been done."""
        raise BenchmarkError(f"a write was answered {response[:400]!r}")


def creating(fields: object) -> bytes:
    """The request that creates one item."""
    return message("POST", "/items", json.dumps(fields).encode())


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame with the mask 0, which leaves the payload as it is (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload
