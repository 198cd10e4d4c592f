"""What the live engine allows itself, and what it counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Bounds of one engine. Times are seconds, sizes bytes.

    - `tick`: the least time between two batches when changes come without a pause; a change after a pause is
      sent at once.
    - `outbox`: what may wait for one connection, snapshots apart, before it is closed as too slow.
    - `subscriptions`: how many one connection may have.
    - `records`: the largest set that a live query may hold.
    - `events`: the longest frame; a longer one becomes a reset with a new snapshot.
    - `missed`: how many changes of the log are looked through for a resume.
    - `catch_all`: how many groups may exist that every change of their resource must be compared with.
    - `snapshot_reads`: how many snapshots are read at the same time.
    - `expected`: for how many calls one connection may wait to see their changes.
    - `refresh`: the age at which an idle connection's cursor is replaced; well below the log's retention.
    - `sweep`: how often idle connections are looked at.
    - `retry`: the first and the longest pause before a failed store is asked again.
    """

    tick: float = 0.005
    outbox: int = 1 << 20
    subscriptions: int = 100
    records: int = 50_000
    events: int = 1_000
    missed: int = 10_000
    catch_all: int = 10_000
    snapshot_reads: int = 4
    expected: int = 10_000
    refresh: float = 60.0
    sweep: float = 5.0
    retry: tuple[float, float] = (0.05, 5.0)


@dataclass(slots=True)
class Metrics:
    """Counters since the engine's start; `live_…`, `catch_all_groups` and `log_lag_seconds` are as of now.

    `candidates` are the groups that the index named for a change, `frame_bytes` what was encoded (once for
    all who get it), `deliveries` how often a frame was put into an outbox. `log_lag_seconds` is the time from
    the newest change's `updated_at` to its frames being in the outboxes.
    """

    live_connections: int = 0
    live_groups: int = 0
    live_subs: int = 0
    catch_all_groups: int = 0
    batches: int = 0
    changes: int = 0
    candidates: int = 0
    frames: int = 0
    frame_bytes: int = 0
    deliveries: int = 0
    snapshots: int = 0
    resume_hits: int = 0
    reruns: int = 0
    slow_closes: int = 0
    failures: int = 0
    log_lag_seconds: float = 0.0
    resets: Counter[str] = field(default_factory=Counter)
