"""Clients that do what the wire's documentation says and nothing else, and report every moment at which it says that
what they hold is a whole state."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from crudite.testing import Line
from crudite.testing.asgi import Exchange, make_scope
from tests.model.oracle import Asked, Row, Who

_META = ("version", "created_at", "updated_at")


@dataclass(eq=False)
class Held:
    """One subscription as its client holds it."""

    name: str
    asked: Asked
    who: Who
    records: dict[str, Row] = field(default_factory=dict)
    value: Any = None
    order: list[str] | None = None
    is_ready: bool = False
    is_whole: bool = False  # what is held is the set at the cursor, ready or, after a cut, waiting to be so again
    is_over: bool = False
    lane: str = "exact"
    group: str | None = None
    key: str | None = None
    cursor: str | None = None

    def clear(self) -> None:
        """What is held is void."""
        self.records, self.value, self.order, self.is_ready, self.is_whole = {}, None, None, False, False

    def apply(self, kind: str, data: Any) -> None:
        """One event."""
        match kind:
            case "added":
                self.records[data["id"]] = dict(data)
            case "removed":
                self.records.pop(data["key"], None)
            case "changed":
                row = self.records.get(data["key"])
                if row is None:
                    raise Violation(f"{self.name}: a change of {data['key']}, which is not held: {data}")
                row.update(data["fields"])
                for name in data.get("absent", ()):
                    row.pop(name, None)
            case "order":
                self.order = data["keys"]
            case "value":
                self.value = data["value"]

    def apply_frame(self, frame: Row) -> None:
        """A whole frame, as a WebSocket brings it."""
        for key in frame.get("removed", ()):
            self.apply("removed", {"key": key})
        for record in frame.get("added", ()):
            self.apply("added", record)
        for changed in frame.get("changed", ()):
            self.apply("changed", changed)
        for kind, data in (("order", {"keys": frame.get("order")}), ("value", frame)):
            if kind in frame:
                self.apply(kind, data)

    def copy(self) -> "Shown":
        """What it holds now."""
        rows = {key: _plain(row) for key, row in self.records.items()}
        return Shown(self, self.who, rows, self.value, self.order)


def _plain(value: Any) -> Any:
    """A record without what no model knows, and so whatever is included in it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name not in _META}
    return value


@dataclass(frozen=True)
class Shown:
    """What a subscription held at one moment, without the fields that no model knows."""

    held: Held
    who: Who
    records: dict[str, Row]
    value: Any
    order: list[str] | None

    def equals(self, answer: Any) -> bool:
        """Whether that is the answer that the oracle gives."""
        if self.held.asked.is_value:
            return bool(self.value == answer)
        if self.records != {row["id"]: row for row in answer}:
            return False
        return self.order is None or self.order == [row["id"] for row in answer]


class Violation(AssertionError):
    """The promise is broken."""


Report = Callable[[list[Held]], None]
"""Called with subscriptions of one connection that now stand at one position."""
Identify = Callable[[str | None], Who]
"""Who shows a token."""
REFUSED = "wrong"
"""A token that is nobody's."""
FLEETING = "~"
"""How a token ends that expires."""


