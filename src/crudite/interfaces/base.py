"""The interface port, and the routes that interfaces put into an application."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeAlias

from crudite.auth import Identification
from crudite.buses.base import Bus
from crudite.channels import ChannelLimits, Channels, Hub
from crudite.clock import Clock
from crudite.errors import Problem, TooLarge, TooManyRequests, Unavailable
from crudite.interfaces.origins import Origins
from crudite.limiting import Limiter, network
from crudite.live import Engine, LiveLimits
from crudite.live.bounds import SECONDS, SOME, Bound, check
from crudite.pipeline import Pipeline
from crudite.query.tree import Filter
from crudite.resources.declaring.definition import Definitions
from crudite.resources.handlers import Handler
from crudite.resources.request import Request
from crudite.stores.base import Store
from crudite.tokens import Sealer

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Endpoint: TypeAlias = Callable[[Scope, Receive, Send, tuple[str, ...]], Awaitable[None]]
"""An ASGI application with the values of its route's parameters, decoded, in order."""


class Told(NamedTuple):
    """A problem as it is answered over HTTP: its status, the type of its body (None without one), its body."""

    status: int
    kind: bytes | None
    body: bytes


Tell: TypeAlias = Callable[[Problem, str, str], Told]
"""How a problem is told: the problem, the request's id, the path at which the application is mounted."""

EVENT_STREAM = "the event stream"
"""Who owns the path of the streams that carry several queries."""

_LONGEST_WAIT = 60.0
_BOUNDS: Mapping[str, Bound] = {
    **dict.fromkeys(
        ("body", "message", "connections", "arrivals", "refusals", "url", "head", "headers", "sockets"), SOME
    ),
    **dict.fromkeys(("silence", "head_time", "body_time", "take_time"), SECONDS),
}
_LIMIT_CODES = frozenset((
    "name_too_long", "path_too_long", "too_deep", "too_many", "too_many_conditions", "too_many_names",
    "too_many_values",
))  # fmt: skip


class Router:
    """Finds the endpoint of a path: a tree of path segments, literal ones before parameters.

    A pattern is written `/todos/{key}/subscribe`. Below each path there is one endpoint for each HTTP method,
    one for `WEBSOCKET`, and one for requests that accept an event stream, `STREAM`.
    """

    def __init__(self) -> None:
        self._root = _Node()
        self.routes: list[tuple[str, tuple[str, ...], str]] = []
        """Every pattern that was added, its methods and its owner, in order; without what yields."""
        self.prefixes: dict[str, object] = {}
        """Below which prefixes interfaces have put resources and handlers, in order, each with what narrows the rules
        there."""
        self._tells: dict[tuple[str, ...], Tell] = {}

    def add(
        self, pattern: str, methods: Iterable[str], endpoint: Endpoint, owner: str, *, yields: bool = False
    ) -> str | None:
        """Puts an endpoint below a path. Returns the owner of what is there already, if something is. One that `yields`
        is there only as long as nothing else has that path, whatever the method."""
        methods = tuple(methods)
        node = self._root
        for segment in filter(None, pattern.split("/")):
            node = node.child(segment)
        if yields and not node.yields:
            if node.endpoints:
                return None
            node.yields = True
        elif not yields:
            self.routes.append((pattern, methods, owner))
            if node.yields:
                node.yields = False
                node.endpoints.clear()
                node.owners.clear()
        taken = [node.owners[method] for method in methods if method in node.owners]
        for method in methods:
            if method not in node.owners:
                node.endpoints[method] = endpoint
                node.owners[method] = owner
        return taken[0] if taken else None

    def speak_below(self, prefix: str, narrowing: object) -> list[str]:
        """An interface has resources and handlers below a prefix, which are narrowed by the options of its style.
        Returns the fault of one that narrows otherwise what another interface shows there: what a list of the one
        refuses would be in a stream of the other."""
        if self.prefixes.setdefault(prefix, narrowing) == narrowing:
            return []
        text = "The interfaces at {!r} narrow rules by different options, so that one shows what another refuses"
        return [f"{text.format(prefix or '/')}; give them one style, such as old = Wheelhouse(…), or other prefixes."]

    def tell_below(self, prefix: str, tell: Tell) -> None:
        """Problems of requests below a path that have no endpoint are told in this way."""
        self._tells[tuple(filter(None, prefix.split("/")))] = tell

    def teller(self, segments: list[str]) -> Tell | None:
        """The way that problems of a path without an endpoint are told; None for the usual one."""
        for length in range(len(segments), -1, -1) if self._tells else ():
            if (tell := self._tells.get(tuple(segments[:length]))) is not None:
                return tell
        return None

    def find(
        self, segments: list[str], method: str | None = None
    ) -> tuple[MutableMapping[str, Endpoint], tuple[str, ...]] | None:
        """The endpoints below a path, by method, and the values of its parameters; None for an unknown path.

        With a `method`, a path that has no such endpoint does not count: then a parameter may take a segment
        that is also a literal one.
        """
        return _find(self._root, segments, 0, (), method)

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
        """Every path that has endpoints, as its segments (a parameter is `{key}`), and the owner of each method."""
        return _walk(self._root, ())


