"""python-socketio on ASGI, WebSocket only: what is posted is emitted to every client."""

from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.peers.records import record

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@server.event
async def connect(_sid: str, _environ: dict[str, Any]) -> None:
    """Everybody may come."""


async def create(request: Request) -> JSONResponse:
    item = record(await request.json())
    await server.emit("item", item)
    return JSONResponse(item, 201)


app = socketio.ASGIApp(server, Starlette(routes=[Route("/items", create, methods=["POST"])]))
