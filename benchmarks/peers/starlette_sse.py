"""Server-sent events as users of Starlette write them: a StreamingResponse that reads a queue of each client.

It keeps no records: what is posted is told to every stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from benchmarks.peers.records import record

queues: set[asyncio.Queue[str]] = set()


async def subscribe(_request: Request) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.add(queue)
        try:
            yield "event: ready\ndata: {}\n\n"
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def create(request: Request) -> JSONResponse:
    item = record(await request.json())
    text = f"event: added\ndata: {json.dumps(item)}\n\n"
    for queue in queues:
        queue.put_nowait(text)
    return JSONResponse(item, 201)


app = Starlette(routes=[Route("/items/subscribe", subscribe), Route("/items", create, methods=["POST"])])
