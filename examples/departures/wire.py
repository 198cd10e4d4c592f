"""A small client of the WebSocket interface: calls, batches and live sets (docs/reference/wire.md)."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Json = dict[str, Any]
BATCH = 50  # calls in one message


class Failed(Exception):
    """The answer to one call was this problem (RFC 9457); `status` is its HTTP status."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error.get('message')}: {error.get('data')}")
        self.status = int(error.get("code", 0))


class LiveSet:
    """The records of one subscription, by key."""

    def __init__(self) -> None:
        self.records: dict[str, Json] = {}
        self._changed = asyncio.Event()
        self._closed = False

    async def change(self) -> None:
        """Wait for a change since the last call. Raises ConnectionError when the line has broken."""
        await self._changed.wait()
        self._changed.clear()
        if self._closed:
            raise ConnectionError("The connection is closed.")

    def ready(self) -> None:
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def add(self, records: Sequence[Json]) -> None:
        self.records.update((record["id"], record) for record in records)

    def apply(self, frame: Json) -> None:
        self.add(frame.get("added", ()))
        for change in frame.get("changed", ()):
            self.records[change["key"]] = self.records[change["key"]] | change["fields"]
        for key in frame.get("removed", ()):
            self.records.pop(key, None)
        self._changed.set()


class Wire:
    """One connection: `async with Wire("ws://127.0.0.1:8000/ws") as wire`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._sets: dict[str, LiveSet] = {}  # under the name of the subscription and of its group
        self._frames: list[Json] = []  # held until the commit

    async def __aenter__(self) -> "Wire":
        self._socket: ClientConnection = await connect(
            self._url, subprotocols=[Subprotocol("crudite.v1")], max_size=None
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._socket.close()
        await self._listening

    async def call(self, method: str, **params: Any) -> Json:
        """The result of one call. Raises Failed, or ConnectionError when the line breaks."""
        message, answer = self._call(method, params)
        await self._send(message)
        return await answer

    async def batch(self, method: str, calls: Sequence[Json]) -> list[Json | BaseException]:
        """One method, many calls; each fails alone, and its failure stands in the list."""
        results: list[Json | BaseException] = []
        for start in range(0, len(calls), BATCH):
            pairs = [self._call(method, params) for params in calls[start : start + BATCH]]
            await self._send([message for message, _ in pairs])
            results += await asyncio.gather(*(answer for _, answer in pairs), return_exceptions=True)
        return results

    async def subscribe(self, resource: str, query: Json) -> LiveSet:
        """A live query; its snapshot is complete when this returns."""
        sub = f"s{next(self._numbers)}"
        live = self._sets[sub] = LiveSet()
        await self.call("subscribe", sub=sub, resource=resource, query=query)
        await live.change()
        return live

    def _call(self, method: str, params: Json) -> tuple[Json, asyncio.Future[Json]]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}, answer

    async def _send(self, message: Json | list[Json]) -> None:
        try:
            await self._socket.send(json.dumps(message))
        except ConnectionClosed as error:
            raise ConnectionError("The connection is closed.") from error

    async def _listen(self) -> None:
        try:
            async for text in self._socket:
                message = json.loads(text)
                for one in message if isinstance(message, list) else [message]:
                    self._hear(one)
        except ConnectionClosed:
            pass
        finally:
            self._close()

    def _hear(self, message: Json) -> None:
        if "method" in message:
            self._notified(message["method"], message.get("params", {}))
        elif answer := self._answers.pop(message.get("id", 0), None):
            self._answered(answer, message)

    def _answered(self, answer: asyncio.Future[Json], message: Json) -> None:
        if answer.done():  # the caller was cancelled
            return
        if "error" in message:
            answer.set_exception(Failed(message["error"]))
            return
        result = message["result"]
        if "group" in result:  # before the next message, which may be its first frame
            self._sets[result["group"]] = self._sets[result["sub"]]
        answer.set_result(result)

    def _notified(self, method: str, params: Json) -> None:
        match method:
            case "snapshot":
                self._sets[params["sub"]].add(params["records"])
            case "ready":
                self._sets[params["sub"]].ready()
            case "reset":
                self._sets[params["sub"]].records.clear()
            case "frame":
                self._frames.append(params)
            case "commit":
                for frame in self._frames:
                    self._sets[frame["group"]].apply(frame)
                self._frames.clear()

    def _close(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("The connection is closed."))
        for live in self._sets.values():
            live.close()
