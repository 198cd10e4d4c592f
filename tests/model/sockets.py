"""A client of the WebSocket interface."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.model.clients import Client, Report
from tests.model.held import Held, Shown, Violation
from tests.model.oracle import Asked, Row, Who
from tests.model.roles import REFUSED, Roles

_ANY = 1 << 30


class SocketClient(Client):
    """A client of the WebSocket interface."""

    kind = "socket"

    def __init__(self, app: Any, number: int, report: Report, roles: Roles) -> None:
        super().__init__(app, number, report, roles)
        self._calls = 0
        self._shown: list[str | None] = []  # tokens of which it is not known yet whether they are good
        self._answers: dict[int, Callable[[Row], None]] = {}
        self._uncommitted: dict[str, list[tuple[Held, Row]]] = {}
        self.acked: dict[int, list[Shown]] = {}
        self._most = _ANY

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

    def subscribe(self, asked: Asked, mark: str | None = None) -> Held:
        """One more query, which is to know of the write with that mark."""
        sub = Held(self._new_name(), asked, self.who, mark=mark)
        self._subscribe(sub, {})
        return sub

    def unsubscribe(self, index: int) -> None:
        """One query less."""
        if self.exchange is not None and self.subs:
            name = sorted(self.subs)[index % len(self.subs)]
            self.lose(self.subs[name])
            self._call("unsubscribe", {"sub": name}, lambda _: None)

    @property
    def _coming(self) -> Who:
        """Who it is once the server has judged the first of what it has shown."""
        return self._roles.identify(next((token for token in self._shown if token != REFUSED), self.token))

    @property
    def may_write(self) -> bool:
        """Whether it is the staff's, and would be answered at once."""
        return self.who.is_staff and not self._shown and not self.line.is_held

    @property
    def takes_nothing(self) -> bool:
        """Whether it is connected, as somebody, by a line that is held up, and does not ask to be somebody else."""
        return self.is_connected and self.is_let_in and self.line.is_held and not self._shown

    def authenticate(self, token: str | None) -> None:
        """Shows another token: with the answer to that, all that it has is what the new one may see."""
        if self.exchange is None:
            return

        def answered(message: Row) -> None:
            self._shown.pop(0)
            is_refused = message.get("error", {}).get("code") == 401
            if is_refused and (token == REFUSED or self._roles.is_doubtful(token)):
                return self.judge(self.who)
            if token == REFUSED or "error" in message:
                raise Violation(f"{self.name} shows {token!r}: {message}")
            self.token, self.is_let_in = token, True
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

    def is_sent_away(self) -> None:
        """Its credentials hold no longer, and it takes nothing: of all that waits it is told what is under way."""
        self._most = 1

    async def _dial(self) -> None:
        self._uncommitted, self._answers, self._shown, self._most = {}, {}, [], _ANY
        await self._connect(self._scope("websocket", "/ws"), {"type": "websocket.connect"})

    def _subscribe(self, sub: Held, resuming: Row) -> None:
        self.subs[sub.name] = sub
        sub.group = None
        sub.is_ready = False

        def answered(message: Row) -> None:
            sub.who, sub.other = self.who, None  # whatever was shown before has been judged by now
            if "error" in message:
                return self._ended(sub, message["error"]["data"])
            self.is_let_in, result = True, message["result"]
            sub.group, sub.key, sub.lane = result["group"], result["key"], result.get("lane", "exact")
            sub.is_whole &= result["resumed"]  # what is held does not go with the key

        knowing = {"min_cursor": sub.mark} if sub.mark is not None else {}
        self._call("subscribe", {"sub": sub.name, **sub.asked.json, **resuming, **knowing}, answered)

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
        parts = given if isinstance(given, list) else [given]
        self._most -= any(part.get("method", "problem") != "problem" for part in parts)
        if self._most < 0:
            raise Violation(f"{self.name} is told {parts} when {self.token!r} was revoked")
        for part in parts:
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
                    self._is_judged_anew(sub)
                self._ended(sub, params["problem"])
            case "problem" if "sub" not in params:
                self._expired(params["problem"], *self._shown)

    def _moved(self, sub: Held, params: Row) -> None:
        """What is held of it becomes, with the next commit or `ready`, what others may see."""
        sub.group, sub.key, sub.lane = params["group"], params["key"], params["lane"]
        self._is_judged_anew(sub)
        sub.is_whole = False
        if params["sort"]:
            sub.order = None

    def _is_judged_anew(self, sub: Held) -> None:
        """It was led to what others may see: because of what was shown, or of what was shown before and revoked."""
        sub.who = self._coming
        sub.other = self.who if self._roles.is_unsure(self.token) else None

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
