"""The jobs that are done at the position of a batch: what each needs to read there, and what it does with it.

`Resumption` tells a client what it missed, `Showing` what a window shows, and `Move` leads a subscription from one
query to another; `Reading` is for whoever waits for one page.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeAlias

import msgspec

from crudite.changes import Change, Reset, ResetReason, Undecodable
from crudite.errors import Problem
from crudite.live.delivery import serve
from crudite.live.dependencies import Dependencies
from crudite.live.differences import Differences
from crudite.live.exact import ExactGroup, KeptGroup
from crudite.live.feeds import Feed
from crudite.live.frames import Frame
from crudite.live.gates import Gate, is_gate_known
from crudite.live.groups import Group, Member, Snapshot
from crudite.live.keysets import resting
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import by_resource, net_effect
from crudite.live.progress import Progress
from crudite.live.span import Fetch, Span
from crudite.live.tiers import bounded, is_ordered
from crudite.live.window import Touched, WindowGroup, unread
from crudite.messages import LiveQuery
from crudite.query.plan import Plan
from crudite.stores.base import Page
from crudite.types import Key


@dataclass(frozen=True, slots=True)
class Missed:
    """What a client missed since its `cursor`; the frame is None when nothing."""

    cursor: str
    frame: Frame | None


Outcome: TypeAlias = Missed | Reset


class Job(ABC):
    """Something to read at a position, and what to do with it."""

    failures = 0

    async def prepare(self, fetch: Fetch) -> None:  # noqa: B027 (some jobs know it from the start)
        """Finds out what to read."""

    @property
    @abstractmethod
    def plans(self) -> Sequence[Plan]:
        """What to read."""

    @abstractmethod
    def take(self, pages: Sequence[Page]) -> None:
        """Does what there is to do with what was read. Nothing is awaited between the jobs of one position."""

    def fail(self, problem: Problem) -> None:  # noqa: B027 (what is loaded for all is asked for again)
        """It cannot be read."""


class Resumption(Job):
    """A client that comes back: what has happened to its query since its cursor, told by the log and, where key sets
    have flips, by the records that these reach.

    `since` are the changes from the cursor to the moment from which the feed gathers; with `is_torn` the client may
    hold a part of what they did. `finish` is called with the outcome.
    """

    def __init__(
        self, group: KeptGroup, gate: Gate | None, cursor: str, since: Sequence[Change], feed: Feed, *, is_torn: bool,
        dependencies: Dependencies, limits: LiveLimits, finish: Callable[[Outcome], None],
    ) -> None:  # fmt: skip
        self.is_torn = is_torn
        self._group = group
        self._gate = gate
        self._uses = (*group.uses, *(gate.uses if gate is not None else ()))
        self._cursor = cursor
        self._since = since
        self._feed = feed
        self._dependencies = dependencies
        self._limits = limits
        self._finish = finish
        self._span: Span | None = None
        self._obstacle: ResetReason | None = "gap"

    @property
    def plans(self) -> Sequence[Plan]:
        return ()

    async def prepare(self, fetch: Fetch) -> None:
        """Leads the key sets back to the cursor, to know what of other records decided then."""
        gathered = [*self._since, *self._feed.changes]
        span = self._span = Span(by_resource(net_effect(gathered)), self._limits.rows, back=True)
        group = self._group
        if self._uses:
            await self._dependencies.settle(span, fetch, resting(self._uses))
            await span.fetch_rows(span.wanted(group.schema, group.uses), fetch)
        self._obstacle = self._found_obstacle(span, gathered)

    def _found_obstacle(self, span: Span, gathered: Sequence[Change]) -> ResetReason | None:
        """Why what was missed cannot be told, if it cannot."""
        if self._feed.void is not None:
            return self._feed.void
        is_lost = any(use.keys in span.lost or not use.keys.is_loaded for use in self._uses)
        if is_lost or span.is_lost_for(self._group.schema, self._group.uses):
            return "too_many"
        # A part of what key sets did on the way may be held, and the ends of the way do not tell what that was.
        if self.is_torn and self._dependencies.are_touched(resting(self._uses), gathered):
            return "window"
        return None

    def take(self, pages: Sequence[Page]) -> None:
        self.tell(self._frame)

    def fail(self, problem: Problem) -> None:
        self._finish(Reset("gap"))

    def tell(self, frame: Callable[[Sequence[Change]], Frame | Reset | None]) -> None:
        """Finishes with the frame that a function makes of all that concerns the group; the span is active then."""
        span, gate = self._span, self._gate
        if span is None or self._obstacle not in (None, "window"):
            return self._finish(Reset(self._obstacle or "gap"))
        found: Frame | Reset | None = None
        try:
            with span.active():
                if gate is not None and gate.was_open != gate.is_open:
                    found = Reset("rights")
                elif self._obstacle is not None:
                    found = Reset(self._obstacle)
                elif gate is None or gate.is_open:
                    found = frame(self.concerned())
        except Undecodable:
            found = Reset("undecodable")
        if isinstance(found, Frame) and found.events > self._limits.events:
            found = Reset("too_many")
        self._finish(found if isinstance(found, Reset) else Missed(self._cursor, found))

    def concerned(self) -> Sequence[Change]:
        """The net changes and the reached records that concern the group."""
        assert self._span is not None
        return self._group.concerned(self._span, self._span.changes.get(self._group.schema.name, ()))

    def single(self) -> Iterator[Change]:
        """The changes of the group's resource, each as it was committed."""
        return (change for change in chain(self._since, self._feed.changes) if change.schema is self._group.schema)

    @contextmanager
    def looking_back(self) -> Iterator[bool]:
        """Makes the span active; whether it can tell anything."""
        assert self._span is not None
        if self._obstacle is None:
            with self._span.active():
                yield True
        else:
            yield False

    def _frame(self, concerned: Sequence[Change]) -> Frame | None:
        assert isinstance(self._group, ExactGroup)
        if not self.is_torn:
            return self._group.frame(concerned)
        reached = [change for change in concerned if change.before_json == change.after_json]
        return self._group.restated([*self.single(), *reached])


