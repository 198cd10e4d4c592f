"""One story: an application, its clients, and the oracle, taken through the steps; the first broken promise ends it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from crudite import LiveLimits
from tests.model.clients import Client
from tests.model.held import Violation
from tests.model.judge import Judge
from tests.model.oracle import Asked, State, Who, at
from tests.model.places import Place
from tests.model.processes import Process
from tests.model.roles import FLEETING
from tests.model.sockets import SocketClient
from tests.model.steps import CLIENTS, Op, Step
from tests.model.streams import StreamClient
from tests.model.turns import turns
from tests.model.world import World
from tests.model.writers import Writers


class Story:
    """A world in which steps are taken, on a database that other programs write, too."""

    def __init__(self, world: World, place: Place, seed: int, patience: float) -> None:
        self._world = world
        self._roles = world.roles
        self._patience = patience
        self._random = Random(seed)
        self._processes = [Process(app) for app in world.apps]
        self._judge = Judge(State(now=at(0)), world.roles, world.limits.records)
        self.counts = self._judge.counts
        self._minutes = 0
        self._revoking: list[asyncio.Task[None]] = []
        self._leaving: list[SocketClient] = []  # who take nothing while they are sent away
        self._lanes: dict[tuple[Asked, Who], str] = {}
        self.clients: list[SocketClient | StreamClient] = [
            (StreamClient if number % 3 == 2 else SocketClient)(world.apps[0], number, self._judge.observe, world.roles)
            for number in range(CLIENTS)
        ]
        self._writers = Writers(world, place, self._processes, self._judge, self.clients, patience)

    async def take(self, step: Step) -> None:
        """Takes one step, and checks all that was observed meanwhile."""
        try:
            async with asyncio.timeout(3 * self._patience):
                await self._perform(step)
        except TimeoutError:
            raise Violation(f"this step does not end: {step}") from None
        self._judge.check(self.clients)

    async def _perform(self, step: Step) -> None:
        match step:
            case ("write", via, ops, where):
                await self._writers.write(via, ops, where)
            case ("foreign", how, ops, undoes):
                await self._writers.write_foreign(how, ops, undoes=undoes)
            case ("empty", resource):
                await self._writers.empty(resource)
            case ("nothing", where):
                await self._writers.write_nothing(where)
            case ("show", ops, where, is_silent):
                await self._show(ops, where, is_silent=is_silent)
            case ("begin", slot, ops, is_prepared):
                await self._writers.begin(slot, ops, is_prepared=is_prepared)
            case ("end", slot, commits):
                await self._writers.end(slot, commits=commits)
            case ("turns", count):
                await turns(count)
            case ("rest",):
                await self._rest()
            case ("open", number, where, token, queries):
                client = self.clients[number]
                client.app = self._world.apps[where]
                await client.open(token, queries)
                await self._learn_lanes(client)
                self._judge.forget(lambda: (sub for one in self.clients for sub in one.subs.values()))
            case ("advance", minutes):
                await self._advance(minutes)
            case ("restart", where):
                await self._restart(where)
            case ("trim", older_than, larger_than, where):
                await self._world.stores[where].trim(older_than=older_than, larger_than=larger_than)
            case ("fault", name, where):
                self._world.stores[where].fail(name)
            case ("settle",):
                await self._settle()
            case ("roles", kind, name, via, ops, where):
                await self._change_roles(kind, name, via, ops, where)
            case ("revoke", kind, name, where):
                self._promote(kind, name, where)
            case ("sign out", token, where):
                self._sign_out(token, where)
            case ("dawdle", count):
                self._roles.dawdle(count)
            case ("revoked",):
                await self._until_revoked()
            case (kind, number, *more):
                await self._perform_at(kind, self.clients[number], *more)

    async def _perform_at(self, kind: str, client: Client, *more: Any) -> None:
        """What one client does, or has done to it."""
        match kind, *more:
            case ("cut", how, count):
                self._cut(client, how, count)
            case ("resume", where):
                if client.subs and not client.is_connected:
                    self.counts["moved"] += client.app is not self._world.apps[where]
                    client.app = self._world.apps[where]
                    await client.resume()
            case ("hold",):
                client.line.hold()
            case ("release",):
                client.line.release()
            case _ if isinstance(client, SocketClient) and client.is_connected:
                self._call(kind, client, *more)

    def _call(self, kind: str, client: SocketClient, given: Any, knows: bool = False) -> None:
        match kind:
            case "auth":
                client.authenticate(given)
            case "subscribe" if knows and self._writers.mark is not None:
                index, mark = self._writers.mark
                self._judge.begins(client.subscribe(given, mark), index)
            case "subscribe":
                client.subscribe(given)
            case "unsubscribe":
                client.unsubscribe(given)

    def _cut(self, client: Client, how: str, count: int) -> None:
        if not client.is_connected:
            return
        if how == "now":
            client.line.cut()
        elif isinstance(client, StreamClient):
            client.line.cut_after(**({"bytes": count} if how == "bytes" else {"events": count % 20 + 1}))
        else:
            client.line.cut_after(messages=count % 12 + 1)

    async def _restart(self, where: int) -> None:
        """One process is replaced; the others go on."""
        await self._until_revoked()  # or it could not be told to the others
        app = self._world.apps[where]
        for client in self.clients:
            if client.app is app:
                client.line.release()
        self._world.stores[where].heal()  # an application that cannot start is another story
        await app.stop()
        await app.start()

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*self._revoking, return_exceptions=True)
        for client in self.clients:
            client.line.release()
            await client.leave()

    # time and rights

    async def _advance(self, minutes: int) -> None:
        """It gets later: what time it is belongs to a state, so that everything is told before. Tokens may expire."""
        await self._until_judged()
        await self._rest()
        fleeting = [c for c in self.clients if c.is_connected and c.is_let_in and (c.token or "").endswith(FLEETING)]
        hour = self._minutes // 60
        self._minutes += minutes
        self._judge.states.append(replace(self._judge.last, now=at(self._minutes)))
        self._world.clock.advance(timedelta(minutes=minutes))
        await self._rest()
        await turns(50)
        for client in self.clients:
            if client.is_connected and client.is_at_rest:
                self._judge.expect_last(client)
        if self._minutes // 60 > hour:
            for client in fleeting:
                if client.is_connected:
                    raise Violation(f"{client.name} holds a connection with credentials that have expired")

    async def _rest(self) -> None:
        """Everybody who is connected has everything."""
        for client in self.clients:
            client.line.release()
            await client.until(lambda client=client: client.is_at_rest, self._patience)  # type: ignore[misc]
        for app in self._world.apps:
            await app.settled()
        for client in self.clients:
            if client.exchange is not None and client.is_connected:
                await client.exchange.consumed()
        self._judge.check(self.clients)

    async def _change_roles(self, kind: str, name: str, via: str, ops: Sequence[Op], where: int) -> None:
        """Somebody joins the staff, or leaves it, and something is written while his connections are told."""
        await self._until_judged()
        await self._rest()
        self._promote(kind, name, where)
        try:
            await self._writers.write(via, ops, where)
        finally:
            await self._until_revoked()
        await self._until_judged()

    def _promote(self, kind: str, name: str, where: int) -> None:
        """Somebody has other rights from now on, and one process is told."""
        self._judge.check(self.clients)
        (self._roles.promote_all if kind == "account" else self._roles.promote)(name)
        self._revoke(kind, name, where)

    def _sign_out(self, token: str, where: int) -> None:
        """One session ends, and one process is told."""
        self._judge.check(self.clients)
        for client in self.clients:
            is_here = client.app is self._world.apps[where] and client.token == token
            if is_here and isinstance(client, SocketClient) and client.takes_nothing:
                self._leaving.append(client)
        self._roles.send_away(token)
        self._revoke("session", token, where)

    def _revoke(self, kind: str, name: str, where: int) -> None:
        self._revoking.append(asyncio.create_task(self._world.apps[where].revoke(**{kind: name})))

    async def _until_revoked(self) -> None:
        """All have been told who are at the process that was asked, and no slow reader has held it up."""
        revoking, self._revoking = self._revoking, []
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.gather(*revoking)
        except TimeoutError:
            raise Violation("a revocation does not end") from None
        leaving, self._leaving = self._leaving, []
        for client in leaving:
            if client.takes_nothing and self._roles.is_away(client.token):
                client.is_sent_away()

    async def _until_judged(self) -> None:
        """All processes have heard of all revocations: from now on everybody has the rights of now and no others."""
        await self._until_revoked()
        if self._roles.are_sure:
            return
        for client in self.clients:
            client.line.release()
        for app in self._world.apps:
            await app.settled()
        await self._rest()
        for client in self.clients:
            if client.is_let_in and client.is_connected and self._roles.is_away(client.token):
                raise Violation(f"{client.name} holds a connection with {client.token!r}, which was revoked")
        self._judge.check(self.clients)
        self.counts["judged anew"] += 1
        self._roles.hold()
        for client in self.clients:
            client.judge(client.who)
            if client.is_connected and client.is_at_rest:
                self._judge.expect_last(client)
            await self._learn_lanes(client)

    async def _learn_lanes(self, client: Client) -> None:
        """Finds out what an event stream does not say."""
        if isinstance(client, StreamClient):
            for sub in list(client.subs.values()):
                sub.lane = await self._lane(sub.asked, client)

    async def _lane(self, asked: Asked, client: Client) -> str:
        """The lane of a query, which only a WebSocket tells; it can change where sets of keys may be too large."""
        unknown = not self._roles.are_sure or self._world.limits.keys < LiveLimits().keys
        if unknown:
            return "unknown"
        if (asked, client.who) not in self._lanes:
            async with self._processes[0].rest.acting(client.token).websocket() as socket:
                answer = await socket.call("subscribe", {"sub": "lane", **asked.json})
            self._lanes[asked, client.who] = answer["lane"]
        return self._lanes[asked, client.who]

    # quiet

    async def _settle(self) -> None:
        """Everybody is there and everything has arrived: then all hold the last state, which is what REST says."""
        await self._until_judged()
        try:
            async with asyncio.timeout(self._patience):
                while not await self._is_quiet():
                    pass
        except TimeoutError:
            waiting = [sub.name for client in self.clients for sub in client.subs.values() if not sub.is_ready]
            raise Violation(f"after {self._patience} s, not ready: {waiting}") from None
        self._judge.check(self.clients)
        self.counts["settled"] += 1
        for client in self.clients:
            self._judge.expect_last(client)
        for store in self._world.stores:
            store.heal()
        await self._compare_with_rest()

    async def _show(self, ops: Sequence[Op], where: int, *, is_silent: bool) -> None:
        """Everybody sees what is written though nobody asks whether he does, also while the bus is silent."""
        await self._until_judged()
        await self._rest()
        for bus in self._world.buses:
            bus.is_silent = is_silent
        await self._writers.write("batch", ops, where)
        for client in self.clients:
            with suppress(Violation):
                await client.until(lambda client=client: self._judge.is_at_last(client), self._patience)  # type: ignore[misc]
            if client.is_connected:
                self._judge.check(self.clients)
                self._judge.expect_last(client)
        for bus in self._world.buses:
            bus.is_silent = False

    async def _is_quiet(self) -> bool:
        for client in self.clients:
            if client.subs and not client.is_connected:
                await client.resume()
        await self._rest()
        await turns(50)  # whoever was given up as slow ends now
        return all(client.is_at_rest for client in self.clients)

    async def _compare_with_rest(self) -> None:
        client = self._random.choice(self.clients)
        for sub in list(client.subs.values()):
            rest = self._random.choice(self._processes).rest.acting(client.token)
            asked = sub.asked.json
            if "read" in asked:
                answer = (await rest.get(f"/{asked['read']}")).json
            else:
                answer = (await rest.post(f"/{asked['resource']}/query", asked["query"])).json
            held = sub.value if sub.asked.is_value else {row["id"]: row for row in sub.records.values()}
            expected = answer if sub.asked.is_value else {row["id"]: row for row in answer}
            if held != expected:
                raise Violation(f"{sub.name} of {sub.who}: {sub.asked}\n  holds {held!r}\n  REST  {answer!r}")
