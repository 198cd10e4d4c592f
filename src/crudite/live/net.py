"""Several changes put together: by resource, or as their net effect on each record."""

from collections.abc import Iterable, Sequence

from crudite.changes import Change, ChangeKind


def net_effect(changes: Iterable[Change]) -> Sequence[Change]:
    """One change for each record that is another one after all of them, in the order of their first changes: from
    what it was at first to what it is at last.

    A record made and deleted in between is no change at all: what was only for a moment is not told.
    """
    spans: dict[tuple[str, object], list[Change]] = {}
    for change in changes:
        span = spans.setdefault((change.schema.name, change.key), [change, change])
        span[1] = change
    merged = (first if first is last else _merge(first, last) for first, last in spans.values())
    return [change for change in merged if change.before_json != change.after_json]


def by_resource(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """Changes by the names of their resources, each in order."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.schema.name, []).append(change)
    return found


def _merge(first: Change, last: Change) -> Change:
    before, after = first.before_json, last.after_json
    kind: ChangeKind = "created" if before is None else "deleted" if after is None else "updated"
    return Change(last.schema, last.key, kind, before, after, last.mark)