class Reading(Job):
    """A page that somebody waits for: what `take` returns of it, at the position of a batch, is what is `done`."""

    def __init__(self, plan: Plan, take: Callable[[Page], bool]) -> None:
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._plan = plan
        self._take = take

    @property
    def plans(self) -> Sequence[Plan]:
        return (self._plan,)

    def take(self, pages: Sequence[Page]) -> None:
        if not self.done.done():
            self.done.set_result(self._take(pages[0]))

    def fail(self, problem: Problem) -> None:
        if not self.done.done():
            self.done.set_exception(problem)


class Showing(Job):
    """All who are to get records of one window: members who join it, and those who resume."""

    def __init__(
        self, group: WindowGroup, progress: Progress, metrics: Metrics,
        show: Callable[[WindowGroup, Member], None], end: Callable[[Group, Problem], None],
    ) -> None:  # fmt: skip
        self.group = group
        self.members: list[Member] = []
        self.resumptions: list[Resumption] = []
        self._progress = progress
        self._metrics = metrics
        self._show = show
        self._end = end
        self._plans: Sequence[Plan] = ()

    async def prepare(self, fetch: Fetch) -> None:
        """Finds out which records must be read: all of them for those who join."""
        group = self.group
        for resumption in self.resumptions:
            await resumption.prepare(fetch)
        if not group.is_loaded:
            self._plans = (group.load_plan(),)
        else:
            is_whole = any(member.awaits(group) for member in self.members)
            wanted = group.keys if is_whole else list(dict.fromkeys(chain(*map(self._unread, self.resumptions))))
            self._plans = (group.rows_plan(wanted),) if wanted else ()

    @property
    def plans(self) -> Sequence[Plan]:
        return self._plans

    def take(self, pages: Sequence[Page]) -> None:
        group = self.group
        if not group.is_loaded:
            texts = dict(zip(pages[0].keys, group.load(pages[0]).records, strict=False))
        else:
            texts = group.texts(pages[0]) if pages else {}
        for resumption in self.resumptions:
            resumption.tell(partial(self._frame, resumption, texts))
        joining = [member for member in self.members if member.awaits(group)]
        for member in [member for member in joining if not is_gate_known(member)]:
            joining.remove(member)
            self._show(group, member)
        if joining:
            snapshot = Snapshot([texts[key] for key in group.keys])
            now = asyncio.get_running_loop().time()
            for member in joining:
                self._metrics.snapshots += 1
                serve(group, member, snapshot, self._progress.cursor, now)

    def fail(self, problem: Problem) -> None:
        for resumption in self.resumptions:
            resumption.fail(problem)
        self._end(self.group, problem)

    def _unread(self, resumption: Resumption) -> list[Key]:
        """The keys of the records that a client needs and of which no image is at hand."""
        if resumption.is_torn:
            return self.group.keys
        with resumption.looking_back() as is_known:
            changes = resumption.concerned() if is_known else ()
            region = self.group.region_before(changes) if is_known else None
            return unread(region[: self.group.size], self.group.keys, _touched(changes)) if region is not None else []

    def _frame(
        self, resumption: Resumption, texts: Mapping[Key, str], changes: Sequence[Change]
    ) -> Frame | Reset | None:
        group = self.group
        region = group.region_before(changes)
        if region is None:
            return Reset("window")
        if not resumption.is_torn:
            return group.frame(region[: group.size], _touched(changes), texts)
        steps = [*resumption.single(), *changes]
        moved = {change.key for change in steps}
        if not group.is_complete and len(moved.union(region)) - len(moved) < group.size:
            return Reset("window")  # at some moment on the way it may have shown what is beyond its bound now
        return group.restated((*region, *_readable(group, steps)), texts) if steps else None


