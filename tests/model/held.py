"""What a client holds of each of its subscriptions, as it follows from the events by the documentation of the wire."""

from dataclasses import dataclass, field
from typing import Any

from tests.model.oracle import Asked, Row, Who

_META = ("version", "created_at", "updated_at")


@dataclass(eq=False)
class Held:
    """One subscription as its client holds it."""

    name: str
    asked: Asked
    who: Who
    other: Who | None = None  # who it may be just as well, while it is not known whose rights it was moved to
    records: dict[str, Row] = field(default_factory=dict)
    value: Any = None
    order: list[str] | None = None
    is_ready: bool = False
    is_whole: bool = False  # what is held is the set at the cursor, ready or, after a cut, waiting to be so again
    is_over: bool = False
    lane: str = "exact"
    group: str | None = None
    key: str | None = None
    cursor: str | None = None
    mark: str | None = None  # of a write that it is to know of

    def clear(self) -> None:
        """What is held is void."""
        self.records, self.value, self.order, self.is_ready, self.is_whole = {}, None, None, False, False

    def apply(self, kind: str, data: Any) -> None:
        """One event."""
        match kind:
            case "added":
                self.records[data["id"]] = dict(data)
            case "removed":
                self.records.pop(data["key"], None)
            case "changed":
                row = self.records.get(data["key"])
                if row is None:
                    raise Violation(f"{self.name}: a change of {data['key']}, which is not held: {data}")
                row.update(data["fields"])
                for name in data.get("absent", ()):
                    row.pop(name, None)
            case "order":
                self.order = data["keys"]
            case "value":
                self.value = data["value"]

    def apply_frame(self, frame: Row) -> None:
        """A whole frame, as a WebSocket brings it."""
        for key in frame.get("removed", ()):
            self.apply("removed", {"key": key})
        for record in frame.get("added", ()):
            self.apply("added", record)
        for changed in frame.get("changed", ()):
            self.apply("changed", changed)
        for kind, data in (("order", {"keys": frame.get("order")}), ("value", frame)):
            if kind in frame:
                self.apply(kind, data)

    def copy(self) -> "Shown":
        """What it holds now."""
        rows = {key: _plain(row) for key, row in self.records.items()}
        who = (self.who,) if self.other is None else (self.who, self.other)
        return Shown(self, who, rows, self.value, self.order)


def _plain(value: Any) -> Any:
    """A record without what no model knows, and so whatever is included in it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name not in _META}
    return value


@dataclass(frozen=True)
class Shown:
    """What a subscription held at one moment, without the fields that no model knows."""

    held: Held
    who: tuple[Who, ...]
    records: dict[str, Row]
    value: Any
    order: list[str] | None

    def equals(self, answer: Any) -> bool:
        """Whether that is the answer that the oracle gives."""
        if self.held.asked.is_value:
            return bool(self.value == answer)
        if self.records != {row["id"]: row for row in answer}:
            return False
        return self.order is None or self.order == [row["id"] for row in answer]


class Violation(AssertionError):
    """The promise is broken."""
