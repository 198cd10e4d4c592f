"""A client of server-sent events."""

import json
from typing import Any
from urllib.parse import quote

from tests.model.clients import Client, Report
from tests.model.held import Held, Violation
from tests.model.oracle import Asked
from tests.model.roles import Roles


class StreamClient(Client):
    """A client of server-sent events, with all its queries on one stream."""

    kind = "stream"

    def __init__(self, app: Any, number: int, report: Report, roles: Roles) -> None:
        super().__init__(app, number, report, roles)
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
        if (
            message["type"] == "http.response.start"
            and message["status"] == 401
            and self._roles.is_doubtful(self.token)
        ):
            raise ConnectionResetError  # it was sent away, and will be let in again
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise Violation(f"the stream of {sorted(self.subs)} was refused with {message['status']}")
        self.is_let_in = True
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
                        sub.who, sub.other, sub.lane = self.who, None, "unknown"
                case "problem":
                    self._ended(sub, data["problem"])
                case "added":
                    sub.apply(kind, data["record"])
                case _:
                    sub.apply(kind, data)
            if kind == "ready":
                self._report([sub])
