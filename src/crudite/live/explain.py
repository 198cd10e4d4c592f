"""How a live query is served, and why: its tier, its place in the index, what it rests on, and with whom it shares."""

from typing import Literal, TypeAlias

import msgspec

from crudite.live.exact import KeptGroup
from crudite.live.gates import Gate, gated
from crudite.live.groups import Group
from crudite.live.keysets import resting
from crudite.live.limits import LiveLimits, Metrics
from crudite.live.matching import Equality, Inside, Interval, Nowhere, Place, place
from crudite.live.rerun import RerunGroup
from crudite.live.tiers import Tier, TierName, membership, others, own_part, tier_of
from crudite.messages import LiveQuery
from crudite.query.identity import identity_of

IndexKind: TypeAlias = Literal["equality", "keys", "range", "never", "none"]


class Index(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the engine finds the query for a change.

    By `equality`: the record's `field` has one of so many `values`, before or after the change. By `keys`: it has one
    that is in a key set of so many values. By `range`: it lies between bounds. `never`: no record can be in the set.
    `none`: every change of the resource is compared with the query. `detail` says so in words.
    """

    by: IndexKind
    detail: str
    field: str | None = None
    values: int | None = None


class KeySetSize(msgspec.Struct, frozen=True):
    """A set of keys that conditions through other records rest on: the values of `field` in some of the records of
    `resource`; `keys` is how many, None while it is not loaded."""

    resource: str
    field: str
    keys: int | None


class Sharing(msgspec.Struct, frozen=True):
    """The group of the query: `subscriptions` to it, on so many `connections`, get frames that are encoded as often
    as `encodings` says."""

    id: str
    subscriptions: int
    connections: int
    encodings: int


class Used(msgspec.Struct, frozen=True):
    """A limit: what is `used` of the `most` that may be."""

    used: int
    most: int


class GateState(msgspec.Struct, frozen=True):
    """What lets viewers of one group in or keeps them out: `detail` in words, whether it is `open` (None when nobody
    stands before it), and how many `subscriptions` do."""

    detail: str
    open: bool | None
    subscriptions: int


class Explanation(msgspec.Struct, frozen=True):
    """How a live query is served. Without a `group` nobody subscribes to it at the moment.

    `gate`: what of its conditions is decided for all its records at once, so that it shares the group of all who ask
    for the same without that. `reads` are the other resources whose changes may change the result. `limits`:
    `catch_all` groups of the whole engine, where the query is (or would be) one of them.
    """

    resource: str
    tier: TierName
    reason: str
    index: Index
    gate: GateState | None
    reads: tuple[str, ...]
    key_sets: tuple[KeySetSize, ...]
    group: Sharing | None
    limits: dict[str, Used]


def explain(query: LiveQuery, group: Group | None, limits: LiveLimits, metrics: Metrics) -> Explanation:
    """How a query is served; `group` is its group, if somebody subscribes to it."""
    tier = _tier(query, group, limits)
    at = group.place if isinstance(group, KeptGroup) else place(own_part(membership(query.plan)))
    return Explanation(
        resource=query.plan.selection.schema.name,
        tier=tier.name,
        reason=tier.reason,
        index=_index(at),
        gate=_gate(query, group),
        reads=tuple(sorted(schema.name for schema in others(query))),
        key_sets=_key_sets(query, group),
        group=_sharing(group) if group is not None else None,
        limits={"catch_all": Used(metrics.catch_all_groups, limits.catch_all)} if at is None else {},
    )


def _tier(query: LiveQuery, group: Group | None, limits: LiveLimits) -> Tier:
    tier = tier_of(query)
    if isinstance(group, RerunGroup) and tier.name != "rerun":
        return Tier("rerun", f"Its conditions rest on a set of more than {limits.keys:,} keys of other records.")
    return tier


def _index(at: Place) -> Index:
    match at:
        case Equality(field, values):
            many = f"one of {len(values)} values" if len(values) > 1 else "one value"
            detail = f"A change concerns it only where {field.name} has {many}, before or after."
            return Index("equality", detail, field.name, len(values))
        case Inside(name, keys):
            detail = f"A change concerns it only where {name} is in a set of keys, before or after."
            return Index("keys", detail, name, len(list(keys.values)))
        case Interval(field, low, high):
            side = "between two bounds" if low is not None and high is not None else "on one side of a bound"
            detail = f"A change concerns it only where {field.name} lies {side}, before or after."
            return Index("range", detail, field.name)
        case Nowhere():
            return Index("never", "No record can be in the set.")
    return Index("none", "No field decides: every change of the resource is compared with it.")


def _gate_of(query: LiveQuery, group: Group | None) -> Gate | None:
    parts = gated(query)
    if parts is None or not isinstance(group, KeptGroup):
        return None
    return group.gates.get(identity_of(parts.condition))


def _gate(query: LiveQuery, group: Group | None) -> GateState | None:
    parts = gated(query)
    if parts is None or isinstance(group, RerunGroup):
        return None
    gate = _gate_of(query, group)
    detail = (
        f"For {', '.join(f'{name}={value!r}' for name, value in parts.record.items())} other records decide it at once."
    )
    return GateState(detail, gate.is_open if gate is not None else None, len(gate.members) if gate is not None else 0)


def _key_sets(query: LiveQuery, group: Group | None) -> tuple[KeySetSize, ...]:
    if not isinstance(group, KeptGroup):
        return ()
    gate = _gate_of(query, group)
    rests_on = group.rests_on | (resting(gate.uses) if gate is not None else frozenset())
    found = [KeySetSize(k.schema.name, k.field.name, len(k.counts) if k.is_loaded else None) for k in rests_on]
    return tuple(sorted(found, key=lambda one: (one.resource, one.field, one.keys or 0)))


def _sharing(group: Group) -> Sharing:
    connections = {member.outbox for member in group.members}
    return Sharing(group.id, len(group.members), len(connections), len(group.audiences))
