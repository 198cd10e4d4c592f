"""What the live engine allows itself, and what it counts."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from crudite.live.bounds import MAYBE_NO_SECONDS, MAYBE_NONE, PAUSES, SECONDS, SOME, check

_BOUNDS = {
    "tick": MAYBE_NO_SECONDS, "rerun_tick": MAYBE_NO_SECONDS, "outbox": SOME, "subscriptions": SOME, "records": SOME,
    "events": SOME, "missed": MAYBE_NONE, "keys": SOME, "rows": SOME, "bulk": SOME, "tail": MAYBE_NONE,
    "catch_all": MAYBE_NONE, "snapshot_reads": SOME, "expected": SOME, "refresh": SECONDS, "sweep": SECONDS,
    "retry": PAUSES,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """What one live engine allows itself and its clients. Times are seconds, sizes bytes. All are positive; `tick`,
    `rerun_tick`, `missed`, `tail` and `catch_all` may be 0, which is none. Raises ValueError that names every other.

    - `tick`: the least time between two batches when changes come without a pause; a change after a pause is
      sent at once.
    - `rerun_tick`: the same for queries that are run again: none runs more often.
    - `outbox`: what may wait for one connection, snapshots apart. From the half on it is told no more steps, but
      caught up in one go; beyond it is closed as too slow.
    - `subscriptions`: how many one connection may have.
    - `records`: the largest set that a live query may hold.
    - `events`: the longest frame; a longer one becomes a reset with a new snapshot.
    - `missed`: how many changes of the log are looked through for a resume.
    - `keys`: the largest set of keys that a condition through other records may rest on; beyond, the query is run
      again in place of being kept exactly.
    - `rows`: how many records may be concerned at once when such a set changes; beyond, a reset.
    - `bulk`: how many changes of one resource in one batch are looked at one by one; beyond, a reset.
    - `tail`: how many bytes of the latest changes are held, for those who resume.
    - `catch_all`: how many groups may exist that every change of their resource must be compared with.
    - `snapshot_reads`: how many snapshots are read at the same time.
    - `expected`: for how many calls one connection may wait to see their changes.
    - `refresh`: the age at which an idle connection's cursor is replaced; well below the log's retention.
    - `sweep`: how often idle connections are looked at.
    - `retry`: the first and the longest pause before a failed store is asked again.
    """

    tick: float = 0.005
    rerun_tick: float = 0.02
    outbox: int = 1 << 20
    subscriptions: int = 100
    records: int = 50_000
    events: int = 1_000
    missed: int = 10_000
    keys: int = 100_000
    rows: int = 10_000
    bulk: int = 20_000
    tail: int = 64 << 20
    catch_all: int = 10_000
    snapshot_reads: int = 4
    expected: int = 10_000
    refresh: float = 60.0
    sweep: float = 5.0
    retry: tuple[float, float] = (0.05, 5.0)

    def __post_init__(self) -> None:
        check(self, _BOUNDS)


class Histogram:
    """How often a value was at most each of some bounds, with the values' number and sum (as Prometheus counts)."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, the last one infinite, and how many values were not above it."""
        return zip((*self.bounds, inf), accumulate(self.counts), strict=True)


def _lag_histogram() -> Histogram:
    return Histogram(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(slots=True)
class Metrics:
    """Counters since the engine's start; `live_…`, `catch_all_groups` and `log_lag_seconds` are as of now.

    For each batch: `changes` came with it, `candidates` are the groups that the index named for them,
    `residual_evals` how often a group's own condition was then evaluated on an image, `match_seconds` the time
    for all of that and for making the frames. A frame is encoded once for all who get it, into `frame_bytes`;
    `deliveries` is how often one was put into an outbox, `delivery_seconds` the time for encoding and putting.

    `refills`: windows that had to be filled up from the store; `reruns`: queries that were run again,
    `rerun_seconds` the time that their reads took. `catch_ups`: slow clients that were told in one go what they had
    not been told step by step. `log_lag_seconds` is the time from the newest change's
    `updated_at` to its frames being in the outboxes, `lag` all of them.
    """

    live_connections: int = 0
    live_groups: int = 0
    live_subs: int = 0
    catch_all_groups: int = 0
    batches: int = 0
    changes: int = 0
    candidates: int = 0
    residual_evals: int = 0
    match_seconds: float = 0.0
    frames: int = 0
    frame_bytes: int = 0
    deliveries: int = 0
    delivery_seconds: float = 0.0
    snapshots: int = 0
    resume_hits: int = 0
    refills: int = 0
    reruns: int = 0
    rerun_seconds: float = 0.0
    catch_ups: int = 0
    slow_closes: int = 0
    failures: int = 0
    log_lag_seconds: float = 0.0
    lag: Histogram = field(default_factory=_lag_histogram)
    resets: Counter[str] = field(default_factory=Counter)

    def lagged(self, seconds: float) -> None:
        """The frames of the newest change are in the outboxes, so long after it was made."""
        self.log_lag_seconds = max(seconds, 0.0)
        self.lag.observe(self.log_lag_seconds)
