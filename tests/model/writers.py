"""Who writes in a story: clients of the application, its own code, and other programs; and the states after that."""

from collections.abc import Sequence
from typing import Any

from tests.model.clients import Client
from tests.model.held import Violation
from tests.model.judge import Judge
from tests.model.oracle import State
from tests.model.places import Made, Place
from tests.model.processes import Process, is_done
from tests.model.sockets import SocketClient
from tests.model.steps import Op
from tests.model.world import World
from tests.model.writing import Locked, apply, resolve, stays_apart


class Writers:
    """All who write to the processes of a world and to its place. `clients` are those of the story, `judge` is told of
    every state. `mark` is that of the last write over REST, with the number of the state after it."""

    def __init__(
        self, world: World, place: Place, processes: Sequence[Process], judge: Judge, clients: Sequence[Client],
        patience: float,
    ) -> None:  # fmt: skip
        self.mark: tuple[int, str] | None = None
        self._world = world
        self._place = place
        self._processes = processes
        self._judge = judge
        self._clients = clients
        self._patience = patience
        self._locked = Locked()

    async def write(self, via: str, ops: Sequence[Op], where: int) -> None:
        """Asks one process: by the records API, over REST, or over a WebSocket."""
        made, state = resolve(ops, self._judge.last, self._locked)
        if not made:
            return
        match via:
            case "batch":
                self._has_written(await self._processes[where].write_together(made), state)
            case "socket":
                await self._write_socket(made[0], state, where)
            case _:
                await self._write_rest(made[0], state, where)

    async def _write_rest(self, one: Made, state: State, where: int) -> None:
        is_written, mark = await self._processes[where].write(one)
        self._has_written(is_written, state)
        if mark is not None:
            self.mark = len(self._judge.states) - 1, mark

    def _has_written(self, is_done: bool, state: State) -> None:
        self._judge.counts["writes" if is_done else "refused"] += 1
        if is_done:
            self._judge.states.append(state)
            self._judge.check(self._clients)

    async def _write_socket(self, one: Made, state: State, where: int) -> None:
        """Over a connection that has queries of its own; what it holds when its `acks` come shows the write."""
        writers = [c for c in self._clients if isinstance(c, SocketClient) and c.is_connected and c.may_write]
        if not writers:
            return await self._write_rest(one, state, where)
        action, resource, key, values, _ = one
        params = {"data": {"id": key, **(values or {})}} if action == "create" else {"key": key, "data": values}
        client = writers[0]
        number, answer = client.write(f"{resource}.{action}", {"key": key} if action == "delete" else params)
        await client.until(lambda: answer.done(), self._patience)
        if not answer.done():  # cut off before the answer came: the database knows
            await client.leave()
            await self._place.decided(self._world.stores[self._world.apps.index(client.app)].store)
            return self._has_written(await self._processes[0].shows(one), state)
        message = answer.result()
        if "error" in message:
            return self._has_written(is_done(message["error"]["code"], str(message["error"])), state)
        if message["result"].get("after") is not None:  # it has changed something
            await client.until(lambda: number in client.acked, self._patience)
        self._has_written(True, state)
        self._judge.covers(client.acked.get(number, ()))

    async def write_nothing(self, where: int) -> None:
        """Asks for no record, of which there are as many as before."""
        answer = await self._processes[where].rest.post("/tasks", [])
        if is_done(answer.status, answer.text) and answer.json != []:
            raise Violation(f"writing nothing is answered by {answer.status}: {answer.text}")

    # other programs

    async def write_foreign(self, how: Any, ops: Sequence[Op], *, undoes: bool) -> None:
        """Writes without the application."""
        holds = self._place.keys_hold
        made, state = resolve(ops, self._judge.last, self._locked, keys_hold=holds, repeats=True, undoes=undoes)
        if made:
            await self._place.write(how, made)
            if how != "rollback":
                self._has_written(True, state)

    async def empty(self, resource: str) -> None:
        """Takes all records of a resource away."""
        if not self._locked:  # it would have to wait
            await self._place.empty(resource)
            self._has_written(True, self._judge.last.empty(resource, keys_hold=self._place.keys_hold))

    async def begin(self, slot: int, ops: Sequence[Op], *, is_prepared: bool) -> None:
        """Somebody has written, and takes his time over the commit."""
        await self.end(slot, commits=False)
        if self._place.has_many_writers:
            made, _ = resolve([op for op in ops if stays_apart(op)], self._judge.last, self._locked)
            if made:
                await self._place.begin(slot, made, is_prepared=is_prepared)
                self._locked.hold(slot, made)
                self._judge.counts["held open"] += 1

    async def end(self, slot: int, *, commits: bool) -> None:
        """He commits, or rolls back."""
        made = self._locked.release(slot)
        if made is not None:
            await self._place.end(slot, commits=commits)
            if commits:
                self._has_written(True, apply(made, self._judge.last))
