"""What is kept live on one WebSocket connection, and how it follows from who is behind that."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import msgspec

from crudite.errors import Fault, Malformed, Problem
from crudite.interfaces.base import Host
from crudite.interfaces.subscribing import live_query
from crudite.interfaces.websocket.format import Text, subscription_problem
from crudite.interfaces.websocket.rights import nothing_of, rights
from crudite.live import Connection, Holds, Subscribed
from crudite.messages import ANONYMOUS, Actor, Live, LiveQuery
from crudite.resources.request import Request


class Asking(NamedTuple):
    """What a client asks to be kept live: its name for it, the query in JSON, and where it left off."""

    name: str
    asked: Mapping[str, Any]
    cursor: str | None
    key: str | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Self:
        """What the parameters of a call ask for. Raises Malformed."""
        name, cursor, key = params.get("sub"), params.get("cursor"), params.get("key")
        if not isinstance(name, str) or not name or len(name) > 100:
            raise Malformed(faults=[Fault("bad_value", "sub takes a name of up to 100 characters.", pointer="/sub")])
        if not isinstance(cursor, str | None) or not isinstance(key, str | None):
            raise Malformed(faults=[Fault("bad_value", "cursor and key are texts.", pointer="/cursor")])
        return cls(name, {k: v for k, v in params.items() if k in ("resource", "query", "read", "args")}, cursor, key)


class Kept:
    """The subscriptions of a connection, by what was asked for. `make` makes a request of it for an actor, by default
    for whoever shows its credentials; `say` sends it a message of its own."""

    __slots__ = ("_asked", "_connection", "_host", "_make", "_say")

    def __init__(
        self, host: Host, connection: Connection, make: Callable[[str, Actor], Request], say: Callable[[Text], None]
    ) -> None:
        self._host = host
        self._connection = connection
        self._make = make
        self._say = say
        self._asked: dict[str, bytes] = {}  # in JSON, which is small

    async def live(
        self, asked: Mapping[str, Any], request_id: str, actor: Actor = ANONYMOUS, *, is_free: bool = False
    ) -> tuple[LiveQuery, Actor]:
        """What an actor sees of what is asked for, and who that is; where it `is_free`, no rate counts it."""
        base = self._make(request_id, actor)
        base.is_free = is_free
        request = live_query(self._host, base, asked)
        with self._host.identify.living.waited_for():
            response = await self._host.pipeline(request)
        assert isinstance(response, Live)
        return response.query, request.actor

    async def add(
        self, asking: Asking, query: LiveQuery, announce: Callable[[Subscribed], bytes], holds: Holds
    ) -> None:
        """Keeps a query live that was made of what is asked for, see `Connection.subscribe`."""
        name, asked, cursor, key = asking
        kept = msgspec.json.encode(asked)
        await self._connection.subscribe(name, query, cursor=cursor, key=key, announce=announce, holds=holds)
        self._asked = {n: a for n, a in self._asked.items() if n in self._connection.members} | {name: kept}

    def drop(self, name: str) -> None:
        """Keeps it live no longer."""
        self._connection.unsubscribe(name)
        self._asked.pop(name, None)

    async def move(self, actor: Actor, holds: Holds, request_id: str) -> None:
        """Moves every subscription to what this actor may see, where that is something else: all together, since each
        shows what the one before might see until it has moved."""
        before = {name: member.subscription.query for name, member in self._connection.members.items()}
        asked = [(name, msgspec.json.decode(one)) for name, one in self._asked.items() if name in before]
        moving = (self._move_one(name, one, before[name], actor, holds, request_id) for name, one in asked)
        await asyncio.gather(*moving)

    async def _move_one(
        self, name: str, asked: Mapping[str, Any], before: LiveQuery, actor: Actor, holds: Holds, request_id: str
    ) -> None:
        refusal: Problem | None = None
        try:
            query, _ = await self.live(asked, request_id, actor, is_free=True)
        except Problem as problem:
            query, refusal = nothing_of(before), problem
        try:
            await self._connection.move(name, query, announce=_announce, holds=holds)
        except Problem as problem:
            refusal = problem
        if refusal is not None and name in self._connection.members:
            self._connection.unsubscribe(name)
            self._say(subscription_problem(name, refusal))


def _announce(subscribed: Subscribed) -> bytes:
    return rights(subscribed.subscription)
