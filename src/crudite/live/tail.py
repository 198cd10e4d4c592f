"""The tail of the log: the latest changes in memory, so that those who come back soon need no read of the store."""

from collections import deque
from collections.abc import Sequence
from itertools import chain, islice

from crudite.changes import Change, Position


class Tail:
    """The batches that led to the engine's position, the latest of them, up to so many bytes of images."""

    def __init__(self, size: int, position: Position) -> None:
        self._room = size
        self._batches: deque[tuple[bytes, Sequence[Change], int]] = deque()
        self._places: dict[bytes, int] = {}  # the number of the batch that begins at a position's token
        self._first = 0
        self._end = position.token

    def add(self, changes: Sequence[Change], position: Position) -> None:
        """The engine goes on by these changes to a position."""
        token, self._end = self._end, position.token
        if not changes:
            if token != self._end:
                # Another position without a change between, such as that of another log row that is nobody's.
                self._append(token, (), 0)
            return
        weight = sum(len(change.before_json or "") + len(change.after_json or "") + 100 for change in changes)
        self._append(token, changes, weight)
        while self._room < 0:
            token, _, weight = self._batches.popleft()
            self._room += weight
            if self._places.get(token) == self._first:
                del self._places[token]
            self._first += 1

    def clear(self, position: Position) -> None:
        """The log was not followed to this position."""
        self._room += sum(weight for _, _, weight in self._batches)
        self._batches.clear()
        self._places.clear()
        self._end = position.token

    def since(self, token: bytes) -> list[Change] | None:
        """The changes from a position to the engine's own; None when they are not here."""
        if token == self._end:
            return []
        place = self._places.get(token)
        if place is None:
            return None
        batches = islice(self._batches, place - self._first, None)
        return list(chain.from_iterable(changes for _, changes, _ in batches))

    def _append(self, token: bytes, changes: Sequence[Change], weight: int) -> None:
        self._places[token] = self._first + len(self._batches)
        self._batches.append((token, changes, weight + 100))
        self._room -= weight + 100
