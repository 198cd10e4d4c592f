"""The net effect of several changes: for each record, from what it was at first to what it is at last."""

from collections.abc import Iterable, Sequence

from crudite.changes import Change, ChangeKind


def net_effect(changes: Iterable[Change]) -> Sequence[Change]:
    """One change for each record that is another one after all of them, in the order of their first changes.

    A record made and deleted in between is no change at all: what was only for a moment is not told.
    """
    spans: dict[tuple[str, object], list[Change]] = {}
    for change in changes:
        span = spans.setdefault((change.schema.name, change.key), [change, change])
        span[1] = change
    merged = (first if first is last else _merge(first, last) for first, last in spans.values())
    return [change for change in merged if change.before_json != change.after_json]


def _merge(first: Change, last: Change) -> Change:
    before, after = first.before_json, last.after_json
    kind: ChangeKind = "created" if before is None else "deleted" if after is None else "updated"
    return Change(last.schema, last.key, kind, before, after, last.mark)
