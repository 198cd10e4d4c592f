"""Rerun groups: queries that only the store can answer are run again when something they read has changed.

What the audience holds is kept as JSON texts by key; the new result is compared with it, so the frames are
the same as those of exact groups.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import msgspec

from crudite.changes import Change
from crudite.errors import TooLarge
from crudite.live.differences import Differences
from crudite.live.frames import Frame
from crudite.live.groups import Group, Snapshot
from crudite.live.matching import Place, place
from crudite.live.tiers import bounded, is_ordered, membership, others, own_part
from crudite.messages import LiveQuery
from crudite.query.aggregates import aggregate_json
from crudite.query.match import compile_matcher
from crudite.query.plan import Plan
from crudite.stores.base import Page
from crudite.stores.sieve import Verdicts, sieve_of
from crudite.types import Key, Plain

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_INSTANT = timedelta(microseconds=1)


class RerunGroup(Group):
    """A group of the `rerun` tier, with at most `records` records.

    Without a `snapshot` it has not run yet. `failures` counts the runs in a row that failed.
    """

    lane = "rerun"

    def __init__(self, id: str, key: str, query: LiveQuery, records: int) -> None:
        super().__init__(id, key, query)
        self.filter = own_part(membership(query.plan))
        self._matches = compile_matcher(self.filter)
        own = {self.schema} if query.rebind is not None else set()
        self.watched = frozenset(schema.name for schema in others(query) | own)
        self.snapshot: Snapshot | None = None
        self.failures = 0
        self._bound = query
        self._records = records
        self._is_ordered = is_ordered(query.plan)
        self._held: dict[Key, str] = {}
        self._asked = query.plan
        self._verdicts: Verdicts = {}
        self._differences = Differences(self.schema)

    @property
    def place(self) -> Place:
        """Where it stands in the matching index."""
        return place(self.filter)

    def concerns(self, change: Change) -> bool:
        """Whether one of a change's images can be in the set, as far as the record alone tells."""
        return any(image is not None and self._matches(image) for image in (change.before, change.after))

    def plans(self, now: datetime) -> tuple[Plan, ...]:
        """What a run at that moment reads: for the query, then for its boundaries."""
        if self.query.rebind is not None:
            self._bound = self.query.rebind(now)
        plan = self._bound.plan
        if not self.query.counts:
            plan = bounded(plan, self._records)
        elif not plan.total and plan.aggregate is None:
            plan = msgspec.structs.replace(plan, total=True, limit=0)
        sieve = sieve_of(plan.selection)
        self._asked, plans = plan, (plan,) if sieve is None else sieve.plans(plan)
        return (*plans, *self._bound.boundary_plans)

    def result(self, pages: Sequence[Page]) -> tuple[Page, Sequence[Page]]:
        """The query's page, and those of its boundaries, of what the plans of a run have read.

        Raises TooLarge when a function in a rule would have to be asked of too many records.
        """
        at = len(pages) - len(self._bound.boundary_plans)
        sieve = sieve_of(self._asked.selection)
        page = pages[0] if sieve is None else sieve.page(self._asked, pages[:at], self._verdicts)
        assert page is not None  # all was read that may be
        return page, pages[at:]

    def apply(self, page: Page) -> Frame | None:
        """Takes a new result; returns what it changes for those who hold the last one.

        Raises TooLarge when the query, which has no limit of its own, has more records than allowed.
        """
        if self.query.counts:
            return self._apply_value(self._value(page))
        if page.more and self.query.plan.limit is None:
            raise TooLarge(f"A live query holds at most {self._records} records.")
        old, self._held = self._held, dict(zip(page.keys, page.records, strict=True))
        has_run, self.snapshot = self.snapshot is not None, Snapshot(tuple(page.records))
        return self._differences.of_sets(old, self._held, is_ordered=self._is_ordered) if has_run else None

    def forget(self) -> None:
        """What the group held is void; it must run before anybody can get it."""
        self.snapshot = None
        self._held = {}

    def next_moment(self, boundaries: Sequence[Page], now: datetime) -> datetime | None:
        """The earliest moment after `now` at which the result can change without any change of a record."""
        # What is due before now flips when now comes to it, and what is due until now, the instant after.
        passed = [_moment(page.first[0]) for page in boundaries if page.first is not None]
        moments = [moment for at in passed for moment in (at, at + _INSTANT) if moment > now]
        if self._bound.wakes_at_midnight:
            moments.append(datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC))
        return min(moments, default=None)

    def _value(self, page: Page) -> Plain:
        aggregate = self.query.plan.aggregate
        if aggregate is None:
            return page.total
        if page.more:
            raise TooLarge(f"A live query holds at most {self.query.plan.limit} groups.")
        return _decode(aggregate_json(aggregate, page.records))

    def _apply_value(self, value: Plain) -> Frame | None:
        old, self.snapshot = self.snapshot, Snapshot(value=value)
        return Frame(value=value) if old is not None and _encode(old.value) != _encode(value) else None


def _moment(value: object) -> datetime:
    """The moment that a plain date or datetime stands for, in UTC."""
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
