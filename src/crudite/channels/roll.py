"""The roll: who is in which channel, through which connections of which processes. No input, no output."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from crudite.channels.telling import Present

Source: TypeAlias = tuple[str, int]
"""A connection: its process, and its number there."""
Place: TypeAlias = tuple[str, str]
"""A channel, and a member of it."""


class Roll:
    """Members of channels. The same one may be there through several connections, such as an old one that nobody has
    missed yet and the new one that took its place: it is shown as the newest says."""

    def __init__(self) -> None:
        self._here: dict[str, dict[str, dict[Source, Present]]] = {}
        self._of_process: dict[str, dict[tuple[Place, int], None]] = {}

    def put(self, channel: str, source: Source, present: Present) -> None:
        """Somebody is there, and says something of himself."""
        sources = self._here.setdefault(channel, {}).setdefault(present.member, {})
        sources.pop(source, None)
        sources[source] = present
        self._of_process.setdefault(source[0], {})[(channel, present.member), source[1]] = None

    def drop(self, channel: str, source: Source, member: str) -> None:
        """Somebody is not there any more through that connection."""
        sources = self._here.get(channel, {}).get(member, {})
        if sources.pop(source, None) is None:
            return
        del self._of_process[source[0]][(channel, member), source[1]]
        if not sources:
            del self._here[channel][member]
        if not self._here[channel]:
            del self._here[channel]

    def forget(self, process: str) -> set[str]:
        """Nobody is there any more through a process. Returns the channels that it concerns."""
        touched = set()
        for (channel, member), number in list(self._of_process.get(process, ())):
            self.drop(channel, (process, number), member)
            touched.add(channel)
        self._of_process.pop(process, None)
        return touched

    def of(self, process: str) -> Iterator[tuple[str, int, Present]]:
        """Everybody who is there through a process: the channel, the number of the connection, and who."""
        for (channel, member), number in self._of_process.get(process, ()):
            yield channel, number, self._here[channel][member][process, number]

    def members(self, channel: str) -> dict[str, Present]:
        """Who is in a channel, by the names of members."""
        return {member: next(reversed(sources.values())) for member, sources in self._here.get(channel, {}).items()}

    def count(self, channel: str) -> int:
        """How many are in a channel."""
        return len(self._here.get(channel, ()))


def difference(
    before: dict[str, Present], after: dict[str, Present]
) -> tuple[Sequence[Present], Sequence[Present], Sequence[str]]:
    """Who has joined, who says something else, and who has left."""
    joined = [present for member, present in after.items() if member not in before]
    changed = [present for member, present in after.items() if member in before and before[member] != present]
    return joined, changed, [member for member in before if member not in after]
