"""All groups, and which of them a change may concern."""

import logging
from collections.abc import Hashable, Iterable
from itertools import count
from typing import TypeAlias, TypeVar

from crudite.changes import Change
from crudite.errors import TooManyRequests
from crudite.live.exact import ExactGroup
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.matching import MatchIndex, place
from crudite.live.rerun import RerunGroup
from crudite.live.tiers import is_exact, is_ordered
from crudite.messages import LiveQuery

_log = logging.getLogger("crudite.live")
AnyGroup: TypeAlias = ExactGroup | RerunGroup
Kind = TypeVar("Kind", ExactGroup, RerunGroup)


class Registry:
    """The groups by what they show, and by what may change them."""

    def __init__(self, limits: LiveLimits, metrics: Metrics) -> None:
        self.dirty: set[RerunGroup] = set()
        self._limits = limits
        self._metrics = metrics
        self._ids = count(1)
        self._groups: dict[Hashable, AnyGroup] = {}
        self._exact: dict[str, MatchIndex[ExactGroup]] = {}
        self._rerun: dict[str, MatchIndex[RerunGroup]] = {}
        self._watchers: dict[str, set[RerunGroup]] = {}

    @property
    def groups(self) -> list[AnyGroup]:
        """All groups there are."""
        return list(self._groups.values())

    def group(self, query: LiveQuery, key: str) -> AnyGroup:
        """The group of a query, a new one if it is the first to ask.

        Raises TooManyRequests when the group would be one more to compare every change with than allowed.
        """
        group = self._groups.get(_identity(query))
        return group if group is not None else self._make(query, key)

    def discard(self, group: AnyGroup) -> None:
        """Lets go of a group that nobody belongs to."""
        if self._groups.pop(_identity(group.query), None) is None:
            return
        at = place(group.filter)
        if isinstance(group, ExactGroup):
            self._exact[group.schema.name].remove(group, at)
        else:
            self._rerun[group.schema.name].remove(group, at)
            self.dirty.discard(group)
            for name in group.watched:
                self._watchers[name].discard(group)
        self._count(at is None, -1)

    def exact(self, changes: Iterable[Change]) -> tuple[dict[ExactGroup, list[Change]], set[ExactGroup]]:
        """The exact groups that the changes may concern, each with those changes; and the groups for which
        that cannot be told, since an image of their resource could not be understood."""
        found: dict[ExactGroup, list[Change]] = {}
        lost: set[ExactGroup] = set()
        for change in changes:
            try:
                candidates = self._candidates(self._exact, change)
            except Exception:
                _log.exception("%r could not be matched", change)
                lost.update(group for group in self._of(change) if isinstance(group, ExactGroup))
                continue
            for group in candidates:
                found.setdefault(group, []).append(change)
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
                concerned = [group for group in self._of(change) if isinstance(group, RerunGroup)]
            self.dirty.update(concerned)

    def _of(self, change: Change) -> list[AnyGroup]:
        return [group for group in self._groups.values() if group.schema.name == change.schema.name]

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

    def _make(self, query: LiveQuery, key: str) -> AnyGroup:
        id, name = f"g{next(self._ids)}", query.plan.selection.schema.name
        group: AnyGroup
        group = ExactGroup(id, key, query) if is_exact(query) else RerunGroup(id, key, query, self._limits.records)
        at = place(group.filter)
        if at is None and self._metrics.catch_all_groups >= self._limits.catch_all:
            raise TooManyRequests("Too many live queries have no equality or range to be found by.")
        if isinstance(group, ExactGroup):
            self._exact.setdefault(name, MatchIndex()).add(group, at)
        else:
            self._rerun.setdefault(name, MatchIndex()).add(group, at)
            for other in group.watched:
                self._watchers.setdefault(other, set()).add(group)
        self._groups[_identity(query)] = group
        self._count(at is None, 1)
        return group

    def _count(self, is_catch_all: bool, by: int) -> None:
        self._metrics.live_groups += by
        self._metrics.catch_all_groups += by if is_catch_all else 0


def _identity(query: LiveQuery) -> Hashable:
    """What queries must have in common to share a group. Only where the order is told does the sort count."""
    sort = query.plan.sort if is_ordered(query.plan) else ()
    return query.identity, query.counts, tuple((key.path.names, key.descending) for key in sort)
