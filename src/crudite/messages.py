"""What goes round: a request of one action, its response, and a query that is to be kept live."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from crudite.query.plan import Plan

ActionName: TypeAlias = Literal["list", "read", "create", "replace", "update", "delete"]
ACTIONS: tuple[ActionName, ...] = ("list", "read", "create", "replace", "update", "delete")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking. Nobody known is `ANONYMOUS`, whose `id` is None.

    `roles` and `claims` are what authentication found; rules speak of them as `me.roles` and `me.<claim>`.
    """

    id: str | int | None = None
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_known(self) -> bool:
        """Whether somebody is signed in."""
        return self.id is not None


ANONYMOUS = Actor()


@dataclass(frozen=True, eq=False)
class LiveQuery:
    """A query that rules have been applied to, ready to be kept live.

    `identity` is equal for two of them exactly when the same records with the same fields are shown by the same
    schema, so that their subscribers can share one group: it holds the query, the mask, and the values of the
    actor that the rules used. `counts` asks for the number of records in place of the records. `rebind` is
    there when the query speaks of `now` or `today`: it makes the plan for another moment; `boundary_plans` are
    then the plans, for the plan's moment, whose first record's first sort value is a moment at which the result
    can change by itself (with `today`, the next midnight in UTC is one too).
    """

    plan: Plan
    identity: str
    counts: bool = False
    rebind: Callable[[datetime], "LiveQuery"] | None = None
    boundary_plans: tuple[Plan, ...] = ()
    wakes_at_midnight: bool = False
