"""A WebSocket connection as a client uses it: calls and subscriptions in JSON-RPC 2.0."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from crudite.testing.asgi import Exchange
from crudite.testing.lines import Line, Message
from crudite.testing.views import Refusal, View


class Socket:
    """A WebSocket connection that has been accepted.

    `subprotocol` is the one that the server chose; `notifications` are all that came, in order, each as its
    JSON object; `code` is the close code once the server has closed the connection.
    """

    def __init__(self, exchange: Exchange, subprotocol: str | None, timeout: float) -> None:
        self.subprotocol = subprotocol
        self.notifications: list[dict[str, Any]] = []
        self.code: int | None = None
        self.cursor: str | None = None
        self.exchange = exchange
        self._timeout = timeout
        self._last = 0
        self._calls: dict[Any, asyncio.Future[Any]] = {}
        self._views: dict[str, View] = {}
        self._groups: dict[str, set[str]] = {}
        self._lanes: dict[str, str] = {}
        self._ready: set[str] = set()
        self._uncommitted: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        self._unasked: asyncio.Queue[Any] = asyncio.Queue()
        self._told: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
        self._closed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, app: Any, scope: Message, patience: float, line: Line | None = None
    ) -> "AsyncIterator[Socket]":
        """Opens a connection, for as long as the block lasts. Raises ConnectionRefusedError."""
        async with Exchange(app, scope, line) as exchange:
            exchange.send({"type": "websocket.connect"})
            answer = await exchange.take()
            if answer is None or answer["type"] != "websocket.accept":
                raise ConnectionRefusedError(f"the application answered {answer}")
            socket = cls(exchange, answer.get("subprotocol"), patience)
            reading = asyncio.create_task(socket._read())
            try:
                yield socket
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def call(self, method: str, params: Any = None) -> Any:
        """The result of a call. Raises Refusal when it fails."""
        self._last += 1
        number = self._last
        answer = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params if params is not None else {}})
        async with asyncio.timeout(self._timeout):
            return await answer

    def send(self, message: Any) -> None:
        """Sends a message: as it is when it is text or bytes, else as JSON."""
        if isinstance(message, bytes):
            self.exchange.send({"type": "websocket.receive", "bytes": message})
        else:
            text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
            self.exchange.send({"type": "websocket.receive", "text": text})

    async def next(self) -> Any:
        """The next answer that belongs to no `call`: a batch's, or that to a message that is none."""
        async with asyncio.timeout(self._timeout):
            return await self._unasked.get()

    async def told(self) -> tuple[str, Mapping[str, Any]]:
        """What comes next of the channels that it is in: `event`, `presence` or `problem`, and what belongs to it."""
        async with asyncio.timeout(self._timeout):
            return await self._told.get()

    async def closed(self) -> int | None:
        """Waits until the server closes the connection; its close code."""
        async with asyncio.timeout(self._timeout):
            await self._closed.wait()
        return self.code

    async def subscribe(self, name: str, asked: Mapping[str, Any], view: View) -> dict[str, Any]:
        """Subscribes under a name, and keeps a view by what comes; the answer to `subscribe`."""
        self._leave(name)
        self._views[name] = view
        resume = {"cursor": view.cursor, "key": view.key} if view.cursor is not None else {}
        given: dict[str, Any] = await self.call("subscribe", {"sub": name, **asked, **resume})
        return given

    async def subscribed(self, asked: Mapping[str, Any], view: View) -> None:
        """Subscribes, and returns when the connection has ended."""
        await self.subscribe("view", asked, view)
        await self._closed.wait()

    async def _read(self) -> None:
        try:
            while (message := await self.exchange.take()) is not None:
                if message["type"] == "websocket.close":
                    self.code = message.get("code", 1000)
                    return
                self._take(msgspec.json.decode(message.get("text") or message["bytes"]))
        finally:
            self.exchange.finish()
            self._closed.set()
            for waiting in self._calls.values():
                waiting.cancel()

    def _take(self, message: Any) -> None:
        if isinstance(message, list) and any("method" in part for part in message):
            for part in message:
                self._take(part)
        elif isinstance(message, list) or ("method" not in message and message["id"] not in self._calls):
            self._unasked.put_nowait(message)
        elif "method" in message:
            self.notifications.append(message)
            self._notice(message["method"], message.get("params", {}))
        else:
            self._answer(self._calls.pop(message["id"]), message)

    def _answer(self, waiting: "asyncio.Future[Any]", message: Mapping[str, Any]) -> None:
        if waiting.done():  # nobody waits any more
            return
        if "error" in message:
            waiting.set_exception(Refusal(message["error"]["data"]))
            return
        result = message["result"]
        if isinstance(result, dict) and "group" in result:
            view = self._views.get(result["sub"])
            if view is not None:
                if not result["resumed"]:  # what it held does not go with this key
                    view.void()
                view.key, view.resumed = result["key"], result["resumed"]
                view.expect(result["sort"])
            self._groups.setdefault(result["group"], set()).add(result["sub"])
            self._lanes[result["sub"]] = result["lane"]
        waiting.set_result(result)

    def _notice(self, method: str, params: Mapping[str, Any]) -> None:
        view = self._views.get(params.get("sub", ""))
        if "channel" in params:
            self._told.put_nowait((method, params))
        match method:
            case "frame":
                self._hold(params)
            case "commit":
                self._commit(params["cursor"], params.get("lane", "exact"))
            case "snapshot" if view is not None:
                view.tell_frame({"added": params.get("records", ())} if "records" in params else params)
            case "ready" if view is not None:
                self.cursor = view.cursor = params["cursor"]
                self._ready.add(params["sub"])
                view.tell("ready", {})
            case "reset" | "problem" if view is not None:
                self._void(params["sub"])
                view.tell(method, params)
            case "rights":
                self._move(params)

    def _hold(self, frame: Mapping[str, Any]) -> None:
        """Keeps a frame for those that it is meant for now, until the commit of their lane."""
        own = {frame["sub"]} if "sub" in frame else self._groups.get(frame["group"], set()) & self._ready
        for name in own & self._views.keys():
            self._uncommitted.setdefault(self._lanes.get(name, "exact"), []).append((name, frame))

    def _commit(self, cursor: str, lane: str) -> None:
        self.cursor = cursor if lane == "exact" else self.cursor
        for name, frame in self._uncommitted.pop(lane, []):
            self._views[name].tell_frame(frame)
        for name in self._ready & self._views.keys():
            if self._lanes.get(name) == lane:
                self._views[name].cursor = cursor

    def _void(self, name: str) -> None:
        """What a subscription holds is void, and so are its frames that wait for a commit."""
        self._ready.discard(name)
        for lane, held in self._uncommitted.items():
            self._uncommitted[lane] = [(to, frame) for to, frame in held if to != name]

    def _leave(self, name: str) -> None:
        """An earlier subscription of that name is over."""
        self._void(name)
        self._part(name)

    def _part(self, name: str) -> None:
        """It belongs to no group any more."""
        for names in self._groups.values():
            names.discard(name)

    def _move(self, given: Mapping[str, Any]) -> None:
        """A subscription has other rights: it belongs to another group from now on, and to no other."""
        name = given["sub"]
        self._part(name)
        self._groups.setdefault(given["group"], set()).add(name)
        self._lanes[name] = given.get("lane", self._lanes.get(name, "exact"))
        view = self._views.get(name)
        if view is not None:
            view.key, view.cursor = given["key"], None  # until the next commit or ready
            view.expect(given["sort"])
