"""The exact lane: leads groups, windows and key sets from the position of one batch to that of the next.

For every batch: what it does to key sets, which groups it concerns, what must be read for them at the batch's own
position; then, in one go, the frames. After that, at the same position, whoever waits for a read is served.
A `turn` is held meanwhile, and by whoever brings somebody in between two batches.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crudite.changes import Change, Position, ResetReason
from crudite.live.dependencies import Dependencies
from crudite.live.exact import ExactGroup, KeptGroup
from crudite.live.feeds import Feeds
from crudite.live.frames import Frame
from crudite.live.gates import Gate
from crudite.live.groups import Group, Member, Sent
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.net import by_resource, net_effect
from crudite.live.publisher import Publisher
from crudite.live.registry import Registry, why_lost
from crudite.live.serving import Serving
from crudite.live.span import Span
from crudite.live.tail import Tail
from crudite.live.tiers import bounded, is_ordered
from crudite.live.window import Draft, WindowGroup
from crudite.query.plan import Plan
from crudite.stores.base import Batch, Page

_log = logging.getLogger("crudite.live")
_TRIES = 3


@dataclass(slots=True)
class _Step:
    """What a batch does, as far as it has been found out."""

    span: Span
    groups: dict[KeptGroup, Sequence[Change]] = field(default_factory=dict)
    drafts: dict[WindowGroup, tuple[Draft, Sequence[Page]]] = field(default_factory=dict)
    void: dict[Group | Member, ResetReason] = field(default_factory=dict)
    switched: dict[Gate, Page] = field(default_factory=dict)


class ExactLane:
    """Works through the batches of the log. `start` brings a member to its set."""

    def __init__(
        self, registry: Registry, dependencies: Dependencies, feeds: Feeds, serving: Serving, tail: Tail,
        publisher: Publisher, limits: LiveLimits, metrics: Metrics, start: Callable[[Member], None],
    ) -> None:  # fmt: skip
        self.turn = asyncio.Lock()
        self._registry = registry
        self._dependencies = dependencies
        self._feeds = feeds
        self._serving = serving
        self._tail = tail
        self._publisher = publisher
        self._limits = limits
        self._metrics = metrics
        self._start = start
        self._failures = 0

    async def work(self, batch: Batch) -> None:
        """Works through one batch."""
        self._metrics.batches += 1
        self._metrics.changes += len(batch.changes)
        async with self.turn:
            if batch.reset is not None:
                self.start_over(batch.reset.reason, batch.position)
            else:
                await self._lead_on(batch)
            if self._serving.is_wanted:
                await self._serving.serve(batch.fetch)

    def start_over(self, reason: ResetReason, position: Position) -> None:
        """What anybody holds is void; everybody gets a new snapshot at or after the position."""
        self._feeds.spoil(reason)
        self._dependencies.forget_all()
        groups = [group for group in self._registry.groups if isinstance(group, KeptGroup)]
        for group in groups:
            if isinstance(group, WindowGroup):
                group.forget()
        self._tail.clear(position)
        for member in self._publisher.publish([], dict.fromkeys(groups, reason), position):
            self._start(member)

    async def _lead_on(self, batch: Batch) -> None:
        if self._registry.is_empty and not self._dependencies and not self._feeds.groups:  # it concerns nobody
            self._keep(batch)
            self._publisher.publish([], {}, batch.position)
        else:
            self._publish(batch, await self._find(batch))

    async def _find(self, batch: Batch) -> _Step:
        started = time.perf_counter()
        step = _Step(Span(by_resource(net_effect(batch.changes)), self._limits.rows))
        span = step.span
        for name in batch.bulk:
            span.lost.update(self._dependencies.of(name))
            step.void.update((group, "too_many") for group in self._registry.of(name))
        if self._dependencies:
            await self._dependencies.settle(span, batch.fetch)
        found, lost = await self._registry.concerned(span)
        step.void.update((group, reason) for group, reason in lost.items() if group not in step.void)
        for group, own in found.items():
            await span.fetch_rows(span.wanted(group.schema, group.uses), batch.fetch)
            if span.is_lost_for(group.schema, group.uses):
                step.void.setdefault(group, "too_many")
            elif group not in step.void:
                step.groups[group] = group.concerned(span, own)
        with span.active():
            drafts = {group: self._draft(group, step) for group in step.groups if isinstance(group, WindowGroup)}
        self._metrics.match_seconds += time.perf_counter() - started
        await self._read(drafts, batch, step)
        await self._read_behind_gates(batch, step)
        return step

    async def _read_behind_gates(self, batch: Batch, step: _Step) -> None:
        """Reads the sets behind the gates that open or shut."""
        users = {user for keys in (*step.span.flips, *step.span.lost) for user in keys.users if isinstance(user, Gate)}
        gates: list[Gate] = []
        lost = why_lost(step.span)
        for gate in users:
            reason: ResetReason | None = next((lost[use.keys] for use in gate.uses if use.keys in lost), None)
            if reason is not None:
                step.void.update(dict.fromkeys((member for member in gate.members if member.ready), reason))
                continue
            with step.span.active():
                if gate.was_open != gate.is_open and any(member.ready for member in gate.members):
                    gates.append(gate)
        pages = await batch.fetch([self._whole(gate) for gate in gates]) if gates else ()
        step.switched = dict(zip(gates, pages, strict=True))

    def _whole(self, gate: Gate) -> Plan:
        """What to read of the set behind a gate: as much as a frame can hold."""
        plan = next(iter(gate.members)).group.query.plan
        return bounded(plan, self._limits.events + 1)

    def _draft(self, group: WindowGroup, step: _Step) -> Draft | None:
        if not group.is_loaded:
            return None
        try:
            return group.draft(step.groups[group])
        except Exception:
            _log.exception("changes could not be applied to window %s", group.id)
            step.void[group] = "undecodable"
            return None

    async def _read(self, drafts: dict[WindowGroup, Draft | None], batch: Batch, step: _Step) -> None:
        """Reads what the drafts need."""
        made = [(group, draft) for group, draft in drafts.items() if draft is not None]
        plans: list[Plan] = [plan for _, draft in made for plan in draft.plans]
        try:
            pages = iter(await batch.fetch(plans) if plans else ())
            self._failures = 0
        except Exception as error:
            self._failures += 1
            if self._failures < _TRIES:
                raise
            _log.warning("what %d windows need could not be read, trying each alone: %s", len(made), error)
            return await self._read_singly(made, batch, step)
        for group, draft in made:
            self._metrics.refills += draft.refill is not None
            step.drafts[group] = draft, [next(pages) for _ in draft.plans]

    async def _read_singly(self, made: Sequence[tuple[WindowGroup, Draft]], batch: Batch, step: _Step) -> None:
        """The same, one by one; a window that cannot be read starts over, and the others go on."""
        for group, draft in made:
            try:
                step.drafts[group] = draft, await batch.fetch(draft.plans) if draft.plans else ()
            except Exception:
                _log.exception("what window %s needs could not be read", group.id)
                step.void[group] = "gap"

    def _publish(self, batch: Batch, step: _Step) -> None:
        started = time.perf_counter()
        span = step.span
        with span.active():
            switched, opened = self._switch(step)  # what a window shows is asked before it goes on
            frames = [sent for group, own in step.groups.items() if (sent := self._sent(group, own, step)) is not None]
        self._metrics.match_seconds += time.perf_counter() - started
        for group in step.void:
            if isinstance(group, WindowGroup):
                group.forget()
        for name in batch.bulk:
            self._feeds.spoil("too_many", name)
        self._feeds.add(by_resource(batch.changes))
        self._dependencies.apply(span)
        self._keep(batch)
        for member in self._publisher.publish([*frames, *switched], step.void, batch.position):
            self._start(member)
        for member in opened:
            if member.ready:
                member.group.admit(member)
        self._measure_lag(batch.changes)

    def _keep(self, batch: Batch) -> None:
        """Whoever comes back is told from here; across a bulk, from the log."""
        if batch.bulk:
            self._tail.clear(batch.position)
        else:
            self._tail.add(batch.changes, batch.position)

    def _sent(self, group: KeptGroup, changes: Sequence[Change], step: _Step) -> Sent | None:
        try:
            if isinstance(group, WindowGroup):
                frame = group.settle(*step.drafts[group]) if group in step.drafts else None
            else:
                frame = group.frame(changes) if group.audiences and isinstance(group, ExactGroup) else None
        except Exception:
            _log.exception("changes could not be told to group %s", group.id)
            step.void[group] = "undecodable"
            return None
        self._metrics.residual_evals += len(changes)
        return Sent(group, frame) if frame is not None and group.audiences else None

    def _switch(self, step: _Step) -> tuple[list[Sent], list[Member]]:
        """Shuts out the members whose gate shuts. Returns the frames that take everything from them and give it to
        those whose gate opens, and the latter."""
        frames: list[Sent] = []
        opened: list[Member] = []
        for gate, page in step.switched.items():
            members = [member for member in gate.members if member.ready and member.group not in step.void]
            if not members:
                continue
            group = members[0].group
            frame = _given(group, page) if gate.is_open else self._taken(group, page, step)
            if frame is None:
                step.void.update((member, "too_many") for member in members)
                continue
            for member in members:
                if gate.is_open:
                    opened.append(member)
                else:
                    group.dismiss(member)
                if frame.events:
                    frames.append(Sent(group, frame, member))
        return frames, opened

    def _taken(self, group: Group, page: Page, step: _Step) -> Frame | None:
        """What removes all that a group has shown so far; None when that is too much to know."""
        order = () if is_ordered(group.query.plan) else None
        if isinstance(group, WindowGroup):
            return Frame(removed=tuple(group.keys), order=order) if group.is_loaded else None
        if page.more or not isinstance(group, ExactGroup):
            return None
        held = dict.fromkeys(page.keys)
        for change in step.groups.get(group, ()):
            if change.before is not None and group.conditions.held(change.before):
                held[change.key] = None
            else:
                held.pop(change.key, None)
        return Frame(removed=tuple(held))

    def _measure_lag(self, changes: Sequence[Change]) -> None:
        after = next((change.after for change in reversed(changes) if change.after_json is not None), None)
        updated = after.get("updated_at") if after is not None else None
        if isinstance(updated, str):
            self._metrics.lagged((datetime.now(UTC) - datetime.fromisoformat(updated)).total_seconds())


def _given(group: Group, page: Page) -> Frame | None:
    """What gives all that a group shows; None when it is too much."""
    plan = group.query.plan
    if page.more and plan.limit is None:
        return None
    return Frame(added=tuple(page.records), order=tuple(page.keys) if is_ordered(plan) else None)
