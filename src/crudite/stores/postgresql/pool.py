"""The connections for requests: opened as they are needed, used by one at a time, and taken back in any state.

Theory of operation. Whoever asks takes the connection that came back last: its statements are prepared, its pages are
in the processor's caches, and those that are not needed any more lie still and are closed after a while. When none is
idle he waits, first come first served, and a connection that comes back goes straight to him.

A connection is in one of these places:

| place | comes there | goes on |
|---|---|---|
| being opened | somebody waits, and fewer than the most are there | to who waits, or idle |
| idle | it came back and nobody waited | to who asks; out, when it is closed, old, or was not needed for long |
| in use | `take`, `acquire` | `release`: to who waits, or idle; out, when it is closed or old |
| being looked after | `abandon`, or it was asked for after some idleness | as a released one, if it answers |

Nothing is sent on the way from one use to the next. What a cancelled use has left behind (a statement that runs, a
transaction) is cleaned away by a task of the pool, so that whoever cancelled does not wait.

While none can be opened, one attempt at a time is made, after pauses that grow and are never quite equal, so that
many processes do not come back at the same moment. Meanwhile those who ask get the reason at once, unless connections
are in use for which they can wait: a server that has no more of them to give still answers on those it gave.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from crudite.errors import StoreError, StoreLocked
from crudite.stores.base import Load
from crudite.stores.postgresql.connections import Address, Connection, connect
from crudite.stores.postgresql.errors import DRIVER, PASSING, STALE, Unbegun, is_lost, store_error

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 10
"""How many are open at most, if nobody says otherwise."""

_SECONDS_UNTIL_LOOKED_AT = 5.0
_SECONDS_TO_LOOK_AFTER = 2.0
_SECONDS_UNNEEDED = 300.0
_SECONDS_OF_SERVICE = 1800.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_SECONDS_TO_CLOSE = 5.0
_MOST_TRIES = 3


class Pool:
    """At most `size` connections to a server, for requests."""

    def __init__(self, address: Address, settings: Mapping[str, str], size: int = CONNECTIONS) -> None:
        self._address = address
        self._settings = settings
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []  # the last one came back last
        self._waiting: OrderedDict[asyncio.Future[Connection], float] = OrderedDict()  # until when
        self._patience: asyncio.TimerHandle | None = None
        self._opening = self._cared_for = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: StoreError | None = None
        self._pause = _SHORTEST_PAUSE
        self._again: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._is_quiet = asyncio.Event()
        self._opened = self._failed = self._refused = 0

    async def open(self) -> None:
        """Opens the first connection. Raises StoreError when that is not possible."""
        self._opening += 1
        try:
            connection = await connect(self._address, self._settings)
        finally:
            self._opening -= 1
        self._welcome(connection)

    @property
    def load(self) -> Load:
        """How busy the connections are now."""
        count = len(self._all)
        used = count - len(self._idle) - self._cared_for
        return Load(self._size, count, used, len(self._waiting), self._opened, self._failed, self._refused)

    @property
    def shown(self) -> str:
        """The server's address without its password."""
        return self._address.shown

    def use(self) -> "Use":
        """A connection for the time of an `async with` block; the driver's errors in it are raised as StoreError."""
        return Use(self)

    async def read(
        self, work: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **options: P.kwargs
    ) -> T:
        """Does work that only reads on a connection, and again on another one when the first was lost meanwhile, or
        somebody who changes tables stood in the way: a deadlock, or what was prepared is out of date. Raises
        StoreError."""
        for left in reversed(range(_MOST_TRIES)):
            try:
                async with self.use() as connection:
                    return await work(connection, *args, **options)
            except StoreError as error:
                cause = error.__cause__
                if not left or not (isinstance(cause, (*STALE, *PASSING)) or is_lost(cause)):
                    raise
                if isinstance(cause, STALE):
                    self.expire()
        raise AssertionError("the last try returns or raises")

    def take(self) -> Connection | None:
        """An idle connection that can be used at once; None when there is none. It comes back by `release`, or
        `abandon`."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed():
                self._forget(connection)
                continue
            now = self._loop.time()
            if now >= connection.retires:
                self._retire(connection)
            elif now - connection.idle_since < _SECONDS_UNTIL_LOOKED_AT:
                return connection
            else:  # whatever stands between us and the server may have forgotten it meanwhile
                self._look_after(connection)
                break
        return None

    async def acquire(self) -> Connection:
        """A connection, waited for when none is idle. Raises StoreLocked when too many wait already, or none comes in
        time, and what speaks against opening one. It comes back as one that was taken."""
        if self._is_closed:
            raise StoreError(f"{self._address.shown}: the store is closed")
        if (connection := self.take()) is not None:
            return connection
        if self._failure is not None and not self._all:
            raise _again(self._failure)
        if len(self._waiting) >= self._address.waiting:
            self._refused += 1
            raise StoreLocked(f"{self._address.shown}: {len(self._waiting)} wait for one of {self._size} connections")
        waiter: asyncio.Future[Connection] = self._loop.create_future()
        until = self._waiting[waiter] = self._loop.time() + self._address.patience
        if self._patience is None:
            self._patience = self._loop.call_at(until, self._lose_patience)
        self._supply()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiting.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise

    def release(self, connection: Connection) -> None:
        """Takes a connection back on which nothing runs any more."""
        if connection.is_closed():
            self._forget(connection)
        elif connection.is_beginning:
            self._retire(connection)
        elif connection.is_in_transaction():
            self._look_after(connection)
        elif (now := self._loop.time()) >= connection.retires:
            self._retire(connection)
        elif not self._hand(connection):
            if self._is_closed:
                self._retire(connection)
                return
            connection.idle_since = now
            self._idle.append(connection)
            if now - self._idle[0].idle_since > _SECONDS_UNNEEDED:
                self._retire(self._idle.pop(0))

    def abandon(self, connection: Connection) -> None:
        """Takes a connection back whose use was broken off in the middle of something."""
        if connection.is_closed():
            self._forget(connection)
        elif connection.is_beginning:
            self._retire(connection)
        else:
            self._look_after(connection)

    def expire(self) -> None:
        """Lets all connections go, each when it comes back: what they know of the database is out of date."""
        for connection in self._all:
            connection.retires = 0.0
        self._retire_idle()

    async def close(self, seconds: float = _SECONDS_TO_CLOSE) -> None:
        """Waits until everything accepted is done, but not longer, and closes the connections."""
        self._is_closed = True
        if self._again is not None:
            self._again.cancel()
        self._retire_idle()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._waiting or self._all:
                        self._is_quiet.clear()
                        await self._is_quiet.wait()
        finally:  # whoever still waits is told; whoever still uses one loses it
            self._turn_away(StoreError(f"{self._address.shown}: the store was closed"))
            if self._patience is not None:
                self._patience.cancel()
            for connection in tuple(self._all):
                connection.terminate()
                self._forget(connection)
            while self._tasks:
                await asyncio.wait(self._tasks)

    def _retire_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            self._retire(connection)

    # the supply

    def _supply(self) -> None:
        """Has as many opened as wait and have none coming, and as may be."""
        if self._failure is None:
            wanted = len(self._waiting) - self._opening - self._cared_for
            for _ in range(min(wanted, self._size - len(self._all) - self._opening)):
                self._open_one()

    def _open_one(self) -> None:
        self._opening += 1
        self._spawn(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._connect()
        except StoreError as error:
            self._opening -= 1
            self._note_failure(error)
        except BaseException:
            self._opening -= 1
            raise
        else:
            self._opening -= 1
            self._welcome(connection)

    async def _connect(self) -> Connection:
        """A new connection. When the line was cut while it was made, and that is news, it is tried again at once."""
        try:
            return await connect(self._address, self._settings)
        except StoreError as error:
            if self._failure is not None or not is_lost(error.__cause__):
                raise
        return await connect(self._address, self._settings)

    def _welcome(self, connection: Connection) -> None:
        self._opened += 1
        self._failure, self._pause = None, _SHORTEST_PAUSE
        self._all.add(connection)
        connection.retires = self._loop.time() + _SECONDS_OF_SERVICE * random.uniform(0.9, 1.1)  # noqa: S311
        self.release(connection)
        self._supply()

    def _note_failure(self, error: StoreError) -> None:
        self._failed += 1
        self._failure = error
        if not self._all:
            self._turn_away(error)
        if self._again is None and not self._opening and not self._is_closed:
            pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._again = self._loop.call_later(pause, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        if not self._opening:
            self._open_one()

    # those who wait

    def _hand(self, connection: Connection) -> bool:
        """Gives a connection to who has waited longest; False when nobody does."""
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _lose_patience(self) -> None:
        now, self._patience = self._loop.time(), None
        count = len(self._waiting)
        while self._waiting:
            waiter, until = next(iter(self._waiting.items()))
            if until > now:
                self._patience = self._loop.call_at(until, self._lose_patience)
                break
            del self._waiting[waiter]
            if not waiter.done():
                self._refused += 1
                which = f"none of {self._size} connections was free within {self._address.patience:g} seconds"
                waiter.set_exception(StoreLocked(f"{self._address.shown}: {which}, {count} waited"))
        self._is_quiet.set()

    def _turn_away(self, error: StoreError) -> None:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(_again(error))
        self._is_quiet.set()

    # the end of a connection

    def _look_after(self, connection: Connection) -> None:
        self._cared_for += 1
        self._spawn(self._clean(connection))

    async def _clean(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(_SECONDS_TO_LOOK_AFTER):
                await connection.execute("ROLLBACK" if connection.is_in_transaction() else "SELECT 1")
        except DRIVER:
            connection.terminate()
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            self._cared_for -= 1
            self.release(connection)

    def _retire(self, connection: Connection) -> None:
        self._forget(connection)
        self._spawn(self._part(connection))

    async def _part(self, connection: Connection) -> None:
        with suppress(*DRIVER):  # it has been cut off then
            await connection.close(timeout=_SECONDS_TO_LOOK_AFTER)

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._is_quiet.set()
        if self._failure is not None and not self._all:
            self._turn_away(self._failure)
        elif self._waiting:
            self._supply()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Use:
    """One use of a pool's connection."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection = None

    async def __aenter__(self) -> Connection:
        self._connection = self._pool.take() or await self._pool.acquire()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._pool.release(self._connection)
            return
        if is_lost(error) or isinstance(error, Unbegun):
            self._connection.terminate()  # the driver may not know it yet
        if isinstance(error, Exception) and not isinstance(error, TimeoutError):
            self._pool.release(self._connection)  # the server has answered, or is gone
        else:
            self._pool.abandon(self._connection)
        if isinstance(error, DRIVER):
            raise store_error(error, self._pool.shown) from error


def _again(error: StoreError) -> StoreError:
    """The same once more, for somebody else to raise."""
    same = type(error)(str(error))
    same.__cause__ = error
    return same