class Client:
    """Somebody with one connection at a time."""

    def __init__(self, app: Any, number: int, report: Report, identify: Identify) -> None:
        self.app = app
        self.number = number
        self.token: str | None = "ann"
        self.subs: dict[str, Held] = {}
        self.too_large: list[Shown] = []  # subscriptions that were ended since they hold too much
        self.line = Line()
        self.exchange: Exchange | None = None
        self.failure: BaseException | None = None
        self.told = asyncio.Event()
        self._report = report
        self._identify = identify
        self._reading: asyncio.Task[None] | None = None
        self._made = 0

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"{'socket' if isinstance(self, SocketClient) else 'stream'}{self.number}"

    @property
    def who(self) -> Who:
        """Who shows its token now."""
        return self._identify(self.token)

    @property
    def is_connected(self) -> bool:
        """Whether something may still come."""
        return self._reading is not None and not self._reading.done() and not self.line.is_cut

    @property
    def is_at_rest(self) -> bool:
        """Whether it is connected and holds all its sets; or has none."""
        return not self.subs or (self.is_connected and all(sub.is_ready for sub in self.subs.values()))

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Waits until something holds, or the connection is lost. Raises Violation."""
        try:
            async with asyncio.timeout(seconds):
                while self.is_connected and not holds():
                    self.told.clear()
                    await self.told.wait()
        except TimeoutError:
            waiting = [sub.name for sub in self.subs.values() if not sub.is_ready]
            raise Violation(f"{self.name} waited for {seconds} s; not ready: {waiting}") from None

    async def leave(self) -> None:
        """Ends the connection, if there is one."""
        exchange, self.exchange = self.exchange, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if exchange is not None:
            try:
                async with asyncio.timeout(20):
                    await exchange.__aexit__(None, None, None)
            except TimeoutError:
                raise Violation(f"the application goes on with {self.name}, which has gone away") from None
            except ConnectionResetError:
                pass  # a server would say the same of a client that is gone

    async def _connect(self, scope: Row, *messages: Row) -> None:
        self.line = Line()
        self.exchange = Exchange(self.app, scope, self.line)
        await self.exchange.__aenter__()
        for message in messages:
            self.exchange.send(message)
        self._reading = asyncio.create_task(self._read(self.exchange))

    async def _read(self, exchange: Exchange) -> None:
        try:
            while (message := await exchange.take()) is not None:
                self._take(message)
                self.told.set()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError | ConnectionResetError):
                self.failure = error
            raise
        finally:
            self.told.set()

    def judge(self, who: Who) -> None:
        """All that is told has been judged by the rights of this one."""
        for sub in self.subs.values():
            sub.who = who

    def lose(self, sub: Held) -> None:
        """A subscription is over."""
        sub.is_over = True
        self.subs.pop(sub.name, None)

    def _take(self, message: Any) -> None:
        raise NotImplementedError

    def _ended(self, sub: Held, problem: Row) -> None:
        """A problem ends a subscription: the application stops, it may not be asked for any more, or is too large."""
        if problem["status"] == 503:
            raise ConnectionResetError
        if problem["status"] == 413:
            self.too_large.append(sub.copy())
        elif not (problem["status"] == 401 and sub.asked.is_refused(sub.who)):
            raise Violation(f"{sub.name} of {sub.who} ended: {problem}")
        self.lose(sub)

    def _expired(self, problem: Row, *shown: str | None) -> None:
        """A problem ends the connection: its credentials hold no longer."""
        if problem["status"] != 401 or not any((token or "").endswith(FLEETING) for token in (self.token, *shown)):
            raise Violation(f"{self.name} was closed: {problem}")

    def _new_name(self) -> str:
        self._made += 1
        return f"{self.name}q{self._made}"

    def _scope(self, kind: str, url: str, **headers: str) -> Row:
        shown = {"authorization": f"Bearer {self.token}"} if self.token is not None else {}
        return dict(make_scope(kind, "GET", url, None, {**shown, **headers}, ""))


class SocketClient(Client):
    """A client of the WebSocket interface."""

    def __init__(self, app: Any, number: int, report: Report, identify: Identify) -> None:
        super().__init__(app, number, report, identify)
        self._calls = 0
        self._shown: list[str | None] = []  # tokens of which it is not known yet whether they are good
        self._answers: dict[int, Callable[[Row], None]] = {}
        self._uncommitted: dict[str, list[tuple[Held, Row]]] = {}
        self.acked: dict[int, list[Shown]] = {}

    @property
    def is_at_rest(self) -> bool:
        return super().is_at_rest and not (self.is_connected and self._answers)

    async def open(self, token: str, queries: list[Asked]) -> None:
        """Begins anew, with a token and some queries."""
        await self.leave()
        self.token, self.subs = token, {}
        await self._dial()
        for asked in queries:
            self.subscribe(asked)

    async def resume(self) -> None:
        """Comes back with what it holds."""
        await self.leave()
        held, self.subs = self.subs, {}
        await self._dial()
        for sub in held.values():
            resuming = {"cursor": sub.cursor, "key": sub.key} if sub.is_whole else {}
            if not sub.is_whole:
                sub.clear()
            self._subscribe(sub, resuming)

    def subscribe(self, asked: Asked) -> None:
        """One more query."""
        if self.exchange is not None:
            self._subscribe(Held(self._new_name(), asked, self.who), {})

    def unsubscribe(self, index: int) -> None:
        """One query less."""
        if self.exchange is not None and self.subs:
            name = sorted(self.subs)[index % len(self.subs)]
            self.lose(self.subs[name])
            self._call("unsubscribe", {"sub": name}, lambda _: None)

    @property
    def _coming(self) -> Who:
        """Who it is once the server has judged the first of what it has shown."""
        return self._identify(next((token for token in self._shown if token != REFUSED), self.token))

    @property
    def may_write(self) -> bool:
        """Whether it is the staff's, and would be answered at once."""
        return self.who.is_staff and not self._shown and not self.line.is_held

    def authenticate(self, token: str | None) -> None:
        """Shows another token: with the answer to that, all that it has is what the new one may see."""
        if self.exchange is None:
            return

        def answered(message: Row) -> None:
            self._shown.pop(0)
            if token == REFUSED and message.get("error", {}).get("code") == 401:
                return
            if token == REFUSED or "error" in message:
                raise Violation(f"{self.name} shows {token!r}: {message}")
            self.token = token
            self.judge(self.who)

        self._shown.append(token)
        self._call("auth", {"token": token}, answered)

    def write(self, method: str, params: Row) -> "tuple[int, asyncio.Future[Row]]":
        """Makes a writing call: its number, which comes in `acked` with what is then held, and its answer."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()

        def answered(message: Row) -> None:
            if not answer.done():
                answer.set_result(message)

        number = self._call(method, params, answered)
        return number, answer

    async def _dial(self) -> None:
        self._uncommitted, self._answers, self._shown = {}, {}, []
        await self._connect(self._scope("websocket", "/ws"), {"type": "websocket.connect"})

    def _subscribe(self, sub: Held, resuming: Row) -> None:
        self.subs[sub.name] = sub
        sub.group = None
        sub.is_ready = False

        def answered(message: Row) -> None:
            sub.who = self.who  # whatever was shown before has been judged by now
            if "error" in message:
                return self._ended(sub, message["error"]["data"])
            result = message["result"]
            sub.group, sub.key, sub.lane = result["group"], result["key"], result.get("lane", "exact")
            sub.is_whole &= result["resumed"]  # what is held does not go with the key

        self._call("subscribe", {"sub": sub.name, **sub.asked.json, **resuming}, answered)

    def _call(self, method: str, params: Row, answered: Callable[[Row], None]) -> int:
        assert self.exchange is not None
        self._calls += 1
        self._answers[self._calls] = answered
        call = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        self.exchange.send({"type": "websocket.receive", "text": json.dumps(call)})
        return self._calls

    def _take(self, message: Any) -> None:
        if message["type"] != "websocket.send":
            return
        given = json.loads(message.get("text") or message["bytes"])
        for part in given if isinstance(given, list) else [given]:
            if "method" in part:
                self._notice(part["method"], part.get("params", {}))
            elif part["id"] in self._answers:
                self._answers.pop(part["id"])(part)

    def _notice(self, method: str, params: Row) -> None:
        sub = self.subs.get(params.get("sub", ""))
        match method:
            case "frame":
                self._hold(params)
            case "commit":
                self._commit(params["cursor"], params.get("lane", "exact"))
            case "acks":
                held = [sub.copy() for sub in self.subs.values() if sub.is_ready and sub.lane == "exact"]
                self.acked.update(dict.fromkeys(params["ids"], held))
            case "snapshot" if sub is not None:
                sub.apply_frame({"added": params.get("records", ()), **params})
            case "ready" if sub is not None:
                sub.is_ready, sub.is_whole, sub.cursor = True, True, params["cursor"]
                self._report([sub])
            case "reset" if sub is not None:
                sub.clear()
                for lane, waiting in self._uncommitted.items():
                    self._uncommitted[lane] = [(to, frame) for to, frame in waiting if to is not sub]
            case "rights" if sub is not None:
                self._moved(sub, params)
            case "problem" if sub is not None:
                if params["problem"]["status"] == 401:
                    sub.who = self._coming
                self._ended(sub, params["problem"])
            case "problem" if "sub" not in params:
                self._expired(params["problem"], *self._shown)

    def _moved(self, sub: Held, params: Row) -> None:
        """What is held of it becomes, with the next commit or `ready`, what others may see."""
        sub.group, sub.key, sub.lane = params["group"], params["key"], params["lane"]
        sub.who = self._coming
        sub.is_whole = False
        if params["sort"]:
            sub.order = None

    def _hold(self, frame: Row) -> None:
        """Keeps a frame for those that it is meant for now, until the commit of their lane."""
        for sub in self.subs.values():
            if frame.get("sub") == sub.name or ("group" in frame and frame["group"] == sub.group and sub.is_ready):
                self._uncommitted.setdefault(sub.lane, []).append((sub, frame))

    def _commit(self, cursor: str, lane: str) -> None:
        for sub, frame in self._uncommitted.pop(lane, []):
            sub.apply_frame(frame)
            once = sub.copy()
            sub.apply_frame(frame)  # events are idempotent
            if sub.copy() != once:
                raise Violation(f"{sub.name}: applying {frame} twice is not as once")
        ready = [sub for sub in self.subs.values() if sub.is_ready and sub.lane == lane]
        for sub in ready:
            sub.is_whole, sub.cursor = True, cursor
        self._report(ready)


class StreamClient(Client):
    """A client of server-sent events, with all its queries on one stream."""

    def __init__(self, app: Any, number: int, report: Report, identify: Identify) -> None:
        super().__init__(app, number, report, identify)
        self._left = b""
        self.last_id = ""

    async def open(self, token: str, queries: list[Asked]) -> None:
        """Begins anew, with a token and some queries."""
        await self.leave()
        self.token, self.subs, self.last_id = token, {}, ""
        for asked in queries:
            held = Held(self._new_name(), asked, self.who, lane="unknown")  # it is not told
            self.subs[held.name] = held
        await self._dial()

    async def resume(self) -> None:
        """Comes back with what it holds, as a browser does."""
        await self.leave()
        await self._dial()

    async def _dial(self) -> None:
        self._left = b""
        self.judge(self.who)
        for sub in self.subs.values():
            sub.is_ready = False
        queries = quote(json.dumps({sub.name: sub.asked.json for sub in self.subs.values()}))
        resuming = {"last-event-id": self.last_id} if self.last_id else {}
        scope = self._scope("http", f"/subscribe?queries={queries}", accept="text/event-stream", **resuming)
        await self._connect(scope, {"type": "http.request", "body": b"", "more_body": False})

    def _take(self, message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] == 503:
            raise ConnectionResetError  # the application stops: it would be tried again
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise Violation(f"the stream of {sorted(self.subs)} was refused with {message['status']}")
        *blocks, self._left = (self._left + message.get("body", b"")).split(b"\n\n")
        for block in blocks:
            self._event(block.decode())
        if blocks and not self.line.is_cut:  # what comes at once is whole
            self._report([sub for sub in self.subs.values() if sub.is_ready and sub.lane == "exact"])

    def _event(self, block: str) -> None:
        parts = dict(line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":"))
        data = json.loads(parts["data"]) if "data" in parts else None
        self.last_id = parts.get("id", self.last_id)
        kind = parts.get("event", "")
        if data is None:
            return
        if "query" not in data:
            self._expired(data["problem"])
        else:
            sub = self.subs[data["query"]]
            match kind:
                case "ready":
                    sub.is_ready = True
                case "reset":
                    sub.clear()
                    if data["reason"] == "rights":
                        sub.who, sub.lane = self.who, "unknown"
                case "problem":
                    self._ended(sub, data["problem"])
                case "added":
                    sub.apply(kind, data["record"])
                case _:
                    sub.apply(kind, data)
            if kind == "ready":
                self._report([sub])
