"""What processes tell each other of who is there, over a bus that may lose, repeat nothing, and bring in any order.

Each process numbers the changes of its own part, and tells from time to time (a beat) at which number it is. Whoever
hears a number that does not follow what it knows asks for the whole part. A process that is not heard any more is
forgotten; one that says goodbye has its members taken to be on their way to another one for a while.

    unknown ──► asked ──whole──► known ──a gap──► asked
                                   └─── silent, or gone ───► forgotten
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from crudite.channels.limits import ChannelLimits
from crudite.channels.roll import Roll
from crudite.channels.telling import Present

_SILENCES = 3
_PIECE = 3_500  # bytes of changes in a message: the narrowest bus takes some six thousand


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One connection's member of a channel: who it is, None when it is not there any more."""

    channel: str
    number: int
    member: str
    present: Present | None = None


class _Changes(msgspec.Struct, frozen=True, tag="changes"):
    by: str
    at: int
    changes: tuple[Change, ...]


class _Whole(msgspec.Struct, frozen=True, tag="whole"):
    by: str
    at: int
    part: int
    parts: int
    changes: tuple[Change, ...]


class _Beat(msgspec.Struct, frozen=True, tag="beat"):
    by: str
    at: int


class _Ask(msgspec.Struct, frozen=True, tag="ask"):
    by: str
    of: str | None = None


class _Bye(msgspec.Struct, frozen=True, tag="bye"):
    by: str


_Word: TypeAlias = _Changes | _Whole | _Beat | _Ask | _Bye
_decode = msgspec.json.Decoder(_Word).decode
_encode = msgspec.json.Encoder().encode


class _Known:
    """What is known of another process: up to which number, and until when it is believed."""

    def __init__(self, due: float) -> None:
        self.at = -1
        self.due = due
        self.asked = float("-inf")
        self.whole_at = -1
        self.parts: dict[int, tuple[Change, ...]] = {}


class SiblingsPresence:
    """One process's view of the others, in a roll. `touch` is told which channels have changed.

    What is to be sent gathers in `due`; `stir` is called when something does.
    """

    def __init__(
        self, name: str, roll: Roll, limits: ChannelLimits, touch: Callable[[Iterable[str]], None],
        stir: Callable[[], None],
    ) -> None:  # fmt: skip
        self.name = name
        self._roll = roll
        self._limits = limits
        self._touch = touch
        self._stir = stir
        self._known: dict[str, _Known] = {}
        self._at = 0
        self._changes: list[Change] = []
        self._asks: dict[str | None, None] = {}
        self._owes_whole = False
        self._owes_beat = False

    def changed(self, change: Change) -> None:
        """Somebody has come, gone or changed here."""
        self._changes.append(change)
        self._stir()

    def beat(self, now: float) -> None:
        """It is time to tell that this process is there, and to look whose time is over."""
        self._owes_beat = True
        for process, known in list(self._known.items()):
            if known.due <= now:
                del self._known[process]
                self._touch(self._roll.forget(process))
        self._stir()

    def missed(self) -> None:
        """Something may have been missed, here and by the others: everybody tells everything."""
        self._owes_whole = True
        self._asks[None] = None
        self._stir()

    def farewell(self) -> bytes:
        """The last word."""
        return _encode(_Bye(self.name))

    def take_due(self) -> list[bytes]:
        """The messages that are due, in order."""
        made: list[bytes] = []
        for piece in _pieces(self._changes):
            made.append(_encode(_Changes(self.name, self._at, piece)))
            self._at += len(piece)
        self._changes = []
        if self._owes_whole:
            pieces = list(_pieces([Change(c, n, p.member, p) for c, n, p in self._roll.of(self.name)])) or [()]
            made += [_encode(_Whole(self.name, self._at, at, len(pieces), piece)) for at, piece in enumerate(pieces)]
        elif self._owes_beat:
            made.append(_encode(_Beat(self.name, self._at)))
        made += [_encode(_Ask(self.name, of)) for of in self._asks]
        self._owes_whole = self._owes_beat = False
        self._asks.clear()
        return made

    def hear(self, payload: bytes, now: float) -> None:
        """Takes in a message of the bus; an empty one means that others may have been lost."""
        if not payload:
            return self.missed()
        try:
            word = _decode(payload)
        except msgspec.DecodeError:  # another version's
            return None
        if word.by == self.name:
            return None
        if isinstance(word, _Ask):
            if word.of in (None, self.name):
                self._owes_whole = True
                self._stir()
            return None
        known = self._known.setdefault(word.by, _Known(now))
        known.due = now + _SILENCES * self._limits.beat
        match word:
            case _Changes():
                self._take_changes(known, word, now)
            case _Whole():
                self._take_whole(known, word)
            case _Beat():
                if word.at > known.at:
                    self._ask(known, word.by, now)
            case _Bye():
                known.due = now + self._limits.grace
        return None

    def _take_changes(self, known: _Known, word: _Changes, now: float) -> None:
        if word.at != known.at:
            if word.at > known.at:
                self._ask(known, word.by, now)
            return
        known.at += len(word.changes)
        self._apply(word.by, word.changes)

    def _take_whole(self, known: _Known, word: _Whole) -> None:
        if word.at < known.at or word.at < known.whole_at:
            return
        if word.at > known.whole_at or len(known.parts) == word.parts:
            known.whole_at, known.parts = word.at, {}
        known.parts[word.part] = word.changes
        if len(known.parts) < word.parts:
            return
        touched = self._roll.forget(word.by)
        known.at = word.at
        self._apply(word.by, [change for part in known.parts.values() for change in part])
        self._touch(touched)

    def _apply(self, process: str, changes: Sequence[Change]) -> None:
        for change in changes:
            source = (process, change.number)
            if change.present is None:
                self._roll.drop(change.channel, source, change.member)
            else:
                self._roll.put(change.channel, source, change.present)
        self._touch({change.channel for change in changes})

    def _ask(self, known: _Known, process: str, now: float) -> None:
        """Asks for all that a process has: once in a while, for each message that is missing shows the same gap."""
        if now - known.asked >= min(1.0, self._limits.beat):
            known.asked = now
            self._asks[process] = None
            self._stir()


def _pieces(changes: Sequence[Change]) -> Iterable[tuple[Change, ...]]:
    piece: list[Change] = []
    size = 0
    for change in changes:
        length = len(_encode(change))
        if piece and size + length > _PIECE:
            yield tuple(piece)
            piece, size = [], 0
        piece.append(change)
        size += length
    if piece:
        yield tuple(piece)
