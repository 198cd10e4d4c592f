"""The HTTP server: uvicorn, told to end what lives (streams, sockets) before it waits for requests to end."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from crudite.app import App
from crudite.cli.failures import Failure
from crudite.server.http import HttpProtocol
from crudite.server.websocket import WebSocketProtocol


class Server(uvicorn.Server):
    """Serves one application, which it starts and stops. `started` is called when it answers."""

    def __init__(self, app: App, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

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
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends living connections first; they would outlast any patience. Then lets requests finish."""
        for server in self.servers:
            server.close()
        await self._app.say_goodbye()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=self.config.timeout_graceful_shutdown)
        await super().shutdown(sockets)


def _spare_the_collector() -> None:
    """Python's garbage collector need not walk what lives as long as the process: with 100,000 live queries its full
    passes would cost more than all else. What is made later it looks at as often as it is worth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def serve(app: App, listening: socket.socket, announce: Callable[[], None], *, access_log: bool, patience: int) -> None:
    """Serves an application on a listening socket until SIGTERM or SIGINT, and returns then.

    `patience` is how many seconds requests have to finish. Raises what starting the application raises.
    """
    config = configuration(app, access_log=access_log, patience=patience)
    server = Server(app, config, announce)
    with _signals_end_nothing(), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
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
def _signals_end_nothing() -> Iterator[None]:
    """uvicorn raises a signal again after its graceful stop; here that is the end of the story, not a
    death."""

    def ignore(number: int, frame: FrameType | None) -> None: ...

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
