"""One story: an application, its clients, and the oracle, taken through the steps; the first broken promise ends it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from crudite import LiveLimits, Problem
from crudite.stores import open_store
from crudite.testing import Client as Rest
from crudite.testing import Faulty
from tests.model.clients import FLEETING, Client, Held, Shown, SocketClient, StreamClient, Violation
from tests.model.oracle import Asked, State, Who, at
from tests.model.places import Place, place
from tests.model.steps import CLIENTS, Op, Step
from tests.model.world import CLASSES, World, random_limits


@dataclass(frozen=True)
class Observation:
    """What some subscriptions of one connection held at one position."""

    shown: Sequence[Shown]


class Story:
    """A world in which steps are taken. `counts` says how often what was checked."""

    def __init__(self, world: World, store: Faulty, here: Place, seed: int, patience: float = 20.0) -> None:
        self._world = world
        self.app = app = world.app
        self._patience = patience
        self._store = store
        self.rest = Rest(app, token="staff")
        self.states = [State(now=at(0))]
        self._minutes = 0
        self.counts = {"writes": 0, "refused": 0, "positions": 0, "sets": 0, "settled": 0}
        self._here = here
        self._random = Random(seed)
        self._observed: list[Observation] = []
        self._writing = {"rest": self._write_rest, "batch": self._write_batch, "foreign": self._write_foreign}
        self._first: dict[Held, int] = {}
        self._lanes: dict[tuple[Asked, Who], str] = {}
        self._answers: dict[tuple[Asked, Who, int], Any] = {}
        self.clients: list[SocketClient | StreamClient] = [
            (StreamClient if number % 3 == 2 else SocketClient)(app, number, self._observe, world.identify)
            for number in range(CLIENTS)
        ]

    async def take(self, step: Step) -> None:
        """Takes one step, and checks all that was observed meanwhile."""
        try:
            async with asyncio.timeout(3 * self._patience):
                await self._perform(step)
        except TimeoutError:
            raise Violation(f"this step does not end: {step}") from None
        self._check()

    async def _perform(self, step: Step) -> None:
        match step:
            case ("write", via, ops):
                await self._write(via, ops)
            case ("turns", count):
                await _turns(count)
            case ("open", number, token, queries):
                client = self.clients[number]
                await client.open(token, queries)
                await self._learn_lanes(client)
                self._forget()
            case ("auth", number, token):
                client = self.clients[number]
                if isinstance(client, SocketClient) and client.is_connected:
                    client.authenticate(token)
            case ("advance", minutes):
                await self._advance(minutes)
            case ("roles", name, via, ops):
                await self._change_roles(name, via, ops)
            case ("subscribe", number, asked):
                client = self.clients[number]
                if isinstance(client, SocketClient) and client.is_connected:
                    client.subscribe(asked)
            case ("unsubscribe", number, index):
                client = self.clients[number]
                if isinstance(client, SocketClient) and client.is_connected:
                    client.unsubscribe(index)
            case ("cut", number, how, count):
                self._cut(self.clients[number], how, count)
            case ("resume", number):
                if self.clients[number].subs and not self.clients[number].is_connected:
                    await self.clients[number].resume()
            case ("hold", number):
                self.clients[number].line.hold()
            case ("release", number):
                self.clients[number].line.release()
            case ("restart",):
                for client in self.clients:
                    client.line.release()
                self._store.heal()  # an application that cannot start is another story
                await self.app.stop()
                await self.app.start()
            case ("trim",):
                await self.app.store.trim(older_than=0, larger_than=0)
            case ("fault", name):
                self._store.fail(name)
            case ("settle",):
                await self._settle()

    async def close(self) -> None:
        """Ends all connections."""
        for client in self.clients:
            client.line.release()
            await client.leave()

    # time and rights

    async def _advance(self, minutes: int) -> None:
        """It gets later: what time it is belongs to a state, so that everything is told before. Tokens may expire."""
        await self._rest()
        fleeting = [c for c in self.clients if c.is_connected and (c.token or "").endswith(FLEETING)]
        hour = self._minutes // 60
        self._minutes += minutes
        self.states.append(replace(self.states[-1], now=at(self._minutes)))
        self._world.clock.advance(timedelta(minutes=minutes))
        await self._rest()
        await _turns(50)
        for client in self.clients:
            if client.is_connected and client.is_at_rest:
                self._expect_last(client)
        if self._minutes // 60 > hour:
            for client in fleeting:
                if client.is_connected:
                    raise Violation(f"{client.name} holds a connection with credentials that have expired")

    async def _rest(self) -> None:
        """Everybody who is connected has everything."""
        for client in self.clients:
            client.line.release()
            await client.until(lambda client=client: client.is_at_rest, self._patience)  # type: ignore[misc]
        await self.app.settled()
        for client in self.clients:
            if client.exchange is not None and client.is_connected:
                await client.exchange.consumed()
        self._check()

    async def _change_roles(self, name: str, via: str, ops: Sequence[Op]) -> None:
        """Somebody joins the staff, or leaves it, and something is written while his connections are told."""
        await self._rest()
        self._world.staff ^= {name}
        revoking = asyncio.ensure_future(self.app.revoke(account=name))
        try:
            await self._write(via, ops)
        finally:
            await revoking
        await self._rest()
        for client in self.clients:
            client.judge(client.who)
            await self._learn_lanes(client)

    async def _learn_lanes(self, client: Client) -> None:
        """Finds out what an event stream does not say."""
        if isinstance(client, StreamClient):
            for sub in list(client.subs.values()):
                sub.lane = await self._lane(sub.asked, client)

    # writing

    async def _write(self, via: str, ops: Sequence[Op]) -> None:
        state = self.states[-1]
        made: list[tuple[str, str, str, Any]] = []
        for op in ops:
            resource, key = op[1], op[2]
            is_there = key in state.table(resource)
            if any(key == other for _, _, other, _ in made) or (op[0] == "remove" and not is_there):
                continue
            if op[0] == "remove":
                made.append(("delete", resource, key, None))
                state = state.remove(resource, key, keys_hold=via != "foreign" or self._here.keys_hold)
                continue
            values = dict(op[3])
            if values.get("team", "") not in (*state.teams, "", None):
                values["team"] = next(iter(sorted(state.teams)), None)
            if values.get("parent") not in state.tasks:
                values |= {"parent": None} if "parent" in values else {}
            if resource == "members" and values["team"] is None:
                continue
            made.append(("update" if is_there else "create", resource, key, values))
            state = state.put(resource, key, values)
        if not made:
            return
        covered: list[Shown] = []
        is_done = await (self._write_socket(made, covered) if via == "socket" else self._writing[via](made))
        self.counts["writes" if is_done else "refused"] += 1
        if not is_done:
            return
        self.states.append(state)
        self._check()
        for one in covered:  # what was acknowledged has been sent: from here on they show it
            self._first[one.held] = len(self.states) - 1
        self._observed += [Observation([one]) for one in covered]

    async def _write_rest(self, made: Sequence[Any]) -> bool:
        [(action, resource, key, values)] = made
        if action == "create":
            answer = await self.rest.post(f"/{resource}", {"id": key, **values})
        elif action == "update":
            answer = await self.rest.patch(f"/{resource}/{key}", values)
        else:
            answer = await self.rest.delete(f"/{resource}/{key}")
        return _is_done(answer.status, answer.text)

    async def _write_batch(self, made: Sequence[Any]) -> bool:
        try:
            async with self.app.records.batch() as batch:
                for action, resource, key, values in made:
                    cls = CLASSES[resource]
                    if action == "create":
                        batch.create(cls, id=key, **values)
                    elif action == "update":
                        batch.update(cls, key, **values)
                    else:
                        batch.delete(cls, key)
        except Problem as problem:
            return _is_done(problem.status, str(problem))
        return True

    async def _write_socket(self, made: Sequence[Any], covered: list[Shown]) -> bool:
        """Over a connection that has queries of its own; what it holds when its `acks` come is put into `covered`."""
        [(action, resource, key, values)] = made
        writers = [c for c in self.clients if isinstance(c, SocketClient) and c.is_connected and c.may_write]
        if not writers:
            return await self._write_rest(made)
        params = {"data": {"id": key, **values}} if action == "create" else {"key": key, "data": values}
        client = writers[0]
        number, answer = client.write(f"{resource}.{action}", {"key": key} if action == "delete" else params)
        await client.until(lambda: answer.done(), self._patience)
        if not answer.done():  # cut off before the answer came: the database knows
            await client.leave()  # whatever becomes of the call is decided then
            return await self._is_as_asked(action, resource, key, values)
        message = answer.result()
        if "error" in message:
            return _is_done(message["error"]["code"], str(message["error"]))
        if message["result"].get("after") is not None:  # it has changed something
            await client.until(lambda: number in client.acked, self._patience)
            covered += client.acked.get(number, ())
        return True

    async def _is_as_asked(self, action: str, resource: str, key: str, values: Any) -> bool:
        found = await self.rest.get(f"/{resource}/{key}")
        if action == "delete":
            return found.status == 404
        return found.status == 200 and all(found.json[name] == value for name, value in values.items())

    async def _write_foreign(self, made: Sequence[Any]) -> bool:
        await self._here.write(made, self._random)
        return True

    # what clients hold

    def _observe(self, subs: Sequence[Held]) -> None:
        self._observed.append(Observation([sub.copy() for sub in subs]))

    def _check(self) -> None:
        observed, self._observed = self._observed, []
        for observation in observed:
            self._place(observation)
        for client in self.clients:
            for one in client.too_large:
                self._expect_large(one)
            client.too_large.clear()
            if client.failure is not None:
                raise Violation(f"client {client.number}: {client.failure!r}") from client.failure

    def _place(self, observation: Observation) -> None:
        """Finds the earliest state that all of them can have been at, not before any that they have been at."""
        shown = [one for one in observation.shown if not one.held.is_over]
        if not shown:
            return
        self.counts["positions"] += 1
        self.counts["sets"] += len(shown)
        first = max(self._first.get(one.held, 0) for one in shown)
        for index in range(first, len(self.states)):
            if all(one.equals(self._answer(one, index)) for one in shown):
                for one in shown:
                    self._first[one.held] = index
                return
        for one in shown:
            alone = range(self._first.get(one.held, 0), len(self.states))
            if not any(one.equals(self._answer(one, index)) for index in alone):
                raise Violation(self._told(one, "holds what is the answer in no state"))
        lines = [self._told(one, "") for one in shown]
        raise Violation("queries of one connection are at different states:\n" + "\n".join(lines))

    def _expect_large(self, one: Shown) -> None:
        most, first = self._world.limits.records, self._first.get(one.held, 0)
        answers = [] if one.held.asked.is_value else [self._answer(one, at) for at in range(first, len(self.states))]
        if max(map(len, answers), default=0) <= most:
            raise Violation(self._told(one, f"never holds more than {most}, and was ended for it"))

    def _answer(self, one: Shown, index: int) -> Any:
        question = (one.held.asked, one.who, index)
        if question not in self._answers:
            if len(self._answers) > 5_000:
                self._answers.clear()
            self._answers[question] = one.held.asked.answer(self.states[index], one.who)
        return self._answers[question]

    def _told(self, one: Shown, what: str) -> str:
        held = one.held
        first, last = self._first.get(held, 0), len(self.states) - 1
        shown = one.value if held.asked.is_value else sorted(one.records.values(), key=lambda row: row["id"])
        then, now = self._answer(one, first), self._answer(one, last)
        return (
            f"{held.name} of {one.who} {what}: {held.asked}\n  holds {shown!r} {one.order or ''}\n"
            f"  then  {then!r} (state {first})\n  now   {now!r} (state {last})"
        )

    # quiet

    async def _settle(self) -> None:
        """Everybody is there and everything has arrived: then all hold the last state, which is what REST says."""
        try:
            async with asyncio.timeout(self._patience):
                while not await self._is_quiet():
                    pass
        except TimeoutError:
            waiting = [sub.name for client in self.clients for sub in client.subs.values() if not sub.is_ready]
            raise Violation(f"after {self._patience} s, not ready: {waiting}") from None
        self._check()
        self.counts["settled"] += 1
        for client in self.clients:
            self._expect_last(client)
        self._store.heal()
        await self._compare_with_rest()

    def _expect_last(self, client: Client) -> None:
        for sub in client.subs.values():
            one = sub.copy()
            self._first[sub] = len(self.states) - 1
            if not one.equals(self._answer(one, len(self.states) - 1)):
                raise Violation(self._told(one, "has not come to the last state"))

    async def _is_quiet(self) -> bool:
        for client in self.clients:
            if client.subs and not client.is_connected:
                await client.resume()
        await self._rest()
        await _turns(50)  # whoever was given up as slow ends now
        return all(client.is_at_rest for client in self.clients)

    async def _compare_with_rest(self) -> None:
        client = self._random.choice(self.clients)
        for sub in list(client.subs.values()):
            rest = self.rest.acting(client.token)
            asked = sub.asked.json
            if "read" in asked:
                answer = (await rest.get(f"/{asked['read']}")).json
            else:
                answer = (await rest.post(f"/{asked['resource']}/query", asked["query"])).json
            held = sub.value if sub.asked.is_value else {row["id"]: row for row in sub.records.values()}
            expected = answer if sub.asked.is_value else {row["id"]: row for row in answer}
            if held != expected:
                raise Violation(f"{sub.name} of {sub.who}: {sub.asked}\n  holds {held!r}\n  REST  {answer!r}")

    def _cut(self, client: Client, how: str, count: int) -> None:
        if not client.is_connected:
            return
        if how == "now":
            client.line.cut()
        elif isinstance(client, StreamClient):
            client.line.cut_after(**({"bytes": count} if how == "bytes" else {"events": count % 20 + 1}))
        else:
            client.line.cut_after(messages=count % 12 + 1)

    async def _lane(self, asked: Asked, client: Client) -> str:
        """The lane of a query, which only a WebSocket tells; it can change where sets of keys may be too large."""
        if self._world.limits.keys < LiveLimits().keys:
            return "unknown"
        if (asked, client.who) not in self._lanes:
            async with self.rest.acting(client.token).websocket() as socket:
                answer = await socket.call("subscribe", {"sub": "lane", **asked.json})
            self._lanes[asked, client.who] = answer["lane"]
        return self._lanes[asked, client.who]

    def _forget(self) -> None:
        living = {sub for one in self.clients for sub in one.subs.values()}
        self._first = {sub: index for sub, index in self._first.items() if sub in living}


async def _turns(count: int) -> None:
    """So many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def _is_done(status: int, text: str) -> bool:
    if status >= 500:
        raise Violation(f"a write failed with {status}: {text}")
    return status < 400


async def tell(
    steps: Sequence[Step], seed: int, patience: float = 20.0, *, server: str | None = None
) -> dict[str, int]:
    """Takes the steps in a world of their own, on SQLite or on a PostgreSQL server. Returns what was checked. Raises
    Violation, also when something does not come within `patience` seconds."""
    random = Random(seed)

    async def stumble(step: str, call: Any) -> None:
        await _turns(random.choice((0, 0, 0, 1, 2, 5)))

    async with place(server) as here:
        store = Faulty(open_store(here.url), stumble)
        world = World(store, random_limits(random) if random.random() < 0.5 else LiveLimits())
        async with world.app:
            story = Story(world, store, here, seed, patience)
            try:
                for step in steps:
                    await story.take(step)
            except Violation:
                with suppress(Violation):
                    await story.close()
                raise
            await story.close()
            return story.counts


__all__ = ["Story", "tell"]