class _Node:
    __slots__ = ("endpoints", "literal", "owners", "parameter", "yields")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.endpoints: dict[str, Endpoint] = {}
        self.owners: dict[str, str] = {}
        self.yields = False

    def child(self, segment: str) -> "_Node":
        if not segment.startswith("{"):
            return self.literal.setdefault(segment, _Node())
        if self.parameter is None:
            self.parameter = _Node()
        return self.parameter


def _find(
    node: _Node, segments: list[str], index: int, found: tuple[str, ...], method: str | None
) -> tuple[MutableMapping[str, Endpoint], tuple[str, ...]] | None:
    if index == len(segments):
        is_there = method in node.endpoints if method is not None else bool(node.endpoints)
        return (node.endpoints, found) if is_there else None
    literal = node.literal.get(segments[index])
    if literal is not None:
        deeper = _find(literal, segments, index + 1, found, method)
        if deeper is not None:
            return deeper
    if node.parameter is None:
        return None
    return _find(node.parameter, segments, index + 1, (*found, segments[index]), method)


def _walk(node: _Node, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    if node.endpoints:
        yield above, node.owners
    for segment, child in node.literal.items():
        yield from _walk(child, (*above, segment))
    if node.parameter is not None:
        yield from _walk(node.parameter, (*above, "{key}"))


class Worker(NamedTuple):
    """One of several processes behind one port: its number, and a directory that they share."""

    number: int
    directory: Path


class Host(Protocol):
    """What an application lends to its interfaces."""

    definitions: Definitions
    handlers: dict[str, Handler]
    pipeline: Pipeline
    identify: Identification
    engine: Engine
    channels: Channels
    hub: Hub
    sealer: Sealer
    limits: "Limits"
    admission: "Admission"
    limiter: Limiter
    origins: Origins
    store: Store
    bus: Bus
    worker: Worker | None
    staff: Filter
    is_leaving: bool
    clock: Clock
    title: str

    @property
    def mode(self) -> str:
        """`dev` while somebody works on the application, else `run`."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether answers can depend on who asks, so that no shared cache may keep them."""
        ...

    @property
    def routes(self) -> Router:
        """What answers which path."""
        ...

    def performer(self, request: Request) -> Any:
        """The records API's way to act as the actor of a request."""
        ...


class Interface(Protocol):
    """One way to speak to the application. Interfaces do not know each other."""

    @property
    def name(self) -> str:
        """What `Request.interface` says."""
        ...

    def mount(self, host: Host, router: Router) -> list[str]:
        """Adds the interface's routes; returns one sentence for each path that somebody else has already."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may ask for at once, and how long they may take. All are positive; raises ValueError that names
    every other.

    - `body`: bytes of a request's body. `message`: bytes of a WebSocket message.
    - `connections`: living ones (streams and WebSockets) from one address. `arrivals`: how many of those begin within
      one second, from all addresses together.
    - `silence`: seconds until a WebSocket's first message. `refusals`: how many of its messages in a row may be refused
      by rates before it is closed.
    - `live`: what the live engine allows, the number of a connection's subscriptions among it. `channels`: what
      channels do.

    What follows our own server sees to (`crudite run`); elsewhere it is the affair of whatever serves the application.

    - `url`: bytes of a request's target. `head`: bytes of its headers together with that; `headers`: how many.
    - `sockets`: connections from one address at the same time, WebSockets apart, and never fewer than `connections`.
      Not of a proxy that is trusted to say where requests come from.
    - `head_time`: seconds until the head of a request is whole, from the connection or its first byte on; `body_time`:
      until a request, or a WebSocket message that comes in several frames, is whole; `take_time`: until a client that
      takes nothing goes on to take what it is sent.
    """

    body: int = 1_000_000
    message: int = 1_000_000
    connections: int = 2_000
    arrivals: int = 2_000
    silence: float = 60
    refusals: int = 100
    url: int = 8_192
    head: int = 32_768
    headers: int = 100
    sockets: int = 4_000
    head_time: float = 10
    body_time: float = 60
    take_time: float = 60
    live: LiveLimits = field(default_factory=LiveLimits)
    channels: ChannelLimits = field(default_factory=ChannelLimits)

    def __post_init__(self) -> None:
        check(self, _BOUNDS)


class _TooManyConnections(TooManyRequests):
    """An address has as many connections as it may have."""


class Admission:
    """Decides who may begin a living connection (a stream or a WebSocket), and counts those that live, and what
    was refused.

    Each address (of IPv6: each network of 64 bits) has so many at once, in this process. Over all of them so many
    begin in a second: a bucket of tokens, filled at that rate, which holds as many as a second brings. Whoever finds it
    empty is told when to come back: at random within the time that it takes to admit all who were sent away, so that a
    crowd comes back as a stream.
    `clock` tells seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
        self.living: Counter[str] = Counter()
        """How many connections of each kind (`http` for streams, `websocket`) live now."""
        self.refused: Counter[str] = Counter()
        """How many were refused for each reason: `address`, `arrivals`."""
        self.passed: Counter[str] = Counter()
        """How often each other limit was passed, by its name; those of queries by the code of their fault."""
        self._limits = limits
        self._clock = clock
        self._addresses: Counter[str] = Counter()
        self._tokens = float(limits.arrivals)
        self._crowd = 0.0  # how many were sent away and are still to come back, if they do as they were told
        self._counted_at = clock()

    def note(self, problem: Problem) -> None:
        """Counts the limits that a problem tells of."""
        if isinstance(problem, TooLarge):
            self.passed["too_large"] += 1
        elif isinstance(problem, TooManyRequests) and not (problem.extra or isinstance(problem, _TooManyConnections)):
            self.passed["subscriptions"] += 1
        for fault in problem.faults:
            if fault.code in _LIMIT_CODES:
                self.passed[fault.code] += 1

    def admit(self, scope: Scope) -> AbstractContextManager[None]:
        """One connection's place, which is taken at once and given back when it is left. Raises TooManyRequests when
        its address has no more of them, Unavailable with a time to come back at when too many begin at once."""
        client = scope.get("client")
        address = network(client[0] if client else None)
        if self._addresses[address] >= self._limits.connections:
            self.refused["address"] += 1
            raise _TooManyConnections(f"At most {self._limits.connections} connections come from one address.")
        self._take_token()
        return _Place(self.living, self._addresses, scope["type"], address)

    def _take_token(self) -> None:
        rate, now = self._limits.arrivals, self._clock()
        passed, self._counted_at = (now - self._counted_at) * rate, now
        self._tokens = min(self._tokens + passed, float(rate))
        self._crowd = max(self._crowd - passed, 0.0)
        if self._tokens >= 1:
            self._tokens -= 1
            return
        self.refused["arrivals"] += 1
        self._crowd = min(self._crowd + 1, _LONGEST_WAIT * rate)
        wait = 1 + random.uniform(0, self._crowd / rate)  # noqa: S311 (it spreads load)
        headers = {"retry-after": str(ceil(wait))}
        raise Unavailable("Too many connections begin at the same time.", headers=headers, retry_in=int(wait * 1000))


class _Place:
    """One connection's place, taken from the first: while it opens, too, it is one of so many."""

    __slots__ = ("_address", "_addresses", "_kind", "_living")

    def __init__(self, living: Counter[str], addresses: Counter[str], kind: str, address: str) -> None:
        self._living = living
        self._addresses = addresses
        self._kind = kind
        self._address = address
        addresses[address] += 1
        living[kind] += 1

    def __enter__(self) -> None:
        """Nothing: it is taken."""

    def __exit__(self, *_: object) -> None:
        self._living[self._kind] -= 1
        self._addresses[self._address] -= 1
        if not self._addresses[self._address]:
            del self._addresses[self._address]
