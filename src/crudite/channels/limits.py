"""What channels allow their clients, and what they count."""

from dataclasses import dataclass

from crudite.live.bounds import SECONDS, SOME, check

_WHOLE = ("joined", "event", "state", "rate", "burst", "members")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """What channels allow their clients. All are positive; raises ValueError that names every other.

    - `joined`: how many channels one connection may be in.
    - `event`: bytes of an event's data. `state`: bytes of what a member says of itself.
    - `rate`: how many events and states one connection may publish in a second, on average; `burst`: at once.
    - `members`: how many members of a channel are named. Where there are more, only their number is told.
    - `grace`: seconds for which somebody who was cut off is still taken to be there.
    - `beat`: how often, in seconds, a process tells the others that it is there. One that is not heard three times in a
      row is forgotten, with everybody who was there through it.
    """

    joined: int = 50
    event: int = 4_000
    state: int = 1_000
    rate: int = 50
    burst: int = 100
    members: int = 200
    grace: float = 5.0
    beat: float = 5.0

    def __post_init__(self) -> None:
        check(self, dict.fromkeys(_WHOLE, SOME) | dict.fromkeys(("grace", "beat"), SECONDS))


@dataclass(slots=True)
class ChannelFigures:
    """Counts since the start; `members` is as of now.

    `published`: events that were published here, `heard`: those of other processes. `delivered`: how often one was
    handed to a member; `dropped`: how often it was not, since that client takes too little.
    """

    members: int = 0
    published: int = 0
    heard: int = 0
    delivered: int = 0
    dropped: int = 0


class Allowance:
    """A bucket of tokens for one connection: so many at once, and so many in a second."""

    __slots__ = ("_at", "_left", "_limits")

    def __init__(self, limits: ChannelLimits, now: float) -> None:
        self._limits = limits
        self._left = float(limits.burst)
        self._at = now

    def take(self, now: float) -> float:
        """Takes one; returns 0, or after how many seconds there is one again."""
        self._left = min(self._left + (now - self._at) * self._limits.rate, float(self._limits.burst))
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._limits.rate
        self._left -= 1
        return 0.0
