"""Server-sent events as a client reads them (WHATWG HTML, section 9.2)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from crudite.testing.asgi import Exchange, Headers, parts_of, received_headers
from crudite.testing.views import Refusal, View


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its kind, its `id:` and its data, decoded."""

    kind: str
    id: str
    data: Any


class Stream:
    """An event stream that has been opened. `last_id` is what a browser would resume from."""

    def __init__(self, exchange: Exchange, headers: Headers, timeout: float) -> None:
        self.exchange = exchange
        self.headers = headers
        self.last_id = ""
        self.retry: int | None = None
        self._timeout = timeout
        self._events = self._parse(exchange)

    @classmethod
    async def opened(cls, exchange: Exchange, patience: float) -> "Stream":
        """The stream that the application answers with. Raises Refusal when it answers with a problem."""
        start = await exchange.take()
        if start is None:
            raise ConnectionResetError("the application finished without an answer")
        if start["status"] != 200:
            body = b"".join([part async for part in parts_of(exchange)])
            raise Refusal.of(start["status"], body)
        return cls(exchange, received_headers(start), patience)

    async def next(self) -> Event:
        """The next event. Raises TimeoutError when none comes in time, EOFError at the end of the stream."""
        async with asyncio.timeout(self._timeout):
            async for event in self._events:
                return event
        raise EOFError("the stream has ended")

    async def until(self, kind: str) -> list[Event]:
        """All events up to the next of a kind, that one included."""
        events = [await self.next()]
        while events[-1].kind != kind:
            events.append(await self.next())
        return events

    async def events_into(self, view: View) -> None:
        """Tells a view all that comes, until the stream ends; all events are taken for its own."""
        try:
            async for event in self._events:
                named = "query" in event.data
                data = event.data["record"] if named and event.kind == "added" else event.data
                view.tell(event.kind, data)
                view.cursor = self.last_id
        finally:  # an id may have come without an event
            view.cursor = self.last_id or view.cursor

    async def _parse(self, exchange: Exchange) -> AsyncIterator[Event]:
        left = b""
        async for part in parts_of(exchange):
            *blocks, left = (left + part).split(b"\n\n")
            for block in blocks:
                event = self._event(block.decode())
                if event is not None:
                    yield event

    def _event(self, block: str) -> Event | None:
        kind, data = "message", None
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            match name:
                case "event":
                    kind = value
                case "id":
                    self.last_id = value
                case "data":
                    data = value
                case "retry":
                    self.retry = int(value)
        return None if data is None else Event(kind, self.last_id, msgspec.json.decode(data))
