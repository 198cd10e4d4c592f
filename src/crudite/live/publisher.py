"""Publishing: what a lane's step to its next position means for the connections, put into their outboxes in one go."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from crudite.changes import Position, ResetReason
from crudite.errors import Problem, Unexpected
from crudite.live.delivery import deliver
from crudite.live.groups import Group, Member, Sent
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.progress import Progress


class Publisher:
    """Puts the frames of one lane into the outboxes. `resumable` is the lane whose positions clients resume from;
    `end` ends a group."""

    def __init__(
        self,
        progress: Progress,
        resumable: Progress | None,
        limits: LiveLimits,
        metrics: Metrics,
        end: Callable[[Group, Problem], None],
    ) -> None:
        self._progress = progress
        self._resumable = resumable
        self._limits = limits
        self._metrics = metrics
        self._end = end

    def publish(
        self, frames: Sequence[Sent], void: Mapping[Group | Member, ResetReason], position: Position
    ) -> list[Member]:
        """Takes the lane to a position, by frames. What the members of some groups hold, or some members, is void, for
        a reason. Returns those members, who are to be started again."""
        reasons = dict(void)
        for sent in frames:
            if sent.frame.events > self._limits.events:
                reasons.setdefault(sent.alone or sent.group, "too_many")
        told = [sent for sent in frames if sent.group not in reasons and sent.alone not in reasons]
        # Resets go first: the commit behind the frames must not vouch for sets that these frames leave out.
        starting = [member for whose, reason in reasons.items() for member in self._void(whose, reason)]
        before = self._progress.cursor if told else ""
        self._progress.advance(position)
        if told:
            started = time.perf_counter()
            resumable = self._resumable.cursor if self._resumable is not None else None
            now = asyncio.get_running_loop().time()
            for group in deliver(told, before, self._progress.cursor, resumable, now, self._metrics):
                self._end(group, Unexpected())
            self._metrics.delivery_seconds += time.perf_counter() - started
        return starting

    def tell_reset(self, member: Member, reason: ResetReason) -> None:
        """What a member holds is void."""
        self._metrics.resets[reason] += 1
        member.outbox.send(member.format.reset(member.subscription, reason))

    def _void(self, whose: Group | Member, reason: ResetReason) -> list[Member]:
        members = [member for member in ([whose] if isinstance(whose, Member) else whose.members) if member.ready]
        for member in members:
            member.group.unseat(member)
            self.tell_reset(member, reason)
        return members
