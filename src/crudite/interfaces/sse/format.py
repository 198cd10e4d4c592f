"""How events are written, and which position each may name.

A stream of several queries is complete when all of them have their sets. Only then may an event name a position: who
comes back with it is taken to hold everything up to there. Before that, every event names the place that the
stream began from (nowhere, or the position that it resumes), so that whoever is cut off begins there again.

         the last `ready`
    Waiting ─────────────► Complete      each connection has one of them; the bytes of complete
       ▲                      │          streams that ask for the same are shared
       └──────────────────────┘
               a `reset`
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from crudite.changes import ResetReason
from crudite.errors import Problem
from crudite.interfaces.events import changed_json, encode, sort_json
from crudite.live import Connection, Frame, LaneName, Subscription, schema_of
from crudite.types import Plain

_HALF = 12
NOWHERE = "0"
"""The id of an event before there is any position to resume from."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """What the events of one stream have in common: the `proof` of what it asks for, and whether its queries are
    `named`, so that every event says which one it is of."""

    proof: str
    named: bool

    def id(self, cursor: str) -> str:
        """The id that names a position."""
        return cursor if cursor == NOWHERE else f"{cursor}~{self.proof}"

    def event(self, kind: str, data: str, cursor: str) -> bytes:
        """One event at a position."""
        return f"event: {kind}\nid: {self.id(cursor)}\ndata: {data}\n\n".encode()

    def record(self, to: Subscription, text: str) -> str:
        """The data of a whole record."""
        return f'{{"query":{encode(to.name)},"record":{text}}}' if self.named else text

    def data(self, to: Subscription, members: str) -> str:
        """The data of some members."""
        return f'{{"query":{encode(to.name)},{members}}}' if self.named else f"{{{members}}}"

    def events(self, frame: Frame, to: Subscription) -> list[tuple[str, str]]:
        """The kinds and the data of the events of a frame."""
        if frame.value is not msgspec.UNSET:
            return [("value", self.data(to, f'"value":{encode(frame.value)}'))]
        events = [("removed", self.data(to, f'"key":{encode(key)}')) for key in frame.removed]
        events += [("added", self.record(to, text)) for text in frame.added]
        events += [("changed", self.data(to, changed_json(changed)[1:-1])) for changed in frame.changed]
        if frame.order is not None:
            events.append(("order", self.data(to, f'"keys":{encode(frame.order)}')))
        return events


class Complete:
    """Turns facts into the events of a stream whose queries all have their sets (`live.Format`)."""

    heartbeat = 15.0
    is_torn = True
    has_lanes = False
    connection: Connection

    def __init__(self, spelling: Spelling) -> None:
        self.spelling = spelling

    @property
    def share(self) -> Hashable:
        return ("sse", self.spelling)

    def address(self, name: str) -> Hashable:
        return name

    def place(self, cursor: str) -> str:
        """The position that an event names where the engine stands at a cursor."""
        return cursor

    def frame(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        events = self.spelling.events(frame, to)
        last = len(events) - 1
        return [
            self.spelling.event(kind, data, self.place(after if after is not None and index == last else before))
            for index, (kind, data) in enumerate(events)
        ]

    def frame_alone(self, frame: Frame, to: Subscription, before: str, after: str | None) -> Sequence[bytes]:
        return self.frame(frame, to, before, after)

    def resumed(self, frame: Frame | None, to: Subscription, before: str, after: str) -> Sequence[bytes]:
        told = self.frame(frame, to, before, None) if frame is not None else ()
        return [*told, self.ready(to, after)]

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        return f"id: {self.spelling.id(cursor)}\n\n".encode() if lane == "exact" else b""

    def snapshot(self, to: Subscription, records: Sequence[str]) -> bytes:
        event, record = self.spelling.event, self.spelling.record
        return b"".join([event("added", record(to, text), NOWHERE) for text in records])

    def value(self, to: Subscription, value: Plain) -> bytes:
        return self.spelling.event("value", self.spelling.data(to, f'"value":{encode(value)}'), NOWHERE)

    def ready(self, to: Subscription, cursor: str) -> bytes:
        data = self.spelling.data(to, f'"sort":{sort_json(to.query)}')
        return self.spelling.event("ready", data, self.place(cursor))

    def reset(self, to: Subscription, reason: ResetReason) -> bytes:
        self._wait(frozenset((to.name,)))
        return self.spelling.event("reset", self.spelling.data(to, f'"reason":{encode(reason)}'), NOWHERE)

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        return self.spelling.event("problem", self.spelling.data(to, f'"problem":{encode(problem.as_json())}'), NOWHERE)

    def acks(self, calls: Sequence[Plain]) -> bytes:
        return b""

    def ping(self) -> bytes:
        return b":\n"  # no empty line behind it: some clients take that for an event

    def bye(self, retry_in: int) -> bytes:
        return f"retry: {retry_in}\n\n".encode()

    def _wait(self, names: frozenset[str]) -> None:
        format = Waiting(self.spelling, names, NOWHERE)
        format.connection = self.connection
        self.connection.speak(format)


class Waiting(Complete):
    """The same while some queries are `missing` their sets: every event names the place where the stream `began`."""

    def __init__(self, spelling: Spelling, missing: frozenset[str], began: str) -> None:
        super().__init__(spelling)
        self._missing = missing
        self._began = began

    @property
    def share(self) -> Hashable:
        return ("sse", id(self))

    def place(self, cursor: str) -> str:
        return self._began

    def commit(self, cursor: str, lane: LaneName) -> bytes:
        return b""

    def ready(self, to: Subscription, cursor: str) -> bytes:
        self._has(to)
        return self.connection.format.ready(to, cursor) if not self._missing else super().ready(to, cursor)

    def problem(self, to: Subscription, problem: Problem) -> bytes:
        self._has(to)
        return super().problem(to, problem)

    def _has(self, to: Subscription) -> None:
        self._missing -= {to.name}
        if not self._missing:
            format = Complete(self.spelling)
            format.connection = self.connection
            self.connection.speak(format)

    def _wait(self, names: frozenset[str]) -> None:
        self._missing |= names
        self._began = NOWHERE


def proof_of(keys: Mapping[str, str]) -> str:
    """A short hash of the keys of all queries of a stream: equal for streams that ask for the same with the same
    rights. Its second half is that of their schemas."""
    named = sorted(keys.items())
    return "".join(
        hashlib.blake2b("\n".join(f"{name}={part}" for name, part in parts).encode(), digest_size=6).hexdigest()
        for parts in (named, [(name, schema_of(key)) for name, key in named])
    )


def has_same_schema(proof: str, other: str) -> bool:
    """Whether two proofs differ in nothing but what may be seen, if they differ."""
    return proof[_HALF:] == other[_HALF:]
