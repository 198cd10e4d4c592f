"""The servers that are compared: one small module each. A record has the same ten fields everywhere."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Peer:
    """One server to measure.

    `runner` says how it is started: `crudite` by our command line, `asgi` by uvicorn, `python` as a module
    of its own, `node` by Node. `source` is its file in this folder. Where `has_rows` holds it keeps records, and
    fills itself when it starts; Crudite is filled over HTTP. `options` are what the command is given besides.
    """

    name: str
    runner: Literal["crudite", "asgi", "python", "node"]
    source: str
    has_rows: bool = True
    options: tuple[str, ...] = ()

    @property
    def list_path(self) -> str:
        """Where the first 100 records are read; the name of the limit is a matter of taste."""
        return "/items?$limit=100&$sort[id]=1" if self.source.endswith("feathers.cjs") else "/items?limit=100"


CRUDITE = Peer("crudite", "crudite", "crudite_items.py")
CRUDITE_TASKS = Peer("crudite", "crudite", "crudite_tasks.py", has_rows=False)
UNLOGGED = Peer("crudite without the log", "crudite", "crudite_unlogged.py")
SQLALCHEMY = Peer("fastapi+sqlalchemy", "asgi", "fastapi_sqlalchemy.py")
SQLMODEL_TASKS = Peer("fastapi+sqlmodel", "asgi", "sqlmodel_tasks.py")
ASYNCPG = Peer("fastapi+sqlalchemy+asyncpg", "asgi", "fastapi_asyncpg.py")
TUNED = Peer("fastapi+apsw", "asgi", "fastapi_apsw.py")
BROADCAST = Peer("fastapi broadcast", "asgi", "fastapi_broadcast.py")
STREAMING = Peer("starlette sse", "asgi", "starlette_sse.py", has_rows=False)
PYTHON_SOCKETIO = Peer("python-socketio", "asgi", "python_socketio.py", has_rows=False)
PLAIN = Peer("plain uvicorn", "asgi", "plain_websocket.py", has_rows=False)
BARE = Peer("bare send()", "python", "bare_send.py", has_rows=False)
WS = Peer("ws", "node", "node/ws.cjs", has_rows=False)
SOCKETIO = Peer("socket.io", "node", "node/socketio.cjs", has_rows=False)
FEATHERS = Peer("feathers", "node", "node/feathers.cjs")
FEATHERS_TASKS = Peer("feathers", "node", "node/feathers_tasks.cjs")
FASTIFY = Peer("fastify", "node", "node/fastify.cjs")

PEERS = {
    peer.name: peer
    for peer in (
        *(CRUDITE, SQLALCHEMY, TUNED, BROADCAST, STREAMING, PYTHON_SOCKETIO),
        *(PLAIN, BARE, WS, SOCKETIO, FEATHERS, FASTIFY),
    )
}
