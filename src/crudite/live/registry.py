"""All groups, and which of them a change may concern."""

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from itertools import count
from typing import TypeAlias, TypeGuard, TypeVar

from crudite.changes import Change, ResetReason, Undecodable
from crudite.errors import TooManyRequests
from crudite.live.dependencies import Dependencies
from crudite.live.exact import ExactGroup, KeptGroup
from crudite.live.keysets import Conditions, KeySet, resting
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.matching import MatchIndex
from crudite.live.rerun import RerunGroup
from crudite.live.span import Span
from crudite.live.tiers import is_ordered, tier_of
from crudite.live.window import WindowGroup
from crudite.messages import LiveQuery

_log = logging.getLogger("crudite.live")
_SLICE = 500
AnyGroup: TypeAlias = KeptGroup | RerunGroup
Kind = TypeVar("Kind", KeptGroup, RerunGroup)


class Registry:
    """The groups by what they show, and by what may change them."""

    def __init__(self, limits: LiveLimits, metrics: Metrics, dependencies: Dependencies) -> None:
        self.dirty: set[RerunGroup] = set()
        self._limits = limits
        self._metrics = metrics
        self._dependencies = dependencies
        self._ids = count(1)
        self._groups: dict[Hashable, AnyGroup] = {}
        self._exact: dict[str, MatchIndex[KeptGroup]] = {}
        self._rerun: dict[str, MatchIndex[RerunGroup]] = {}
        self._watchers: dict[str, set[RerunGroup]] = {}
        self._reruns = 0

    @property
    def groups(self) -> list[AnyGroup]:
        """All groups there are."""
        return list(self._groups.values())

    @property
    def is_empty(self) -> bool:
        """Whether there is no group at all."""
        return not self._groups

    @property
    def has_reruns(self) -> bool:
        """Whether any query is run again when something changes."""
        return self._reruns > 0

    def of(self, resource: str) -> list[KeptGroup]:
        """The groups of a resource that are kept from its changes."""
        return [group for group in self._groups.values() if _is_of(group, resource)]

    def find(self, query: LiveQuery) -> AnyGroup | None:
        """The group of a query, if there is one."""
        return self._groups.get(_identity(query))

    def make(self, query: LiveQuery, key: str, conditions: Conditions | None) -> AnyGroup:
        """A new group for a query, which has none: from its `conditions`, or without them one that is run again.

        Raises TooManyRequests when it would be one more to compare every change with than allowed.
        """
        id, name = f"g{next(self._ids)}", query.plan.selection.schema.name
        group: AnyGroup
        if conditions is None:
            group = RerunGroup(id, key, query, self._limits.records)
        elif tier_of(query).name == "window":
            group = WindowGroup(id, key, query, conditions)
        else:
            group = ExactGroup(id, key, query, conditions)
        at = group.place
        if at is None and self._metrics.catch_all_groups >= self._limits.catch_all:
            raise TooManyRequests("Too many live queries have no equality or range to be found by.")
        if not isinstance(group, RerunGroup):
            self._exact.setdefault(name, MatchIndex()).add(group, at)
            self._dependencies.hold(group, group.uses)
        else:
            self._reruns += 1
            self._rerun.setdefault(name, MatchIndex()).add(group, at)
            for other in group.watched:
                self._watchers.setdefault(other, set()).add(group)
        self._groups[_identity(query)] = group
        self._count(at is None, 1)
        return group

    def discard(self, group: AnyGroup) -> None:
        """Lets go of a group that nobody belongs to."""
        if self._groups.pop(_identity(group.query), None) is None:
            return
        at, name = group.place, group.schema.name
        if not isinstance(group, RerunGroup):
            self._exact[name].remove(group, at)
            self._dependencies.let_go(group, group.uses)
        else:
            self._rerun[name].remove(group, at)
            self._reruns -= 1
            self.dirty.discard(group)
            for other in group.watched:
                self._watchers[other].discard(group)
        self._count(at is None, -1)

    async def concerned(self, span: Span) -> tuple[dict[KeptGroup, list[Change]], dict[KeptGroup, ResetReason]]:
        """The groups that a span may concern, each with the changes that its index found for it; and those of which
        that cannot be told, each with the reason: an image of their resource could not be understood, or what happened
        to a set that they rest on is not known.

        A long span is looked through in slices, so that it does not hold up the event loop.
        """
        found: dict[KeptGroup, list[Change]] = {}
        lost: dict[KeptGroup, ResetReason] = {}
        for changes in span.changes.values():
            for number, change in enumerate(changes, 1):
                if not number % _SLICE:
                    await asyncio.sleep(0)
                try:
                    candidates = self._candidates(self._exact, change)
                except Exception:
                    _log.exception("%r could not be matched", change)
                    lost.update(dict.fromkeys(self.of(change.schema.name), "undecodable"))
                    continue
                for group in candidates:
                    found.setdefault(group, []).append(change)
        for keys in span.flips:
            for user in keys.users:
                if isinstance(user, KeptGroup):
                    found.setdefault(user, [])
        for keys, reason in why_lost(span).items():
            for user in keys.users:
                if isinstance(user, KeptGroup):
                    lost.setdefault(user, reason)
        return found, lost

    def soil(self, changes: Iterable[Change]) -> None:
        """Marks as dirty each rerun group whose result the changes may change."""
        for change in changes:
            self.dirty |= self._watchers.get(change.schema.name, set())
            try:
                candidates = self._candidates(self._rerun, change)
                concerned = [group for group in candidates if group.concerns(change)]
            except Exception:
                _log.exception("%r could not be matched", change)
                concerned = [
                    g for g in self._groups.values() if isinstance(g, RerunGroup) and g.schema is change.schema
                ]
            self.dirty.update(concerned)

    def soil_resource(self, name: str) -> None:
        """Marks as dirty each rerun group that reads a resource of which nobody looks at the single changes."""
        self.dirty |= self._watchers.get(name, set())
        self.dirty.update(g for g in self._groups.values() if isinstance(g, RerunGroup) and g.schema.name == name)

    def _candidates(self, indexes: dict[str, MatchIndex[Kind]], change: Change) -> set[Kind]:
        index = indexes.get(change.schema.name)
        if index is None:
            return set()
        found: set[Kind] = set()
        for image in (change.before, change.after):
            if image is not None:
                found |= index.candidates(image)
        self._metrics.candidates += len(found)
        return found

    def _count(self, is_catch_all: bool, by: int) -> None:
        self._metrics.live_groups += by
        self._metrics.catch_all_groups += by if is_catch_all else 0


def why_lost(span: Span) -> Mapping[KeySet, ResetReason]:
    """Why a span cannot tell of the sets that it has lost: an image of a record that they, or those that they rest on,
    are made of cannot be read, or too much has changed."""
    made_of = {keys: {one.schema.name for one in (keys, *resting(keys.uses))} for keys in span.lost}
    broken = {name for name in set().union(*made_of.values()) if any(map(_is_undecodable, span.changes.get(name, ())))}
    return {keys: "too_many" if names.isdisjoint(broken) else "undecodable" for keys, names in made_of.items()}


def _is_undecodable(change: Change) -> bool:
    try:
        _ = change.before, change.after
    except Undecodable:
        return True
    return False


def _is_of(group: AnyGroup, resource: str) -> TypeGuard[KeptGroup]:
    return isinstance(group, KeptGroup) and group.schema.name == resource


def _identity(query: LiveQuery) -> Hashable:
    """What queries must have in common to share a group. Only where the order is told does the sort count."""
    plan = query.plan
    sort = plan.sort if is_ordered(plan) or plan.limit is not None else ()
    return query.identity, query.counts, tuple((key.path.names, key.descending) for key in sort)