def _touched(changes: Iterable[Change]) -> Touched:
    return {change.key: (change.before, change.after) for change in changes}


def _readable(group: KeptGroup, changes: Iterable[Change]) -> Iterator[Key]:
    """The keys of the records that a client may have been told about on the way."""
    held, holds = group.conditions.held, group.conditions.holds
    for change in changes:
        if any(image is not None and (held(image) or holds(image)) for image in (change.before, change.after)):
            yield change.key


class Move(Job):
    """A subscription goes on with another query: what its client holds of the old one becomes the set of the new.

    `finish` is called with the frame that leads there, or a reset where it would be too long.
    """

    def __init__(
        self, old: LiveQuery, new: LiveQuery, group: KeptGroup, limits: LiveLimits, finish: Callable[[Outcome], None]
    ) -> None:
        self._queries = (old, new)
        self._group = group
        self._limits = limits
        self._finish = finish

    @property
    def plans(self) -> Sequence[Plan]:
        plans = [bounded(query.plan, self._limits.records) for query in self._queries]
        group = self._group
        return [*plans, group.load_plan()] if isinstance(group, WindowGroup) and not group.is_loaded else plans

    def take(self, pages: Sequence[Page]) -> None:
        plan = self._queries[1].plan
        was, now, *load = pages
        if load and isinstance(self._group, WindowGroup):
            self._group.load(load[0])
        if plan.limit is None and (was.more or now.more):
            return self._finish(Reset("rights"))
        old, new = (dict(zip(page.keys, page.records, strict=True)) for page in (was, now))
        frame = Differences(plan.selection.schema).of_sets(old, new, is_ordered=False)
        if frame is not None and is_ordered(plan):  # told even if it is the same: the client may have sorted so far
            frame = msgspec.structs.replace(frame, order=tuple(new))
        is_short = frame is None or frame.events <= self._limits.events
        self._finish(Missed("", frame) if is_short else Reset("rights"))

    def fail(self, problem: Problem) -> None:
        self._finish(Reset("rights"))
