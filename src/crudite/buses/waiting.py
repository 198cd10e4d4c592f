"""Messages that wait for somebody: wake-ups of one topic are one, payloads are bounded."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

MOST_MESSAGES = 1_000
MOST_BYTES = 4 * 1024 * 1024


class Message(NamedTuple):
    """What is told on a topic; without a payload it is a wake-up."""

    topic: str
    payload: bytes = b""


class Waiting:
    """A queue that never grows beyond its bounds.

    Where a payload had to go, a wake-up for its topic takes its place: whoever reads knows that something is missing.
    `dropped` counts the payloads that went.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._wakes: dict[str, None] = {}  # a set that keeps its order
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._wakes or self._messages)

    def add(self, message: Message) -> None:
        """Puts a message behind the others; beyond the bounds the oldest payloads go."""
        if not message.payload:
            self._wakes[message.topic] = None
            return
        self._messages.append(message)
        self._bytes += len(message.payload)
        while len(self._messages) > MOST_MESSAGES or self._bytes > MOST_BYTES:
            self.give_up([self._pop()])

    def give_up(self, messages: Iterable[Message]) -> None:
        """Wake-ups instead of messages that cannot be told."""
        for message in messages:
            self.dropped += bool(message.payload)
            self._wakes[message.topic] = None

    def take(self) -> Message:
        """The next message: wake-ups go first. Raises IndexError when nothing waits."""
        if self._wakes:
            topic = next(iter(self._wakes))
            del self._wakes[topic]
            return Message(topic)
        return self._pop()

    def take_all(self) -> list[Message]:
        """Everything that waits, wake-ups first."""
        messages = [*map(Message, self._wakes), *self._messages]
        self._wakes.clear()
        self._messages.clear()
        self._bytes = 0
        return messages

    def _pop(self) -> Message:
        message = self._messages.popleft()
        self._bytes -= len(message.payload)
        return message
