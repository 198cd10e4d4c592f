"""Grouping: from a query to the group that all who see the same share, and the gate before it."""

from collections.abc import Callable

from crudite.errors import Conflict
from crudite.live.cursors import Cursors
from crudite.live.dependencies import Dependencies
from crudite.live.exact import KeptGroup
from crudite.live.gates import Gate, Gated, gated
from crudite.live.groups import Barrier, Group
from crudite.live.keysets import Conditions
from crudite.live.registry import AnyGroup, Registry
from crudite.live.tiers import membership, others, tier_of
from crudite.messages import LiveQuery
from crudite.query.identity import identity_of
from crudite.query.plan import Mask


class Grouping:
    """Finds groups, and makes those that are missing. `wake` asks for a batch, in which key sets are loaded."""

    def __init__(
        self, registry: Registry, dependencies: Dependencies, cursors: Cursors, wake: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._dependencies = dependencies
        self._cursors = cursors
        self._wake = wake

    async def group_of(self, query: LiveQuery) -> tuple[AnyGroup, Gate | None]:
        """The group of a query, and the gate before it if there is one: made if it is the first to ask, as soon as
        what they rest on is known. Raises Conflict for what rests on records that are in no log."""
        for schema in (query.plan.selection.schema, *others(query)):
            if not schema.logged:
                raise Conflict(f"Changes of {schema.name} are in no log, so what rests on it cannot be live.")
        if tier_of(query).name == "rerun":
            return self._rerun(query), None
        parts = gated(query)
        shared = parts.query if parts is not None else query
        found = self._registry.find(shared)
        if found is not None and parts is None:
            return found, None
        conditions = self._dependencies.conditions(membership(shared.plan), shared.plan.selection.mask)
        front = self._dependencies.conditions(parts.condition, Mask(())) if parts is not None else None
        uses = (*conditions.uses, *(front.uses if front is not None else ()))
        holder = object()
        self._dependencies.hold(holder, uses)
        try:
            if self._dependencies.are_wanted:
                self._wake()
            if not await self._dependencies.ready(uses):
                return self._rerun(query), None
            group = self._registry.find(shared) or self._registry.make(shared, self._cursors.key(shared), conditions)
            return group, self._gate(group, parts, front) if parts is not None and front is not None else None
        finally:
            self._dependencies.let_go(holder, uses)

    def find(self, query: LiveQuery) -> Group | None:
        """The group that a query has now, if it has one."""
        parts = gated(query)
        found = self._registry.find(parts.query) if parts is not None else None
        return found or self._registry.find(query)

    def discard_empty(self, group: Group, gate: Barrier | None) -> bool:
        """Lets go of a gate and a group that nobody needs any more; whether the group was such."""
        if isinstance(gate, Gate) and isinstance(group, KeptGroup) and not gate.is_needed:
            self._dependencies.let_go(gate, gate.uses)
            if group.gates.get(gate.identity) is gate:
                del group.gates[gate.identity]
        if group.is_needed or not isinstance(group, AnyGroup):
            return False
        self._registry.discard(group)
        return True

    def _rerun(self, query: LiveQuery) -> AnyGroup:
        return self._registry.find(query) or self._registry.make(query, self._cursors.key(query), None)

    def _gate(self, group: AnyGroup, parts: Gated, conditions: Conditions) -> Gate:
        assert isinstance(group, KeptGroup)
        identity = identity_of(parts.condition)
        gate = group.gates.get(identity)
        if gate is None:
            gate = group.gates[identity] = Gate(identity, conditions, parts.record)
            self._dependencies.hold(gate, gate.uses)
        return gate
