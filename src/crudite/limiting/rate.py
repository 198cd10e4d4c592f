"""A rate, and the verdict on one who wants to use it: the arithmetic of all who count.

It is the generic cell rate algorithm (ITU-T I.371, as a virtual schedule), which is a bucket of tokens that holds one
number. A bucket of `burst` tokens gets one every `interval` seconds. `debt` is how long it takes until it is full
again: each token taken adds an interval, time takes it away, and nobody may owe more than `burst` intervals. So at most
`burst` come at once, and over a longer time as many as the quota says; there is no window at whose border twice as
many would pass.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from crudite.errors import TooManyRequests
from crudite.messages import ACTIONS
from crudite.resources.request import Request

By: TypeAlias = "Literal['actor', 'address'] | Callable[[Request], str | None]"

_QUOTA = re.compile(r"([1-9][0-9]{0,8}) ?(?:/|per) ?([1-9][0-9]{0,5})? ?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_ACTIONS = (*ACTIONS, "set", "restore", "history", "call", "subscribe")
_NAME = re.compile(r"[ !#-\[\]-~]{1,100}")
_ALMOST = 1e-6
"""Seconds that two clocks' floats may differ by."""


@dataclass(frozen=True, slots=True, init=False)
class Rate:
    """How often one client may come: `Rate("100/minute")`, `Rate("5/minute", on="login", by="address")`.

    `quota` is a number of requests and a time: `"10/second"`, `"100/minute"`, `"1000/hour"`, `"50/15 minutes"`. That
    many may come at once, or `burst`; then one whenever its share of the time has passed.

    It holds for every request, or for those `on` some names (paths of resources, names of handlers, `auth` for the
    method of a WebSocket), of some actions (`list`, `read`, `create`, `replace`, `update`, `delete`, `set`, `call` of a
    handler, `subscribe`) and interfaces (`rest`, `sse`, `websocket`). Requests are counted `by` the actor (those of
    nobody known by their address), by the address, or by what a function makes of the request: a text, or None for one
    that is not counted. `name` is what headers, problems and figures call it.

    Raises ValueError for a quota that cannot be understood, an unknown action and a burst below 1.
    """

    quota: str
    burst: int
    on: frozenset[str]
    action: frozenset[str]
    interface: frozenset[str]
    by: By
    name: str
    amount: int = field(repr=False)
    seconds: int = field(repr=False)

    def __init__(
        self, quota: str, *, on: str | Collection[str] = (), action: str | Collection[str] = (),
        interface: str | Collection[str] = (), by: By = "actor", burst: int | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        found = _QUOTA.fullmatch(quota)
        if found is None:
            raise ValueError(f'a rate is written "100/minute" or "50/15 minutes", and not {quota!r}')
        if burst is not None and burst < 1:
            raise ValueError(f"burst must be a whole number above 0, and not {burst!r}")
        if by not in ("actor", "address") and not callable(by):
            raise ValueError(f"by is 'actor', 'address' or a function of the request, and not {by!r}")
        actions = _names(action)
        if unknown := actions - set(_ACTIONS):
            raise ValueError(f"action is one of {', '.join(_ACTIONS)}, and not {', '.join(sorted(unknown))}")
        amount = int(found[1])
        given: dict[str, Any] = {
            "quota": quota, "amount": amount, "seconds": int(found[2] or 1) * _SECONDS[found[3]],
            "burst": burst or amount, "on": _names(on), "action": actions, "interface": _names(interface), "by": by,
        }  # fmt: skip
        for attribute, value in given.items():
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "name", name or self._own_name())
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"the name of a rate is up to 100 characters of ASCII, without quotes, not {name!r}")

    @property
    def interval(self) -> float:
        """Seconds in which one request's worth comes back."""
        return self.seconds / self.amount

    @property
    def most(self) -> float:
        """The largest debt, in seconds."""
        return self.interval * self.burst

    def is_for(self, name: str, action: str, interface: str, is_live: bool) -> bool:
        """Whether it holds for requests of a name and an action by an interface, or for subscriptions to them."""
        return (
            (not self.on or name in self.on)
            and (not self.action or action in self.action or (is_live and "subscribe" in self.action))
            and (not self.interface or interface in self.interface)
        )

    def taken(self, debt: float, cost: int) -> float | None:
        """The debt after some more have been taken; None where that is too much. Raises ValueError for more than can
        ever be taken at once."""
        if not 1 <= cost <= self.burst:
            raise ValueError(f"of {self.name} 1 to {self.burst} are taken at once, and not {cost}")
        after = max(debt, 0.0) + self.interval * cost
        return after if after <= self.most + _ALMOST else None

    def _own_name(self) -> str:
        places = [" ".join(sorted(names)) for names in (self.action, self.on, self.interface) if names]
        who = "" if self.by == "actor" else f" by {self.by if isinstance(self.by, str) else 'function'}"
        return f"{self.quota}{''.join(f' {place}' for place in places)}{who}"


class Verdict(NamedTuple):
    """What came of somebody's wish to use a rate. `remaining` is how many he has left now, `reset` in how many seconds
    he has all of them again; `retry_after` in how many it is worth coming again, 0 when it was allowed."""

    rate: Rate
    is_allowed: bool
    remaining: int
    reset: float
    retry_after: float = 0.0

    @classmethod
    def allowed(cls, rate: Rate, debt: float) -> "Verdict":
        """It is allowed, and this is the debt now."""
        return cls(rate, True, _left(rate, debt), debt)

    @classmethod
    def refused(cls, rate: Rate, debt: float, cost: int) -> "Verdict":
        """It is refused, and the debt is what it was."""
        return cls(rate, False, _left(rate, debt), debt, max(debt + rate.interval * cost - rate.most, _ALMOST))

    def problem(self) -> TooManyRequests:
        """The problem of whoever was refused."""
        problem = TooManyRequests(
            f"At most {self.rate.quota}.",
            headers={"retry-after": str(ceil(self.retry_after))},
            retry_in=ceil(self.retry_after * 1000),
        )
        problem.extra[VIOLATED] = [self.rate.name]
        return problem


VIOLATED: Final = "violated-policies"
"""The member of a problem that names the rates which were passed (draft-ietf-httpapi-ratelimit-headers-10)."""


def _left(rate: Rate, debt: float) -> int:
    return max(int((rate.most - debt) / rate.interval + _ALMOST), 0)


def _names(given: str | Collection[str] | Sequence[str]) -> frozenset[str]:
    return frozenset((given,) if isinstance(given, str) else given)
