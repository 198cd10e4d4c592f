"""Acknowledging: authors are told when what they wrote has been told, to themselves like to everybody."""

from collections.abc import Awaitable, Callable
from functools import partial

from crudite.changes import Mark
from crudite.live.connection import Connection


class Acknowledging:
    """The connections that await marks. `covers` tells whether the frames of a commit are in a connection's outbox;
    behind a `fence` all are that were committed before it."""

    def __init__(self, covers: Callable[[Connection, Mark], bool], fence: Callable[[], Awaitable[None]]) -> None:
        self._covers = covers
        self._fence = fence
        self._expecting: set[Connection] = set()

    def add(self, connection: Connection) -> None:
        """It awaits marks."""
        self._expecting.add(connection)

    def forget(self, connection: Connection) -> None:
        """It awaits nothing any more."""
        self._expecting.discard(connection)

    def tell(self) -> None:
        """Tells them what has been told by now."""
        if self._expecting:
            self._expecting = {one for one in self._expecting if one.acknowledge(partial(self._covers, one))}

    async def tell_all(self) -> None:
        """Tells them all that is awaited now, after a reset: it may be of a log that is no more, which no position
        covers; but whatever is told behind a fence is younger."""
        awaited = [(connection, connection.awaited) for connection in self._expecting]
        await self._fence()
        for connection, marks in awaited:
            connection.acknowledge(marks.__contains__)
