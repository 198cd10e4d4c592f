"""The rates of an application: which of them hold for a request, and under which keys it is counted."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from ipaddress import IPv6Address, ip_address
from typing import Final

from crudite.limiting.limiter import Limiter
from crudite.limiting.rate import Rate
from crudite.limiting.telling import rate_fields
from crudite.resources.request import Request

AUTH: Final = "auth"
"""By which name a WebSocket's client shows other credentials."""

_MOST_KEPT = 10_000


def network(address: str | None) -> str:
    """What an address counts as: itself; of IPv6 the network of 64 bits, all of which one machine may have."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


class Rates:
    """Some rates, which are taken from a limiter."""

    def __init__(self, rates: Sequence[Rate], limiter: Limiter) -> None:
        self._rates = tuple(rates)
        self._limiter = limiter
        self._concerned: dict[tuple[str, str, str, bool], tuple[Rate, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._rates)

    def faults(self, names: Collection[str]) -> list[str]:
        """What is wrong with them in an application that has these resources and handlers, one sentence each."""
        known = {*names, AUTH}
        told = [rate.name for rate in self._rates]
        faults = [
            f"Two rates are called {name!r}: give one a name=." for name in dict.fromkeys(told) if told.count(name) > 1
        ]
        for rate in self._rates:
            for name in sorted(rate.on - known):
                near = get_close_matches(name, known, 1)
                hint = f"; is {near[0]!r} meant?" if near else "."
                faults.append(
                    f"The rate {rate.name!r} is on {name!r}, which no resource and no handler is called{hint}"
                )
        return faults

    def are_for(self, name: str, action: str) -> bool:
        """Whether any holds for requests over REST of a name and an action."""
        return bool(self._rates and self._of(name, action, "rest", False))

    def of(self, request: Request) -> tuple[Rate, ...]:
        """The rates that hold for a request."""
        if not self._rates or request.is_free:
            return ()
        return self._of(request.name, request.action, request.interface, request.is_live)

    async def count(self, request: Request, rates: Iterable[Rate]) -> None:
        """Counts a request by some of its rates, and notes in it what came of that. Raises TooManyRequests."""
        for rate in rates:
            key = _key(request, rate)
            if key is None:
                continue
            verdict = await self._limiter.take(key, rate)
            request.verdicts = (*request.verdicts, verdict)
            if not verdict.is_allowed:
                problem = verdict.problem()
                problem.headers.update(rate_fields(request.verdicts))
                raise problem

    def _of(self, name: str, action: str, interface: str, is_live: bool) -> tuple[Rate, ...]:
        asked = (name, action, interface, is_live)
        found = self._concerned.get(asked)
        if found is None:
            if len(self._concerned) >= _MOST_KEPT:
                self._concerned.clear()
            found = self._concerned[asked] = tuple(rate for rate in self._rates if rate.is_for(*asked))
        return found


def _key(request: Request, rate: Rate) -> str | None:
    """Under which key a request is counted; None where it is not."""
    if callable(rate.by):
        made = rate.by(request)
        return None if made is None else f"function {made}"
    if rate.by == "actor" and request.actor.is_known:
        return f"actor {type(request.actor.id).__name__} {request.actor.id}"
    return f"address {network(request.credentials.address)}"
