"""The HTTP server: uvicorn, told to end what lives (streams, sockets) before it waits for requests to end."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, cast

import uvicorn

from crudite.app import App
from crudite.cli.accepting import Accepting, Shares
from crudite.cli.failures import Failure
from crudite.cli.tether import Tether
from crudite.server.http import HttpProtocol
from crudite.server.websocket import WebSocketProtocol


@dataclass(frozen=True, slots=True)
class Ending:
    """How a server ends. Times are seconds since it was told to.

    `silent`: until then it says that it is not ready and does nothing else, so that load balancers hear of it.
    Then it listens no more and ends living connections in steps, all of them by `drained`; requests that are under
    way may take until `patience`.
    """

    silent: float
    drained: float
    patience: float

    @classmethod
    def within(cls, seconds: float) -> "Ending":
        """One that takes at most so long: silent for a tenth of it, 1 second at most, drained after nine tenths."""
        return cls(min(seconds / 10, 1.0), seconds * 0.9, seconds)

    @classmethod
    def at_once(cls, patience: float) -> "Ending":
        """One without any steps."""
        return cls(0.0, 0.0, patience)


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among its siblings: its number, what ties it to its parent, and who has how many
    connections."""

    number: int
    tether: Tether
    shares: Shares


class Server(uvicorn.Server):
    """Serves one application, which it starts and stops. `announce` is called when it answers."""

    def __init__(
        self,
        app: App,
        config: uvicorn.Config,
        announce: Callable[[], None],
        ending: Ending,
        place: Place | None = None,
    ) -> None:
        super().__init__(config)
        self._place = place
        self._accepting: list[Accepting] = []
        self._app = app
        self._announce = announce
        self._ending = ending
        self._has_siblings = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until a signal comes. Whatever happens, the store is closed then."""
        try:
            await super().serve(sockets)
        finally:
            await self._app.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then listens."""
        await self._app.start()
        _spare_the_collector()
        if self._place is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._accepting = [self._accept_beside_siblings(self._place, each) for each in sockets or ()]
            self.servers += cast("list[asyncio.Server]", self._accepting)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        """What is done ten times a second."""
        for each in self._accepting:
            each.note()
        return await super().on_tick(counter)

    def leave(self) -> None:
        """Ends as on a signal, but listens no more from the first moment: siblings serve on the socket, and load
        balancers need not hear of it."""
        self._has_siblings = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends living connections first; they would outlast any patience. Then lets requests finish."""
        ending, began = self._ending, asyncio.get_running_loop().time()

        def left(until: float) -> float:
            return max(began + until - asyncio.get_running_loop().time(), 0.0)

        self._app.is_leaving = not self._has_siblings
        if self._has_siblings:
            self._listen_no_more()
        # Whoever asks again now hears that the connection will not last, and takes another one in good order.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._unless_forced(asyncio.sleep(ending.silent))
        self._listen_no_more()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.shutdown()
        await self._unless_forced(self._app.say_goodbye(left(ending.drained)))
        await self._unless_forced(self._requests_end(left(ending.patience)))
        self.config.timeout_graceful_shutdown = max(ceil(left(ending.patience)), 1)
        await super().shutdown(sockets)

    async def _requests_end(self, within: float) -> None:
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=within)

    def _accept_beside_siblings(self, place: Place, listening: socket.socket) -> Accepting:
        state = self.server_state

        def protocol() -> asyncio.Protocol:
            return HttpProtocol(config=self.config, server_state=state, app_state={})

        return Accepting(listening, protocol, lambda: len(state.connections), place.shares, place.number)

    def _listen_no_more(self) -> None:
        for server in self.servers:
            server.close()

    async def _unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Does some work, which a second Ctrl-C ends."""
        working = asyncio.create_task(work)
        while not self.force_exit and not (await asyncio.wait([working], timeout=0.1))[0]:
            pass
        if not working.cancel():
            return working.result()
        await asyncio.gather(working, return_exceptions=True)


def _spare_the_collector() -> None:
    """Python's garbage collector need not walk what lives as long as the process: with 100,000 live queries its full
    passes would cost more than all else. What is made later it looks at as often as it is worth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def serve(
    app: App, listening: socket.socket, announce: Callable[[], None], *, access_log: bool, ending: Ending,
    place: Place | None = None,
) -> None:  # fmt: skip
    """Serves an application on a listening socket until SIGTERM or SIGINT, ends as `ending` says and returns; a worker
    also when its parent says so.

    Raises what starting the application raises.
    """
    config = configuration(app, access_log=access_log, patience=ceil(ending.patience))

    def announced() -> None:
        announce()
        if place is not None:
            place.tether.answers(server.leave)

    server = Server(app, config, announced, ending, place)
    with _signals_only_end(server), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listening]))


def configuration(app: App, *, access_log: bool, patience: int) -> uvicorn.Config:
    """How our own runner has uvicorn serve an application, which it starts and stops itself."""
    return uvicorn.Config(
        app, interface="asgi3", lifespan="off", log_config=None, access_log=access_log, server_header=False,
        http=HttpProtocol, ws=WebSocketProtocol, ws_max_size=app.limits.message, ws_per_message_deflate=False,
        timeout_graceful_shutdown=patience,
    )  # fmt: skip


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises Failure when that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except socket.gaierror as error:
        raise Failure(f"{host} is no address of this machine.", "127.0.0.1 is, and 0.0.0.0 means all.") from error
    except OSError as error:
        raise _refused(error, host, port) from error


def address(listening: socket.socket) -> str:
    """The URL that reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(error: OSError, host: str, port: int) -> Failure:
    if error.errno == errno.EADDRINUSE:
        return Failure(f"port {port} is in use by another program.", f"Take another one: --port {port + 1}")
    if error.errno == errno.EACCES:
        return Failure(f"port {port} needs more rights than you have.", "Ports from 1024 on are open to everyone.")
    if error.errno == errno.EADDRNOTAVAIL:
        return Failure(f"{host} is no address of this machine.", "127.0.0.1 is, and 0.0.0.0 means all.")
    return Failure(f"cannot listen on {host}, port {port}: {error.strerror}.")


@contextmanager
def _signals_only_end(server: Server) -> Iterator[None]:
    """A signal that comes before uvicorn listens to them counts too. uvicorn raises it again after its graceful stop;
    here that is the end of the story, not a death."""
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
