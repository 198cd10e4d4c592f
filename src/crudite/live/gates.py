"""Gates: what of a rule a query's own conditions have decided already, so that viewers can share a group.

"The tasks of project 7, for members of their project" asks of every record the same: whether 7 is among the projects
of the viewer. That is a condition on the viewer alone. It is taken out of the query and becomes a gate in front of
its group: all members of the project are in one group, and whose gate is shut gets nothing of it.
"""

from dataclasses import replace
from typing import NamedTuple

import msgspec

from crudite.live.groups import Member
from crudite.live.keysets import Conditions, Use, term
from crudite.live.matching import conjunction
from crudite.messages import LiveQuery
from crudite.query.identity import identity_of
from crudite.query.match import reads_others
from crudite.query.plan import Selection
from crudite.query.resolve import join
from crudite.query.tree import And, Filter, Or, Test
from crudite.types import PlainRecord


class Gate:
    """A condition that all records of a group fulfil or none, through what other records say; and the members behind
    it. It is asked of `record`, the values that all records of the group have."""

    def __init__(self, identity: str, conditions: Conditions, record: PlainRecord) -> None:
        self.identity = identity
        self.members: set[Member] = set()
        self.awaited = 0  # how many are about to come
        self._conditions = conditions
        self._record = record

    @property
    def is_needed(self) -> bool:
        """Whether anybody stands behind it, or is about to."""
        return bool(self.members) or self.awaited > 0

    @property
    def uses(self) -> tuple[Use, ...]:
        """The key sets that it rests on."""
        return self._conditions.uses

    @property
    def was_open(self) -> bool:
        """Whether it was open at the old end of the active span."""
        return self._conditions.held(self._record)

    @property
    def is_open(self) -> bool:
        """Whether it is open: now, or at the new end of the active span."""
        return self._conditions.holds(self._record)


def is_gate_known(member: Member) -> bool:
    """Whether it is known what a member's gate is, if it has one: what that rests on may have to be read first."""
    gate = member.gate
    return not isinstance(gate, Gate) or all(use.keys.is_loaded for use in gate.uses)


class Gated(NamedTuple):
    """A query taken apart: the `query` of the group, the `condition` of the gate, and what it is asked of."""

    query: LiveQuery
    condition: Filter
    record: PlainRecord


def gated(query: LiveQuery) -> Gated | None:
    """The query without the conditions that its own equalities have decided; None when there are none.

    Two queries that are the same without them share a group.
    """
    plan = query.plan
    selection = plan.selection
    terms = list(conjunction(selection.filter))
    equalities = [one for one in terms if isinstance(one, Test) and _is_equality(one)]
    record = {one.path.field.name: one.value for one in equalities}
    decided = [one for one in terms if _is_decided(one, record)]
    if not decided:
        return None
    whole, rest = identity_of(selection.filter), join([one for one in terms if one not in decided], either=False)
    if whole not in query.identity:
        return None
    base = Selection(selection.schema, rest, selection.mask)
    identity = f"{query.identity.replace(whole, identity_of(rest), 1)} gated"
    shared = replace(query, plan=msgspec.structs.replace(plan, selection=base), identity=identity)
    return Gated(shared, join(decided, either=False), record)


def _is_equality(test: Test) -> bool:
    path = test.path
    return test.operator == "eq" and not test.negated and not path.hops and not path.inside and path.type.item is None


def _is_decided(filter: Filter, record: PlainRecord) -> bool:
    """Whether a condition looks at nothing but other records, along fields whose values are known."""
    if isinstance(filter, And | Or):
        return bool(filter.terms) and all(_is_decided(one, record) for one in filter.terms)
    return reads_others(filter) and term(filter).field in record
