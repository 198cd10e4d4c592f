"""An application behind a listening socket, in this process: on our own runner, or on a plain server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import uvicorn

from crudite import App
from crudite.cli.server import configuration, listen

Kind: TypeAlias = Literal["ours", "plain"]
_servers: "dict[int, _Server]" = {}


@asynccontextmanager
async def running(app: App, kind: Kind, *, access_log: bool = False) -> AsyncIterator[int]:
    """The port on which the application, which has been started, is served for as long as the block lasts."""
    if kind == "ours":
        config = configuration(app, access_log=access_log, patience=5)
    else:
        config = uvicorn.Config(
            app, interface="asgi3", lifespan="off", log_config=None, access_log=access_log, server_header=False,
            http="httptools", ws="websockets-sansio", ws_max_size=app.limits.message, timeout_graceful_shutdown=5,
        )  # fmt: skip
    listening = listen("127.0.0.1", 0)
    port: int = listening.getsockname()[1]
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(30):
            await server.is_up.wait()
        _servers[port] = server
        yield port
    finally:
        _servers.pop(port, None)
        server.should_exit = True
        await serving


def has_no_client(port: int) -> bool:
    """Whether nobody is connected to the application that is served there."""
    return not _servers[port].server_state.connections


def unsent(port: int) -> int:
    """How many bytes wait in the server's memory for clients of the application that is served there."""
    return sum(connection.transport.get_write_buffer_size() for connection in _servers[port].server_state.connections)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()
