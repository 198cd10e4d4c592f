"""The line between a client and an application, and its faults: it is cut, held up, or says things twice."""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]

_END_OF_EVENT = b"\n\n"


class Line:
    """What the application sends over one connection goes through here. Without being told otherwise it is perfect.

    `copies` is how often each message of a WebSocket arrives, for clients that must not mind.
    """

    def __init__(self) -> None:
        self.copies = 1
        self.is_cut = False
        self._on_cut: Callable[[], None] = lambda: None
        self._flows = asyncio.Event()
        self._flows.set()
        self._messages_left: int | None = None
        self._events_left: int | None = None
        self._bytes_left: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is held up."""
        return not self._flows.is_set()

    def hold(self) -> None:
        """Nothing arrives any more, and the application waits with what it sends: the client is a slow reader."""
        self._flows.clear()

    def release(self) -> None:
        """Everything arrives again, what was held up first."""
        self._flows.set()

    def cut(self) -> None:
        """The connection is lost. What is under way does not arrive, and the application is told."""
        self.is_cut = True
        self._flows.set()
        self._on_cut()

    def cut_after(self, *, messages: int | None = None, events: int | None = None, bytes: int | None = None) -> None:
        """Cuts as soon as so much more has arrived: messages of a WebSocket, events of a stream (each ends with an
        empty line), or bytes of a body, then perhaps in the middle of an event. With 0 nothing more arrives."""
        self._messages_left, self._events_left, self._bytes_left = messages, events, bytes
        if 0 in (messages, events, bytes):
            self.cut()

    # what an exchange needs of its line

    def on_cut(self, call: Callable[[], None]) -> None:
        """Calls when the line is cut."""
        self._on_cut = call

    async def carry(self, message: Message) -> Sequence[Message]:
        """What arrives of a message. Raises ConnectionResetError when the line is cut, as servers do."""
        await self._flows.wait()
        if self.is_cut:
            raise ConnectionResetError("the line is cut")
        if message["type"] == "websocket.send":
            return self._carry_message(message)
        if message["type"] == "http.response.body":
            return [{**message, "body": self._carry_body(message.get("body", b""))}]
        return [message]

    def _carry_message(self, message: Message) -> Sequence[Message]:
        if self._messages_left is not None:
            self._messages_left -= 1
            if not self._messages_left:
                self._cut_behind()
        return [message] * self.copies

    def _carry_body(self, body: bytes) -> bytes:
        end = len(body)
        if self._bytes_left is not None:
            end = min(end, self._bytes_left)
            self._bytes_left -= end
        if self._events_left is not None:
            end = min(end, self._end_of_events(body))
        if 0 in (self._bytes_left, self._events_left):
            self._cut_behind()
        return body[:end]

    def _cut_behind(self) -> None:
        """Cuts behind what is just arriving."""
        self.is_cut = True
        asyncio.get_running_loop().call_soon(self.cut)

    def _end_of_events(self, body: bytes) -> int:
        """Where the last event ends that may arrive."""
        assert self._events_left is not None
        end = 0
        while self._events_left:
            found = body.find(_END_OF_EVENT, end)
            if found < 0:
                return len(body)
            end = found + len(_END_OF_EVENT)
            self._events_left -= 1
        return end


__all__ = ["Line"]
