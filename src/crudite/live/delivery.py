"""Delivery: a frame is encoded once for each audience, and its bytes are put into every outbox of it."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from crudite.live.frames import Format, Subscription
from crudite.live.groups import Audience, Group, Member, Sent, Snapshot
from crudite.live.limits import Metrics
from crudite.live.outbox import Outbox, hand_out
from crudite.live.parcels import Encoded

_log = logging.getLogger("crudite.live")
_CHUNK = 64 * 1024
_MOST_SETS = 2  # that may wait for one client, for each of its subscriptions and one more


def deliver(
    frames: Iterable[Sent], before: str, after: str, resumable: str | None, now: float, metrics: Metrics
) -> list[Group]:
    """Puts the frames that lead from one cursor to the next into the outboxes, and the commit behind them.

    Where the frames are of queries that are run again, `resumable` is the cursor of the exact lane, for formats that
    know no other. Returns the groups whose frames could not be encoded; those are not delivered.
    """
    due: list[Due] = []
    failed: list[Group] = []
    for sent in frames:
        try:
            due += [_encoded(sent, audience, before, after, resumable, metrics) for audience in _audiences(sent)]
        except Exception:
            _log.exception("a frame of group %s could not be encoded", sent.group.id)
            failed.append(sent.group)
    if len(due) == 1:
        hand_out(due[0].encoded.closing, list(due[0].outboxes), now)  # a slow one leaves them at once
    else:
        _hand_out_all(due, now)
    return failed


class Due(NamedTuple):
    """A frame for one audience, and the outboxes of that."""

    encoded: Encoded
    outboxes: Mapping[Outbox, int]


def _encoded(sent: Sent, audience: Audience, before: str, after: str, resumable: str | None, metrics: Metrics) -> Due:
    format = audience.format
    span = (before, after) if resumable is None or format.has_lanes else (resumable, resumable)
    since = before if resumable is None else ""
    encoded = Encoded(sent.frame, format, audience.to, *span, since=since, is_alone=audience.is_alone)
    metrics.frames += 1
    metrics.frame_bytes += encoded.closing.size
    metrics.deliveries += len(audience.outboxes)
    return Due(encoded, audience.outboxes)


def _hand_out_all(due: Iterable[Due], now: float) -> None:
    """Only the last frame of an outbox may carry the commit, and which one that is shows at the end: so every
    outbox holds back one frame until the next one comes or there is none."""
    touched: list[Outbox] = []
    for encoded, outboxes in due:
        for outbox in outboxes:
            if outbox.held is None:
                touched.append(outbox)
            else:
                outbox.add(outbox.held.opening)
            outbox.held = encoded
    for outbox in touched:
        last, outbox.held = outbox.held, None
        if last is not None:
            hand_out(last.closing, (outbox,), now)


def _audiences(sent: Sent) -> Iterable[Audience]:
    if sent.alone is None:
        return sent.group.audiences.values()
    member = sent.alone
    return (Audience(member, member.format, member.subscription, True, {member.outbox: 1}),)


def serve(group: Group, member: Member, snapshot: Snapshot, cursor: str, now: float) -> None:
    """Gives a member the whole set and its place among those who get the group's frames; nothing of it while its gate
    is shut, and nothing at all where it does not wait for that any more."""
    if not member.awaits(group):
        return
    if member.gate is not None and not member.gate.is_open:
        snapshot = Snapshot()
    format, to, outbox = member.format, member.subscription, member.outbox
    if to.query.counts:
        outbox.send(format.value(to, snapshot.value))
    else:
        outbox.stream(_parts(format, to, snapshot.records), _MOST_SETS * (len(member.home) + 1))
    outbox.send(format.ready(to, cursor))
    outbox.touched = now
    group.seat(member)


def _parts(format: Format, to: Subscription, records: Sequence[str]) -> Iterator[bytes]:
    """The messages of a snapshot, at least one, each of about 64 KiB."""
    start = size = 0
    for at, text in enumerate(records):
        size += len(text)
        if size >= _CHUNK:
            yield format.snapshot(to, records[start : at + 1])
            start, size = at + 1, 0
    if start < len(records) or not records:
        yield format.snapshot(to, records[start:])
